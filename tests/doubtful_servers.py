"""Servers that cannot be taken at their word, by the book otherwise.

Firewalls that speak in the place of the API, and keys that may have a part of it. Each
is one kind of what people reported; test_field mounts them.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from .personalities import (
    Personality,
    Request,
    Response,
    Site,
    json_response,
    text_response,
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
