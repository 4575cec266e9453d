"""How many requests for content a server takes at once, learnt from its refusals."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from hingfs.errors import Closing, DeadlineExceeded
from hingfs.http.slots import Slot, Slots

FOR_EVER = 1e8


def taken(slots: Slots, count: int, *, served: int = 0) -> list[Slot]:
    """*count* slots that are held; the answers of the first *served* have begun."""
    made = [Slot(slots) for _ in range(count)]
    for slot in made:
        slot.take(FOR_EVER)
    for slot in made[:served]:
        slot.served()
    return made


def end_answers(slots: Slots, count: int) -> None:
    """Have *count* answers end while all slots are in use."""
    for _ in range(count):
        busy = taken(slots, slots.at_once, served=1)
        for slot in busy:
            slot.release()


@pytest.mark.parametrize("served", [0, 2, 4])
def test_requests_refused_together_leave_as_many_as_are_taken(served):
    """However many of the others have been answered by then."""
    slots = Slots(10)
    for slot in reversed(taken(slots, 10, served=served)[4:]):
        assert slots.refuse(slot)

    assert slots.at_once == 4


def test_a_request_that_ended_meanwhile_was_taken_as_well():
    slots = Slots(10)
    *served, refused = taken(slots, 5, served=4)
    served[0].release()

    assert slots.refuse(refused)
    assert slots.at_once == 4
    refused.take(0.0)  # there is room for it


def test_a_refused_request_waits_for_another_to_end():
    slots = Slots(10)
    other, refused = taken(slots, 2, served=1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(refused.refused, FOR_EVER)
        with pytest.raises(DeadlineExceeded):
            Slot(slots).take(time.monotonic() + 0.05)
        assert not waiting.done()
        other.release()

        assert waiting.result(10)


def test_alone_it_met_no_limit():
    slots = Slots(10)
    (slot,) = taken(slots, 1)

    assert not slot.refused(0.0)
    assert slots.at_once == 10
    assert not Slot(slots).refused(0.0), "no slot, no part in this"


def test_an_outage_that_is_over_leaves_no_limit():
    slots = Slots(10)
    *others, last = taken(slots, 10)
    for slot in others:
        assert slots.refuse(slot)
    assert slots.at_once == 1
    assert not slots.refuse(last)

    last.served()

    assert slots.at_once == 10


def test_it_climbs_again_and_more_seldom_where_it_is_refused_again():
    learnt: list[int | None] = []
    slots = Slots(6)
    slots.recall(4, learnt.append)
    end_answers(slots, 7)
    assert slots.at_once == 4
    end_answers(slots, 1)
    *others, refused = taken(slots, 5)
    assert slots.refuse(refused)
    for slot in others:
        slot.release()

    end_answers(slots, 15)
    assert slots.at_once == 4
    end_answers(slots, 1 + 8)

    assert learnt == [5, 4, 5, None]
    assert slots.at_once == 6


def test_close_wakes_every_caller():
    slots = Slots(1)
    taken(slots, 1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(Slot(slots).take, FOR_EVER)
        slots.close(Closing("the mount is ending"))

        with pytest.raises(Closing):
            waiting.result(10)
