"""Where the API keeps its bytes: the URLs that it redirected to, or named.

A redirect costs a round trip, so its target is asked first for a while.
"""

import threading
import time

# A redirect target (often a signed URL) is used again for this long before the API
# is asked for another. Signed URLs live an hour; a guess well below.
_PLACE_SECONDS = 120.0
_MOST_PLACES = 1024


class Places:
    """Places of videos. Thread safety: all methods; `_lock` guards the table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # video id -> (URL, monotonic time until which it is used); guarded by _lock
        self._places: dict[str, tuple[str, float]] = {}
        # Videos whose bytes were where their status says; guarded by _lock. In order.
        self._named: dict[str, None] = {}

    def of(self, video_id: str) -> str | None:
        """Where the bytes of *video_id* were had a moment ago, if anywhere."""
        with self._lock:
            url, until = self._places.get(video_id, ("", 0.0))
        return url if time.monotonic() < until else None

    def remember(self, video_id: str, place: str | None) -> None:
        """What came from *place* was content: it is asked first for a while."""
        if place is None:
            return
        with self._lock:
            if video_id not in self._places and len(self._places) >= _MOST_PLACES:
                self._places.pop(next(iter(self._places)))
            # A place keeps its first time: it was signed then, not at each use.
            before = self._places.get(video_id)
            if before is None or before[0] != place:
                self._places[video_id] = (place, time.monotonic() + _PLACE_SECONDS)

    def note_named(self, video_id: str) -> None:
        """The bytes of *video_id* were where its status says, and not at the API."""
        with self._lock:
            if len(self._named) >= _MOST_PLACES:
                self._named.pop(next(iter(self._named)))
            self._named[video_id] = None

    def is_named(self, video_id: str) -> bool:
        """Whether the status of *video_id* is to be asked where its bytes are."""
        with self._lock:
            named = video_id in self._named
        return named and self.of(video_id) is None

    def forget(self, video_id: str, place: str | None) -> None:
        """There was trouble at *place*; another one that is known by now stays."""
        with self._lock:
            if self._places.get(video_id, ("", 0.0))[0] == place:
                self._places.pop(video_id, None)
