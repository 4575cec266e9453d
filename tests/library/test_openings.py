"""For which look-ups the first bytes are asked for beside them."""

import pytest

from hingfs.api.first_bytes import MOST_VIDEOS
from hingfs.library.openings import OpenHabit

LISTS = None


@pytest.mark.parametrize(
    ("done", "expected"),
    [
        ((), True),
        ((LISTS,), False),
        (tuple("abcd")[:MOST_VIDEOS], False),
        (("a", "b", "c", "d", "open d"), True),
        ((LISTS, "a"), False),
        ((LISTS, "a", "open a"), True),
        ((LISTS, "a", "open a", LISTS), False),
        ((LISTS, "open a"), False),
    ],
)
def test_an_open_is_expected_as_long_as_few_are_missing(done, expected):
    """A listing is followed by look-ups for attributes, until one is opened."""
    habit = OpenHabit()
    for what in done:
        if what is LISTS:
            habit.listed()
        elif what.startswith("open "):
            habit.opened(what.removeprefix("open "))
        else:
            habit.looked_up(what)

    assert habit.looked_up("z") is expected


def test_each_open_has_one_more_name_expected():
    habit = OpenHabit()
    habit.listed()
    for name in "abcd":
        habit.looked_up(name)
        habit.opened(name)

    answers = [habit.looked_up(name) for name in "stuvwxyz"]
    assert answers == [True] * MOST_VIDEOS + [False] * (8 - MOST_VIDEOS)
