"""What GET tells of a video of which HEAD told nothing.

Decides which facts the answer to a GET of the first bytes proves, what it says of the
server, and whether it is kept for the download that may follow. Leaves to `content`
where the bytes are had, to `verdict` what the answer means, and to `status_route` what
a refusal means.

Threads: every method may be called from any thread.
"""

import contextlib
from dataclasses import dataclass

from ..errors import VideoNotServed
from ..http.answer import Answer
from ..http.patience import Patience
from .begun import BegunAnswers
from .content import ContentRoute
from .endpoint_facts import EndpointFacts
from .head_route import Head
from .judgement import verdict
from .judgement.statuses import Status
from .judgement.verdict import Facts
from .places import Places
from .status_route import StatusRoute

# Whoever takes this long to begin has fetched all of the file first, most likely. A
# guess.
_DEAR_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Look:
    """One look at a video: how long it is tried, and what HEAD said in it."""

    video_id: str
    patience: Patience
    head: Head


class Prober:
    """The facts that GET tells. See the module docstring."""

    def __init__(
        self,
        content: ContentRoute,
        statuses: StatusRoute,
        endpoint: EndpointFacts,
        places: Places,
        begun: BegunAnswers,
    ) -> None:
        self._content = content
        self._statuses = statuses
        self._endpoint = endpoint
        self._places = places
        self._begun = begun

    def facts(self, look: Look, status: Status | None, *, known: bool = False) -> Facts:
        """What GET tells after the HEAD of *look* told nothing.

        *status* None: the status route is asked if it could matter. A 404 for what is
        *known* is believed when several replicas say so. Raises what the refusal means,
        and TransportError.
        """
        if not self._endpoint.delivery.may_be_asked_again:
            look.patience.wait_long()
        answer, body, place, status = self._content.probed(
            look.video_id, look.patience, status, known=known
        )
        with contextlib.ExitStack() as still_open:
            still_open.enter_context(answer)
            empty = verdict.is_empty_video(answer.status, answer.headers)
            facts = verdict.judge_probe(answer.status, answer.headers, body)
            if empty or (facts is not None and not body):  # chunks may bring nothing
                raise VideoNotServed("the file has no bytes yet")
            if facts is not None:
                self._learn(look, answer, facts)
                self._places.remember(look.video_id, place)
                if _is_dear(answer, facts):
                    still_open.pop_all()
                    answer.unread(body)
                    self._begun.keep(look.video_id, answer)
                return facts
        raise self._statuses.refused(look.video_id, answer, body, status)

    def _learn(self, look: Look, answer: Answer, facts: Facts) -> None:
        """What *answer*, which told *facts*, says of the server."""
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
    """Whether *answer* has the whole file, and would cost as much once more."""
    late = answer.waited_seconds >= _DEAR_SECONDS
    return answer.status == 200 and (facts.size_bytes is None or late)
