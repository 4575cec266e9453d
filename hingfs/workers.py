"""Daemon threads that run short jobs and report through futures; `start` starts any.

concurrent.futures.ThreadPoolExecutor joins its threads at interpreter exit, so one
request stalled in a name lookup would keep an unmounted process alive.
These threads are daemons: nobody has to wait for them, and `close` wakes whoever waits
for their results and ends those that are idle.
"""

import contextlib
import logging
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from typing import Any, Protocol, TypeVar

from .errors import TransportError

log = logging.getLogger(__name__)

Result = TypeVar("Result")

# Jobs that wait for long, each on a thread that is idle meanwhile. A guess.
_MOST_LENT = 56


def start(thread: threading.Thread) -> None:
    """Start *thread*. Raises TransportError, told in the log, if the system has none.

    It may have none left for this process, for a while or for good.
    """
    try:
        thread.start()
    except RuntimeError as error:
        log.warning("no thread can be started for %s: %s", thread.name, error)
        raise TransportError(f"no thread can be started: {error}") from error


class Joinable(Protocol):
    """What has threads that end after it was closed."""

    def join(self, seconds: float) -> bool:
        """Whether they have ended within *seconds*."""


def all_joined(owners: Sequence[Joinable], seconds: float) -> bool:
    """Whether the threads of all *owners* have ended within *seconds*."""
    deadline = time.monotonic() + seconds
    return all(owner.join(max(0.0, deadline - time.monotonic())) for owner in owners)


def joined(threads: Sequence[threading.Thread], seconds: float) -> bool:
    """Whether all *threads* have ended within *seconds*."""
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return not any(thread.is_alive() for thread in threads)


class DaemonPool:
    """At most *size* threads named *name*-N, started when there is work for them.

    Thread safety: every method may be called from any thread. `_lock` guards the
    threads and the set of unfinished futures; jobs run without it.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None
        ] = queue.SimpleQueue()  # None ends a thread
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []  # guarded by _lock
        self._unfinished: set[Future[Any]] = set()  # guarded by _lock
        self._lent = 0  # jobs that others need not wait for; guarded by _lock
        self._closed: Exception | None = None  # guarded by _lock

    def submit(self, job: Callable[..., Result], *args: object) -> Future[Result]:
        """A future of `job(*args)`, which runs as soon as a thread is free.

        Raises TransportError if there is no thread, and the system gives none.
        """
        future: Future[Result] = Future()
        self.start(future, job, *args)
        return future

    def start(
        self, future: Future[Any], job: Callable[..., Any], *args: object
    ) -> None:
        """As `submit`, with a *future* that others may wait for already."""
        with self._lock:
            closed = self._closed
            if closed is None:
                self._unfinished.add(future)
                thread = self._one_more_locked()
        if closed is not None:
            future.set_exception(closed)
            return
        self._jobs.put((future, job, args))
        if thread is not None:
            self._start(thread, future)

    def lend(self, future: Future[Any]) -> None:
        """*future*'s job waits for long: another thread does its work until it is done.

        At most `_MOST_LENT` at a time; beyond, jobs wait for each other.
        """
        with self._lock:
            if future not in self._unfinished or self._lent >= _MOST_LENT:
                return
            self._lent += 1
            thread = self._one_more_locked()
        future.add_done_callback(self._take_back)
        if thread is not None:
            with contextlib.suppress(TransportError):  # the others do it in turn
                self._start(thread, future)

    def _take_back(self, _future: Future[Any]) -> None:
        with self._lock:
            self._lent -= 1

    def _one_more_locked(self) -> threading.Thread | None:
        """A thread that is to be started, where there is work for one more."""
        most = self._size + self._lent
        if not len(self._unfinished) > len(self._threads) < most:
            return None
        name = f"{self._name}-{len(self._threads) + 1}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._threads.append(thread)
        return thread

    def _start(self, thread: threading.Thread, future: Future[Any]) -> None:
        """One more thread; where the system has none left, the others must do."""
        try:
            start(thread)
        except TransportError as refusal:
            with self._lock:
                self._threads.remove(thread)
                alone = not self._threads
            if alone:  # nobody would run the job
                self._forget(future)
                with contextlib.suppress(InvalidStateError):  # close() was first
                    future.set_exception(refusal)  # a later thread passes it over
                raise

    def close(self, error: Exception) -> None:
        """Fail every unfinished future with *error*, and later submissions too.

        Jobs under way are not interrupted; what they return is dropped, and their
        threads end after them.
        """
        with self._lock:
            self._closed = error
            unfinished = list(self._unfinished)
            self._unfinished.clear()
            for _ in self._threads:
                self._jobs.put(None)
        for future in unfinished:
            with contextlib.suppress(InvalidStateError):  # it finished just now
                future.set_exception(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        with self._lock:
            threads = list(self._threads)
        return joined(threads, seconds)

    def _run(self) -> None:
        while (queued := self._jobs.get()) is not None:
            self._perform(*queued)
            del queued  # an idle thread keeps nothing alive

    def _perform(
        self, future: Future[Any], job: Callable[..., Any], args: tuple[Any, ...]
    ) -> None:
        if future.done():  # close() failed it while it was queued
            return
        try:
            result = job(*args)
        except BaseException as error:  # noqa: BLE001 - a worker's job boundary
            self._forget(future)
            with contextlib.suppress(InvalidStateError):  # close() was first
                future.set_exception(error)
        else:
            self._forget(future)
            with contextlib.suppress(InvalidStateError):
                future.set_result(result)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished.discard(future)
