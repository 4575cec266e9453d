"""Answers to Range requests for one content, as far as they can be believed.

Decides what an answer is worth: whether it brings the bytes asked for, of the version
that was opened, or is trouble to be tried again, or is the end. One odd answer may be
a fault; a second that says the same is believed. Leaves to `download` when to ask
again, and to `verdict` and `refusals` what a single answer says.
"""

from ..blocks import ByteRange
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
from ..version import Content, Validator
from .judgement import refusals, verdict
from .judgement.sniffing import Sort, sort_of
from .routes import Routes
from .sender import MOST_ERROR_BYTES

# How often all replicas that are asked may know nothing of a video that was opened. Of
# replicas drawn at random, where one of three knows it, one read in 500 fails then.
_MOST_DENIALS = 3


class RangeAnswers:
    """What was asked for *content*, and what is doubted since a good answer came.

    Used by one thread.
    """

    def __init__(self, routes: Routes, content: Content, patience: Patience) -> None:
        self._routes = routes
        self._content = content
        self._patience = patience
        self._whole: Answer | None = None  # sent in place of the range
        self._place: str | None = None  # where the last answer came from
        # All three since a good answer came.
        self._contradicting: list[Validator] = []
        self._denials = 0  # in a row, of what was served before
        self._doubted: set[type[HingError]] = set()

    def ask(self, asked: ByteRange) -> tuple[Answer, int]:
        """An open answer that begins where *asked* does, and how many bytes it brings.

        Raises TransportError or NotAVideo where another try may help, RangesIgnored
        (`take_whole` may then have the whole file), or what the refusal means.
        """
        if self._content.shifting:  # another transfer found it out
            raise RangesIgnored("it is read whole, from one answer")
        etag = self._content.validator.etag
        answer, body, self._place, status = self._routes.content.content_of(
            self._content,
            self._patience,
            span=asked,
            headers={"If-Range": etag} if etag else None,
        )
        if answer.status in (200, 206) and not body:
            size_bytes = len(self._judged(answer, asked))
            self._believe()
            answer.expect(size_bytes)
            return answer, size_bytes
        answer.close()
        if answer.status == 416:
            raise self._outside(answer)
        raise self._refused(
            self._routes.statuses.refused(self._content.video_id, answer, body, status)
        )

    def distrust(self) -> None:
        """There was trouble with the last answer; the next shall come by the API."""
        self._routes.places.forget(self._content.video_id, self._place)

    def take_whole(self) -> Answer | None:
        """The open answer with the whole file that came instead, if one did."""
        whole, self._whole = self._whole, None
        return whole

    def close(self) -> None:
        """Drop the whole file that came, unless it was taken."""
        if self._whole is not None:
            self._whole.close()
            self._whole = None

    def _believe(self) -> None:
        self._doubted.clear()
        self._contradicting.clear()
        self._denials = 0
        self._routes.places.remember(self._content.video_id, self._place)

    def _judged(self, answer: Answer, asked: ByteRange) -> ByteRange:
        """The bytes of *asked* that *answer* brings; closed if there are none."""
        try:
            return verdict.judge_range(
                answer.status, answer.headers, asked, self._content
            )
        except RangesIgnored as error:
            raise self._ignored(answer, error) from error
        except ContentChanged as error:
            raise self._contradicted(answer, error) from error
        except HingError:
            answer.close()
            raise

    def _ignored(self, answer: Answer, error: RangesIgnored) -> HingError:
        """What the download meets where *answer* is the whole file; it is kept.

        A server that has answered, or announced, ranges: one 200 may be a fault, and
        what it leads to is for good, the whole file in the spool.
        """
        if self._content.ranges and self._seen_once(error):
            answer.close()
            return ServerBroken(f"seen once: {error}")
        if self._content.ranges:
            self._routes.endpoint.delivery.ranges_announced_falsely()
        else:
            self._routes.endpoint.delivery.ranges_ignored()
        self._whole = answer
        return error.again()

    def _contradicted(self, answer: Answer, error: ContentChanged) -> HingError:
        """What the download meets where *answer* seems to be of another version."""
        with answer:
            self._refuse_short_message(answer)
        self._contradicting.append(verdict.validator_of(answer.headers))
        if self._seen_once(error):
            return ServerBroken(f"seen once: {error}")
        size_bytes = self._content.size_bytes
        if not verdict.tells_size(answer.status, answer.headers, size_bytes):
            return error.again()
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
            refuse_message(self._content, body, ended=True)

    def _outside(self, answer: Answer) -> HingError:
        """What the download meets where *answer* says that the file ends before."""
        changed = ContentChanged("the size is another one now")
        said = verdict.changed_by_416(answer.headers, self._content)
        if said and not self._seen_once(changed):
            return changed
        return ServerBroken("416 for a range inside the file")

    def _refused(self, error: HingError) -> HingError:
        """*error*, or trouble to be tried again where it contradicts what was served."""
        trouble = refusals.of_opened(error)
        self._denials += trouble is not error
        if self._denials < _MOST_DENIALS or trouble is error:
            return trouble
        return VideoNotServed(str(trouble))

    def _seen_once(self, error: HingError) -> bool:
        """Whether this answer is the first to say *error* since a good one came."""
        once = type(error) not in self._doubted
        self._doubted.add(type(error))
        return once


def refuse_message(content: Content, first: bytes, *, ended: bool) -> None:
    """Raise NotAVideo if what begins with *first* is a message called a video.

    *ended*: no more of it is judged.
    """
    odd = (content.odd_type or content.odd_coding) is not None
    if sort_of(first, needs_proof=odd, ended=ended) is Sort.MESSAGE:
        said = printable(first[:200].decode("utf-8", "replace"))
        raise NotAVideo(f"no video, but: {said}")
