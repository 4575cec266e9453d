"""What the server is asked about one video, and the file that its answers make.

Decides which version is taken for what the server has now, and when a refusal is
remembered. Leaves to `metadata` how it is asked, to `sameness` whether a version is the
one known, and to `lookups` that one video is asked about once at a time: two at once
would make two contents of one version, and end one of them.

Threads: `look_up` and `confirm` run on those of `lookups` and `ahead`. They wait for the server, and
for all of a file whose size it does not tell.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from ..api.judgement.statuses import Status
from ..api.judgement.verdict import Facts
from ..api.metadata import Probe, VideoMetadata
from ..api.whole import UNKNOWN_SIZE
from ..blocks import MIB
from ..errors import (
    DeadlineExceeded,
    HingError,
    ServerBroken,
    SpoolFull,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
)
from ..fetch.spool_store import SpoolStore
from ..remembered import Remembered
from ..version import Content
from .known import KNOWN_BYTES, KnownVideos, VideoFile, bytes_of_content
from .listing import VideoList
from .names import ShortNames, inode_of
from .sameness import Sameness, is_disproved

# How long "completed" and "not served" may both hold: servers lag behind themselves.
UNSERVED_SECONDS = 60.0
_FORGET_UNSERVED_SECONDS = 3600.0  # what was not served for so long begins anew
_MOST_OTHER_BYTES = 1 * MIB  # of each table: thousands


@dataclass(frozen=True, slots=True)
class _Found:
    """A version that the server has, before all is known that its file needs."""

    content: Content
    mtime_ns: int
    expires_at: float | None  # Unix seconds


class Versions:
    """The versions that the server has now. Thread safety: for one video, one at a time.

    A file of unknown size is waited for at most *metadata_seconds*.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        spools: SpoolStore,
        known: KnownVideos,
        video_list: VideoList,
        short_names: ShortNames,
        *,
        metadata_seconds: float,
    ) -> None:
        self._metadata = metadata
        self._spools = spools
        self._known = known
        self._list = video_list
        self._short_names = short_names
        self._metadata_seconds = metadata_seconds
        self._sameness = Sameness(metadata, spools)
        self._lock = threading.Lock()
        # Both are guarded by _lock, under which nothing else is called.
        # id -> when it was first completed and not served, on the monotonic clock
        self._unserved_since: Remembered[float] = Remembered(
            _MOST_OTHER_BYTES, lambda _: 0, _FORGET_UNSERVED_SECONDS
        )
        # id -> what was found of it, while its size is unknown
        self._unmeasured: Remembered[_Found] = Remembered(
            _MOST_OTHER_BYTES,
            lambda found: KNOWN_BYTES + bytes_of_content(found.content),
        )

    def look_up(self, video_id: str, *, ahead: bool = False) -> VideoFile:
        """The file of *video_id* as the server has it now; *ahead*: nobody waits for it.

        Raises VideoNotFound, VideoNotReady or VideoFailed, which are remembered for a
        moment, or TransportError.
        """
        with self._remembering(video_id):
            return self._find(video_id, ahead=ahead)

    def confirm(self, video_id: str) -> VideoFile:
        """The file known of *video_id* if the server still has it, else another.

        Raises as `look_up` does.
        """
        with self._remembering(video_id):
            file = self._known.file(video_id)
            if file is None:
                return self._find(video_id)
            if not self._sameness.is_confirmed(file):
                return self._find(video_id, replaced=True)
            self._known.note_confirmed(file)
            return file

    @contextlib.contextmanager
    def _remembering(self, video_id: str) -> Iterator[None]:
        """Remember for a moment that *video_id* was refused, where it is."""
        try:
            yield
        except (VideoNotFound, VideoNotReady, VideoFailed) as error:
            self._known.refuse(video_id, error)
            if isinstance(error, VideoNotFound):
                self._list.note_gone(video_id)
            raise

    def _find(
        self, video_id: str, *, ahead: bool = False, replaced: bool = False
    ) -> VideoFile:
        """The file of *video_id*, asked for; *replaced*: it was found to be another."""
        with self._lock:
            unmeasured = self._unmeasured.get(video_id)
        if unmeasured is not None:
            return self._measured(unmeasured)
        try:
            probe = self._probe(video_id, ahead=ahead, replaced=replaced)
        except VideoNotServed as error:
            raise self._lagging(video_id, error) from error
        with self._lock:
            self._unserved_since.pop(video_id)
        self._list.note_served(video_id)
        return self._adopt(video_id, probe)

    def _probe(self, video_id: str, *, ahead: bool, replaced: bool) -> Probe:
        listed = self._list.row_for_now(video_id)
        known = self._known.was_served(video_id) or self._list.has_unexpired(video_id)
        probe = self._metadata.probe(video_id, listed, known=known, ahead=ahead)
        if not replaced and is_disproved(self._known.file(video_id), probe):
            # The bytes were not what HEAD says, and it says the same again.
            self._metadata.distrust_head(video_id)
            probe = self._metadata.probe(video_id, probe.status)
        return probe

    def _adopt(self, video_id: str, probe: Probe) -> VideoFile:
        """The file of what *probe* told: the one known if it is the same version."""
        before, facts = self._known.file(video_id), probe.facts
        expires_at = probe.status.expires_at_seconds
        if expires_at is not None and expires_at <= self._metadata.now():
            expires_at = None  # it is served all the same
        if before is not None and self._sameness.is_same(before, facts):
            self._known.put(before, expires_at)  # its mtime and its blocks stay
            return before
        content = self._metadata.content_of(video_id, facts)
        if before is not None:
            content.comes_after(before.content)
        self._metadata.validators.believe(content)
        mtime_ns = _mtime_ns(probe.status, facts)
        if before is not None and _shifts_on(before.content, content):
            content.take_whole()
            if probe.status.mtime_seconds is None:
                mtime_ns = before.mtime_ns  # Last-Modified shifts as well
        found = _Found(content, mtime_ns, expires_at)
        if content.size_bytes == UNKNOWN_SIZE:
            with self._lock:
                self._unmeasured.put(video_id, found)
            return self._measured(found)
        if self._metadata.has_begun(video_id):
            with contextlib.suppress(SpoolFull):  # a read will say so
                self._spools.open(content)
        return self._remember(found)

    def _measured(self, found: _Found) -> VideoFile:
        """The file of a content whose size is known only when all of it has come."""
        content = found.content
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
            self._forget_unmeasured(content.video_id)
            raise
        self._forget_unmeasured(content.video_id)
        return self._remember(found)

    def _forget_unmeasured(self, video_id: str) -> None:
        with self._lock:
            self._unmeasured.pop(video_id)

    def _remember(self, found: _Found) -> VideoFile:
        video_id = found.content.video_id
        file = VideoFile(video_id, found.content, found.mtime_ns, inode_of(video_id))
        self._known.put(file, found.expires_at)
        self._short_names.note_found(video_id)
        return file

    def _lagging(self, video_id: str, error: VideoNotServed) -> HingError:
        """*error* while the server may be lagging; afterwards it is broken."""
        now = time.monotonic()
        with self._lock:
            since = self._unserved_since.get(video_id)
            if since is None:
                since = now
                self._unserved_since.put(video_id, since)
        if now - since < UNSERVED_SECONDS:
            return error
        return ServerBroken(f"still not served after a minute: {error}")


def _shifts_on(before: Content, content: Content) -> bool:
    """Whether *content* comes after one of the same video whose validators shift."""
    return before.shifting and before.size_bytes == content.size_bytes


def _mtime_ns(status: Status, facts: Facts) -> int:
    """completed_at, else created_at, else Last-Modified, else the epoch."""
    seconds = status.mtime_seconds
    if seconds is None and facts.last_modified is not None:
        try:
            seconds = parsedate_to_datetime(facts.last_modified).timestamp()
        except (ValueError, TypeError, OverflowError):
            seconds = None
    return int((seconds or 0.0) * 1e9)
