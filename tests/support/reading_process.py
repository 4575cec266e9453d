"""Processes that read videos through engines of their own, which share a cache directory.

They are forked from a process that has loaded an engine, since to load it takes longer
than to read a clip. A line is JSON: what a child is to read, with the directory, or the
number of a child to wait for. A reply is a child's process number; or its exit status,
negative for a signal, with what it has told.
"""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hingfs.engine import Engine
from hingfs.fetch import sharing
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import environment

READ_BYTES = 128 << 10  # at once, as the kernel asks
_END_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Told:
    """What a process told at its end; *status* is negative for a signal."""

    status: int
    sha256: str = ""
    error: str = ""


class Readers:
    """The processes, seen from their parent. They share *directory*."""

    def __init__(self, endpoint: FakeEndpoint, directory: Path) -> None:
        self._config = {
            "base_url": endpoint.base_url,
            "token": endpoint.token,
            "directory": str(directory),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.reading_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
            env=environment(),
            text=True,
            bufsize=1,
        )

    def start(self, *video_ids: str, stall_seconds: float = 1000.0) -> int:
        """The number of a process that reads *video_ids* whole, one after the other.

        It waits *stall_seconds* for another one whose claim does not change.
        """
        what = {"ids": video_ids, "stall_seconds": stall_seconds}
        child: int = self._asked(self._config | what)
        return child

    def wait(self, child: int) -> Told:
        """What *child* tells, once it has ended."""
        return Told(*self._asked(child))

    def read(self, count: int, *video_ids: str) -> set[str]:
        """The SHA-256 of *video_ids* end to end, as *count* processes at once read them."""
        children = [self.start(*video_ids) for _ in range(count)]
        return {self.sha256(child) for child in children}

    def sha256(self, child: int) -> str:
        """Of all that *child* has read, once it has ended well."""
        told = self.wait(child)
        assert (told.status, told.error) == (0, ""), told
        return told.sha256

    def close(self) -> None:
        self._process.communicate("", timeout=_END_SECONDS)
        assert self._process.returncode == 0

    def _asked(self, what: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(what) + "\n")
        return json.loads(self._process.stdout.readline())


def _read(config: dict[str, Any]) -> Sequence[str]:
    """The SHA-256 of what is read, and the error that ended it."""
    directory = Path(config["directory"])
    sharing.STALL_SECONDS = config["stall_seconds"]
    engine = Engine(
        EndpointConfig(config["base_url"], token=Token(config["token"])),
        CacheConfig(directory=directory, kept_directory=directory),
    )
    digest = hashlib.sha256()
    try:
        for video_id in config["ids"]:
            content = engine.catalog.find_to_open(f"{video_id}.mp4").content
            reader = engine.readers.open(content)
            target = memoryview(bytearray(READ_BYTES))
            offset = 0
            while count := reader.read_into(target, offset):
                digest.update(target[:count])
                offset += count
            engine.readers.close(reader)
    except Exception as error:  # noqa: BLE001 - told to the parent
        return digest.hexdigest(), f"{type(error).__name__}: {error}"
    finally:
        engine.close()
        engine.join(_END_SECONDS)
    return digest.hexdigest(), ""


def _forked(config: dict[str, Any]) -> tuple[int, int]:
    """A child's process number, and where it tells what it has read."""
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        status = 1
        try:
            os.write(theirs, json.dumps(_read(config)).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(theirs)
    return child, ours


def main() -> None:
    """Serve until the parent closes the pipe."""
    pipes: dict[int, int] = {}
    for line in sys.stdin:
        what = json.loads(line)
        reply: object
        if isinstance(what, dict):
            reply, pipe = _forked(what)
            pipes[reply] = pipe
        else:
            with os.fdopen(pipes.pop(what)) as file:
                told = json.loads(file.read() or "[]")
            reply = [os.waitstatus_to_exitcode(os.waitpid(what, 0)[1]), *told]
        sys.stdout.write(json.dumps(reply) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
