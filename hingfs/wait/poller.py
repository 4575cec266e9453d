"""Asks after the videos that somebody waits for, one after the other.

One video is asked after by one thread at a time, however many wait for it, and no more
once the last of them has gone. Decides when it is asked after again: when the server
says, else after the interval. Leaves to `catalog` what is asked, to `news` which outcome
is final, and to its callers how long they wait, and what for.

Threads: `hingfs-poll-N`, started when there is more to ask than they can; they end with
`close`.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from ..errors import Closing, HingError, TransportError, Unreachable, foreseen
from ..library.known import VideoFile
from ..workers import Worker, all_joined
from .news import News

log = logging.getLogger(__name__)

# Look-ups at once. A server that needs a second for each answer is asked after 80 videos
# in the five seconds of the interval. A guess.
THREADS = 16
# The longest pause that is kept, whatever a server names. A guess.
_LONGEST_PAUSE_SECONDS = 600.0


class _Video:
    """One video that is waited for. The poller's lock guards all."""

    __slots__ = ("changed", "name", "news", "waiting")

    def __init__(self, name: str, lock: threading.Lock) -> None:
        self.name = name
        self.waiting = 0  # how many watch it; none: it is asked after no more
        self.news: News | None = None  # None until the first look has ended
        self.changed = threading.Condition(lock)  # `news` is new, or all ends


class Poller:
    """Asks by *look*, as `Catalog.find_when_ready`, every *interval_seconds* for each video.

    Thread safety: all methods.
    """

    def __init__(
        self, look: Callable[[str], VideoFile], interval_seconds: float
    ) -> None:
        self._look = look
        self._interval_seconds = interval_seconds
        # Guards all below, and the videos. Looks are made, and threads are started,
        # without it.
        self._lock = threading.Lock()
        self._due = threading.Condition(self._lock)  # something to look at, or the end
        self._ended = threading.Condition(self._lock)  # a look has ended, or all ends
        self._looks = 0  # that have ended
        self._reached = False  # the server, by one of them
        self._videos: dict[str, _Video] = {}
        # (monotonic time of the next look, a number, the video); those that nobody
        # waits for any more are dropped when their time comes.
        self._queue: list[tuple[float, int, _Video]] = []
        self._numbers = itertools.count()
        self._looking = 0  # threads that are not free
        self._workers: list[Worker] = []
        self._closed: HingError | None = None

    def watch(self, name: str) -> "Watch":
        """Ask after the video of the file *name* until the watch is closed.

        Names that differ are asked after apart. Raises TransportError if the system gives
        no thread for it.
        """
        with self._lock:
            video = self._videos.get(name)
            if video is None:
                video = self._videos[name] = _Video(name, self._lock)
                self._push_locked(video, time.monotonic())
            video.waiting += 1
            worker = self._new_worker_locked()
        if worker is not None:
            self._start(worker, video)
        return Watch(self, video)

    def close(self, error: HingError | None = None) -> None:
        """Ask no more; everyone who waits gets *error*."""
        with self._lock:
            self._closed = error or Closing("the mount is ending")
            self._due.notify_all()
            self._ended.notify_all()
            for video in self._videos.values():
                video.changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        with self._lock:
            workers = list(self._workers)
        return all_joined(workers, seconds)

    @property
    def has_reached(self) -> bool:
        """Whether the server was reached by a look that has ended."""
        with self._lock:
            return self._reached

    def await_look(self, looks: int, seconds: float) -> int:
        """How many looks have ended, once these are not *looks*, or after *seconds*."""
        with self._lock:
            self._ended.wait_for(
                lambda: self._closed is not None or self._looks != looks, seconds
            )
            return self._looks

    # -- for `Watch` -------------------------------------------------------------------

    def news_of(self, video: _Video) -> News | None:
        """The last news of *video*."""
        with self._lock:
            return self._news_locked(video)

    def await_news(
        self, video: _Video, seen: News | None, seconds: float
    ) -> News | None:
        """The news of *video* once they are not *seen*, or after *seconds*."""
        with self._lock:
            video.changed.wait_for(
                lambda: self._closed is not None or video.news is not seen, seconds
            )
            return self._news_locked(video)

    def leave(self, video: _Video) -> None:
        """One that waited for *video* has gone."""
        with self._lock:
            video.waiting -= 1
            if not video.waiting and self._videos.get(video.name) is video:
                del self._videos[video.name]

    def _news_locked(self, video: _Video) -> News | None:
        if self._closed is not None and (video.news is None or not video.news.is_final):
            return News(error=self._closed)
        return video.news

    # -- the threads -------------------------------------------------------------------

    def _push_locked(self, video: _Video, due: float) -> None:
        heapq.heappush(self._queue, (due, next(self._numbers), video))
        self._due.notify()

    def _new_worker_locked(self) -> Worker | None:
        """A new thread, not started, if there may be work for one more."""
        free = len(self._workers) - self._looking
        if self._closed is not None or len(self._workers) >= THREADS:
            return None
        if free >= len(self._queue):
            return None
        worker = Worker(f"hingfs-poll-{len(self._workers) + 1}", self._run)
        self._workers.append(worker)
        return worker

    def _start(self, worker: Worker, video: _Video) -> None:
        try:
            worker.start()
        except TransportError:
            with self._lock:
                self._workers.remove(worker)
                alone = not self._workers
            if alone:
                self.leave(video)
                raise

    def _run(self) -> None:
        while (video := self._next()) is not None:
            try:
                news = News(file=self._look(video.name))
            except BaseException as error:
                if not isinstance(error, HingError):
                    log.exception("unforeseen error")
                news = News(error=foreseen(error).again())
            self._told(video, news)

    def _next(self) -> _Video | None:
        """The next video to look at, when its time has come; None at the end."""
        with self._lock:
            while self._closed is None:
                while self._queue and not self._queue[0][2].waiting:
                    heapq.heappop(self._queue)
                left = self._queue[0][0] - time.monotonic() if self._queue else None
                if left is None or left > 0:
                    self._due.wait(left)
                    continue
                self._looking += 1
                return heapq.heappop(self._queue)[2]
            return None

    def _told(self, video: _Video, news: News) -> None:
        named = news.pause_seconds
        pause = self._interval_seconds if named is None else named
        with self._lock:
            self._looking -= 1
            self._looks += 1
            self._reached |= not isinstance(news.error, Unreachable)
            self._ended.notify_all()
            video.news = news
            video.changed.notify_all()
            if not news.is_final:
                due = time.monotonic() + min(pause, _LONGEST_PAUSE_SECONDS)
                self._push_locked(video, due)


class Watch:
    """One who waits for a video; a context, which ends the waiting.

    Thread safety: all methods.
    """

    def __init__(self, poller: Poller, video: _Video) -> None:
        self._poller = poller
        self._video = video

    @property
    def news(self) -> News | None:
        """The last news; None until the first look has ended."""
        return self._poller.news_of(self._video)

    def await_news(self, seen: News | None, seconds: float) -> News | None:
        """The news once they are not *seen* any more, or what they are after *seconds*."""
        return self._poller.await_news(self._video, seen, seconds)

    def close(self) -> None:
        """Wait no longer; called once."""
        self._poller.leave(self._video)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.close()
