"""Threads that run transfers: they read each body to its end and land its blocks.

Decides how much is read at once, and in which order a block goes to the cache and to
its waiters. Leaves to `schedule` which transfer is next and how far it goes, to
`landings` who is woken, and to the source what becomes of broken connections.

Threads: `hingfs-fetch-N` of a `DaemonPool`, at most one a connection. Each job of it is
a *worker*, which runs one transfer after the other until none may run. There is no lock
here: what a transfer reads is its worker's alone until it is handed on.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

from ..blocks import KIB, MIB, Block, ByteRange
from ..cache.base import BlockCache
from ..errors import (
    BodyCut,
    ContentChanged,
    HingError,
    RangesIgnored,
    TransportError,
    foreseen,
    printable,
)
from ..http.answer import Answer
from ..version import Content
from ..workers import DaemonPool
from .landings import Landing, Landings
from .schedule import Schedule
from .transfer import RangeBody, RangeSource, Transfer

log = logging.getLogger(__name__)

# A demanded block is handed out in pieces of this size while it arrives.
PIECE_BYTES = 64 * KIB
# A worker takes what has arrived, up to this much, into several blocks at once: each
# read costs a hand-over of the interpreter lock, to a reader that is busy copying. A
# trial that read a fixed number of blocks of 128 KiB at once, film over loopback without
# FUSE: one 560 MB/s and 2.3 CPU seconds a GB, two 680 and 1.9, four 860 and 1.3, eight
# 1,260 and 0.9, sixteen 1,060 and 1.0 (medians of six, 2 cores, 2026-11-22; one was not
# run in turn with the others).
ARRIVING_BYTES = 1 * MIB
_WHOLE_FILES_ONLY = "the server sends whole files only"


class Pump:
    """The workers of a schedule. Thread safety: `call`, `close` and `join`.

    *whole_body* is given the open answer of a server that ignored a Range request,
    to be read as the whole file.
    """

    def __init__(
        self,
        source: RangeSource,
        cache: BlockCache,
        landings: Landings,
        schedule: Schedule,
        *,
        block_bytes: int,
        connections: int,
        whole_body: Callable[[Content, Answer | None], object],
    ) -> None:
        self._source = source
        self._cache = cache
        self._landings = landings
        self._schedule = schedule
        self._block_bytes = block_bytes
        self._whole_body = whole_body
        self._pool = DaemonPool("hingfs-fetch", connections)

    def call(self) -> None:
        """Have as many workers as can begin a transfer now."""
        count = self._schedule.call_workers()
        for started in range(count):
            try:
                self._pool.submit(self._work)
            except TransportError as error:  # there is no thread, and none can be had
                self._schedule.lose_workers(count - started, error)
                return

    def close(self, error: HingError) -> None:
        """End every transfer."""
        bodies = self._schedule.close(error)
        self._pool.close(error)
        for body in bodies:
            body.abort()

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)

    def _work(self) -> None:
        while (transfer := self._schedule.next()) is not None:
            error = self._run(transfer)
            self._schedule.ended(transfer, error)
            self.call()

    def _run(self, transfer: Transfer) -> HingError | None:
        """Run *transfer* to its end; what ended it early. No exception leaves."""
        try:
            reserved = (transfer.stop - transfer.first) * self._block_bytes
            self._cache.reserve(reserved)
            transfer.reserved_bytes = reserved
            try:
                self._read(transfer)
            finally:
                self._cache.reserve(-transfer.reserved_bytes)
        except BaseException as met:  # noqa: BLE001 - a worker's job boundary
            return _understood(transfer.content, met)
        return None

    def _read(self, transfer: Transfer) -> None:
        content = transfer.content
        if content.ranges is False:  # seen while this one was queued
            raise RangesIgnored(_WHOLE_FILES_ONLY)
        start = transfer.first * self._block_bytes
        stop = min(transfer.stop * self._block_bytes, content.size_bytes)
        body = self._source.open_range(content, ByteRange(start, stop))
        with closing(body):
            self._schedule.opened(transfer, body)
            try:
                self._land_first(transfer, body)
                self._land_runs(transfer, body)
            except RangesIgnored:
                content.ranges_ignored()
                self._whole_body(content, body.take_whole())
                raise RangesIgnored(_WHOLE_FILES_ONLY) from None

    def _land_first(self, transfer: Transfer, body: RangeBody) -> None:
        """The blocks that somebody waits for, or soon will, shown as they arrive."""
        in_pieces = transfer.first + (2 if transfer.demand else 1)
        while transfer.next < min(in_pieces, transfer.stop):
            landing = self._landings.get((transfer.content, transfer.next))
            if landing is None:
                raise BodyCut("the mount is ending")
            self._land(transfer, [_read_in_pieces(body, landing)])

    def _land_runs(self, transfer: Transfer, body: RangeBody) -> None:
        """The rest of it, several blocks at a time where as many have arrived."""
        most_at_once = max(1, ARRIVING_BYTES // self._block_bytes)
        at_once = min(2, most_at_once)
        run: list[bytearray] = []  # blocks from transfer.next on
        filled = 0  # so many bytes of them are true, less than of one block
        while (first := transfer.next) < transfer.stop:
            stop = self._schedule.reach(transfer, first + at_once)
            del run[stop - first :]
            run += [
                bytearray(self._size_of(transfer.content, index))
                for index in range(first + len(run), stop)
            ]
            count = body.read_into(run, filled, len(run[0]) - filled)
            filled += count
            at_once = min(max(2, 2 * count // self._block_bytes), most_at_once)
            whole = 0
            while whole < len(run) and filled >= len(run[whole]):
                filled -= len(run[whole])
                whole += 1
            self._land(transfer, run[:whole])
            del run[:whole]

    def _size_of(self, content: Content, index: int) -> int:
        return min(self._block_bytes, content.size_bytes - index * self._block_bytes)

    def _land(self, transfer: Transfer, blocks: Sequence[Block]) -> None:
        """The next *blocks* of *transfer* are there."""
        content, first = transfer.content, transfer.next
        if content.ranges_served():
            self.call()  # for what had to wait for this
        for index, block in enumerate(blocks, first):
            key = content.block_key(index)
            self._cache.put(key, block, reserved_bytes=self._block_bytes)
            transfer.reserved_bytes -= self._block_bytes
        demanded = self._landings.land(content, first, blocks)
        size_bytes = sum(map(len, blocks))
        if self._schedule.landed(transfer, len(blocks), size_bytes):
            log.debug("requests at once: %d", self._schedule.connections)
            self.call()
        for index in demanded:
            self._cache.mark_read(content.block_key(index))


def _read_in_pieces(body: RangeBody, landing: Landing) -> bytearray:
    size = landing.size_bytes
    partial = bytearray(size)  # never resized: readers may look at it meanwhile
    filled = 0
    while filled < size:
        least = min(PIECE_BYTES, size - filled)
        filled += body.read_into([partial], filled, least)
        landing.show(partial, filled)
    return partial


def _understood(content: Content, met: BaseException) -> HingError:
    """What the waiters of a block of *content* are told of *met*."""
    if isinstance(met, ContentChanged):
        content.found_changed()
    if not isinstance(met, HingError):
        name = printable(content.video_id, 80)
        log.error("%s: unforeseen error in a transfer", name, exc_info=met)
    return foreseen(met)
