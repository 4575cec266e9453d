"""A small OpenAI-style video endpoint on loopback, for ``hingfs demo``.

It needs no account and no network: two videos are ready, one becomes ready after a
while, one has failed.  Their bytes are the clips in ``hingfs/demo/clips``.  It answers
by the book (strong ETags, single ranges, If-Range, 416, OpenAI's errors and list
pages); the tests' fake endpoint plays servers that do not.  It knows nothing of
mounting and imports nothing else of hingfs.

Threads: ``hingfs-demo-endpoint`` accepts, from ``start`` to ``close``; a daemon thread
per connection answers.  The videos never change while they run; a video's status
follows from the clock alone.
"""

import functools
import hashlib
import json
import logging
import re
import secrets
import sys
import threading
import time
from collections.abc import Callable, Mapping
from email.message import Message
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from socketserver import TCPServer
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, unquote

log = logging.getLogger(__name__)

# What OpenAI answers for a video that is still queued or in progress.
NOT_READY = "Video is not ready yet, use GET /v1/videos/{video_id} to check status."
_QUEUED = 0.1  # the share of its time that a video waits; a guess
_BLOCKED = "Your request was blocked by our moderation system."
_VIDEO_PATH = re.compile(r"/v1/videos/([^/]+)(/content)?")
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")


def span_of(range_header: str, size_bytes: int) -> tuple[int, int] | None:
    """Bytes [start, stop) that *range_header* asks of a body of *size_bytes*.

    ``None`` where the header is to be ignored (several ranges, another unit, no
    sense); an empty span where it cannot be satisfied.
    """
    match = _RANGE.fullmatch(range_header.strip())
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match[1], match[2]
    if not first:
        return max(0, size_bytes - int(last)), size_bytes
    if last and int(last) < int(first):
        return None
    stop = min(int(last) + 1, size_bytes) if last else size_bytes
    return min(int(first), size_bytes), stop


class Answer(NamedTuple):
    """One HTTP answer; *body* is sent for GET, and only its length for HEAD."""

    status: HTTPStatus
    body: bytes
    headers: dict[str, str]


def _json(value: object, status: HTTPStatus = HTTPStatus.OK) -> Answer:
    """*value* as a JSON answer."""
    body = json.dumps(value).encode()
    return Answer(status, body, {"Content-Type": "application/json"})


def _error(status: HTTPStatus, message: str, code: str | None = None) -> Answer:
    """An error in OpenAI's shape."""
    kind = "invalid_request_error"
    value = {"message": message, "type": kind, "param": None, "code": code}
    return _json({"error": value}, status)


class DemoVideo:
    """One video, as the endpoint shows it at a time, in Unix seconds.

    *clip* is empty for a video whose rendering fails.
    """

    def __init__(self, video_id: str, clip: bytes, created: float, done: float) -> None:
        self.video_id = video_id
        self.clip = clip
        self.created = int(created)
        self.done = done
        self.etag = f'"{hashlib.sha256(clip).hexdigest()[:32]}"'

    def status(self, now: float) -> tuple[str, int]:
        """The status word and the progress in per cent."""
        if now >= self.done:
            return ("completed", 100) if self.clip else ("failed", 0)
        share = (now - self.created) / (self.done - self.created)
        return ("in_progress", int(100 * share)) if share >= _QUEUED else ("queued", 0)

    def describe(self, now: float) -> dict[str, object]:
        """The video as OpenAI's video object."""
        status, progress = self.status(now)
        blocked = {"code": "moderation_blocked", "message": _BLOCKED}
        return {
            "id": self.video_id,
            "object": "video",
            "model": "hingfs-demo",
            "status": status,
            "progress": progress,
            "created_at": self.created,
            "completed_at": int(self.done) if status == "completed" else None,
            "expires_at": None,
            "error": blocked if status == "failed" else None,
            "size": "640x360",
        }

    def content(self, now: float, method: str, headers: Message) -> Answer:
        """The clip or the range of it that *headers* ask for, if it is ready."""
        status, _ = self.status(now)
        if status != "completed":
            message = _BLOCKED if status == "failed" else NOT_READY
            return _error(HTTPStatus.NOT_FOUND, message)
        shown = {
            "Content-Type": "video/mp4",
            "Accept-Ranges": "bytes",
            "ETag": self.etag,
            "Last-Modified": formatdate(int(self.done), usegmt=True),
        }
        if self.etag in headers.get("If-None-Match", ""):
            return Answer(HTTPStatus.NOT_MODIFIED, b"", shown)
        span = None
        same = headers.get("If-Range") in {None, self.etag, shown["Last-Modified"]}
        if method == "GET" and same:
            span = span_of(headers.get("Range", ""), len(self.clip))
        if span is None:
            return Answer(HTTPStatus.OK, self.clip, shown)
        start, stop = span
        if start >= stop:
            shown["Content-Range"] = f"bytes */{len(self.clip)}"
            return Answer(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, b"", shown)
        shown["Content-Range"] = f"bytes {start}-{stop - 1}/{len(self.clip)}"
        return Answer(HTTPStatus.PARTIAL_CONTENT, self.clip[start:stop], shown)


class DemoEndpoint:
    """The endpoint; a context manager that serves while it is entered.

    ``base_url`` and ``token`` are what a client needs; ``clips`` maps each video
    that is or will be ready to its bytes, ``videos`` each video to what it is.
    The video that renders is ready *ready_after_seconds* after the endpoint was
    made.  *clock* gives Unix seconds.

    Thread safety: ``start`` and ``close`` belong to one thread; the rest is
    read-only.
    """

    def __init__(
        self,
        ready_after_seconds: float = 20.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        now = clock()
        ready_at = now + ready_after_seconds
        folder = resources.files(__package__) / "clips"
        first, last, rendering = (
            (folder / name).read_bytes()
            for name in ("moov_first.mp4", "moov_last.mp4", "rendering.mp4")
        )
        made = (
            DemoVideo("video_demo_moov_first", first, now - 600, now - 480),
            DemoVideo("video_demo_moov_last", last, now - 500, now - 400),
            DemoVideo("video_demo_failed", b"", now - 400, now - 390),
            DemoVideo("video_demo_rendering", rendering, now, ready_at),
        )
        self.videos = {video.video_id: video for video in made}
        self.clips = {video.video_id: video.clip for video in made if video.clip}
        self.token = secrets.token_urlsafe()
        self._server = _Server(("127.0.0.1", 0), functools.partial(_Handler, self))
        self.base_url = f"http://127.0.0.1:{self._server.server_address[1]}"
        serve = functools.partial(self._server.serve_forever, poll_interval=0.05)
        self._thread = threading.Thread(
            target=serve, name="hingfs-demo-endpoint", daemon=True
        )

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self) -> None:
        """Answer requests from now on, until ``close``."""
        self._thread.start()

    def close(self) -> None:
        """Accept no more connections; open ones end with their clients."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()

    def ready_ids(self) -> list[str]:
        """The ids of the videos that can be read now."""
        now = self._clock()
        return [v for v in self.clips if self.videos[v].status(now)[0] == "completed"]

    def answer(self, method: str, target: str, headers: Message) -> Answer:
        """The answer to *method* (GET or HEAD) on *target*."""
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        known = secrets.compare_digest(token.strip().encode(), self.token.encode())
        if scheme.lower() != "bearer" or not known:
            message = "Incorrect API key provided."
            return _error(HTTPStatus.UNAUTHORIZED, message, "invalid_api_key")
        path, _, query = target.partition("?")
        if path == "/v1/videos":
            return self._list(dict(parse_qsl(query)))
        match = _VIDEO_PATH.fullmatch(path)
        if match is None:
            return _error(HTTPStatus.NOT_FOUND, f"Invalid URL ({method} {path})")
        video_id = unquote(match[1])
        video = self.videos.get(video_id)
        if video is None:
            return _error(HTTPStatus.NOT_FOUND, f"Video '{video_id}' not found.")
        if match[2]:
            return video.content(self._clock(), method, headers)
        return _json(video.describe(self._clock()))

    def _list(self, query: Mapping[str, str]) -> Answer:
        """One page of the videos, the newest first unless ``order`` is ``asc``."""
        limit, order = query.get("limit", "20"), query.get("order", "desc")
        if not re.fullmatch("[0-9]{1,2}|100", limit) or order not in {"asc", "desc"}:
            return _error(HTTPStatus.BAD_REQUEST, "Invalid 'limit' or 'order'.")
        ids = sorted(self.videos, key=lambda v: self.videos[v].created)
        if order == "desc":
            ids.reverse()
        after = query.get("after")
        if after is not None and after not in ids:
            return _error(HTTPStatus.BAD_REQUEST, "Invalid 'after'.")
        rest = ids if after is None else ids[ids.index(after) + 1 :]
        page = rest[: int(limit)]
        now = self._clock()
        return _json(
            {
                "object": "list",
                "data": [self.videos[video_id].describe(now) for video_id in page],
                "first_id": page[0] if page else None,
                "last_id": page[-1] if page else None,
                "has_more": len(rest) > len(page),
            }
        )


class _Server(ThreadingHTTPServer):
    """Accepts the connections and gives each a daemon thread."""

    request_queue_size = 64  # a mount opens its connections at once

    def server_bind(self) -> None:
        """Bind without HTTPServer's look-up of the host's name, which can hang."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def handle_error(self, request: object, client_address: object) -> None:
        """Log what ended a connection; a client that goes away is no event."""
        log.debug(
            "demo endpoint: %s, %s", client_address, request, exc_info=sys.exc_info()
        )


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP on one connection; the endpoint makes the answers."""

    protocol_version = "HTTP/1.1"
    server_version = "hingfs-demo"
    sys_version = ""
    disable_nagle_algorithm = True  # head and body are two writes

    def __init__(self, endpoint: DemoEndpoint, *connection: Any) -> None:  # noqa: ANN401 (socketserver)
        self._endpoint = endpoint
        super().__init__(*connection)

    def do_GET(self) -> None:
        answer = self._endpoint.answer(self.command, self.path, self.headers)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    do_HEAD = do_GET  # noqa: N815 (http.server finds it by this name)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (inherited)
        """Log the request line and the status; no header, so no token."""
        log.debug("demo endpoint: %s", format % args)
