"""The body of one answer, handed out as it comes, up to an end that is proved.

Decides how long a read of a body waits, what ends it, and when its last bytes may be
handed out. Leaves chunks to `chunks`, the waits at the socket to `socket_input`, and
the connection to `exchange`.

Threads: none; one thread reads.
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
    """A body in its framing; what comes out is content."""

    @property
    def ended(self) -> bool:
        """Whether the end of the body was read."""

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:
        """How many bytes may come next; 0 at the body's end.

        More than *most_bytes* where nothing tells. Raises ServerBroken where it is said
        to be more, TimeoutError past *until* (monotonic).
        """

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views* with what comes next; 0 at the body's end.

        At least *least_bytes*, unless it is past *soon*. Raises BodyCut where the
        connection ended before the body.
        """

    def prove_end(self, until: float, stall_seconds: float) -> None:
        """All content has come: read the end of the body, if it is here."""


class Body:
    """What is read of one body, whatever its framing."""

    def __init__(self, head: Head, received: SocketInput) -> None:
        self.fault: HingError | None = None  # what ended it, for every later read
        self._framed = _framed_by(head, received)
        # Bytes of content still to come; None where only the framing tells.
        self._expected: int | None = None

    @property
    def ended(self) -> bool:
        """Whether it was read out, to exactly where it should end."""
        return self._framed.ended

    def expect(self, size_bytes: int) -> None:
        """The body has exactly *size_bytes*, by what its head says of its content.

        Where its framing does not say so as well, the last bytes are handed out only
        once nothing comes behind them.
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
        """As `Exchange.read_into`; what ended it stands beside what came before."""
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
                self._check(came, stalled_at, stall_seconds)
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
        """How many bytes of content come next, at most *most*; 0 at the body's end."""
        expected = sys.maxsize if self._expected is None else self._expected
        room = self._framed.room(expected, until, stall_seconds)
        return min(room, expected, most)

    def _check(self, count: int, until: float, stall_seconds: float) -> None:
        """Note *count* bytes; the end is proved before the last of them are handed out."""
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
    """A body whose head tells its length."""

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
        """Nothing: its length is its end."""


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
        if self._input.ragged:  # RFC 9112 §9.8: it may have been cut off by anybody
            raise BodyCut("the body ended without TLS's own end")
        self.ended = True
