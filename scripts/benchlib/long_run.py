"""Mixed work on one mount for an hour: does the mount stay as fast and as right?

Each cycle does every work once; a seed chooses their order and their clips. Before a
cycle the kernel's pages are dropped, so that the mount goes on fetching to the end.
"""

import json
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from .mounts import Contender, Mount, mounted
from .origin import PACED, Origin
from .scenarios import FILM, clips
from .system import ContenderError, drop_page_cache
from .works import (
    Metrics,
    Place,
    copy_by_rsync,
    cut_clips,
    first_frame,
    list_names,
    probe,
    read_at_random,
    read_whole,
    seek_to_middle,
)

WORK = "long"
CLIPS = (*clips(100), *clips(100, "3-last"))
SHOWN = (*FILM, *CLIPS)
SEED = 20_261_127
# The first and the last so many seconds are compared.
WINDOW_SECONDS = 600

MB = 1e6


@dataclass(frozen=True, slots=True)
class Task:
    """*work* on *count* clips, or on the film for 0, by *processes* at once."""

    work: Callable[[Place], Metrics]
    count: int
    processes: int = 1


TASKS = (
    Task(read_whole, 8, 8),
    Task(read_whole, 12, 4),
    Task(copy_by_rsync, 5),
    Task(cut_clips, 6),
    Task(first_frame, 1),
    Task(probe, 1),
    Task(list_names, 1),
    Task(seek_to_middle, 0),
    Task(read_at_random, 0),
)


@dataclass(frozen=True, slots=True)
class Cycle:
    """When a cycle ended, and the seconds of its works without the checks."""

    ended: float
    seconds: float


@dataclass(slots=True)
class Stay:
    """What one mount did in its time."""

    contender: str
    started: float
    cycles: list[Cycle] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    peak_rss_mb: float = 0

    @property
    def window_seconds(self) -> float:
        """Ten minutes, or half the time if there were less than twenty."""
        return min(WINDOW_SECONDS, (self.cycles[-1].ended - self.started) / 2)

    @property
    def first_per_hour(self) -> float:
        """Cycles in an hour of work, at the rate of the first window."""
        stop = self.started + self.window_seconds
        return _per_hour([one for one in self.cycles if one.ended <= stop])

    @property
    def last_per_hour(self) -> float:
        """The same at the rate of the last window."""
        start = self.cycles[-1].ended - self.window_seconds
        return _per_hour([one for one in self.cycles if one.ended > start])

    def summary(self) -> str:
        """One line for people."""
        counts = (
            f"{len(self.cycles)} cycles, {len(self.errors)} errors,"
            f" {len(self.wrong)} with wrong bytes, peak RSS {self.peak_rss_mb:.0f} MB"
        )
        if not self.cycles:
            return f"{self.contender}: {counts}"
        first, last = self.first_per_hour, self.last_per_hour
        return (
            f"{self.contender}: {counts}; cycles an hour of work: {first:.0f} in the"
            f" first {self.window_seconds:.0f} s, {last:.0f} in the last"
        )


def _per_hour(cycles: Sequence[Cycle]) -> float:
    return 3600 * len(cycles) / sum(one.seconds for one in cycles) if cycles else 0.0


def stay(
    origin: Origin, contender: Contender, minutes: int, command_seconds: float
) -> Stay:
    """Work on one mount of *contender* for *minutes*; a cycle begun is ended."""
    choose = random.Random(SEED)
    with (
        tempfile.TemporaryDirectory(
            dir=origin.run_directory, ignore_cleanup_errors=True
        ) as home,
        mounted(contender, origin, WORK, PACED, Path(home)) as mount,
    ):
        done = Stay(contender.label, time.monotonic())
        while time.monotonic() < done.started + 60 * minutes:
            drop_page_cache()
            seconds = 0.0
            for task in choose.sample(TASKS, len(TASKS)):
                videos = choose.sample(CLIPS, task.count) or FILM
                originals = [origin.original(WORK, one) for one in videos]
                seconds += _do(task, originals, mount, command_seconds, done)
            done.cycles.append(Cycle(time.monotonic(), seconds))
        done.peak_rss_mb = mount.peak_rss_bytes() / MB
    return done


def _do(
    task: Task,
    originals: Sequence[Path],
    mount: Mount,
    command_seconds: float,
    done: Stay,
) -> float:
    """Do the task and return its seconds; note in *done* whatever goes wrong."""
    files = [mount.mountpoint / one.name for one in originals]
    name = f"{task.work.__name__} of {', '.join(one.name for one in files)}"
    with tempfile.TemporaryDirectory(dir=mount.mountpoint.parent) as scratch:
        place = Place(files, originals, task.processes, Path(scratch), command_seconds)
        start = time.monotonic()
        try:
            got = task.work(place)
        except ContenderError as error:
            done.errors.append(f"{name}: {error}")
            return time.monotonic() - start
        if task.work(replace(place, files=originals))["crc"] != got["crc"]:
            done.wrong.append(name)
        return got["seconds"]


def write_stay(path: Path, done: Stay) -> None:
    """All of it, for a look at what happened when."""
    document = {
        "contender": done.contender,
        "cycles": [[one.ended - done.started, one.seconds] for one in done.cycles],
        "wrong": done.wrong,
        "errors": done.errors,
        "peak_rss_mb": done.peak_rss_mb,
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
