"""Has no block come twice that others are fetching: processes of this host, or other hosts.

A transfer claims its blocks when it begins. Decides what becomes of the rest: blocks that
others have brought land from the tiers, and blocks that others are fetching are set
*aside*, without a connection, until they are there. They are asked for here after all
once their claim has ended, or where its holder has not gone on for STALL_SECONDS. So a
holder that dies costs nobody more than a look, and one that hangs costs a wait. Leaves to
`claims` who fetches what, to `schedule` when a transfer runs, and to each reader how long
it waits.

Threads: one, `hingfs-aside`, which starts when the first transfer is set aside.
"""

import logging
import threading
import time
from collections.abc import Callable

from ..blocks import runs_of
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import TransportError
from ..version import VideoVersion
from ..workers import Worker
from .claims import Claimed, Claims
from .landings import Landings
from .schedule import Schedule
from .transfer import Transfer

log = logging.getLogger(__name__)

# A holder whose claim stays as it is for so long is not waited for. Its claim shrinks
# whenever blocks are written: at 26 KB/s and more on each of its connections. A guess.
STALL_SECONDS = 5.0
# Between two looks at what is aside. A look costs some 10 µs, and what another process
# fetches is written 0.1 s later. Guesses.
_FIRST_PAUSE_SECONDS = 0.01
_LAST_PAUSE_SECONDS = 0.1
# A stalled claim that nothing waits for is remembered for so long. A guess.
_STALLED_SECONDS = 60.0


class Sharing:
    """What transfers share with others, by *claims*. Thread safety: all methods.

    *resumed* is called when transfers that were aside are in the queue again.
    """

    def __init__(
        self,
        claims: Claims,
        tiers: Tiers,
        landings: Landings,
        schedule: Schedule,
        resumed: Callable[[], object],
    ) -> None:
        self._claims = claims
        self._claimed = Claimed(claims)
        self._tiers = tiers
        self._landings = landings
        self._schedule = schedule
        self._resumed = resumed
        # Of the thread alone: each claim of others that was met, with the monotonic times
        # when it was first and last seen as it is.
        self._met: dict[tuple[VideoVersion, range], tuple[float, float]] = {}
        # Guards both below; nothing is asked, and no thread is started, under it.
        self._changed = threading.Condition()
        self._worker: Worker | None = None
        self._closed = False

    def begin(self, transfer: Transfer) -> None:
        """*transfer*, whose content is held, begins: leave to it what it must bring.

        That is a run of blocks, or nothing. The other blocks have landed, are queued, or
        are aside. Until `end` others see what it brings.
        """
        content, first = transfer.content, transfer.first
        theirs = self._claimed.take(transfer)
        if theirs is None or transfer.begun:  # its bytes are on their way
            return
        stop = transfer.stop
        if theirs and not transfer.alone:
            stop = min(stop, max(first, theirs.start))
        absent = self._land_present(content, range(first, stop))
        if absent:
            run = runs_of(absent)[0]
            self._schedule.narrow(transfer, run.start, run.stop)
        elif stop > first:
            self._schedule.narrow(transfer, stop, stop)
        else:
            self._schedule.set_aside(transfer, theirs.stop)
            self._watch()

    def end(self, transfer: Transfer) -> None:
        """*transfer*, whose content is held, has ended: others may bring what it has not."""
        self._claimed.end(transfer)

    def lost(self, content: Content, first: int, count: int) -> None:
        """So many blocks have come from *first* on, and others do not find them."""
        self._claims.release(content, range(first, first + count))

    def close(self) -> None:
        """End the thread, which brings nothing more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within *seconds*; after `close`."""
        with self._changed:
            worker = self._worker
        return worker is None or worker.join(seconds)

    # ----------------------------------------------------------------------------------

    def _land_present(self, content: Content, blocks: range) -> list[int]:
        """Hand those of *blocks* that are here to their readers; returns the others."""
        absent = self._tiers.absent(content, blocks)
        if len(absent) == len(blocks):
            return absent
        missing = set(absent)
        for index in blocks:
            if index in missing or self._landings.get((content, index)) is None:
                continue
            block = self._tiers.block(content, index)
            if block is None:  # it was bad
                missing.add(index)
            else:
                self._landings.land(content, index, [block])
        return sorted(missing)

    def _watch(self) -> None:
        """Something is aside: have the thread look at it."""
        with self._changed:
            self._changed.notify_all()
            if self._worker is not None or self._closed:
                return
            self._worker = worker = Worker("hingfs-aside", self._run)
        try:
            worker.start()
        except TransportError:  # which is logged: then nobody is waited for
            with self._changed:
                self._worker = None
            self._resume_all()

    def _run(self) -> None:
        pause = _FIRST_PAUSE_SECONDS
        while self._wait(pause):
            try:
                went_on = self._look()
            except Exception:
                log.exception("unforeseen error; nobody is waited for")
                went_on = self._resume_all()
            pause = 1.5 * pause if not went_on else _FIRST_PAUSE_SECONDS
            pause = min(pause, _LAST_PAUSE_SECONDS)

    def _wait(self, pause: float) -> bool:
        """Return after *pause*, once anything is aside; False if it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._schedule.aside())
            self._changed.wait_for(lambda: self._closed, pause)
            return not self._closed

    def _look(self) -> bool:
        """Look at all that is aside; returns whether any of it goes on."""
        goes_on = resumed = False
        for transfer, blocks in self._schedule.aside():
            content = transfer.content
            with self._tiers.held(content):
                theirs = self._claims.look(content, blocks)
                absent = self._land_present(content, blocks)
            seconds = self._unchanged_seconds(content, blocks, theirs)
            goes_on |= not seconds
            stalled = seconds > STALL_SECONDS
            if not absent:
                self._schedule.leave_aside(transfer)
            elif stalled or not theirs or absent[0] not in theirs:
                self._schedule.resume(transfer, alone=stalled)
                resumed = True
        if resumed:
            self._resumed()
        return goes_on or resumed

    def _unchanged_seconds(
        self, content: Content, blocks: range, theirs: range | None
    ) -> float:
        """For how long the claim *theirs* on *blocks* of *content* has been as it is."""
        version, now = content.version, time.monotonic()
        assert version is not None, "only a file of known size has blocks"
        seen = theirs or blocks
        for key, (_, last) in list(self._met.items()):
            of_it, run = key
            changed = of_it == version and run != theirs and _overlap(run, seen)
            if changed or now > last + _STALLED_SECONDS:
                del self._met[key]
        if not theirs:
            return 0.0
        first, _ = self._met.get((version, theirs), (now, now))
        self._met[version, theirs] = first, now
        return now - first

    def _resume_all(self) -> bool:
        for transfer, _ in self._schedule.aside():
            self._schedule.resume(transfer, alone=True)
        self._resumed()
        return True


def _overlap(one: range, other: range) -> bool:
    return one.start < other.stop and other.start < one.stop
