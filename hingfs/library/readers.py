"""The readers of a mount: one for each version that is open, or was lately.

Decides how long a reader outlives its handles, so that "ffprobe, then play" loses no
read-ahead, and which clips are fetched before they are opened. Leaves to `reader` how one
file is read, and to `habits` what opens and closes tell about the next.

Threads: opens and closes come from libfuse's threads, many at once.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from ..cache.tiers import Tiers
from ..content import Content
from ..fetch.fetcher import BlockFetcher
from ..fetch.spool_store import SpoolStore
from ..http.patience import FAILURE_MEMORY_SECONDS
from .crowd import Crowd
from .habits import ClipHabit
from .reader import VideoReader

# Readers without a handle that are kept, with their cursors.
MOST_IDLE_READERS = 64


@dataclass(slots=True)
class _Kept:
    """A reader and its handles. Guarded by the lock of `Readers`."""

    reader: VideoReader
    handles: int = 0
    opened: bool = False  # ever


class Readers:
    """The readers of a mount, and its habit of reading clips whole.

    Two players of one file share a reader. At most *most_idle* readers without a handle
    are kept. *failure_memory_seconds* is for each reader. Thread safety: all methods.
    """

    def __init__(
        self,
        fetcher: BlockFetcher,
        tiers: Tiers,
        spools: SpoolStore,
        read_seconds: float,
        *,
        crowd: Crowd,
        most_idle: int = MOST_IDLE_READERS,
        failure_memory_seconds: float = FAILURE_MEMORY_SECONDS,
    ) -> None:
        self._fetcher = fetcher
        self._tiers = tiers
        self._spools = spools
        self._read_seconds = read_seconds
        self._crowd = crowd
        self._most_idle = most_idle
        self._failure_memory_seconds = failure_memory_seconds
        # Guards both below; no thread waits for anything else while it holds it.
        self._lock = threading.Lock()
        self._readers: dict[Content, _Kept] = {}  # oldest use first
        self._habit = ClipHabit()

    def open(
        self,
        content: Content,
        following: Sequence[Content] = (),
        *,
        whole: bool = False,
    ) -> VideoReader:
        """The reader of *content*, with one more handle; the first open primes it.

        *whole*: it will be read whole; else the habit of the mount decides that.
        *following* are the known contents that may be opened next. The first of them are
        fetched as well if the habit says so.
        """
        with self._lock:
            self._habit.opened(content, following)
            kept = self._kept_locked(content)
            first = not kept.opened
            kept.opened = True
            kept.handles += 1
            whole = whole or self._habit.whole
            ahead = [self._kept_locked(clip) for clip in self._habit.ahead()]
            unopened = [one.reader for one in ahead if not one.opened]
            self._forget_idle_locked()
        self._tiers.hold(content)
        if first:
            kept.reader.prime(whole=whole)
        for reader in unopened:
            reader.prime_ahead()
        return kept.reader

    def close(self, reader: VideoReader) -> None:
        """One handle less."""
        with self._lock:
            kept = self._readers[reader.content]  # it is kept while it has handles
            kept.handles -= 1
            last = kept.handles == 0
        self._tiers.release(reader.content)
        if not last:
            return
        whole = reader.release()
        with self._lock:
            self._habit.closed(reader.content, whole=whole)

    def _kept_locked(self, content: Content) -> _Kept:
        """The reader of *content*, made if there is none; it counts as used last."""
        kept = self._readers.pop(content, None)
        if kept is None:
            kept = _Kept(
                VideoReader(
                    content,
                    self._fetcher,
                    self._tiers,
                    self._spools,
                    self._read_seconds,
                    crowd=self._crowd,
                    failure_memory_seconds=self._failure_memory_seconds,
                )
            )
        self._readers[content] = kept
        return kept

    def _forget_idle_locked(self) -> None:
        """Forget the idle readers beyond the bound, longest unused first."""
        idle = [content for content, kept in self._readers.items() if not kept.handles]
        for content in idle[: max(0, len(idle) - self._most_idle)]:
            del self._readers[content]
