"""What the API's list says, and for how long that is believed.

Decides when the list is asked again, when an older listing stands in for a new one, and
which listed videos are shown. Leaves to `pages` how the list is read, to `lookups` on
which thread, and to `walk` what is looked up ahead of a program.

Threads: the list is read on a thread of `lookups`; any thread may call any method.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from ..api.judgement.statuses import Status
from ..api.metadata import VideoMetadata
from ..api.pages import Listed
from ..blocks import MIB
from ..errors import AccessDenied, TransportError
from ..remembered import Remembered
from .lookups import Lookups
from .names import ShortNames, has_name, is_short, name_of

log = logging.getLogger(__name__)

# A whole listing may be served this long after its time when no newer one can be had.
STALE_LISTING_SECONDS = 300.0
# How long a row that is past its expiry stays out of listings once the server said that
# it serves it no more. A guess: long enough for `rsync` in a loop to ask seldom.
_LOST_SECONDS = 3600.0
_MOST_LOST_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True)
class Listing:
    """A listing: the ids that can be read, in the order of their names, with status."""

    taken_at: float  # monotonic
    statuses: dict[str, Status]
    order: tuple[str, ...]
    positions: dict[str, int]  # id -> index in *order*
    shortened: dict[str, str]  # short name -> id, of those that cannot be read as well


class VideoList:
    """The list of one endpoint, as it was told last. Thread safety: all methods.

    A listing is asked for anew after *ttl_seconds*. *short_names* are told what it lists.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        lookups: Lookups,
        short_names: ShortNames,
        ttl_seconds: float,
    ) -> None:
        self._metadata = metadata
        self._lookups = lookups
        self._short_names = short_names
        self._ttl_seconds = ttl_seconds
        self._lock = threading.Lock()
        # All below are guarded by _lock, which is never held while anything waits.
        self._whole: Listing | None = None
        self._latest: Listing | None = None  # the last whole one, or a newer first page
        self._anew_at = -math.inf  # monotonic: listings from before are not fresh
        # Listed, past their expiry, and not served any more when they were asked for.
        self._lost: Remembered[None] = Remembered(
            _MOST_LOST_BYTES, lambda _: 0, _LOST_SECONDS
        )

    @property
    def latest(self) -> Listing | None:
        """What was told last, be it the whole list or its newest part; asks nobody."""
        with self._lock:
            return self._latest

    def current(self, deadline: float) -> Listing:
        """The whole list: as it is known while that is fresh, else asked for.

        If the server is away, a listing of a while ago stands in. Raises AccessDenied,
        TransportError where there is a list that cannot be had whole, and
        DeadlineExceeded.
        """
        with self._lock:
            listing, anew_at = self._whole, self._anew_at
        age = time.monotonic() - listing.taken_at if listing is not None else 0.0
        if (
            listing is not None
            and age < self._ttl_seconds
            and listing.taken_at > anew_at
        ):
            return listing
        try:
            return self._lookups.listing("whole", deadline, self._read_all)
        except AccessDenied:
            raise
        except TransportError as error:
            if listing is None or age > STALE_LISTING_SECONDS:
                raise
            log.warning("the last listing, %.0f s old, is shown: %s", age, error)
            return listing

    def anew(self) -> None:
        """Have the next listing ask the API; the one that is there may stand in for it."""
        with self._lock:
            self._anew_at = time.monotonic()

    def shown(self, deadline: float) -> list[str]:
        """The ids of `current` that a directory shows: all but those that were lost."""
        order = self.current(deadline).order
        with self._lock:
            return [video_id for video_id in order if video_id not in self._lost]

    def following(self, video_id: str, most: int) -> tuple[str, ...]:
        """At most *most* ids after *video_id* in the order of names; asks nobody."""
        order = self.latest
        if order is None or video_id not in order.positions:
            return ()
        first = order.positions[video_id] + 1
        return order.order[first : first + most]

    def has(self, video_id: str) -> bool:
        """Whether the list told of *video_id*, however long ago."""
        order = self.latest
        return order is not None and video_id in order.positions

    def has_unexpired(self, video_id: str) -> bool:
        """Whether the list told of *video_id*, and not that it expired."""
        order = self.latest
        row = order.statuses.get(video_id) if order is not None else None
        return row is not None and not row.expired

    def row_for_now(self, video_id: str) -> Status | None:
        """What the list told of *video_id* so lately that it saves a request."""
        order = self.latest
        return order.statuses.get(video_id) if self._speaks_for_now(order) else None

    def note_gone(self, video_id: str) -> None:
        """The server has *video_id* no more: not shown, if its row says it expired."""
        with self._lock:
            row = self._whole.statuses.get(video_id) if self._whole else None
            if row is not None and row.expired:
                self._lost.put(video_id, None)

    def note_served(self, video_id: str) -> None:
        """The server has *video_id*, so it is shown if it is listed."""
        with self._lock:
            self._lost.pop(video_id)

    def look_at_newest(self) -> None:
        """Have the newest part of the list asked for, unless what is known will do."""
        if not self._speaks_for_now(self.latest):
            self._lookups.start("newest", self.read_newest)

    def read_newest(self) -> None:
        """Ask for the newest part of the list, for the order of names alone."""
        newest = listing_of(
            self._metadata.pages.newest_videos(has_name) or [],
            self._metadata.can_be_read,
        )
        self._short_names.note(newest.shortened)
        with self._lock:
            if not self._speaks_for_now(self._latest):  # a whole one would say more
                self._latest = newest

    def _read_all(self) -> Listing:
        listing = listing_of(
            self._metadata.pages.list_videos(has_name) or [], self._metadata.can_be_read
        )
        self._short_names.note(listing.shortened)
        with self._lock:
            self._whole = self._latest = listing
        return listing

    def _speaks_for_now(self, listing: Listing | None) -> TypeGuard[Listing]:
        """Whether what *listing* says of a video saves a request about that.

        It holds the ids that are completed, which they stay; so where requests are
        counted, an older one will do.
        """
        if listing is None:
            return False
        ttl = self._ttl_seconds
        if self._metadata.counts_requests:
            ttl = max(ttl, STALE_LISTING_SECONDS)
        return time.monotonic() - listing.taken_at < ttl


def listing_of(videos: list[Listed], can_be_read: Callable[[Status], bool]) -> Listing:
    """Those of *videos* that can be read, in the order of their names."""
    statuses = {
        video.video_id: video.status for video in videos if can_be_read(video.status)
    }
    order = tuple(sorted(statuses, key=name_of))
    positions = {video_id: index for index, video_id in enumerate(order)}
    names = ((name_of(video.video_id), video.video_id) for video in videos)
    shortened = {name: video_id for name, video_id in names if is_short(name)}
    return Listing(time.monotonic(), statuses, order, positions, shortened)
