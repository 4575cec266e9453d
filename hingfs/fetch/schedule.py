"""Which transfer runs next, and how many run at once.

Decides that a demand goes first. A demand overtakes the queue of transfers ahead, cuts
a running transfer that has far to go to the demanded block, and has one transfer ahead
make way if no worker is free. Transfers in the background run where no reader's transfer
runs or waits; beside those, as many as `share_background` allows. At most --connections transfers run at once, and no more
than the server takes. Leaves to `capacity` how many those are, and how many may be
ahead, to `queues` in which order they run and how much each asks for, and to `landings`
which readers wait.

Threads: none of its own. It counts the workers of `pump`, and says how many more are of
use.
"""

import threading
import time
from collections.abc import Iterable

from ..blocks import KIB, MIB
from ..content import Content
from ..errors import HingError, TransportError, Unforeseen
from .capacity import Capacity
from .landings import Landing, Landings
from .queues import Queues
from .transfer import RangeBody, Transfer

# A demanded block further than this from the point that its transfer has reached gets a
# request of its own, and the transfer ends in front of it. About the bytes of 60 ms at
# 40 MB/s.
JOIN_DISTANCE_BYTES = 3 * MIB
# A transfer that makes way is cut by more than this: the rest costs a request of its
# own, and at 25 MiB/s so much arrives in 10 ms (2026-11-27).
_LEAST_CUT_BYTES = 256 * KIB
# Nor is one whose rest comes within so long, a usual wait for an answer: its bytes are on
# their way, and would come twice.
_LEAST_CUT_SECONDS = 0.06
# Nor the only request of a file within so long: its reader wants the rest next, and a cut
# would but turn two readers around. Twelve clips of 12.7 MB read at once on loopback by ten
# connections: 1.00-1.09 -> 1.00-1.015 bytes sent for each byte read (2026-11-28).
_LEAST_CUT_OF_ONLY_SECONDS = 0.3


class Schedule:
    """The queued and the running transfers. Thread safety: all methods."""

    def __init__(
        self,
        landings: Landings,
        capacity: Capacity,
        *,
        block_bytes: int,
    ) -> None:
        self._landings = landings
        self._block_bytes = block_bytes
        # Guards all below, and every field of a transfer. Only `landings` and the facts
        # behind `capacity`, whose locks are leaves, are called with it held.
        self._lock = threading.Lock()
        self._queues = Queues(block_bytes)
        self._running: set[Transfer] = set()
        self._workers = 0  # those that run a transfer, or will ask for the next
        self._capacity = capacity
        self._background_share = 0
        self._arrived_bytes = 0
        self._brought_bytes = 0  # of those, in the background
        self._block_seconds: float | None = None  # of the transfer that ended last
        self._closed: HingError | None = None

    # -- for readers -------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many requests at once pay off; read without the lock, so a hint."""
        return self._capacity.connections

    def files(self, content: Content) -> int:
        """How many files want bytes now, *content* among them; a hint, as `share`."""
        return self._queues.files(content)

    def share(self, content: Content) -> int:
        """How many of them are for *content*; read without the lock, so a hint.

        The files that want bytes now share the connections; each has at least one.
        """
        return self._queues.share(content, self.connections)

    def demand(
        self, transfers: Iterable[Transfer], wanted: Iterable[tuple[int, Landing]]
    ) -> None:
        """Queue *transfers*, and hasten those that bring *wanted* (index, landing)."""
        with self._lock:
            if self._closed:
                return
            for transfer in transfers:
                self._put_locked(transfer)
            for index, landing in wanted:
                if landing.transfer is not None:
                    self._hasten_locked(landing.transfer, index)

    def ahead(self, transfers: Iterable[Transfer]) -> None:
        """Queue *transfers* ahead, behind every demand."""
        with self._lock:
            if self._closed:
                return
            for transfer in transfers:
                self._mark_demanded_locked(transfer)
                self._put_locked(transfer)

    def background(self, transfers: Iterable[Transfer]) -> None:
        """Queue *transfers* in the background, one request each."""
        with self._lock:
            if self._closed:
                return
            for transfer in transfers:
                self._mark_demanded_locked(transfer)
                self._put_locked(transfer)

    def drop_background(self, content: Content) -> None:
        """Forget the transfers queued in the background for *content*."""
        with self._lock:
            self._queues.drop_background(content, self._landings.drop)

    def stop_background(self, content: Content) -> None:
        """As `drop_background`, and those that run end at the block that they read.

        Not those whose rest comes soon.
        """
        with self._lock:
            self._queues.drop_background(content, self._landings.drop)
            now = time.monotonic()
            for transfer in list(self._queues.background_running):
                other = transfer.content is not content
                if other or self._ends_soon_locked(transfer, now):
                    continue
                stop = self._earliest_stop_locked(transfer)
                if stop < transfer.stop:
                    rest = transfer.cut(stop, demand=False)
                    self._landings.tie(rest)
                    if not self._landings.drop(rest):  # a reader wants it
                        self._put_locked(rest, first=True)

    def share_background(self, connections: int) -> None:
        """Leave so many *connections* to the background, beside readers too.

        One at least is for readers.
        """
        with self._lock:
            self._background_share = connections

    @property
    def arrived_bytes(self) -> int:
        """How many bytes transfers have brought so far."""
        with self._lock:
            return self._arrived_bytes

    @property
    def brought_bytes(self) -> int:
        """How many of them came in the background."""
        with self._lock:
            return self._brought_bytes

    def drop_ahead(self, content: Content) -> bool:
        """Forget the transfers queued ahead for *content*; returns whether any was."""
        with self._lock:
            return self._queues.drop_ahead(content, self._landings.drop)

    def blocks_without_room(self) -> int:
        """How many blocks are ahead, queued or about to be read, and have no memory yet."""
        with self._lock:
            begun = [
                transfer
                for transfer in self._running
                if transfer.body is None and not transfer.background
            ]
            beginning = sum(max(0, one.stop - one.first) for one in begun)
            return self._queues.blocks_ahead() + beginning

    def lend(self, count: int) -> bool:
        """Whether *count* connections are lent: see `Capacity.lend`."""
        with self._lock:
            yielding = len(self._yielding_locked())
            busy = self._workers - yielding + self._queues.demands
            return not self._closed and self._capacity.lend(count, busy)

    def give_back(self) -> None:
        """One connection that was lent is idle again."""
        with self._lock:
            self._capacity.give_back()

    # -- for workers -------------------------------------------------------------------

    def claim_workers(self) -> int:
        """How many more workers can begin a transfer now; counts them from here on.

        If a demand waits and no worker is free, a transfer ahead makes way.
        """
        with self._lock:
            # Transfers at their last block, or cut for a demand, free their worker soon.
            ending = sum(1 for t in self._running if t.gives_way or t.rest_blocks <= 0)
            free = max(0, self._capacity.at_once - len(self._running) + ending)
            if self._queues.demands > free:
                self._make_way_locked()
            # Transfers ahead beyond the limit wait for a running one to end.
            queued = self._queues.requests_ahead(self.connections)
            ahead = min(queued, self._room_ahead_locked())
            if self._queues.demands + ahead:
                self._yield_locked()
            background = min(self._queues.background, self._room_background_locked())
            looking = self._workers - len(self._running)
            wanted = self._queues.demands + ahead + background - looking
            called = max(0, min(wanted, self._capacity.at_once - self._workers))
            self._workers += called
            return called

    def give_up_workers(self, count: int, error: HingError) -> None:
        """*count* claimed workers cannot be started.

        If no worker is left, the queued transfers fail with *error*.
        """
        with self._lock:
            self._workers -= count
            if self._workers <= 0:
                for transfer in self._queues.drain():
                    self._landings.forget(transfer, error)

    def next(self) -> Transfer | None:
        """The transfer that a worker is to run now; None sends the worker home."""
        with self._lock:
            transfer = None
            if not self._closed and len(self._running) < self._capacity.at_once:
                transfer = self._begin_locked()
            if transfer is None:
                self._workers -= 1
                return None
            self._cut_to_share_locked(transfer)
            transfer.started_at = time.monotonic()
            self._running.add(transfer)
            self._capacity.running(len(self._running))
            return transfer

    def opened(self, transfer: Transfer, body: RangeBody) -> None:
        """*transfer* reads *body* from here on. Raises the error of `close`."""
        with self._lock:
            transfer.body = body
            if self._closed:
                raise self._closed.again()

    def reach(self, transfer: Transfer, stop: int) -> int:
        """*stop*, or the end of *transfer* if that comes first.

        The transfer is about to read so far, and cannot be cut shorter.
        """
        with self._lock:
            transfer.reach = min(stop, transfer.stop)
            return transfer.reach

    def narrow(self, transfer: Transfer, first: int, stop: int) -> None:
        """*transfer*, of which nothing has landed, brings the blocks [first, stop) alone.

        Those before have landed otherwise; those behind are queued.
        """
        with self._lock:
            transfer.first = transfer.next = transfer.reach = first
            self._queue_rest_locked(transfer, stop)

    def set_aside(self, transfer: Transfer, stop: int) -> None:
        """*transfer*, of which nothing has landed, brings nothing.

        Others bring its blocks before *stop*, and those behind are queued.
        """
        with self._lock:
            self._queue_rest_locked(transfer, stop)
            aside = transfer.cut(transfer.first, demand=False)
            self._mark_demanded_locked(aside)
            aside.started_at = time.monotonic()  # no demand hastens it
            self._landings.tie(aside)
            self._queues.put_aside(aside)

    def aside(self) -> list[tuple[Transfer, range]]:
        """The transfers that are aside, with their blocks."""
        with self._lock:
            return [(t, range(t.first, t.stop)) for t in self._queues.aside]

    def leave_aside(self, transfer: Transfer) -> None:
        """Others have brought all of *transfer*, which was aside."""
        with self._lock:
            self._queues.take_aside(transfer)

    def resume(self, transfer: Transfer, *, alone: bool = False) -> None:
        """Queue *transfer*, if it still is aside; *alone*: whatever others fetch."""
        with self._lock:
            if not self._queues.take_aside(transfer) or self._closed:
                return
            transfer.started_at = None
            transfer.alone = alone
            self._mark_demanded_locked(transfer)
            self._put_locked(transfer, first=True)

    def landed(self, transfer: Transfer, blocks: int, size_bytes: int) -> bool:
        """*blocks* more of *transfer* have landed; returns whether workers are to be claimed.

        That is where `connections` has changed, or the transfer may make way from here on.
        """
        with self._lock:
            now = time.monotonic()
            told = transfer.landed(blocks, now)
            self._arrived_bytes += size_bytes
            self._brought_bytes += size_bytes * transfer.background
            changed = self._capacity.arrived(size_bytes)
            may_yield = transfer.background or self._queues.demands > 0
            return changed or (told and may_yield)

    def ended(self, transfer: Transfer, error: HingError | None) -> None:
        """*transfer* runs no more; the blocks left of it fail with *error*, if any."""
        with self._lock:
            if error is not None:
                self._fail_locked(transfer, error)
            pace = transfer.block_seconds(time.monotonic())
            self._block_seconds = pace or self._block_seconds
            self._running.discard(transfer)
            self._queues.ended(transfer)
            self._capacity.running(len(self._running))

    def close(self, error: HingError) -> list[RangeBody]:
        """Run no more transfers; returns the bodies that workers read now."""
        with self._lock:
            self._closed = error
            self._queues.drain()
            return [t.body for t in self._running if t.body is not None]

    # ----------------------------------------------------------------------------------

    def _begin_locked(self) -> Transfer | None:
        """The next transfer, which runs from now on."""
        transfer = None
        if self._owed_locked() > 0:
            transfer = self._queues.begin_background(self._may_run_locked)
        if transfer is None:
            ahead = self._room_ahead_locked() > 0
            transfer = self._queues.begin(self._may_run_locked, ahead=ahead)
        if transfer is None and self._room_background_locked() > 0:
            transfer = self._queues.begin_background(self._may_run_locked)
        return transfer

    def _owed_locked(self) -> int:
        """How many more transfers in the background may run beside those of readers.

        Negative if more run than that.
        """
        share = min(self._background_share, self.connections - 1)
        return share - len(self._queues.background_running)

    def _room_background_locked(self) -> int:
        """How many more transfers in the background may run."""
        if not self._queues.background:
            return 0
        background = len(self._queues.background_running)
        for_readers = len(self._running) - background + self._queues.demands
        if for_readers or self._queues.blocks_ahead():
            return max(0, self._owed_locked())
        return self._capacity.room_ahead(background)

    def _yielding_locked(self) -> list[Transfer]:
        """The transfers in the background beyond its share, the last begun first."""
        beyond = max(0, -self._owed_locked())
        return list(self._queues.background_running)[::-1][:beyond]

    def _yield_locked(self) -> None:
        """A reader's transfer waits: those in the background beyond its share end soon.

        The rest of each goes back into the queue. None is cut whose rest comes soon.
        """
        now = time.monotonic()
        for transfer in self._yielding_locked():
            if transfer.gives_way or self._ends_soon_locked(transfer, now):
                continue
            stop = self._earliest_stop_locked(transfer)
            if stop < transfer.stop:
                rest = transfer.cut(stop, demand=False)
                transfer.gives_way = True
                self._put_locked(rest, first=True)

    def _put_locked(self, transfer: Transfer, *, first: bool = False) -> None:
        """Queue *transfer*."""
        self._landings.tie(self._queues.put(transfer, first=first))

    def _mark_demanded_locked(self, transfer: Transfer) -> None:
        """Make *transfer*, which is not queued, a demand if a reader wants a block of it.

        A reader may have joined since its landings were announced.
        """
        if self._landings.demanded_stop(transfer, transfer.first) > transfer.first:
            transfer.demand, transfer.background = True, False

    def _cut_to_share_locked(self, transfer: Transfer) -> None:
        """*transfer* begins: cut it to one request, and queue the rest."""
        stop = transfer.first + self._queues.length(transfer, self.connections)
        self._queue_rest_locked(transfer, stop)

    def _queue_rest_locked(self, transfer: Transfer, stop: int) -> None:
        """End *transfer*, which begins, before block *stop*; the rest is queued."""
        if stop < transfer.stop:
            rest = transfer.cut(stop, demand=False)
            self._mark_demanded_locked(rest)
            self._put_locked(rest, first=True)

    def _hasten_locked(self, transfer: Transfer, index: int) -> None:
        """A reader waits for block *index*, which *transfer* brings.

        A transfer that has far to go to the block ends in front of it, and the rest
        becomes a demand of its own. Another becomes a demand if it is queued.
        """
        if (index - transfer.next) * self._block_bytes > JOIN_DISTANCE_BYTES:
            self._put_locked(transfer.cut(index, demand=True))
        elif transfer.started_at is None:
            self._queues.hasten(transfer)

    def _make_way_locked(self) -> None:
        """Cut a transfer ahead short, so that its worker comes free for a demand.

        Its rest goes back into the queue. None does whose rest comes soon. It is one of the
        file with the most running.
        A transfer whose bytes flow is preferred, since another has still to wait for its
        answer; then one that no reader waits for, since it ends soonest; then the one
        with the longest rest.
        """
        stops = {
            t: self._earliest_stop_locked(t)
            for t in self._running
            if not (t.demand or t.background)  # those have yielded as far as they may
        }
        least = _LEAST_CUT_BYTES // self._block_bytes
        now = time.monotonic()
        candidates = [
            t
            for t, stop in stops.items()
            if t.stop - stop > least and not self._ends_soon_locked(t, now)
        ]
        if not candidates:
            return
        transfer = max(
            candidates,
            key=lambda t: (
                self._queues.running(t.content),
                t.next > t.first,
                stops[t] == t.stop - t.rest_blocks,
                t.stop - stops[t],
            ),
        )
        rest = transfer.cut(stops[transfer], demand=False)
        transfer.gives_way = True
        self._put_locked(rest, first=True)

    def _ends_soon_locked(self, transfer: Transfer, now: float) -> bool:
        """Whether the rest of *transfer* comes soon, at its own pace or the last one's."""
        left = transfer.stop - transfer.next
        seconds = transfer.block_seconds(now) or self._block_seconds
        only = self._queues.is_all_that_is_wanted(transfer)
        soon = _LEAST_CUT_OF_ONLY_SECONDS if only else _LEAST_CUT_SECONDS
        return seconds is not None and left * seconds < soon

    def _earliest_stop_locked(self, transfer: Transfer) -> int:
        """The block before which *transfer* may end at the earliest.

        It must not lose a block that is being read, nor one that a reader waits for:
        that reader would then come behind later demands.
        """
        least = transfer.stop - transfer.rest_blocks
        return self._landings.demanded_stop(transfer, least)

    def _room_ahead_locked(self) -> int:
        """How many more transfers ahead may run."""
        ahead = sum(1 for t in self._running if not (t.demand or t.background))
        kept = len(self._queues.background_running) - len(self._yielding_locked())
        return self._capacity.room_ahead(ahead + kept)

    def _may_run_locked(self, transfer: Transfer) -> bool:
        """Whether *transfer* need not wait for the first answer about its content.

        Until that answer, one transfer alone runs: a server that ignores ranges would
        send the whole file for each.
        """
        content = transfer.content
        return content.ranges is not None or not self._queues.running(content)

    def _fail_locked(self, transfer: Transfer, error: HingError) -> None:
        passing = isinstance(error, TransportError) and not isinstance(
            error, Unforeseen
        )
        if passing and not self._closed:
            self._capacity.trouble()
            again = self._landings.retry_late(transfer)
            if again is not None:
                self._put_locked(again)
        self._landings.fail(transfer, error)
