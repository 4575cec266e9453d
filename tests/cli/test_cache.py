"""`hingfs cache`: what is said of a real directory, and what is left of it."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.cache.layout import GRID_BYTES
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


@pytest.fixture
def filled(directory: Path) -> Iterator[Processes]:
    """All of "old", two blocks of a hostile id, and all of "kept", linked elsewhere."""
    directory.mkdir(mode=0o700)
    processes = Processes(directory)
    cache = processes()
    for at, video_id in enumerate(("old", HOSTILE, "kept")):
        before = set(there(directory))
        version = version_of(video_id)
        if video_id == HOSTILE:
            video = opened(cache, version)
            put(cache, video, 0, 1)
            video.release()
        else:
            put_whole(cache, version)
        (data,) = set(there(directory)) - before
        if video_id == "kept":
            os.link(data, directory / "elsewhere")
        os.utime(data.with_suffix(".index"), (NOON + 60 * at, NOON + 60 * at))
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


def test_a_directory_that_others_can_write_is_refused(
    directory: Path, refusal: Refusal
) -> None:
    directory.mkdir()
    for path in (directory, directory / "v1"):
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
