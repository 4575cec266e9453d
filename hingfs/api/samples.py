"""Fresh answers about a known video, from which `shifting` judges its validators.

Decides how a sample is asked for, and which answers are one. Leaves to `shifting` how many
are needed, and what they mean.

Threads: every method may be called from any thread.
"""

from ..content import Content
from ..errors import ServerBroken
from ..version import Validator
from .content import ContentRoute
from .get_route import Wanted
from .head_route import HeadRoute
from .judgement import verdict
from .sender import Sender, broken
from .shifting import SAMPLE
from .whole import is_coded


class FreshSamples:
    """Samples of the videos of one endpoint. See the module docstring."""

    def __init__(
        self,
        sender: Sender,
        heads: HeadRoute,
        content: ContentRoute,
    ) -> None:
        self._sender = sender
        self._heads = heads
        self._content = content

    def head_validator(self, video_id: str) -> Validator | None:
        """The validator that HEAD shows of *video_id*; None if HEAD is not believed."""
        patience = self._sender.terms.of_name(video_id, 1)
        head = self._heads.ask(video_id, patience)
        return head.facts.validator if head.facts is not None else None

    def sample(self, content: Content) -> tuple[Validator, bytes]:
        """The validator of a fresh answer to GET, and its first bytes.

        Raises TransportError, or ServerBroken for an answer that is no sample.
        """
        patience = self._sender.terms.of_name(content.video_id, 1)
        wanted = Wanted(
            content.video_id,
            patience,
            SAMPLE,
            odd_type=content.odd_type,
            fresh=True,
        )
        answer, body, *_ = self._content.served(wanted, None)
        with answer:
            if answer.status not in (200, 206) or body:
                raise broken(answer, body)
            if not verdict.tells_size(
                answer.status, answer.headers, content.size_bytes
            ):
                raise ServerBroken("its size is another one now")
            first = answer.read_up_to(SAMPLE.stop, decoded=is_coded(answer))
        return verdict.validator_of(answer.headers), first
