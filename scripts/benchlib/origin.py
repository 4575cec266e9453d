"""The origin: nginx as a video API, with a fixed latency and a cap per connection.

It answers on three ports with the same bytes, *paced*, *fast* (no latency, no cap) and
*tls* (fast, by https), and under two kinds of path: the OpenAI ones for hingfs, and one
HTML listing per work for rclone's `http` backend, which asks HEAD for every file it
sees in a listing.
Its access log, one line per request that ended in whatever way, is the count.
"""

import json
import os
import re
import secrets
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, get_args

from .system import BenchError, find_program, run, wait_until

# A busy CDN edge or gateway, as in the project's design: each connection is slow,
# several at once are not.
CAP_MIB_PER_SECOND = 25

# nginx logs both the end and the length of a request in whole milliseconds: what it
# started as the one before ended may seem to have started earlier.
ROUNDED = 0.002

# The port, and with it the way, by which the origin is asked.
Site = Literal["paced", "fast", "tls"]

_CONFIG = """
@USER@
daemon off;
worker_processes 1;
pid @RUN@/nginx.pid;
error_log @RUN@/error.log warn;
@MODULES@
events { worker_connections 1024; }
http {
    log_format bench '$msec|$request_time|$connection|$request_method|$status|'
                     '$body_bytes_sent|$http_range|$request_uri';
    access_log @RUN@/access.log bench;
    client_body_temp_path @RUN@/body;
    proxy_temp_path @RUN@/proxy;
    fastcgi_temp_path @RUN@/fastcgi;
    uwsgi_temp_path @RUN@/uwsgi;
    scgi_temp_path @RUN@/scgi;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 100000;
    types { }
    server {
        listen 127.0.0.1:@PACED@;
        # limit_rate alone lets the first 2 MiB of every answer through at once
        limit_rate @CAP@m;
        sendfile_max_chunk 64k;
        @LATENCY@
        include @RUN@/site.conf;
    }
    server {
        listen 127.0.0.1:@FAST@;
        include @RUN@/site.conf;
    }
    server {
        listen 127.0.0.1:@TLS@ ssl;
        ssl_certificate @RUN@/certificate.pem;
        ssl_certificate_key @RUN@/key.pem;
        include @RUN@/site.conf;
    }
    server {
        listen 127.0.0.1:@CONTROL@;
        access_log off;
        location = /status { stub_status; }
    }
}
"""

_SITE = """
if ($http_authorization != "Bearer @TOKEN@") {
    return 401 '{"error": {"message": "invalid token"}}';
}
location = /v1/videos {
    default_type application/json;
    alias @RUN@/site/list.json;
}
location ~ ^/v1/videos/(?<video>[^/]+)$ {
    default_type application/json;
    alias @RUN@/site/status/$video.json;
}
location ~ ^/v1/videos/(?<video>[^/]+)/content$ {
    default_type video/mp4;
    alias @RUN@/site/content/$video.mp4;
}
location ~ ^/files/(?<listing>[^/]+)/$ {
    rewrite ^ /listings/$listing.html last;
}
location /listings/ {
    internal;
    default_type text/html;
    root @RUN@/site;
}
location ~ ^/files/[^/]+/(?<video>[^/]+)[.]mp4$ {
    default_type video/mp4;
    alias @RUN@/site/content/$video.mp4;
}
"""


@dataclass(frozen=True, slots=True)
class Request:
    """One request that ended, as nginx logged it."""

    start: float
    end: float
    connection: int
    method: str
    status: int
    sent_bytes: int
    first_byte: int
    uri: str

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read one line of the access log."""
        end, took, connection, method, status, sent, span, uri = line.split("|", 7)
        first = re.match(r"bytes=(\d+)-", span)
        return cls(
            start=float(end) - float(took),
            end=float(end),
            connection=int(connection),
            method=method,
            status=int(status),
            sent_bytes=int(sent),
            first_byte=int(first[1]) if first else 0,
            uri=uri,
        )

    @property
    def is_content(self) -> bool:
        """Whether it asked for bytes of a video (499: cut off before the first)."""
        path = self.uri.partition("?")[0]
        return (
            self.method == "GET"
            and self.status in {200, 206, 499}
            and path.endswith(("/content", ".mp4"))
        )


@dataclass(frozen=True, slots=True)
class Traffic:
    """What the origin was asked for and sent during one measurement."""

    requests: tuple[Request, ...]

    @property
    def content(self) -> list[Request]:
        """The requests for bytes of videos."""
        return [request for request in self.requests if request.is_content]

    @property
    def content_bytes(self) -> int:
        """Bytes of videos that were sent."""
        return sum(request.sent_bytes for request in self.content)

    @property
    def twice_bytes(self) -> int:
        """Bytes of videos that were sent more often than once."""
        reached: dict[str, int] = {}
        distinct = 0
        for request in sorted(self.content, key=lambda one: one.first_byte):
            stop = request.first_byte + request.sent_bytes
            seen = reached.get(request.uri, 0)
            distinct += max(0, stop - max(request.first_byte, seen))
            reached[request.uri] = max(seen, stop)
        return self.content_bytes - distinct

    @property
    def peak_transfers(self) -> int:
        """Most requests for bytes that ran at one time."""
        changes = [(request.end, -1) for request in self.content]
        changes += [(request.start + ROUNDED, 1) for request in self.content]
        running = peak = 0
        for _, change in sorted(changes):
            running += change
            peak = max(peak, running)
        return peak


@dataclass(slots=True)
class Origin:
    """A running nginx; a context manager that ends it.

    *videos* maps ids to files, *listings* maps the name of a work to its ids.
    """

    run_directory: Path
    videos: dict[str, Path]
    listings: Mapping[str, Sequence[str]]
    latency_ms: int
    token: str = field(default_factory=lambda: f"oh-bench-{secrets.token_hex(8)}")
    _ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._write_site()
        self._write_certificate()
        # A free port can be taken between looking and listening: look again.
        for _ in range(3):
            self._start()
            if wait_until(self._answers_or_died, 10) and self._is_running():
                return self
            self._stop()
        log = self.run_directory / "error.log"
        said = log.read_text().strip()[-600:] if log.exists() else ""
        message = f"nginx does not start: {said or self._stderr()}"
        raise BenchError(message)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def certificate(self) -> Path:
        """The certificate of the *tls* site, signed by itself."""
        return self.run_directory / "certificate.pem"

    def api_url(self, site: Site) -> str:
        """The base URL for hingfs."""
        scheme = "https" if site == "tls" else "http"
        return f"{scheme}://127.0.0.1:{self._ports[site]}"

    def listing_url(self, listing: str, site: Site) -> str:
        """The folder for rclone's http backend with the videos of *listing*."""
        return f"{self.api_url(site)}/files/{listing}/"

    def content_url(self, video_id: str, site: Site) -> str:
        """The address of the bytes of one video."""
        return f"{self.api_url(site)}/v1/videos/{video_id}/content"

    def original(self, video_id: str) -> Path:
        """The file that is served as *video_id*."""
        return self.run_directory / "site" / "content" / f"{video_id}.mp4"

    def mark(self) -> int:
        """The end of the log as it is now, for `traffic_since`."""
        return self._log.stat().st_size if self._log.exists() else 0

    def settle(self, *, closed: bool) -> None:
        """Wait until every request has ended, with *closed* every connection too."""
        wait_until(lambda: self._open_connections(closed=closed) == 0, 10)

    def traffic_since(self, mark: int) -> Traffic:
        """The requests that ended since *mark*."""
        with self._log.open("rb") as log:
            log.seek(mark)
            lines = log.read().decode(errors="replace").splitlines()
        return Traffic(tuple(Request.from_line(line) for line in lines))

    @property
    def _log(self) -> Path:
        return self.run_directory / "access.log"

    def _open_connections(self, *, closed: bool) -> int:
        """Connections with a request in them, with *closed* also the idle ones."""
        status = f"http://127.0.0.1:{self._ports['control']}/status"
        with urllib.request.urlopen(status, timeout=5) as response:
            text = response.read().decode()
        numbers = {
            name: int(value) for name, value in re.findall(r"(\w+)[ \w]*: (\d+)", text)
        }
        # The connection that asks this is one of them.
        if closed:
            return numbers["Active"] - 1
        return numbers["Reading"] + numbers["Writing"] - 1

    def _write_site(self) -> None:
        site = self.run_directory / "site"
        for name in ("content", "status", "listings"):
            (site / name).mkdir(parents=True, exist_ok=True)
        for video_id, path in self.videos.items():
            self.original(video_id).hardlink_to(path)
            status = json.dumps(_status(video_id, path))
            (site / "status" / f"{video_id}.json").write_text(status)
        listed = [_status(video_id, path) for video_id, path in self.videos.items()]
        answer = {"object": "list", "data": listed, "has_more": False}
        (site / "list.json").write_text(json.dumps(answer))
        for name, ids in self.listings.items():
            links = [f'<a href="{one}.mp4">{one}.mp4</a>' for one in ids]
            page = "<html><body>\n" + "\n".join(links) + "\n</body></html>\n"
            (site / "listings" / f"{name}.html").write_text(page)

    def _write_certificate(self) -> None:
        key = self.run_directory / "key.pem"
        run(
            [
                *(find_program("openssl"), "req", "-x509", "-nodes", "-days", "2"),
                *("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"),
                *("-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
                *("-keyout", key, "-out", self.certificate),
            ]
        )
        key.chmod(0o600)

    def _start(self) -> None:
        nginx = find_program("nginx")
        names = (*get_args(Site), "control")
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._write_config(nginx)
        with (self.run_directory / "nginx.stderr").open("wb") as stderr:
            self._process = subprocess.Popen(
                [
                    nginx,
                    "-p",
                    self.run_directory,
                    "-c",
                    self.run_directory / "bench.conf",
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            )

    def _write_config(self, nginx: Path) -> None:
        modules, latency = "", ""
        if self.latency_ms:
            folder = _modules_folder(nginx)
            names = ("ndk_http_module.so", "ngx_http_lua_module.so")
            modules = "\n".join(f"load_module {folder / name};" for name in names)
            sleep = f"ngx.sleep({self.latency_ms / 1000})"
            latency = f"access_by_lua_block {{ {sleep} }}"
        tokens = {
            # As root, nginx would hand its work to a user who cannot see our files.
            "@USER@": "user root;" if os.geteuid() == 0 else "",
            "@RUN@": str(self.run_directory),
            "@MODULES@": modules,
            "@LATENCY@": latency,
            "@CAP@": str(CAP_MIB_PER_SECOND),
            **{f"@{name.upper()}@": str(port) for name, port in self._ports.items()},
            "@TOKEN@": self.token,
        }
        for name, text in {"bench.conf": _CONFIG, "site.conf": _SITE}.items():
            filled = re.sub("@[A-Z]+@", lambda token: tokens[token[0]], text)
            (self.run_directory / name).write_text(filled)

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _answers_or_died(self) -> bool:
        if not self._is_running():
            return True
        try:
            return self._open_connections(closed=False) >= 0
        except OSError:
            return False

    def _stderr(self) -> str:
        return (self.run_directory / "nginx.stderr").read_text().strip()[-600:]

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def _status(video_id: str, path: Path) -> dict[str, str | int]:
    made = int(path.stat().st_mtime)
    return {
        "id": video_id,
        "object": "video",
        "status": "completed",
        "progress": 100,
        "created_at": made - 60,
        "completed_at": made,
        "expires_at": int(time.time()) + 86_400,
    }


def _modules_folder(nginx: Path) -> Path:
    """Where nginx keeps its dynamic modules; raises BenchError without the Lua one."""
    said = subprocess.run([nginx, "-V"], capture_output=True, text=True, check=True)
    found = re.search(r"--modules-path=(\S+)", said.stderr)
    folder = Path(found[1]) if found else nginx.parent / "modules"
    if not (folder / "ngx_http_lua_module.so").exists():
        message = (
            "nginx has no Lua module, which makes the latency:"
            " apt-get install libnginx-mod-http-lua, or run with --latency-ms 0"
        )
        raise BenchError(message)
    return folder


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports
