"""A disk that is full, read-only, failing, hanging or not safe costs no reader anything."""

import contextlib
import errno
import gc
import os
import subprocess
import threading
import time
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from hingfs.cache import attempts, files, health, janitor
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.pair import Descriptor
from tests.support.disks import (
    BLOCKS,
    Processes,
    opened,
    put,
    put_whole,
    read,
    readable,
    there,
    version_of,
)
from tests.support.mounting import eventually

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Processes]:
    """Caches that look at a bad disk again at once."""
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(health, "FIRST_PROBE_SECONDS", 0.02)
    monkeypatch.setattr(health, "LAST_PROBE_SECONDS", 0.04)
    processes = Processes(tmp_path / "cache")
    yield processes
    processes.close()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB, of which nothing must stay free."""
    directory = tmp_path / "cache"
    directory.mkdir()
    size = "size=2m,mode=700"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "hingfs", directory], check=True
    )
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


@as_root
def test_a_full_disk_is_read_and_not_written(
    process, small_disk, monkeypatch, expected_log
):
    monkeypatch.setattr(janitor, "STOP_BELOW", 0.0)
    monkeypatch.setattr(janitor, "CULL_BELOW", 0.0)
    cache = process()
    put_whole(cache, version_of())
    monkeypatch.setattr(cache._janitor, "take", lambda _: True)
    other = opened(cache, version_of("w", 64 * GRID_BYTES))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space left"):
        ballast.write_bytes(bytes(4 * MIB))
    expected_log(r"the disk cache is not written: .*/cache: No space left on device")

    assert cache.open(version_of("x")) is None
    put(cache, other, *range(10))

    assert readable(other) == []
    assert readable(opened(cache)) == [*BLOCKS]
    assert not cache._health.may_write

    ballast.unlink()
    eventually(lambda: cache._health.may_write, "it is written again")
    put(cache, other, 0)
    assert readable(other) == [0]


@as_root
def test_a_read_only_disk_is_read(process, small_disk, expected_log):
    put_whole(process(), version_of())
    process.close()
    expected_log("the disk cache is not written: .*Read-only file system")
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    cache = process()

    video = opened(cache)
    assert readable(video) == [*BLOCKS]
    assert cache.open(version_of("w")) is None
    assert not cache._health.may_write

    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    eventually(lambda: cache._health.may_write, "it is written again")
    put(cache, opened(cache, version_of("w")), 0)


def test_a_failing_disk_is_left_alone_until_it_works(
    process, monkeypatch, expected_log
):
    """One bad sector is a miss; three errors in a row, and nobody asks it any more."""
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)
    asked = []

    def preadv(*given):
        asked.append(given)
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "preadv", preadv)
        patched.setattr(janitor.Janitor, "_probe", preadv)
        assert read(video, 0, 9) is None
        assert not video.has(0)
        assert read(video, GRID_BYTES, 2 * GRID_BYTES) is None
        assert cache._health.may_read
        expected_log("the disk cache is not used: .*/cache: Input/output error")
        assert read(video, 2 * GRID_BYTES, 2 * GRID_BYTES + 1) is None
        asked.clear()
        assert not video.has(4)
        assert read(video, 4 * GRID_BYTES, 4 * GRID_BYTES + 1) is None
        assert cache.open(version_of("w")) is None
        eventually(lambda: len(asked) > 3, "probes")

    eventually(lambda: cache._health.may_read, "it is read again")
    put(cache, video, *BLOCKS)
    assert readable(video) == [*BLOCKS]


def test_a_read_that_hangs_is_left_behind_and_joined_by_no_other(
    process, monkeypatch, expected_log
):
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)
    hangs, go_on = threading.Event(), threading.Event()
    preadv = os.preadv

    def hang(file, views, offset, flags=0):
        if flags:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        hangs.set()
        assert go_on.wait(10)
        return preadv(file, views, offset)

    monkeypatch.setattr(os, "preadv", hang)
    monkeypatch.setattr(health, "HESITATION_SECONDS", 0.0)
    assert read(video, 0, 9) is None
    assert hangs.wait(10)

    assert read(video, 2 * GRID_BYTES, 2 * GRID_BYTES + 9) is None
    assert video.has(2), "nothing is known of it"
    assert cache._health.may_read

    monkeypatch.setattr(health, "SLOW_SECONDS", 0.0)
    monkeypatch.setattr(janitor.Janitor, "_probe", lambda _: go_on.wait(10))
    expected_log("the disk cache is not used: .*: no answer for 0 s")
    assert read(video, 2 * GRID_BYTES, 2 * GRID_BYTES + 9) is None
    assert not video.has(2)

    go_on.set()
    eventually(lambda: not cache._health._running, "it ends")


def test_an_open_that_hangs_is_left_behind_and_joined_by_no_other(process, monkeypatch):
    """What it opens at last is closed."""
    cache = process()
    put_whole(cache, version_of())
    hangs, go_on = threading.Event(), threading.Event()

    def hang(*given):
        assert not hangs.is_set(), "another one hangs"
        hangs.set()
        assert go_on.wait(10)
        return files.open_pair(*given)

    monkeypatch.setattr("hingfs.cache.folder.open_pair", hang)
    monkeypatch.setattr(health, "HESITATION_SECONDS", 0.0)
    assert cache.open(version_of("w")) is None
    assert hangs.wait(10)

    assert cache.open(version_of()) is None
    assert cache.open(version_of("x")) is None
    assert cache._health.may_read

    go_on.set()
    eventually(lambda: not cache._health._running, "it ends")
    eventually(lambda: not cache._videos, "it is closed")


def test_an_open_that_hangs_over_the_end_leaves_nothing_open(process, monkeypatch):
    cache = process()
    hangs, go_on = threading.Event(), threading.Event()

    def hang(*given):
        hangs.set()
        assert go_on.wait(10)
        return files.open_pair(*given)

    monkeypatch.setattr("hingfs.cache.folder.open_pair", hang)
    with ThreadPoolExecutor() as threads:
        opens = threads.submit(cache.open, version_of())
        assert hangs.wait(10)
        cache.close()
        assert opens.result(10) is None
    go_on.set()

    assert cache.join(10)
    assert not cache._videos


def test_trouble_that_comes_again_is_told_once(expected_log, monkeypatch):
    state = health.Health("there")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    expected_log("the disk cache is not written: there: No space left on device")
    waits = []
    for _ in range(4):
        state.blame(full)
        state.blame(full)
        assert state.probe_at is not None
        waits.append(round(state.probe_at - time.monotonic()))
        state.recovered()

    assert waits == [10, 20, 40, 80]


@pytest.mark.parametrize("made", ["cache", "cache/v2"])
def test_a_directory_that_others_can_write_is_refused(
    process, tmp_path, expected_log, made
):
    (tmp_path / "cache" / "v2").mkdir(parents=True, mode=0o700)
    (tmp_path / made).chmod(0o777)
    expected_log(f"the disk cache is not used: .*{made} can be .* chmod go-w .*{made}")

    assert process().open(version_of()) is None
    assert there(tmp_path / "cache") == []


def test_an_attempt_that_fails_keeps_nothing_alive():
    """Else the files that it opened stay open until the garbage is collected."""
    made = attempts.Attempts(health.Health("there"))
    opened_file: list[weakref.ref[object]] = []

    def fail():
        file = Descriptor(os.open("/dev/null", os.O_RDONLY))
        opened_file.append(weakref.ref(file))
        raise FileNotFoundError(errno.ENOENT, "deleted")

    gc.disable()
    try:
        with contextlib.suppress(FileNotFoundError):
            made.make(fail)
        eventually(lambda: opened_file[0]() is None, "it is closed")
    finally:
        gc.enable()
        made.close()
