"""When the newest page of a list proves the rows that are known."""

from dataclasses import replace

import pytest

from hingfs.api.judgement.video_status import State, Status
from hingfs.library.ground import JOINING_ROWS, Ground, is_newest_first, united

DAY = 86_400.0
FAILED, MAKING = Status(State.FAILED), Status(State.NOT_READY, created_at_seconds=1e9)


def rows(*ids: int | str) -> dict[str, Status]:
    """Rows of which 0 is the newest but those with a word; 40 and 41 are of one time."""
    return {
        str(row): Status(
            State.READY,
            created_at_seconds=2e9 if isinstance(row, str) else 1e9 - row + (row == 41),
        )
        for row in ids
    }


def ground(count: int = 300, total: int | None = None) -> Ground:
    """The rows 0 to *count*, as of an endpoint that said *total*."""
    return Ground(rows(*range(count)), total, 3, newest_first=True, walked_at=0.0)


@pytest.mark.parametrize(
    ("newest", "total", "joins"),
    [
        ([*range(100)], 300, True),
        (["new", *range(99)], 301, True),
        (["new", "newer", *range(JOINING_ROWS)], 302, True),
        (["new", *range(99)], None, True),
        (["new", *range(99)], 300, False),
        ([*range(100)], 299, False),
        (["new", *range(JOINING_ROWS - 1)], 301, False),
        ([], 300, False),
        ([*range(1, 101)], 300, False),
        ([*range(50), *range(51, 101)], 300, False),
        ([*range(50), "new", *range(50, 99)], 301, False),
        ([1, 0, *range(2, 100)], 300, False),
        ([*range(40), 41, 40, *range(42, 100)], 300, True),
        ([*range(200, 300)], 300, False),
        ([*range(300), "last"], 301, False),
    ],
)
def test_newest_rows_join_those_known_only_if_sorted_and_without_a_gap(
    newest, total, joins
):
    known = ground(total=300)

    joined = known.joined(rows(*newest), total)

    assert (joined is not None) == joins
    if joined is not None:
        assert list(joined.rows) == list(united(rows(*newest), known.rows))
        assert set(known.rows) <= set(joined.rows)
        assert joined.total == len(joined.rows), "the next page is compared with it"


def test_a_row_that_is_read_again_counts_as_it_is_now():
    joined = ground().joined({**rows(*range(50)), "3": FAILED}, None)

    assert joined is not None
    assert joined.rows["3"] is FAILED


@pytest.mark.parametrize(
    ("times", "newest_first"),
    [
        ([3.0, 2.0, 2.0, 1.0], True),
        ([3.0, None, 1.0], True),
        ([1.0, 2.0, 3.0], False),
        ([3.0, 1.0, 2.0], False),
        ([2.0, 2.0, 2.0], False),
        ([None, None, 3.0, None, 2.0], False),
        ([], False),
    ],
)
def test_only_times_that_fall_prove_the_order(times, newest_first):
    listed = {
        str(n): Status(State.READY, created_at_seconds=time)
        for n, time in enumerate(times)
    }

    assert is_newest_first(listed) == newest_first


def test_pages_with_unfinished_rows_are_asked_for_by_the_rows_before_them():
    late = [150, 160, 255, 290]
    making = {str(n): MAKING for n in late}
    known = ground()
    known = replace(known, rows={**known.rows, **making})

    assert known.pages_to_ask_again(100, 1e9, 9) == ["149", "254"]
    assert known.pages_to_ask_again(100, 1e9, 1) == ["149"]
    assert known.pages_to_ask_again(200, 1e9, 9) == ["254"]
    assert known.pages_to_ask_again(100, 1e9 + DAY, 9) == [], "they never will be"


@pytest.mark.parametrize(
    ("page", "fits"),
    [(range(5, 9), True), ([5, 7], False), (["new", 5, 6], False), ([], False)],
)
def test_a_page_that_is_read_again_updates_only_the_same_rows(page, fits):
    known = ground(9)

    updated = known.updated("4", dict.fromkeys(rows(*page), FAILED))

    assert (updated is not None) == fits
    if updated is not None:
        assert list(updated.rows) == list(known.rows)
        assert updated.rows["8"] is FAILED
        assert updated.rows["4"] is not FAILED
