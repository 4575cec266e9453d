"""One request per block however many want it; failures and endings reach everybody."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Self, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import MIB, Block, ByteRange
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    Closing,
    ContentChanged,
    DeadlineExceeded,
    RangesIgnored,
    ServerBroken,
    SpoolFull,
    Unforeseen,
)
from hingfs.facts.counts import Count
from hingfs.facts.store import FactStore
from hingfs.fetch import schedule as schedule_module
from hingfs.fetch.claims import Claims
from hingfs.fetch.fetcher import BlockFetcher
from hingfs.fetch.landings import Landing
from hingfs.fetch.pump import PIECE_BYTES
from hingfs.http.answer import Answer
from hingfs.version import BlockKey, Validator
from tests.support.mounting import eventually
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT, Body, Source

BLOCK = 2 * PIECE_BYTES
# Four runs of four blocks, each a transfer of its own.
APART = [index for index in range(19) if index % 5 != 4]
THREADS = 32


class Rig:
    """A fetcher on a `Source`."""

    def __init__(
        self,
        size_blocks: int = 64,
        *,
        connections: int = 4,
        budget_bytes: int = 256 * MIB,
        cache: MemoryBlockCache | None = None,
        claims: Claims | None = None,
        **constants: float,
    ) -> None:
        self.source = Source()
        self.cache = cache or MemoryBlockCache(budget_bytes)
        self.content = Content(ENDPOINT, "v", size_blocks * BLOCK - 1000, Validator())
        self.whole_bodies: list[tuple[Content, Answer | None]] = []
        self.fetcher = BlockFetcher(
            self.source,
            Tiers(self.cache, BLOCK),
            connections=connections,
            whole_body=lambda *args: self.whole_bodies.append(args),
            paying=Count(FactStore(), ""),
            claims=claims,
            **constants,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fetcher.close(Closing("the test is over"))
        self.source.let(float("inf"))

    def ask_ahead(self, blocks: Iterable[int], until: float = 0) -> None:
        """Have *blocks* prefetched; the first request is sent and answered *until* there."""
        self.source.let(until)
        self.fetcher.prefetch(self.content, blocks)
        self.source.wait_until(lambda: bool(self.source.requests))

    def go_on(self) -> None:
        """Let all bytes arrive."""
        self.source.let(float("inf"))

    def starts(self) -> list[int]:
        """The first block of each request."""
        return [span.start // BLOCK for span in self.source.requests]

    def bytes_of(self, index: int) -> bytes:
        stop = min((index + 1) * BLOCK, self.content.size_bytes)
        return ramp("v", index * BLOCK, stop)

    def fetch(self, *indices: int) -> list[bytes]:
        landings = self.fetcher.demand(self.content, indices)
        return [bytes(self.await_block(landing)) for landing in landings]

    def begin_a_known_request(self) -> None:
        """One for blocks 20 to 35 has brought a half of the first; the rate is known."""
        self.go_on()
        self.fetch(*range(8))
        self.source.let(20 * BLOCK + BLOCK // 2)
        self.fetcher.prefetch(self.content, range(20, 36))
        self.source.wait_until(lambda: len(self.source.requests) == 2)

    def await_block(self, landing: Landing, need: int | None = None) -> Block:
        need = landing.size_bytes if need is None else need
        return landing.wait(need, time.monotonic() + 10)


class SlowGate:
    """A gate through which its reader goes, once it is *opened*, only at *go_on*."""

    def __init__(
        self, gate: threading.Lock, opened: threading.Event, go_on: threading.Event
    ) -> None:
        self._gate = gate
        self._opened = opened
        self._go_on = go_on

    def acquire(self, *, timeout: float) -> bool:
        is_open = self._gate.acquire(timeout=timeout)
        self._opened.set()
        self._go_on.wait(10)
        return is_open


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        yield rig


def test_a_block_is_what_the_source_holds(rig):
    assert rig.fetch(3) == [rig.bytes_of(3)]
    assert rig.source.requests == [ByteRange(3 * BLOCK, 4 * BLOCK)]


def test_the_last_block_is_short(rig):
    last = 63

    assert rig.fetch(last) == [rig.bytes_of(last)]
    assert rig.source.requests == [ByteRange(last * BLOCK, rig.content.size_bytes)]


def test_neighbours_are_one_request_and_gaps_are_not_filled(rig):
    blocks = rig.fetch(1, 2, 3, 7, 9, 10)

    assert blocks == [rig.bytes_of(index) for index in (1, 2, 3, 7, 9, 10)]
    asked = sorted(
        (span.start // BLOCK, span.stop // BLOCK) for span in rig.source.requests
    )
    assert asked == [(1, 4), (7, 8), (9, 11)]


def test_a_cached_block_costs_nothing(rig):
    rig.fetch(5)

    assert rig.fetch(5) == [rig.bytes_of(5)]
    assert len(rig.source.requests) == 1


def test_what_follows_comes_in_the_same_request(rig):
    landings = rig.fetcher.demand(rig.content, [4], range(5, 8))
    rig.await_block(landings[0])

    assert rig.fetch(5, 6, 7) == [rig.bytes_of(index) for index in (5, 6, 7)]
    assert rig.source.requests == [ByteRange(4 * BLOCK, 8 * BLOCK)]


class TestSingleFlight:
    def test_a_stampede_is_one_request(self, rig):
        """32 threads want a block that is on its way: one request serves them all."""
        rig.source.let(0)
        all_registered = threading.Barrier(THREADS + 1)

        def read() -> bytes:
            (landing,) = rig.fetcher.demand(rig.content, [3])
            all_registered.wait()
            return bytes(rig.await_block(landing))

        with ThreadPoolExecutor(THREADS) as threads:
            reads = [threads.submit(read) for _ in range(THREADS)]
            all_registered.wait()
            rig.go_on()

            assert {read.result() for read in reads} == {rig.bytes_of(3)}
        assert rig.source.requests == [ByteRange(3 * BLOCK, 4 * BLOCK)]

    def test_racing_readers_fetch_no_block_twice(self):
        """Blocks land, are looked up and registered at the same moments."""
        with Rig(40) as rig, ThreadPoolExecutor(THREADS) as threads:
            start = threading.Barrier(THREADS)

            def read_all(reader: int) -> bool:
                start.wait()
                order = [(reader * 7 + step) % 40 for step in range(40)]
                return all(rig.fetch(i) == [rig.bytes_of(i)] for i in order)

            assert all(threads.map(read_all, range(THREADS)))
            assert rig.source.bytes_served_twice() == 0

    def test_prefetch_and_demand_share_their_requests(self, rig):
        rig.source.let(0)
        rig.fetcher.prefetch(rig.content, range(8))
        landings = rig.fetcher.demand(rig.content, [2, 3, 4])
        rig.fetcher.prefetch(rig.content, range(8))
        rig.go_on()

        for landing in landings:
            rig.await_block(landing)
        rig.fetch(*range(8))

        assert rig.source.bytes_served_twice() == 0

    @given(
        st.lists(
            st.tuples(st.booleans(), st.integers(0, 30), st.integers(1, 12)),
            max_size=12,
        ),
        st.integers(1, 4),
    )
    def test_no_byte_is_fetched_twice_whatever_is_wanted(self, wishes, connections):
        with Rig(32, connections=connections) as rig:
            for demanded, first, count in wishes:
                indices = range(first, min(first + count, 32))
                if demanded:
                    assert rig.fetch(*indices) == [rig.bytes_of(i) for i in indices]
                else:
                    rig.fetcher.prefetch(rig.content, indices)
            rig.fetch(*range(32))

            assert rig.source.bytes_served_twice() == 0


class TestArrival:
    def test_only_a_block_that_a_reader_took_counts_as_read(self):
        read: list[BlockKey] = []

        class Cache(MemoryBlockCache):
            def mark_read(self, key: BlockKey) -> None:
                read.append(key)
                super().mark_read(key)

        with Rig(cache=Cache(64 * MIB)) as rig:
            rig.ask_ahead(range(4))
            (landing,) = rig.fetcher.demand(rig.content, [2])
            rig.go_on()
            rig.await_block(landing)
            keys = [rig.content.block_key(index) for index in range(4)]
            eventually(lambda: read and keys[3] in rig.cache, "all blocks")

            assert read == [keys[2]]

    def test_what_follows_a_demand_ends_before_a_block_on_its_way(self, rig):
        rig.ask_ahead([4])
        (landing,) = rig.fetcher.demand(rig.content, [0], ahead=range(1, 8))
        rig.go_on()
        rig.await_block(landing)
        rig.fetch(*range(5))

        spans = [(s.start // BLOCK, s.stop // BLOCK) for s in rig.source.requests]
        assert spans == [(4, 5), (0, 4)]

    def test_a_block_is_there_before_its_request_ends(self, rig):
        rig.source.let(BLOCK)

        landings = rig.fetcher.demand(rig.content, range(4))

        assert rig.await_block(landings[0]) == rig.bytes_of(0)
        assert landings[3].data is None
        rig.go_on()
        assert rig.await_block(landings[3]) == rig.bytes_of(3)
        assert len(rig.source.requests) == 1

    def test_the_bytes_wanted_are_there_before_their_block_is(self, rig):
        rig.source.let(PIECE_BYTES)

        (landing,) = rig.fetcher.demand(rig.content, [0])
        partial = rig.await_block(landing, PIECE_BYTES)

        assert partial[:PIECE_BYTES] == rig.bytes_of(0)[:PIECE_BYTES]
        assert landing.data is None

    def test_a_reader_that_needs_more_than_has_arrived_waits(self, rig):
        rig.source.let(PIECE_BYTES)
        (landing,) = rig.fetcher.demand(rig.content, [0])
        rig.await_block(landing, PIECE_BYTES)

        with pytest.raises(DeadlineExceeded):
            landing.wait(PIECE_BYTES + 1, time.monotonic())

    def test_blocks_that_are_there_are_read_at_once(self):
        with Rig(connections=1) as rig:
            landings = rig.fetcher.prefetch(rig.content, range(22))

            blocks = [rig.await_block(landing) for landing in landings]
            assert blocks == [rig.bytes_of(index) for index in range(22)]
            served = [len(span) // BLOCK for span in rig.source.served]
            assert served == [1, 2, 4, 8, 7]

    def test_no_block_that_is_there_waits_for_the_next(self, rig):
        rig.source.let(0)
        landings = rig.fetcher.prefetch(rig.content, range(20))
        for stop in (0.5, 1, 2.5, 6.25, 7.75, 8.5, 16.5):
            rig.source.let(int(stop * BLOCK))
            for landing in landings[: int(stop)]:
                rig.await_block(landing)

        assert landings[16].data is None
        rig.go_on()
        for index, landing in enumerate(landings):
            assert rig.await_block(landing) == rig.bytes_of(index)
        assert rig.source.bytes_served_twice() == 0

    def test_a_block_that_arrived_in_pieces_is_whole_in_the_cache(self, rig):
        rig.fetch(0)

        assert rig.cache.get(rig.content.block_key(0)) == rig.bytes_of(0)


class TestFailures:
    def test_a_failure_reaches_all_who_wait(self, rig):
        rig.source.fault = lambda _span: ServerBroken("500")
        rig.source.let(0)
        (landing,) = rig.fetcher.demand(rig.content, [1])

        with ThreadPoolExecutor(8) as threads:
            waits = [threads.submit(rig.await_block, landing) for _ in range(8)]
            rig.go_on()

            errors = [wait.exception() for wait in waits]
        assert [type(error) for error in errors] == [ServerBroken] * 8
        assert len({id(error) for error in errors}) == 8, "each its own traceback"

    def test_a_failure_is_remembered_for_a_moment(self, rig):
        """The kernel asks again at once; each must not cost all tries again."""
        rig.source.fault = lambda _span: ServerBroken("500")

        for _ in range(3):
            with pytest.raises(ServerBroken):
                rig.fetch(1)

        assert len(rig.source.requests) == 1

    def test_a_failure_is_forgotten_after_its_moment(self):
        with Rig(failure_memory_seconds=0.0) as rig:
            rig.source.fault = lambda _span: ServerBroken("500")
            with pytest.raises(ServerBroken):
                rig.fetch(1)
            rig.source.fault = lambda _span: None

            assert rig.fetch(1) == [rig.bytes_of(1)]

    def test_blocks_before_the_failure_are_kept(self, rig):
        bad = ByteRange(2 * BLOCK, 3 * BLOCK)
        rig.source.fault = lambda span: (
            AccessDenied("no") if span.start >= bad.start else None
        )
        landings = rig.fetcher.demand(rig.content, range(4))

        assert rig.await_block(landings[0]) == rig.bytes_of(0)
        assert rig.await_block(landings[1]) == rig.bytes_of(1)
        for landing in landings[2:]:
            with pytest.raises(AccessDenied):
                rig.await_block(landing)

    def test_a_failed_read_ahead_does_not_spoil_a_later_read(self, rig):
        rig.source.fault = lambda _span: ServerBroken("500")
        landings = rig.fetcher.prefetch(rig.content, range(2))
        for landing in landings:
            # Joined before it fails, it is awaited; so look at it, and do not join.
            rig.source.wait_until(lambda landing=landing: landing.error is not None)
        rig.source.fault = lambda _span: None

        assert rig.fetch(0, 1) == [rig.bytes_of(0), rig.bytes_of(1)]

    def test_a_change_marks_the_content_for_good(self, rig):
        rig.source.fault = lambda _span: ContentChanged("another ETag")

        with pytest.raises(ContentChanged):
            rig.fetch(0)
        assert rig.content.changed

    def test_bytes_that_a_new_try_takes_back_are_waited_for_again(self, monkeypatch):
        """A reader was let through to them, and came after a latecomer's new try."""
        with Rig(late_seconds=-1.0) as rig:
            opened, go_on = threading.Event(), threading.Event()
            gates: list[SlowGate] = []
            join = Landing.join_locked

            def joined(landing: Landing, need: int) -> SlowGate:
                gates.append(SlowGate(join(landing, need), opened, go_on))
                return gates[-1]

            def fail_once(span: ByteRange) -> BaseException | None:
                if span.start < PIECE_BYTES or len(rig.source.requests) > 1:
                    return None
                rig.source.until = 0  # the new try brings nothing yet
                return ServerBroken("500")

            monkeypatch.setattr(Landing, "join_locked", joined)
            rig.source.fault = fail_once
            rig.source.let(0)
            (landing,) = rig.fetcher.demand(rig.content, [0])
            rig.source.wait_until(lambda: len(rig.source.requests) == 1)
            rig.fetcher.demand(rig.content, [0])  # late

            with ThreadPoolExecutor(1) as threads:
                read = threads.submit(rig.await_block, landing, PIECE_BYTES)
                eventually(lambda: gates, "a wait")
                rig.source.let(PIECE_BYTES)
                assert opened.wait(10)
                rig.source.let(BLOCK)
                rig.source.wait_until(lambda: len(rig.source.requests) == 2)
                go_on.set()
                eventually(lambda: read.done() or len(gates) == 2, "an end, or a wait")
                rig.go_on()

                assert read.result()[:PIECE_BYTES] == rig.bytes_of(0)[:PIECE_BYTES]

    def test_a_wait_ends_at_its_deadline(self, rig):
        rig.source.let(0)
        (landing,) = rig.fetcher.demand(rig.content, [0])

        with pytest.raises(DeadlineExceeded):
            landing.wait(1, time.monotonic())


class TestIgnoredRanges:
    @pytest.mark.parametrize("found", ["ranges_ignored", "take_whole"])
    def test_a_range_under_way_does_not_meet_what_one_answer_brings(self, rig, found):
        """Another transfer has found out, or the validators contradict one another."""
        rig.ask_ahead(range(8), 2 * BLOCK)
        eventually(
            lambda: rig.content.block_key(1) in rig.cache, "the first two are here"
        )
        earlier = rig.content.block_key(1)

        getattr(rig.content, found)()
        rig.go_on()
        rig.source.wait_until(lambda: rig.source.open_bodies == 0)

        held = [i for i in range(8) if rig.content.block_key(i) in rig.cache]
        assert held == []
        assert earlier in rig.cache

    def test_the_whole_body_is_handed_on(self, rig):
        rig.source.whole = answer = cast("Answer", object())
        rig.source.fault = lambda _span: RangesIgnored("a 200")

        with pytest.raises(RangesIgnored):
            rig.fetch(0)

        assert rig.whole_bodies == [(rig.content, answer)]
        assert rig.content.ranges is False

    def test_its_download_has_begun_when_it_is_known(self, rig, monkeypatch):
        """Else a read that comes between the two begins another."""
        known: list[bool | None] = []
        monkeypatch.setattr(
            rig.fetcher._pump, "_whole_body", lambda one, _: known.append(one.ranges)
        )
        rig.source.fault = lambda _span: RangesIgnored("a 200")

        with pytest.raises(RangesIgnored):
            rig.fetch(0)

        assert known == [None]
        assert rig.content.ranges is False

    def test_a_spool_that_is_full_fails_the_read(self, rig, monkeypatch):
        ignore_ranges(rig, monkeypatch, SpoolFull("no room"))

        with pytest.raises(SpoolFull):
            rig.fetch(0)


Patch = pytest.MonkeyPatch


def ignore_ranges(rig: Rig, patch: Patch, error: BaseException) -> None:
    """The server ignores ranges; the taker of the whole body raises *error*."""

    def refuse(_content: Content, _answer: Answer | None) -> None:
        raise error

    patch.setattr(rig.fetcher._pump, "_whole_body", refuse)
    break_source(rig, patch, RangesIgnored("the open answer"))


def break_source(rig: Rig, patch: Patch, error: BaseException) -> None:
    patch.setattr(rig.source, "fault", lambda _span: error)


def break_end(rig: Rig, patch: Patch, error: BaseException) -> None:
    """No bytes come, and the end of their body throws *error*."""

    class Broken(Body):
        def close(self) -> None:
            super().close()
            raise error

    break_source(rig, patch, ServerBroken("500"))
    patch.setattr(rig.source, "open_range", lambda *args: Broken(rig.source, *args))


def break_cache(rig: Rig, patch: Patch, error: BaseException) -> None:
    def put(*_: object, **__: object) -> None:
        raise error

    patch.setattr(rig.cache, "put", put)


class TestWhateverIsThrown:
    @pytest.mark.parametrize(
        "break_it", [ignore_ranges, break_source, break_end, break_cache]
    )
    @pytest.mark.parametrize("kind", [RuntimeError, MemoryError, SystemExit])
    def test_its_name_reaches_who_waits_and_the_worker_goes_on(
        self, break_it, kind, monkeypatch, expected_log
    ):
        expected_log("v: unforeseen error in a transfer")
        with Rig(connections=1) as rig:
            with monkeypatch.context() as patch:
                break_it(rig, patch, kind("a mistake of ours"))
                landing = rig.fetcher.demand(rig.content, [0, 1])[1]
                with pytest.raises(Unforeseen, match=kind.__name__):
                    landing.wait(BLOCK, time.monotonic() + 5)

            rig.content = Content(ENDPOINT, "w", 10 * BLOCK, Validator())
            assert rig.fetch(3) == [ramp("w", 3 * BLOCK, 4 * BLOCK)]


class TestPriorities:
    def test_a_demand_overtakes_what_is_queued_ahead(self):
        with Rig(connections=1) as rig:
            rig.ask_ahead(APART)

            (landing,) = rig.fetcher.demand(rig.content, [16])
            rig.go_on()
            rig.await_block(landing)
            rig.fetch(*APART)

            starts = rig.starts()
            assert starts.index(15) < starts.index(5)
            assert starts.index(15) < starts.index(10)
            assert rig.source.bytes_served_twice() == 0

    def test_what_a_demand_takes_from_a_request_is_not_being_read(self):
        """The only connection is free for it once the blocks being read are there."""
        with Rig(connections=1) as rig:
            rig.ask_ahead(range(16), BLOCK // 2)

            (landing,) = rig.fetcher.demand(rig.content, [40])
            rig.source.let(2 * BLOCK)
            rig.source.wait_until(lambda: len(rig.source.requests) == 2)
            assert rig.source.requests[1].start == 40 * BLOCK
            rig.go_on()

            assert rig.await_block(landing) == rig.bytes_of(40)
            rig.fetch(*range(16))
            assert rig.source.bytes_served_twice() == 0

    def test_a_request_that_makes_way_brings_what_a_reader_waits_for(self):
        """However many demands come, an earlier reader is served first."""
        with Rig(connections=1) as rig:
            rig.ask_ahead(range(16), BLOCK // 2)

            (joined,) = rig.fetcher.demand(rig.content, [5])
            later = [rig.fetcher.demand(rig.content, [i])[0] for i in (50, 40, 30)]
            rig.go_on()
            for landing in (joined, *later):
                rig.await_block(landing)
            rig.fetch(*range(16))

            starts = rig.starts()
            assert starts == [0, 50, 40, 30, 6]
            assert rig.source.bytes_served_twice() == 0

    def test_a_request_that_is_nearly_over_makes_no_way(self):
        """The rest of it would cost a request of its own, and a round trip."""
        with Rig(connections=1) as rig:
            rig.ask_ahead(range(2), BLOCK // 2)

            (landing,) = rig.fetcher.demand(rig.content, [40])
            rig.go_on()
            rig.await_block(landing)
            rig.fetch(0, 1)

            assert rig.starts() == [0, 40]

    def test_a_request_that_is_soon_over_makes_no_way(self, monkeypatch):
        """Its bytes are on their way, as fast as those before, and would come twice."""
        monkeypatch.setattr(schedule_module, "_LEAST_CUT_SECONDS", 60.0)
        with Rig(connections=1) as rig:
            rig.begin_a_known_request()

            (landing,) = rig.fetcher.demand(rig.content, [50])
            rig.go_on()
            rig.await_block(landing)
            rig.fetch(*range(20, 36))

            assert rig.starts() == [0, 20, 50]

    @pytest.mark.parametrize("other", [True, False])
    def test_the_only_request_of_a_file_makes_way_later(self, monkeypatch, other):
        """For another file; not for its own reader, who is somewhere else now."""
        monkeypatch.setattr(schedule_module, "_LEAST_CUT_SECONDS", 0.0)
        monkeypatch.setattr(schedule_module, "_LEAST_CUT_OF_ONLY_SECONDS", 60.0)
        with Rig(connections=1) as rig:
            rig.begin_a_known_request()

            size = rig.content.size_bytes
            wanted = Content(ENDPOINT, "w", size, Validator()) if other else rig.content
            (landing,) = rig.fetcher.demand(wanted, [50])
            rig.go_on()
            rig.await_block(landing)
            rig.fetch(*range(20, 36))

            assert len(rig.starts()) == (3 if other else 4)

    def test_one_that_turns_out_to_be_slow_makes_way_after_all(self, monkeypatch):
        monkeypatch.setattr(schedule_module, "_LEAST_CUT_SECONDS", 60.0)
        with Rig(connections=1) as rig:
            rig.begin_a_known_request()
            (landing,) = rig.fetcher.demand(rig.content, [50])

            monkeypatch.setattr(schedule_module, "_LEAST_CUT_SECONDS", 0.0)
            rig.source.let(25 * BLOCK)
            rig.source.wait_until(lambda: len(rig.source.requests) == 3)
            assert rig.source.requests[2].start == 50 * BLOCK
            rig.go_on()

            rig.await_block(landing)
            rig.fetch(*range(20, 36))
            assert rig.source.bytes_served_twice() == 0

    @pytest.mark.parametrize(
        ("joined", "again"),
        [([3], 49), ([3, 53], 4)],
        ids=["one is free of readers", "readers wait for both"],
    )
    def test_one_request_makes_way_for_one_demand(self, joined, again):
        """The one that no reader waits for, if there is one: it ends sooner."""
        with Rig(96, connections=2) as rig:
            rig.content.ranges_served()
            rig.source.let(BLOCK // 2)
            rig.fetcher.prefetch(rig.content, range(8))
            rig.fetcher.prefetch(rig.content, range(48, 56))
            rig.source.wait_until(lambda: len(rig.source.requests) == 2)
            for index in joined:
                rig.fetcher.demand(rig.content, [index])

            for _ in range(2):  # the second finds it on its way
                (landing,) = rig.fetcher.demand(rig.content, [80])
            rig.go_on()
            rig.await_block(landing)
            rig.fetch(*range(8), *range(48, 56))

            starts = sorted(span.start // BLOCK for span in rig.source.requests)
            assert starts == sorted([0, 48, 80, again])
            assert rig.source.bytes_served_twice() == 0

    def test_a_demand_far_behind_a_running_request_gets_its_own(self):
        far = schedule_module.JOIN_DISTANCE_BYTES // BLOCK + 8
        with Rig(far + 8, connections=4) as rig:
            rig.source.counts_requests = True  # one large request ahead
            rig.ask_ahead(range(far + 8), BLOCK)

            (landing,) = rig.fetcher.demand(rig.content, [far])
            rig.source.wait_until(lambda: len(rig.source.requests) == 2)
            assert rig.source.requests[1].start == far * BLOCK
            rig.go_on()

            assert rig.await_block(landing) == rig.bytes_of(far)
            rig.fetch(*range(far + 8))
            assert rig.source.bytes_served_twice() <= BLOCK

    def test_what_is_queued_and_not_wanted_is_never_asked_for(self):
        with Rig(connections=1) as rig:
            rig.ask_ahead(APART)

            assert rig.fetcher.drop_queued(rig.content)
            rig.go_on()
            rig.fetch(0, 1, 2, 3, 30)

            starts = rig.starts()
            assert not set(starts) & {5, 10, 15}
            assert not rig.fetcher.drop_queued(rig.content)

    def test_what_was_dropped_can_be_read_at_once(self):
        with Rig(connections=1) as rig:
            rig.ask_ahead(APART)
            rig.fetcher.drop_queued(rig.content)
            rig.go_on()

            assert rig.fetch(16) == [rig.bytes_of(16)]

    def test_dropping_never_takes_a_block_from_who_reads_it(self):
        """A reader has joined a queued block, another one jumps at that moment."""
        drop: list[Callable[[], object]] = []

        class Cache(MemoryBlockCache):
            def get(self, key: BlockKey) -> Block | None:
                while drop:
                    drop.pop()()
                return super().get(key)

        with Rig(connections=1, cache=Cache(64 * MIB)) as rig:
            rig.ask_ahead(APART[:8])
            drop.append(lambda: rig.fetcher.drop_queued(rig.content))

            # 8 is queued; 9 is new, so the cache is looked into between the steps.
            landings = rig.fetcher.demand(rig.content, [8, 9])
            rig.go_on()

            got = [bytes(rig.await_block(landing)) for landing in landings]
            assert got == [rig.bytes_of(8), rig.bytes_of(9)]

    def test_there_are_never_more_requests_than_connections(self):
        with Rig(connections=3) as rig:
            rig.source.let(0)
            rig.fetcher.prefetch(rig.content, range(0, 40, 2))
            landings = [rig.fetcher.demand(rig.content, [i])[0] for i in range(40, 60)]
            rig.go_on()
            for landing in landings:
                rig.await_block(landing)

            assert rig.source.most_open <= 3

    def test_a_server_that_takes_fewer_is_asked_for_no_more(self):
        """Demands wait as well."""
        with Rig(connections=8) as rig:
            rig.source.at_once = 2
            rig.ask_ahead(range(0, 40, 2), BLOCK)
            landings = [rig.fetcher.demand(rig.content, [i])[0] for i in range(40, 60)]
            rig.source.wait_until(lambda: len(rig.source.requests) == 3)
            rig.go_on()
            for landing in landings:
                rig.await_block(landing)

            assert rig.source.most_open == 2

    def test_nobody_waits_for_a_thread_to_start(self, rig, monkeypatch):
        """A system under load takes its time; calls that need no thread go on meanwhile."""
        start = threading.Thread.start
        went_on = []

        def started(thread: threading.Thread) -> None:
            other = threading.Thread(target=rig.fetcher.room_bytes, daemon=True)
            start(other)
            other.join(5)
            went_on.append(not other.is_alive())
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", started)

        assert rig.fetch(3) == [rig.bytes_of(3)]
        assert went_on == [True]

    def test_what_is_queued_takes_room(self):
        with Rig(connections=1, budget_bytes=64 * BLOCK) as rig:
            rig.source.let(0)
            before = rig.fetcher.room_bytes()
            rig.fetcher.prefetch(rig.content, range(8))

            assert rig.fetcher.room_bytes() <= before - 8 * BLOCK


class TestEnd:
    def test_close_wakes_everyone(self, rig):
        rig.source.let(0)
        rig.fetcher.prefetch(rig.content, range(30, 60))
        landings = rig.fetcher.demand(rig.content, range(8))

        with ThreadPoolExecutor(8) as threads:
            waits = [threads.submit(rig.await_block, landing) for landing in landings]
            rig.fetcher.close(Closing("the mount is ending"))

            assert {type(wait.exception()) for wait in waits} == {Closing}

    def test_close_ends_every_transfer_and_worker(self):
        with Rig(connections=4) as rig:
            rig.source.let(BLOCK + 1)
            before = {t for t in threading.enumerate() if "fetch" in t.name}
            rig.fetcher.demand(rig.content, range(20))
            rig.fetcher.prefetch(rig.content, range(20, 40))
            rig.source.wait_until(lambda: len(rig.source.requests) > 1)

            rig.fetcher.close(Closing("the mount is ending"))
            rig.source.wait_until(lambda: rig.source.open_bodies == 0)
            for thread in set(threading.enumerate()) - before:
                if thread.name.startswith("hingfs-fetch"):
                    thread.join(10)

            assert rig.cache.stats().reserved_bytes == 0

    def test_after_close_nothing_is_taken(self, rig):
        rig.fetcher.close(Closing("the mount is ending"))

        with pytest.raises(Closing):
            rig.fetcher.demand(rig.content, [0])
        assert rig.fetcher.prefetch(rig.content, [1]) == []
        assert rig.source.requests == []


def test_all_that_was_reserved_is_given_back():
    with Rig(connections=3, failure_memory_seconds=0.0) as rig:
        rig.fetch(*range(10))
        rig.source.fault = lambda span: (
            ServerBroken("x") if span.start >= 12 * BLOCK else None
        )
        with pytest.raises(ServerBroken):
            rig.fetch(11, 12, 13)
        rig.source.fault = lambda _span: None
        rig.fetch(63)
        rig.fetcher.close(Closing("over"))
        for thread in threading.enumerate():
            if thread.name.startswith("hingfs-fetch"):
                thread.join(10)

        assert rig.cache.stats().reserved_bytes == 0


@pytest.mark.parametrize("budget_bytes", [BLOCK, 64 * BLOCK])
def test_all_is_given_back_whatever_block_the_cache_cannot_keep(
    budget_bytes, expected_log
):
    """The first, for which it is too small, or the second of two that came together."""
    expected_log("unforeseen error in a transfer")

    class Cache(MemoryBlockCache):
        def put(self, key: BlockKey, block: Block, reserved_bytes: int = 0) -> None:
            if key[1] == 3:
                raise MemoryError
            super().put(key, block, reserved_bytes)

    with Rig(connections=1, cache=Cache(budget_bytes)) as rig:
        landings = rig.fetcher.demand(rig.content, range(8))
        with pytest.raises(Unforeseen):
            rig.await_block(landings[7])

        assert rig.cache.stats().reserved_bytes == 0


def test_memory_stays_within_its_budget():
    budget = 16 * BLOCK
    with Rig(connections=2, budget_bytes=budget) as rig:
        for first in range(0, 60, 4):
            rig.fetch(*range(first, first + 4))

            stats = rig.cache.stats()
            assert stats.held_bytes <= budget
        assert rig.source.bytes_served_twice() == 0


class TestRoomForWholeFiles:
    def test_files_that_are_opened_at_once_do_not_take_the_same_room(self, monkeypatch):
        """The second is opened while the first one's blocks are looked for."""
        with Rig(size_blocks=64, budget_bytes=20 * MIB) as rig:
            assert rig.cache.most_ahead_bytes < 2 * rig.content.size_bytes
            rig.source.let(0)
            second = Content(ENDPOINT, "w", rig.content.size_bytes, Validator())
            taken: list[bool] = []
            absent = Tiers.absent

            def opened(tiers: Tiers, *given) -> list[int]:
                if not taken:
                    taken.append(False)
                    taken[0] = rig.fetcher.prefetch_whole(second)
                return absent(tiers, *given)

            monkeypatch.setattr(Tiers, "absent", opened)
            assert rig.fetcher.prefetch_whole(rig.content)
            assert taken == [False]
            assert not rig.fetcher.prefetch_whole(second)

    def test_what_is_about_to_be_read_has_taken_its_room(self):
        """A transfer has left the queue, and its memory is not reserved yet."""
        rooms: list[int] = []

        class Cache(MemoryBlockCache):
            def reserve(self, size_bytes: int) -> None:
                if size_bytes > 0:
                    rooms.append(made.fetcher.room_bytes())
                super().reserve(size_bytes)

        with Rig(cache=Cache(64 * MIB)) as made:
            made.fetcher.prefetch(made.content, range(8))
            eventually(lambda: rooms, "it begins")
            assert rooms == [made.cache.most_ahead_bytes - 8 * BLOCK]
