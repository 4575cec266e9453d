"""Every connection of one transport, so that none outlives it.

Decides which thread closes a connection at the end: its reader, or the caller of
`close`.
"""

import threading
from typing import Any, Protocol


class Connection(Protocol):
    """A connection that an exchange borrows."""

    sock: Any  # a socket, or a TLS wrapper; None once closed
    kept_at: float  # when the last answer on it ended without doubt (monotonic)

    def close(self) -> None:
        """Close its socket."""


class UnderWay(Protocol):
    """An exchange that may wait for its socket."""

    def abort(self) -> None:
        """Wake the reading thread, which then closes the connection."""

    def cut_off(self) -> None:
        """As `abort`; close it too, unless a thread is at the socket."""


class OpenConnections:
    """The exchanges under way, and the idle connections.

    After `close`, no connection stays open: a woken reader closes its own, and `close`
    closes all others. Of an idle connection the socket alone is closed: its pool may have
    given it to a thread meanwhile, which finds it ended and connects it anew.
    Thread safety: all methods; nothing is closed under the lock.
    """

    def __init__(self) -> None:
        # Guards every field. Reentrant: on a thread that holds the lock, the garbage
        # collector may close a connection.
        self._lock = threading.RLock()
        self._open: set[UnderWay] = set()
        self._idle: set[Connection] = set()
        self._closed = False  # never reset; read without the lock as well

    def check_open(self) -> None:
        """Raise ConnectionAbortedError once `close` was called."""
        if self._closed:
            raise ConnectionAbortedError("the mount is ending")

    def keep(self, connection: Connection) -> None:
        """Add the idle *connection*; after `close`, close it."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle.add(connection)
        if closed:
            connection.close()

    def take(self, connection: Connection) -> bool:
        """Take *connection* from the idle ones; False where it is not among them."""
        with self._lock:
            waited = connection in self._idle
            self._idle.discard(connection)
        return waited

    def close_idle(self) -> bool:
        """Close every idle connection, for their descriptors; False if there is none."""
        with self._lock:
            sockets = self._taken_locked()
        for sock in sockets:
            sock.close()
        return bool(sockets)

    def add(self, exchange: UnderWay) -> None:
        """Add *exchange*, which may wait for its socket; after `close`, abort it."""
        with self._lock:
            self._open.add(exchange)
            closed = self._closed
        if closed:
            exchange.abort()

    def discard(self, exchange: UnderWay) -> None:
        """Forget *exchange*, which waits no more."""
        with self._lock:
            self._open.discard(exchange)

    def close(self) -> None:
        """Wake every reading thread, now and later; close the other connections."""
        with self._lock:
            self._closed = True
            exchanges, self._open = self._open, set()
            sockets = self._taken_locked()
        for exchange in exchanges:
            exchange.cut_off()
        for sock in sockets:
            sock.close()

    def _taken_locked(self) -> list[Any]:
        """The sockets of the idle connections, none of which is idle any more."""
        idle, self._idle = self._idle, set()
        return [connection.sock for connection in idle]
