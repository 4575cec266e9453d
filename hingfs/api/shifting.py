"""Whether a server's validators change while the bytes do not.

A fresh temporary copy for each download has a new ETag and Last-Modified each time,
the edges of a CDN have one each, and so have replicas with other times of files. A file
that was overwritten looks alike at first, but settles on its new validator at once.
Decides from samples, taken one after the other, which of both it is, and what becomes
of the version. Where validators tell nothing, one answer alone is sure to be of one
version: the file is read whole from it, and only a sample tells that it is another one
now. Leaves to `samples` how samples are had, to `endpoint_facts` what two
videos say about the endpoint.

Threads: those of the callers; what they find out is kept by `Content`.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ..blocks import KIB, ByteRange
from ..errors import ContentChanged, HingError, printable
from ..version import Content, Validator
from .beliefs import Belief
from .endpoint_facts import EndpointFacts

log = logging.getLogger(__name__)

# What of a file is compared. Compressed video that is equal so far is the same file; a
# header alone would not say so. A guess.
SAMPLE = ByteRange(0, 16 * KIB)
# Of two edges drawn at random, as many in a row are the same once in 16 times.
MOST_SAMPLES = 4


@dataclass(slots=True)
class Trial:
    """What was seen since answers contradicted the validator *opened*; one thread's.

    *seen* are the validators that did, *samples* those of later answers to GET with
    the first bytes that came under each.
    """

    opened: Validator
    seen: Sequence[Validator]
    samples: list[tuple[Validator, bytes]] = field(default_factory=list)

    @property
    def shifts(self) -> bool:
        """Whether they contradict one another, or some tell nothing against the opened."""
        later = [*self.seen, *(validator for validator, _ in self.samples)]
        untold = not all(self.opened.contradicts(mine) for mine, _ in self.samples)
        return untold or any(
            first.contradicts(second) for first in later for second in later
        )

    @property
    def came_again(self) -> bool:
        """Whether an answer after those that contradicted it had the opened one.

        One that tells nothing may be of the new bytes as well.
        """
        return any(
            self.opened.compares_with(mine) and not self.opened.contradicts(mine)
            for mine, _ in self.samples
        )

    @property
    def tells_nothing(self) -> bool:
        """Whether equal bytes came under validators that never come again, or all do.

        One that is odd among others that agree is the fault of one answer: where one
        in twenty lies, the bytes of another file may come under the next.
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
    """What is asked of the endpoint."""

    def sample(self, content: Content) -> tuple[Validator, bytes]:
        """The validator, and the first bytes under it, of a fresh answer to GET."""

    def head_validator(self, video_id: str) -> Validator | None:
        """What HEAD tells, if it is believed of *video_id*."""


class Settling:
    """Settles what contradicting validators mean. Thread safety: all methods."""

    def __init__(self, api: Samples, endpoint: EndpointFacts) -> None:
        self._api = api
        self._endpoint = endpoint

    def believe(self, content: Content) -> None:
        """Let *content* be read whole where validators of the endpoint tell nothing.

        One that goes on by its own validator does so.
        """
        if (
            not self._endpoint.beliefs.holds(Belief.VALIDATORS)
            and not content.recurring
        ):
            content.take_whole()

    def settle(self, content: Content, seen: Sequence[Validator]) -> None:
        """Find out why *seen* contradict the validator of *content*, of equal size.

        Afterwards it is read whole, or its validator comes again; or ContentChanged is
        raised, since the file is another one now.
        """
        opened = content.validator
        if self._is_settled(content, seen) or self._shifts(content, opened, seen):
            return
        # HEAD may tell one, and GET another all the time: that of GET counts, unless GET
        # told the one of HEAD before. Blocks of that time may be there: they are left.
        told = self._api.head_validator(content.video_id)
        if told == opened and not content.handed_out:
            self._endpoint.head.contradicted(content.video_id, 200)
            content.take_whole()
        if not self._is_settled(content, seen):
            raise ContentChanged("the server's validator is another one now")

    def _is_settled(self, content: Content, seen: Sequence[Validator]) -> bool:
        """Whether *seen* contradict *content* no more; perhaps by another thread."""
        return content.is_explained or not any(map(content.contradicted_by, seen))

    def shifts(self, content: Content, seen: Sequence[Validator]) -> bool:
        """Whether validators change while the bytes of *content* may not.

        Then it is read whole from here on; or by ranges, where its own validator comes
        again.
        """
        return self._shifts(content, content.validator, seen)

    def differs(self, content: Content, held: bytes) -> bool | None:
        """Whether *content* is another file now, by its first bytes; None: nobody tells.

        *held* are those that it began with. Where its validators are believed, those of
        the same answer may tell as well.
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
        trial = self._tried(content, opened, seen)
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

    def _tried(
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
