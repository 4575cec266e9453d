"""The body of one answer, handed out as it comes, up to a proved end.

Decides how long a read waits, which errors end the body, and when its last bytes may be
handed out. Leaves chunks to `chunks`, waits at the socket to `socket_input`, and the
connection to `exchange`.

Threads: none of its own; one thread reads.
"""

import sys
import time
from collections.abc import Sequence
from typing import Protocol

from ..blocks import views_of
from ..errors import BodyCut, HingError, ServerBroken
from .chunks import ChunkedBody
from .framing import CHUNK_PEEK_BYTES, Framing, Head, looks_chunked
from .socket_input import SocketInput, last_wait


class Framed(Protocol):
    """One kind of framing: takes bytes from the socket, and hands out content."""

    @property
    def ended(self) -> bool:
        """Whether the end of the body was read."""

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:
        """How many bytes may come next; 0 at the body's end.

        Any figure above *most_bytes* where the framing tells no size. Raises
        ServerBroken where a chunk announces more, TimeoutError past *until* (monotonic).
        """

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views* with the next bytes; return the count, 0 at the body's end.

        Waits for *least_bytes*, until *soon*. Raises BodyCut where the connection ended
        before the body.
        """

    def prove_end(self, until: float, stall_seconds: float) -> None:
        """Read the end of the body, if it is here; all content has come."""


class Body:
    """One body in any framing, read by one thread."""

    def __init__(self, head: Head, received: SocketInput) -> None:
        self.fault: HingError | None = None  # raised by every later read
        self._framed = _framed_by(head, received)
        # Bytes of content still to come; None where only the framing tells.
        self._expected: int | None = None

    @property
    def ended(self) -> bool:
        """Whether the body was read out, exactly to its end."""
        return self._framed.ended

    def expect(self, size_bytes: int) -> None:
        """Refuse the body unless its content has exactly *size_bytes*.

        Where the framing tells no length, the last bytes are handed out only once
        the end behind them is proved.
        """
        if not isinstance(self._framed, _MeasuredBody):
            self._expected = size_bytes

    def take(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
        stall_seconds: float,
    ) -> tuple[int, HingError | None]:
        """As `Exchange.read_into`, but return the count and the fault that ended it."""
        total = sum(map(len, targets))
        count = 0
        stalled_at = time.monotonic() + stall_seconds
        try:
            while count < least_bytes and not (count and time.monotonic() > until):
                wait = min(until, stalled_at) if count else stalled_at
                room = self._room(total - count, wait, stall_seconds)
                if not room:
                    break
                views = views_of(targets, count, count + room)
                least = min(room, least_bytes - count)
                came = self._framed.into(views, least, until, wait)
                self._count_content(came, stalled_at, stall_seconds)
                count += came
                stalled_at = time.monotonic() + stall_seconds
        except TimeoutError:
            if not count:
                self.fault = BodyCut("the body stalled")
        except OSError as error:
            self.fault = BodyCut(f"the body broke off: {error}")
        except HingError as error:
            self.fault = error
        return count, self.fault

    def _room(self, most: int, until: float, stall_seconds: float) -> int:
        """How many bytes of content may come next, at most *most*; 0 at the end."""
        expected = sys.maxsize if self._expected is None else self._expected
        room = self._framed.room(expected, until, stall_seconds)
        return min(room, expected, most)

    def _count_content(self, count: int, until: float, stall_seconds: float) -> None:
        """Subtract *count* from the expected bytes; behind the last, prove the end."""
        if self._expected is None:
            return
        if not count and self._expected:
            raise BodyCut("the body ended before its range")
        self._expected -= count
        if not self._expected:
            with last_wait():
                self._framed.prove_end(until, stall_seconds)
            if not self._framed.ended:
                raise ServerBroken("more comes than the range that was announced")


def _framed_by(head: Head, received: SocketInput) -> Framed:
    if head.framing is Framing.CHUNKED:
        return ChunkedBody(received)
    if head.length_bytes is None:
        return _EndlessBody(received)
    return _MeasuredBody(head.length_bytes, received)


class _MeasuredBody:
    """A body whose head tells the length."""

    def __init__(self, length_bytes: int, received: SocketInput) -> None:
        self._left = length_bytes
        self._input = received

    @property
    def ended(self) -> bool:
        return not self._left

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:  # noqa: ARG002
        return self._left

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        count = self._input.into(views, least_bytes, soon, until)
        if not count:
            raise BodyCut("the body ended before its length")
        self._left -= count
        return count

    def prove_end(self, until: float, stall_seconds: float) -> None:
        """Nothing: the length is the end."""


class _EndlessBody:
    """A body that ends with its connection."""

    def __init__(self, received: SocketInput) -> None:
        self.ended = False
        self._input = received
        self._begun = False

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:  # noqa: ARG002
        if not self._begun:
            if looks_chunked(self._input.peek(CHUNK_PEEK_BYTES, until)):
                raise ServerBroken("the body is in chunks, and its head says nothing")
            self._begun = True
        return 0 if self.ended else sys.maxsize

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        count = self._input.into(views, least_bytes, soon, until)
        if not count:
            self._end()
        return count

    def prove_end(self, until: float, stall_seconds: float) -> None:  # noqa: ARG002
        if not self._input.peek(1, until):
            self.ended = True

    def _end(self) -> None:
        if self._input.ragged:  # RFC 9112 §9.8: anybody may have cut the connection
            raise BodyCut("the body ended without TLS's own end")
        self.ended = True
