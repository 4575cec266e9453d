"""Open answers with a whole file, kept for the download that may follow.

Some servers read all of a file before they send any of it, and some tell its size only by
sending it. An answer that told the size, or came late, is kept: a second request would
cost the server and the waiting program as much again. Decides how many answers are kept,
and for how long. Leaves to `probing` which answers are worth it.
"""

import threading
import time

from ..http.answer import Answer

# Each answer holds a connection, and its server may hold the file in memory. A guess.
_MOST_KEPT = 8
# A program that asked for a size reads the file within seconds. A guess.
_KEPT_SECONDS = 60.0


class BegunAnswers:
    """Open answers, by video. Thread safety: all methods."""

    def __init__(self, kept_seconds: float = _KEPT_SECONDS) -> None:
        self._kept_seconds = kept_seconds
        self._lock = threading.Lock()  # guards _kept; no answer is closed under it
        # video id -> (answer, monotonic time until which it is kept), oldest first
        self._kept: dict[str, tuple[Answer, float]] = {}

    def keep(self, video_id: str, answer: Answer) -> None:
        """Keep *answer*, of which no byte is lost, for the first caller of `take`."""
        with self._lock:
            dropped = self._kept.pop(video_id, None)
            old = self._old_locked(_MOST_KEPT - 1)
            self._kept[video_id] = (answer, time.monotonic() + self._kept_seconds)
        for kept, _until in (*old, *filter(None, [dropped])):
            kept.close()

    def take(self, video_id: str) -> Answer | None:
        """The answer kept for *video_id*, if any; now the caller's to close."""
        with self._lock:
            old = self._old_locked(_MOST_KEPT)
            found = self._kept.pop(video_id, None)
        for kept, _until in old:
            kept.close()
        return found[0] if found else None

    def has(self, video_id: str) -> bool:
        """Whether an answer is kept for *video_id*."""
        with self._lock:
            return video_id in self._kept

    def _old_locked(self, most: int) -> list[tuple[Answer, float]]:
        """Remove and return the answers that are too old, or more than *most*."""
        now = time.monotonic()
        old = [video_id for video_id, (_, until) in self._kept.items() if until < now]
        extra = len(self._kept) - len(old) - most
        fresh = [video_id for video_id in self._kept if video_id not in old]
        return [
            self._kept.pop(video_id) for video_id in (*old, *fresh[: max(0, extra)])
        ]
