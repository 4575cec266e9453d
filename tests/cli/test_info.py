"""`hingfs info` without a mount: what it asks, says, and ends with."""

import fcntl
import json
import math
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from rich.cells import cell_len

from hingfs import log
from hingfs.cli import main as cli
from hingfs.mount import mount_table
from hingfs.mount.mount_table import MountEntry
from tests.cli.conftest import TOKEN
from tests.conftest import LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import REPOSITORY, environment
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    RENDER_SECONDS,
    Personality,
    Video,
    Website,
)

SIZE_BYTES = 3_000_001
PROMPT = (
    "A red fox runs through fresh snow at dawn, tracking shot, 35 mm, soft light; the "
    "camera stays low.\n\n清晨的雪地里一只红狐在奔跑。阳光穿过白桦林。雪花在空中飞舞。它停下来。"
    "回头望向镜头。 👨‍👩‍👧‍👦🎬 שלום עולם"
)
HOSTILE = "\x1b[2J\x1b]0;owned\x07\u202e" + "w" * 200 + "视" * 100

Say = pytest.CaptureFixture[str]


@dataclass(frozen=True)
class Prompted(Personality):
    """Tells the prompt as well."""

    prompt: str = PROMPT

    def describe(self, video: Video) -> dict[str, object]:
        return super().describe(video) | {"prompt": self.prompt}


@pytest.fixture(autouse=True)
def settings(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The API is the fake, and all that is here lies in a directory of the test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HINGFS_BASE_URL", endpoint.base_url)
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    monkeypatch.setattr(log, "begin", lambda *_, **__: None)


def run(capsys: Say, *words: str, status: int = 0) -> str:
    """What `hingfs` says on standard output."""
    os.environ["HINGFS_TOKEN"] = TOKEN  # which each call takes away
    assert cli.main([*words]) == status
    return capsys.readouterr().out


def info(capsys: Say, *words: str, status: int = 0) -> dict[str, str]:
    """The rows of `hingfs info`, of one video, by label."""
    lines = run(capsys, "info", *words, status=status).splitlines()[1:]
    return {line[2:12].rstrip(): line[14:] for line in lines if line[2:3].strip()}


def told(capsys: Say, *words: str, status: int = 0) -> list[dict[str, object]]:
    """The objects of `hingfs info --json`."""
    lines = run(capsys, "info", "--json", *words, status=status).splitlines()
    return [json.loads(line) for line in lines]


def asked(endpoint: FakeEndpoint, video_id: str) -> list[str]:
    """The requests about *video_id* so far."""
    found = [f"{one.method} {one.kind}" for one in endpoint.log]
    ids = [one.video_id for one in endpoint.log]
    return [what for what, one in zip(found, ids, strict=True) if one == video_id]


@pytest.mark.parametrize("name", sorted(PERSONALITIES.keys() - {"bifrost"}))
def test_every_server_tells_where_a_video_stands(
    name: str, endpoint: FakeEndpoint, capsys: Say
) -> None:
    """One request for a video that is not ready; about one that is, one status."""
    endpoint.personality = PERSONALITIES[name]
    os.environ["HINGFS_BASE_URL"] = endpoint.base_url
    endpoint.add("ready", size_bytes=SIZE_BYTES)
    endpoint.add("rendering", status="in_progress")
    endpoint.add("failed", status="failed")

    found = told(capsys, "ready", "rendering", "failed", "nope", status=11)

    assert [(one["status"], one["size_bytes"]) for one in found] == [
        ("ready", SIZE_BYTES),
        ("not_ready", None),
        ("failed", None),
        ("not_found", None),
    ]
    assert found[0]["model"] in {"sora-2", "veo-3.1"}
    assert asked(endpoint, "ready").count("GET status") == 1
    assert asked(endpoint, "rendering") == ["GET status"]
    assert asked(endpoint, "failed") == ["GET status"]


def test_json_has_these_fields(endpoint: FakeEndpoint, capsys: Say) -> None:
    """And the README names all of them."""
    endpoint.personality = Prompted()
    endpoint.add("a/b", size_bytes=SIZE_BYTES, expires_at=CREATED_AT + 3600)
    endpoint.add("rendering", status="in_progress")
    endpoint.set_status("rendering", "in_progress", 42)

    ready, rendering = told(capsys, "a/b", "rendering")

    etag = ready.pop("etag")
    assert re.fullmatch(r'"[0-9a-f]{16}"', str(etag))
    common = {
        "api": endpoint.base_url,
        "recalled": False,
        "model": "sora-2",
        "prompt": PROMPT,
        "seconds": 8.0,
        "resolution": "1280x720",
        "created_at": CREATED_AT,
        "cached_bytes": 0,
        "kept_bytes": 0,
        "kept": False,
        "path": None,
    }
    assert ready == {
        "video": "a/b",
        "status": "ready",
        "word": "completed",
        "progress": 1.0,
        "error": None,
        "size_bytes": SIZE_BYTES,
        "completed_at": CREATED_AT + RENDER_SECONDS,
        "expires_at": CREATED_AT + 3600,
        **common,
    }
    assert rendering == {
        "video": "rendering",
        "status": "not_ready",
        "word": "in_progress",
        "progress": 0.42,
        "error": "not ready (status in_progress)",
        "size_bytes": None,
        "completed_at": None,
        "expires_at": None,
        "etag": None,
        **common,
    }
    readme = (REPOSITORY / "README.md").read_text()
    _, _, after = readme.partition("`hingfs info --json` prints")
    named = set(re.findall(r"`(\w+)`", after.partition("\n\n")[0]))
    assert named >= rendering.keys()


def test_what_was_confirmed_a_moment_ago_costs_the_status_alone(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES)
    info(capsys, "video")
    assert asked(endpoint, "video") == ["GET status", "HEAD content"]
    endpoint.reset_log()

    assert info(capsys, "video")["size"] == "2.9MiB (3,000,001 bytes)"

    assert asked(endpoint, "video") == ["GET status"]

    endpoint.add(
        "video", size_bytes=10, created_at=CREATED_AT + 9, completed_at=CREATED_AT + 99
    )
    assert info(capsys, "video")["size"] == "10B (10 bytes)"


def test_a_server_that_sends_all_to_tell_a_size_is_not_asked_for_one_again(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.personality = PERSONALITIES["litellm_new"]
    endpoint.add("first", size_bytes=SIZE_BYTES)
    endpoint.add("second", size_bytes=SIZE_BYTES)
    info(capsys, "first")
    endpoint.reset_log()

    first, second = told(capsys, "first", "second")

    assert (first["size_bytes"], second["size_bytes"]) == (SIZE_BYTES, None)
    assert (first["status"], second["status"]) == ("ready", "ready")
    assert sorted(one.kind for one in endpoint.log) == ["status", "status"]


@pytest.mark.parametrize(
    ("word", "progress", "said"),
    [
        ("queued", 0, "queued"),
        ("in_progress", 42, "rendering 42 %"),
        ("failed", 0, "failed: No video was made."),
    ],
)
def test_a_person_reads_the_state_and_the_exit_status_is_good(
    word: str,
    progress: int,
    said: str,
    endpoint: FakeEndpoint,
    capsys: Say,
) -> None:
    endpoint.add("video", status=word)
    endpoint.set_status("video", word, progress)

    assert info(capsys, "video")["status"].startswith(said)


def test_an_unknown_word_is_shown(
    endpoint: FakeEndpoint, capsys: Say, quiet_log: LogWatch
) -> None:
    quiet_log("unknown status word")
    endpoint.add("video", status="dancing")

    assert "dancing" in info(capsys, "video")["status"]


def test_what_is_here_is_told(endpoint: FakeEndpoint, capsys: Say) -> None:
    """Also of a video that the server has no more; of another version nothing counts."""
    for name in ("cached", "kept", "neither", "replaced", "kept before"):
        endpoint.add(name, size_bytes=SIZE_BYTES)
    run(capsys, "warm", "cached", "replaced")
    run(capsys, "keep", "kept", "kept before")
    later, data = CREATED_AT + 99, bytes(SIZE_BYTES)
    for name in ("replaced", "kept before"):
        endpoint.add(name, data=data, completed_at=later)

    rows = {name: info(capsys, name) for name in endpoint.videos}

    assert {name: row["cached"] for name, row in rows.items()} == {
        "cached": "all of 2.9MiB",
        "kept": "no",
        "neither": "no",
        "replaced": "no",
        "kept before": "no",
    }
    assert rows["kept before"]["kept"].startswith("another version, since ")
    assert rows["neither"]["kept"] == rows["cached"]["kept"] == "no"
    assert re.fullmatch(r"whole, since \d{4}-\d\d-\d\d \d\d:\d\d", rows["kept"]["kept"])
    (one,) = told(capsys, "kept")
    assert (one["kept"], one["kept_bytes"], one["cached_bytes"]) == (
        True,
        SIZE_BYTES,
        0,
    )


def test_where_no_validator_tells_versions_apart_their_sizes_do(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    bare = faults.Fault("bare", lambda a, _: a.without_headers("ETag", "Last-Modified"))
    endpoint.inject(bare, math.inf)
    endpoint.add("video", size_bytes=SIZE_BYTES)
    run(capsys, "warm", "video")
    assert info(capsys, "video")["cached"] == "all of 2.9MiB"

    endpoint.add("video", size_bytes=SIZE_BYTES - 1, completed_at=CREATED_AT + 99)

    assert info(capsys, "video")["cached"] == "no"


def test_what_is_gone_and_kept_is_told_from_what_is_here(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.personality = Prompted()
    now = int(time.time())
    endpoint.add("kept", size_bytes=SIZE_BYTES, expires_at=now + 7200.5)
    endpoint.add("known", size_bytes=SIZE_BYTES)
    run(capsys, "keep", "kept")
    info(capsys, "known")
    endpoint.remove("kept")
    endpoint.remove("known")

    kept = info(capsys, "kept")
    known = info(capsys, "known", status=11)

    assert kept["status"] == "gone (kept here)"
    assert kept["known"] == "from earlier, since the server tells nothing of it now"
    assert kept["size"] == "2.9MiB (3,000,001 bytes)"
    assert kept["model"] == "sora-2"
    assert kept["prompt"].startswith("A red fox runs")
    assert kept["expires"].endswith((", in 2 h", ", in 120 min"))
    assert known["status"] == "gone"
    assert known["model"] == "sora-2"


def test_what_has_expired_says_when(
    endpoint: FakeEndpoint, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint.add("video", size_bytes=SIZE_BYTES, expires_at=time.time() + 1800)
    run(capsys, "keep", "video")
    endpoint.remove("video")
    later = time.time() + 3 * 3600
    monkeypatch.setattr("hingfs.cli.info.time.time", lambda: later)

    rows = info(capsys, "video")

    assert rows["status"] == "expired (kept here)"
    assert rows["expires"].endswith(" ago")
    (one,) = told(capsys, "video")
    assert (one["status"], one["recalled"]) == ("expired", True)


def test_without_the_server_all_that_is_known_is_told(
    endpoint: FakeEndpoint, capsys: Say, quiet_log: LogWatch
) -> None:
    quiet_log("the server is away")
    endpoint.personality = Prompted()
    endpoint.add("known", size_bytes=SIZE_BYTES)
    before = told(capsys, "known")[0]
    endpoint.stop()

    known, unknown = told(capsys, "known", "unknown", status=4)
    rows = info(capsys, "known", status=4)

    changed = {"status", "word", "progress", "error", "recalled"}
    assert {key for key in known if known[key] != before[key]} == changed
    assert (known["status"], unknown["status"]) == ("unreachable", "unreachable")
    assert unknown["size_bytes"] is None
    assert rows["status"].startswith("unreachable: 127.0.0.1")
    assert rows["known"].startswith("from earlier")


def test_a_refused_token_is_named_as_such(
    endpoint: FakeEndpoint, capsys: Say, quiet_log: LogWatch
) -> None:
    quiet_log("Incorrect API key")
    endpoint.add("video")
    endpoint.add("kept")
    run(capsys, "keep", "kept")
    endpoint.token = "another"

    for name, begin in (("video", "refused: "), ("kept", "refused (kept here): ")):
        rows = info(capsys, name, status=3)
        assert rows["status"].startswith(begin)
        assert "Incorrect API key" in rows["status"]


def test_what_is_completed_and_not_served_yet_is_not_ready(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("video")
    lags = faults.status(404, body=b'{"error": {"message": "not yet available"}}')
    endpoint.inject(lags, math.inf, lambda request: request.kind == "content")

    assert info(capsys, "video")["status"] == "completed, and not served yet"
    assert told(capsys, "video")[0]["status"] == "not_ready"


def test_a_server_that_fails_leaves_it_unknown(
    endpoint: FakeEndpoint, capsys: Say
) -> None:
    endpoint.add("video")
    endpoint.inject(faults.status(500), math.inf)

    assert info(capsys, "video", status=1)["status"].startswith("unknown: ")
    assert told(capsys, "video", status=1)[0]["status"] == "error"


def test_where_there_is_no_video_api_the_status_says_so(
    endpoint: FakeEndpoint, capsys: Say, quiet_log: LogWatch
) -> None:
    quiet_log("check the base URL")
    endpoint.personality = Website()
    os.environ["HINGFS_TOKEN"] = TOKEN

    assert cli.main(["info", "video"]) == 9

    assert "is no video API" in capsys.readouterr().err


def test_a_token_in_an_answer_is_hidden(endpoint: FakeEndpoint, capsys: Say) -> None:
    endpoint.personality = Prompted(f"a fox, {TOKEN}")
    endpoint.add("video")

    for words in ((), ("--json",)):
        said = run(capsys, "info", "video", *words)
        assert "a fox, " in said
        assert TOKEN not in said


@pytest.mark.parametrize("place", ["", "/.wait"])
def test_a_path_in_a_mount_names_the_video_and_its_api(
    place: str,
    endpoint: FakeEndpoint,
    tmp_path: Path,
    capsys: Say,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    source = mount_table.source_of(endpoint.base_url)
    entry = MountEntry(str(tmp_path), "fuse.hingfs", "0:1", os.geteuid(), source)
    monkeypatch.setattr(mount_table, "entries", lambda: iter([entry]))
    monkeypatch.delenv("HINGFS_BASE_URL")
    endpoint.add("video", status="queued")

    (one,) = told(capsys, f"{tmp_path}{place}/video.mp4")

    assert (one["video"], one["status"]) == ("video", "not_ready")
    assert one["path"] == f"{tmp_path}/video.mp4"
    assert told(capsys, f"{tmp_path}/nope.mp4", status=11)[0]["path"] is None


def test_in_a_pipe_each_fact_is_a_line(endpoint: FakeEndpoint, capsys: Say) -> None:
    """So that `grep` finds all of it; a line of the prompt is a line."""
    endpoint.personality = Prompted("word " * 100 + "\nend")
    endpoint.add("video")

    lines = run(capsys, "info", "video").splitlines()

    assert lines[-2:] == [f"  prompt      {('word ' * 100).strip()}", " " * 14 + "end"]


# --- on a terminal --------------------------------------------------------------------


def screen(endpoint: FakeEndpoint, *words: str, columns: int = 80) -> list[str]:
    """The lines of `hingfs info` on a terminal."""
    ours, theirs = pty.openpty()
    size = struct.pack("HHHH", 24, columns, 0, 0)
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, size)
    environ = environment(
        HINGFS_TOKEN=TOKEN, HINGFS_BASE_URL=endpoint.base_url, TZ="UTC"
    )
    environ.pop("COLUMNS", None)
    shown = b""
    with subprocess.Popen(
        [sys.executable, "-m", "hingfs", "info", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environ,
    ):
        os.close(theirs)
        try:
            while piece := os.read(ours, 1 << 16):
                shown += piece
        except OSError:  # the other end is closed
            pass
        finally:
            os.close(ours)
    return shown.decode().replace("\r\n", "\n").splitlines()


def test_a_person_at_a_terminal_reads_a_block_for_each_video(
    endpoint: FakeEndpoint,
) -> None:
    endpoint.personality = Prompted()
    endpoint.add("video_68f3a1c09d8c8190b1f4", size_bytes=12_700_001)
    endpoint.add("next", status="in_progress", created_at=CREATED_AT)

    shown = screen(endpoint, "video_68f3a1c09d8c8190b1f4", "next", "nope")

    etag = shown.pop(8)
    assert etag.startswith('  etag        "')
    prompt = [
        "  prompt      A red fox runs through fresh snow at dawn, tracking shot, 35 mm,",
        "              soft light; the camera stays low.",
        "",
        "              清晨的雪地里一只红狐在奔跑。阳光穿过白桦林。雪花在空中飞舞。它停下",
        "              来。回头望向镜头。 👨‍👩‍👧‍👦🎬 שלום עולם",
    ]
    assert shown == [
        "video_68f3a1c09d8c8190b1f4",
        "  status      ready",
        "  model       sora-2",
        "  length      8 s",
        "  resolution  1280x720",
        "  size        12.1MiB (12,700,001 bytes)",
        "  created     2026-09-21 14:13",
        "  completed   2026-09-21 14:14",
        "  cached      no",
        "  kept        no",
        *prompt,
        "",
        "next",
        "  status      rendering",
        "  model       sora-2",
        "  length      8 s",
        "  resolution  1280x720",
        "  created     2026-09-21 14:13",
        *prompt,
        "",
        "nope",
        "  status      no such video",
    ]


@pytest.mark.parametrize("columns", [40, 80])
def test_hostile_text_moves_nothing_and_no_line_is_too_long(
    columns: int, endpoint: FakeEndpoint
) -> None:
    @dataclass(frozen=True)
    class Hostile(Prompted):
        def describe(self, video: Video) -> dict[str, object]:
            failure = {"error": {"message": HOSTILE}, "model": HOSTILE}
            return super().describe(video) | failure

    endpoint.personality = Hostile(HOSTILE + "\n" + PROMPT)
    endpoint.add("failed", status="failed")
    endpoint.add("视" * 60 + "\u202e")
    endpoint.inject(faults.wrong_etag('"\u00e9' + "x" * 300 + '"'), 9)

    shown = screen(endpoint, *endpoint.videos, columns=columns)

    assert "\x1b" not in "".join(shown)
    assert "\u202e" not in "".join(shown)
    assert max(map(cell_len, shown)) <= columns
    assert "w" * 60 in "".join(line.strip() for line in shown)
