"""What an answer without content means: not ready, failed, missing, denied. Pure.

Order of trust: the status object, then the wording of the refusal, then the code. So a
404 means what the status says. Without a status it means that there is no such video;
for a program that has the video open it is trouble (`of_opened`). Leaves to `replicas`
how many servers must answer 404 before it is believed.
"""

from ...errors import (
    HingError,
    NotAVideo,
    RateLimited,
    ServerBroken,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
    printable,
)
from ...http import pauses
from ...http.pauses import Headers
from . import bodies, wording
from .denials import denial, is_firewall, is_html, refuses_token
from .video_object import describes_video
from .video_status import State, Status

# States in which a "rate limit" asks for a pause. In any other it may be the reason why
# the video failed.
_LIMITED_STATES = frozenset({State.READY, State.UNSAID, State.NO_ROUTE})
# Codes of trouble that may pass.
PASSING_CODES = frozenset({408, 500, 502, 503, 504, *range(520, 531)})
# Codes whose meaning depends on the status of the video.
ASK_STATUS_CODES = frozenset({202, 204, 400, 404, 409, 410, 422, 423, 425})


def refusal(code: int, headers: Headers, body: bytes, status: Status) -> HingError:
    """The error that an answer without the content asked for means under *status*."""
    text = bodies.text_of(body)
    if refuses_token(code, headers, body):
        return denial(code, body)
    if asks_for_pause(code, body, status):
        return RateLimited(f"the API asked for a pause (HTTP {code})", None)
    if status.state is State.READY and (status.expired or _says_expired(code, text)):
        said = f"expired: the API lists it, its bytes are gone (HTTP {code})"
        return VideoNotFound(said, certain=status.expired)
    by_text = _by_text(code, text)
    if status.state is State.UNCERTAIN and not isinstance(by_text, VideoFailed):
        return unproven(status, "it is not served")
    if status.state is State.READY and _gives_no_reason_to_wait(code, by_text):
        said = printable(wording.words_of_page(bodies.said_in(body)), 120)
        return ServerBroken(
            "completed, but its content is refused, and no other URL is named "
            f"(HTTP {code}: {said!r})"
        )
    return _by_status(status) or by_text


def _says_expired(code: int, text: str) -> bool:
    """Whether a refusal says that the bytes were there once and are gone."""
    by_words = code in ASK_STATUS_CODES and wording.EXPIRED_TEXT.search(text)
    return code == 410 or bool(by_words or wording.UPSTREAM_410.search(text))


def asks_for_pause(code: int, body: bytes, status: Status) -> bool:
    """Whether an answer without content says: not now, you ask too often.

    LiteLLM sends the words of its upstream in place of the video, under 200.
    """
    limit = status.state in _LIMITED_STATES and code in (200, 206, 400)
    return code == 429 or (limit and pauses.speaks_of_limit(body))


def _gives_no_reason_to_wait(code: int, by_text: HingError) -> bool:
    """Whether neither code nor words of a refusal say that a completed video comes later.

    *by_text* is the meaning of its words.
    """
    no_reason = isinstance(by_text, ServerBroken | NotAVideo)
    return no_reason and code not in PASSING_CODES


def unproven(status: Status, doubt: str, *, passing: bool = False) -> HingError:
    """The error for a video of unknown status, of which *doubt* says why it is not whole.

    The hint in the status word is believed unless the doubt is *passing* by itself.
    """
    if not status.word:
        return VideoNotReady(f"{doubt}, and the status route does not know the video")
    said = f"{doubt}, and the status word {status.word} is unknown"
    if wording.hints_at_failure(status.word) and not passing:
        detail = f": {status.reason}" if status.reason else ""
        return VideoFailed(f"{said}, but tells of a failure{detail}")
    if wording.hints_at_absence(status.word) and not passing:
        return VideoNotFound(f"{said}, but tells of an end", certain=False)
    return VideoNotReady(said)


def of_opened(error: HingError) -> HingError:
    """What *error* means for a program that has the video open.

    "Not found" and "not ready" contradict the bytes that were served before. Another
    replica may have answered, so they are trouble until the status says that the video
    is gone.
    """
    contradicts = isinstance(error, VideoNotReady) or (
        isinstance(error, VideoNotFound) and not error.certain
    )
    return ServerBroken(f"it was served before; now: {error}") if contradicts else error


def is_final(code: int, headers: Headers, body: bytes) -> bool:
    """Whether another try at once is pointless: the server works, and said no.

    A 5xx passes, unless its words say that the upstream has no such file or that the
    token is refused, or its body is the video object of a failed job (vLLM-Omni). A
    firewall's refusal passes as a 503 does: the API was not asked.
    """
    if is_firewall(code, headers, body):
        return False
    if code not in PASSING_CODES:
        return True
    if describes_video(body):
        return True
    upstream_gone = wording.UPSTREAM_GONE.search(bodies.text_of(body))
    return bool(upstream_gone) or refuses_token(code, headers, body)


def trouble(
    code: int, headers: Headers, body: bytes, host: str, *, from_api: bool
) -> ServerBroken:
    """The error for an answer of *host* that is neither content nor a final refusal."""
    text = bodies.text_of(body)
    if is_firewall(code, headers, body):
        said = printable(wording.words_of_page(text), 80)
        return ServerBroken(
            f"a firewall or gateway in front of {printable(host, 80)} refuses this "
            f"machine (HTTP {code}: {said!r}), and the API was not asked; try without VPN or "
            "proxy, or have this address allowed"
        )
    who = "server" if from_api else "storage host"
    said = printable(wording.words_of_page(bodies.said_in(body)), 80)
    quoted = f": {said}" if said else ""
    if code in (200, 206):
        what = "a web page" if is_html(headers, body) else "a message"
        return ServerBroken(f"the {who} sent {what} in place of the video{quoted}")
    return ServerBroken(f"the {who} answered HTTP {code}{quoted}")


def may_be_elsewhere(code: int, headers: Headers, message: bytes) -> bool:
    """Whether the API sent no bytes in an answer after which another URL may have them.

    *message* came in place of a video; it is b"" if a video came.
    """
    if code in (200, 206):
        return bool(message)
    return code != 416 and not refuses_token(code, headers, message)


def route_missing(code: int, headers: Headers, body: bytes) -> bool:
    """Whether a 404 seems to say that the path, not the video, is unknown."""
    return code == 404 and is_html(headers, body)


def _by_status(status: Status) -> HingError | None:
    detail = f": {status.reason}" if status.reason else ""
    if status.state is State.NOT_READY:
        return VideoNotReady(
            f"not ready (status {status.word}){detail}",
            word=status.word,
            progress=status.progress,
            pause_seconds=status.pause_seconds,
        )
    if status.state is State.READY:
        return VideoNotServed("completed, but neither served yet nor named by a URL")
    if status.state is State.FAILED:
        return VideoFailed(f"rendering failed (status {status.word}){detail}")
    if status.state is State.GONE:
        return VideoNotFound(f"no such video, or expired{detail}")
    return None


def _by_text(code: int, text: str) -> HingError:
    """The error by the server's words, then by its code. The first rule that fits decides.

    Some sentences fit two rules.
    """
    said = printable(text, 120)
    named = wording.STATUS_IN_TEXT.search(text)
    word = wording.plain_word(named[1]) if named else ""
    judges_by_words = code in ASK_STATUS_CODES or code in (200, 206)
    rules: tuple[tuple[bool, HingError], ...] = (
        (
            bool(wording.NO_ROUTE_TEXT.search(text)),
            ServerBroken(f"no such route: {said}"),
        ),
        (word in wording.FAILED_WORDS, VideoFailed(f"rendering failed: {said}")),
        (word in wording.GONE_WORDS, VideoNotFound(f"expired: {said}")),
        (word in wording.NOT_READY_WORDS, VideoNotReady(f"not ready: {said}")),
        (
            judges_by_words and bool(wording.FAILED_TEXT.search(text)),
            VideoFailed(f"rendering failed: {said}"),
        ),
        (
            judges_by_words and bool(wording.NOT_READY_TEXT.search(text)),
            VideoNotReady(f"not ready: {said}"),
        ),
        (
            judges_by_words and bool(wording.GONE_TEXT.search(text)),
            VideoNotFound(f"no such video: {said}", certain=False),
        ),
        (
            code in (404, 410),
            VideoNotFound(f"no such video (HTTP {code}): {said}", certain=False),
        ),
        (
            code in (202, 204, 409, 423, 425),
            VideoNotReady(f"not ready (HTTP {code}): {said}"),
        ),
        (code in (200, 206), NotAVideo(f"no video, but: {said}")),
    )
    for applies, error in rules:
        if applies:
            return error
    return ServerBroken(f"the server answered {code}: {said}")
