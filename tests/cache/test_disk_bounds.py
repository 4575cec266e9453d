"""How much the disk cache holds, what goes first, and how much stays free."""

import fcntl
import os
import time
from collections.abc import Iterable
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from hingfs.cache import janitor, kept_files, stock
from hingfs.cache.layout import GRID_BYTES, data_of, index_of, stem_of
from hingfs.cache.shelf import IDLE_SECONDS, shelved
from tests.support.disks import (
    BLOCKS,
    LIMIT,
    SIZE,
    opened,
    put,
    put_whole,
    readable,
    there,
    version_of,
)
from tests.support.mounting import eventually

# What one whole video takes, with its index of two pages.
TAKEN = 4 * GRID_BYTES + 4096 + 2 * 4096
TEN = 10 * TAKEN


def held(directory: Path) -> int:
    return sum(v.taken_bytes for v in shelved(directory / "v2") if not v.kept)


def files_of(directory: Path, video_id: str) -> tuple[Path, Path]:
    """Its data and its index."""
    stem = stem_of(version_of(video_id), directory / "v2", "")
    return data_of(stem), index_of(stem)


def left(directory: Path, ids: Iterable[str]) -> list[str]:
    """Those of *ids* that are still there."""
    return [name for name in ids if files_of(directory, name)[0].exists()]


def test_the_directory_never_holds_more_than_its_limit(process, tmp_path):
    cache = process(TEN)
    odd = files_of(tmp_path, "a directory")[0]
    odd.mkdir(parents=True)
    for directory in (tmp_path, *odd.parents[:2]):
        directory.chmod(0o700)
    for number in range(30):
        put_whole(cache, version_of(f"v{number}"))
        assert held(tmp_path) <= TEN

    assert held(tmp_path) > TEN / 2
    assert readable(opened(cache, version_of("v29"))) == [*BLOCKS]
    assert readable(opened(cache, version_of("v0"))) == []
    assert cache.stats().dropped_bytes == 0
    assert cache.stats().evicted_videos >= 20


def test_what_was_unused_for_longest_goes_first(process, tmp_path):
    """Parts before whole ones, once they are idle; and never what is kept elsewhere."""
    cache = process(TEN)
    for name in ("old", "new", "kept", "future"):
        put_whole(cache, version_of(name))
    for name in ("idle part", "part in use"):
        video = opened(cache, version_of(name))
        put(cache, video, 0)
        video.release()
    (tmp_path / "kept").hardlink_to(files_of(tmp_path, "kept")[0])
    ages = {
        "old": 9 * IDLE_SECONDS,
        "new": 60.0,
        "kept": 99 * IDLE_SECONDS,
        "future": -IDLE_SECONDS,
        "idle part": 2 * IDLE_SECONDS,
        "part in use": 300.0,
    }
    for name, age in ages.items():
        os.utime(files_of(tmp_path, name)[1], (time.time() - age,) * 2)

    gone: list[str] = []
    while len(gone) < 5:
        stock.trim(tmp_path, held(tmp_path) - 1)
        gone += [name for name in ages if name not in gone + left(tmp_path, ages)]

    assert gone == ["idle part", "future", "old", "part in use", "new"]
    assert left(tmp_path, ages) == ["kept"]


def test_the_most_modest_of_the_running_processes_decides(
    process, tmp_path, monkeypatch
):
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.01)
    rich = process(LIMIT)
    for number in range(8):
        put_whole(rich, version_of(f"v{number}"))
    assert held(tmp_path) > 5 * TAKEN
    modest = process(5 * TAKEN)

    put_whole(modest, version_of("w"))
    assert held(tmp_path) <= 5 * TAKEN
    eventually(lambda: rich._janitor._room_bytes < 5 * TAKEN, "the other has noticed")
    for number in range(8):
        put_whole(rich, version_of(f"x{number}"))
        assert held(tmp_path) <= 5 * TAKEN

    modest.close()
    assert modest.join(10)
    eventually(lambda: rich._janitor._room_bytes > 10 * TAKEN, "it is alone again")
    for number in range(16):
        put_whole(rich, version_of(f"y{number}"))
    assert held(tmp_path) > 10 * TAKEN


def test_processes_that_write_in_turn_keep_the_limit_together(
    process, tmp_path, monkeypatch
):
    """One may have had room for long when another fills the directory."""
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.01)
    caches = [process(2 * TEN) for _ in range(2)]
    for cache in caches:
        opened(cache, version_of("one of them")).release()
    for cache in caches:
        eventually(lambda: len(cache._janitor._running) == 2, "it knows the other")  # noqa: B023
        put_whole(cache, version_of("one of them"))

    for turn, cache in enumerate(caches):
        for number in range(20):
            put_whole(cache, version_of(f"v{turn}-{number}"))
            assert held(tmp_path) <= 2 * TEN
    assert held(tmp_path) > TEN


def test_parts_that_only_an_ended_process_could_use_are_deleted(process, tmp_path):
    ended = process()
    for number in range(3):
        version = version_of(f"v{number}", sighting=number)
        put(ended, opened(ended, version), 0)
    put_whole(ended, version_of("whole", sighting=7))
    ended.close()
    assert ended.join(10)
    assert len(there(tmp_path)) == 4
    begun = files_of(tmp_path, "its index comes next")[0]
    begun.parent.mkdir(mode=0o700, exist_ok=True)
    begun.touch(mode=0o600)

    cache = process()
    put(cache, opened(cache, version_of(sighting=1)), 0)

    assert len(there(tmp_path)) == 3
    assert begun.exists()
    assert len([*tmp_path.glob("v2/*.process")]) == 1


def test_a_video_that_would_fill_the_cache_is_not_kept(process, tmp_path):
    assert process(SIZE).open(version_of()) is None
    assert there(tmp_path) == []


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """`free(bytes)`: so much of 1,000 MiB is free, but for what the cache holds."""
    space = [1000 * MIB]

    def found(folder):
        return space[0] - held(tmp_path), 1000 * MIB

    monkeypatch.setattr(janitor, "_free", found)
    monkeypatch.setattr(janitor, "REFUSAL_SECONDS", 0.0)
    return lambda size: space.__setitem__(0, size)


def test_free_space_is_a_floor(process, tmp_path, free, expected_log, monkeypatch):
    """Below 7 % videos are evicted until 10 % are free; below 3 % nothing is written."""
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr("hingfs.cache.health.FIRST_PROBE_SECONDS", 0.01)
    cache = process()
    for number in range(4):
        put_whole(cache, version_of(f"v{number}"))
    free(held(tmp_path) + 69 * MIB)
    eventually(lambda: there(tmp_path) == [], "all are evicted")

    free(29 * MIB)
    expected_log("the disk cache is not written: .*less than 3 % of it is free")
    eventually(lambda: not cache._health.may_write, "writing ends")
    written = cache.stats().written_bytes
    put_whole(cache, version_of())
    assert cache.stats().written_bytes == written > 0

    free(500 * MIB)
    eventually(lambda: cache._health.may_write, "writing goes on")
    put_whole(cache, version_of())
    assert readable(opened(process())) == [*BLOCKS]


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
@pytest.mark.parametrize("work", [janitor._only_one, kept_files.alone])
def test_a_forked_child_holds_no_lock(tmp_path, work):
    """It holds the file open as its parent had it, and lives longer than the work."""
    reading, writing = os.pipe()
    with work(tmp_path):
        child = os.fork()
        if not child:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
    (lock,) = tmp_path.glob("*.lock")

    with lock.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # or BlockingIOError
    os.close(writing)
    os.waitpid(child, 0)
    os.close(reading)
