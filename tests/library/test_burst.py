"""Which names are worth a look-up where programs start at once."""

import pytest

from hingfs.library.burst import Burst

ORDER = [f"v{number:03}" for number in range(200)]
PLACES = {name: place for place, name in enumerate(ORDER)}


def ahead(burst: Burst) -> list[str]:
    """The names that `next` gives, to the last."""
    names = []
    while (name := burst.next()) is not None:
        names.append(name)
    return names


@pytest.mark.parametrize(
    ("last", "name", "expected"),
    [
        (50, 48, [47, 49, 51, 52]),
        (48, 52, [49, 50, 51, 53]),
        (3, 0, [1, 2, 4, 5]),
        (196, 199, [194, 195, 197, 198]),
        (50, 55, []),
        (50, 50, []),
    ],
    ids=["backward", "forward", "first", "last", "far", "the same"],
)
def test_those_beside_two_near_ones_are_looked_up(last, name, expected):
    burst = Burst(4, 64)

    assert burst.begin(ORDER, PLACES, ORDER[name], ORDER[last]) is bool(expected)
    assert ahead(burst) == [ORDER[index] for index in expected]


def test_all_of_a_short_list_are_looked_up():
    burst = Burst(8, 64)

    assert burst.begin(ORDER[:5], PLACES, ORDER[3], ORDER[1])
    assert ahead(burst) == [ORDER[0], ORDER[2], ORDER[4]]


def test_a_name_that_is_in_no_list_begins_none():
    burst = Burst(8, 64)

    assert not burst.begin(ORDER, PLACES, "other", ORDER[1])
    assert not burst.begin(ORDER, PLACES, ORDER[1], "")


def test_twice_as_many_follow_those_that_were_asked_for_and_none_follow_others():
    burst = Burst(4, 8)
    burst.begin(ORDER, PLACES, ORDER[10], ORDER[12])
    assert not burst.begin(ORDER, PLACES, ORDER[20], ORDER[22])

    sizes = []
    for first in (30, 50, 70):
        for name in ahead(burst):
            burst.asked(name)
        burst.begin(ORDER, PLACES, ORDER[first], ORDER[first + 2])
        sizes.append(len(burst._waiting))
    assert sizes == [8, 8, 8]

    picked = [
        burst.begin(ORDER, PLACES, ORDER[i], ORDER[i - 3]) for i in range(199, 100, -7)
    ]
    assert not any(picked)


def test_names_that_nobody_looks_up_make_room():
    """As where the server has asked for a pause, and nothing is looked up ahead."""
    burst = Burst(4, 8)
    for first in range(0, 180, 3):
        burst.begin(ORDER, PLACES, ORDER[first], ORDER[first + 2])
        for name in ORDER:
            burst.asked(name)

    waiting = ahead(burst)
    assert len(waiting) == 16
    assert waiting[-1] > ORDER[170]
