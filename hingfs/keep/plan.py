"""The videos that are to be kept, and which of them is next.

Decides which video a thread takes up, whether a video that is being brought in may ask
for more bytes or stands back for another, and how many connections the first deadlines
need. Leaves the order to `order`, the rate to `rate`, and to `keeper` what is done.

Not thread-safe: its owner locks. No I/O, no threads; its owner tells the time, in seconds
of one monotonic clock.
"""

import enum
import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

from ..bringing import Progress
from ..cache.layout import GRID_BYTES
from .order import Job, Order, order_of
from .rate import Rate

# A request asks for what its connection brings in so long, if that is not too little:
# what is on its way when a video stands back, or the next one begins, delays that one.
# A guess.
REQUEST_SECONDS = 0.3
LEAST_REQUEST_BYTES = GRID_BYTES
# The sizes of so many videos are asked for before their turn; the others count as long
# as these are on average. A guess.
_MOST_MEASURED = 64
# How old an order may become while nothing but time and rate has changed. A guess.
_ORDER_SECONDS = 1.0
# How long a video stands back before that is told. A guess.
_SURE_SECONDS = 3.0
# What just sufficed would not, where a rate falls. A guess.
_SPARE = 1.25


@dataclass(slots=True, eq=False)
class Wish(Progress):
    """A video that is to be kept."""

    video_id: str
    deadline: float  # when its link expires
    not_before: float = -math.inf  # it failed: when it is tried again
    failures: int = 0  # in a row
    lacks_room: bool = False  # it failed because it did not fit
    in_hand: bool = False  # a thread has it
    asks: bool = False  # that thread has still bytes to ask for
    # Its place among those whose bytes are coming, by when they asked first; from 1 on.
    asked: int | None = None
    landed_bytes: int = 0  # of those that are coming
    late_since: float | None = None  # while it stands back, as the order has it
    told_late: bool = False  # the log has said that it may come too late

    @property
    def is_measured(self) -> bool:
        """Whether its size is known."""
        return self.size_bytes >= 0

    @property
    def left_bytes(self) -> int:
        """How many bytes are still to come, if its size is known."""
        return max(0, self.size_bytes - self.here_bytes - self.landed_bytes)

    def waits(self, now: float) -> bool:
        """Whether a thread may take it."""
        return not self.in_hand and self.not_before <= now


class Turn(enum.Enum):
    """What the thread of a video does next."""

    GO_ON = "ask for more bytes"
    WAIT = "wait while a video that goes before asks for its bytes"
    STAND_BACK = "leave the thread to a video that goes before"


class Plan:
    """The wishes and their order."""

    def __init__(self) -> None:
        self.rate = Rate()  # at which bytes come, for readers too
        self.connections = 1  # that requests share; its owner tells
        self._wishes: dict[str, Wish] = {}  # by video
        self._in_hand: list[Wish] = []
        self._numbers = itertools.count(1)
        self._order = Order((), ())
        self._ordered: list[Wish] = []  # those of the order
        self._holds_until = -math.inf  # how long the order does

    def __len__(self) -> int:
        return len(self._wishes)

    def add(self, wish: Wish) -> bool:
        """Add *wish*, unless its video is here already; returns whether it was added."""
        if wish.video_id in self._wishes:
            return False
        self._wishes[wish.video_id] = wish
        self.changed()
        return True

    @property
    def lacks_room(self) -> bool:
        """Whether a wish waits because it did not fit."""
        return any(wish.lacks_room for wish in self._wishes.values())

    def found_room(self, room_bytes: int) -> bool:
        """There is room again: wishes that fit into it wait no more; whether there are any.

        The first to expire has it first.
        """
        lacking = [wish for wish in self._wishes.values() if wish.lacks_room]
        found = False
        for wish in sorted(lacking, key=lambda wish: wish.deadline):
            if not wish.in_hand and wish.size_bytes <= room_bytes:
                room_bytes -= wish.size_bytes
                wish.lacks_room, wish.not_before = False, -math.inf
                found = True
        self.changed()
        return found

    def take(self, wish: Wish) -> None:
        """A thread has *wish* in hand from now on."""
        wish.in_hand = True
        self._in_hand.append(wish)

    def put_back(self, wish: Wish) -> None:
        """It has no more."""
        wish.in_hand = wish.asks = False
        wish.asked, wish.landed_bytes = None, 0
        self._in_hand.remove(wish)
        self.changed()

    def remove(self, wish: Wish) -> None:
        """*wish* is fulfilled, or given up."""
        self._wishes.pop(wish.video_id, None)
        self.changed()

    def changed(self) -> None:
        """The order is out of date."""
        self._holds_until = -math.inf

    def order(self, now: float) -> Order:
        """The order of all that may be brought in now; it is not older than a second."""
        if now >= self._holds_until:
            mean = self._mean_bytes()
            self._order = order_of(
                (
                    Job(wish, _left_bytes(wish, mean), wish.deadline)
                    for wish in self._wishes.values()
                    if wish.in_hand or wish.not_before <= now
                ),
                now + self._tail_seconds,
                self._own_rate,
            )
            self._ordered = self._sparing(now)
            self._holds_until = now + min(_ORDER_SECONDS, self.next_try(now))
        return self._order

    def to_measure(self, now: float) -> Wish | None:
        """The video whose size is to be asked for next, if that of any is."""
        measured = sum(wish.is_measured for wish in self._wishes.values())
        if measured >= _MOST_MEASURED:
            return None
        waiting = (
            wish
            for wish in self._wishes.values()
            if not wish.is_measured and wish.waits(now)
        )
        return min(waiting, key=lambda wish: wish.deadline, default=None)

    def to_bring(self, now: float) -> Wish | None:
        """The video that is to be brought in next, if any waits."""
        self.order(now)
        return _first_waiting(self._ordered, now)

    def asks(self, wish: Wish) -> None:
        """*wish* asks for bytes now, behind all who asked before."""
        if wish.asked is None:
            wish.asked = next(self._numbers)

    def turn(self, wish: Wish, now: float, idle_threads: int) -> Turn:
        """What the thread of *wish* does, *idle_threads* being without work.

        One video asks for bytes at a time, the first in the order. Once it has asked for
        all of its own the next one asks, so that no connection is idle between the two.
        A video that is no longer before those that asked after it gives its place up.
        """
        self.order(now)
        if wish not in self._ordered:  # another thread gave it up
            return Turn.STAND_BACK
        before = self._ordered[: self._ordered.index(wish)]
        waits = _first_waiting(before, now) is not None
        one_asks = waits or any(one.asks for one in before)
        if wish.asked is not None:
            overtaken = any(one.asked and one.asked > wish.asked for one in before)
            return Turn.STAND_BACK if one_asks or overtaken else Turn.GO_ON
        if waits and not idle_threads:
            others = (one for one in self._in_hand if one.asks and one not in before)
            if max(others, key=self._ordered.index, default=wish) is wish:
                return Turn.STAND_BACK
        return Turn.WAIT if one_asks else Turn.GO_ON

    def next_try(self, now: float) -> float:
        """In how many seconds a video that failed is tried again; infinite if none is."""
        later = (wish.not_before - now for wish in self._wishes.values())
        return min((wait for wait in later if wait > 0), default=math.inf)

    def share(self, now: float) -> int:
        """How many of the connections the videos in time need to stay so."""
        needed = self.order(now).least_rate(now + self._tail_seconds)
        part = _SPARE * needed / self.rate.bytes_per_second
        return math.ceil(self.connections * min(1.0, part))

    def newly_late(self, now: float) -> list[Wish]:
        """Those that will come too late at the measured rate, each once.

        Another may stand back in its place as the rate changes, so that is told once it
        is sure: it has lasted, or the video could not even come alone.
        """
        if not self.rate.is_known:
            return []
        order, sure = self.order(now), []
        for wish in _wishes_of(order.in_time):
            wish.late_since = None
        for wish in _wishes_of(order.late):
            if not wish.is_measured or wish.told_late or wish.deadline <= now:
                continue
            wish.late_since = wish.late_since or now
            alone = now + wish.left_bytes / self._own_rate < wish.deadline
            if now - wish.late_since >= _SURE_SECONDS or not alone:
                wish.told_late = True
                sure.append(wish)
        return sure

    def _sparing(self, now: float) -> list[Wish]:
        """The order, but those whose bytes are coming first, if that makes none late.

        To stand back costs the bytes that are on their way.
        """
        ordered = _wishes_of(self._order.jobs)
        coming = [wish for wish in ordered if wish.asked is not None]
        coming.sort(key=lambda wish: wish.asked or 0)
        sparing = coming + [wish for wish in ordered if wish.asked is None]
        in_time = set(_wishes_of(self._order.in_time))
        rate, mean, total_bytes = self._own_rate, self._mean_bytes(), 0
        start = now + self._tail_seconds
        for wish in sparing:
            total_bytes += _left_bytes(wish, mean)
            if wish in in_time and start + _SPARE * total_bytes / rate >= wish.deadline:
                return ordered
        return sparing

    @property
    def _own_rate(self) -> float:
        """The rate that keeping can have: what readers leave, as far as was seen.

        If they leave less than that, all connections but one.
        """
        least = max(1, self.connections - 1) / max(2, self.connections)
        return max(least, self.rate.own_part) * self.rate.bytes_per_second

    @property
    def _tail_seconds(self) -> float:
        """How much later a video comes than its share of the bytes does.

        While its last requests are on their way, the first of the next video share the
        link with them.
        """
        least = self.connections * LEAST_REQUEST_BYTES
        return max(REQUEST_SECONDS, least / self.rate.bytes_per_second)

    def _mean_bytes(self) -> int:
        sizes = [one.size_bytes for one in self._wishes.values() if one.is_measured]
        return sum(sizes) // len(sizes) if sizes else 0


def _first_waiting(wishes: Iterable[Wish], now: float) -> Wish | None:
    waiting = (wish for wish in wishes if wish.is_measured and wish.waits(now))
    return next(waiting, None)


def _wishes_of(jobs: Iterable[Job]) -> list[Wish]:
    return [job.key for job in jobs if isinstance(job.key, Wish)]


def _left_bytes(wish: Wish, mean_bytes: int) -> int:
    if not wish.is_measured:
        return mean_bytes
    return wish.left_bytes
