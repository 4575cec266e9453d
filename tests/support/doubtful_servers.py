# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""Servers that cannot be taken at their word, by the book otherwise.

Firewalls that speak in the place of the API, and keys that may have a part of it. Each
is one kind of what people reported; test_field mounts them.
"""

import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from itertools import count
from random import Random

from tests.support.personalities import (
    CREATED_AT,
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
    part,
    ranged,
    text_response,
    whole,
)

Where = Callable[[Request], bool]


def everywhere(request: Request) -> bool:
    return True


# --- firewalls --------------------------------------------------------------------

CLOUDFLARE = (
    b"<!DOCTYPE html>\n<html><head><title>Attention Required! | Cloudflare</title>"
    b"<script>var a = '<b>';</script></head><body><h1>Sorry, you have been blocked</h1>"
    b"</body></html>"
)
NGINX = (
    b"<html>\r\n<head><title>403 Forbidden</title></head>\r\n<body>\r\n"
    b"<center><h1>403 Forbidden</h1></center>\r\n</body>\r\n</html>\r\n"
)
ALIBABA = (
    "<!doctypehtml><html><head><title>405</title></head><body>很抱歉,由于您访问的URL"
    "有可能对网站造成安全威胁,您的访问被阻断。</body></html>"
).encode()
QUOTED_PAGE = b'{"error": {"message": "upstream said: <html><title>Blocked</title>"}}'

FIREWALLS: dict[str, Response] = {
    "cloudflare": text_response(403, CLOUDFLARE, "text/html; charset=UTF-8"),
    "cloudflare-1020": text_response(403, b"error code: 1020", "text/plain"),
    "nginx-deny": text_response(403, NGINX, "text/html"),
    "envoy": text_response(403, b"RBAC: access denied", "text/plain"),
    "page-without-tags": text_response(403, b"Forbidden", "text/html"),
    "page-of-nothing": text_response(403, b"", "text/html"),
    "aws-waf-202": text_response(202, b"", "text/html").with_headers(
        {"x-amzn-waf-action": "challenge"}
    ),
    "page-without-a-type": text_response(403, NGINX, "application/octet-stream"),
    "quoted-by-a-gateway": text_response(403, QUOTED_PAGE, "application/json"),
    "alibaba-waf-405": text_response(405, ALIBABA, "text/html"),
    "modsecurity-406": text_response(
        406, b"<html><title>Not Acceptable!</title>Mod_Security</html>", "text/html"
    ),
}


class Firewall:
    """Lets so many of the requests pass that *where* is about, then so many not."""

    def __init__(self, blocks: float, where: Where = everywhere) -> None:
        self.blocks = blocks
        self.where = where


@dataclass(frozen=True)
class Walled(Personality):
    """A firewall in front of the API answers in its place, while *wall* says so."""

    answer: Response = FIREWALLS["cloudflare"]
    wall: Firewall = field(default_factory=lambda: Firewall(0))

    def respond(self, request: Request, site: Site) -> Response:
        if self.wall.blocks > 0 and self.wall.where(request):
            self.wall.blocks -= 1
            return self.answer
        return super().respond(request, site)


# --- keys with few rights -----------------------------------------------------------


@dataclass(frozen=True)
class FewRights(Personality):
    """A key that may have the content and not all of *withheld*, refused by *code*.

    LiteLLM's virtual keys, and gateways that give a key the routes it names.
    """

    withheld: Collection[str] = ("list",)
    code: int = 403
    saying: str = "This key is not allowed to call this route"

    def respond(self, request: Request, site: Site) -> Response:
        if request.kind in self.withheld:
            return self.error(self.code, self.saying)
        return super().respond(request, site)


@dataclass(frozen=True)
class ForbidsOne(Personality):
    """One id is another team's: its content is refused, those of others are served."""

    video_id: str = "theirs"
    routes: Collection[str] = ("content",)

    def respond(self, request: Request, site: Site) -> Response:
        if request.video_id == self.video_id and request.kind in self.routes:
            return json_response(
                403, {"error": {"message": "domain not in whitelist", "code": None}}
            )
        return super().respond(request, site)


# --- replicas -----------------------------------------------------------------------


def turns(replicas: int) -> Callable[[], int]:
    """The numbers of *replicas*, each in its turn."""
    numbers = count()
    return lambda: next(numbers) % replicas


def draws(replicas: int, seed: int = 1) -> Callable[[], int]:
    """The numbers of *replicas*, drawn at random; 0 at least every third time."""
    random = Random(seed)
    missed = 0

    def draw() -> int:
        nonlocal missed
        drawn = random.randrange(replicas) if missed < 2 else 0
        missed = missed + 1 if drawn else 0
        return drawn

    return draw


class Balancer:
    """Leads each connection to a replica for good, or each request where not *pinned*."""

    def __init__(self, pick: Callable[[], int], *, pinned: bool) -> None:
        self._pick = pick
        self._pinned = pinned
        self._lock = threading.Lock()
        self._replicas: dict[int, int] = {}  # connection id -> replica; under _lock

    def replica_of(self, request: Request) -> int:
        with self._lock:
            if not self._pinned:
                return self._pick()
            if request.connection_id not in self._replicas:
                self._replicas[request.connection_id] = self._pick()
            return self._replicas[request.connection_id]


ABSENT: dict[str, Response] = {
    "404": json_response(404, {"error": {"message": "Video not found"}}),
    "404-fastapi": json_response(404, {"detail": "Not Found"}),
    "404-not-ready": json_response(404, {"detail": "Generation is still in-progress"}),
    "410": json_response(410, {"error": {"message": "Gone"}}),
    "400-task": json_response(400, {"code": "task_not_exist", "data": None}),
    "400": json_response(400, {"error": {"message": "Video not found"}}),
    "422": json_response(422, {"detail": "Unknown video"}),
    "200": json_response(200, {"error": {"message": "Video not found"}}),
    "404-page": text_response(404, b"<html><h1>404</h1></html>", "text/html"),
}


@dataclass(frozen=True)
class Replicas(Personality):
    """Replicas behind one address; replica 0 knows the videos, the others none.

    *routes* are those on which they differ: a shared store makes some of them agree.
    """

    balancer: Balancer = field(default_factory=lambda: Balancer(turns(2), pinned=True))
    absent: Response = ABSENT["404"]
    routes: Collection[str] = ("content", "status")

    def respond(self, request: Request, site: Site) -> Response:
        replica = self.balancer.replica_of(request)
        if replica != 0 and request.kind in self.routes:
            return self.authorise(request, site) or self.absent
        return super().respond(request, site)


@dataclass(frozen=True)
class StatusKnowsNot(Personality):
    """Serves all, and its status route does not know *videos*, which it says so."""

    absent: Response = ABSENT["404"]
    videos: Collection[str] = ("v",)

    def respond(self, request: Request, site: Site) -> Response:
        if request.kind == "status" and request.video_id in self.videos:
            return self.absent
        return super().respond(request, site)


# --- validators ------------------------------------------------------------------------


@dataclass(frozen=True)
class Shifting(Personality):
    """Equal bytes under other validators: *copy_of* numbers the copy of each answer.

    A temporary copy for each download, the edges of a CDN, replicas that were synced
    without their times. Where *if_range* is False it is ignored, as some edges do.
    *videos* are those that it happens to; None: to all.
    """

    copy_of: Callable[[Request], int] = field(default_factory=lambda: slowly(1))
    etag: bool = True
    if_range: bool = True
    timeless: bool = False
    ranges_work: bool = True
    sized: bool = True
    videos: Collection[str] | None = None

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        if self.videos is not None and video.video_id not in self.videos:
            return ranged(request, video)
        stamps = self.stamps(video, self.copy_of(request))
        answer = self.of_copy(request, video, set(stamps.values()))
        if not self.sized:
            answer = replace(answer, length=None)
        return answer.with_headers(stamps)

    def stamps(self, video: Video, copy: int) -> dict[str, str]:
        when = CREATED_AT + 1000 * video.version + copy
        stamps = {"Last-Modified": formatdate(when, usegmt=True)}
        if self.etag:
            stamps["ETag"] = f'"{video.version}-{copy}"'
        return stamps

    def of_copy(self, request: Request, video: Video, stamps: set[str]) -> Response:
        asked = None if request.method == "HEAD" else request.range
        condition = request.headers.get("if-range")
        same = not self.if_range or condition is None or condition in stamps
        if asked is None or not same or not self.ranges_work:
            return whole(video)
        start, stop, _ = slice(*asked).indices(video.size_bytes)
        if start >= stop:
            return Response(416, {"Content-Range": f"bytes */{video.size_bytes}"})
        answer = part(video, start, stop)
        return answer.with_headers({"Accept-Ranges": "bytes"})

    def describe(self, video: Video) -> dict[str, object]:
        times = {"created_at": 0, "completed_at": None} if self.timeless else {}
        return {**super().describe(video), **times}


def by_method(request: Request) -> int:
    """HEAD is answered from a cache that has other validators than GET."""
    return int(request.method == "HEAD")


def slowly(answers: int) -> Callable[[Request], int]:
    """Another copy after so many answers."""
    numbers = count()
    return lambda _request: next(numbers) // answers


SHIFTING: dict[str, Callable[[], Shifting]] = {
    "a-copy-for-each-answer": Shifting,
    "a-copy-for-each-and-no-if-range": lambda: Shifting(if_range=False),
    "modified-alone": lambda: Shifting(etag=False),
    "two-edges-in-turn": lambda: Shifting(Balancer(turns(2), pinned=False).replica_of),
    "two-edges-by-connection": lambda: Shifting(
        Balancer(turns(2), pinned=True).replica_of
    ),
    "three-edges-drawn": lambda: Shifting(Balancer(draws(3), pinned=False).replica_of),
    "edges-that-ignore-if-range": lambda: Shifting(
        Balancer(turns(2), pinned=False).replica_of, if_range=False
    ),
    "head-from-a-cache": lambda: Shifting(by_method),
    "without-ranges": lambda: Shifting(ranges_work=False),
    "without-a-length": lambda: Shifting(ranges_work=False, sized=False),
    "timeless": lambda: Shifting(timeless=True),
}
