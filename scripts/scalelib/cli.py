"""The command line of the plan to scale."""

import argparse
from collections.abc import Sequence

from .fleet import Fleet, Traffic, expected, simulated

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
        "--disk", type=float, default=0.1, help="disk cache of each host, in TB"
    )
    parser.add_argument(
        "--shared", type=float, nargs="+", default=[0, 4, 13], help="all hosts', in TB"
    )
    parser.add_argument("--hours", type=float, default=24, help="that the job takes")
    parser.add_argument("--no-simulation", action="store_true")
    given = parser.parse_args(arguments)
    all_tb = given.clips * given.size * 1e6 / TB
    print(
        f"{given.clips:,} clips of {given.size:g} MB, {all_tb:.1f} TB, read "
        f"{given.epochs} times in {given.hours:g} hours; {given.disk:g} TB of disk a host"
    )
    print(
        "hosts  shared TB | from disk  shared     API |   API TB  requests/s  "
        "Gbit/s | shared Gbit/s  host Gbit/s | simulated API"
    )
    seconds = given.hours * 3600
    for hosts in given.hosts:
        for shared in given.shared:
            shares = [min(1.0, tb / all_tb) for tb in (given.disk, shared)]
            fleet = Fleet(given.clips, hosts, given.epochs, *shares)
            row = _row(fleet, expected(fleet), given.size * 1e6, seconds)
            played = "-" if given.no_simulation else _played(fleet)
            print(f"{hosts:5,}  {shared:9g} | {row} | {played:>13}")
    return 0


def _row(fleet: Fleet, traffic: Traffic, clip_bytes: float, seconds: float) -> str:
    reads = fleet.clips * fleet.epochs
    gbit = 8 * clip_bytes / seconds / 1e9  # a clip once
    requests = reads * REQUESTS_PER_NAME + traffic.from_api * REQUESTS_PER_TRANSFER
    host = (traffic.from_shared + traffic.from_api) / fleet.hosts
    return (
        f"{traffic.from_disk / reads:9.1%}  {traffic.from_shared / reads:6.1%}  "
        f"{traffic.from_api / reads:6.1%} | {traffic.from_api * clip_bytes / TB:8.1f}  "
        f"{requests / seconds:10.1f}  {traffic.from_api * gbit:6.2f} | "
        f"{traffic.from_shared * gbit:13.2f}  {host * gbit:11.3f}"
    )


def _played(fleet: Fleet) -> str:
    """How many reads came to the API in a simulation of as large shares."""
    small = Fleet(
        _PLAYED_CLIPS, fleet.hosts, fleet.epochs, fleet.host_share, fleet.shared_share
    )
    return f"{simulated(small).from_api / (_PLAYED_CLIPS * fleet.epochs):.1%}"
