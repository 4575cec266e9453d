"""What is believed of an endpoint until enough speaks against it.

Decides how much evidence ends a belief, and how long it stays ended. Each change is
said in one INFO line, so that the log tells the story of a server. Leaves to
`endpoint_facts` what counts as evidence.
"""

import enum
import logging
import threading
import time
from collections.abc import Callable

from ..errors import printable

log = logging.getLogger(__name__)

# A server may be mended or replaced: what was learnt of it is tried again after a day.
LESSON_SECONDS = 86_400.0
# One video may be odd; two that say the same speak for the server.
ENOUGH_VIDEOS = 2


class Belief(enum.Enum):
    """What can be believed of an endpoint; the value says what happens without it."""

    HEAD = "HEAD is not asked any more"
    ANNOUNCED_RANGES = "an announcement of ranges is not believed any more"
    RANGES = "files are taken as ones that come whole, whatever range is asked for"
    STATUS = "the status route is not asked any more"
    LIST = "the list is taken as one that this token may not have"
    HAVING_LIST = "the server is taken as one without a list; ls shows what was opened"
    CHEAP_SIZES = "names are not looked up ahead"
    PROMPT = "the first byte of a file is waited for, however late it is"
    VALIDATORS = (
        "ETag and Last-Modified are not believed any more; each file is read whole, from "
        "one answer"
    )


class Beliefs:
    """The beliefs about one endpoint.

    A belief holds until it ends; it is taken up again after a day, or by `resume`.

    Thread safety: all methods; `_lock` guards every field, and nothing is logged while
    it is held.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # Both are guarded by _lock.
        self._ended: dict[Belief, float] = {}  # until when each is not held (monotonic)
        # Belief -> the videos that speak against it, while they are not enough
        self._evidence: dict[Belief, set[str]] = {}

    def holds(self, belief: Belief) -> bool:
        """Whether *belief* is held; one that ended is taken up again after a day."""
        with self._lock:
            until = self._ended.get(belief)
            if until is not None and self._clock() < until:
                return False
        if until is not None:
            self.resume(belief, "a day has passed")
        return True

    def is_contradicted_by(self, belief: Belief, video_id: str) -> bool:
        """Whether *video_id* spoke against *belief*, which others may still uphold."""
        with self._lock:
            return video_id in self._evidence.get(belief, ())

    def testify(self, belief: Belief, video_id: str, why: str) -> None:
        """*video_id* speaks against *belief*; two videos that do so end it."""
        with self._lock:
            videos = self._evidence.setdefault(belief, set())
            videos.add(video_id)
            enough = len(videos) >= ENOUGH_VIDEOS
        if enough:
            self.end(belief, why)

    def end(self, belief: Belief, why: str) -> None:
        """*belief* is not held for a day from here on; *why* tells the log the reason."""
        with self._lock:
            self._evidence.pop(belief, None)
            news = belief not in self._ended
            self._ended[belief] = self._clock() + LESSON_SECONDS
        if news:
            log.info("%s: %s", belief.value, printable(why))

    def resume(self, belief: Belief, why: str) -> None:
        """*belief* is held again, if it had ended."""
        with self._lock:
            news = self._ended.pop(belief, None) is not None
        if news:
            log.info("no longer so, for %s: %s", why, belief.value)
