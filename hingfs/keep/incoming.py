"""The bytes of one version on their way to disk, behind what readers want.

Decides how much of it is asked for ahead of what has come, and how much one request asks
for. Leaves to `plan` when it may ask, to `fetch` when a request runs, and to `bringing`
what is absent and when all is written.

Threads: none of its own; the thread that has the video in hand calls.
"""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from ..blocks import KIB, MIB, Block, ByteRange, blocks_of, bounds_of, runs_of
from ..bringing import Bringer
from ..cache.layout import GRID_BYTES
from ..content import Content
from ..engine import Engine
from ..errors import DeadlineExceeded, RangesIgnored
from ..fetch.landings import Landing
from ..version import VideoVersion
from .plan import REQUEST_SECONDS, Wish

# Bounds of one request. Guesses.
_FIRST_REQUEST_BYTES = 512 * KIB  # while no rate is known
_MOST_REQUEST_BYTES = 2 * MIB
# Of a small video each connection has one, or else the next video would use it, and part
# of the link, before its turn.
_FEWEST_REQUESTS = 16
# What is asked for before the first of it has come: two requests for each connection.
_MOST_WINDOW_BYTES = 32 * MIB
# How often a thread that waits for bytes looks at its turn. A guess.
LOOK_SECONDS = 0.1


class Renewed(Exception):
    """The bytes come under another version than the one that was begun."""


class StandsBack(Exception):
    """The thread is for a video that goes before."""


class Turns(Protocol):
    """What tells a video when to ask for bytes. Each may raise Closing and StandsBack."""

    def await_turn(self, wish: Wish) -> None:
        """Return once *wish* may ask for more bytes."""

    def look(self, wish: Wish) -> None:
        """*wish* waits for bytes: see whether it still may."""

    def pause(self, seconds: float) -> None:
        """Wait for so long, or until all ends."""

    def asked_all(self, wish: Wish) -> None:
        """All bytes of *wish* are asked for."""

    def streamed(self, size_bytes: int) -> None:
        """*size_bytes* more have come from a server without ranges."""

    @property
    def bytes_per_second(self) -> float | None:
        """The rate, if it is known."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A part of a video that was asked for, and the landings of its blocks."""

    span: ByteRange
    landings: dict[int, Landing]

    @property
    def landed_bytes(self) -> int:
        """How many bytes of it have come; a hint, taken without the lock."""
        landings = self.landings.values()
        return sum(one.size_bytes for one in landings if one.data is not None)


class Incoming:
    """What is on its way of *version*, for *wish*. For one thread."""

    def __init__(
        self,
        wish: Wish,
        content: Content,
        version: VideoVersion,
        *,
        engine: Engine,
        bringer: Bringer,
        turns: Turns,
    ) -> None:
        self._fetcher = engine.fetcher
        self._spools = engine.spools
        self._tiers = engine.tiers
        self._bringer = bringer
        self._turns = turns
        self._wish = wish
        self._content = content
        self._version = version
        self._window: deque[_Request] = deque()
        self._looks_at = 0.0  # monotonic: the next time, if it has to wait

    def fetch(self, absent: Sequence[ByteRange]) -> None:
        """Have the pieces *absent* written to disk.

        Raises Renewed, StandsBack, Closing, NoRoom, and the errors of transfers.
        """
        if self._content.ranges is not False:
            with contextlib.suppress(RangesIgnored):
                self._fetch_ranges(absent)
                return
            self._content.ranges_ignored()
        self._await_stream()

    def _fetch_ranges(self, absent: Sequence[ByteRange]) -> None:
        content, window = self._content, self._window
        coming_bytes = 0
        try:
            for span in _requests(absent, self._request_bytes):
                while window and coming_bytes + len(span) > self._window_bytes():
                    coming_bytes -= len(window[0].span)
                    self._take()
                self._turns.await_turn(self._wish)
                window.append(self._request(span))
                coming_bytes += len(span)
            self._turns.asked_all(self._wish)
            while window:
                self._take()
        except StandsBack:
            self._fetcher.stop_bringing(content)
            raise
        finally:
            self._fetcher.drop_brought(content)

    def _request(self, span: ByteRange) -> _Request:
        blocks = blocks_of(span, self._tiers.block_bytes)
        return _Request(span, self._fetcher.bring(self._content, blocks))

    def _take(self) -> None:
        """Wait for the blocks of the first request, and see to it that they are written."""
        request = self._window[0]
        while not self._is_taken(request):
            # A reader has asked for the others, and may have gone before they came.
            self._turns.pause(LOOK_SECONDS / 4)
            self._look()
            request = self._request(request.span)
        self._window.popleft()
        self._wish.came(len(request.span))
        self._look()

    def _is_taken(self, request: _Request) -> bool:
        """Whether all of *request* is written or about to be, once its blocks came."""
        content, version, each = self._content, self._version, self._tiers.block_bytes
        arrived: dict[int, Block] = {}
        for index, landing in request.landings.items():
            arrived[index] = self._await_block(landing)
        if content.version != version:
            raise Renewed
        blocks = blocks_of(request.span, each)
        for index in blocks:
            block = self._tiers.memory.peek((version.key, index))
            if block is not None:
                arrived.setdefault(index, block)
        for run in runs_of(sorted(arrived)):
            here = [arrived[index] for index in run]
            self._bringer.put(content, run.start, here, version)
        others = (
            bounds_of(index, each, content.size_bytes)
            for index in blocks
            if index not in arrived
        )
        return all(self._tiers.lies_on_disk(content, one) for one in others)

    def _await_block(self, landing: Landing) -> Block:
        while True:
            with contextlib.suppress(DeadlineExceeded):
                return landing.wait(landing.size_bytes, self._looks_at)
            self._look()

    def _look(self) -> None:
        self._looks_at = time.monotonic() + LOOK_SECONDS
        self._wish.landed_bytes = sum(one.landed_bytes for one in self._window)
        self._turns.look(self._wish)

    def _await_stream(self) -> None:
        """Wait for the one answer that brings the whole file, which writes it to disk."""
        wish = self._wish
        self._turns.await_turn(wish)
        wish.asked = None  # it gives way to nobody, so it need not make way
        spool = self._spools.open(self._content)
        while True:
            before = spool.frontier
            with contextlib.suppress(DeadlineExceeded):
                spool.wait_complete(time.monotonic() + LOOK_SECONDS)
                break
            came = max(0, spool.frontier - before)
            wish.came(came)
            self._turns.streamed(came)
            self._turns.look(wish)
        if self._content.version != self._version:
            raise Renewed

    def _window_bytes(self) -> int:
        wanted = 2 * self._fetcher.connections * self._request_bytes()
        return min(wanted, _MOST_WINDOW_BYTES)

    def _request_bytes(self) -> int:
        """How much one request asks for: whole grid blocks, and whole blocks in memory."""
        grid = max(GRID_BYTES, self._tiers.block_bytes)
        if self._fetcher.counts_requests:
            return _MOST_WINDOW_BYTES // grid * grid
        wanted, rate = _FIRST_REQUEST_BYTES, self._turns.bytes_per_second
        if rate is not None:
            wanted = int(rate * REQUEST_SECONDS / self._fetcher.connections)
        most = min(_MOST_REQUEST_BYTES, self._wish.left_bytes // _FEWEST_REQUESTS)
        return max(1, min(wanted, most) // grid) * grid


def _requests(
    absent: Sequence[ByteRange], most_bytes: Callable[[], int]
) -> Iterator[ByteRange]:
    """The pieces *absent*, neighbours joined into spans of *most_bytes* at most."""
    span, most = absent[0], most_bytes()
    for piece in absent[1:]:
        if span.stop == piece.start and piece.stop - span.start <= most:
            span = ByteRange(span.start, piece.stop)
            continue
        yield span
        span, most = piece, most_bytes()
    yield span
