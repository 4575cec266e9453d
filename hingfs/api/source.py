"""The bytes of a version: a range of them, or all from an offset on.

Decides what an answer with a whole file is worth. Leaves what a range's answers are
worth to `download`, and where the bytes are had to `content`.

Threads: every method may be called from any thread.
"""

from ..blocks import ByteRange
from ..errors import BodyCut, ContentChanged, HingError, ServerBroken
from ..http.answer import Answer
from ..http.pace import Pace
from ..version import Content
from .beliefs import Belief
from .download import RangeDownload
from .judgement import refusals, verdict
from .routes import Routes


class VideoSource:
    """Where the bytes of videos come from. See the module docstring."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._begun = routes.begun
        self._endpoint = routes.endpoint
        self._places = routes.places
        self._sender = routes.sender
        self._settling = routes.settling

    @property
    def counts_requests(self) -> bool:
        """Whether the API asked for a pause lately: each request may cost another."""
        return self._routes.transport.limit.known

    def open_range(self, content: Content, span: ByteRange) -> RangeDownload:
        """The bytes of *span*, to be read in order; nothing is sent before `read`."""
        self._settling.believe(content)
        patience = self._sender.terms.of_read(content.video_id)
        if not (content.ranges and self._endpoint.beliefs.holds(Belief.PROMPT)):
            patience.wait_long()  # it may bring all of it
        pace = Pace(self._routes.config.stall_seconds)
        return RangeDownload(self._routes, content, span, patience=patience, pace=pace)

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with the whole file, or a 206 that goes on at *offset* > 0.

        The 200 may be one that told the size, or that came late, before. Raises
        ContentChanged for another version than *content*, NotAVideo for a
        message, what the refusal means for anything else, and TransportError.
        """
        self._settling.believe(content)
        begun = self._begun.take(content.video_id)
        if begun is not None:
            if not offset and content.taken_from(verdict.validator_of(begun.headers)):
                return begun
            begun.close()
        patience = self._sender.terms.of_read(content.video_id)
        patience.wait_long()
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        if offset and content.validator.etag:
            headers["If-Range"] = content.validator.etag
        answer, body, place, status = self._routes.content.content_of(
            content, patience, headers=headers
        )
        # Who asks for another has met trouble there.
        self._places.forget(content.video_id, place)
        if answer.status in (200, 206) and not body:
            return self._of_version(answer, content)
        answer.close()
        if answer.status == 416:  # only said to what goes on at an offset
            if content.size_bytes >= 0 and verdict.changed_by_416(
                answer.headers, content
            ):
                raise ContentChanged("the size is another one now")
            raise ServerBroken("416 for a range inside the file")
        error = self._routes.statuses.refused(content.video_id, answer, body, status)
        raise refusals.of_opened(error)

    def _of_version(self, answer: Answer, content: Content) -> Answer:
        """*answer*, where it may be that of *content*, whole or from an offset on."""
        try:
            seen = verdict.validator_of(answer.headers)
            if content.contradicted_by(seen):
                if content.size_bytes >= 0 and not verdict.tells_size(
                    answer.status, answer.headers, content.size_bytes
                ):
                    raise ContentChanged("its size is another one now")
                self._settling.settle(content, [seen])
            if content.shifting and answer.status == 206:
                raise BodyCut("one answer alone holds it: the download starts over")
        except HingError:
            answer.close()
            raise
        if not content.taken_from(seen):  # another answer told one meanwhile
            answer.close()
            raise ContentChanged("its validator is another one now")
        return answer
