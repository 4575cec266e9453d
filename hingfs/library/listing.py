"""The API's list of videos, and for how long it is believed.

Decides when the list is asked for again, when an older listing stands in for a new one,
and which listed videos are shown. Leaves to `pages` how the list is read, to `lookups`
on which thread, and to `walk` which names are looked up ahead of a program.

Threads: the list is read on a thread of `lookups`; any thread may call any method.
"""

import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeGuard

from ..api.judgement.video_status import Status
from ..api.metadata import VideoMetadata
from ..api.pages import Listed
from ..blocks import MIB
from ..errors import AccessDenied, TransportError
from ..remembered import Remembered
from .lookups import Lookups
from .names import ShortNames, has_name, is_short, name_of

log = logging.getLogger(__name__)

# A whole listing of this age may still be shown when no newer one can be had.
STALE_LISTING_SECONDS = 300.0
# How long an expired row stays out of listings once the server no longer serves its
# video. A guess: long enough for `rsync` in a loop to ask seldom.
_LOST_SECONDS = 3600.0
_MOST_LOST_BYTES = 1 * MIB


@dataclass(frozen=True, slots=True)
class Listing:
    """The videos of the list that can be read."""

    taken_at: float  # monotonic
    statuses: dict[str, Status]  # id -> status
    order: tuple[str, ...]  # ids, in the order of their names
    positions: dict[str, int]  # id -> index in *order*
    shortened: dict[str, str]  # short name -> id; also of videos that cannot be read


class VideoList:
    """The list of one endpoint, as it was read last. Thread safety: all methods.

    A listing is fresh for *ttl_seconds*, and may stand in for a newer one until it is
    *stale_seconds* old. Its short names are noted in *short_names*.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        lookups: Lookups,
        short_names: ShortNames,
        ttl_seconds: float,
        stale_seconds: float = STALE_LISTING_SECONDS,
    ) -> None:
        self._metadata = metadata
        self._lookups = lookups
        self._short_names = short_names
        self._ttl_seconds = ttl_seconds
        self._stale_seconds = stale_seconds
        # Guards all below; no thread waits for anything else while it holds it.
        self._lock = threading.Lock()
        self._whole: Listing | None = None
        self._latest: Listing | None = None  # the last whole one, or a newer first page
        self._expired_at = -math.inf  # monotonic: earlier listings are not fresh
        # Ids whose row has expired, and that the server no longer serves.
        self._lost: Remembered[None] = Remembered(
            _MOST_LOST_BYTES, lambda _: 0, _LOST_SECONDS
        )

    @property
    def latest(self) -> Listing | None:
        """The last listing, whole or of the newest videos; makes no request."""
        with self._lock:
            return self._latest

    def current(self, deadline: float) -> Listing:
        """The whole list: the last one while it is fresh, else a new one.

        If the server is away, an older listing stands in. Raises AccessDenied,
        TransportError if the API has a list and does not give it whole, and
        DeadlineExceeded.
        """
        with self._lock:
            listing, expired_at = self._whole, self._expired_at
        age = time.monotonic() - listing.taken_at if listing is not None else 0.0
        if (
            listing is not None
            and age < self._ttl_seconds
            and listing.taken_at > expired_at
        ):
            return listing
        try:
            return self._lookups.listing("whole", deadline, self._read_all)
        except AccessDenied:
            raise
        except TransportError as error:
            if listing is None or age > self._stale_seconds:
                raise
            log.warning("the last listing, %.0f s old, is shown: %s", age, error)
            return listing

    def expire(self) -> None:
        """Have the next listing ask the API; if that fails, the old one stands in."""
        with self._lock:
            self._expired_at = time.monotonic()

    def shown(self, deadline: float) -> list[str]:
        """The ids of `current` that a directory shows: all but the lost ones."""
        order = self.current(deadline).order
        with self._lock:
            return [video_id for video_id in order if video_id not in self._lost]

    def following(self, video_id: str, most: int) -> tuple[str, ...]:
        """At most *most* ids after *video_id* in the order of names; makes no request."""
        order = self.latest
        if order is None or video_id not in order.positions:
            return ()
        first = order.positions[video_id] + 1
        return order.order[first : first + most]

    def has(self, video_id: str) -> bool:
        """Whether the last listing has *video_id*, whatever its age."""
        order = self.latest
        return order is not None and video_id in order.positions

    def has_unexpired(self, video_id: str) -> bool:
        """Whether the last listing has *video_id*, in a row that has not expired."""
        order = self.latest
        row = order.statuses.get(video_id) if order is not None else None
        return row is not None and not row.expired

    def recent_row(self, video_id: str) -> Status | None:
        """The row of *video_id*, if it is recent enough to save a request."""
        order = self.latest
        return order.statuses.get(video_id) if self._saves_a_request(order) else None

    def vouches_for(self, video_id: str, mtime_ns: int, seconds: float) -> bool:
        """Whether a listing of *seconds* at most shows *video_id* as made at *mtime_ns*.

        A row that does not tell when the video was completed contradicts no time.
        """
        order = self.latest
        if order is None or time.monotonic() - order.taken_at >= seconds:
            return False
        row = order.statuses.get(video_id)
        if row is None or row.expired:
            return False
        made_at = row.completed_at_seconds
        return made_at is None or int(made_at * 1e9) == mtime_ns

    def note_gone(self, video_id: str) -> None:
        """The server has *video_id* no more: hide it, if its row has expired."""
        with self._lock:
            row = self._whole.statuses.get(video_id) if self._whole else None
            if row is not None and row.expired:
                self._lost.put(video_id, None)

    def note_served(self, video_id: str) -> None:
        """The server has *video_id*: show it, if it is listed."""
        with self._lock:
            self._lost.pop(video_id)

    def start_reading_newest(self) -> None:
        """Have the newest videos listed, unless the last listing is recent enough."""
        if not self._saves_a_request(self.latest):
            self._lookups.start("newest", self.read_newest)

    def read_newest(self) -> None:
        """Ask for the newest videos of the list, to learn the order of names."""
        newest = listing_of(
            self._metadata.pages.newest_videos(has_name) or [],
            self._metadata.can_be_read,
        )
        self._short_names.note(newest.shortened)
        with self._lock:
            if not self._saves_a_request(self._latest):  # it may be a whole one
                self._latest = newest

    def _read_all(self) -> Listing:
        listing = listing_of(
            self._metadata.pages.list_videos(has_name) or [], self._metadata.can_be_read
        )
        self._short_names.note(listing.shortened)
        with self._lock:
            self._whole = self._latest = listing
        return listing

    def _saves_a_request(self, listing: Listing | None) -> TypeGuard[Listing]:
        """Whether a row of *listing* is recent enough to save a request about its video.

        Its videos are completed, and stay so. So an older listing will do where the
        endpoint limits requests.
        """
        if listing is None:
            return False
        ttl = self._ttl_seconds
        if self._metadata.counts_requests:
            ttl = max(ttl, self._stale_seconds)
        return time.monotonic() - listing.taken_at < ttl


def listing_of(videos: list[Listed], can_be_read: Callable[[Status], bool]) -> Listing:
    """The listing of those of *videos* that can be read."""
    statuses = {
        video.video_id: video.status for video in videos if can_be_read(video.status)
    }
    order = tuple(sorted(statuses, key=name_of))
    positions = {video_id: index for index, video_id in enumerate(order)}
    names = ((name_of(video.video_id), video.video_id) for video in videos)
    shortened = {name: video_id for name, video_id in names if is_short(name)}
    return Listing(time.monotonic(), statuses, order, positions, shortened)
