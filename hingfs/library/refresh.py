"""How much of the API's list is read again.

Decides where a reading of the list may stop, and what is read behind the program. A list
that is proved to be sorted newest first is read until its newest page joins the known
rows: one request. Behind that, pages with unfinished rows are read again, two at most;
and the whole list once in `WALK_TTLS` times its TTL, or if the join was not proved, which
notices deletions. All other lists are read whole. Leaves to `ground` what proves a join.

Threads: one calls `newest`, another `rest` at the same time.
"""

import itertools
import math
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from ..api.judgement.listing import MOST_LISTED_BYTES, listed_bytes
from ..api.metadata import VideoMetadata
from ..api.pages import Listed, Reading
from ..facts.store import FactStore
from .ground import (
    FEW_PAGES,
    Ground,
    Rows,
    is_newest_first,
    recalled,
    rows_to_keep,
    united,
)
from .names import has_name

# While programs list, the whole list is read once in so many times its TTL: with the
# default of 10 s every five minutes. 10,000 videos then cost 100 requests in that time,
# beside some 30 to 90 (2026-11-27); before, 3,000.
WALK_TTLS = 30
# Pages with unfinished rows that are read again at each refresh.
_PAGES_ASKED_AGAIN = 2


class NumberedRows(NamedTuple):
    """The rows of the whole list; of two, the one with the higher number is newer."""

    number: int
    rows: Rows


class ListRefresh:
    """The rows of the list, as they were read last. See the module docstring.

    *store* recalls those that an earlier mount knew, and is told of newer ones. Rows of
    more than *most_bytes* are read whole again.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        ttl_seconds: float,
        store: FactStore,
        most_bytes: int = MOST_LISTED_BYTES,
    ) -> None:
        self._metadata = metadata
        self._store = store
        self._ttl_seconds = ttl_seconds
        self._most_bytes = most_bytes
        # Guards all below; no request is made under it.
        self._lock = threading.Lock()
        self._ground: Ground | None = None
        # Rows of newest pages that do not yet join the ground, the newest first.
        self._since: Rows = {}
        # What is read behind the programs, from when it is due until it has ended.
        self._rest: Callable[[Ground], Ground] | None = None
        # The next refresh reads the whole list before it returns.
        self._must_walk = False
        # Whether the list of an earlier mount may stand for pages of the first refresh.
        self._recalls = bool(store.recalled.listing)
        self._kept: Ground | None = None  # what the store was told of last
        self._numbers = itertools.count(1)

    @property
    def is_cheap(self) -> bool:
        """Whether `newest` will need a few requests at most."""
        with self._lock:
            ground = self._ground
        return ground is not None and (
            ground.can_be_joined or ground.pages <= FEW_PAGES
        )

    @property
    def has_rest(self) -> bool:
        """Whether there is something for `rest` to read."""
        with self._lock:
            return self._rest is not None

    def must_walk(self) -> None:
        """Have the next `newest` read the whole list."""
        with self._lock:
            self._must_walk, self._recalls = True, False

    def keep(self) -> None:
        """Have the next mount recall what is known, if that is news."""
        with self._lock:
            ground, before = self._ground, self._kept
            self._kept = ground
        if ground is None or (
            before is not None
            and before.rows == ground.rows
            and before.walked_at == ground.walked_at
        ):
            return
        now = self._metadata.now()
        kept = rows_to_keep(ground, self._metadata.can_be_read, now)
        if kept or self._store.recalled.listing:
            walked_at = time.time() - (time.monotonic() - ground.walked_at)
            self._store.save_listing(kept, walked_at)

    def newest(self) -> NumberedRows:
        """The rows of the list now; those behind its newest page may be older.

        It leaves out no row that was there before and has not been proved gone. Raises
        TransportError unless the list comes.
        """
        began = time.monotonic()
        reading = self._metadata.pages.reading(has_name)
        reading.read_page()
        with self._lock:
            ground = None if self._must_walk or reading.ended else self._ground
            if ground is not None and ground.can_be_joined:
                rows = self._with_newest_locked(ground, reading)
                # Too many for a list: whether they are still there, a whole pass shows.
                self._must_walk = sum(map(listed_bytes, rows)) > self._most_bytes
                return self._numbered_locked(rows)
        earlier = self._recalled()
        whole = _read_on(reading, earlier) if earlier else _walked(reading, began)
        with self._lock:
            if self._rest is None:
                self._rest = self._due(whole, whole, reading)
            self._ground, self._since, self._must_walk = whole, {}, False
            return self._numbered_locked(whole.rows)

    def rest(self) -> NumberedRows | None:
        """Read what `newest` left; the rows then, None if they are as they were.

        Raises TransportError; then the next `newest` reads the whole list.
        """
        with self._lock:
            rest, ground = self._rest, self._ground
        if rest is None or ground is None:
            return None
        try:
            read = rest(ground)
        except BaseException:
            with self._lock:
                self._rest, self._must_walk = None, True
            raise
        with self._lock:
            self._rest = None
            if self._ground is not ground:
                return None  # the whole list was read meanwhile
            # Newer pages came while this was read.
            self._ground, self._since = read.grown(self._since), {}
            return self._numbered_locked(self._ground.rows)

    def _recalled(self) -> Ground | None:
        """The ground of an earlier mount, if it may count; at most once."""
        with self._lock:
            recalls, self._recalls = self._recalls, False
        listing, listed_at = (
            self._store.recalled.listing,
            self._store.recalled.listed_at,
        )
        if not recalls or listed_at is None:
            return None
        age = time.time() - listed_at
        # The clock was set back if that is negative.
        walked_at = time.monotonic() - age if age >= 0 else -math.inf
        return recalled(listing, listed_at, walked_at)

    def _with_newest_locked(self, ground: Ground, reading: Reading) -> Rows:
        """The rows of *ground* with the newest page, which *reading* has read."""
        newest = _rows(reading.videos)
        if self._rest is None:
            joined = ground.joined(newest, reading.total)
            self._rest = self._due(ground, joined, reading)
            if joined is not None:
                self._ground, self._since = joined, {}
                return joined.rows
        self._since = united(newest, self._since)
        return united(self._since, ground.rows)

    def _due(
        self, ground: Ground, joined: Ground | None, reading: Reading
    ) -> Callable[[Ground], Ground] | None:
        """What is to be read behind the newest page of *reading*.

        *joined* is *ground* with that page, None if it was not proved to join.
        """
        if time.monotonic() - ground.walked_at >= WALK_TTLS * self._ttl_seconds:
            return partial(_read_to_end, reading)
        if joined is None:
            return partial(_read_on, reading)
        page_rows, now = len(reading.videos), self._metadata.now()
        again = joined.pages_to_ask_again(page_rows, now, _PAGES_ASKED_AGAIN)
        return partial(self._ask_again, again) if again else None

    def _ask_again(self, again: list[str], ground: Ground) -> Ground:
        """*ground* after the pages behind the ids *again* were read once more."""
        pages = self._metadata.pages
        for after in again:
            page = pages.one_page(has_name, after)
            updated = ground.updated(after, _rows(page or []))
            if updated is None:
                return _read_to_end(pages.reading(has_name), ground)
            ground = updated
        return ground

    def _numbered_locked(self, rows: Rows) -> NumberedRows:
        return NumberedRows(next(self._numbers), rows)


def _rows(videos: list[Listed]) -> Rows:
    return {video.video_id: video.status for video in videos}


def _read_on(reading: Reading, ground: Ground) -> Ground:
    """*ground* after *reading* has reached it, or the end of the list."""
    began = time.monotonic()
    while not reading.ended:
        joined = ground.joined(_rows(reading.videos), reading.total)
        if joined is not None:
            return joined
        reading.read_page()
    return _walked(reading, began)


def _read_to_end(reading: Reading, _ground: Ground) -> Ground:
    return _walked(reading, time.monotonic())


def _walked(reading: Reading, began: float) -> Ground:
    """The ground of a *reading*, which is read to the end of the list."""
    while not reading.ended:
        reading.read_page()
    rows = _rows(reading.videos)
    total = reading.total
    if total is not None and total < len(rows):
        total = None  # it counts something else, as the rows of its page
    return Ground(rows, total, reading.pages, is_newest_first(rows), began)
