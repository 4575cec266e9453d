"""The command `wait`: ends once videos are ready, or will never be.

Decides what is said of each, and which of them end the command. Leaves to `wait.awaited`
when each wait ends, and to `wait_bars` what a terminal shows.
"""

import argparse
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import Protocol

from .. import log
from ..engine import Engine
from ..errors import HingError, RateLimited, Unreachable, UsageError, printable
from ..given import Given
from ..library.names import video_id_of
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import TIME
from ..wait.awaited import Awaited, Waits
from ..wait.poller import Poller
from . import batch, disk
from .console import complain, is_terminal
from .given import tell_misspelt

_STANDARD_OUTPUT = 1
_DUMB = ("dumb", "unknown")  # terminals that can only append
# Progress is worth a line every tenth. A guess.
_STEPS = 10
# The shortest pause that is worth a line. A guess.
_PAUSE_SECONDS = 0.5
# How long the end waits for a look under way. A guess.
_END_SECONDS = 1.0
# What a server does to all videos alike is said once.
_OF_ALL = (Unreachable, RateLimited)


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Wait for what `hingfs wait` was given; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    timeout_seconds = _timeout(arguments.timeout)
    named = batch.wanted(arguments, "wait")
    endpoint = given.endpoint(**batch.known_api(given, named))
    try:
        endpoint.token.read()
        _begin_log(given.part(LogConfig), endpoint)
        # Pauses are said, and kept by the poller: no look waits for them.
        endpoint = replace(endpoint, retry_after_seconds=0.0)
        engine = Engine(endpoint, _config(given, environ))
        videos = [Awaited(one.said, one.name) for one in named]
        with _ended_by_sigterm():
            return _Command(arguments, endpoint, engine).wait(videos, timeout_seconds)
    except HingError as error:  # it may quote the server
        error.args = (endpoint.token.hide(str(error)),)
        raise


def _timeout(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        return TIME.parse(text)
    except UsageError as error:
        raise UsageError(f"--timeout: {error}") from None


def _begin_log(config: LogConfig, endpoint: EndpointConfig) -> None:
    """Begin the log; unless one is asked for, with errors alone: the rest is said here."""
    level = "error" if config == LogConfig() else config.level
    log.begin(level, endpoint.token.hide, file=config.file)


def _config(given: Given, environ: Mapping[str, str]) -> CacheConfig:
    """The configuration of an engine that reads no video, and knows what is kept.

    It recalls no facts: what an earlier mount knew is no proof that a video is served.
    """
    config = replace(given.part(CacheConfig), disk_cache_bytes=0)
    try:
        directory = disk.keep_directory(config, environ)
    except HingError:  # then nothing is kept
        return config
    return replace(config, kept_videos=directory)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C: the terminal is left as it was."""

    def end(number: int, _frame: FrameType | None) -> None:
        sys.exit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _View(Protocol):
    """Shows a person how far videos have come, and takes what a program reads."""

    def write(self, line: str) -> None:
        """Write *line* to standard output."""

    def changed(self, video: Awaited) -> None:
        """There are news of *video*, which may be ready by them."""

    def show(self) -> None:
        """Time has passed."""


class _Nothing:
    """For programs: nothing but the lines on standard output."""

    def write(self, line: str) -> None:
        """Write *line*, fit for a terminal if there is one."""
        if os.isatty(_STANDARD_OUTPUT):  # an id is the server's, and may hold anything
            line = printable(line, len(line) + 1)
        sys.stdout.buffer.write(os.fsencode(f"{line}\n"))
        sys.stdout.buffer.flush()

    def changed(self, video: Awaited) -> None:
        """Say nothing."""

    def show(self) -> None:
        """Show nothing."""


class _Lines(_Nothing):
    """For a pipe: a line for each change. *hide* takes the token out of a text."""

    def __init__(self, hide: Callable[[str], str]) -> None:
        self._hide = hide
        self._told: dict[Awaited, tuple[str, int | None]] = {}

    def changed(self, video: Awaited) -> None:
        """Say what *video* is doing now, if that is worth a line."""
        assert video.news is not None, "there are news"
        if isinstance(video.news.error, _OF_ALL):
            return
        progress = video.progress
        step = None if progress is None else int(progress * _STEPS)
        if self._told.get(video) != (video.state, step):
            self._told[video] = video.state, step
            complain(self._hide(f"{printable(video.said)}: {video.where}"))


def _view(
    videos: Sequence[Awaited], hide: Callable[[str], str], *, as_json: bool
) -> contextlib.AbstractContextManager[_View]:
    if not (is_terminal() and os.environ.get("TERM") not in _DUMB):
        return contextlib.nullcontext(_Nothing() if as_json else _Lines(hide))
    from .wait_bars import WaitBars  # noqa: PLC0415 - rich takes 0.1 s

    return WaitBars(videos, on_screen=os.isatty(_STANDARD_OUTPUT))


class _Command:
    """What the options ask for. For one thread."""

    def __init__(
        self, arguments: argparse.Namespace, endpoint: EndpointConfig, engine: Engine
    ) -> None:
        self._any: bool = arguments.any
        self._fail_fast: bool = arguments.fail_fast
        self._as_json: bool = arguments.json
        self._endpoint = endpoint
        self._engine = engine
        self._away = False
        self._pause_seconds = 0.0  # the longest that was said

    def wait(self, videos: Sequence[Awaited], timeout_seconds: float | None) -> int:
        """Wait for *videos*; the exit status. Raises NoSuchApi where there is no API."""
        look = self._engine.catalog.find_when_ready
        poller = Poller(look, self._endpoint.poll_seconds)
        with batch.ending(self._engine, poller.close):
            news = Waits(poller, videos, timeout_seconds).follow()
            shown = _view(videos, self._endpoint.token.hide, as_json=self._as_json)
            with shown as view, contextlib.closing(news):
                self._follow(news, view)
            batch.demand_api(self._engine, [video.error for video in videos])
        poller.join(_END_SECONDS)
        if self._any and any(video.file is not None for video in videos):
            return 0
        return batch.status_of(video.error for video in videos)

    def _follow(self, news: Iterator[Awaited | None], view: _View) -> None:
        """Tell of all *news* until the command is over."""
        for video in news:
            if video is None:
                view.show()
                continue
            self._tell_of_server(video)
            if not video.has_ended:
                view.changed(video)
                continue
            self._tell_end(video, view)
            if self._any if video.error is None else self._fail_fast:
                return

    def _tell_end(self, video: Awaited, view: _View) -> None:
        if self._as_json:
            view.write(self._as_line(video))
        elif video.error is not None:
            batch.tell_error(video.said, video.error, self._endpoint)
        else:
            if self._is_copy(video):
                complain(f"{printable(video.said)}: ready, by its kept copy alone")
            else:
                view.changed(video)
            view.write(_id_of(video))

    def _as_line(self, video: Awaited) -> str:
        error, file = video.error, video.file
        told = {
            "video": _id_of(video),
            "outcome": "ready" if error is None else batch.outcome_of(error),
            "size_bytes": None if file is None else file.content.size_bytes,
            "kept_copy": self._is_copy(video),
            "error": None if error is None else self._endpoint.token.hide(str(error)),
        }
        return json.dumps(told)

    def _is_copy(self, video: Awaited) -> bool:
        """Whether *video* can be read, and the server does not serve it."""
        file = video.file
        return file is not None and not self._engine.catalog.is_confirmed(file)

    def _tell_of_server(self, video: Awaited) -> None:
        """Say what the last news tell of the server, once for all videos."""
        if self._as_json or video.news is None:
            return
        error = video.news.error
        if isinstance(error, RateLimited):
            self._tell_of_pause(error.retry_after_seconds)
            return
        away = isinstance(error, Unreachable) and not video.has_ended
        if away and not self._away:
            why = self._endpoint.token.hide(str(error))
            complain(f"the server cannot be reached, and is asked on: {why}")
        elif self._away and not away:
            complain("the server answers again")
        self._away = away

    def _tell_of_pause(self, seconds: float | None) -> None:
        """Say a pause of *seconds*; again only if it doubles: a wait may meet thousands."""
        worth = max(_PAUSE_SECONDS, 2 * self._pause_seconds)
        if seconds is None or seconds < worth:
            return
        self._pause_seconds = seconds
        complain(f"the API asks for a pause of {seconds:.0f} s")


def _id_of(video: Awaited) -> str:
    """The id of *video*, as far as it is known."""
    if video.file is not None:
        return video.file.video_id
    return video_id_of(video.name) or video.said
