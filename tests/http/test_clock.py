"""The API's clock, by which its times are told."""

import time
from email.utils import formatdate

import pytest

from hingfs.http.clock import ServerClock

DAY = 86_400.0


@pytest.mark.parametrize("ahead", [-400 * DAY, -3600.0, 0.0, 3600.0, 400 * DAY])
def test_the_date_of_the_last_answer_is_the_time(ahead):
    clock = ServerClock()
    clock.learn(formatdate(time.time() - 7 * DAY, usegmt=True))

    clock.learn(formatdate(time.time() + ahead, usegmt=True))

    assert clock.now() - time.time() == pytest.approx(ahead, abs=1.5)


def test_before_any_answer_it_is_the_time_here():
    assert ServerClock().now() == pytest.approx(time.time(), abs=1.0)


@pytest.mark.parametrize(
    "date",
    [None, "", "today", "Thu, 32 Nov 2026 00:00:00 GMT", "0", "Thu, 26 Nov", "9" * 99],
)
def test_what_is_no_date_changes_nothing(date):
    clock = ServerClock()
    clock.learn(formatdate(time.time() + DAY, usegmt=True))

    clock.learn(date)

    assert clock.now() - time.time() == pytest.approx(DAY, abs=1.5)


def test_setting_this_machines_clock_moves_it_not(monkeypatch):
    clock = ServerClock()
    clock.learn(formatdate(1_790_000_000, usegmt=True))
    monkeypatch.setattr(time, "time", lambda: 5.0)

    assert clock.now() == pytest.approx(1_790_000_000, abs=1.0)
