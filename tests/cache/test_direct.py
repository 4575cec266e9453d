"""Writes past the page cache: which bytes go there, and what a disk that refuses costs."""

import errno
import fcntl
import math
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.cache import direct as direct_module
from hingfs.cache.behind import Behind
from hingfs.cache.direct import DirectWriter
from hingfs.cache.layout import GRID_BYTES
from tests.support.disks import (
    BLOCKS,
    SIZE,
    Processes,
    opened,
    put,
    put_whole,
    read,
    readable,
    version_of,
)
from tests.support.personalities import ramp

WHOLE = 4 * GRID_BYTES  # of SIZE, without the last block


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> list[tuple[bool, int, int]]:
    """Each write of data: whether it was direct, its offset and its size."""
    seen: list[tuple[bool, int, int]] = []
    pwritev = os.pwritev

    def noted(file, views, offset):
        size = pwritev(file, views, offset)
        if os.readlink(f"/proc/self/fd/{file}").endswith(".data"):
            seen.append((is_direct(file), offset, size))
        return size

    monkeypatch.setattr(os, "pwritev", noted)
    return seen


def is_direct(file: int) -> bool:
    return bool(fcntl.fcntl(file, fcntl.F_GETFL) & os.O_DIRECT)


def put_run(cache, video, start=0, stop=SIZE) -> None:
    """Put the ramp from *start* to *stop* at once."""
    video.put(start, [ramp(video.version.video_id, start, stop)])
    assert cache.settle(10)


def test_whole_grid_blocks_are_written_directly_and_the_tail_is_not(
    process, written, monkeypatch
):
    monkeypatch.setattr(direct_module, "_WRITE_BYTES", 3 * GRID_BYTES)
    cache = process()
    put_run(cache, opened(cache))

    assert written == [
        (True, 0, 3 * GRID_BYTES),
        (True, 3 * GRID_BYTES, GRID_BYTES),
        (False, WHOLE, SIZE - WHOLE),
    ]
    assert readable(opened(cache)) == [*BLOCKS]
    assert readable(opened(process())) == [*BLOCKS]


def test_what_is_written_directly_leaves_no_page_behind(process):
    cache = process()
    video = opened(cache)
    if not video.pair.tells_waits:
        pytest.skip("this file system cannot tell")
    put(cache, video, 0)

    with pytest.raises(BlockingIOError):
        video.pair.read_into(memoryview(bytearray(1)), 0, os.RWF_NOWAIT)


@pytest.mark.parametrize(
    ("much_waits", "slow", "direct"),
    [
        (True, math.inf, [True, False]),
        (True, 0.0, [True, True]),
        (False, math.inf, [True, True]),
    ],
    ids=["slow and much waits", "much waits", "slow"],
)
def test_a_slow_disk_has_the_page_cache_while_much_waits(
    process, written, monkeypatch, *, much_waits, slow, direct
):
    """Its first write tells that it is slow, and after a while it may show again."""
    monkeypatch.setattr(Behind, "keeps_up", not much_waits)
    monkeypatch.setattr(direct_module, "_SLOW_BYTES", slow)
    cache = process()
    video = opened(cache)
    put(cache, video, 0)
    put(cache, video, 1)
    monkeypatch.setattr(direct_module, "_SLOW_SECONDS", 0.0)
    put(cache, video, 2)

    assert [each[0] for each in written] == [*direct, True]
    assert readable(opened(process())) == [0, 1, 2]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    """An open file of data."""
    with (tmp_path / "a.data").open("w+b", buffering=0) as data:
        yield data.fileno()


@pytest.fixture
def ram_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system without O_DIRECT, which it refuses at open."""
    directory = tmp_path / "ram"
    directory.mkdir()
    subprocess.run(
        ["mount", "-t", "ramfs", "-o", "mode=700", "hingfs", directory], check=True
    )
    yield directory
    subprocess.run(["umount", "-l", directory], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_file_system_that_refuses_is_written_as_before_and_not_asked_again(
    ram_disk, written, monkeypatch
):
    asked = []
    open_ = os.open

    def noted(path, flags, *more):
        if flags & os.O_DIRECT:
            asked.append(path)
        return open_(path, flags, *more)

    monkeypatch.setattr(os, "open", noted)
    processes = Processes(ram_disk)
    cache = processes()
    monkeypatch.setattr(cache._janitor, "take", lambda _: True)  # no size is told
    for name in ("v", "w"):
        put_whole(cache, version_of(name))
        assert readable(opened(cache, version_of(name))) == [*BLOCKS]
    processes.close()

    assert len(asked) == 1
    assert not any(direct for direct, _, _ in written)


@pytest.mark.parametrize(
    ("error", "times"), [(errno.EINVAL, 1), (errno.EMFILE, 3)], ids=["never", "not now"]
)
def test_only_a_refusal_at_open_is_for_good(file, monkeypatch, error, times):
    asked = []

    def refused(*given):
        asked.append(given)
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "open", refused)
    writer = DirectWriter()
    for _ in range(3):
        assert writer.write(file, [memoryview(bytes(GRID_BYTES))], 0) == 0
    assert len(asked) == times


def test_a_refusal_at_a_write_is_for_good_and_an_error_is_told(file, monkeypatch):
    before = len(os.listdir("/proc/self/fd"))
    errors = [errno.EIO, errno.ENOSPC, errno.EINVAL]

    def failing(*_):
        number = errors.pop(0)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "pwritev", failing)
    writer = DirectWriter()
    block = [memoryview(bytes(GRID_BYTES))]
    for number in (errno.EIO, errno.ENOSPC):
        with pytest.raises(OSError, match=os.strerror(number)):
            writer.write(file, block, 0)
    for _ in range(2):
        assert writer.write(file, block, 0) == 0
    assert errors == []
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_short_write_is_gone_on_with_elsewhere(process, written, monkeypatch):
    """As on a disk that gets full: there the next write says so."""
    noted = os.pwritev

    def short(file, views, offset):
        if is_direct(file):
            return noted(file, [views[0][: 3 * 4096]], offset)
        return noted(file, views, offset)

    monkeypatch.setattr(os, "pwritev", short)
    cache = process()
    put_run(cache, opened(cache))

    assert written == [(True, 0, 3 * 4096), (False, 3 * 4096, SIZE - 3 * 4096)]
    assert readable(opened(process())) == [*BLOCKS]


def test_blocks_are_right_while_their_neighbours_are_written(process):
    """Nor does the kernel's read-ahead spoil one: it may hold the hole that was there."""
    count = 400
    cache = process()
    video = opened(cache, version_of(size=count * GRID_BYTES))
    done = threading.Event()
    wrong: list[int] = []

    def read_on() -> None:
        while not done.is_set():
            for index in filter(video.has, range(count)):
                start, stop = index * GRID_BYTES, index * GRID_BYTES + 99
                if read(video, start, stop) != ramp("v", start, stop):
                    wrong.append(index)

    reader = threading.Thread(target=read_on)
    reader.start()
    try:
        order = list(range(0, count, 2))
        random.Random(1).shuffle(order)
        for index in order:
            start = index * GRID_BYTES
            data = ramp("v", start, start + 2 * GRID_BYTES)
            assert video.put(start, [data], 10.0)
        assert cache.settle(10)
    finally:
        done.set()
        reader.join()

    assert wrong == []
    assert readable(video) == list(range(count))
