"""The videos of one endpoint as files: found by their names, opened, and listed.

Decides what a name stands for, what a directory shows, and when what is known must be
confirmed. Leaves to `known` what is remembered, to `listing` what the API lists, to
`versions` what the server is asked about a video, to `walk` what is looked up ahead, and
to `operations` how it is shown.

Threads: what asks the server runs on those of `lookups`, and callers wait with a
deadline, since a request stalled in a name lookup cannot be woken.
"""

import logging
from functools import partial

from ..api.metadata import VideoMetadata
from ..errors import TransportError, VideoNotFound, printable
from ..fetch.spool_store import SpoolStore
from ..settings import CacheConfig
from ..version import Content
from .ahead import Ahead
from .crowd import Crowd
from .known import KnownVideos, VideoFile
from .listing import VideoList
from .lookups import Lookups
from .names import ShortNames, inode_of, is_short, name_of, video_id_of
from .versions import Versions
from .walk import NEIGHBOURS, Walk

log = logging.getLogger(__name__)


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
        ahead: Ahead,
        crowd: Crowd,
    ) -> None:
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
        self._walk = Walk(metadata, self._list, self._known, self._versions, ahead)

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
        place = self._walk.step_to(video_id)
        try:
            known = self._known.good(video_id)
            if known is not None:
                return known.file
            file = self._looked_up(video_id, deadline)
        finally:
            # Not before: what is wanted goes first, also where few requests are served.
            if place is not None:
                self._walk.look_ahead(*place)
        self._walk.note_found(video_id)
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
        return self._lookups.answer(video_id, deadline, job, ask)

    def _confirmed(self, file: VideoFile, deadline: float) -> VideoFile:
        """What *file* is now; as it is known, if the server is away."""
        video_id = file.video_id
        job = partial(self._versions.confirm, video_id)
        try:
            return self._lookups.result(video_id, deadline, job)
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
