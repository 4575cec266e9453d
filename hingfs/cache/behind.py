"""What waits to be written to disk: a bounded queue behind the readers, and its thread.

Decides which pieces are written together: those of one video that lie next to each other
as far as possible, a run at a time, so that room is free again after each. What finds no
room is dropped: a disk that is slower than the network costs no reader anything. Leaves
to `Work` what is done, and what trouble with it leads to.

Threads: one, `hingfs-disk`, which starts with the first work. Any thread may give work.
"""

import bisect
import logging
import threading
from collections.abc import Sequence
from typing import Protocol

from ..blocks import MIB, Block
from ..errors import TransportError
from ..workers import Worker

log = logging.getLogger(__name__)

# What is written at once, where so much waits for one video, or the first has waited for so
# long. Each system call hands the interpreter's lock to the threads that fetch: until it
# came back, a thread of six at work took 0.7 ms (2026-11-27).
RUN_BYTES = 4 * MIB
GATHER_SECONDS = 0.1
# The thread keeps up while no more than this share of the room is taken. A guess.
_KEPT_UP_SHARE = 1 / 2

Bytes = Block | memoryview
Piece = tuple[int, Sequence[Bytes]]  # the offset of bytes that lie end to end


class Work(Protocol):
    """Something that the thread does work for."""

    def work(self, pieces: Sequence[Piece]) -> None:
        """Write *pieces*, in the order of their offsets, and do what else is due.

        Raises nothing that is foreseen.
        """


class Behind:
    """Work for at most *most_bytes*, or two runs if that is more. Thread safety: all.

    Owners take turns, a run each.
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = max(most_bytes, 2 * RUN_BYTES)
        # Guards all below; work is done, and the thread is started, without it.
        self._changed = threading.Condition()
        # Each owner's pieces by their offsets; one without pieces looks in.
        self._waiting: dict[Work, list[Piece]] = {}
        self._held_bytes = 0  # of pieces that wait or are being written
        self._dropped_bytes = 0
        self._busy = False
        self._hurried = 0  # callers of `settle`: nothing is gathered meanwhile
        self._closed = False
        self._worker: Worker | None = None

    def put(
        self, owner: Work, offset: int, data: Sequence[Bytes], seconds: float = 0.0
    ) -> bool:
        """Have *owner* write *data*, which must not change any more; False if dropped.

        Waits *seconds* for room. What waits to be written already is not taken twice.
        """
        size = sum(map(len, data))
        most = self._most_bytes - size
        with self._changed:
            if self._waits_locked(owner, offset, offset + size):
                return True
            if seconds:
                self._changed.wait_for(
                    lambda: self._closed or self._held_bytes <= most, seconds
                )
            if self._closed or self._held_bytes > most:
                self._dropped_bytes += size
                return False
            first = not self._waiting
            self._held_bytes += size
            pieces = self._waiting.setdefault(owner, [])
            bisect.insort(pieces, (offset, data), key=_offset)
            if first or self._held_bytes >= RUN_BYTES:  # what the thread waits for
                self._changed.notify_all()
            worker = self._new_worker_locked()
        self._start(worker)
        return True

    def wake(self, owner: Work) -> None:
        """Have *owner* do what is due."""
        with self._changed:
            if self._closed:
                return
            self._waiting.setdefault(owner, [])
            self._changed.notify_all()
            worker = self._new_worker_locked()
        self._start(worker)

    def settle(self, seconds: float) -> bool:
        """Whether all that was given before is done within *seconds*.

        Ends early once it is closed.
        """
        with self._changed:
            self._hurried += 1
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._idle_locked or self._closed, seconds)
            self._hurried -= 1
            return self._idle_locked

    @property
    def dropped_bytes(self) -> int:
        """How many bytes found no room."""
        return self._dropped_bytes

    @property
    def keeps_up(self) -> bool:
        """Whether work need not hurry: little waits, and no end is near."""
        return (
            not self._closed and self._held_bytes <= _KEPT_UP_SHARE * self._most_bytes
        )

    def close(self) -> None:
        """Take nothing more; what waits is still done, unless the process ends first."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether all is done, and the thread has ended, within *seconds*."""
        with self._changed:
            worker = self._worker
        return worker is None or worker.join(seconds)

    @property
    def _idle_locked(self) -> bool:
        return not self._waiting and not self._busy

    def _waits_locked(self, owner: Work, start: int, stop: int) -> bool:
        """Whether one piece of *owner* that waits has all bytes from *start* to *stop*."""
        pieces = self._waiting.get(owner, [])
        at = bisect.bisect_right(pieces, start, key=_offset) - 1
        return at >= 0 and stop <= pieces[at][0] + _size(pieces[at])

    def _new_worker_locked(self) -> Worker | None:
        if self._worker is not None:
            return None
        self._worker = Worker("hingfs-disk", self._run)
        return self._worker

    def _start(self, worker: Worker | None) -> None:
        if worker is None:
            return
        try:
            worker.start()
        except TransportError:  # which is logged: the next work tries again
            with self._changed:
                self._worker = None
                self._waiting.clear()
                self._dropped_bytes += self._held_bytes
                self._held_bytes = 0
                self._changed.notify_all()

    def _run(self) -> None:
        while (given := self._next()) is not None:
            owner, pieces = given
            try:
                owner.work(pieces)
            except Exception:
                log.exception("what was fetched is not kept on disk")
            size = sum(map(_size, pieces))
            del owner, pieces, given  # so that an idle thread keeps no object alive
            with self._changed:
                self._held_bytes -= size
                self._busy = False
                self._changed.notify_all()

    def _next(self) -> tuple[Work, list[Piece]] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closed)
            if not self._waiting:
                return None
            owner = next(iter(self._waiting))
            if self._waiting[owner]:
                self._changed.wait_for(
                    lambda: (
                        self._held_bytes >= RUN_BYTES or self._hurried or self._closed
                    ),
                    GATHER_SECONDS,
                )
            self._busy = True
            return owner, self._taken_locked(owner)

    def _taken_locked(self, owner: Work) -> list[Piece]:
        """The next run of *owner*; what is left has its turn after all others."""
        pieces = self._waiting.pop(owner)
        count = size = 0
        while count < len(pieces) and size < RUN_BYTES:
            size += _size(pieces[count])
            count += 1
        if count < len(pieces):
            self._waiting[owner] = pieces[count:]
        return pieces[:count]


def _offset(piece: Piece) -> int:
    return piece[0]


def _size(piece: Piece) -> int:
    return sum(map(len, piece[1]))
