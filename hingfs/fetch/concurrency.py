"""How many requests for content at once pay off, learnt from the bytes that arrive.

Decides the number: from `FIRST_LIMIT`, or what an earlier mount learnt, up to
--connections, and fewer after trouble. It bounds what is fetched ahead. Leaves to
`schedule` which transfers those are; demands may use all --connections. Leaves to
`http.slots` how many the server takes. Pure: no I/O, no threads, no clock of its own.
"""

from dataclasses import dataclass

from ..blocks import MIB

FIRST_LIMIT = 6
# A larger number is kept only if the rate rose by this part of what the added
# connections would bring if each were as fast as the others. A half rejected ten
# connections that were faster than six in one of three rsyncs, a third in none of six
# (2026-11-24).
RISE_THAT_PAYS = 0.3
# A limit that was learnt holds for this many bytes; then one more step up is tried.
_RELEARN_BYTES = 512 * MIB
# A rate is worth comparing after this much time and this many bytes, or after long
# enough on a slow link. Guesses.
_RATE_SECONDS = 0.1
_RATE_BYTES = 4 * MIB
_LONGEST_RATE_SECONDS = 2.0


@dataclass(slots=True)
class _Rate:
    """The bytes that arrived while all connections were in use, and the time they took.

    It adds up several bursts: one clip may be over before its rate can be compared.
    """

    size_bytes: int = 0
    seconds: float = 0.0  # of the bursts that are over
    in_burst: bool = False
    since: float = 0.0  # the first bytes of this burst (monotonic; 0: none have come)

    def switch(self, now: float, *, in_burst: bool) -> None:
        """A burst began or ended."""
        if self.in_burst and self.since:
            self.seconds += now - self.since
        self.in_burst, self.since = in_burst, 0.0

    def add(self, size_bytes: int, now: float) -> float | None:
        """The rate in bytes a second, once it is worth comparing."""
        if not self.in_burst:
            return None
        if not self.since:  # until now a round trip, in which nothing arrives
            self.since = now
            return None
        self.size_bytes += size_bytes
        elapsed = self.seconds + now - self.since
        enough = self.size_bytes >= _RATE_BYTES or elapsed >= _LONGEST_RATE_SECONDS
        if not enough or elapsed < _RATE_SECONDS:
            return None
        return self.size_bytes / elapsed


class Concurrency:
    """How many requests at once pay off at one endpoint, learnt from rates.

    The limit climbs while the measured rate rises, and steps back when it does not;
    trouble halves it. Not thread-safe: its owner locks.
    """

    def __init__(self, most: int, first: int = FIRST_LIMIT) -> None:
        self._most = max(1, most)
        self._rate = _Rate()
        self.limit = max(1, min(first, self._most))  # how many to use now
        self._best_rate = 0.0
        self._before = self.limit  # the limit one step down
        self._settled_bytes = 0  # to go until the next step; 0 while climbing
        self._doubted = False  # the last rate was too low

    def running(self, count: int, now: float) -> None:
        """*count* requests run from *now* (monotonic) on."""
        # In a burst, one may be missing: it ended, and the next is about to begin.
        in_burst = count >= self.limit - self._rate.in_burst
        if in_burst != self._rate.in_burst:
            self._rate.switch(now, in_burst=in_burst)

    def arrived(self, size_bytes: int, now: float) -> bool:
        """*size_bytes* came at *now* (monotonic); returns whether that changes *limit*."""
        rate = self._rate.add(size_bytes, now)
        if rate is None:
            return False
        before = self.limit
        self.measured(rate, self._rate.size_bytes)
        in_burst = self._rate.in_burst and self.limit <= before
        self._rate = _Rate(in_burst=in_burst)
        return self.limit != before

    def measured(self, rate: float, size_bytes: int) -> None:
        """*size_bytes* arrived at *rate* bytes a second, with *limit* requests at once."""
        if self._settled_bytes > 0:
            self._settled_bytes = max(0, self._settled_bytes - size_bytes)
            self._best_rate = rate
            return
        rise = RISE_THAT_PAYS * (self.limit - self._before) / self._before
        if rate < self._best_rate * (1 + rise):
            # One low rate may be noise; a second one in a row is believed.
            self._doubted = not self._doubted
            if not self._doubted:
                self.limit = self._before
                self._settled_bytes = _RELEARN_BYTES
            return
        self._doubted = False
        self._best_rate = rate
        self._before = self.limit
        step = max(2, self.limit // 2)
        # No small step at the end: its gain would be lost in the noise of a rate.
        self.limit = min(self._most, self.limit + step)
        if self._most - self.limit < step:
            self.limit = self._most
        if self.limit == self._before:
            self._settled_bytes = _RELEARN_BYTES

    def trouble(self) -> None:
        """The endpoint failed or asked for a pause: halve the limit, and learn anew."""
        self.limit = max(1, self.limit // 2)
        self._before = self.limit
        self._doubted = False
        self._best_rate = 0.0
        self._settled_bytes = 0
