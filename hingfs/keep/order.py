"""In which order videos are kept, so that as many as possible come before they expire.

Decides it by the rule of Moore and Hodgson (Moore, Management Science 15, 1968): the
videos are taken in order of their deadlines; where one would come too late, the longest
of those taken so far stands back. No order has more videos in time, at that rate. Those
that stand back come after all others, since a link may live on past its expiry. Leaves
to `rate` how fast bytes come, and to `keeper` what is done.

Pure: no I/O, no threads, no clock.
"""

import heapq
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Job:
    """A video that is to be kept. Times in seconds, of one clock."""

    key: Hashable  # which video
    left_bytes: int  # that are not on disk
    deadline: float  # when its link expires


@dataclass(frozen=True, slots=True)
class Order:
    """The jobs, first to do first."""

    in_time: tuple[Job, ...]  # those that end before their deadlines, in order of these
    late: tuple[Job, ...]  # those that stand back, in order of their deadlines

    @property
    def jobs(self) -> tuple[Job, ...]:
        """All jobs."""
        return self.in_time + self.late

    def least_rate(self, now: float) -> float:
        """The bytes a second with which the jobs `in_time` just make it, from *now* on."""
        least, left_bytes = 0.0, 0
        for job in self.in_time:
            left_bytes += job.left_bytes
            if left_bytes:
                least = max(least, left_bytes / (job.deadline - now))
        return least


def order_of(jobs: Iterable[Job], now: float, bytes_per_second: float) -> Order:
    """The order of *jobs* in which most are in time at *bytes_per_second*, from *now* on.

    An infinite rate is one that is not known. Jobs of one deadline stay in the order
    given; a job whose deadline has passed is late.
    """
    by_deadline = sorted(jobs, key=lambda job: job.deadline)
    # (bytes, negated; place) of the jobs in time, the longest first. Of equals the later
    # one stands back: the other may be under way.
    longest: list[tuple[int, int]] = []
    total_bytes = 0
    for place, job in enumerate(by_deadline):
        heapq.heappush(longest, (-job.left_bytes, -place))
        total_bytes += job.left_bytes
        if now + total_bytes / bytes_per_second >= job.deadline:
            total_bytes += heapq.heappop(longest)[0]
    in_time = {-place for _, place in longest}
    return Order(
        tuple(job for place, job in enumerate(by_deadline) if place in in_time),
        tuple(job for place, job in enumerate(by_deadline) if place not in in_time),
    )
