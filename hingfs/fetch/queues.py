"""The transfers of all files: which is next, and how much of it one request asks for.

Decides that demands go first, in the order that they came. Among transfers ahead, one of
the file with the fewest running is next; among equals, of the file that has waited
longest. Transfers in the background stand apart, in the order that they came: they are
cut to no share, and their files have none. A request is cut when it begins, not when its bytes are planned: its file's
share of the connections may have changed since. Eight clips of 12.7 MB read at once, 60
ms a request and 25 MiB/s a connection: 105 -> 45 requests, 73 -> 88 MB/s (2026-11-27).
Leaves to `schedule` how many may run.

Pure: no lock, no thread, no clock.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from ..blocks import KIB, MIB
from ..content import Content
from .transfer import Transfer

# At 25 MiB/s so much arrives in 60 ms, the wait in front of it (2026-11-27).
SMALLEST_REQUEST_BYTES = 1536 * KIB
LARGEST_REQUEST_BYTES = 8 * MIB
# Where one request runs at a time. A larger one would gain little, and reserves its
# memory when it begins. At 20 requests a minute a film comes at 11 MB/s.
LARGEST_SINGLE_REQUEST_BYTES = 32 * MIB


def request_bytes(window_bytes: int, connections: int) -> int:
    """How many bytes one request asks for, so that *connections* share the window.

    The window moves on by whole requests. It has one more than there are connections, so
    that none is ever idle; a single connection gets all of it.
    """
    if connections <= 1:
        return min(
            max(window_bytes, SMALLEST_REQUEST_BYTES), LARGEST_SINGLE_REQUEST_BYTES
        )
    share = -(-window_bytes // (connections + 1))
    return min(max(share, SMALLEST_REQUEST_BYTES), LARGEST_REQUEST_BYTES)


@dataclass(slots=True)
class _File:
    """The transfers of one content; there is at least one."""

    ahead: deque[Transfer] = field(default_factory=deque)  # queued
    demands: int = 0  # queued
    running: set[Transfer] = field(default_factory=set)

    @property
    def is_idle(self) -> bool:
        return not (self.ahead or self.demands or self.running)


class Queues:
    """The queued and the running transfers of all files. Not thread-safe: its owner locks."""

    def __init__(self, block_bytes: int) -> None:
        self._block_bytes = block_bytes
        self._demands: deque[Transfer] = deque()
        # The files that want bytes now; the one that began a transfer last is last.
        self._files: dict[Content, _File] = {}
        self._background: deque[Transfer] = deque()
        self._background_running: dict[
            Transfer, None
        ] = {}  # the one begun first is first
        self._aside: dict[Transfer, None] = {}

    def files(self, content: Content) -> int:
        """How many files want bytes, *content* too; any thread may ask, for a hint."""
        return len(self._files) + (content not in self._files)

    def share(self, content: Content, connections: int) -> int:
        """How many of *connections* are for *content*; any thread may ask, for a hint."""
        return max(1, connections // self.files(content))

    # -- queued ------------------------------------------------------------------------

    @property
    def demands(self) -> int:
        """How many demands wait."""
        return len(self._demands)

    def requests_ahead(self, connections: int) -> int:
        """How many requests the transfers that are queued ahead will make."""
        return sum(
            self._requests_of(transfer, connections)
            for file in self._files.values()
            for transfer in file.ahead
        )

    def blocks_ahead(self) -> int:
        """How many blocks are queued ahead."""
        return sum(t.stop - t.first for t in self._ahead())

    @property
    def background(self) -> int:
        """How many transfers wait in the background."""
        return len(self._background)

    def put(self, transfer: Transfer, *, first: bool = False) -> Transfer:
        """Queue *transfer* behind the others of its kind, or before those of its file.

        Returns the transfer that brings its blocks from now on. One ahead is joined to
        those in the queue that it adjoins: their bytes come in one request.
        """
        if transfer.background:
            put = self._background.appendleft if first else self._background.append
            put(transfer)
            return transfer
        file = self._files.setdefault(transfer.content, _File())
        if transfer.demand:
            self._demands.append(transfer)
            file.demands += 1
        elif first:
            file.ahead.appendleft(transfer)
        else:
            return self._join(file, transfer)
        return transfer

    def hasten(self, transfer: Transfer) -> None:
        """A reader waits for *transfer*, which is queued: make it a demand."""
        if not transfer.demand:
            if transfer.background:
                self._background.remove(transfer)
                transfer.background = False
                file = self._files.setdefault(transfer.content, _File())
            else:
                file = self._files[transfer.content]
                file.ahead.remove(transfer)
            file.demands += 1
            transfer.demand = True
            self._demands.append(transfer)

    def drop_ahead(
        self, content: Content, may_drop: Callable[[Transfer], bool]
    ) -> bool:
        """Forget those queued ahead for *content* that *may_drop*; returns if any was.

        What is aside counts as queued.
        """
        dropped = self._drop_aside(content, may_drop, background=False)
        file = self._files.get(content)
        if file is None:
            return dropped
        of_it = [transfer for transfer in file.ahead if may_drop(transfer)]
        for transfer in of_it:
            file.ahead.remove(transfer)
            self._leave(transfer)
        return dropped or bool(of_it)

    def drop_background(
        self, content: Content, may_drop: Callable[[Transfer], bool]
    ) -> None:
        """Forget those queued in the background for *content* that *may_drop*."""
        of_it = [one for one in self._background if one.content is content]
        for transfer in filter(may_drop, of_it):
            self._background.remove(transfer)
        self._drop_aside(content, may_drop, background=True)

    def drain(self) -> list[Transfer]:
        """Forget all that are queued; returns them."""
        queued = [*self._demands, *self._ahead(), *self._background]
        self._demands.clear()
        self._background.clear()
        for file in self._files.values():
            file.ahead.clear()
            file.demands = 0
        for transfer in queued:
            self._leave(transfer)
        return queued

    # -- aside: neither queued nor running, since others fetch their blocks --------------

    @property
    def aside(self) -> list[Transfer]:
        """The transfers that are aside."""
        return list(self._aside)

    def put_aside(self, transfer: Transfer) -> None:
        """*transfer*, which is not queued, waits for others."""
        self._aside[transfer] = None

    def take_aside(self, transfer: Transfer) -> bool:
        """*transfer* is not aside any more; returns whether it was."""
        was = transfer in self._aside
        self._aside.pop(transfer, None)
        return was

    # -- running -----------------------------------------------------------------------

    def begin(
        self, may_run: Callable[[Transfer], bool], *, ahead: bool
    ) -> Transfer | None:
        """The next transfer that *may_run*, which runs from now on.

        It is one of those ahead only if *ahead* is true.
        """
        transfer = next(filter(may_run, self._demands), None)
        if transfer is not None:
            self._demands.remove(transfer)
            self._files[transfer.content].demands -= 1
        elif ahead:
            waiting = [
                file
                for file in self._files.values()
                if file.ahead and may_run(file.ahead[0])
            ]
            if waiting:
                fewest = min(waiting, key=lambda file: len(file.running))
                transfer = fewest.ahead.popleft()
        if transfer is not None:
            file = self._files.pop(transfer.content)
            self._files[transfer.content] = file
            file.running.add(transfer)
        return transfer

    def begin_background(self, may_run: Callable[[Transfer], bool]) -> Transfer | None:
        """The next transfer in the background that *may_run*; it runs from now on."""
        transfer = next(filter(may_run, self._background), None)
        if transfer is not None:
            self._background.remove(transfer)
            self._background_running[transfer] = None
        return transfer

    @property
    def background_running(self) -> Collection[Transfer]:
        """The transfers in the background that run, the one begun first is first."""
        return self._background_running.keys()

    def length(self, transfer: Transfer, connections: int) -> int:
        """How many blocks of *transfer* one request asks for.

        Its requests are of equal length: a short last one would cost a wait as well.
        """
        blocks = transfer.stop - transfer.first
        return -(-blocks // self._requests_of(transfer, connections))

    def running(self, content: Content) -> int:
        """How many transfers of *content* run."""
        file = self._files.get(content)
        background = sum(one.content is content for one in self._background_running)
        return background + (len(file.running) if file is not None else 0)

    def is_all_that_is_wanted(self, transfer: Transfer) -> bool:
        """Whether no other transfer of its file runs, and no demand of it waits."""
        file = self._files.get(transfer.content)
        return file is not None and len(file.running) == 1 and not file.demands

    def ended(self, transfer: Transfer) -> None:
        """*transfer* runs no more."""
        if transfer.background:
            del self._background_running[transfer]
            return
        self._files[transfer.content].running.discard(transfer)
        self._leave(transfer)

    # ----------------------------------------------------------------------------------

    def _drop_aside(
        self,
        content: Content,
        may_drop: Callable[[Transfer], bool],
        *,
        background: bool,
    ) -> bool:
        of_it = [
            transfer
            for transfer in self._aside
            if transfer.content is content and transfer.background is background
        ]
        dropped = list(filter(may_drop, of_it))
        for transfer in dropped:
            del self._aside[transfer]
        return bool(dropped)

    def _join(self, file: _File, transfer: Transfer) -> Transfer:
        """Queue *transfer* ahead, as a part of what *file* has queued beside it.

        What a reader waits for is never put behind bytes that nobody waits for. Bytes of
        an answer that is on its way stay by themselves.
        """
        if not transfer.begun:
            beside = [*file.ahead, *self._demands] if file.demands else file.ahead
            joinable = [
                one
                for one in beside
                if one.content is transfer.content and not (one.begun or one.alone)
            ]
            for behind in joinable:
                if behind.first == transfer.stop and not behind.demand:
                    file.ahead.remove(behind)
                    transfer.grow(behind)
                    break
            for before in joinable:
                if before.stop == transfer.first:
                    before.grow(transfer)
                    return before
        file.ahead.append(transfer)
        return transfer

    def _requests_of(self, transfer: Transfer, connections: int) -> int:
        if transfer.begun or transfer.background:
            return 1
        share = self.share(transfer.content, connections)
        length_bytes = (transfer.stop - transfer.first) * self._block_bytes
        # Not by what is still to come of the window: a reader that is slower than the link
        # has most of it, and asked for the rest of a film in 480 requests instead of 125,
        # at 2.4 CPU seconds a GB instead of 1.9 (loopback, 2026-11-27).
        window_bytes = transfer.window_blocks * self._block_bytes
        request = request_bytes(window_bytes, share)
        return max(1, round(length_bytes / request))

    def _ahead(self) -> Iterator[Transfer]:
        for file in self._files.values():
            yield from file.ahead

    def _leave(self, transfer: Transfer) -> None:
        """*transfer* is neither queued nor running any more."""
        file = self._files.get(transfer.content)
        if file is not None and file.is_idle:  # it may have left with another one
            del self._files[transfer.content]
