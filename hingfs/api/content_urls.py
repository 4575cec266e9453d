"""Which URLs the bytes of videos came from, if not from the API's own.

A redirect costs a round trip, so its target is asked first for a while. Decides how long
a URL is remembered. Leaves to its callers whether a URL had content.
"""

import threading

from ..blocks import MIB
from ..remembered import Remembered, bytes_of_texts

# A redirect target (often a signed URL) is used again for this long before the API
# is asked for another. Signed URLs live an hour; a guess well below.
_URL_SECONDS = 120.0
# Some 2,000 signed URLs of 1.5 KB; and ids.
_MOST_URLS_BYTES = 4 * MIB
_MOST_NAMED_BYTES = 1 * MIB


class ContentUrls:
    """URLs of content, by video. Thread safety: all methods."""

    def __init__(self, url_seconds: float = _URL_SECONDS) -> None:
        self._lock = threading.Lock()  # guards both tables
        # video id -> URL that its bytes came from a moment ago
        self._urls: Remembered[str] = Remembered(
            _MOST_URLS_BYTES, bytes_of_texts, url_seconds
        )
        # Videos whose bytes came from a URL in their status, and not from the API.
        self._named: Remembered[None] = Remembered(_MOST_NAMED_BYTES, lambda _: 0)

    def of(self, video_id: str) -> str | None:
        """The URL from which the bytes of *video_id* came a moment ago, if any."""
        with self._lock:
            return self._urls.get(video_id)

    def remember(self, video_id: str, url: str | None) -> None:
        """Content came from *url*: it is asked first for a while."""
        if url is None:
            return
        with self._lock:
            # A URL keeps its first time: it was signed then, not at each use.
            if self._urls.get(video_id) != url:
                self._urls.put(video_id, url)

    def remember_named(self, video_id: str) -> None:
        """The bytes of *video_id* came from a URL in its status, not from the API."""
        with self._lock:
            self._named.put(video_id, None)

    def is_in_status(self, video_id: str) -> bool:
        """Whether the status of *video_id* must be asked for the URL of its bytes."""
        with self._lock:
            named = video_id in self._named
        return named and self.of(video_id) is None

    def forget(self, video_id: str, url: str | None) -> None:
        """There was trouble at *url*. A newer URL of the video stays."""
        with self._lock:
            if self._urls.get(video_id) == url:
                self._urls.pop(video_id)
