"""One request's answer on its connection: the head read, the body handed out as it comes.

`http.client` writes the request; this reads all that comes back, past `http.client`,
urllib3 and requests, which believe more than the standard does and wait longer than a
caller may. Decides how long each wait is, how much a head may hold, and whether the
connection may carry another request: only if its answer ended exactly where `framing`
says, nothing came behind it, and nobody cut it off.

Threads: one thread reads and closes an exchange; `abort` may come from any other.
"""

import contextlib
import io
import math
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from ..blocks import KIB, LARGEST_VIDEO_BYTES, MIB, views_of
from ..errors import BodyCut, HingError, NoAnswer, ServerBroken
from .framing import (
    CHUNK_PEEK_BYTES,
    SWITCHING_PROTOCOLS,
    Framing,
    Head,
    check_trailers,
    end_of_head,
    looks_chunked,
    parse_chunk_line,
    parse_head,
)
from .pace import Pace

# All heads of one answer, interim ones included, hold at most this much: curl stops at
# 300 KB, servers at 8 to 64 KiB.
MOST_HEAD_BYTES = 256 * KIB
# A chunk's line with its extensions, and all trailers of a body. Guesses, far above
# what servers send: they have no use for either.
MOST_CHUNK_LINE_BYTES = 4 * KIB
MOST_TRAILER_BYTES = 16 * KIB
# A chunk of up to this size is handed out once its end has proved its size; a larger one
# as it comes. Servers cut at 8 to 64 KiB, some send a range in one piece.
MOST_PROVED_BYTES = 2 * MIB
# So long is waited for what comes behind it. A guess: it is on its way with the chunk.
NEXT_CHUNK_SECONDS = 1.0
# A head that has begun is all there within this, however long it was waited for: it is
# a packet or two. A guess.
HEAD_SECONDS = 10.0
# What is taken from the socket where it is not known whose bytes come: a TLS record.
_RECEIVE_BYTES = 16 * KIB
# How long a read of a body waits for all that it has room for, before it hands out what
# has come. A fast link brings a MiB meanwhile, in one read; a slow one is held up for no
# more than this. Film on loopback, with reads that take what is there: 1,009 MB/s and
# 1.08 CPU seconds a GB through libfuse 3, 818 and 1.21 through libfuse 2; as it stands
# here: 1,122 and 0.84, 911 and 1.05 (medians of five, in turn, 2026-11-24).
PATIENCE_SECONDS = 0.01


class Line(Protocol):
    """The connection that an exchange uses, and gives back."""

    sock: Any  # a socket, or what TLS makes of one; None once closed
    kept_at: float  # when an answer ended on it that leaves no doubt (monotonic)

    def close(self) -> None:
        """Give it up."""


class Exchanges:
    """Those under way at one transport, and the lines that wait for the next one.

    After `close`, no line stays open: a thread that reads from one is woken and closes
    it, all others are closed here.
    Thread safety: all methods; `_lock` guards both sets.
    """

    def __init__(self) -> None:
        # The garbage collector may close a line on a thread that holds it.
        self._lock = threading.RLock()
        self._open: set[Exchange] = set()
        self._idle: set[Line] = set()
        self._closed = False

    def check_open(self) -> None:
        """Raise ConnectionAbortedError once `close` was called: a line is of no use."""
        if self._closed:
            raise ConnectionAbortedError("the mount is ending")

    def keep(self, line: Line) -> None:
        """*line* waits for its next exchange; once `close` was called, it is closed."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle.add(line)
        if closed:
            line.close()

    def take(self, line: Line) -> bool:
        """Whether *line*, which waited, is now the caller's; else it was closed."""
        with self._lock:
            waited = line in self._idle
            self._idle.discard(line)
        return waited

    def add(self, exchange: "Exchange") -> None:
        """It waits for a socket from here on; once `close` was called, in vain."""
        with self._lock:
            self._open.add(exchange)
            closed = self._closed
        if closed:
            exchange.abort()

    def discard(self, exchange: "Exchange") -> None:
        """It waits no more."""
        with self._lock:
            self._open.discard(exchange)

    def close(self) -> None:
        """Wake whoever reads, now and later; close what nobody reads from."""
        with self._lock:
            self._closed = True
            exchanges, self._open = self._open, set()
            lines, self._idle = self._idle, set()
        for exchange in exchanges:
            exchange.cut_off()
        for line in lines:
            line.close()


class Exchange:
    """An answer as it arrives. Close it; read out, it leaves its connection in use.

    It stands where `http.client` expects its response and urllib3 its own: the names
    that they use of it are theirs.
    """

    will_close = False  # to http.client; the connection is closed here
    # To urllib3, for a line in its log, and to its pool.
    version_string = "HTTP/1.1"
    length_remaining = None
    retries: object = None
    _connection: Any = None
    _pool: Any = None

    def __init__(
        self,
        sock: Any,  # noqa: ANN401 - as of Line
        *,
        method: str,
        line: Line,
        within: Exchanges,
    ) -> None:
        self._line = line
        self._method = method
        self._within = within
        self._input = Input(sock)
        self._lock = threading.Lock()
        self._aborted = False  # only ever set
        self._closed = False  # guarded by _lock, as is the socket's shutdown
        self._reading = False  # a thread is at the socket; guarded by _lock
        self.head: Head  # once `begin` has returned
        self._looked_at = False  # the beginning of a body that has no framing
        self._end_is_due = False  # the CRLF behind a chunk
        self._ended = False  # the body, exactly where it should
        self._left: int | None = None  # bytes of the body, or of this chunk
        self._size_ahead: int | None = None  # of the chunk behind it, once it was read
        self._proved = memoryview(b"")  # of a chunk whose size was right
        self._expected: int | None = None  # bytes of content, where `expect` was told
        self._fault: HingError | None = None  # what ended it, for every later read
        within.add(self)

    # -- the head --------------------------------------------------------------------

    def begin(self) -> None:
        """Read the head; interim answers before it are read away.

        The line's time-out bounds all of it. Raises NoAnswer if it is not there by
        then, ServerBroken where it breaks HTTP, OSError where the connection ended.
        """
        seconds = _seconds_of(self._line)
        until = time.monotonic() + seconds
        try:
            with self._at_socket():
                self.head = self._read_heads(until)
        except TimeoutError:
            raise NoAnswer(
                f"the server did not begin its answer within {seconds:.3g} s"
            ) from None
        chunked = self.head.framing is Framing.CHUNKED
        self._left = 0 if chunked else self.head.length_bytes
        self._ended = self.head.length_bytes == 0

    def _read_heads(self, until: float) -> Head:
        most = MOST_HEAD_BYTES
        while True:
            read = self._input.head(most, until)
            most -= len(read)
            head = parse_head(read, self._method)
            if head.status == SWITCHING_PROTOCOLS:
                raise ServerBroken("the server switches to a protocol not asked for")
            if not head.is_interim:
                return head

    @property
    def status(self) -> int:
        """The status code."""
        return self.head.status

    @property
    def reason(self) -> str:
        """What the server says of its code."""
        return self.head.reason

    @property
    def headers(self) -> dict[str, str]:
        """The fields, under lower-case names."""
        return self.head.headers

    # -- the body ----------------------------------------------------------------------

    def expect(self, size_bytes: int) -> None:
        """The body has exactly *size_bytes*, by what its head says of its content.

        Where its framing does not say so as well, the last bytes are handed out only
        once nothing comes behind them.
        """
        if self.head.framing is not Framing.LENGTH:
            self._expected = size_bytes

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
        stall_seconds: float,
    ) -> int:
        """Put what has arrived over *targets* in turn; the count, 0 at the body's end.

        At least *least_bytes*, for which the first target has room, unless the body
        ends before; or at least one byte, once it is past *until* (monotonic).
        Raises BodyCut where no byte of content came for *stall_seconds*, or the
        connection ended before the body, ServerBroken where its framing breaks HTTP;
        what came before that is returned, and the next call raises.
        """
        if self._fault is not None:
            raise self._fault
        with self._at_socket():
            count, fault = self._take(targets, least_bytes, until, stall_seconds)
        if self._aborted:
            raise BodyCut("the transfer was cut off here")
        self._fault = fault
        if fault is not None and not count:
            raise fault
        return count

    def _take(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
        stall_seconds: float,
    ) -> tuple[int, HingError | None]:
        """As `read_into`; what ended it beside the count of what came before."""
        total = sum(map(len, targets))
        count = 0
        stalled_at = time.monotonic() + stall_seconds
        try:
            while count < least_bytes and not (count and time.monotonic() > until):
                wait = min(until, stalled_at) if count else stalled_at
                room = self._next_bytes(total - count, wait, stall_seconds)
                if not room:
                    break
                views = views_of(targets, count, count + room)
                least = min(room, least_bytes - count)
                came = self._into(views, least, until, wait)
                self._took(came)
                if self._expected == 0:
                    # Their end is proved before they are handed out.
                    with _for_good():
                        self._prove_end(stalled_at, stall_seconds)
                count += came
                stalled_at = time.monotonic() + stall_seconds
        except TimeoutError:
            return count, None if count else BodyCut("the body stalled")
        except OSError as error:
            return count, BodyCut(f"the body broke off: {error}")
        except HingError as error:
            return count, error
        return count, None

    def _into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views* with what comes next of the content; 0 at the connection's end."""
        if not self._proved:
            return self._input.into(views, least_bytes, soon, until)
        count = min(len(self._proved), len(views[0]))
        views[0][:count] = self._proved[:count]
        self._proved = self._proved[count:]
        return count

    def _next_bytes(self, most: int, until: float, stall_seconds: float) -> int:
        """How many bytes of content come next, at most *most*; 0 at the body's end."""
        if self.head.framing is Framing.CLOSE and not self._looked_at:
            if looks_chunked(self._input.peek(CHUNK_PEEK_BYTES, until)):
                raise ServerBroken("the body is in chunks, and its head says nothing")
            self._looked_at = True
        if self.head.framing is Framing.CHUNKED and not self._ended and not self._left:
            size = self._next_chunk(until, stall_seconds)
            if 0 < size <= MOST_PROVED_BYTES:
                with _for_good():
                    self._prove_chunk(size, stall_seconds)
        if self._ended:
            return 0
        bounds = [b for b in (self._left, self._expected, most) if b is not None]
        return min(bounds)

    def _took(self, count: int) -> None:
        """Note *count* bytes of content; 0 is the end of the connection."""
        if count:
            if self._expected is not None:
                self._expected -= count
            if self._left is not None:
                self._left -= count
                self._ended = self.head.framing is Framing.LENGTH and not self._left
            return
        if self.head.framing is not Framing.CLOSE:
            raise BodyCut("the body ended before its length")
        if self._expected:
            raise BodyCut("the body ended before its range")
        if self._input.ragged:  # RFC 9112 §9.8: it may have been cut off by anybody
            raise BodyCut("the body ended without TLS's own end")
        self._ended = True

    def _next_chunk(self, until: float, stall_seconds: float) -> int:
        """Read up to the next chunk, or through the end of the body; the chunk's size.

        After a TimeoutError it goes on where it was.
        """
        size = self._next_size(until)
        if self._expected is not None and size > self._expected:
            raise ServerBroken("a chunk is larger than the range that it is of")
        self._size_ahead = None
        if size:
            self._end_is_due = True
        else:
            with _for_good():
                wait = time.monotonic() + stall_seconds
                check_trailers(self._input.trailers(MOST_TRAILER_BYTES, wait))
            self._ended = True
        self._left = size
        return size

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

    def _prove_chunk(self, size: int, stall_seconds: float) -> None:
        """Read all of a chunk, and that it ends where it said.

        One that takes in the line before the next one seems to end at the end of that:
        what comes next, if anything does in time, must begin another.
        """
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
        now = time.monotonic()
        self._read_end_of_chunk(now + stall_seconds)
        try:
            begun = self._input.peek(1, now + min(NEXT_CHUNK_SECONDS, stall_seconds))
        except TimeoutError:
            begun = b""
        if begun:
            self._next_size(now + stall_seconds)
        self._proved = chunk

    def _prove_end(self, until: float, stall_seconds: float) -> None:
        """Raise ServerBroken unless the body ends here, all of it being there."""
        if self.head.framing is Framing.CHUNKED:
            if not self._left:
                self._next_chunk(until, stall_seconds)
        else:
            self._ended = not self._input.peek(1, until)
        if not self._ended:
            raise ServerBroken("more comes than the range that was announced")

    # -- the end -----------------------------------------------------------------------

    def abort(self) -> None:
        """Wake the reading thread, whatever it waits for; it gets an error."""
        self._aborted = True
        with self._lock:
            if not self._closed:
                self._input.shut_down()

    def cut_off(self) -> None:
        """As `abort`, and close it unless a thread is at the socket, which will."""
        self.abort()
        with self._lock:
            if self._reading or self._closed:
                return
            self._closed = True
        self._leave()

    @contextlib.contextmanager
    def _at_socket(self) -> Iterator[None]:
        """Nobody else closes the socket meanwhile. Raises BodyCut if it was cut off."""
        with self._lock:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            self._reading = True
        try:
            yield
        finally:
            with self._lock:
                self._reading = False

    def close(self) -> None:
        """Leave the connection for another request, or close it if there is any doubt."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
        self._leave()

    def _leave(self) -> None:
        self._within.discard(self)
        exact = self._ended and not self._input.holds_more and not self._aborted
        if exact and self.head.keeps_open:
            self._line.kept_at = time.monotonic()
        else:
            self._line.close()
        if self._pool is not None:
            self._pool._put_conn(self._connection)  # noqa: SLF001 - there is no other way
            self._pool = self._connection = None

    def isclosed(self) -> bool:
        """As http.client's: whether its connection may take another request."""
        return self._closed

    def release_conn(self) -> None:
        """As urllib3's: `close` has done it."""


@contextlib.contextmanager
def _for_good() -> Iterator[None]:
    """A wait inside that ends in vain ends the body: what it read is not kept."""
    try:
        yield
    except TimeoutError:
        raise BodyCut("the body stalled") from None


class Input:
    """What comes by a socket, in heads, lines and bytes; each wait has its end.

    *until* is monotonic; past it, every method raises TimeoutError, and OSError where
    the connection is cut off. Used by one thread but for `shut_down`.
    """

    def __init__(self, sock: Any) -> None:  # noqa: ANN401 - a socket, or what TLS makes of it
        self.ragged = False  # TLS ended without saying so
        self._sock = sock
        self._held = b""  # received; what is from *_at* on was not handed out
        self._at = 0
        self._blocking = False
        by_tls = isinstance(sock, ssl.SSLSocket)
        if by_tls:
            sock.suppress_ragged_eofs = False
        # Only the kernel's own sockets can fill several buffers at once.
        self._plain = isinstance(sock, socket.socket) and not by_tls

    @property
    def holds_more(self) -> bool:
        """Whether bytes are here that nobody asked for."""
        return self._at < len(self._held)

    def head(self, most_bytes: int, until: float) -> bytes:
        """All up to an empty line, that included; raises ServerBroken for more than fits.

        Once it has begun, it has `HEAD_SECONDS`. ConnectionResetError where the
        connection ended before the first byte.
        """
        searched, begun = 0, False
        while (stop := end_of_head(self._held, self._at + searched)) is None:
            here = len(self._held) - self._at
            if here > most_bytes:
                break
            if here and not begun:
                begun = True
                until = min(until, time.monotonic() + HEAD_SECONDS)
            if not self._more(until):
                if not here:
                    raise ConnectionResetError("closed without an answer")
                raise ServerBroken("the answer ended within its headers")
            searched = max(0, here - 3)  # the end may have begun there
        if stop is None or stop - self._at > most_bytes:
            raise ServerBroken(
                f"the answer has more than {most_bytes} bytes of headers"
            )
        return self._cut(stop - self._at)

    def line(self, most_bytes: int, until: float) -> bytes:
        """The bytes before the next CRLF; raises ServerBroken for more than *most_bytes*."""
        while (stop := self._held.find(b"\r\n", self._at)) < 0:
            if len(self._held) - self._at > most_bytes:
                break
            if not self._more(until):
                raise BodyCut("the body broke off between chunks")
        if stop < 0 or stop - self._at > most_bytes:
            raise ServerBroken("a line between chunks is too long")
        return self._cut(stop + 2 - self._at)[:-2]

    def trailers(self, most_bytes: int, until: float) -> bytes:
        """The lines behind the last chunk, up to an empty one, which is left out."""
        lines = b""
        while line := self.line(most_bytes - len(lines), until):
            lines += line + b"\r\n"
        return lines

    def exactly(self, count: int, until: float) -> bytes:
        """The next *count* bytes."""
        if len(self.peek(count, until)) < count:
            raise BodyCut("the body broke off between chunks")
        return self._cut(count)

    def peek(self, count: int, until: float) -> bytes:
        """The next *count* bytes, left where they are; fewer where no more will come."""
        while len(self._held) - self._at < count and self._more(until):
            pass
        return self._held[self._at : self._at + count]

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views* in turn with what is here, or else comes; 0 at the end.

        At least *least_bytes*, unless it is past *soon* or no more will come.
        """
        if self.holds_more:
            count = min(len(self._held) - self._at, len(views[0]))
            views[0][:count] = memoryview(self._held)[self._at : self._at + count]
            self._at += count
            return count
        if self._plain and sum(map(len, views)) > io.DEFAULT_BUFFER_SIZE:
            return self._receive(views, until)
        self._wait_at_most(until)
        count = self._read(views[0])
        while 0 < count < min(least_bytes, len(views[0])) and time.monotonic() <= soon:
            try:
                came = self._read(views[0][count:])
            except TimeoutError:
                break  # what came before is here
            if not came:
                break
            count += came
        return count

    def shut_down(self) -> None:
        """Wake whoever waits for the socket, which must not have been closed."""
        sock = getattr(self._sock, "socket", self._sock)  # TLS within TLS has it inside
        with contextlib.suppress(OSError, ValueError):
            # Not by SSLSocket's own, which would have its reader take ciphertext.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _cut(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        return self._held[start : self._at]

    def _more(self, until: float) -> bool:
        """Hold what comes next as well; False where nothing will."""
        self._wait_at_most(until)
        came = bytearray(_RECEIVE_BYTES)
        count = self._read(memoryview(came))
        self._held = self._held[self._at :] + came[:count]
        self._at = 0
        return count > 0

    def _read(self, view: memoryview) -> int:
        try:
            return int(self._sock.recv_into(view))
        except ssl.SSLError as error:
            # By its own name, and by that which Python before 3.11.3 gives it.
            if (
                not isinstance(error, ssl.SSLEOFError)
                and error.reason != "UNEXPECTED_EOF_WHILE_READING"
            ):
                raise
            self.ragged = True
            return 0
        except TimeoutError as error:
            if error.errno is None:
                raise
            raise ConnectionError("the peer is gone") from error  # the kernel gave up

    def _wait_at_most(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        self._blocking = False

    def _receive(self, views: Sequence[memoryview], until: float) -> int:
        """Straight from the kernel, waiting `PATIENCE_SECONDS` for all that fits."""
        if not self._blocking:
            self._blocking = True
            _set_blocking(self._sock)
        while True:
            try:
                return int(self._sock.recvmsg_into(views, 0, socket.MSG_WAITALL)[0])
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError from None
            except TimeoutError as error:  # of the kernel, which gave the peer up
                raise ConnectionError("the peer is gone") from error


def _set_blocking(sock: socket.socket) -> None:
    """*sock* in blocking mode, with `PATIENCE_SECONDS` as the time-out of a read.

    The kernel keeps it. Python would keep it by a poll before each read, which is one
    more hand-over of the interpreter lock, and whose reads cannot wait for more than
    the first bytes.
    """
    timeval = struct.pack("ll", 0, int(PATIENCE_SECONDS * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.settimeout(None)


def _seconds_of(line: Any) -> float:  # noqa: ANN401 - of http.client
    """The line's time-out: for connecting at first, for the answer once it has asked."""
    seconds = line.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds if seconds > 0 else math.ulp(0.0)
