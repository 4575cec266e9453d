"""One line of the table: its goal, what each contender reached, and how they compare.

A target is a number, or a ratio to what a peer reached in the same run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from .mounts import CONTENDERS
from .works import Metrics

Peers = tuple[str, ...]

RCLONE = tuple(one.key for one in CONTENDERS if one.family == "rclone")


@dataclass(frozen=True, slots=True)
class Target:
    """At most (or, for a rate, at least) *factor* times the best of *peers*.

    Without peers *factor* is the limit itself.
    """

    factor: float
    peers: Peers = ()

    def limit(self, medians: Mapping[str, float], *, higher: bool) -> float | None:
        """The number to meet; None while no peer was measured."""
        if not self.peers:
            return self.factor
        reached = [medians[peer] for peer in self.peers if peer in medians]
        if not reached:
            return None
        return self.factor * (max(reached) if higher else min(reached))

    def text(self, *, higher: bool) -> str:
        """As the table prints it."""
        sign = ">=" if higher else "<="
        if not self.peers:
            return f"{sign} {self.factor:g}"
        name = "best rclone" if len(self.peers) > 1 else self.peers[0]
        return f"{sign} {self.factor:g} x {name}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a metric of a scenario."""

    key: str
    title: str
    scenario: str
    metric: str
    unit: str
    target: Target
    higher: bool = False


@dataclass(slots=True)
class Result:
    """A row with the medians of all contenders."""

    row: Row
    values: dict[str, list[float]] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """Contender -> median."""
        return {key: median(values) for key, values in self.values.items() if values}

    @property
    def limit(self) -> float | None:
        """What the target comes to in this run."""
        return self.row.target.limit(self.medians, higher=self.row.higher)

    def holds(self, contender: str) -> bool | None:
        """Whether *contender* meets the target; None if it cannot be said."""
        limit, reached = self.limit, self.medians.get(contender)
        if limit is None or reached is None:
            return None
        return reached >= limit if self.row.higher else reached <= limit

    def lead(self, contender: str) -> float | None:
        """How many times better than the best rclone *contender* is."""
        best = Target(1.0, RCLONE).limit(self.medians, higher=self.row.higher)
        reached = self.medians.get(contender)
        if not best or not reached:
            return None
        return reached / best if self.row.higher else best / reached

    @property
    def best_peer(self) -> float | None:
        """What the best of the target's peers reached; of all rclones without one."""
        best = Target(1.0, self.row.target.peers or RCLONE)
        return best.limit(self.medians, higher=self.row.higher)

    def times_better(self, contender: str, than: float | None) -> float | None:
        """How many times better than *than*: 1 is equal, 0 is worse than nothing."""
        reached = self.medians.get(contender)
        if reached is None or than is None:
            return None
        if reached == than:
            return 1.0
        better, worse = (reached, than) if self.row.higher else (than, reached)
        return better / worse if worse else math.inf

    def add(self, contender: str, metrics: Metrics) -> None:
        """Take the row's metric from one measurement, where it has it."""
        if self.row.metric in metrics:
            self.values.setdefault(contender, []).append(metrics[self.row.metric])
