"""One Range request for a run of blocks, and the protocols of the source it reads from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..blocks import ByteRange
from ..content import Content
from ..http.answer import Answer


class RangeBody(Protocol):
    """The bytes of a range, in order."""

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes into *buffers*, laid end to end, from *start* on.

        Returns how many: at least *least_bytes*, and more if more have arrived and fit.
        """

    def take_whole(self) -> Answer | None:
        """After RangesIgnored: the open answer with the whole file, if there is one.

        The caller closes it.
        """

    def abort(self) -> None:
        """Wake the reading thread with an error."""

    def close(self) -> None:
        """End the transfer; no more bytes are read."""


class RangeSource(Protocol):
    """Where ranges come from."""

    @property
    def counts_requests(self) -> bool:
        """Whether the endpoint limits requests, so that few large ones are better."""

    @property
    def at_once(self) -> int:
        """How many ranges the server sends at once; a hint."""

    def open_range(self, content: Content, span: ByteRange) -> RangeBody:
        """The bytes of *span*; sends no request before the first read."""


@dataclass(eq=False, slots=True)
class Transfer:
    """One request for the blocks [first, stop) of a content.

    The lock of the schedule guards all fields, unless they say otherwise.
    """

    content: Content
    first: int
    # Lowered when the transfer is cut; never below *reach*, nor to *next*.
    stop: int
    demand: bool  # a reader waits for it
    # The window that these blocks are the new part of, or all of; what has landed counts.
    window_blocks: int = 0
    next: int = field(init=False)  # the first block that has not landed
    reach: int = field(init=False)  # the first block that is not being read
    begun: bool = False  # an answer with these bytes, and no others, is on its way
    # No reader wants it: it is for the disk alone. Never changes while it runs.
    background: bool = False
    # Its blocks are fetched, whoever else may be fetching them.
    alone: bool = False
    gives_way: bool = False  # it was cut so that its worker comes free for a demand
    reserved_bytes: int = 0  # in the cache, for blocks to come; for its worker only
    body: RangeBody | None = None
    started_at: float | None = None  # monotonic; None while queued; any thread may read
    # When its first blocks had landed, monotonic, and which block was next then.
    flows_since: tuple[float, int] | None = None

    def __post_init__(self) -> None:
        self.next = self.reach = self.first
        self.window_blocks = max(self.window_blocks, self.stop - self.first)

    @property
    def rest_blocks(self) -> int:
        """How many blocks can still be cut off its end."""
        return self.stop - max(self.reach, self.next + 1)

    def landed(self, blocks: int, now: float) -> bool:
        """*blocks* more have landed; returns whether they tell the first of its pace."""
        known = self.block_seconds(now) is not None
        self.next += blocks
        if self.flows_since is None and blocks:
            self.flows_since = now, self.next
        return not known and self.block_seconds(now) is not None

    def block_seconds(self, now: float) -> float | None:
        """How long a block takes since its bytes flow; None if that is not known yet."""
        if self.flows_since is None or self.next == self.flows_since[1]:
            return None
        since, first = self.flows_since
        return (now - since) / (self.next - first)

    def grow(self, following: "Transfer") -> None:
        """Bring the blocks of *following* too, which begins where this one ends."""
        self.stop = following.stop
        windows = (self.window_blocks, following.window_blocks)
        self.window_blocks = max(*windows, self.stop - self.first)

    def cut(self, index: int, *, demand: bool) -> "Transfer":
        """End before block *index*; returns a transfer for the rest."""
        rest = Transfer(self.content, index, self.stop, demand, self.window_blocks)
        rest.background = self.background and not demand
        rest.alone = self.alone
        self.stop = index
        return rest
