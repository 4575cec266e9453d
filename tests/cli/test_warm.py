"""`hingfs warm` without a mount: what it fetches, says and ends with."""

import errno
import io
import json
import math
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from hingfs import log
from hingfs.cache.behind import Behind
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import FOLDER
from hingfs.cache.pair import Pair
from hingfs.cli import main as cli
from hingfs.cli.bars import Bars
from hingfs.mount import mount_table
from hingfs.mount.mount_table import MountEntry
from hingfs.version import Validator, VideoVersion
from hingfs.wanted import Wanted
from tests.cli.conftest import TOKEN, Refusal
from tests.conftest import LogWatch
from tests.support import endpoint as faults
from tests.support.disks import BLOCKS, SIZE, opened, put, version_of
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import HINGFS, environment, eventually
from tests.support.personalities import (
    PERSONALITIES,
    Website,
)

SIZE_BYTES = 3_000_001
LIMIT = ("--disk-cache-size", "64MiB")

Say = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def directory(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The cache directory, where the command looks for it, as it looks for the API."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
    # Lines come to the watch, and the root logger is not this command's.
    monkeypatch.setattr(log, "begin", lambda *_, **__: None)
    return tmp_path / "hingfs"


def warm(capsys: Say, *words: str, status: int = 0) -> tuple[list[str], list[str]]:
    """What `hingfs warm` says on standard output and standard error, sorted."""
    if "--check" not in words:
        os.environ["HINGFS_TOKEN"] = TOKEN  # which each call takes away
    assert cli.main(["warm", *LIMIT, *words]) == status
    out, err = capsys.readouterr()
    return sorted(out.splitlines()), sorted(err.splitlines())


def fetched(endpoint: FakeEndpoint, *video_ids: str) -> list[int]:
    assert [endpoint.bytes_served_twice(one) for one in video_ids] == [0] * len(
        video_ids
    )
    return [endpoint.content_bytes(one) for one in video_ids]


def test_each_video_that_can_be_had_comes_and_each_other_is_explained(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("a/b", size_bytes=SIZE_BYTES)
    endpoint.add("rendering", status="in_progress")
    endpoint.add("failed", status="failed")

    out, err = warm(
        capsys, "rendering", "nope", "failed", "a/b", "a/b", "a/../x", status=10
    )

    assert out == [
        "1 of 5 videos here, 2.9MiB fetched",
        "a/b: 2.9MiB, 2.9MiB fetched",
    ]
    assert [line.split(": ")[:3] for line in err] == [
        ["hingfs", "a/../x", ("no video can have this name; look at the id, and at the "
         "account of the token")],
        ["hingfs", "failed", "rendering failed (status failed)"],
        ["hingfs", "nope", "no such video, or expired"],
        ["hingfs", "rendering", ("not ready (status in_progress); once it is ready, "
         "give it again")],
    ]  # fmt: skip
    assert fetched(endpoint, "a/b") == [SIZE_BYTES]
    for name, status in (("nope", 11), ("rendering", 13)):
        assert warm(capsys, name, status=status)[0][0].startswith("0 of 1 video here")


def test_json_is_a_line_for_each_video(endpoint: FakeEndpoint, capsys: Say) -> None:
    """Nothing else is said, and the status is as without."""
    endpoint.add("a/b", size_bytes=SIZE_BYTES)
    endpoint.add("rendering", status="in_progress")
    endpoint.add("broken", size_bytes=SIZE_BYTES)
    page = faults.status(500, body=TOKEN.encode())
    endpoint.inject(page, math.inf, lambda request: "broken" in request.path)
    names = ("rendering", "nope", "\x1b[2Jx", "broken", "a/b")

    def objects(*words: str, status: int) -> dict[str, dict[str, object]]:
        out, err = warm(capsys, "--json", *words, status=status)
        assert err == []
        told = [json.loads(line) for line in out]
        return {one.pop("video"): one for one in told}

    told = objects(*names, status=1)

    assert {name: one["outcome"] for name, one in told.items()} == {
        "rendering": "not_ready",
        "nope": "not_found",
        "\x1b[2Jx": "not_found",
        "broken": "error",
        "a/b": "here",
    }
    why = told["nope"].pop("error")
    assert str(why).startswith("no such video, or expired: ")
    unknown = {"size_bytes": None, "here_bytes": 0, "fetched_bytes": 0}
    assert told["nope"] == {"outcome": "not_found", **unknown}
    whole = {"outcome": "here", "size_bytes": SIZE_BYTES, "here_bytes": SIZE_BYTES}
    assert told["a/b"] == {**whole, "fetched_bytes": SIZE_BYTES, "error": None}
    assert TOKEN not in str(told)
    nothing = {"fetched_bytes": 0, "error": None}
    assert objects("a/b", status=0) == {"a/b": {**whole, **nothing}}
    assert objects("--check", "nope", "a/b", status=13) == {
        "a/b": {**whole, **nothing},
        "nope": {"outcome": "absent", **unknown, "error": None},
    }


def test_check_asks_nobody_and_needs_no_token(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    endpoint.add("whole", size_bytes=SIZE_BYTES)
    warm(capsys, "whole")
    cache = DiskCache(directory, 64 << 20, waiting_bytes=8 << 20)
    part = version_of("part")
    video = opened(cache, part)
    video.release()
    cache.close()
    assert cache.join(10)
    endpoint.reset_log()

    assert warm(capsys, "--check", "whole") == (["whole: all of 2.9MiB here"], [])
    said = warm(capsys, "--check", "whole", "part", "\x1b[2Jx", status=13)

    assert said == (
        ["[2Jx: not here", "part: not here", "whole: all of 2.9MiB here"],
        [],
    )
    assert endpoint.log == []


def test_what_does_not_fit_is_not_fetched_and_evicts_nothing(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    """Another process with a smaller limit counts as well."""
    for name, size in (("first", 4), ("second", 4), ("large", 60)):
        endpoint.add(name, size_bytes=size << 20)
    warm(capsys, "first")

    _, err = warm(capsys, "large", status=12)

    assert err == [
        (
            "hingfs: large: the disk cache has no room for 60.0MiB; give --disk-cache-size "
            "69MiB or more, to the mounts too"
        )
    ]
    other = DiskCache(directory, 8 << 20, waiting_bytes=8 << 20)
    opened(other, version_of("other")).release()
    eventually(lambda: list(directory.glob(f"{FOLDER}/*.process")), "the other process")
    _, err = warm(capsys, "-j", "1", "first", "second", status=12)
    other.close()
    assert other.join(10)
    assert err == [
        (
            "hingfs: second: the disk cache has no room for 4.0MiB beside the others; give "
            "--disk-cache-size 10MiB or more, to the mounts too"
        )
    ]
    assert fetched(endpoint, "first", "second", "large") == [4 << 20, 0, 0]
    assert warm(capsys, "--check", "first")[1] == []


def test_what_is_here_counts_as_used(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES)
    warm(capsys, "video")
    (index,) = directory.glob(f"{FOLDER}/*/*.index")
    os.utime(index, (1.0, 1.0))

    assert warm(capsys, "video")[0][-1] == "video: 2.9MiB, was here"

    assert index.stat().st_mtime > time.time() - 60


def test_what_the_writer_has_no_room_for_is_fetched_once_and_written(
    endpoint: FakeEndpoint, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES)
    put, refusals = Behind.put, iter(range(20))

    def full_at_first(*words: object) -> bool:
        return next(refusals, None) is None and put(*words)  # type: ignore[arg-type]

    monkeypatch.setattr(Behind, "put", full_at_first)

    warm(capsys, "video")

    assert fetched(endpoint, "video") == [SIZE_BYTES]
    assert next(refusals, None) is None
    assert warm(capsys, "--check", "video")[1] == []


def test_a_disk_that_takes_nothing_is_named(
    endpoint: FakeEndpoint,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
    expected_log: LogWatch,
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    endpoint.add("video", size_bytes=SIZE_BYTES)
    monkeypatch.setattr(Pair, "write", full)
    expected_log("the disk cache is not written: .*No space left")

    _, err = warm(capsys, "video", status=12)

    assert err == ["hingfs: video: the disk takes no more; the log says why"]


def test_a_video_that_changes_meanwhile_comes_as_it_is_then(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("video", size_bytes=8 * SIZE_BYTES)

    def change() -> None:
        endpoint.add("video", size_bytes=SIZE_BYTES)

    endpoint.inject(faults.call_at(SIZE_BYTES // 4, change), 1, faults.content_get)

    out, _ = warm(capsys, "video")

    assert out[1].startswith("video: 2.9MiB, ")
    assert warm(capsys, "--check", "video")[0] == ["video: all of 2.9MiB here"]


def test_what_no_other_process_could_use_is_named(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    """Neither an ETag nor a time tells it; a time does, also for a file that comes whole."""
    bare = faults.Fault("bare", lambda a, _: a.without_headers("ETag", "Last-Modified"))
    endpoint.inject(bare, math.inf)
    endpoint.add("untimed", size_bytes=SIZE_BYTES, completed_at=None)
    _, untimed = warm(capsys, "untimed", status=1)
    endpoint.add("timed", size_bytes=SIZE_BYTES)
    warm(capsys, "timed")
    endpoint.calm()
    endpoint.personality = PERSONALITIES["litellm_new"]
    endpoint.add("whole", size_bytes=SIZE_BYTES)
    warm(capsys, "whole")

    (said,) = untimed
    assert said.startswith(
        "hingfs: untimed: its server gives neither an ETag nor a time"
    )
    assert warm(capsys, "timed", "whole")[0] == [
        "2 videos here, 0B fetched",
        "timed: 2.9MiB, was here",
        "whole: 2.9MiB, was here",
    ]


def test_a_pause_that_is_too_long_tells_which_options_wait_for_it(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(429, "100"), math.inf)

    _, err = warm(capsys, "video", status=1)

    assert err[0].endswith(
        "; give --retry-after-limit 2m --metadata-timeout 3m to wait for it"
    )


def test_a_server_that_is_no_video_api_is_named(
    endpoint: FakeEndpoint, capsys: Say, expected_log: LogWatch
) -> None:
    endpoint.personality = Website()
    expected_log("answers with a web page; check the base URL")

    _, err = warm(capsys, "one", "two", status=9)

    assert err[0].startswith(f"hingfs: {endpoint.base_url} is no video API")
    assert [line[:11] for line in err[1:]] == ["hingfs: one", "hingfs: two"]


def test_check_counts_what_another_process_may_read(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    """Without an ETag that is a whole video whose time is told."""
    for number, (name, completed_at) in enumerate(
        (("told", 1.0), ("untold", None), ("part", 1.0))
    ):
        version = VideoVersion(endpoint.base_url, name, SIZE, Validator(), number)
        cache = DiskCache(directory, 64 << 20, waiting_bytes=8 << 20)
        video = cache.open(version, completed_at)
        assert video is not None
        put(cache, video, *BLOCKS[: 1 if name == "part" else None])
        video.release()
        cache.close()
        assert cache.join(10)

    out, _ = warm(capsys, "--check", "told", "untold", "part", status=13)

    assert out == ["part: not here", "told: all of 513.0KiB here", "untold: not here"]


def test_ctrl_c_keeps_what_came(
    endpoint: FakeEndpoint, directory: Path, capsys: Say
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES)
    endpoint.inject(
        faults.stall_at(9 * (128 << 10), threading.Event()),
        math.inf,
        faults.content_get,
    )
    # A shell starts what it runs in the background with Ctrl-C ignored.
    heeds = ("env", "--default-signal=INT")
    with subprocess.Popen(
        [*heeds, *command_for(endpoint, "video", "--stall-timeout", "60s")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=env_for(endpoint, directory),
    ) as process:
        eventually(lambda: blocks_of(directory) >= 8, "most of what came")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)

    assert (process.returncode, said) == (130, b"")
    endpoint.calm()
    endpoint.wait_until_idle()
    endpoint.reset_log()
    out, _ = warm(capsys, "video")
    assert out[-1].startswith("video: 2.9MiB, ")
    assert endpoint.content_bytes("video") <= SIZE_BYTES - 8 * (128 << 10)


def test_on_a_terminal_each_video_has_a_bar_and_then_its_line(
    endpoint: FakeEndpoint, directory: Path
) -> None:
    """In a pipe there is nothing but the lines: all other tests here are of one."""
    release = threading.Event()
    for name in ("video", "other"):
        endpoint.add(name, size_bytes=SIZE_BYTES)
    endpoint.inject(faults.stall_at(1, release), math.inf, faults.content_get)
    frames = (
        rb"video [^\n]* 0B of 2\.9MiB [^\n]*-:--:--",
        rb"[01] of 3 [^\n]* 0B of 5\.7MiB ",
    )
    ours, theirs = os.openpty()
    with subprocess.Popen(
        command_for(endpoint, "video", "other", "nope"),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
        env=env_for(endpoint, directory, TERM="xterm"),
    ) as process:
        os.close(theirs)
        said = b""
        try:
            while piece := os.read(ours, 1 << 16):
                said += piece
                if all(re.search(frame, said) for frame in frames):
                    release.set()
        except OSError:  # the other end is closed
            pass
        finally:
            release.set()
            os.close(ours)

    assert process.returncode == 11
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said.decode()).splitlines()
    assert all(re.search(frame, said) for frame in frames)
    assert {"video: 2.9MiB, 2.9MiB fetched", "other: 2.9MiB, 2.9MiB fetched"} <= {
        *lines
    }
    assert any(line.startswith("hingfs: nope: no such video") for line in lines)
    assert lines[-1] == "2 of 3 videos here, 5.7MiB fetched"


def test_a_bar_tells_the_rate_of_what_is_fetched() -> None:
    part, whole = (Wanted(said, said) for said in ("[red]part", "whole"))
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, color_system=None)
    with Bars([part, whole], console) as bars:
        for video in (part, whole):
            video.size_bytes, video.here_bytes = 10 << 20, 4 << 20
        for _ in range(3):
            bars.show()
            part.here_bytes += 1 << 20
            part.fetched_bytes += 1 << 20
        bars.ended(whole)
        bars.show()

    frames = screen.getvalue()
    assert re.search(r"\[red\]part .* 7\.0MiB of 10\.0MiB +\S+B/s 0:0", frames)
    assert re.search(r"1 of 2 .* 3\.0MiB of 6\.0MiB ", frames)
    assert re.search(r"whole .* 4\.0MiB of 10\.0MiB +-:--:--", frames)


def test_a_call_that_makes_no_sense_says_why(refusal: Refusal, tmp_path: Path) -> None:
    assert refusal(2, "warm", *LIMIT).startswith("`hingfs warm` needs a video: an ID, ")
    assert refusal(2, "warm", *LIMIT, "-j", "0", "v") == "-j: 0 is not one of 1 to 64"
    absent = tmp_path / "absent"
    said = f"{absent}: No such file or directory"
    assert refusal(2, "warm", *LIMIT, "-f", absent) == said
    said = refusal(2, "warm", "--disk-cache-size", "0", "v")
    assert said.startswith("--disk-cache-size is 0, so that nothing is kept on disk; ")


def blocks_of(directory: Path) -> int:
    """How many blocks of 128 KiB lie below *directory*."""
    files = directory.glob(f"{FOLDER}/*/*.data")
    return sum(512 * file.stat().st_blocks for file in files) >> 17


def test_a_path_tells_the_api_and_only_in_a_mount_of_this_user(
    refusal: Refusal, endpoint: FakeEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, me = f"hingfs:{endpoint.base_url}", os.geteuid()
    table = {
        "/mnt/ours": MountEntry("", "fuse.hingfs", "0:1", me, ours),
        "/mnt/other": MountEntry("", "fuse.hingfs", "0:2", me, "hingfs:http://other"),
        "/mnt/theirs": MountEntry("", "fuse.hingfs", "0:3", me + 1, ours),
        "/mnt/foreign": MountEntry("", "fuse.sshfs", "0:4", me, ours),
    }
    monkeypatch.setattr(mount_table, "entry_at", lambda path: table.get(str(path)))

    def said(*words: str) -> str:
        return refusal(2, "warm", *LIMIT, *words)

    for where in ("theirs", "foreign", "none"):
        path = f"/mnt/{where}/v.mp4"
        expected = f"{path} is in no hingfs mount of yours; mount it, or give the id"
        assert said(path) == expected
    assert said("/mnt/ours/v.mp4", "/mnt/other/w.mp4") == (
        "/mnt/ours/v.mp4 and /mnt/other/w.mp4 are in mounts of two APIs; use a command "
        "for each"
    )
    assert said("/mnt/other/w.mp4") == (
        "a path is in a mount of http://other, and the API of this command is "
        f"{endpoint.base_url}; give --base-url http://other"
    )
    assert endpoint.log == []


def command_for(endpoint: FakeEndpoint, *words: str) -> list[str]:
    """The command for a process of its own."""
    return [*HINGFS.split(), "warm", "--base-url", endpoint.base_url, *LIMIT, *words]


def env_for(
    endpoint: FakeEndpoint, directory: Path, **variables: str
) -> dict[str, str]:
    token, cache = endpoint.token, str(directory.parent)
    return environment(HINGFS_TOKEN=token, XDG_CACHE_HOME=cache, **variables)
