"""Which videos exist and what they are as files.

Decides what is known of a video and for how long, and what is looked up ahead. Leaves to
`names` what a name may be, to `listing` what the API lists, to `metadata` how the server
is asked, and to `operations` how it is shown.

Threads: what asks the server runs on those of `lookups`, and callers wait with a
deadline, since a request stalled in a name lookup cannot be woken. `_lock` guards
the tables and is never held while anything waits.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial

from ..api.metadata import Probe, VideoMetadata
from ..api.shifting import SAMPLE
from ..api.statuses import Status
from ..api.verdict import Facts
from ..api.whole import UNKNOWN_SIZE
from ..blocks import MIB
from ..errors import (
    DeadlineExceeded,
    HingError,
    ServerBroken,
    SpoolFull,
    TransportError,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
    printable,
)
from ..fetch.spool_store import SpoolStore
from ..remembered import Remembered, bytes_of_texts
from ..settings import CacheConfig
from ..version import Content
from .crowd import Crowd
from .listing import Listing, VideoList
from .lookups import Lookups
from .names import ShortNames, inode_of, is_short, name_of, video_id_of

log = logging.getLogger(__name__)

# How long "completed" and "not served" may both hold: servers lag behind themselves.
UNSERVED_SECONDS = 60.0
# Listed videos whose attributes are fetched before they are asked for, once a program
# goes through the listing in order.
NEIGHBOURS = 16
_NEIGHBOUR_DISTANCE = 4
# What `lookups` does one at a time for each video: whatever decides which version the
# server has. Two at once would make two contents of one version, and end one of them.
_LOOK_UP = "look up"
# What is remembered of names: 16,000 known videos, of which each takes 1 KB with an id of
# 40 characters; and of each other kind, thousands.
_MOST_KNOWN_BYTES = 16 * MIB
_MOST_OTHER_BYTES = 1 * MIB
# A known video beside its texts, and an error beside its words: measured (2026-11-26).
_KNOWN_BYTES = 450
_ERROR_BYTES = 100


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video that can be read, as a file. Times in ns since the epoch."""

    video_id: str
    content: Content
    mtime_ns: int
    inode: int


@dataclass(slots=True)
class _Known:
    file: VideoFile
    checked_at: float  # monotonic: when the server last confirmed it
    expires_at: float | None  # Unix seconds
    opened: bool = False


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
        self._spools = spools
        self._config = config
        self._metadata_seconds = metadata_seconds
        self._lookups = lookups
        self._crowd = crowd
        self._short_names = ShortNames()
        self._list = VideoList(
            metadata, lookups, self._short_names, config.listing_ttl_seconds
        )
        self._lock = threading.Lock()
        # All below are guarded by _lock.
        self._known: Remembered[_Known] = Remembered(
            _MOST_KNOWN_BYTES,
            lambda known: _KNOWN_BYTES + _texts_of(known.file.content),
        )
        self._refused: Remembered[HingError] = Remembered(
            _MOST_OTHER_BYTES,
            lambda error: _ERROR_BYTES + bytes_of_texts(str(error)),
            config.negative_ttl_seconds,
        )
        self._unserved_since: Remembered[float] = Remembered(
            _MOST_OTHER_BYTES, lambda _: 0, 3600
        )
        # Contents of unknown size, with their mtime_ns and expires_at.
        self._unmeasured: Remembered[tuple[Content, int, float | None]] = Remembered(
            _MOST_OTHER_BYTES, lambda found: _KNOWN_BYTES + _texts_of(found[0])
        )
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
            known = self._remembered(video_id)
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
        known = self._remembered(video_id)
        ttl = self._config.metadata_ttl_seconds
        if known is None:
            file = self._looked_up(video_id, deadline)
        elif time.monotonic() - known.checked_at < ttl:
            file = known.file
        else:
            try:
                job = partial(self._judged, video_id, partial(self._confirm, video_id))
                file = self._lookups.result(_LOOK_UP, video_id, deadline, job)
            except TransportError as error:
                log.warning(
                    "%s: kept as known, the server is away: %s",
                    printable(video_id, 80),
                    error,
                )
                file = known.file
        with self._lock:
            entry = self._known.get(video_id)
            if entry is not None:
                entry.opened = True
        return file

    def following(self, video_id: str) -> list[Content]:
        """What comes after *video_id* in the listing, as far as known; asks nobody."""
        contents: list[Content] = []
        neighbours = self._list.following(video_id, NEIGHBOURS)
        with self._lock:
            for neighbour in neighbours:
                known = self._known.get(neighbour)
                if known is None:
                    break
                contents.append(known.file.content)
        return contents

    def listing(self) -> list[tuple[str, int]]:
        """(name, inode) of what can be read now: listed and completed, or opened before.

        Raises AccessDenied, or TransportError where there is a list that cannot be
        had whole: a short listing would make `rsync --delete` erase copies.
        """
        with self._crowd.call(self._metadata_seconds) as deadline:
            shown = self._list.shown(deadline)
        with self._lock:
            opened = [
                known.file.video_id for known in self._known.values() if known.opened
            ]
        return sorted(
            (name_of(video_id), inode_of(video_id)) for video_id in {*opened, *shown}
        )

    def list_anew(self) -> None:
        """Have the next listing ask the API; the one that is there may stand in for it."""
        self._list.anew()

    def known_bytes(self) -> int:
        """The sizes of all files known, added up; never asks the server."""
        with self._lock:
            return sum(known.file.content.size_bytes for known in self._known.values())

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
        with self._lock:
            told = literal is not None and (
                literal in self._known or literal in self._refused
            )
        if video_id is not None or told:
            return video_id or literal
        return self._list.current(deadline).shortened.get(name, literal)

    # -- memory ------------------------------------------------------------------------

    def _remembered(self, video_id: str) -> _Known | None:
        """What is known and still good; raises a refusal of a moment ago."""
        with self._lock:
            refused = self._refused.get(video_id)
            known = self._known.get(video_id)
        if refused is not None:
            raise refused.again()
        if known is None or known.file.content.changed:
            return None
        return None if self._expired(known) else known

    def _looked_up(self, video_id: str, deadline: float) -> VideoFile:
        """The file of *video_id*, asked for; VideoNotReady where it hangs."""
        job = self._look_up_job(video_id, ahead=False)
        return self._lookups.answer(
            _LOOK_UP, video_id, deadline, job, self._list.read_newest
        )

    def _look_up_job(self, video_id: str, *, ahead: bool) -> Callable[[], VideoFile]:
        return partial(
            self._judged, video_id, partial(self._find, video_id, ahead=ahead)
        )

    def _judged(self, video_id: str, job: Callable[[], VideoFile]) -> VideoFile:
        """What *job* gives; a refusal is remembered for a moment."""
        try:
            return job()
        except (VideoNotFound, VideoNotReady, VideoFailed) as error:
            with self._lock:
                # Without its traceback, which holds the bodies it was judged by.
                self._refused.put(video_id, error.again())
                if isinstance(error, VideoNotFound):
                    self._known.pop(video_id)
            if isinstance(error, VideoNotFound):
                self._list.note_gone(video_id)
            raise

    # -- asking; on the pool's threads ---------------------------------------------------

    def _find(
        self, video_id: str, *, ahead: bool = False, replaced: bool = False
    ) -> VideoFile:
        """The file of *video_id*, asked for; *replaced*: it was found to be another."""
        with self._lock:
            unmeasured = self._unmeasured.get(video_id)
        if unmeasured is not None:
            return self._measured(*unmeasured)
        listed = self._list.row_for_now(video_id)
        known = self._served(video_id)
        try:
            probe = self._metadata.probe(video_id, listed, known=known, ahead=ahead)
            if not replaced and self._contradicted(video_id, probe):
                # The bytes were not what HEAD says, and it says the same again.
                self._metadata.distrust_head(video_id)
                probe = self._metadata.probe(video_id, probe.status)
        except VideoNotServed as error:
            raise self._lagging(video_id, error) from error
        with self._lock:
            self._unserved_since.pop(video_id)
        self._list.note_served(video_id)
        return self._adopt(video_id, probe)

    def _served(self, video_id: str) -> bool:
        """Whether *video_id* was served or listed, and has not expired since."""
        with self._lock:
            known = self._known.get(video_id)
        listed = self._list.row(video_id)
        return (known is not None and not self._expired(known)) or (
            listed is not None and not listed.expired
        )

    def _expired(self, known: _Known) -> bool:
        return known.expires_at is not None and known.expires_at <= self._metadata.now()

    def _contradicted(self, video_id: str, probe: Probe) -> bool:
        """Whether *probe* names the very version that a read found to be another."""
        with self._lock:
            before = self._known.get(video_id)
        if before is None or not before.file.content.changed:
            return False
        content, facts = before.file.content, probe.facts
        return content.size_bytes == facts.size_bytes and (
            content.validator == facts.validator
        )

    def _confirm(self, video_id: str) -> VideoFile:
        """The file known of *video_id* if the server still has it, else another."""
        with self._lock:
            known = self._known.get(video_id)
        if known is None or not self._is_confirmed(known.file):
            return self._find(video_id, replaced=known is not None)
        with self._lock:
            known.checked_at = time.monotonic()
        return known.file

    def _is_confirmed(self, file: VideoFile) -> bool:
        """Whether the server still has the version of *file*, as far as reads can tell.

        A version that it has replaced is marked as that.
        """
        content = file.content
        if not self._is_confirmed_by_status(file):
            facts = self._metadata.refresh(content)
            if facts is not None and not self._is_same(file, facts):
                content.replaced()
        return not content.changed  # a read may have seen it meanwhile

    def _is_confirmed_by_status(self, file: VideoFile) -> bool:
        """Whether the status tells that *file* is the same; only asked where that pays.

        That is where the content's own facts cost the whole of it.
        """
        if self._metadata.sizes_are_cheap:
            return False
        return self._has_time_of(file) is True

    def _has_time_of(self, file: VideoFile) -> bool | None:
        """Whether the status tells the time of *file*; None if it tells none."""
        seconds = self._metadata.completed_at(file.video_id)
        return None if seconds is None else int(seconds * 1e9) == file.mtime_ns

    def _is_same(self, file: VideoFile, facts: Facts) -> bool:
        """Whether *facts* are those of *file*, or of one whose validators shift."""
        content = file.content
        if not _same(content, facts):
            alike = not content.changed and facts.size_bytes == content.size_bytes
            if not (
                alike and self._metadata.validators.shifts(content, [facts.validator])
            ):
                return False
        return not (content.unproved and self._is_another(file))

    def _is_another(self, file: VideoFile) -> bool:
        """Whether the server has another *file* now, of which no validator tells.

        What is held of its bytes decides, else the time that its status tells.
        """
        held = self._spools.first_bytes(file.content, SAMPLE.stop)
        differs = self._metadata.validators.differs(file.content, held)
        return self._has_time_of(file) is False if differs is None else differs

    def _adopt(self, video_id: str, probe: Probe) -> VideoFile:
        with self._lock:
            before = self._known.get(video_id)
        expires_at = probe.status.expires_at_seconds
        if expires_at is not None and expires_at <= self._metadata.now():
            expires_at = None  # it is served all the same
        if before is not None and self._is_same(before.file, probe.facts):
            # The same version: its mtime and its blocks stay.
            with self._lock:
                before.checked_at, before.expires_at = time.monotonic(), expires_at
            return before.file
        facts = probe.facts
        content = self._metadata.content_of(video_id, facts)
        if before is not None:
            content.comes_after(before.file.content)
        self._metadata.validators.believe(content)
        mtime_ns = _mtime_ns(probe.status, facts)
        if before is not None and _shifts_on(before.file.content, content):
            content.take_whole()
            if probe.status.mtime_seconds is None:
                mtime_ns = before.file.mtime_ns  # Last-Modified shifts as well
        if content.size_bytes == UNKNOWN_SIZE:
            with self._lock:
                self._unmeasured.put(video_id, (content, mtime_ns, expires_at))
            return self._measured(content, mtime_ns, expires_at)
        if self._metadata.has_begun(video_id):
            with contextlib.suppress(SpoolFull):  # a read will say so
                self._spools.open(content)
        return self._remember(content, mtime_ns, expires_at)

    def _measured(
        self, content: Content, mtime_ns: int, expires_at: float | None
    ) -> VideoFile:
        """The file of a content whose size is known only when all of it has come."""
        try:
            spool = self._spools.open(content)
            # Leave the caller, who waits as long, time to hear of it.
            deadline = time.monotonic() + 0.9 * self._metadata_seconds
            content.measured(spool.wait_complete(deadline))
        except DeadlineExceeded:
            raise VideoNotReady(
                "its size is not known before all of it arrived"
            ) from None
        except SpoolFull:
            raise  # nothing is downloaded again before there is room
        except HingError:
            with self._lock:
                self._unmeasured.pop(content.video_id)
            raise
        with self._lock:
            self._unmeasured.pop(content.video_id)
        return self._remember(content, mtime_ns, expires_at)

    def _remember(
        self, content: Content, mtime_ns: int, expires_at: float | None
    ) -> VideoFile:
        video_id = content.video_id
        file = VideoFile(video_id, content, mtime_ns, inode_of(video_id))
        with self._lock:
            before = self._known.get(video_id)
            opened = before is not None and before.opened
            known = _Known(file, time.monotonic(), expires_at, opened)
            self._known.put(video_id, known)
        self._short_names.note_found(video_id)
        if before is not None and before.file.content is not content:
            before.file.content.found_changed()
        return file

    def _lagging(self, video_id: str, error: VideoNotServed) -> HingError:
        """*error* while the server may be lagging; afterwards it is broken."""
        with self._lock:
            since = self._unserved_since.get(video_id)
            if since is None:
                since = time.monotonic()
                self._unserved_since.put(video_id, since)
        if time.monotonic() - since < UNSERVED_SECONDS:
            return error
        return ServerBroken(f"still not served after a minute: {error}")

    # -- listing ---------------------------------------------------------------------------

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
                if video_id not in self._refused and video_id not in self._known:
                    self._ahead = (order, reached + passed, end)
                    return video_id, self._look_up_job(video_id, ahead=True)
            self._ahead = (order, max(reached, end), end)
        return None

    def _seek_order(self, video_id: str) -> None:
        """*video_id* was found by its name alone; look at the list if others were.

        A program that is given names, as rsync and cp are, lists nothing.
        """
        listed = self._list.row(video_id) is not None
        with self._lock:
            self._unlisted = 0 if listed else self._unlisted + 1
            given_names = self._unlisted > 1
        if given_names and self._metadata.looks_ahead and not self._list.is_fresh():
            self._lookups.start("newest", self._list.read_newest)


def _shifts_on(before: Content, content: Content) -> bool:
    """Whether *content* comes after one of the same video whose validators shift."""
    return before.shifting and before.size_bytes == content.size_bytes


def _texts_of(content: Content) -> int:
    """The memory that the texts of *content* take beside its id."""
    validator = content.validator
    odd = (content.odd_type, content.odd_coding)
    return bytes_of_texts(validator.etag, validator.last_modified, *odd)


def _same(content: Content, facts: Facts) -> bool:
    return (
        not content.changed
        and facts.size_bytes in (None, content.size_bytes)
        and not content.contradicted_by(facts.validator)
    )


def _mtime_ns(status: Status, facts: Facts) -> int:
    """completed_at, else created_at, else Last-Modified, else the epoch."""
    seconds = status.mtime_seconds
    if seconds is None and facts.last_modified is not None:
        try:
            seconds = parsedate_to_datetime(facts.last_modified).timestamp()
        except (ValueError, TypeError, OverflowError):
            seconds = None
    return int((seconds or 0.0) * 1e9)
