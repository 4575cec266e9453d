"""The disk cache: blocks of videos that outlive the process, in one directory.

Any number of processes and mounts of one user share a directory. Decides which versions
are cached, and what becomes of one that turned out to be another. Leaves to `folder` how
their files are used.

Threads: any thread may call any method.
"""

import contextlib
import errno
from pathlib import Path

from ..remembered import Remembered
from ..version import Content, VideoVersion
from .files import found_pair, unlink
from .folder import VideoFolder
from .layout import NoHeader, sightings_of
from .shelf import CACHE_RULES

# A video that takes a larger share of the limit would have to make room for itself.
LARGEST_SHARE = 7 / 8
_MOST_DROPPED_BYTES = 1 << 20  # thousands of versions


class DiskCache(VideoFolder):
    """The videos in *directory*, of at most *limit_bytes*. Thread safety: all methods.

    Of what was fetched, *waiting_bytes* may wait to be written. A video that is too large
    for the cache has no files here.
    """

    def __init__(self, directory: Path, limit_bytes: int, waiting_bytes: int) -> None:
        super().__init__(directory, limit_bytes, waiting_bytes, CACHE_RULES)
        self._limit_bytes = limit_bytes
        # By their keys: what still waits to be written must not make their files anew.
        self._dropped: Remembered[None] = Remembered(_MOST_DROPPED_BYTES, lambda _: 0)

    def drop(self, version: VideoVersion) -> None:
        """Delete *version*: its tag was seen above other bytes. Its users read on.

        What they still fetch is not kept, since it may be the one or the other.
        """
        self._mark_dropped(version)
        with contextlib.suppress(OSError), self._health.operation():
            unlink(self._stem(version))

    def drop_sightings(self, content: Content) -> None:
        """Delete all sightings that would pass for *content*: it has other bytes.

        As `drop`, for each.
        """
        with contextlib.suppress(OSError), self._health.operation():
            for stem in sightings_of(content, self._folder):
                with contextlib.suppress(FileNotFoundError, NoHeader):
                    header = found_pair(stem).header
                    if header.tells(content):
                        self._mark_dropped(header.version)
                        unlink(stem)

    def _takes(self, version: VideoVersion) -> bool:
        return version.size_bytes <= LARGEST_SHARE * self._limit_bytes

    def _demand(self, version: VideoVersion) -> None:
        with self._lock:
            if version.key in self._dropped:
                raise FileNotFoundError(errno.ENOENT, "it was dropped")

    def _mark_dropped(self, version: VideoVersion) -> None:
        with self._lock:
            self._dropped.put(version.key, None)
            video, _ = self._videos.get(version, (None, 0))
        if video is not None:
            video.dropped = True
