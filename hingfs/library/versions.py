"""Asks the server about one video, and makes a file of its answers.

Decides which version the server has now, and which refusals are remembered. Leaves to
`metadata` how the server is asked, to `sameness` whether a version is the known one, and
to `lookups` that one video is looked up once at a time: two look-ups at once would make
two contents of one version, and end one of them.

Threads: `look_up` and `confirm` run on those of `lookups` and `ahead`. They wait for the
server, and for all of a file whose size the server does not tell.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..api.judgement.verdict import Facts
from ..api.judgement.video_status import State, Status
from ..api.metadata import Probe, VideoMetadata
from ..api.whole import UNKNOWN_SIZE
from ..blocks import MIB
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import (
    ContentChanged,
    DeadlineExceeded,
    HingError,
    NeverServed,
    ServerBroken,
    SpoolFull,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
)
from ..fetch.spool_store import SpoolStore
from ..remembered import Remembered
from .described import Described, told_by
from .details import Details
from .known import KNOWN_BYTES, KnownVideos, VideoFile, bytes_of_content
from .listing import VideoList
from .names import ShortNames, inode_of
from .sameness import Sameness, is_disproved

# How long a video may be completed and not served: servers lag behind themselves.
UNSERVED_SECONDS = 60.0
_FORGET_UNSERVED_SECONDS = 3600.0  # after so long that time begins anew
_MOST_OTHER_BYTES = 1 * MIB  # of each other table: thousands of videos


@dataclass(frozen=True, slots=True)
class _FoundVersion:
    """A version that the server has; its size may still be unknown."""

    content: Content
    mtime_ns: int
    expires_at: float | None  # Unix seconds
    details: Details | None  # if the status route was asked, and told some


class Versions:
    """The versions that the server has now. Thread safety: one call at a time per video.

    A call waits at most *metadata_seconds* for a file of unknown size. A video that is
    completed and not served for *unserved_seconds* is an error.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        spools: SpoolStore,
        known: KnownVideos,
        video_list: VideoList,
        short_names: ShortNames,
        *,
        tiers: Tiers,
        described: Described,
        metadata_seconds: float,
        unserved_seconds: float = UNSERVED_SECONDS,
    ) -> None:
        self._metadata = metadata
        self._spools = spools
        self._tiers = tiers
        self._described = described
        self._known = known
        self._list = video_list
        self._short_names = short_names
        self._metadata_seconds = metadata_seconds
        self._unserved_seconds = unserved_seconds
        self._sameness = Sameness(metadata, spools)
        # Guards the tables below; nothing else is called under it.
        self._lock = threading.Lock()
        # id -> monotonic time at which it was first completed and not served
        self._unserved_since: Remembered[float] = Remembered(
            _MOST_OTHER_BYTES, lambda _: 0, _FORGET_UNSERVED_SECONDS
        )
        # The ids that somebody waits for, and whose status said that they are not ready.
        self._unfinished: Remembered[bool] = Remembered(_MOST_OTHER_BYTES, lambda _: 0)
        # id -> the version found, while its size is unknown
        self._unmeasured: Remembered[_FoundVersion] = Remembered(
            _MOST_OTHER_BYTES,
            lambda found: KNOWN_BYTES + bytes_of_content(found.content),
        )

    def look_up(self, video_id: str, *, ahead: bool = False) -> VideoFile:
        """The file of *video_id* as the server has it now; *ahead*: no caller waits.

        Raises VideoNotFound, VideoNotReady or VideoFailed, which are remembered for a
        moment, or TransportError.
        """
        with self._remembering_refusals(video_id):
            return self._find(video_id, ahead=ahead)

    def look_up_if_ready(self, video_id: str) -> VideoFile:
        """As `look_up`, for programs that wait: one request while it is not ready.

        The status is asked first, and the content once that may be ready. Raises
        NeverServed if a completed video is not served for long.
        """
        with self._remembering_refusals(video_id):
            status = self._status_now(video_id)
            if status.state is not State.READY:
                return self._find_under(status, video_id)
            try:
                return self._find(video_id, status)
            except NeverServed:
                raise
            except ServerBroken as error:
                raise self._lagging_or_broken(video_id, error) from error

    def confirm(self, video_id: str, told: Status | None = None) -> VideoFile:
        """The known file of *video_id* if the server still has it, else the new one.

        *told* is what the status route has told just now, if it was asked. Raises as
        `look_up` does.
        """
        with self._remembering_refusals(video_id):
            if told is not None:
                self._metadata.refuse_unfinished(told)
            file = self._known.file(video_id)
            if file is None:
                return self._find(video_id, told)
            if not self._sameness.is_confirmed(file):
                return self._find(video_id, told, replaced=True)
            self._known.note_confirmed(file)
            return file

    def describe(self, file: VideoFile) -> Details:
        """The details of the version of *file*, settled now; asks for the status.

        Raises as `look_up` does, and ContentChanged if the video is just being replaced.
        """
        status = self._metadata.status(file.video_id)
        if not has_time_of(file, status):
            now = self.confirm(file.video_id)
            if now is not file and not has_time_of(now, status):
                raise ContentChanged("it changes while it is asked about")
            file = now
        details = told_by(file.content, status)
        if details is None:
            return self._described.settle_for_now(file)
        return self._described.settle(file, details)

    @contextlib.contextmanager
    def _remembering_refusals(self, video_id: str) -> Iterator[None]:
        """If *video_id* is refused in this context, remember that for a moment."""
        try:
            yield
        except (VideoNotFound, VideoNotReady, VideoFailed) as error:
            self._known.refuse(video_id, error)
            if isinstance(error, VideoNotFound):
                self._list.note_gone(video_id)
            raise

    def _find(
        self,
        video_id: str,
        status: Status | None = None,
        *,
        ahead: bool = False,
        replaced: bool = False,
    ) -> VideoFile:
        """Ask for the file of *video_id*; *replaced*: the known version is no more.

        The status route has just told *status*, if it was asked.
        """
        with self._lock:
            unmeasured = self._unmeasured.get(video_id)
        if unmeasured is not None:
            return self._measure(unmeasured)
        try:
            probe = self._probe(video_id, status, ahead=ahead, replaced=replaced)
        except VideoNotServed as error:
            raise self._lagging_or_broken(video_id, error) from error
        with self._lock:
            self._unserved_since.pop(video_id)
        self._list.note_served(video_id)
        return self._file_of(video_id, probe)

    def _status_now(self, video_id: str) -> Status:
        """The status of a video that is waited for. Raises as `VideoMetadata.status`.

        One that was not ready a while ago is known, and the next replica may not know it.
        """
        with self._lock:
            known = video_id in self._unfinished
        try:
            return self._metadata.status(video_id, known=known)
        except VideoNotReady:
            with self._lock:
                self._unfinished.put(video_id, True)  # noqa: FBT003 - a set, with a bound
            raise

    def _find_under(self, status: Status, video_id: str) -> VideoFile:
        """As `_find`; where it is not ready, the word of *status* tells how far it is."""
        try:
            return self._find(video_id)
        except VideoNotReady as error:
            error.word = error.word or status.word
            if error.progress is None:
                error.progress = status.progress
            if error.pause_seconds is None:
                error.pause_seconds = status.pause_seconds
            raise

    def _probe(
        self, video_id: str, status: Status | None, *, ahead: bool, replaced: bool
    ) -> Probe:
        row = None
        # A row tells the time, and saves the status; it tells no details.
        if status is None and not self._described.are_wanted:
            row = self._list.row_to_believe(video_id)
        known = self._known.was_served(video_id) or self._list.has_unexpired(video_id)
        probe = self._metadata.probe(
            video_id, row, told=status, known=known, ahead=ahead
        )
        if not replaced and is_disproved(self._known.file(video_id), probe):
            # A read found other bytes than HEAD says, and HEAD says the same again.
            self._metadata.distrust_head(video_id)
            probe = self._metadata.probe(video_id, probe.status)
        return probe

    def _file_of(self, video_id: str, probe: Probe) -> VideoFile:
        """The file that *probe* shows: the known one if it is the same version."""
        before, facts = self._known.file(video_id), probe.facts
        expires_at = probe.status.expires_at_seconds
        if expires_at is not None and expires_at <= self._metadata.now():
            expires_at = None  # it is served all the same
        if before is not None and self._sameness.is_same(before, facts):
            self._known.put(before, expires_at)  # its mtime and its blocks stay
            return before
        completed_at = probe.status.completed_at_seconds
        content = self._metadata.content_of(video_id, facts, completed_at)
        if before is not None:
            content.comes_after(before.content)
            self._described.forget(video_id)
        self._metadata.validators.believe(content)
        mtime_ns = _mtime_ns(probe.status, facts)
        if before is not None and _shifts_on(before.content, content):
            content.take_whole()
            if probe.status.mtime_seconds is None:
                mtime_ns = before.mtime_ns  # Last-Modified shifts as well
        self._settle_disk(content, probe)
        details = told_by(content, probe.status)
        found = _FoundVersion(content, mtime_ns, expires_at, details)
        if content.size_bytes == UNKNOWN_SIZE:
            with self._lock:
                self._unmeasured.put(video_id, found)
            return self._measure(found)
        if self._metadata.has_begun(video_id):
            self._use_begun(content)
        return self._make_known(found)

    def _use_begun(self, content: Content) -> None:
        """Read on in the open answer with all of *content*, if that is not on disk."""
        with self._tiers.held(content):
            if self._tiers.is_whole_on_disk(content):
                self._metadata.drop_begun(content.video_id)
                return
        with contextlib.suppress(SpoolFull):  # a read will say so
            self._spools.open(content)

    def _settle_disk(self, content: Content, probe: Probe) -> None:
        """See to it that nothing on disk is wrongly taken for *content*."""
        self._tiers.drop_disproved(content)
        if self._has_old_time(content, probe):
            content.take_up_none()

    def _has_old_time(self, content: Content, probe: Probe) -> bool:
        """Whether only a time of long ago tells that what lies on disk is *content*.

        A row of the list is believed whatever its age, and the video may be another now.
        So the server is asked, if that saves all its bytes.
        """
        told = content.validator.last_modified is not None and not content.shifting
        if told or not probe.listed or self._list.is_recent:
            return False
        if not self._tiers.may_take_up(content):
            return False
        return self._metadata.completed_at(content.video_id) != content.completed_at

    def _measure(self, found: _FoundVersion) -> VideoFile:
        """The file of a content whose size is known only when all of it has arrived."""
        content = found.content
        try:
            spool = self._spools.open(content)
            # End a little before the caller does, so that it gets VideoNotReady.
            deadline = time.monotonic() + 0.9 * self._metadata_seconds
            spool.wait_complete(deadline)  # which measures it
        except DeadlineExceeded:
            raise VideoNotReady(
                "its size is not known before all of it arrived"
            ) from None
        except SpoolFull:
            raise  # so that it is not downloaded again before there is room
        except HingError:
            self._forget_unmeasured(content.video_id)
            raise
        self._forget_unmeasured(content.video_id)
        return self._make_known(found)

    def _forget_unmeasured(self, video_id: str) -> None:
        with self._lock:
            self._unmeasured.pop(video_id)

    def _make_known(self, found: _FoundVersion) -> VideoFile:
        content, video_id = found.content, found.content.video_id
        file = VideoFile(video_id, content, found.mtime_ns, inode_of(video_id))
        before = self._known.file(video_id)
        self._known.put(file, found.expires_at)
        if found.details is not None:
            self._described.settle(file, found.details)
        if before is not None and not _is_same_version(before.content, content):
            self._tiers.drop_replaced(before.content)
        self._short_names.note_found(video_id)
        return file

    def _lagging_or_broken(self, video_id: str, error: HingError) -> HingError:
        """*error* while the server may just lag behind; afterwards NeverServed."""
        now = time.monotonic()
        with self._lock:
            since = self._unserved_since.get(video_id)
            if since is None:
                since = now
                self._unserved_since.put(video_id, since)
        if now - since < self._unserved_seconds:
            return error
        return NeverServed(f"for more than a minute: {error}")


def has_time_of(file: VideoFile, status: Status) -> bool:
    """Whether *status* has the time of *file*, or none."""
    seconds = status.mtime_seconds
    return seconds is None or int(seconds * 1e9) == file.mtime_ns


def _shifts_on(before: Content, content: Content) -> bool:
    """Whether *content* goes on with *before*, whose validators shift."""
    return before.shifting and before.size_bytes == content.size_bytes


def _is_same_version(before: Content, content: Content) -> bool:
    """Whether both are of one version, as far as validators and sizes tell."""
    if before is content or before.size_bytes < 0:
        return True
    return before.size_bytes == content.size_bytes and (
        not before.contradicted_by(content.validator)
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
