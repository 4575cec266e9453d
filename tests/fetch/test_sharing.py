"""Blocks that others are fetching are waited for, and fetched if they do not come."""

import threading
import time
from collections.abc import Iterator

import pytest

from hingfs.content import Content
from hingfs.errors import Closing, DeadlineExceeded, ServerBroken
from hingfs.fetch import sharing
from tests.fetch.test_fetcher import BLOCK, Rig
from tests.support.mounting import eventually


class Other:
    """Another process, which a test moves: it claims runs of blocks, and brings some.

    Thread safety: all methods; any lock is held for no more than a look.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._theirs: list[range] = []
        self._held: set[int] = set()  # by us
        self.looks = 0

    def claims(self, *runs: range) -> None:
        """From now on it has claimed *runs* alone."""
        with self._lock:
            self._theirs = list(runs)

    @property
    def sees(self) -> list[int]:
        """The blocks that it sees claimed."""
        with self._lock:
            return sorted(self._held)

    def claim(self, _content: Content, blocks: range) -> range | None:
        with self._lock:
            theirs = self._first_locked(blocks)
            stop = theirs.start if theirs else blocks.stop
            self._held.update(range(blocks.start, stop))
            return theirs

    def look(self, _content: Content, blocks: range) -> range | None:
        with self._lock:
            self.looks += 1
            return self._first_locked(blocks)

    def release(self, _content: Content, blocks: range) -> None:
        with self._lock:
            self._held.difference_update(blocks)

    def _first_locked(self, blocks: range) -> range:
        met = [
            run
            for run in self._theirs
            if run.start < blocks.stop and run.stop > blocks.start
        ]
        return min(met, key=lambda run: run.start, default=range(0))


@pytest.fixture
def other() -> Other:
    return Other()


@pytest.fixture
def rig(other: Other) -> Iterator[Rig]:
    with Rig(claims=other) as rig:
        yield rig


def bring(rig: Rig, *indices: int) -> None:
    """Others have brought blocks, and they are found in the tiers."""
    for index in indices:
        rig.cache.put(rig.content.block_key(index), rig.bytes_of(index))


def asked(rig: Rig) -> list[range]:
    return [
        range(span.start // BLOCK, -(-span.stop // BLOCK))
        for span in sorted(rig.source.requests, key=lambda span: span.start)
    ]


def looked(other: Other) -> None:
    """Return once the others were looked at twice more, and so once after the call."""
    seen = other.looks
    eventually(lambda: other.looks >= seen + 2, "two looks")


def test_what_others_fetch_is_not_asked_for_and_comes_from_them(rig, other):
    other.claims(range(2, 6))
    landings = rig.fetcher.demand(rig.content, range(8))
    for index in (0, 1, 6, 7):
        assert rig.await_block(landings[index]) == rig.bytes_of(index)
    looked(other)

    bring(rig, 3, 2)
    other.claims(range(4, 6))
    for index in (2, 3):
        assert rig.await_block(landings[index]) == rig.bytes_of(index)
    bring(rig, 4, 5)
    other.claims()
    for index in (4, 5):
        assert rig.await_block(landings[index]) == rig.bytes_of(index)
    assert asked(rig) == [range(2), range(6, 8)]


def test_what_others_brought_before_it_was_their_turn_is_not_asked_for(rig, other):
    """They had ended when it was planned, and it was seen when the transfer began."""
    rig.source.let(0)
    rig.fetcher.prefetch(rig.content, range(1))  # the others wait for its answer
    rig.source.wait_until(lambda: bool(rig.source.requests))
    landings = rig.fetcher.demand(rig.content, range(8, 16))
    bring(rig, 8, 9, 12)
    rig.go_on()

    blocks = [bytes(rig.await_block(landing)) for landing in landings]
    assert blocks == [rig.bytes_of(index) for index in range(8, 16)]
    assert asked(rig) == [range(1), range(10, 12), range(13, 16)]


def test_blocks_are_fetched_once_their_claim_ends_without_them(rig, other):
    """Its holder was killed, say, when it had brought a half."""
    other.claims(range(8))
    landings = rig.fetcher.demand(rig.content, range(8))
    looked(other)
    assert rig.source.requests == []

    bring(rig, *range(4))
    other.claims()
    blocks = [bytes(rig.await_block(landing)) for landing in landings]
    assert blocks == [rig.bytes_of(index) for index in range(8)]
    assert asked(rig) == [range(4, 8)]


def test_a_holder_that_hangs_is_not_waited_for_long(rig, other, monkeypatch):
    """As long as its claim changes, it is; one that is known to hang is not at all."""
    monkeypatch.setattr(sharing, "STALL_SECONDS", 0.3)
    other.claims(range(16))
    landings = rig.fetcher.demand(rig.content, range(12, 14))
    until = time.monotonic() + 0.6
    reached = 0
    while time.monotonic() < until:
        reached = (reached + 1) % 12
        other.claims(range(reached, 16))
        looked(other)
    assert rig.source.requests == []

    other.claims(range(8, 16))
    blocks = [bytes(rig.await_block(landing)) for landing in landings]
    assert blocks == [rig.bytes_of(index) for index in (12, 13)]
    assert asked(rig) == [range(12, 14)]

    begun = other.looks
    (block,) = rig.fetch(15)
    assert block == rig.bytes_of(15)
    assert other.looks <= begun + 2, "it is known already"


def test_a_reader_waits_no_longer_than_its_own_deadline(rig, other):
    other.claims(range(8))
    (landing,) = rig.fetcher.demand(rig.content, [4])
    with pytest.raises(DeadlineExceeded):
        landing.wait(1, time.monotonic() + 0.05)


def test_all_who_wait_wake_as_the_mount_ends(rig, other):
    other.claims(range(8))
    (landing,) = rig.fetcher.demand(rig.content, [4])
    looked(other)

    rig.fetcher.close(Closing("the end"))

    with pytest.raises(Closing):
        rig.await_block(landing)
    assert rig.fetcher.join(10)


def test_what_nobody_wants_any_more_is_not_fetched_for_others(rig, other):
    """A reader has gone elsewhere; what another reader waits for comes."""
    other.claims(range(16))
    rig.fetcher.prefetch(rig.content, range(8))
    rig.fetcher.prefetch(rig.content, range(8, 16))
    (landing,) = rig.fetcher.demand(rig.content, [9])
    looked(other)

    assert rig.fetcher.drop_queued(rig.content)
    other.claims()
    assert rig.await_block(landing) == rig.bytes_of(9)
    eventually(lambda: not rig.source.open_bodies, "it ends")
    assert asked(rig) == [range(8, 16)]


def test_others_keep_no_connection_busy(other):
    """As many transfers are aside as there are connections, and another one runs."""
    with Rig(claims=other, connections=2) as rig:
        rig.fetch(63)
        other.claims(range(20))
        for first in (0, 5, 10, 15):
            rig.fetcher.demand(rig.content, [first])
        assert rig.fetch(30) == [rig.bytes_of(30)]


def test_what_has_come_stays_claimed_and_what_has_failed_does_not(rig, other):
    """The first until it is on disk, which this tier has none of."""
    rig.source.let(10 * BLOCK)
    landings = rig.fetcher.demand(rig.content, range(8, 16))
    rig.await_block(landings[1])
    assert set(other.sees) >= set(range(10, 16))

    rig.source.fault = lambda _: ServerBroken("broken")
    rig.go_on()
    with pytest.raises(ServerBroken):
        rig.await_block(landings[7])
    eventually(lambda: not other.sees, "nothing is claimed")


def test_the_rest_of_a_transfer_that_was_cut_stays_claimed(other):
    """It runs already when the first one ends, and claims its blocks anew."""
    with Rig(claims=other, size_blocks=256) as rig:
        rig.fetch(0)
        rig.source.let(10 * BLOCK)
        rig.fetcher.prefetch(rig.content, range(8, 48), 200 * BLOCK)
        rig.source.wait_until(lambda: len(rig.source.requests) == 2)
        (landing,) = rig.fetcher.demand(rig.content, [46])
        rig.source.wait_until(lambda: len(rig.source.requests) == 3)
        assert asked(rig) == [range(1), range(8, 48), range(46, 48)]

        rig.source.let(46 * BLOCK)
        rig.source.wait_until(lambda: rig.source.open_bodies == 1)
        eventually(lambda: 45 not in other.sees, "the first one ends")
        assert other.sees == [46, 47]
        rig.go_on()
        assert rig.await_block(landing) == rig.bytes_of(46)
        eventually(lambda: not other.sees, "nothing is claimed")


def test_a_block_that_others_bring_while_it_is_asked_for_ends_no_transfer(rig):
    rig.source.let(0)
    landings = rig.fetcher.demand(rig.content, range(4))
    rig.source.wait_until(lambda: bool(rig.source.requests))
    rig.fetcher._landings.land(rig.content, 1, [rig.bytes_of(1)])
    rig.go_on()

    blocks = [bytes(rig.await_block(landing)) for landing in landings]
    assert blocks == [rig.bytes_of(index) for index in range(4)]
