"""Answers wrongly in every way it can, and checks every byte that is read.

A server on raw sockets, before real mounts of both bindings in turn, spoils a quarter
of its answers: heads, framing, interim answers, ranges, JSON, redirects, timing, TLS
and a proxy in between. Readers check every byte. Ends with a line of figures and a line
of mutations per binding; the status is 1 if a byte was wrong, a call outlasted its
deadlines or did not return, the mount logged a traceback, used a connection again that
it could not trust, took too much memory, did not read everything right within 15 s of
the server's health, or did not leave at once when it was told to.

A violation is printed with its seed, the kind, the offset, the raw answers that may have
brought it, and the command that runs just that. `--list` names the kinds.

Needs what the tests need: run it with the Python that runs them, for example
`.venv/bin/python scripts/fuzz --minutes 10`.
"""

import argparse
import sys
from collections.abc import Sequence

from tests.fuzzing import campaign
from tests.fuzzing.kinds import TABLE, chosen_handshakes, chosen_kinds
from tests.fuzzing.secured import HANDSHAKES
from tests.support.mounting import BINDINGS


def parsed(argv: Sequence[str]) -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--minutes", type=float, default=10.0, help="per binding (default: 10)"
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of all chance (default: 1)"
    )
    parser.add_argument(
        "--binding",
        default=",".join(BINDINGS),
        help=f"which, in turn (default: {','.join(BINDINGS)})",
    )
    parser.add_argument(
        "--kinds",
        default="*",
        help="names or globs, by commas; those after a ! are left out (default: all)",
    )
    parser.add_argument(
        "--varieties",
        default=",".join(campaign.VARIETIES),
        help=f"of servers, in turn (default: {','.join(campaign.VARIETIES)})",
    )
    parser.add_argument(
        "--share",
        type=float,
        default=campaign.SHARE,
        help=f"of answers that are spoilt (default: {campaign.SHARE})",
    )
    parser.add_argument(
        "--undetectable",
        action="store_true",
        help="only what no client of HTTP/1.1 can know; its wrong bytes are no failure",
    )
    parser.add_argument(
        "--replay",
        action="store_true",
        help="one reader and one connection, so that all comes in the same order",
    )
    parser.add_argument("--list", action="store_true", help="name the kinds, and end")
    return parser.parse_args(argv)


def main(argv: Sequence[str]) -> int:
    """Run by the arguments; return 1 if anything was violated."""
    arguments = parsed(argv)
    if arguments.list:
        print(*TABLE, *HANDSHAKES, sep="\n")
        return 0
    patterns = arguments.kinds.split(",")
    kinds = chosen_kinds(patterns, undetectable=arguments.undetectable)
    handshakes = () if arguments.undetectable else chosen_handshakes(patterns)
    if not kinds and not handshakes:
        print(f"fuzz: no kind is called {arguments.kinds}; see --list", file=sys.stderr)
        return 2
    plan = campaign.Plan(
        arguments.seed,
        arguments.minutes * 60,
        kinds,
        handshakes,
        arguments.varieties.split(","),
        arguments.share,
        arguments.replay,
    )
    failed = False
    for binding in arguments.binding.split(","):
        outcome = campaign.run(plan, binding)
        print(*outcome.lines(), sep="\n", flush=True)
        failed = failed or outcome.failed
    return int(failed)
