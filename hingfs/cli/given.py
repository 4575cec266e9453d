"""The options that a command offers, and what is said of misspelt variables.

Leaves to `hingfs.given` which values hold. The token never comes from an argument, since
`ps` shows those to everybody.
"""

import argparse
from collections.abc import Collection

from ..declaring import settings_of
from ..errors import UsageError
from ..given import Given
from ..settings import GROUPS, CacheConfig, StartConfig
from .console import complain


def offer(parser: argparse.ArgumentParser, groups: Collection[str] = GROUPS) -> None:
    """Give *parser* an option for each setting of *groups*."""
    for title in groups:
        group = parser.add_argument_group(title)
        for one in GROUPS[title]:
            if one.is_switch:
                group.add_argument(one.flag, action="store_true", help=one.meaning)
                continue
            default = f" (default: {one.default})" if one.default else ""
            group.add_argument(
                one.flag, metavar=one.unit.metavar, help=one.meaning + default
            )


def offer_cache_directory(parser: argparse.ArgumentParser) -> None:
    """Give *parser*, of a command or of one below it, the option --cache-dir."""
    declared = settings_of(CacheConfig)["directory"]
    parser.add_argument(
        declared.flag,
        metavar=declared.unit.metavar,
        default=argparse.SUPPRESS,  # a command below leaves what its upper one was given
        help="that of the mount (default: $XDG_CACHE_HOME/hingfs, else ~/.cache/hingfs)",
    )


def tell_misspelt(given: Given) -> None:
    """Warn of variables that are no settings; with --strict, raise UsageError."""
    unknown = given.misspelt()
    if unknown and given.part(StartConfig).strict:
        raise UsageError("; ".join(unknown))
    for sentence in unknown:
        complain(f"warning: {sentence}")
