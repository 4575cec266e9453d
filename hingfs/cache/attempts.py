"""Uses of the disk that somebody waits for, who can leave them behind.

A call that hangs in the kernel cannot be taken back: NFS without a server, a disk that
does not answer. So it is made on a thread of its own, and its caller goes on without the
disk after HESITATION_SECONDS. Leaves to `health` whether the disk is used meanwhile.

Threads: at most MOST_THREADS, `hingfs-disk-read-N`. Any thread may call any method.
"""

import errno
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

from ..errors import TransportError
from ..workers import DaemonPool
from . import health

Result = TypeVar("Result")

# As many calls may hang before others wait for a thread, and give up. With 64, opens at
# once kept 26 threads more (scripts/soak, 2026-11-27). A guess.
MOST_THREADS = 16


class Attempts:
    """Uses of the disk that *state* watches. Thread safety: all methods."""

    def __init__(self, state: health.Health) -> None:
        self._health = state
        self._pool = DaemonPool("hingfs-disk-read", MOST_THREADS)

    def make(
        self, job: Callable[[], Result], left: Callable[[Result], object] | None = None
    ) -> Result:
        """The result of *job*; raises what it raises, and OSError if the disk hangs.

        *left* takes a result that comes after its caller has gone on.
        """
        self._health.demand(reading=True)
        future: Future[Result] = Future()
        try:
            self._pool.start(future, self._perform, job, future, left)
        except TransportError:  # which is logged: then the caller waits himself
            return self._watched(job)
        try:
            # A call costs 16 µs more than on the caller's thread (2 cores, 2026-11-27).
            return future.result(health.HESITATION_SECONDS)
        except TimeoutError:
            if left is not None:
                future.add_done_callback(partial(_hand_over, left))
            raise
        finally:
            del future  # an error of the job holds this frame: see `DaemonPool`

    def close(self) -> None:
        """End the waits of all callers, and the threads that do not hang."""
        self._pool.close(BlockingIOError(errno.EAGAIN, "the cache is closed"))

    def join(self, seconds: float) -> bool:
        """Whether the threads have ended within *seconds*."""
        return self._pool.join(seconds)

    def _perform(
        self,
        job: Callable[[], Result],
        future: Future[Result],
        left: Callable[[Result], object] | None,
    ) -> Result:
        try:
            result = self._watched(job)
        except BaseException:
            del future  # as in `make`
            raise
        if left is not None and future.done():  # by `close`, and drops the result
            left(result)
        return result

    def _watched(self, job: Callable[[], Result]) -> Result:
        with self._health.operation(reading=True):
            return job()


def _hand_over(left: Callable[[Result], object], future: Future[Result]) -> None:
    if future.exception() is None:
        left(future.result())
