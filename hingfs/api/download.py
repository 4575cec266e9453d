"""The bytes of one range in order, whatever becomes of the connections.

A body that breaks off is resumed at the byte reached. Decides what a range's answers
are worth: whether they are the bytes asked for, of the version that was opened, and
come fast enough to be waited for.
"""

import time
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ..blocks import ByteRange, views_of
from ..errors import (
    BodyCut,
    ContentChanged,
    HingError,
    NotAVideo,
    RangesIgnored,
    ServerBroken,
    TransportError,
    VideoNotServed,
    printable,
)
from ..http.answer import Answer
from ..http.pace import Pace
from ..http.patience import Patience
from ..version import Content, Validator
from . import refusals, verdict
from .routes import Routes
from .sender import MOST_ERROR_BYTES
from .sniffing import JUDGED_BYTES, Sort, sort_of

# How often all replicas that are asked may know nothing of a video that was opened. Of
# replicas drawn at random, where one of three knows it, one read in 500 fails then.
_MOST_DENIALS = 3


class RangeDownload:
    """The bytes of one range in order, whatever becomes of the connections.

    A body that breaks off is resumed at the byte reached. Every answer is checked
    against what was asked and against the version that was opened.

    Thread safety: one thread reads and closes; `abort` may come from any other.
    """

    def __init__(
        self,
        routes: Routes,
        content: Content,
        span: ByteRange,
        *,
        patience: Patience,
        pace: Pace,
    ) -> None:
        self._routes = routes
        self._content = content
        self._patience = patience
        self._pace = pace
        self._position = span.start
        self._stop = span.stop
        self._answer: Answer | None = None
        self._answer_left = 0
        self._whole: Answer | None = None  # sent in place of the range
        self._place: str | None = None  # where the last answer came from
        self._contradicting: list[Validator] = []  # since a good answer came
        self._denials = 0  # in a row, of what was served before
        self._doubted: set[type[HingError]] = set()
        self._aborted = False

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes over *buffers*, laid end to end, from *start* on.

        Returns how many: at least *least_bytes*, and more where they are there and
        fit. Raises ContentChanged, NotAVideo, RangesIgnored (`take_whole` may then have
        the whole file), or what the refusal means; and TransportError once patience is
        over.
        """
        at_start = self._position == 0
        count = 0
        while count < least_bytes:
            judged = at_start and count < JUDGED_BYTES
            least = 1 if judged else least_bytes - count
            count += self._next_piece(buffers, start + count, least)
            if judged:
                most = start + min(count, MOST_ERROR_BYTES)
                first = b"".join(views_of(buffers, start, most))
                self._refuse_message(first, ended=count >= least_bytes)
        return count

    def abort(self) -> None:
        """Wake the reading thread; its `read_into` raises BodyCut."""
        self._aborted = True
        answer = self._answer
        if answer is not None:
            answer.abort()

    def close(self) -> None:
        """Give the connection back, or drop it if bytes are left in it."""
        for answer in (self._answer, self._whole):
            if answer is not None:
                answer.close()
        self._answer = self._whole = None

    def take_whole(self) -> Answer | None:
        """The open answer with the whole file that came instead, if one did.

        It is the caller's to close. None too where no answer may be used.
        """
        whole, self._whole = self._whole, None
        return whole

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _next_piece(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put at least one byte over *buffers* from *start* on; returns how many.

        Fewer than *least_bytes* only where the body ends, breaks off or comes slowly.
        """
        while True:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            try:
                answer = self._answer or self._connect()
                views = views_of(buffers, start, start + self._answer_left)
                count = answer.read_into(views, least_bytes, self._pace.judged_at)
            except (BodyCut, ServerBroken, NotAVideo) as error:
                trouble: TransportError | NotAVideo = error
            else:
                if count:
                    self._took(count)
                    return count
                trouble = BodyCut("the body ended before its range")
            self._failed(trouble)

    def _took(self, count: int) -> None:
        self._position += count
        self._answer_left -= count
        self._pace.took(count)
        if self._answer_left == 0:
            self.close()
            self._progressed()
        elif time.monotonic() >= self._pace.judged_at:
            if self._pace.good:
                self._progressed()
            else:
                self._failed(BodyCut("the body came too slowly"))

    def _progressed(self) -> None:
        self._patience.progressed()
        self._pace.restart()

    def _failed(self, trouble: TransportError | NotAVideo) -> None:
        """Wait before another request for what is missing; raise if there is none."""
        self._leave()
        if self._pace.good:  # this attempt does not count against the tries
            self._patience.progressed()
        self._pace.restart()
        if not self._aborted:
            self._patience.failed(trouble)

    def _refuse_message(self, first: bytes, *, ended: bool) -> None:
        """Raise NotAVideo if what begins with *first* is a message called a video.

        *ended*: no more of it is judged.
        """
        odd = (self._content.odd_type or self._content.odd_coding) is not None
        if sort_of(first, needs_proof=odd, ended=ended) is Sort.MESSAGE:
            self._leave()
            raise _message_error(first)

    def _leave(self) -> None:
        """Close after trouble; the next answer shall come by the API."""
        self.close()
        self._routes.places.forget(self._content.video_id, self._place)

    def _connect(self) -> Answer:
        if self._content.shifting:  # another transfer found it out
            raise RangesIgnored("it is read whole, from one answer")
        asked = ByteRange(self._position, self._stop)
        etag = self._content.validator.etag
        answer, body, self._place, status = self._routes.content.content_of(
            self._content,
            self._patience,
            span=asked,
            headers={"If-Range": etag} if etag else None,
        )
        if answer.status in (200, 206) and not body:
            span = self._judged(answer, asked)
            self._doubted.clear()
            self._contradicting.clear()
            self._denials = 0
            self._routes.places.remember(self._content.video_id, self._place)
            self._answer, self._answer_left = answer, len(span)
            answer.expect(len(span))
            self._pace.restart()
            return answer
        answer.close()
        if answer.status == 416:
            changed = ContentChanged("the size is another one now")
            said = verdict.changed_by_416(answer.headers, self._content)
            if said and not self._seen_once(changed):
                raise changed
            raise ServerBroken("416 for a range inside the file")
        error = self._routes.statuses.refused(
            self._content.video_id, answer, body, status
        )
        raise self._refused(error)

    def _refused(self, error: HingError) -> HingError:
        """*error*, or trouble to be tried again where it contradicts what was served."""
        trouble = refusals.of_opened(error)
        self._denials += trouble is not error
        if self._denials < _MOST_DENIALS or trouble is error:
            return trouble
        return VideoNotServed(str(trouble))

    def _judged(self, answer: Answer, asked: ByteRange) -> ByteRange:
        """The bytes of *asked* that *answer* brings; closed if there are none."""
        try:
            return verdict.judge_range(
                answer.status, answer.headers, asked, self._content
            )
        except RangesIgnored as error:
            # A server that has answered, or announced, ranges: one 200 may be a fault,
            # and what it leads to is for good, the whole file in the spool.
            if self._content.ranges and self._seen_once(error):
                answer.close()
                raise ServerBroken(f"seen once: {error}") from error
            if self._content.ranges:
                self._routes.endpoint.delivery.ranges_announced_falsely()
            else:
                self._routes.endpoint.delivery.ranges_ignored()
            self._whole = answer
            raise
        except ContentChanged as error:
            with answer:
                self._refuse_short_message(answer)
            self._contradicting.append(verdict.validator_of(answer.headers))
            if self._seen_once(error):
                raise ServerBroken(f"seen once: {error}") from error
            size_bytes = self._content.size_bytes
            if not verdict.tells_size(answer.status, answer.headers, size_bytes):
                raise
            raise self._settled() from error
        except HingError:
            answer.close()
            raise

    def _settled(self) -> HingError:
        """What the download meets next, of a video whose validators were contradicted."""
        self._routes.settling.settle(self._content, self._contradicting)
        if self._content.shifting:
            return RangesIgnored("it is read whole, from one answer")
        return ServerBroken("it came under another validator, and equal bytes do")

    def _refuse_short_message(self, answer: Answer) -> None:
        """Raise NotAVideo if all that *answer* brings is a message.

        Its length is another than the video's, which alone would mean a change.
        """
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:9]) <= MOST_ERROR_BYTES:
            body = answer.read_text(self._patience.deadline, MOST_ERROR_BYTES)
            self._refuse_message(body, ended=True)

    def _seen_once(self, error: HingError) -> bool:
        """Whether this answer is the first to say *error* since a good one came.

        One may be a fault; a second that says the same is believed.
        """
        once = type(error) not in self._doubted
        self._doubted.add(type(error))
        return once


def _message_error(body: bytes) -> NotAVideo:
    said = printable(body[:200].decode("utf-8", "replace"))
    return NotAVideo(f"no video, but: {said}")
