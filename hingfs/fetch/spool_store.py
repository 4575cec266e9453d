"""Whole files, for servers that ignore Range or do not say how long a file is.

Such a video is downloaded once, however it is read. Decides when a stream begins, and
how many run at once. Leaves the bytes of one file to `spool`, its download to `stream`,
and to `room` which files are kept.

Threads: `hingfs-spool-N` of a `DaemonPool`, one for each running stream; `close` ends
them.
"""

import contextlib
from pathlib import Path

from ..cache.tiers import Tiers
from ..content import Content
from ..errors import BodyCut, HingError, foreseen
from ..http.answer import Answer
from ..workers import DaemonPool
from .room import MOST_LEAVING_SECONDS, Room
from .spool import Spool
from .stream import Stream, WholeSource

_MOST_STREAMS = 8


class SpoolStore:
    """The spools of a mount, and the streams that fill them. Thread safety: all methods.

    A stream gives up an answer that trickles for *stall_seconds*. `Room` explains
    *disk_bytes* and *most_leaving_seconds*.
    """

    def __init__(
        self,
        source: WholeSource,
        tiers: Tiers,
        *,
        disk_bytes: int,
        directory: Path | None,
        stall_seconds: float,
        most_leaving_seconds: float = MOST_LEAVING_SECONDS,
    ) -> None:
        self._source = source
        self._stall_seconds = stall_seconds
        self._tiers = tiers
        self._room = Room(
            tiers.memory,
            disk_bytes=disk_bytes,
            directory=directory,
            most_leaving_seconds=most_leaving_seconds,
        )
        self._pool = DaemonPool("hingfs-spool", _MOST_STREAMS)

    def open(self, content: Content, answer: Answer | None = None) -> Spool:
        """The spool of *content*; begins its download, or resumes it if it failed.

        The download reads *answer* first, the whole file that came instead of a range;
        if none is begun, *answer* is closed.
        """
        used = False
        try:
            spool, needs_stream = self._room.open(content)
            if needs_stream:
                self._start_stream(spool, answer)
                used = True
        finally:
            if answer is not None and not used:
                answer.close()
        return spool

    def first_bytes(self, content: Content, count: int) -> bytes:
        """Up to *count* of the first bytes of *content*, as many as are held."""
        spool = self._room.find(content)
        held = b""
        if spool is not None:
            with contextlib.suppress(BodyCut):  # given up meanwhile
                held = spool.peek(0, count)
        if not held:
            held = bytes((self._tiers.block_handed_out(content, 0) or b"")[:count])
        return held

    def held_bytes(self) -> int:
        """The bytes of all spools, in memory and on disk."""
        return self._room.held_bytes()

    def close(self, error: HingError) -> None:
        """Wake every reader with *error*, give all bytes up, begin no download."""
        self._room.close(error)
        self._pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)

    def _start_stream(self, spool: Spool, answer: Answer | None) -> None:
        stream = Stream(
            self._source, self._room, spool, self._stall_seconds, tiers=self._tiers
        )
        try:
            self._pool.submit(stream.run, answer)
        except BaseException as error:
            spool.fail(foreseen(error))
            raise
