"""The names that a program walking through the listing will look up next.

Decides from the sequence of look-ups whether a program walks through the listing, and
which names are then looked up ahead of it. Leaves to `listing` the order of names, and
to `ahead` on how many threads they are looked up.

Threads: any thread may call any method; `ahead` calls back for the next name.
"""

import threading
from collections.abc import Callable
from functools import partial

from ..api.metadata import VideoMetadata
from .ahead import Ahead
from .known import KnownVideos, VideoFile
from .listing import Listing, VideoList
from .versions import Versions

# Listed videos that are looked up ahead of a program that walks through the listing.
NEIGHBOURS = 16
_NEIGHBOUR_DISTANCE = 4


class Walk:
    """A program's walk through the listing. Thread safety: all methods."""

    def __init__(
        self,
        metadata: VideoMetadata,
        video_list: VideoList,
        known: KnownVideos,
        versions: Versions,
        ahead: Ahead,
    ) -> None:
        self._metadata = metadata
        self._list = video_list
        self._known = known
        self._versions = versions
        self._ahead = ahead
        # Guards all below; only `known` is called with it held.
        self._lock = threading.Lock()
        self._last_looked_up = ""
        # A listing, and [start, stop) of the indices in it to be looked up ahead.
        self._window: tuple[Listing | None, int, int] = (None, 0, 0)
        self._unlisted = 0  # names in a row that were found and are in no listing

    def step_to(self, video_id: str) -> tuple[Listing, int] | None:
        """A program looks *video_id* up: (listing, index of it) if that goes on a walk.

        A step elsewhere ends the walk, and the look-ups ahead of it.
        """
        order = self._list.latest
        with self._lock:
            last = self._last_looked_up
            self._last_looked_up = video_id
            if order is None or last == video_id:
                return None
            position, before = order.positions.get(video_id), order.positions.get(last)
            if position is None or before is None:
                return None
            if 0 < position - before <= _NEIGHBOUR_DISTANCE:
                return order, position
            self._window = (order, position + 1, 0)
            return None

    def look_ahead(self, order: Listing, position: int) -> None:
        """Have the names after *position* in *order* looked up; does not wait."""
        if not self._metadata.looks_ahead:
            return
        following = position + 1
        with self._lock:
            walked, reached, end = self._window
            if walked is not order:
                reached, end = 0, 0
            end = max(end, following + NEIGHBOURS)
            self._window = (order, max(reached, following), end)
        self._ahead.start(self._next_lookup)

    def note_found(self, video_id: str) -> None:
        """*video_id* was found by its name; if several were unlisted, read the newest.

        A program that gets its names elsewhere, as rsync and cp may, makes no listing.
        """
        listed = self._list.has(video_id)
        with self._lock:
            self._unlisted = 0 if listed else self._unlisted + 1
            given_names = self._unlisted > 1
        if given_names and self._metadata.looks_ahead:
            self._list.start_reading_newest()

    def _next_lookup(self) -> tuple[str, Callable[[], VideoFile]] | None:
        """The next look-up ahead, if there is one; returns each name once."""
        if not self._metadata.looks_ahead:
            return None
        with self._lock:
            order, reached, end = self._window
            names = order.order[reached:end] if order is not None else ()
            for passed, video_id in enumerate(names, 1):
                if not self._known.remembers(video_id):
                    self._window = (order, reached + passed, end)
                    job = partial(self._versions.look_up, video_id, ahead=True)
                    return video_id, job
            self._window = (order, max(reached, end), end)
        return None
