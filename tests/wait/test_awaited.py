"""When the wait for each of several videos ends."""

import contextlib

import pytest

from hingfs.content import Content
from hingfs.errors import (
    HingError,
    ServerBroken,
    TransportError,
    Unreachable,
    VideoNotReady,
    VideoNotServed,
)
from hingfs.library.known import VideoFile
from hingfs.version import Validator
from hingfs.wait.awaited import Awaited, TimedOut, Waits
from hingfs.wait.poller import Poller

FILE = VideoFile("v", Content("http://api", "v", 1, Validator('"e"')), 0, 1)
NOT_READY = VideoNotReady("not ready", word="queued")
AWAY = Unreachable("refused")


def waited(
    *answers: HingError | None, timeout_seconds: float | None = None
) -> tuple[Awaited, list[str]]:
    """A video that *answers* are given about, the last for ever, and its states."""
    left = list(answers)

    def look(_name: str) -> VideoFile:
        answer = left.pop(0) if len(left) > 1 else left[0]
        if answer is not None:
            raise answer
        return FILE

    video, poller = Awaited("v", "v.mp4"), Poller(look, 0.01)
    states = []
    with contextlib.closing(Waits(poller, [video], timeout_seconds).follow()) as news:
        for one in news:
            if one is not None and one.state not in states:
                states.append(one.state)
    assert not poller._videos, "nobody waits any more"
    poller.close()
    assert poller.join(10)
    return video, states


def test_it_ends_when_it_is_ready() -> None:
    video, states = waited(NOT_READY, ServerBroken("HTTP 500"), NOT_READY, None)

    assert (video.file, video.error) == (FILE, None)
    assert states[0] == "queued"
    assert states[-1] == "ready"


def test_a_server_that_was_never_reached_ends_it() -> None:
    video, _ = waited(AWAY)

    assert isinstance(video.error, Unreachable)


@pytest.mark.parametrize("first", [NOT_READY, ServerBroken("HTTP 500")])
def test_a_server_that_was_reached_is_waited_for(first: HingError) -> None:
    video, _ = waited(first, AWAY, AWAY, None)

    assert video.file is FILE


@pytest.mark.parametrize("timeout_seconds", [0.0, 0.05])
def test_what_is_not_ready_in_time_is_timed_out(timeout_seconds: float) -> None:
    video, _ = waited(NOT_READY, timeout_seconds=timeout_seconds)

    assert isinstance(video.error, TimedOut)
    assert str(video.error) == "timed out: queued"


@pytest.mark.parametrize(
    ("error", "state"),
    [
        (VideoNotServed("late", word="completed"), "not served yet"),
        (VideoNotReady("the server is slow"), "not ready"),
        (TransportError("cut"), "no answer"),
        (VideoNotReady("no", word="\x1b[2J" + "x" * 100), "[2J" + "x" * 36 + "…"),
    ],
)
def test_its_state_is_said_in_words(error: HingError, state: str) -> None:
    assert waited(error, timeout_seconds=0.0)[1] == [state]


def test_a_thread_that_cannot_be_had_is_an_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(_worker: object) -> None:
        raise TransportError("no thread can be started")

    monkeypatch.setattr("hingfs.workers.Worker.start", refuse)
    with pytest.raises(TransportError, match="no thread"):
        waited(NOT_READY)


def test_an_end_before_all_are_ready_leaves_nobody_waiting() -> None:
    def look(_name: str) -> VideoFile:
        raise NOT_READY

    poller = Poller(look, 0.01)
    news = Waits(poller, [Awaited("v", "v.mp4")], None).follow()
    next(news)
    news.close()

    assert not poller._videos
    poller.close()
    assert poller.join(10)
