"""The disk cache: what it keeps and for whom, and that a damaged file is a miss."""

import os
import resource
import shutil
import struct
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from xxhash import xxh3_64_intdigest

from hingfs.blocks import ByteRange, bounds_of
from hingfs.cache import pair
from hingfs.cache import video as video_module
from hingfs.cache.layout import GRID_BYTES, LAYOUT, RECORDS_AT
from hingfs.cache.video import whole_blocks
from tests.support.disks import (
    BLOCKS,
    SIZE,
    opened,
    put,
    put_whole,
    read,
    readable,
    there,
    version_of,
)
from tests.support.personalities import ramp


def test_what_was_put_is_read_by_the_next_process(process, tmp_path):
    first = process()
    put(first, opened(first), 0, 2, 4)

    video = opened(process())

    assert [video.has(index) for index in BLOCKS] == [True, False, True, False, True]
    assert read(video, 5, 99) == ramp("v", 5, 99)
    assert read(video, 4 * GRID_BYTES - 1, SIZE) is None
    assert read(video, SIZE - 7, SIZE) == ramp("v", SIZE - 7, SIZE)
    assert not video.is_complete
    assert not video.covers(ByteRange(0, GRID_BYTES + 1))
    (data,), (index,) = there(tmp_path), there(tmp_path, "index")
    assert data.stat().st_size == SIZE
    assert data.stat().st_blocks * 512 < SIZE, "blocks that are absent take no room"
    private = {path.stat().st_mode & 0o777 for path in (data.parent, data, index)}
    assert private == {0o700, 0o600}


def test_reads_of_any_span_are_right_before_and_after_they_are_verified(process):
    cache = process()
    put_whole(cache, version_of())
    edges = [0, 1, GRID_BYTES - 1, GRID_BYTES, 2 * GRID_BYTES + 5, SIZE - 1, SIZE]
    video = opened(process())
    for _ in range(2):
        for start in edges:
            for stop in edges:
                if start < stop:
                    assert read(video, start, stop) == ramp("v", start, stop)
    assert video.is_complete


def test_a_run_is_written_in_parts(process, monkeypatch):
    monkeypatch.setattr(pair, "_WRITE_BYTES", 100_000)
    cache = process()
    opened(cache).put(0, [ramp("v", 0, SIZE)])
    assert cache.settle(10)

    assert readable(opened(process())) == [*BLOCKS]


def test_records_are_what_the_layout_says(process, tmp_path):
    """Who changes them gives the layout a new number: others would call blocks bad."""
    put_whole(process(), version_of())
    (index,) = there(tmp_path, "index")
    blocks = [bounds_of(block, GRID_BYTES, SIZE) for block in BLOCKS]
    sums = [xxh3_64_intdigest(ramp("v", span.start, span.stop)) for span in blocks]

    assert index.read_bytes()[RECORDS_AT:] == struct.pack(
        "<5Q", *(1 << 63 | digest for digest in sums)
    )
    assert LAYOUT == 2


def test_another_version_finds_nothing(process, tmp_path):
    cache = process()
    put_whole(cache, version_of())

    for other in (version_of(etag='"b"'), version_of(size=SIZE - 1), version_of("w")):
        assert readable(opened(cache, other)) == []
    assert len(there(tmp_path)) == 4


def test_a_version_with_a_sighting_is_private_to_its_process(process, tmp_path):
    first, second = process(), process()
    version = version_of(sighting=2**62 + 1)
    put(first, opened(first, version), 0)

    assert readable(opened(second, version)) == []
    assert readable(opened(first, version)) == [0]
    assert len(there(tmp_path)) == 2


def test_the_same_files_serve_all_users_in_a_process(process):
    cache = process()
    one, other = opened(cache), opened(cache)
    assert one is other
    put(cache, one, 1)
    one.release()
    assert readable(other) == [1]
    other.release()
    assert opened(cache) is not one


def test_half_of_a_process_s_files_are_left_to_others(process, monkeypatch):
    """With 1,024 files and 512 open videos there was none for a connection."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (16, 16))
    cache = process()
    first = opened(cache)
    others = [opened(cache, version_of(name)) for name in "abc"]

    assert cache.open(version_of("d")) is None
    assert opened(cache) is first, "it takes no more files"

    others[0].release()
    assert readable(opened(cache, version_of("d"))) == []


def test_blocks_of_another_process_are_found_while_a_video_is_open(
    process, monkeypatch
):
    monkeypatch.setattr(video_module, "LOOK_SECONDS", 0.0)
    first, second = process(), process()
    mine, other = opened(first), opened(second)
    assert not other.has(0)
    put(first, mine, 0, 1)

    assert not other.has(1), "a look is made behind the caller"
    assert second.settle(10)
    assert other.has(1)
    assert readable(other) == [0, 1]

    put(second, other, 2)
    assert opened(first) is mine, "and at each open"
    assert readable(mine) == [0, 1, 2]


def test_a_block_that_another_process_erased_is_absent_and_written_anew(process):
    """`hingfs cache verify` found it bad; here it was verified before it went bad."""
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)
    assert readable(video) == [*BLOCKS]
    other = opened(process()).pair
    other.forget([1])
    other.erase_forgotten()

    opened(cache).release()

    assert [index for index in BLOCKS if not video.has(index)] == [1]
    assert read(video, GRID_BYTES, GRID_BYTES + 1) is None
    put(cache, video, 1)
    assert readable(opened(process())) == [*BLOCKS]


def test_blocks_that_do_not_fit_the_grid_are_kept_where_they_cover_it():
    size = 3 * GRID_BYTES + 5
    half = GRID_BYTES // 2

    def cut(*spans):
        pieces = [(start, [ramp("v", start, stop)]) for start, stop in sorted(spans)]
        return [
            (index, b"".join(views) == ramp("v", span.start, span.stop))
            for index, views in whole_blocks(pieces, size)
            for span in [bounds_of(index, GRID_BYTES, size)]
        ]

    assert cut((0, half)) == []
    assert cut((half, GRID_BYTES), (0, half)) == [(0, True)]
    assert cut((7, 3 * GRID_BYTES)) == [(1, True), (2, True)]
    ends = cut((2 * GRID_BYTES, size), (0, GRID_BYTES))
    assert ends == [(0, True), (2, True), (3, True)]
    overlapping = cut((0, GRID_BYTES + 9), (9, 2 * GRID_BYTES), (20, 40))
    assert overlapping == [(0, True), (1, True)]
    assert cut((7, 9), (20, 2 * GRID_BYTES)) == [(1, True)]
    assert cut((3 * GRID_BYTES, size)) == [(3, True)]
    assert cut((0, size - 1)) == [(0, True), (1, True), (2, True)]


def flip(path: Path, at: int, count: int = 1) -> None:
    with path.open("r+b", buffering=0) as file:
        before = os.pread(file.fileno(), count, at)
        os.pwrite(file.fileno(), bytes(byte ^ 0x10 for byte in before), at)


def zero(path: Path, at: int, count: int) -> None:
    with path.open("r+b", buffering=0) as file:
        os.pwrite(file.fileno(), bytes(count), at)


def replace(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


# What is done to one of the two files, and the blocks that are still read.
DAMAGE: dict[str, tuple[str, Callable[[Path], object], list[int]]] = {
    "a flipped bit": ("data", lambda path: flip(path, GRID_BYTES + 9), [0, 2, 3, 4]),
    "the last byte": ("data", lambda path: flip(path, SIZE - 1), [0, 1, 2, 3]),
    "torn": ("data", lambda path: zero(path, GRID_BYTES - 512, 1024), [2, 3, 4]),
    "a hole": ("data", lambda path: zero(path, 0, SIZE), []),
    "cut": ("data", lambda path: os.truncate(path, 3 * GRID_BYTES - 1), [0, 1]),
    "empty": ("data", lambda path: os.truncate(path, 0), []),
    "longer": ("data", lambda path: os.truncate(path, SIZE + 1), []),
    "deleted": ("data", lambda path: path.unlink(), []),
    "foreign": ("data", lambda path: path.write_bytes(b"hello" * SIZE), []),
    "a fifo": ("data", lambda path: replace(path, os.mkfifo), []),
    "a record": ("index", lambda path: flip(path, RECORDS_AT + 8), [0, 2, 3, 4]),
    "flags": ("index", lambda path: flip(path, RECORDS_AT + 6), [1, 2, 3, 4]),
    "zeroed records": ("index", lambda path: zero(path, RECORDS_AT, 24), [3, 4]),
    "cut records": ("index", lambda path: os.truncate(path, RECORDS_AT + 12), [0]),
    "half a header": ("index", lambda path: os.truncate(path, 99), []),
    "no header": ("index", lambda path: os.truncate(path, 0), []),
    "a header's bit": ("index", lambda path: flip(path, 40), []),
    "another magic": ("index", lambda path: flip(path, 0), []),
    "another layout": ("index", lambda path: flip(path, 8), []),
    "no index": ("index", lambda path: path.unlink(), []),
    "foreign index": ("index", lambda path: path.write_bytes(b"hello" * 9999), []),
    "a link": ("index", lambda path: replace(path, lambda p: p.symlink_to("a")), []),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_a_damaged_file_is_a_miss_and_is_written_anew(process, tmp_path, name):
    """Flipped, torn, cut and foreign files lose blocks, and never give a wrong byte."""
    ending, damage, left = DAMAGE[name]
    cache = process()
    put_whole(cache, version_of())
    (path,) = there(tmp_path, ending)
    damage(path)

    second = process()
    video = opened(second)

    assert readable(video) == left
    assert [block for block in BLOCKS if video.has(block)] == left, "bad is forgotten"
    assert second.settle(10)
    put(second, video, *BLOCKS)
    assert readable(video) == [*BLOCKS]
    assert readable(opened(process())) == [*BLOCKS]


@pytest.mark.parametrize("name", DAMAGE)
def test_a_file_that_is_damaged_while_it_is_open_is_written_anew(
    process, tmp_path, name
):
    """So that the next process finds it: the one that had it open knew it as it was."""
    ending, damage, _ = DAMAGE[name]
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)
    assert readable(video) == [*BLOCKS]
    (path,) = there(tmp_path, ending)
    damage(path)

    opened(cache).release()  # it looks at the files
    readable(video)  # what is bad is forgotten
    put(cache, video, *BLOCKS)

    assert readable(video) == [*BLOCKS]
    assert readable(opened(process())) == [*BLOCKS]


def test_a_video_in_another_ones_place_is_a_miss(process, tmp_path):
    cache = process()
    put_whole(cache, version_of("v"))
    (v_data,), (v_index,) = there(tmp_path), there(tmp_path, "index")
    put_whole(cache, version_of("w"))
    (w_data,) = {*there(tmp_path)} - {v_data}
    shutil.copyfile(w_data, v_data)

    assert readable(opened(process())) == []

    shutil.copyfile(w_data.with_suffix(".index"), v_index)
    assert readable(opened(process())) == []


def test_a_block_that_changes_after_it_was_verified_is_a_miss(process, tmp_path):
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)
    assert readable(video) == [*BLOCKS]
    (data,) = there(tmp_path)

    flip(data, 3 * GRID_BYTES)

    assert readable(video) == [0, 1, 2, 4]
    assert cache.stats().bad_blocks == 1


def test_a_bad_block_that_another_process_wrote_anew_stays(process, tmp_path):
    """Its record is the same as before."""
    cache = process()
    video = opened(cache)
    put(cache, video, 0)
    (data,) = there(tmp_path)
    flip(data, 99)
    other = opened(process()).pair
    other.forget(other.read_into(memoryview(bytearray(GRID_BYTES)), 0))
    assert not other.has(0)

    assert readable(video) == []
    put(cache, video, 0)
    other.erase_forgotten()

    assert readable(opened(process())) == [0]


def test_what_is_verified_is_not_verified_again(process, monkeypatch):
    """Once in a process, also if the video is closed meanwhile."""
    checked: list[int] = []
    record_of = pair._record_of

    def counted(views):
        checked.extend(map(len, views))
        return record_of(views)

    cache = process()
    put_whole(cache, version_of())
    monkeypatch.setattr(pair, "_record_of", counted)
    video = opened(cache)
    assert readable(video) == [*BLOCKS]
    assert sum(checked) == SIZE
    video.release()

    assert readable(opened(cache)) == [*BLOCKS]
    assert sum(checked) == SIZE

    assert readable(opened(process())) == [*BLOCKS]
    assert sum(checked) == 2 * SIZE


def test_a_deleted_directory_is_made_anew(process, tmp_path):
    cache = process()
    put_whole(cache, version_of())
    video = opened(cache)

    shutil.rmtree(tmp_path)

    assert readable(video) == [*BLOCKS], "its files are still open"
    put(cache, video, 0, 1)
    video.pair.forget([0])
    put(cache, video, 0)
    assert readable(opened(process())) == [0]


def test_deleted_files_are_made_anew_by_the_next_write(process, tmp_path):
    cache = process()
    video = opened(cache)
    put(cache, video, 0)
    for path in (*there(tmp_path), *there(tmp_path, "index")):
        path.unlink()

    put(cache, video, 1)

    assert readable(video) == [1]
    assert readable(opened(process())) == [1]


def test_texts_that_do_not_fit_a_header_are_not_kept(process, tmp_path):
    assert process().open(version_of(etag=f'"{"x" * 5000}"')) is None
    assert process().open(version_of(size=0)) is None
    assert there(tmp_path) == []


def test_what_waits_is_written_before_the_cache_ends(process):
    cache = process()
    video = opened(cache)
    put(cache, video, 4)
    for index in range(4):
        start = index * GRID_BYTES
        video.put(start, [ramp("v", start, start + GRID_BYTES)])

    cache.close()

    assert cache.join(10)
    assert cache.open(version_of("w")) is None
    assert readable(opened(process())) == [*BLOCKS]


def test_a_full_queue_drops(process, monkeypatch):
    cache = process()
    video = opened(cache)
    monkeypatch.setattr(cache._behind, "_most_bytes", GRID_BYTES)
    video.put(0, [ramp("v", 0, 2 * GRID_BYTES)])

    put(cache, video, 3)

    assert readable(video) == [3]
    assert cache.stats().dropped_bytes == 2 * GRID_BYTES


@pytest.mark.parametrize("used_at", [1.0, time.time() + 1e6], ids=["past", "future"])
def test_a_use_is_noted_once_a_minute(process, tmp_path, used_at):
    """From the first read on, however short it is: a clip may be read for a second."""
    cache = process()
    put_whole(cache, version_of())
    (index,) = there(tmp_path, "index")
    os.utime(index, (used_at, used_at))
    video = opened(cache)

    assert readable(video) == [*BLOCKS]
    assert cache.settle(10)
    assert time.time() - 60 < index.stat().st_mtime < time.time() + 60

    os.utime(index, (1.0, 1.0))
    assert read(video, 0, 1) is not None
    assert cache.settle(10)
    assert index.stat().st_mtime == 1.0
