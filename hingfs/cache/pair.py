"""The two files of one video, open in this process, and what it knows of their blocks.

Decides which blocks are present and which are verified. Data is written first and its
record after it, so a record whose data does not match is a miss. A block is verified
when it is first read here, and again after the data file's times are not those that this
process left: another process wrote, or somebody else. What others write between the two
looks of one write of ours goes unseen: a process of ours writes the same bytes. Only
pread and pwrite touch the files. Leaves to `disk` what trouble leads to.

Threads: any may read and look again; one writes.
"""

import contextlib
import errno
import math
import os
import threading
import time
from array import array
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from xxhash import xxh3_64

from ..blocks import MIB, ByteRange, block_count, blocks_of, bounds_of, views_of
from .direct import DirectWriter
from .layout import (
    GRID_BYTES,
    MARK_AT,
    PRESENT,
    RECORD_BYTES,
    RECORDS_AT,
    Header,
    Mark,
    NoHeader,
    header_of,
    mark_of,
    records_of,
    written_records,
)
from .locks import ByteLocks

_MOST_VIEWS = 1024  # of one pwritev: IOV_MAX
# Of one pwritev. A GB costs 0.30 s of CPU so, and the dearest of eight trials 0.32; by 2 MiB
# and more at once it cost up to 2.0 s (ext4, Linux 6.18, 2026-11-27).
_WRITE_BYTES = MIB

Times = tuple[int, int, int]  # size, mtime, ctime of a data file
# Takes the data file and its times; returns which of its blocks are verified already.
Recall = Callable[[os.stat_result], bytearray | None]


class Descriptor:
    """A file descriptor that is closed once nobody holds it any longer.

    So no thread reads from one that another thread has closed.
    """

    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        with contextlib.suppress(OSError):  # nothing that was written is promised
            os.close(self.number)


def times_of(found: os.stat_result) -> Times:
    """What changes in *found* when anybody writes the file."""
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns


def inode_of(found: os.stat_result) -> str:
    """What tells the file *found* from all others on this machine."""
    return f"{found.st_dev}:{found.st_ino}"


class Pair:
    """Blocks of *header*'s video in *data* under the records in *index*.

    Methods that touch the files raise OSError.
    """

    def __init__(
        self,
        data: Descriptor,
        index: Descriptor,
        header: Header,
        recall: Recall = lambda _: None,
    ) -> None:
        self.header = header
        self.locks = ByteLocks(data.number)  # of use while the pair is held
        self._data = data
        self._index = index
        self._size_bytes = header.version.size_bytes
        count = block_count(self._size_bytes, GRID_BYTES)
        self.tells_waits = _tells_waits(data)
        found = os.fstat(data.number)
        self.inode = inode_of(found)
        # A record per block, 0 where it is absent. Single items change without a lock,
        # each in one step; whoever reads a stale one finds bytes that do not match.
        self._records = records_of(b"", count)
        # Guards the three fields below; no I/O under it.
        self._lock = threading.Lock()
        # A byte per block. Replaced, never cleared: a read that began before marks its
        # blocks in the one that nobody asks any more.
        self._verified = recall(found) or bytearray(count)
        self._times = times_of(found)  # that this process left, or took over
        self._writing = False  # times change, and that says nothing
        self._seen: Times | None = None  # of the index, when it was last read
        # Blocks with their bad records, and the data's times when they were found bad.
        self._bad: deque[tuple[int, int, Times]] = deque()
        self.look_again()

    # -- asked from anywhere, without I/O ----------------------------------------------

    def covers(self, span: ByteRange) -> bool:
        """Whether every block of *span* is present, as far as is known here."""
        blocks = blocks_of(span, GRID_BYTES)
        return all(self._records[blocks.start : blocks.stop])

    def has(self, index: int) -> bool:
        """Whether grid block *index* is present, as far as is known here."""
        return bool(self._records[index])

    def forget(self, indices: Iterable[int]) -> None:
        """Have blocks absent here, until the index shows them anew."""
        times, _ = self.verified()
        for index in indices:
            self._bad.append((index, self._records[index], times))
            self._records[index] = self._verified[index] = 0

    def verified(self) -> tuple[Times, bytearray]:
        """The times that this process left, and the blocks that are verified by them."""
        with self._lock:
            return self._times, self._verified

    # -- reading -----------------------------------------------------------------------

    def read_into(self, target: memoryview, offset: int, flags: int = 0) -> list[int]:
        """Fill *target* from *offset* with present blocks; returns those that are bad.

        If there are any, the bytes in *target* are good for nothing. With the *flags*
        RWF_NOWAIT raises BlockingIOError for what is not in the kernel's memory.
        """
        span = ByteRange(offset, offset + len(target))
        blocks = blocks_of(span, GRID_BYTES)
        verified = self._trusted()
        doubtful = [index for index in blocks if not verified[index]]
        wide = self._widened(span, doubtful)
        views = [
            memoryview(bytearray(span.start - wide.start)),
            target,
            memoryview(bytearray(wide.stop - span.stop)),
        ]
        given = [view for view in views if view]
        filled = os.preadv(self._data.number, given, wide.start, flags)
        if flags and filled < len(wide):
            raise BlockingIOError(errno.EAGAIN, "the rest is not in memory")
        bad = []
        for index in doubtful if filled == len(wide) else blocks:
            bounds = bounds_of(index, GRID_BYTES, self._size_bytes)
            start, stop = bounds.start - wide.start, bounds.stop - wide.start
            if stop > filled:
                bad.append(index)  # somebody cut the file
            elif not verified[index]:
                record = _record_of(views_of(views, start, stop))
                if record == self._records[index]:
                    verified[index] = 1
                else:
                    bad.append(index)
        return bad

    def _trusted(self) -> bytearray:
        """A byte per block, set where it was verified and nothing was written since."""
        times = times_of(os.fstat(self._data.number))
        with self._lock:
            if not self._writing:
                self._take_times_locked(times)
            return self._verified

    def _take_times_locked(self, times: Times) -> None:
        if times != self._times:
            self._times = times
            self._verified = bytearray(len(self._verified))

    def _widened(self, span: ByteRange, doubtful: Sequence[int]) -> ByteRange:
        """*span* with the whole of the first and last block, where it is doubtful."""
        if not doubtful:
            return span
        first, last = (
            bounds_of(index, GRID_BYTES, self._size_bytes)
            for index in (doubtful[0], doubtful[-1])
        )
        return ByteRange(min(span.start, first.start), max(span.stop, last.stop))

    def unused_seconds(self) -> float:
        """For how long the index says that the video was not used.

        It is infinite where the index is of a time to come: a clock was wrong.
        """
        unused = time.time() - os.fstat(self._index.number).st_mtime
        return unused if unused >= 0 else math.inf

    # -- written by one thread, and looked at by any -----------------------------------

    @property
    def is_found(self) -> bool:
        """Whether others find what is written here, as `files.found_pair` does.

        Not so once a file has lost its name, or the index its header.
        """
        data, index = (os.fstat(file.number) for file in (self._data, self._index))
        if not (data.st_nlink and index.st_nlink and data.st_size <= self._size_bytes):
            return False
        try:
            return header_of(os.pread(self._index.number, RECORDS_AT, 0)) == self.header
        except NoHeader:
            return False

    def write(
        self,
        first: int,
        blocks: Sequence[Sequence[memoryview]],
        direct: DirectWriter | None = None,
    ) -> None:
        """Write *blocks*, neighbours from *first* on, each of which lies in its views.

        By *direct*, if it is given, as far as it can.
        """
        records = array("Q", map(_record_of, blocks))
        self._write_data(first, [view for views in blocks for view in views], direct)
        at = RECORDS_AT + first * RECORD_BYTES
        _write_all(self._index, [memoryview(written_records(records))], at)
        self._records[first : first + len(records)] = records

    def _write_data(
        self, first: int, views: Sequence[memoryview], direct: DirectWriter | None
    ) -> None:
        start = first * GRID_BYTES
        size = sum(map(len, views))
        times = times_of(os.fstat(self._data.number))
        with self._lock:
            self._take_times_locked(times)
            self._writing = True
            for index in blocks_of(ByteRange(start, start + size), GRID_BYTES):
                self._verified[index] = 0
        try:
            done = direct.write(self._data.number, views, start) if direct else 0
            _write_all(self._data, views_of(views, done, size), start + done)
        finally:
            times = times_of(os.fstat(self._data.number))
            with self._lock:
                self._times = times
                self._writing = False

    def erase_forgotten(self) -> None:
        """Have the index show what was forgotten as absent, for every process."""
        now = times_of(os.fstat(self._data.number)) if self._bad else None
        while self._bad:
            index, record, times = self._bad.popleft()
            at = RECORDS_AT + index * RECORD_BYTES
            written = os.pread(self._index.number, RECORD_BYTES, at)
            # Somebody may have written the block anew: then it has the same record.
            if times == now and records_of(written, 1)[0] == record:
                _write_all(self._index, [memoryview(bytes(RECORD_BYTES))], at)

    @property
    def mark(self) -> Mark | None:
        """The mark of a video that is kept, or on its way to it."""
        page = os.pread(self._index.number, RECORDS_AT, 0)
        return mark_of(page) or mark_of(copy_of_page(self._index))

    def put_mark(self, mark: Mark) -> None:
        """Write *mark*; the index then ends with a copy of its first page."""
        _write_all(self._index, [memoryview(mark.packed())], MARK_AT)
        page = os.pread(self._index.number, RECORDS_AT, 0)
        end = RECORDS_AT + len(self._records) * RECORD_BYTES
        _write_all(self._index, [memoryview(page)], end)
        # By the clock to the ns: of two marks in one tick of the kernel's, both are seen.
        now = time.time_ns()
        os.utime(self._index.number, ns=(now, now))

    def sync(self) -> None:
        """Return once all that was written is on the disk."""
        os.fdatasync(self._data.number)
        os.fdatasync(self._index.number)

    def touch(self) -> None:
        """The video was used now: its index's mtime says so."""
        os.utime(self._index.number)

    def look_again(self, flags: int = 0) -> None:
        """Take up what other processes have written and erased, if the index has changed.

        What was written here meanwhile stays as it is: the next look sees it. With the
        *flags* RWF_NOWAIT raises BlockingIOError if it is not in the kernel's memory.
        """
        seen = times_of(os.fstat(self._index.number))
        if seen == self._seen:
            return
        known = self._records[:]
        count = len(known)
        written = bytearray(count * RECORD_BYTES)
        read = os.preadv(self._index.number, [written], RECORDS_AT, flags)
        if flags and read < len(written):
            raise BlockingIOError(errno.EAGAIN, "the rest is not in memory")
        found = records_of(written[:read], count)
        stored = os.fstat(self._data.number).st_size
        for index in range(count) if found != known else ():
            record, old = found[index], known[index]
            if record != old == self._records[index]:
                whole = bounds_of(index, GRID_BYTES, self._size_bytes).stop <= stored
                self._records[index] = record if record & PRESENT and whole else 0
                if old:
                    self._verified[index] = 0
        self._seen = seen


def copy_of_page(index: Descriptor) -> bytes:
    """The copy of the first page that the *index* of a kept video ends with."""
    end = os.fstat(index.number).st_size
    return os.pread(index.number, RECORDS_AT, max(RECORDS_AT, end - RECORDS_AT))


def _record_of(views: Sequence[memoryview]) -> int:
    digest = xxh3_64()
    for view in views:
        digest.update(view)
    return PRESENT | digest.intdigest()


def _tells_waits(file: Descriptor) -> bool:
    """Whether a read can be told to fail rather than wait; not so on NFS, FUSE, tmpfs."""
    try:
        os.preadv(file.number, [bytearray(1)], 0, os.RWF_NOWAIT)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return True


def _write_all(file: Descriptor, views: Sequence[memoryview], at: int) -> None:
    size = sum(map(len, views))
    done = 0
    while done < size:
        left = views_of(views, done, min(done + _WRITE_BYTES, size))
        done += os.pwritev(file.number, left[:_MOST_VIEWS], at + done)
