"""How many replicas are asked, and by whom at the same time."""

import threading
from concurrent.futures import ThreadPoolExecutor

from hingfs.api.replicas import MOST_ASKED, ask_around
from hingfs.errors import ServerBroken


def knows(found: str) -> bool:
    return found == "known"


def test_searches_take_turns():
    """Behind a round robin, some that asked in step met the same replica each time."""
    both = threading.Barrier(2)
    met = []

    def ask() -> str:
        try:  # whoever asks alone waits in vain for the other, for a moment
            both.wait(0.05)
            met.append("another search")
        except threading.BrokenBarrierError:
            both.reset()
        return "known"

    with ThreadPoolExecutor(2) as threads:
        searches = [
            threads.submit(ask_around, "v", "absent", ask, knows) for _ in range(2)
        ]

    assert [search.result() for search in searches] == ["known", "known"]
    assert met == []


def test_what_nobody_knows_costs_a_bounded_number_of_questions():
    asked = []

    def ask() -> str:
        asked.append("a replica")
        return "absent"

    assert ask_around("v", "absent", ask, knows) == "absent"
    assert len(asked) == MOST_ASKED


def test_what_is_known_costs_none():
    def ask() -> str:
        raise AssertionError("asked")

    assert ask_around("v", "known", ask, knows) == "known"


def test_trouble_ends_a_search_and_gives_the_turn_back():
    asked = []

    def ask() -> str:
        asked.append("a replica")
        raise ServerBroken("raised by the test")

    for _ in range(3):
        assert ask_around("v", "absent", ask, knows) == "absent"
    assert len(asked) == 3
