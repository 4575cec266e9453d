"""A SOCKS5 proxy on loopback (RFC 1928), which plays every host by one port."""

import contextlib
import socket
import threading
from types import TracebackType
from typing import Self

GREETING, CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0"
REFUSED = b"\x05\x05\x00\x01\0\0\0\0\0\0"


class SocksProxy:
    """Connects each client to *port* of loopback, whatever it asks for.

    *hosts* are the places that were asked for; *mood* "refuses" or is "silent".
    """

    def __init__(self, port: int, mood: str = "") -> None:
        self.hosts: list[tuple[str, int]] = []
        self._port = port
        self._mood = mood
        self._sockets: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def place(self) -> str:
        """HOST:PORT, for a URL."""
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        for sock in (self._listener, *self._sockets):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for sock in (self._listener, *self._sockets):
            sock.close()

    def _start(self, job, *args) -> None:
        thread = threading.Thread(target=job, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                self._start(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if self._mood == "silent":
                client.recv(1 << 16)
                return
            methods = client.recv(2)[1]
            client.recv(methods)
            client.sendall(GREETING)
            kind = client.recv(4)[3]
            if kind == 3:
                host = client.recv(client.recv(1)[0]).decode()
            else:
                host = socket.inet_ntop(socket.AF_INET, client.recv(4))
            self.hosts.append((host, int.from_bytes(client.recv(2), "big")))
            if self._mood == "refuses":
                client.sendall(REFUSED)
                return
            server = socket.create_connection(("127.0.0.1", self._port))
            self._sockets.append(server)
            client.sendall(CONNECTED)
            self._start(self._relay, server, client)
            self._relay(client, server)

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
