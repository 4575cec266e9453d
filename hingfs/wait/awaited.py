"""Videos that a person has named are waited for, together.

Decides when the wait for each of them ends: by news that are final, when the time is
over, or at once if the server was never reached: a wrong address must not wait for ever.
Leaves to `poller` when each is asked after, and to `cli` what is said.

Threads: that of the caller.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field

from ..errors import (
    ContentChanged,
    HingError,
    RateLimited,
    ServerBroken,
    TransportError,
    VideoNotReady,
    VideoNotServed,
    printable,
)
from ..library.known import VideoFile
from .news import News
from .pace import Pace
from .poller import Poller, Watch

# How often a person who waits is shown that time passes. A guess.
_TICK_SECONDS = 0.1
_WORD_CHARACTERS = 40
# In words, the first that holds.
_STATES: tuple[tuple[type[HingError], str], ...] = (
    (VideoNotServed, "not served yet"),
    (VideoNotReady, "not ready"),
    (RateLimited, "pause"),
    (ContentChanged, "changing"),
    (ServerBroken, "server error"),
    (TransportError, "no answer"),
)


class TimedOut(HingError):
    """The video was not ready in the time that was given for it."""


@dataclass(slots=True, eq=False)
class Awaited:
    """A video that is waited for. Times are monotonic."""

    said: str  # as a person named it
    name: str  # of its file
    news: News | None = None  # the last; None before the first
    file: VideoFile | None = None  # once it is ready
    error: HingError | None = None  # once it is known that it will not be
    # How much is rendered, 0.0 to 1.0, as the server told last; None if it does not.
    progress: float | None = None
    began_at: float = field(default_factory=time.monotonic)
    pace: Pace = field(default_factory=Pace)

    @property
    def has_ended(self) -> bool:
        """Whether it is waited for no longer."""
        return self.file is not None or self.error is not None

    @property
    def state(self) -> str:
        """What it is doing: the server's word for it, if there is one."""
        if self.news is None:
            return "asking"
        if self.news.file is not None:
            return "ready"
        error = self.news.error
        if self.news.word and not isinstance(error, VideoNotServed):
            return printable(self.news.word, _WORD_CHARACTERS)
        return next(
            (state for kind, state in _STATES if isinstance(error, kind)), "no more"
        )

    @property
    def where(self) -> str:
        """How far it has come: its state, its progress if any, and what is wrong."""
        where = self.state
        if self.progress and self.file is None:
            where = f"{where} {self.progress * 100:.0f} %"
        error = None if self.news is None else self.news.error
        if isinstance(error, TransportError) and not isinstance(error, RateLimited):
            where = f"{where}: {error}"
        return where

    def told(self, news: News, now: float) -> None:
        """There are *news* of it *now*."""
        self.news = news
        if news.progress is not None or isinstance(news.error, VideoNotReady):
            self.progress = news.progress
            self.pace.saw(news.progress, now)


class Waits:
    """Waits for *videos* by *poller* until each has ended. For one thread.

    Those that have not ended after *timeout_seconds* are TimedOut; with 0 each is looked
    at once, with None it takes as long as it takes.
    """

    def __init__(
        self, poller: Poller, videos: Sequence[Awaited], timeout_seconds: float | None
    ) -> None:
        self._poller = poller
        self._timeout_seconds = timeout_seconds
        self._watches: dict[Awaited, Watch] = {}
        self._videos = videos

    def follow(self) -> Generator[Awaited | None]:
        """Each video whenever there are news of it, and None at every tick.

        Closing the iterator ends the wait. Raises TransportError if the system gives no
        thread.
        """
        looks, tick_at = 0, 0.0
        try:
            for video in self._videos:
                self._watches[video] = self._poller.watch(video.name)
            while self._watches:
                yield from self._told()
                yield from self._timed_out()
                if time.monotonic() >= tick_at:
                    yield None
                    tick_at = time.monotonic() + _TICK_SECONDS
                if self._watches:
                    looks = self._poller.await_look(looks, self._seconds_to(tick_at))
        finally:
            for watch in self._watches.values():
                watch.close()

    def _told(self) -> Iterator[Awaited]:
        for video, watch in list(self._watches.items()):
            news = watch.news
            if news is video.news or news is None:
                continue
            video.told(news, time.monotonic())
            if news.is_final or not self._poller.has_reached:
                video.file, video.error = news.file, news.error
                self._end(video)
            yield video

    def _timed_out(self) -> Iterator[Awaited]:
        left = self._seconds_left()
        if left is None or left > 0:
            return
        for video in list(self._watches):
            if self._timeout_seconds == 0 and video.news is None:
                continue  # it is being looked at
            video.error = TimedOut(f"timed out: {video.where}")
            self._end(video)
            yield video

    def _end(self, video: Awaited) -> None:
        self._watches.pop(video).close()

    def _seconds_left(self) -> float | None:
        if self._timeout_seconds is None:
            return None
        began_at = self._videos[0].began_at
        return began_at + self._timeout_seconds - time.monotonic()

    def _seconds_to(self, tick_at: float) -> float:
        """How long nothing need be done if no look ends: until the tick, or the end."""
        left = self._seconds_left()
        tick = max(0.0, tick_at - time.monotonic())
        return tick if left is None or left <= 0 else min(left, tick)
