"""What the status object of a video says: its state, its times, its reason. Pure.

Servers wrap the object once or twice, call the id `task_id`, and write times as text or
in milliseconds. The names they use are the tables below, in order of trust.
"""

import enum
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from ..errors import AccessDenied, printable
from . import bodies, wording
from .results import url_of_result
from .wording import Fields, fields_of

Headers = Mapping[str, str]
Object = Mapping[str, object]

# AWS WAF asks a browser for a proof with it, under 202 or 405.
_CHALLENGE = "x-amzn-waf-action"
_NO_ROUTE_CODES = frozenset({405, 501})


# Names of fields stand here plainly: `fields_of` reads them in every case.
_ID = ("id", "task_id", "video_id", "generation_id", "job_id")
_WORD = (
    *("status", "task_status", "video_status", "job_status", "generation_status"),
    *("state", "task_state", "job_state"),
)
# Where the word stands if there is an object in its place: {"status": {"state": …}}.
_WORD_INSIDE = (*_WORD, "name", "value", "code", "phase", "label", "key", "text")
# What the object may be wrapped in, whatever it holds. Under any other name it must look
# like a video itself.
_WRAPPERS = (
    *("data", "video", "task", "result", "response", "output", "job", "generation"),
    *("payload", "body", "record", "content", "item", "info"),
)
# Not `updated_at`: it moves on, and a version's time must be the same after a remount.
_COMPLETED = (
    *("completed_at", "finished_at", "ended_at", "completion_time", "completed_time"),
    *("complete_time", "finish_time", "finished_time", "end_time", "done_at"),
    *("succeeded_at", "completed", "finished"),
    *("finish_at", "end_at", "complete_at", "generated_at", "success_at", "ended_time"),
    *("done_time", "success_time", "generated_time", "completed_on", "finished_on"),
    *("completion_date", "completed_timestamp", "finish_timestamp", "end_timestamp"),
    *("completion_timestamp", "gmt_finish", "gmt_finished", "gmt_end", "gmt_complete"),
    *("gmt_completed",),
)
_CREATED = (
    *("created_at", "created", "create_time", "created_time", "creation_time"),
    *("submitted_at", "submit_time"),
    *("create_at", "submit_at", "created_on", "submitted_on", "submitted_time"),
    *("creation_date", "date_created", "created_timestamp", "create_timestamp"),
    *("gmt_create", "gmt_created", "gmt_submit"),
)
_EXPIRES = (
    *("expires_at", "expire_at", "expired_at", "expire_time", "expires_time"),
    *("expires", "expiration", "expiration_time", "expires_on", "gmt_expire"),
)
_TIMES = frozenset((*_COMPLETED, *_CREATED, *_EXPIRES))
# What a time is in, where it is an object: of protobuf, of Firestore, of MongoDB.
_TIME_INSIDE = ("seconds", "$date", "value", "timestamp")
_REASON = (
    *("error", "fail_reason", "failure_reason", "failed_reason", "error_message"),
    *("task_status_msg", "status_message", "message", "msg"),
)
# Codes beside which words may say that there is no such video: 422 is FastAPI's, and
# some gateways have 200 for all.
_CODES_OF_WORDS = frozenset({200, 400, 422})
# What tells of an error under 200, the latter only where there are no data.
_ERRORS = ("error", "errors", "detail")
_MESSAGES = ("message", "msg", "code")
# Where times stand that are not beside the status.
_ASIDE = ("meta", "metadata", "timestamps", "times", "timing", *_WORD)
# A word beside `data` and no id is that of the request, not that of a video.
_ENVELOPE_WORDS = frozenset({"success", "ok", "error", "fail"})
_MOST_WORD = 80
# Earlier is no time of a video, but a number of another kind: seconds of a clip, a year.
_EARLIEST_SECONDS = 1e9


class State(enum.Enum):
    """Where a video stands, as far as its status object tells."""

    READY = "ready"
    NOT_READY = "not ready"
    FAILED = "failed"
    GONE = "gone"
    UNCERTAIN = "uncertain"  # a word that nobody knows: the content decides
    UNSAID = "unsaid"  # the route works, its answer names no state
    NO_ROUTE = "no route"  # the server has no status route


_STATES = {
    **dict.fromkeys(wording.NOT_READY_WORDS, State.NOT_READY),
    **dict.fromkeys(wording.READY_WORDS, State.READY),
    **dict.fromkeys(wording.FAILED_WORDS, State.FAILED),
    **dict.fromkeys(wording.GONE_WORDS, State.GONE),
}


@dataclass(frozen=True, slots=True)
class Status:
    """What the status object of a video says; times in Unix seconds, None if unknown."""

    state: State
    word: str = ""
    reason: str = ""
    completed_at_seconds: float | None = None
    created_at_seconds: float | None = None
    expires_at_seconds: float | None = None
    # Whether that time had passed when this was told: the link may be gone, no more.
    expired: bool = False
    # Where it says that the bytes are; "" nowhere, None: not looked for (rows of lists).
    # Not shown: it may be signed, or hold the bytes themselves.
    url: str | None = field(default=None, repr=False)

    @property
    def mtime_seconds(self) -> float | None:
        """When the file was made, as near as is told."""
        return self.completed_at_seconds or self.created_at_seconds

    @property
    def unknown(self) -> bool:
        """Whether the server said that it knows of no such video, in no other word."""
        return self.state is State.GONE and not self.word


UNSAID = Status(State.UNSAID, url="")


def is_firewall(code: int, headers: Headers, body: bytes) -> bool:
    """Whether a firewall or gateway speaks, and not the API behind it.

    JSON under the type of a web page is an API's all the same, as of PHP.
    """
    if code not in (200, 206) and headers.get(_CHALLENGE):
        return True
    is_page = _is_html_type(headers) and not bodies.begins_as_json(body)
    return wording.is_firewall(code, bodies.text_of(body), is_page=is_page)


def refuses_token(code: int, headers: Headers, body: bytes) -> bool:
    """Whether the API says no to the token, or to what it may have."""
    said_so = wording.is_refusal_of_token(code, bodies.text_of(body))
    return said_so and (code != 403 or not is_firewall(code, headers, body))


def denial(code: int, body: bytes) -> AccessDenied:
    """The error that a refusal of the token, or of what it may have, means."""
    said = printable(bodies.said_in(body), 120)
    what = "asks for payment" if code == 402 else "refused the token"
    return AccessDenied(f"the API {what} (HTTP {code}): {said}", code, said)


def judge_status(
    code: int, headers: Headers, body: bytes, video_id: str, now_seconds: float
) -> Status:
    """What `GET /v1/videos/{video_id}` says, whatever its HTTP code.

    vLLM-Omni answers a failed job with an error code and the video object as body.
    Raises AccessDenied when the token is refused.
    """
    told = _told_in(code, body, video_id, now_seconds)
    if told is not None:
        return told
    text = bodies.text_of(body)
    if refuses_token(code, headers, body):
        raise denial(code, body)
    if code in _NO_ROUTE_CODES or (
        code == 404 and (is_html(headers, body) or wording.NO_ROUTE_TEXT.search(text))
    ):
        return Status(State.NO_ROUTE, url="")
    if is_absent(code, body):
        return Status(State.GONE, reason=printable(text, 120), url="")
    return UNSAID


def _told_in(
    code: int, body: bytes, video_id: str, now_seconds: float
) -> Status | None:
    """What the video object in *body* says; None if it holds none."""
    outer = bodies.parsed_json(body)
    found = video_in(outer, video_id)
    # {"status": "error"} beside "not found" is an envelope, not a video that failed;
    # and {"status": "unauthorized"} beside a 401 is no state of one.
    envelope = (
        (code == 404 or word_of(found) in _ENVELOPE_WORDS)
        and not _is_video(found)
        and is_absent(code, body)
    )
    if code in wording.DENIED_CODES or envelope:
        return None
    status = status_of(found, outer, now_seconds)
    url = _url_in(found, outer) if status.word or code == 200 else ""
    return replace(status, url=url) if status.word or url else None


def is_absent(code: int, body: bytes) -> bool:
    """Whether the server, or this replica of it, knows of no such video.

    By its code, or by the words of its error, whichever route they came from.
    """
    if code in (404, 410):
        return True
    text = _words_of_error(code, body) if code in _CODES_OF_WORDS else ""
    return bool(wording.GONE_TEXT.search(text))


def _words_of_error(code: int, body: bytes) -> str:
    """The words of an error; "" where *body* is a video, whose words are its own."""
    if code != 200:
        return "" if describes_video(body) else bodies.text_of(body)
    fields = fields_of(bodies.parsed_json(body))
    if id_of(fields):
        return ""
    names = _ERRORS if fields.get("data") else (*_ERRORS, *_MESSAGES)
    return " ".join(str(fields[name]) for name in names if name in fields)


def describes_video(body: bytes) -> bool:
    """Whether *body* is the status object of a video, whatever its HTTP code."""
    found = video_in(bodies.parsed_json(body), "")
    return bool(word_of(found)) and _is_video(found)


def id_of(found: Object) -> str:
    """The id in a video object; "" if it has none.

    Text before numbers: where there are both, the number is that of a table's row.
    """
    fields = fields_of(found)
    numbers = []
    for name in _ID:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            numbers.append(value)
    return str(numbers[0]) if numbers else ""


def word_of(found: Object) -> str:
    """The status word of a video object as the tables have it; "" if it has none.

    It may stand in an object of its own. What is no word, such as a number or an object
    of other things, is one too beside an id: nobody knows what it means.
    """
    fields = fields_of(found)
    odd = bool(id_of(fields))
    for name in _WORD:
        word = _word_in(fields.get(name), odd=odd)
        if word:
            return word
    return ""


def _word_in(value: object, *, odd: bool) -> str:
    """The word that *value* is, or has one level deep; with *odd* also what is none."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    words = [value]
    if isinstance(value, dict):
        inside = fields_of(value)
        words = [inside.get(name) for name in _WORD_INSIDE]
    for word in words:
        if isinstance(word, str) and word.strip():
            return wording.plain_word(word[:_MOST_WORD])
    return _odd_word(value) if odd else ""


def _odd_word(value: object) -> str:
    """What stands for *value*, which is no word, where words are compared and logged."""
    if isinstance(value, dict):
        # In braces: {"completed": false} is not the word "completed".
        value = f"{{{' '.join(list(value)[:4])[:36]}}}" if value else ""
    elif isinstance(value, list):
        value = f"{len(value)} states" if value else ""
    elif isinstance(value, bool) or not isinstance(value, int):
        return ""
    return printable(value, 40)


def status_of(found: Object, outer: object, now_seconds: float) -> Status:
    """What the video object *found* says; UNSAID if it has no status word.

    *outer* is what it was wrapped in, if anything.
    """
    word = word_of(found)
    if not word:
        return UNSAID
    state = _STATES.get(word, State.UNCERTAIN)
    places = _places_of_times(found, outer)
    fails = state is State.FAILED or (
        state is State.UNCERTAIN and wording.hints_at_failure(word)
    )
    expires_at = _time_in(places, _EXPIRES)
    return Status(
        state,
        sys.intern(word),  # one of a few, in thousands of rows
        _reason_in(found, outer) if fails else "",
        _time_in(places, _COMPLETED),
        _time_in(places, _CREATED),
        expires_at,
        expired=expires_at is not None and expires_at <= now_seconds,
    )


def _places_of_times(found: Object, outer: object) -> list[Fields]:
    """Where the times of *found* may stand, the nearest first."""
    fields = fields_of(found)
    places = [fields]
    for name in _ASIDE:
        value = fields.get(name)
        if isinstance(value, dict):
            places.append(fields_of(value))
    # Beside an id of its own, the times around it are those of the request.
    if outer is not found and not id_of(fields):
        around = fields_of(outer)
        places += [around] if id_of(around) else []
    return [place for place in places if not _TIMES.isdisjoint(place)]


def _url_in(found: Object, outer: object) -> str:
    """Where the bytes are by *found*, else by what it is wrapped in; "" if untold."""
    url = url_of_result(found)
    if url is None and isinstance(outer, dict):
        # In an array of several there are other videos.
        around = {k: v for k, v in fields_of(outer).items() if not _is_rows(k, v)}
        url = url_of_result(around)
    return url or ""


def _is_rows(name: str, value: object) -> bool:
    return name in _WRAPPERS and isinstance(value, list)


def is_html(headers: Headers, body: bytes) -> bool:
    """Whether an answer is a web page."""
    return _is_html_type(headers) or bodies.is_markup(body[:64])


def _is_html_type(headers: Headers) -> bool:
    return "html" in headers.get("Content-Type", "").lower()


def _is_video(found: Object) -> bool:
    return bool(id_of(found)) or "object" in fields_of(found)


def video_in(outer: object, video_id: str) -> Fields:
    """The object in *outer* that tells of *video_id*; empty if there is none.

    One with that id comes first, then the outermost with any id: LiteLLM makes an id
    of its own. Without ids, the innermost: the status around it is the request's.
    """
    found = [fields for fields in _objects_in(outer, video_id) if word_of(fields)]
    named = [fields for fields in found if id_of(fields)]
    for fields in named:
        if id_of(fields) == video_id:
            return fields
    if named or not found:
        return named[0] if named else Fields()
    inner = found[-1]
    return Fields() if "data" in inner and word_of(inner) in _ENVELOPE_WORDS else inner


def _objects_in(value: object, video_id: str, depth: int = 2) -> Iterator[Fields]:
    """*value* and what it wraps, outermost first."""
    if isinstance(value, list):
        # The one of a search for one; of several, only the one that is meant.
        rows = [row for row in value[:100] if isinstance(row, dict)]
        value = rows[0] if len(rows) == len(value) == 1 else None
        value = value or next((row for row in rows if id_of(row) == video_id), None)
    if not isinstance(value, dict):
        return
    fields = fields_of(value)
    yield fields
    if depth:
        for name in _WRAPPERS:
            yield from _objects_in(fields.get(name), video_id, depth - 1)
        yield from _videos_beside(fields, video_id)


def _videos_beside(fields: Fields, video_id: str) -> Iterator[Fields]:
    """What looks like a video in *fields*, under a name that is no wrapper's.

    In an object with an id it may be another video, such as the one that was remixed;
    in an array it may be any.
    """
    alone = not id_of(fields)
    for name, value in fields.items():
        if name in _WRAPPERS or name in _WORD:
            continue
        rows = value[:100] if isinstance(value, list) else [value]
        for inner in map(fields_of, rows):
            own = id_of(inner)
            meant = own == video_id or (alone and len(rows) == 1)
            if own and meant and word_of(inner):
                yield inner


def _time_in(places: list[Fields], candidates: tuple[str, ...]) -> float | None:
    for place in places:
        for name in candidates:
            value = place.get(name)
            seconds = None if value is None else _unix_seconds(value)
            if seconds is not None:
                return seconds
    return None


def _reason_in(*places: object) -> str:
    for fields in map(fields_of, places):
        for name in _REASON:
            said = fields.get(name)
            said = fields_of(said).get("message") if isinstance(said, dict) else said
            if isinstance(said, str) and said.strip():
                return printable(said, 160)
    return ""


def _unix_seconds(value: object) -> float | None:
    """*value* as a time, None if it is none; 0 means unknown to the servers."""
    if isinstance(value, dict):
        fields = fields_of(value)
        value = next((fields[name] for name in _TIME_INSIDE if name in fields), None)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    except ValueError:
        seconds = _seconds_of_text(str(value)[:64])
    for _ in range(3):  # milliseconds, micro, nano
        if seconds > 1e11:
            seconds /= 1000
    return seconds if _EARLIEST_SECONDS < seconds < 1e11 else None


# "2026/09/21 14:13:20", "2026-9-21 14:13:20.5 +0000 UTC" as Go writes it, and what of it
# is ISO 8601: day, time, fraction, zone.
_MOMENT = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T\s]\s*(\d{1,2}:\d\d(?::\d\d)?)"
    r"(?:[.,](\d{1,9}))?\s*(?:Z|UTC|GMT|([+-]\d\d):?(\d\d)(?:\s+[A-Z+-].*)?)?",
    re.IGNORECASE,
)


def _seconds_of_text(text: str) -> float:
    """A time by ISO 8601 and its kin, or by RFC 9110 as in headers; 0 if it is neither.

    Where no zone is named it is taken as UTC.
    """
    for parse in (datetime.fromisoformat, _moment_of, parsedate_to_datetime):
        try:
            when = parse(text.strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return 0.0


def _moment_of(text: str) -> datetime:
    """The time that *text* is in one of the ways of `_MOMENT`; ValueError if it is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, time, fraction, hours, minutes = found.groups()
    time = f"{time:0>5}" if time.count(":") == 1 else f"{time:0>8}.{fraction or 0}"
    zone = f"{hours}:{minutes}" if hours else "+00:00"
    return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{time}{zone}")
