"""How many threads the system leaves to this process.

Containers and services often bound their processes (`docker run --pids-limit`,
systemd's `TasksMax`), and so do users (`ulimit -u`); each thread counts. A mount that
gets too few threads does not fail: it hangs, as soon as all of them wait for a server.
Decides how many threads are left, and so how many calls may wait for a server.
"""

import contextlib
import logging
import os
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import FuseUnavailable
from . import binding

log = logging.getLogger(__name__)

_CGROUPS = Path("/sys/fs/cgroup")
_PROCESSES = Path("/proc")
# With fewer, the calls of a few programs at once would fail. A guess.
_FEWEST_THREADS = 32


def threads_left(cgroups: Path = _CGROUPS, processes: Path = _PROCESSES) -> int | None:
    """How many more threads this process may start; None without a bound.

    *cgroups* and *processes* are where the kernel shows control groups and processes.
    """
    left = list(_left_in_groups(cgroups, processes))
    limit, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if limit != resource.RLIM_INFINITY and os.geteuid() != 0:  # root is not bound by it
        left.append(limit - _threads_of_user(processes))
    return max(0, min(left)) if left else None


@dataclass(frozen=True, slots=True)
class Shares:
    """How many threads libfuse may have, and how many calls may wait for a server.

    A call that waits keeps a thread of libfuse. Further calls get what is in memory, or
    an error. The requests to the server need threads as well.
    """

    most_threads: int
    most_waiting: int

    @property
    def most_opens_waiting(self) -> int:
        """How many of the calls that wait may be opens below `.wait/`.

        Those wait for half an hour: as many other calls have room beside them.
        """
        return self.most_waiting // 2


def shares_of(left: int | None) -> Shares:
    """The shares of *left* more threads; None is no bound.

    Raises FuseUnavailable if they are too few for a mount.
    """
    if left is None:
        return Shares(binding.MAX_THREADS, binding.MAX_WAITING)
    if left < _FEWEST_THREADS:
        raise FuseUnavailable(
            f"this user or container may start {left} more threads, and a mount needs "
            f"{_FEWEST_THREADS}; raise the bound: ulimit -u, docker run --pids-limit, "
            "TasksMax of a service"
        )
    most_waiting = min(left // 2, binding.MAX_WAITING)
    if most_waiting < binding.MAX_WAITING:
        log.warning(
            "%d more threads may be started here, so %d calls may wait for a server at "
            "once; ulimit -u, --pids-limit or TasksMax bounds them",
            left,
            most_waiting,
        )
    # Some more than may wait, so that the others answer; the rest asks the server.
    most_threads = min(left // 2 + left // 8, binding.MAX_THREADS)
    return Shares(most_threads, most_waiting)


def _left_in_groups(cgroups: Path, processes: Path) -> Iterator[int]:
    """The threads that each control group of this process leaves, and each above it."""
    with contextlib.suppress(OSError, ValueError):
        for line in (processes / "self" / "cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":  # version 2; beside version 1 it is "unified"
                roots = [cgroups, cgroups / "unified"]
            elif "pids" in controllers.split(","):
                roots = [cgroups / "pids"]
            else:
                continue
            for root in roots:
                group = root / path.lstrip("/")
                # A container may see its own group as the root, and its path as before.
                for above in (group, *group.parents):
                    yield from _left_in(above)
                    if above == root:
                        break


def _left_in(group: Path) -> Iterator[int]:
    """The threads that *group* leaves, if it has a bound."""
    with contextlib.suppress(OSError, ValueError):  # none here, or "max"
        most = int((group / "pids.max").read_text())
        yield most - int((group / "pids.current").read_text())


def _threads_of_user(processes: Path) -> int:
    """The threads of all processes of this user."""
    user, count = os.getuid(), 0
    for process in processes.iterdir():
        if not process.name.isdecimal():
            continue
        with contextlib.suppress(OSError):  # it has ended, or is another user's
            if process.stat().st_uid == user:
                count += sum(1 for _ in (process / "task").iterdir())
    return count
