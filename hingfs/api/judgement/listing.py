"""What a page of the API's list says. Pure.

A page that fails must never be taken for the end of the list: `rsync --delete` would
erase copies. So an end is only what can mean nothing else. Leaves to `outcomes` in which
words a page says that it failed, and to `pages` which page is asked for.
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
from .statuses import Status, status_of
from .video_object import id_of, video_in
from .wording import Fields, fields_of

# Names of fields stand here plainly: `fields_of` reads them in every case.
# Under which the rows stand; the first that is an array. `data` may hold one of them.
_ROWS = (
    *("data", "videos", "items", "tasks", "results", "records", "list", "rows"),
    *("jobs", "generations", "entries", "video_list", "task_list", "job_list"),
    *("data_list", "item_list", "record_list"),
)
_ROWS_AS_WRITTEN = tuple(name.replace("_", "[-_ ]?") for name in _ROWS)
# What a page may wrap its rows in.
_WRAPPERS = ("data", "result", "response")
# Where a page says how many there are, and whether there are more, if not beside rows.
_PAGINATION = ("pagination", "paging", "page_info", "meta")
# Where some say whether they failed: MiniMax, Volcengine.
_OUTCOMES = ("base_resp", "response_metadata")
# What a page consists of beside its rows, so that they may be left out where there are
# none; any other name may tell of a failure.
_PAGE_FIELDS = frozenset(
    (
        *("object", "first_id", "last_id", "has_more", "total", "count", "limit"),
        *("after", "before", "order", "page", "page_num", "page_size", "offset"),
        *("total_count", "total_pages", "next", "previous", "next_cursor", "cursor"),
    )
)
# What may be there as well where the rows are null.
_BESIDE_NULL = frozenset(
    (
        *("request_id", "trace_id", "log_id", "timestamp", "time", "elapsed"),
        *("version", "links", *_PAGINATION, *_OUTCOMES),
    )
)
_TOTALS = ("total", "total_count")
# As much of a list as is held. With ids of 40 characters that is 19,000 videos, about as
# many as fit the pages that are asked for; one that is longer is an error, never a part.
MOST_LISTED_BYTES = 8 * MIB
# What a video takes beside its id while a list is made of pages, and what a short name
# adds: as measured (2026-11-26).
_LISTED_BYTES = 350
_SHORT_NAME_BYTES = 330
_LONG_ID_BYTES = 75  # a "/" of an id is three bytes of its name


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


def judge_list(
    body: bytes, now_seconds: float, with_url_of: str = ""
) -> ListPage | None:
    """What a page of the API's list says; None if *body* is no such page.

    URLs are looked for in the row of *with_url_of* alone: thousands would be kept.
    Raises ServerBroken for a page that says that it failed (RateLimited where it asks
    for a pause), for one whose rows nobody can name, and for one of more than a list may
    hold.
    """
    video_of = partial(_video_of, now_seconds=now_seconds, with_url_of=with_url_of)
    page = _page_of(body, _within_bound(video_of))
    if isinstance(page, list) or body.strip() == b"null":
        page = {"data": page}
    if not isinstance(page, dict):
        return None
    fields = fields_of(page)
    rows = _rows_of(fields)
    for place in (*_places_of(fields), *_objects_in(fields, _OUTCOMES)):
        refuse_failure(place, rows)
    if rows is None:
        return None
    # Those of a large page were judged as they were parsed.
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
    """*video_of*, which raises ServerBroken once the videos are more than are held."""
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
    return bodies.parsed_page(body, _ROWS_AS_WRITTEN, kept)


def _places_of(page: Fields) -> Iterator[Fields]:
    """*page*, and what its rows may be wrapped in."""
    yield page
    yield from _objects_in(page, _WRAPPERS)


def _objects_in(place: Fields, candidates: tuple[str, ...]) -> Iterator[Fields]:
    for name in candidates:
        inner = place.get(name)
        if isinstance(inner, dict):
            yield fields_of(inner)


def _rows_of(page: Fields) -> list[object] | None:
    """The rows of *page*; empty at the end of the list; None if it has none."""
    for place in _places_of(page):
        for name in _ROWS:
            rows = place.get(name)
            if isinstance(rows, list):
                return rows
    return [] if _is_end(page) else None


def _is_end(page: Fields) -> bool:
    """Whether *page*, which has no array, says nothing that an end would not say.

    A nil slice is null in Go, and some leave an empty list out.
    """
    if _has_more(page):
        return False
    *_, inner = _places_of(page)
    if inner is not page:
        return _is_null(inner)
    return _is_null(page) or all(
        name in _PAGE_FIELDS or page[name] in (None, "") for name in page
    )


def _is_null(place: Fields) -> bool:
    """Whether the rows of *place* are null, beside nothing that may tell of a failure."""
    harmless = _PAGE_FIELDS | _BESIDE_NULL
    beside = [name for name in place if name not in harmless]
    said = [name for name in beside if place[name] not in (None, "")]
    has_rows = any(name in place for name in _ROWS)
    return has_rows and all(tells_success(place, name) for name in said)


def _values_in(page: Fields, candidates: tuple[str, ...]) -> list[object]:
    """What *page* says under the names *candidates*, by itself or by its pagination."""
    places = list(_places_of(page))
    aside = [inner for place in places for inner in _objects_in(place, _PAGINATION)]
    found = (*places, *aside)
    return [place[name] for place in found for name in candidates if name in place]


def _has_more(page: Fields) -> bool | None:
    """Whether *page* says that there are more; that there are none, only at its top."""
    if True in _values_in(page, ("has_more",)):
        return True
    return False if page.get("has_more") is False else None


def _video_of(row: object, now_seconds: float, with_url_of: str) -> tuple[str, Status]:
    """The id and the status of a *row*; "" if it has no id."""
    found = fields_of(row)
    if not id_of(found):
        found = video_in(row, "")
    status = status_of(found, row, now_seconds)
    if status.reason:  # nobody reads it, and thousands of them would be kept
        status = replace(status, reason="")
    video_id = id_of(found)
    if video_id and video_id == with_url_of:
        status = replace(status, url=url_of_result(row) or "")
    return video_id, status
