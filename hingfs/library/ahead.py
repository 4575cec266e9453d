"""The threads that look names up before anybody asks for them.

Decides how many look-ups ahead run at once. Leaves to `walk` which names are worth it.
What is ahead never queues, so a name that somebody wants never waits behind it: it joins
what is under way, or is asked for on a thread of `lookups`.

Threads: a pool of daemons, `hingfs-ahead`. Any thread may call any method.
"""

import contextlib
import threading
from collections.abc import Callable

from ..errors import HingError, TransportError
from ..flights import SingleFlight
from ..workers import DaemonPool

# As many requests for HEAD, and for a status, as were made at once before (2026-11-22).
AHEAD_THREADS = 8

# The id that is next and what to do about it; None where there is none.
NextJob = Callable[[], tuple[str, Callable[[], object]] | None]


class Ahead:
    """Look-ups that nobody waits for, a few at a time. Thread safety: all methods.

    *names* has the look-ups that are under way, wanted or not.
    """

    def __init__(self, names: SingleFlight) -> None:
        self._names = names
        self._threads = DaemonPool("hingfs-ahead", AHEAD_THREADS)
        self._lock = threading.Lock()
        self._running = 0  # at most AHEAD_THREADS; guarded by _lock

    def go(self, next_job: NextJob) -> None:
        """Have the jobs that *next_job* gives done, as far as threads are free.

        Each thread that is done goes on with the next. Nobody waits for them.
        """
        while self._claim():
            following = next_job()
            if following is None:
                self._release()
                return
            self._start(*following, next_job)

    def _start(
        self, video_id: str, job: Callable[[], object], next_job: NextJob
    ) -> None:
        """Use the thread that was claimed, or give it back."""

        def run() -> object:
            try:
                return job()
            finally:
                self._release()
                self.go(next_job)

        begun = False
        with contextlib.suppress(TransportError):  # no thread for it
            begun = self._names.begin(video_id, self._threads, run)
        if not begun:
            self._release()

    def _claim(self) -> bool:
        with self._lock:
            free = self._running < AHEAD_THREADS
            self._running += free
        return free

    def _release(self) -> None:
        with self._lock:
            self._running -= 1

    def close(self, error: HingError) -> None:
        """Wake everybody who joined what was ahead, with *error*."""
        self._threads.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._threads.join(seconds)
