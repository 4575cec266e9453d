"""How many calls of programs wait for a server at once.

A call that waits keeps a thread of libfuse, and where all are kept, `stat`, `df` and
reads of what is in memory hang behind servers that they do not need. So the number of
calls under way is counted, and one beyond the bound is given no time: it answers from
memory, or fails at once.

Threads: any thread may call any method; `_lock` guards the count.
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
        """A call from here to the end of the block; gives its deadline (monotonic).

        That is *seconds* away, or now where *most* others are under way.
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
