"""One Range request for a run of blocks, and what it asks of the side that sends them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..blocks import ByteRange
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


@dataclass(eq=False, slots=True)
class Transfer:
    """One request for the blocks [first, stop) of a content.

    *next* is the first block that has not landed, *reach* the first that is not being
    read. *stop* may be lowered while it runs, but leaves *next* and what is being read.
    *gives_way*: it was lowered so that the worker comes free for a demand.

    The lock of the schedule guards all fields, unless they say otherwise.
    """

    content: Content
    first: int
    stop: int
    demand: bool
    next: int = field(init=False)
    reach: int = field(init=False)
    gives_way: bool = False
    reserved_bytes: int = 0  # in the cache, for its blocks to come; for its worker only
    body: RangeBody | None = None
    started_at: float | None = None  # monotonic; None while queued; anybody may look

    def __post_init__(self) -> None:
        self.next = self.reach = self.first

    @property
    def rest_blocks(self) -> int:
        """How many blocks at its end it can still be relieved of."""
        return self.stop - max(self.reach, self.next + 1)

    def cut(self, index: int, *, demand: bool) -> "Transfer":
        """End before block *index*; returns another transfer for the rest."""
        rest = Transfer(self.content, index, self.stop, demand)
        self.stop = index
        return rest
