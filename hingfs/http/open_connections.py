"""Every connection of one transport, so that none stays open once that is closed.

Decides who closes a connection at the end: the thread that reads from it, or `close`.
"""

import threading
from typing import Any, Protocol


class Connection(Protocol):
    """The connection that an exchange uses, and gives back."""

    sock: Any  # a socket, or what TLS makes of one; None once closed
    kept_at: float  # when an answer ended on it that leaves no doubt (monotonic)

    def close(self) -> None:
        """Give it up."""


class UnderWay(Protocol):
    """An exchange that may wait for its socket."""

    def abort(self) -> None:
        """Wake the reading thread, which closes the connection."""

    def cut_off(self) -> None:
        """As `abort`, and close it unless a thread is at the socket."""


class OpenConnections:
    """The exchanges under way, and the connections that wait for their next one.

    After `close`, none stays open: a thread that reads from one is woken and closes it,
    all others are closed here.
    Thread safety: all methods; nothing is closed under the lock.
    """

    def __init__(self) -> None:
        # Guards every field. Reentrant: the garbage collector may close a connection
        # on a thread that holds it.
        self._lock = threading.RLock()
        self._open: set[UnderWay] = set()
        self._idle: set[Connection] = set()
        self._closed = False  # only ever set

    def check_open(self) -> None:
        """Raise ConnectionAbortedError once `close` was called: a new one is of no use."""
        if self._closed:
            raise ConnectionAbortedError("the mount is ending")

    def keep(self, connection: Connection) -> None:
        """*connection* waits for its next exchange; after `close`, it is closed."""
        with self._lock:
            closed = self._closed
            if not closed:
                self._idle.add(connection)
        if closed:
            connection.close()

    def take(self, connection: Connection) -> bool:
        """Whether *connection*, which waited, is the caller's now; else it was closed."""
        with self._lock:
            waited = connection in self._idle
            self._idle.discard(connection)
        return waited

    def add(self, exchange: UnderWay) -> None:
        """*exchange* waits for a socket from here on; after `close`, in vain."""
        with self._lock:
            self._open.add(exchange)
            closed = self._closed
        if closed:
            exchange.abort()

    def discard(self, exchange: UnderWay) -> None:
        """*exchange* waits no more."""
        with self._lock:
            self._open.discard(exchange)

    def close(self) -> None:
        """Wake every reading thread, now and later; close what nobody reads from."""
        with self._lock:
            self._closed = True
            exchanges, self._open = self._open, set()
            idle, self._idle = self._idle, set()
        for exchange in exchanges:
            exchange.cut_off()
        for connection in idle:
            connection.close()
