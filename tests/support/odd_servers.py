# ruff: noqa: ARG002 (a method that may be overridden gets what an override may want)
"""Servers whose answers have odd shapes, as people reported them; else by the book.

`FIELD` goes through the same matrix as the survey's personalities, and each kind has its
section in test_field.
"""

import base64
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import ClassVar

from tests.support.personalities import (
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
    whole,
)


@dataclass(frozen=True)
class NoCoding(Personality):
    """Storage that names a coding which changes no byte, as versitygw and minio do.

    With *from_get* HEAD names none.
    """

    coding: str = "aws-chunked"
    from_get: bool = False

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        answer = super().serve(request, video, site)
        if self.from_get and request.method == "HEAD":
            return answer
        return answer.with_headers({"Content-Encoding": self.coding})


@dataclass(frozen=True)
class Coded(Personality):
    """A proxy that packs every answer, and names the *coding*; HEAD is not to be had."""

    head = False
    coding: str = "gzip"

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        body = gzip.compress(video.read(0, video.size_bytes), compresslevel=1)
        answer = replace(whole(video), body=(body,), length=len(body), span=None)
        return answer.with_headers({"Content-Encoding": self.coding})


def iso(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


class Wrapped(Personality):
    """new-api's task routes, as forks serve them: wrapped, `task_id`, times as text.

    An empty page is Go's nil slice, and the words are those of the vendors behind it.
    """

    words: ClassVar[Mapping[str, str]] = {
        "completed": "TASK_STATUS_SUCCEED",
        "queued": "Waiting",
        "in_progress": "Dreaming",
        "failed": "Fail",
        "cancelled": "TimeOut",
    }

    def describe(self, video: Video) -> dict[str, object]:
        done = video.status == "completed"
        number = video.video_id.isdecimal()
        return {
            "task_id": int(video.video_id) if number else video.video_id,
            "platform": "jimeng",
            "status": self.words.get(video.status, video.status.upper()),
            "fail_reason": "",
            "submit_time": iso(video.created_at),
            "finish_time": iso(video.completed_at) if done else None,
            "progress": "100%" if done else "30%",
        }

    def status(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if video is None:
            return self.status_missing(request)
        found = {"code": "success", "message": "", "data": self.describe(video)}
        return json_response(200, found)

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        rows = [self.describe(video) for video in videos] or None
        return {"success": True, "message": "", "data": {"items": rows}}


class NilPage(Personality):
    """A Go server: the page after the last has `data: null`, and says nothing of more."""

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        rows = [self.describe(video) for video in videos]
        return {"object": "list", "data": rows or None}


@dataclass(frozen=True)
class NoLength(Personality):
    """Neither HEAD nor ranges nor a length: all must come before the size is known.

    *how* the end is told: in chunks, by the connection's, or by that of gzip's stream.
    """

    head = False
    ranges = False
    how: str = "chunks"

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        answer = replace(whole(video), length=None)
        if self.how == "connection":
            return answer.with_headers({"Connection": "close"})
        if self.how == "gzip":
            body = gzip.compress(b"".join(answer.body), compresslevel=1)
            zipped = replace(answer, body=(body,))
            return zipped.with_headers({"Content-Encoding": "gzip"})
        return answer


class EmptyHead(NoLength):
    """HEAD is answered, and describes the empty body that it has."""

    def refuse_head(self, request: Request) -> Response:
        return Response(200, {"Content-Type": "video/mp4", "Content-Length": "0"})


@dataclass(frozen=True)
class OddType(Personality):
    """Right bytes under the *kind* of something else: a proxy or a bucket guessed.

    With *from_get* HEAD knows better. What is too short to be known for a video has its
    right type.
    """

    kind: str = "text/plain; charset=utf-8"
    from_get: bool = False
    whole: bool = False

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        answer = whole(video) if self.whole else super().serve(request, video, site)
        known = video.size_bytes < 16 or (self.from_get and request.method == "HEAD")
        return answer if known else answer.with_headers({"Content-Type": self.kind})


# How a status object names the URL of the bytes, and others beside it.
PLACES: Mapping[str, Callable[[str, str], dict[str, object]]] = {
    "url": lambda url, own: {"input": {"url": own}, "url": url},  # SGLang
    "metadata": lambda url, own: {"image": own, "metadata": {"url": url}},  # new-api
    "kling": lambda url, own: {
        "data": {
            "cover": own,
            "task_result": {"videos": [{"cover_url": own, "url": url}, {"url": own}]},
        }
    },
    "dashscope": lambda url, own: {"output": {"first_frame": own, "video_url": url}},
    "echo": lambda url, own: {"video": own, "media": [own], "result": {"url": url}},
    "json": lambda url, own: {
        "param": json.dumps({"url": own}),
        "resultJson": json.dumps({"resultUrls": [url]}),
    },
    "fal": lambda url, own: {"response_url": own, "video": {"url": url}},
    "runway": lambda url, own: {"thumbnails": [own], "output": [url, own]},
}


@dataclass(frozen=True)
class NamedUrl(Personality):
    """Content is refused with *code*; the status names a signed URL as `PLACES` tells.

    The others that it names are of the video `own`, a picture that its user sent.
    """

    code: int = 400
    place: str = "url"
    says: str = "Video has been uploaded to cloud storage"

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return self.error(self.code, self.says)

    def status(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if video is None:
            return self.status_missing(request)
        found = self.describe(video)
        if video.status == "completed":
            url, own = site.sign(video.video_id), site.sign("own")
            found = {**PLACES[self.place](url, own), **found}
        return json_response(200, found)


class NamedInList(Personality):
    """Neither content nor a status route; the rows of the list name signed URLs."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return self.error(404, "No content route here")

    def status(self, request: Request, site: Site) -> Response:
        return self.error(404, f"Invalid URL (GET {request.target})")

    def listing(self, request: Request, site: Site) -> Response:
        answer = super().listing(request, site)
        page = json.loads(b"".join(answer.body))
        rows = [{**row, "url": site.sign(row["id"])} for row in page["data"]]
        return json_response(answer.status, {**page, "data": rows})


class Inline(Personality):
    """Content is refused, and the status holds the bytes themselves."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return self.error(404, "No content for this video")

    def describe(self, video: Video) -> dict[str, object]:
        coded = base64.b64encode(video.read(0, video.size_bytes)).decode()
        url = f"data:video/mp4;base64,{coded}"
        done = video.status == "completed"
        return {**super().describe(video), "video": {"url": url if done else None}}


@dataclass(frozen=True)
class OddWord(Personality):
    """Serves what it has, as SGLang does, and says of all of it the same *word*."""

    word: str = "marinating"

    def content(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if video is None:
            return self.missing(request)
        return self.serve(request, video, site)

    def describe(self, video: Video) -> dict[str, object]:
        return {**super().describe(video), "status": self.word}


@dataclass(frozen=True)
class OddFailure(Personality):
    """A video that failed is called so by the odd *word* alone; there is no content."""

    word: str = "GENERATE_FAILED"

    def describe(self, video: Video) -> dict[str, object]:
        found = super().describe(video)
        return {**found, "status": self.word} if video.status == "failed" else found

    def failed(self, video: Video) -> Response:
        return self.error(404, "No content for this video")


@dataclass(frozen=True)
class Shaped(Personality):
    """Tells of a video in objects of another *shape*, and serves it while it is made."""

    shape: str = "nested"

    def content(self, request: Request, site: Site) -> Response:
        video = site.find(request.video_id or "")
        if video is not None and video.status == "in_progress":
            return self.serve(request, video, site)
        return super().content(request, site)

    def describe(self, video: Video) -> dict[str, object]:
        found = super().describe(video)
        if self.shape == "nested":
            return {**found, "status": {"state": found["status"]}}
        if self.shape == "pascal":
            pascal = {_pascal(name): value for name, value in found.items()}
            return {**pascal, "Status": _pascal(video.status)}
        return {"request_id": "r", self.shape: found}


def _pascal(name: str) -> str:
    return name.title().replace("_", "")


FIELD: Mapping[str, Personality] = {
    "nested_status": Shaped(),
    "pascal_case": Shaped("pascal"),
    "payload": Shaped("payload"),
    "no_coding": NoCoding(),
    "wrapped": Wrapped(),
    "nil_page": NilPage(),
    "no_length": NoLength(),
    "named_by_url": NamedUrl(),
    "named_in_metadata": NamedUrl(404, "metadata"),
    "named_in_a_list": NamedUrl(200, "kling"),
    "odd_type": OddType(),
    "odd_type_of_get": OddType("text/html", from_get=True),
    "odd_type_whole": OddType("application/json", whole=True),
}
