"""What is believed of an endpoint until enough evidence speaks against it.

Decides how much evidence ends a belief, how long it stays ended, and which lessons the
next mount begins with. Each change is one INFO line, so that the log tells the story of a
server. Leaves to `endpoint_facts` which answers are evidence.
"""

import enum
import logging
import threading
import time
from collections.abc import Callable

from ..errors import printable
from ..facts.records import DAY_SECONDS
from ..facts.store import FactStore

log = logging.getLogger(__name__)

# A server may be mended or replaced: a belief that ended is tried again after a day.
LESSON_SECONDS = DAY_SECONDS
# One video may be odd; two that say the same speak for the server.
ENOUGH_VIDEOS = 2


class Belief(enum.Enum):
    """A belief about an endpoint; its value is the log's sentence once it ends."""

    HEAD = "HEAD is not asked any more"
    ANNOUNCED_RANGES = "an announcement of ranges is not believed any more"
    RANGES = "files are taken as ones that come whole, whatever range is asked for"
    STATUS = "the status route is not asked any more"
    LIST = "the list is taken as one that this token may not have"
    HAVING_LIST = "the server is taken as one without a list; ls shows what was opened"
    FIRST_BYTES = "the first bytes of a file are asked for once its size is known"
    CHEAP_SIZES = "names are not looked up ahead"
    PROMPT = "the first byte of a file is waited for, however late it is"
    VALIDATORS = (
        "ETag and Last-Modified are not believed any more; each file is read whole, from "
        "one answer"
    )


# What the next mount need not learn again. The list is asked for by each mount: it may be
# given to a token that it was refused to.
_KEPT = frozenset(Belief) - {Belief.LIST, Belief.HAVING_LIST}


class Beliefs:
    """The beliefs about one endpoint.

    A belief holds until it ends; it holds again after a day, or by `resume`. One that
    ended in an earlier mount, as *store* tells, stays ended for the rest of its day.

    Thread safety: all methods.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        store: FactStore | None = None,
    ) -> None:
        self._clock = clock
        self._store = store or FactStore()
        self._lock = threading.Lock()  # guards both tables; nothing is logged under it
        # Belief -> monotonic time until which it does not hold
        self._ended: dict[Belief, float] = {}
        # Belief -> videos that speak against it, fewer than ENOUGH_VIDEOS
        self._evidence: dict[Belief, set[str]] = {}
        self._recall()

    def holds(self, belief: Belief) -> bool:
        """Whether *belief* holds. This resumes a belief that ended a day ago."""
        with self._lock:
            until = self._ended.get(belief)
            if until is not None and self._clock() < until:
                return False
        if until is not None:
            self.resume(belief, "a day has passed")
        return True

    def is_contradicted_by(self, belief: Belief, video_id: str) -> bool:
        """Whether *video_id* alone spoke against *belief*, which may still hold."""
        with self._lock:
            return video_id in self._evidence.get(belief, ())

    def testify(self, belief: Belief, video_id: str, why: str) -> None:
        """*video_id* speaks against *belief*; two videos that do end it."""
        with self._lock:
            videos = self._evidence.setdefault(belief, set())
            videos.add(video_id)
            enough = len(videos) >= ENOUGH_VIDEOS
        if enough:
            self.end(belief, why)

    def end(self, belief: Belief, why: str) -> None:
        """*belief* does not hold for a day from here on; *why* is the log's reason."""
        with self._lock:
            self._evidence.pop(belief, None)
            news = belief not in self._ended
            self._ended[belief] = self._clock() + LESSON_SECONDS
        if belief in _KEPT:
            self._store.learn(_subject(belief), printable(why), LESSON_SECONDS)
        if news:
            log.info("%s: %s", belief.value, printable(why))

    def resume(self, belief: Belief, why: str) -> None:
        """*belief* holds again, if it had ended; *why* is the log's reason."""
        with self._lock:
            news = self._ended.pop(belief, None) is not None
        if news:
            self._store.unlearn(_subject(belief))
            log.info("no longer so, for %s: %s", why, belief.value)

    def _recall(self) -> None:
        for belief in _KEPT:
            lesson = self._store.lesson(_subject(belief))
            if lesson is not None:
                # The clock may have been set back since.
                left = min(lesson.until - time.time(), LESSON_SECONDS)
                self._ended[belief] = self._clock() + left
                why = f"an earlier mount learnt it: {lesson.value}"
                log.info("%s: %s", belief.value, printable(why))


def _subject(belief: Belief) -> str:
    return f"ended {belief.name}"
