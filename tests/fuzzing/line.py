"""One accepted connection, with TLS or without, that takes the steps of a script.

TLS is done in memory, so that its bytes can be held back, dripped and cut like others.
Every wait ends when the server stops, or when the client leaves.
"""

import contextlib
import fcntl
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Iterator

from tests.fuzzing.secured import Handshake
from tests.fuzzing.table import (
    Drip,
    End,
    Endless,
    Pause,
    Script,
    Shred,
    Step,
    Together,
    Unasked,
)
from tests.support.endpoint import Alarm

# A script that a client listens to for longer is ended, so that no thread stays.
LONGEST_SCRIPT_SECONDS = 40.0
# The most that an endless script may send.
MOST_BYTES = 64 << 20
# The most that is kept of an answer for the report of a violation.
SHOWN_BYTES = 600
_HANG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class Gone(Exception):
    """The connection has ended: by the client, by a step, or with the server."""


class Line:
    """See the module docstring. Used by one thread."""

    def __init__(self, number: int, sock: socket.socket, alarm: Alarm) -> None:
        self.number = number
        self.shown = bytearray()  # the first bytes of the last answer
        self.unasked_at = 0.0  # when an answer was sent that nobody had asked for
        self._sock = sock
        self._alarm = alarm
        self._tls: ssl.SSLObject | None = None
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._received = bytearray()
        self._until = 0.0
        sock.settimeout(0)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    # -- requests ---------------------------------------------------------------------

    def receive_head(self) -> bytes | None:
        """The next head, as it is; None once the client has left."""
        while b"\r\n\r\n" not in self._received:
            piece = self._receive()
            if not piece:
                return None
            self._received += piece
        head, _, rest = bytes(self._received).partition(b"\r\n\r\n")
        self._received = bytearray(rest)
        return head

    def start_tls(self, context: ssl.SSLContext, plan: Handshake) -> None:
        """Shake hands by *plan*. Bytes that came before belong to the handshake."""
        self.play(plan.before)
        self._incoming.write(bytes(self._received))
        self._received.clear()
        tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        left = plan.most_bytes
        done = False
        while not done:
            try:
                tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError as error:
                raise Gone from error
            sent = self._outgoing.read()
            self._drip_raw(sent[:left], plan.piece_bytes, plan.seconds)
            left -= len(sent)
            if left < 0:
                self.play(plan.then)
                raise Gone
            if not done:
                piece = self._receive_raw()
                if not piece:
                    raise Gone
                self._incoming.write(piece)
        self._tls = tls

    # -- steps ------------------------------------------------------------------------

    def play(self, script: Script) -> None:
        """Take every step; raises Gone where the connection is no more."""
        self._until = time.monotonic() + LONGEST_SCRIPT_SECONDS
        for step in script:
            self._take(step)

    def _take(self, step: Step) -> None:
        match step:
            case bytes():
                self._send(step)
            case Pause():
                self.pause(step.seconds)
            case Drip():
                for piece in pieces_of(step.data, step.piece_bytes):
                    self._send(piece)
                    self.pause(step.seconds)
            case Shred():
                self._show(step.data)
                self._drip_raw(self._sealed(step.data), step.piece_bytes, step.seconds)
            case Endless():
                sent = 0
                while sent < MOST_BYTES:
                    self._send(step.piece)
                    self.pause(step.seconds)
                    sent += len(step.piece)
                raise Gone
            case Together():
                self._send_together(step.data)
            case Unasked():
                self._send_unasked(step)
            case End():
                self._end(step)

    def pause(self, seconds: float) -> None:
        """Wait while the client stays and the script may last."""
        left = self._until - time.monotonic()
        if self._poll(_HANG_UP, min(seconds, left)) or left < seconds:
            raise Gone

    def _send_unasked(self, step: Unasked) -> None:
        """Unless a request comes first, which then is answered as it should be."""
        asked = bool(self._received) or self._poll(
            select.POLLIN | _HANG_UP, step.seconds
        )
        if asked and not step.anyway:
            return
        self._send(step.data)
        self.unasked_at = time.monotonic()

    def _send_together(self, data: bytes) -> None:
        """Once all before it was taken, so that the kernel makes one piece of it."""
        sealed = self._sealed(data)
        self._show(data)
        while self._unsent() and time.monotonic() < self._until:
            if self._poll(_HANG_UP, 0.001):
                raise Gone
        self._send_raw(sealed)

    def _unsent(self) -> int:
        answer = fcntl.ioctl(self._sock, termios.TIOCOUTQ, b"\0\0\0\0")
        return int(struct.unpack("i", answer)[0])

    def _end(self, end: End) -> None:
        if end is End.CUT_RECORD:
            record = self._sealed(b"x" * 5000)
            self._send_raw(record[: len(record) // 2])
        if end is End.CLOSE and self._tls is not None:
            with contextlib.suppress(
                ssl.SSLError
            ):  # the client's word is not waited for
                self._tls.unwrap()
            self._send_raw(self._outgoing.read())
        if end is End.RESET:
            self._reset()
        raise Gone

    def close(self) -> None:
        """Take the connection away, if no step did."""
        if self._alarm.has_rung():
            self._reset()
        self._sock.close()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)

    # -- bytes ------------------------------------------------------------------------

    def _show(self, data: bytes) -> None:
        self.shown += data[: max(0, SHOWN_BYTES - len(self.shown))]

    def _send(self, data: bytes) -> None:
        self._show(data)
        self._send_raw(self._sealed(data))

    def _sealed(self, data: bytes) -> bytes:
        """*data* as it goes on the wire."""
        if self._tls is None or not data:
            return data
        view = memoryview(data)
        while view:
            view = view[self._tls.write(view) :]
        return self._outgoing.read()

    def _drip_raw(self, data: bytes, piece_bytes: int, seconds: float) -> None:
        for piece in pieces_of(data, piece_bytes):
            self._send_raw(piece)
            if seconds:
                self.pause(seconds)

    def _send_raw(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[self._sock.send(view) :]
            except BlockingIOError:
                if not self._poll(select.POLLOUT | _HANG_UP, self._left()):
                    raise Gone from None
            except OSError as error:
                raise Gone from error

    def _receive(self) -> bytes:
        """Some bytes of requests; none once the client has left."""
        if self._tls is None:
            return self._receive_raw()
        while True:
            try:
                return self._tls.read(65536)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLError:
                return b""
            self._send_raw(self._outgoing.read())
            piece = self._receive_raw()
            if not piece:
                return b""
            self._incoming.write(piece)

    def _receive_raw(self) -> bytes:
        while True:
            try:
                return self._sock.recv(65536)
            except BlockingIOError:
                self._poll(select.POLLIN, None)
            except OSError:
                return b""

    def _left(self) -> float:
        return self._until - time.monotonic()

    def _poll(self, events: int, seconds: float | None) -> bool:
        """Whether one of *events* came within *seconds*; Gone if the server stops."""
        poll = select.poll()
        poll.register(self._sock, events)
        poll.register(self._alarm, select.POLLIN)
        ready = poll.poll(None if seconds is None else max(0.0, seconds * 1000))
        if self._alarm.has_rung():
            raise Gone
        return bool(ready)


def pieces_of(data: bytes, piece_bytes: int) -> Iterator[bytes]:
    """*data* in order, cut."""
    for at in range(0, len(data), piece_bytes):
        yield data[at : at + piece_bytes]
