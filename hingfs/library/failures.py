"""Reads that failed a moment ago, and how long the next ones may take.

The kernel asks again, page by page, for what a failed read was to bring, while the
program waits in the same call. So whoever asks again has no more time than was left.
Leaves to `landings` that what failed is not asked for again at once.

Threads: those of the readers, many at once.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..blocks import ByteRange
from ..errors import HingError
from ..fetch.landings import FAILURE_MEMORY_SECONDS


@dataclass(frozen=True, slots=True)
class _Failed:
    """A read that failed, and when it was out of time (monotonic)."""

    span: ByteRange
    deadline: float
    forget_at: float


class FailedReads:
    """The reads of one file that failed lately. Thread safety: all methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # Replaced under _lock, never changed, so it may be read without.
        self._failed: tuple[_Failed, ...] = ()

    @contextlib.contextmanager
    def trying(self, span: ByteRange, latest: float) -> Iterator[float]:
        """A read of *span* in this block; gives its deadline, which is *latest* or less.

        If it fails, that is remembered for a moment, unless it repeats one that did.
        """
        failed = self._just_failed(span)
        deadline = min(latest, failed.deadline) if failed else latest
        try:
            yield deadline
        except HingError:
            if failed is None:
                self._note(span, deadline)
            raise

    def _just_failed(self, span: ByteRange) -> _Failed | None:
        """The read that failed a moment ago and was to bring some of *span*."""
        now = time.monotonic()
        for failed in self._failed:
            again = failed.span.start < span.stop and span.start < failed.span.stop
            if again and now < failed.forget_at:
                return failed
        return None

    def _note(self, span: ByteRange, deadline: float) -> None:
        now = time.monotonic()
        failed = _Failed(span, deadline, now + FAILURE_MEMORY_SECONDS)
        with self._lock:
            recent = [known for known in self._failed if now < known.forget_at]
            self._failed = (*recent, failed)
