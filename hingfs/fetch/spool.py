"""The bytes of one file that comes whole, while they arrive and are read.

The *frontier* is the count of bytes that have arrived: a read before it returns at
once, a read beyond it waits. Decides when a spool is in use, and when a failed download
may be tried again. Leaves to `stream` where the bytes come from, to `storage` where they
lie, and to `room` how long they are kept.

Threads: none of its own. The stream's thread appends, and readers wait.
"""

import threading
import time
from collections.abc import Callable

from ..api.whole import Extent
from ..content import Content
from ..errors import (
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    TransportError,
)
from ..http.patience import FAILURE_MEMORY_SECONDS
from .storage import SharedStorage, Storage

# A program that has not read to the end reads on within this time: a player asks its
# kernel for the next half megabyte each second. A guess.
IN_USE_SECONDS = 3.0


class Spool:
    """The bytes of one content, which arrive in order.

    Thread safety: all methods; one thread alone appends.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        # What answers said of the length; for the thread of the stream alone.
        self.extent = Extent(content.size_bytes)
        # Both are written without the lock, in one assignment each.
        self.used_at = time.monotonic()
        self._read_to_end = False  # by its last reader, who will ask for no more
        self._storage = SharedStorage()
        # Guards all below. It is not held during I/O: the stream appends behind the
        # frontier, and readers stay before it.
        self._arrived = threading.Condition()
        self._frontier = 0
        self._complete = False
        self._error: HingError | None = None
        self._failed_at = 0.0

    def hold(self, storage: Storage) -> None:
        """Keep the bytes in *storage*, and close it in the end.

        If the spool was given up meanwhile, closes *storage* and raises its error.
        """
        if not self._storage.hold(storage):
            error = self.error
            assert error is not None, "a spool given up without a byte has failed"
            raise error.again()

    def read_into(self, target: memoryview, offset: int, deadline: float) -> None:
        """Fill *target* from *offset*; all of it lies inside the file.

        Raises DeadlineExceeded at *deadline* (monotonic), or the error of the stream.
        """
        with self._storage.used():  # while it waits, too: or the room gives it up
            self._wait(lambda: self._frontier >= offset + len(target), deadline)
            self._storage.read_into(target, offset)
            # Without the lock: both only ever grow.
            self._read_to_end = (
                self._complete and offset + len(target) == self._frontier
            )
        self.used_at = time.monotonic()

    def wait_complete(self, deadline: float) -> int:
        """Wait for the whole file; returns its size in bytes. Raises as `read_into`."""
        self._wait(lambda: self._complete, deadline)
        self._read_to_end = True
        return self._frontier

    def touch(self) -> None:
        """A reader is about to come: the spool is in use from here on."""
        self.used_at = time.monotonic()
        self._read_to_end = False

    @property
    def frontier(self) -> int:
        """How many bytes have arrived."""
        with self._arrived:
            return self._frontier

    @property
    def in_use(self) -> bool:
        """Whether it is being filled or read, or is likely to be read on soon."""
        if self._storage.is_used:
            return True
        with self._arrived:
            if not self._complete:
                return self._error is None
            age = time.monotonic() - self.used_at
            return age < IN_USE_SECONDS and not self._read_to_end

    @property
    def error(self) -> HingError | None:
        """The error that ended the stream; None while it runs, or once it is complete."""
        with self._arrived:
            return self._error

    def resume(self) -> bool:
        """Forget the error of the stream, if a new stream may succeed.

        Returns whether it did. A refusal by the server is believed for a moment; trouble
        on the way to it is not.
        """
        with self._arrived:
            age = time.monotonic() - self._failed_at
            passing = isinstance(self._error, TransportError) or (
                self._error is not None
                and not isinstance(self._error, ContentChanged)
                and age >= FAILURE_MEMORY_SECONDS
            )
            if passing:
                self._error = None
            return passing

    def append(self, data: bytes) -> None:
        """Put *data* behind the frontier; for the stream's thread only."""
        with self._arrived:
            frontier = self._frontier
        with self._storage.used():
            self._storage.write(frontier, data)
        with self._arrived:
            self._frontier += len(data)
            self._arrived.notify_all()

    def peek(self, offset: int, count: int) -> bytes:
        """Up to *count* bytes from *offset* on, as many as have arrived."""
        held = bytearray(max(0, min(count, self.frontier - offset)))
        with self._storage.used():
            if held:  # before the first byte there may be no storage
                self._storage.read_into(memoryview(held), offset)
        return bytes(held)

    def agrees(self, data: bytes, offset: int) -> bool:
        """Whether *data* equals the bytes held at *offset*."""
        return self.peek(offset, len(data)) == data

    def finish(self) -> None:
        """The whole file has arrived."""
        with self._arrived:
            self._complete = True
            self._arrived.notify_all()

    def fail(self, error: HingError) -> None:
        """No more bytes will come; reads before the frontier still succeed."""
        with self._arrived:
            if not self._complete and self._error is None:
                # Without its frames, which would keep the stream and its answer.
                self._error = error.again()
                self._failed_at = time.monotonic()
            self._arrived.notify_all()

    def close(self) -> None:
        """Give the bytes up; readers that wait get an error."""
        self.fail(BodyCut("the spooled copy was given up to make room"))
        self._storage.give_up()

    def wait_gone(self, seconds: float) -> bool:
        """Wait *seconds* at most, after `close`; returns whether the storage is closed."""
        return self._storage.wait_closed(seconds)

    def _wait(self, there: Callable[[], bool], deadline: float) -> None:
        with self._arrived:
            while not there():
                if self._error is not None:
                    raise self._error.again()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(
                        "the download did not reach that far in time"
                    )
                self._arrived.wait(left)
