"""Reads that failed a moment ago, and how long the next ones may take.

After a failed read the kernel asks again for the same bytes, page by page, while the
program waits in one call. Decides that such a repeated read ends at the deadline of the
failed one. Leaves to `landings` that a block that failed is not requested again at once.

Threads: those of the readers, many at once.
"""

import threading
import time
from dataclasses import dataclass

from ..blocks import ByteRange
from ..http.patience import FAILURE_MEMORY_SECONDS


@dataclass(frozen=True, slots=True)
class FailedRead:
    """A read that failed. Times are monotonic."""

    span: ByteRange
    deadline: float
    forget_at: float


class FailedReads:
    """The reads of one file that failed in the last *memory_seconds*.

    Thread safety: all methods.
    """

    def __init__(self, memory_seconds: float = FAILURE_MEMORY_SECONDS) -> None:
        self._memory_seconds = memory_seconds
        self._lock = threading.Lock()  # guards writes to the field below
        # Replaced, never changed, so it may be read without the lock.
        self._failed: tuple[FailedRead, ...] = ()

    def recent(self, span: ByteRange) -> FailedRead | None:
        """A read of some of *span* that failed a moment ago, if there is one."""
        now = time.monotonic()
        for failed in self._failed:
            again = failed.span.start < span.stop and span.start < failed.span.stop
            if again and now < failed.forget_at:
                return failed
        return None

    def remember(self, span: ByteRange, deadline: float) -> None:
        """A read of *span*, which repeated no failed one, failed; it had until *deadline*."""
        now = time.monotonic()
        failed = FailedRead(span, deadline, now + self._memory_seconds)
        with self._lock:
            recent = [known for known in self._failed if now < known.forget_at]
            self._failed = (*recent, failed)
