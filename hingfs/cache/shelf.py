"""The videos in a folder of the disk cache: what is there, and what goes first.

Decides the order in which videos are evicted, from their files' times and sizes alone.
Leaves to `janitor` and to commands how much goes. A video whose data has a second link is
kept elsewhere: it takes no part.

Threads: none.
"""

import contextlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from .files import unlink
from .layout import DATA, INDEX

# A part of a video that was not used for so long goes before whole ones. One in use must
# be able to become whole, or a full cache would never take another video. A guess.
IDLE_SECONDS = 3600.0
# Files beside a clock that was wrong: they count as unused for longest. A guess.
_CLOCK_SECONDS = 60.0
_STAT_BLOCK = 512  # the unit of st_blocks, whatever the file system's is


@dataclass(slots=True)
class Shelved:
    """The files of one version; *used_at* is in Unix seconds, 0 without an index."""

    stem: Path
    size_bytes: int = 0  # apparent, of the data
    data_bytes: int = 0  # on disk
    index_bytes: int = 0  # on disk
    used_at: float = 0.0
    kept: bool = False

    @property
    def taken_bytes(self) -> int:
        """What the two files take on disk."""
        return self.data_bytes + self.index_bytes

    @property
    def whole(self) -> bool:
        """Whether no hole is left in the data, and so most likely no block is absent."""
        return self.data_bytes >= self.size_bytes > 0

    @property
    def holder(self) -> str:
        """The process that alone may use it; "" if all may."""
        return self.stem.name.partition("-")[2].partition("-")[0]


def shelved(folder: Path) -> list[Shelved]:
    """All videos in *folder*; raises OSError. Files that others delete are left out.

    What is no regular file is none of a video: a directory cannot be evicted, and one at
    the head of the order would end each eviction.
    """
    found: dict[str, Shelved] = {}
    for shelf in _entries(folder):
        if len(shelf.name) != 2 or not shelf.is_dir(follow_symlinks=False):
            continue
        for entry in _entries(shelf):
            stem, dot, ending = entry.path.rpartition(".")
            if dot + ending in {DATA, INDEX}:
                with contextlib.suppress(FileNotFoundError):
                    seen = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(seen.st_mode):
                        video = found.setdefault(stem, Shelved(Path(stem)))
                        _note(video, dot + ending, seen)
            elif ending == "tmp":
                _drop_leftover(Path(entry))
    return list(found.values())


def first_to_go(videos: Collection[Shelved], running: Collection[str]) -> list[Shelved]:
    """Those of *videos* that may be evicted, in that order.

    First what nobody can use: data without an index, and parts that a process outside of
    *running* had for itself. Then parts that were not used for a while, and then the
    rest; each unused for longest first.
    """
    now = time.time()

    def rank(video: Shelved) -> tuple[int, float]:
        used_at = video.used_at
        if used_at > now + _CLOCK_SECONDS:
            used_at = 0.0
        if video.used_at == 0.0 or is_useless(video, running):
            return 0, used_at
        idle = not video.whole and used_at < now - IDLE_SECONDS
        return 1 if idle else 2, used_at

    return sorted((video for video in videos if not video.kept), key=rank)


@dataclass(frozen=True, slots=True)
class Rules:
    """What holds for a kind of folder, which people know by its *title*.

    *counts*: whether a video counts against the folder's limit. *first_to_go* gives those
    that may go, in that order, by what is there and the processes that run. *tidy* deletes
    a part of what else of ours is of no use in the directory around the folder.
    """

    title: str
    counts: Callable[[Shelved], bool]
    first_to_go: Callable[[Collection[Shelved], Collection[str]], list[Shelved]]
    tidy: Callable[[Path], object] = lambda _: None


def is_useless(video: Shelved, running: Collection[str]) -> bool:
    """Whether it is part of a video that only a process which has ended could use."""
    return bool(video.holder) and video.holder not in running and not video.whole


def evict(video: Shelved) -> None:
    """Delete the files of *video*; raises OSError."""
    unlink(video.stem)


def _note(video: Shelved, ending: str, seen: os.stat_result) -> None:
    if ending == DATA:
        video.size_bytes = seen.st_size
        video.data_bytes = seen.st_blocks * _STAT_BLOCK
        video.kept = seen.st_nlink > 1
    else:
        video.index_bytes = seen.st_blocks * _STAT_BLOCK
        video.used_at = seen.st_mtime


def _entries(directory: str | Path | os.DirEntry[str]) -> Iterator[os.DirEntry[str]]:
    with contextlib.suppress(FileNotFoundError), os.scandir(directory) as entries:
        yield from entries


def _drop_leftover(path: Path) -> None:
    """Delete what a process left that ended while it made an index."""
    with contextlib.suppress(FileNotFoundError):
        if path.lstat().st_mtime < time.time() - IDLE_SECONDS:
            path.unlink()
