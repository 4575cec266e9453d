"""What a page of the API's list says. Pure.

A page that fails must never be taken for the end of the list: `rsync --delete` would
erase copies. So an end is only what can mean nothing else.
"""

import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from ..blocks import MIB
from ..errors import RateLimited, ServerBroken, printable
from ..http import pauses
from . import bodies, wording
from .results import url_of_result
from .statuses import Status, status_of
from .video_object import id_of, video_in, word_of
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
# What tells of a failure wherever it stands. What says whether it failed: a flag, a
# number or a word, or a sentence.
_FAILURES = ("error", "errors", "detail")
_FLAGS = ("success", "succeeded", "ok")
_CODES = (
    *("code", "status_code", "error_code", "err_code", "errcode", "errno", "err_no"),
    *("ret_code", "retcode", "result_code"),
)
_MESSAGES = (
    *("message", "msg", "error_message", "error_msg", "err_msg", "errmsg"),
    *("status_message", "status_msg"),
)
_TELLING = (*_FAILURES, *_MESSAGES, *_CODES, "status", "state")
_CODES_OF_SUCCESS = re.compile(r"0+|200|[12]0000|success|ok|succeed|succeeded")
_CODES_OF_FAILURE = re.compile(r"[45]\d\d")
_FAILURE_TEXT = re.compile(
    r"fail|(?<!no )(?<!0 )(?<!without )error|exception|denied|invalid|unavailable|"
    r"time[d ]*out|throttl|busy|locked|offline|try.{0,10}(again|later)|incomplete|"
    r"partial|unsuccess|not success|失败|错误|超时|异常|繁忙|不成功|未成功|稍后",
    re.IGNORECASE,
)
_SUCCESS_TEXT = re.compile(
    r"success|succeed|成功|^\W*(ok|okay|done|no error|正常)\W*$", re.IGNORECASE
)
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
    held_bytes = 0

    def kept(row: object) -> tuple[str, Status]:
        nonlocal held_bytes
        video = _video_of(row, now_seconds, with_url_of)
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
    fields = fields_of(page)
    rows = _rows_of(fields)
    _check_success(fields, rows)
    if rows is None:
        return None
    # Those of a large page were judged as they were parsed.
    judged = (
        row if isinstance(row, tuple) else _video_of(row, now_seconds, with_url_of)
        for row in rows
    )
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
    words = [_succeeded(_SUCCESS_TEXT.search, place.get(name)) for name in _MESSAGES]

    def is_no_trouble(name: str, value: object) -> bool:
        if name in _PAGE_FIELDS or name in _BESIDE_NULL or value in (None, ""):
            return True
        if name in _MESSAGES:
            return _succeeded(_SUCCESS_TEXT.search, value) is True
        if name in _CODES and True in words:
            return True
        says = name in (*_CODES, *_FLAGS) or word_of({name: value})
        return bool(says) and _succeeded(_CODES_OF_SUCCESS.fullmatch, value) is True

    has_rows = any(name in place for name in _ROWS)
    return has_rows and all(is_no_trouble(*field) for field in place.items())


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


def _check_success(page: Fields, rows: list[object] | None) -> None:
    """Raise if *page*, or a part of it, says that it failed, and so may lack rows."""
    for place in (*_places_of(page), *_objects_in(page, _OUTCOMES)):
        if _has_failed(place, rows):
            said = " ".join(
                _said_in(place[name]) for name in _TELLING if place.get(name)
            )
            if pauses.speaks_of_limit(said.encode()):
                raise RateLimited(f"the list asks for a pause: {said}")
            raise ServerBroken(f"the list says: {said or 'a failure'}")


def _said_in(told: object) -> str:
    sentence = fields_of(told).get("message")
    return printable(sentence if isinstance(sentence, str) else told, 120)


def _has_failed(place: Fields, rows: list[object] | None) -> bool:
    """Whether *place* says so; where there are no *rows*, whether it may mean so."""
    codes = [place[name] for name in _CODES if place.get(name) not in (None, "")]
    messages = [place[name] for name in _MESSAGES if place.get(name) not in (None, "")]
    by_code = [_succeeded(_CODES_OF_SUCCESS.fullmatch, code) for code in codes]
    by_words = [_succeeded(_SUCCESS_TEXT.search, message) for message in messages]
    flags = [place.get(name) for name in _FLAGS]
    if any(map(place.get, _FAILURES)) or False in (*by_code, *by_words, *flags):
        return True
    if word_of(place) in wording.FAILED_WORDS or _names_error(place.get("status")):
        return True
    if True in by_words:
        return False
    # Of any code but a known one, what is there may be some of many.
    strange = None in by_code and (not rows or bool(place.get("code")))
    # An empty list may be the success that was announced; no list at all is none.
    promised = rows is not None and (codes or True in flags)
    return strange or bool(messages and not rows and not promised)


def _names_error(status: object) -> bool:
    is_word = isinstance(status, str | int)
    return is_word and _succeeded(_CODES_OF_SUCCESS.fullmatch, status) is False


def _succeeded(success: Callable[[str], object], said: object) -> bool | None:
    """Whether a code or message says so; None where it is neither *success* nor failure."""
    text = printable(said, 200).lower()
    if _FAILURE_TEXT.search(text) or _CODES_OF_FAILURE.fullmatch(text):
        return False
    if wording.plain_word(text[:80]) in wording.FAILED_WORDS:
        return False
    return True if said is True or success(text) else None


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
