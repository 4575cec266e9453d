"""The directory `.wait/` of a mount: an open there waits until its video is ready.

A name there is found at once, whatever it is and without a request: the kernel holds a
directory's lock during a look-up, and a look-up that waited would keep all others, and
`ls`, where no signal reaches them. During an open it holds none.

Decides which opens may wait, for how long, and what ends a wait. Leaves to `wait.poller`
what the server is asked and when, and to `operations` how a file is opened that is ready.

Threads: an open waits on its own thread of libfuse, which alone can ask whether its
program was interrupted.
"""

import errno
import logging
import time
from collections.abc import Callable

from ..errors import Closing, HingError, VideoNotReady, printable
from ..library import names
from ..library.crowd import Crowd
from ..wait.news import News
from ..wait.poller import Poller, Watch
from .filesystem import WAITING, Refusal

log = logging.getLogger(__name__)

# How often an open that waits looks whether its program was interrupted, or its mount was
# detached. A hundred that wait for one video take 1.7 % of a CPU (2 cores, 2026-11-28).
_SLICE_SECONDS = 0.2


def is_below(path: str | None) -> bool:
    """Whether *path* is of a file in `.wait/`."""
    return path is not None and path.startswith(f"{WAITING}/")


def inode_of(path: str) -> int:
    """The inode number of `.wait/`, or of a file there; no video in the root has it.

    It is of the name alone, since programs compare it before and after the open.
    """
    # A video whose id began with a dot would have no name.
    return names.inode_of(path.removeprefix("/"))


class WaitingOpens:
    """The opens below `.wait/` that wait. Thread safety: all methods.

    Each waits for *seconds* at most. They count as calls of *crowd*, and *most* of them
    may wait. *is_attached* tells whether programs can still reach the mount.
    """

    def __init__(
        self,
        poller: Poller,
        crowd: Crowd,
        *,
        most: int,
        seconds: float,
        is_attached: Callable[[], bool],
    ) -> None:
        self._poller = poller
        self._crowd = crowd
        self._opens = Crowd(most, "opens wait below .wait/; more are EAGAIN at once")
        self._seconds = seconds
        self._is_attached = is_attached

    @property
    def count(self) -> int:
        """How many wait."""
        return self._opens.under_way

    def await_ready(self, name: str, interrupted: Callable[[], bool]) -> None:
        """Return once the video of the file *name* can be opened.

        Raises VideoNotReady at once if too many wait, and after the time; what the server
        says of a video that will never be ready; Closing at the end of the mount; and
        Refusal with EINTR once *interrupted*.
        """
        limits = (self._crowd.call(self._seconds), self._opens.call(self._seconds))
        with limits[0] as deadline, limits[1] as deadline_of_opens:
            until = min(deadline, deadline_of_opens)
            if until <= time.monotonic():
                raise VideoNotReady("too many opens wait already")
            with self._poller.watch(name) as watch:
                self._await(watch, printable(name, 80), until, interrupted)

    def _await(
        self, watch: Watch, name: str, until: float, interrupted: Callable[[], bool]
    ) -> None:
        """As `await_ready`, by *watch*, until *until* (monotonic)."""
        began = time.monotonic()
        log.info("an open waits for %s", name)
        ended = "interrupted"
        try:
            news = self._final_news(watch, until, interrupted)
            if news.error is not None:
                raise news.error.again()
            ended = "it is ready"
        except HingError as error:
            ended = str(error)
            raise
        finally:
            seconds = time.monotonic() - began
            log.info("an open waited %.1f s for %s: %s", seconds, name, ended)

    def _final_news(
        self, watch: Watch, until: float, interrupted: Callable[[], bool]
    ) -> News:
        news = None
        while True:
            left = until - time.monotonic()
            news = watch.await_news(news, max(0.0, min(left, _SLICE_SECONDS)))
            if news is not None and news.is_final:
                return news
            if interrupted():
                raise Refusal(errno.EINTR)
            if not self._is_attached():
                raise Closing("the mount was detached")
            if left <= 0:
                raise VideoNotReady("it is not ready within --wait-limit")
