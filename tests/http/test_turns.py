"""Pauses that all keep, and the turns in which requests leave after one."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hingfs.errors import Closing, DeadlineExceeded, GivenWay, RateLimited
from hingfs.http.turns import LONGEST_PAUSE_SECONDS, RequestLimit
from tests.support.views import pause_of

FOR_EVER = 1e9


@pytest.fixture
def limit():
    return RequestLimit()


def take(limit, pause_seconds: float = FOR_EVER, seconds: float = 10.0):
    return limit.take_turn(pause_seconds, time.monotonic() + seconds)


class TestPause:
    def test_a_pause_is_never_shortened(self, limit):
        limit.pause(100)
        limit.pause(1)

        assert 90 < pause_of(limit) <= 100

    def test_a_pause_is_bounded(self, limit):
        limit.pause(1e9)

        assert LONGEST_PAUSE_SECONDS - 1 < pause_of(limit) <= 120

    @pytest.mark.parametrize("named", [None, 0.0])
    def test_without_a_time_it_grows_up_to_some_seconds(
        self, limit, named, monkeypatch
    ):
        now = [1000.0]
        monkeypatch.setattr(time, "monotonic", lambda: now[0])
        pauses = []
        for _ in range(8):
            limit.pause(named)
            pauses.append(pause_of(limit))
            now[0] += pauses[-1]

        assert pauses == pytest.approx([0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5])
        limit.answered()
        limit.pause(named)
        assert pause_of(limit) == pytest.approx(0.4)

    def test_requests_refused_together_make_one_pause(self, limit):
        for _ in range(16):
            limit.pause(None)

        assert pause_of(limit) <= 0.8

    def test_a_pause_is_waited_for(self, limit):
        limit.pause(0.05)

        with take(limit):
            assert pause_of(limit) == 0

    @pytest.mark.parametrize(("pause", "seconds"), [(1.0, 100), (100, 1.0)])
    def test_longer_than_a_call_may_wait_it_is_an_error_at_once(
        self, limit, pause, seconds
    ):
        limit.pause(30)

        with pytest.raises(RateLimited) as limited:
            take(limit, pause, seconds)

        assert limited.value.retry_after_seconds == pytest.approx(30, abs=1)

    def test_close_wakes_every_caller(self, limit):
        limit.pause(30)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(take, limit, FOR_EVER, 60)
            limit.close(Closing("the mount is ending"))

            with pytest.raises(Closing):
                waiting.result(10)


class TestTurns:
    def test_there_are_none_where_no_pause_was_asked_for(self, limit):
        with take(limit), take(limit):
            assert not limit.known

    def test_after_a_pause_one_request_is_under_way_at_a_time(self, limit):
        limit.pause(0.01)
        under_way, most = [], []

        def ask(number: int) -> None:
            with take(limit):
                under_way.append(number)
                most.append(len(under_way))
                threading.Event().wait(0.005)
                under_way.remove(number)

        with ThreadPoolExecutor(16) as threads:
            for asked in [threads.submit(ask, number) for number in range(16)]:
                asked.result(10)

        assert most == [1] * 16

    def test_what_gives_way_takes_no_turn(self, limit):
        deadline = time.monotonic() + 10
        with limit.take_turn(FOR_EVER, deadline, gives_way=True):
            limit.pause(0.01)

        with pytest.raises(GivenWay):
            limit.take_turn(FOR_EVER, deadline, gives_way=True)
        with take(limit), pytest.raises(GivenWay):
            limit.take_turn(FOR_EVER, deadline, gives_way=True)

    def test_a_call_that_waits_for_a_turn_hears_of_another_pause(self, limit):
        limit.pause(0.01)
        turn = take(limit)
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(take, limit, 5.0)
            with turn:
                limit.pause(60)

            with pytest.raises(RateLimited):
                waiting.result(10)

    def test_an_answer_that_takes_long_holds_nobody_up(self):
        limit = RequestLimit(longest_turn_seconds=0.05)
        limit.pause(0.01)

        with take(limit):
            later = take(limit)
        with pytest.raises(DeadlineExceeded):  # the first to end ends not the second's
            take(limit, seconds=0.01)
        with later:
            pass
        with take(limit):
            pass

    def test_turns_end_when_no_pause_was_asked_for_for_long(self):
        limit = RequestLimit(remembered_seconds=0.0)
        limit.pause(0.01)

        with take(limit), take(limit):
            assert not limit.known
