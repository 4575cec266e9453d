"""A Redis or Valkey of a test: a process of its own, and a server that lies."""

import random
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self

import pytest

from hingfs.shared_url import SharedAddress
from tests.support.mounting import eventually

PROGRAM = shutil.which("valkey-server") or shutil.which("redis-server")


class Valkey:
    """A server on a socket in *directory*, with more *options*; kept in memory alone."""

    def __init__(self, directory: Path, *options: str) -> None:
        if PROGRAM is None:
            pytest.skip("there is no valkey-server or redis-server")
        self.path = directory / "valkey.sock"
        self.address = SharedAddress(path=str(self.path))
        self._command = [
            *(PROGRAM, "--port", "0", "--save", "", "--appendonly", "no"),
            *("--unixsocket", str(self.path), "--dir", str(directory), *options),
        ]
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        eventually(self._accepts, "the server accepts connections")

    def listen(self, kind: str) -> int:
        """Listen on a free port too, a *kind* of "port" or "tls-port"; returns it."""
        for port in random.sample(range(20_000, 32_000), 50):
            if self.ask("CONFIG", "SET", kind, str(port)) == [b"+OK"]:
                return port
        pytest.fail("no port is free")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait(10)
        self.path.unlink(missing_ok=True)

    def stop(self) -> None:
        """Have it accept connections and say nothing, until `go_on`."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End `stop`."""
        self._process.send_signal(signal.SIGCONT)

    def ask(self, *words: bytes | str) -> list[bytes]:
        """Its reply: one text, or those of a list. A number or an error is as it came."""
        with socket.socket(socket.AF_UNIX) as line:
            line.settimeout(10)
            line.connect(str(self.path))
            parts = [word.encode() if isinstance(word, str) else word for word in words]
            packed = b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in parts)
            line.sendall(b"*%d\r\n%b" % (len(parts), packed))
            with line.makefile("rb") as replies:
                return _reply(replies)

    def names(self) -> list[bytes]:
        """The keys of values; no leases."""
        found = self.ask("KEYS", "hingfs:*")
        return sorted(name for name in found if not name.endswith(b":lease"))

    def value(self, name: bytes) -> bytes:
        """What lies under *name*."""
        (value,) = self.ask("GET", name)
        return value

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        self.kill()

    def _accepts(self) -> bool:
        try:
            return self.ask("PING") == [b"+PONG"]
        except OSError:
            return False


def _reply(replies: BinaryIO) -> list[bytes]:
    line = replies.readline().rstrip()
    count = int(line[1:]) if line[:1] in {b"$", b"*"} else -1
    if line[:1] == b"*":
        return [one for _ in range(count) for one in _reply(replies)]
    return [replies.read(count + 2)[:-2] if count >= 0 else line]


class Liar:
    """Answers each question, on a socket in *directory*, by what *reply* gives for it."""

    def __init__(self, directory: Path, reply: Callable[[bytes], bytes]) -> None:
        path = directory / "liar.sock"
        self.address = SharedAddress(path=str(path))
        self._reply = reply
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                line, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(line,), daemon=True).start()

    def _serve(self, line: socket.socket) -> None:
        with line:
            while True:
                try:
                    question = line.recv(1 << 22)
                    if not question:
                        return
                    line.sendall(self._reply(question))
                except OSError:
                    return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
