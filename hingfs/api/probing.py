"""The facts of a video by GET, if HEAD told none.

Decides what the answer to a GET of the first bytes says of the server, and whether the
answer is kept for the download that may follow. Leaves to `content` which URL has the
bytes, to `verdict` which facts an answer proves, and to `status_route` what a refusal
means.

Threads: every method may be called from any thread.
"""

import contextlib
from dataclasses import dataclass

from ..errors import VideoNotServed
from ..http.answer import Answer
from ..http.patience import Patience
from .begun import BegunAnswers
from .content import ContentRoute
from .content_urls import ContentUrls
from .endpoint_facts import EndpointFacts
from .head_route import Head
from .judgement import verdict
from .judgement.verdict import Facts
from .judgement.video_status import Status
from .status_route import StatusRoute

# A server that takes this long to begin has most likely fetched all of the file first. A
# guess.
_DEAR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a video: how long it may take, and what HEAD told in it."""

    video_id: str
    patience: Patience
    head: Head


class Prober:
    """Probes of the videos of one endpoint. See the module docstring."""

    def __init__(
        self,
        content: ContentRoute,
        statuses: StatusRoute,
        endpoint: EndpointFacts,
        urls: ContentUrls,
        begun: BegunAnswers,
    ) -> None:
        self._content = content
        self._statuses = statuses
        self._endpoint = endpoint
        self._urls = urls
        self._begun = begun

    def facts(self, look: Look, status: Status | None, *, known: bool = False) -> Facts:
        """The facts by GET, after the HEAD of *look* told none.

        *status* None: the status route is asked if it could matter. A 404 for a *known*
        video is believed when several replicas say so. Raises the error that a refusal
        means, and TransportError.
        """
        if not self._endpoint.delivery.may_be_asked_again:
            look.patience.wait_long()
        answer, body, url, status = self._content.probed(
            look.video_id, look.patience, status, known=known
        )
        with contextlib.ExitStack() as still_open:
            still_open.enter_context(answer)
            empty = verdict.is_empty_video(answer.status, answer.headers)
            facts = verdict.judge_probe(answer.status, answer.headers, body)
            if empty or (facts is not None and not body):  # a chunked body may be empty
                raise VideoNotServed("the file has no bytes yet")
            if facts is not None:
                self._record(look, answer, facts)
                self._urls.remember(look.video_id, url)
                if _is_dear(answer, facts):
                    still_open.pop_all()
                    answer.unread(body)
                    self._begun.keep(look.video_id, answer)
                return facts
        raise self._statuses.error_of(look.video_id, answer, body, status)

    def _record(self, look: Look, answer: Answer, facts: Facts) -> None:
        """Record what *answer*, which told *facts*, says of the server."""
        head, delivery = look.head, self._endpoint.delivery
        if head.code and not head.tells(facts.size_bytes):
            self._endpoint.head.contradicted(look.video_id, head.code)
        delivery.began(look.video_id, answer.waited_seconds)
        if answer.status == 200:  # the probe asks for a range
            delivery.ranges_ignored()
        if facts.size_bytes is not None and answer.status == 206:
            delivery.size_told()
        else:
            delivery.size_cost_all()


def _is_dear(answer: Answer, facts: Facts) -> bool:
    """Whether *answer* has the whole file, and a second one would cost much again."""
    late = answer.waited_seconds >= _DEAR_SECONDS
    return answer.status == 200 and (facts.size_bytes is None or late)
