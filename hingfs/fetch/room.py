"""The room that spools take in memory and on disk.

Decides which spools there are, and which are given up to make room for others. A small
spool lives in memory and counts against the cache budget. Any other lives in an unlinked
file; *disk_bytes* bounds all files together. The least recently used spool goes first.
No spool in use is given up: its readers would fail, or all of it would be sent again.

Leaves to `spool` when a spool is in use, and to `stream` how it is filled.
Threads: none of its own; readers and streams call.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..blocks import KIB
from ..cache.base import BlockCache
from ..content import Content
from ..errors import HingError, SpoolFull, foreseen, printable
from .spool import Spool
from .storage import File, Memory

log = logging.getLogger(__name__)

# One spool in memory may fill a quarter of the cache budget, all of them half.
_LARGEST_MEMORY_SHARE = 4
_MEMORY_SHARE = 2
# The least that a spool in memory takes: a page, its mapping, and its objects. A guess.
_LEAST_MEMORY_BYTES = 16 * KIB
# Open files, with those whose download failed and may be resumed: a process may have
# 1,024 descriptors. A guess.
_MOST_FILES = 128
# How long a closed file may still take room on disk; the system needs some tenths of a
# second for a large one. A guess.
MOST_LEAVING_SECONDS = 10.0
# Contents that found no room are remembered up to this number. A guess.
_MOST_TOO_LARGE = 1024


class Room:
    """The spools of a mount, each with its memory or its file.

    Files that were given up have *most_leaving_seconds* to leave the disk.
    Thread safety: all methods.
    """

    def __init__(
        self,
        cache: BlockCache,
        *,
        disk_bytes: int,
        directory: Path | None,
        most_leaving_seconds: float = MOST_LEAVING_SECONDS,
    ) -> None:
        self._directory = directory
        self._most_leaving_seconds = most_leaving_seconds
        # Guards both below. It is not held while memory or a file is made or given back:
        # a spool enters the table before its storage is made, and leaves the table
        # before its storage is given back.
        self._lock = threading.Lock()
        self._table = _Table(cache, disk_bytes)
        self._closing: HingError | None = None

    def open(self, content: Content) -> tuple[Spool, bool]:
        """The spool of *content*, in use from here on, and whether it needs a stream.

        A spool needs one if it is new, or failed and may be resumed; only one caller is
        told so. Raises SpoolFull, or the error of `close`.
        """
        with self._changing_table():
            if self._closing:
                raise self._closing.again()
            found = self._table.get(content)
            spool = found or self._table.add(content)
            needs_stream = found is None or spool.resume()
            spool.touch()  # or it could be given up before it is read
        if found is None:
            self._provide_storage(spool)
        return spool, needs_stream

    def find(self, content: Content) -> Spool | None:
        """The spool of *content*, if there is one."""
        with self._lock:
            return self._table.get(content)

    def grow(self, spool: Spool, size_bytes: int) -> None:
        """Let *spool*, whose size is not known, take *size_bytes* in all.

        Raises SpoolFull where there is no room, and gives *spool* up, which makes room
        for others.
        """
        with self._changing_table():
            self._table.grow(spool, size_bytes)
        self._await_disk()

    def spools(self) -> list[Spool]:
        """All spools."""
        with self._lock:
            return self._table.spools()

    def held_bytes(self) -> int:
        """The bytes of all spools, in memory and on disk."""
        with self._lock:
            return self._table.held_bytes()

    def close(self, error: HingError) -> None:
        """Fail all spools and every later `open` with *error*; give all bytes up."""
        with self._lock:
            self._closing = error
            spools = self._table.spools()
        for spool in spools:
            spool.fail(error)
            spool.close()

    @contextlib.contextmanager
    def _changing_table(self) -> Iterator[None]:
        """Hold the lock, then close the spools that were given up under it."""
        given_up: list[Spool] = []
        try:
            with self._lock:
                try:
                    yield
                finally:
                    given_up = self._table.take_given_up()
        finally:
            for spool in given_up:
                spool.close()

    def _provide_storage(self, spool: Spool) -> None:
        """Make the memory or the file of *spool*, which is in the table.

        A reader that opens it meanwhile waits for its bytes. Raises SpoolFull where no
        file can be made. If it raises, *spool* is no longer in the table.
        """
        try:
            with self._lock:
                in_memory = self._table.is_in_memory(spool)
            storage = self._new_memory(spool) if in_memory else None
            spool.hold(storage or self._new_file())
        except BaseException as error:
            with self._changing_table():
                spool.fail(foreseen(error))
                self._table.remove(spool)
            raise

    def _new_memory(self, spool: Spool) -> Memory | None:
        """Memory for *spool*; None if the system maps no more, and it needs a file."""
        try:
            return Memory(spool.content.size_bytes)
        except (OSError, MemoryError) as error:
            name = printable(spool.content.video_id, 80)
            log.warning("%s: no memory can be mapped, a file is used: %s", name, error)
        with self._changing_table():
            self._table.move_to_disk(spool)
        return None

    def _new_file(self) -> File:
        self._await_disk()
        try:
            return File(self._directory)
        except OSError as error:
            raise SpoolFull(f"no spool file can be made: {error}") from error

    def _await_disk(self) -> None:
        """Wait until files that were given up have left the disk, if others need the room.

        The thread that gave a file up is about to close it. Raises SpoolFull if that
        takes too long.
        """
        until = time.monotonic() + self._most_leaving_seconds
        while (leaving := self._file_in_the_way()) is not None:
            if not leaving.wait_gone(max(0.0, until - time.monotonic())):
                raise SpoolFull("files that were given up are not removed in time")

    def _file_in_the_way(self) -> Spool | None:
        with self._lock:
            return self._table.file_in_the_way()


@dataclass(eq=False, slots=True)
class _Share:
    """The memory or the disk that one spool takes."""

    spool: Spool
    size_bytes: int  # of the file; where that is not known, granted so far
    in_memory: bool  # or in a file

    @property
    def held_bytes(self) -> int:
        """The bytes that count against the bounds."""
        return max(self.size_bytes, _LEAST_MEMORY_BYTES if self.in_memory else 0)


class _Table:
    """The shares of all spools. Arithmetic alone: it makes and closes no storage.

    Invariant: all spools in memory take half the cache budget at most, all files
    *disk_bytes*. Not thread-safe: `Room` locks.
    """

    def __init__(self, cache: BlockCache, disk_bytes: int) -> None:
        self._cache = cache
        self._disk_bytes = disk_bytes
        self._shares: dict[Content, _Share] = {}
        # Contents of unknown size that found no room, and how many bytes each has at
        # least. So many must fit before the content is downloaded again.
        self._least_bytes: dict[Content, int] = {}
        self._given_up: list[Spool] = []  # removed, and to be closed
        self._leaving: list[_Share] = []  # files removed, and perhaps still on disk

    def get(self, content: Content) -> Spool | None:
        """The spool of *content*, if there is one."""
        share = self._shares.get(content)
        return share.spool if share is not None else None

    def spools(self) -> list[Spool]:
        """All spools."""
        return [share.spool for share in self._shares.values()]

    def held_bytes(self) -> int:
        """The bytes that count against the bounds, in memory and on disk together."""
        return sum(share.held_bytes for share in self._shares.values())

    def is_in_memory(self, spool: Spool) -> bool:
        """Whether *spool* belongs in memory, not in a file."""
        share = self._share_of(spool)
        return share is not None and share.in_memory

    def add(self, content: Content) -> Spool:
        """Add a spool of *content*; raises SpoolFull where there is no room for it."""
        size = content.size_bytes
        budget = self._cache.budget_bytes
        share = _Share(Spool(content), max(size, 0), in_memory=True)
        small = 0 <= size <= budget // _LARGEST_MEMORY_SHARE
        bound = budget // _MEMORY_SHARE
        if small and self._make_room(share.held_bytes, bound, in_memory=True):
            self._cache.reserve(share.held_bytes)
        else:
            self._make_file_room(content)
            share.in_memory = False
        self._shares[content] = share
        return share.spool

    def move_to_disk(self, spool: Spool) -> None:
        """Have *spool*, for which there is no memory, in a file; raises SpoolFull."""
        share = self._share_of(spool)
        if share is not None:
            self._make_file_room(spool.content)
            self._cache.reserve(-share.held_bytes)
            share.in_memory = False

    def grow(self, spool: Spool, size_bytes: int) -> None:
        """Make room for *size_bytes* of *spool*, which is a file of unknown size.

        Raises SpoolFull where there is none, and gives *spool* up.
        """
        share = self._share_of(spool)
        if share is None:
            return  # it was given up, and takes no more
        more = size_bytes - share.size_bytes
        if size_bytes > self._disk_bytes:
            error = SpoolFull("the file is larger than the spool; see --spool-size")
        elif self._make_room(more, self._disk_bytes, in_memory=False):
            share.size_bytes = size_bytes
            return
        else:
            error = self._full()
        while len(self._least_bytes) >= _MOST_TOO_LARGE:
            del self._least_bytes[next(iter(self._least_bytes))]
        self._least_bytes[spool.content] = size_bytes
        spool.fail(error)
        self._give_up(share)
        raise error

    def remove(self, spool: Spool) -> None:
        """Take *spool* out, if it is in; `take_given_up` hands it over."""
        share = self._share_of(spool)
        if share is not None:
            del self._shares[spool.content]
            if share.in_memory:
                self._cache.reserve(-share.held_bytes)
            else:
                self._leaving.append(share)
            self._given_up.append(spool)

    def take_given_up(self) -> list[Spool]:
        """The spools removed since the last call; the caller closes them."""
        given_up, self._given_up = self._given_up, []
        return given_up

    def file_in_the_way(self) -> Spool | None:
        """A removed spool whose file still takes room that others were granted, if any."""
        self._leaving = [s for s in self._leaving if not s.spool.wait_gone(0)]
        files = [share for share in self._shares.values() if not share.in_memory]
        on_disk = sum(share.held_bytes for share in (*files, *self._leaving))
        if self._leaving and on_disk > self._disk_bytes:
            return self._leaving[0].spool
        return None

    def _share_of(self, spool: Spool) -> _Share | None:
        share = self._shares.get(spool.content)
        return share if share is not None and share.spool is spool else None

    def _give_up(self, share: _Share) -> None:
        self.remove(share.spool)
        content = share.spool.content
        if content.shifting:  # no other answer can be proved to have the same bytes
            content.found_changed()

    def _make_file_room(self, content: Content) -> None:
        """Make room for a file of *content*; raises SpoolFull where there is none."""
        size = max(content.size_bytes, self._least_bytes.get(content, 0))
        if size > self._disk_bytes:
            raise SpoolFull(
                f"{size} bytes do not fit the spool of {self._disk_bytes} bytes that "
                "this server's files need, since it ignores ranges; see --spool-size"
            )
        if not self._make_room(size, self._disk_bytes, in_memory=False):
            raise self._full()
        if not self._may_open_file():
            raise SpoolFull(f"{_MOST_FILES} whole files are read at once; more are not")

    def _full(self) -> SpoolFull:
        return SpoolFull(
            f"the files that are read just now fill the spool of {self._disk_bytes} "
            "bytes that this server's files need; see --spool-size"
        )

    def _make_room(self, size_bytes: int, bound: int, *, in_memory: bool) -> bool:
        """Give up idle spools until *size_bytes* more fit; returns whether they do.

        If they cannot fit, no spool is given up.
        """
        alike = [s for s in self._shares.values() if s.in_memory is in_memory]
        excess = sum(share.held_bytes for share in alike) + size_bytes - bound
        idle = [share for share in alike if not share.spool.in_use]
        if excess > sum(share.held_bytes for share in idle):
            return False
        for share in sorted(idle, key=_last_use):
            if excess > 0:
                excess -= share.held_bytes
                self._give_up(share)
        return True

    def _may_open_file(self) -> bool:
        """Whether another file may be open; gives the oldest idle one up if need be."""
        files = [share for share in self._shares.values() if not share.in_memory]
        idle = [share for share in files if not share.spool.in_use]
        if len(files) >= _MOST_FILES and idle:
            self._give_up(min(idle, key=_last_use))
        return len(files) < _MOST_FILES or bool(idle)


def _last_use(share: _Share) -> float:
    return share.spool.used_at
