"""The bytes of one file that comes whole, while they arrive and are read.

What is behind the frontier is read at once; a read ahead of it waits. Decides when a
spool counts as in use, and when what ended its download is asked about again. Leaves
to `stream` where the bytes come from, to `storage` where they lie, and to `room` how
long they are kept.

It has no thread: the stream's thread appends, those of its readers wait.
"""

import threading
import time
from collections.abc import Callable

from ..api.whole import Extent
from ..errors import (
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    TransportError,
)
from ..version import Content
from .storage import SharedStorage, Storage

# A refusal is not asked about again for so long, as in `landings`.
FAILURE_MEMORY_SECONDS = 1.5
# Who reads a file comes back within this time, unless it was the end: a player asks
# its kernel for the next half megabyte each second. A guess.
_IN_USE_SECONDS = 3.0


class Spool:
    """The bytes of one content, arriving in order.

    Thread safety: all methods, but that one thread alone appends. The condition
    `_arrived` guards the fields below it, and is not held during I/O: the one writer
    appends behind the frontier, readers stay before it.
    """

    def __init__(self, content: Content) -> None:
        self.content = content
        # What its answers said of its length; for the thread of its stream alone.
        self.extent = Extent(content.size_bytes)
        # Both are written without the lock, in one assignment each.
        self.used_at = time.monotonic()
        self._left = False  # who used it last has no more to ask
        self._storage = SharedStorage()
        self._arrived = threading.Condition()
        self._frontier = 0
        self._complete = False
        self._error: HingError | None = None
        self._failed_at = 0.0

    def hold(self, storage: Storage) -> None:
        """Keep the bytes in *storage*, which is closed in the end, or at once.

        Raises what ended it where it was given up meanwhile.
        """
        if not self._storage.hold(storage):
            error = self.error
            assert error is not None, "what is given up without a byte has failed"
            raise error.again()

    def read_into(self, target: memoryview, offset: int, deadline: float) -> None:
        """Fill *target* from *offset*; both lie inside the file.

        Raises DeadlineExceeded at *deadline* (monotonic), or what the stream met.
        """
        with self._storage.used():  # while it waits, too: or it could be given up
            self._wait(lambda: self._frontier >= offset + len(target), deadline)
            self._storage.read_into(target, offset)
            self._left = self._complete and offset + len(target) == self._frontier
        self.used_at = time.monotonic()

    def wait_complete(self, deadline: float) -> int:
        """The size in bytes, once all of it has arrived. Raises as `read_into`."""
        self._wait(lambda: self._complete, deadline)
        self._left = True
        return self._frontier

    def touch(self) -> None:
        """It will be read: it is in use from here on."""
        self.used_at = time.monotonic()
        self._left = False

    @property
    def frontier(self) -> int:
        """How many bytes have arrived."""
        with self._arrived:
            return self._frontier

    @property
    def in_use(self) -> bool:
        """Whether it is being filled or read, or more of it may be read soon."""
        if self._storage.is_used:
            return True
        with self._arrived:
            if not self._complete:
                return self._error is None
            age = time.monotonic() - self.used_at
            return age < _IN_USE_SECONDS and not self._left

    @property
    def error(self) -> HingError | None:
        """What ended the stream for good, None while it is alive or complete."""
        with self._arrived:
            return self._error

    def resume(self) -> bool:
        """Forget an error that ended the stream, if a new one may not meet it.

        Returns whether it did. What the server said is believed for a moment; trouble
        on the way is not.
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
        """The bytes from *offset* on, fewer where fewer have arrived."""
        held = bytearray(max(0, min(count, self.frontier - offset)))
        with self._storage.used():
            if held:  # before the first byte there may be no storage
                self._storage.read_into(memoryview(held), offset)
        return bytes(held)

    def agrees(self, data: bytes, offset: int) -> bool:
        """Whether *data* is what already stands at *offset*."""
        return self.peek(offset, len(data)) == data

    def finish(self) -> None:
        """All of it is there."""
        with self._arrived:
            self._complete = True
            self._arrived.notify_all()

    def fail(self, error: HingError) -> None:
        """Nothing more will come; reads behind the frontier still succeed."""
        with self._arrived:
            if not self._complete and self._error is None:
                self._error = error
                self._failed_at = time.monotonic()
            self._arrived.notify_all()

    def close(self) -> None:
        """Give up the bytes; waiters get an error."""
        self.fail(BodyCut("the spooled copy was given up to make room"))
        self._storage.give_up()

    def wait_gone(self, seconds: float) -> bool:
        """Whether its bytes are off the disk within *seconds*, after `close`."""
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
