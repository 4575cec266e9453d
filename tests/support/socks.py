"""A SOCKS5 proxy on loopback (RFC 1928), which plays every host by one port."""

import contextlib
import socket
import threading

from tests.support.listener import Listener

GREETING, CONNECTED = b"\x05\x00", b"\x05\x00\x00\x01\0\0\0\0\0\0"
REFUSED = b"\x05\x05\x00\x01\0\0\0\0\0\0"


class SocksProxy(Listener):
    """Connects each client to *port* of loopback, whatever it asks for.

    *hosts* are the places that were asked for; *mood* "refuses" or is "silent".
    """

    def __init__(self, port: int, mood: str = "") -> None:
        super().__init__()
        self.hosts: list[tuple[str, int]] = []
        self._port = port
        self._mood = mood

    def serve(self, client: socket.socket, _number: int) -> None:
        """As overridden."""
        with contextlib.suppress(OSError), client:
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
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                self.keep(server)
                client.sendall(CONNECTED)
                back = threading.Thread(target=self._relay, args=(server, client))
                back.start()
                self._relay(client, server)
                back.join()

    def _relay(self, source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
