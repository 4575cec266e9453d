"""TLS over our own socket, which is read many records at a time.

Decides how deciphered bytes get into memory with the fewest steps. `ssl.SSLSocket`
polls, and asks the kernel twice, for each record of 16 KiB. Leaves the handshake,
certificates and names to `ssl`, with urllib3's settings, and time-outs to the user of
the socket.

Threads: one thread at a time; any other may shut `socket` down, which wakes the reader.
"""

import contextlib
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

import urllib3.util.ssl_

from ..blocks import KIB

# Taken from the socket at once. Four threads of a client alone used, by `recv_into` and
# in the best of five runs, this many CPU seconds a GB: 1.18 at 64 KiB, 0.97 at 128, 0.99
# at 256, 0.96 at 512 (2026-11-27). A connection holds this much twice.
_RECEIVE_BYTES = 256 * KIB
# OpenSSL may have taken so much of the next record already: no record is larger.
_RECORD_BYTES = 17 * KIB
# TLS's own answers, such as those to key updates, are a few bytes, and wait for nothing
# unless the peer does not read. A guess.
_SEND_SECONDS = 4.0

_AES_128 = re.compile(r"ECDHE-.*-AES128-GCM-.*")

_T = TypeVar("_T")


class TlsContext(ssl.SSLContext):
    """A context with urllib3's settings whose sockets are `TlsSocket`.

    All connections of a transport share one, from any thread. OpenSSL allows that while
    nothing changes it, and urllib3 repeats its settings for each connection: what would
    read the authorities again, or free what a handshake uses, is done once.
    """

    # Guards _done, and the settings themselves: who connects meanwhile needs them.
    _lock: threading.Lock
    _done: set[object]  # each setting with its values

    @classmethod
    def strict(cls) -> Self:
        """One that notices when a connection ends without TLS's goodbye."""
        settings = urllib3.util.ssl_.create_urllib3_context()
        context = cls(ssl.PROTOCOL_TLS_CLIENT)
        context._lock, context._done = threading.Lock(), set()
        # Python before 3.11.3 (Debian 12) makes OpenSSL 3 take a cut connection for a
        # closed one. OpenSSL before 3 has no such option, and always notices.
        context.options = settings.options & ~getattr(
            ssl, "OP_IGNORE_UNEXPECTED_EOF", 0
        )
        context.minimum_version = settings.minimum_version
        context.verify_flags = settings.verify_flags
        context.post_handshake_auth = settings.post_handshake_auth
        context.hostname_checks_common_name = settings.hostname_checks_common_name
        if settings.keylog_filename is not None:
            context.keylog_filename = settings.keylog_filename
        context.set_ciphers(":".join(_cheapest_first(context)))
        return context

    def load_verify_locations(self, *where: Any) -> None:  # noqa: ANN401 - handed on
        """As overridden; the system's authorities take 22 ms of CPU (2026-11-27)."""
        self._once(super().load_verify_locations, *where)

    def set_alpn_protocols(self, alpn_protocols: Iterable[str]) -> None:
        """As overridden."""
        self._once(super().set_alpn_protocols, tuple(alpn_protocols))

    def _once(self, setting: Callable[..., None], *values: object) -> None:
        """Apply *setting*, unless it was applied with these *values* before."""
        key = (setting.__name__, values)
        with self._lock:
            if key not in self._done:
                setting(*values)
                self._done.add(key)

    def wrap_socket(  # type: ignore[override] # in the place of an SSLSocket
        self,
        sock: socket.socket,
        server_hostname: str | None = None,
        **_: Any,  # noqa: ANN401 - what urllib3 never gives
    ) -> "TlsSocket":
        """As overridden; closes *sock* where the handshake fails."""
        try:
            return TlsSocket(sock, self, server_hostname)
        except BaseException:
            sock.close()
            raise


class TlsSocket:
    """A TLS connection over *socket*, as far as its users take it for a socket.

    As with a socket, a method waits for as long as `settimeout` said. Raises
    ssl.SSLEOFError where the connection ended without TLS's goodbye.
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, server_hostname: str | None
    ) -> None:
        self.socket = sock
        self._received, self._to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._received, self._to_send, server_hostname=server_hostname
        )
        self._ended = False  # by TLS's goodbye
        self._fault: OSError | None = None  # that ended the connection otherwise
        self.fileno = sock.fileno
        self.settimeout = sock.settimeout
        self.setsockopt = sock.setsockopt
        self.close = sock.close
        self._in_time(self._tls.do_handshake)

    def sendall(self, data: bytes) -> None:
        """Send all of *data*."""
        self._in_time(lambda: self._tls.write(data))

    def recv_into(self, view: memoryview) -> int:
        """Put bytes of one record into *view*; return the count, 0 at the end."""
        return self._in_time(lambda: int(self._tls.read(len(view), view)))

    def fill(self, views: Sequence[memoryview], until: float) -> int:
        """Fill *views* in turn; return the count, 0 at the end.

        The socket blocks, and each of its reads ends by SO_RCVTIMEO. No read begins
        past *until* (monotonic). Raises BlockingIOError where no byte was deciphered. A
        fault behind other bytes is raised by the next call.
        """
        total, count = sum(map(len, views)), 0
        for view in views:
            came = self._fill_one(view, total - count, until)
            count += came
            if came < len(view):
                break
        if not count and self._fault is not None:
            raise self._fault
        if not count and not self._ended:
            raise BlockingIOError
        return count

    def is_silent(self) -> bool:
        """Whether the idle connection is open, and nothing came that answers a request.

        TLS's own records may have come: TLS 1.3 sends session tickets after the
        handshake. The socket does not block afterwards.
        """
        self.socket.settimeout(0)
        try:
            while self._received.pending < _RECEIVE_BYTES and self._receive():
                pass
        except BlockingIOError:
            pass
        except OSError:
            return False
        try:
            self._tls.read(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def _fill_one(self, view: memoryview, wanted: int, until: float) -> int:
        """As `fill`, of *wanted* bytes *view*; raises nothing, keeps the fault."""
        count, size, read = 0, len(view), self._tls.read
        try:
            while count < size and self._fault is None:
                try:
                    came = int(read(size - count, view[count:]))
                except ssl.SSLWantReadError:
                    self._receive_until(until, wanted - count)
                    continue
                if not came:
                    self._ended = True
                    break
                count += came
        except BlockingIOError:
            pass
        except OSError as error:
            self._fault = error
        return count

    def _in_time(self, step: Callable[[], _T]) -> _T:
        """Take *step*, again after each receipt; one time-out is for all of it."""
        seconds = self.socket.gettimeout()
        until = None if seconds is None else time.monotonic() + seconds
        try:
            while True:
                try:
                    done = step()
                except ssl.SSLWantReadError:
                    self._send()
                else:
                    self._send()
                    return done
                if until is not None:
                    # 0 would not wait at all, and raise another error.
                    self.socket.settimeout(max(1e-6, until - time.monotonic()))
                self._receive()
        except ssl.SSLError:
            with contextlib.suppress(OSError):
                self._send()  # the alert that tells the peer why
            raise
        finally:
            self.socket.settimeout(seconds)

    def _receive_until(self, until: float, wanted: int) -> None:
        """Receive what *wanted* deciphered bytes need; BlockingIOError past *until*."""
        if self._to_send.pending:
            self.socket.settimeout(_SEND_SECONDS)
            self._send()
            self.socket.settimeout(None)
        if time.monotonic() > until:
            raise BlockingIOError
        # So much is sure to come, for a record is longer than the bytes in it.
        sure = wanted - self._received.pending - _RECORD_BYTES
        if sure > 0:
            self._receive(min(sure, _RECEIVE_BYTES), socket.MSG_WAITALL)
        else:
            self._receive()

    def _receive(self, most: int = _RECEIVE_BYTES, flags: int = 0) -> bool:
        """Take up to *most* bytes from the socket; False where it ended."""
        came = self.socket.recv(most, flags)
        if came:
            self._received.write(came)
        else:
            self._received.write_eof()
        return bool(came)

    def _send(self) -> None:
        if self._to_send.pending:
            self.socket.sendall(self._to_send.read())


def _cheapest_first(context: ssl.SSLContext) -> list[str]:
    """The ciphers of *context*, the same ones, in the order of our offer.

    AES-128-GCM deciphers 3.4 GB a CPU second, AES-256-GCM 2.9 (OpenSSL 3.0,
    2026-11-27). `ssl` has no say in the order of TLS 1.3.
    """
    names = [cipher["name"] for cipher in context.get_ciphers()]
    return sorted(names, key=lambda name: not _AES_128.fullmatch(name))
