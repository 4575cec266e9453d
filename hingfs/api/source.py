"""The bytes of a version: a range of them, or all from an offset on.

Decides whether an answer with a whole file is believed. Leaves to `download` the answers
to ranges, and to `content` which URL has the bytes.

Threads: every method may be called from any thread.
"""

from ..blocks import ByteRange
from ..content import Content
from ..errors import BodyCut, ContentChanged, HingError
from ..http.answer import Answer
from ..http.pace import Pace
from .beliefs import Belief
from .download import RangeDownload
from .judgement import refusals, verdict
from .routes import Routes


class VideoSource:
    """The bytes of the videos of one endpoint. See the module docstring."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._begun = routes.begun
        self._endpoint = routes.endpoint
        self._urls = routes.urls
        self._sender = routes.sender
        self._settling = routes.settling

    @property
    def counts_requests(self) -> bool:
        """Whether the API asked for a pause lately: each request may cost another."""
        return self._routes.transport.limit.known

    @property
    def at_once(self) -> int:
        """How many ranges the server sends at once; a hint."""
        return self._routes.transport.slots.at_once

    def open_range(self, content: Content, span: ByteRange) -> RangeDownload:
        """A download of *span*; it sends no request before it is first read."""
        self._settling.believe(content)
        patience = self._sender.terms.of_read(content.video_id)
        if not (content.ranges and self._endpoint.beliefs.holds(Belief.PROMPT)):
            patience.wait_long()  # the whole file may come
        pace = Pace(self._routes.config.stall_seconds)
        return RangeDownload(self._routes, content, span, patience=patience, pace=pace)

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with the whole file, or a 206 that goes on at *offset* > 0.

        The 200 may be an open answer that was kept since it told the size, or came late.
        Raises ContentChanged for another version than *content*, NotAVideo for a message,
        the error that a refusal means, and TransportError.
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
        answer, body, url, status = self._routes.content.content_of(
            content, patience, headers=headers
        )
        # A second download only follows trouble with the first: it shall ask the API.
        self._urls.forget(content.video_id, url)
        if answer.status in (200, 206) and not body:
            return self._checked(answer, content)
        answer.close()
        if answer.status == 416:  # only a request from an offset on gets one
            raise verdict.error_of_416(answer.headers, content)
        error = self._routes.statuses.error_of(content.video_id, answer, body, status)
        raise refusals.of_opened(error)

    def _checked(self, answer: Answer, content: Content) -> Answer:
        """*answer* if it may be of *content*; else it is closed, and this raises."""
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
        if not content.taken_from(seen):  # another thread learnt a validator meanwhile
            answer.close()
            raise ContentChanged("its validator is another one now")
        return answer
