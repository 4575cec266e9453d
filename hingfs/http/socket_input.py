"""The receiving end of a socket: heads, lines, and bytes straight into their buffers.

Decides how long each wait at the socket lasts, and how its bytes get into memory with
the fewest steps. Leaves the meaning of the bytes to its users.

Threads: one thread reads; `shut_down` may come from any other.
"""

import contextlib
import io
import socket
import ssl
import struct
import time
from collections.abc import Iterator, Sequence
from typing import Any

from ..blocks import KIB
from ..errors import BodyCut, ServerBroken
from .framing import end_of_head
from .tls import TlsSocket

# The whole head must be here this long after its first byte, however late that came: a
# head is a packet or two. A guess.
HEAD_SECONDS = 10.0
# Taken from the socket at once where heads and bodies may mix: the size of a TLS record.
_RECEIVE_BYTES = 16 * KIB
# A read of a body waits this long to fill its buffers, then hands out whatever came. A
# fast link brings a MiB meanwhile, in one read; a slow link is held up for no more than
# this. A film on loopback, without this wait: 1,009 MB/s and 1.08 CPU seconds a GB
# through libfuse 3, 818 and 1.21 through libfuse 2; with it: 1,122 and 0.84, 911 and
# 1.05 (medians of five, in turn, 2026-11-24).
_FILL_SECONDS = 0.01


class SocketInput:
    """Reads heads, lines and bytes from a socket; every wait has an end.

    *until* is monotonic: past it, every method raises TimeoutError. Each raises OSError
    where the connection is cut off. One thread uses it, but for `shut_down`.
    """

    def __init__(
        self,
        sock: Any,  # noqa: ANN401 - a socket, or a TLS wrapper
        head_seconds: float = HEAD_SECONDS,
    ) -> None:
        self.ragged = False  # whether TLS ended without its goodbye
        self._sock = sock
        self._head_seconds = head_seconds
        self._held = b""  # received; the bytes from *_at* on were not handed out
        self._at = 0
        self._blocking = False
        by_tls = hasattr(sock, "suppress_ragged_eofs")  # of a proxy, or through one
        if by_tls:
            sock.suppress_ragged_eofs = False
        # Only these can fill several buffers at once.
        self._fills = isinstance(sock, (socket.socket, TlsSocket)) and not by_tls

    @property
    def holds_more(self) -> bool:
        """Whether bytes were received and not handed out."""
        return self._at < len(self._held)

    def head(self, most_bytes: int, until: float) -> bytes:
        """Return the bytes up to an empty line, which is included.

        From its first byte on, the head has *head_seconds*. Raises ServerBroken above
        *most_bytes*, ConnectionResetError where the connection ended before any byte.
        """
        searched, begun = 0, False
        while (stop := end_of_head(self._held, self._at + searched)) is None:
            here = len(self._held) - self._at
            if here > most_bytes:
                break
            if here and not begun:
                begun = True
                until = min(until, time.monotonic() + self._head_seconds)
            if not self._receive_more(until):
                if not here:
                    raise ConnectionResetError("closed without an answer")
                raise ServerBroken("the answer ended within its headers")
            searched = max(0, here - 3)  # the empty line may have begun there
        if stop is None or stop - self._at > most_bytes:
            raise ServerBroken(
                f"the answer has more than {most_bytes} bytes of headers"
            )
        return self._hand_out(stop - self._at)

    def line(self, most_bytes: int, until: float) -> bytes:
        """The bytes before the next CRLF; raises ServerBroken for more than *most_bytes*."""
        while (stop := self._held.find(b"\r\n", self._at)) < 0:
            if len(self._held) - self._at > most_bytes:
                break
            if not self._receive_more(until):
                raise BodyCut("the body broke off between chunks")
        if stop < 0 or stop - self._at > most_bytes:
            raise ServerBroken("a line between chunks is too long")
        return self._hand_out(stop + 2 - self._at)[:-2]

    def trailers(self, most_bytes: int, until: float) -> bytes:
        """The lines behind the last chunk, without the empty one that ends them."""
        lines = b""
        while line := self.line(most_bytes - len(lines), until):
            lines += line + b"\r\n"
        return lines

    def exactly(self, count: int, until: float) -> bytes:
        """The next *count* bytes."""
        if len(self.peek(count, until)) < count:
            raise BodyCut("the body broke off between chunks")
        return self._hand_out(count)

    def peek(self, count: int, until: float) -> bytes:
        """The next *count* bytes, not taken; fewer only where the connection ended."""
        while len(self._held) - self._at < count and self._receive_more(until):
            pass
        return self._held[self._at : self._at + count]

    def into(
        self, views: Sequence[memoryview], least_bytes: int, soon: float, until: float
    ) -> int:
        """Fill *views* in turn; return the count, 0 where the connection ended.

        Bytes already received come first, alone. Else waits for *least_bytes*, until
        *soon*.
        """
        if self.holds_more:
            count = min(len(self._held) - self._at, len(views[0]))
            views[0][:count] = memoryview(self._held)[self._at : self._at + count]
            self._at += count
            return count
        if self._fills and sum(map(len, views)) > io.DEFAULT_BUFFER_SIZE:
            return self._receive(views, until)
        self._wait_at_most(until)
        count = self._read(views[0])
        while 0 < count < min(least_bytes, len(views[0])) and time.monotonic() <= soon:
            try:
                came = self._read(views[0][count:])
            except TimeoutError:
                break  # hand out the bytes that came before
            if not came:
                break
            count += came
        return count

    def shut_down(self) -> None:
        """Wake the thread that waits for the socket, which must not be closed yet."""
        sock = getattr(self._sock, "socket", self._sock)  # TLS within TLS wraps it
        with contextlib.suppress(OSError, ValueError):
            # SSLSocket's own shutdown would let its reader take ciphertext for text.
            socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _hand_out(self, count: int) -> bytes:
        start, self._at = self._at, self._at + count
        return self._held[start : self._at]

    def _receive_more(self, until: float) -> bool:
        """Append the next bytes to *_held*; False where the connection ended."""
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
            return self._ended_raggedly(error)
        except TimeoutError as error:
            if error.errno is None:
                raise
            raise ConnectionError("the peer is gone") from error  # the kernel gave up

    def _ended_raggedly(self, error: ssl.SSLError) -> int:
        """0 where *error* means that TLS ended without its goodbye; else raise it."""
        # Python before 3.11.3 raises SSLError with this reason in its place.
        if (
            not isinstance(error, ssl.SSLEOFError)
            and error.reason != "UNEXPECTED_EOF_WHILE_READING"
        ):
            raise error
        self.ragged = True
        return 0

    def _wait_at_most(self, until: float) -> None:
        left = until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        self._blocking = False

    def _receive(self, views: Sequence[memoryview], until: float) -> int:
        """Fill *views* straight from the socket, which waits `_FILL_SECONDS` for more."""
        if not self._blocking:
            self._blocking = True
            _set_blocking(self._sock)
        while True:
            try:
                return self._fill(views)
            except BlockingIOError:
                if time.monotonic() >= until:
                    raise TimeoutError from None
            except TimeoutError as error:  # the kernel gave the peer up
                raise ConnectionError("the peer is gone") from error
            except ssl.SSLError as error:
                return self._ended_raggedly(error)

    def _fill(self, views: Sequence[memoryview]) -> int:
        if isinstance(self._sock, TlsSocket):
            return self._sock.fill(views, time.monotonic() + _FILL_SECONDS)
        return int(self._sock.recvmsg_into(views, 0, socket.MSG_WAITALL)[0])


def _set_blocking(sock: socket.socket) -> None:
    """Put *sock* in blocking mode, with `_FILL_SECONDS` as the time-out of a read.

    The kernel keeps this time-out. Python's own time-out polls before each read: that
    hands the interpreter lock over once more, and waits for the first bytes only.
    """
    timeval = struct.pack("ll", 0, int(_FILL_SECONDS * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.settimeout(None)


@contextlib.contextmanager
def last_wait() -> Iterator[None]:
    """Turn a TimeoutError inside into BodyCut: the bytes read so far are lost."""
    try:
        yield
    except TimeoutError:
        raise BodyCut("the body stalled") from None
