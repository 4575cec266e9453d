"""All kinds: importing this fills the table."""

from collections.abc import Iterable
from fnmatch import fnmatch

from . import documents, framing, heads, interim, ranges, redirects, secured, timing
from .secured import HANDSHAKES
from .table import TABLE, Kind

__all__ = [
    "TABLE", "chosen_handshakes", "chosen_kinds", "documents", "framing", "heads",
    "interim", "is_slow", "ranges", "redirects", "secured", "timing",
]  # fmt: skip


# Kinds that hold a connection for seconds: with all of them as often as others, a mount
# mostly waits.
_SLOW = (
    "timing/*",
    "*drip*",
    "*flood*",
    "*-end",
    "*/stall*",
    "*-more",
    "framing/short-body",
)


def is_slow(kind: Kind) -> bool:
    """Whether an answer of this kind may last for seconds."""
    return any(fnmatch(kind.name, pattern) for pattern in _SLOW)


def chosen_kinds(
    patterns: Iterable[str], *, undetectable: bool = False
) -> tuple[Kind, ...]:
    """The kinds of answers whose names match one of *patterns*.

    Those that no client can detect are chosen alone, and only if asked for.
    """
    wanted = tuple(patterns)
    return tuple(
        kind
        for kind in TABLE.values()
        if kind.undetectable == undetectable
        and any(fnmatch(kind.name, pattern) for pattern in wanted)
    )


def chosen_handshakes(patterns: Iterable[str]) -> tuple[str, ...]:
    """The names of handshakes that match one of *patterns*."""
    wanted = tuple(patterns)
    return tuple(
        name for name in HANDSHAKES if any(fnmatch(name, pattern) for pattern in wanted)
    )
