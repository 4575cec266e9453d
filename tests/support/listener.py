"""A port of loopback with a thread for each connection, for servers that end at once."""

import abc
import contextlib
import itertools
import socket
import threading
from collections.abc import Callable
from typing import Self


class Listener(abc.ABC):
    """Hands each connection, and its number from 0 on, to `serve`. A context manager."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards _sockets
        self._sockets: list[socket.socket] = []  # that the end shuts down
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def place(self) -> str:
        """HOST:PORT, for a URL."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self.start(self._accept)
        return self

    def __exit__(self, *_exc: object) -> None:
        with self._lock:
            for sock in (self._listener, *self._sockets):
                with contextlib.suppress(OSError):
                    # Not that of a TLS wrapper, which would forget its state.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    @abc.abstractmethod
    def serve(self, sock: socket.socket, number: int) -> None:
        """Speak with a client, and close *sock*. In a thread of its own."""

    def start(self, job: Callable[..., None], *args: object) -> None:
        """Have *job* run in a thread that the end waits for."""
        thread = threading.Thread(target=job, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def keep(self, sock: socket.socket) -> None:
        """Have *sock* shut down at the end."""
        with self._lock:
            self._sockets.append(sock)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            for number in itertools.count():
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self.keep(sock)
                self.start(self.serve, sock, number)
