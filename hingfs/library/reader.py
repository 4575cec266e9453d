"""The bytes of an open video at an offset.

Decides what is fetched at an open and beside each read. A span's bytes come from memory,
else from disk, as `tiers` has it, and the blocks that are not there from the fetcher.
Leaves to `readahead` how far to read ahead, to `handed_out` whether a whole answer has
the bytes that were read by ranges, to `failures` how long a read may take after one that
failed, and to `readers` which readers there are. How long a read waits is told in
`http.patience`; `crowd` says when it has no time at all.

Threads: reads come from libfuse's threads, many at once.
"""

import threading

from ..blocks import KIB, MIB, ByteRange, blocks_of, copy_shared
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import ContentChanged, CopyDamaged, HingError, RangesIgnored
from ..fetch.fetcher import BlockFetcher
from ..fetch.landings import Landing
from ..fetch.spool_store import SpoolStore
from ..http.patience import FAILURE_MEMORY_SECONDS
from ..mp4 import index_range
from .crowd import Crowd
from .failures import FailedReads
from .handed_out import HandedOut
from .readahead import HEAD_BYTES, Plan, ReadAhead, Room

# A clip up to this size costs no more requests whole than in part.
WHOLE_AT_OPEN_BYTES = 1536 * KIB
# How much of the tail is fetched at an open: if the index lies at the end, a player asks
# for it next. The index grows with the file, and is about a thousandth of it (measured
# on clips of 8 s and 488 s, 2026-11-22: 0.1 %).
TAIL_SHARE = 1024
SMALLEST_TAIL_BYTES = 64 * KIB
LARGEST_TAIL_BYTES = 2 * MIB
# The largest clip that is fetched whole because those before it were read whole.
WHOLE_HABIT_BYTES = 48 * MIB


class VideoReader:
    """Reads one version of one video, for all its handles. Thread safety: all methods.

    *failure_memory_seconds* is for `FailedReads`.
    """

    def __init__(
        self,
        content: Content,
        fetcher: BlockFetcher,
        tiers: Tiers,
        spools: SpoolStore,
        read_seconds: float,
        *,
        crowd: Crowd,
        failure_memory_seconds: float = FAILURE_MEMORY_SECONDS,
    ) -> None:
        self.content = content
        self._fetcher = fetcher
        self._tiers = tiers
        self._spools = spools
        self._read_seconds = read_seconds
        self._crowd = crowd
        self._block_bytes = tiers.block_bytes
        self._handed_out = HandedOut(content, tiers)
        self._failed = FailedReads(failure_memory_seconds)
        self._size_confirmed = False  # by an answer that brought bytes; only ever set
        # Guards both below; no thread waits for anything else while it holds it.
        self._lock = threading.Lock()
        self._readahead = ReadAhead(content.size_bytes)
        self._index_looked_for = False

    def prime(self, *, whole: bool) -> None:
        """The file was opened: fetch the bytes that will be read first; does not wait."""
        content = self.content
        if content.ranges is False or content.changed or not content.size_bytes:
            return
        small = content.size_bytes <= WHOLE_AT_OPEN_BYTES
        counted = self._fetcher.counts_requests
        everything = ByteRange(0, content.size_bytes)
        if small:
            self._prefetch(everything)
        elif not ((whole or counted) and self._prefetch_whole()):
            self._prime_ends(tail=not counted)
            return
        with self._lock:
            self._readahead.note_planned(everything)

    def _prime_ends(self, *, tail: bool) -> None:
        content = self.content
        self._prefetch(ByteRange(0, HEAD_BYTES).clip(content.size_bytes))
        # A server that has not shown that it serves ranges might send all of it twice.
        if content.ranges and tail:
            size = min(
                max(content.size_bytes // TAIL_SHARE, SMALLEST_TAIL_BYTES),
                LARGEST_TAIL_BYTES,
            )
            self._prefetch(ByteRange(content.size_bytes - size, content.size_bytes))

    def prime_ahead(self) -> None:
        """The file is expected to be opened and read whole: fetch it, if there is room."""
        content = self.content
        # A server that has not served ranges might send all of it, into the spool.
        if content.ranges and not content.changed:
            self._prefetch_whole()

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill *target* from *offset*; the count is short only at end of file.

        Raises ContentChanged once the server has another version, DeadlineExceeded, or
        the error of the transfer, which is CopyDamaged for a kept copy; then no byte of
        *target* counts. A read that repeats a failed one ends at the deadline of that one.
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
        failed = self._failed.recent(span)
        with self._crowd.call(self._read_seconds) as latest:
            deadline = min(latest, failed.deadline) if failed else latest
            try:
                self._fill(target, offset, deadline)
            except HingError as error:
                if failed is None:
                    self._failed.remember(span, deadline)
                if self._tiers.is_kept(content):
                    raise CopyDamaged(
                        f"its kept copy is damaged there, and cannot be mended: {error}"
                    ) from error
                raise
        self._size_confirmed = True
        if offset == 0:
            self._prefetch_index(target)
        return count

    def _prefetch_whole(self) -> bool:
        """Whether all of it is on its way: it is small enough, and there is room."""
        if self.content.size_bytes > WHOLE_HABIT_BYTES:
            return False
        return self._fetcher.prefetch_whole(self.content)

    def _confirm_size(self) -> None:
        """Before an end of file that only the probe has reported, read a byte.

        The probe's answer may have been wrong; the answer to a range names the size again.
        """
        if self.content.size_bytes and not self._size_confirmed:
            self.read_into(memoryview(bytearray(1)), 0)

    def release(self) -> bool:
        """The last handle was closed; returns whether the file was read whole.

        Queued transfers ahead are dropped, running ones finish.
        """
        dropped = self._fetcher.drop_queued(self.content)
        if dropped:
            with self._lock:
                self._readahead.replan()
        return self._handed_out.is_whole()

    def _fill(self, target: memoryview, offset: int, deadline: float) -> None:
        content = self.content
        if content.ranges is not False:
            try:
                self._read_blocks(target, offset, deadline)
            except RangesIgnored:
                content.ranges_ignored()
        if content.ranges is False and not self._fill_from_disk(target, offset):
            spool = self._spools.open(content)
            if content.shifting and content.handed_out:
                self._handed_out.prove(spool, deadline)
            spool.read_into(target, offset, deadline)

    def _fill_from_disk(self, target: memoryview, offset: int) -> bool:
        """Whether the file lies whole on disk, and *target* is filled from there."""
        content = self.content
        if content.shifting and content.handed_out:  # a spool must prove those bytes
            return False
        if not self._tiers.is_whole_on_disk(content):
            return False
        return not self._tiers.read_into(content, target, offset)

    def _read_blocks(self, target: memoryview, offset: int, deadline: float) -> None:
        span = ByteRange(offset, offset + len(target))
        missing = self._tiers.read_into(self.content, target, offset)
        if missing or not self._tiers.is_whole_on_disk(self.content):
            self._fetch(missing, target, span, deadline)
        # Note them before they are handed out, or a proof could miss them.
        indices = blocks_of(span, self._block_bytes)
        self._handed_out.note(indices)
        if not self.content.hand_out():
            raise RangesIgnored(None)

    def _fetch(
        self, missing: list[int], target: memoryview, span: ByteRange, deadline: float
    ) -> None:
        """Fetch ahead of *span*, and blocks *missing* of it into *target*."""
        block_bytes = self._block_bytes
        indices = blocks_of(span, block_bytes)
        plan = self._plan_read_ahead(span, waited=bool(missing))
        landings: list[Landing] = []
        if missing:
            follow = range(0)
            if plan.ahead is not None and missing[-1] == indices[-1]:
                # The read has overtaken its read-ahead: make one request for both.
                ahead = blocks_of(plan.ahead, block_bytes)
                follow = range(indices.stop, ahead.stop)
            landings = self._fetcher.demand(
                self.content, missing, follow, plan.window_bytes
            )
        if plan.ahead is not None:
            self._prefetch(plan.ahead, plan.window_bytes)
        for index, landing in zip(missing, landings, strict=True):
            start = index * block_bytes
            need = min(span.stop - start, landing.size_bytes)
            copy_shared(target, span.start, landing.wait(need, deadline), start)

    def _plan_read_ahead(self, span: ByteRange, *, waited: bool) -> Plan:
        room = Room(self._fetcher.room_bytes(), self._fetcher.share_bytes(self.content))
        share = self._fetcher.share(self.content)
        with self._lock:
            plan = self._readahead.advance(span, waited=waited, room=room, share=share)
        if plan.new_region and self._fetcher.drop_queued(self.content):
            with self._lock:
                self._readahead.replan()
                if plan.ahead is not None:
                    self._readahead.note_planned(plan.ahead)
        return plan

    def _prefetch(self, span: ByteRange, window_bytes: int = 0) -> list[Landing]:
        blocks = blocks_of(span, self._block_bytes)
        return self._fetcher.prefetch(self.content, blocks, window_bytes)

    def _prefetch_index(self, head: memoryview) -> None:
        """At the first read of *head*: fetch the container's index if it lies apart."""
        with self._lock:
            if self._index_looked_for or self.content.ranges is False:
                return
            self._index_looked_for = True
        index = index_range(bytes(head[: 4 * KIB]), self.content.size_bytes)
        if index is not None:
            with self._lock:
                self._readahead.found_index(index.start)
            self._prefetch(index)
