"""What a page of the API's list says. Pure.

A page that fails must never be taken for the end of the list: `rsync --delete` would
erase copies. So an end is only what can mean nothing else.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass, replace

from . import bodies, wording
from .blocks import MIB
from .errors import ServerBroken, printable
from .statuses import Object, Status, id_of, status_of, video_in, word_of
from .wording import fields_of, names

# Under which the rows stand; the first that is an array. `data` may hold one of them.
_ROWS = names("data", "videos", "items", "tasks", "results", "records", "list", "rows")
# What a page consists of beside its rows; any other name may tell of a failure.
_PAGE_FIELDS = frozenset(
    names(
        *("object", "first_id", "last_id", "has_more", "total", "count", "limit"),
        *("after", "before", "order", "page", "page_num", "page_size", "offset"),
        *("total_count", "total_pages", "next", "previous", "next_cursor", "cursor"),
    )
)
_TOTALS = names("total", "total_count")
# What tells of a failure wherever there are no rows, and `code` wherever it is no
# success, even beside rows: they may be some of many.
_FAILURES = ("error", "errors", "detail")
_MESSAGES = ("message", "msg", "code")
# As much of a list as is held. With ids of 40 characters that is 19,000 videos, about as
# many as fit the pages that are asked for; one that is longer is an error, never a part.
MOST_LISTED_BYTES = 8 * MIB
# What a video takes beside its id while a list is made of pages, and what a short name
# adds: as measured (2026-11-26).
_LISTED_BYTES = 350
_SHORT_NAME_BYTES = 330
_LONG_ID_BYTES = 75  # a "/" of an id is three bytes of its name
_CODES_OF_SUCCESS = frozenset({"0", "200", "success", "ok", "succeed", "succeeded"})


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the API's list.

    *rows* counts all that it holds, *videos* are those of them that have an id, in
    the page's order; *last_id* is "" where none has. *has_more* and *total*, which
    counts the rows of all pages, None: not said.
    """

    rows: int
    videos: tuple[tuple[str, Status], ...]
    last_id: str
    has_more: bool | None
    total: int | None = None


def judge_list(body: bytes, now_seconds: float) -> ListPage | None:
    """What a page of the API's list says; None if *body* is no such page.

    Raises ServerBroken for a page that says that it failed, for one whose rows nobody
    can name, and for one of more than a list may hold.
    """
    held_bytes = 0

    def kept(row: object) -> tuple[str, Status]:
        nonlocal held_bytes
        video = _video_of(row, now_seconds)
        held_bytes += listed_bytes(video[0])
        if held_bytes > MOST_LISTED_BYTES:
            raise ServerBroken("a page of the list has more ids than a list may have")
        return video

    page = _page_of(body, kept)
    if body.strip() == b"null":
        page = {"data": None}
    if isinstance(page, list):
        page = {"data": page}
    if not isinstance(page, dict):
        return None
    rows = _rows_of(page)
    _check_success(page, rows)
    if rows is None:
        return None
    # Those of a large page were judged as they were parsed.
    judged = (
        row if isinstance(row, tuple) else _video_of(row, now_seconds) for row in rows
    )
    videos = tuple(video for video in judged if video[0])
    if rows and not videos:
        raise ServerBroken("no row of the list has an id")
    has_more = page.get("has_more", page.get("hasMore"))
    totals = [page.get(name) for name in _TOTALS]
    return ListPage(
        len(rows),
        videos,
        videos[-1][0] if videos else "",
        has_more if isinstance(has_more, bool) else None,
        next((total for total in totals if type(total) is int), None),
    )


def listed_bytes(video_id: str) -> int:
    """About what a video of a list takes in memory. An id may be four times its bytes."""
    named = (
        _SHORT_NAME_BYTES
        if len(video_id.encode(errors="replace")) > _LONG_ID_BYTES
        else 0
    )
    return sys.getsizeof(video_id) + _LISTED_BYTES + named


def is_cut_short(body: bytes) -> bool:
    """Whether *body* begins as JSON and cannot be read to its end."""
    return bodies.begins_as_json(body) and _page_of(body, lambda _: ()) is None


def _page_of(body: bytes, kept: Callable[[object], tuple[object, ...]]) -> object:
    return bodies.parsed_page(body, _ROWS, kept)


def _rows_of(page: Object) -> list[object] | None:
    """The rows of *page*; empty at the end of the list; None if it has none."""
    wrapped = [page.get(name) for name in ("data", "result", "response")]
    for place in (page, *wrapped):
        if isinstance(place, dict):
            for name in _ROWS:
                rows = place.get(name)
                if isinstance(rows, list):
                    return rows
    # A nil slice is null in Go, and some leave an empty list out.
    inner = page.get("data")
    wrapped_nil = isinstance(inner, dict) and _has_rows(inner) and _is_end(inner)
    return [] if _is_end(page) or wrapped_nil else None


def _has_rows(place: Object) -> bool:
    return any(name in place for name in _ROWS)


def _is_end(place: Object) -> bool:
    """Whether *place*, which has no rows, says nothing that an end would not say."""
    bare = all(name in _PAGE_FIELDS or place[name] in (None, "") for name in place)
    return bare and place.get("has_more") is not True


def _check_success(page: Object, rows: list[object] | None) -> None:
    """Raise ServerBroken if *page* says that it failed, and so may lack rows."""
    said = [page[name] for name in _FAILURES if page.get(name)]
    code = page.get("code")
    failed = code is not None and str(code).strip().lower() not in _CODES_OF_SUCCESS
    failed = failed or page.get("success") is False
    failed = failed or word_of(page) in wording.FAILED_WORDS
    # An empty list may be the success that was announced; no list at all is none.
    promised = rows is not None and (code is not None or page.get("success") is True)
    if failed or (not rows and not promised):
        said += [page[name] for name in _MESSAGES if page.get(name) not in (None, "")]
    if said or failed:
        reason = printable(said[0] if said else word_of(page) or "a failure", 120)
        raise ServerBroken(f"the list says: {reason}")


def _video_of(row: object, now_seconds: float) -> tuple[str, Status]:
    """The id and the status of a *row*; "" if it has no id."""
    found = fields_of(row)
    if not id_of(found):
        found = video_in(row, "")
    status = status_of(found, row, now_seconds)
    if status.reason:  # nobody reads it, and thousands of them would be kept
        status = replace(status, reason="")
    return id_of(found), status
