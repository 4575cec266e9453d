"""The videos of one endpoint as files: found by their names, opened, and listed.

Decides what a name stands for, what a directory shows, and when what is known must be
confirmed. Leaves to `known` what is remembered, to `listing` what the API lists, to
`versions` what the server is asked about a video, and to `operations` how it is shown.

Threads: what asks the server runs on those of `lookups`, and callers wait with a
deadline, since a request stalled in a name lookup cannot be woken.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial

from ..api.metadata import VideoMetadata
from ..errors import HingError, TransportError, VideoNotFound, printable
from ..fetch.spool_store import SpoolStore
from ..settings import CacheConfig
from ..version import Content
from .crowd import Crowd
from .known import KnownVideos, VideoFile
from .listing import Listing, VideoList
from .lookups import Lookups
from .names import ShortNames, inode_of, is_short, name_of, video_id_of
from .versions import Versions

log = logging.getLogger(__name__)

# Listed videos whose attributes are fetched before they are asked for, once a program
# goes through the listing in order.
NEIGHBOURS = 16
_NEIGHBOUR_DISTANCE = 4
# What `lookups` does one at a time for each video: whatever decides which version the
# server has.
_LOOK_UP = "look up"


class Catalog:
    """The videos of one endpoint as files. Thread safety: all methods."""

    def __init__(
        self,
        metadata: VideoMetadata,
        spools: SpoolStore,
        config: CacheConfig,
        metadata_seconds: float,
        lookups: Lookups,
        *,
        crowd: Crowd,
    ) -> None:
        self._metadata = metadata
        self._config = config
        self._metadata_seconds = metadata_seconds
        self._lookups = lookups
        self._crowd = crowd
        self._short_names = ShortNames()
        self._list = VideoList(
            metadata, lookups, self._short_names, config.listing_ttl_seconds
        )
        self._known = KnownVideos(config.negative_ttl_seconds, metadata.now)
        self._versions = Versions(
            metadata,
            spools,
            self._known,
            self._list,
            self._short_names,
            metadata_seconds=metadata_seconds,
        )
        self._lock = threading.Lock()
        # All below are guarded by _lock.
        self._unlisted = 0  # names in a row that were found and are in no listing
        self._last_looked_up = ""
        # A listing, and the indices in it of what is still to be looked up ahead.
        self._ahead: tuple[Listing | None, int, int] = (None, 0, 0)

    def find(self, name: str) -> VideoFile:
        """The file of the video that *name* stands for, in full or in short.

        From memory once known, else asked for. Raises VideoNotFound for what can be no
        video, without asking for it, else what the server's answers mean, and
        DeadlineExceeded.
        """
        with self._crowd.call(self._metadata_seconds) as deadline:
            return self._lookup(self._id_of(name, deadline), deadline)

    def find_to_open(self, name: str) -> VideoFile:
        """As `find`, for a file to be opened: confirmed when it has grown old.

        If the server is away, what is known is kept.
        """
        with self._crowd.call(self._metadata_seconds) as deadline:
            return self._open(self._id_of(name, deadline), deadline)

    def _lookup(self, video_id: str, deadline: float) -> VideoFile:
        place = self._walk_to(video_id)
        try:
            known = self._known.good(video_id)
            if known is not None:
                return known.file
            file = self._looked_up(video_id, deadline)
        finally:
            # Not before: what is wanted goes first, also where few requests are served.
            if place is not None:
                self._look_ahead(*place)
        self._seek_order(video_id)
        return file

    def _open(self, video_id: str, deadline: float) -> VideoFile:
        known = self._known.good(video_id)
        if known is None:
            file = self._looked_up(video_id, deadline)
        elif known.confirmed_within(self._config.metadata_ttl_seconds):
            file = known.file
        else:
            file = self._confirmed(known.file, deadline)
        self._known.note_opened(video_id)
        return file

    def _looked_up(self, video_id: str, deadline: float) -> VideoFile:
        """The file of *video_id*, asked for; VideoNotReady where it hangs."""
        job = partial(self._versions.look_up, video_id)
        ask = self._list.read_newest
        return self._lookups.answer(_LOOK_UP, video_id, deadline, job, ask)

    def _confirmed(self, file: VideoFile, deadline: float) -> VideoFile:
        """What *file* is now; as it is known, if the server is away."""
        video_id = file.video_id
        job = partial(self._versions.confirm, video_id)
        try:
            return self._lookups.result(_LOOK_UP, video_id, deadline, job)
        except TransportError as error:
            log.warning(
                "%s: kept as known, the server is away: %s",
                printable(video_id, 80),
                error,
            )
            return file

    def following(self, video_id: str) -> list[Content]:
        """What comes after *video_id* in the listing, as far as known; asks nobody."""
        return self._known.contents(self._list.following(video_id, NEIGHBOURS))

    def listing(self) -> list[tuple[str, int]]:
        """(name, inode) of what can be read now: listed and completed, or opened before.

        Raises AccessDenied, or TransportError where there is a list that cannot be
        had whole: a short listing would make `rsync --delete` erase copies.
        """
        with self._crowd.call(self._metadata_seconds) as deadline:
            shown = self._list.shown(deadline)
        return sorted(
            (name_of(video_id), inode_of(video_id))
            for video_id in {*self._known.opened_ids(), *shown}
        )

    def list_anew(self) -> None:
        """Have the next listing ask the API; the one that is there may stand in for it."""
        self._list.anew()

    def known_bytes(self) -> int:
        """The sizes of all files known, added up; never asks the server."""
        return self._known.total_bytes()

    def close(self, error: HingError) -> None:
        """Wake everybody who waits, with *error*."""
        self._lookups.close(error)

    # -- names -------------------------------------------------------------------------

    def _id_of(self, name: str, deadline: float) -> str:
        """The id that *name* stands for; asks for the list where only that can tell.

        Raises VideoNotFound where it stands for none, and as `listing`.
        """
        video_id = video_id_of(name)
        if is_short(name):
            video_id = self._shortened(name, video_id, deadline)
        if video_id is None:
            raise VideoNotFound("no video can have this name")
        return video_id

    def _shortened(self, name: str, literal: str | None, deadline: float) -> str | None:
        """The id whose short name is *name*; where there is none, *literal*."""
        video_id = self._short_names.id_of(name)
        if video_id is not None:
            return video_id
        if literal is not None and self._known.is_told(literal):
            return literal
        return self._list.current(deadline).shortened.get(name, literal)

    # -- walk --------------------------------------------------------------------------

    def _walk_to(self, video_id: str) -> tuple[Listing, int] | None:
        """A listing and where in it *video_id* is, if a program walks through it.

        A step elsewhere ends the walk: no more of what came next there is asked ahead.
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
            self._ahead = (order, position + 1, 0)
            return None

    def _look_ahead(self, order: Listing, position: int) -> None:
        """Fetch the attributes of what comes after *position* in *order*."""
        if not self._metadata.looks_ahead:
            return
        with self._lock:
            walked, reached, end = self._ahead
            if walked is not order:
                reached, end = 0, 0
            following = position + 1
            end = max(end, following + NEIGHBOURS)
            self._ahead = (order, max(reached, following), end)
        self._lookups.go_ahead(_LOOK_UP, self._next_ahead)

    def _next_ahead(self) -> tuple[str, Callable[[], VideoFile]] | None:
        """The next look-up ahead, if there is one; each name is given once."""
        if not self._metadata.looks_ahead:
            return None
        with self._lock:
            order, reached, end = self._ahead
            names = order.order[reached:end] if order is not None else ()
            for passed, video_id in enumerate(names, 1):
                if not self._known.is_told(video_id):
                    self._ahead = (order, reached + passed, end)
                    job = partial(self._versions.look_up, video_id, ahead=True)
                    return video_id, job
            self._ahead = (order, max(reached, end), end)
        return None

    def _seek_order(self, video_id: str) -> None:
        """*video_id* was found by its name alone; look at the list if others were.

        A program that is given names, as rsync and cp are, lists nothing.
        """
        listed = self._list.has(video_id)
        with self._lock:
            self._unlisted = 0 if listed else self._unlisted + 1
            given_names = self._unlisted > 1
        if given_names and self._metadata.looks_ahead and not self._list.is_fresh():
            self._lookups.start("newest", self._list.read_newest)
