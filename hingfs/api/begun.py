"""Answers with a whole file whose bytes nobody has asked for yet.

Some servers read all of a file before they send any of it, and some tell its size in no
other way than by sending it. The answer that told the size, or came late, is kept for
the download that follows: asked for again, it would cost the server, and whoever waits,
as much once more. Decides how many are kept, and for how long.

Thread safety: all methods; `_lock` guards the table, and no answer is closed under it.
"""

import threading
import time

from ..http.answer import Answer

# Each holds a connection, and its server a file in memory. A guess.
_MOST_KEPT = 8
# Whoever wanted it asks again within seconds. A guess.
_KEPT_SECONDS = 60.0


class BegunAnswers:
    """Open answers by video. See the module docstring."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # video id -> (answer, monotonic time until which it is kept), oldest first
        self._kept: dict[str, tuple[Answer, float]] = {}

    def keep(self, video_id: str, answer: Answer) -> None:
        """*answer*, of which no byte is lost, is for whoever takes it first."""
        with self._lock:
            dropped = self._kept.pop(video_id, None)
            old = self._old_locked(_MOST_KEPT - 1)
            self._kept[video_id] = (answer, time.monotonic() + _KEPT_SECONDS)
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
        """What is too old to be kept, or too much; no longer in the table."""
        now = time.monotonic()
        old = [video_id for video_id, (_, until) in self._kept.items() if until < now]
        extra = len(self._kept) - len(old) - most
        fresh = [video_id for video_id in self._kept if video_id not in old]
        return [
            self._kept.pop(video_id) for video_id in (*old, *fresh[: max(0, extra)])
        ]
