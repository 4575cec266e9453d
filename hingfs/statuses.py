"""What the status object of a video says: its state, its times, its reason. Pure.

Servers wrap the object once or twice, call the id `task_id`, and write times as text or
in milliseconds. The names they use are the tables below, in order of trust.
"""

import enum
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from . import bodies, wording
from .errors import AccessDenied, printable
from .results import url_of_result
from .wording import names

Headers = Mapping[str, str]
Object = Mapping[str, object]

_NO_ROUTE_CODES = frozenset({405, 501})


_ID = names("id", "task_id", "video_id", "generation_id", "job_id")
_WORD = names(
    *("status", "task_status", "video_status", "job_status", "generation_status"),
    *("state", "task_state", "job_state"),
)
# What the object may be wrapped in.
_WRAPPERS = names(
    *("data", "video", "task", "result", "response", "output", "job", "generation"),
)
# Not `updated_at`: it moves on, and a version's time must be the same after a remount.
_COMPLETED = names(
    *("completed_at", "finished_at", "ended_at", "completion_time", "completed_time"),
    *("complete_time", "finish_time", "finished_time", "end_time", "done_at"),
    *("succeeded_at", "completed", "finished"),
)
_CREATED = names(
    *("created_at", "created", "create_time", "created_time", "creation_time"),
    *("submitted_at", "submit_time"),
)
_EXPIRES = names(
    *("expires_at", "expire_at", "expired_at", "expire_time", "expires_time"),
    *("expires", "expiration"),
)
_TIMES = frozenset((*_COMPLETED, *_CREATED, *_EXPIRES))
_REASON = names(
    *("error", "fail_reason", "failure_reason", "failed_reason", "error_message"),
    *("task_status_msg", "status_message", "message", "msg"),
)
# Where times stand that are not beside the status.
_ASIDE = ("meta", "metadata")
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
    if wording.is_refusal_of_token(code, text):
        said = printable(text, 120)
        raise AccessDenied(
            f"the API refused the token (HTTP {code}): {said}", code, said
        )
    if code in _NO_ROUTE_CODES or (
        code == 404 and (is_html(headers, body) or wording.NO_ROUTE_TEXT.search(text))
    ):
        return Status(State.NO_ROUTE, url="")
    if code in (404, 410) or (code == 400 and "task_not_exist" in text):
        return Status(State.GONE, reason=printable(text, 120), url="")
    return UNSAID


def _told_in(
    code: int, body: bytes, video_id: str, now_seconds: float
) -> Status | None:
    """What the video object in *body* says; None if it holds none."""
    outer = bodies.parsed_json(body)
    found = video_in(outer, video_id)
    # {"status": "error"} beside a 404 is an envelope, not a video that failed; and
    # {"status": "unauthorized"} beside a 401 is no state of one.
    envelope = code == 404 and not _is_video(found)
    if code in wording.DENIED_CODES or envelope:
        return None
    status = status_of(found, outer, now_seconds)
    url = _url_in(found, outer) if status.word or code == 200 else ""
    return replace(status, url=url) if status.word or url else None


def describes_video(body: bytes) -> bool:
    """Whether *body* is the status object of a video, whatever its HTTP code."""
    found = video_in(bodies.parsed_json(body), "")
    return bool(word_of(found)) and _is_video(found)


def id_of(found: Object) -> str:
    """The id in a video object; "" if it has none.

    Text before numbers: where there are both, the number is that of a table's row.
    """
    numbers = []
    for name in _ID:
        value = found.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            numbers.append(value)
    return str(numbers[0]) if numbers else ""


def word_of(found: Object) -> str:
    """The status word of a video object as the tables have it; "" if it has none.

    A number is a word too, of which nobody knows what it means.
    """
    for name in _WORD:
        value = found.get(name)
        if isinstance(value, str) and value.strip():
            return wording.plain_word(value[:_MOST_WORD])
        if isinstance(value, int) and not isinstance(value, bool) and id_of(found):
            return printable(value, 40)
    return ""


def status_of(found: Object, outer: object, now_seconds: float) -> Status:
    """What the video object *found* says; UNSAID if it has no status word.

    *outer* is what it was wrapped in, if anything.
    """
    word = word_of(found)
    if not word:
        return UNSAID
    state = _STATES.get(word, State.UNCERTAIN)
    # Not *outer*: its times are those of the request.
    places: list[Object] = [
        place
        for place in (found, *map(found.get, _ASIDE))
        if isinstance(place, dict) and not _TIMES.isdisjoint(place)
    ]
    expires_at = _time_in(places, _EXPIRES)
    return Status(
        state,
        sys.intern(word),  # one of a few, in thousands of rows
        _reason_in(found, outer) if state is State.FAILED else "",
        _time_in(places, _COMPLETED),
        _time_in(places, _CREATED),
        expires_at,
        expired=expires_at is not None and expires_at <= now_seconds,
    )


def _url_in(found: Object, outer: object) -> str:
    """Where the bytes are by *found*, else by what it is wrapped in; "" if untold."""
    url = url_of_result(found)
    if url is None and isinstance(outer, dict):
        # In an array of several there are other videos.
        around = {k: v for k, v in outer.items() if not _is_rows(k, v)}
        url = url_of_result(around)
    return url or ""


def _is_rows(name: str, value: object) -> bool:
    return name in _WRAPPERS and isinstance(value, list)


def is_html(headers: Headers, body: bytes) -> bool:
    """Whether an answer is a web page."""
    return "html" in headers.get("Content-Type", "").lower() or bodies.is_markup(
        body[:64]
    )


def _is_video(found: Object) -> bool:
    return bool(id_of(found)) or "object" in found


def video_in(outer: object, video_id: str) -> Object:
    """The object in *outer* that tells of *video_id*; empty if there is none.

    One with that id comes first, then the outermost with any id: LiteLLM makes an id
    of its own. Without ids, the innermost: the status around it is the request's.
    """
    found = [object_ for object_ in _objects_in(outer, video_id) if word_of(object_)]
    named = [object_ for object_ in found if id_of(object_)]
    for object_ in named:
        if id_of(object_) == video_id:
            return object_
    if named or not found:
        return named[0] if named else {}
    inner = found[-1]
    return {} if "data" in inner and word_of(inner) in _ENVELOPE_WORDS else inner


def _objects_in(value: object, video_id: str, depth: int = 2) -> Iterator[Object]:
    """*value* and what it wraps, outermost first."""
    if isinstance(value, list):
        # The one of a search for one; of several, only the one that is meant.
        rows = [row for row in value[:100] if isinstance(row, dict)]
        value = rows[0] if len(rows) == len(value) == 1 else None
        value = value or next((row for row in rows if id_of(row) == video_id), None)
    if not isinstance(value, dict):
        return
    yield value
    if depth:
        for name in _WRAPPERS:
            yield from _objects_in(value.get(name), video_id, depth - 1)


def _time_in(places: list[Object], candidates: tuple[str, ...]) -> float | None:
    for place in places:
        for name in candidates:
            value = place.get(name)
            seconds = None if value is None else _unix_seconds(value)
            if seconds is not None:
                return seconds
    return None


def _reason_in(*places: object) -> str:
    for place in places:
        for name in _REASON:
            said = place.get(name) if isinstance(place, dict) else None
            said = said.get("message") if isinstance(said, dict) else said
            if isinstance(said, str) and said.strip():
                return printable(said, 160)
    return ""


def _unix_seconds(value: object) -> float | None:
    """*value* as a time, None if it is none; 0 means unknown to the servers."""
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


def _seconds_of_text(text: str) -> float:
    """A time by ISO 8601, or by RFC 9110 as in headers; 0 if *text* is neither.

    Where no zone is named it is taken as UTC.
    """
    for parse in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            when = parse(text.strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return 0.0
