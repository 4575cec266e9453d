"""What the status object of a video says: its state, and why it failed. Pure.

The status is the word in the JSON, not the code of HTTP: what a 404 means is
`refusals`'. Decides what a status word means, whatever the code of the answer, and
which answers say that there is no such video, or no status route. Leaves to
`video_object` which object in the JSON is the video, to `times` its times, to `progress`
how far it has come, to `description` what it was asked for, and to `denials` which
answers refuse the token.
"""

import enum
import sys
from dataclasses import dataclass, field, replace

from ...errors import printable
from ...http.pauses import Headers
from . import bodies, wording
from .denials import denial, is_html, refuses_token
from .description import Description, description_of
from .progress import progress_of
from .results import url_of_result
from .times import times_of
from .video_object import (
    ENVELOPE_WORDS,
    WRAPPERS,
    Object,
    describes_video,
    id_of,
    is_video,
    video_in,
    word_of,
)
from .wording import fields_of

_NO_ROUTE_CODES = frozenset({405, 501})
_REASON = (
    *("error", "fail_reason", "failure_reason", "failed_reason", "error_message"),
    *("task_status_msg", "status_message", "message", "msg"),
)
# Codes beside which words may say that there is no such video. 422 is FastAPI's; some
# gateways send 200 with every answer.
_CODES_OF_WORDS = frozenset({200, 400, 422})
# Fields of an error under 200. A message is one only where there are no data.
_ERRORS = ("error", "errors", "detail")
_MESSAGES = ("message", "msg", "code")


class State(enum.Enum):
    """Where a video stands, as far as its status object tells."""

    READY = "ready"
    NOT_READY = "not ready"
    FAILED = "failed"
    GONE = "gone"
    UNCERTAIN = "uncertain"  # an unknown word: the content decides
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
    # True if the expiry had passed when the server sent this. The bytes may still be
    # there.
    expired: bool = False
    # How much is rendered, 0.0 to 1.0, while it is not ready; None if untold.
    progress: float | None = None
    # When the server wants to be asked again, in seconds from then; None if untold.
    pause_seconds: float | None = None
    # The URL of the bytes; "" if none is named, None if none was looked for (rows of
    # lists). Never shown: it may be signed, or hold the bytes themselves.
    url: str | None = field(default=None, repr=False)
    # None if it was not looked for (rows of lists), or there is no video object.
    description: Description | None = field(default=None, repr=False)

    @property
    def mtime_seconds(self) -> float | None:
        """When the file was made, as far as the status tells."""
        return self.completed_at_seconds or self.created_at_seconds

    @property
    def unknown(self) -> bool:
        """Whether the server knows no such video, and has no status word for it."""
        return self.state is State.GONE and not self.word


UNSAID = Status(State.UNSAID, url="")


def judge_status(
    code: int, headers: Headers, body: bytes, video_id: str, now_seconds: float
) -> Status:
    """What `GET /v1/videos/{video_id}` says, whatever its HTTP code.

    vLLM-Omni answers a failed job with an error code and the video object as body.
    Raises AccessDenied if the server refuses the token.
    """
    status = _status_in(code, body, video_id, now_seconds)
    if status is not None:
        return status
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


def _status_in(
    code: int, body: bytes, video_id: str, now_seconds: float
) -> Status | None:
    """What the video object in *body* says; None if *body* has none."""
    outer = bodies.parsed_json(body)
    found = video_in(outer, video_id)
    # {"status": "error"} beside "not found" is an envelope, not a video that failed.
    # {"status": "unauthorized"} beside a 401 is no state of a video.
    envelope = (
        (code == 404 or word_of(found) in ENVELOPE_WORDS)
        and not is_video(found)
        and is_absent(code, body)
    )
    if code in wording.DENIED_CODES or envelope:
        return None
    status = status_of(found, outer, now_seconds)
    url = _url_in(found, outer) if status.word or code == 200 else ""
    if not status.word:
        return replace(status, url=url) if url else None
    return replace(status, url=url, description=description_of(found, outer))


def is_absent(code: int, body: bytes) -> bool:
    """Whether an answer of any route says that this server knows no such video.

    Its code says so, or the words of its error. Another replica may know the video.
    """
    if code in (404, 410):
        return True
    text = _words_of_error(code, body) if code in _CODES_OF_WORDS else ""
    return bool(wording.GONE_TEXT.search(text))


def _words_of_error(code: int, body: bytes) -> str:
    """The words of an error; "" if *body* is a video, whose words tell of itself."""
    if code != 200:
        return "" if describes_video(body) else bodies.text_of(body)
    fields = fields_of(bodies.parsed_json(body))
    if id_of(fields):
        return ""
    names = _ERRORS if fields.get("data") else (*_ERRORS, *_MESSAGES)
    return " ".join(str(fields[name]) for name in names if name in fields)


def status_of(found: Object, outer: object, now_seconds: float) -> Status:
    """What the video object *found* says; UNSAID if it has no status word.

    *outer* is the JSON around it.
    """
    word = word_of(found)
    if not word:
        return UNSAID
    state = _STATES.get(word, State.UNCERTAIN)
    fails = state is State.FAILED or (
        state is State.UNCERTAIN and wording.hints_at_failure(word)
    )
    times = times_of(found, outer)
    return Status(
        state,
        sys.intern(word),  # thousands of rows share a few words
        _reason_in(found, outer) if fails else "",
        *times,
        expired=times.expires_at is not None and times.expires_at <= now_seconds,
        progress=progress_of(found) if state is State.NOT_READY else None,
    )


def _url_in(found: Object, outer: object) -> str:
    """The URL of the bytes in *found*, else in the JSON around it; "" if there is none."""
    url = url_of_result(found)
    if url is None and isinstance(outer, dict):
        # An array beside the video holds other videos.
        around = {k: v for k, v in fields_of(outer).items() if not _is_rows(k, v)}
        url = url_of_result(around)
    return url or ""


def _is_rows(name: str, value: object) -> bool:
    return name in WRAPPERS and isinstance(value, list)


def _reason_in(*objects: object) -> str:
    for fields in map(fields_of, objects):
        for name in _REASON:
            said = fields.get(name)
            said = fields_of(said).get("message") if isinstance(said, dict) else said
            if isinstance(said, str) and said.strip():
                return printable(said, 160)
    return ""
