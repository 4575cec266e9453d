"""`hingfs keep` without a mount: what it fetches, says and ends with."""

import errno
import hashlib
import json
import math
import os
import re
import subprocess
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from hingfs import log
from hingfs.cache.kept import KeptStore
from hingfs.cache.kept_files import videos
from hingfs.cache.pair import Pair
from hingfs.cli import main as cli
from tests.cli.conftest import TOKEN, Refusal
from tests.conftest import LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.keeping import files
from tests.support.mounting import HINGFS, environment
from tests.support.personalities import PERSONALITIES

SIZE_BYTES = 3_000_001

Say = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def directory(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The directory of what is kept, where the command looks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
    # Lines come to the watch, and the root logger is not this command's.
    monkeypatch.setattr(log, "begin", lambda *_, **__: None)
    return tmp_path / "hingfs"


def run(
    capsys: Say, *words: object, status: int = 0, token: str | None = TOKEN
) -> tuple[list[str], list[str]]:
    """What `hingfs` says on standard output and standard error, sorted."""
    if token:
        os.environ["HINGFS_TOKEN"] = token  # which each call takes away
    found = cli.main([str(word) for word in words])
    out, err = capsys.readouterr()
    assert found == status, err
    assert TOKEN not in out + err
    return sorted(out.splitlines()), sorted(err.splitlines())


def kinds(endpoint: FakeEndpoint) -> set[str]:
    """What was asked for since the last call."""
    endpoint.wait_until_idle()
    found = {f"{record.method} {record.kind}" for record in endpoint.log}
    endpoint.reset_log()
    return found


def sha256(video: Video) -> str:
    return hashlib.sha256(video.read(0, video.size_bytes)).hexdigest()


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 16]))


def test_each_video_that_can_be_had_is_kept_and_each_other_is_explained(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    video = endpoint.add("a/b", size_bytes=SIZE_BYTES)
    endpoint.add("rendering", status="in_progress")

    out, err = run(capsys, "keep", "rendering", "nope", "a/b", "a/b", status=11)

    assert out == [
        "1 of 3 videos kept, 2.9MiB fetched",
        "a/b: 2.9MiB, kept, 2.9MiB fetched",
    ]
    assert [line.split(": ")[:3] for line in err] == [
        ["hingfs", "nope", "no such video, or expired"],
        ["hingfs", "rendering", ("not ready (status in_progress); once it is ready, "
         "give it again")],
    ]  # fmt: skip
    assert endpoint.content_bytes("a/b") == SIZE_BYTES
    (kept,) = videos(directory)
    assert kept.mark.sha256 is not None
    assert kept.mark.sha256.hex() == sha256(video)
    assert kept.mark.mtime_ns == int(1e9 * (video.completed_at or 0))


def test_what_is_kept_costs_no_request_for_content(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """What is kept already costs a look-up at most, and no byte."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "v")
    kinds(endpoint)

    assert run(capsys, "keep", "v")[0][1] == "v: 2.9MiB, is kept"
    assert kinds(endpoint) == set()  # the look-up is not a minute old
    assert run(capsys, "keep", "--metadata-ttl", "0", "v")[0][1] == "v: 2.9MiB, is kept"
    assert kinds(endpoint) <= {"HEAD content", "GET status"}


@pytest.mark.parametrize("what", ["gone", "refused", "away"])
def test_what_is_kept_stays_well_whatever_the_server_says(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch, what: str
) -> None:
    """A clip that is kept counts as kept whatever the server says: gone, refused or away, the status is 0, and its line says that the server does not confirm it."""
    if what != "gone":
        expected_log("away|refused")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "v")
    if what == "gone":
        del endpoint.videos["v"]
    elif what == "refused":
        endpoint.token = "oh-another"
    else:
        endpoint.__exit__(None, None, None)

    out, err = run(capsys, "keep", "--metadata-ttl", "0", "v")

    assert out == [
        "1 video kept, 0B fetched",
        "v: 2.9MiB, is kept; the server does not confirm it now",
    ]
    assert err == []


def test_what_the_disk_cache_has_is_taken_over(
    endpoint: FakeEndpoint, tmp_path: Path, capsys: Say
) -> None:
    """What the disk cache has is taken over, by a second link where both are on one disk. `hingfs cache` shows it as kept then, and `trim` and `clear` leave it. With `--disk-cache-size 0` clips are kept as well."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("other", size_bytes=SIZE_BYTES)
    limit = ("--disk-cache-size", "64MiB")
    run(capsys, "warm", *limit, "v", "other")
    kinds(endpoint)

    assert run(capsys, "keep", *limit, "v")[0][1] == "v: 2.9MiB, is kept"

    assert "GET content" not in kinds(endpoint)
    for job in (["trim", "0"], ["clear"]):
        run(capsys, "cache", *job)
        listed = run(capsys, "cache", token=None)[0]
        assert [line.split()[:4] for line in listed if line[0] in "ov"] == [
            ["v", "2.9MiB", "all", "yes"]
        ]
    assert run(capsys, "keep", "--check", "v")[0] == ["v: all of 2.9MiB kept"]
    cached = partial((tmp_path / "cache").glob, "hingfs/v2/*/*.data")
    assert len(list(cached())) == 1
    out, _ = run(capsys, "keep", "--disk-cache-size", "0", "other")
    assert out[1] == "other: 2.9MiB, kept, 2.9MiB fetched"
    assert len(list(cached())) == 1


def test_check_asks_nobody_and_needs_no_token(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """`--check` tells how much of each is here, in the disk cache too, asks no server and needs no token; the status is 13 unless all are kept."""
    endpoint.add("whole", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "whole")
    kinds(endpoint)
    check = partial(run, capsys, "keep", "--check", token=None)

    endpoint.add("cached", size_bytes=SIZE_BYTES)
    run(capsys, "warm", "cached")
    kinds(endpoint)
    assert check("cached", status=13)[0] == ["cached: all of 2.9MiB here, not kept yet"]
    none = check("--disk-cache-size", "0", "cached", status=13)[0]
    assert none == ["cached: not kept"], "`keep` would not take it over"
    lines = _said(capsys, "keep", "--check", "--json", "cached", status=13)
    told = json.loads(lines)
    assert (told["outcome"], told["here_bytes"]) == ("part", SIZE_BYTES)

    assert check("whole") == (["whole: all of 2.9MiB kept"], [])
    assert check("whole", "x\x1b[2J", status=13)[0] == [
        "whole: all of 2.9MiB kept",
        "x [2J: not kept",
    ]
    lines = _said(capsys, "keep", "--check", "--json", "whole", "x", status=13)
    assert [
        (one["video"], one["outcome"], one["here_bytes"])
        for one in map(json.loads, lines.splitlines())
    ] == [("whole", "kept", SIZE_BYTES), ("x", "absent", 0)]
    assert endpoint.log == []


def _said(capsys: Say, *words: str, status: int = 0) -> str:
    os.environ["HINGFS_TOKEN"] = TOKEN
    assert cli.main(list(words)) == status
    out, err = capsys.readouterr()
    assert err == ""
    return out


def test_what_does_not_fit_is_said_and_the_others_go_on(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """What does not fit into `--keep-size` is named at once, and the others go on; the status is 12."""
    for name, size in (("large", 5 << 20), ("small", 1 << 20), ("tiny", 1 << 10)):
        endpoint.add(name, size_bytes=size)

    out, err = run(
        *(capsys, "keep", "--keep-size", "4MiB", "-j", "1", "large", "small", "tiny"),
        status=12,
    )

    assert out[0] == "2 of 3 videos kept, 1.0MiB fetched"
    assert err == [
        (
            "hingfs: large: 5.0MiB do not fit: of --keep-size 4.0MiB only 4.0MiB are "
            "left; give a larger --keep-size, or `hingfs drop` what need not stay"
        )
    ]
    assert endpoint.content_bytes("large") == 0


def test_those_come_first_whose_links_expire_first(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """Those come first whose links expire first, as far as the list, or an earlier look, has told when."""
    now = int(time.time())
    for name, seconds in (("late", 9000), ("soon", 600), ("middle", 4000)):
        endpoint.add(name, size_bytes=1000, expires_at=now + seconds)

    run(capsys, "keep", "-j", "1", "--all")

    asked = [r.video_id for r in endpoint.log if r.kind == "content"]
    assert list(dict.fromkeys(asked)) == ["soon", "middle", "late"]


def test_all_keeps_what_is_new_with_one_request_where_nothing_is(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """`--all` keeps what the list shows and is not kept yet. Where nothing is new it costs the list alone."""
    endpoint.add("rendering", status="in_progress")
    assert run(capsys, "keep", "--all")[0] == ["no video that can be read is listed"]
    endpoint.add("one", size_bytes=1000)
    assert run(capsys, "keep", "--all")[0][0] == "1 video kept, 1.0KiB fetched"
    kinds(endpoint)

    assert run(capsys, "keep", "--all")[0] == ["all that is listed is kept"]
    assert kinds(endpoint) == {"GET list"}

    endpoint.add("two", size_bytes=1000)
    assert run(capsys, "keep", "--all")[0][1].startswith("two: ")


def test_bad_blocks_are_fetched_again_before_a_video_counts_as_kept(
    endpoint: FakeEndpoint,
    directory: Path,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clip counts as kept once each block was checked as it lies on disk. A bad one is fetched again, once; then the call fails."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    seal, times = KeptStore.seal, [1]

    def spoilt(*words: object) -> object:
        if times[0]:
            times[0] -= 1
            (data,) = files(directory)
            flip(data, 300_000)
        return seal(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(KeptStore, "seal", spoilt)
    run(capsys, "keep", "v")
    (kept,) = videos(directory)
    assert kept.mark.sha256 is not None
    assert kept.mark.sha256.hex() == sha256(video)
    assert endpoint.content_bytes("v") <= SIZE_BYTES + (128 << 10)

    run(capsys, "drop", "--force", "v")
    times[0] = 2
    _, err = run(capsys, "keep", "v", status=1)
    assert err == ["hingfs: v: 1 blocks are not as they were written"]
    assert not any(kept.is_sealed for kept in videos(directory))


def test_a_disk_that_takes_nothing_is_named(
    endpoint: FakeEndpoint,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
    expected_log: LogWatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    endpoint.add("v", size_bytes=SIZE_BYTES)
    monkeypatch.setattr(Pair, "write", full)
    expected_log("the directory of kept videos is not written: .*No space left")

    _, err = run(capsys, "keep", "v", status=12)

    assert err == ["hingfs: v: the disk takes no more; the log says why"]


def test_a_video_whose_bytes_come_under_another_tag_is_kept_under_that(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    """Nothing of the version that HEAD told is left, and no byte comes twice."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(
        faults.Fault("no tag", lambda a, _: a.without_headers("ETag")),
        math.inf,
        lambda r: r.method == "HEAD",
    )

    run(capsys, "keep", "v")

    (kept,) = videos(directory)
    assert kept.is_sealed
    assert endpoint.content_bytes("v") == SIZE_BYTES
    endpoint.reset_log()
    out, _ = run(capsys, "keep", "--metadata-ttl", "0", "v")
    assert out[1] == "v: 2.9MiB, is kept"
    assert kinds(endpoint) <= {"HEAD content", "GET status"}
    endpoint.videos["v"].replace()
    out, _ = run(capsys, "keep", "--metadata-ttl", "0", "v")
    assert out[1] == "v: 2.9MiB, kept, 2.9MiB fetched"


@pytest.mark.parametrize("disk", ["0", "64MiB"])
@pytest.mark.parametrize("name", ["litellm_new", "aisix_proxy"])
def test_a_file_that_comes_whole_is_kept_once(
    *, endpoint: FakeEndpoint, directory: Path, capsys: Say, name: str, disk: str
) -> None:
    """Also of a server that tells nothing by which versions differ."""
    endpoint.personality = PERSONALITIES[name]
    endpoint.add("v", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "--disk-cache-size", disk, "v")

    out, _ = run(capsys, "keep", "--metadata-ttl", "0", "v")

    assert out == ["1 video kept, 0B fetched", "v: 2.9MiB, is kept"]
    assert [kept.is_sealed for kept in videos(directory)] == [True]


def test_json_is_a_line_for_each(endpoint: FakeEndpoint, capsys: Say) -> None:
    video = endpoint.add("v", size_bytes=SIZE_BYTES)

    lines = _said(capsys, "keep", "-j", "1", "--json", "v", "nope", status=11)

    kept, absent = map(json.loads, lines.splitlines())
    assert kept == {
        "video": "v",
        "outcome": "kept",
        "size_bytes": SIZE_BYTES,
        "here_bytes": SIZE_BYTES,
        "fetched_bytes": SIZE_BYTES,
        "error": None,
        "sha256": sha256(video),
        "confirmed": True,
    }
    assert (absent["video"], absent["outcome"]) == ("nope", "not_found")


def test_the_list_tells_what_is_whole_and_what_is_still_to_come(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """`--list` shows what is kept of all APIs, how much of what was begun is here, and whether a bound is reached; it asks no server."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("part", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "v")
    endpoint.inject(faults.status(500), math.inf, faults.content_get)
    run(capsys, "keep", "part", "--read-timeout", "1s", status=1)
    endpoint.calm()
    kinds(endpoint)

    out, _ = run(capsys, "keep", "--list", "--keep-size", "10MiB", token=None)

    rows = {line.split()[0]: line.split() for line in out}
    assert rows["v"][1:5] == ["2.9MiB", "all", "yes", sha256(video)[:8]]
    assert rows["part"][1:5] == ["2.9MiB", "0B", "no", "-"]
    assert rows["VIDEO"][-1] == "EXPIRES"
    assert re.fullmatch(
        r"2 videos, 2\.9MiB, 5\.7MiB once all is whole, in \S+; "
        r"4\.3MiB of --keep-size 10\.0MiB left",
        next(line for line in out if line.startswith("2 videos")),
    )
    assert "do not fit" not in "".join(out)
    out, _ = run(capsys, "keep", "--list", "--keep-size", "8MiB", token=None)
    assert (
        "no other one as large as the largest can be kept: 2.9MiB do not fit: of "
        "--keep-size 8.0MiB only 2.3MiB are left; give a larger --keep-size, or "
        "`hingfs drop` what need not stay"
    ) in out
    assert kinds(endpoint) == set()
    with FakeEndpoint() as other:
        other.add("w", size_bytes=1000)
        run(capsys, "keep", "--base-url", other.base_url, "w")
        out, _ = run(capsys, "keep", "--list")
        assert {line.split()[-1] for line in out if line[0] in "vwp"} == {
            other.base_url,
            endpoint.base_url,
        }
        told = json.loads(_said(capsys, "keep", "--list", "--json"))
    assert [(one["video"], one["whole"]) for one in told] == [
        ("w", True),
        ("part", False),
        ("v", True),
    ]


# --- writing out ------------------------------------------------------------------------


@pytest.fixture
def kept_video(endpoint: FakeEndpoint, capsys: Say) -> Video:
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "v")
    return video


def test_a_kept_video_is_written_out_whole_or_not_at_all(
    kept_video: Video, tmp_path: Path, capsys: Say, refusal: Refusal
) -> None:
    """`--export` writes all of a clip, each block checked, and the whole by its SHA-256; or no file, and never half of one. It replaces a file with `--overwrite` alone."""
    file = tmp_path / "out.mp4"
    mask = os.umask(0o027)
    try:
        out, err = run(capsys, "keep", "--export", "v", file, token=None)
    finally:
        os.umask(mask)

    whole = kept_video.read(0, SIZE_BYTES)
    assert file.read_bytes() == whole
    assert file.stat().st_mode & 0o777 == 0o640
    assert out == [f"v: 2.9MiB in {file}, SHA-256 {sha256(kept_video)}"]
    assert err == []
    file.write_bytes(b"mine")
    said = refusal(1, "keep", "--export", "v", file)
    assert said == f"{file} exists; give --overwrite to replace it"
    assert file.read_bytes() == b"mine"
    said = refusal(1, "keep", "--export", "v", tmp_path, "--overwrite")
    assert said == f"{tmp_path} is a directory; name a file in it"
    run(capsys, "keep", "--export", "v", file, "--overwrite")
    assert file.read_bytes() == whole
    assert [path.name for path in tmp_path.iterdir() if "tmp" in path.name] == []


def test_standard_output_gets_all_of_it(kept_video: Video, tmp_path: Path) -> None:
    done = subprocess.run(
        [*HINGFS.split(), "keep", "--export", "v", "-"],
        env=environment(
            HINGFS_BASE_URL=os.environ["HINGFS_BASE_URL"],
            XDG_DATA_HOME=str(tmp_path),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        ),
        capture_output=True,
        check=True,
    )

    assert (done.stdout, done.stderr) == (kept_video.read(0, SIZE_BYTES), b"")


def test_lost_blocks_are_named_and_nothing_is_written(
    kept_video: Video, directory: Path, tmp_path: Path, capsys: Say, refusal: Refusal
) -> None:
    """Where blocks of a kept clip are lost, `--export` names their bytes, and writes nothing."""
    del kept_video
    (data,) = files(directory)
    for offset in (200_000, 300_000, SIZE_BYTES - 1):
        flip(data, offset)
    for file in (tmp_path / "out.mp4", "-"):
        said = refusal(1, "keep", "--export", "v", file)
        assert said == (
            "v: it cannot be written out: 3 of 23 blocks of 128 KiB are lost, at bytes "
            "131072-393215, 2883584-3000000"
        )
    assert not (tmp_path / "out.mp4").exists()


def test_a_version_is_picked_by_its_digits(
    kept_video: Video, endpoint: FakeEndpoint, tmp_path: Path, capsys: Say
) -> None:
    """Of several versions the newest is written, and the others are named: `VIDEO@HEX` picks one by the first digits of its SHA-256, as `--list` shows them."""
    old, first = kept_video.read(0, SIZE_BYTES), sha256(kept_video)[:8]
    kept_video.replace()
    run(capsys, "keep", "--metadata-ttl", "0", "v")
    new = endpoint.videos["v"]
    second = sha256(new)[:8]

    _, err = run(capsys, "keep", "--export", "v", tmp_path / "new")
    assert err == [
        (
            f"hingfs: v: the newest version, {second}, is written; v@HEX picks another, "
            f"of {first}"
        )
    ]
    run(capsys, "keep", "--export", f"v@{first}", tmp_path / "old")

    assert (tmp_path / "new").read_bytes() == new.read(0, SIZE_BYTES)
    assert (tmp_path / "old").read_bytes() == old
    run(capsys, "keep", "--export", "v@00000000", tmp_path / "x", status=11)


def test_a_call_that_makes_no_sense_says_why(refusal: Refusal) -> None:
    assert refusal(2, "keep").startswith("`hingfs keep` needs a video: an ID, ")
    assert refusal(2, "keep", "--all", "v") == "--all takes no more videos"
    assert refusal(2, "keep", "--list", "--check").startswith("give --list alone")
    assert refusal(2, "keep", "v", "--overwrite") == "--overwrite is for --export"
    said = refusal(11, "keep", "--export", "v", "x")
    assert said == "v: it is not kept; `hingfs keep --list` shows what is"


# --- dropping -----------------------------------------------------------------------------


def test_what_the_server_has_is_dropped_and_it_is_asked_at_that_moment(
    kept_video: Video, endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    del kept_video
    kinds(endpoint)

    assert run(capsys, "drop", "v") == (["v: dropped, 2.9MiB"], [])

    assert {"HEAD content", "GET status"} == kinds(endpoint)
    assert files(directory) == []
    said = run(capsys, "drop", "v", status=11)[1]
    assert said == ["hingfs: v: it is not kept; `hingfs keep --list` shows what is"]


def test_several_are_asked_for_at_once_and_told_in_their_order(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    """The first is answered once the second was asked for."""
    names = ["a", "b", "c"]
    for name in names:
        endpoint.add(name, size_bytes=SIZE_BYTES)
    run(capsys, "keep", *names)
    endpoint.reset_log()
    asked = threading.Event()
    endpoint.inject(
        faults.stall_before_headers(asked), where=lambda r: r.video_id == "a"
    )

    def watch() -> None:
        endpoint.wait_until(
            lambda: {r.video_id for r in endpoint.log} == set(names), timeout=20
        )
        asked.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    out, _ = run(capsys, "drop", *names)
    watcher.join()

    assert out == [f"{name}: dropped, 2.9MiB" for name in names]
    assert files(directory) == []


DOUBTS = {
    "gone": "no such video",
    "refused": "the API refused the token",
    "away": "Connection refused",
    "rendering": "not ready",
    "failed": "rendering failed",
    "another": "it has another version now",
    "broken": "HTTP 500",
}


@pytest.mark.parametrize("what", DOUBTS)
def test_what_the_server_does_not_confirm_stays_unless_it_is_forced(
    *,
    kept_video: Video,
    endpoint: FakeEndpoint,
    directory: Path,
    capsys: Say,
    expected_log: LogWatch,
    what: str,
) -> None:
    """`drop` lets a clip go only if the server says at that moment that it has this version. Gone, refused, away, rendering, failed and changed all mean no, with status 14. `--force` asks no server."""
    if what in {"away", "refused"}:
        expected_log("away|refused")
    if what == "gone":
        del endpoint.videos["v"]
    elif what == "refused":
        endpoint.token = "oh-another"
    elif what == "away":
        endpoint.__exit__(None, None, None)
    elif what == "another":
        kept_video.replace()
    elif what == "broken":
        endpoint.inject(faults.status(500), math.inf)
    else:
        endpoint.add("v", status={"rendering": "in_progress"}.get(what, "failed"))

    _, err = run(capsys, "drop", "--metadata-timeout", "3s", "v", status=14)

    (said,) = err
    assert said.startswith(
        "hingfs: v: it stays, since the server does not confirm that it has it: "
    )
    assert DOUBTS[what] in said
    assert said.endswith("; give --force to drop what may be the last copy")
    assert len(files(directory)) == 1
    if what != "away":
        kinds(endpoint)
    assert run(capsys, "drop", "--force", "v", token=None)[0] == ["v: dropped, 2.9MiB"]
    assert files(directory) == []
    if what != "away":
        assert kinds(endpoint) == set()


def test_a_server_that_tells_nothing_confirms_nothing(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.personality = PERSONALITIES["aisix_proxy"]
    endpoint.add("v", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "v")

    _, err = run(capsys, "drop", "v", status=14)

    assert "it does not tell which version it has" in err[0]


def test_what_is_only_on_its_way_goes_unasked(
    kept_video: Video, endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    """`drop` asks no server about a clip that is only on its way to being kept."""
    del kept_video
    for name in ("part", "other"):
        endpoint.add(name, size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(500), math.inf, faults.content_get)
    run(capsys, "keep", "part", "other", "--read-timeout", "1s", status=1)
    assert len(files(directory)) == 3
    kinds(endpoint)

    said = run(capsys, "keep", "--export", "part", "x", status=11)[1]
    assert said == [
        "hingfs: part: 0B of 2.9MiB here, not kept yet; run: hingfs keep part"
    ]
    out, _ = run(capsys, "drop", "part", token=None)

    assert out == ["part: dropped, 2.9MiB that were to come"]
    assert kinds(endpoint) == set()
    run(capsys, "drop", "v", "other")
    assert {record.video_id for record in endpoint.log} == {"v"}
    assert files(directory) == []


def test_each_version_is_dropped_for_itself(
    kept_video: Video, capsys: Say, directory: Path
) -> None:
    first = sha256(kept_video)[:8]
    kept_video.replace()
    run(capsys, "keep", "--metadata-ttl", "0", "v")

    out, err = run(capsys, "drop", "v", status=14)

    assert [line.split(":")[0] for line in out] == [f"v@{sha256(kept_video)[:8]}"]
    assert err[0].startswith(f"hingfs: v@{first}: it stays")
    assert len(files(directory)) == 1
