"""The videos that are remembered: their files, and refusals of a moment ago.

Decides how long each is good, how much memory they take, and what the next mount is told
of them. Leaves to `versions` what the server is asked, to `sameness` when two sightings are
of one version, and to `catalog` how far a file of an earlier mount is believed.

Threads: any thread may call any method; none waits here.
"""

import math
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from ..blocks import MIB
from ..content import Content
from ..errors import HingError, VideoNotFound
from ..facts.records import VideoFacts
from ..facts.store import FactStore
from ..remembered import Remembered, bytes_of_texts
from ..version import Validator
from .names import inode_of

# 16,000 known videos; each takes 1 KB with an id of 40 characters.
MOST_KNOWN_BYTES = 16 * MIB
_MOST_REFUSED_BYTES = 1 * MIB  # thousands of refusals
# A known video without its texts, and an error without its words: measured (2026-11-26).
KNOWN_BYTES = 450
_ERROR_BYTES = 100


@dataclass(frozen=True, slots=True)
class VideoFile:
    """A video that can be read, as a file. Times in ns since the epoch."""

    video_id: str
    content: Content
    mtime_ns: int
    inode: int


@dataclass(frozen=True, slots=True)
class Known:
    """A file, and how far it can be believed."""

    file: VideoFile
    checked_at: float  # monotonic: when the server last confirmed it
    expires_at: float | None  # Unix seconds
    opened: bool  # ever, under its id
    # Whether an earlier mount knew it, and this one has not heard of it.
    recalled: bool = False

    def confirmed_within(self, seconds: float) -> bool:
        """Whether the server confirmed it less than *seconds* ago."""
        return time.monotonic() - self.checked_at < seconds


class KnownVideos:
    """The known files, and refusals. Thread safety: all methods.

    A refusal is good for *refusal_seconds*. *now* gives Unix seconds by the API's clock.
    The known files take *most_bytes* of memory at most. *store* recalls those that an
    earlier mount knew, and is told of each that the server confirms.
    """

    def __init__(
        self,
        refusal_seconds: float,
        now: Callable[[], float],
        most_bytes: int = MOST_KNOWN_BYTES,
        store: FactStore | None = None,
    ) -> None:
        self._now = now
        self._store = store or FactStore()
        # Guards the three tables; nothing else is called under it, but `Content`.
        self._lock = threading.Lock()
        self._known: Remembered[Known] = Remembered(
            most_bytes,
            lambda known: KNOWN_BYTES + bytes_of_content(known.file.content),
        )
        self._refused: Remembered[HingError] = Remembered(
            _MOST_REFUSED_BYTES,
            lambda error: _ERROR_BYTES + bytes_of_texts(str(error)),
            refusal_seconds,
        )
        # Those of an earlier mount that nobody has asked for: as they were kept, since
        # 10,000 files made of them took 0.14 s of a mount's start (2 cores, 2026-11-27).
        self._earlier = {video.video_id: video for video in self._store.recalled.videos}

    def good(self, video_id: str) -> Known | None:
        """The known file, if it is still good; raises a refusal of a moment ago."""
        with self._lock:
            refused = self._refused.get(video_id)
            known = self._known_locked(video_id)
        if refused is not None:
            raise refused.again()
        return known if known is not None and self._is_good(known) else None

    def at_hand(self, video_id: str) -> Known | None:
        """The known file, if it is still good and was not refused a moment ago."""
        with self._lock:
            refused = video_id in self._refused
            known = None if refused else self._known_locked(video_id)
        return known if known is not None and self._is_good(known) else None

    def unchanged(self, video_id: str) -> Known | None:
        """What was known last, unless it changed; its link may have expired."""
        with self._lock:
            known = self._known_locked(video_id)
        return known if known is not None and not known.file.content.changed else None

    def all_unchanged(self) -> list[Known]:
        """`unchanged` of all videos that this mount or an earlier one knew."""
        with self._lock:
            for video_id in list(self._earlier):
                self._known_locked(video_id)
        return [known for known in self._all() if not known.file.content.changed]

    def file(self, video_id: str) -> VideoFile | None:
        """The file that was known last, though it may have changed or expired since."""
        with self._lock:
            known = self._known_locked(video_id)
        return known.file if known is not None else None

    def expires_at(self, video_id: str) -> float | None:
        """When the link of *video_id* expires in Unix seconds, if the server told it."""
        with self._lock:
            known = self._known_locked(video_id)
        return known.expires_at if known is not None else None

    def remembers(self, video_id: str) -> bool:
        """Whether a file or a refusal is remembered under *video_id*."""
        with self._lock:
            known = video_id in self._known or video_id in self._earlier
            return known or video_id in self._refused

    def was_served(self, video_id: str) -> bool:
        """Whether a file of *video_id* is known, and has not expired."""
        with self._lock:
            known = self._known_locked(video_id)
        return known is not None and not self.has_expired(known)

    def contents(self, video_ids: Iterable[str]) -> list[Content]:
        """The contents of *video_ids*, up to the first that is not known."""
        contents = []
        for video_id in video_ids:
            file = self.file(video_id)
            if file is None:
                break
            contents.append(file.content)
        return contents

    def opened_ids(self) -> list[str]:
        """The ids of the known videos that were opened."""
        return [known.file.video_id for known in self._all() if known.opened]

    def total_bytes(self) -> int:
        """The sizes of all known files, added up."""
        return sum(known.file.content.size_bytes for known in self._all())

    def put(self, file: VideoFile, expires_at: float | None) -> None:
        """The server has *file* now; another version that was known has changed."""
        with self._lock:
            before = self._known_locked(file.video_id)
            opened = before is not None and before.opened
            known = Known(file, time.monotonic(), expires_at, opened)
            self._known.put(file.video_id, known)
            self._refused.pop(file.video_id)
        self._keep(known)
        if before is not None and before.file.content is not file.content:
            before.file.content.found_changed()

    def note_confirmed(self, file: VideoFile) -> None:
        """The server still has *file*."""
        confirmed = None
        with self._lock:
            known = self._known.get(file.video_id)
            if known is not None and known.file is file:
                now = time.monotonic()
                confirmed = replace(known, checked_at=now, recalled=False)
                self._known.put(file.video_id, confirmed)
                self._refused.pop(file.video_id)
        if confirmed is not None:
            self._keep(confirmed)

    def note_listed(self, file: VideoFile) -> None:
        """The server lists *file*, which an earlier mount knew."""
        with self._lock:
            known = self._known.get(file.video_id)
            if known is not None and known.file is file:
                self._known.put(file.video_id, replace(known, recalled=False))

    def note_opened(self, video_id: str) -> None:
        """A program opened *video_id*, if it is known."""
        with self._lock:
            known = self._known.get(video_id)
            if known is not None and not known.opened:
                self._known.put(video_id, replace(known, opened=True))

    def refuse(self, video_id: str, error: HingError) -> None:
        """The server refused *video_id* with *error*; VideoNotFound forgets its file."""
        with self._lock:
            # A copy without the traceback, which holds the bodies of answers.
            self._refused.put(video_id, error.again())
            if isinstance(error, VideoNotFound):
                self._known.pop(video_id)
                self._earlier.pop(video_id, None)
        if isinstance(error, VideoNotFound):
            self._store.drop_video(video_id)

    def forget_changed(self) -> None:
        """Have the next mount not recall a version that a read found to have changed."""
        for known in self._all():
            if known.file.content.changed:
                self._store.drop_video(known.file.video_id)

    def _known_locked(self, video_id: str) -> Known | None:
        """What is known of *video_id*, by this mount or an earlier one; counts as used."""
        video = self._earlier.pop(video_id, None)
        if video is not None:
            self._known.put(video_id, _recalled(video, self._store.endpoint))
        return self._known.get(video_id)

    def _keep(self, known: Known) -> None:
        """Have the next mount recall *known*, which the server confirmed just now."""
        content = known.file.content
        if content.shifting:  # its validators say nothing, and one answer holds it
            self._store.drop_video(known.file.video_id)
        else:
            self._store.put_video(_facts_of(known))

    def _all(self) -> list[Known]:
        with self._lock:
            return self._known.values()

    def _is_good(self, known: Known) -> bool:
        return not (known.file.content.changed or self.has_expired(known))

    def has_expired(self, known: Known) -> bool:
        """Whether the link of *known* has expired."""
        return known.expires_at is not None and known.expires_at <= self._now()


def _facts_of(known: Known) -> VideoFacts:
    content = known.file.content
    return VideoFacts(
        video_id=known.file.video_id,
        size_bytes=content.size_bytes,
        etag=content.validator.etag,
        last_modified=content.validator.last_modified,
        ranges=None if content.ranges is None else int(content.ranges),
        odd_type=content.odd_type,
        odd_coding=content.odd_coding,
        mtime_ns=known.file.mtime_ns,
        expires_at=known.expires_at,
        confirmed_at=time.time(),
        completed_at=content.completed_at,
    )


def _recalled(video: VideoFacts, endpoint: str) -> Known:
    content = Content(
        endpoint,
        video.video_id,
        video.size_bytes,
        Validator(video.etag, video.last_modified),
        ranges=None if video.ranges is None else bool(video.ranges),
        odd_type=video.odd_type,
        odd_coding=video.odd_coding,
        completed_at=video.completed_at,
    )
    file = VideoFile(video.video_id, content, video.mtime_ns, inode_of(video.video_id))
    age = time.time() - video.confirmed_at
    # The clock was set back if that is negative.
    checked_at = time.monotonic() - age if age >= 0 else -math.inf
    return Known(file, checked_at, video.expires_at, opened=False, recalled=True)


def bytes_of_content(content: Content) -> int:
    """The memory that the texts of *content* take, without its id."""
    validator = content.validator
    odd = (content.odd_type, content.odd_coding)
    return bytes_of_texts(validator.etag, validator.last_modified, *odd)
