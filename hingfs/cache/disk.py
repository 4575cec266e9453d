"""The disk cache: blocks of videos that outlive the process, in one directory.

Any number of processes and mounts of one user share a directory. Decides which files a
version has here, and that all users of a version in this process share them. Leaves to
`video` what reads and writes do, and to `files` how the files are made.

Nothing touches the disk before the first `open`.

Threads: any thread may call any method.
"""

import contextlib
import errno
import math
import os
import resource
import secrets
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..blocks import ByteRange
from ..errors import plain
from ..remembered import Remembered
from ..version import Content, VideoVersion
from ..workers import all_joined
from .attempts import Attempts
from .behind import Behind
from .files import found_pair, open_pair, safe, unlink
from .health import Health
from .janitor import PAGE_BYTES, Janitor
from .layout import FOLDER, Header, NoHeader, index_of, sightings_of, stem_of
from .pair import Pair, Times, inode_of, times_of
from .tally import Tally
from .video import DiskVideo

# A video that takes a larger share of the limit would have to make room for itself.
LARGEST_SHARE = 7 / 8
# Videos that are open, as a share of the files that this process may have: each takes two.
# The other half is for connections, without which nothing is read. A guess.
_SHARE_OF_FILES = 1 / 4
# Which blocks of files that are closed are verified: a byte for each. A film of 785 MB
# takes 6 KB. A guess.
_MOST_VERIFIED_BYTES = 4 << 20
_MOST_DROPPED_BYTES = 1 << 20  # thousands of versions


@dataclass(frozen=True, slots=True)
class DiskStats:
    """What the cache has done since it was made."""

    read_bytes: int
    written_bytes: int
    dropped_bytes: int
    bad_blocks: int
    evicted_videos: int


class DiskCache:
    """The videos in *directory*, of at most *limit_bytes*. Thread safety: all methods.

    Of what was fetched, *waiting_bytes* may wait to be written.
    """

    def __init__(self, directory: Path, limit_bytes: int, waiting_bytes: int) -> None:
        self._folder = directory / FOLDER
        self._limit_bytes = limit_bytes
        self._holder = secrets.token_hex(8)
        self._health = Health(plain(str(directory)))
        self._attempts = Attempts(self._health)
        self._behind = Behind(waiting_bytes)
        self._tally = Tally()
        self._janitor = Janitor(
            self._folder, limit_bytes, self._holder, self._health, self._tally
        )
        # Guards all below; no I/O under it.
        self._lock = threading.Lock()
        self._videos: dict[VideoVersion, tuple[DiskVideo, int]] = {}  # with its users
        self._verified: Remembered[tuple[Times, bytearray]] = Remembered(
            _MOST_VERIFIED_BYTES, lambda kept: len(kept[1])
        )
        # By their keys: what still waits to be written must not make their files anew.
        self._dropped: Remembered[None] = Remembered(_MOST_DROPPED_BYTES, lambda _: 0)
        self._closed = False

    def open(
        self, version: VideoVersion, completed_at: float | None = None
    ) -> DiskVideo | None:
        """The blocks of *version*, a video *completed_at* then. Does I/O.

        Its files are found or made. None if the disk cannot be used now, or has too many
        videos open; or the version is none for it: an empty video, or one too large for
        the cache. Call `release` once for each `open`. Blocks of a version with a
        sighting are of use to this process alone, until all of them are there.
        """
        if not 0 < version.size_bytes <= LARGEST_SHARE * self._limit_bytes:
            return None
        self._janitor.begin()
        if self._closed or not self._health.may_read:
            return None
        if version not in self._videos and len(self._videos) >= _most_open():
            return None
        try:
            job = partial(self._shared, version, completed_at)
            return self._attempts.make(job, left=self._release)
        except (OSError, NoHeader):
            return None

    def whole_sighting(self, content: Content) -> VideoVersion | None:
        """The version of *content* that some process left whole, if any. Does I/O."""
        if self._closed or not self._health.may_read:
            return None
        with contextlib.suppress(OSError):
            return self._attempts.make(partial(self._sought, content))
        return None

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

    def close(self) -> None:
        """Take nothing more; what waits is still written, see `join`."""
        with self._lock:
            self._closed = True
        self._attempts.close()
        self._behind.close()
        self._janitor.close()

    def join(self, seconds: float) -> bool:
        """Whether all is written, and every thread has ended, within *seconds*."""
        return all_joined((self._behind, self._janitor, self._attempts), seconds)

    def settle(self, seconds: float) -> bool:
        """Whether all that was put before is written, or given up, within *seconds*."""
        return self._behind.settle(seconds)

    @property
    def is_written(self) -> bool:
        """Whether the disk takes blocks now."""
        return self._health.may_write

    def stats(self) -> DiskStats:
        """What the cache has done."""
        tally = self._tally
        return DiskStats(
            tally.read_bytes,
            tally.written_bytes,
            self._behind.dropped_bytes + tally.refused_bytes,
            tally.bad_blocks,
            tally.evicted_videos,
        )

    def _mark_dropped(self, version: VideoVersion) -> None:
        with self._lock:
            self._dropped.put(version.key, None)
            video, _ = self._videos.get(version, (None, 0))
        if video is not None:
            video.dropped = True

    def _sought(self, content: Content) -> VideoVersion | None:
        safe(self._folder)
        for _, header in self._left_whole(content):
            if header.tells(content):
                return header.version
        return None

    def _shared(self, version: VideoVersion, completed_at: float | None) -> DiskVideo:
        video = self._used(version)
        if video is not None:
            try:
                if video.dropped:
                    raise FileNotFoundError(errno.ENOENT, "it was dropped")
                video.look_again()
            except OSError:
                self._release(video)
                raise
            return video
        made = DiskVideo(
            version,
            partial(self._opened, completed_at=completed_at),
            self._release,
            health=self._health,
            attempts=self._attempts,
            behind=self._behind,
            room=self._janitor.take,
            tally=self._tally,
        )
        with self._lock:  # another thread may have made one meanwhile
            video, users = self._videos.get(version, (made, 0))
            self._videos[version] = video, users + 1
        return video

    def _used(self, version: VideoVersion) -> DiskVideo | None:
        with self._lock:
            if version not in self._videos:
                return None
            video, users = self._videos[version]
            self._videos[version] = video, users + 1
            return video

    def _release(self, video: DiskVideo) -> None:
        with self._lock:
            _, users = self._videos[video.version]
            if users > 1:
                self._videos[video.version] = video, users - 1
                return
            del self._videos[video.version]
            self._verified.put(video.pair.inode, video.pair.verified())

    def _opened(self, version: VideoVersion, completed_at: float | None) -> Pair:
        with self._lock:
            if version.key in self._dropped:
                raise FileNotFoundError(errno.ENOENT, "it was dropped")
        safe(self._folder)
        self._janitor.made(2 * PAGE_BYTES)  # at least: an index, if it is not there yet
        stem = self._stem(version)
        return open_pair(stem, version, self._recalled, completed_at)

    def _stem(self, version: VideoVersion) -> Path:
        """Where *version* lies: a sighting that was taken up, where its holder left it."""
        own = stem_of(version, self._folder, self._holder)
        if version.sighting is not None and not index_of(own).exists():
            for stem, header in self._left_whole(version):
                if header.version == version:
                    return stem
        return own

    def _left_whole(
        self, video: VideoVersion | Content
    ) -> Iterator[tuple[Path, Header]]:
        """The sightings of *video* all of whose blocks are there; raises OSError."""
        everything = ByteRange(0, video.size_bytes)
        for stem in sightings_of(video, self._folder):
            with contextlib.suppress(FileNotFoundError, NoHeader):
                pair = found_pair(stem)
                if pair.covers(everything):
                    yield stem, pair.header

    def _recalled(self, found: os.stat_result) -> bytearray | None:
        """Which blocks of a data file this process has verified, if they still count."""
        with self._lock:
            kept = self._verified.get(inode_of(found))
        return kept[1] if kept is not None and kept[0] == times_of(found) else None


def _most_open() -> float:
    """How many videos may be open at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if files == resource.RLIM_INFINITY else _SHARE_OF_FILES * files
