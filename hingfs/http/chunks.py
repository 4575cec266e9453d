"""A body in chunks, each proved to be as long as its line says.

Decides how much of a chunk is held back until its end proves its size, and how long a
read waits for the bytes behind it. Leaves the grammar of chunk lines and trailers to
`framing`.

Threads: none; the thread that reads the body calls every method.
"""

import time
from collections.abc import Sequence

from ..blocks import KIB, LARGEST_VIDEO_BYTES, MIB
from ..errors import BodyCut, ServerBroken
from .framing import check_trailers, parse_chunk_line
from .pace import Pace
from .socket_input import SocketInput, last_wait

# Bounds for a chunk line with its extensions, and for all trailers of a body. Guesses:
# servers have no use for either, and send far less.
MOST_CHUNK_LINE_BYTES = 4 * KIB
MOST_TRAILER_BYTES = 16 * KIB
# A chunk of up to this size is handed out once its end has proved its size; a larger one
# is handed out as it comes. Servers cut at 8 to 64 KiB; some send a range in one piece.
MOST_PROVED_BYTES = 2 * MIB
# The longest wait for the next chunk line behind a proved chunk. A guess: the line is
# on its way together with the chunk.
NEXT_CHUNK_SECONDS = 1.0


class ChunkedBody:
    """The content inside chunks. As `body.Framed`.

    A wait for a chunk line may time out, and the next read takes it up again. A time-out
    inside a chunk that is held back, or in the trailers, ends the body.
    """

    def __init__(self, received: SocketInput) -> None:
        self.ended = False  # past the trailers
        self._input = received
        self._left = 0  # bytes of the current chunk not handed out yet
        self._proved = memoryview(b"")  # bytes of *_left* that are here and proved
        self._end_is_due = False  # the CRLF behind a chunk was not read yet
        self._size_ahead: int | None = None  # of the next chunk, once its line was read

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:
        """The bytes left of this chunk, or the size of the next; 0 at the body's end."""
        if not self.ended and not self._left:
            self._begin_next(most_bytes, until, stall_seconds)
            if 0 < self._left <= MOST_PROVED_BYTES:
                with last_wait():
                    self._proved = self._prove_chunk(self._left, stall_seconds)
        return self._left

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Put at least one byte into *views*, which are no longer than `room` said."""
        if self._proved:
            count = min(len(self._proved), len(views[0]))
            views[0][:count] = self._proved[:count]
            self._proved = self._proved[count:]
        else:
            count = self._input.into(views, least_bytes, soon, until)
            if not count:
                raise BodyCut("the body ended before its length")
        self._left -= count
        return count

    def prove_end(self, until: float, stall_seconds: float) -> None:
        """Read the end of the body, if all its content was handed out."""
        if not self._left:
            self._begin_next(0, until, stall_seconds)

    def _begin_next(self, most_bytes: int, until: float, stall_seconds: float) -> None:
        """Read up to the bytes of the next chunk, or through the end of the body.

        A call after a TimeoutError goes on where the last one stopped.
        """
        size = self._next_size(until)
        if size > most_bytes:
            raise ServerBroken("a chunk is larger than the rest of its range")
        self._size_ahead = None
        if size:
            self._end_is_due = True
        else:
            with last_wait():
                wait = time.monotonic() + stall_seconds
                check_trailers(self._input.trailers(MOST_TRAILER_BYTES, wait))
            self.ended = True
        self._left = size

    def _next_size(self, until: float) -> int:
        """The size of the next chunk: read once, then remembered."""
        self._read_end_of_chunk(until)
        if self._size_ahead is None:
            line = self._input.line(MOST_CHUNK_LINE_BYTES, until)
            size = parse_chunk_line(line)
            if size > LARGEST_VIDEO_BYTES:
                raise ServerBroken("a chunk of a size beyond all reason")
            self._size_ahead = size
        return self._size_ahead

    def _read_end_of_chunk(self, until: float) -> None:
        """Read the CRLF behind the last chunk, if it is due."""
        if self._end_is_due:
            if self._input.exactly(2, until) != b"\r\n":
                raise ServerBroken("a chunk is longer than it said")
            self._end_is_due = False

    def _prove_chunk(self, size: int, stall_seconds: float) -> memoryview:
        """Read a whole chunk, and prove that it ends where its line said.

        A chunk whose size is too large can take in the next chunk's line, and seem to
        end with that line's CRLF. So the next bytes, if any come in time, must begin
        another chunk.
        """
        chunk = self._whole_chunk(size, stall_seconds)
        now = time.monotonic()
        self._read_end_of_chunk(now + stall_seconds)
        try:
            begun = self._input.peek(1, now + min(NEXT_CHUNK_SECONDS, stall_seconds))
        except TimeoutError:
            begun = b""
        if begun:
            self._next_size(now + stall_seconds)
        return chunk

    def _whole_chunk(self, size: int, stall_seconds: float) -> memoryview:
        """The next *size* bytes; raise BodyCut where they come too slowly."""
        chunk = memoryview(bytearray(size))
        pace = Pace(stall_seconds)
        count = 0
        while count < size:
            wait = time.monotonic() + stall_seconds
            came = self._input.into([chunk[count:]], size - count, pace.judged_at, wait)
            if not came:
                raise BodyCut("the body ended before its length")
            count += came
            pace.took(came)
            if time.monotonic() >= pace.judged_at:
                if not pace.good:
                    raise BodyCut("the body came too slowly")
                pace.restart()
        return chunk
