"""One version on disk, as readers and the fetcher use it.

Decides what reads and writes do with a disk that fails: a read becomes a miss, and a
write is dropped. Nobody who reads or fetches waits for a write. Leaves to `pair` which
blocks are there, to `behind` how much may wait to be written, and to `health` whether
the disk may be used now.

Threads: any thread may call any method, but `work`, which is for `behind`'s.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence

from ..blocks import MIB, ByteRange, block_count, blocks_of, runs_of
from ..version import VideoVersion
from .attempts import Attempts
from .behind import Behind, Bytes, Piece
from .direct import DirectWriter
from .health import Health
from .layout import GRID_BYTES, NoHeader
from .pair import Pair
from .tally import Tally

# A video's index is looked at for the blocks of other processes at most so often. A look
# costs 5 µs, or 40 µs where a film's index has changed (2026-11-27).
LOOK_SECONDS = 1.0
# How long `fill` waits for room for a MiB, of which a disk writes many a second. The
# thread that waits could begin another download. A guess.
FILL_SECONDS = 1.0
# The index's mtime says when a video was used, no more exactly than this. A guess.
TOUCH_SECONDS = 60.0
# `fill` gives so many to the writer at once. A guess.
_FILL_BLOCKS = MIB // GRID_BYTES


class DiskVideo:
    """The blocks of *version*. Thread safety: all methods.

    Each returns at once, but `fill`. It holds two file descriptors until `release`. Its
    grid is GRID_BYTES, whatever the blocks in memory are. *opened* finds or makes the
    files, *released* is told that one user less needs them, *dropped* says whether
    nothing more is kept, *is_local* whether all who use the files are on this host, and
    *room* whether so many bytes may be written now. What is written goes by *direct*,
    unless that is slow and much waits.
    """

    def __init__(
        self,
        version: VideoVersion,
        opened: Callable[[VideoVersion], Pair],
        released: Callable[["DiskVideo"], None],
        *,
        dropped: Callable[[], bool],
        is_local: Callable[[], bool],
        health: Health,
        attempts: Attempts,
        behind: Behind,
        room: Callable[[int], bool],
        direct: DirectWriter,
        tally: Tally,
    ) -> None:
        self.version = version
        self._opened = opened
        self._released = released
        self._dropped = dropped
        self._is_local = is_local
        self._health = health
        self._attempts = attempts
        self._behind = behind
        self._room = room
        self._direct = direct
        self._tally = tally
        # Whether processes that have gone may have left what was not looked at. Cleared
        # after a look: no thread goes on before another one's look has ended.
        self._others_unseen = True
        # Replaced once somebody has deleted the files, or broken them.
        self.pair = opened(version)
        self._looked_at = time.monotonic()
        self._touched_at = self._looked_at - self.pair.unused_seconds()  # monotonic

    def has(self, index: int) -> bool:
        """Whether grid block *index* is there; memory only.

        If not, the index is looked at again soon, behind the caller.
        """
        return self._told(self._health.may_read and self.pair.has(index))

    def covers(self, span: ByteRange) -> bool:
        """Whether all grid blocks of *span* are there; as `has`."""
        return self._told(self._health.may_read and self.pair.covers(span))

    @property
    def is_complete(self) -> bool:
        """Whether every block is there; as `has`."""
        return self.covers(ByteRange(0, self.version.size_bytes))

    @property
    def is_written(self) -> bool:
        """Whether the disk takes blocks now."""
        return self._health.may_write

    def read_into(self, target: memoryview, offset: int) -> bool:
        """Fill *target* with the bytes from *offset*, which were verified here.

        False is a miss: a block is absent or bad, or the disk fails. Then the bytes in
        *target* are good for nothing, and a bad block is forgotten. Raises nothing.
        """
        pair = self.pair
        span = ByteRange(offset, offset + len(target))
        if not (self._health.may_read and pair.covers(span)):
            return False
        bad: Sequence[int]
        try:
            bad = self._read(pair, target, offset)
        except (BlockingIOError, TimeoutError):  # the disk hangs: nothing is known
            return False
        except OSError:
            bad = blocks_of(span, GRID_BYTES)
        if bad:
            pair.forget(bad)
            self._tally.bad_blocks += len(bad)
            self._behind.wake(self)
            return False
        self._tally.read_bytes += len(target)
        if time.monotonic() > self._touched_at + TOUCH_SECONDS:
            self._behind.wake(self)
        return True

    def _read(self, pair: Pair, target: memoryview, offset: int) -> list[int]:
        """As `Pair.read_into`, and no longer than a caller can wait for the disk.

        What lies in the kernel's memory is read on this thread, since it cannot hang.
        """
        if pair.tells_waits:
            with (
                contextlib.suppress(BlockingIOError),
                self._health.operation(reading=True),
            ):
                return pair.read_into(target, offset, os.RWF_NOWAIT)
        # Not into *target*, which belongs to others once the caller has gone on.
        own = memoryview(bytearray(len(target)))
        bad = self._attempts.make(lambda: pair.read_into(own, offset))
        target[:] = own
        return bad

    def put(self, offset: int, data: Sequence[Bytes], seconds: float = 0.0) -> bool:
        """Have the bytes *data*, end to end from *offset*, written behind the caller.

        They must not change any more. Only grid blocks that they cover whole are kept;
        neighbours that wait together count as one piece. A queue that is full for
        *seconds* drops them; returns whether they are there, or wait.
        """
        span = ByteRange(offset, offset + sum(map(len, data)))
        if self._dropped():
            return False
        if self.pair.covers(span):
            self.unlock(span)
            return True
        if not self._health.may_write:
            return False
        return self._behind.put(self, offset, data, seconds)

    def fill(self, read: Callable[[int, int], bytes]) -> None:
        """Have all that is absent written; *read* gives bytes by offset and count.

        Waits for room in the queue, and gives up where that takes too long.
        """
        size = self.version.size_bytes
        for run in runs_of(self._absent()):
            for first in range(run.start, run.stop, _FILL_BLOCKS):
                start, stop = (
                    min(index * GRID_BYTES, size)
                    for index in (first, min(first + _FILL_BLOCKS, run.stop))
                )
                if not self.put(start, [read(start, stop - start)], FILL_SECONDS):
                    return

    @property
    def is_shared(self) -> bool:
        """Whether other processes find what is written here, and see locks on it."""
        tells = self.version.sighting is None
        return tells and self._health.may_write and self._is_local()

    def take_up(self) -> bool:
        """Take up what other processes have written by now; raises OSError.

        False if there are none, nor were before the last look. It takes no longer than a
        caller can wait for the disk.
        """
        others = self.pair.locks.are_others()
        if others or self._others_unseen:
            self._others_unseen = True
            self._look(self.pair)
            self._others_unseen = others
            return True
        return False

    def _look(self, pair: Pair) -> None:
        if pair.tells_waits:
            with (
                contextlib.suppress(BlockingIOError),
                self._health.operation(reading=True),
            ):
                pair.look_again(os.RWF_NOWAIT)
                return
        self._attempts.make(pair.look_again)

    def unlock(self, span: ByteRange) -> None:
        """This process has no lock on the grid blocks of *span*; raises nothing."""
        with contextlib.suppress(OSError):
            self.pair.locks.unlock(whole_grid(span, self.version.size_bytes))

    def release(self) -> None:
        """One `open` less; after the last, the files are closed behind what waits."""
        self._released(self)

    def look_again(self) -> None:
        """Take up what other processes have written, erased or made anew.

        Raises OSError, and NoHeader where a kept video's files are of no use any more.
        """
        self._looked_at = time.monotonic()
        self._find_again()
        self.pair.look_again()

    # -- on the thread that writes -----------------------------------------------------

    def work(self, pieces: Sequence[Piece]) -> None:
        """See `behind.Work`."""
        try:
            self._work(pieces)
        except (OSError, NoHeader):
            pass
        finally:  # others find them, or fetch them for themselves
            for span in _spans(pieces):
                self.unlock(span)

    def _work(self, pieces: Sequence[Piece]) -> None:
        with self._health.operation():
            self._prepare(writing=bool(pieces))
        blocks = whole_blocks(pieces, self.version.size_bytes)
        absent = (block for block in blocks if not self.pair.has(block[0]))
        for first, run in _runs(absent):
            self._write(first, run)

    def _prepare(self, *, writing: bool) -> None:
        if writing:
            self._find_again()
        self.pair.erase_forgotten()
        now = time.monotonic()
        if now > self._touched_at + TOUCH_SECONDS:
            self._touched_at = now
            self.pair.touch()
        if now > self._looked_at + LOOK_SECONDS:
            self.look_again()

    def _find_again(self) -> None:
        if not self.pair.is_found:
            self.pair = self._opened(self.version)

    def _write(self, first: int, blocks: Sequence[Sequence[memoryview]]) -> None:
        """Write *blocks*, neighbours from *first* on, if there is room."""
        size = sum(len(view) for views in blocks for view in views)
        if not self._health.may_write or not self._room(size):
            self._tally.refused_bytes += size
            return
        # The kernel's memory takes in what a slow disk is late with.
        quick = self._direct.is_quick or self._behind.keeps_up
        direct = self._direct if quick else None
        with self._health.operation():
            self.pair.write(first, blocks, direct)
        self._tally.written_bytes += size

    def _absent(self) -> list[int]:
        count = block_count(self.version.size_bytes, GRID_BYTES)
        return [index for index in range(count) if not self.pair.has(index)]

    def _told(self, there: bool) -> bool:  # noqa: FBT001 - what is told
        if not there and time.monotonic() > self._looked_at + LOOK_SECONDS:
            self._behind.wake(self)
        return there


def whole_blocks(
    pieces: Sequence[Piece], size_bytes: int
) -> Iterator[tuple[int, list[memoryview]]]:
    """The grid blocks that the ascending *pieces* of a video cover whole.

    Each is its index, with its bytes end to end. What comes twice is taken once.
    """
    reached = 0  # the end of *part*, or where the next whole block may begin
    part: list[memoryview] = []  # of a block whose rest may be in the next piece
    for start, data in pieces:
        at = start
        for buffer in data:
            if at > reached:
                part = []
                reached = block_count(at, GRID_BYTES) * GRID_BYTES
            stop = at + len(buffer)
            while reached < stop:
                index = reached // GRID_BYTES
                end = min((index + 1) * GRID_BYTES, stop)
                part.append(memoryview(buffer)[reached - at : end - at])
                reached = end
                if end % GRID_BYTES == 0 or end == size_bytes:
                    yield index, part
                    part = []
            at = stop


def _runs(
    blocks: Iterable[tuple[int, list[memoryview]]],
) -> Iterator[tuple[int, list[list[memoryview]]]]:
    """Neighbours among the ascending *blocks* together."""
    first, run = 0, list[list[memoryview]]()
    for index, views in blocks:
        if run and index != first + len(run):
            yield first, run
            run = []
        if not run:
            first = index
        run.append(views)
    if run:
        yield first, run


def _spans(pieces: Sequence[Piece]) -> Iterator[ByteRange]:
    """The bytes of the ascending *pieces*, neighbours together."""
    start = stop = 0
    for at, data in pieces:
        if at > stop:
            yield ByteRange(start, stop)
            start = at
        stop = max(stop, at + sum(map(len, data)))
    yield ByteRange(start, stop)


def whole_grid(span: ByteRange, size_bytes: int) -> ByteRange:
    """The grid blocks that lie whole in *span*, of a video of *size_bytes*."""
    start = block_count(span.start, GRID_BYTES) * GRID_BYTES
    stop = span.stop if span.stop == size_bytes else span.stop - span.stop % GRID_BYTES
    return ByteRange(start, max(start, stop))
