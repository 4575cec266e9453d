"""What comes by a socket: heads, lines, and bytes straight into their buffers.

Decides how long each wait at the socket is, and how its bytes get into memory with the
fewest steps. Leaves what they mean to its users.

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
_FILL_SECONDS = 0.01


class SocketInput:
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
        """Straight from the kernel, waiting `_FILL_SECONDS` for all that fits."""
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
    """*sock* in blocking mode, with `_FILL_SECONDS` as the time-out of a read.

    The kernel keeps it. Python would keep it by a poll before each read, which is one
    more hand-over of the interpreter lock, and whose reads cannot wait for more than
    the first bytes.
    """
    timeval = struct.pack("ll", 0, int(_FILL_SECONDS * 1e6))
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, timeval)
    sock.settimeout(None)


@contextlib.contextmanager
def last_wait() -> Iterator[None]:
    """A wait inside that ends in vain ends the body: what it read is not kept."""
    try:
        yield
    except TimeoutError:
        raise BodyCut("the body stalled") from None
