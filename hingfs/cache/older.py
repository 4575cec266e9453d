"""What older layouts of the disk cache left in its directory, and its end.

Nobody reads a folder of an older layout any more. Decides that its videos are deleted,
while no process uses it, and the folder after them. What is kept stays, and so does what
is none of ours, and the folders around both.

Threads: none.
"""

import contextlib
import itertools
import os
import stat
from pathlib import Path

from . import processes
from .layout import LAYOUT, MARK_AT, RECORDS_AT, index_of
from .pair import Descriptor
from .shelf import Shelved, evict, shelved

# So many videos are deleted by one look of the janitor, for whose end writes wait. A guess.
MOST_AT_ONCE = 100


def tidy(directory: Path) -> None:
    """Delete some videos of older layouts in *directory*; what cannot be deleted stays."""
    for folder in folders(directory):
        with contextlib.suppress(OSError):
            if not processes.running(folder):
                clear(folder, MOST_AT_ONCE)


def folders(directory: Path) -> list[Path]:
    """The folders of older layouts in *directory* that nobody else can write."""
    paths = (directory / f"v{layout}" for layout in range(1, LAYOUT))
    return [path for path in paths if _is_ours(path)]


def clear(folder: Path, most: int | None = None) -> int:
    """Delete *most* of the videos in *folder*, or all; returns how many bytes went.

    Raises OSError.
    """
    idle = (video for video in shelved(folder) if not _is_kept(video))
    gone = 0
    for video in itertools.islice(idle, most):
        evict(video)
        gone += video.taken_bytes
    if next(idle, None) is None:
        _remove_what_is_empty(folder)
    return gone


def _is_ours(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    others = stat.S_IWGRP | stat.S_IWOTH
    mine = found.st_uid == os.geteuid() and not found.st_mode & others
    return mine and stat.S_ISDIR(found.st_mode)


def _is_kept(video: Shelved) -> bool:
    """Whether *video* has a second link or a mark, or that cannot be known."""
    if video.kept:
        return True
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        index = Descriptor(os.open(index_of(video.stem), flags))
        return any(os.pread(index.number, RECORDS_AT - MARK_AT, MARK_AT))
    except FileNotFoundError:
        return False
    except OSError:
        return True


def _remove_what_is_empty(folder: Path) -> None:
    if processes.running(folder):
        return
    with contextlib.suppress(OSError):
        (folder / "janitor.lock").unlink()
    for directory in (*folder.glob("[0-9a-f][0-9a-f]"), folder):
        with contextlib.suppress(OSError):  # something else is in it, or it is a link
            directory.rmdir()
