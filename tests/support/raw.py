"""A server that sends exactly the bytes a test wants, and knows nothing of HTTP."""

import contextlib
import ctypes
import itertools
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from tests.support.listener import Listener

_ATTACH_FILTER = 26  # SO_ATTACH_FILTER, asm-generic/socket.h


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its bytes, on which connection, and as which one there (from 0)."""

    head: bytes
    connection: int
    number: int

    @property
    def target(self) -> str:
        return self.head.split(b" ")[1].decode()

    @property
    def method(self) -> str:
        return self.head.split(b" ")[0].decode()

    @property
    def range(self) -> tuple[int, int] | None:
        """The bytes [start, stop) asked for, if any were."""
        for line in self.head.lower().split(b"\r\n"):
            if line.startswith(b"range: bytes="):
                start, _, last = line.partition(b"=")[2].partition(b"-")
                return int(start), int(last) + 1
        return None


# Pieces to be sent, one by one; a number is a pause in seconds. The connection is kept
# for the next request; a script that raises Hangup closes it.
Script = Callable[[Asked], Iterator[bytes | float]]


class Hangup(Exception):
    """Close the connection, in the manner of FIN."""


class Reset(Exception):
    """Close the connection by RST."""


class RawServer(Listener):
    """Answers by *script* on a port of loopback. A context manager."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        super().__init__()
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self._script = script
        self._tls = tls
        self._accepted: dict[int, socket.socket] = {}  # by number

    @property
    def base_url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://{self.place}"

    @property
    def connections(self) -> list[int]:
        """The connection of each request, in the order of requests."""
        return [asked.connection for asked in self.asked]

    def __exit__(self, *exc: object) -> None:
        self.over.set()
        super().__exit__(*exc)

    def deafen(self, connection: int) -> None:
        """Drop what comes on *connection* in the kernel: nothing is acknowledged."""
        instruction = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes
        code = ctypes.create_string_buffer(instruction)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
        self._accepted[connection].setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, program
        )

    def serve(self, sock: socket.socket, number: int) -> None:
        """As overridden."""
        self._accepted[number] = sock
        with (
            contextlib.suppress(OSError, Hangup, Reset),
            contextlib.ExitStack() as stack,
        ):
            stack.enter_context(sock)
            stack.push(partial(_reset, sock))
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                self.keep(sock)
                stack.enter_context(sock)
            for asked_before in itertools.count():
                asked = Asked(_head_of(sock), number, asked_before)
                self.asked.append(asked)
                for piece in self._script(asked):
                    if isinstance(piece, bytes):
                        sock.sendall(piece)
                    elif self.over.wait(piece):
                        return


def _reset(sock: socket.socket, kind: type[BaseException] | None, *_: object) -> None:
    """Have *sock* closed by RST if the script ended by `Reset`."""
    if kind is Reset:
        linger = struct.pack("ii", 1, 0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)


def _head_of(sock: socket.socket) -> bytes:
    received = b""
    while not received.endswith(b"\r\n\r\n"):
        piece = sock.recv(65536)
        if not piece:
            raise Hangup
        received += piece
    return received
