"""Blocks on their way: one *landing* each, however many readers want the block.

Decides that no block is requested twice, which readers an arrival wakes, and how long a
failure is remembered. Leaves to `schedule` which transfer brings a block, and when.

The lock of the table guards the table and every landing. It is a leaf, held for
dictionary work only: `schedule` calls here with its own lock held, never the reverse.

Threads: none of its own. Each reader waits on a gate, which a worker opens.
"""

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

from ..blocks import Block, bounds_of
from ..content import Content
from ..errors import BodyCut, DeadlineExceeded, HingError
from ..http.patience import FAILURE_MEMORY_SECONDS
from .transfer import Transfer

# A reader that joins a transfer this long after its start gets another one, should the
# first fail: its tries were nearly used up by then. A twelfth of their time.
LATE_SECONDS = 1.0
# A block is on its way for one sighting, and answers are judged by what that sighting
# shows. Once the block has landed, others of the same version find it in the cache.
LandingKey = tuple[Content, int]  # with the index of the block


class Landing:
    """One block on its way. Thread safety: `wait` and `show`."""

    __slots__ = (
        "_lock",
        "_waiters",
        "data",
        "demanded",
        "error",
        "expires_at",
        "filled",
        "late",
        "partial",
        "size_bytes",
        "transfer",
    )

    def __init__(self, size_bytes: int, lock: threading.Lock) -> None:
        self._lock = lock  # of the table; guards all below
        self.size_bytes = size_bytes
        self.data: Block | None = None
        self.partial: bytearray | None = None  # of size_bytes, *filled* of them true
        self.filled = 0
        self.demanded = False  # a reader takes it from here, not from the cache
        self.late = False  # demanded when its transfer had tried for some time
        self.error: HingError | None = None
        self.expires_at = 0.0  # monotonic: the table forgets *error* then
        # Brings the block; None before there is one, and once it has landed or failed.
        self.transfer: Transfer | None = None
        # (bytes needed, gate). A gate is a lock that is released when the bytes are
        # there. An Event costs three times as much, and a fast link waits for every
        # block.
        self._waiters: list[tuple[int, threading.Lock]] = []

    def wait(self, need: int, deadline: float) -> Block:
        """The block, of which at least the first *need* bytes are true.

        Raises DeadlineExceeded at *deadline* (monotonic), or the transfer's error.
        """
        while True:
            with self._lock:
                block, error = self.first_locked(need), self.error
                if block is not None:
                    return block
                if error is not None:
                    raise error.again() from error
                gate = self.join_locked(need)
            left = max(0.0, deadline - time.monotonic())
            if not gate.acquire(timeout=left):
                raise DeadlineExceeded("the read took longer than its time-out")
            # Look again: a new try for latecomers may have taken the bytes back.

    def show(self, partial: bytearray, filled: int) -> None:
        """The first *filled* bytes are there, in *partial*: wake their readers."""
        with self._lock:
            self.partial, self.filled = partial, filled
            self.wake_locked()

    def first_locked(self, need: int) -> Block | None:
        """The block, if its first *need* bytes are true."""
        if self.data is not None:
            return self.data
        return self.partial if self.filled >= need else None

    def join_locked(self, need: int) -> threading.Lock:
        """A gate that opens when *need* bytes, or an error, are there.

        The reader that passes it must look again: see `wait`.
        """
        gate = threading.Lock()
        gate.acquire()
        self._waiters.append((need, gate))
        return gate

    def is_awaited_locked(self) -> bool:
        """Whether a reader waits at a gate."""
        return bool(self._waiters)

    def wake_locked(self) -> None:
        """Open the gates of all readers whose bytes are there; of all if it failed."""
        if not self._waiters:
            return
        still = []
        for need, gate in self._waiters:
            if self.error is not None or self.first_locked(need) is not None:
                gate.release()
            else:
                still.append((need, gate))
        self._waiters = still

    def end_locked(self, outcome: Block | HingError) -> None:
        """The block is there, or it has failed: wake its readers."""
        if isinstance(outcome, HingError):
            self.error = outcome
        else:
            self.data = outcome
        self.transfer = None
        self.wake_locked()


class Landings:
    """The table of blocks on their way. Thread safety: all methods.

    A failure is remembered for *failure_memory_seconds*. A reader that joins a transfer
    *late_seconds* after its start gets another one, should the first fail.
    """

    def __init__(
        self,
        block_bytes: int,
        failure_memory_seconds: float = FAILURE_MEMORY_SECONDS,
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        self._block_bytes = block_bytes
        self._failure_memory_seconds = failure_memory_seconds
        self._late_seconds = late_seconds
        self._lock = threading.Lock()  # guards all below, and every landing
        self._landings: dict[LandingKey, Landing] = {}
        self._failed: deque[LandingKey] = deque()  # landings kept for their error
        self._closed: HingError | None = None

    # -- for readers -------------------------------------------------------------------

    def demand(
        self, content: Content, indices: Sequence[int]
    ) -> tuple[list[Landing], list[int]]:
        """Landings that a reader will wait for, and which of *indices* are new.

        The caller must have the new ones requested. Raises the error of `close`.
        """
        landings, new = [], []
        now = time.monotonic()
        with self._lock:
            if self._closed:
                raise self._closed.again()
            self._forget_failures_locked(now)
            for index in indices:
                landing = self._landings.get((content, index))
                if landing is None:
                    landing = self._new_locked(content, index)
                    new.append(index)
                landing.demanded = True
                transfer = landing.transfer
                if transfer is not None and transfer.started_at is not None:
                    landing.late |= now - transfer.started_at > self._late_seconds
                landings.append(landing)
        return landings, new

    def announce(self, content: Content, indices: Sequence[int]) -> dict[int, Landing]:
        """New landings of the *indices* that are not on their way.

        The caller must have them requested.
        """
        with self._lock:
            if self._closed:
                return {}
            self._forget_failures_locked(time.monotonic())
            return {
                index: self._new_locked(content, index)
                for index in indices
                if (content, index) not in self._landings
            }

    def announce_run(self, content: Content, indices: Sequence[int]) -> list[int]:
        """New landings of *indices* up to the first that is on its way; their indices."""
        run = []
        with self._lock:
            for index in indices:
                if self._closed or (content, index) in self._landings:
                    break
                self._new_locked(content, index)
                run.append(index)
        return run

    def close(self, error: HingError) -> None:
        """Wake every waiter with *error*, and refuse new ones with it."""
        with self._lock:
            self._closed = error
            for landing in self._landings.values():
                if landing.error is None:
                    landing.end_locked(error)
            self._landings.clear()

    # -- for workers -------------------------------------------------------------------

    def get(self, key: LandingKey) -> Landing | None:
        """The landing under *key*, if its block is on its way."""
        with self._lock:
            return self._landings.get(key)

    def land(self, content: Content, first: int, blocks: Sequence[Block]) -> list[int]:
        """Hand *blocks*, from index *first* on, to the readers that wait for them.

        Returns the indices of the blocks that readers take from here, not from the cache.
        """
        demanded = []
        with self._lock:
            for index, block in enumerate(blocks, first):
                landing = self._landings.pop((content, index), None)
                if landing is not None:
                    landing.end_locked(block)
                    if landing.demanded:
                        demanded.append(index)
        return demanded

    # -- for the schedule, with its lock held --------------------------------------------

    def tie(self, transfer: Transfer) -> None:
        """*transfer* brings its blocks from here on."""
        with self._lock:
            self._tie_locked(transfer)

    def demanded_stop(self, transfer: Transfer, least: int) -> int:
        """The end of the last block of *transfer* that a reader demanded, or *least*."""
        stop = transfer.stop
        with self._lock:
            while stop > least:
                landing = self._landings.get((transfer.content, stop - 1))
                if landing is not None and landing.demanded:
                    break
                stop -= 1
        return stop

    def retry_late(self, transfer: Transfer) -> Transfer | None:
        """A new transfer for the blocks of a failed one that were demanded late, if any.

        Their readers joined when its tries were nearly used up, and have not waited
        long. The new transfer has all its tries.
        """
        with self._lock:
            left = dict(self._left_locked(transfer))
            late = [key[1] for key, landing in left.items() if landing.late]
            if not late:
                return None
            again = Transfer(transfer.content, late[0], late[-1] + 1, demand=True)
            for key, landing in left.items():
                if again.first <= key[1] < again.stop:
                    landing.late, landing.filled, landing.partial = False, 0, None
            self._tie_locked(again)
            return again

    def fail(self, transfer: Transfer, error: HingError) -> None:
        """The blocks left of *transfer* fail with *error*.

        The error is remembered for the blocks that readers wanted.
        """
        expires_at = time.monotonic() + self._failure_memory_seconds
        with self._lock:
            for key, landing in self._left_locked(transfer):
                if transfer.demand or landing.is_awaited_locked():
                    landing.expires_at = expires_at
                    self._failed.append(key)
                else:
                    del self._landings[key]
                landing.end_locked(error)

    def forget(self, transfer: Transfer, error: HingError) -> None:
        """The blocks left of *transfer* fail with *error*, which is not remembered."""
        with self._lock:
            self._forget_locked(transfer, error)

    def drop(self, transfer: Transfer) -> bool:
        """Forget the blocks left of *transfer*, unless a reader demanded one of them."""
        with self._lock:
            if any(landing.demanded for _, landing in self._left_locked(transfer)):
                return False
            self._forget_locked(transfer, BodyCut("no longer wanted"))
            return True

    # ----------------------------------------------------------------------------------

    def _new_locked(self, content: Content, index: int) -> Landing:
        size = len(bounds_of(index, self._block_bytes, content.size_bytes))
        landing = self._landings[content, index] = Landing(size, self._lock)
        return landing

    def _tie_locked(self, transfer: Transfer) -> None:
        for index in range(transfer.first, transfer.stop):
            landing = self._landings.get((transfer.content, index))
            if landing is not None:
                landing.transfer = transfer

    def _left_locked(self, transfer: Transfer) -> Iterator[tuple[LandingKey, Landing]]:
        """The landings that *transfer* has still to bring."""
        for index in range(transfer.next, transfer.stop):
            key = (transfer.content, index)
            landing = self._landings.get(key)
            if landing is not None and landing.transfer is transfer:
                yield key, landing

    def _forget_locked(self, transfer: Transfer, error: HingError) -> None:
        for key, landing in self._left_locked(transfer):
            del self._landings[key]
            landing.end_locked(error)

    def _forget_failures_locked(self, now: float) -> None:
        """Drop the failures that were remembered long enough."""
        while self._failed:
            landing = self._landings.get(self._failed[0])
            if landing is not None and landing.error is not None:
                if landing.expires_at > now:
                    return
                del self._landings[self._failed[0]]
            self._failed.popleft()
