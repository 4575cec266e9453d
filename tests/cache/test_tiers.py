"""Blocks of contents, in memory and on disk: what is here, under which version."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB, MIB, bounds_of
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.version import Validator
from tests.support.disks import open_files
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

SIZE_BYTES = 5 * MIB + 1000


class Rig:
    """Tiers with a real disk under them, and a content that is held."""

    def __init__(self, directory: Path, block_bytes: int) -> None:
        self.directory = directory
        self.disk = DiskCache(directory, 64 * MIB, waiting_bytes=32 * MIB)
        self.memory = MemoryBlockCache(64 * MIB)
        self.tiers = Tiers(self.memory, block_bytes, self.disk)
        self.content = content()
        self.tiers.hold(self.content)
        self.count = -(-SIZE_BYTES // block_bytes)

    def close(self) -> None:
        self.tiers.close()
        assert self.tiers.join(10)

    def put(self, content: Content, blocks: range) -> None:
        """Blocks that were fetched, as they go to disk."""
        self.tiers.put_on_disk(content, blocks.start, [self.block(i) for i in blocks])
        assert self.disk.settle(10)

    def block(self, index: int) -> bytes:
        bounds = bounds_of(index, self.tiers.block_bytes, SIZE_BYTES)
        return bytes(ramp("v", bounds.start, bounds.stop))

    def flip(self, offset: int) -> None:
        """Change a byte on disk."""
        (path,) = self.directory.glob("v2/*/*.data")
        with path.open("r+b") as file:
            file.seek(offset)
            (byte,) = file.read(1)
            file.seek(offset)
            file.write(bytes([byte ^ 1]))


def content(etag: str | None = '"a"') -> Content:
    return Content(ENDPOINT, "v", SIZE_BYTES, Validator(etag), ranges=True)


@pytest.fixture(params=[128 * KIB, MIB])
def rig(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path, request.param)
    yield rig
    rig.close()


def read(rig: Rig, of: Content, start: int, stop: int) -> tuple[bytes, list[int]]:
    target = bytearray(stop - start)
    absent = rig.tiers.read_into(of, memoryview(target), start)
    return bytes(target), absent


def test_a_span_comes_from_memory_and_from_disk_and_the_rest_is_told(rig):
    rig.put(rig.content, range(1, 3))
    rig.memory.put(rig.content.block_key(0), rig.block(0))
    block_bytes = rig.tiers.block_bytes

    got, absent = read(rig, rig.content, 1000, 4 * block_bytes - 5)

    assert absent == [3]
    assert got[: 3 * block_bytes - 1000] == ramp("v", 1000, 3 * block_bytes)
    assert rig.tiers.absent(rig.content, range(rig.count)) == [*range(3, rig.count)]
    assert rig.memory.stats().held_bytes == block_bytes  # nothing is there twice


def test_small_blocks_are_kept_once_memory_has_the_rest_of_a_grid_block(tmp_path):
    rig = Rig(tmp_path, 32 * KIB)
    on_disk = []
    for indices in ((1, 3, 2), (rig.count - 1,), (4, 6, 7, 0), (5,)):
        for index in indices:
            rig.memory.put(rig.content.block_key(index), rig.block(index))
            rig.put(rig.content, range(index, index + 1))
        on_disk.append(rig.disk.stats().written_bytes)
    rig.put(rig.content, range(9, 18))
    on_disk.append(rig.disk.stats().written_bytes)
    rig.close()

    short = SIZE_BYTES % GRID_BYTES
    assert on_disk == [
        n * GRID_BYTES + m * short for n, m in [(0, 0), (0, 1), (1, 1), (2, 1), (3, 1)]
    ]
    later = Rig(tmp_path, 32 * KIB)
    got, absent = read(later, later.content, 5, 2 * GRID_BYTES)
    later.close()
    assert (got, absent) == (ramp("v", 5, 2 * GRID_BYTES), [])


def test_the_short_last_block_is_kept(rig):
    rig.put(rig.content, range(rig.count - 1, rig.count))

    got, absent = read(rig, rig.content, SIZE_BYTES - 700, SIZE_BYTES)
    assert (got, absent) == (ramp("v", SIZE_BYTES - 700, SIZE_BYTES), [])


def test_a_bad_block_is_absent_and_its_neighbours_are_not(rig):
    rig.put(rig.content, range(3))
    rig.flip(rig.tiers.block_bytes + 5)
    assert rig.tiers.absent(rig.content, range(3)) == []

    got, absent = read(rig, rig.content, 0, 3 * rig.tiers.block_bytes)

    assert absent == [1]
    assert got[: rig.tiers.block_bytes] == rig.block(0)
    assert got[2 * rig.tiers.block_bytes :] == rig.block(2)
    assert rig.tiers.absent(rig.content, range(3)) == [1]
    assert rig.tiers.block(rig.content, 1) is None
    assert rig.tiers.block(rig.content, 2) == rig.block(2)


def test_a_bad_block_on_disk_spoils_none_that_memory_has(rig):
    rig.put(rig.content, range(3))
    for index in (0, 2):
        rig.memory.put(rig.content.block_key(index), rig.block(index))
    rig.flip(5)
    rig.flip(2 * rig.tiers.block_bytes + 5)

    got, absent = read(rig, rig.content, 1, 3 * rig.tiers.block_bytes)

    assert (got, absent) == (ramp("v", 1, 3 * rig.tiers.block_bytes), [])


def test_another_sighting_of_the_version_has_its_blocks_and_another_version_none(rig):
    rig.put(rig.content, range(2))
    again, changed, untold = content(), content('"b"'), content(None)
    for other in (again, changed, untold):
        rig.tiers.hold(other)

    assert rig.tiers.absent(again, range(2)) == []
    assert rig.tiers.absent(changed, range(2)) == [0, 1]
    assert rig.tiers.absent(untold, range(2)) == [0, 1]


def test_a_content_that_gets_another_version_keeps_to_it(rig):
    """Its tag proves nothing any more; what it had by then is found for a proof."""
    rig.put(rig.content, range(1))
    rig.content.learn(Validator())  # an answer without a tag
    assert rig.tiers.absent(rig.content, range(2)) == [0, 1]
    rig.put(rig.content, range(1, 2))

    assert rig.tiers.absent(rig.content, range(2)) == [0]
    assert rig.tiers.block_handed_out(rig.content, 0) == rig.block(0)
    again = content()
    rig.tiers.hold(again)
    assert rig.tiers.absent(again, range(2)) == [1]


def test_blocks_of_a_version_are_not_put_under_the_next_one(rig):
    """Another thread may have found out, meanwhile, that its tag proves nothing."""
    fetched = rig.content.version
    rig.content.learn(Validator())

    assert not rig.tiers.put_on_disk(rig.content, 0, [rig.block(0)], fetched)
    assert rig.tiers.put_on_disk(rig.content, 0, [rig.block(0)], rig.content.version)


def test_files_are_open_while_the_content_is_held(rig):
    rig.put(rig.content, range(1))
    with rig.tiers.held(rig.content):
        assert rig.tiers.has(rig.content, 0)
    assert len(open_files(rig.directory)) == 2
    rig.tiers.release(rig.content)

    assert open_files(rig.directory) == []
    assert not rig.tiers.has(rig.content, 0)


def test_a_video_that_is_whole_on_disk_is_known_to_be(rig):
    """Until it has another version; one that is not whole is looked at again soon."""
    rig.put(rig.content, range(rig.count))
    assert rig.tiers.is_whole_on_disk(rig.content)

    rig.content.learn(Validator())

    assert rig.tiers.absent(rig.content, [0]) == [0]
    assert not rig.tiers.is_whole_on_disk(rig.content)
    part = content('"b"')
    with rig.tiers.held(part):
        assert not rig.tiers.is_whole_on_disk(part)
