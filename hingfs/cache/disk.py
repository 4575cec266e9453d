"""The disk cache: blocks of videos that outlive the process, in one directory.

Any number of processes and mounts of one user share a directory. Decides which versions
are cached, and what becomes of one that turned out to be another. Leaves to `folder` how
their files are used.

Threads: any thread may call any method.
"""

import errno
from pathlib import Path

from ..content import Content
from ..version import VideoVersion
from .drops import Drops
from .folder import VideoFolder
from .older import tidy
from .shelf import Rules, first_to_go
from .video import DiskVideo

# A video that takes a larger share of the limit would have to make room for itself.
LARGEST_SHARE = 7 / 8
_RULES = Rules("the disk cache", lambda video: not video.kept, first_to_go, tidy)


class DiskCache(VideoFolder):
    """The videos in *directory*, of at most *limit_bytes*. Thread safety: all methods.

    Of what was fetched, *waiting_bytes* may wait to be written. A video that is too large
    for the cache has no files here.
    """

    def __init__(self, directory: Path, limit_bytes: int, waiting_bytes: int) -> None:
        super().__init__(directory, limit_bytes, waiting_bytes, _RULES)
        self._limit_bytes = limit_bytes
        self._drops = Drops(self._folder, self._health)

    def open(
        self, version: VideoVersion, completed_at: float | None = None
    ) -> DiskVideo | None:
        """As `VideoFolder.open`; what a bad disk did not delete is deleted behind it."""
        if self._drops.are_due and self._health.may_write:
            self._behind.wake(self._drops)
        return super().open(version, completed_at)

    def where(self, version: VideoVersion) -> Path:
        """Where the files of *version* lie, if there are any, without their endings.

        Does I/O; raises OSError.
        """
        return self._stem(version)

    def drop(self, version: VideoVersion) -> None:
        """*version* is of no use: its tag was seen above other bytes. Its users read on.

        Its files are deleted behind the caller. What users still fetch is not kept, since
        it may be the one or the other.
        """
        self._drops.add(version)
        self._behind.wake(self._drops)

    def drop_sightings(self, content: Content) -> None:
        """No sighting is of use that would pass for *content*: it has other bytes.

        As `drop`, for each.
        """
        self._drops.add_sightings(content)
        self._behind.wake(self._drops)

    def _takes(self, version: VideoVersion) -> bool:
        return version.size_bytes <= LARGEST_SHARE * self._limit_bytes

    def _demand(self, version: VideoVersion) -> None:
        if self._drops.has(version):
            raise FileNotFoundError(errno.ENOENT, "it was dropped")
