"""What is learnt about an endpoint: one class for each subject.

Servers announce ranges and send none, lack routes, and give equal bytes other validators
each time. Decides which answers speak for or against a belief. Leaves to `beliefs` how
many of them end it, to `metadata` and `probing` which requests are sent, and to `verdict`
what one answer means.
"""

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from ..errors import printable
from ..facts.store import FactStore
from .beliefs import ENOUGH_VIDEOS, Belief, Beliefs

log = logging.getLogger(__name__)

# A server that takes this long to begin reads all of a file first. A guess.
_LATE_SECONDS = 5.0
# HEAD is not implemented (RFC 9110 §15.5.6, §15.6.2): no video is needed to prove it.
_NO_HEAD_CODES = frozenset({405, 501})
_MOST_WORDS = 100
_LONGEST_WORD = 80  # that is kept for the next mount
_SIZED = "a size came without its file"  # the subjects of two lessons
_RANGED = "a range was served"
_WORD = "passed "  # before the word, in the subject of its lesson
# Codes that pass, or ask for a pause. GET may succeed a moment later without HEAD having
# lied.
_PASSING_CODES = frozenset({408, 429, *range(500, 600)}) - _NO_HEAD_CODES


class TokenFacts:
    """Whether the API took the token, and for what. Thread safety: all methods."""

    def __init__(self, store: FactStore) -> None:
        self._store = store
        self._lock = threading.Lock()  # guards every field below
        self._has_served = False
        self._works = False  # since the token was read
        # Videos refused since the API last took the token; at most ENOUGH_VIDEOS.
        self._denied: set[str] = set()

    @property
    def has_served(self) -> bool:
        """Whether the API served any video, to this token or an earlier one."""
        with self._lock:
            return self._has_served

    def served(self) -> None:
        """The API served a video."""
        with self._lock:
            self._has_served = True
            self._worked_locked()

    def worked(self) -> None:
        """The API sent something that it sends to nobody without a token."""
        with self._lock:
            self._worked_locked()

    def is_about_video(self, video_id: str) -> bool:
        """Whether the refusal of *video_id* just now is about the video, not the token.

        It is about the video if the API took the token before, and has refused no second
        video since.
        """
        with self._lock:
            if len(self._denied) < ENOUGH_VIDEOS:
                self._denied.add(video_id)
            return self._works and len(self._denied) < ENOUGH_VIDEOS

    def renewed(self) -> None:
        """Requests carry another token from here on."""
        with self._lock:
            self._works = False
        self._store.token_changed()

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
    """How content comes: in ranges or whole, at once or late, under which validators.

    Thread safety: all methods.
    """

    def __init__(self, beliefs: Beliefs, store: FactStore) -> None:
        self._beliefs = beliefs
        self._store = store
        self._has_sized = store.lesson(_SIZED) is not None
        self._has_ranged = store.lesson(_RANGED) is not None
        # What this mount has kept. Like the two above it only grows, so no lock guards it:
        # to keep a lesson twice does no harm.
        self._kept: set[str] = set()

    def ranges_announced_falsely(self) -> None:
        """The server announced ranges of a video and sent the whole."""
        why = "a range was answered with the whole file"
        self._beliefs.end(Belief.ANNOUNCED_RANGES, why)

    def ranges_ignored(self) -> None:
        """The server announced no ranges of a video and sent the whole.

        This proves nothing once announcements are not believed: then each video is tried.
        """
        if self._beliefs.holds(Belief.ANNOUNCED_RANGES):
            why = "a range was answered with the whole file"
            self._beliefs.end(Belief.RANGES, why)

    @property
    def sizes_are_cheap(self) -> bool:
        """Whether the size of a video came without its file, and never with it."""
        return self._has_sized and self._beliefs.holds(Belief.CHEAP_SIZES)

    def size_told(self) -> None:
        """HEAD or a range told a size, without the rest of the file."""
        self._has_sized = True
        self._keep(_SIZED)

    @property
    def serves_ranges(self) -> bool:
        """Whether a range was served; an announcement alone may be false."""
        return self._has_ranged and self._beliefs.holds(Belief.RANGES)

    def range_served(self) -> None:
        """A range of a file came, and was believed."""
        self._has_ranged = True
        self._keep(_RANGED)

    def size_cost_all(self) -> None:
        """A size came with the whole file, or at its end."""
        why = "the server sends all of a file to tell its size"
        self._beliefs.end(Belief.CHEAP_SIZES, why)

    @property
    def may_be_asked_again(self) -> bool:
        """Whether a request for content may be given up early and sent again.

        That is cheap if the server sends parts of files, and sends them at once.
        """
        return self.sizes_are_cheap and self._beliefs.holds(Belief.PROMPT)

    def _keep(self, subject: str) -> None:
        """Have the next mount know *subject*; once in a mount, so that it stays known."""
        if subject not in self._kept:
            self._kept.add(subject)
            self._store.learn(subject)

    def began(self, video_id: str, seconds: float) -> None:
        """An answer to GET or HEAD for the content of *video_id* took *seconds*."""
        if seconds >= _LATE_SECONDS:
            why = f"it took {seconds:.0f} s with two videos"
            self._beliefs.testify(Belief.PROMPT, video_id, why)
        else:
            self._beliefs.resume(Belief.PROMPT, f"one that took {seconds:.1f} s")

    def validators_contradicted(self, video_id: str) -> None:
        """Equal bytes of *video_id* came under two validators."""
        why = "two videos had equal bytes under another one each time"
        self._beliefs.testify(Belief.VALIDATORS, video_id, why)


class StatusFacts:
    """Whether there is a status route, and which unknown words mean whole videos.

    Thread safety: all methods.
    """

    def __init__(self, beliefs: Beliefs, token: TokenFacts, store: FactStore) -> None:
        self._beliefs = beliefs
        self._token = token
        self._store = store
        self._has_told = False  # only ever turns True, so no lock guards it
        self._lock = threading.Lock()  # guards _passed
        # Unknown status words of videos that were whole.
        self._passed = {
            lesson.subject.removeprefix(_WORD)
            for lesson in store.recalled.lessons
            if lesson.subject.startswith(_WORD)
        }

    @property
    def has_told(self) -> bool:
        """Whether the status route ever told the state of a video."""
        return self._has_told

    def told(self) -> None:
        """The status route told the state of a video, so there is such a route."""
        self._has_told = True
        self._token.worked()
        self._beliefs.resume(Belief.STATUS, "it told a status")

    def missing(self, why: str) -> None:
        """The server seems to have no status route. Ignored if it ever told a status."""
        if not self._has_told:
            self._beliefs.end(Belief.STATUS, why)

    def word_passed(self, word: str, video_id: str) -> None:
        """*video_id* was whole under the unknown status *word*."""
        with self._lock:
            news = word not in self._passed and len(self._passed) < _MOST_WORDS
            if news:
                self._passed.add(word)
        if news:
            if len(word) <= _LONGEST_WORD:
                self._store.learn(_WORD + word, printable(video_id, 80))
            log.info(
                "listed videos of status %r are shown, since %s was whole",
                word,
                printable(video_id, 80),
            )

    def has_passed(self, word: str) -> bool:
        """Whether any video of the status *word* was whole."""
        with self._lock:
            return word in self._passed


class ListFacts:
    """Whether the API has a list, and sends it to this token.

    Thread safety: all methods.
    """

    def __init__(self, beliefs: Beliefs, token: TokenFacts) -> None:
        self._beliefs = beliefs
        self._token = token
        self._has_come = False  # only ever turns True, so no lock guards it

    @property
    def has_come(self) -> bool:
        """Whether the API ever sent its list."""
        return self._has_come

    def came(self) -> None:
        """A page of the list came."""
        self._has_come = True
        self._token.worked()
        for belief in (Belief.LIST, Belief.HAVING_LIST):
            self._beliefs.resume(belief, "the server gave it")

    def withheld(self, why: str) -> None:
        """The API refuses its list to a token that other routes take."""
        self._beliefs.end(Belief.LIST, why)

    def missing(self, why: str) -> None:
        """The server said that it has no route for a list."""
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
        """The facts of an unknown endpoint: every belief holds."""
        return cls.remembered(FactStore(), clock)

    @classmethod
    def remembered(
        cls, store: FactStore, clock: Callable[[], float] = time.monotonic
    ) -> Self:
        """The facts that *store* recalls, and that it is told from here on."""
        beliefs, token = Beliefs(clock, store), TokenFacts(store)
        return cls(
            beliefs=beliefs,
            token=token,
            head=HeadFacts(beliefs),
            delivery=DeliveryFacts(beliefs, store),
            status=StatusFacts(beliefs, token, store),
            list=ListFacts(beliefs, token),
        )
