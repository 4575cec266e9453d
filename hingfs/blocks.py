"""Pure arithmetic of byte ranges and blocks.

Ranges are half-open, [start, stop). The inclusive form of HTTP exists in
`ByteRange.to_header` and in the parser of Content-Range (`verdict`), nowhere else.
A *block* is an aligned piece of a file: block i of a file of n bytes with blocks of
b bytes is [i*b, min((i+1)*b, n)).
"""

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
# A file that claims more is no video: ten hours of 8K at 200 Mbit/s are 0.9 TB.
LARGEST_VIDEO_BYTES = 1 << 40


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes [start, stop) of a file; empty when start == stop."""

    start: int
    stop: int

    def __post_init__(self) -> None:
        if not 0 <= self.start <= self.stop:
            raise ValueError(f"not a byte range: [{self.start}, {self.stop})")

    def __len__(self) -> int:
        return self.stop - self.start

    def clip(self, size_bytes: int) -> "ByteRange":
        """The part of this range that lies inside a file of *size_bytes*."""
        start = min(self.start, size_bytes)
        return ByteRange(start, max(start, min(self.stop, size_bytes)))

    def to_header(self) -> str:
        """The value of a Range header asking for these bytes (RFC 9110 §14.2).

        Raises ValueError for an empty range, which HTTP cannot express.
        """
        if not len(self):
            raise ValueError("an empty range has no Range header")
        return f"bytes={self.start}-{self.stop - 1}"


# Invariant: a block never changes once it is whole. The fetcher makes all of them
# bytearrays of one size: bytes would be a little larger, and not fit into the hole in
# memory that a bytearray left.
Block = bytes | bytearray


def blocks_of(span: ByteRange, block_bytes: int) -> range:
    """Indices of the blocks that hold at least one byte of *span*."""
    if not len(span):
        return range(0)
    return range(span.start // block_bytes, (span.stop - 1) // block_bytes + 1)


def block_count(size_bytes: int, block_bytes: int) -> int:
    """How many blocks a file of *size_bytes* has."""
    return -(-size_bytes // block_bytes)


def bounds_of(index: int, block_bytes: int, size_bytes: int) -> ByteRange:
    """Bytes [start, stop) of block *index* in a file of *size_bytes*.

    The last block is short; an index past the end gives an empty range.
    """
    start = index * block_bytes
    return ByteRange(start, start + block_bytes).clip(size_bytes)


def copy_shared(
    target: memoryview, offset: int, block: Block, block_start: int
) -> None:
    """Copy the bytes that *block* and *target* share.

    *block* begins at *block_start* of the file, *target* at *offset*.
    """
    start = max(offset, block_start)
    stop = min(offset + len(target), block_start + len(block))
    target[start - offset : stop - offset] = memoryview(block)[
        start - block_start : stop - block_start
    ]


def views_of(
    buffers: Sequence[bytearray] | Sequence[memoryview], start: int, stop: int
) -> list[memoryview]:
    """The bytes [start, stop) of *buffers* laid end to end; none of them copied."""
    views = []
    for buffer in buffers:
        size = len(buffer)
        first, last = max(start, 0), min(stop, size)
        if first < last:
            views.append(memoryview(buffer)[first:last])
        start, stop = start - size, stop - size
    return views


def runs_of(indices: Iterable[int]) -> list[range]:
    """The ascending *indices* as maximal runs of neighbours."""
    runs: list[range] = []
    for index in indices:
        if runs and runs[-1].stop == index:
            runs[-1] = range(runs[-1].start, index + 1)
        else:
            runs.append(range(index, index + 1))
    return runs


class Runs:
    """Block indices, kept as at most *most* ascending runs.

    Their memory does not grow with the file. Not thread-safe: its owner locks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.is_complete = True  # False for good once a run was left out

    def add(self, run: range) -> None:
        """Add *run*; leave it out if it touches no other run and there are *most*."""
        first = bisect.bisect_left(self._stops, run.start)
        last = bisect.bisect_right(self._starts, run.stop)
        if first == last and len(self._starts) >= self._most:
            self.is_complete = False
            return
        start = min([run.start, *self._starts[first:last]])
        stop = max([run.stop, *self._stops[first:last]])
        self._starts[first:last] = [start]
        self._stops[first:last] = [stop]

    def __iter__(self) -> Iterator[int]:
        """The indices, ascending."""
        for start, stop in zip(self._starts, self._stops, strict=True):
            yield from range(start, stop)

    def covers(self, run: range) -> bool:
        """Whether all of *run*, which is not empty, was added."""
        at = bisect.bisect_right(self._starts, run.start) - 1
        return at >= 0 and run.stop <= self._stops[at]
