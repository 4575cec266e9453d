"""The origin: nginx as a video API, with a fixed latency and a cap per connection.

Each *way* to it is a port with the same bytes: paced (a latency, a cap), fast (neither)
or TLS (fast, by https).  Below it stand two kinds of path for each work: the OpenAI ones
for hingfs, and an HTML listing for rclone's `http` backend, which asks HEAD for every
file it sees in a listing.
Its access log, one line per request that ended in whatever way, is the count.
"""

import os
import re
import secrets
import signal
import socket
import subprocess
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from .served import FIRST_PAGE, Shown, original_in, originals_in, write_site
from .system import BenchError, find_program, run, wait_until
from .traffic import Request, Traffic

# A busy CDN edge or gateway, as in the project's design: each connection is slow,
# several at once are not.
CAP_MIB_PER_SECOND = 25


@dataclass(frozen=True, slots=True)
class Way:
    """A port of the origin; *latency_ms* None is the one that `--latency-ms` set."""

    key: str
    latency_ms: int | None = None
    cap_mib_per_second: int = 0
    tls: str = ""


PACED = Way("paced", None, CAP_MIB_PER_SECOND)
FAST = Way("fast", 0)
TLS12 = Way("tls12", 0, tls="TLSv1.2")
TLS13 = Way("tls13", 0, tls="TLSv1.3")


def paced_at(latency_ms: int) -> Way:
    """As PACED, with a latency of its own."""
    return Way(f"paced{latency_ms}", latency_ms, CAP_MIB_PER_SECOND)


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
                     '$body_bytes_sent|$sent_http_content_range$http_range|$request_uri';
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
    map $arg_after $page { "" @FIRST@; default $arg_after; }
    @SERVERS@
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
location @missing {
    default_type application/json;
    return 404 '{"error": {"message": "not found"}}';
}
location ~ ^/api/(?<work>[^/]+)/v1/videos$ {
    error_page 404 @missing;
    default_type application/json;
    alias @RUN@/site/pages/$work/$page.json;
}
location ~ ^/api/[^/]+/v1/videos/(?<video>[^/]+)$ {
    error_page 404 @missing;
    default_type application/json;
    alias @RUN@/site/status/$video.json;
}
location ~ ^/api/(?<work>[^/]+)/v1/videos/(?<video>[^/]+)/content$ {
    default_type video/mp4;
    alias @RUN@/site/content/$work/$video.mp4;
}
location ~ ^/files/(?<work>[^/]+)/$ {
    rewrite ^ /listings/$work.html last;
}
location /listings/ {
    internal;
    default_type text/html;
    root @RUN@/site;
}
location ~ ^/files/(?<work>[^/]+)/(?<video>[^/]+)[.]mp4$ {
    default_type video/mp4;
    alias @RUN@/site/content/$work/$video.mp4;
}
"""


@dataclass(slots=True)
class Origin:
    """A running nginx; a context manager that ends it.

    *videos* maps ids to files, *works* maps the name of a work to what it shows.
    """

    run_directory: Path
    videos: Mapping[str, Path]
    works: Mapping[str, Shown]
    ways: Sequence[Way]
    latency_ms: int
    token: str = field(default_factory=lambda: f"oh-bench-{secrets.token_hex(8)}")
    _ports: dict[str, int] = field(default_factory=dict)
    _process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        write_site(self.run_directory / "site", self.videos, self.works)
        self._write_certificate()
        # A free port can be taken between looking and listening: look again.
        for _ in range(3):
            self._choose_ports()
            if self._start():
                return self
            self._stop()
        raise self._failure()

    def kill(self) -> None:
        """End it as a crash does, in the middle of whatever it sends."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def start_again(self) -> None:
        """Serve the same on the same ports, after `kill`; raises BenchError."""
        if not self._start():
            raise self._failure()

    def _failure(self) -> BenchError:
        log = self.run_directory / "error.log"
        said = log.read_text().strip()[-600:] if log.exists() else ""
        return BenchError(f"nginx does not start: {said or self._stderr()}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    @property
    def certificate(self) -> Path:
        """The certificate of the TLS ways, signed by itself."""
        return self.run_directory / "certificate.pem"

    def api_url(self, work: str, way: Way) -> str:
        """The base URL for hingfs."""
        return f"{self._host(way)}/api/{work}"

    def listing_url(self, work: str, way: Way) -> str:
        """The folder for rclone's http backend with the videos of *work*."""
        return f"{self._host(way)}/files/{work}/"

    def content_url(self, work: str, video_id: str, way: Way) -> str:
        """The address of the bytes of one video."""
        return f"{self.api_url(work, way)}/v1/videos/{video_id}/content"

    def original(self, work: str, video_id: str) -> Path:
        """The file that is served as *video_id* to *work*."""
        return original_in(self.run_directory / "site", work, video_id)

    def originals(self, work: str) -> Path:
        """The folder with the files that are served to *work*."""
        return originals_in(self.run_directory / "site", work)

    def latency_ms_of(self, way: Way) -> int:
        """How long each request waits there."""
        return self.latency_ms if way.latency_ms is None else way.latency_ms

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

    def _host(self, way: Way) -> str:
        return f"{'https' if way.tls else 'http'}://127.0.0.1:{self._ports[way.key]}"

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

    def _choose_ports(self) -> None:
        names = (*(way.key for way in self.ways), "control")
        self._ports = dict(zip(names, _free_ports(len(names)), strict=True))
        self._write_config(find_program("nginx"))

    def _start(self) -> bool:
        """Whether it runs now, and answers."""
        nginx = find_program("nginx")
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
        return wait_until(self._answers_or_died, 10) and self._is_running()

    def _write_config(self, nginx: Path) -> None:
        modules = ""
        if any(self.latency_ms_of(way) for way in self.ways):
            folder = _modules_folder(nginx)
            names = ("ndk_http_module.so", "ngx_http_lua_module.so")
            modules = "\n".join(f"load_module {folder / name};" for name in names)
        tokens = {
            # As root, nginx would hand its work to a user who cannot see our files.
            "@USER@": "user root;" if os.geteuid() == 0 else "",
            "@RUN@": str(self.run_directory),
            "@MODULES@": modules,
            "@SERVERS@": "\n".join(self._server(way) for way in self.ways),
            "@CONTROL@": str(self._ports["control"]),
            "@FIRST@": FIRST_PAGE,
            "@TOKEN@": self.token,
        }
        for name, text in {"bench.conf": _CONFIG, "site.conf": _SITE}.items():
            filled = re.sub("@[A-Z]+@", lambda token: tokens[token[0]], text)
            (self.run_directory / name).write_text(filled)

    def _server(self, way: Way) -> str:
        run_directory, latency = self.run_directory, self.latency_ms_of(way)
        lines = [f"listen 127.0.0.1:{self._ports[way.key]}{' ssl' if way.tls else ''};"]
        if way.cap_mib_per_second:
            # limit_rate alone lets the first 2 MiB of every answer through at once
            lines += [f"limit_rate {way.cap_mib_per_second}m;"]
            lines += ["sendfile_max_chunk 64k;"]
        if way.tls:
            lines += [f"ssl_protocols {way.tls};"]
            lines += [f"ssl_certificate {self.certificate};"]
            lines += [f"ssl_certificate_key {run_directory / 'key.pem'};"]
        if latency:
            lines += [f"access_by_lua_block {{ ngx.sleep({latency / 1000}) }}"]
        lines += [f"include {run_directory / 'site.conf'};"]
        return "\n        ".join(["server {", *lines]) + "\n    }"

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
