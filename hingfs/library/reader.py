"""The bytes of an open video at an offset, and what is fetched before it is asked for.

A `VideoReader` serves one version of one video for all its handles: two players of
one file share its read-ahead. `Readers` keeps them a little longer than they are
open, so that "ffprobe, then play" loses nothing.

Threads: reads come from libfuse's threads, many at once. Each reader's `_lock` guards
its read-ahead state and counters; it is never held while anything waits.
"""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..blocks import KIB, MIB, Block, ByteRange, Runs, block_count, blocks_of
from ..cache.base import BlockCache
from ..errors import ContentChanged, HingError, RangesIgnored
from ..fetch.fetcher import BlockFetcher
from ..fetch.landings import FAILURE_MEMORY_SECONDS, Landing
from ..fetch.spool import Spool
from ..fetch.spool_store import SpoolStore
from ..mp4 import index_range
from ..version import Content
from .crowd import Crowd
from .readahead import SMALLEST_REQUEST_BYTES, ClipHabit, Plan, ReadAhead, request_bytes

# A clip of this size costs no more requests whole than in part.
WHOLE_AT_OPEN_BYTES = 1536 * KIB
# How much of the head is fetched at open: what ffprobe and a first frame read there,
# and what the kernel reads ahead of them (strace of ffmpeg 5.1, 2026-11-22: 720 KiB).
HEAD_BYTES = 768 * KIB
# How much of the tail is fetched beside block 0 at open: a player of a clip whose
# index lies at the end asks for it next. The index grows with the file, about a
# thousandth of it (measured on clips of 8 s and 488 s, 2026-11-22: 0.1 %).
TAIL_SHARE = 1024
SMALLEST_TAIL_BYTES = 64 * KIB
LARGEST_TAIL_BYTES = 2 * MIB
# The largest clip that is fetched whole because those before it were read whole.
WHOLE_HABIT_BYTES = 48 * MIB
# Readers without a handle that are remembered, with their cursors.
_MOST_IDLE_READERS = 64
# Separate places of one file of which is remembered that they were read. A program that
# reads more of them reads at random, and nothing is planned by what it has read.
_MOST_RUNS = 4096


@dataclass(frozen=True, slots=True)
class _Failed:
    """A read that failed, and when it was out of time (monotonic).

    The kernel asks again, page by page, for what it was to bring, while the program
    waits in the same call.
    """

    span: ByteRange
    deadline: float
    forget_at: float


class VideoReader:
    """Reads one content. Thread safety: all methods."""

    def __init__(
        self,
        content: Content,
        fetcher: BlockFetcher,
        cache: BlockCache,
        spools: SpoolStore,
        read_seconds: float,
        *,
        crowd: Crowd,
    ) -> None:
        self.content = content
        # Both are guarded by the lock of `Readers`.
        self.handles = 0
        self.opened = False  # ever
        self._fetcher = fetcher
        self._cache = cache
        self._spools = spools
        self._read_seconds = read_seconds
        self._crowd = crowd
        self._block_bytes = fetcher.block_bytes
        # Whether every block that was handed out of it is among those touched here.
        self._knows_all = not content.handed_out
        self._proved = False  # that its whole answer has these; only ever set
        self._size_confirmed = False  # by an answer that brought bytes; only ever set
        self._lock = threading.Lock()
        # All below are guarded by _lock.
        self._readahead = ReadAhead(content.size_bytes)
        self._touched = Runs(_MOST_RUNS)  # the blocks that were read
        self._index_sought = False
        self._failed: list[_Failed] = []  # replaced, never changed

    def prime(self, *, whole: bool) -> None:
        """The file was opened: fetch what will be asked for first, without waiting."""
        content = self.content
        if content.ranges is False or content.changed or not content.size_bytes:
            return
        small = content.size_bytes <= WHOLE_AT_OPEN_BYTES
        counted = self._fetcher.counts_requests
        if small or ((whole or counted) and self._has_room()):
            self._prime_whole()
            return
        self._prefetch(ByteRange(0, HEAD_BYTES), HEAD_BYTES)
        if (
            content.ranges and not counted
        ):  # else a server without ranges would send it all twice
            tail = min(
                max(content.size_bytes // TAIL_SHARE, SMALLEST_TAIL_BYTES),
                LARGEST_TAIL_BYTES,
            )
            self._prefetch(
                ByteRange(content.size_bytes - tail, content.size_bytes),
                LARGEST_TAIL_BYTES,
            )

    def prime_ahead(self, request_size_bytes: int) -> None:
        """The file will be opened and read whole: fetch it, if there is room."""
        content = self.content
        # Where ranges were not seen, a request may bring all of it, into the spool.
        if content.ranges and not content.changed and self._has_room():
            self._prefetch(ByteRange(0, content.size_bytes), request_size_bytes)

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill *target* from *offset*; the count is short only at end of file.

        Raises ContentChanged once the server has another version, DeadlineExceeded,
        or what the transfer met; then nothing of *target* counts. What failed a moment
        ago has no more time than was left of the read that failed.
        """
        content = self.content
        if content.changed:
            raise ContentChanged("the video changed since it was opened")
        count = min(len(target), content.size_bytes - offset)
        if count <= 0:
            self._confirm_size()
            return 0
        if count < len(target):
            target = target[:count]
        span = ByteRange(offset, offset + count)
        failed = self._just_failed(span)
        with self._crowd.call(self._read_seconds) as latest:
            deadline = min(latest, failed.deadline) if failed else latest
            try:
                self._fill(target, offset, deadline)
            except HingError:
                if failed is None:
                    self._note_failed(span, deadline)
                raise
        self._size_confirmed = True
        if offset == 0:
            self._seek_index(target)
        return count

    def _has_room(self) -> bool:
        most = min(WHOLE_HABIT_BYTES, self._fetcher.room_bytes())
        return self.content.size_bytes <= most

    def _prime_whole(self) -> None:
        everything = ByteRange(0, self.content.size_bytes)
        share = -(-len(everything) // self._fetcher.connections)
        self._prefetch(everything, max(share, SMALLEST_REQUEST_BYTES))
        with self._lock:
            self._readahead.note_planned(everything)

    def _confirm_size(self) -> None:
        """Before an end of file that only the probe has seen, read a byte.

        The probe's answer may have been spoilt; every range names the size again.
        """
        if self.content.size_bytes and not self._size_confirmed:
            self.read_into(memoryview(bytearray(1)), 0)

    def rest(self) -> bool:
        """The last handle was closed; whether the file was read whole.

        What is queued and not started is dropped, what is under way finishes.
        """
        dropped = self._fetcher.drop_queued(self.content)
        with self._lock:
            if dropped:
                self._readahead.replan()
            blocks = range(block_count(self.content.size_bytes, self._block_bytes))
            return bool(blocks) and self._touched.covers(blocks)

    def _just_failed(self, span: ByteRange) -> _Failed | None:
        """The read that failed a moment ago and was to bring some of *span*."""
        now = time.monotonic()
        for failed in self._failed:
            again = failed.span.start < span.stop and span.start < failed.span.stop
            if again and now < failed.forget_at:
                return failed
        return None

    def _note_failed(self, span: ByteRange, deadline: float) -> None:
        now = time.monotonic()
        failed = _Failed(span, deadline, now + FAILURE_MEMORY_SECONDS)
        with self._lock:
            recent = [known for known in self._failed if now < known.forget_at]
            self._failed = [*recent, failed]

    def _fill(self, target: memoryview, offset: int, deadline: float) -> None:
        content = self.content
        if content.ranges is not False:
            try:
                self._read_blocks(target, offset, deadline)
            except RangesIgnored:
                content.ranges_ignored()
        if content.ranges is False:
            spool = self._spools.open(content)
            if content.shifting and content.handed_out and not self._proved:
                self._prove(spool, deadline)
            spool.read_into(target, offset, deadline)

    def _prove(self, spool: Spool, deadline: float) -> None:
        """Raise ContentChanged unless *spool* has what was handed out by ranges before.

        Its validators contradict one another, so nothing but the bytes can tell.
        """
        with self._lock:
            touched = list(self._touched) if self._touched.is_complete else []
            knows_all = self._knows_all and self._touched.is_complete
        for index in touched if knows_all else ():
            keys = self.content.block_keys(index)
            block = next(filter(None, map(self._cache.get, keys)), None)
            if block is None:
                break
            held = bytearray(len(block))
            spool.read_into(memoryview(held), index * self._block_bytes, deadline)
            if held != block:
                break
        else:
            self._proved = knows_all
        if not self._proved:
            self.content.found_changed()
            raise ContentChanged("what was read of it cannot be told from another file")

    def _read_blocks(self, target: memoryview, offset: int, deadline: float) -> None:
        block_bytes = self._block_bytes
        stop = offset + len(target)
        indices = range(offset // block_bytes, (stop - 1) // block_bytes + 1)
        missing = []
        for index in indices:
            block = self._cache.get(self.content.block_key(index))
            if block is None:
                missing.append(index)
            else:
                _copy(target, offset, block, index * block_bytes)
        plan = self._advance(ByteRange(offset, stop), waited=bool(missing))
        landings: list[Landing] = []
        if missing:
            follow = range(0)
            if plan.ahead is not None and missing[-1] == indices[-1]:
                # A read that has overtaken its read-ahead: one request for both.
                blocks = max(1, plan.request_bytes // block_bytes)
                follow = range(indices.stop, indices.stop + blocks)
                follow = follow[: max(0, plan.ahead.stop // block_bytes - indices.stop)]
            landings = self._fetcher.demand(self.content, missing, follow)
        if plan.ahead is not None:
            self._prefetch(plan.ahead, plan.request_bytes)
        for index, landing in zip(missing, landings, strict=True):
            start = index * block_bytes
            need = min(stop - start, landing.size_bytes)
            _copy(target, offset, landing.wait(need, deadline), start)
        with self._lock:  # before they are handed out, or a proof could miss them
            self._touched.add(indices)
        if not self.content.hand_out():
            raise RangesIgnored(None)

    def _advance(self, span: ByteRange, *, waited: bool) -> Plan:
        room = self._fetcher.room_bytes()
        connections = self._fetcher.connections
        with self._lock:
            plan = self._readahead.advance(
                span, waited=waited, room_bytes=room, connections=connections
            )
        if plan.new_region and self._fetcher.drop_queued(self.content):
            with self._lock:
                self._readahead.replan()
        return plan

    def _prefetch(self, span: ByteRange, size_bytes: int) -> list[Landing]:
        return self._fetcher.prefetch(
            self.content,
            blocks_of(span, self._block_bytes),
            -(-size_bytes // self._block_bytes),
        )

    def _seek_index(self, head: memoryview) -> None:
        """Once, from the first bytes: fetch the container's index if it lies apart."""
        with self._lock:
            if self._index_sought or self.content.ranges is False:
                return
            self._index_sought = True
        index = index_range(bytes(head[: 4 * KIB]), self.content.size_bytes)
        if index is not None:
            self._prefetch(index, len(index))


class Readers:
    """The readers of a mount, and its habit of reading clips whole.

    Thread safety: all methods; `_lock` guards the table and the habit.
    """

    def __init__(
        self,
        fetcher: BlockFetcher,
        cache: BlockCache,
        spools: SpoolStore,
        read_seconds: float,
        *,
        crowd: Crowd,
    ) -> None:
        self._fetcher = fetcher
        self._cache = cache
        self._spools = spools
        self._read_seconds = read_seconds
        self._crowd = crowd
        self._lock = threading.Lock()
        self._readers: dict[Content, VideoReader] = {}  # oldest use first
        self._habit = ClipHabit()

    def open(self, content: Content, following: Sequence[Content] = ()) -> VideoReader:
        """The reader of *content* with one more handle, priming it at the first.

        *following* come next in the order of names, as far as that is known. The first
        of them are fetched as well where the habit says so.
        """
        with self._lock:
            self._habit.opened(content, following)
            reader = self._reader_locked(content)
            first = not reader.opened
            reader.opened = True
            reader.handles += 1
            whole = self._habit.whole
            ahead = [self._reader_locked(clip) for clip in self._habit.ahead()]
            self._forget_idle()
        if first:
            reader.prime(whole=whole)
        window = sum(next_one.content.size_bytes for next_one in ahead)
        share = request_bytes(window, self._fetcher.connections)
        for next_one in ahead:
            if not next_one.opened:
                next_one.prime_ahead(share)
        return reader

    def close(self, reader: VideoReader) -> None:
        """One handle less."""
        with self._lock:
            reader.handles -= 1
            last = reader.handles == 0
        if not last:
            return
        whole = reader.rest()
        with self._lock:
            self._habit.closed(reader.content, whole=whole)

    def _reader_locked(self, content: Content) -> VideoReader:
        """The reader of *content*, as the latest in use; made if there is none."""
        reader = self._readers.pop(content, None) or VideoReader(
            content,
            self._fetcher,
            self._cache,
            self._spools,
            self._read_seconds,
            crowd=self._crowd,
        )
        self._readers[content] = reader
        return reader

    def _forget_idle(self) -> None:
        """Keep a bounded number of idle readers; call with the lock held."""
        idle = [reader for reader in self._readers.values() if reader.handles == 0]
        for reader in idle[: max(0, len(idle) - _MOST_IDLE_READERS)]:
            del self._readers[reader.content]


def _copy(target: memoryview, offset: int, block: Block, block_start: int) -> None:
    """Copy what *block*, which begins at *block_start*, has of *target* at *offset*."""
    start = max(offset, block_start)
    stop = min(offset + len(target), block_start + len(block))
    target[start - offset : stop - offset] = memoryview(block)[
        start - block_start : stop - block_start
    ]
