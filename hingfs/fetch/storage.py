"""Where the bytes of a spool lie: in memory, or in a file that has no name.

Decides when the memory or the file is closed. Leaves to its owner which of the two it
is, how much room there is, and which bytes are written where.

Threads: none of its own.
"""

import contextlib
import mmap
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from ..errors import BodyCut


class Storage(Protocol):
    """Bytes by offset. Thread safety: many may read the bytes that one has written."""

    def write(self, offset: int, data: bytes) -> None:
        """Put all of *data* at *offset*; raises OSError."""

    def read_into(self, target: memoryview, offset: int) -> None:
        """Fill *target* from *offset* with bytes that were written; raises OSError."""

    def close(self) -> None:
        """Give the memory or the file back; no method may be called afterwards."""


class Memory(Storage):
    """Bytes of known length in memory; `close` gives them back to the system at once."""

    def __init__(self, size_bytes: int) -> None:
        self._bytes = mmap.mmap(-1, max(1, size_bytes))

    def write(self, offset: int, data: bytes) -> None:
        """See `Storage`."""
        self._bytes[offset : offset + len(data)] = data

    def read_into(self, target: memoryview, offset: int) -> None:
        """See `Storage`."""
        with memoryview(self._bytes) as held:
            target[:] = held[offset : offset + len(target)]

    def close(self) -> None:
        """See `Storage`."""
        self._bytes.close()


class File(Storage):
    """Bytes in a file without a name, so that a crash leaves none behind."""

    def __init__(self, directory: Path | None) -> None:
        self._file = tempfile.TemporaryFile(prefix="hingfs-", dir=directory)  # noqa: SIM115

    def write(self, offset: int, data: bytes) -> None:
        """See `Storage`."""
        view = memoryview(data)
        while view:
            written = os.pwrite(self._file.fileno(), view, offset)
            view, offset = view[written:], offset + written

    def read_into(self, target: memoryview, offset: int) -> None:
        """See `Storage`."""
        while target:
            count = os.preadv(self._file.fileno(), [target], offset)
            if count == 0:
                raise OSError("the spool file is shorter than what was written to it")
            target, offset = target[count:], offset + count

    def close(self) -> None:
        """See `Storage`."""
        self._file.close()


class SharedStorage:
    """One storage that several threads use; the last user closes it.

    Otherwise a thread could use a descriptor that another has just closed, and that is
    a third file's by then. Thread safety: all methods.
    """

    def __init__(self) -> None:
        # Guards all below; the storage itself is used and closed without it.
        self._lock = threading.Lock()
        self._storage: Storage | None = None  # set once, before any byte comes
        self._users = 0  # threads in `used`
        self._given_up = False  # turns True once; then no thread becomes a user
        self._closed = threading.Event()  # set once, after the storage was closed

    def hold(self, storage: Storage) -> bool:
        """Use *storage* from here on; after `give_up`, close it and return False."""
        with self._lock:
            if not self._given_up:
                self._storage = storage
                return True
        storage.close()
        return False

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """Keep the storage open meanwhile; raises BodyCut once it is given up."""
        with self._lock:
            if self._given_up:
                raise BodyCut("the spooled copy was given up to make room")
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def write(self, offset: int, data: bytes) -> None:
        """See `Storage`; only inside `used`."""
        self._held.write(offset, data)

    def read_into(self, target: memoryview, offset: int) -> None:
        """See `Storage`; only inside `used`."""
        self._held.read_into(target, offset)

    @property
    def is_used(self) -> bool:
        """Whether a thread is inside `used` now."""
        with self._lock:
            return self._users > 0

    def give_up(self) -> None:
        """Close the storage, or have its last user close it."""
        with self._lock:
            self._given_up = True
            idle = self._users == 0
        if idle:
            self._close()

    def wait_closed(self, seconds: float) -> bool:
        """Wait *seconds* at most, after `give_up`; returns whether it is closed."""
        return self._closed.wait(seconds)

    @property
    def _held(self) -> Storage:
        assert self._storage is not None, "no thread reads or writes before `hold`"
        return self._storage

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            last = self._given_up and self._users == 0
        if last:
            self._close()

    def _close(self) -> None:
        try:
            if self._storage is not None:
                self._storage.close()
        finally:
            self._closed.set()
