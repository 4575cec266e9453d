"""HEAD for the content of a video, if HEAD is believed.

Decides whether HEAD is asked, and what its answer says of the server. Leaves to `verdict`
which facts an answer proves, and to `endpoint_facts` whether HEAD is believed.

Threads: every method may be called from any thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..http.patience import Patience
from .beliefs import Belief
from .endpoint_facts import EndpointFacts
from .judgement import verdict
from .judgement.verdict import Facts
from .sender import Sender


@dataclass(frozen=True, slots=True)
class Head:
    """The answer to HEAD."""

    code: int  # 0: HEAD was not asked
    facts: Facts | None  # None: the answer proves nothing
    size_bytes: int | None = None  # its Content-Length

    def tells(self, size_bytes: int | None) -> bool:
        """Whether HEAD told *size_bytes*, which GET tells; None for no size."""
        return self.code == 200 and self.size_bytes == size_bytes


class HeadRoute:
    """HEAD for content. See the module docstring."""

    def __init__(self, sender: Sender, endpoint: EndpointFacts) -> None:
        self._sender = sender
        self._endpoint = endpoint

    def ask(
        self,
        video_id: str,
        patience: Patience,
        headers: Mapping[str, str] | None = None,
    ) -> Head:
        """The answer to HEAD for *video_id*; an empty `Head` if HEAD is not believed."""
        if not self._endpoint.head.is_believed_of(video_id):
            return Head(0, None)
        url = self._sender.content_url(video_id)
        if not self._endpoint.beliefs.holds(Belief.PROMPT):
            patience.wait_long()
        answer, _ = self._sender.send("HEAD", url, patience, headers=headers)
        answer.close()
        self._endpoint.head.refused(answer.status)
        facts = verdict.judge_head(answer.status, answer.headers)
        if facts is not None:
            self._endpoint.delivery.size_told()
            self._endpoint.delivery.began(video_id, answer.waited_seconds)
        if facts is not None and not self._endpoint.beliefs.holds(
            Belief.ANNOUNCED_RANGES
        ):
            facts = replace(facts, ranges=None)
        return Head(answer.status, facts, verdict.length_of(answer.headers))
