"""How long a rendering takes yet, by the progress that was seen."""

import pytest

from hingfs.wait.pace import Pace


def pace(*seen: tuple[float | None, float]) -> Pace:
    made = Pace()
    for progress, when in seen:
        made.saw(progress, when)
    return made


@pytest.mark.parametrize(
    "seen",
    [(), ((None, 1.0),), ((0.0, 1.0), (0.0, 9.0)), ((0.5, 1.0), (None, 2.0))],
    ids=["nothing", "untold", "stays 0", "one value"],
)
def test_nothing_is_told_before_two_values(seen):
    assert pace(*seen).seconds_left(10.0) is None


def test_the_time_left_is_that_of_the_pace_so_far():
    told = pace((0.2, 10.0), (0.3, 15.0), (0.4, 20.0))

    assert told.seconds_left(20.0) == pytest.approx(30.0)
    assert told.seconds_left(45.0) == pytest.approx(5.0)
    assert told.seconds_left(50.0) is None, "it is late: nobody knows"


def test_what_was_queued_again_has_a_pace_of_its_own():
    told = pace((0.2, 10.0), (0.8, 20.0), (0.0, 30.0))

    assert told.seconds_left(30.0) is None
    told.saw(0.5, 31.0)
    assert told.seconds_left(31.0) == pytest.approx(1.0)
