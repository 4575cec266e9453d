"""Which ranges of one file are read at once.

Decides when two ranges are near enough for one read. Leaves to `filesystem` who reads.

Threads: none; the functions are pure.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from ..blocks import KIB, MIB, ByteRange

# Two ranges this close cost less as one request than as two: at 25 MiB/s a round trip of
# 60 ms is worth 1.5 MiB, and this much is fetched beside them in any case, since blocks
# are whole.
NEAR_BYTES = 128 * KIB
# A longer read is no quicker by one request; several have connections of their own.
MOST_MERGED_BYTES = 1 * MIB


@dataclass(slots=True)
class Merged:
    """One read of *span*, for the ranges *members*: each with its number."""

    span: ByteRange
    members: list[tuple[int, ByteRange]]


def merged(
    ranges: Iterable[tuple[int, ByteRange]], near_bytes: int = NEAR_BYTES
) -> list[Merged]:
    """Reads that have all bytes of *ranges*, in the order of the file.

    Ranges that overlap, or lie within *near_bytes*, share one up to `MOST_MERGED_BYTES`.
    """
    found: list[Merged] = []
    for number, span in sorted(ranges, key=lambda one: (one[1].start, one[1].stop)):
        if found and _fits(found[-1].span, span, near_bytes):
            last = found[-1]
            last.span = ByteRange(last.span.start, max(last.span.stop, span.stop))
            last.members.append((number, span))
        else:
            found.append(Merged(span, [(number, span)]))
    return found


def _fits(before: ByteRange, span: ByteRange, near_bytes: int) -> bool:
    if span.start - before.stop > near_bytes:
        return False
    return max(before.stop, span.stop) - before.start <= MOST_MERGED_BYTES


def span_of(start: int | None, stop: int | None, size_bytes: int) -> ByteRange:
    """The bytes [start, stop) of a file, both as in a slice; may be empty."""
    first, last, _ = slice(start, stop).indices(size_bytes)
    return ByteRange(first, max(first, last))
