"""One poller for all who wait for a video, paced, and silent once they have gone."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    Closing,
    ContentChanged,
    HingError,
    NeverServed,
    NotAVideo,
    RateLimited,
    ServerBroken,
    TransportError,
    Unforeseen,
    Unreachable,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
)
from hingfs.library.known import VideoFile
from hingfs.version import Validator
from hingfs.wait.news import News
from hingfs.wait.poller import THREADS, Poller
from tests.support.mounting import eventually

PATIENCE = 10.0  # seconds that no test needs
FILE = VideoFile("v", Content("http://api", "v", 1, Validator('"e"')), 0, 1)


class Server:
    """Answers looks as a test has it say, and logs them."""

    def __init__(self) -> None:
        self.looks: list[str] = []
        self.at_once = 0
        self.most_at_once = 0
        self.answer: Callable[[str], VideoFile] = self.not_ready
        self._lock = threading.Lock()

    def not_ready(self, _name: str) -> VideoFile:
        raise VideoNotReady("not ready", word="queued", progress=0.25)

    def look(self, name: str) -> VideoFile:
        with self._lock:
            self.looks.append(name)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return self.answer(name)
        finally:
            with self._lock:
                self.at_once -= 1


def raising(error: HingError) -> Callable[[str], VideoFile]:
    def answer(_name: str) -> VideoFile:
        raise error

    return answer


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def poller(server: Server) -> Iterator[Poller]:
    poller = Poller(server.look, 0.01)
    yield poller
    poller.close()
    assert poller.join(PATIENCE)


def test_a_video_is_looked_at_until_it_is_ready(poller, server):
    with poller.watch("v.mp4") as watch:
        news = watch.await_news(None, PATIENCE)
        assert (news.word, news.progress, news.is_final) == ("queued", 0.25, False)
        eventually(lambda: len(server.looks) > 2, "it is looked at again")
        server.answer = lambda _: FILE
        while not news.is_final:
            news = watch.await_news(news, PATIENCE)

    assert news.file is FILE
    assert news.progress == 1.0


@pytest.mark.parametrize(
    "error",
    [
        *(VideoFailed("no"), VideoNotFound("no"), AccessDenied("no")),
        *(NotAVideo("a page"), NeverServed("for long"), Closing("the end")),
    ],
)
def test_no_video_is_looked_at_again_after_its_end(poller, server, error):
    server.answer = raising(error)
    with poller.watch("v.mp4") as watch:
        news = watch.await_news(None, PATIENCE)
        with poller.watch("other.mp4") as other:
            other.await_news(None, PATIENCE)

    assert news.is_final
    assert type(news.error) is type(error)
    assert server.looks.count("v.mp4") == 1


@pytest.mark.parametrize(
    "error",
    [
        *(VideoNotReady("not yet"), Unreachable("refused"), ServerBroken("HTTP 500")),
        *(RateLimited("slow down", 0.01), ContentChanged("another")),
    ],
)
def test_what_may_pass_does_not_end_a_wait(poller, server, error):
    server.answer = raising(error)
    with poller.watch("v.mp4") as watch:
        news = watch.await_news(None, PATIENCE)
        assert not news.is_final
        server.answer = lambda _: FILE
        while not news.is_final:
            news = watch.await_news(news, PATIENCE)

    assert news.file is FILE


def test_a_hundred_who_wait_for_one_video_are_one_poller(poller, server):
    watches = [poller.watch("v.mp4") for _ in range(100)]
    for watch in watches:
        watch.await_news(None, PATIENCE)
    eventually(lambda: len(server.looks) > 3, "it is looked at again")

    assert server.most_at_once == 1
    for watch in watches:
        watch.close()


def test_once_the_last_has_gone_nothing_is_asked(poller, server):
    first, second = poller.watch("v.mp4"), poller.watch("v.mp4")
    first.await_news(None, PATIENCE)
    first.close()
    asked = len(server.looks)
    eventually(lambda: len(server.looks) > asked, "the second is still there")
    second.close()
    eventually(lambda: not server.at_once, "the last look has ended")
    asked = len(server.looks)
    with poller.watch("other.mp4") as other:  # ten more looks at another one
        eventually(lambda: server.looks.count("other.mp4") > 10, "it goes on")
        assert other.news is not None

    assert server.looks.count("v.mp4") <= asked


@pytest.mark.parametrize(
    "error",
    [
        VideoNotReady("not ready", pause_seconds=3600.0),
        RateLimited("slow down", 3600.0),
    ],
)
def test_a_pause_that_the_server_names_is_kept(poller, server, error):
    server.answer = raising(error)
    with poller.watch("v.mp4") as watch:
        watch.await_news(None, PATIENCE)
        server.answer = server.not_ready
        with poller.watch("other.mp4"):
            eventually(lambda: server.looks.count("other.mp4") > 5, "others go on")

        assert server.looks.count("v.mp4") == 1


def test_many_videos_are_looked_at_side_by_side_up_to_a_bound(poller, server):
    go_on = threading.Event()

    def hang(_name: str) -> VideoFile:
        assert go_on.wait(PATIENCE)
        return FILE

    server.answer = hang
    watches = [poller.watch(f"{number}.mp4") for number in range(2 * THREADS)]
    eventually(lambda: server.at_once == THREADS, "all threads look")
    go_on.set()
    for watch in watches:
        assert watch.await_news(None, PATIENCE).file is FILE
        watch.close()

    assert server.most_at_once == THREADS


def test_the_end_wakes_everyone_who_waits(server):
    poller = Poller(server.look, 3600.0)
    watch = poller.watch("v.mp4")
    news = watch.await_news(None, PATIENCE)
    ended: list[News | None] = []
    waiter = threading.Thread(
        target=lambda: ended.append(watch.await_news(news, PATIENCE))
    )
    waiter.start()
    poller.close()
    waiter.join(PATIENCE)

    assert ended[0] is not None
    assert isinstance(ended[0].error, Closing)
    assert ended[0].is_final
    assert poller.join(PATIENCE)
    late = poller.watch("late.mp4").news
    assert late is not None
    assert isinstance(late.error, Closing)


def test_an_unforeseen_error_is_said_and_does_not_end_the_wait(
    poller, server, expected_log
):
    expected_log("unforeseen error")
    server.answer = lambda _: 1 / 0
    with poller.watch("v.mp4") as watch:
        news = watch.await_news(None, PATIENCE)
        assert isinstance(news.error, Unforeseen)
        server.answer = lambda _: FILE
        while not news.is_final:
            news = watch.await_news(news, PATIENCE)


def test_who_waits_goes_on_after_its_deadline(poller, server):
    with poller.watch("v.mp4") as watch:
        news = watch.await_news(None, PATIENCE)
        began = time.monotonic()
        while (newer := watch.await_news(news, 0.0)) is not news:
            news = newer  # another look has just ended
        assert time.monotonic() - began < PATIENCE


def test_without_any_thread_a_watch_is_refused(server, monkeypatch):
    poller = Poller(server.look, 0.01)

    def refuse(_worker: object) -> None:
        raise TransportError("no thread can be started")

    with monkeypatch.context() as patched:
        patched.setattr("hingfs.workers.Worker.start", refuse)
        with pytest.raises(TransportError, match="no thread"):
            poller.watch("v.mp4")
    with poller.watch("v.mp4") as watch:  # the next one has it tried again
        assert watch.await_news(None, PATIENCE) is not None
    poller.close()
    assert poller.join(PATIENCE)


def test_who_waits_for_many_is_woken_by_each_look(poller, server):
    with poller.watch("v.mp4") as watch:
        looks = poller.await_look(0, PATIENCE)
        assert looks > 0
        assert watch.news is not None
        assert poller.await_look(looks, PATIENCE) > looks
    poller.close()
    assert poller.await_look(10**9, 0.0) < 10**9
