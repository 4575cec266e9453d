"""Whether a server's validators shift: they change while the bytes do not.

A server that makes a temporary copy for each download has a new ETag and Last-Modified
each time; edges of a CDN, and replicas, have one each. A file that was overwritten looks
alike at first, but keeps its new validator from then on. Decides by samples, taken one
after the other, which of the two it is. If validators shift, only the bytes of one answer
are sure to be of one version: the file is read whole from it, and only a sample shows
that the file has changed. Leaves to `samples` the requests, and to `endpoint_facts` what
two videos say about the endpoint.

Threads: those of the callers. `Content` keeps the result.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..blocks import KIB, ByteRange
from ..content import Content
from ..errors import ContentChanged, HingError, printable
from ..version import Validator
from .beliefs import Belief
from .endpoint_facts import EndpointFacts

log = logging.getLogger(__name__)

# The bytes of a file that are compared. Compressed video that is equal so far is the same
# file; a header alone would not prove it. A guess.
SAMPLE = ByteRange(0, 16 * KIB)
# Of two edges drawn at random, so many samples in a row are of one edge once in 16 times.
MOST_SAMPLES = 4


@dataclass(slots=True)
class Trial:
    """The evidence since answers contradicted a version's validator. For one thread."""

    opened: Validator  # that of the version
    seen: Sequence[Validator]  # those that contradicted it
    # Validators of later answers to GET, each with the first bytes under it.
    samples: list[tuple[Validator, bytes]] = field(default_factory=list)

    @property
    def shifts(self) -> bool:
        """Whether the validators seen contradict one another, or not all the opened one."""
        later = [*self.seen, *(validator for validator, _ in self.samples)]
        untold = not all(self.opened.contradicts(mine) for mine, _ in self.samples)
        return untold or any(
            first.contradicts(second) for first in later for second in later
        )

    @property
    def came_again(self) -> bool:
        """Whether a sample had the opened validator.

        A sample without a comparable validator may be of new bytes, so it proves nothing.
        """
        return any(
            self.opened.compares_with(mine) and not self.opened.contradicts(mine)
            for mine, _ in self.samples
        )

    @property
    def tells_nothing(self) -> bool:
        """Whether equal bytes came under validators that all differ, or fall into groups.

        A single validator that differs is the fault of one answer: a server that is wrong
        once in twenty times may send the bytes of another file the next time.
        """
        validators = [validator for validator, _ in self.samples]
        pieces = {piece for _, piece in self.samples}
        if len(validators) < MOST_SAMPLES or len(pieces) > 1:
            return False
        agreeing = [
            sum(not mine.contradicts(other) for other in validators) - 1
            for mine in validators
        ]
        return len(pieces.pop()) >= SAMPLE.stop and (
            not any(agreeing) or (all(agreeing) and max(agreeing) + 1 < len(validators))
        )


class Samples(Protocol):
    """The requests that a decision takes."""

    def sample(self, content: Content) -> tuple[Validator, bytes]:
        """The validator of a fresh answer to GET, and its first bytes."""

    def head_validator(self, video_id: str) -> Validator | None:
        """The validator that HEAD shows of *video_id*; None if HEAD is not believed."""


class Settling:
    """Decides what contradicting validators mean. Thread safety: all methods."""

    def __init__(self, api: Samples, endpoint: EndpointFacts) -> None:
        self._api = api
        self._endpoint = endpoint

    def believe(self, content: Content) -> None:
        """Have *content* read whole if the validators of the endpoint tell nothing.

        Content whose own validator was seen to come again is read on in ranges.
        """
        if (
            not self._endpoint.beliefs.holds(Belief.VALIDATORS)
            and not content.recurring
        ):
            content.take_whole()

    def settle(self, content: Content, seen: Sequence[Validator]) -> None:
        """Find out why *seen* contradict the validator of *content*, of equal size.

        On return, *content* is read whole, or its validator comes again. Raises
        ContentChanged if the file is another one now.
        """
        opened = content.validator
        if self._is_settled(content, seen) or self._shifts(content, opened, seen):
            return
        # HEAD may always show one validator and GET another. Then GET's counts, unless a
        # program has bytes that GET brought under HEAD's. Cached blocks are set aside.
        of_head = self._api.head_validator(content.video_id)
        if of_head == opened and not content.handed_out:
            self._endpoint.head.contradicted(content.video_id, 200)
            content.take_whole()
        if not self._is_settled(content, seen):
            raise ContentChanged("the server's validator is another one now")

    def _is_settled(self, content: Content, seen: Sequence[Validator]) -> bool:
        """Whether *seen* contradict *content* no more, since a thread settled it."""
        return content.is_explained or not any(map(content.contradicted_by, seen))

    def shifts(self, content: Content, seen: Sequence[Validator]) -> bool:
        """Whether validators change while the bytes of *content* may not.

        If so, *content* is read whole from here on, or in ranges if its own validator
        comes again.
        """
        return self._shifts(content, content.validator, seen)

    def differs(self, content: Content, held: bytes) -> bool | None:
        """Whether *content* is another file now, by a sample; None if nothing tells.

        *held* are the first bytes of the version. If its validators are believed, the
        validator of the sample tells as well.
        """
        try:
            validator, piece = self._api.sample(content)
        except HingError as error:
            name = printable(content.video_id, 80)
            log.debug("%s: no sample of its bytes: %s", name, error)
            return None
        count = min(len(held), len(piece))
        if held[:count] != piece[:count]:
            return True
        if content.contradicted_by(validator):
            return not self.shifts(content, [validator])
        told = not content.shifting and content.validator.compares_with(validator)
        return False if told or count else None

    def _shifts(
        self, content: Content, opened: Validator, seen: Sequence[Validator]
    ) -> bool:
        trial = self._take_samples(content, opened, seen)
        if trial.tells_nothing:
            self._endpoint.delivery.validators_contradicted(content.video_id)
        if trial.came_again and content.keep_to_ranges():
            return True
        news = trial.shifts and content.take_whole()
        if news and self._endpoint.beliefs.holds(Belief.VALIDATORS):
            log.info(
                "%s: its ETag or Last-Modified changes from answer to answer; it is read "
                "whole, from one",
                printable(content.video_id, 80),
            )
        return trial.shifts

    def _take_samples(
        self, content: Content, opened: Validator, seen: Sequence[Validator]
    ) -> Trial:
        trial = Trial(opened, seen)
        while len(trial.samples) < MOST_SAMPLES and not content.changed:
            try:
                trial.samples.append(self._api.sample(content))
            except HingError as error:
                name = printable(content.video_id, 80)
                log.debug("%s: no sample of its validators: %s", name, error)
                break
        return trial
