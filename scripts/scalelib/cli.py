"""The command line of the plan to scale."""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace

from .fleet import Fleet, expected, simulated

TB = 1e12
# Requests for one clip of 12.7 MB that is read whole: a HEAD and a status when its name is
# first met by a process, and as many ranges as its transfer was cut into. Measured, see
# the test of these constants.
REQUESTS_PER_NAME = 2
REQUESTS_PER_TRANSFER = 7
# The simulation plays this many clips, whatever their number; only shares count.
_PLAYED_CLIPS = 20_000


def main(arguments: Sequence[str]) -> int:
    """Print the plan; 0."""
    parser = argparse.ArgumentParser(prog="scripts/scale", description=__doc__)
    parser.add_argument("--clips", type=int, default=1_000_000)
    parser.add_argument("--size", type=float, default=12.7, help="of a clip, in MB")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--hosts", type=int, nargs="+", default=[1, 10, 1000])
    parser.add_argument(
        "--disk", type=float, default=0.5, help="disk cache of each host, in TB"
    )
    parser.add_argument(
        "--shared", type=float, nargs="+", default=[0, 4, 13], help="all hosts', in TB"
    )
    parser.add_argument("--hours", type=float, default=24, help="that the job takes")
    given = parser.parse_args(arguments)
    all_tb = given.clips * given.size * 1e6 / TB
    print(
        f"{given.clips:,} clips of {given.size:g} MB, {all_tb:.1f} TB, read "
        f"{given.epochs} times in {given.hours:g} hours; {given.disk:g} TB of disk a host"
    )
    print()
    for line in plan(
        given.clips,
        given.size * 1e6,
        given.epochs,
        given.hours * 3600,
        hosts=given.hosts,
        disk_tb=given.disk,
        shared_tb=given.shared,
    ):
        print(line)
    return 0


def plan(
    clips: int,
    clip_bytes: float,
    epochs: int,
    seconds: float,
    *,
    hosts: Sequence[int],
    disk_tb: float,
    shared_tb: Sequence[float],
) -> Iterator[str]:
    """The lines of a table: for each number of hosts, and each size of a shared cache."""
    all_tb = clips * clip_bytes / TB
    yield (
        "| hosts | shared cache | reads from own disk | from the shared cache | from the "
        "API | simulated | API | API requests/s | shared cache | each host |"
    )
    yield "| --- " * 10 + "|"
    for count in hosts:
        for shared in shared_tb:
            shares = [min(1.0, tb / all_tb) for tb in (disk_tb, shared)]
            fleet = Fleet(clips, count, epochs, *shares)
            traffic = expected(fleet)
            reads = clips * epochs
            gbit = 8 * clip_bytes / seconds / 1e9  # of a clip
            asked = reads * REQUESTS_PER_NAME + traffic.from_api * REQUESTS_PER_TRANSFER
            fetched = traffic.from_shared + traffic.from_api
            yield (
                f"| {count:,} | {shared:g} TB | {traffic.from_disk / reads:.1%} "
                f"| {traffic.from_shared / reads:.1%} | {traffic.from_api / reads:.1%} "
                f"| {_played(fleet):.1%} | {traffic.from_api * clip_bytes / TB:.1f} TB, "
                f"{traffic.from_api * gbit:.2f} Gbit/s | {asked / seconds:,.0f} "
                f"| {traffic.from_shared * gbit:.2f} Gbit/s "
                f"| {fetched * gbit / count:.3f} Gbit/s |"
            )


def _played(fleet: Fleet) -> float:
    """How many reads came to the API in a simulation of as large shares, 0.0 to 1.0."""
    small = replace(fleet, clips=_PLAYED_CLIPS)
    return simulated(small).from_api / (_PLAYED_CLIPS * fleet.epochs)
