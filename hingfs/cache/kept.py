"""What is kept: whole videos that stay until somebody drops them.

They lie in a directory of their own, in the layout of the disk cache. A video that is
wanted is begun: its files are made, or those of the cache get a second link, and room is
set aside for all of it. What is fetched of it lands there. Then it is sealed: every block
is read and checked, the SHA-256 of the whole is written down, and all of it is on the
disk before the mark says so. No bound evicts what is here.

Decides in which order that is done, and which copy stands for a video that its server does
not serve. Leaves the files to `kept_files`, to `folder` how they are used, and to `keep`
which videos are wanted.

Threads: any thread may call any method. Those that do I/O without saying that they give
up on a disk that hangs are for threads that nobody waits for.
"""

import contextlib
import errno
import os
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from ..content import Content
from ..version import VideoVersion
from .files import (
    found_pair,
    open_pair,
    read_about,
    safe,
    unlink,
    write_about,
)
from .folder import VideoFolder
from .kept_files import (
    KEPT_RULES,
    Kept,
    alone,
    copy,
    demand_room,
    digest_of,
    entries_in,
    link,
    room_in,
    sync_folder,
)
from .layout import Mark, NoHeader, stem_of
from .pair import Pair, Times, times_of
from .video import LOOK_SECONDS

_NO_LIMIT = 1 << 62  # bytes: room was set aside for what is written


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
        self._here: Mapping[VideoVersion, Kept] = {}
        # Those that are sealed, by endpoint and id.
        self._sealed: Mapping[tuple[str, str], Sequence[Kept]] = {}
        self._entries: dict[Path, tuple[Times, Kept]] = {}  # by stem, as last read
        self._seen: Times | None = None  # of the folder
        # Looks have numbers, since one that began earlier may end later; guarded by _lock.
        self._looks = 0  # that have begun
        self._shown = 0  # the one that the above is of
        self._looked_at = -LOOK_SECONDS  # monotonic

    # -- what is here ------------------------------------------------------------------

    def videos(self) -> list[Kept]:
        """All that is here, begun or sealed; gives up on a disk that hangs."""
        self.look()
        return list(self._here.values())

    def copy_of(self, endpoint: str, video_id: str) -> Kept | None:
        """The sealed copy of *video_id* that was kept last; as `videos`."""
        self.look()
        found = self._sealed.get((endpoint, video_id), ())
        return max(found, key=lambda kept: kept.mark.begun_at, default=None)

    def has_sealed(self, version: VideoVersion) -> bool:
        """Whether *version* was sealed, as far as is known here; memory only."""
        kept = self._here.get(version)
        return kept is not None and kept.is_sealed

    def whole_sighting(self, content: Content) -> VideoVersion | None:
        """The sealed version that the server has, by all that it tells of *content*."""
        self.look()
        for kept in self._sealed.get((content.endpoint, content.video_id), ()):
            if kept.version.sighting is not None and kept.header.tells(content):
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
        with self._lock:
            self._looks += 1
            number = self._looks
        seen: Times | None = None
        entries: dict[Path, tuple[Times, Kept]] = {}
        with contextlib.suppress(FileNotFoundError):
            seen = times_of(self._folder.stat())
            if seen == self._seen:
                return
            safe(self._folder)
            entries = dict(entries_in(self._folder, self._entries))
        sealed = defaultdict[tuple[str, str], list[Kept]](list)
        for _, kept in entries.values():
            if kept.is_sealed:
                sealed[kept.version.endpoint, kept.version.video_id].append(kept)
        with self._lock:
            if number < self._shown:
                return
            self._shown = number
            self._entries = entries
            self._here = {kept.version: kept for _, kept in entries.values()}
            self._sealed = sealed
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
        with alone(self._folder):
            self._look()
            if version not in self._here:
                demand_room(self._folder, version.size_bytes, self._limit_bytes)
                stem = stem_of(version, self._folder, self._holder)
                if cached is None or not link(cached, stem):
                    pair = open_pair(stem, version, self._recalled, completed_at)
                    if cached is not None:
                        copy(cached, pair)
                found_pair(stem).put_mark(mark)
        self._note_change()

    def room_bytes(self) -> int:
        """How many bytes `begin` would set aside now. Does I/O; raises OSError."""
        return self._attempts.make(
            lambda: min(room_in(self._folder, self._limit_bytes))
        )

    def seal(self, version: VideoVersion) -> Kept:
        """Check all of *version*, and have it stay. Does I/O: reads it all.

        Returns once all is on the disk. Blocks that are bad are forgotten. Raises
        NotWhole, OSError, and FileNotFoundError if it was dropped meanwhile.
        """
        self._look()
        kept = self._kept(version)
        if kept.is_sealed:
            return kept
        pair = found_pair(kept.stem, self._recalled)
        sha256 = digest_of(pair)
        pair.sync()
        mark = pair.mark or kept.mark
        pair.put_mark(replace(mark, sha256=sha256))
        pair.sync()
        for folder in (kept.stem.parent, self._folder):
            sync_folder(folder)
        self._note_change()
        return self._kept(version)

    def drop(self, kept: Kept) -> None:
        """Let *kept* go; what has it open reads on. Does I/O; raises OSError."""
        unlink(kept.stem)
        self._note_change()

    def abandon(self, version: VideoVersion) -> None:
        """Let *version* go, if it was begun and not sealed; as `drop`."""
        for kept in self.videos():
            if kept.version == version and not kept.is_sealed:
                self.drop(kept)

    def _note_change(self) -> None:
        """Have this process and all others look again."""
        now = time.time_ns()
        os.utime(self._folder, ns=(now, now))
        self._look()

    def told_of(self, kept: Kept) -> str | None:
        """The text that lies beside *kept*, if there is one; as `videos`."""
        with contextlib.suppress(OSError, NoHeader):
            return self._attempts.make(partial(read_about, kept.stem))
        return None

    def tell_of(self, kept: Kept, text: str) -> None:
        """Have *text* lie beside *kept*. Does I/O; raises OSError."""
        write_about(kept.stem, text)

    # -- as a folder -------------------------------------------------------------------

    def _takes(self, version: VideoVersion) -> bool:
        # A read of a video that is nowhere on disk asks several times.
        if time.monotonic() > self._looked_at + LOOK_SECONDS:
            self.look()
        return version in self._here

    def _demand(self, version: VideoVersion) -> None:
        self._kept(version)

    def _pair(self, version: VideoVersion, _completed_at: float | None) -> Pair:
        """The files of *version*, which are never made or deleted here."""
        pair = found_pair(self._kept(version).stem, self._recalled)
        if pair.header.version != version:
            raise NoHeader("of another version")
        return pair

    def _kept(self, version: VideoVersion) -> Kept:
        """*version* as it was last seen here; raises FileNotFoundError."""
        kept = self._here.get(version)
        if kept is None:
            raise FileNotFoundError(errno.ENOENT, "it is not kept", version.video_id)
        return kept
