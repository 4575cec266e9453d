"""The calls of the kernel, as a protocol without FUSE.

`binding` makes them, `operations` serves them. Neither knows the other.

Threads: the calls come from libfuse's threads, many at once.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

# Opens below it wait for their videos; its st_size is how many do.
WAITING = "/.wait"


class Refusal(Exception):
    """Ends a call with an errno."""

    def __init__(self, number: int) -> None:
        super().__init__(os.strerror(number))
        self.errno = number


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """What open gives.

    *keep_cache*: the pages that the kernel holds of this file are of this version.
    *direct_io*: reads bypass those pages, and leave them as they are.
    """

    handle: int
    keep_cache: bool = False
    direct_io: bool = False


class Entry(NamedTuple):
    """A name in a directory; *mode* tells its type alone."""

    name: str
    mode: int
    inode: int


class Filesystem(Protocol):
    """A mounted file system. Paths begin with "/" and may hold surrogate escapes.

    All methods but `start` and `stop` run on many threads at once, and raise nothing
    but `Refusal`.
    """

    def start(self) -> None:
        """Begin work; called once, in the process that serves the mount."""

    def stop(self) -> None:
        """End work, since the mount is gone; called once."""

    def getattr(self, path: str | None, handle: int | None) -> Mapping[str, int]:
        """The stat fields of *handle* where given, else of *path*; times in ns."""

    def attributes_at_hand(self, name: str) -> Mapping[str, int] | None:
        """What `getattr` gives for *name* in "/"; None if that needs more than memory."""

    def getxattr(self, path: str, attribute: str, user_id: int) -> bytes:
        """The extended *attribute* of *path*, as far as *user_id* may see it."""

    def listxattr(self, path: str, user_id: int) -> Sequence[str]:
        """The extended attributes of *path*; as `getxattr`."""

    def readdir(self, path: str) -> Sequence[Entry]:
        """The entries of *path*."""

    def open(
        self, path: str, flags: int, interrupted: Callable[[], bool]
    ) -> OpenedFile:
        """Open for reading; may wait for long.

        *interrupted* tells whether a signal has come for the program that calls; only
        this thread may ask it.
        """

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """Fill *buffer* from *offset*; the count is short only at end of file."""

    def release(self, handle: int) -> None:
        """Forget *handle*; its last user is gone."""

    def statfs(self) -> Mapping[str, int]:
        """The statvfs fields."""
