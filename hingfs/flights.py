"""Jobs that run once for all callers that want the same at the same time.

Decides that a second caller joins the job under way, and when the job has ended. Leaves
to its owner on which threads a job runs, how long a caller waits, and which error it
gets.

Threads: a job runs on the pool that `join` is given; any thread may call any method.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from .errors import HingError, TransportError

Result = TypeVar("Result")


class Threads(Protocol):
    """Where a job may run. `DaemonPool` is one."""

    def start(
        self, future: Future[Any], job: Callable[..., Any], *args: object
    ) -> None:
        """Have *job* run; its result goes to *future*. TransportError if it cannot run."""


@dataclass(eq=False, slots=True)
class Flight(Generic[Result]):
    """A job under way, or done, for all its callers."""

    future: Future[Result]
    started_at: float  # monotonic; no request was made for it before
    outlasted: bool = False  # a caller has given up waiting; only ever set, under _lock
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def outcome(self) -> Result:
        """The result of the job, or its error; only once it is done."""
        try:
            return self.future.result()
        except HingError as error:
            raise error.again() from error

    def outlast(self) -> bool:
        """A caller gives up; returns whether it is the first."""
        with self._lock:
            first, self.outlasted = not self.outlasted, True
        return first


class SingleFlight:
    """At most one flight under each key. Thread safety: all methods.

    A flight is forgotten before its future is done, so no caller joins an ended one.
    """

    def __init__(self) -> None:
        # Guards the table alone: no thread is started under it.
        self._lock = threading.Lock()
        self._flights: dict[str, Flight[Any]] = {}

    def join(
        self, key: str, threads: Threads, job: Callable[[], Result]
    ) -> Flight[Result]:
        """The flight under *key*: the one under way, else a new one that does *job*.

        Raises TransportError if there is no thread for it.
        """
        flight, is_new = self._find_or_add(key)
        if is_new:
            self._launch(key, flight, threads, job)
        return flight

    def begin(self, key: str, threads: Threads, job: Callable[[], object]) -> bool:
        """Begin *job* unless a flight under *key* is under way; returns whether it did.

        Raises as `join` does.
        """
        flight, is_new = self._find_or_add(key)
        if is_new:
            self._launch(key, flight, threads, job)
        return is_new

    def __len__(self) -> int:
        return len(self._flights)

    def _find_or_add(self, key: str) -> tuple[Flight[Any], bool]:
        with self._lock:
            flight = self._flights.get(key)
            if flight is not None:
                return flight, False
            flight = self._flights[key] = Flight(Future(), time.monotonic())
            return flight, True

    def _launch(
        self,
        key: str,
        flight: Flight[Any],
        threads: Threads,
        job: Callable[[], object],
    ) -> None:
        try:
            threads.start(flight.future, self._run, key, job)
        except TransportError:
            self._forget(key)
            raise

    def _run(self, key: str, job: Callable[[], Result]) -> Result:
        try:
            return job()
        finally:
            self._forget(key)

    def _forget(self, key: str) -> None:
        with self._lock:
            self._flights.pop(key, None)
