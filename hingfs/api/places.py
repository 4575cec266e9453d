"""Where the API keeps its bytes: the URLs that it redirected to, or named.

A redirect costs a round trip, so its target is asked first for a while.
"""

import threading

from ..blocks import MIB
from ..remembered import Remembered, bytes_of_texts

# A redirect target (often a signed URL) is used again for this long before the API
# is asked for another. Signed URLs live an hour; a guess well below.
_PLACE_SECONDS = 120.0
# Some 2,000 signed URLs of 1.5 KB; and ids.
_MOST_PLACES_BYTES = 4 * MIB
_MOST_NAMED_BYTES = 1 * MIB


class Places:
    """Places of videos. Thread safety: all methods; `_lock` guards the table."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # video id -> URL, while it is used; guarded by _lock
        self._places: Remembered[str] = Remembered(
            _MOST_PLACES_BYTES, bytes_of_texts, _PLACE_SECONDS
        )
        # Videos whose bytes were where their status says; guarded by _lock.
        self._named: Remembered[None] = Remembered(_MOST_NAMED_BYTES, lambda _: 0)

    def of(self, video_id: str) -> str | None:
        """Where the bytes of *video_id* were had a moment ago, if anywhere."""
        with self._lock:
            return self._places.get(video_id)

    def remember(self, video_id: str, place: str | None) -> None:
        """What came from *place* was content: it is asked first for a while."""
        if place is None:
            return
        with self._lock:
            # A place keeps its first time: it was signed then, not at each use.
            if self._places.get(video_id) != place:
                self._places.put(video_id, place)

    def note_named(self, video_id: str) -> None:
        """The bytes of *video_id* were where its status says, and not at the API."""
        with self._lock:
            self._named.put(video_id, None)

    def is_named(self, video_id: str) -> bool:
        """Whether the status of *video_id* is to be asked where its bytes are."""
        with self._lock:
            named = video_id in self._named
        return named and self.of(video_id) is None

    def forget(self, video_id: str, place: str | None) -> None:
        """There was trouble at *place*; another one that is known by now stays."""
        with self._lock:
            if self._places.get(video_id) == place:
                self._places.pop(video_id)
