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
    """The calls under way, of which *most* may wait. Thread safety: all methods."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way = 0  # guarded by _lock

    def call(self, seconds: float) -> "Call":
        """A call as a context, which gives its deadline (monotonic).

        The deadline is *seconds* away, or now if *most* other calls are under way.
        """
        return Call(self, seconds)

    def enter(self) -> bool:
        """One more call is under way; returns whether it may wait."""
        with self._lock:
            self._under_way += 1
            under_way = self._under_way
        if under_way == self._most + 1:
            log.warning("%d calls wait for a server; more fail at once", self._most)
        return under_way <= self._most

    def leave(self) -> None:
        """One call less."""
        with self._lock:
            self._under_way -= 1


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
