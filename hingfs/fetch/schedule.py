"""Which transfer runs next, and how many run at once.

Decides that a demand goes first. A demand overtakes the queue of transfers ahead, cuts
a running transfer that has far to go to the demanded block, and has one transfer ahead
make way if no worker is free. At most --connections transfers run at once.
Leaves to `concurrency` how many of them may be ahead, and to `landings` which readers
wait.

Threads: none of its own. It counts the workers of `pump`, and says how many more are of
use.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..blocks import MIB
from ..errors import HingError, TransportError, Unforeseen
from ..version import Content
from .concurrency import Concurrency
from .landings import Landing, Landings
from .transfer import RangeBody, RangeSource, Transfer

# A demanded block further than this from the point that its transfer has reached gets a
# request of its own, and the transfer ends in front of it. About the bytes of 60 ms at
# 40 MB/s.
JOIN_DISTANCE_BYTES = 3 * MIB


@dataclass(slots=True)
class Queues:
    """Transfers that wait for a worker. Not thread-safe: the schedule locks."""

    demand: deque[Transfer] = field(default_factory=deque)
    ahead: deque[Transfer] = field(default_factory=deque)

    def put(self, transfer: Transfer) -> None:
        """Queue *transfer* behind the others of its kind."""
        (self.demand if transfer.demand else self.ahead).append(transfer)

    def hasten(self, transfer: Transfer) -> None:
        """A reader waits for *transfer*, which is queued: make it a demand."""
        if not transfer.demand:
            self.ahead.remove(transfer)
            transfer.demand = True
            self.demand.append(transfer)

    def take(
        self, may_run: Callable[[Transfer], bool], *, ahead: bool
    ) -> Transfer | None:
        """Take the first that may run; one of those ahead only if *ahead* is true."""
        for queue in (self.demand, self.ahead) if ahead else (self.demand,):
            for transfer in queue:
                if may_run(transfer):
                    queue.remove(transfer)
                    return transfer
        return None

    def drain(self) -> Iterator[Transfer]:
        """Take all of them."""
        for queue in (self.demand, self.ahead):
            while queue:
                yield queue.popleft()


class Schedule:
    """The queued and the running transfers. Thread safety: all methods."""

    def __init__(
        self, source: RangeSource, landings: Landings, *, block_bytes: int, most: int
    ) -> None:
        self._source = source
        self._landings = landings
        self._block_bytes = block_bytes
        self._most = most  # transfers at once, and workers
        # Guards all below, and every field of a transfer. Only `landings`, whose lock is
        # a leaf, is called with it held.
        self._lock = threading.Lock()
        self._queues = Queues()
        self._running: set[Transfer] = set()
        self._workers = 0  # those that run a transfer, or will ask for the next
        self._concurrency = Concurrency(most)
        self._closed: HingError | None = None

    # -- for readers -------------------------------------------------------------------

    @property
    def connections(self) -> int:
        """How many requests at once pay off; read without the lock, so a hint."""
        return 1 if self._source.counts_requests else self._concurrency.limit

    def demand(
        self, transfers: Iterable[Transfer], wanted: Iterable[tuple[int, Landing]]
    ) -> None:
        """Queue *transfers*, and hasten those that bring *wanted* (index, landing)."""
        with self._lock:
            if self._closed:
                return
            for transfer in transfers:
                self._landings.tie(transfer)
                self._queues.put(transfer)
            for index, landing in wanted:
                if landing.transfer is not None:
                    self._hasten_locked(landing.transfer, index)

    def ahead(self, transfers: Iterable[Transfer]) -> None:
        """Queue *transfers* ahead, behind every demand."""
        with self._lock:
            if self._closed:
                return
            for transfer in transfers:
                self._landings.tie(transfer)
                # A reader may have joined since the landings were announced.
                first = transfer.first
                demanded = self._landings.demanded_stop(transfer, first) > first
                transfer.demand = demanded
                self._queues.put(transfer)

    def drop_ahead(self, content: Content) -> bool:
        """Forget the transfers queued ahead for *content*; returns whether any was."""
        with self._lock:
            queued = [t for t in self._queues.ahead if t.content is content]
            dropped = [t for t in queued if self._landings.drop(t)]
            for transfer in dropped:
                self._queues.ahead.remove(transfer)
            return bool(dropped)

    def queued_ahead_blocks(self) -> int:
        """How many blocks are queued ahead."""
        with self._lock:
            return sum(t.stop - t.first for t in self._queues.ahead)

    # -- for workers -------------------------------------------------------------------

    def claim_workers(self) -> int:
        """How many more workers can begin a transfer now; counts them from here on.

        If a demand waits and no worker is free, a transfer ahead makes way.
        """
        with self._lock:
            # Transfers at their last block, or cut for a demand, free their worker soon.
            ending = sum(1 for t in self._running if t.gives_way or t.rest_blocks <= 0)
            free = self._most - len(self._running) + ending
            if len(self._queues.demand) > free:
                self._make_way_locked()
            # Transfers ahead beyond the limit wait for a running one to end.
            ahead = min(len(self._queues.ahead), self._room_ahead_locked())
            looking = self._workers - len(self._running)
            wanted = len(self._queues.demand) + ahead - looking
            called = max(0, min(wanted, self._most - self._workers))
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
            if not self._closed:
                ahead = self._room_ahead_locked() > 0
                transfer = self._queues.take(self._may_run_locked, ahead=ahead)
            if transfer is None:
                self._workers -= 1
                return None
            transfer.started_at = time.monotonic()
            self._running.add(transfer)
            self._note_running_locked()
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

    def landed(self, transfer: Transfer, blocks: int, size_bytes: int) -> bool:
        """*blocks* more of *transfer* have landed; returns whether `connections` changed."""
        with self._lock:
            transfer.next += blocks
            return self._concurrency.arrived(size_bytes, time.monotonic())

    def ended(self, transfer: Transfer, error: HingError | None) -> None:
        """*transfer* runs no more; the blocks left of it fail with *error*, if any."""
        with self._lock:
            if error is not None:
                self._fail_locked(transfer, error)
            self._running.discard(transfer)
            self._note_running_locked()

    def close(self, error: HingError) -> list[RangeBody]:
        """Run no more transfers; returns the bodies that workers read now."""
        with self._lock:
            self._closed = error
            self._queues = Queues()
            return [t.body for t in self._running if t.body is not None]

    # ----------------------------------------------------------------------------------

    def _hasten_locked(self, transfer: Transfer, index: int) -> None:
        """A reader waits for block *index*, which *transfer* brings.

        A queued transfer becomes a demand. A running one that has far to go to the block
        ends in front of it, and the rest becomes a demand of its own.
        """
        if transfer.started_at is None:
            self._queues.hasten(transfer)
        elif (index - transfer.next) * self._block_bytes > JOIN_DISTANCE_BYTES:
            rest = transfer.cut(index, demand=True)
            self._landings.tie(rest)
            self._queues.put(rest)

    def _make_way_locked(self) -> None:
        """Cut a transfer ahead short, so that its worker comes free for a demand.

        Its rest goes back into the queue. A transfer that no reader waits for is
        preferred, since it ends soonest; else the one with the longest rest.
        """
        stops = {
            t: self._earliest_stop_locked(t) for t in self._running if not t.demand
        }
        candidates = [t for t, stop in stops.items() if stop < t.stop]
        if not candidates:
            return
        transfer = max(
            candidates,
            key=lambda t: (stops[t] == t.stop - t.rest_blocks, t.stop - stops[t]),
        )
        rest = transfer.cut(stops[transfer], demand=False)
        transfer.gives_way = True
        self._landings.tie(rest)
        self._queues.ahead.appendleft(rest)

    def _earliest_stop_locked(self, transfer: Transfer) -> int:
        """The block before which *transfer* may end at the earliest.

        It must not lose a block that is being read, nor one that a reader waits for:
        that reader would then come behind later demands.
        """
        least = transfer.stop - transfer.rest_blocks
        return self._landings.demanded_stop(transfer, least)

    def _room_ahead_locked(self) -> int:
        """How many more transfers ahead may run."""
        running = sum(1 for transfer in self._running if not transfer.demand)
        return max(0, self.connections - running)

    def _may_run_locked(self, transfer: Transfer) -> bool:
        """Whether *transfer* need not wait for the first answer about its content.

        Until that answer, one transfer alone runs: a server that ignores ranges would
        send the whole file for each.
        """
        content = transfer.content
        return content.ranges is not None or all(
            running.content is not content for running in self._running
        )

    def _note_running_locked(self) -> None:
        self._concurrency.running(len(self._running), time.monotonic())

    def _fail_locked(self, transfer: Transfer, error: HingError) -> None:
        passing = isinstance(error, TransportError) and not isinstance(
            error, Unforeseen
        )
        if passing and not self._closed:
            self._concurrency.trouble()
            again = self._landings.retry_late(transfer)
            if again is not None:
                self._queues.put(again)
        self._landings.fail(transfer, error)
