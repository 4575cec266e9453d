"""Makes blocks present: the door of this room for readers.

However many readers want a block, it is requested once. A *landing* is a block on its
way (`landings`); a *transfer* is one Range request for a run of blocks. Leaves to
`schedule` which transfer runs next, and to `pump` the threads that run it.

One order of steps keeps that true without I/O under a lock: register the landing, look
into the tiers a second time, fetch, put the block into memory, wake its readers, and
only then unregister the landing. There is no thread here, and a lock for numbers alone.
"""

import itertools
import threading
from collections.abc import Callable, Iterable, Sequence

from ..blocks import block_count, runs_of
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import HingError
from ..facts.counts import Count
from ..http.answer import Answer
from ..http.patience import FAILURE_MEMORY_SECONDS
from .capacity import Capacity
from .claims import Alone, Claims
from .landings import LATE_SECONDS, Landing, Landings
from .pump import Pump
from .schedule import Schedule
from .transfer import RangeSource, Transfer


class BlockFetcher:
    """Makes blocks present in *tiers*. Thread safety: all methods.

    At most *connections* transfers run at once. *whole_body* gets the open answer of a
    server that ignored a Range request, to be read as the whole file. *paying* is how
    many requests at once pay, for the next mount. *claims* tells what others fetch, if
    there may be others. `Landings` explains the other two.
    """

    def __init__(
        self,
        source: RangeSource,
        tiers: Tiers,
        *,
        connections: int,
        whole_body: Callable[[Content, Answer | None], object],
        paying: Count,
        claims: Claims | None = None,
        failure_memory_seconds: float = FAILURE_MEMORY_SECONDS,
        late_seconds: float = LATE_SECONDS,
    ) -> None:
        self._source = source
        self._tiers = tiers
        self.block_bytes = tiers.block_bytes
        # Guards the number below; the schedule and the memory are asked with it held.
        self._lock = threading.Lock()
        self._promised_bytes = 0  # of files that are about to be queued whole
        self._landings = Landings(
            tiers.block_bytes, failure_memory_seconds, late_seconds
        )
        self._schedule = Schedule(
            self._landings,
            Capacity(source, connections, paying),
            block_bytes=tiers.block_bytes,
        )
        self._pump = Pump(
            source,
            tiers,
            self._landings,
            self._schedule,
            claims=claims or Alone(),
            connections=connections,
            whole_body=whole_body,
        )

    def demand(
        self,
        content: Content,
        indices: Sequence[int],
        ahead: Sequence[int] = (),
        window_bytes: int = 0,
    ) -> list[Landing]:
        """Landings of the blocks *indices*; requests the blocks that are not on their way.

        The blocks *ahead*, which follow the last of *indices*, come in the same request
        up to the first that is not missing. Nobody waits for them. *window_bytes* is as
        in `prefetch`.
        """
        landings, new = self._landings.demand(content, indices)
        if ahead and new and new[-1] == indices[-1]:
            absent = itertools.takewhile(
                lambda index: not self._tiers.has(content, index), ahead
            )
            new += self._landings.announce_run(content, list(absent))
        window_blocks = window_bytes // self.block_bytes
        transfers = [
            Transfer(
                content, run.start, run.stop, demand=True, window_blocks=window_blocks
            )
            for run in runs_of(self._still_missing(content, new))
        ]
        self._schedule.demand(transfers, zip(indices, landings, strict=True))
        self._pump.start_workers()
        return landings

    def prefetch(
        self,
        content: Content,
        indices: Iterable[int],
        window_bytes: int = 0,
        *,
        begun: bool = False,
    ) -> list[Landing]:
        """Request the missing ones of *indices* without waiting; returns their landings.

        They are the new part of a window of *window_bytes*, or a window of their own: the
        larger it is, the longer are its requests. *begun*: an answer that has begun
        brings them, so that no request is for them and others together.
        """
        with self._tiers.held(content):  # it may not be open
            absent = self._tiers.absent(content, indices)
            landings = self._landings.announce(content, absent)
            missing = self._still_missing(content, landings)
        window_blocks = window_bytes // self.block_bytes
        transfers = [
            Transfer(
                *(content, run.start, run.stop),
                demand=False,
                window_blocks=window_blocks,
                begun=begun,
            )
            for run in runs_of(missing)
        ]
        self._schedule.ahead(transfers)
        self._pump.start_workers()
        return list(landings.values())

    def prefetch_whole(self, content: Content) -> bool:
        """Request all of *content* as `prefetch`, if there is room; returns whether.

        Of files that are opened at the same time no two take the same room.
        """
        size = content.size_bytes
        with self._lock:
            if size > self.room_bytes():
                return False
            self._promised_bytes += size
        try:
            self.prefetch(content, range(block_count(size, self.block_bytes)))
        finally:
            with self._lock:
                self._promised_bytes -= size
        return True

    def bring(self, content: Content, indices: Sequence[int]) -> dict[int, Landing]:
        """Request the missing ones of *indices* in the background, run by run.

        Returns the landings of those that were neither here nor on their way. *content*
        is held. The blocks go to disk, and to memory as if they had been read, so that
        they take no room from what is fetched ahead.
        """
        absent = self._tiers.absent(content, indices)
        landings = self._landings.announce(content, absent)
        self._schedule.background(
            Transfer(content, run.start, run.stop, demand=False, background=True)
            for run in runs_of(self._still_missing(content, landings))
        )
        self._pump.start_workers()
        return landings

    def drop_brought(self, content: Content) -> None:
        """Forget the requests of `bring` for *content* that have not begun."""
        self._schedule.drop_background(content)

    def stop_bringing(self, content: Content) -> None:
        """As `drop_brought`, and those that run end at the block that they read.

        It makes room at once for others, and costs the bytes that are on their way.
        """
        self._schedule.stop_background(content)

    def share_background(self, connections: int) -> None:
        """Leave so many *connections* to `bring`, though readers want them; at first none."""
        self._schedule.share_background(connections)
        self._pump.start_workers()

    @property
    def arrived_bytes(self) -> int:
        """How many bytes have come in transfers so far, for readers and for `bring`."""
        return self._schedule.arrived_bytes

    @property
    def brought_bytes(self) -> int:
        """How many of them came for `bring` alone."""
        return self._schedule.brought_bytes

    @property
    def connections(self) -> int:
        """How many requests at once pay off; a hint."""
        return self._schedule.connections

    def has_ends(self, content: Content) -> bool:
        """Whether the first and the last block of *content* are here; may look on disk."""
        count = block_count(content.size_bytes, self.block_bytes)
        with self._tiers.held(content):
            return not self._tiers.absent(content, range(0, count, max(1, count - 1)))

    def drop_queued(self, content: Content) -> bool:
        """Forget the transfers queued ahead for *content*; returns whether any was."""
        return self._schedule.drop_ahead(content)

    def room_bytes(self) -> int:
        """How many more bytes may be fetched ahead, beside those that are queued."""
        taken_bytes = self._schedule.blocks_without_room() * self.block_bytes
        taken_bytes += self._promised_bytes
        return max(0, self._tiers.memory.room_bytes() - taken_bytes)

    def share_bytes(self, content: Content) -> int:
        """How much of the memory for what is fetched ahead is for *content*; a hint.

        The files that want bytes now have equal shares.
        """
        return self._tiers.memory.most_ahead_bytes // self._schedule.files(content)

    def share(self, content: Content) -> int:
        """How many requests at once for *content* pay off; a hint.

        The files that want bytes now share the connections; each has at least one.
        """
        return self._schedule.share(content)

    def lend_connections(self, count: int) -> bool:
        """Whether enough connections are idle; then *count* are the caller's to use."""
        return self._schedule.lend(count)

    def give_back_connection(self) -> None:
        """One of the connections that were lent is free again."""
        self._schedule.give_back()
        self._pump.start_workers()

    @property
    def counts_requests(self) -> bool:
        """Whether this endpoint wants few large requests, rather than many at once."""
        return self._source.counts_requests

    def close(self, error: HingError) -> None:
        """Wake every waiter with *error*, end every transfer, refuse new ones."""
        self._landings.close(error)
        self._pump.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pump.join(seconds)

    def _still_missing(self, content: Content, new: Iterable[int]) -> list[int]:
        """Those of *new* that must be requested; they all have landings.

        The others came between the first look and the registration.
        """
        missing = []
        for index in new:
            block = self._tiers.block(content, index)
            if block is None:
                missing.append(index)
            else:
                self._landings.land(content, index, [block])
        return missing
