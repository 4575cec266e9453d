"""The details of videos, settled once for each version.

Decides that the first answer of the status route settles them for good: an expiry or a
prompt that moves later does not move the attributes of a file, or each `rsync -X` would
copy them again. They are remembered in memory, in the facts for the next mount, and beside
the kept copy of a video. Leaves to `details` what they are, and to `versions` how the
server is asked.

Threads: any thread may call any method. `recall` may look at the disk, and gives up on one
that hangs.
"""

import threading
import time
from dataclasses import dataclass
from weakref import ReferenceType, ref

from ..api.judgement.video_status import Status
from ..blocks import MIB
from ..content import Content
from ..facts.records import DetailFacts
from ..facts.store import FactStore
from ..remembered import Remembered, bytes_of_texts
from .copies import Copies
from .details import Details, details_of, packed, unpacked
from .known import VideoFile

# 8,000 videos with prompts of 500 bytes, or 1,500 with the longest. Others are read from
# the file of facts again.
MOST_BYTES = 8 * MIB
_SETTLED_BYTES = 500  # without its texts (2026-11-28)
# For so long after a program wanted details that nobody knew, look-ups ask for them: it may
# go through a directory, and then each name would be asked for twice. A guess.
WANTED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Settled:
    """The details of a version, which its content or its size and time tell."""

    details: Details
    size_bytes: int
    mtime_ns: int
    content: ReferenceType[Content] | None = None

    def is_of(self, file: VideoFile) -> bool:
        """Whether these are the details of *file*."""
        if self.content is not None and self.content() is file.content:
            return True
        told = (file.content.size_bytes, file.mtime_ns)
        return (self.size_bytes, self.mtime_ns) == told


class Described:
    """The settled details. Thread safety: all methods.

    *store* recalls those of an earlier mount, *copies* those of kept videos.
    """

    def __init__(
        self, store: FactStore, copies: Copies, most_bytes: int = MOST_BYTES
    ) -> None:
        self._store = store
        self._copies = copies
        self._lock = threading.Lock()  # guards the table and the time; no I/O under it
        self._settled: Remembered[_Settled] = Remembered(most_bytes, _bytes_of)
        self._wanted_at = -WANTED_SECONDS  # monotonic

    def at_hand(self, file: VideoFile) -> Details | None:
        """The details of *file*, if they are settled and in memory."""
        with self._lock:
            settled = self._settled.get(file.video_id)
        return settled.details if settled is not None and settled.is_of(file) else None

    def recall(self, file: VideoFile) -> Details | None:
        """The details of *file*, if they were settled, by an earlier mount too."""
        details = self.at_hand(file)
        if details is not None:
            return details
        for row in self._store.details_from(file.video_id):
            told = unpacked(row.told)
            if told is not None:
                self._take_up(
                    row.video_id, _Settled(told, row.size_bytes, row.mtime_ns)
                )
        details = self.at_hand(file)
        if details is not None:
            return details
        text = self._copies.told_of(file)
        details = unpacked(text) if text is not None else None
        if details is not None:
            self._put(file, details)
        return details

    def settle(self, file: VideoFile, details: Details) -> Details:
        """Settle *details* for *file* for good, unless others are; returns which are."""
        before = self.at_hand(file)
        if before is not None:
            return before
        self._put(file, details)
        if not file.content.shifting:  # no later mount knows its version again
            self._store.put_details(
                DetailFacts(
                    *(file.video_id, file.content.size_bytes, file.mtime_ns),
                    told=packed(details),
                )
            )
        return details

    def settle_for_now(self, file: VideoFile) -> Details:
        """Settle for this mount what is known of *file* without a status."""
        details = details_of(file.content)
        self._put(file, details)
        return details

    def note_copy(self, file: VideoFile) -> None:
        """A copy of *file* is kept: have its details lie beside it. Does I/O."""
        details = self.recall(file)
        if details is not None:
            self._copies.tell_of(file, packed(details))

    def forget(self, video_id: str) -> None:
        """The server has another version of *video_id* now."""
        with self._lock:
            self._settled.pop(video_id)
        self._store.drop_details(video_id)

    def want(self) -> None:
        """A program wants details that nobody knows."""
        with self._lock:
            self._wanted_at = time.monotonic()

    @property
    def are_wanted(self) -> bool:
        """Whether a program wanted details a moment ago that nobody knew."""
        return time.monotonic() < self._wanted_at + WANTED_SECONDS

    def _put(self, file: VideoFile, details: Details) -> None:
        content = file.content
        settled = _Settled(details, content.size_bytes, file.mtime_ns, ref(content))
        with self._lock:
            self._settled.put(file.video_id, settled)

    def _take_up(self, video_id: str, settled: _Settled) -> None:
        with self._lock:
            if video_id not in self._settled:
                self._settled.put(video_id, settled)


def told_by(content: Content, status: Status) -> Details | None:
    """The details of *content* that *status* tells; None if it is no video's."""
    return details_of(content, status) if status.description is not None else None


def _bytes_of(settled: _Settled) -> int:
    details = settled.details
    texts = (details.model, details.prompt, details.resolution, details.etag)
    return _SETTLED_BYTES + bytes_of_texts(*texts)
