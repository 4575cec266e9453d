"""Files held open by tests, and the errno that a call fails with.

`Handle` reads a file of a real mount, `DirectHandle` one of a filesystem without a
kernel between. Both are closed by `with`.
"""

import contextlib
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, Self

from hingfs.mount.filesystem import Filesystem, Refusal

# What the kernel asks a FUSE mount for at once, unless it was allowed more.
READ_BYTES = 128 * 1024


def errno_of(call: Callable[[], object]) -> str:
    """The name of the errno that *call* is refused with; "none" if it is not."""
    try:
        call()
    except (OSError, Refusal) as error:
        return errno.errorcode[error.errno or 0]
    return "none"


class Opened(Protocol):
    """A file held open."""

    @property
    def size_bytes(self) -> int: ...

    def read(self, offset: int, count: int) -> bytes: ...

    def close(self) -> None: ...


class DirectHandle:
    """A file of a filesystem that is not mounted, read as the kernel reads."""

    def __init__(self, operations: Filesystem, path: str) -> None:
        self._operations = operations
        self._handle = operations.open(path, os.O_RDONLY, lambda: False).handle

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        return self._operations.getattr(None, self._handle)["st_size"]

    def read(self, offset: int, count: int) -> bytes:
        buffer = bytearray(count)
        got = self._operations.read_into(self._handle, memoryview(buffer), offset)
        return bytes(buffer[:got])

    def read_all(self, start: int = 0, stop: int | None = None) -> bytes:
        """The bytes [start, stop), to the end by default, by reads of the kernel's size."""
        stop = self.size_bytes if stop is None else stop
        return b"".join(
            self.read(offset, min(READ_BYTES, stop - offset))
            for offset in range(start, stop, READ_BYTES)
        )

    def close(self) -> None:
        self._operations.release(self._handle)


class Handle:
    """A file held open by this process, read with pread."""

    def __init__(self, path: Path) -> None:
        self.fd = os.open(path, os.O_RDONLY)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    @property
    def size_bytes(self) -> int:
        return os.fstat(self.fd).st_size

    def read(self, offset: int, count: int) -> bytes:
        """One pread: as many bytes as one call gives."""
        return os.pread(self.fd, count, offset)

    def read_all(self) -> bytes:
        """Every byte to the end of file, by as many calls as it takes."""
        pieces = []
        offset = 0
        while piece := self.read(offset, 1 << 20):
            pieces.append(piece)
            offset += len(piece)
        return b"".join(pieces)

    def forget_pages(self) -> None:
        """Have the kernel drop what it holds of the file, so that reads reach hingfs."""
        os.posix_fadvise(self.fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self) -> None:
        """Close; that the mount has gone meanwhile is for the test to notice."""
        with contextlib.suppress(OSError):  # the descriptor is closed all the same
            os.close(self.fd)
