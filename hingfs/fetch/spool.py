"""Whole-file streams, for servers that ignore Range or do not say how long a file is.

Such a video is downloaded once, however it is read: reads behind the stream's
frontier are hits, reads ahead of it wait. A stream that is cut goes on at the byte
reached, or starts again and is compared with what is there, so a changed file is
noticed and never mixed.

Small spools live in memory and count against the cache budget; others in an unlinked
file, bounded together by *disk_bytes*. The least recently used make room, but none
that is in use: giving it up would fail its readers, or have all of it sent again.

Threads: one daemon thread of a small pool per running stream. `_lock` of the store
guards its table; the condition of each spool guards that spool's fields. Neither is
held during I/O: a spool is in the table before its memory or file is made, and no longer
when that is given back; the one writer appends behind the frontier, readers stay before
it.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from ..api.verdict import odd_type_of
from ..api.whole import Extent, OtherExtent, judged, proven
from ..blocks import KIB
from ..cache.base import BlockCache
from ..errors import (
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    NotAVideo,
    SpoolFull,
    TransportError,
    Undecodable,
    foreseen,
    printable,
)
from ..http.answer import Answer
from ..http.pace import SLOWEST_BYTES_PER_SECOND, Pace
from ..version import Content
from ..workers import DaemonPool
from .storage import File, Memory, SharedStorage, Storage

log = logging.getLogger(__name__)

# A refusal is not asked about again for so long, as in `fetcher`.
FAILURE_MEMORY_SECONDS = 1.5
_PIECE_BYTES = 256 * KIB
_MOST_STREAMS = 8
# Attempts in a row that bring nothing new before a stream is given up.
_MOST_VAIN_ATTEMPTS = 4
# The part of the cache budget that one spool, and all of them, may fill.
_LARGEST_MEMORY_SHARE = 4
_MEMORY_SHARE = 2
# What a spool in memory takes at least: a page, its mapping, what is known of it. A guess.
_LEAST_MEMORY_BYTES = 16 * KIB
# Files that are open, those included whose download failed and may be resumed: a process
# may have 1,024 descriptors. A guess.
_MOST_FILES = 128
# Contents that found no room are remembered up to this number. A guess.
_MOST_TOO_LARGE = 1024
# Who reads a file comes back within this time, unless it was the end: a player asks
# its kernel for the next half megabyte each second. A guess.
_IN_USE_SECONDS = 3.0


class WholeSource(Protocol):
    """Where whole files come from."""

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with all of it, or a 206 that goes on at *offset*."""


class Spool:
    """The bytes of one content, arriving in order. Fields are guarded by `_arrived`."""

    def __init__(self, content: Content, *, in_memory: bool) -> None:
        self.content = content
        self.in_memory = in_memory  # or in a file; guarded by the lock of the store
        self.extent = Extent(content.size_bytes)  # for the stream's thread only
        # So far there is room for it, where its size is not known. For the store, under
        # its lock: two that grow at once must not both take the last room.
        self.promised_bytes = 0
        # Both are written without the lock, in one assignment each.
        self.used_at = time.monotonic()
        self._left = False  # who used it last has no more to ask
        self._storage = SharedStorage()
        self._arrived = threading.Condition()
        self._frontier = 0
        self._complete = False
        self._error: HingError | None = None
        self._failed_at = 0.0

    def hold(self, storage: Storage) -> None:
        """Keep the bytes in *storage*, which is closed in the end, or at once.

        Raises what ended it where it was given up meanwhile.
        """
        if not self._storage.hold(storage):
            error = self.error
            assert error is not None, "what is given up without a byte has failed"
            raise error.again()

    def read_into(self, target: memoryview, offset: int, deadline: float) -> None:
        """Fill *target* from *offset*; both lie inside the file.

        Raises DeadlineExceeded at *deadline* (monotonic), or what the stream met.
        """
        with self._storage.used():  # while it waits, too: or it could be given up
            self._wait(lambda: self._frontier >= offset + len(target), deadline)
            self._storage.read_into(target, offset)
            self._left = self._complete and offset + len(target) == self._frontier
        self.used_at = time.monotonic()

    def wait_complete(self, deadline: float) -> int:
        """The size in bytes, once all of it has arrived. Raises as `read_into`."""
        self._wait(lambda: self._complete, deadline)
        self._left = True
        return self._frontier

    def touch(self) -> None:
        """It will be read: it is in use from here on."""
        self.used_at = time.monotonic()
        self._left = False

    @property
    def frontier(self) -> int:
        """How many bytes have arrived."""
        with self._arrived:
            return self._frontier

    @property
    def in_use(self) -> bool:
        """Whether it is being filled or read, or more of it may be read soon."""
        if self._storage.is_used:
            return True
        with self._arrived:
            if not self._complete:
                return self._error is None
            age = time.monotonic() - self.used_at
            return age < _IN_USE_SECONDS and not self._left

    @property
    def error(self) -> HingError | None:
        """What ended the stream for good, None while it is alive or complete."""
        with self._arrived:
            return self._error

    def resume(self) -> bool:
        """Forget an error that ended the stream, if a new one may not meet it.

        Returns whether it did. What the server said is believed for a moment; trouble
        on the way is not.
        """
        with self._arrived:
            age = time.monotonic() - self._failed_at
            passing = isinstance(self._error, TransportError) or (
                self._error is not None
                and not isinstance(self._error, ContentChanged)
                and age >= FAILURE_MEMORY_SECONDS
            )
            if passing:
                self._error = None
            return passing

    def append(self, data: bytes) -> None:
        """Put *data* behind the frontier; for the stream's thread only."""
        with self._arrived:
            frontier = self._frontier
        with self._storage.used():
            self._storage.write(frontier, data)
        with self._arrived:
            self._frontier += len(data)
            self._arrived.notify_all()

    def peek(self, offset: int, count: int) -> bytes:
        """The bytes from *offset* on, fewer where fewer have arrived."""
        held = bytearray(max(0, min(count, self.frontier - offset)))
        with self._storage.used():
            if held:  # before the first byte there may be no storage
                self._storage.read_into(memoryview(held), offset)
        return bytes(held)

    def agrees(self, data: bytes, offset: int) -> bool:
        """Whether *data* is what already stands at *offset*."""
        return self.peek(offset, len(data)) == data

    def finish(self) -> None:
        """All of it is there."""
        with self._arrived:
            self._complete = True
            self._arrived.notify_all()

    def fail(self, error: HingError) -> None:
        """Nothing more will come; reads behind the frontier still succeed."""
        with self._arrived:
            if not self._complete and self._error is None:
                self._error = error
                self._failed_at = time.monotonic()
            self._arrived.notify_all()

    def close(self) -> None:
        """Give up the bytes; waiters get an error."""
        self.fail(BodyCut("the spooled copy was given up to make room"))
        self._storage.give_up()

    def _wait(self, there: Callable[[], bool], deadline: float) -> None:
        with self._arrived:
            while not there():
                if self._error is not None:
                    raise self._error.again()
                left = deadline - time.monotonic()
                if left <= 0:
                    raise DeadlineExceeded(
                        "the download did not reach that far in time"
                    )
                self._arrived.wait(left)


class SpoolStore:
    """The spools of a mount. Thread safety: all methods."""

    def __init__(
        self,
        source: WholeSource,
        cache: BlockCache,
        *,
        disk_bytes: int,
        directory: Path | None,
        stall_seconds: float,
    ) -> None:
        self._source = source
        self._stall_seconds = stall_seconds
        self._cache = cache
        self._disk_bytes = disk_bytes
        self._directory = directory
        self._pool = DaemonPool("hingfs-spool", _MOST_STREAMS)
        self._lock = threading.Lock()
        self._spools: dict[Content, Spool] = {}  # guarded by _lock
        # Of contents of unknown size that found no room: how many bytes they have at
        # least. As many must fit before one is downloaded again. Guarded by _lock.
        self._least_bytes: dict[Content, int] = {}
        self._closing: HingError | None = None  # guarded by _lock
        # Out of the table, and to be closed without the lock. Guarded by _lock.
        self._dropped: list[Spool] = []

    def open(self, content: Content, answer: Answer | None = None) -> Spool:
        """The spool of *content*, started if there is none, or resumed if it failed.

        *answer*, a 200 that came unasked, is used as its stream, or closed.
        """
        used = False
        try:
            with self._changing():
                if self._closing:
                    raise self._closing.again()
                spool = self._spools.get(content)
                fresh = spool is None
                start = spool is None or spool.resume()
                if spool is None:
                    spool = self._spools[content] = self._make_locked(content)
                spool.touch()  # or it could be given up before it is read
            if fresh:
                self._provide(spool)
            if start:
                self._start(spool, answer)
                used = True
        finally:
            if answer is not None and not used:
                answer.close()
        return spool

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the lock; what was dropped meanwhile is closed after it."""
        dropped: list[Spool] = []
        try:
            with self._lock:
                try:
                    yield
                finally:
                    dropped, self._dropped = self._dropped, dropped
        finally:
            for spool in dropped:
                spool.close()

    def _provide(self, spool: Spool) -> None:
        """Get the memory or the file for *spool*, which is in the table.

        Whoever opens it meanwhile waits for its bytes. Raises SpoolFull where there is
        no file; whatever is raised, it is no longer in the table.
        """
        try:
            storage = self._mapped(spool) if spool.in_memory else None
            spool.hold(storage or self._made_file())
        except BaseException as error:
            with self._changing():
                spool.fail(foreseen(error))
                self._remove_locked(spool)
            raise

    def _mapped(self, spool: Spool) -> Memory | None:
        """Memory for *spool*; None if the system maps no more: then it is to be a file."""
        try:
            return Memory(spool.content.size_bytes)
        except (OSError, MemoryError) as error:
            name = printable(spool.content.video_id, 80)
            log.warning("%s: no memory can be mapped, a file is used: %s", name, error)
        with self._changing():
            self._make_file_room_locked(spool.content)
            self._cache.reserve(-_extent(spool))
            spool.in_memory = False
        return None

    def _made_file(self) -> File:
        try:
            return File(self._directory)
        except OSError as error:
            raise SpoolFull(f"no spool file can be made: {error}") from error

    def _start(self, spool: Spool, answer: Answer | None) -> None:
        try:
            self._pool.submit(self._stream, spool, answer)
        except BaseException as error:
            spool.fail(foreseen(error))
            raise

    def close(self, error: HingError) -> None:
        """Wake every waiter with *error*, give up the bytes, start nothing new."""
        with self._lock:
            self._closing = error
            spools = list(self._spools.values())
        for spool in spools:
            spool.fail(error)
            spool.close()
        self._pool.close(error)

    def first_bytes(self, content: Content, count: int) -> bytes:
        """Up to *count* of the first bytes of *content*, as far as they are held."""
        with self._lock:
            spool = self._spools.get(content)
        held = b""
        if spool is not None:
            with contextlib.suppress(BodyCut):  # given up meanwhile
                held = spool.peek(0, count)
        return held or bytes((self._cache.get((content, 0)) or b"")[:count])

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)

    def held_bytes(self) -> int:
        """The bytes in memory and on disk."""
        with self._lock:
            return sum(_extent(spool) for spool in self._spools.values())

    def _make_locked(self, content: Content) -> Spool:
        """A spool of *content*, for which there is room; `_provide` gets it."""
        size = content.size_bytes
        budget = self._cache.budget_bytes
        share = budget // _MEMORY_SHARE
        small = 0 <= size <= budget // _LARGEST_MEMORY_SHARE
        held = max(size, _LEAST_MEMORY_BYTES)
        if small and self._make_room_locked(held, share, in_memory=True):
            self._cache.reserve(held)
            return Spool(content, in_memory=True)
        self._make_file_room_locked(content)
        return Spool(content, in_memory=False)

    def _make_file_room_locked(self, content: Content) -> None:
        """Have room for a file of *content*; raises SpoolFull where there is none."""
        size = max(content.size_bytes, self._least_bytes.get(content, 0))
        if size > self._disk_bytes:
            raise SpoolFull(
                f"{size} bytes do not fit the spool of {self._disk_bytes} bytes that "
                "this server's files need, since it ignores ranges; see --spool-size"
            )
        if not self._make_room_locked(size, self._disk_bytes, in_memory=False):
            raise self._full()
        if not self._spare_file_locked():
            raise SpoolFull(f"{_MOST_FILES} whole files are read at once; more are not")

    def _full(self) -> SpoolFull:
        return SpoolFull(
            f"the files that are read just now fill the spool of {self._disk_bytes} "
            "bytes that this server's files need; see --spool-size"
        )

    def _make_room_locked(self, size: int, bound: int, *, in_memory: bool) -> bool:
        """Give up spools until *size* more bytes fit; whether they do then.

        If they cannot, none is given up.
        """
        alike = [s for s in self._spools.values() if s.in_memory is in_memory]
        excess = sum(map(_extent, alike)) + size - bound
        idle = [spool for spool in alike if not spool.in_use]
        if excess > sum(map(_extent, idle)):
            return False
        for spool in sorted(idle, key=lambda spool: spool.used_at):
            if excess > 0:
                excess -= _extent(spool)
                self._drop_locked(spool)
        return True

    def _spare_file_locked(self) -> bool:
        """Whether another file may be open, once the oldest that is idle is given up."""
        files = [spool for spool in self._spools.values() if not spool.in_memory]
        idle = [spool for spool in files if not spool.in_use]
        if len(files) >= _MOST_FILES and idle:
            self._drop_locked(min(idle, key=lambda spool: spool.used_at))
        return len(files) < _MOST_FILES or bool(idle)

    def _drop_locked(self, spool: Spool) -> None:
        """Give up the bytes of *spool*, which is in the table."""
        self._remove_locked(spool)
        if spool.content.shifting:  # no other answer can be told to have the same bytes
            spool.content.found_changed()

    def _remove_locked(self, spool: Spool) -> None:
        if self._spools.get(spool.content) is spool:
            del self._spools[spool.content]
            if spool.in_memory:
                self._cache.reserve(-_extent(spool))
            self._dropped.append(spool)

    def _stream(self, spool: Spool, answer: Answer | None) -> None:
        """Fill *spool*; no exception leaves."""
        name = printable(spool.content.video_id, 80)
        try:
            self._fill(spool, answer)
        except ContentChanged as error:
            spool.content.found_changed()
            spool.fail(error)
        except HingError as error:
            spool.fail(error)
        except OSError as error:
            reason = f"the spool cannot be written: {error.strerror or error}"
            log.error("%s: %s", name, reason)  # noqa: TRY400 - foreseen
            spool.fail(SpoolFull(reason))
        except BaseException as error:
            log.exception("%s: unforeseen error in a whole-file stream", name)
            spool.fail(foreseen(error))
        else:
            spool.finish()

    def _fill(self, spool: Spool, answer: Answer | None) -> None:
        """Stream until all is there; an attempt that brought bytes costs no patience.

        Unless it brought them as a trickle.
        """
        vain = 0
        others = 0
        if answer is not None and answer.status != 200:
            answer.close()  # a range that is none of the file: see `verdict.judge_range`
            answer = None
        while True:
            before, began = spool.frontier, time.monotonic()
            # Where validators shift, all of it must be compared.
            resumes = spool.extent.resumable and not spool.content.shifting
            try:
                answer = answer or self._source.open_whole(
                    spool.content, before if resumes else 0
                )
                began = time.monotonic()
                with answer:
                    self._take(spool, answer)
            except (TransportError, NotAVideo) as error:
                if spool.frontier == spool.content.size_bytes:
                    return  # only the end of the body was spoilt
                others += isinstance(error, OtherExtent)
                if others > 1:
                    raise ContentChanged(f"it is another file now: {error}") from error
                brought = spool.frontier - before
                least = SLOWEST_BYTES_PER_SECOND * (time.monotonic() - began)
                vain = 0 if brought > 0 and brought >= least else vain + 1
                over = vain >= _MOST_VAIN_ATTEMPTS or spool.error is not None
                if over or isinstance(error, Undecodable):  # so would the next one be
                    raise
            else:
                return
            answer = None

    def _take(self, spool: Spool, answer: Answer) -> None:
        """Read *answer* to its end into *spool*; raises BodyCut if it ends early."""
        position = spool.extent.begin(answer)
        pieces = _pieces(spool, answer, self._stall_seconds)
        if not position:
            odd_type = odd_type_of(answer.headers)
            pieces = judged(pieces) if odd_type is None else proven(pieces)
        for piece in pieces:
            spool.extent.bind(spool.frontier)
            self._place(spool, piece, position)
            position += len(piece)
        spool.extent.end(answer, position, spool.frontier, spool.peek)

    def _grow(self, spool: Spool, size: int) -> None:
        """*spool*, whose size is not known, takes *size* bytes so far.

        Raises SpoolFull where they find no room; then it is given up, and there is
        room for others at least.
        """
        with self._changing():
            more = size - _extent(spool)
            if size > self._disk_bytes:
                error = SpoolFull("the file is larger than the spool; see --spool-size")
            elif self._make_room_locked(more, self._disk_bytes, in_memory=False):
                spool.promised_bytes = size
                return
            else:
                error = self._full()
            while len(self._least_bytes) >= _MOST_TOO_LARGE:
                del self._least_bytes[next(iter(self._least_bytes))]
            self._least_bytes[spool.content] = size
            spool.fail(error)
            self._drop_locked(spool)
        raise error

    def _place(self, spool: Spool, piece: bytes, position: int) -> None:
        if position > spool.frontier:
            raise TransportError(f"bytes from {position} on, not as asked")
        overlap = max(0, min(spool.frontier - position, len(piece)))
        if overlap and not spool.agrees(piece[:overlap], position):
            raise ContentChanged("the file is another one than when the download began")
        if overlap < len(piece):
            limit = spool.content.size_bytes
            if 0 <= limit < position + len(piece):
                raise ContentChanged("the file is longer than announced")
            if limit < 0:
                self._grow(spool, position + len(piece))
            spool.append(piece[overlap:])


def _pieces(spool: Spool, answer: Answer, stall_seconds: float) -> Iterator[bytes]:
    """The body of *answer* as it arrives, while *spool* is wanted.

    Raises BodyCut where it trickles for *stall_seconds*.
    """
    decoded = spool.extent.coded
    pace = Pace(stall_seconds)
    while piece := answer.read_some(_PIECE_BYTES, decoded=decoded):
        yield piece
        if spool.error is not None:
            raise BodyCut("the spool was given up")
        pace.took(len(piece))
        if time.monotonic() >= pace.judged_at:
            if not pace.good:
                raise BodyCut("the body came too slowly")
            pace.restart()


def _extent(spool: Spool) -> int:
    least = _LEAST_MEMORY_BYTES if spool.in_memory else 0
    return max(spool.content.size_bytes, spool.promised_bytes, spool.frontier, least)
