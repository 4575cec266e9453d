"""What is known of the API's list, and when its newest page proves the rest. Pure.

Decides whether a list is sorted newest first, whether newer rows join those that are
known, and which older rows may have been completed since. Rows are ids with their status
in the server's order. Leaves to `refresh` when the list is asked for, and which page.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from ..api.judgement.video_status import State, Status
from ..api.sender import PAGE_ENTRIES
from ..facts.records import ListedRow

Rows = Mapping[str, Status]  # in the server's order; nobody changes them

# So many of the first known rows, with none left out, prove that the newest rows join
# them. A server that shuffles its list shows so many by chance never. A guess.
JOINING_ROWS = 10
# A list of no more pages is read whole each time: that notices every change at once.
FEW_PAGES = 3
# What is not finished a day after it was created most likely never will be. A guess.
_UNFINISHED_SECONDS = 86_400.0
_UNFINISHED = (State.NOT_READY, State.UNCERTAIN)


@dataclass(frozen=True, slots=True)
class Ground:
    """The rows of a whole list. Those at its head may be newer than the others."""

    rows: Rows
    total: int | None  # as the server says, maybe with rows that nothing can stand for
    pages: int  # that the last whole pass took
    newest_first: bool
    walked_at: float  # monotonic: when the last whole pass began

    @property
    def can_be_joined(self) -> bool:
        """Whether the newest page of the list may save the others."""
        return self.newest_first and self.pages > FEW_PAGES

    def joined(self, newest: Rows, total: int | None) -> "Ground | None":
        """This ground with the *newest* rows of a list of *total*; None if unproved.

        It is proved if *newest* is sorted, and its known rows are the first of this
        ground, with none left out: such a row may be deleted, or elsewhere, and only a
        whole pass can tell. Rows of one time may come in any order.
        """
        known = [row for row in newest if row in self.rows]
        first = set(itertools.islice(self.rows, len(known)))
        if len(known) < JOINING_ROWS or first != set(known) or not _falls(newest):
            return None
        grown = self.grown(newest)
        if None not in (grown.total, total) and grown.total != total:
            return None
        return grown

    def grown(self, newest: Rows) -> "Ground":
        """This ground with the *newest* rows at its head."""
        rows = united(newest, self.rows)
        came = len(rows) - len(self.rows)
        total = None if self.total is None else self.total + came
        return replace(self, rows=rows, total=total)

    def pages_to_ask_again(self, page_rows: int, now: float, most: int) -> list[str]:
        """After which ids unfinished rows begin that are behind the newest page.

        At most *most* ids, the newest first; one is for a page of *page_rows*.
        *now* in Unix seconds.
        """
        found: list[str] = []
        before, covered = "", page_rows
        for index, (video_id, status) in enumerate(self.rows.items()):
            if index >= covered and _may_be_finished_since(status, now):
                found.append(before)
                covered = index + page_rows
                if len(found) == most:
                    break
            before = video_id
        return found

    def updated(self, after: str, page: Rows) -> "Ground | None":
        """This ground with the newer *page* behind *after*; None if that has other rows."""
        known = iter(self.rows)
        for video_id in known:
            if video_id == after:
                break
        if not page or set(itertools.islice(known, len(page))) != set(page):
            return None
        return replace(self, rows={**self.rows, **page})


def rows_to_keep(
    ground: Ground, can_be_read: Callable[[Status], bool], now: float
) -> list[ListedRow]:
    """What the next mount may join newer rows to; empty if it must read the whole list.

    Those before the last row that may be completed later are left out, so that they are
    read again: nothing that another mount has shown since may be missing. *now* in Unix
    seconds.
    """
    if not ground.can_be_joined:
        return []
    kept: list[ListedRow] = []
    for video_id, row in ground.rows.items():
        if _may_be_finished_since(row, now):
            kept.clear()
        elif can_be_read(row):
            times = (row.completed_at_seconds, row.created_at_seconds)
            kept.append(
                ListedRow(
                    video_id, row.state.value, row.word, *times, row.expires_at_seconds
                )
            )
    # The file does not keep their order.
    return kept if all(row.created_at is not None for row in kept) else []


def recalled(
    rows: Sequence[ListedRow], listed_at: float, walked_at: float
) -> Ground | None:
    """The ground of *rows*, which were read whole at *listed_at* (Unix seconds).

    That is *walked_at* (monotonic). None if nobody here wrote the rows.
    """
    states = {state.value: state for state in State}
    newest_first = sorted(rows, key=lambda row: row.created_at or 0.0, reverse=True)
    statuses = {
        row.video_id: Status(
            states[row.state],
            word=row.word,
            completed_at_seconds=row.completed_at,
            created_at_seconds=row.created_at,
            expires_at_seconds=row.expires_at,
            expired=row.expires_at is not None and row.expires_at <= listed_at,
        )
        for row in newest_first
        if row.state in states
    }
    if len(statuses) < len(rows):
        return None
    pages = math.ceil(len(rows) / PAGE_ENTRIES)
    return Ground(statuses, None, pages, newest_first=True, walked_at=walked_at)


def united(newer: Rows, older: Rows) -> Rows:
    """The rows of both, first the *newer*."""
    rest = ((row, older[row]) for row in older if row not in newer)
    return {**newer, **dict(rest)}


def is_newest_first(rows: Rows) -> bool:
    """Whether the times of creation prove that *rows* are sorted newest first."""
    told = _times_of(rows)
    if 2 * len(told) < len(rows) or not told or told[0] == told[-1]:
        return False
    return _falls(rows)


def _falls(rows: Rows) -> bool:
    """Whether no row of *rows* tells a later time of creation than one before it."""
    return all(newer >= older for newer, older in itertools.pairwise(_times_of(rows)))


def _times_of(rows: Rows) -> list[float]:
    times = (status.created_at_seconds for status in rows.values())
    return [time for time in times if time is not None]


def _may_be_finished_since(status: Status, now: float) -> bool:
    created = status.created_at_seconds
    recent = created is not None and now - created < _UNFINISHED_SECONDS
    return recent and status.state in _UNFINISHED
