"""The videos of one folder, as the threads of this process use them.

Decides that all users of a version in this process share its files, that few videos are
open at once, and that nobody waits for a disk that hangs. Leaves to `video` what reads
and writes do, to `janitor` how much is written, and to the folder's kind which versions
have files in it: `disk` is a cache, and `kept` holds what is kept.

Nothing touches the disk before the first `open`.

Threads: any thread may call any method.
"""

import contextlib
import math
import os
import resource
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..blocks import ByteRange
from ..content import Content
from ..errors import plain
from ..facts.directory import network_file_system
from ..remembered import Remembered
from ..version import VideoVersion
from ..workers import all_joined
from .attempts import Attempts
from .behind import Behind
from .direct import DirectWriter
from .files import found_pair, open_pair, safe
from .health import Health
from .janitor import PAGE_BYTES, Janitor
from .layout import FOLDER, Header, NoHeader, index_of, sightings_of, stem_of
from .pair import Pair, Times, inode_of, times_of
from .shelf import Rules
from .tally import Tally
from .video import DiskVideo

# Videos that are open, as a share of the files that this process may have: each takes two.
# The other half is for connections, without which nothing is read. A guess.
_SHARE_OF_FILES = 1 / 4
# Which blocks of files that are closed are verified: a byte for each. A film of 785 MB
# takes 6 KB. A guess.
_MOST_VERIFIED_BYTES = 4 << 20


@dataclass(frozen=True, slots=True)
class DiskStats:
    """What a folder has done since it was made."""

    read_bytes: int
    written_bytes: int
    dropped_bytes: int
    bad_blocks: int
    evicted_videos: int


class VideoFolder(ABC):
    """The videos in *directory*, of at most *limit_bytes*. Thread safety: all methods.

    Of what was fetched, *waiting_bytes* may wait to be written. *rules* say what counts
    against the limit, and what may go.
    """

    def __init__(
        self, directory: Path, limit_bytes: int, waiting_bytes: int, rules: Rules
    ) -> None:
        self._folder = directory / FOLDER
        self._holder = secrets.token_hex(8)
        self._health = Health(plain(str(directory)), rules.title)
        self._attempts = Attempts(self._health)
        self._behind = Behind(waiting_bytes)
        self._direct = DirectWriter()  # of the thread of *behind*
        self._tally = Tally()
        self._janitor = Janitor(
            self._folder,
            limit_bytes,
            self._holder,
            health=self._health,
            tally=self._tally,
            rules=rules,
        )
        # Guards all below, and what kinds of folders add; no I/O under it.
        self._lock = threading.Lock()
        self._videos: dict[VideoVersion, tuple[DiskVideo, int]] = {}  # with its users
        self._verified: Remembered[tuple[Times, bytearray]] = Remembered(
            _MOST_VERIFIED_BYTES, lambda kept: len(kept[1])
        )
        self._closed = False
        # Whether processes of this host alone use it; None until it was first opened.
        self._is_local: bool | None = None

    @abstractmethod
    def _takes(self, version: VideoVersion) -> bool:
        """Whether *version* has files here, or may have; memory only."""

    @abstractmethod
    def _demand(self, version: VideoVersion) -> None:
        """Raise OSError if the files of *version* may not be made or used any more.

        Memory only.
        """

    def open(
        self, version: VideoVersion, completed_at: float | None = None
    ) -> DiskVideo | None:
        """The blocks of *version*, a video *completed_at* then. Does I/O.

        Its files are found or made. None if the disk cannot be used now, or has too many
        videos open; or the version is none for this folder: see its class. Call `release`
        once for each `open`. Blocks of a version with a sighting are of use to this
        process alone, until all of them are there.
        """
        if not (version.size_bytes and self._takes(version)):
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

    def has_whole(self, content: Content) -> bool:
        """Whether all of *content* lies here. Does I/O, and makes no file."""
        if self._closed or not self._health.may_read:
            return False
        with contextlib.suppress(OSError, NoHeader):
            return self._attempts.make(partial(self._holds_all, content))
        return False

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
        """What the folder has done."""
        tally = self._tally
        return DiskStats(
            tally.read_bytes,
            tally.written_bytes,
            self._behind.dropped_bytes + tally.refused_bytes,
            tally.bad_blocks,
            tally.evicted_videos,
        )

    def _sought(self, content: Content) -> VideoVersion | None:
        safe(self._folder)
        for _, header in self._left_whole(content):
            if header.tells(content) and not self._is_dropped(header.version):
                return header.version
        return None

    def _holds_all(self, content: Content) -> bool:
        if content.seeks_sighting:
            return self._sought(content) is not None
        version = content.version
        if version is None or self._is_dropped(version):
            return False
        safe(self._folder)
        pair = found_pair(self._stem(version))
        everything = ByteRange(0, version.size_bytes)
        return pair.header.version == version and pair.covers(everything)

    def _shared(self, version: VideoVersion, completed_at: float | None) -> DiskVideo:
        video = self._used(version)
        if video is not None:
            try:
                self._demand(version)
                video.look_again()
            except (OSError, NoHeader):
                self._release(video)
                raise
            return video
        made = DiskVideo(
            version,
            partial(self._opened, completed_at=completed_at),
            self._release,
            dropped=partial(self._is_dropped, version),
            is_local=lambda: bool(self._is_local),
            health=self._health,
            attempts=self._attempts,
            behind=self._behind,
            room=self._janitor.take,
            direct=self._direct,
            tally=self._tally,
        )
        with self._lock:  # another thread may have made one meanwhile
            video, users = self._videos.get(version, (made, 0))
            self._videos[version] = video, users + 1
        return video

    def _is_dropped(self, version: VideoVersion) -> bool:
        try:
            self._demand(version)
        except OSError:
            return True
        return False

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
        self._demand(version)
        safe(self._folder)
        if self._is_local is None:
            self._is_local = _lies_here(self._folder)
        self._janitor.made(2 * PAGE_BYTES)  # at least: an index, if it is not there yet
        return self._pair(version, completed_at)

    def _pair(self, version: VideoVersion, completed_at: float | None) -> Pair:
        """The files of *version*, found or made."""
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


def _lies_here(folder: Path) -> bool:
    """Whether *folder* lies on a file system of this host alone; False if untold."""
    try:
        return network_file_system(folder) is None
    except OSError:
        return False


def _most_open() -> float:
    """How many videos may be open at once."""
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return math.inf if files == resource.RLIM_INFINITY else _SHARE_OF_FILES * files
