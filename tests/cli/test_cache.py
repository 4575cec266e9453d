"""`hingfs cache`: what is said of a real directory, and what is left of it."""

import errno
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hingfs.cache.layout import FOLDER, GRID_BYTES, data_of, index_of, stem_of
from hingfs.cli import main as cli
from hingfs.facts.records import VideoFacts
from hingfs.facts.store import FactStore
from tests.cli.conftest import Refusal
from tests.support.disks import (
    SIZE,
    Processes,
    opened,
    put,
    put_whole,
    there,
    version_of,
)
from tests.support.mounting import HINGFS, environment
from tests.support.sources import ENDPOINT

Say = pytest.CaptureFixture[str]
HOSTILE = "v\x1b[2J\u202e\nid"
NOON = time.mktime((2026, 11, 27, 12, 0, 0, 0, 0, -1))


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The cache directory, where the command looks for it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "hingfs"


def stem(directory: Path, video_id: str) -> Path:
    return stem_of(version_of(video_id), directory / FOLDER, "")


def used(directory: Path, video_id: str, at: float) -> None:
    """Let *video_id* be used last then."""
    os.utime(index_of(stem(directory, video_id)), (at, at))


@pytest.fixture
def filled(directory: Path) -> Iterator[Processes]:
    """All of "old", two blocks of a hostile id, and all of "kept", linked elsewhere."""
    directory.mkdir(mode=0o700)
    processes = Processes(directory)
    cache = processes()
    for at, video_id in enumerate(("old", HOSTILE, "kept")):
        version = version_of(video_id)
        if video_id == HOSTILE:
            video = opened(cache, version)
            put(cache, video, 0, 1)
            video.release()
        else:
            put_whole(cache, version)
        if video_id == "kept":
            os.link(data_of(stem(directory, video_id)), directory / "elsewhere")
        used(directory, video_id, NOON + 60 * at)
    yield processes
    processes.close()


def said(capsys: Say, *words: str, status: int = 0) -> str:
    """What `hingfs cache` says on standard output."""
    assert cli.main(["cache", *words]) == status
    out, err = capsys.readouterr()
    assert err == ""
    return out


def listed(capsys: Say) -> dict[str, dict[str, object]]:
    """What the cache holds, by id, the one used last first."""
    return {video["video"]: video for video in json.loads(said(capsys, "--json"))}


def test_an_empty_cache_says_so(directory: Path, capsys: Say) -> None:
    assert said(capsys) == f"the disk cache in {directory} is empty\n"
    assert said(capsys, "--json") == "[]\n"
    assert not (directory / "facts.sqlite").exists()


def test_a_table_of_videos_the_one_used_last_first(
    filled: Processes, directory: Path, capsys: Say
) -> None:
    store = FactStore(directory, ENDPOINT, gather_seconds=0.0)
    store.load()
    facts = VideoFacts("old", SIZE, '"a"', None, 1, None, None, 0, NOON, time.time())
    store.put_video(facts)
    store.close()
    assert store.join(10)

    head, *table, total = said(capsys).splitlines()

    assert head.split() == [
        "VIDEO",
        "SIZE",
        "HERE",
        "KEPT",
        "LAST",
        "USED",
        "EXPIRES",
        "API",
    ]
    assert [line.split() for line in table] == [
        f"{name} 513.0KiB {here} {kept} 2026-11-27 12:{minute} {expires} {ENDPOINT}".split()
        for name, here, kept, minute, expires in (
            ("kept", "all", "yes", "02", "-"),
            ("v [2J id", "256.0KiB", "no", "01", "-"),
            ("old", "all", "no", "00", "2026-11-27 12:00"),
        )
    ]
    assert total.startswith("3 videos, 1.3MiB on disk in ")
    videos = listed(capsys)
    assert list(videos) == ["kept", HOSTILE, "old"]
    assert videos[HOSTILE]["here_bytes"] == 2 * GRID_BYTES
    assert videos["old"]["size_bytes"] == videos["old"]["here_bytes"] == SIZE
    assert [video["expires_at"] for video in videos.values()] == [None, None, NOON]


def test_verify_removes_what_is_bad_and_says_of_which_video(
    filled: Processes, directory: Path, capsys: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    total = "3 videos: 12 blocks as written, {} bad\n"
    assert said(capsys, "verify") == total.format(0)
    with data_of(stem(directory, HOSTILE)).open("r+b") as file:
        file.seek(GRID_BYTES)
        file.write(bytes(100))

    found = said(capsys, "verify", status=1)

    assert found == (
        f"v [2J id: 1 bad block\n{total.format(1).replace('12', '11')}"
        "what was bad is removed, and fetched again when it is read\n"
    )
    assert listed(capsys)[HOSTILE]["here_bytes"] == GRID_BYTES
    assert said(capsys, "verify") == total.format(0).replace("12", "11")

    preadv = os.preadv

    def cannot_read(number: int, *rest: Any) -> int:
        if os.readlink(f"/proc/self/fd/{number}").endswith(".data"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return preadv(number, *rest)

    monkeypatch.setattr(os, "preadv", cannot_read)
    assert "old: 5 bad blocks\n" in said(capsys, "verify", status=1)
    assert {video["here_bytes"] for video in listed(capsys).values()} == {0}


def test_trim_and_clear_remove_the_longest_unused_and_nothing_that_is_kept(
    filled: Processes, directory: Path, capsys: Say
) -> None:
    assert said(capsys, "trim", "2MiB").startswith("0B removed; 3 videos, ")
    # Parts that nobody uses would go before whole ones.
    used(directory, "old", time.time() - 120)
    used(directory, HOSTILE, time.time() - 60)

    assert said(capsys, "trim", "--cache-dir", str(directory), "400KiB").startswith(
        "524.0KiB removed; 2 videos, "
    )

    assert set(listed(capsys)) == {"kept", HOSTILE}
    assert said(capsys, "clear").startswith("264.0KiB removed; 1 video, ")
    assert set(listed(capsys)) == {"kept"}
    (directory / "elsewhere").unlink()
    end = f"removed; the disk cache in {directory} is empty\n"
    assert said(capsys, "clear").endswith(end)
    assert there(directory) == []


def test_a_size_or_an_option_that_makes_no_sense(
    directory: Path, refusal: Refusal
) -> None:
    assert "'much' is not a size" in refusal(2, "cache", "trim", "much")
    said = "--json is for `hingfs cache` alone"
    assert refusal(2, "cache", "--json", "clear") == said


def test_a_directory_that_others_can_write_is_refused(
    directory: Path, refusal: Refusal
) -> None:
    directory.mkdir()
    for path in (directory, directory / "v2"):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
        expected = f"{path} can be written by others; run: chmod go-w {path}"
        assert refusal(1, "cache") == expected
        path.chmod(0o700)


def test_whoever_has_read_enough_is_told_nothing_more(directory: Path) -> None:
    """As of `hingfs cache | head`."""
    reading, writing = os.pipe()
    os.close(reading)
    env = environment(XDG_CACHE_HOME=str(directory.parent))
    command = [*HINGFS.split(), "cache", "--json"]

    ended = subprocess.run(
        command, stdout=writing, stderr=subprocess.PIPE, env=env, check=False
    )

    os.close(writing)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")
