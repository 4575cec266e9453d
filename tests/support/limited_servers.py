"""Servers with little to give: so many requests a minute, or at once, and no more."""

import json
import math
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace

from tests.support.endpoint import Connection, CutError, Fault, range_body
from tests.support.personalities import (
    PERSONALITIES,
    Buffer,
    Personality,
    Request,
    Response,
    Site,
    json_response,
    text_response,
)


class TokenBucket:
    """Lets *per_second* requests through, up to *burst* at once; refusals cost none.

    It is empty at first: however slow the machine is, one request is refused. Thread
    safety: all methods.
    """

    def __init__(self, burst: float, per_second: float) -> None:
        self.refused = 0
        self._burst = burst
        self._per_second = per_second
        self._lock = threading.Lock()
        self._tokens = 0.0  # at _counted_at; both are guarded by _lock
        self._counted_at = time.monotonic()

    def take(self) -> float:
        """0 for a request that may pass, else the seconds until one may."""
        with self._lock:
            now = time.monotonic()
            came = (now - self._counted_at) * self._per_second
            self._tokens = min(self._burst, self._tokens + came)
            self._counted_at = now
            if self._tokens >= 1:
                self._tokens -= 1
                return 0.0
            self.refused += 1
            return (1 - self._tokens) / self._per_second


def _said(message: str) -> dict[str, object]:
    return {"error": {"message": message, "type": "requests"}}


def _refusal(
    headers: Mapping[str, str], message: str = "Too many requests"
) -> Response:
    return json_response(429, _said(message)).with_headers(headers)


# How servers name the seconds to wait.
PAUSES: Mapping[str, Callable[[float], Response]] = {
    "Retry-After": lambda s: _refusal({"Retry-After": f"{math.ceil(s)}"}),
    "Retry-After-Ms": lambda s: _refusal({"Retry-After-Ms": f"{1000 * s:.0f}"}),
    "RateLimit": lambda s: _refusal({"RateLimit": f'"default";r=0;t={math.ceil(s)}'}),
    "epoch": lambda s: _refusal({"X-RateLimit-Reset": f"{time.time() + s + 0.5:.0f}"}),
    "span": lambda s: _refusal({"x-ratelimit-reset-requests": f"{1000 * s:.0f}ms"}),
    "sentence": lambda s: _refusal({}, f"Please try again in {s:.3f}s."),
    "Chinese": lambda s: _refusal({}, f"请求过于频繁, 请在 {s:.2f} 秒后重试"),
    "field": lambda s: text_response(
        403, json.dumps({"retry_after": round(s, 3)}).encode(), "application/json"
    ),
    # In place of content, where other routes would not be understood.
    "200": lambda s: json_response(200, _said(f"Rate limit. Try again in {s:.2f}s")),
    "200 as video": lambda s: text_response(
        200,
        json.dumps(_said(f"Rate limit. Retry after {s:.2f}s")).encode(),
        "video/mp4",
    ),
    "400": lambda s: json_response(
        400, _said(f"rate limit exceeded, wait {s:.2f} seconds")
    ),
    "nothing": lambda _s: Response(429, {}),
}


@dataclass(frozen=True)
class Metered(Personality):
    """So many requests a minute, and the pause named as `PAUSES` tells by *form*.

    It stands in front of the server *behind*. With *bytes_alone* only GETs of
    content count.
    """

    bucket: TokenBucket
    form: str
    bytes_alone: bool = False
    behind: Personality = PERSONALITIES["openai"]

    def respond(self, request: Request, site: Site) -> Response:
        of_bytes = request.kind == "content" and request.method == "GET"
        counted = of_bytes or not self.bytes_alone
        seconds = self.bucket.take() if counted else 0.0
        if seconds:
            return PAUSES[self.form](seconds)
        return self.behind.respond(request, site)


class AtOnce:
    """Sends *most* ranges at once, each for *seconds*, and refuses one more.

    By the status *refusal*, or by a reset where it is 0. Thread safety: all methods.
    """

    def __init__(self, most: int, refusal: int, seconds: float = 0.03) -> None:
        self.most = most
        self.seconds = seconds
        self.refused = 0
        self.peak = 0  # the most that were sent at once
        self._refusal = refusal
        self._lock = threading.Lock()  # guards all fields
        self._sent = 0

    def fault(self) -> Fault:
        """What makes an endpoint such a server."""
        return Fault("at_once", self._answer, range_body)

    def _answer(self, answer: Response, _line: Connection) -> Response:
        with self._lock:
            if self._sent < self.most:
                self._sent += 1
                self.peak = max(self.peak, self._sent)
                return replace(answer, body=self._body(answer))
            self.refused += 1
        if not self._refusal:
            raise CutError(reset=True)
        return text_response(self._refusal, b"<h1>No</h1>", "text/html")

    def _body(self, answer: Response) -> Iterator[Buffer]:
        try:
            threading.Event().wait(self.seconds)
            *pieces, last = answer.body
            yield from pieces
        finally:
            with self._lock:
                self._sent -= 1
        yield last
