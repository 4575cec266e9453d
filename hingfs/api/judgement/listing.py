"""What a page of the API's list says. Pure.

A failed page must never be taken for the end of the list: `rsync --delete` would erase
copies. So a page is an end only if it can mean nothing else. Leaves to `outcomes` in
which words a page says that it failed, and to `pages` which page is asked for.
"""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial

from ...blocks import MIB
from ...errors import ServerBroken
from . import bodies
from .outcomes import refuse_failure, tells_success
from .results import url_of_result
from .video_object import id_of, video_in
from .video_status import Status, status_of
from .wording import Fields, fields_of

# All names are plain: `fields_of` reads any spelling of them.
# The rows are the first array under one of these names. `data` may wrap one of them.
_ROWS = (
    *("data", "videos", "items", "tasks", "results", "records", "list", "rows"),
    *("jobs", "generations", "entries", "video_list", "task_list", "job_list"),
    *("data_list", "item_list", "record_list"),
)
_ROWS_AS_WRITTEN = tuple(name.replace("_", "[-_ ]?") for name in _ROWS)
# Names of an object that a page may wrap its rows in.
_WRAPPERS = ("data", "result", "response")
# Names of an object that may tell the total, and whether there are more pages.
_PAGINATION = ("pagination", "paging", "page_info", "meta")
# Names of an object that tells of failure or success: MiniMax, Volcengine.
_OUTCOMES = ("base_resp", "response_metadata")
# Fields of a page beside its rows. A page of these alone may leave out its empty rows;
# any other field may tell of a failure.
_PAGE_FIELDS = frozenset(
    (
        *("object", "first_id", "last_id", "has_more", "total", "count", "limit"),
        *("after", "before", "order", "page", "page_num", "page_size", "offset"),
        *("total_count", "total_pages", "next", "previous", "next_cursor", "cursor"),
    )
)
# Further harmless fields where the rows are null.
_BESIDE_NULL = frozenset(
    (
        *("request_id", "trace_id", "log_id", "timestamp", "time", "elapsed"),
        *("version", "links", *_PAGINATION, *_OUTCOMES),
    )
)
_TOTALS = ("total", "total_count")
# The most memory that a list may take. With ids of 40 characters that is 19,000 videos,
# about as many as fit the most pages. A longer list is an error, never cut.
MOST_LISTED_BYTES = 8 * MIB
# Bytes that a video takes beside its id while the pages are joined, and bytes that a
# short name adds: as measured (2026-11-26).
_LISTED_BYTES = 350
_SHORT_NAME_BYTES = 330
_LONG_ID_BYTES = 75  # a "/" of an id is three bytes of its name


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the API's list."""

    rows: int  # how many, with and without an id
    videos: tuple[tuple[str, Status], ...]  # rows with an id, in the page's order
    last_id: str  # of the last row with an id; "" if no row has one
    has_more: bool | None  # None: not said
    total: int | None = None  # the rows of all pages; None: not said


def judge_list(
    body: bytes, now_seconds: float, with_url_of: str = ""
) -> ListPage | None:
    """What a page of the API's list says; None if *body* is no such page.

    A URL is looked for only in the row of *with_url_of*: a list has thousands of rows,
    and their URLs would be kept. Raises RateLimited if the page asks for a pause, and
    ServerBroken if it says that it failed, if no row has an id, or if its ids are more
    than a list may hold.
    """
    video_of = partial(_video_of, now_seconds=now_seconds, with_url_of=with_url_of)
    page = _page_of(body, _within_bound(video_of))
    if isinstance(page, list) or body.strip() == b"null":
        page = {"data": page}
    if not isinstance(page, dict):
        return None
    fields = fields_of(page)
    rows = _rows_of(fields)
    for part in (*_parts_with_rows(fields), *_objects_in(fields, _OUTCOMES)):
        refuse_failure(part, rows)
    if rows is None:
        return None
    # Rows of a large page were judged while it was parsed: they are tuples.
    judged = (row if isinstance(row, tuple) else video_of(row) for row in rows)
    videos = tuple(video for video in judged if video[0])
    if rows and not videos:
        raise ServerBroken("no row of the list has an id")
    totals = [value for value in _values_in(fields, _TOTALS) if type(value) is int]
    return ListPage(
        len(rows),
        videos,
        videos[-1][0] if videos else "",
        _has_more(fields),
        totals[0] if totals else None,
    )


def _within_bound(
    video_of: Callable[[object], tuple[str, Status]],
) -> Callable[[object], tuple[str, Status]]:
    """*video_of*, but ServerBroken once the videos take more than a list may."""
    held_bytes = 0

    def kept(row: object) -> tuple[str, Status]:
        nonlocal held_bytes
        video = video_of(row)
        held_bytes += listed_bytes(video[0])
        if held_bytes > MOST_LISTED_BYTES:
            raise ServerBroken("a page of the list has more ids than a list may have")
        return video

    return kept


def listed_bytes(video_id: str) -> int:
    """About how many bytes a listed video takes in memory.

    The memory of an id may be four times its UTF-8.
    """
    named = (
        _SHORT_NAME_BYTES
        if len(video_id.encode(errors="replace")) > _LONG_ID_BYTES
        else 0
    )
    return sys.getsizeof(video_id) + _LISTED_BYTES + named


def is_cut_short(body: bytes, pieces: bodies.Pieces = bodies.IN_PIECES) -> bool:
    """Whether *body* begins as JSON and cannot be read to its end."""
    if not bodies.begins_as_json(body):
        return False
    return _page_of(body, lambda _: (), pieces) is None


def _page_of(
    body: bytes,
    kept: Callable[[object], tuple[object, ...]],
    pieces: bodies.Pieces = bodies.IN_PIECES,
) -> object:
    return bodies.parsed_page(body, _ROWS_AS_WRITTEN, kept, pieces)


def _parts_with_rows(page: Fields) -> Iterator[Fields]:
    """*page*, and the objects in it that may wrap its rows."""
    yield page
    yield from _objects_in(page, _WRAPPERS)


def _objects_in(part: Fields, candidates: tuple[str, ...]) -> Iterator[Fields]:
    for name in candidates:
        inner = part.get(name)
        if isinstance(inner, dict):
            yield fields_of(inner)


def _rows_of(page: Fields) -> list[object] | None:
    """The rows of *page*; empty at the end of the list; None if it has none."""
    for part in _parts_with_rows(page):
        for name in _ROWS:
            rows = part.get(name)
            if isinstance(rows, list):
                return rows
    return [] if _is_end(page) else None


def _is_end(page: Fields) -> bool:
    """Whether *page*, which has no array, says nothing but that the list has ended.

    A nil slice is null in Go, and some servers leave an empty list out.
    """
    if _has_more(page):
        return False
    *_, inner = _parts_with_rows(page)
    if inner is not page:
        return _is_null(inner)
    return _is_null(page) or all(
        name in _PAGE_FIELDS or page[name] in (None, "") for name in page
    )


def _is_null(part: Fields) -> bool:
    """Whether the rows of *part* are null, and nothing beside them tells of a failure."""
    harmless = _PAGE_FIELDS | _BESIDE_NULL
    beside = [name for name in part if name not in harmless]
    said = [name for name in beside if part[name] not in (None, "")]
    has_rows = any(name in part for name in _ROWS)
    return has_rows and all(tells_success(part, name) for name in said)


def _values_in(page: Fields, candidates: tuple[str, ...]) -> list[object]:
    """The values under the names *candidates* in *page* and in its pagination."""
    parts = list(_parts_with_rows(page))
    aside = [inner for part in parts for inner in _objects_in(part, _PAGINATION)]
    found = (*parts, *aside)
    return [part[name] for part in found for name in candidates if name in part]


def _has_more(page: Fields) -> bool | None:
    """Whether *page* says that there are more rows; None if it does not say.

    "No more" is believed only at the top of the page.
    """
    if True in _values_in(page, ("has_more",)):
        return True
    return False if page.get("has_more") is False else None


def _video_of(row: object, now_seconds: float, with_url_of: str) -> tuple[str, Status]:
    """The id and the status of a *row*; the id is "" if it has none."""
    found = fields_of(row)
    if not id_of(found):
        found = video_in(row, "")
    status = status_of(found, row, now_seconds)
    if status.reason:  # nobody reads it, and thousands of rows would keep theirs
        status = replace(status, reason="")
    video_id = id_of(found)
    if video_id and video_id == with_url_of:
        status = replace(status, url=url_of_result(row) or "")
    return video_id, status
