"""How many calls of programs wait for a server at once.

A call that waits occupies a thread of libfuse. If waiting calls occupied all threads,
`stat`, `df` and reads from memory would hang, though they need no server. So this module
counts the calls under way and gives no time to those beyond the bound: such a call is
served from memory, or fails at once. Leaves to its callers what a call does.

Threads: any thread may call any method.
"""

import logging
import threading
import time
from types import TracebackType

log = logging.getLogger(__name__)


class Crowd:
    """The calls under way, of which *most* may wait. Thread safety: all methods.

    A warning says how many *said* once there are more; again after half have gone.
    """

    def __init__(
        self, most: int, said: str = "calls wait for a server; more fail at once"
    ) -> None:
        self._most = most
        self._said = said
        self._lock = threading.Lock()  # guards all below
        self._under_way = 0
        self._warned = False

    @property
    def under_way(self) -> int:
        """How many calls are under way."""
        return self._under_way

    def call(self, seconds: float) -> "Call":
        """A call as a context, which gives its deadline (monotonic).

        The deadline is *seconds* away, or now if *most* other calls are under way.
        """
        return Call(self, seconds)

    def enter(self) -> bool:
        """One more call is under way; returns whether it may wait."""
        with self._lock:
            self._under_way += 1
            may_wait = self._under_way <= self._most
            warns = not may_wait and not self._warned
            self._warned = self._warned or warns
        if warns:
            log.warning("%d %s", self._most, self._said)
        return may_wait

    def leave(self) -> None:
        """One call less."""
        with self._lock:
            self._under_way -= 1
            if self._under_way <= self._most // 2:
                self._warned = False


class Call:
    """One call, under way in its `with` block.

    Each read makes one: as a generator it took 1.8 times as long, bare (2026-11-27).
    """

    __slots__ = ("_crowd", "_seconds")

    def __init__(self, crowd: Crowd, seconds: float) -> None:
        self._crowd = crowd
        self._seconds = seconds

    def __enter__(self) -> float:
        may_wait = self._crowd.enter()
        return time.monotonic() + (self._seconds if may_wait else 0.0)

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._crowd.leave()
