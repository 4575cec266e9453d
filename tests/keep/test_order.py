"""The order of keeping has as many videos in time as any order could have."""

from itertools import accumulate, combinations

from hypothesis import given
from hypothesis import strategies as st

from hingfs.keep.order import Job, order_of

NOW = 1000.0
RATE = 4.0  # bytes a second: its quotients are exact
INFINITE = float("inf")

jobs_of_any_kind = st.lists(
    st.tuples(st.integers(0, 40), st.integers(-8, 40)), max_size=7
).map(
    lambda rows: [
        Job(key, left, NOW + wait / 4) for key, (left, wait) in enumerate(rows)
    ]
)


def are_in_time(jobs: list[Job], rate: float = RATE) -> bool:
    """Whether *jobs*, one after the other by their deadlines, all make it.

    If that order does not, none does.
    """
    jobs = sorted(jobs, key=lambda job: job.deadline)
    ends = accumulate(job.left_bytes for job in jobs)
    return all(
        NOW + end / rate < job.deadline for end, job in zip(ends, jobs, strict=True)
    )


def best_count(jobs: list[Job]) -> int:
    """How many of *jobs* can be in time, found by trying every choice."""
    return max(
        count
        for count in range(len(jobs) + 1)
        if any(are_in_time(list(some)) for some in combinations(jobs, count))
    )


@given(jobs_of_any_kind)
def test_no_order_has_more_videos_in_time(jobs: list[Job]) -> None:
    order = order_of(jobs, NOW, RATE)

    assert are_in_time(list(order.in_time))
    assert len(order.in_time) == best_count(jobs)


@given(jobs_of_any_kind)
def test_each_video_comes_once_and_by_its_deadline_among_its_like(
    jobs: list[Job],
) -> None:
    order = order_of(jobs, NOW, RATE)

    assert sorted(job.key for job in order.jobs) == list(range(len(jobs)))  # type: ignore[type-var]
    for part in (order.in_time, order.late):
        assert list(part) == sorted(part, key=lambda job: job.deadline)


@given(jobs_of_any_kind)
def test_the_least_rate_is_enough_and_no_lower_one_is(jobs: list[Job]) -> None:
    order = order_of(jobs, NOW, RATE)
    least = order.least_rate(NOW)

    assert least < RATE or not least
    if least:
        assert are_in_time(list(order.in_time), least * 1.001)
        assert not are_in_time(list(order.in_time), least * 0.999)


def test_while_no_rate_is_known_all_that_have_not_expired_come_by_their_deadlines() -> (
    None
):
    jobs = [Job("b", 900, NOW + 2), Job("gone", 1, NOW), Job("a", 10**12, NOW + 1)]

    order = order_of(jobs, NOW, INFINITE)

    assert [job.key for job in order.jobs] == ["a", "b", "gone"]


def test_the_longest_stands_back_for_two_short_ones() -> None:
    jobs = [Job("film", 100, NOW + 26), Job("x", 8, NOW + 27), Job("y", 8, NOW + 28)]

    order = order_of(jobs, NOW, RATE)

    assert [job.key for job in order.in_time] == ["x", "y"]
    assert [job.key for job in order.late] == ["film"]


def test_of_equally_long_ones_the_later_stands_back() -> None:
    """The other may be under way, and its order must not turn on a whim."""
    order = order_of([Job("a", 8, NOW + 3), Job("b", 8, NOW + 3.5)], NOW, RATE)

    assert [job.key for job in order.jobs] == ["a", "b"]
    assert [job.key for job in order.late] == ["b"]
