"""A block on its way, the request that brings it, and where requests go.

All of it is plain state of the fetcher, guarded by its lock; who waits for a block
waits on a lock of its own.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ..blocks import Block, ByteRange
from ..errors import HingError
from ..http.answer import Answer
from ..version import Content


class RangeBody(Protocol):
    """The bytes of a range, in order."""

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes over *buffers*, laid end to end, from *start* on.

        Returns how many: at least *least_bytes*, and more where they are there and
        fit; or raises an error.
        """

    def take_whole(self) -> Answer | None:
        """The open answer with the whole file that came instead of the range, if any.

        Asked after RangesIgnored; it is the caller's to close.
        """

    def abort(self) -> None:
        """Wake the reading thread with an error."""

    def close(self) -> None:
        """Nothing more is read."""


class RangeSource(Protocol):
    """Where bytes come from."""

    @property
    def counts_requests(self) -> bool:
        """Whether a request is dear there, however little it asks for."""

    def open_range(self, content: Content, span: ByteRange) -> RangeBody:
        """The bytes of *span*; nothing is requested before the first is read."""


class Landing:
    """One block on its way. All fields are guarded by the fetcher's lock."""

    __slots__ = (
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

    def __init__(self, size_bytes: int) -> None:
        self.size_bytes = size_bytes
        self.data: Block | None = None
        self.partial: bytearray | None = None  # of size_bytes, *filled* of them true
        self.filled = 0
        self.demanded = False  # somebody reads it from here, not from the cache
        self.late = False  # demanded when its transfer had tried for some time
        self.error: HingError | None = None
        self.expires_at = 0.0
        self.transfer: Transfer | None = None
        # (bytes needed, a lock that is released when they are there). An Event would
        # do; it costs three times as much, and a fast link waits for every block.
        self._waiters: list[tuple[int, threading.Lock]] = []

    def wake(self) -> None:
        """Wake who has what it needs; call with the lock held."""
        if not self._waiters:
            return
        still = []
        for need, gate in self._waiters:
            if self.ready(need):
                gate.release()
            else:
                still.append((need, gate))
        self._waiters = still

    def ready(self, need: int) -> bool:
        """Whether *need* bytes, or an error, are there; call with the lock held."""
        return self.error is not None or self.first(need) is not None

    def first(self, need: int) -> Block | None:
        """The block, of which *need* bytes are true; call with the lock held.

        None where they are not there.
        """
        if self.data is not None:
            return self.data
        return self.partial if self.filled >= need else None

    def join(self, need: int) -> threading.Lock:
        """A gate that opens when *need* bytes, or an error, are there.

        A reader that passes it looks again, since a new try for the block may have taken
        them back. Call with the lock held.
        """
        gate = threading.Lock()
        gate.acquire()
        self._waiters.append((need, gate))
        return gate

    def awaited(self) -> bool:
        """Whether anybody waits; call with the lock held."""
        return bool(self._waiters)


@dataclass(eq=False, slots=True)
class Transfer:
    """One request for the blocks [first, stop) of a content.

    *next* is the first block that has not landed, *reach* the first that is not being
    read. *stop* may be lowered while it runs, but leaves *next* and what is being read.
    *gives_way*: it was lowered so that the worker comes free for a demand.
    """

    content: Content
    first: int
    stop: int
    demand: bool
    next: int = 0
    reach: int = 0
    gives_way: bool = False
    reserved_bytes: int = 0  # in the cache, for its blocks to come; for its worker only
    body: RangeBody | None = None
    started_at: float | None = None  # monotonic; None while it is queued

    @property
    def rest_blocks(self) -> int:
        """How many blocks at its end it can still be relieved of."""
        return self.stop - max(self.reach, self.next + 1)
