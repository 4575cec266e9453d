"""Which answers to Range requests for one version are believed.

Decides whether an answer brings the bytes asked for of the opened version, is trouble
that another try may mend, or ends the transfer. One odd answer may be a fault; a second
that says the same is believed. Leaves to `download` when to ask again, and to `verdict`
and `refusals` what a single answer says.
"""

import time

from ..blocks import ByteRange
from ..content import Content
from ..errors import (
    ContentChanged,
    HingError,
    NotAVideo,
    RangesIgnored,
    ServerBroken,
    VideoNotServed,
    printable,
)
from ..http.answer import Answer
from ..http.patience import Patience
from ..version import Validator
from .judgement import refusals, verdict
from .judgement.sniffing import Sort, sort_of
from .routes import Routes
from .sender import MOST_ERROR_BYTES

# How often in a row all replicas that are asked may deny a video that is open. If one of
# three replicas, drawn at random, knows the video, one read in 500 fails then.
_MOST_DENIALS = 3


class RangeAnswers:
    """The answers for *content*, and the doubts since the last good one. For one thread."""

    def __init__(self, routes: Routes, content: Content, patience: Patience) -> None:
        self._routes = routes
        self._content = content
        self._patience = patience
        self._whole: Answer | None = None  # a whole file in place of the range
        self._url: str | None = None  # of the last answer; None: the API's own
        # A good answer empties these three. The validators are of answers that seemed to
        # be of another version.
        self._contradicting: list[Validator] = []
        self._denials = 0  # answers "not found" or "not ready"
        self._seen_once: set[type[HingError]] = set()  # meanings of odd answers

    def ask(self, asked: ByteRange) -> tuple[Answer, int]:
        """An open answer that begins where *asked* does, and how many bytes it brings.

        Raises TransportError or NotAVideo if another try may help, RangesIgnored
        (`take_whole` may then have the whole file), and the error that a refusal means.
        """
        if self._content.shifting:  # another transfer saw the validators shift
            raise RangesIgnored("it is read whole, from one answer")
        etag = self._content.validator.etag
        answer, body, self._url, status = self._routes.content.content_of(
            self._content,
            self._patience,
            span=asked,
            headers={"If-Range": etag} if etag else None,
        )
        if answer.status in (200, 206) and not body:
            size_bytes = len(self._bytes_in(answer, asked))
            self._end_doubts()
            answer.expect(size_bytes)
            return answer, size_bytes
        answer.close()
        if answer.status == 416:
            raise self._error_of_416(answer)
        raise self._error_of_refusal(
            self._routes.statuses.error_of(self._content.video_id, answer, body, status)
        )

    def begun(self, asked: ByteRange) -> tuple[Answer, int] | None:
        """As `ask`, of an answer that was begun before the size was known; else None.

        It is judged as any other. If it is not believed, or breaks off, the API is asked
        as if there were none.
        """
        if self._content.shifting:
            return None
        found = self._routes.first_bytes.take(
            self._content.video_id,
            asked,
            self._content.size_bytes,
            self._patience.head_deadline - time.monotonic(),
        )
        if found is None:
            return None
        answer, span = found.served.answer, found.span
        stop = min(span.stop, asked.stop)
        try:
            most = ByteRange(span.start, max(span.stop, asked.stop))
            verdict.judge_range(answer.status, answer.headers, most, self._content)
            answer.expect(len(span))
            answer.skip(asked.start - span.start)
        except HingError:
            answer.close()
            return None
        self._url = found.served.url
        self._end_doubts()
        return answer, stop - asked.start

    def distrust(self) -> None:
        """Forget the URL of the last answer after trouble; the API is asked next."""
        self._routes.urls.forget(self._content.video_id, self._url)

    def take_whole(self) -> Answer | None:
        """The open answer with the whole file that came instead, if one did."""
        whole, self._whole = self._whole, None
        return whole

    def close(self) -> None:
        """Drop the whole file that came, unless it was taken."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _end_doubts(self) -> None:
        """Record that a good answer came."""
        self._seen_once.clear()
        self._contradicting.clear()
        self._denials = 0
        self._routes.urls.remember(self._content.video_id, self._url)
        self._routes.endpoint.delivery.range_served()

    def _bytes_in(self, answer: Answer, asked: ByteRange) -> ByteRange:
        """The bytes of *asked* that *answer* brings; else raises, and closes or keeps it."""
        try:
            return verdict.judge_range(
                answer.status, answer.headers, asked, self._content
            )
        except RangesIgnored as error:
            raise self._error_of_whole(answer, error) from error
        except ContentChanged as error:
            raise self._error_of_change(answer, error) from error
        except HingError:
            answer.close()
            raise

    def _error_of_whole(self, answer: Answer, error: RangesIgnored) -> HingError:
        """The error for *answer*, which is the whole file; believed, it is kept open.

        If the server has sent or announced ranges, one 200 may be a fault; believing it
        would put the whole file into the spool for good.
        """
        if self._content.ranges and self._is_first(error):
            answer.close()
            return ServerBroken(f"seen once: {error}")
        if self._content.ranges:
            self._routes.endpoint.delivery.ranges_announced_falsely()
        else:
            self._routes.endpoint.delivery.ranges_ignored()
        self._whole = answer
        return error.again()

    def _error_of_change(self, answer: Answer, error: ContentChanged) -> HingError:
        """The error for *answer*, which seems to be of another version."""
        with answer:
            self._refuse_short_message(answer)
        self._contradicting.append(verdict.validator_of(answer.headers))
        if self._is_first(error):
            return ServerBroken(f"seen once: {error}")
        size_bytes = self._content.size_bytes
        if not verdict.tells_size(answer.status, answer.headers, size_bytes):
            return error.again()
        self._routes.settling.settle(self._content, self._contradicting)
        if self._content.shifting:
            return RangesIgnored("it is read whole, from one answer")
        return ServerBroken("it came under another validator, and equal bytes do")

    def _refuse_short_message(self, answer: Answer) -> None:
        """Raise NotAVideo if the body of *answer* is a message.

        Otherwise its length, which is not the video's, would mean a change.
        """
        length = answer.headers.get("Content-Length", "")
        if length.isdecimal() and int(length[:9]) <= MOST_ERROR_BYTES:
            body = answer.read_text(self._patience.deadline, MOST_ERROR_BYTES)
            refuse_message(self._content, body, ended=True)

    def _error_of_416(self, answer: Answer) -> HingError:
        """The error for *answer*, which says that the file ends before the range."""
        error = verdict.error_of_416(answer.headers, self._content)
        if isinstance(error, ContentChanged) and self._is_first(error):
            return ServerBroken(f"seen once: {error}")
        return error

    def _error_of_refusal(self, error: HingError) -> HingError:
        """*error*, or trouble to be tried again if it denies what was served before."""
        trouble = refusals.of_opened(error)
        self._denials += trouble is not error
        if self._denials < _MOST_DENIALS or trouble is error:
            return trouble
        return VideoNotServed(str(trouble))

    def _is_first(self, error: HingError) -> bool:
        """Whether this answer is the first to mean *error* since a good one came."""
        first = type(error) not in self._seen_once
        self._seen_once.add(type(error))
        return first


def refuse_message(content: Content, first: bytes, *, ended: bool) -> None:
    """Raise NotAVideo if a body that begins with *first* is a message.

    *ended*: no more of the body is judged.
    """
    odd = (content.odd_type or content.odd_coding) is not None
    if sort_of(first, needs_proof=odd, ended=ended) is Sort.MESSAGE:
        said = printable(first[:200].decode("utf-8", "replace"))
        raise NotAVideo(f"no video, but: {said}")
