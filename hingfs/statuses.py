"""What the status object of a video says: its state, its times, its reason. Pure."""

import enum
from collections.abc import Mapping
from dataclasses import dataclass

from . import bodies, wording
from .errors import AccessDenied, printable

Headers = Mapping[str, str]

_NO_ROUTE_CODES = frozenset({405, 501})


class State(enum.Enum):
    """Where a video stands, as far as its status object tells."""

    READY = "ready"
    NOT_READY = "not ready"
    FAILED = "failed"
    GONE = "gone"
    UNSAID = "unsaid"  # the route works, its answer names no state
    NO_ROUTE = "no route"  # the server has no status route


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

    @property
    def mtime_seconds(self) -> float | None:
        """When the file was made, as near as is told."""
        return self.completed_at_seconds or self.created_at_seconds

    @property
    def unknown_word(self) -> bool:
        """Whether the server used a status word that no rule knows."""
        return (
            self.state is State.NOT_READY and self.word not in wording.NOT_READY_WORDS
        )


UNSAID = Status(State.UNSAID)


def judge_status(
    code: int, headers: Headers, body: bytes, now_seconds: float
) -> Status:
    """What `GET /v1/videos/{id}` says, whatever its HTTP code.

    vLLM-Omni answers a failed job with an error code and the video object as body.
    Raises AccessDenied when the token is refused.
    """
    found = bodies.json_object(body)
    word = found.get("status")
    # {"status": "error"} beside a 404 is an envelope, not a video that failed; and
    # {"status": "unauthorized"} beside a 401 is no state of one.
    envelope = code == 404 and not ({"id", "object"} & found.keys())
    of_video = not envelope and code not in wording.DENIED_CODES
    if isinstance(word, str) and word.strip() and of_video:
        return status_of(found, word.strip().lower(), now_seconds)
    text = bodies.text_of(body)
    if wording.is_refusal_of_token(code, text):
        said = printable(text, 120)
        raise AccessDenied(f"the API refused the token ({code}): {said}", code, said)
    if code in _NO_ROUTE_CODES or (
        code == 404 and (is_html(headers, body) or wording.NO_ROUTE_TEXT.search(text))
    ):
        return Status(State.NO_ROUTE)
    if code == 404 or (code == 400 and "task_not_exist" in text):
        return Status(State.GONE, reason=printable(text, 120))
    return UNSAID


def status_of(found: Mapping[str, object], word: str, now_seconds: float) -> Status:
    """What the video object *found* says, whose status is *word* in lower case."""
    expires_at = _unix_seconds(found.get("expires_at"))
    if word in wording.READY_WORDS:
        state = State.READY
    elif word in wording.FAILED_WORDS:
        state = State.FAILED
    elif word in wording.GONE_WORDS:
        state = State.GONE
    else:
        state = State.NOT_READY
    error = found.get("error")
    reason = error.get("message") if isinstance(error, dict) else error
    return Status(
        state,
        printable(word, 40),
        printable(reason, 160) if isinstance(reason, str) else "",
        _unix_seconds(found.get("completed_at")),
        _unix_seconds(found.get("created_at")),
        expires_at,
        expired=expires_at is not None and expires_at <= now_seconds,
    )


def _unix_seconds(value: object) -> float | None:
    """*value* as a time, None if it is none; 0 means unknown to the servers."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except (ValueError, OverflowError):
        return None
    if seconds > 1e11:  # milliseconds
        seconds /= 1000
    return seconds if 0 < seconds < 1e11 else None


def is_html(headers: Headers, body: bytes) -> bool:
    """Whether an answer is a web page."""
    return "html" in headers.get("Content-Type", "").lower() or bodies.is_markup(
        body[:64]
    )
