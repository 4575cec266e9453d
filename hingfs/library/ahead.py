"""The threads that look names up before a program asks for them.

Decides how many look-ups ahead run at once. Leaves to `walk` which names are worth it.
A look-up ahead never queues, so no program waits behind one: its own look-up joins the
one under way, or runs on a thread of `lookups`.

Threads: `hingfs-ahead-N` of a `DaemonPool`. Any thread may call any method.
"""

import contextlib
import threading
from collections.abc import Callable

from ..errors import HingError, TransportError
from ..flights import SingleFlight
from ..workers import DaemonPool

# The next id and the job that looks it up; None where there is none.
NextJob = Callable[[], tuple[str, Callable[[], object]] | None]


class Ahead:
    """Look-ups that no program waits for, *most* at a time. Thread safety: all methods.

    *names* has all look-ups under way, those of programs among them.
    """

    def __init__(self, names: SingleFlight, most: int) -> None:
        self._names = names
        self._most = most
        self._threads = DaemonPool("hingfs-ahead", most)
        self._lock = threading.Lock()
        self._running = 0  # at most _most; guarded by _lock

    def start(self, next_job: NextJob) -> None:
        """Start the jobs that *next_job* gives, as far as threads are free.

        Each thread that finishes a job asks *next_job* for another. Does not wait.
        """
        while self._claim_thread():
            following = next_job()
            if following is None:
                self._release_thread()
                return
            self._start_job(*following, next_job)

    def _start_job(
        self, video_id: str, job: Callable[[], object], next_job: NextJob
    ) -> None:
        """Run *job* on the thread that was claimed, or release the thread."""

        def run() -> object:
            try:
                return job()
            finally:
                self._release_thread()
                self.start(next_job)

        begun = False
        with contextlib.suppress(TransportError):  # no thread for it
            begun = self._names.begin(video_id, self._threads, run)
        if not begun:
            self._release_thread()

    def _claim_thread(self) -> bool:
        with self._lock:
            free = self._running < self._most
            self._running += free
        return free

    def _release_thread(self) -> None:
        with self._lock:
            self._running -= 1

    def close(self, error: HingError) -> None:
        """Wake all callers that joined a look-up ahead, with *error*."""
        self._threads.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._threads.join(seconds)
