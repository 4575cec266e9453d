"""What is learnt about an endpoint, by what it is about: one class for each.

Servers announce what they do not do, lack routes, and stamp equal bytes with other
validators each time. Decides which answers speak for or against a belief. Leaves to
`beliefs` how many of them end it, to `metadata` and `probing` what is asked, and to `verdict` what one
answer means.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ..errors import printable
from .beliefs import ENOUGH_VIDEOS, Belief, Beliefs

log = logging.getLogger(__name__)

# A server that takes this long to begin reads all of a file first. A guess.
_LATE_SECONDS = 5.0
# HEAD is not implemented (RFC 9110 §15.5.6, §15.6.2): no video is needed to prove it.
_NO_HEAD_CODES = frozenset({405, 501})
_MOST_WORDS = 100
# They pass, or ask for a pause: what GET does a moment later proves nothing.
_PASSING_CODES = frozenset({408, 429, *range(500, 600)}) - _NO_HEAD_CODES


class TokenFacts:
    """What the token was good for.

    Thread safety: all methods; `_lock` guards every field.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # All are guarded by _lock.
        self._has_served = False
        self._works = False
        self._denied: set[str] = set()  # videos, since the token was good for anything

    @property
    def has_served(self) -> bool:
        """Whether any video was served, to this token or to one before it."""
        with self._lock:
            return self._has_served

    def served(self) -> None:
        """A video was served."""
        with self._lock:
            self._has_served = True
            self._worked_locked()

    def worked(self) -> None:
        """The API told something that it tells nobody without a token."""
        with self._lock:
            self._worked_locked()

    def is_about_video(self, video_id: str) -> bool:
        """Whether the refusal of *video_id* just now is about it, not about the token.

        Once the token was good for something, it is, until another is refused as well
        and nothing was had in between.
        """
        with self._lock:
            if len(self._denied) < ENOUGH_VIDEOS:
                self._denied.add(video_id)
            return self._works and len(self._denied) < ENOUGH_VIDEOS

    def renewed(self) -> None:
        """Another token is used from here on."""
        with self._lock:
            self._works = False

    def _worked_locked(self) -> None:
        self._works = True
        self._denied.clear()


class HeadFacts:
    """Whether HEAD tells what GET serves. Thread safety: all methods."""

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs

    def is_believed_of(self, video_id: str) -> bool:
        """Whether HEAD is worth asking about *video_id*."""
        doubted = self._beliefs.is_contradicted_by(Belief.HEAD, video_id)
        return not doubted and self._beliefs.holds(Belief.HEAD)

    def refused(self, code: int) -> None:
        """HEAD was answered with *code*."""
        if code in _NO_HEAD_CODES:
            self._beliefs.end(Belief.HEAD, f"the server answered {code} to it")

    def contradicted(self, video_id: str, code: int) -> None:
        """GET serves *video_id*, of which HEAD, answered with *code*, said otherwise."""
        if code in _PASSING_CODES:
            return
        why = f"the server answered {code} to it for what GET serves"
        if code == 404:  # gin says so where it routes GET alone: one video proves it
            self._beliefs.end(Belief.HEAD, why)
        else:
            self._beliefs.testify(Belief.HEAD, video_id, why)


class DeliveryFacts:
    """How content is delivered: in ranges or whole, at once or late, under what.

    Thread safety: all methods. `_has_sized` only ever turns True, so no lock guards it.
    """

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs
        self._has_sized = False

    def ranges_announced_falsely(self) -> None:
        """A video announced ranges and sent the whole."""
        why = "a range was answered with the whole file"
        self._beliefs.end(Belief.ANNOUNCED_RANGES, why)

    def ranges_ignored(self) -> None:
        """A video that announced no ranges sent the whole; each finds out for itself."""
        if self._beliefs.holds(Belief.ANNOUNCED_RANGES):
            why = "a range was answered with the whole file"
            self._beliefs.end(Belief.RANGES, why)

    @property
    def sizes_are_cheap(self) -> bool:
        """Whether a size came without the file, and none ever cost the whole of it."""
        return self._has_sized and self._beliefs.holds(Belief.CHEAP_SIZES)

    def size_told(self) -> None:
        """HEAD or a range told a size: no more of the file was asked for."""
        self._has_sized = True

    def size_cost_all(self) -> None:
        """A size came with the whole file, or behind it."""
        why = "the server sends all of a file to tell its size"
        self._beliefs.end(Belief.CHEAP_SIZES, why)

    @property
    def may_be_asked_again(self) -> bool:
        """Whether content that does not begin to come may be asked for once more.

        It costs nothing where parts of files are sent, and at once.
        """
        return self.sizes_are_cheap and self._beliefs.holds(Belief.PROMPT)

    def began(self, video_id: str, seconds: float) -> None:
        """Content of *video_id*, or what HEAD says of it, began after *seconds*."""
        if seconds >= _LATE_SECONDS:
            why = f"it took {seconds:.0f} s with two videos"
            self._beliefs.testify(Belief.PROMPT, video_id, why)
        else:
            self._beliefs.resume(Belief.PROMPT, f"one that took {seconds:.1f} s")

    def validators_contradicted(self, video_id: str) -> None:
        """Equal bytes of *video_id* were seen under two validators."""
        why = "two videos had equal bytes under another one each time"
        self._beliefs.testify(Belief.VALIDATORS, video_id, why)


class StatusFacts:
    """What the status route told, and which of its words stand for whole videos.

    Thread safety: all methods; `_lock` guards `_passed`. `_has_told` only ever turns
    True, so no lock guards it.
    """

    def __init__(self, beliefs: Beliefs, token: TokenFacts) -> None:
        self._beliefs = beliefs
        self._token = token
        self._has_told = False
        self._lock = threading.Lock()
        self._passed: set[str] = set()  # unknown words of what was whole

    @property
    def has_told(self) -> bool:
        """Whether the status route told the state of any video."""
        return self._has_told

    def told(self) -> None:
        """The status route told the state of a video: there is one."""
        self._has_told = True
        self._token.worked()
        self._beliefs.resume(Belief.STATUS, "it told a status")

    def missing(self, why: str) -> None:
        """The server has no status route, as *why* tells; not after it told a status."""
        if not self._has_told:
            self._beliefs.end(Belief.STATUS, why)

    def word_passed(self, word: str, video_id: str) -> None:
        """*video_id* was whole, though its status is a *word* that nobody knows."""
        with self._lock:
            news = word not in self._passed and len(self._passed) < _MOST_WORDS
            if news:
                self._passed.add(word)
        if news:
            log.info(
                "listed videos of status %r are shown, since %s was whole",
                word,
                printable(video_id, 80),
            )

    def has_passed(self, word: str) -> bool:
        """Whether any video of that status was whole."""
        with self._lock:
            return word in self._passed


class ListFacts:
    """Whether the API has a list, and gives it to this token.

    Thread safety: all methods. `_has_come` only ever turns True, so no lock guards it.
    """

    def __init__(self, beliefs: Beliefs, token: TokenFacts) -> None:
        self._beliefs = beliefs
        self._token = token
        self._has_come = False

    @property
    def has_come(self) -> bool:
        """Whether the API gave its list once."""
        return self._has_come

    def came(self) -> None:
        """A page of the list came."""
        self._has_come = True
        self._token.worked()
        for belief in (Belief.LIST, Belief.HAVING_LIST):
            self._beliefs.resume(belief, "the server gave it")

    def withheld(self, why: str) -> None:
        """The list is refused to a token that is good for other routes."""
        self._beliefs.end(Belief.LIST, why)

    def missing(self, why: str) -> None:
        """The server said that it has no such route."""
        self._beliefs.end(Belief.HAVING_LIST, why)


@dataclass(frozen=True, slots=True)
class EndpointFacts:
    """All that is learnt about one endpoint. Thread safety: that of its parts."""

    beliefs: Beliefs
    token: TokenFacts
    head: HeadFacts
    delivery: DeliveryFacts
    status: StatusFacts
    list: ListFacts

    @classmethod
    def of_stranger(cls, clock: Callable[[], float] = time.monotonic) -> Self:
        """Those of an endpoint of which nothing is known: all of it is believed."""
        beliefs, token = Beliefs(clock), TokenFacts()
        return cls(
            beliefs=beliefs,
            token=token,
            head=HeadFacts(beliefs),
            delivery=DeliveryFacts(beliefs),
            status=StatusFacts(beliefs, token),
            list=ListFacts(beliefs, token),
        )
