"""What is kept: whole videos that stay until somebody drops them.

They lie in a directory of their own, in the layout of the disk cache. A video that is
wanted is begun: its files are made, or those of the cache get a second link, and room is
set aside for all of it. What is fetched of it lands there. Then it is sealed: every block
is read and checked, the SHA-256 of the whole is written down, and all of it is on the
disk before the mark says so. No bound evicts what is here.

Decides how much may be kept, and which copy stands for a video that its server does not
serve. Leaves to `folder` how its files are used, and to `keep` which videos are wanted.

Threads: any thread may call any method. Those that do I/O without saying that they give
up on a disk that hangs are for threads that nobody waits for.
"""

import contextlib
import errno
import fcntl
import hashlib
import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..blocks import MIB
from ..content import Content
from ..errors import HingError, plain
from ..units import rounded_size
from ..version import VideoVersion
from .files import found_pair, open_pair, safe, unlink
from .folder import VideoFolder
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
    stem_of,
)
from .pair import Descriptor, Pair, Times, times_of
from .shelf import Rules, Shelved, is_useless, shelved
from .video import LOOK_SECONDS

# What is read at once while a video is sealed. A guess.
_SEAL_BYTES = 4 * MIB
_NO_LIMIT = 1 << 62  # bytes: room was set aside for what is written


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


class KeptStore(VideoFolder):
    """What is kept in *directory*, of at most *limit_bytes*. Thread safety: all methods.

    The limit stops what is begun by this process, and nothing else. `open` gives the files
    of versions that were begun. Other processes may begin, seal and drop videos in the
    same directory: `look` takes that up, and so does `open`, at most once in LOOK_SECONDS.
    """

    def __init__(self, directory: Path, limit_bytes: int, waiting_bytes: int) -> None:
        super().__init__(directory, _NO_LIMIT, waiting_bytes, KEPT_RULES)
        self._limit_bytes = limit_bytes  # of `begin`, which sets room aside
        # Replaced, never changed: it may be read without the lock.
        self._here: dict[VideoVersion, Kept] = {}
        self._entries: dict[Path, tuple[Times, Kept]] = {}  # by stem, as last read
        self._seen: Times | None = None  # of the folder
        self._looked_at = -LOOK_SECONDS  # monotonic

    # -- what is here ------------------------------------------------------------------

    def videos(self) -> list[Kept]:
        """All that is here, begun or sealed; gives up on a disk that hangs."""
        self.look()
        return list(self._here.values())

    def copy_of(self, endpoint: str, video_id: str) -> Kept | None:
        """The sealed copy of *video_id* that was kept last; as `videos`."""
        self.look()
        found = [
            kept
            for kept in self._here.values()
            if kept.is_sealed
            and kept.version.video_id == video_id
            and kept.version.endpoint == endpoint
        ]
        return max(found, key=lambda kept: kept.mark.begun_at, default=None)

    def has_sealed(self, version: VideoVersion) -> bool:
        """Whether *version* was sealed, as far as is known here; memory only."""
        kept = self._here.get(version)
        return kept is not None and kept.is_sealed

    def whole_sighting(self, content: Content) -> VideoVersion | None:
        """The sealed version that the server has, by all that it tells of *content*."""
        self.look()
        for kept in self._here.values():
            sighted = kept.is_sealed and kept.version.sighting is not None
            if sighted and kept.header.tells(content):
                return kept.version
        return None

    def look(self) -> None:
        """Take up what other processes have done; gives up on a disk that hangs."""
        if self._closed or not self._health.may_read:
            return
        with contextlib.suppress(OSError):
            self._attempts.make(self._look)

    def _look(self) -> None:
        self._looked_at = time.monotonic()
        try:
            seen = times_of(self._folder.stat())
        except FileNotFoundError:
            self._here, self._seen = {}, None
            return
        if seen == self._seen:
            return
        safe(self._folder)
        entries = dict(_entries(self._folder, self._entries))
        with self._lock:
            self._entries = entries
            self._here = {kept.version: kept for _, kept in entries.values()}
            self._seen = seen

    # -- keeping -----------------------------------------------------------------------

    def begin(
        self,
        version: VideoVersion,
        mark: Mark,
        *,
        completed_at: float | None = None,
        cached: Path | None = None,
    ) -> None:
        """Set room aside for *version*, and take over what *cached* has of it. Does I/O.

        *cached* is where the two files of the cache lie, if they do. Nothing changes if
        it was begun before. Raises KeepFull, OSError, and NoHeader if the version's texts
        are too long to be written down.
        """
        safe(self._folder)
        self._janitor.begin()
        with _alone(self._folder):
            self._look()
            if version not in self._here:
                demand_room(self._folder, version.size_bytes, self._limit_bytes)
                stem = stem_of(version, self._folder, self._holder)
                if cached is None or not _link(cached, stem):
                    pair = open_pair(stem, version, self._recalled, completed_at)
                    if cached is not None:
                        _copy(cached, pair)
                found_pair(stem).put_mark(mark)
        self._note_change()

    def seal(self, version: VideoVersion) -> Kept:
        """Check all of *version*, and have it stay. Does I/O: reads it all.

        Returns once all is on the disk. Blocks that are bad are forgotten. Raises
        NotWhole, OSError, and FileNotFoundError if it was dropped meanwhile.
        """
        self._look()
        kept = self._here.get(version)
        if kept is None:
            raise FileNotFoundError(errno.ENOENT, "it was dropped", version.video_id)
        if kept.is_sealed:
            return kept
        pair = found_pair(kept.stem, self._recalled)
        sha256 = digest_of(pair)
        pair.sync()
        mark = pair.mark or kept.mark
        pair.put_mark(replace(mark, sha256=sha256))
        pair.sync()
        for folder in (kept.stem.parent, self._folder):
            _sync_folder(folder)
        self._note_change()
        return self._here[version]

    def drop(self, kept: Kept) -> None:
        """Let *kept* go; what has it open reads on. Does I/O; raises OSError."""
        unlink(kept.stem)
        self._note_change()

    def _note_change(self) -> None:
        """Have this process and all others look again."""
        now = time.time_ns()
        os.utime(self._folder, ns=(now, now))
        self._look()

    # -- as a folder -------------------------------------------------------------------

    def _takes(self, version: VideoVersion) -> bool:
        # A read of a video that is nowhere on disk asks several times.
        if time.monotonic() > self._looked_at + LOOK_SECONDS:
            self.look()
        return version in self._here

    def _demand(self, version: VideoVersion) -> None:
        if version not in self._here:
            raise FileNotFoundError(errno.ENOENT, "it is not kept")

    def _pair(self, version: VideoVersion, _completed_at: float | None) -> Pair:
        """The files of *version*, which are never made or deleted here."""
        pair = found_pair(self._here[version].stem, self._recalled)
        if pair.header.version != version:
            raise NoHeader("of another version")
        return pair


def videos(directory: Path) -> list[Kept]:
    """All that is kept in *directory*, or on its way; raises OSError."""
    folder = directory / FOLDER
    if not folder.exists():
        return []
    safe(folder)
    return [kept for _, (_, kept) in _entries(folder, {})]


def demand_room(folder: Path, size_bytes: int, limit_bytes: int) -> None:
    """Raise KeepFull if *size_bytes* more do not fit into *folder*; does I/O.

    All of each video counts against *limit_bytes*, and against what is free on the disk.
    """
    here = shelved(folder)
    promised = sum(max(one.size_bytes, one.taken_bytes) for one in here)
    unwritten = promised - sum(one.taken_bytes for one in here)
    left = limit_bytes - promised
    if size_bytes > left:
        raise KeepFull(
            f"{rounded_size(size_bytes)} do not fit: of --keep-size "
            f"{rounded_size(limit_bytes)} only {rounded_size(max(left, 0))} "
            "are left; give a larger --keep-size, or `hingfs drop` what need not stay"
        )
    found = os.statvfs(folder)
    floor = int(STOP_BELOW * found.f_blocks * found.f_frsize)
    free = found.f_bavail * found.f_frsize - floor - max(unwritten, 0)
    if size_bytes > free:
        raise KeepFull(
            f"{rounded_size(size_bytes)} do not fit: the disk of "
            f"{plain(str(folder.parent))} has {rounded_size(max(free, 0))} "
            f"above the {100 * STOP_BELOW:.0f} % that stay free; make room there, or "
            "give a --keep-dir on another disk"
        )


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
    digest = hashlib.sha256()
    for part in checked_parts(pair):
        digest.update(part)
    return digest.digest()


def checked_parts(pair: Pair) -> Iterator[memoryview]:
    """The bytes of *pair* in order, each block checked; as `digest_of`."""
    size = pair.header.version.size_bytes
    absent = sum(
        1 for at in range(0, size, GRID_BYTES) if not pair.has(at // GRID_BYTES)
    )
    if absent:
        raise NotWhole(f"{absent:,} blocks of {GRID_BYTES // 1024} KiB are absent")
    buffer = memoryview(bytearray(min(size, _SEAL_BYTES)))
    for start in range(0, size, _SEAL_BYTES):
        part = buffer[: min(_SEAL_BYTES, size - start)]
        bad = pair.read_into(part, start)
        if bad:
            pair.forget(bad)
            pair.erase_forgotten()
            raise NotWhole(f"{len(bad):,} blocks are not as they were written")
        yield part


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


def _entries(
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


def _link(cached: Path, stem: Path) -> bool:
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


def _copy(cached: Path, pair: Pair) -> None:
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
def _alone(folder: Path) -> Iterator[None]:
    """Be the only process that sets room aside, meanwhile."""
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = Descriptor(os.open(folder / "keep.lock", flags, 0o600))
    fcntl.flock(file.number, fcntl.LOCK_EX)
    yield
    del file


def _sync_folder(folder: Path) -> None:
    opened = Descriptor(os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    os.fsync(opened.number)
