"""An API on the Internet that keeps its bytes elsewhere, played on loopback.

`World` has the API by TLS at api.example, by http a server that must never be asked in
its place, and a storage host, cdn.example, by either scheme or by both.
"""

from dataclasses import dataclass
from pathlib import Path

from tests.support.certificates import certificate
from tests.support.endpoint import FakeEndpoint
from tests.support.internet import Internet
from tests.support.personalities import (
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
    redirect,
)

SECRET = "oh-secret-0123456789"
SIZE_BYTES = 300_000
PUBLIC, STORAGE = "93.184.216.34", "8.8.4.4"


@dataclass(frozen=True)
class Leading(Personality):
    """Keeps the bytes at another place, and says so in one way or another."""

    location: str = ""
    how: str = "302"

    def serve(self, request: Request, video: Video, site: Site) -> Response:  # noqa: ARG002
        if self.how == "302":
            return redirect(self.location)
        return json_response(200, {"video_url": self.location})


class World:
    """An API by TLS at api.example, and a storage host cdn.example."""

    def __init__(self, directory: Path, internet: Internet) -> None:
        self.internet = internet
        hosts = ("api.example", "cdn.example")
        self.files = {host: certificate(directory, host) for host in hosts}
        self.authorities = directory / "authorities.pem"
        self.authorities.write_text(
            "".join(Path(self.files[h][0]).read_text() for h in hosts)
        )
        self.api = FakeEndpoint(SECRET, tls=self.files["api.example"])
        self.plain = FakeEndpoint("another token")
        self.tls = FakeEndpoint("another token", tls=self.files["cdn.example"])
        for server in (self.api, self.plain, self.tls):
            server.start()
            server.add("v", size_bytes=SIZE_BYTES)
        internet.put("api.example", PUBLIC, p443=port(self.api), p80=port(self.plain))
        internet.put("cdn.example", STORAGE, p443=0, p80=0)

    def close(self) -> None:
        for server in (self.api, self.plain, self.tls):
            server.close()

    def check_secrecy(self) -> None:
        """No server but the API, by TLS, has seen the token."""
        for record in (*self.plain.log, *self.tls.log):
            assert "authorization" not in record.headers
            assert SECRET not in record.path

    @property
    def location(self) -> str:
        """The URL that `lead` made the API name."""
        assert isinstance(self.api.personality, Leading)
        return self.api.personality.location

    def serve(self, **ports: FakeEndpoint) -> None:
        """cdn.example has these servers at its ports."""
        played_by = {name: port(server, "storage") for name, server in ports.items()}
        self.internet.put("cdn.example", STORAGE, **played_by)

    def lead(self, place: str = "cdn.example", how: str = "302") -> None:
        """The API names http://*place*."""
        path = self.plain.storage.sign("v")
        # One signature for both: the scheme is not in it.
        self.tls.storage._uses_left = self.plain.storage._uses_left
        self.api.personality = Leading(f"http://{place}{path}", how)


def port(server: FakeEndpoint, name: str = "api") -> int:
    return server._servers[name].port
