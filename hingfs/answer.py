"""One HTTP answer: how its body is read, and what may go wrong meanwhile.

The bytes of a video go from the kernel straight into the buffers they are meant for,
past `requests` and urllib3; messages are read as those give them.
"""

import contextlib
import http.client
import io
import math
import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Self

import requests
import urllib3.exceptions

from .blocks import KIB, views_of
from .errors import BodyCut, DeadlineExceeded, printable

# Header lines beyond this are an attack or a fault (http.client's own bound is
# 64 KiB a line and 100 lines).
_MOST_TEXT_BYTES = 64 * KIB
# A connection is worth this much waiting for the body of a redirect: about what a new
# one costs. A guess.
_DRAIN_SECONDS = 0.3
# How long a read of a body waits for all that it has room for, before it hands out what
# has come. A fast link brings a MiB meanwhile, in one read; a slow one is held up for no
# more than this. Film on loopback, with reads that take what is there: 1,009 MB/s and
# 1.08 CPU seconds a GB through libfuse 3, 818 and 1.21 through libfuse 2; as it stands
# here: 1,122 and 0.84, 911 and 1.05 (medians of five, in turn, 2026-11-24).
PATIENCE_SECONDS = 0.01


class Answer:
    """One HTTP answer whose body has not been read yet. Close it, or read it out.

    Thread safety: one thread reads; `abort` may come from any other.
    """

    def __init__(
        self,
        response: requests.Response,
        *,
        from_api: bool,
        token_number: int,
        stall_seconds: float,
        on_close: Callable[["Answer"], None],
    ) -> None:
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url: str = response.url
        self.by_tls = self.url.startswith("https:")
        self.from_api = from_api
        self.token_number = token_number  # which token was sent, by its renewals
        self._response = response
        self._stall_seconds = stall_seconds
        self._socket: socket.socket | None = None  # once read without *fp*'s buffer
        self._on_close = on_close
        self._aborted = False

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int = 1,
        until: float = math.inf,
    ) -> int:
        """What has arrived, undecoded, put over *targets* in turn; 0 at the end.

        At most what fits, and *least_bytes*, for which the first target has room,
        unless the body ends before; or at least one byte, once it is past *until*
        (monotonic). Raises BodyCut if it stalls or breaks off; where bytes had come,
        they are returned and the next call raises. This passes urllib3 by, which would
        give each piece memory of its own; so the other ways to read do not go on from
        here.
        """
        body = self._response.raw._original_response  # noqa: SLF001
        if body is None or body.chunked or body.length is None:  # no way around urllib3
            piece = self.read_some(len(targets[0]))
            targets[0][: len(piece)] = piece
            return len(piece)
        if body.isclosed() or not body.length:
            return 0
        targets = views_of(targets, 0, body.length)
        count = self._take(body.fp, targets, least_bytes, until)
        if self._aborted:
            raise BodyCut("the transfer was cut off here")
        if not count:
            raise BodyCut("the body ended before its length")
        body.length -= count
        if not body.length:
            body.close()
            self._response.raw.release_conn()
        return count

    def _take(
        self,
        stream: Any,  # noqa: ANN401 - http.client's
        targets: Sequence[memoryview],
        least_bytes: int,
        until: float,
    ) -> int:
        """By *stream*'s buffer while anything may be in it, then past it."""
        if self._socket is None and (
            self.by_tls or len(targets[0]) <= io.DEFAULT_BUFFER_SIZE
        ):
            return _read_at_least(stream, targets[0], least_bytes, until)
        count = 0
        if self._socket is None:
            # One read into more than the buffer holds leaves nothing behind in it.
            count = _read_at_least(stream, targets[0], 1, until)
            self._socket = _blocking(stream.raw._sock)  # noqa: SLF001
        return _receive(
            self._socket,
            targets,
            count,
            least_bytes,
            until=until,
            stall_seconds=self._stall_seconds,
        )

    def read_some(self, most_bytes: int, *, decoded: bool = False) -> bytes:
        """What has arrived, at least one byte, at most *most_bytes*; b"" at the end.

        With *decoded*, the content coding is undone. Raises as `read_into`.
        """
        try:
            data: bytes = self._response.raw.read1(most_bytes, decode_content=decoded)
        except _BODY_ERRORS as error:
            raise _body_cut(error) from error
        if self._aborted:
            raise BodyCut("the transfer was cut off here")
        return data

    def read_text(self, deadline: float, most_bytes: int = _MOST_TEXT_BYTES) -> bytes:
        """The body up to *most_bytes*, for judging; what arrived, if it breaks off.

        Compressed, as some gateways send it unasked, it is unpacked up to as many.
        Raises DeadlineExceeded when *deadline* (monotonic seconds) passes meanwhile.
        """
        pieces: list[bytes] = []
        missing = most_bytes
        while missing > 0:
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the server's answer took too long to arrive")
            try:
                piece = self.read_some(missing)
            except BodyCut:
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        coding = self.headers.get("Content-Encoding", "")
        return _unpacked(b"".join(pieces), coding, most_bytes)

    def drain_and_close(self, most_bytes: int = 16 * KIB) -> None:
        """Close, keeping the connection if what is left is little and comes at once."""
        left = self.headers.get("Content-Length", "")
        if left.isdecimal() and len(left) <= 9 and int(left) <= most_bytes:
            deadline = time.monotonic() + _DRAIN_SECONDS
            set_body_timeout(self._response, _DRAIN_SECONDS)
            with contextlib.suppress(BodyCut):
                while time.monotonic() < deadline and self.read_some(most_bytes):
                    pass
        self.close()

    def abort(self) -> None:
        """Wake the reading thread, whatever it waits for; it gets BodyCut."""
        self._aborted = True
        with contextlib.suppress(OSError, ValueError, AttributeError, RuntimeError):
            self._response.raw.shutdown()

    def close(self) -> None:
        """Give the connection back, or drop it if the body was not read out."""
        self._on_close(self)
        self._response.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def set_body_timeout(response: requests.Response, seconds: float) -> None:
    """From here on, *seconds* without a byte end the exchange.

    The time-out given to requests covers the wait for the headers as well, which
    may be longer. Where the socket has left the connection object (bodies without
    a length), the longer one stays in force.
    """
    connection = getattr(response.raw, "connection", None) or getattr(
        response.raw, "_connection", None
    )
    sock = getattr(connection, "sock", None)
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.settimeout(seconds)


_BODY_ERRORS = (
    urllib3.exceptions.HTTPError,
    requests.exceptions.RequestException,
    http.client.HTTPException,
    OSError,
    ValueError,
    AttributeError,  # the answer to a connection closed under one's hands
)


def _unpacked(body: bytes, coding: str, most_bytes: int) -> bytes:
    """*body* without its content coding, up to *most_bytes*; or as it is, if it has none.

    What it is not coded as, and codings that are not in the standard library, are left.
    """
    formats = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}
    for window_bits in formats.get(coding.strip().lower(), ()):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(window_bits).decompress(body, most_bytes)
    return body


def _read_at_least(
    stream: io.BufferedReader, target: memoryview, least_bytes: int, until: float
) -> int:
    """Read what has arrived into *target*; an error only if that is nothing.

    By TLS a piece is 16 KiB, so what is done for each of them is dear.
    """
    least_bytes = min(least_bytes, len(target))
    count = 0
    try:
        while count < least_bytes and (came := stream.readinto1(target[count:])):
            count += came
            if time.monotonic() > until:
                break
    except _BODY_ERRORS as error:
        if not count:
            raise _body_cut(error) from error
    return count


def _blocking(sock: socket.socket) -> socket.socket:
    """*sock* in blocking mode, with `PATIENCE_SECONDS` as the time-out of a read.

    The kernel keeps it. Python would keep it by a poll before each read, which is one
    more hand-over of the interpreter lock, and whose reads cannot wait for more than
    the first bytes. urllib3 sets the mode anew for each request.
    """
    timeval = struct.pack("ll", 0, int(PATIENCE_SECONDS * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.settimeout(None)
    return sock


def _receive(
    sock: socket.socket,
    targets: Sequence[memoryview],
    count: int,
    least_bytes: int,
    *,
    until: float,
    stall_seconds: float,
) -> int:
    """As `_read_at_least`, over several *targets*, and straight from a `_blocking` one.

    The first *count* bytes are there already, and count.
    """
    total = sum(map(len, targets))
    stalled_at = time.monotonic() + stall_seconds
    try:
        while count < least_bytes and not (count and time.monotonic() > until):
            views = views_of(targets, count, total)
            try:
                came = sock.recvmsg_into(views, 0, socket.MSG_WAITALL)[0]
            except BlockingIOError:
                if time.monotonic() < stalled_at:
                    continue
                raise TimeoutError from None
            if not came:
                break
            count += came
            stalled_at = time.monotonic() + stall_seconds
    except _BODY_ERRORS as error:
        if not count:
            raise _body_cut(error) from error
    return count


def _body_cut(error: BaseException) -> BodyCut:
    """What reading a body raised, one of _BODY_ERRORS, as ours."""
    if isinstance(error, (TimeoutError, urllib3.exceptions.ReadTimeoutError)):
        return BodyCut("the body stalled")
    return BodyCut(f"the body broke off: {reason_of(error)}")


def causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it came of, innermost last; urllib3 wraps it in several coats."""
    for _ in range(8):
        yield error
        around = None if error.__suppress_context__ else error.__context__
        inner = getattr(error, "reason", None) or error.__cause__ or around
        if not isinstance(inner, BaseException):
            return
        error = inner


def breaks_http(error: BaseException) -> bool:
    """Whether an answer came whose status line or headers are none, or too many."""
    return any(
        isinstance(cause, http.client.HTTPException)
        and not isinstance(cause, ConnectionError)  # as a closed connection is, too
        for cause in causes(error)
    )


def reason_of(error: BaseException) -> str:
    """The innermost cause of *error* in one line."""
    *_, error = causes(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(error.verify_message)
    return printable(
        getattr(error, "strerror", None) or str(error) or type(error).__name__
    )
