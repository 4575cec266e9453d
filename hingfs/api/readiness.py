"""Whether a video is whole, if its status word is unknown.

Such a word says neither yes nor no, and a file that is still being written has a length
as well. Decides by the content: it is whole if it had the same size and validator some
seconds ago, and its container ends where the file does. No thread waits for these
seconds: the first sight is remembered, and a later look-up compares. Leaves to `closing`
what the headers of a container say.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from ..blocks import KIB, MIB, ByteRange
from ..content import Content
from ..errors import BodyCut, ContentChanged, RangesIgnored
from ..remembered import Remembered, bytes_of_texts
from ..version import Validator
from .judgement.closing import closes

# How much one request asks for. An MP4 in fragments has some KiB of index before each
# second of media, so it takes one request for each.
_HEADER_BYTES = 4 * KIB
# An MP4 written at once takes two or three, one in fragments one for each. A guess.
_MOST_REQUESTS = 64
_PIECE_BYTES = 256 * KIB
_MOST_SIGHTS_BYTES = 1 * MIB
_SIGHT_BYTES = 200


class Download(Protocol):
    """The bytes of one range, in order."""

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes over *buffers*; RangesIgnored if the whole file came."""

    def take_whole(self) -> "Stream | None":
        """The whole file that came; the caller closes it."""

    def close(self) -> None:
        """Read no more."""


class Stream(Protocol):
    """A whole file as it arrives."""

    def read_some(
        self, most_bytes: int, *, decoded: bool = False, until: float = 0.0
    ) -> bytes:
        """At least one byte; b"" at the end."""

    def close(self) -> None:
        """Drop the rest of the file."""


class Doubt(NamedTuple):
    """Why a video is not known to be whole."""

    reason: str
    passing: bool  # a later look may end the doubt


@dataclass(slots=True)
class _Sight:
    size_bytes: int
    validator: Validator
    seen_at: float
    proven: bool = False


class Readiness:
    """First sights of videos with unknown status words. Thread safety: all methods."""

    def __init__(
        self, settle_seconds: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settle_seconds = settle_seconds
        self._clock = clock
        self._lock = threading.Lock()  # guards the table; not held while bytes come
        self._sights: Remembered[_Sight] = Remembered(
            _MOST_SIGHTS_BYTES,
            lambda sight: (
                _SIGHT_BYTES
                + bytes_of_texts(sight.validator.etag, sight.validator.last_modified)
            ),
        )

    def doubt(
        self,
        content: Content,
        open_range: Callable[[ByteRange], Download],
        deadline: float,
    ) -> Doubt | None:
        """Why *content*, seen just now, is not known to be whole; None if it is.

        Reads headers by *open_range* only if the content has not changed for long enough.
        If the server sends the whole file instead, reads it until *deadline* (monotonic).
        Raises as a download does.
        """
        if content.size_bytes < 0:
            return Doubt("its size is not told", passing=False)
        sight = self._sight_of(content)
        if sight.proven:
            return None
        left = sight.seen_at + self._settle_seconds - self._clock()
        if left > 0:
            return Doubt(f"it is looked at again in {left:.0f} s", passing=True)
        headers = _Headers(content.size_bytes, open_range, deadline)
        try:
            sight.proven = closes(headers.read, content.size_bytes)
        except (ContentChanged, BodyCut) as error:
            self._forget(content.video_id)
            return Doubt(str(error), passing=True)
        finally:
            headers.close()
        if sight.proven:
            return None
        return Doubt("its container does not end where the file does", passing=False)

    def _sight_of(self, content: Content) -> _Sight:
        """The first sight of *content* with its present size and validator."""
        size_bytes, validator = content.size_bytes, content.validator
        with self._lock:
            sight = self._sights.get(content.video_id)
            if sight is None or (sight.size_bytes, sight.validator) != (
                size_bytes,
                validator,
            ):
                sight = _Sight(size_bytes, validator, self._clock())
                self._sights.put(content.video_id, sight)
            return sight

    def _forget(self, video_id: str) -> None:
        with self._lock:
            self._sights.pop(video_id)


class _Headers:
    """Headers of one file, at growing offsets: by ranges, or from the whole file.

    Used by one thread.
    """

    def __init__(
        self,
        size_bytes: int,
        open_range: Callable[[ByteRange], Download],
        deadline: float,
    ) -> None:
        self._size_bytes = size_bytes
        self._open_range = open_range
        self._deadline = deadline
        self._start = 0  # the offset of _held in the file
        self._held = b""
        self._requests = 0
        self._stream: Stream | None = None  # the whole file, if it came for a range

    def read(self, offset: int, count: int) -> bytes:
        """As `closing.Read`, but b"" after `_MOST_REQUESTS`."""
        stop = min(offset + count, self._size_bytes)
        if offset >= stop:
            return b""
        if stop > self._start + len(self._held) or offset < self._start:
            if self._stream is not None:
                self._skip_to(self._stream, offset, stop)
            elif self._requests < _MOST_REQUESTS:
                self._requests += 1
                self._fetch(offset, stop)
            else:
                return b""
        return self._held[offset - self._start : stop - self._start]

    def close(self) -> None:
        """Close the whole file, if it came."""
        if self._stream is not None:
            self._stream.close()

    def _fetch(self, offset: int, stop: int) -> None:
        span = ByteRange(offset, offset + _HEADER_BYTES).clip(self._size_bytes)
        buffer = bytearray(len(span))
        with closing(self._open_range(span)) as download:
            try:
                download.read_into([buffer], 0, len(span))
            except RangesIgnored:
                self._stream = download.take_whole()
                if self._stream is None:
                    raise
                self._start, self._held = 0, b""
            else:
                self._start, self._held = offset, bytes(buffer)
        if self._stream is not None:
            self._skip_to(self._stream, offset, stop)

    def _skip_to(self, stream: Stream, offset: int, stop: int) -> None:
        while self._start + len(self._held) < stop:
            piece = stream.read_some(_PIECE_BYTES, until=self._deadline)
            if not piece:
                raise BodyCut("the file ended before its length")
            passed = self._start + len(self._held)
            kept = self._held[max(0, offset - self._start) :]
            self._start, self._held = passed - len(kept), kept + piece
