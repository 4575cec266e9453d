"""Threads of our own: `Worker` is one, `DaemonPool` are several that run short jobs.

concurrent.futures.ThreadPoolExecutor joins its threads at interpreter exit, so one
request that hangs in a look-up of a host would keep an unmounted process alive. All
threads here are daemons, which the exit does not wait for.

Decides when a pool starts a thread, and whom `close` wakes. Leaves to its owner what the
jobs do, and how many threads there may be.
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

# Threads that may be started in place of those whose jobs wait for long. A guess.
MOST_LENT = 56


class Worker:
    """A daemon thread *name* that runs *job* with *args*, once it is started.

    An owner may show it to others before it starts it: `join` waits for both.
    Thread safety: all methods; `start` is called once.
    """

    def __init__(self, name: str, job: Callable[..., object], *args: object) -> None:
        self.name = name
        self._thread = threading.Thread(target=job, args=args, name=name, daemon=True)
        self._begun = threading.Event()  # it runs, or was refused

    def start(self) -> None:
        """Start it. Logs and raises TransportError if the system gives no thread.

        The system may have none left for this process, for a while or for good.
        """
        try:
            self._thread.start()
        except RuntimeError as error:
            log.warning("no thread can be started for %s: %s", self.name, error)
            raise TransportError(f"no thread can be started: {error}") from error
        finally:
            self._begun.set()

    def join(self, seconds: float) -> bool:
        """Whether it has ended, or was refused, within *seconds*."""
        deadline = time.monotonic() + seconds
        if not self._begun.wait(seconds):
            return False
        if self._thread.ident is not None:  # else it was refused
            self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


class Joinable(Protocol):
    """A thread, or an owner of threads that end after it was closed."""

    def join(self, seconds: float) -> bool:
        """Whether its threads have ended within *seconds*."""


def all_joined(owners: Sequence[Joinable], seconds: float) -> bool:
    """Whether the threads of all *owners* have ended within *seconds*."""
    deadline = time.monotonic() + seconds
    return all(owner.join(max(0.0, deadline - time.monotonic())) for owner in owners)


class DaemonPool:
    """At most *size* threads named *name*-N, started when there is work for them.

    At most *most_lent* more stand in for those whose jobs were lent: see `lend`.
    Thread safety: all methods.
    """

    def __init__(self, name: str, size: int, most_lent: int = MOST_LENT) -> None:
        self._name = name
        self._size = size
        self._most_lent = most_lent
        self._jobs: queue.SimpleQueue[
            tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None
        ] = queue.SimpleQueue()  # None ends a thread
        # Guards all below. Jobs run, and threads are started, without it.
        self._lock = threading.Lock()
        self._workers: list[Worker] = []
        self._unfinished: set[Future[Any]] = set()
        self._lent = 0  # jobs that others need not wait for
        self._closed: Exception | None = None

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
        """As `submit`, with a *future* for which callers may wait already."""
        with self._lock:
            closed = self._closed
            if closed is None:
                self._unfinished.add(future)
                worker = self._new_worker_locked()
                # Before the end of any thread: what comes after it is never taken.
                self._jobs.put((future, job, args))
        if closed is not None:
            future.set_exception(closed)
            return
        if worker is not None:
            self._start_worker(worker, future)

    def lend(self, future: Future[Any]) -> None:
        """The job of *future* waits for long: another thread may run until it is done.

        At most *most_lent* at a time; beyond, jobs wait for each other.
        """
        with self._lock:
            if future not in self._unfinished or self._lent >= self._most_lent:
                return
            self._lent += 1
            worker = self._new_worker_locked()
        future.add_done_callback(self._end_loan)
        if worker is not None:
            with contextlib.suppress(TransportError):  # the other threads must do
                self._start_worker(worker, future)

    def _end_loan(self, _future: Future[Any]) -> None:
        with self._lock:
            self._lent -= 1

    def _new_worker_locked(self) -> Worker | None:
        """A new thread, not started, if there is work for one more."""
        most = self._size + self._lent
        if not len(self._unfinished) > len(self._workers) < most:
            return None
        name = f"{self._name}-{len(self._workers) + 1}"
        worker = Worker(name, self._run)
        self._workers.append(worker)
        return worker

    def _start_worker(self, worker: Worker, future: Future[Any]) -> None:
        """Start *worker*; if the system gives none, the other threads must do.

        If there are no others, raises TransportError and fails *future* with it.
        """
        try:
            worker.start()
        except TransportError as refusal:
            with self._lock:
                self._workers.remove(worker)
                alone = not self._workers
            if alone:  # no thread would run the job
                self._forget(future)
                with contextlib.suppress(InvalidStateError):  # close() was first
                    future.set_exception(refusal)  # a later thread skips the job
                raise

    def close(self, error: Exception) -> None:
        """Fail every unfinished future with *error*, and later submissions too.

        Jobs under way are not interrupted. Their results are dropped, and their threads
        end after them.
        """
        with self._lock:
            self._closed = error
            unfinished = list(self._unfinished)
            self._unfinished.clear()
            for _ in self._workers:
                self._jobs.put(None)
        for future in unfinished:
            with contextlib.suppress(InvalidStateError):  # it finished just now
                future.set_exception(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        with self._lock:
            workers = list(self._workers)
        return all_joined(workers, seconds)

    def _run(self) -> None:
        while (queued := self._jobs.get()) is not None:
            self._perform(*queued)
            del queued  # so that an idle thread keeps no object alive

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
            # Its traceback holds this frame: they would hold each other, and files open.
            del future, job, args
        else:
            self._forget(future)
            with contextlib.suppress(InvalidStateError):
                future.set_result(result)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            self._unfinished.discard(future)
