"""A name that hangs delays no other, and holds its own callers only for a while."""

import math
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext

import pytest

from hingfs.errors import (
    Closing,
    DeadlineExceeded,
    GivenWay,
    HingError,
    Unreachable,
    VideoNotFound,
    VideoNotReady,
)
from hingfs.flights import SingleFlight
from hingfs.library import lookups as lookups_module
from hingfs.library.ahead import Ahead, NextJob
from hingfs.library.lookups import LOOKUP_THREADS, Lookups
from hingfs.workers import DaemonPool
from tests.support.mounting import eventually

SILENCE = 0.2
MOST_AT_ONCE = 8  # ahead


class FakeEar:
    """A server that is silent about some names since it was made, and to all if *dead*."""

    def __init__(self) -> None:
        self.silent: set[str] = set()
        self.dead = False
        self.is_away = False
        self.made_at = time.monotonic()

    def silence_about(self, about: str) -> float:
        return time.monotonic() - self.made_at if about in self.silent else 0.0

    def answered_since(self, when: float) -> bool:  # noqa: ARG002
        return not self.dead

    def next_request_about(self, about: str) -> AbstractContextManager[Future[None]]:  # noqa: ARG002
        return nullcontext(Future())


class Asked:
    """Jobs that hang until `release`, and how often each was begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self._go_on = threading.Event()

    def hangs(self, video_id: str) -> Callable[[], str]:
        def job() -> str:
            self.begun.append(video_id)
            self._go_on.wait()
            return video_id

        return job

    def answers(self, video_id: str) -> Callable[[], str]:
        def job() -> str:
            self.begun.append(video_id)
            return video_id

        return job

    def release(self) -> None:
        self._go_on.set()


@pytest.fixture
def ear() -> FakeEar:
    return FakeEar()


@pytest.fixture
def asked() -> Iterator[Asked]:
    asked = Asked()
    yield asked
    asked.release()


@pytest.fixture
def names() -> SingleFlight:
    """The look-ups that are under way."""
    return SingleFlight()


@pytest.fixture
def ahead(names, asked) -> Iterator[Ahead]:
    ahead = Ahead(names, MOST_AT_ONCE)
    yield ahead
    asked.release()
    ahead.close(Closing("the test is over"))


@pytest.fixture
def lookups(ear, asked, names) -> Iterator[Lookups]:
    lookups = Lookups(ear, SILENCE, names)
    yield lookups
    asked.release()
    lookups.close(Closing("the test is over"))


@pytest.fixture
def callers() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(100) as callers:
        yield callers


def soon(seconds: float = 10.0) -> float:
    return time.monotonic() + seconds


def each(job: Callable[[str], Callable[[], str]], most: int) -> NextJob:
    """Gives *job* of "0", "1" and so on, *most* of them."""
    left = iter([(str(number), job(str(number))) for number in range(most)])
    return lambda: next(left, None)


def nothing() -> None:
    """Make no request."""


class TestThreads:
    def test_names_that_hang_delay_no_other_and_no_list(self, lookups, asked, callers):
        """As many as libfuse has threads, less the one that asks for another."""
        hanging = [f"hangs-{number}" for number in range(LOOKUP_THREADS - 1)]
        lookups._silence_seconds = math.inf
        waiting = [
            callers.submit(
                lookups.result_unless_silent, name, soon(), asked.hangs(name), nothing
            )
            for name in hanging
        ]
        eventually(lambda: len(asked.begun) == len(hanging), "all hang")

        answer = lookups.result_unless_silent("v", soon(), asked.answers("v"), nothing)
        listing = lookups.listing("list", soon(), asked.answers("list"))

        assert (answer, listing) == ("v", "list")
        asked.release()
        assert [future.result() for future in waiting] == hanging

    def test_what_is_ahead_takes_no_thread_of_a_wanted_name(
        self, lookups, asked, ahead
    ):
        ahead.start(each(asked.hangs, 3 * MOST_AT_ONCE))
        eventually(lambda: len(asked.begun) == MOST_AT_ONCE, "they hang")

        answer = lookups.result_unless_silent("v", soon(), asked.answers("v"), nothing)

        assert answer == "v"
        assert len(asked.begun) == MOST_AT_ONCE + 1

    def test_what_is_ahead_and_then_wanted_is_asked_once(
        self, lookups, asked, callers, ahead
    ):
        ahead.start(each(asked.hangs, 1))

        wanted = callers.submit(
            lookups.result_unless_silent, "0", soon(), asked.answers("0"), nothing
        )
        asked.release()

        assert wanted.result() == "0"
        assert asked.begun == ["0"]

    def test_what_gives_way_is_asked_again_for_whoever_had_joined_it(
        self, lookups, ahead, asked, callers, monkeypatch
    ):
        names, joined = lookups._names, []
        hanging, join = asked.hangs("0"), names.join

        def note(*args: object) -> object:
            joined.append(join(*args))
            return joined[-1]

        def gives_way() -> str:
            hanging()
            raise GivenWay("the API counts requests")

        def wanted() -> str:
            asked.begun.append("wanted")
            return "wanted"

        monkeypatch.setattr(names, "join", note)
        ahead.start(each(lambda _: gives_way, 1))
        waiting = [
            callers.submit(lookups.result_unless_silent, "0", soon(), wanted, nothing),
            callers.submit(lookups.result, "0", soon(), wanted),
        ]
        eventually(lambda: len(joined) == 2, "both have joined it")
        assert asked.begun == ["0"]
        asked.release()

        assert [caller.result() for caller in waiting] == ["wanted"] * 2

    def test_what_is_wanted_and_then_ahead_is_asked_once(
        self, lookups, asked, callers, ahead
    ):
        wanted = callers.submit(
            lookups.result_unless_silent, "0", soon(), asked.hangs("0"), nothing
        )
        eventually(lambda: asked.begun == ["0"], "it hangs")

        ahead.start(each(asked.answers, 3))

        eventually(lambda: sorted(asked.begun) == ["0", "1", "2"], "the others")
        asked.release()
        assert wanted.result() == "0"

    def test_a_thread_that_is_free_again_goes_on_with_the_next(self, asked, ahead):
        ahead.start(each(asked.answers, 200))

        eventually(lambda: len(asked.begun) == 200, "all were looked up")
        assert len(set(asked.begun)) == 200

    def test_a_job_that_fails_ahead_fails_nobody(self, lookups, ahead, names):
        def fails(_video_id: str) -> Callable[[], str]:
            def job() -> str:
                raise VideoNotFound("gone")

            return job

        ahead.start(each(fails, 3 * MOST_AT_ONCE))
        eventually(lambda: not names, "all failed")

        assert lookups.result_unless_silent("0", soon(), lambda: "0", nothing) == "0"

    def test_close_wakes_all(self, lookups, asked, callers):
        waiting: list[Future[str]] = [
            callers.submit(
                lookups.result_unless_silent, "v", soon(), asked.hangs("v"), nothing
            ),
            callers.submit(lookups.listing, "list", soon(), asked.hangs("list")),
            callers.submit(lookups.result, "w", soon(), asked.hangs("w")),
        ]
        eventually(lambda: len(asked.begun) == 3, "all hang")

        lookups.close(Closing("the mount is ending"))

        for future in waiting:
            with pytest.raises(Closing):
                future.result()


class TestSilence:
    def test_a_name_that_hangs_gives_way_and_its_answer_is_used(
        self, lookups, asked, ear, names
    ):
        ear.silent.add("v")

        for _ in range(3):
            with pytest.raises(VideoNotReady, match="answers others"):
                lookups.result_unless_silent("v", soon(), asked.hangs("v"), nothing)
        assert asked.begun == ["v"]

        wanted: list[str] = []
        asked.release()
        eventually(lambda: not names, "the answer")
        ear.silent.clear()
        wanted.append(
            lookups.result_unless_silent("v", soon(), asked.answers("v"), nothing)
        )
        assert wanted == ["v"]

    def test_an_answer_that_came_while_a_thread_was_found_counts(
        self, lookups, asked, ear, monkeypatch
    ):
        """A job is as old as its first request at least, or it were a time-out."""
        heard_at: list[float] = []
        start = DaemonPool.start

        def started(pool, *job):
            start(pool, *job)
            heard_at.append(time.monotonic())

        monkeypatch.setattr(DaemonPool, "start", started)
        monkeypatch.setattr(ear, "answered_since", lambda when: heard_at[0] > when)
        ear.silent.add("v")
        ear.made_at = time.monotonic()

        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(), asked.hangs("v"), nothing)

    def test_a_second_caller_is_sent_away_at_once(self, lookups, asked, ear):
        """Else a program that asks again and again would hold the directory for good."""
        ear.silent.add("v")
        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(), asked.hangs("v"), nothing)
        began = time.monotonic()

        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(), asked.hangs("v"), nothing)

        assert time.monotonic() - began < SILENCE

    def test_whoever_joins_what_was_outlasted_waits_less(self, ear, asked):
        """Also where it is asked once more meanwhile, which begins the silence anew."""
        lookups = Lookups(ear, SILENCE, SingleFlight(), outlasted_seconds=0.01)
        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(0.1), asked.hangs("v"), nothing)
        began = time.monotonic()

        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(), asked.hangs("v"), nothing)
        with pytest.raises(DeadlineExceeded):
            lookups.result("v", soon(), asked.hangs("v"))

        assert time.monotonic() - began < 5
        assert asked.begun == ["v"]
        lookups.close(Closing("the test is over"))

    def test_a_dead_server_is_a_time_out(self, lookups, asked, ear):
        """It is asked for something else, and silent about that too."""
        ear.silent.add("v")
        ear.dead = True
        others: list[str] = []

        with pytest.raises(DeadlineExceeded):
            lookups.result_unless_silent(
                "v", soon(1.0), asked.hangs("v"), lambda: others.append("")
            )

        assert others

    def test_the_answer_to_another_question_is_evidence(self, lookups, asked, ear):
        """It is looked for as soon as the silence is long enough, not at half-time."""
        ear.silent.add("v")
        ear.dead = True

        def ask() -> None:
            ear.dead = False

        began = time.monotonic()
        with pytest.raises(VideoNotReady):
            lookups.result_unless_silent("v", soon(60.0), asked.hangs("v"), ask)
        assert time.monotonic() - began < 15

    def test_a_pause_is_no_silence(self, lookups, asked, callers):
        """Nothing is asked meanwhile, so nothing is unanswered."""
        waiting = callers.submit(
            lookups.result_unless_silent, "v", soon(), asked.hangs("v"), nothing
        )
        with pytest.raises(TimeoutError):
            waiting.result(3 * SILENCE)
        asked.release()

        assert waiting.result() == "v"

    def test_where_names_wait_for_no_other_one_is_waited_for(self, ear, asked, callers):
        lookups = Lookups(ear, math.inf, SingleFlight())
        ear.silent.add("v")
        waiting = callers.submit(
            lookups.result_unless_silent, "v", soon(), asked.hangs("v"), nothing
        )
        with pytest.raises(TimeoutError):
            waiting.result(3 * SILENCE)
        asked.release()

        assert waiting.result() == "v"
        lookups.close(Closing("the test is over"))

    @pytest.mark.parametrize("error", [VideoNotFound("v"), TimeoutError("a job's own")])
    def test_what_a_job_raises_is_raised(self, lookups, error):
        def fail() -> str:
            raise error

        with pytest.raises((HingError, TimeoutError)):
            lookups.result_unless_silent("v", soon(), fail, nothing)


class TestAway:
    """A network that swallows packets must not hold up what something known can serve."""

    @pytest.mark.parametrize("kind", ["name", "opened", "list"])
    def test_nobody_waits_long_for_a_server_that_is_away(
        self, lookups, asked, ear, monkeypatch, kind
    ):
        """The look-up goes on, and is no other's to do."""
        monkeypatch.setattr(lookups_module, "AWAY_SECONDS", 0.05)
        ear.is_away = True
        call = {
            "name": lambda job: lookups.result_unless_silent(
                "slow", soon(100), job, ask=asked.answers("another")
            ),
            "opened": lambda job: lookups.result("slow", soon(100), job),
            "list": lambda job: lookups.listing("slow", soon(100), job),
        }[kind]
        for _ in range(2):
            with pytest.raises(Unreachable):
                call(asked.hangs("slow"))
        assert asked.begun == ["slow"]

        asked.release()
        eventually(lambda: not len(lookups._names) + len(lookups._lists), "its end")
        assert call(asked.answers("slow")) == "slow"

    def test_a_server_that_is_back_meanwhile_has_its_time(
        self, lookups, asked, ear, callers, monkeypatch
    ):
        monkeypatch.setattr(lookups_module, "AWAY_SECONDS", 0.3)
        ear.is_away = True
        waiting = callers.submit(
            lookups.listing, "slow", soon(100), asked.hangs("slow")
        )
        eventually(lambda: asked.begun, "a request")

        ear.is_away = False

        with pytest.raises(TimeoutError):
            waiting.result(0.6)
        asked.release()
        assert waiting.result(10) == "slow"
