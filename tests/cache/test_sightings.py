"""A version that no tag tells: whose it is until it is whole, and whose afterwards."""

import pytest

from hingfs.blocks import MIB
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.version import Validator
from tests.support.disks import BLOCKS, SIZE, there
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

NOON = 1_764_244_800.0
TODAY, YESTERDAY = Validator(None, "today"), Validator(None, "yesterday")
BARE = Validator()


def sighting(
    validator: Validator = BARE,
    completed_at: float | None = NOON,
    *,
    size: int = SIZE,
    shifting: bool = False,
) -> Content:
    content = Content(ENDPOINT, "v", size, validator, completed_at=completed_at)
    if shifting:
        content.take_whole()
    return content


def tiers_on(disk: DiskCache, content: Content) -> Tiers:
    """Tiers that hold *content*."""
    tiers = Tiers(MemoryBlockCache(MIB), GRID_BYTES, disk)
    tiers.hold(content)
    return tiers


def put(disk: DiskCache, content: Content, blocks: range = BLOCKS) -> Tiers:
    tiers = tiers_on(disk, content)
    spans = [(i * GRID_BYTES, min((i + 1) * GRID_BYTES, SIZE)) for i in blocks]
    tiers.put_on_disk(content, blocks.start, [ramp("v", *span) for span in spans])
    assert disk.settle(10)
    return tiers


def has(disk: DiskCache, content: Content) -> list[int]:
    """The blocks of *content* that are here, for *disk*'s process."""
    absent = tiers_on(disk, content).absent(content, BLOCKS)
    return [index for index in BLOCKS if index not in absent]


@pytest.mark.parametrize(
    ("left", "served", "same"),
    [
        (sighting(TODAY), sighting(TODAY), True),
        (sighting(), sighting(), True),
        (sighting(TODAY, None), sighting(TODAY, None), True),
        (sighting(BARE, None), sighting(BARE, None), False),
        (sighting(), sighting(completed_at=NOON + 1), False),
        (sighting(), sighting(completed_at=None), False),
        (sighting(TODAY), sighting(YESTERDAY), False),
        (sighting(TODAY), sighting(BARE), False),
        (sighting(BARE, None), sighting(TODAY, None), False),
        (sighting(), sighting(Validator('"a"')), False),
        (sighting(), sighting(size=SIZE - 1), False),
        # Validators that change while the bytes do not count for nothing.
        (sighting(TODAY), sighting(Validator('"a"'), shifting=True), True),
        (sighting(TODAY), sighting(TODAY, None, shifting=True), False),
        (sighting(TODAY, None), sighting(TODAY, None, shifting=True), False),
    ],
)
def test_a_whole_one_is_taken_up_if_the_server_tells_the_same(
    process, left, served, same
):
    first, later = process(), process()
    put(first, left)

    assert has(later, served) == [*BLOCKS] * same


def test_a_part_is_of_use_to_its_own_process_alone(process):
    first, second, third = process(), process(), process()
    of_first = sighting()
    put(first, of_first, BLOCKS[:-1])
    of_second = sighting()
    assert has(second, of_second) == []

    put(first, of_first)

    assert has(second, of_second) == [], "it goes on with its own blocks"
    assert has(second, sighting()) == [*BLOCKS]
    assert has(third, sighting()) == [*BLOCKS]


def test_one_that_was_taken_up_is_read_where_it_lies(process, tmp_path):
    put(process(), sighting(TODAY))
    later = process()
    content = sighting(Validator('"a"'), shifting=True)
    tiers = tiers_on(later, content)
    for _ in range(2):
        target = bytearray(SIZE)
        assert tiers.read_into(content, memoryview(target), 0) == []
        assert target == ramp("v", 0, SIZE)
        tiers.release(content)
        tiers.hold(content)
    assert len(there(tmp_path)) == 1


@pytest.mark.parametrize("happens", ["ranges_ignored", "take_whole"])
def test_what_one_answer_brings_meets_no_block_of_others(process, happens):
    disk, content = process(), sighting()
    tiers = put(disk, content, BLOCKS[:2])

    getattr(content, happens)()

    assert tiers.absent(content, BLOCKS) == [*BLOCKS]
    now = content.version
    getattr(content, happens)()
    assert content.version is now


def test_one_that_is_known_to_have_other_bytes_is_taken_up_by_nobody(process):
    """Its bytes were compared, since no time tells it from the version after it."""
    disk, of_old = process(), sighting()
    tiers = put(disk, of_old)
    now, bare = sighting(), sighting()
    now.comes_after(of_old)
    assert has(disk, now) == []

    replaced = sighting()
    replaced.comes_after(of_old)
    tiers.drop_disproved(replaced)
    assert disk.settle(10)

    assert has(process(), bare) == []
    tiers.put_on_disk(of_old, 0, [ramp("v", 0, GRID_BYTES)])
    assert disk.settle(10)
    assert has(process(), sighting()) == []


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (sighting(TODAY), sighting(TODAY), False),
        (sighting(), sighting(completed_at=NOON + 1), True),
        (sighting(), sighting(size=SIZE - 1), True),
        (sighting(YESTERDAY), sighting(TODAY), True),
        (sighting(YESTERDAY), sighting(TODAY, shifting=True), False),
    ],
)
def test_one_that_is_told_from_the_version_before_may_be_taken_up(before, after, told):
    after.comes_after(before)

    assert after.seeks_sighting is told


def test_what_waits_to_be_written_of_a_dropped_one_is_not_written(process, monkeypatch):
    """Nobody holds it any more; it would be whole again, and pass for the new one."""
    monkeypatch.setattr("hingfs.cache.behind.GATHER_SECONDS", 10.0)
    disk, old, new = process(), sighting(), sighting()
    tiers = tiers_on(disk, old)
    assert tiers.put_on_disk(old, 0, [ramp("v", 0, SIZE)])
    tiers.release(old)
    new.comes_after(old)

    tiers.drop_disproved(new)
    assert disk.settle(10)

    assert has(process(), sighting()) == []
