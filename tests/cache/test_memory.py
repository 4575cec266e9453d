"""The memory cache: its budget, the right block, and unread before read."""

import threading

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from hingfs.cache.memory import UNREAD_SHARE, MemoryBlockCache
from hingfs.version import BlockKey, Validator, VideoVersion
from tests.support.sources import ENDPOINT

BLOCK = 100
BUDGET = 16 * BLOCK
VERSIONS = [
    VideoVersion(ENDPOINT, f"v{number}", 10**6, Validator('"a"')).key
    for number in range(3)
]
VERSION = VERSIONS[0]


def block_of(number: int) -> bytes:
    return number.to_bytes(4) * (BLOCK // 4)


@pytest.fixture
def cache() -> MemoryBlockCache:
    return MemoryBlockCache(BUDGET)


class CacheMachine(RuleBasedStateMachine):
    """Beside a dict that forgets nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.cache = MemoryBlockCache(BUDGET)
        self.ever: dict[BlockKey, bytes] = {}
        self.reserved = 0

    @initialize(budget_blocks=st.integers(8, 64))
    def begin(self, budget_blocks: int) -> None:
        self.cache = MemoryBlockCache(budget_blocks * BLOCK)

    keys = st.tuples(st.sampled_from(VERSIONS), st.integers(0, 40))

    @rule(key=keys, block=st.binary(min_size=1, max_size=BLOCK))
    def put(self, key: BlockKey, block: bytes) -> None:
        if key in self.ever:  # a block of one version has one value
            block = self.ever[key]
        self.ever[key] = block

        self.cache.put(key, block)

    @rule(key=keys)
    def get(self, key: BlockKey) -> None:
        held = key in self.cache

        block = self.cache.get(key)

        assert (block is not None) == held
        if block is not None:
            assert block == self.ever[key]
            assert self.cache.get(key) == block, "a read block is not lost by reading"

    @rule(key=keys)
    def peek(self, key: BlockKey) -> None:
        assert self.cache.peek(key) == (self.ever[key] if key in self.cache else None)

    @rule(key=keys)
    def mark_read(self, key: BlockKey) -> None:
        held = key in self.cache

        self.cache.mark_read(key)

        assert (key in self.cache) == held

    @rule(size=st.integers(0, 20 * BLOCK))
    def reserve(self, size: int) -> None:
        self.reserved += size
        self.cache.reserve(size)

    @precondition(lambda self: self.reserved > 0)
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        size = data.draw(st.integers(1, self.reserved))
        self.reserved -= size
        self.cache.reserve(-size)

    @invariant()
    def the_budget_holds(self) -> None:
        stats = self.cache.stats()
        assert stats.reserved_bytes == self.reserved
        room = max(0, self.cache.budget_bytes - self.reserved)
        assert 0 <= stats.held_bytes <= room

    @invariant()
    def there_is_room_for_what_is_said(self) -> None:
        room = self.cache.room_bytes()
        share = self.cache.budget_bytes * UNREAD_SHARE
        assert 0 <= room <= max(0, share - self.reserved)


TestCacheMachine = CacheMachine.TestCase
TestCacheMachine.settings = settings(stateful_step_count=40)


def test_what_was_not_put_is_not_there(cache):
    assert cache.get((VERSION, 0)) is None
    assert (VERSION, 0) not in cache


def test_unread_blocks_outlive_read_ones(cache):
    """A sequential read must not evict the blocks it is about to read."""
    for number in range(8):
        cache.put((VERSION, number), block_of(number))
        assert cache.get((VERSION, number))
    for number in range(100, 108):
        cache.put((VERSION, number), block_of(number))

    cache.reserve(8 * BLOCK)

    assert not any((VERSION, number) in cache for number in range(8))
    assert all((VERSION, number) in cache for number in range(100, 108))


def test_among_read_blocks_the_least_recently_used_goes_first(cache):
    for number in range(16):
        cache.put((VERSION, number), block_of(number))
        cache.get((VERSION, number))
    cache.get((VERSION, 0))

    cache.put((VERSION, 99), block_of(99))

    assert (VERSION, 0) in cache
    assert (VERSION, 1) not in cache


def test_unread_blocks_fill_only_their_share_and_the_oldest_goes_first(cache):
    share = int(16 * UNREAD_SHARE)
    for number in range(share + 1):
        cache.put((VERSION, number), block_of(number))

    assert (VERSION, 0) not in cache
    assert all((VERSION, number) in cache for number in range(1, share + 1))


def test_room_shrinks_by_what_is_unread_or_reserved(cache):
    room = cache.room_bytes()
    cache.put((VERSION, 0), block_of(0))
    assert cache.room_bytes() == room - BLOCK
    cache.reserve(2 * BLOCK)
    assert cache.room_bytes() == room - 3 * BLOCK

    cache.get((VERSION, 0))
    assert cache.room_bytes() == room - 2 * BLOCK


def test_a_block_takes_the_place_of_its_reservation(cache):
    cache.reserve(BLOCK)

    cache.put((VERSION, 0), block_of(0), reserved_bytes=BLOCK)

    assert cache.stats().reserved_bytes == 0
    assert cache.stats().held_bytes == BLOCK


def test_two_versions_share_no_block(cache):
    tags = (Validator('"a"'), Validator('"b"'))
    old, new = (VideoVersion(ENDPOINT, "v", 10, tag).key for tag in tags)
    cache.put((old, 0), b"old")
    cache.put((new, 0), b"new")

    assert (cache.get((old, 0)), cache.get((new, 0))) == (b"old", b"new")


def test_a_version_seen_again_finds_its_blocks(cache):
    first, again = (
        VideoVersion(ENDPOINT, "v", 10, Validator('"a"', time)).key for time in "xy"
    )
    cache.put((first, 0), b"kept")

    assert cache.get((again, 0)) == b"kept"


def test_many_threads_never_see_a_wrong_block_nor_pass_the_budget(cache):
    wrong: list[str] = []
    start = threading.Barrier(8)

    def work(seed: int) -> None:
        start.wait()
        for step in range(400):
            number = (step * (2 * seed + 1)) % 50
            block = cache.get((VERSION, number))
            if block is None:
                cache.put((VERSION, number), block_of(number))
            elif block != block_of(number):
                wrong.append(f"{number}")
            if cache.stats().held_bytes > BUDGET:
                wrong.append("budget")

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []


class Entered:
    """A lock that counts how often it was taken."""

    def __init__(self) -> None:
        self.times = 0
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        self.times += 1

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()


@pytest.mark.parametrize(
    "call",
    [
        lambda cache: cache.get((VERSION, 0)),
        lambda cache: (VERSION, 0) in cache,
        lambda cache: cache.mark_read((VERSION, 0)),
        lambda cache: cache.put((VERSION, 0), b"x"),
        lambda cache: cache.reserve(1),
        lambda cache: cache.room_bytes(),
        lambda cache: cache.stats(),
    ],
    ids=["get", "in", "mark_read", "put", "reserve", "room_bytes", "stats"],
)
def test_every_method_takes_the_lock(cache, call):
    """Cachetools reorders on a look-up too: without the lock a race shows once a day."""
    cache._lock = lock = Entered()

    call(cache)

    assert lock.times == 1


def test_a_peek_marks_nothing(cache):
    """What was peeked at is evicted no later, and an unread block stays unread."""
    for number in range(16):
        cache.put((VERSION, number), block_of(number))
        cache.get((VERSION, number))
    assert cache.peek((VERSION, 0)) == block_of(0)
    cache.put((VERSION, 16), block_of(16))
    assert (VERSION, 0) not in cache

    room = cache.room_bytes()
    assert cache.peek((VERSION, 16)) == block_of(16)
    assert cache.room_bytes() == room
