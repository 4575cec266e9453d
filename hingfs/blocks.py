"""Pure arithmetic of byte ranges and blocks, and the identity of a video's bytes.

Ranges are half-open, [start, stop). The inclusive form of HTTP exists in
`ByteRange.to_header` and in the parser of Content-Range (`verdict`), nowhere else.
A *block* is an aligned piece of a file: block i of a file of n bytes with blocks of
b bytes is [i*b, min((i+1)*b, n)).
"""

import bisect
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

KIB = 1 << 10
MIB = 1 << 20
# What claims more is no video: ten hours of 8K at 200 Mbit/s are 0.9 TB.
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


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells two versions of the same URL apart, as the server sent it.

    *etag* is a strong entity tag (weak ones promise no equal bytes, RFC 9110
    §8.8.1, and are dropped), *last_modified* the header's text; None where absent.
    """

    etag: str | None = None
    last_modified: str | None = None

    def contradicts(self, other: "Validator") -> bool:
        """Whether *other* certainly belongs to different bytes.

        Entity tags decide where both sides have one; Last-Modified otherwise.
        Nothing to compare is no contradiction.
        """
        if self.etag and other.etag:
            return self.etag != other.etag
        if self.last_modified and other.last_modified:
            return self.last_modified != other.last_modified
        return False


@dataclass(eq=False, slots=True, weakref_slot=True)
class Content:
    """One version of a video's bytes; the identity under which blocks are cached.

    Two versions are two objects and compare unequal, so a block of an old version
    can never be found under a new one. *ranges* is True once the server has
    answered a Range request with 206, False once it has ignored one, None before;
    it only ever moves away from None, and every thread may read it. *odd_type* is the
    type, no video's, under which its bytes come: once they were seen to begin as a video
    does, that type is no reason to refuse them. *odd_coding* is the content coding that
    they name and do not have, as was seen in the same way; so ranges are of the file.
    *changed*
    turns True, for good, when the server was seen to hold other bytes.

    *shifting* turns True where its validators contradict one another: then it is what one
    whole answer brings, whose validator is kept, and no range of another. What was
    handed out by ranges before must be proved equal to that: see `hand_out`. Where its
    own validator comes again among the others, *recurring* does instead: it goes on by
    the ranges that come under it, and the others are asked for again.

    Thread safety: the transitions below, which `_lock` guards.
    """

    video_id: str
    size_bytes: int
    validator: Validator
    ranges: bool | None = None
    odd_type: str | None = None
    odd_coding: str | None = None
    changed: bool = False
    shifting: bool = False
    recurring: bool = False
    handed_out: bool = False
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def contradicted_by(self, seen: Validator) -> bool:
        """Whether *seen* certainly belongs to other bytes than these."""
        return not self.shifting and self.validator.contradicts(seen)

    def learn(self, seen: Validator) -> bool:
        """Whether *seen*, of an answer to GET, may be of these bytes.

        Then its entity tag is theirs, if they had none: HEAD may tell none, and one
        answer may have lost it.
        """
        with self._lock:
            if self.contradicted_by(seen):
                return False
            if self.validator.etag is None:
                self.validator = Validator(seen.etag, self.validator.last_modified)
        return True

    def is_explained(self) -> bool:
        """Whether it is known why answers come under other validators."""
        return self.shifting or self.recurring

    @property
    def unproved(self) -> bool:
        """Whether no validator tells an answer of these bytes from one of others."""
        untold = self.validator == Validator() and self.ranges is not False
        return self.shifting or untold

    def hand_out(self) -> bool:
        """Whether bytes that came by ranges may be handed out; they count as that."""
        if not self.handed_out or self.shifting:
            with self._lock:
                self.handed_out |= not self.shifting
                return not self.shifting
        return True

    def take_whole(self) -> bool:
        """From here on only one whole answer holds it; whether that is news."""
        with self._lock:
            news, self.shifting = not self.shifting, True
            self.ranges = False
        return news

    def keep_to_ranges(self) -> bool:
        """Go on by ranges, if some were handed out; whether it does."""
        with self._lock:
            self.recurring = self.handed_out and not self.shifting
        return self.recurring

    def taken_from(self, validator: Validator) -> bool:
        """The whole answer that holds it now has *validator*; False where it cannot."""
        with self._lock:
            if self.shifting:
                self.validator = validator
                return True
        return self.learn(validator)

    def replaced(self) -> None:
        """The server has settled on other bytes."""
        with self._lock:
            self.changed, self.shifting = True, False


BlockKey = tuple[Content, int]  # with the index
# Nobody changes a block once it is whole. The fetcher makes them all bytearrays, of one
# size: bytes would need a little more room, and not fit into the hole that one left.
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
    """Block indices, kept as ascending runs, of which there are *most* at most.

    So they take no memory in proportion to the file. Not thread-safe: its owner locks.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._starts: list[int] = []
        self._stops: list[int] = []
        self.is_complete = True  # False for good once a run was not taken

    def add(self, run: range) -> None:
        """Take *run*, unless it touches none of those that are there and they are many."""
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
        """Whether all of *run*, which is not empty, was taken."""
        at = bisect.bisect_right(self._starts, run.start) - 1
        return at >= 0 and run.stop <= self._stops[at]
