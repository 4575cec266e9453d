"""The videos of one endpoint as files: found by their names, opened, and listed.

Decides when a known file must be confirmed, that what is known serves while the server is
away, and that a kept copy stands for a video that its server does not serve. Leaves to
`ids` which video a name stands for, to `shown` what a directory shows, to `telling` and
`looks` what was told of a video, to `copies` which copies there are, to `known` what is
remembered, to `versions` what the server is asked about a video, to `walk` which names are
looked up ahead, to `http.breaker` when the server counts as away, and to `operations` how
files are shown.

Threads: requests run on the threads of `lookups`. Callers wait with a deadline, since a
request that hangs in a look-up of its host cannot be woken.
"""

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial

from ..api.endpoint_check import NewestPage
from ..api.judgement.video_status import UNSAID, Status
from ..api.metadata import VideoMetadata
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import (
    HingError,
    NotAsked,
    TransportError,
    printable,
)
from ..facts.store import FactStore
from ..fetch.spool_store import SpoolStore
from ..settings import CacheConfig
from .ahead import Ahead
from .copies import Copies
from .crowd import Crowd
from .described import Described
from .details import Details
from .ids import Ids
from .known import Known, KnownVideos, VideoFile
from .listing import VideoList
from .look import Look
from .looks import Looks
from .lookups import Lookups
from .names import ShortNames
from .newest import newest
from .openings import Openings
from .shown import Shown
from .telling import Telling
from .versions import Versions
from .walk import Walks

log = logging.getLogger(__name__)

# Clips that a program may read next, as far as they are known.
MOST_FOLLOWING = 16


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
        tiers: Tiers,
        ahead: Ahead,
        crowd: Crowd,
        store: FactStore,
        openings: Openings,
        copies: Copies,
    ) -> None:
        self._config = config
        self._copies = copies
        self._metadata_seconds = metadata_seconds
        self._lookups = lookups
        self._crowd = crowd
        self._openings = openings
        self._short_names = ShortNames()
        self._list = VideoList(
            *(metadata, lookups, self._short_names, config.listing_ttl_seconds),
            store=store,
        )
        self._known = KnownVideos(
            config.negative_ttl_seconds, metadata.now, store=store
        )
        self._described = Described(store, copies)
        self._versions = Versions(
            metadata,
            spools,
            self._known,
            self._list,
            self._short_names,
            tiers=tiers,
            described=self._described,
            metadata_seconds=metadata_seconds,
        )
        self._looks = Looks(
            metadata,
            lookups,
            self._versions,
            known=self._known,
            copies=copies,
            described=self._described,
            confirmed_seconds=config.metadata_ttl_seconds,
        )
        self._ids = Ids(metadata, self._list, self._short_names, self._known)
        self._shown = Shown(metadata, self._list, self._known, tiers, copies)
        self._telling = Telling(
            self._described,
            self._known,
            copies,
            versions=self._versions,
            lookups=lookups,
            crowd=crowd,
        )
        self._walks = Walks(metadata, self._list, self._known, self._versions, ahead)
        self._metadata = metadata
        # Whether it was said that files stay as they are known, since the API last
        # answered for one. A lost update costs a line of the log.
        self._told_kept = False

    def find(self, name: str, *, more_follows: bool = False) -> VideoFile:
        """The file of the video that *name*, full or short, stands for.

        A known file comes from memory; others are asked for. *more_follows*: a program
        may open it, and look up other names; what that needs is asked for beside it.
        The copy that is kept of a video stands for it where these would be raised:
        VideoNotFound for a name that no video can have, without a request; the error that
        the server's answers mean; and DeadlineExceeded.
        """
        file = self.at_hand(name)
        if file is not None:
            if self._walks.step_to(file.video_id):
                self._walks.look_ahead()
            return file
        with self._crowd.call(self._metadata_seconds) as deadline:
            try:
                video_id = self._ids.of(name, deadline)
                file = self._find_id(video_id, deadline, more_follows=more_follows)
            except HingError as error:
                return self._copy_of(name, error)
        self._copies.served(file)
        return file

    def at_hand(self, name: str) -> VideoFile | None:
        """The file that `find` would give from memory, if it would; makes no request."""
        video_id = self._ids.at_hand(name)
        known = None if video_id is None else self._known.at_hand(video_id)
        if known is None or not self._is_vouched_for(known):
            return None
        return known.file

    def find_to_open(self, name: str) -> VideoFile:
        """As `find`, for an open: a file that was not confirmed lately is confirmed.

        If the server is away, the file stays as it is known.
        """
        with self._crowd.call(self._metadata_seconds) as deadline:
            try:
                file = self._find_id_to_open(self._ids.of(name, deadline), deadline)
            except HingError as error:
                return self._copy_of(name, error)
        self._copies.served(file)
        return file

    def is_confirmed(self, file: VideoFile) -> bool:
        """Whether the server has confirmed *file* to this process, or just before it.

        If not, *file* is a copy, or stays as it is known since the server is away.
        """
        known = self._known.at_hand(file.video_id)
        if known is None or known.file is not file:
            return False
        ttl = self._config.metadata_ttl_seconds
        return not known.recalled or known.confirmed_within(ttl)

    def _copy_of(self, name: str, error: HingError) -> VideoFile:
        """The copy of the video of *name*, which is not served; raises *error* if none."""
        video_id = self._ids.at_hand(name) or self._copies.id_of(name)
        file = None
        if video_id is not None:
            file = self._copies.file(video_id, self._known.file(video_id))
        if file is None:
            raise error
        return file

    def find_to_keep(self, video_id: str) -> VideoFile:
        """As `find_to_open`, for no program: it tells nothing of what programs read.

        No copy stands for the video.
        """
        deadline = time.monotonic() + self._metadata_seconds
        known = self._known.good(video_id)
        if known is None:
            job = partial(self._versions.look_up, video_id)
            return self._lookups.result(video_id, deadline, job)
        if known.confirmed_within(self._config.metadata_ttl_seconds):
            return known.file
        return self._confirm(known.file, deadline)

    def find_when_ready(self, name: str) -> VideoFile:
        """The file of *name* as the server has it now, for programs that wait for it.

        Asks though it was refused a moment ago, by one request while it is not ready.
        Raises as `find_to_open` does, and NeverServed.
        """
        deadline = time.monotonic() + self._metadata_seconds
        try:
            video_id = self._ids.of(name, deadline)
            known = self._known.at_hand(video_id)
            if known is None:
                job = partial(self._versions.look_up_if_ready, video_id)
                file = self._lookups.result(video_id, deadline, job)
            elif known.confirmed_within(self._config.metadata_ttl_seconds):
                return known.file
            else:
                file = self._confirm(known.file, deadline)
        except HingError as error:
            return self._copy_of(name, error)
        self._copies.served(file)
        return file

    def look_at(self, name: str) -> Look:
        """As `Looks.look_at`, of the video that *name* stands for; raises nothing."""
        deadline = time.monotonic() + self._metadata_seconds
        video_id = self._ids.at_hand(name) or self._copies.id_of(name)
        try:
            video_id = video_id or self._ids.of(name, deadline)
        except HingError as error:
            return Look(None, UNSAID, None, Details(), error)
        return self._looks.look_at(video_id, deadline)

    def rows_to_keep(self) -> dict[str, Status]:
        """The rows of the list that are shown, by id; asks unless it is fresh.

        Raises as `listing` does.
        """
        return self._shown.rows(time.monotonic() + self._metadata_seconds)

    def _find_id(
        self, video_id: str, deadline: float, *, more_follows: bool
    ) -> VideoFile:
        steps_on = self._walks.step_to(video_id)
        try:
            known = self._believed(video_id)
            if known is not None and self._is_vouched_for(known):
                return known.file
            beside: list[Callable[[], None]] = []
            before = known.file.content if known is not None else None
            if more_follows and self._openings.looked_up(video_id, before):
                beside.append(partial(self._openings.begin, video_id))
            if steps_on:
                beside.append(self._walks.look_ahead)
            file = self._ask(video_id, deadline, known=known, beside=beside)
            self._openings.found(file.content)
        finally:
            # The first answer of a server shows whether it may look ahead at all.
            if steps_on:
                self._walks.look_ahead()
        self._walks.note_found(video_id)
        return file

    def _find_id_to_open(self, video_id: str, deadline: float) -> VideoFile:
        known = self._believed(video_id)
        if known is None:
            file = self._ask(video_id, deadline)
        elif known.confirmed_within(self._config.metadata_ttl_seconds):
            file = known.file
        else:
            file = self._confirm(known.file, deadline)
        self._known.note_opened(video_id)
        self._openings.opened(file.content)
        return file

    def _believed(self, video_id: str) -> Known | None:
        """The known file, if it is good, or was and the server is away.

        Raises a refusal of a moment ago.
        """
        known = self._known.good(video_id)
        if known is None and self._metadata.is_away:
            known = self._known.unchanged(video_id)
        return known

    def _is_vouched_for(self, known: Known) -> bool:
        """Whether the server has spoken of *known* to this mount, or just before it.

        While it is away, what it told an earlier mount has to do.
        """
        if self._metadata.is_away:
            return True
        ttl = self._config.metadata_ttl_seconds
        if not known.recalled or known.confirmed_within(ttl):
            return True
        if self._list.vouches_for(known.file.video_id, known.file.mtime_ns, ttl):
            self._known.note_listed(known.file)
            return True
        return False

    def _ask(
        self,
        video_id: str,
        deadline: float,
        *,
        known: Known | None = None,
        beside: Sequence[Callable[[], None]] = (),
    ) -> VideoFile:
        """Ask for the file of *video_id*; VideoNotReady if the look-up hangs.

        A *known* file is confirmed, and stays as it is if the server is away.
        *beside* send other requests, once its own is under way: that one goes first,
        where the server takes few at once.
        """
        ask = self._versions.look_up if known is None else self._versions.confirm
        try:
            file = self._lookups.result_unless_silent(
                video_id,
                deadline,
                partial(ask, video_id),
                ask=self._list.read_newest,
                beside=beside,
            )
        except TransportError as error:
            known = known or self._believed(video_id)
            if known is None:
                raise
            return self._kept(known.file, error)
        self._told_kept = False
        return file

    def _confirm(self, file: VideoFile, deadline: float) -> VideoFile:
        """Ask whether *file* is still the same; *file* itself if the server is away."""
        video_id = file.video_id
        job = partial(self._versions.confirm, video_id)
        try:
            found = self._lookups.result(video_id, deadline, job)
        except TransportError as error:
            return self._kept(file, error)
        self._told_kept = False
        return found

    def _kept(self, file: VideoFile, error: TransportError) -> VideoFile:
        """*file* as it is known, since the server is away; says so once."""
        quiet = self._told_kept or isinstance(error, NotAsked)
        level = logging.DEBUG if quiet else logging.WARNING
        self._told_kept = True
        name = printable(file.video_id, 80)
        log.log(level, "%s: kept as known, the server is away: %s", name, error)
        return file

    def following(self, video_id: str) -> list[Content]:
        """The known contents that may be opened after *video_id*; makes no request."""
        return self._known.contents(self._walks.following(video_id, MOST_FOLLOWING))

    def listing(self) -> list[tuple[str, int]]:
        """(name, inode) of the files that can be read: completed, or opened before.

        And those that are kept, alone if the token is refused. Raises AccessDenied, or
        TransportError if the API has a list and does not give it whole: a short listing
        would make `rsync --delete` erase copies. While the API is away, and the last
        listing is too old to stand in, those that are known or kept are shown all the
        same.
        """
        self._openings.listed()
        self._walks.shown()
        with self._crowd.call(self._metadata_seconds) as deadline:
            return self._shown.entries(deadline)

    def find_with_details(self, name: str) -> tuple[VideoFile, Details]:
        """As `find`, with `details_of` the file, in the time of one call."""
        began_at = time.monotonic()
        file = self.find(name)
        return file, self.details_of(file, began_at)

    def details_of(self, file: VideoFile, began_at: float | None = None) -> Details:
        """What the server told of the version of *file*: the same each time, for good.

        The status route is asked if nobody asked it before about this version. A copy
        that stands for a video has what was told when it was kept. *began_at* is when the
        call began (monotonic), now if not given. Raises as `find` does.
        """
        spent = 0.0 if began_at is None else time.monotonic() - began_at
        return self._telling.details_of(file, self._metadata_seconds - spent)

    def note_kept(self, file: VideoFile) -> None:
        """*file* is kept: have what was told of it lie beside the copy. Does I/O.

        The status route is asked as for `details_of`; at any trouble nothing lies there.
        """
        self._telling.note_kept(file, self._metadata_seconds)

    def newest(self, most: int) -> list[str] | None:
        """The ids of the *most* newest videos that the list shows, as `newest.newest`.

        Asks for the list in any case. Raises as `listing` does.
        """
        deadline = time.monotonic() + self._metadata_seconds
        job = partial(newest, self._metadata, most)
        return self._lookups.listing(f"{most} newest", deadline, job)

    def expires_at(self, video_id: str) -> float | None:
        """When the link of *video_id* expires in Unix seconds, if it is known."""
        return self._known.expires_at(video_id)

    def note_newest(self, newest: NewestPage) -> None:
        """The check has brought the *newest* page of the list."""
        self._list.note_newest(newest)

    def expire_listing(self) -> None:
        """Have the next listing ask the API; if that fails, the old one stands in."""
        self._list.expire()

    def close(self) -> None:
        """Have the next mount recall nothing that a read found to have changed."""
        self._known.forget_changed()

    def changed_ns(self) -> int | None:
        """When the listing changed, in ns since the epoch; None if nothing tells it.

        Has the list read if the last listing is no longer fresh; does not wait.
        """
        return self._list.changed_ns()

    def known_bytes(self) -> int:
        """The sizes of all known files, added up; makes no request."""
        return self._known.total_bytes()
