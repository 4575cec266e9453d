"""The bytes of an open video at an offset, and what is fetched before it is asked for.

A `VideoReader` serves one version of one video for all its handles: two players of
one file share its read-ahead. `Readers` keeps them a little longer than they are
open, so that "ffprobe, then play" loses nothing.

Threads: reads come from libfuse's threads, many at once. Each reader's `_lock` guards
its read-ahead state and counters; it is never held while anything waits.
"""

import threading
import time
from dataclasses import dataclass

from .block_cache import Block, MemoryBlockCache
from .blocks import KIB, MIB, ByteRange, Content, block_count, blocks_of
from .errors import ContentChanged, HingError, RangesIgnored
from .fetcher import FAILURE_MEMORY_SECONDS, BlockFetcher, Landing
from .mp4 import index_range
from .readahead import SMALLEST_REQUEST_BYTES, Plan, ReadAhead
from .spool import SpoolStore

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
# A mount whose last clips were read whole fetches the next one whole at open, up to
# this size.
WHOLE_HABIT_BYTES = 48 * MIB
WHOLE_HABIT_CLIPS = 2
# Readers without a handle that are remembered, with their cursors.
_MOST_IDLE_READERS = 64


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
        cache: MemoryBlockCache,
        spools: SpoolStore,
        read_seconds: float,
    ) -> None:
        self.content = content
        self.handles = 0  # guarded by the lock of `Readers`
        self._fetcher = fetcher
        self._cache = cache
        self._spools = spools
        self._read_seconds = read_seconds
        self._block_bytes = fetcher.block_bytes
        self._size_confirmed = False  # by an answer that brought bytes; only ever set
        self._lock = threading.Lock()
        # All below are guarded by _lock.
        self._readahead = ReadAhead(content.size_bytes)
        self._touched = bytearray(block_count(content.size_bytes, self._block_bytes))
        self._index_sought = False
        self._failed: list[_Failed] = []  # replaced, never changed

    def prime(self, *, whole: bool) -> None:
        """The file was opened: fetch what will be asked for first, without waiting."""
        content = self.content
        if content.ranges is False or content.changed or not content.size_bytes:
            return
        everything = ByteRange(0, content.size_bytes)
        if len(everything) <= WHOLE_AT_OPEN_BYTES or (
            whole
            and len(everything) <= min(WHOLE_HABIT_BYTES, self._fetcher.room_bytes())
        ):
            self._prefetch(
                everything,
                max(
                    -(-len(everything) // self._fetcher.connections),
                    SMALLEST_REQUEST_BYTES,
                ),
            )
            with self._lock:
                self._readahead.note_planned(everything)
            return
        self._prefetch(ByteRange(0, HEAD_BYTES), HEAD_BYTES)
        if content.ranges:  # else a server without ranges would send it all twice
            tail = min(
                max(content.size_bytes // TAIL_SHARE, SMALLEST_TAIL_BYTES),
                LARGEST_TAIL_BYTES,
            )
            self._prefetch(
                ByteRange(content.size_bytes - tail, content.size_bytes),
                LARGEST_TAIL_BYTES,
            )

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
        deadline = failed.deadline if failed else time.monotonic() + self._read_seconds
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
            return bool(self._touched) and all(self._touched)

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
                content.ranges = False
        if content.ranges is False:
            self._spools.open(content).read_into(target, offset, deadline)

    def _read_blocks(self, target: memoryview, offset: int, deadline: float) -> None:
        block_bytes = self._block_bytes
        stop = offset + len(target)
        indices = range(offset // block_bytes, (stop - 1) // block_bytes + 1)
        missing = []
        for index in indices:
            block = self._cache.get((self.content, index))
            if block is None:
                missing.append(index)
            else:
                _copy(target, offset, block, index * block_bytes)
        plan = self._advance(ByteRange(offset, stop), indices, waited=bool(missing))
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
            _copy(target, offset, self._fetcher.wait(landing, need, deadline), start)

    def _advance(self, span: ByteRange, indices: range, *, waited: bool) -> Plan:
        room = self._fetcher.room_bytes()
        connections = self._fetcher.connections
        with self._lock:
            self._touched[indices.start : indices.stop] = b"\1" * len(indices)
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
        cache: MemoryBlockCache,
        spools: SpoolStore,
        read_seconds: float,
    ) -> None:
        self._fetcher = fetcher
        self._cache = cache
        self._spools = spools
        self._read_seconds = read_seconds
        self._lock = threading.Lock()
        self._readers: dict[Content, VideoReader] = {}  # oldest use first
        self._whole_in_a_row = 0

    def open(self, content: Content) -> VideoReader:
        """The reader of *content* with one more handle, priming it at the first."""
        with self._lock:
            reader = self._readers.pop(content, None)
            known = reader is not None
            if reader is None:
                reader = VideoReader(
                    content,
                    self._fetcher,
                    self._cache,
                    self._spools,
                    self._read_seconds,
                )
            self._readers[content] = reader
            reader.handles += 1
            whole = self._whole_in_a_row >= WHOLE_HABIT_CLIPS
            self._forget_idle()
        if not known:
            reader.prime(whole=whole)
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
            self._whole_in_a_row = self._whole_in_a_row + 1 if whole else 0

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
