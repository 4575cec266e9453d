"""What a FUSE library serves: the calls of the kernel, as a protocol without FUSE.

`operations` answers them, `binding` passes them on. Neither knows the other.

Threads: a binding calls from libfuse's threads, many at once.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol


class Refusal(Exception):
    """What a filesystem raises to answer a call with an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """The answer to open.

    *keep_cache*: the pages that the kernel holds of this file are of this version.
    *direct_io*: bypass those pages, and leave them as they are.
    """

    handle: int
    keep_cache: bool = False
    direct_io: bool = False


class Filesystem(Protocol):
    """What is mounted. Paths are "/"-rooted and may hold surrogate escapes.

    Any method but `start` and `stop` is called from many threads at once, and
    raises `Refusal` and nothing else.
    """

    def start(self) -> None:
        """Begin work; called once, in the process that serves the mount."""

    def stop(self) -> None:
        """The mount is gone; called once."""

    def getattr(self, path: str | None, handle: int | None) -> Mapping[str, int]:
        """The stat fields of *handle* where given, else of *path*; times in ns."""

    def readdir(self, path: str) -> Iterable[tuple[str, Mapping[str, int]]]:
        """Names in *path* with st_mode and st_ino of each."""

    def open(self, path: str, flags: int) -> OpenedFile:
        """Open for reading."""

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """Fill *buffer* from *offset*; the count is short only at end of file."""

    def release(self, handle: int) -> None:
        """The last user of *handle* is gone."""

    def statfs(self) -> Mapping[str, int]:
        """The statvfs fields."""
