"""What to fetch next, decided from the reads so far. Pure: no I/O, no threads, no clock.

The kernel splits what a program reads and sends the parts in parallel and out of
order, and players jump between the head and the tail of a file. So "sequential" means
inside a region around a frontier, and each file has several such regions (cursors),
shared by all its handles.

A cursor arms after a short sequence and then keeps a window of bytes ahead of its
frontier requested. The window grows fourfold as long as reads have to wait. Beyond
`UNPROVEN_WINDOW_BYTES` it also has to be a fraction of what was read already, so that
a program that stops has cost little in proportion: a quarter, or half where it waits.

A sequence is dense: of what its frontier passed lately, at least half was read. Where
the kernel has dropped a page here and there, only those are asked for, one after the
other, and what lies between them is not wanted.
"""

from dataclasses import dataclass, field

from ..blocks import KIB, MIB, ByteRange

# A read this far before or behind a frontier still belongs to its cursor. The kernel
# reads ahead in parallel requests of up to 1 MiB that arrive in any order.
BACKWARD_TOLERANCE_BYTES = 2 * MIB
FORWARD_TOLERANCE_BYTES = 2 * MIB
# Head, tail and one place between: what a player of an MP4 uses at once.
MOST_CURSORS = 4
# A cursor arms at the second read of a sequence: random reads have none, and a player
# that has jumped reads on from there.
ARMED_AFTER_READS = 2
ARMED_AFTER_BYTES = 256 * KIB
# A sequence of which less than this part was read, lately, begins anew.
DENSE_SHARE = 0.5
DENSITY_BYTES = 2 * MIB  # what "lately" means
# ffprobe and a first frame read half a MiB at the head and stop; a jump to a keyframe
# reads 2.2 MB from there (strace of ffmpeg 5.1 on 1080p at 13 Mbit/s, 2026-11-22).
HEAD_WINDOW_BYTES = 1 * MIB
SOUGHT_WINDOW_BYTES = 2 * MIB
# More progress than ffprobe makes at the head before it stops.
GROWTH_AFTER_BYTES = 1 * MIB
UNPROVEN_WINDOW_BYTES = 30 * MIB
LARGEST_WINDOW_BYTES = 64 * MIB
PROVEN_SHARE = 4  # a larger window may hold a quarter of what was read before
# Whoever still waits after so much gets the largest: over capped connections only
# larger requests, of a larger window, make up for the wait in front of each.
PROVEN_AFTER_BYTES = PROVEN_SHARE * UNPROVEN_WINDOW_BYTES
# A clip whose rest is no larger than this is fetched to its end once armed so far.
SMALL_REST_BYTES = 16 * MIB
SMALL_REST_AFTER_BYTES = 1536 * KIB
SMALLEST_REQUEST_BYTES = 1 * MIB
LARGEST_REQUEST_BYTES = 8 * MIB
# Of one request at a time: larger ones would gain little, and hold memory from when
# they begin. At 20 requests a minute a film comes at 11 MB/s.
LARGEST_SINGLE_REQUEST_BYTES = 32 * MIB


@dataclass(slots=True)
class _Cursor:
    start: int
    frontier: int  # end of what was read in this region
    planned: int  # end of what was asked for ahead; never below frontier
    read_bytes: int
    window_bytes: int = 0
    grown_at: int = 0  # frontier at which the window last grew
    used_at: int = 0  # counter of reads, for eviction
    # Of the dense sequence up to the frontier:
    reads: int = 1  # those that carried the frontier on
    passed_bytes: float = 0  # what the frontier passed; older parts fade
    dense_bytes: float = 0  # what of that was read

    def take(self, span: ByteRange) -> None:
        """Take note of a read in this region, which may come late."""
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
        """Whether what follows is worth fetching."""
        return self.reads >= ARMED_AFTER_READS or self.dense_bytes >= ARMED_AFTER_BYTES


@dataclass(frozen=True, slots=True)
class Plan:
    """What a read asks to be fetched ahead, and in requests of which size.

    *new_region*: the read belongs to no known cursor, so what is queued and not yet
    started for the old ones is better dropped.
    """

    ahead: ByteRange | None = None
    request_bytes: int = SMALLEST_REQUEST_BYTES
    new_region: bool = False


@dataclass(slots=True)
class ReadAhead:
    """The cursors of one file of *size_bytes*. Not thread-safe: its owner locks."""

    size_bytes: int
    _cursors: list[_Cursor] = field(default_factory=list)
    _reads: int = 0

    def advance(
        self, span: ByteRange, *, waited: bool, room_bytes: int, connections: int
    ) -> Plan:
        """Take note of a read of *span* and say what to fetch ahead of it.

        *waited*: the read found bytes missing. *room_bytes*: how much more may be
        fetched ahead before the budget is full. *connections*: how many requests at
        once pay off. The range never leaves the file and never repeats what this
        cursor has planned before, unless `replan` was called.
        """
        self._reads += 1
        cursor = self._nearest(span)
        if cursor is None:
            return Plan(new_region=self._begin(span))
        cursor.used_at = self._reads
        cursor.take(span)
        if not cursor.armed:
            return Plan()
        self._grow(cursor, waited=waited)
        return self._extend(cursor, room_bytes, connections)

    def replan(self) -> None:
        """What was planned and not read may be gone: plan it again when needed."""
        for cursor in self._cursors:
            cursor.planned = cursor.frontier

    def note_planned(self, span: ByteRange) -> None:
        """*span* is being fetched for another reason; do not plan it again."""
        for cursor in self._cursors:
            if span.start <= cursor.planned < span.stop:
                cursor.planned = span.stop

    def _nearest(self, span: ByteRange) -> _Cursor | None:
        near = [
            cursor
            for cursor in self._cursors
            if cursor.frontier - BACKWARD_TOLERANCE_BYTES
            <= span.start
            <= max(cursor.planned, cursor.frontier + FORWARD_TOLERANCE_BYTES)
        ]
        return min(
            near, key=lambda cursor: abs(cursor.frontier - span.start), default=None
        )

    def _begin(self, span: ByteRange) -> bool:
        """A new cursor at *span*; whether there were others before it."""
        others = bool(self._cursors)
        if len(self._cursors) >= MOST_CURSORS:
            self._cursors.remove(min(self._cursors, key=lambda cursor: cursor.used_at))
        self._cursors.append(
            _Cursor(
                span.start,
                span.stop,
                span.stop,
                len(span),
                used_at=self._reads,
                passed_bytes=len(span),
                dense_bytes=len(span),
            )
        )
        return others

    def _grow(self, cursor: _Cursor, *, waited: bool) -> None:
        if cursor.window_bytes == 0:
            cursor.window_bytes = (
                SOUGHT_WINDOW_BYTES if cursor.start else HEAD_WINDOW_BYTES
            )
            cursor.grown_at = cursor.frontier
            return
        progress = cursor.frontier - cursor.grown_at
        # Parallel reads wait for the same bytes: only progress earns a growth.
        if waited and progress >= max(GROWTH_AFTER_BYTES, cursor.window_bytes // 4):
            cursor.window_bytes = min(4 * cursor.window_bytes, LARGEST_WINDOW_BYTES)
            cursor.grown_at = cursor.frontier

    def _extend(self, cursor: _Cursor, room_bytes: int, connections: int) -> Plan:
        rest = self.size_bytes - cursor.frontier
        proven = cursor.read_bytes // PROVEN_SHARE
        waits_on = cursor.read_bytes >= PROVEN_AFTER_BYTES
        most = LARGEST_WINDOW_BYTES if waits_on else UNPROVEN_WINDOW_BYTES
        window = max(min(cursor.window_bytes, most), min(proven, LARGEST_WINDOW_BYTES))
        if rest <= SMALL_REST_BYTES and cursor.read_bytes >= SMALL_REST_AFTER_BYTES:
            window = max(window, rest)
        request = request_bytes(window, connections)
        stop = min(
            cursor.frontier + window, self.size_bytes, cursor.planned + room_bytes
        )
        missing = stop - cursor.planned
        # Asking for every few bytes that the frontier moves would make tiny requests.
        if missing <= 0 or (
            stop < self.size_bytes and missing < min(request, window // 2)
        ):
            return Plan()
        if stop < self.size_bytes and missing > request:
            stop -= missing % request  # whole requests; the rest follows soon
        ahead = ByteRange(cursor.planned, stop)
        cursor.planned = stop
        return Plan(ahead, request)


def request_bytes(window_bytes: int, connections: int) -> int:
    """How much to ask for in one request, so that *connections* share the window.

    The window moves on by whole requests: with one more than there are connections
    it never leaves one of them without work. One connection alone shares with none.
    """
    if connections <= 1:
        return min(
            max(window_bytes, SMALLEST_REQUEST_BYTES), LARGEST_SINGLE_REQUEST_BYTES
        )
    share = -(-window_bytes // (connections + 1))
    return min(max(share, SMALLEST_REQUEST_BYTES), LARGEST_REQUEST_BYTES)
