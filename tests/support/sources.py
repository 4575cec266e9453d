"""A source of ranges without HTTP: ramps that arrive as far as a test lets them."""

import threading
from collections.abc import Callable, Sequence
from itertools import pairwise

from hingfs.blocks import ByteRange, views_of
from hingfs.content import Content
from hingfs.errors import BodyCut
from hingfs.http.answer import Answer
from tests.support.personalities import ramp

ENDPOINT = "https://api.test"  # of contents that no server shows


class Body:
    """A range of a ramp; its bytes arrive as far as the source allows."""

    def __init__(self, source: "Source", content: Content, span: ByteRange) -> None:
        self.source = source
        self.content = content
        self.span = span
        self.position = span.start
        self.aborted = False
        self.closed = False

    def read_into(self, buffers: Sequence[bytearray], at: int, least_bytes: int) -> int:
        start, stop = self.position, self.position + least_bytes
        most = start + sum(map(len, buffers)) - at
        assert most <= self.span.stop, "read beyond the range"
        with self.source.changed:
            if start == self.span.start:
                self.source.requests.append(self.span)
                self.source.videos.append(self.content.video_id)
                self.source.changed.notify_all()
            self.source.changed.wait_for(
                lambda: self.aborted or stop <= self.source.until
            )
            if self.aborted:
                raise BodyCut("aborted")
            stop = int(max(stop, min(most, self.source.until)))
            error = self.source.fault(ByteRange(start, stop))
            if error is not None:
                raise error
            self.source.served.append(ByteRange(start, stop))
        for view in views_of(buffers, at, at + stop - start):
            view[:] = ramp(
                self.content.video_id, self.position, self.position + len(view)
            )
            self.position += len(view)
        return stop - start

    def take_whole(self) -> Answer | None:
        return self.source.whole

    def abort(self) -> None:
        with self.source.changed:
            self.aborted = True
            self.source.changed.notify_all()

    def close(self) -> None:
        with self.source.changed:
            self.closed = True
            self.source.open_bodies -= 1
            self.source.changed.notify_all()


class Source:
    """Ramps. Bytes at and after offset *until* have not arrived yet.

    *fault* may name an error for a piece that is read. Every field is guarded by
    `changed`.
    """

    def __init__(self) -> None:
        self.changed = threading.Condition(threading.RLock())
        self.counts_requests = False
        self.at_once = 1000
        self.until = float("inf")
        self.requests: list[ByteRange] = []
        self.videos: list[str] = []  # which each of the requests was for
        self.served: list[ByteRange] = []
        self.open_bodies = 0
        self.most_open = 0
        self.whole: Answer | None = None  # what came in place of a range
        self.fault: Callable[[ByteRange], BaseException | None] = lambda _span: None

    def open_range(self, content: Content, span: ByteRange) -> Body:
        with self.changed:
            self.open_bodies += 1
            self.most_open = max(self.most_open, self.open_bodies)
        return Body(self, content, span)

    def let(self, until: float) -> None:
        with self.changed:
            self.until = until
            self.changed.notify_all()

    def wait_until(self, predicate: Callable[[], bool]) -> None:
        with self.changed:
            assert self.changed.wait_for(predicate, 10), self.requests

    def bytes_served_twice(self) -> int:
        spans = sorted((span.start, span.stop) for span in self.served)
        return sum(max(0, a[1] - b[0]) for a, b in pairwise(spans))
