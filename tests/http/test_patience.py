"""How long a call tries, and how late an answer may begin."""

import time
from types import SimpleNamespace

import pytest

from hingfs.errors import DeadlineExceeded, NoAnswer, ServerBroken
from hingfs.http.patience import READ_TRIES, Patience
from hingfs.http.slots import Slots
from hingfs.settings import EndpointConfig
from hingfs.token import Token


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


@pytest.fixture
def patience(now):
    def wait(seconds: float) -> None:
        now[0] += seconds

    return Patience(
        SimpleNamespace(wait=wait, slots=Slots(1)),  # type: ignore[arg-type]
        EndpointConfig(
            token=Token("oh-t"), stall_seconds=10.0, first_byte_seconds=300.0
        ),
        about="v",
        seconds=60.0,
        tries=READ_TRIES,
        pause_seconds=25.0,
    )


class TestHead:
    def test_one_silent_attempt_leaves_time_for_another(self, patience, now):
        assert patience.head_deadline - now[0] == 30.0
        now[0] += 45
        assert patience.head_deadline - now[0] == 10.0  # a stall, and not half of 15
        now[0] += 10
        assert patience.head_deadline - now[0] == 5.0  # all that is left

    def test_where_another_would_cost_the_whole_file_it_is_waited_for(
        self, patience, now
    ):
        patience.wait_long()

        assert patience.head_deadline - now[0] == 300.0
        assert patience.prompt_deadline - now[0] == 30.0

    def test_an_answer_that_came_late_has_its_time(self, patience, now):
        patience.wait_long()
        now[0] += 290

        patience.answered()

        assert patience.deadline - now[0] == 60.0

    def test_an_answer_in_time_gets_none_in_addition(self, patience, now):
        now[0] += 50

        patience.answered()

        assert patience.deadline - now[0] == 10.0

    def test_a_silence_is_borne_once(self, patience, now):
        now[0] += 59
        patience.bear_silence()
        assert patience.head_deadline - now[0] == 241.0
        patience.failed(NoAnswer("silent"))

        now[0] = patience.head_deadline
        patience.bear_silence()
        with pytest.raises(DeadlineExceeded):
            patience.failed(NoAnswer("silent"))


def test_the_deadline_ends_the_tries_however_late_an_answer_may_be(patience, now):
    patience.wait_long()
    now[0] += 59.95

    with pytest.raises(DeadlineExceeded):
        patience.failed(ServerBroken("500"))


class TestTries:
    def test_the_last_try_raises_what_it_met(self, patience):
        met = ServerBroken("HTTP 503")
        for _ in range(READ_TRIES - 1):
            patience.failed(met)

        with pytest.raises(ServerBroken) as raised:
            patience.failed(met)

        assert raised.value is met

    def test_pauses_that_a_failure_asks_for_share_one_bound(self, patience, now):
        """Of 25 s; what is too long for the rest of it is waited for as without it."""
        patience.failed(ServerBroken("HTTP 503"), 20.0)
        patience.failed(ServerBroken("HTTP 503"), 10.0)

        assert 1020 < now[0] < 1022

    def test_bytes_that_came_give_all_time_back(self, patience, now):
        now[0] += 50

        patience.progressed()

        assert patience.deadline - now[0] == 60.0

    def test_bytes_that_came_give_all_tries_back(self, patience):
        for _ in range(READ_TRIES - 1):
            patience.failed(ServerBroken("HTTP 503"))
        patience.progressed()

        for _ in range(READ_TRIES - 1):
            patience.failed(ServerBroken("HTTP 503"))
