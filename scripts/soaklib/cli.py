"""Reads for minutes through faults and restarts, and checks every byte.

Eight processes read at random through a real mount, on both bindings in turn, while
the fake endpoint of the tests spoils a fifth of its answers, is restarted, and plays
servers with ranges and without, behind redirects, replicas, edges, firewalls and
limits of requests. With --disk the mount has a disk cache that is far too small, and now
and then a file of it is deleted or cut. With --away the server is away for half of the
time, and some videos that it no longer has are kept: reads of those may not fail.

Ends with a line of figures per binding; the status is 1 if a byte was wrong, a call
outlasted the deadlines of its requests, a kept video was refused, memory grew, the disk
cache took more than it may, or the mount did not come back to the threads, sockets and
files of its idle state.

Needs what the tests need: run it with the Python that runs them, for example
`.venv/bin/python scripts/soak --minutes 10`.
"""

import argparse
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import BINDINGS, Mounted

from .disk import SoakedDisk
from .kept import kept_before
from .limits import DISK_MB, MOUNT_OPTIONS
from .reader import Reader
from .soak import Soak


def main(argv: Sequence[str]) -> int:
    """Run what the arguments say; 1 if anything was wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="in all (default: 10)"
    )
    parser.add_argument("--seconds", type=float, help="the same in seconds")
    parser.add_argument(
        "--fuse",
        default=",".join(BINDINGS),
        help=f"which bindings, in turn (default: {','.join(BINDINGS)})",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of all chance (default: 1)"
    )
    parser.add_argument("--disk", action="store_true", help="with a disk cache")
    parser.add_argument(
        "--away",
        action="store_true",
        help="without the server for half of the time, with kept videos",
    )
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.reader:
        Reader(arguments.reader, str(arguments.seed)).run()
        return 0
    bindings = arguments.fuse.split(",")
    seconds = arguments.seconds or 60 * arguments.minutes
    disk_options = ("--disk-cache-size", f"{DISK_MB if arguments.disk else 0}MB")
    failed = False
    for binding in bindings:
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            tempfile.TemporaryDirectory() as keep_folder,
            FakeEndpoint() as endpoint,
        ):
            kept = kept_before(endpoint, Path(keep_folder)) if arguments.away else []
            folders = ("--cache-dir", folder, "--keep-dir", keep_folder)
            options = (*MOUNT_OPTIONS, *folders, *disk_options)
            with Mounted(endpoint, binding, *options) as mounted:
                disk = SoakedDisk(
                    Path(folder),
                    random.Random(arguments.seed),
                    folders=arguments.disk + arguments.away,
                )
                share = seconds / len(bindings)
                soak = Soak(mounted, disk, share, arguments.seed, kept)
                outcome = soak.run()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
        print(outcome.line(), flush=True)
        failed = failed or bool(outcome.complaints())
    return int(failed)
