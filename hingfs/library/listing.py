"""The API's list of videos, and for how long it is believed.

Decides when the list is asked for again, when an older listing stands in for a new one,
and which listed videos are shown. Leaves to `refresh` how much of the list is read again,
to `lookups` on which thread, and to `walk` which names are looked up ahead of a program.

Threads: the list is read on threads of `lookups`; any thread may call any method.
"""

import hashlib
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeGuard

from ..api.endpoint_check import NewestPage
from ..api.judgement.video_status import State, Status
from ..api.metadata import VideoMetadata
from ..blocks import MIB
from ..errors import AccessDenied, HingError, NotAsked, TransportError
from ..facts.records import LISTING_SECONDS
from ..facts.store import FactStore
from ..remembered import Remembered
from .ground import Rows, united
from .lookups import Lookups
from .names import ShortNames, has_name, is_short, name_of
from .refresh import WALK_TTLS, ListRefresh, NumberedRows

log = logging.getLogger(__name__)

# A whole listing of this age may still be shown when no newer one can be had.
STALE_LISTING_SECONDS = 300.0
# How long an expired row stays out of listings once the server no longer serves its
# video. A guess: long enough for `rsync` in a loop to ask seldom.
_LOST_SECONDS = 3600.0
_MOST_LOST_BYTES = 1 * MIB
# The subject of the lesson that holds `Listing.changed_ns` for the next mount.
_CHANGED = "listing changed"


@dataclass(frozen=True, slots=True)
class Listing:
    """The videos of the list, and those of them that can be read."""

    taken_at: float  # monotonic
    rows: Rows  # of all videos
    order: tuple[str, ...]  # ids that can be read, in the order of their names
    positions: dict[str, int]  # id -> index in *order*
    shortened: dict[str, str]  # short name -> id; also of videos that cannot be read
    # When the newest video of *order* was made, in ns since the epoch; None if untold.
    # The ns below a second are a hash of *order*, so that a deletion changes them.
    changed_ns: int | None


class VideoList:
    """The list of one endpoint, as it was read last. Thread safety: all methods.

    A listing is fresh for *ttl_seconds*, and may stand in for a newer one until it is
    *stale_seconds* old. Its short names are noted in *short_names*, and what it may save
    the next mount in *store*.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        lookups: Lookups,
        short_names: ShortNames,
        ttl_seconds: float,
        stale_seconds: float = STALE_LISTING_SECONDS,
        *,
        store: FactStore,
    ) -> None:
        self._metadata = metadata
        self._lookups = lookups
        self._short_names = short_names
        self._ttl_seconds = ttl_seconds
        self._stale_seconds = stale_seconds
        self._store = store
        lesson = store.lesson(_CHANGED)
        # Of the listing of an earlier mount, until this one has its own.
        told = lesson is not None and lesson.value.isdecimal()
        self._recalled_ns = int(lesson.value) if lesson and told else None
        # Rows that need not be asked for again: the newest may be missing.
        rows = store.recalled.listing
        self._recalled_rows = {row.video_id for row in rows}
        newest = max(
            (row.completed_at or row.created_at or 0.0 for row in rows), default=0
        )
        self._recalled_newest_ns = int(newest * 1e9)
        self._refresh = ListRefresh(metadata, ttl_seconds, store)
        # Guards all below; no thread waits for anything else while it holds it.
        self._lock = threading.Lock()
        self._whole: Listing | None = None
        self._latest: Listing | None = None  # the last whole one, or with newer rows
        self._number = 0  # of the rows of `_whole`
        # Ids in `_latest` that only the check has shown.
        self._only_named: frozenset[str] = frozenset()
        self._expired_at = -math.inf  # monotonic: earlier listings are not fresh
        self._stat_read_at = -math.inf  # monotonic: when `changed_ns` had the list read
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
            return self._lookups.listing("whole", deadline, self._read)
        except AccessDenied:
            raise
        except TransportError as error:
            if listing is None or age > self._stale_seconds:
                raise
            level = logging.DEBUG if isinstance(error, NotAsked) else logging.WARNING
            log.log(level, "the last listing, %.0f s old, is shown: %s", age, error)
            return listing

    def showed(self, video_id: str, mtime_ns: int) -> bool | None:
        """Whether the last whole listing shows *video_id*, which was made at *mtime_ns*.

        If this mount has read none, that of an earlier mount counts. None if no listing
        tells, or the video was made after it.
        """
        with self._lock:
            listing = self._whole
        if listing is not None:
            shown, newest_ns = video_id in listing.positions, listing.changed_ns
        elif self._recalled_rows:
            shown, newest_ns = video_id in self._recalled_rows, self._recalled_newest_ns
        else:
            return None
        made_since = newest_ns is not None and mtime_ns > newest_ns
        return True if shown else None if made_since else False

    def expire(self) -> None:
        """Have the next listing ask the API; if that fails, the old one stands in."""
        self._refresh.must_walk()
        with self._lock:
            self._expired_at = time.monotonic()

    def changed_ns(self) -> int | None:
        """When the last whole listing changed, at first that of an earlier mount.

        None if there is none, or none tells. Has the list read, without waiting, if a
        program listed before and that listing is no longer fresh. Where it must be read
        whole each time, it is read seldom.
        """
        ttl = self._ttl_seconds * (1 if self._refresh.is_cheap else WALK_TTLS)
        with self._lock:
            listing, now = self._whole, time.monotonic()
            if listing is None:
                return self._recalled_ns
            old = not self._is_younger(listing, ttl) and now - self._stat_read_at >= ttl
            if old:  # not again at once, if the server is away
                self._stat_read_at = now
        if old:
            self._lookups.start("whole", self._read)
        return listing.changed_ns

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
        if order is None or video_id not in order.positions:
            return False
        return not order.rows[video_id].expired

    def row_to_believe(self, video_id: str) -> Status | None:
        """The row of *video_id*, if it saves a request about its status.

        A video that was completed stays so, whatever the age of the row, until it
        expires. Other rows count while they are recent.
        """
        order = self.latest
        if (
            order is None
            or video_id not in order.positions
            or video_id in self._only_named
        ):
            return None
        row = order.rows[video_id]
        if self._saves_a_request(order):
            return row
        expires_at = row.expires_at_seconds
        expired = expires_at is not None and expires_at <= self._metadata.now()
        return row if row.state is State.READY and not expired else None

    @property
    def is_recent(self) -> bool:
        """Whether the rows of the last listing save requests about their videos."""
        return self._saves_a_request(self.latest)

    def vouches_for(self, video_id: str, mtime_ns: int, seconds: float) -> bool:
        """Whether a listing of *seconds* at most shows *video_id* as made at *mtime_ns*.

        A row that does not tell when the video was completed contradicts no time.
        """
        order = self.latest
        if order is None or time.monotonic() - order.taken_at >= seconds:
            return False
        if video_id not in order.positions or order.rows[video_id].expired:
            return False
        made_at = order.rows[video_id].completed_at_seconds
        return made_at is None or int(made_at * 1e9) == mtime_ns

    def note_gone(self, video_id: str) -> None:
        """The server has *video_id* no more: hide it, if its row has expired."""
        with self._lock:
            row = self._whole.rows.get(video_id) if self._whole else None
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
        page = self._metadata.pages.one_page(has_name) or []
        newest = {video.video_id: video.status for video in page}
        self._put_newest(newest, time.monotonic())

    def note_newest(self, newest: NewestPage) -> None:
        """The check brought the *newest* page: the names in it are known.

        The status of each is asked for all the same, beside HEAD: its answer shows that
        the server answers others, where one reads a whole file before it answers.
        """
        listed = dict(newest.page.videos)
        rows = {one: row for one, row in listed.items() if has_name(one)}
        whole = self.latest
        only_named = frozenset(rows).difference(() if whole is None else whole.rows)
        self._put_newest(rows, newest.taken_at, only_named)

    def _put_newest(
        self, newest: Rows, taken_at: float, only_named: frozenset[str] = frozenset()
    ) -> None:
        """*newest* are the first rows of the list, as they were at *taken_at*.

        The status of those *only_named* does not count.
        """
        whole = self.latest
        rows = newest if whole is None else united(newest, whole.rows)
        listing = listing_of(rows, self._metadata.can_be_read, whole)
        listing = replace(listing, taken_at=taken_at)
        self._short_names.note(listing.shortened)
        with self._lock:
            if not self._saves_a_request(self._latest):  # it may be a whole one
                self._latest, self._only_named = listing, only_named

    def _read(self) -> Listing:
        listing = self._put(self._refresh.newest())
        if self._refresh.has_rest:
            self._lookups.start("rest", self._read_rest)
        return listing

    def _read_rest(self) -> None:
        try:
            numbered = self._refresh.rest()
        except HingError as error:
            log.info("the list could not be read on behind its newest page: %s", error)
            raise
        if numbered is not None:
            self._put(numbered)

    def _put(self, numbered: NumberedRows) -> Listing:
        """The listing of these rows; shown from now on, unless a newer one is."""
        self._refresh.keep()
        number, rows = numbered
        with self._lock:
            before = self._whole
        listing = listing_of(rows, self._metadata.can_be_read, before)
        self._short_names.note(listing.shortened)
        with self._lock:
            if number > self._number or self._whole is None:
                self._number, self._whole, self._latest = number, listing, listing
                self._only_named = frozenset()
            shown = self._whole
        changed_ns = shown.changed_ns
        if changed_ns is not None and (
            before is None or before.changed_ns != changed_ns
        ):
            self._store.learn(_CHANGED, str(changed_ns), LISTING_SECONDS)
        return shown

    def _is_younger(self, listing: Listing, seconds: float) -> bool:
        """Whether *listing* is; an older one will do where the endpoint counts requests."""
        if self._metadata.counts_requests:
            seconds = max(seconds, self._stale_seconds)
        return time.monotonic() - listing.taken_at < seconds

    def _saves_a_request(self, listing: Listing | None) -> TypeGuard[Listing]:
        """Whether a row of *listing* is recent enough to save a request about its video.

        Its videos are completed, and stay so. So an older listing will do where the
        endpoint limits requests.
        """
        return listing is not None and self._is_younger(listing, self._ttl_seconds)


def listing_of(
    rows: Rows, can_be_read: Callable[[Status], bool], before: Listing | None = None
) -> Listing:
    """The listing of *rows*; it shares what it can with the one *before*."""
    shown = {video_id: row for video_id, row in rows.items() if can_be_read(row)}
    now = time.monotonic()
    if before is not None and before.positions.keys() == shown.keys():
        # A row that was read again may tell another time.
        if before.rows == rows:
            return replace(before, taken_at=now)
        order, positions = before.order, before.positions
    else:
        order = tuple(sorted(shown, key=name_of))
        positions = {video_id: index for index, video_id in enumerate(order)}
    names = ((name_of(video_id), video_id) for video_id in rows)
    shortened = {name: video_id for name, video_id in names if is_short(name)}
    return Listing(now, rows, order, positions, shortened, _changed_ns(order, rows))


def _changed_ns(order: tuple[str, ...], rows: Rows) -> int | None:
    times = [rows[video_id].mtime_seconds for video_id in order]
    newest = max((time for time in times if time is not None), default=None)
    if newest is None:
        return None
    digest = hashlib.blake2b("\0".join(order).encode(), digest_size=8).digest()
    return int(newest) * 10**9 + int.from_bytes(digest) % 10**9
