"""Ranges whose bytes come from the shared cache as far as they are there.

Decides in which order the pieces of a range are asked for: each from the shared cache, and
from the first that is not there on from the API, up to the next that is. So a range of
which all is there sends no request. Leaves to `cache.shared` what is believed, and what is
put there, and to the source behind it what an answer of the API means.

Threads: a body belongs to the worker that reads it; `abort` may come from any thread.
"""

from collections.abc import Sequence

from ..blocks import ByteRange, views_of
from ..cache.shared import SharedCache
from ..cache.values import VALUE_BYTES, may_be_shared, span_of
from ..content import Content
from ..errors import BodyCut
from ..http.answer import Answer
from ..version import VideoVersion
from .transfer import RangeBody, RangeSource


class SharedSource:
    """*source* behind the values of *shared*. Thread safety: all methods."""

    def __init__(self, source: RangeSource, shared: SharedCache) -> None:
        self._source = source
        self._shared = shared

    @property
    def counts_requests(self) -> bool:
        """See `RangeSource`."""
        return self._source.counts_requests

    @property
    def at_once(self) -> int:
        """See `RangeSource`."""
        return self._source.at_once

    def open_range(self, content: Content, span: ByteRange) -> RangeBody:
        """See `RangeSource`."""
        version = content.version
        if version is None or not may_be_shared(version):
            return self._source.open_range(content, span)
        return _Pieces(self._source, self._shared, content, version, span)


class _Pieces:
    """The bytes of *span*. See `RangeBody`."""

    def __init__(
        self,
        source: RangeSource,
        shared: SharedCache,
        content: Content,
        version: VideoVersion,
        span: ByteRange,
    ) -> None:
        self._source = source
        self._shared = shared
        self._content = content
        self._version = version
        self._position, self._stop = span.start, span.stop
        self._value = memoryview(b"")  # the next bytes, from the shared cache
        self._body: RangeBody | None = None  # or else from here, up to *_body_stop*
        self._body_stop = 0
        self._aborted = False

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """See `RangeBody`."""
        count = 0
        while count < least_bytes:
            self._begin_piece()
            at = start + count
            if self._value:
                taken = self._take_value(buffers, at)
            else:
                assert self._body is not None, "a piece comes from one of the two"
                least = min(least_bytes - count, self._body_stop - self._position)
                taken = self._body.read_into(buffers, at, least)
            self._position += taken
            count += taken
        return count

    def take_whole(self) -> Answer | None:
        """See `RangeBody`."""
        return None if self._body is None else self._body.take_whole()

    def abort(self) -> None:
        """See `RangeBody`."""
        self._aborted = True
        body = self._body
        if body is not None:
            body.abort()

    def close(self) -> None:
        """See `RangeBody`."""
        body, self._body = self._body, None
        if body is not None:
            body.close()

    def _take_value(self, buffers: Sequence[bytearray], at: int) -> int:
        count = 0
        for view in views_of(buffers, at, at + len(self._value)):
            view[:] = self._value[count : count + len(view)]
            count += len(view)
        self._value = self._value[count:]
        return count

    def _begin_piece(self) -> None:
        """Have bytes at the position, from one of the two."""
        if self._aborted:
            raise BodyCut("the transfer was ended")
        if self._value or (self._body is not None and self._position < self._body_stop):
            return
        self.close()
        index = self._position // VALUE_BYTES
        data = None
        if self._content.version == self._version:
            data = self._shared.get(self._version, index)
        if data is not None:
            piece = span_of(self._version, index)
            within = ByteRange(self._position, min(piece.stop, self._stop))
            self._value = data[within.start - piece.start : within.stop - piece.start]
            return
        self._body_stop = self._next_there(index)
        span = ByteRange(self._position, self._body_stop)
        self._body = body = self._source.open_range(self._content, span)
        self._end_if_aborted(body)  # by a thread that saw no body

    def _end_if_aborted(self, body: RangeBody) -> None:
        if self._aborted:
            body.abort()

    def _next_there(self, index: int) -> int:
        """Where the first piece behind *index* begins that is there; or the end."""
        behind = range(index + 1, -(-self._stop // VALUE_BYTES))
        there = self._shared.present(self._version, behind)
        return there[0] * VALUE_BYTES if there else self._stop
