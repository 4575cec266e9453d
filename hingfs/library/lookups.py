"""Which thread asks for a name, and how long its callers wait.

A name that hangs must delay nobody else. So names that programs ask for, names that
are asked for ahead of them, and the list have threads of their own; what is ahead
never queues, so a name that somebody wants never waits behind it; and once the API
counts requests it gives way, and is asked for again if somebody had come to wait for it.
Leaves to `catalog` what is asked, and what becomes of the answers.

A job that outlasts its callers goes on, and who comes again joins it: they are told
VideoNotReady if the server answered anything meanwhile, DeadlineExceeded if not. Where
the kernel looks up one name at a time in a directory, a name that hangs would hold up
all others there, and `ls`; so its callers are sent away as soon as the server has been
silent about it for a while and answers others.

Threads: pools of daemons, `hingfs-name`, `hingfs-ahead` and `hingfs-list`. Any thread
may call any method; `_lock` guards the tables and is never held while anything waits.
"""

import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from functools import partial
from typing import Protocol, TypeVar

from ..errors import (
    DeadlineExceeded,
    GivenWay,
    HingError,
    TransportError,
    VideoNotReady,
)
from ..workers import DaemonPool, all_joined

# More than programs ask for at once where all is well, so that one is left for the next
# name whatever the others do. They are started when there is work.
LOOKUP_THREADS = 64
# As many requests for HEAD, and for a status, as were made at once before (2026-11-22).
AHEAD_THREADS = 8
_LIST_THREADS = 2  # the list, and the look at its newest part: each once at a time

# How long the server may be silent about one name while others in its directory wait. A
# server that is well answers in a second; one that takes longer for each first byte,
# some 20 to 60 s, takes too long for this bound as for any other. A guess.
SILENCE_SECONDS = 5.0
# The evidence is on its way: look again soon.
_LOOK_AGAIN_SECONDS = 0.2
# Whoever asks for what another has waited for in vain waits for this long: in the
# meantime the kernel may ask for no other name. A guess.
_OUTLASTED_SECONDS = 1.0

Result = TypeVar("Result")
Job = Callable[[], Result]
# The id that is next and what to do about it; None where there is none.
NextJob = Callable[[], tuple[str, Job[object]] | None]


class Ear(Protocol):
    """What the server is heard to say, and about what not. A `Breaker` is one."""

    def silence_about(self, about: str) -> float:
        """Seconds for which the oldest request about *about* has had no answer."""

    def answered_since(self, when: float) -> bool:
        """Whether the API has answered anything since *when* (monotonic)."""


@dataclass(slots=True)
class _UnderWay:
    """What is done for all who want it. Guarded by the lock of Lookups."""

    future: Future[object]
    started_at: float  # monotonic; no request for it was sent before
    outlasted: bool = False  # whoever waited first has given up


class Lookups:
    """Jobs about names, each run once for all who want the same at the same time.

    *ear* tells what the server says; *silence_seconds* is the bound above, infinite
    where the kernel looks up names side by side.
    """

    def __init__(self, ear: Ear, silence_seconds: float) -> None:
        self._ear = ear
        self._silence_seconds = silence_seconds
        self._wanted = DaemonPool("hingfs-name", LOOKUP_THREADS)
        self._ahead = DaemonPool("hingfs-ahead", AHEAD_THREADS)
        self._lists = DaemonPool("hingfs-list", _LIST_THREADS)
        self._lock = threading.Lock()
        # (what, id) -> what is under way; guarded by _lock
        self._under_way: dict[tuple[str, str], _UnderWay] = {}
        self._running_ahead = 0  # guarded by _lock

    def result(
        self, what: str, video_id: str, deadline: float, job: Job[Result]
    ) -> Result:
        """What *job*, which does *what* about *video_id*, gives; shared if under way.

        Raises what it raises, and DeadlineExceeded at *deadline* (monotonic seconds).
        """
        return _wanted(partial(self._result, what, video_id, deadline, job))

    def _result(
        self, what: str, video_id: str, deadline: float, job: Job[Result]
    ) -> Result:
        pool = self._wanted if video_id else self._lists
        job_under_way = self._started(pool, (what, video_id), job)
        until = self._patience(job_under_way, deadline)
        wait([job_under_way.future], until - time.monotonic())
        if not job_under_way.future.done():
            self._outlast(job_under_way)
            raise DeadlineExceeded("the server did not answer in time")
        return _outcome(job_under_way.future)

    def answer(
        self,
        what: str,
        video_id: str,
        deadline: float,
        job: Job[Result],
        ask: Job[None],
    ) -> Result:
        """As `result`, for callers that hold up others: VideoNotReady if it hangs.

        *ask* asks the server for something else; its answer shows that it is there.
        """
        return _wanted(partial(self._answer, what, video_id, deadline, job, ask))

    def _answer(
        self,
        what: str,
        video_id: str,
        deadline: float,
        job: Job[Result],
        ask: Job[None],
    ) -> Result:
        job_under_way = self._started(self._wanted, (what, video_id), job)
        self._await(job_under_way, video_id, deadline, ask)
        if job_under_way.future.done():
            return _outcome(job_under_way.future)
        self._outlast(job_under_way)
        if self._ear.answered_since(job_under_way.started_at):
            raise VideoNotReady(
                "the server answers others and has not begun to send it; it is waited for"
            )
        raise DeadlineExceeded("the server did not answer in time")

    def _await(
        self, job: _UnderWay, video_id: str, deadline: float, ask: Job[None]
    ) -> None:
        """Return when *job* is done, or nobody should wait for it any longer."""
        most, until = self._silence_seconds, self._patience(job, deadline)
        while not job.future.done() and (left := until - time.monotonic()) > 0:
            silence = self._ear.silence_about(video_id)
            heard = self._ear.answered_since(time.monotonic() - silence)
            if silence >= most and heard:
                return
            if silence >= most / 2 and not heard:
                self.start("ask", ask)
            following = most / 2 if silence < most / 2 else most
            wait([job.future], min(left, max(following - silence, _LOOK_AGAIN_SECONDS)))

    def _patience(self, job: _UnderWay, deadline: float) -> float:
        """Until when a caller waits for *job*, in monotonic seconds."""
        if job.outlasted:
            return min(deadline, time.monotonic() + _OUTLASTED_SECONDS)
        return deadline

    def _outlast(self, job: _UnderWay) -> None:
        """Callers of *job* have gone; its thread is not missed by others."""
        with self._lock:
            first, job.outlasted = not job.outlasted, True
        if first:
            self._wanted.lend(job.future)

    def start(self, what: str, job: Job[object]) -> None:
        """Have *job*, which is about the list, done unless it is; nobody waits for it."""
        with contextlib.suppress(TransportError):  # no thread for it
            self._started(self._lists, (what, ""), job)

    def go_ahead(self, what: str, next_job: NextJob) -> None:
        """Have the jobs that *next_job* gives done, as far as threads are free.

        Each thread that is done goes on with the next. Nobody waits for them.
        """
        while self._claim_ahead():
            following = next_job()
            if following is None:
                self._release_ahead()
                return
            video_id, job = following
            self._start_ahead((what, video_id), job, next_job)

    def _start_ahead(
        self, key: tuple[str, str], job: Job[object], next_job: NextJob
    ) -> None:
        """Use the thread that was claimed, or give it back."""

        def run() -> object:
            try:
                return job()
            finally:
                self._release_ahead()
                self.go_ahead(key[0], next_job)

        with self._lock:
            if key not in self._under_way:
                with contextlib.suppress(TransportError):  # no thread for it
                    self._begin_locked(self._ahead, key, run)
                    return
        self._release_ahead()

    def _claim_ahead(self) -> bool:
        with self._lock:
            free = self._running_ahead < AHEAD_THREADS
            self._running_ahead += free
        return free

    def _release_ahead(self) -> None:
        with self._lock:
            self._running_ahead -= 1

    def close(self, error: HingError) -> None:
        """Wake everybody who waits, with *error*."""
        for pool in (self._wanted, self._ahead, self._lists):
            pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return all_joined((self._wanted, self._ahead, self._lists), seconds)

    def _started(
        self, pool: DaemonPool, key: tuple[str, str], job: Job[object]
    ) -> _UnderWay:
        with self._lock:
            return self._under_way.get(key) or self._begin_locked(pool, key, job)

    def _begin_locked(
        self, pool: DaemonPool, key: tuple[str, str], job: Job[object]
    ) -> _UnderWay:
        started_at = time.monotonic()  # before the first request, which may be at once
        future: Future[object] = pool.submit(self._run, key, job)
        self._under_way[key] = _UnderWay(future, started_at)
        return self._under_way[key]

    def _run(self, key: tuple[str, str], job: Job[Result]) -> Result:
        try:
            return job()
        finally:
            with self._lock:
                self._under_way.pop(key, None)


def _wanted(wait: Job[Result]) -> Result:
    """What *wait* gives to a caller, who may have joined what was asked ahead of it.

    Where that gave way, for nobody waited for it when it began, it is asked once more.
    """
    try:
        return wait()
    except GivenWay:
        return wait()


def _outcome(future: Future[object]) -> Result:  # type: ignore[type-var]
    """What *future*, which is done, gives or raises."""
    try:
        return future.result()  # type: ignore[return-value]
    except HingError as error:
        raise error.again() from error
