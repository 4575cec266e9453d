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
from types import TracebackType
from typing import Self

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


class RawServer:
    """Answers by *script* on a port of loopback. A context manager."""

    def __init__(self, script: Script, tls: ssl.SSLContext | None = None) -> None:
        self.asked: list[Asked] = []
        self.over = threading.Event()
        self._script = script
        self._tls = tls
        self._lock = threading.Lock()
        self._connections: list[socket.socket] = []
        self._accepted: list[socket.socket] = []  # by number
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))

    @property
    def base_url(self) -> str:
        scheme = "http" if self._tls is None else "https"
        return f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"

    @property
    def connections(self) -> list[int]:
        """The connection of each request, in the order of requests."""
        return [asked.connection for asked in self.asked]

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        with self._lock:
            for connection in self._connections:
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        self._listener.close()

    def deafen(self, connection: int) -> None:
        """Drop what comes on *connection* in the kernel: nothing is acknowledged."""
        instruction = struct.pack("HBBI", 0x06, 0, 0, 0)  # BPF: return 0 bytes
        code = ctypes.create_string_buffer(instruction)
        program = struct.pack("HxxxxxxP", 1, ctypes.addressof(code))
        self._accepted[connection].setsockopt(
            socket.SOL_SOCKET, _ATTACH_FILTER, program
        )

    def _start(self, job: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=job, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        numbers = itertools.count()
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._connections.append(sock)
                    self._accepted.append(sock)
                self._start(self._serve, sock, next(numbers))

    def _serve(self, sock: socket.socket, connection: int) -> None:
        with (
            contextlib.suppress(OSError, Hangup, Reset),
            contextlib.ExitStack() as stack,
        ):
            stack.enter_context(sock)
            stack.push(partial(_reset, sock))
            if self._tls is not None:
                sock = self._tls.wrap_socket(sock, server_side=True)
                with self._lock:
                    self._connections.append(sock)
                stack.enter_context(sock)
            number = 0
            while head := _head_of(sock):
                asked = Asked(head, connection, number)
                self.asked.append(asked)
                for piece in self._script(asked):
                    if isinstance(piece, bytes):
                        sock.sendall(piece)
                    elif self.over.wait(piece):
                        return
                number += 1


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
            return b""
        received += piece
    return received
