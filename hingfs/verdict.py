"""What an answer of the API means: code, headers, body and status object. Pure.

No two servers agree. 404 is "not ready" for some and "missing" for others, 400 may be
"not ready", "failed" or "wrong key", an error may come as 200 with type video/mp4,
and a Range may be ignored by a server that announces ranges. The functions here
hold these rules; they get plain values and have no effects, so each rule is a table
row and each row a test.

Order of trust: the status object, then the wording of the refusal, then the code.
"""

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

from .blocks import ByteRange, Content, Validator
from .errors import (
    AccessDenied,
    ContentChanged,
    HingError,
    NotAVideo,
    RangesIgnored,
    RateLimited,
    ServerBroken,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
    printable,
)

Headers = Mapping[str, str]

# A HEAD that announces less than this describes an error page, not a clip.
SMALLEST_BELIEVED_BYTES = 4096
# Lengths beyond this are nonsense: off_t is signed, and 1 PiB is no clip.
LARGEST_BELIEVED_BYTES = 1 << 50
# How much of a probe's body is read to see whether it is video.
PROBE = ByteRange(0, 16)

_NOT_READY_WORDS = frozenset(
    [
        "queued",
        "pending",
        "submitted",
        "not_start",
        "not_started",
        "initializing",
        "in_progress",
        "processing",
        "running",
        "generating",
        "rendering",
        "unknown",
    ]
)
_READY_WORDS = frozenset(["completed", "complete", "success", "succeeded", "done"])
_FAILED_WORDS = frozenset(
    ["failed", "failure", "error", "rejected", "cancelled", "canceled", "cancelling"]
)
_GONE_WORDS = frozenset({"expired", "deleted"})

_STATUS_IN_TEXT = re.compile(
    r"""status["']?\s*[:=]\s*["']?([A-Za-z][A-Za-z_]{2,30})""", re.IGNORECASE
)
_FAILED_TEXT = re.compile(r"fail|moderation|blocked", re.IGNORECASE)
_NOT_READY_TEXT = re.compile(
    r"not (yet )?(ready|complete(d)?|finished|available)|in.?progress|still being|queued|"
    r"processing|未就绪|未完成|处理中|排队",
    re.IGNORECASE,
)
_GONE_TEXT = re.compile(
    r"expired|过期|not found|not exist|no such|不存在", re.IGNORECASE
)
_DENIED_TEXT = re.compile(
    r"no_db_connection|invalid.{0,20}(api.?key|token)|(api.?key|token).{0,20}invalid|"
    r"incorrect api key|unauthori[sz]ed|authentication|no api key|no connected db",
    re.IGNORECASE,
)
_NO_ROUTE_TEXT = re.compile(r"invalid url \(", re.IGNORECASE)
_UPSTREAM_410 = re.compile(r"upstream service returned status 410", re.IGNORECASE)
_UPSTREAM_GONE = re.compile(
    r"upstream service returned status (404|410)", re.IGNORECASE
)
# HTML or XML, a fragment, a comment or a prolog of it.
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf\s*)?<[A-Za-z!/?]")
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)

# An object or array takes some 60 bytes of memory and may be two bytes of JSON: with
# more of them than any list of videos has, a body is no JSON to us.
_MOST_JSON_PARTS = 500_000
_MOST_TEXT = 4096
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")

# Codes of trouble that may pass.
PASSING_CODES = frozenset({408, 500, 502, 503, 504, *range(520, 531)})
# Codes whose meaning only the status route knows.
ASK_STATUS_CODES = frozenset({202, 204, 400, 404, 409, 410, 422, 423, 425})
_DENIED_CODES = frozenset({401, 402, 403})
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

    @property
    def mtime_seconds(self) -> float | None:
        """When the file was made, as near as is told."""
        return self.completed_at_seconds or self.created_at_seconds

    @property
    def unknown_word(self) -> bool:
        """Whether the server used a status word that no rule knows."""
        return self.state is State.NOT_READY and self.word not in _NOT_READY_WORDS


UNSAID = Status(State.UNSAID)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a content answer tells about a video.

    *size_bytes* None: the server does not say. *ranges* None: not tried yet.
    """

    size_bytes: int | None
    validator: Validator
    ranges: bool | None
    last_modified: str | None = None


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the API's list.

    *rows* counts all that it holds, *videos* are those of them that have an id, in
    the page's order; *last_id* is "" where none has. *has_more* None: not said.
    """

    rows: int
    videos: tuple[tuple[str, Status], ...]
    last_id: str
    has_more: bool | None


def judge_head(status: int, headers: Headers) -> Facts | None:
    """The facts of a HEAD answer, or None if it proves nothing.

    FastAPI answers 405, gin 404, a presigned GET URL 403; redirects and tiny or
    encoded bodies describe something else than the clip.
    """
    if status != 200 or not _is_media(headers) or is_encoded(headers):
        return None
    size_bytes = _content_length(headers)
    if size_bytes is None or size_bytes < SMALLEST_BELIEVED_BYTES:
        return None
    # Only a hint, since some servers announce ranges and ignore them.
    announced = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    return Facts(
        size_bytes,
        validator_of(headers),
        True if announced else None,
        _modified(headers),
    )


def judge_probe(status: int, headers: Headers, first: bytes) -> Facts | None:
    """The facts of a GET for `PROBE`, or None if the answer is no content.

    *first* holds the body's first bytes.
    """
    if status not in (200, 206) or not _is_content(headers, first):
        return None
    validator, modified = validator_of(headers), _modified(headers)
    if status == 206 and not is_encoded(headers):
        answered = parse_content_range(headers.get("Content-Range", ""))
        if answered and answered[0].start == 0 and answered[1] is not None:
            return Facts(answered[1], validator, ranges=True, last_modified=modified)
        return Facts(None, validator, ranges=False, last_modified=modified)
    size_bytes = (
        None if is_encoded(headers) or status == 206 else _content_length(headers)
    )
    return Facts(size_bytes, validator, ranges=False, last_modified=modified)


def is_empty_video(status: int, headers: Headers) -> bool:
    """Whether a probe was refused because the file has no bytes (yet)."""
    if status == 416:
        return headers.get("Content-Range", "").replace(" ", "") in (
            "bytes*/0",
            "bytes=*/0",
        )
    return status == 200 and _is_media(headers) and _content_length(headers) == 0


def may_be_message(headers: Headers) -> bool:
    """Whether the type of a 200 says that its body is for reading, not for playing."""
    return not _is_media(headers)


def url_in_json(body: bytes, base: str) -> str | None:
    """The URL of the bytes, where a server sends JSON naming it instead of them."""
    found = _json_object(body)
    result = found.get("result")
    for candidate in (
        found.get("video_url"),
        found.get("url"),
        result.get("video_url") if isinstance(result, dict) else None,
    ):
        if isinstance(candidate, str) and 0 < len(candidate) <= 8192:
            try:
                return urljoin(base, candidate)
            except ValueError:
                return None
    return None


def judge_status(
    code: int, headers: Headers, body: bytes, now_seconds: float
) -> Status:
    """What `GET /v1/videos/{id}` says, whatever its HTTP code.

    vLLM-Omni answers a failed job with an error code and the video object as body.
    Raises AccessDenied when the token is refused.
    """
    found = _json_object(body)
    word = found.get("status")
    # {"status": "error"} beside a 404 is an envelope, not a video that failed; and
    # {"status": "unauthorized"} beside a 401 is no state of one.
    envelope = code == 404 and not ({"id", "object"} & found.keys())
    of_video = not envelope and code not in _DENIED_CODES
    if isinstance(word, str) and word.strip() and of_video:
        return _status_of(found, word.strip().lower(), now_seconds)
    text = _text_of(body)
    if _is_refusal_of_token(code, text):
        raise AccessDenied(f"the API refused the token ({code})")
    if code in _NO_ROUTE_CODES or (
        code == 404 and (_is_html(headers, body) or _NO_ROUTE_TEXT.search(text))
    ):
        return Status(State.NO_ROUTE)
    if code == 404 or (code == 400 and "task_not_exist" in text):
        return Status(State.GONE, reason=printable(text, 120))
    return UNSAID


def judge_list(body: bytes, now_seconds: float) -> ListPage | None:
    """What a page of the API's list says; None if *body* is no such page."""
    page = _json_object(body)
    data = page.get("data")
    if not isinstance(data, list):
        return None
    videos: list[tuple[str, Status]] = []
    last_id = ""
    for found in data:
        video_id = found.get("id") if isinstance(found, dict) else None
        if not isinstance(video_id, str) or not video_id:
            continue
        last_id, word = video_id, found.get("status")
        status = UNSAID
        if isinstance(word, str) and word.strip():
            status = _status_of(found, word.strip().lower(), now_seconds)
        videos.append((video_id, status))
    has_more = page.get("has_more")
    if not isinstance(has_more, bool):
        has_more = None
    return ListPage(len(data), tuple(videos), last_id, has_more)


def is_cut_short(body: bytes) -> bool:
    """Whether *body* begins as JSON and cannot be read to its end."""
    return body.lstrip()[:1] in (b"{", b"[") and _parsed_json(body) is None


def refusal(code: int, body: bytes, status: Status) -> HingError:
    """The error that a content answer without content means, given the *status*."""
    text = _text_of(body)
    if _is_refusal_of_token(code, text):
        return AccessDenied(
            f"the API refused the token ({code}): {printable(text, 120)}"
        )
    if code == 429:
        return RateLimited("the API asked for a pause (429)", None)
    if status.state is State.READY and (code == 410 or _UPSTREAM_410.search(text)):
        return VideoNotFound("expired: the API lists it, its bytes are gone (410)")
    return _by_status(status) or _by_text(code, text)


def refuses_token(code: int, body: bytes) -> bool:
    """Whether the API says no to the token, or to what it may have."""
    return _is_refusal_of_token(code, _text_of(body))


def is_final(code: int, body: bytes) -> bool:
    """Whether asking again at once is pointless: the server works, and said no.

    A 5xx passes, unless its words say that the upstream has no such file, or that
    the token is refused, or it is the video object of a failed job (vLLM-Omni).
    """
    if code not in PASSING_CODES:
        return True
    found = _json_object(body)
    if isinstance(found.get("status"), str) and {"id", "object"} & found.keys():
        return True
    text = _text_of(body)
    return bool(_UPSTREAM_GONE.search(text)) or _is_refusal_of_token(code, text)


def route_missing(code: int, headers: Headers, body: bytes) -> bool:
    """Whether a 404 looks as if the path, not the video, were unknown."""
    return code == 404 and _is_html(headers, body)


def judge_range(
    status: int, headers: Headers, asked: ByteRange, content: Content
) -> ByteRange:
    """The bytes [start, stop) that an answer to a Range request brings.

    They start where *asked* starts and may stop earlier. Raises RangesIgnored for a
    200 with the same version, ContentChanged for another version, NotAVideo for
    pages and messages, ServerBroken for a 206 that is not what was asked.
    """
    if not _is_media(headers):
        raise NotAVideo(
            f"{status} with type {printable(headers.get('Content-Type'), 60)}"
        )
    if content.validator.contradicts(validator_of(headers)):
        raise ContentChanged("the server's validator is another one now")
    length = None if is_encoded(headers) else _content_length(headers)
    if status == 200:
        _check_size(length, content)
        raise RangesIgnored("200 to a Range request")
    if is_encoded(headers):
        raise RangesIgnored("a range of an encoded body is no range of the file")
    answered = parse_content_range(headers.get("Content-Range", ""))
    if answered is None:
        raise ServerBroken("206 without a readable Content-Range")
    span, total = answered
    _check_size(total, content)
    inside = span.start == asked.start and span.stop <= asked.stop
    if not inside or (length is not None and length > len(span)):
        raise ServerBroken(f"206 for [{span.start}, {span.stop}), not as asked")
    return span


def _check_size(size_bytes: int | None, content: Content) -> None:
    if size_bytes is not None and size_bytes != content.size_bytes:
        raise ContentChanged(f"{size_bytes} bytes now, {content.size_bytes} before")


def changed_by_416(headers: Headers, content: Content) -> bool:
    """Whether a 416 inside the known size says that the size is another one now."""
    value = headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes \*/(\d{1,19})", value.strip(), re.ASCII)
    return bool(match) and int(match[1]) != content.size_bytes if match else False


def is_encoded(headers: Headers) -> bool:
    """Whether a body is compressed, so that its bytes are not those of the file."""
    coding = headers.get("Content-Encoding", "").strip().lower()
    return coding not in ("", "identity")


def looks_like_message(first: bytes) -> bool:
    """Whether a body that begins with *first* is JSON, HTML or XML instead of video.

    *first* is the whole body or its first block. No container's magic is demanded:
    test data and rare containers exist, and plain text may be such data.
    """
    if _MARKUP.match(first[:8192]):
        return True
    stripped = first[:8192].strip().removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped[:1] not in (b"{", b"["):
        return False
    return _parsed_json(first) is not None or bool(
        re.match(rb'[{\[]\s*(\[|\{\s*"|"[A-Za-z_]{1,64}"\s*:)', stripped)
    )


def parse_content_range(value: str) -> tuple[ByteRange, int | None] | None:
    """(range, total) of a Content-Range header (RFC 9110 §14.4); None if unreadable."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if not match:
        return None
    start, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < start or (total is not None and last >= total):
        return None
    if max(last, total or 0) > LARGEST_BELIEVED_BYTES:
        return None
    return ByteRange(start, last + 1), total


def validator_of(headers: Headers) -> Validator:
    """The validator in *headers*, weak entity tags dropped."""
    etag = headers.get("ETag")
    strong = etag is not None and etag.startswith('"') and len(etag) <= 512
    return Validator(etag if strong else None, _modified(headers))


def _status_of(found: Mapping[str, object], word: str, now_seconds: float) -> Status:
    expires_at = _unix_seconds(found.get("expires_at"))
    if word in _READY_WORDS:
        expired = expires_at is not None and expires_at <= now_seconds
        state = State.GONE if expired else State.READY
    elif word in _FAILED_WORDS:
        state = State.FAILED
    elif word in _GONE_WORDS:
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
    )


def _by_status(status: Status) -> HingError | None:
    detail = f": {status.reason}" if status.reason else ""
    if status.state is State.NOT_READY:
        return VideoNotReady(f"not ready (status {status.word}){detail}")
    if status.state is State.READY:
        return VideoNotServed("completed, but not served yet")
    if status.state is State.FAILED:
        return VideoFailed(f"rendering failed (status {status.word}){detail}")
    if status.state is State.GONE:
        return VideoNotFound(f"no such video, or expired{detail}")
    return None


def _by_text(code: int, text: str) -> HingError:
    """Judge by the server's words, then by its code; some sentences serve two states."""
    said = printable(text, 120)
    named = _STATUS_IN_TEXT.search(text)
    word = named[1].lower() if named else ""
    judges_by_words = code in ASK_STATUS_CODES or code in (200, 206)
    rules: tuple[tuple[bool, HingError], ...] = (
        (bool(_NO_ROUTE_TEXT.search(text)), ServerBroken(f"no such route: {said}")),
        (word in _FAILED_WORDS, VideoFailed(f"rendering failed: {said}")),
        (word in _GONE_WORDS, VideoNotFound(f"expired: {said}")),
        (word in _NOT_READY_WORDS, VideoNotReady(f"not ready: {said}")),
        (
            judges_by_words and bool(_FAILED_TEXT.search(text)),
            VideoFailed(f"rendering failed: {said}"),
        ),
        (
            judges_by_words and bool(_NOT_READY_TEXT.search(text)),
            VideoNotReady(f"not ready: {said}"),
        ),
        (
            judges_by_words and bool(_GONE_TEXT.search(text)),
            VideoNotFound(f"no such video: {said}"),
        ),
        (code in (404, 410), VideoNotFound(f"no such video ({code}): {said}")),
        (
            code in (202, 204, 409, 423, 425),
            VideoNotReady(f"not ready ({code}): {said}"),
        ),
        (code in (200, 206), NotAVideo(f"no video, but: {said}")),
    )
    for applies, error in rules:
        if applies:
            return error
    return ServerBroken(f"the server answered {code}: {said}")


def _is_refusal_of_token(code: int, text: str) -> bool:
    """Some gateways refuse a token with 400 or 500 and say so only in words."""
    return code in _DENIED_CODES or (
        code in (400, 500) and bool(_DENIED_TEXT.search(text))
    )


def _is_content(headers: Headers, first: bytes) -> bool:
    return _is_media(headers) and not looks_like_message(first)


def _is_media(headers: Headers) -> bool:
    """Whether the type can be a video: anything but text, JSON, XML and multipart."""
    kind = headers.get("Content-Type", "").partition(";")[0].strip().lower()
    return not (
        kind.startswith(("text/", "multipart/", "image/"))
        or kind.endswith(("json", "xml"))
    )


def _is_html(headers: Headers, body: bytes) -> bool:
    return "html" in headers.get("Content-Type", "").lower() or bool(
        _MARKUP.match(body[:64])
    )


def _modified(headers: Headers) -> str | None:
    value = headers.get("Last-Modified")
    return value if value and len(value) <= 64 else None


def _content_length(headers: Headers) -> int | None:
    value = headers.get("Content-Length", "").strip()
    if not (value.isascii() and value.isdecimal() and len(value) <= 19):
        return None
    length = int(value)
    return length if length <= LARGEST_BELIEVED_BYTES else None


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


def _parsed_json(body: bytes) -> object | None:
    """The JSON in *body*; None if it is none, or beyond what can be wanted.

    That is: nested so deeply that parsing gives up, or of more parts than fit.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_JSON_PARTS:
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed


def _json_object(body: bytes) -> dict[str, object]:
    parsed = _parsed_json(body)
    return parsed if isinstance(parsed, dict) else {}


def _text_of(body: bytes) -> str:
    """The words of an error body: the strings of its JSON, or the body itself.

    LiteLLM quotes its upstream's JSON inside a string; the words are in there too,
    those outside ASCII perhaps as escapes.
    """
    parsed = _parsed_json(body)
    if parsed is None:
        return body[:_MOST_TEXT].decode("utf-8", "replace")
    text = " ".join(_strings_in(parsed, depth=4))[:_MOST_TEXT]
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _strings_in(value: object, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value[:_MOST_TEXT]]
    if depth == 0:
        return []
    if isinstance(value, dict):
        return [
            f"{key[:64]}: {text}"  # a long key would be repeated for each text
            for key, item in list(value.items())[:32]
            for text in _strings_in(item, depth - 1)
        ]
    if isinstance(value, list):
        return [text for item in value[:32] for text in _strings_in(item, depth - 1)]
    return []
