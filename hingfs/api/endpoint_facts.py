"""What is learnt about an endpoint: which of its routes and words are believed.

Servers announce what they do not do, lack routes, and stamp equal bytes with other
validators each time. Decides how much evidence ends a belief and how long that lasts;
each change is said once, in one INFO line, so that the log tells the story of a
server. Leaves to `metadata` what is asked, to `verdict` what one answer means.

Thread safety: all methods; `_lock` guards every field, and nothing is logged while it
is held.
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
_ENOUGH_VIDEOS = 2
# A server that takes this long to begin reads all of a file first. A guess.
_LATE_SECONDS = 5.0
# HEAD is not implemented (RFC 9110 §15.5.6, §15.6.2): no video is needed to prove it.
_NO_HEAD_CODES = frozenset({405, 501})
_MOST_WORDS = 100
# They pass, or ask for a pause: what GET does a moment later proves nothing.
_PASSING_CODES = frozenset({408, 429, *range(500, 600)}) - _NO_HEAD_CODES


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


class EndpointFacts:
    """The beliefs about one endpoint. See the module docstring."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        # All below are guarded by _lock.
        self._ended: dict[Belief, float] = {}  # until when each is not held (monotonic)
        # Belief -> the videos that speak against it, while they are not enough
        self._evidence: dict[Belief, set[str]] = {}
        self._has_served = False
        self._has_sized = False
        self._has_told_status = False
        self._has_listed = False
        self._token_works = False
        self._passed: set[str] = set()  # unknown status words of what was whole
        self._denied: set[str] = set()  # videos, since the token was good for anything

    def holds(self, belief: Belief) -> bool:
        """Whether *belief* is held; one that ended is taken up again after a day."""
        with self._lock:
            until = self._ended.get(belief)
            if until is not None and self._clock() < until:
                return False
        if until is not None:
            self._resume(belief, "a day has passed")
        return True

    # -- HEAD and ranges ------------------------------------------------------------

    def believes_head_of(self, video_id: str) -> bool:
        """Whether HEAD is worth asking about *video_id*."""
        with self._lock:
            doubted = video_id in self._evidence.get(Belief.HEAD, ())
        return not doubted and self.holds(Belief.HEAD)

    def head_refused(self, code: int) -> None:
        """HEAD was answered with *code*."""
        if code in _NO_HEAD_CODES:
            self._end(Belief.HEAD, f"the server answered {code} to it")

    def head_contradicted(self, video_id: str, code: int) -> None:
        """GET serves *video_id*, of which HEAD, answered with *code*, said otherwise."""
        if code in _PASSING_CODES:
            return
        why = f"the server answered {code} to it for what GET serves"
        if code == 404:  # gin says so where it routes GET alone: one video proves it
            self._end(Belief.HEAD, why)
        else:
            self._testify(Belief.HEAD, video_id, why)

    def ranges_announced_falsely(self) -> None:
        """A video announced ranges and sent the whole."""
        self._end(Belief.ANNOUNCED_RANGES, "a range was answered with the whole file")

    def ranges_ignored(self) -> None:
        """A video that announced no ranges sent the whole; each finds out for itself."""
        if self.holds(Belief.ANNOUNCED_RANGES):
            self._end(Belief.RANGES, "a range was answered with the whole file")

    @property
    def sizes_are_cheap(self) -> bool:
        """Whether a size came without the file, and none ever cost the whole of it."""
        with self._lock:
            has_sized = self._has_sized
        return has_sized and self.holds(Belief.CHEAP_SIZES)

    def size_told(self) -> None:
        """HEAD or a range told a size: no more of the file was asked for."""
        with self._lock:
            self._has_sized = True

    def size_cost_all(self) -> None:
        """A size came with the whole file, or behind it."""
        self._end(Belief.CHEAP_SIZES, "the server sends all of a file to tell its size")

    @property
    def asks_again(self) -> bool:
        """Whether content that does not begin to come may be asked for once more.

        It costs nothing where parts of files are sent, and at once.
        """
        return self.sizes_are_cheap and self.holds(Belief.PROMPT)

    def began(self, video_id: str, seconds: float) -> None:
        """Content of *video_id*, or what HEAD says of it, began after *seconds*."""
        if seconds >= _LATE_SECONDS:
            why = f"it took {seconds:.0f} s with two videos"
            self._testify(Belief.PROMPT, video_id, why)
        else:
            self._resume(Belief.PROMPT, f"one that took {seconds:.1f} s")

    # -- validators -----------------------------------------------------------------

    def validators_contradicted(self, video_id: str) -> None:
        """Equal bytes of *video_id* were seen under two validators."""
        why = "two videos had equal bytes under another one each time"
        self._testify(Belief.VALIDATORS, video_id, why)

    # -- the status route -----------------------------------------------------------

    @property
    def has_told_status(self) -> bool:
        """Whether the status route told the state of any video."""
        with self._lock:
            return self._has_told_status

    def status_told(self) -> None:
        """The status route told the state of a video: there is one."""
        with self._lock:
            self._has_told_status = True
            self._token_worked_locked()
        self._resume(Belief.STATUS, "it told a status")

    def status_missing(self, why: str) -> None:
        """The server has no status route, as *why* tells; not after it told a status."""
        if not self.has_told_status:
            self._end(Belief.STATUS, why)

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

    # -- the list -------------------------------------------------------------------

    @property
    def has_listed(self) -> bool:
        """Whether the API gave its list once."""
        with self._lock:
            return self._has_listed

    def list_given(self) -> None:
        """A page of the list came."""
        with self._lock:
            self._has_listed = True
            self._token_worked_locked()
        for belief in (Belief.LIST, Belief.HAVING_LIST):
            self._resume(belief, "the server gave it")

    def list_withheld(self, why: str) -> None:
        """The list is refused to a token that is good for other routes."""
        self._end(Belief.LIST, why)

    def list_missing(self, why: str) -> None:
        """The server said that it has no such route."""
        self._end(Belief.HAVING_LIST, why)

    # -- videos and the token ---------------------------------------------------------

    @property
    def has_served(self) -> bool:
        """Whether any video was served."""
        with self._lock:
            return self._has_served

    def served(self) -> None:
        """A video was served."""
        with self._lock:
            self._has_served = True
            self._token_worked_locked()

    def is_about_video(self, video_id: str) -> bool:
        """Whether the refusal of *video_id* just now is about it, not about the token.

        Once the token was good for something, it is, until another is refused as well
        and nothing was had in between.
        """
        with self._lock:
            if len(self._denied) < _ENOUGH_VIDEOS:
                self._denied.add(video_id)
            return self._token_works and len(self._denied) < _ENOUGH_VIDEOS

    def token_renewed(self) -> None:
        """Another token is used from here on."""
        with self._lock:
            self._token_works = False

    def _token_worked_locked(self) -> None:
        self._token_works = True
        self._denied.clear()

    # -- one line for each change -----------------------------------------------------

    def _testify(self, belief: Belief, video_id: str, why: str) -> None:
        with self._lock:
            videos = self._evidence.setdefault(belief, set())
            videos.add(video_id)
            enough = len(videos) >= _ENOUGH_VIDEOS
        if enough:
            self._end(belief, why)

    def _end(self, belief: Belief, why: str) -> None:
        with self._lock:
            self._evidence.pop(belief, None)
            news = belief not in self._ended
            self._ended[belief] = self._clock() + LESSON_SECONDS
        if news:
            log.info("%s: %s", belief.value, printable(why))

    def _resume(self, belief: Belief, why: str) -> None:
        with self._lock:
            news = self._ended.pop(belief, None) is not None
        if news:
            log.info("no longer so, for %s: %s", why, belief.value)
