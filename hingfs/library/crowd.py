"""How many calls of programs wait for a server at once.

A call that waits occupies a thread of libfuse. If waiting calls occupied all threads,
`stat`, `df` and reads from memory would hang, though they need no server. So this module
counts the calls under way and gives no time to those beyond the bound: such a call is
served from memory, or fails at once. Leaves to its callers what a call does.

Threads: any thread may call any method.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)


class Crowd:
    """The calls under way, of which *most* may wait. Thread safety: all methods."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._under_way = 0  # guarded by _lock

    @contextlib.contextmanager
    def call(self, seconds: float) -> Iterator[float]:
        """Count a call as under way in this context; gives its deadline (monotonic).

        The deadline is *seconds* away, or now if *most* other calls are under way.
        """
        with self._lock:
            self._under_way += 1
            crowded = self._under_way > self._most
            first = self._under_way == self._most + 1
        if first:
            log.warning("%d calls wait for a server; more fail at once", self._most)
        try:
            yield time.monotonic() + (0.0 if crowded else seconds)
        finally:
            with self._lock:
                self._under_way -= 1
