"""Threads that run transfers: they read each body to its end and land its blocks.

Decides how much is read at once, and that a block goes to memory before it goes to
its readers. Leaves to `schedule` which transfer is next and how far it goes, to
`landings` which readers are woken, to `sharing` which blocks others bring, and to the
source what becomes of broken connections.

Threads: `hingfs-fetch-N` of a `DaemonPool`, at most --connections of them. Each job of
the pool is a *worker*, which runs one transfer after the other until none may run.
There is no lock here: bytes belong to the worker that reads them until it hands them
on.
"""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing

from ..blocks import KIB, MIB, Block, ByteRange
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import (
    ContentChanged,
    HingError,
    RangesIgnored,
    TransportError,
    foreseen,
    printable,
)
from ..http.answer import Answer
from ..workers import DaemonPool, all_joined
from .claims import Claims
from .landings import Landing, Landings
from .schedule import Schedule
from .sharing import Sharing
from .transfer import RangeBody, RangeSource, Transfer

log = logging.getLogger(__name__)

# A demanded block is handed out in pieces of this size while it arrives.
PIECE_BYTES = 64 * KIB
# A worker reads all bytes that have arrived, up to this many, into several blocks at
# once: each read hands the interpreter lock over to a reader that is busy copying. A
# trial read a fixed number of blocks of 128 KiB at once, a film over loopback without
# FUSE: one 560 MB/s and 2.3 CPU seconds a GB, two 680 and 1.9, four 860 and 1.3, eight
# 1,260 and 0.9, sixteen 1,060 and 1.0 (medians of six, 2 cores, 2026-11-22; the trial of
# one block was not run in turn with the others).
ARRIVING_BYTES = 1 * MIB
_WHOLE_FILES_ONLY = "the server sends whole files only"


class Pump:
    """The workers of a schedule. Thread safety: `start_workers`, `close` and `join`.

    *claims* tells what others fetch. *whole_body* gets the open answer of a server that
    ignored a Range request, to be read as the whole file.
    """

    def __init__(
        self,
        source: RangeSource,
        tiers: Tiers,
        landings: Landings,
        schedule: Schedule,
        *,
        claims: Claims,
        connections: int,
        whole_body: Callable[[Content, Answer | None], object],
    ) -> None:
        self._source = source
        self._tiers = tiers
        self._sharing = Sharing(claims, tiers, landings, schedule, self.start_workers)
        self._block_bytes = tiers.block_bytes
        self._landings = landings
        self._schedule = schedule
        self._whole_body = whole_body
        self._pool = DaemonPool("hingfs-fetch", connections)

    def start_workers(self) -> None:
        """Start as many workers as can begin a transfer now."""
        count = self._schedule.claim_workers()
        for started in range(count):
            try:
                self._pool.submit(self._run_transfers)
            except TransportError as error:  # the system gives no thread
                self._schedule.give_up_workers(count - started, error)
                return

    def close(self, error: HingError) -> None:
        """End every transfer."""
        bodies = self._schedule.close(error)
        self._sharing.close()
        self._pool.close(error)
        for body in bodies:
            body.abort()

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return all_joined((self._sharing, self._pool), seconds)

    def _run_transfers(self) -> None:
        while (transfer := self._schedule.next()) is not None:
            error = self._run(transfer)
            self._schedule.ended(transfer, error)
            self.start_workers()

    def _run(self, transfer: Transfer) -> HingError | None:
        """Run *transfer*; returns the error that ended it early, if any. Raises none."""
        try:
            with self._tiers.held(transfer.content):
                self._bring(transfer)
        except BaseException as met:  # noqa: BLE001 - a worker's job boundary
            return _error_for_readers(transfer.content, met)
        return None

    def _bring(self, transfer: Transfer) -> None:
        if transfer.content.ranges is False:  # found out while it was queued
            raise RangesIgnored(_WHOLE_FILES_ONLY)
        try:
            self._sharing.begin(transfer)
            if transfer.first < transfer.stop:
                self._reserve_and_read(transfer)
        finally:
            self._sharing.end(transfer)

    def _reserve_and_read(self, transfer: Transfer) -> None:
        reserved = (transfer.stop - transfer.first) * self._block_bytes
        if transfer.background:  # it holds no more than it reads at once
            reserved = 0
        self._tiers.memory.reserve(reserved)
        transfer.reserved_bytes = reserved
        try:
            self._read(transfer)
        finally:
            self._tiers.memory.reserve(-transfer.reserved_bytes)

    def _read(self, transfer: Transfer) -> None:
        content = transfer.content
        start = transfer.first * self._block_bytes
        stop = min(transfer.stop * self._block_bytes, content.size_bytes)
        body = self._source.open_range(content, ByteRange(start, stop))
        with closing(body):
            self._schedule.opened(transfer, body)
            try:
                self._land_first(transfer, body)
                self._land_runs(transfer, body)
            except RangesIgnored:
                try:  # first: a read between the two would begin another download
                    self._whole_body(content, body.take_whole())
                finally:
                    content.ranges_ignored()
                raise RangesIgnored(_WHOLE_FILES_ONLY) from None

    def _land_first(self, transfer: Transfer, body: RangeBody) -> None:
        """Read the first blocks, and show them to their readers while they arrive."""
        in_pieces = transfer.first + (2 if transfer.demand else 1)
        while transfer.next < min(in_pieces, transfer.stop):
            landing = self._landings.get((transfer.content, transfer.next))
            size = self._size_of(transfer.content, transfer.next)
            self._land(transfer, [_read_in_pieces(body, size, landing)])

    def _land_runs(self, transfer: Transfer, body: RangeBody) -> None:
        """Read the other blocks, as many at a time as have arrived."""
        most_at_once = max(1, ARRIVING_BYTES // self._block_bytes)
        at_once = min(2, most_at_once)
        run: list[bytearray] = []  # blocks from transfer.next on
        filled = 0  # so many bytes of *run* are true; fewer than a block has
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
        """Put the next *blocks* of *transfer* into memory, and wake their readers."""
        content, first, memory = transfer.content, transfer.next, self._tiers.memory
        version = content.version
        assert version is not None, "only a file of known size has blocks"
        # In this order: what one whole answer brings has another version than ranges.
        if content.ranges is False:
            raise RangesIgnored(_WHOLE_FILES_ONLY)
        if content.ranges_served():
            self.start_workers()  # other transfers waited for this first answer
        for index, block in enumerate(blocks, first):
            if transfer.background:
                memory.put_read((version.key, index), block)
                continue
            memory.put((version.key, index), block, reserved_bytes=self._block_bytes)
            transfer.reserved_bytes -= self._block_bytes
        demanded = self._landings.land(content, first, blocks)
        size_bytes = sum(map(len, blocks))
        if self._schedule.landed(transfer, len(blocks), size_bytes):
            log.debug("requests at once: %d", self._schedule.connections)
            self.start_workers()
        for index in demanded:
            memory.mark_read((version.key, index))
        self._tiers.share(version, first, blocks)
        if not self._tiers.put_on_disk(content, first, blocks, version):
            self._sharing.lost(content, first, len(blocks))


def _read_in_pieces(body: RangeBody, size: int, landing: Landing | None) -> bytearray:
    """A block of *size* bytes; it has no *landing* if others have brought it meanwhile."""
    partial = bytearray(size)  # never resized: readers copy from it meanwhile
    filled = 0
    while filled < size:
        least = min(PIECE_BYTES, size - filled)
        filled += body.read_into([partial], filled, least)
        if landing is not None:
            landing.show(partial, filled)
    return partial


def _error_for_readers(content: Content, met: BaseException) -> HingError:
    """The error that readers of *content* get for *met*, an exception of a transfer."""
    if isinstance(met, ContentChanged):
        content.found_changed()
    if not isinstance(met, HingError):
        name = printable(content.video_id, 80)
        log.error("%s: unforeseen error in a transfer", name, exc_info=met)
    return foreseen(met)
