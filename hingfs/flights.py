"""Jobs that are done once for all who want the same at the same time.

Decides that a second caller joins what is under way, and when that has ended. Leaves to
its owner on which threads a job runs, how long a caller waits, and what it is told.

Threads: jobs run on those of the pool that `join` is given; any thread may call.
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
        """Have *job* run, of which *future* will tell; TransportError if it cannot."""


@dataclass(eq=False, slots=True)
class Flight(Generic[Result]):
    """A job under way, or done, for all who joined it."""

    future: Future[Result]
    started_at: float  # monotonic; nothing was done for it before
    # A caller has given up waiting. Only ever set, under _lock.
    outlasted: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def outcome(self) -> Result:
        """What the job gave, or raises what it raised; only once it is done."""
        try:
            return self.future.result()
        except HingError as error:
            raise error.again() from error

    def outlast(self) -> bool:
        """A caller gives up; whether it is the first."""
        with self._lock:
            first, self.outlasted = not self.outlasted, True
        return first


class SingleFlight:
    """At most one flight under each key. Thread safety: all methods.

    A flight is forgotten before its future is done, so nobody joins what has ended.
    """

    def __init__(self) -> None:
        # Guards the table alone: no thread is started under it.
        self._lock = threading.Lock()
        self._flights: dict[str, Flight[Any]] = {}

    def join(
        self, key: str, threads: Threads, job: Callable[[], Result]
    ) -> Flight[Result]:
        """The flight under *key*: the one under way, else one that does *job*.

        Raises TransportError if there is no thread for it.
        """
        flight, is_new = self._registered(key)
        if is_new:
            self._launch(key, flight, threads, job)
        return flight

    def begin(self, key: str, threads: Threads, job: Callable[[], object]) -> bool:
        """Do *job* unless a flight under *key* is under way; whether it is begun.

        Raises as `join` does.
        """
        flight, is_new = self._registered(key)
        if is_new:
            self._launch(key, flight, threads, job)
        return is_new

    def __len__(self) -> int:
        return len(self._flights)

    def _registered(self, key: str) -> tuple[Flight[Any], bool]:
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
