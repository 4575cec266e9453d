"""A body that comes in chunks, each proved to be as long as it says.

Decides how much of a chunk is taken before its end has proved its size, and how long
what comes behind it is waited for. Leaves the grammar of chunk lines and trailers to
`framing`.

Threads: none; the thread that reads the body calls all of it.
"""

import time
from collections.abc import Sequence

from ..blocks import KIB, LARGEST_VIDEO_BYTES, MIB
from ..errors import BodyCut, ServerBroken
from .framing import check_trailers, parse_chunk_line
from .pace import Pace
from .socket_input import SocketInput, last_wait

# A chunk's line with its extensions, and all trailers of a body. Guesses, far above
# what servers send: they have no use for either.
MOST_CHUNK_LINE_BYTES = 4 * KIB
MOST_TRAILER_BYTES = 16 * KIB
# A chunk of up to this size is handed out once its end has proved its size; a larger one
# as it comes. Servers cut at 8 to 64 KiB, some send a range in one piece.
MOST_PROVED_BYTES = 2 * MIB
# So long is waited for what comes behind it. A guess: it is on its way with the chunk.
NEXT_CHUNK_SECONDS = 1.0


class ChunkedBody:
    """The content inside of chunks. As `body.Framed`.

    A wait for a chunk's line may end in vain and be taken up again where it was; a wait
    inside a chunk that is proved, or for the trailers, ends the body.
    """

    def __init__(self, received: SocketInput) -> None:
        self.ended = False  # past the trailers
        self._input = received
        self._left = 0  # bytes of the chunk begun that were not handed out
        self._proved = memoryview(b"")  # those of them that are here, their end seen
        self._end_is_due = False  # the CRLF behind a chunk was not read yet
        self._size_ahead: int | None = None  # of the next chunk, once its line was read

    def room(self, most_bytes: int, until: float, stall_seconds: float) -> int:
        """The bytes left of this chunk, or of the next one; 0 at the body's end."""
        if not self.ended and not self._left:
            self._begin_next(most_bytes, until, stall_seconds)
            if 0 < self._left <= MOST_PROVED_BYTES:
                with last_wait():
                    self._proved = self._prove_chunk(self._left, stall_seconds)
        return self._left

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views*, which are no longer than `room` said; at least one byte."""
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
        """Read the end of the body, where all of its content was handed out."""
        if not self._left:
            self._begin_next(0, until, stall_seconds)

    def _begin_next(self, most_bytes: int, until: float, stall_seconds: float) -> None:
        """Read up to the bytes of the next chunk, or through the end of the body.

        After a TimeoutError it goes on where it was.
        """
        size = self._next_size(until)
        if size > most_bytes:
            raise ServerBroken("a chunk is larger than the range that it is of")
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
        """The size of the chunk that comes next: read once, then remembered."""
        self._read_end_of_chunk(until)
        if self._size_ahead is None:
            line = self._input.line(MOST_CHUNK_LINE_BYTES, until)
            size = parse_chunk_line(line)
            if size > LARGEST_VIDEO_BYTES:
                raise ServerBroken("a chunk of a size beyond all reason")
            self._size_ahead = size
        return self._size_ahead

    def _read_end_of_chunk(self, until: float) -> None:
        """Read the CRLF behind a chunk, if it was not read yet."""
        if self._end_is_due:
            if self._input.exactly(2, until) != b"\r\n":
                raise ServerBroken("a chunk is longer than it said")
            self._end_is_due = False

    def _prove_chunk(self, size: int, stall_seconds: float) -> memoryview:
        """All of a chunk, which ends where it said.

        One that takes in the line before the next one seems to end at the end of that:
        what comes next, if anything does in time, must begin another.
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
        """The *size* bytes that come next."""
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
