"""What is measured: which rows, by whom, how often and until when."""

import fnmatch
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from .mounts import CONTENDERS, Contender
from .result import Row
from .rows import rows
from .scenarios import Scenario, scenarios
from .system import BenchError

QUICK_WORKS = (
    *("film-loopback", "film-capped", "rsync"),
    *("first-frame", "ffprobe", "seek", "random", "many"),
)
QUICK_CLIPS = 5
FULL_CLIPS = 20
# Of the two minutes; the rest ends what runs and draws.
QUICK_SECONDS = 110


@dataclass(frozen=True, slots=True)
class Plan:
    """*rounds* of *scenarios* by *contenders*; no new round fits past *deadline*."""

    rows: tuple[Row, ...]
    scenarios: tuple[Scenario, ...]
    contenders: tuple[Contender, ...]
    film: str
    rounds: int
    deadline: float
    command_seconds: float

    def order(self, round_index: int, scenario: Scenario) -> list[Contender]:
        """Who does *scenario*, in an order that each round turns by one."""
        able = [one for one in self.contenders if one.key in scenario.who]
        turn = round_index % len(able) if able else 0
        return able[turn:] + able[:turn]


def make_plan(wanted_rows: str, only: str, *, quick: bool, repeat: int) -> Plan:
    """The plan for comma-separated globs of rows and contenders."""
    clip_count = QUICK_CLIPS if quick else FULL_CLIPS
    table = [
        row for row in rows(clip_count) if not quick or row.scenario in QUICK_WORKS
    ]
    row_names = [(row.key, row.scenario) for row in table]
    chosen_rows = _matching("--rows", wanted_rows, row_names)
    table = [table[index] for index in chosen_rows]
    names = [(one.key, one.family) for one in CONTENDERS]
    used = {row.scenario for row in table}
    return Plan(
        rows=tuple(table),
        scenarios=tuple(work for work in scenarios(clip_count) if work.key in used),
        contenders=tuple(CONTENDERS[one] for one in _matching("--only", only, names)),
        film="film-100" if quick else "film",
        rounds=sys.maxsize if quick else repeat,
        # The whole film over one capped connection takes 30 s, the slice 4 s.
        command_seconds=20 if quick else 240,
        deadline=time.monotonic() + QUICK_SECONDS if quick else float("inf"),
    )


def _matching(option: str, wanted: str, names: Sequence[tuple[str, str]]) -> list[int]:
    """Indices of the *names* that fit a glob of *wanted*, in order."""
    chosen: set[int] = set()
    for glob in wanted.split(","):
        found = {
            index
            for index, pair in enumerate(names)
            if any(fnmatch.fnmatchcase(name, glob.strip()) for name in pair)
        }
        if not found:
            known = ", ".join(dict.fromkeys(name for pair in names for name in pair))
            message = f"{option} {glob}: no such name; known are {known}"
            raise BenchError(message)
        chosen |= found
    return sorted(chosen)
