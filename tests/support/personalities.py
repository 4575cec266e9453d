# ruff: noqa: ARG002 (a method that may be overridden gets what an override may want)
"""What a video server answers: one that behaves, and those that are found.

Everything here is a function of the request and the videos: which status, which
headers, which bytes. How an answer travels (sockets, faults, the log) is left to
`tests.endpoint`. `Personality` is the best-behaved server; each subclass is one row
of the survey of real servers and overrides only what that server does differently.
Where the survey has no answer (it was never seen), the docstring says "a guess".
"""

import base64
import hashlib
import json
import posixpath
import random
import struct
import threading
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from pathlib import Path
from typing import ClassVar, Protocol
from urllib.parse import parse_qsl, unquote

Span = tuple[int, int]
Buffer = bytes | memoryview

CREATED_AT = 1_790_000_000
RENDER_SECONDS = 60
UPLOAD_SECONDS = 7  # from completion to the time that the file itself has
FINAL_FAILURES = frozenset({"failed", "cancelled", "canceled", "expired"})

# --- content -------------------------------------------------------------------

PERIOD = 1_048_573  # the largest prime below 1 MiB: no block size divides it
_PATTERN = memoryview(random.Random(20261122).randbytes(PERIOD) * 2)
# An ftyp box, then the head of an mdat box that goes on to the end of the file.
MP4_HEAD = struct.pack(
    ">I4s4sI4s4sI4s", 24, b"ftyp", b"isom", 512, b"isom", b"mp42", 0, b"mdat"
)


@lru_cache(maxsize=4096)
def _phase(video_id: str, version: int) -> int:
    digest = hashlib.blake2b(f"{version}/{video_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % PERIOD


def _ramp_pieces(
    video_id: str, version: int, start: int, stop: int
) -> Iterator[memoryview]:
    if start < min(stop, len(MP4_HEAD)):
        yield memoryview(MP4_HEAD)[start:stop]
        start = min(stop, len(MP4_HEAD))
    phase = _phase(video_id, version)
    while start < stop:
        at = (start + phase) % PERIOD
        piece = _PATTERN[at : at + min(stop - start, PERIOD)]
        yield piece
        start += len(piece)


def ramp(video_id: str, start: int, stop: int, version: int = 0) -> bytes:
    """Bytes [start, stop) of what an endless *video_id* would hold.

    A small MP4 head, then a pattern of prime period whose phase depends on the id
    and the version: a block of the wrong place, video or version does not match.
    """
    return b"".join(_ramp_pieces(video_id, version, start, stop))


class Source(Protocol):
    """The bytes of one version of a video, and a word that tells it from others."""

    @property
    def size_bytes(self) -> int: ...

    @property
    def fingerprint(self) -> str: ...

    def pieces(self, start: int, stop: int) -> Iterator[Buffer]: ...


@dataclass(frozen=True, slots=True)
class Ramp:
    """A video made of `ramp`."""

    video_id: str
    version: int
    size_bytes: int

    @property
    def fingerprint(self) -> str:
        return f"ramp/{self.size_bytes}"

    def pieces(self, start: int, stop: int) -> Iterator[Buffer]:
        return _ramp_pieces(self.video_id, self.version, start, stop)


@dataclass(frozen=True, slots=True)
class Blob:
    """A video whose bytes are given."""

    data: bytes

    @property
    def size_bytes(self) -> int:
        return len(self.data)

    @property
    def fingerprint(self) -> str:
        return f"blob/{self.size_bytes}/{zlib.crc32(self.data)}"

    def pieces(self, start: int, stop: int) -> Iterator[Buffer]:
        yield memoryview(self.data)[start:stop]


@dataclass(frozen=True, slots=True)
class File:
    """A video whose bytes are those of a file, read anew for each answer."""

    path: Path

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    @property
    def fingerprint(self) -> str:
        return f"file/{self.size_bytes}/{self.path.stat().st_mtime_ns}"

    def pieces(self, start: int, stop: int) -> Iterator[Buffer]:
        with self.path.open("rb") as file:
            file.seek(start)
            while start < stop and (piece := file.read(min(stop - start, PERIOD))):
                yield piece
                start += len(piece)


class Video:
    """One video at the endpoint; a new version comes by `replace`.

    Thread safety: any thread may call anything; answers are made of a `snapshot`,
    so that size, validators and bytes of one answer are of one version.
    """

    def __init__(
        self,
        video_id: str,
        source: Source,
        *,
        status: str,
        created_at: int,
        completed_at: int | None,
        expires_at: float | None,
    ) -> None:
        self.video_id = video_id
        self.source = source
        self.version = 0
        self.status = status
        self.progress = 0  # percent, until it is completed
        self.created_at = created_at
        self.completed_at = completed_at
        self.expires_at = expires_at
        self._lock = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return self.source.size_bytes

    @property
    def etag(self) -> str:
        """The strong validator of this version, in its quotes."""
        text = f"{self.video_id}/{self.version}/{self.source.fingerprint}"
        return f'"{hashlib.blake2b(text.encode(), digest_size=8).hexdigest()}"'

    @property
    def last_modified(self) -> str:
        completed_at = self.completed_at or self.created_at
        return formatdate(completed_at + UPLOAD_SECONDS, usegmt=True)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of this version, clipped to its size."""
        return b"".join(self.source.pieces(start, min(stop, self.size_bytes)))

    def replace(
        self, *, size_bytes: int | None = None, data: bytes | Path | None = None
    ) -> None:
        """Make a new version: other bytes, ETag and completion time.

        Without *data* the bytes are a ramp, without *size_bytes* as many as before.
        """
        with self._lock:
            size = self.source.size_bytes if size_bytes is None else size_bytes
            self.version += 1
            self.source = source_of(self.video_id, self.version, size, data)
            if self.completed_at is not None:
                self.completed_at += RENDER_SECONDS

    def go_back(self) -> None:
        """Serve the version before once more: its bytes and ETag, at a new time."""
        with self._lock:
            self.version -= 1
            size = self.source.size_bytes
            self.source = source_of(self.video_id, self.version, size, None)
            if self.completed_at is not None:
                self.completed_at += RENDER_SECONDS

    def set_status(self, status: str, progress: int = 0) -> None:
        """Move the job on: "queued", "in_progress", "completed", "failed", or any other word."""
        with self._lock:
            self.status, self.progress = status, progress

    def snapshot(self) -> "Video":
        """This version, whatever `replace` and `set_status` do later."""
        with self._lock:
            return copy(self)


def source_of(
    video_id: str, version: int, size_bytes: int, data: bytes | Path | None
) -> Source:
    """The bytes of a version: *data* if there are any, else a ramp."""
    if data is None:
        return Ramp(video_id, version, size_bytes)
    return Blob(data) if isinstance(data, bytes) else File(data)


# --- requests and responses ----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in; *server* is "api" or "storage".

    *connection_id* tells the connections of the server apart.
    """

    method: str
    target: str
    headers: Mapping[str, str]  # lower-case names
    server: str = "api"
    connection_id: int = 0

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(self.target.partition("?")[2]))

    @property
    def kind(self) -> str:
        """One of "content", "status", "list", "other".

        Whatever leaves /v1/videos once it is decoded and its dots are resolved is
        "other", however it was quoted.
        """
        if self.server == "storage":
            return "content"
        plain = posixpath.normpath(unquote(self.path)) + "/"
        if not plain.startswith("/v1/videos/"):
            return "other"
        match self.path.split("/")[3:]:
            case [] | [""]:
                return "list"
            case [_]:
                return "status"
            case [_, "content"]:
                return "content"
        return "other"

    @property
    def video_id(self) -> str | None:
        """The id asked for: exactly one path segment, decoded once."""
        if self.server == "storage":
            return unquote(self.path.split("/")[-1].removesuffix(".mp4"))
        if self.kind in {"content", "status"}:
            return unquote(self.path.split("/")[3])
        return None

    @property
    def range(self) -> tuple[int, int | None] | None:
        """The single range asked, as the bounds of a slice: [start, stop).

        A suffix range has a negative start, an open one no stop. None without a
        Range header, and for several ranges or a malformed one.
        """
        unit, _, spec = self.headers.get("range", "").partition("=")
        first, dash, last = spec.strip().partition("-")
        if unit != "bytes" or not dash or not (first + last).isdecimal():
            return None
        if not first:
            return (-int(last), None) if int(last) else (0, 0)
        if last and int(last) < int(first):
            return None
        return int(first), int(last) + 1 if last else None


@dataclass(frozen=True, slots=True)
class Response:
    """An answer before it travels.

    *length* is what Content-Length will say; None means chunked, or "until the
    connection closes" if the headers say so. *span* tells which bytes of the video
    the body is, of which *video*; both are None if the body is something else.
    """

    status: int
    headers: Mapping[str, str]
    body: Iterable[Buffer] = ()
    length: int | None = 0
    span: Span | None = None
    video: Video | None = None

    def with_headers(self, headers: Mapping[str, str]) -> "Response":
        return replace(self, headers={**self.headers, **headers})

    def without_headers(self, *names: str) -> "Response":
        kept = {k: v for k, v in self.headers.items() if k not in names}
        return replace(self, headers=kept)


def text_response(status: int, body: bytes, content_type: str) -> Response:
    """An answer whose whole body is at hand."""
    return Response(status, {"Content-Type": content_type}, (body,), len(body))


def json_response(status: int, document: object) -> Response:
    return text_response(status, json.dumps(document).encode(), "application/json")


def redirect(location: str) -> Response:
    return Response(302, {"Location": location})


def whole(video: Video) -> Response:
    """All bytes with the headers every server sends; no validators."""
    size = video.size_bytes
    headers = {"Content-Type": "video/mp4"}
    body = video.source.pieces(0, size)
    return Response(200, headers, body, size, (0, size), video)


def part(video: Video, start: int, stop: int) -> Response:
    """A 206 with bytes [start, stop)."""
    headers = {
        "Content-Type": "video/mp4",
        "Content-Range": f"bytes {start}-{stop - 1}/{video.size_bytes}",
    }
    body = video.source.pieces(start, stop)
    return Response(206, headers, body, stop - start, (start, stop), video)


def validators(video: Video) -> dict[str, str]:
    return {
        "ETag": video.etag,
        "Last-Modified": video.last_modified,
        "Accept-Ranges": "bytes",
    }


def ranged(request: Request, video: Video) -> Response:
    """What RFC 9110 asks for: 200, 206, 304 or 416, with validators.

    HEAD has no ranges; several ranges are answered with the whole, as allowed.
    """
    headers = request.headers
    if headers.get("if-none-match") in {video.etag, "*"}:
        return Response(304, validators(video))
    asked = None if request.method == "HEAD" else request.range
    unchanged = {None, video.etag, video.last_modified}
    if asked is None or headers.get("if-range") not in unchanged:
        return whole(video).with_headers(validators(video))
    start, stop, _ = slice(*asked).indices(video.size_bytes)
    if start >= stop:
        unsatisfied = {"Content-Range": f"bytes */{video.size_bytes}"}
        return Response(416, {**validators(video), **unsatisfied})
    return part(video, start, stop).with_headers(validators(video))


# --- personalities -------------------------------------------------------------


class Site(Protocol):
    """The endpoint, as far as a personality may know it."""

    token: str

    def find(self, video_id: str) -> Video | None:
        """A snapshot of the video, or None."""

    def find_all(self) -> Sequence[Video]:
        """Snapshots of all videos, oldest first."""

    def sign(self, video_id: str) -> str:
        """A fresh signed URL of the video at the storage."""


@dataclass(frozen=True)
class Personality:
    """The best-behaved server: HEAD, ranges, validators, a list that pages.

    *base_path* ends the base URL that users are told; *head* says that HEAD is
    answered (perhaps by a redirect), *ranges* that a range comes as a 206 in the end,
    *lists* that there is a list. Stateless: one instance serves any endpoint.
    """

    base_path: ClassVar[str] = ""
    head: ClassVar[bool] = True
    ranges: ClassVar[bool] = True
    lists: ClassVar[bool] = True
    words: ClassVar[Mapping[str, str]] = {}  # status -> how this server says it

    def respond(self, request: Request, site: Site) -> Response:
        """The answer to *request*."""
        refusal = self.authorise(request, site)
        if refusal is not None:
            return refusal
        if request.method not in {"GET", "HEAD"}:
            return self.error(405, "Method Not Allowed").with_headers({"Allow": "GET"})
        match request.kind:
            case "content":
                return self.content(request, site)
            case "status":
                return self.status(request, site)
            case "list" if self.lists:
                return self.listing(request, site)
        return self.unrouted(request)

    def authorise(self, request: Request, site: Site) -> Response | None:
        """The refusal of a request without the right key, or None."""
        if request.headers.get("authorization") == f"Bearer {site.token}":
            return None
        return self.error(401, "Incorrect API key provided.")

    def content(self, request: Request, site: Site) -> Response:
        if request.method == "HEAD" and not self.head:
            return self.refuse_head(request)
        video = site.find(request.video_id or "")
        if video is None:
            return self.missing(request)
        if video.status in FINAL_FAILURES:
            return self.failed(video)
        if video.status != "completed":
            return self.not_ready(video)
        return self.serve(request, video, site)

    def refuse_head(self, request: Request) -> Response:
        """What FastAPI says to HEAD on a GET route."""
        refusal = json_response(405, {"detail": "Method Not Allowed"})
        return refusal.with_headers({"Allow": "GET"})

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        """The answer to a content request for a completed video."""
        return ranged(request, video)

    def not_ready(self, video: Video) -> Response:
        return self.error(
            404,
            "Video is not ready yet, use GET /v1/videos/{video_id} to check status",
        )

    def failed(self, video: Video) -> Response:
        """A guess: nobody wrote down what the original said."""
        return self.error(400, "Video generation failed: no content is available")

    def missing(self, request: Request) -> Response:
        return self.error(404, f"Video with id '{request.video_id}' not found.")

    def status(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if video is None:
            return self.status_missing(request)
        return json_response(200, self.describe(video))

    def status_missing(self, request: Request) -> Response:
        return self.missing(request)

    def describe(self, video: Video) -> dict[str, object]:
        """The video object, as the status route and the list show it."""
        done = video.status == "completed"
        failure = {"code": "video_generation_failed", "message": "No video was made."}
        return {
            "id": video.video_id,
            "object": "video",
            "model": "sora-2",
            "status": self.words.get(video.status, video.status),
            "progress": 100 if done else video.progress,
            "created_at": video.created_at,
            "completed_at": video.completed_at if done else None,
            "expires_at": video.expires_at if done else None,
            "seconds": "8",
            "size": "1280x720",
            "error": failure if video.status in FINAL_FAILURES else None,
        }

    def listing(self, request: Request, site: Site) -> Response:
        """One page, newest first unless asked otherwise."""
        videos = sorted(site.find_all(), key=lambda video: video.created_at)
        if request.query.get("order", "desc") == "desc":
            videos.reverse()
        ids = [video.video_id for video in videos]
        after = request.query.get("after")
        if after is not None and after not in ids:
            return self.error(400, f"No such video: {after}")
        begin = 0 if after is None else ids.index(after) + 1
        limit = min(int(request.query.get("limit", "20")), 100)
        page = videos[begin : begin + limit]
        return json_response(200, self.page(page, has_more=begin + limit < len(videos)))

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        return {
            "object": "list",
            "data": [self.describe(video) for video in videos],
            "first_id": videos[0].video_id if videos else None,
            "last_id": videos[-1].video_id if videos else None,
            "has_more": has_more,
        }

    def unrouted(self, request: Request) -> Response:
        """The answer on a route, or a method, that is not there."""
        return self.error(404, f"Invalid URL ({request.method} {request.target})")

    def error(self, status: int, message: str) -> Response:
        """An error in this server's own wrapping."""
        kind = "invalid_request_error" if status < 500 else "server_error"
        error = {"message": message, "type": kind, "param": None, "code": None}
        return json_response(status, {"error": error})


class OpenAI(Personality):
    """api.openai.com as documented; HEAD and ranges were never seen there."""


class FastAPI(Personality):
    """What FastAPI servers with a FileResponse have in common: ranges, no HEAD."""

    head = False

    def error(self, status: int, message: str) -> Response:
        return json_response(status, {"detail": message})


class Gin(Personality):
    """What gin servers have in common: HEAD on a GET route is no route at all."""

    head = False

    def refuse_head(self, request: Request) -> Response:
        return self.unrouted(request)


@dataclass(frozen=True)
class LiteLLM(FastAPI):
    """LiteLLM proxy 1.109.1: buffers and sends the whole, quotes its upstream."""

    ranges = False

    def authorise(self, request: Request, site: Site) -> Response | None:
        """401 without a key; a wrong one is looked up in a database not there."""
        if "authorization" not in request.headers:
            return json_response(401, {"error": {"message": "No api key passed in."}})
        if super().authorise(request, site) is None:
            return None
        error = {"message": "No connected db.", "type": "no_db_connection"}
        return json_response(400, {"error": error})

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        name = {"Content-Disposition": 'attachment; filename="video.mp4"'}
        return whole(video).with_headers(name)

    def describe(self, video: Video) -> dict[str, object]:
        """As ever, but under the id that this proxy makes of the upstream's."""
        described = super().describe(video)
        inner = f"litellm:custom_llm_provider:openai;video_id:{video.video_id}"
        described["id"] = "video_" + base64.b64encode(inner.encode()).decode()
        return described

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        """The list shows the ids that can be asked for."""
        page = super().page(videos, has_more=has_more)
        rows = [{**self.describe(video), "id": video.video_id} for video in videos]
        return {**page, "data": rows}

    def error(self, status: int, message: str) -> Response:
        upstream = json.dumps({"error": {"message": message, "code": None}})
        text = f"litellm.APIError: OpenAIException - {upstream}"
        error = {"message": text, "type": None, "param": None, "code": str(status)}
        return json_response(status, {"error": error})


class LiteLLMOld(LiteLLM):
    """LiteLLM proxy 1.100.5: whatever its upstream says about content is a video."""

    def content(self, request: Request, site: Site) -> Response:
        answer = super().content(request, site)
        if request.method == "HEAD" or answer.video is not None:
            return answer
        return replace(answer, status=200).with_headers({"Content-Type": "video/mp4"})

    def error(self, status: int, message: str) -> Response:
        return Personality.error(self, status, message)


@dataclass(frozen=True)
class NewApi(Gin):
    """QuantumNous/new-api, forwarding ranges: a task queue in front of upstreams.

    A video whose status is "expired" is one that the upstream has lost.
    """

    lists = False
    task_words: ClassVar[Mapping[str, str]] = {"failed": "FAILURE"}
    words: ClassVar[Mapping[str, str]] = {"expired": "completed"}

    def content(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if request.method == "GET" and video and video.status == "expired":
            return self.upstream_failed(410)
        answer = super().content(request, site)
        return self.upstream_failed(416) if answer.status == 416 else answer

    def upstream_failed(self, status: int) -> Response:
        return self.error(502, f"Upstream service returned status {status}")

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        public = {"Cache-Control": "public, max-age=86400"}
        return ranged(request, video).with_headers(public)

    def not_ready(self, video: Video) -> Response:
        word = self.task_words.get(video.status, video.status.upper())
        message = f"Task is not completed yet, current status: {word}"
        return self.error(400, message)

    def failed(self, video: Video) -> Response:
        return self.not_ready(video)

    def missing(self, request: Request) -> Response:
        return self.error(404, "Task not found")

    def status_missing(self, request: Request) -> Response:
        word = "task_not_exist"
        return json_response(400, {"code": word, "message": word, "data": None})


@dataclass(frozen=True)
class NewApiOld(NewApi):
    """new-api before it forwarded ranges, though it copies the header that says so.

    *transfer_bytes* is where the 60 seconds of a transfer are over, in bytes.
    """

    transfer_bytes: int | None = None
    ranges = False

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        public = {"Cache-Control": "public, max-age=86400"}
        answer = whole(video).with_headers({**validators(video), **public})
        if self.transfer_bytes is None:
            return answer
        stop = min(self.transfer_bytes, video.size_bytes)
        return replace(answer, body=video.source.pieces(0, stop))


@dataclass(frozen=True)
class SGLang(FastAPI):
    """SGLang: ready means that the file exists, even if it is still being written.

    With *serves_partial* the first half of a video in progress is served.
    """

    serves_partial: bool = False

    def content(self, request: Request, site: Site) -> Response:
        if "variant" in request.query and request.method == "GET":
            return self.error(404, "Variant not found")
        return super().content(request, site)

    def not_ready(self, video: Video) -> Response:
        if not self.serves_partial or video.status != "in_progress":
            return self.error(404, "Generation is still in-progress")
        half = video.size_bytes // 2
        answer = whole(video).with_headers(validators(video))
        body = video.source.pieces(0, half)
        return replace(answer, body=body, length=half, span=(0, half))

    def failed(self, video: Video) -> Response:
        return self.error(404, "Generation is still in-progress")

    def missing(self, request: Request) -> Response:
        return self.error(404, "Video not found")


class VLLMOmni(FastAPI):
    """vLLM-Omni: a failed job is an error on both routes."""

    def not_ready(self, video: Video) -> Response:
        return self.error(404, "Generation is still in-progress")

    def failed(self, video: Video) -> Response:
        return self.error(422, "Video generation failed: out of memory")

    def missing(self, request: Request) -> Response:
        return self.error(404, "Video not found")

    def status(self, request: Request, site: Site) -> Response:
        """A failed job's object under an error code; that it is 500 is a guess."""
        answer = super().status(request, site)
        video = site.find(request.video_id or "")
        failed = video is not None and video.status in FINAL_FAILURES
        return replace(answer, status=500) if failed else answer


@dataclass(frozen=True)
class Aisix(Personality):
    """api7/aisix in proxy mode: the whole, whatever range is asked; no list."""

    ranges = False
    lists = False

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return whole(video)

    def not_ready(self, video: Video) -> Response:
        message = f"video is not ready for download (status: {video.status})"
        return self.error(400, message)

    def failed(self, video: Video) -> Response:
        return self.error(400, "video generation failed: upstream gave no reason")

    def describe(self, video: Video) -> dict[str, object]:
        return {**super().describe(video), "created_at": 0, "completed_at": None}


class AisixRedirect(Aisix):
    """api7/aisix in redirect mode: a signed URL of the storage, also for HEAD."""

    ranges = True
    head = True

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return redirect(site.sign(video.video_id))


class LLMGateway(Personality):
    """theopenco/llmgateway: 409 and one sentence for pending and failed."""

    def not_ready(self, video: Video) -> Response:
        message = f"Video is not ready yet. Current status: {video.status}"
        return self.error(409, message)

    def failed(self, video: Video) -> Response:
        return self.not_ready(video)


class Bifrost(Personality):
    """Bifrost: ids are id:provider, the list wants a provider, ranges are ignored.

    What it says to HEAD and of a failed job are guesses.
    """

    head = False
    ranges = False

    def content(self, request: Request, site: Site) -> Response:
        return self.malformed(request) or super().content(request, site)

    def status(self, request: Request, site: Site) -> Response:
        return self.malformed(request) or super().status(request, site)

    def malformed(self, request: Request) -> Response | None:
        if ":" in (request.video_id or ""):
            return None
        return self.error(400, "invalid video id format, expected 'id:provider'")

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return whole(video)

    def not_ready(self, video: Video) -> Response:
        return self.error(404, "video not found or not yet available")

    def listing(self, request: Request, site: Site) -> Response:
        if "provider" not in request.query:
            return self.error(400, "provider query parameter is required")
        return super().listing(request, site)


class Token360(Personality):
    """token360: a redirect to a signed URL. The codes of its errors are guesses."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return redirect(site.sign(video.video_id))

    def not_ready(self, video: Video) -> Response:
        message = f"Video is not ready yet. Current status: {video.status}"
        return self.error(400, message)


class Json200Reseller(Personality):
    """skyengine, fast-token, juheapi: JSON with the video's URL for content.

    That "not ready" comes as 200 too is a guess.
    """

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        url = site.sign(video.video_id)
        expires_at = video.expires_at or video.created_at + 3600
        return json_response(200, {"video_url": url, "expires_at": expires_at})

    def not_ready(self, video: Video) -> Response:
        return self.error(200, f"video is not ready, status: {video.status}")


class HingNetVeo(Personality):
    """HingNet by its Veo pages: 400 means not ready."""

    def not_ready(self, video: Video) -> Response:
        return self.error(400, "video is not ready")

    def describe(self, video: Video) -> dict[str, object]:
        return {**super().describe(video), "model": "veo-3.1", "progress": 0}

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        return {"object": "list", "data": [self.describe(video) for video in videos]}

    def error(self, status: int, message: str) -> Response:
        error = {"message": message, "type": "one_hub_error"}
        return json_response(status, {"error": error})


@dataclass(frozen=True)
class HingNetSora(HingNetVeo):
    """HingNet by its Sora pages: 404 means missing or not finished; own words.

    With *redirects* the content is on another host, as the page says it may be.
    """

    redirects: bool = False
    words: ClassVar[Mapping[str, str]] = {
        "in_progress": "processing",
        "completed": "success",
    }

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        if self.redirects:
            return redirect(site.sign(video.video_id))
        return super().serve(request, video, site)

    def not_ready(self, video: Video) -> Response:
        return self.error(404, "video does not exist or is not finished yet")

    def missing(self, request: Request) -> Response:
        return self.error(404, "video does not exist or is not finished yet")

    def status_missing(self, request: Request) -> Response:
        return self.error(404, "video does not exist")

    def describe(self, video: Video) -> dict[str, object]:
        """Times of completion and expiry are there only once it is done."""
        times = {"completed_at", "expires_at"}
        described = {**super().describe(video), "model": "sora-2"}
        done = video.status == "completed"
        return {k: v for k, v in described.items() if done or k not in times}


class Rivus(HingNetVeo):
    """docs.rivus.cn: HingNet under a base URL that ends in /v1."""

    base_path = "/v1"


@dataclass(frozen=True)
class Website(Personality):
    """Answers every path with a page."""

    def respond(self, request: Request, site: Site) -> Response:
        return text_response(404, b"<!doctype html><html>Acme</html>", "text/html")


PERSONALITIES: Mapping[str, Personality] = {
    "openai": OpenAI(),
    "litellm_old": LiteLLMOld(),
    "litellm_new": LiteLLM(),
    "new_api_old": NewApiOld(),
    "new_api_new": NewApi(),
    "sglang": SGLang(),
    "sglang_partial": SGLang(serves_partial=True),
    "vllm_omni": VLLMOmni(),
    "aisix_proxy": Aisix(),
    "aisix_redirect": AisixRedirect(),
    "llmgateway": LLMGateway(),
    "bifrost": Bifrost(),
    "token360": Token360(),
    "json200_reseller": Json200Reseller(),
    "hingnet_veo": HingNetVeo(),
    "hingnet_sora": HingNetSora(),
    "hingnet_sora_redirect": HingNetSora(redirects=True),
    "rivus": Rivus(),
}
