"""The files of what is kept: found, begun, checked, and whether there is room for more.

Decides which files count as a kept video, and what of the disk cache is taken over. Leaves
to `kept` when that is done, and to `files` what a pair of files is.

Threads: none. The functions do I/O, and raise OSError.
"""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..blocks import MIB
from ..errors import HingError, plain
from ..units import rounded_size
from ..version import VideoVersion
from .files import found_pair, safe, unlink
from .janitor import STOP_BELOW
from .layout import (
    FOLDER,
    GRID_BYTES,
    INDEX,
    Header,
    Mark,
    NoHeader,
    data_of,
    index_of,
)
from .pair import Descriptor, Pair, Times, times_of
from .processes import unlock
from .shelf import Rules, Shelved, is_useless, shelved

# What is read at once while a video is checked. A guess.
_CHECK_BYTES = 4 * MIB


class KeepFull(HingError):
    """There is no room for another kept video; the message says what would help."""


class NotWhole(HingError):
    """A video cannot be sealed, or written out: blocks of it are absent or bad."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A video that is kept, or on its way to it, until its mark has the SHA-256."""

    stem: Path
    header: Header
    mark: Mark

    @property
    def version(self) -> VideoVersion:
        """Which bytes it is."""
        return self.header.version

    @property
    def is_sealed(self) -> bool:
        """Whether all of it is here, and was checked."""
        return self.mark.sha256 is not None


def videos(directory: Path) -> list[Kept]:
    """All that is kept in *directory*, or on its way; raises OSError."""
    folder = directory / FOLDER
    if not folder.exists():
        return []
    safe(folder)
    return [kept for _, (_, kept) in entries_in(folder, {})]


def demand_room(folder: Path, size_bytes: int, limit_bytes: int) -> None:
    """Raise KeepFull if *size_bytes* more do not fit into *folder*; does I/O.

    All of each video counts against *limit_bytes*, and against what is free on the disk.
    """
    left, free = room_in(folder, limit_bytes)
    if size_bytes > left:
        raise KeepFull(
            f"{rounded_size(size_bytes)} do not fit: of --keep-size "
            f"{rounded_size(limit_bytes)} only {rounded_size(max(left, 0))} "
            "are left; give a larger --keep-size, or `hingfs drop` what need not stay"
        )
    if size_bytes > free:
        raise KeepFull(
            f"{rounded_size(size_bytes)} do not fit: the disk of "
            f"{plain(str(folder.parent))} has {rounded_size(max(free, 0))} "
            f"above the {100 * STOP_BELOW:.0f} % that stay free; make room there, or "
            "give a --keep-dir on another disk"
        )


def room_in(folder: Path, limit_bytes: int) -> tuple[int, int]:
    """How many bytes *limit_bytes* leaves in *folder*, and how many its disk. Does I/O.

    All of each video that was begun counts. Either may be negative.
    """
    here = shelved(folder)
    promised = sum(max(one.size_bytes, one.taken_bytes) for one in here)
    unwritten = promised - sum(one.taken_bytes for one in here)
    found = os.statvfs(folder)
    floor = int(STOP_BELOW * found.f_blocks * found.f_frsize)
    free = found.f_bavail * found.f_frsize - floor - max(unwritten, 0)
    return limit_bytes - promised, free


def anything_kept(directory: Path, endpoint: str) -> bool:
    """Whether a video of *endpoint* is kept whole in *directory*; raises OSError."""
    return any(
        kept.is_sealed and kept.version.endpoint == endpoint
        for kept in videos(directory)
    )


def digest_of(pair: Pair) -> bytes:
    """The SHA-256 of all of *pair*, each block of which is checked; raises OSError.

    Raises NotWhole if blocks are absent or bad; bad ones are forgotten.
    """
    size = pair.header.version.size_bytes
    absent = sum(
        1 for at in range(0, size, GRID_BYTES) if not pair.has(at // GRID_BYTES)
    )
    if absent:
        raise NotWhole(f"{absent:,} blocks of {GRID_BYTES // 1024} KiB are absent")
    digest = hashlib.sha256()
    buffer = memoryview(bytearray(min(size, _CHECK_BYTES)))
    for start in range(0, size, _CHECK_BYTES):
        part = buffer[: min(_CHECK_BYTES, size - start)]
        bad = pair.read_into(part, start)
        if bad:
            pair.forget(bad)
            pair.erase_forgotten()
            raise NotWhole(f"{len(bad):,} blocks are not as they were written")
        digest.update(part)
    return digest.digest()


def _first_to_go(
    videos: Collection[Shelved], running: Collection[str]
) -> list[Shelved]:
    """Parts that only a process which has ended could use."""
    return [
        video
        for video in videos
        if is_useless(video, running) and not _is_sealed(video.stem)
    ]


KEPT_RULES = Rules("the directory of kept videos", lambda _: True, _first_to_go)


def _is_sealed(stem: Path) -> bool:
    """Whether the video at *stem* was sealed, or that cannot be known."""
    try:
        mark = found_pair(stem).mark
    except FileNotFoundError:
        return False
    except (OSError, NoHeader):
        return True
    return mark is not None and mark.sha256 is not None


def entries_in(
    folder: Path, known: dict[Path, tuple[Times, Kept]]
) -> Iterator[tuple[Path, tuple[Times, Kept]]]:
    """What is in *folder* by stem; what has not changed is taken from *known*."""
    for path in folder.glob(f"[0-9a-f][0-9a-f]/*{INDEX}"):
        stem = path.with_name(path.name.removesuffix(INDEX))
        with contextlib.suppress(FileNotFoundError, NoHeader):
            times = times_of(path.lstat())
            before = known.get(stem)
            if before is not None and before[0] == times:
                yield stem, before
                continue
            pair = found_pair(stem)
            header, mark = pair.header, pair.mark
            # Its process ended between the making and the mark.
            made_at = header.completed_at or header.created
            unmarked = Mark(int(made_at * 1e9), header.created)
            kept = Kept(stem, header, mark or unmarked)
            yield stem, (times_of(path.lstat()), kept)


def link(cached: Path, stem: Path) -> bool:
    """Give the files at *cached* a second name at *stem*; False if that cannot be."""
    try:
        stem.parent.mkdir(mode=0o700, exist_ok=True)
        found_pair(cached)  # which raises if it is none
        os.link(data_of(cached), data_of(stem))
        os.link(index_of(cached), index_of(stem))
    except (OSError, NoHeader):
        unlink(stem)
        return False
    return True


def copy(cached: Path, pair: Pair) -> None:
    """Write into *pair* the good blocks of the files at *cached*."""
    with contextlib.suppress(OSError, NoHeader):
        found = found_pair(cached)
        size = pair.header.version.size_bytes
        for at in range(0, size, GRID_BYTES):
            index = at // GRID_BYTES
            if found.has(index) and not pair.has(index):
                block = memoryview(bytearray(min(GRID_BYTES, size - at)))
                if not found.read_into(block, at):
                    pair.write(index, [[block]])


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only process that sets room aside, meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = Descriptor(os.open(folder / "keep.lock", flags, 0o600))
    fcntl.flock(file.number, fcntl.LOCK_EX)
    try:
        yield
    finally:
        unlock(file)


def sync_folder(folder: Path) -> None:
    """Return once the names in *folder* are on the disk."""
    opened = Descriptor(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    os.fsync(opened.number)
