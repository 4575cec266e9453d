"""Decides what to fetch next, from the reads so far. Pure: no I/O, threads or clock.

The kernel splits a program's reads and sends the parts in parallel and out of order, and
players jump between head and tail. So a *cursor* is a region of the file around a
frontier, inside which reads count as sequential; all handles of a file share its cursors.
A cursor arms after a short sequence, and then keeps a window ahead of its frontier
requested. The window grows fourfold while reads wait. Beyond `UNPROVEN_WINDOW_BYTES` it
is at most a quarter of the bytes read so far, or half where reads wait: a program that
stops has then cost little in proportion. A sequence is dense: at least half of what its
frontier passed lately was read. Else the kernel is refetching single pages that it has
dropped, and the bytes between are not wanted.

A program that has read the index of a video jumps to its frames. It reads on where it
jumps to, so such a cursor is armed at once.
"""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..blocks import KIB, MIB, ByteRange
from ..fetch.queues import request_bytes

# A read this far before or after a frontier still belongs to its cursor. The kernel
# reads ahead in parallel requests of up to 1 MiB, which arrive in any order.
BACKWARD_TOLERANCE_BYTES = 2 * MIB
FORWARD_TOLERANCE_BYTES = 2 * MIB
# A program that has read the index may jump as near as the kernel reads ahead.
LEAST_JUMP_BYTES = 1 * MIB
# A player of an MP4 reads at the head, the tail and one position between.
MOST_CURSORS = 4
# A cursor arms at the second read of a sequence: random reads have no second one, and a
# player that has jumped reads on.
ARMED_AFTER_READS = 2
ARMED_AFTER_BYTES = 256 * KIB
# A sequence begins anew once less than this part of it was read lately.
DENSE_SHARE = 0.5
DENSITY_BYTES = 2 * MIB  # what "lately" means
# ffprobe and a first frame read half a MiB at the head and stop; a jump to a keyframe
# reads 2.2 MB from there (strace of ffmpeg 5.1 on 1080p at 13 Mbit/s, 2026-11-22).
HEAD_WINDOW_BYTES = 1 * MIB
SOUGHT_WINDOW_BYTES = 2 * MIB
# How much of the head is fetched at an open, in one request. ffprobe and a first frame
# read 490 KB, and the kernel reads ahead up to 1.5 MB (trace of both, 2026-11-27).
HEAD_BYTES = 768 * KIB + HEAD_WINDOW_BYTES
# So many jumps in a row may have their window in vain. A guess.
MOST_JUMPS_IN_VAIN = 2
# More progress than ffprobe makes at the head before it stops.
GROWTH_AFTER_BYTES = 1 * MIB
# A cut of 25 frames reads 1.7 MB, and the kernel 1.1 MB ahead of it (trace of ffmpeg 5.1
# on 1080p at 13 Mbit/s, 2026-11-27). For a player that goes on, a window is then proven.
SOUGHT_GROWTH_AFTER_BYTES = 3 * MIB
UNPROVEN_WINDOW_BYTES = 30 * MIB
LARGEST_WINDOW_BYTES = 64 * MIB
PROVEN_SHARE = 4  # a larger window may hold a quarter of the bytes read so far
# A program that still waits after so many bytes gets the largest window: over capped
# connections only larger requests make up for the wait in front of each.
PROVEN_AFTER_BYTES = PROVEN_SHARE * UNPROVEN_WINDOW_BYTES
# A rest of the file no larger than this is fetched whole once so many bytes were read
# from the start. Where the program is no copier, it must have read as much as the rest.
SMALL_REST_BYTES = 16 * MIB
SMALL_REST_AFTER_BYTES = 1536 * KIB


class Room(NamedTuple):
    """The memory for what is fetched ahead of one file."""

    free_bytes: int  # how much more may be fetched ahead before the budget is full
    # How much of the budget is for this file. Where each file took what was free, eight
    # films at once left some of the readers 128 KiB at a time: 380 requests for 480 MB, and
    # half of the rate that ten connections allow (2026-11-27).
    share_bytes: int


@dataclass(slots=True)
class _Cursor:
    start: int
    frontier: int  # where the reads of this region end
    planned: int  # where the requests ahead end; never below frontier
    read_bytes: int
    window_bytes: int = 0
    grown_at: int = 0  # frontier at which the window last grew
    used_at: int = 0  # counter of reads, for eviction
    # Of the dense sequence up to the frontier:
    reads: int = 1  # reads that moved the frontier on
    passed_bytes: float = 0  # bytes that the frontier passed; older ones fade
    dense_bytes: float = 0  # how many of them were read

    def note_read(self, span: ByteRange) -> None:
        """Note a read in this region, which may come late."""
        self.dense_bytes += len(span)
        if span.stop > self.frontier:
            self.reads += 1
            self.read_bytes += span.stop - max(span.start, self.frontier)
            self.passed_bytes += span.stop - self.frontier
        self.dense_bytes = min(self.dense_bytes, self.passed_bytes)
        if self.dense_bytes < DENSE_SHARE * self.passed_bytes:
            self.reads = 1
            self.passed_bytes = self.dense_bytes = len(span)
            if span.start > self.planned:
                self.window_bytes = 0
        while self.passed_bytes > DENSITY_BYTES:
            self.passed_bytes /= 2
            self.dense_bytes /= 2
        self.frontier = max(self.frontier, span.stop)
        self.planned = max(self.planned, self.frontier)

    @property
    def armed(self) -> bool:
        """Whether the bytes that follow are worth fetching."""
        return self.reads >= ARMED_AFTER_READS or self.dense_bytes >= ARMED_AFTER_BYTES


@dataclass(frozen=True, slots=True)
class Plan:
    """What to fetch ahead after a read."""

    ahead: ByteRange | None = None
    window_bytes: int = 0  # that *ahead* is the new part of
    # The read belongs to no known cursor: drop the transfers queued for the others.
    new_region: bool = False


@dataclass(slots=True)
class ReadAhead:
    """The cursors of one file of *size_bytes*. Not thread-safe: its owner locks."""

    size_bytes: int
    _cursors: list[_Cursor] = field(default_factory=list)
    _reads: int = 0
    _index_at: int | None = None  # where the index begins, once that is known
    _index_read: bool = False
    _jumps_in_vain: int = 0  # those since a cursor had its second read

    def advance(self, span: ByteRange, *, waited: bool, room: Room, share: int) -> Plan:
        """Note a read of *span*, and plan what to fetch ahead of it.

        *waited*: the read found bytes missing. *share*: how many requests at once for
        this file pay off. The planned range never leaves the file, and never repeats a plan
        of its cursor unless `replan` was called.
        """
        self._reads += 1
        cursor = self._nearest_cursor(span)
        if cursor is None:
            return self._jump(span, room, share)
        cursor.used_at = self._reads
        first = cursor.reads == 1
        cursor.note_read(span)
        if first and cursor.reads > 1:
            self._jumps_in_vain = 0
        if not cursor.armed or self._probes(cursor):
            return Plan()
        self._grow_window(cursor, waited=waited)
        return self._plan_ahead(cursor, room, share)

    def found_index(self, start: int) -> None:
        """The index of the video begins at *start*."""
        self._index_at = start
        self._index_read = any(
            one.start <= start < one.frontier for one in self._cursors
        )

    def replan(self) -> None:
        """Bytes that were planned and not read may be gone: plan them again if needed."""
        for cursor in self._cursors:
            cursor.planned = cursor.frontier

    def note_planned(self, span: ByteRange) -> None:
        """*span* is fetched for another reason; do not plan it again."""
        for cursor in self._cursors:
            if span.start <= cursor.planned < span.stop:
                cursor.planned = span.stop

    def _nearest_cursor(self, span: ByteRange) -> _Cursor | None:
        forward = LEAST_JUMP_BYTES if self._index_read else FORWARD_TOLERANCE_BYTES
        near = [
            cursor
            for cursor in self._cursors
            if cursor.frontier - BACKWARD_TOLERANCE_BYTES
            <= span.start
            <= max(cursor.planned, cursor.frontier + forward)
        ]
        return min(
            near, key=lambda cursor: abs(cursor.frontier - span.start), default=None
        )

    def _jump(self, span: ByteRange, room: Room, share: int) -> Plan:
        """A read of *span*, which belongs to no cursor, begins one."""
        others = bool(self._cursors)
        cursor = self._begin_cursor(span)
        if self._index_at is not None and span.start <= self._index_at < span.stop:
            self._index_read = True
        elif self._index_read and self._jumps_in_vain < MOST_JUMPS_IN_VAIN:
            self._jumps_in_vain += 1
            self._grow_window(cursor, waited=False)
            return replace(self._plan_ahead(cursor, room, share), new_region=others)
        return Plan(new_region=others)

    def _begin_cursor(self, span: ByteRange) -> _Cursor:
        """Add a cursor at *span*, in place of the one not used for longest."""
        if len(self._cursors) >= MOST_CURSORS:
            self._cursors.remove(min(self._cursors, key=lambda cursor: cursor.used_at))
        cursor = _Cursor(
            span.start,
            span.stop,
            span.stop,
            len(span),
            used_at=self._reads,
            passed_bytes=len(span),
            dense_bytes=len(span),
        )
        self._cursors.append(cursor)
        return cursor

    def _is_sought(self, cursor: _Cursor) -> bool:
        """Whether a program reads here that jumps, as a player does.

        A copier begins at the start, and reads an index at the end last.
        """
        from_index = self._index_read and cursor.frontier <= (self._index_at or 0)
        return cursor.start > 0 or from_index

    def _probes(self, cursor: _Cursor) -> bool:
        """Whether a player reads the head, of which enough came with the open."""
        at_head = not cursor.start and cursor.frontier <= HEAD_BYTES
        return at_head and self._is_sought(cursor)

    def _grow_window(self, cursor: _Cursor, *, waited: bool) -> None:
        if cursor.window_bytes == 0:
            cursor.window_bytes = (
                SOUGHT_WINDOW_BYTES if cursor.start else HEAD_WINDOW_BYTES
            )
            cursor.grown_at = cursor.frontier
            return
        progress = cursor.frontier - cursor.grown_at
        enough = max(GROWTH_AFTER_BYTES, cursor.window_bytes // 4)
        if self._is_sought(cursor) and cursor.window_bytes <= SOUGHT_WINDOW_BYTES:
            enough = SOUGHT_GROWTH_AFTER_BYTES
        # Parallel reads wait for the same bytes, so a wait alone earns no growth.
        if waited and progress >= enough:
            cursor.window_bytes = min(4 * cursor.window_bytes, LARGEST_WINDOW_BYTES)
            cursor.grown_at = cursor.frontier

    def _plan_ahead(self, cursor: _Cursor, room: Room, share: int) -> Plan:
        rest = self.size_bytes - cursor.frontier
        proven = cursor.read_bytes // PROVEN_SHARE
        waits_on = cursor.read_bytes >= PROVEN_AFTER_BYTES
        most = LARGEST_WINDOW_BYTES if waits_on else UNPROVEN_WINDOW_BYTES
        window = max(min(cursor.window_bytes, most), min(proven, LARGEST_WINDOW_BYTES))
        enough = rest if self._is_sought(cursor) else SMALL_REST_AFTER_BYTES
        if rest <= SMALL_REST_BYTES and cursor.read_bytes >= enough:
            window = max(window, rest)
        window = min(window, room.share_bytes)
        request = request_bytes(window, share)
        stop = min(
            cursor.frontier + window, self.size_bytes, cursor.planned + room.free_bytes
        )
        missing = stop - cursor.planned
        # A request for every few bytes that the frontier moves would be tiny.
        if missing <= 0 or (
            stop < self.size_bytes and missing < min(request, window // 2)
        ):
            return Plan()
        if stop < self.size_bytes and missing > request:
            stop -= missing % request  # whole requests; the rest follows soon
        ahead = ByteRange(cursor.planned, stop)
        cursor.planned = stop
        return Plan(ahead, window)
