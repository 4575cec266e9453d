"""Makes blocks present: cache, single flight, the queue and the worker threads.

However many readers want a block, it is requested once. A *landing* stands for a
block on its way; a *transfer* is one Range request for a run of blocks, and each of
its landings is resolved the moment its bytes are there. Failures reach every waiter
and are remembered for a moment, since a failing read makes the kernel try again.

Order that keeps single flight true without I/O under a lock: register the landing,
then look into the cache a second time, then fetch, put into the cache, resolve, and
only then unregister.

Threads: `hingfs-fetch-N` of a `DaemonPool`. Each job of it is a *worker*, which runs one
transfer after the other until none may run. `_lock` guards every table and queue, every
landing and every transfer's *stop*; it is a leaf and held for dictionary work only.
"""

import itertools
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field

from ..blocks import KIB, MIB, Block, ByteRange, bounds_of, runs_of
from ..cache.base import BlockCache
from ..errors import (
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    RangesIgnored,
    TransportError,
    Unforeseen,
    foreseen,
    printable,
)
from ..http.answer import Answer
from ..version import BlockKey, Content
from ..workers import DaemonPool
from .concurrency import Concurrency
from .landing import Landing, RangeBody, RangeSource, Transfer

log = logging.getLogger(__name__)

# A failed read makes the kernel ask two or three times more; each must not cost all
# the tries again.
FAILURE_MEMORY_SECONDS = 1.5
# Who joins a transfer this long after its start gets another, should it fail: most of
# its patience was used up before. A twelfth of what that is.
LATE_SECONDS = 1.0
# A demanded block that is further than this behind the point its transfer has reached
# gets a request of its own, and the transfer ends where that one begins. About what
# 60 ms at 40 MB/s bring.
JOIN_DISTANCE_BYTES = 3 * MIB
# A demanded block is handed out in pieces of this size while it arrives.
PIECE_BYTES = 64 * KIB
# A worker takes what has arrived, up to this much, into several blocks at once: each
# read costs a hand-over of the interpreter lock, to a reader that is busy copying. A
# trial that read a fixed number of blocks of 128 KiB at once, film over loopback without
# FUSE: one 560 MB/s and 2.3 CPU seconds a GB, two 680 and 1.9, four 860 and 1.3, eight
# 1,260 and 0.9, sixteen 1,060 and 1.0 (medians of six, 2 cores, 2026-11-22; one was not
# run in turn with the others).
ARRIVING_BYTES = 1 * MIB
_WHOLE_FILES_ONLY = "the server sends whole files only"


@dataclass(slots=True)
class _Queues:
    demand: deque[Transfer] = field(default_factory=deque)
    ahead: deque[Transfer] = field(default_factory=deque)


class BlockFetcher:
    """The module docstring tells how it works.

    *whole_body* is given the open answer of a server that ignored a Range request,
    to be read as the whole file.
    """

    def __init__(
        self,
        source: RangeSource,
        cache: BlockCache,
        *,
        block_bytes: int,
        connections: int,
        whole_body: Callable[[Content, Answer | None], object],
    ) -> None:
        self._source = source
        self._cache = cache
        self.block_bytes = block_bytes
        self._most_workers = connections
        self._whole_body = whole_body
        self._lock = threading.Lock()
        self._landings: dict[BlockKey, Landing] = {}
        self._failed: deque[BlockKey] = deque()  # landings kept for their error
        self._queues = _Queues()
        self._running: set[Transfer] = set()
        self._workers = 0  # jobs of the pool that will look for a transfer again
        self._pool = DaemonPool("hingfs-fetch", connections)
        self._concurrency = Concurrency(connections)
        self._closing: HingError | None = None

    # -- for readers ---------------------------------------------------------------

    def demand(
        self, content: Content, indices: Sequence[int], ahead: Sequence[int] = ()
    ) -> list[Landing]:
        """Landings of the blocks *indices*, requested at once where they are not.

        The blocks *ahead*, which follow the last of *indices*, come in the same
        request, as far as they are missing without a gap; nobody waits for them.
        """
        landings, fresh = self._register(content, indices, demanded=True)
        if ahead and fresh and fresh[-1] == indices[-1]:
            fresh += self._register_gapless(content, ahead)
        missing = self._second_look(content, fresh)
        transfers = [
            Transfer(content, run.start, run.stop, demand=True)
            for run in runs_of(missing)
        ]
        with self._lock:
            for transfer in transfers:
                self._adopt(transfer)
                self._queues.demand.append(transfer)
            for index, landing in zip(indices, landings, strict=True):
                self._hasten(landing, index)
        self._call_workers()
        return landings

    def wait(self, landing: Landing, need: int, deadline: float) -> Block:
        """The block's bytes, at least the first *need*; more may be there.

        Raises DeadlineExceeded at *deadline* (monotonic), or what the transfer met.
        """
        while True:
            with self._lock:
                block, error = landing.first(need), landing.error
                if block is not None:
                    return block
                if error is not None:
                    raise error.again() from error
                gate = landing.join(need)
            left = max(0.0, deadline - time.monotonic())
            if not gate.acquire(timeout=left):
                raise DeadlineExceeded("the read took longer than its time-out")
            # A new try for latecomers may have taken back what opened the gate.

    def prefetch(
        self, content: Content, indices: Iterable[int], request_blocks: int
    ) -> list[Landing]:
        """Request the missing ones of *indices* without waiting; their landings."""
        wanted = [index for index in indices if (content, index) not in self._cache]
        with self._lock:
            if self._closing:
                return []
            wanted = [i for i in wanted if (content, i) not in self._landings]
        landings, fresh = self._register(content, wanted)
        missing = self._second_look(content, fresh)
        with self._lock:
            for run in runs_of(missing):
                # Of equal length: a short last one would cost a round trip as well.
                requests = max(1, round(len(run) / request_blocks))
                for number in range(requests):
                    first = run.start + len(run) * number // requests
                    stop = run.start + len(run) * (number + 1) // requests
                    transfer = Transfer(content, first, stop, demand=False)
                    self._adopt(transfer)
                    # A reader may have joined between the registration and here.
                    transfer.demand = self._is_demanded(transfer)
                    queues = self._queues
                    (queues.demand if transfer.demand else queues.ahead).append(
                        transfer
                    )
        self._call_workers()
        return landings

    def drop_queued(self, content: Content) -> bool:
        """Forget what is queued ahead for *content* and not started; whether any was."""
        with self._lock:
            queued = [t for t in self._queues.ahead if t.content is content]
            dropped = [t for t in queued if not self._is_demanded(t)]
            for transfer in dropped:
                self._queues.ahead.remove(transfer)
                error = BodyCut("no longer wanted")
                self._fail_locked(transfer, transfer.first, error, remember=False)
            return bool(dropped)

    def room_bytes(self) -> int:
        """How many more bytes may be fetched ahead, what is queued counted."""
        with self._lock:
            queued = sum(
                transfer.stop - transfer.first for transfer in self._queues.ahead
            )
        return max(0, self._cache.room_bytes() - queued * self.block_bytes)

    @property
    def connections(self) -> int:
        """How many requests at once pay off here; read without the lock, a hint."""
        return 1 if self.counts_requests else self._concurrency.limit

    @property
    def counts_requests(self) -> bool:
        """Whether few large requests are wanted here, rather than many at once."""
        return self._source.counts_requests

    def close(self, error: HingError) -> None:
        """Wake every waiter with *error*, end every transfer, refuse new ones."""
        with self._lock:
            self._closing = error
            self._queues.demand.clear()
            self._queues.ahead.clear()
            bodies = [t.body for t in self._running if t.body is not None]
            for landing in self._landings.values():
                if landing.data is None and landing.error is None:
                    landing.error = error
                    landing.wake()
            self._landings.clear()
        self._pool.close(error)
        for body in bodies:
            body.abort()

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)

    # -- registration (see the module docstring) -------------------------------------

    def _register(
        self, content: Content, indices: Sequence[int], *, demanded: bool = False
    ) -> tuple[list[Landing], list[int]]:
        landings, fresh = [], []
        now = time.monotonic()
        with self._lock:
            if self._closing:
                raise self._closing.again()
            self._forget_failures(now)
            for index in indices:
                key = (content, index)
                landing = self._landings.get(key)
                if landing is None:
                    size = len(bounds_of(index, self.block_bytes, content.size_bytes))
                    landing = self._landings[key] = Landing(size)
                    fresh.append(index)
                if demanded:
                    landing.demanded = True
                    transfer = landing.transfer
                    if transfer is not None and transfer.started_at is not None:
                        landing.late |= now - transfer.started_at > LATE_SECONDS
                landings.append(landing)
        return landings, fresh

    def _register_gapless(self, content: Content, indices: Sequence[int]) -> list[int]:
        """Register *indices* up to the first that is there or on its way."""
        absent = list(
            itertools.takewhile(lambda i: (content, i) not in self._cache, indices)
        )
        with self._lock:
            under_way = [i for i in absent if (content, i) in self._landings]
        if under_way:
            absent = absent[: absent.index(under_way[0])]
        return self._register(content, absent)[1]

    def _second_look(self, content: Content, fresh: list[int]) -> list[int]:
        missing = []
        for index in fresh:
            block = self._cache.get((content, index))
            if block is None:
                missing.append(index)
                continue
            with self._lock:
                self._resolve((content, index), block)
        return missing

    def _adopt(self, transfer: Transfer) -> None:
        """Tie a new transfer to its landings; call with the lock held."""
        for index in range(transfer.first, transfer.stop):
            landing = self._landings.get((transfer.content, index))
            if landing is not None:
                landing.transfer = transfer
        transfer.next = transfer.reach = transfer.first

    def _is_demanded(self, transfer: Transfer) -> bool:
        """Whether a reader wants a block of *transfer*; call with the lock held."""
        landings = (
            self._landings.get((transfer.content, index))
            for index in range(transfer.first, transfer.stop)
        )
        return any(landing is not None and landing.demanded for landing in landings)

    def _hasten(self, landing: Landing, index: int) -> None:
        """Demand overtakes read-ahead; call with the lock held.

        A queued transfer moves to the demand queue; one that runs, but has far to go
        to the block, ends in front of it and the rest becomes its own transfer.
        """
        transfer = landing.transfer
        if transfer is None or landing.data is not None or landing.error is not None:
            return
        if transfer.started_at is None:
            if not transfer.demand:
                self._queues.ahead.remove(transfer)
                transfer.demand = True
                self._queues.demand.append(transfer)
            return
        if (index - transfer.next) * self.block_bytes <= JOIN_DISTANCE_BYTES:
            return
        rest = Transfer(transfer.content, index, transfer.stop, demand=True)
        transfer.stop = index
        self._adopt(rest)
        self._queues.demand.append(rest)

    # -- workers ---------------------------------------------------------------------

    def _call_workers(self) -> None:
        """Have as many workers as can begin a transfer now."""
        with self._lock:
            count = self._missing_workers_locked()
            self._workers += count
        for started in range(count):
            try:
                self._pool.submit(self._work)
            except (
                TransportError
            ) as error:  # the system gives no thread, and none is there
                self._lose_workers(count - started, error)
                return

    def _missing_workers_locked(self) -> int:
        """How many more workers can begin a transfer; demands make way for themselves."""
        # Transfers at their last block, or cut for a demand, free their worker soon.
        ending = sum(1 for t in self._running if t.gives_way or t.rest_blocks <= 0)
        free = self._most_workers - len(self._running) + ending
        if len(self._queues.demand) > free:
            self._make_way()
        # Ahead work beyond the connection limit waits for a running transfer to end.
        ahead = min(len(self._queues.ahead), self._room_ahead_locked())
        looking = self._workers - len(self._running)
        wanted = len(self._queues.demand) + ahead - looking
        return max(0, min(wanted, self._most_workers - self._workers))

    def _room_ahead_locked(self) -> int:
        """How many more transfers ahead may run."""
        running = sum(1 for transfer in self._running if not transfer.demand)
        return max(0, self.connections - running)

    def _lose_workers(self, count: int, error: HingError) -> None:
        """So many will not come; where none is left, fail what is queued."""
        with self._lock:
            self._workers -= count
            if self._workers > 0:
                return
            for queue in (self._queues.demand, self._queues.ahead):
                while queue:
                    transfer = queue.popleft()
                    self._fail_locked(transfer, transfer.first, error, remember=False)

    def _make_way(self) -> None:
        """End a transfer ahead after the blocks that readers wait for, for a demand.

        The rest of it goes back into the queue. A transfer that no reader waits for is
        preferred, since it ends soonest; else the one with the longest rest. Call with
        the lock held.
        """
        stops = {t: self._earliest_stop(t) for t in self._running if not t.demand}
        candidates = [t for t, stop in stops.items() if stop < t.stop]
        if not candidates:
            return
        transfer = max(
            candidates,
            key=lambda t: (stops[t] == t.stop - t.rest_blocks, t.stop - stops[t]),
        )
        first = stops[transfer]
        rest = Transfer(transfer.content, first, transfer.stop, demand=False)
        transfer.stop, transfer.gives_way = first, True
        self._adopt(rest)
        self._queues.ahead.appendleft(rest)

    def _earliest_stop(self, transfer: Transfer) -> int:
        """The block before which *transfer* may end; call with the lock held.

        That is behind what is being read, and behind each block that a reader waits for:
        the reader would lose its place to demands that came later.
        """
        stop = transfer.stop
        least = stop - transfer.rest_blocks
        while stop > least:
            landing = self._landings.get((transfer.content, stop - 1))
            if landing is not None and landing.demanded:
                break
            stop -= 1
        return stop

    def _work(self) -> None:
        while (transfer := self._take()) is not None:
            self._perform(transfer)

    def _take(self) -> Transfer | None:
        """The transfer to run now; None ends the worker."""
        with self._lock:
            transfer = None if self._closing else self._next_transfer()
            if transfer is None:
                self._workers -= 1
                return None
            transfer.started_at = time.monotonic()
            self._running.add(transfer)
            self._note_running()
            return transfer

    def _note_running(self) -> None:
        """A transfer began or ended; call with the lock held."""
        self._concurrency.running(len(self._running), time.monotonic())

    def _next_transfer(self) -> Transfer | None:
        queues = [self._queues.demand]
        if self._room_ahead_locked():
            queues.append(self._queues.ahead)
        for queue in queues:
            for transfer in queue:
                if not self._must_wait(transfer):
                    queue.remove(transfer)
                    return transfer
        return None

    def _must_wait(self, transfer: Transfer) -> bool:
        """Whether the first answer of its content must be seen before.

        A server that ignores ranges would send the whole file for each request.
        """
        content = transfer.content
        return content.ranges is None and any(
            running.content is content for running in self._running
        )

    def _perform(self, transfer: Transfer) -> None:
        """Run *transfer* to its end; no exception leaves, every landing is settled."""
        error: HingError | None = None
        try:
            reserved = (transfer.stop - transfer.first) * self.block_bytes
            self._cache.reserve(reserved)
            transfer.reserved_bytes = reserved
            try:
                self._stream(transfer)
            finally:
                self._cache.reserve(-transfer.reserved_bytes)
        except BaseException as met:  # noqa: BLE001 - a worker's job boundary
            error = self._understood(transfer.content, met)
        with self._lock:
            if error is not None:
                self._fail(transfer, error)
            self._running.discard(transfer)
            self._note_running()
        self._call_workers()

    def _stream(self, transfer: Transfer) -> None:
        content = transfer.content
        if content.ranges is False:  # seen while this one was queued
            error = RangesIgnored(_WHOLE_FILES_ONLY)
            with self._lock:
                self._fail_locked(transfer, transfer.first, error, remember=False)
            return
        start = transfer.first * self.block_bytes
        stop = min(transfer.stop * self.block_bytes, content.size_bytes)
        body = self._source.open_range(content, ByteRange(start, stop))
        with closing(body):
            with self._lock:
                transfer.body = body
                if self._closing:
                    raise self._closing.again()
            try:
                self._land_blocks(transfer, body)
            except RangesIgnored:
                content.ranges_ignored()
                self._whole_body(content, body.take_whole())
                raise RangesIgnored(_WHOLE_FILES_ONLY) from None

    def _land_blocks(self, transfer: Transfer, body: RangeBody) -> None:
        """Read *body* to the end of *transfer*, landing each block once it is there."""
        # Somebody waits for these, or soon will.
        in_pieces = transfer.first + (2 if transfer.demand else 1)
        while transfer.next < min(in_pieces, transfer.stop):
            with self._lock:
                landing = self._landings.get((transfer.content, transfer.next))
                if landing is None:  # the mount is ending
                    return
            self._land(transfer, [self._read_in_pieces(body, landing)])
        self._land_runs(transfer, body)

    def _land_runs(self, transfer: Transfer, body: RangeBody) -> None:
        """The rest of it, several blocks at a time where as many have arrived."""
        most_at_once = max(1, ARRIVING_BYTES // self.block_bytes)
        at_once = min(2, most_at_once)
        run: list[bytearray] = []  # blocks from transfer.next on
        filled = 0  # so many bytes of them are true, less than of one block
        while (first := transfer.next) < transfer.stop:
            stop = self._reach(transfer, first + at_once)
            del run[stop - first :]
            run += [
                bytearray(self._size_of(transfer.content, index))
                for index in range(first + len(run), stop)
            ]
            count = body.read_into(run, filled, len(run[0]) - filled)
            filled += count
            at_once = min(max(2, 2 * count // self.block_bytes), most_at_once)
            whole = 0
            while whole < len(run) and filled >= len(run[whole]):
                filled -= len(run[whole])
                whole += 1
            self._land(transfer, run[:whole])
            del run[:whole]

    def _size_of(self, content: Content, index: int) -> int:
        return min(self.block_bytes, content.size_bytes - index * self.block_bytes)

    def _reach(self, transfer: Transfer, stop: int) -> int:
        """Block *stop*, or where *transfer* ends if that is first.

        As far as that it will be read now, and cannot be cut shorter.
        """
        with self._lock:
            transfer.reach = min(stop, transfer.stop)
            return transfer.reach

    def _read_in_pieces(self, body: RangeBody, landing: Landing) -> bytearray:
        size = landing.size_bytes
        partial = bytearray(size)  # never resized: readers may look at it meanwhile
        filled = 0
        while filled < size:
            least = min(PIECE_BYTES, size - filled)
            filled += body.read_into([partial], filled, least)
            with self._lock:
                landing.partial, landing.filled = partial, filled
                landing.wake()
        return partial

    def _land(self, transfer: Transfer, blocks: Sequence[Block]) -> None:
        """The next *blocks* of *transfer* are there."""
        content, first = transfer.content, transfer.next
        if content.ranges_served():
            self._call_workers()  # for what had to wait for this
        for index, block in enumerate(blocks, first):
            self._cache.put((content, index), block, reserved_bytes=self.block_bytes)
            transfer.reserved_bytes -= self.block_bytes
        with self._lock:
            demanded = [
                key
                for index, block in enumerate(blocks, first)
                if self._resolve(key := (content, index), block)
            ]
            transfer.next = first + len(blocks)
            size = sum(map(len, blocks))
            learnt = self._concurrency.arrived(size, time.monotonic())
        if learnt:
            log.debug("requests at once: %d", self._concurrency.limit)
            self._call_workers()
        for key in demanded:
            self._cache.mark_read(key)

    def _resolve(self, key: BlockKey, block: Block) -> bool:
        """Hand *block* to who waits for it; call with the lock held.

        Whether somebody reads it from there, and not from the cache.
        """
        landing = self._landings.pop(key, None)
        if landing is None:
            return False
        landing.data = block
        landing.transfer = None
        landing.wake()
        return landing.demanded

    def _understood(self, content: Content, met: BaseException) -> HingError:
        """What the waiters of a block of *content* are told of *met*.

        No exception leaves.
        """
        if isinstance(met, ContentChanged):
            content.found_changed()
        if not isinstance(met, HingError):
            name = printable(content.video_id, 80)
            log.error("%s: unforeseen error in a transfer", name, exc_info=met)
        return foreseen(met)

    def _fail(self, transfer: Transfer, error: HingError) -> None:
        """Every landing left of *transfer* meets *error*; call with the lock held."""
        passing = isinstance(error, TransportError) and not isinstance(
            error, Unforeseen
        )
        if passing and not self._closing:
            self._concurrency.trouble()
            self._try_for_latecomers(transfer)
        self._fail_locked(transfer, transfer.next, error, remember=True)

    def _try_for_latecomers(self, transfer: Transfer) -> None:
        """Give blocks that were demanded under way a transfer with fresh patience.

        Who joined a transfer that had used up its tries has not waited long itself.
        Call with the lock held.
        """
        late = []
        for index in range(transfer.next, transfer.stop):
            landing = self._landings.get((transfer.content, index))
            if landing is not None and landing.transfer is transfer and landing.late:
                late.append(index)
        if not late:
            return
        again = Transfer(transfer.content, late[0], late[-1] + 1, demand=True)
        for index in range(again.first, again.stop):
            landing = self._landings.get((transfer.content, index))
            if landing is not None and landing.transfer is transfer:
                landing.late, landing.filled, landing.partial = False, 0, None
        self._adopt(again)
        self._queues.demand.append(again)

    def _fail_locked(
        self, transfer: Transfer, first: int, error: HingError, *, remember: bool
    ) -> None:
        expires_at = time.monotonic() + FAILURE_MEMORY_SECONDS
        for index in range(first, transfer.stop):
            key = (transfer.content, index)
            landing = self._landings.get(key)
            if landing is None or landing.transfer is not transfer:
                continue
            landing.error = error
            landing.transfer = None
            if remember and (transfer.demand or landing.awaited()):
                landing.expires_at = expires_at
                self._failed.append(key)
            else:
                del self._landings[key]
            landing.wake()

    def _forget_failures(self, now: float) -> None:
        """Drop remembered failures that are over; call with the lock held."""
        while self._failed:
            landing = self._landings.get(self._failed[0])
            if landing is not None and landing.error is not None:
                if landing.expires_at > now:
                    return
                del self._landings[self._failed[0]]
            self._failed.popleft()
