"""How many transfers of one endpoint may run at once.

Decides it from four bounds: --connections, how many requests the server takes, how many
of them pay, and the connections that are lent, which no transfer uses. Leaves to
`concurrency` how many pay, to the source how many are taken, and to `schedule` which
transfers run.

Not thread-safe, except `connections`: its owner locks. No I/O, no threads.
"""

import time

from ..facts.counts import Count
from .concurrency import FIRST_LIMIT, Concurrency
from .transfer import RangeSource


class Capacity:
    """The connections of one endpoint, *most* of them.

    *paying* is how many requests at once pay, as the last mount learnt and the next one
    recalls.
    """

    def __init__(self, source: RangeSource, most: int, paying: Count) -> None:
        self._source = source
        self._most = most
        self._paying = paying
        self._concurrency = Concurrency(most, paying.recalled or FIRST_LIMIT)
        self.lent = 0  # connections that no transfer may use

    @property
    def connections(self) -> int:
        """How many requests at once pay off; any thread may read it, as a hint."""
        if self._source.counts_requests:
            return 1
        return min(self._concurrency.limit, self._source.at_once)

    @property
    def at_once(self) -> int:
        """How many transfers may run beside what is lent.

        The source tells of refusals as they come. One transfer may always run: what is
        lent comes back once a transfer takes its answer.
        """
        return max(1, min(self._most, self._source.at_once) - self.lent)

    def room_ahead(self, running: int) -> int:
        """How many more transfers ahead may run beside *running* of them."""
        return max(0, self.connections - self.lent - running)

    def lend(self, count: int, busy: int) -> bool:
        """Whether twice *count* connections are idle, *busy* being in use.

        Then *count* are lent until `give_back`. The others are for the transfers that
        take the answers.
        """
        idle = self.connections - self.lent - busy >= 2 * count
        self.lent += count * idle
        return idle

    def give_back(self) -> None:
        """One connection that was lent is idle again."""
        self.lent -= 1

    def running(self, count: int) -> None:
        """*count* transfers run from now on."""
        self._concurrency.running(count, time.monotonic())

    def arrived(self, size_bytes: int) -> bool:
        """*size_bytes* have come; returns whether `connections` changed."""
        changed = self._concurrency.arrived(size_bytes, time.monotonic())
        if changed:
            self._paying.learn(self._concurrency.limit)
        return changed

    def trouble(self) -> None:
        """A transfer broke off."""
        self._concurrency.trouble()
