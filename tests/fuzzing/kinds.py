"""All kinds: importing this fills the table."""

from collections.abc import Iterable, Sequence
from fnmatch import fnmatch

from tests.fuzzing import (
    documents,
    framing,
    heads,
    interim,
    ranges,
    redirects,
    secured,
    timing,
)
from tests.fuzzing.secured import HANDSHAKES
from tests.fuzzing.table import TABLE, Kind

__all__ = [
    "TABLE", "chosen_handshakes", "chosen_kinds", "documents", "framing", "heads",
    "interim", "is_slow", "ranges", "redirects", "secured", "timing",
]  # fmt: skip


# Kinds that hold a connection for seconds: with all of them as often as others, a mount
# mostly waits.
_SLOW = (
    *("timing/*", "*drip*", "*flood*", "*-end", "*/stall*", "*-more"),
    "framing/short-body",
)


def is_slow(kind: Kind) -> bool:
    """Whether an answer of this kind may last for seconds."""
    return any(fnmatch(kind.name, pattern) for pattern in _SLOW)


def _named(name: str, patterns: Sequence[str]) -> bool:
    """Whether *name* matches one of *patterns*, and none of those after a "!"."""
    wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
    unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    return any(fnmatch(name, pattern) for pattern in wanted or ["*"]) and not any(
        fnmatch(name, pattern) for pattern in unwanted
    )


def chosen_kinds(
    patterns: Iterable[str], *, undetectable: bool = False
) -> tuple[Kind, ...]:
    """The kinds of answers whose names match *patterns*.

    Those that no client can detect are chosen alone, and only if asked for.
    """
    wanted = tuple(patterns)
    return tuple(
        kind
        for kind in TABLE.values()
        if kind.undetectable == undetectable and _named(kind.name, wanted)
    )


def chosen_handshakes(patterns: Iterable[str]) -> tuple[str, ...]:
    """The names of handshakes that match *patterns*."""
    wanted = tuple(patterns)
    return tuple(name for name in HANDSHAKES if _named(name, wanted))
