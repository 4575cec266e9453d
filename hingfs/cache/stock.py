"""What a cache directory holds, for people: told, checked, and made less.

Decides what is said of each video. Works beside any number of processes that use the
directory: these make deleted files anew. Leaves the order of eviction to `shelf`.

Threads: none. Each function reads the disk, and raises OSError, as `files.safe` does for a
directory that others own or can write.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..blocks import ByteRange, block_count, bounds_of
from ..version import VideoVersion
from . import older, processes
from .files import found_pair, safe
from .layout import FOLDER, GRID_BYTES, NoHeader
from .pair import Pair
from .shelf import Shelved, evict, first_to_go, shelved


@dataclass(frozen=True, slots=True)
class Stocked:
    """A video in the directory. Times are in Unix seconds."""

    version: VideoVersion
    here_bytes: int  # of the video
    taken_bytes: int  # of the disk
    created_at: float
    used_at: float  # to the minute
    kept: bool
    private: bool  # of use to no process but the one that fetched it


@dataclass(frozen=True, slots=True)
class Checked:
    """The outcome of `verify` for one video."""

    version: VideoVersion
    good_blocks: int
    bad_blocks: int


def videos(directory: Path) -> list[Stocked]:
    """All videos in *directory*, the one that was used last first."""
    found = [
        Stocked(
            pair.header.version,
            here_bytes(pair),
            video.taken_bytes,
            pair.header.created,
            video.used_at,
            video.kept,
            _is_private(pair),
        )
        for video, pair in _pairs(directory)
    ]
    return sorted(found, key=lambda video: -video.used_at)


def verify(directory: Path) -> Iterator[Checked]:
    """Read every block of one video after the other.

    Those that are bad are forgotten, for every process.
    """
    for _, pair in _pairs(directory):
        here = list(present(pair))
        bad = [index for index in here if not _is_good(pair, index)]
        pair.forget(bad)
        pair.erase_forgotten()
        yield Checked(pair.header.version, len(here) - len(bad), len(bad))


def trim(directory: Path, most_bytes: int) -> int:
    """Evict videos until the rest takes *most_bytes* at most; returns what went.

    What is kept elsewhere stays, and does not count.
    """
    folder = safe(directory / FOLDER)
    all_videos = shelved(folder)
    used = sum(video.taken_bytes for video in all_videos if not video.kept)
    gone = 0
    for video in first_to_go(all_videos, processes.running(folder)):
        if used - gone <= most_bytes:
            break
        evict(video)
        gone += video.taken_bytes
    return gone


def clear(directory: Path) -> int:
    """Evict all videos, those of older layouts too; returns how many bytes went.

    What is kept stays.
    """
    gone = trim(directory, 0)
    return gone + sum(older.clear(folder) for folder in older.folders(directory))


def limits(directory: Path) -> list[int]:
    """How much each process that uses *directory* now lets it hold."""
    return list(processes.running(safe(directory / FOLDER)).values())


def here_bytes(pair: Pair) -> int:
    """How many of a video's bytes are here."""
    size = pair.header.version.size_bytes
    return sum(len(bounds_of(index, GRID_BYTES, size)) for index in present(pair))


def present(pair: Pair) -> Iterator[int]:
    """The grid blocks that are here."""
    count = block_count(pair.header.version.size_bytes, GRID_BYTES)
    return (index for index in range(count) if pair.has(index))


def _is_private(pair: Pair) -> bool:
    """Whether no other process takes up what is here: see `Header.tells`."""
    header = pair.header
    size_bytes, validator = header.version.size_bytes, header.version.validator
    if header.version.sighting is None:
        return False
    untold = header.completed_at is None and validator.last_modified is None
    return untold or not pair.covers(ByteRange(0, size_bytes))


def _is_good(pair: Pair, index: int) -> bool:
    bounds = bounds_of(index, GRID_BYTES, pair.header.version.size_bytes)
    try:
        return not pair.read_into(memoryview(bytearray(len(bounds))), bounds.start)
    except OSError:  # the disk cannot read it
        return False


def _pairs(directory: Path) -> Iterator[tuple[Shelved, Pair]]:
    """The videos whose files are good, open one after the other."""
    for video in shelved(safe(directory / FOLDER)):
        with contextlib.suppress(FileNotFoundError, NoHeader):
            yield video, found_pair(video.stem)
