"""The names that programs walking through the listing will look up next.

Decides which look-ups belong to one walk, and how many names are looked up ahead of it.
Leaves to `listing` the order of names, and to `ahead` on how many threads they are
looked up.

Threads: any thread may call any method; `ahead` calls back for the next name.
"""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import dropwhile, islice

from ..api.metadata import VideoMetadata
from .ahead import Ahead
from .burst import Burst
from .known import KnownVideos, VideoFile
from .listing import Listing, VideoList
from .versions import Versions

# So many names are looked up ahead of the first. With it they cost two round trips.
FIRST_AHEAD = 8
# Later a walk is as far ahead as twice the names that it has asked for, at most this far:
# ten requests at once, 60 ms each, then keep ahead of a program that asks at once for
# each name as it comes. A guess.
MOST_AHEAD = 64
_AHEAD_SHARE = 2
# A walk may leave out names: folders are filtered by shell patterns.
_STRIDE = 4
# Programs that walk at the same time. Once so many walks have ended at their first name,
# the next one must take a second step before a name is looked up ahead of it.
MOST_WALKS = 4
# Names in no listing whose order is kept. A guess: the arguments of one command.
_MOST_GIVEN = 1000


@dataclass(slots=True)
class _Walk:
    """One program's walk; all are indices into the order of one listing."""

    start: int
    front: int  # the furthest name that was asked for
    reached: int  # names before it were looked up ahead, or need not be
    end: int  # where the names ahead end, half-open
    steps: int = 1  # names asked for

    def holds(self, position: int) -> bool:
        """Whether a look-up at *position* belongs to this walk."""
        return self.start <= position <= max(self.end, self.front + _STRIDE)

    def step_to(self, position: int) -> bool:
        """Look further ahead of *position*, if it is a step; returns whether it is."""
        if not 0 < position - self.front <= _STRIDE:
            self.front = max(self.front, position)
            return False
        self.front = position
        self.steps += 1
        ahead = min(max(FIRST_AHEAD, _AHEAD_SHARE * self.steps), MOST_AHEAD)
        self.reached = max(self.reached, position + 1)
        self.end = max(self.end, position + 1 + ahead)
        return True


class Walks:
    """The walks of all programs through the listing. Thread safety: all methods."""

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
        self._order: tuple[str, ...] = ()  # what the walks go through
        self._walks: list[_Walk] = []  # the one that was stepped on last comes last
        self._last = ""  # the id that was looked up last
        self._burst = Burst(FIRST_AHEAD, MOST_AHEAD)
        # The names of a listing in the server's order, with their places in it. Made once
        # for each: 10,000 names take 2 ms (2 cores, 2026-11-27).
        self._served_of: Listing | None = None
        self._served: list[str] = []
        self._places: dict[str, int] = {}
        self._shown = False  # whether a program has read the directory
        self._unlisted = 0  # names in a row that were found and are in no listing
        # Ids that were found and are in no listing, in the order of their first look-up.
        self._given: dict[str, None] = {}

    def shown(self) -> None:
        """A program reads the directory, so it may look up each name in it."""
        with self._lock:
            self._shown = True

    def step_to(self, video_id: str) -> bool:
        """A program looks *video_id* up; returns whether `look_ahead` has work.

        It has none where all names ahead are known.
        """
        listing = self._list.latest
        with self._lock:
            last, self._last = self._last, video_id
            if listing is None:
                return False
            # A newer listing of the same names shares the order of the one before.
            if listing.order is not self._order:
                self._order = listing.order
                self._walks.clear()
            position = listing.positions.get(video_id)
            if position is None:
                return False
            self._burst.asked(video_id)
            bursts = self._begin_burst_locked(listing, video_id, last)
            steps = self._step_locked(position, listing.positions.get(last))
            return steps or bursts

    def look_ahead(self) -> None:
        """Have the next names of the walks looked up; does not wait."""
        if self._metadata.looks_ahead:
            self._ahead.start(self._next_lookup)

    def note_found(self, video_id: str) -> None:
        """*video_id* was found by its name; if several were unlisted, read the newest.

        A program that gets its names elsewhere, as rsync and cp may, makes no listing.
        """
        listed = self._list.has(video_id)
        with self._lock:
            self._unlisted = 0 if listed else self._unlisted + 1
            given_names = self._unlisted > 1
            if not listed:
                self._given.setdefault(video_id)
                if len(self._given) > _MOST_GIVEN:
                    del self._given[next(iter(self._given))]
        if given_names and self._metadata.looks_ahead:
            self._list.start_reading_newest()

    def following(self, video_id: str, most: int) -> Sequence[str]:
        """At most *most* ids after *video_id*, in the order of names if it is listed.

        Else in the order in which programs looked them up: those that copy files they
        were given look all of them up first, and open them in that order.
        """
        if self._list.has(video_id):
            return self._list.following(video_id, most)
        with self._lock:
            if video_id not in self._given:
                return ()
            given = dropwhile(lambda one: one != video_id, self._given)
            return tuple(islice(given, 1, 1 + most))

    def _step_locked(self, position: int, before: int | None) -> bool:
        """Step to *position*, after a look-up at *before*; whether names ahead are new."""
        walk = next((w for w in reversed(self._walks) if w.holds(position)), None)
        if walk is None:
            walk = self._begin_locked(position, before)
        else:
            self._walks.remove(walk)
            self._walks.append(walk)
            if not walk.step_to(position):
                return False
        self._skip_known_locked(walk)
        return walk.reached < walk.end

    def _begin_burst_locked(self, listing: Listing, video_id: str, last: str) -> bool:
        """Begin a burst beside *last* and *video_id*; returns whether there is one.

        Names in their order make a walk, and so do those that a program has listed.
        """
        before = listing.positions.get(last)
        if self._shown or before in (None, listing.positions[video_id] - 1):
            return False
        if self._known.remembers(video_id):
            return False
        if listing is not self._served_of:
            self._served_of = listing
            self._served = [one for one in listing.rows if one in listing.positions]
            self._places = {one: place for place, one in enumerate(self._served)}
        return self._burst.begin(self._served, self._places, video_id, last)

    def _begin_locked(self, position: int, before: int | None) -> _Walk:
        """Begin a walk at *position*, after a look-up at *before*.

        Where a program was given names and lists nothing, the second in order shows that
        it walks. Before that, no name is looked up ahead of it.
        """
        full = len(self._walks) == MOST_WALKS
        in_vain = full and all(walk.steps == 1 for walk in self._walks)
        walks = before is not None and 0 < position - before <= _STRIDE
        goes_ahead = walks or (self._shown and not in_vain)
        following = position + 1
        end = following + FIRST_AHEAD if goes_ahead else following
        if full:
            del self._walks[0]
        begun = _Walk(position, position, following, end, 1 + walks)
        self._walks.append(begun)
        return begun

    def _next_lookup(self) -> tuple[str, Callable[[], VideoFile]] | None:
        """The next look-up ahead, if there is one; returns each name once."""
        if not self._metadata.looks_ahead:
            return None
        with self._lock:
            video_id = self._next_id_locked()
        if video_id is None:
            return None
        return video_id, partial(self._versions.look_up, video_id, ahead=True)

    def _next_id_locked(self) -> str | None:
        """The next name ahead that is not known; None if there is none."""
        while (video_id := self._burst.next()) is not None:
            if not self._known.remembers(video_id):
                return video_id
        for walk in reversed(self._walks):
            video_id = self._next_name_locked(walk)
            if video_id is not None:
                return video_id
        return None

    def _next_name_locked(self, walk: _Walk) -> str | None:
        """The next name ahead of *walk* that is not known; None if there is none."""
        self._skip_known_locked(walk)
        if walk.reached >= walk.end:
            return None
        walk.reached += 1
        return self._order[walk.reached - 1]

    def _skip_known_locked(self, walk: _Walk) -> None:
        walk.end = min(walk.end, len(self._order))
        while walk.reached < walk.end and self._known.remembers(
            self._order[walk.reached]
        ):
            walk.reached += 1
