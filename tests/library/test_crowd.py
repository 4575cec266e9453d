"""The bound on calls that wait: the next one is given no time."""

import time

import pytest

from hingfs.library.crowd import Crowd
from tests.conftest import LogWatch


def test_a_call_has_its_time_while_there_is_room(expected_log: LogWatch) -> None:
    expected_log("2 calls wait for a server; more fail at once")
    crowd = Crowd(2)
    with crowd.call(100) as first, crowd.call(50) as second:
        with crowd.call(100) as third:
            assert third <= time.monotonic()

        assert first > time.monotonic() + 90
        assert 40 < second - time.monotonic() < 60
    with pytest.raises(ValueError), crowd.call(100):
        raise ValueError

    with crowd.call(100), crowd.call(100) as last:
        assert last > time.monotonic() + 90


def test_a_crowd_is_said_once_until_half_of_it_has_gone(
    expected_log: LogWatch,
) -> None:
    expected_log("2 opens wait")
    crowd = Crowd(2, "opens wait")
    with crowd.call(100):
        with crowd.call(100):
            for _ in range(3):
                with crowd.call(100):
                    assert crowd.under_way == 3
            assert len(expected_log.lines) == 1

        with crowd.call(100), crowd.call(100):
            assert len(expected_log.lines) == 2
