"""Whose turn it is: one video asks at a time, and the first in the order goes first."""

import pytest

from hingfs.blocks import MIB
from hingfs.keep.plan import Plan, Turn, Wish
from hingfs.keep.rate import HALF_LIFE_SECONDS, Rate

NOW = 1000.0


@pytest.fixture
def plan() -> Plan:
    """At 10 MiB a second over ten connections."""
    plan = Plan()
    plan.connections = 10
    plan.rate.note(10 * MIB, 1.0)
    return plan


def wish(name: str, size_mib: int, seconds: float) -> Wish:
    return Wish(name, NOW + seconds, size_bytes=size_mib * MIB)


def taken(plan: Plan, one: Wish) -> Wish:
    plan.add(one)
    plan.take(one)
    one.asks = True
    return one


def test_the_next_one_asks_once_the_first_has_asked_for_all(plan: Plan) -> None:
    first, second = taken(plan, wish("a", 10, 60)), taken(plan, wish("b", 10, 70))
    assert plan.turn(first, NOW, 0) is Turn.GO_ON
    assert plan.turn(second, NOW, 0) is Turn.WAIT

    plan.asks(first)
    first.asks = False

    assert plan.turn(first, NOW, 0) is Turn.GO_ON
    assert plan.turn(second, NOW, 0) is Turn.GO_ON


def test_what_is_under_way_is_spared_where_that_makes_nobody_late(plan: Plan) -> None:
    first = taken(plan, wish("a", 30, 60))
    plan.asks(first)
    plan.add(wish("b", 10, 20))

    assert plan.turn(first, NOW, 1) is Turn.GO_ON


def test_it_stands_back_for_one_that_would_be_late(plan: Plan) -> None:
    first = taken(plan, wish("a", 100, 60))
    plan.asks(first)
    urgent = wish("b", 10, 5)
    plan.add(urgent)

    assert plan.to_bring(NOW) is urgent
    assert plan.turn(first, NOW, 1) is Turn.STAND_BACK


def test_what_failed_is_no_reason_to_wait_until_its_time_comes(plan: Plan) -> None:
    failed, other = wish("a", 10, 60), taken(plan, wish("b", 10, 70))
    failed.not_before = NOW + 0.1
    plan.add(failed)

    assert plan.to_bring(NOW) is None
    assert plan.turn(other, NOW, 0) is Turn.GO_ON
    assert plan.next_try(NOW) == pytest.approx(0.1)
    assert plan.to_bring(NOW + 0.11) is failed, "though the order is not a second old"


def test_the_share_is_what_the_deadlines_need(plan: Plan) -> None:
    assert plan.share(NOW) == 0
    plan.add(wish("a", 100, 3600))
    assert plan.share(NOW) == 1
    plan.add(wish("b", 50, 11))

    assert 5 <= plan.share(NOW) <= 8


def test_a_video_that_stays_late_is_told_once_and_one_that_cannot_come_at_once(
    plan: Plan,
) -> None:
    hopeless, back = wish("a", 1000, 20), wish("b", 60, 10)
    for one in (hopeless, back, wish("c", 50, 10)):
        plan.add(one)

    assert plan.newly_late(NOW) == [hopeless]
    assert plan.newly_late(NOW + 1) == []
    assert plan.newly_late(NOW + 3.1) == [back]
    assert plan.newly_late(NOW + 4) == []


def test_the_rate_follows_the_link() -> None:
    rate = Rate()
    assert not rate.is_known
    rate.note(100, 1.0)
    assert rate.bytes_per_second == 100

    rate.note(0, HALF_LIFE_SECONDS)

    assert rate.bytes_per_second == pytest.approx(50 / (HALF_LIFE_SECONDS + 0.5))


def test_what_readers_leave_counts_and_all_connections_but_one_at_least() -> None:
    """A clip of 95 MiB in ten seconds, at 10 MiB a second for all."""
    orders = []
    for own_mib in (10, 9.8, 0):
        plan = Plan()
        plan.connections = 10
        plan.rate.note(10 * MIB, 1.0, int(own_mib * MIB))
        plan.add(wish("a", 95, 10))
        orders.append(len(plan.order(NOW).in_time))
        plan.remove(wish("a", 95, 10))
        plan.add(wish("b", 85, 10))
        orders.append(len(plan.order(NOW).in_time))

    assert orders == [1, 1, 1, 1, 0, 1]
