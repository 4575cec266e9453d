"""The versions that are dropped: other bytes were seen under what tells them.

Decides that they are of no use from the moment on that they are dropped. Their files are
deleted behind the caller: where the disk fails, they stay, and the next `work` tries
again. Leaves to `disk` when that is, and to `health` what the trouble means.

Threads: any thread may call any method, but `work`, which is for `behind`'s.
"""

import contextlib
import json
import threading
from collections.abc import Sequence
from pathlib import Path

from ..content import Content
from ..remembered import Remembered
from ..version import VideoVersion
from .behind import Piece
from .files import found_pair, unlink
from .health import Health
from .layout import NoHeader, sightings_of, stem_of

_MOST_BYTES = 1 << 20  # of each of two tables: about a thousand versions
_DUE_BYTES = 700  # a version or a content in memory, about


class Drops:
    """What is dropped of the videos in *folder*. Thread safety: all methods, but `work`."""

    def __init__(self, folder: Path, health: Health) -> None:
        self._folder = folder
        self._health = health
        # Guards both tables; no I/O under it.
        self._lock = threading.Lock()
        # By their keys: what still waits to be written must not make their files anew.
        self._versions: Remembered[None] = Remembered(_MOST_BYTES, lambda _: 0)
        # What is still to be deleted: a version, or all sightings that tell a content.
        self._due: Remembered[VideoVersion | Content] = Remembered(
            _MOST_BYTES, lambda _: _DUE_BYTES
        )

    def add(self, version: VideoVersion) -> None:
        """*version* is dropped, which has no sighting."""
        with self._lock:
            self._versions.put(version.key, None)
            self._due.put(version.key, version)

    def add_sightings(self, content: Content) -> None:
        """All sightings are dropped that would pass for *content*."""
        validator = content.validator
        told = (
            *(content.endpoint, content.video_id, content.size_bytes),
            *(content.completed_at, validator.etag, validator.last_modified),
            content.shifting,
        )
        with self._lock:
            self._due.put(json.dumps(told), content)

    def has(self, version: VideoVersion) -> bool:
        """Whether *version* is dropped.

        So counts each sighting of a video while some of its sightings are to be deleted:
        only their files tell which.
        """
        with self._lock:
            if version.key in self._versions:
                return True
            return version.sighting is not None and any(
                _is_of(version, due) for due in self._due.values()
            )

    @property
    def are_due(self) -> bool:
        """Whether files are still to be deleted."""
        with self._lock:
            return len(self._due) > 0

    # -- on the thread that writes -----------------------------------------------------

    def work(self, _pieces: Sequence[Piece]) -> None:
        """Delete what is due; see `behind.Work`."""
        with self._lock:
            due = self._due.items()
        for key, dropped in due:
            with contextlib.suppress(OSError):  # which `health` tells: it stays due
                with self._health.operation():
                    self._delete(dropped)
                with self._lock:
                    if self._due.get(key) is dropped:
                        self._due.pop(key)

    def _delete(self, dropped: VideoVersion | Content) -> None:
        if isinstance(dropped, VideoVersion):
            unlink(stem_of(dropped, self._folder, ""))
            return
        for stem in sightings_of(dropped, self._folder):
            with contextlib.suppress(FileNotFoundError, NoHeader):
                if self._tells(stem, dropped):
                    unlink(stem)

    def _tells(self, stem: Path, dropped: Content) -> bool:
        """Whether the sighting at *stem*, which is dropped then, passes for *dropped*."""
        header = found_pair(stem).header
        if header.tells(dropped):
            with self._lock:
                self._versions.put(header.version.key, None)
            return True
        return False


def _is_of(version: VideoVersion, due: VideoVersion | Content) -> bool:
    """Whether *version* is a sighting of the content that is *due*."""
    return (
        isinstance(due, Content)
        and version.video_id == due.video_id
        and version.size_bytes == due.size_bytes
        and version.endpoint == due.endpoint
    )
