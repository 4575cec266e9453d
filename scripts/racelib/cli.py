"""The command line of the race."""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .race import EARLY_SECONDS, Race, run

MB = 1_000_000


def main(arguments: Sequence[str]) -> int:
    """Run a race and print it; 0 if no clip was lost that could have been kept."""
    parser = argparse.ArgumentParser(prog="scripts/race", description=__doc__)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--size", type=int, default=200, help="of a clip, in MB")
    parser.add_argument("--link", type=float, default=40, help="MB a second")
    parser.add_argument(
        "--film", type=float, default=2, help="MB a second, read beside"
    )
    parser.add_argument("--first", type=float, default=8, help="expires, in seconds")
    parser.add_argument("--step", type=float, default=4.3, help="seconds, to the next")
    parser.add_argument("--fuse", default="mfusepy", help="the binding")
    given = parser.parse_args(arguments)
    race = Race(
        [given.size * MB] * given.clips,
        given.link * MB,
        given.first,
        given.step,
        given.film * MB,
    )
    with tempfile.TemporaryDirectory(prefix="hingfs-race-") as work:
        result = run(race, Path(work), given.fuse)
    for job in race.jobs():
        name = str(job.key)
        at = result.kept_at.get(name)
        when = "not kept" if at is None else f"kept after {at:6.2f} s"
        print(f"{name}: expires after {job.deadline:6.2f} s, {when}")
    kept = len(result.kept_at)
    print(
        f"{kept} of {len(race.sizes)} clips kept, {len(result.in_time)} of them seen to "
        f"be before they expired; the best order keeps {result.best()} at what the film "
        f"leaves of the link, {result.best(0.9, EARLY_SECONDS)} at nine tenths of it and "
        f"{EARLY_SECONDS} s early; by expiry alone {result.plain()}"
    )
    print(
        f"{result.clip_bytes / MB:,.0f} MB of clips sent; the film had "
        f"{result.film_bytes / MB:,.1f} MB, its slowest read took "
        f"{result.film_slowest_seconds:.2f} s"
    )
    if result.wrong:
        print(f"kept with wrong bytes: {', '.join(result.wrong)}")
    return int(bool(result.wrong) or kept < result.best(0.9, EARLY_SECONDS))
