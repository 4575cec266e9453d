"""Questions to a Valkey or Redis server, each within a bound of time and of bytes.

The few commands that are needed are spoken here, over sockets of our own: a client library
bounds neither how long a whole answer takes nor how large it gets, and reads a megabyte
no faster: 3.2 GB/s here, 2.6 by hiredis. Decides when the server counts as down: after a failure nothing is asked for
PAUSE_SECONDS, so that a read meets one alone; after FAILURES in a row for REST_SECONDS,
and one warning says so. Then one question tries. Leaves to `shared`
what is asked.

Threads: any thread may call `Server`; each has a connection of its own meanwhile.
"""

import contextlib
import logging
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ..errors import Closing, HingError, printable
from ..shared_url import SharedAddress, read_password
from ..workers import DaemonPool

log = logging.getLogger(__name__)

# For a connection with its login, and for the next bytes of an answer: a server next door
# needs 1 ms.
PATIENCE_SECONDS = 0.05
# For a whole answer, or for a value to be sent: at 2 MB/s and more. A guess.
WHOLE_SECONDS = 0.5
# For how long nothing is asked: after one failure, and after so many in a row. Guesses.
PAUSE_SECONDS = 0.25
FAILURES = 3
REST_SECONDS = 5.0
_MOST_LINE_BYTES = 1024

Reply = bytes | bytearray | int | None


class Refused(Exception):
    """The server understood, and said no; the text is its own, fit to be printed."""


class Server:
    """The server at *address*; *password* names its file. Thread safety: all methods."""

    def __init__(self, address: SharedAddress, password: Path | None) -> None:
        self._address = address
        self._password = password
        self._tls = ssl.create_default_context() if address.tls else None
        # The system may look a name up for minutes, and cannot be told to stop.
        self._resolver = DaemonPool("hingfs-shared-name", 1)
        # Guards all below; nothing is asked, and no log is written, under it.
        self._lock = threading.Lock()
        self._idle: list[_Line] = []
        self._failures = 0  # in a row
        self._quiet_until = 0.0  # monotonic
        self._failed_at = 0.0  # monotonic: the last that counted
        self.is_down = False  # a warning has told so
        self._closed = False
        self.asked = 0  # questions, and connections for them; only grows

    def ask(
        self, commands: Sequence[Sequence[bytes]], most_bytes: int = _MOST_LINE_BYTES
    ) -> list[Reply] | None:
        """The replies to *commands*, sent at once; None if the server is down.

        Raises Refused where one of them is an error.
        """
        began = self._began()
        if began is None:
            return None
        try:
            with self._line() as line:
                deadline = time.monotonic() + WHOLE_SECONDS
                replies = line.ask(commands, most_bytes, deadline)
        except Refused as refusal:
            if _is_for_nobody(refusal):
                self._failed(began, str(refusal), at_once=True)
                return None
            self._answered()
            raise
        except (OSError, ValueError) as error:
            self._failed(began, printable(str(error) or type(error).__name__, 200))
            return None
        self._answered()
        return replies

    def told(
        self, commands: Sequence[Sequence[bytes]], most_bytes: int = _MOST_LINE_BYTES
    ) -> list[Reply]:
        """As `ask`; nothing if the server is down, or refuses."""
        try:
            return self.ask(commands, most_bytes) or []
        except Refused as refusal:
            log.debug("the shared cache refuses: %s", refusal)
            return []

    def close(self) -> None:
        """Ask nothing more, and close what is idle."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()
        self._resolver.close(Closing("the mount is ending"))

    def join(self, seconds: float) -> bool:
        """Whether its thread has ended within *seconds*; after `close`."""
        return self._resolver.join(seconds)

    @contextlib.contextmanager
    def _line(self) -> Iterator["_Line"]:
        """A connection for one question; it is kept if the question ended well."""
        line = self._idle_line() or self._connected()
        good = False
        try:
            yield line
            good = True
        except Refused:
            good = True
            raise
        finally:
            with self._lock:
                kept = good and not self._closed
                if kept:
                    self._idle.append(line)
            if not kept:
                line.close()

    def _idle_line(self) -> "_Line | None":
        while True:
            with self._lock:
                if not self._idle:
                    return None
                line = self._idle.pop()
            if line.is_quiet:
                return line
            line.close()  # the server has ended it meanwhile

    def _connected(self) -> "_Line":
        deadline = time.monotonic() + PATIENCE_SECONDS
        password = read_password(self._password)
        line = _Line(self._dialed(deadline))
        login: list[Sequence[bytes]] = []
        if password:
            user = [self._address.user.encode()] if self._address.user else []
            login.append([b"AUTH", *user, password.encode()])
        if self._address.database:
            login.append([b"SELECT", b"%d" % self._address.database])
        try:
            line.ask(login, _MOST_LINE_BYTES, deadline)
        except Refused:
            line.close()
            # Its words may quote the password.
            raise Refused(
                "NOAUTH it refuses the password, the user or the database"
            ) from None
        except BaseException:
            line.close()
            raise
        return line

    def _dialed(self, deadline: float) -> socket.socket:
        """A socket that is connected. Raises OSError."""
        if self._address.path:
            return _connected(socket.AF_UNIX, self._address.path, deadline)
        error: OSError = ConnectionError("its name has no address")
        for family, where in self._resolved(deadline):
            try:
                connection = _connected(family, where, deadline)
            except OSError as met:
                error = met
                continue
            with _closed_on_error(connection):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.settimeout(_left(deadline))
                if self._tls is None:
                    return connection
                return self._tls.wrap_socket(
                    connection, server_hostname=self._address.host
                )
        raise error

    def _resolved(self, deadline: float) -> list[tuple[int, Any]]:
        """Families and addresses of the host. Raises OSError."""
        host, port = self._address.host, self._address.port
        try:
            looked_up = self._resolver.submit(
                socket.getaddrinfo, host, port, 0, socket.SOCK_STREAM
            )
            found = looked_up.result(_left(deadline))
        except HingError as error:  # no thread, or it is closed
            raise ConnectionError(str(error)) from None
        return [(family, where) for family, *_, where in found]

    def _began(self) -> float | None:
        """When a question begins (monotonic): now; None if none may be asked."""
        now = time.monotonic()
        with self._lock:
            if self._closed or now < self._quiet_until:
                return None
            if self.is_down:  # this question tries; the others wait for its end
                self._quiet_until = now + REST_SECONDS
            self.asked += 1
            return now

    def _answered(self) -> None:
        with self._lock:
            news, self.is_down = self.is_down, False
            self._failures, self._quiet_until = 0, 0.0
        if news:
            log.info("the shared cache is used again: %s", self._address)

    def _failed(self, began: float, reason: str, *, at_once: bool = False) -> None:
        now = time.monotonic()
        with self._lock:
            if self._closed or (began < self._failed_at and not at_once):
                return  # questions at the same time met the same failure
            self._failed_at = now
            self._failures += 1
            down = self.is_down or at_once or self._failures >= FAILURES
            news, self.is_down = down and not self.is_down, down
            self._quiet_until = now + (REST_SECONDS if down else PAUSE_SECONDS)
            idle, self._idle = self._idle, []
        for line in idle:
            line.close()
        if news:
            name = printable(str(self._address), 200)
            log.warning("the shared cache is not used: %s: %s", name, reason)


def _is_for_nobody(refusal: Refused) -> bool:
    """Whether no command of ours will be answered: no password, or the server loads."""
    return str(refusal).startswith(("NOAUTH", "WRONGPASS", "LOADING", "MASTERDOWN"))


class _Line:
    """One connection, for one thread at a time.

    Raises OSError for one that cannot be made or that failed, ValueError for an answer
    that is none. After either it is of no use any more.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._left = b""  # received, and not read yet

    @property
    def is_quiet(self) -> bool:
        """Whether nothing has come unasked: neither bytes nor the end."""
        if self._left:
            return False
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        return not poll.poll(0)

    def ask(
        self, commands: Sequence[Sequence[bytes]], most_bytes: int, deadline: float
    ) -> list[Reply]:
        """The replies to *commands*, none longer than *most_bytes*; see `Server.ask`."""
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(_packed(commands))
        replies: list[Reply] = []
        refused: Refused | None = None
        for _ in commands:
            try:
                replies.append(self._reply(most_bytes, deadline))
            except Refused as refusal:  # the other replies are read all the same
                refused = refusal
        if refused is not None:
            raise refused
        if self._left:
            raise ValueError("more came than was asked for")
        return replies

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(OSError):
            self._socket.close()

    def _reply(self, most_bytes: int, deadline: float) -> Reply:
        line = self._read_line(deadline)
        kind, rest = line[:1], line[1:]
        if kind == b"-":
            raise Refused(printable(rest.decode("utf-8", "replace"), 200))
        if kind == b"+":
            return rest
        if kind not in {b":", b"$"}:
            raise ValueError("its answer is none")
        number = int(rest)
        if kind == b":":
            return number
        if number < 0:
            return None
        if number > most_bytes:
            raise ValueError(f"it holds {number} bytes where {most_bytes} may be")
        return self._read_exactly(number, deadline)

    def _read_line(self, deadline: float) -> bytes:
        while b"\r\n" not in self._left:
            if len(self._left) > _MOST_LINE_BYTES:
                raise ValueError("its answer is none")
            self._wait(deadline)
            received = self._socket.recv(_MOST_LINE_BYTES)
            if not received:
                raise ConnectionError("it closed the connection")
            self._left += received
        line, _, self._left = self._left.partition(b"\r\n")
        return line

    def _read_exactly(self, count: int, deadline: float) -> bytearray:
        """The next *count* bytes, and the end of line behind them, which is dropped."""
        target = bytearray(count + 2)
        filled = min(len(self._left), len(target))
        target[:filled] = self._left[:filled]
        self._left = self._left[filled:]
        view = memoryview(target)
        while filled < len(target):
            self._wait(deadline)
            received = self._socket.recv_into(view[filled:])
            if not received:
                raise ConnectionError("it closed the connection")
            filled += received
        view.release()
        if target[count:] != b"\r\n":
            raise ValueError("its answer is none")
        del target[count:]
        return target

    def _wait(self, deadline: float) -> None:
        """Have the next receive end in time."""
        self._socket.settimeout(min(_left(deadline), PATIENCE_SECONDS))


def _left(deadline: float) -> float:
    """The seconds until *deadline* (monotonic). Raises TimeoutError if it is over."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("it took too long")
    return left


def _connected(family: int, where: Any, deadline: float) -> socket.socket:  # noqa: ANN401 - as the socket module has it
    connection = socket.socket(family)
    with _closed_on_error(connection):
        connection.settimeout(_left(deadline))
        connection.connect(where)
    return connection


@contextlib.contextmanager
def _closed_on_error(connection: socket.socket) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


def _packed(commands: Sequence[Sequence[bytes]]) -> bytes:
    """*commands* as the server reads them: each an array of strings (RESP2)."""
    parts = []
    for command in commands:
        parts.append(b"*%d\r\n" % len(command))
        for word in command:
            parts += [b"$%d\r\n" % len(word), word, b"\r\n"]
    return b"".join(parts)
