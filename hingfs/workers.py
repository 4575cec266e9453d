"""Daemon threads that run short jobs and report through futures.

concurrent.futures.ThreadPoolExecutor joins its threads at interpreter exit, so one
request stalled in a name lookup would keep an unmounted process alive.
These threads are daemons: nobody waits for them, and `close` wakes whoever waits
for their results.
"""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from typing import Any, TypeVar

from .errors import TransportError

log = logging.getLogger(__name__)

Result = TypeVar("Result")


class DaemonPool:
    """At most *size* threads named *name*-N, started when there is work for them.

    Thread safety: every method may be called from any thread. `_lock` guards the
    counters and the set of unfinished futures; jobs run without it.
    """

    def __init__(self, name: str, size: int) -> None:
        self._name = name
        self._size = size
        self._jobs: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]
        ] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0  # guarded by _lock
        self._unfinished: set[Future[Any]] = set()  # guarded by _lock
        self._closed: Exception | None = None  # guarded by _lock

    def submit(self, job: Callable[..., Result], *args: object) -> Future[Result]:
        """A future of `job(*args)`, which runs as soon as a thread is free.

        Raises TransportError if there is no thread, and the system gives none.
        """
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                future.set_exception(self._closed)
                return future
            self._unfinished.add(future)
            start = len(self._unfinished) > self._threads < self._size
            if start:
                self._threads += 1
                number = self._threads
        self._jobs.put((future, job, args))
        if start:
            self._start(number, future)
        return future

    def _start(self, number: int, future: Future[Any]) -> None:
        """One more thread; where the system has none left, the others must do."""
        name = f"{self._name}-{number}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError as error:
            with self._lock:
                self._threads -= 1
                alone = self._threads == 0
            log.warning("%s: %s", name, error)
            if alone:  # nobody would run the job
                refusal = TransportError(f"no thread can be started: {error}")
                self._forget(future)
                with contextlib.suppress(InvalidStateError):  # close() was first
                    future.set_exception(refusal)  # a later thread passes it over
                raise refusal from error

    def close(self, error: Exception) -> None:
        """Fail every unfinished future with *error*, and later submissions too.

        Jobs under way are not interrupted; what they return is dropped.
        """
        with self._lock:
            self._closed = error
            unfinished = list(self._unfinished)
            self._unfinished.clear()
        for future in unfinished:
            with contextlib.suppress(InvalidStateError):  # it finished just now
                future.set_exception(error)

    def _run(self) -> None:
        while True:
            future, job, args = self._jobs.get()
            self._perform(future, job, args)
            del future, job, args  # an idle thread keeps nothing alive

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
