"""The core of the read suite against servers that we did not write.

nginx serves plain files, once itself and once behind a redirect to another port that
refuses HEAD and any Authorization header; uvicorn serves FastAPI's `FileResponse`.
Each is given its listening sockets, so that no port is guessed.
"""

import contextlib
import hashlib
import os
import pwd
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.mounting import (
    BINDINGS,
    CLIPS,
    Mounted,
    environment,
    eventually,
    run,
    stat_says,
)
from tests.support.personalities import ramp
from tests.support.reading import Handle

pytestmark = pytest.mark.fuse

TOKEN = "oh-real-server-token"
SIZE_BYTES = 9_000_011
CONTENT = ramp("real", 0, SIZE_BYTES)


@dataclass(frozen=True)
class RealServer:
    """A server with the videos "real" (CONTENT), "fresh" (the same) and "clip".

    *log* has a line per content request to the host of the bytes: method, path, status,
    body bytes, the Authorization header (or "-").
    """

    base_url: str
    log: Path

    def requests(self, method: str, video_id: str) -> list[list[str]]:
        rows = [line.split(" ", 4) for line in self.log.read_text().splitlines()]
        return [row for row in rows if row[0] == method and f"/{video_id}" in row[1]]


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory of files."""
    directory = tmp_path_factory.mktemp("videos")
    for name in ("real", "fresh", "cut"):
        (directory / f"{name}.mp4").write_bytes(CONTENT)
    (directory / "clip.mp4").symlink_to(CLIPS / "moov_last.mp4")
    return directory


NGINX = """
pid {work}/pid;
error_log {work}/error.log;
user {user};  # whoever runs the tests: only they may enter {work}
events {{}}
http {{
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    log_format fields '$request_method $uri $status $body_bytes_sent $auth_seen';
    map $http_authorization $auth_seen {{ default $http_authorization; '' -; }}
    access_log {work}/access.log fields;
    default_type video/mp4;
    server {{
        listen 127.0.0.1:{api};
        if ($http_authorization != "Bearer {token}") {{ return 401; }}
        location ~ ^/v1/videos/([^/]+)/content$ {{
            if (!-f {videos}/$1.mp4) {{ return 404; }}
            {content}
        }}
    }}
    server {{
        listen 127.0.0.1:{storage};
        if ($http_authorization) {{ return 400; }}
        if ($request_method != GET) {{ return 403; }}
        location ~ ^/bucket/([^/]+)$ {{ alias {videos}/$1.mp4; }}
    }}
}}
"""


@contextlib.contextmanager
def nginx(work: Path, videos: Path, *, redirect: bool) -> Iterator[RealServer]:
    """Run nginx in the foreground, its files in *work*."""
    with listening() as api, listening() as storage:
        api_port, storage_port = (s.getsockname()[1] for s in (api, storage))
        work.joinpath("conf").write_text(
            NGINX.format(
                work=work,
                user=f"{pwd.getpwuid(os.getuid()).pw_name} {work.group()}",
                api=api_port,
                storage=storage_port,
                token=TOKEN,
                videos=videos,
                content=f"return 302 http://127.0.0.1:{storage_port}/bucket/$1;"
                if redirect
                else f"alias {videos}/$1.mp4;",
            )
        )
        sockets = [api.fileno(), storage.fileno()]
        with served(
            [
                *("nginx", "-e", f"{work}/error.log", "-c", f"{work}/conf"),
                *("-p", f"{work}", "-g", "daemon off;"),
            ],
            sockets,
            # How a new nginx takes the sockets of an old one over.
            NGINX="".join(f"{fd};" for fd in sockets),
        ):
            yield RealServer(f"http://127.0.0.1:{api_port}", work / "access.log")


APP = """
import socket, sys
import uvicorn
from fastapi import FastAPI, Header, HTTPException, Request
from fastapi.responses import FileResponse
from pathlib import Path

fd, videos, log, token = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
app = FastAPI()

@app.middleware("http")
async def authorise(request: Request, go_on):
    response = await go_on(request)
    length = response.headers.get("content-length", "0")
    seen = request.headers.get("authorization", "-")
    with open(log, "a") as file:
        path = request.url.path
        file.write(f"{request.method} {path} {response.status_code} {length} {seen}\\n")
    return response

def checked(video_id, authorization):
    if authorization != f"Bearer {token}":
        raise HTTPException(401, "Invalid token")
    path = videos / f"{video_id}.mp4"
    if not path.exists():
        raise HTTPException(404, f"Video {video_id} not found")
    return path

@app.get("/v1/videos/{video_id}/content")
async def content(video_id: str, authorization: str = Header("")):
    return FileResponse(checked(video_id, authorization), media_type="video/mp4")

@app.get("/v1/videos/{video_id}")
async def status(video_id: str, authorization: str = Header("")):
    checked(video_id, authorization)
    return {"id": video_id, "object": "video", "status": "completed", "created_at": 7}

@app.get("/v1/videos")
async def listing(authorization: str = Header("")):
    ids = sorted(path.stem for path in videos.iterdir())
    data = [{"id": id, "object": "video", "status": "completed"} for id in ids]
    return {"object": "list", "data": data, "has_more": False}

config = uvicorn.Config(app, log_level="warning", access_log=False)
uvicorn.Server(config).run(sockets=[socket.socket(fileno=fd)])
"""


@contextlib.contextmanager
def uvicorn(work: Path, videos: Path) -> Iterator[RealServer]:
    """FastAPI's FileResponse under uvicorn."""
    log = work / "access.log"
    log.touch()
    with listening() as api:
        fd = api.fileno()
        with served(
            [sys.executable, "-c", APP, str(fd), str(videos), str(log), TOKEN], [fd]
        ):
            yield RealServer(f"http://127.0.0.1:{api.getsockname()[1]}", log)


@contextlib.contextmanager
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        yield listener


@contextlib.contextmanager
def served(
    command: list[str], sockets: list[int], **variables: str
) -> Iterator[subprocess.Popen[bytes]]:
    """*command* as a server on *sockets*, which answer as soon as it is up."""
    process = subprocess.Popen(
        ["setpriv", "--pdeathsig", "TERM", *command],
        pass_fds=sockets,
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
    )
    try:
        yield process
        assert process.poll() is None, f"{command[0]} ended by itself"
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="module", params=["nginx", "nginx behind a redirect", "uvicorn"])
def server(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    videos: Path,
) -> Iterator[RealServer]:
    work = tmp_path_factory.mktemp("server")
    if request.param == "uvicorn":
        with uvicorn(work, videos) as server:
            yield server
    else:
        redirect = request.param != "nginx"
        with nginx(work, videos, redirect=redirect) as server:
            yield server


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(request: pytest.FixtureRequest, server: RealServer) -> Iterator[Mounted]:
    # nginx has neither a list nor a status route, and so no sign of an API.
    with Mounted(server.base_url, request.param, "--no-check", token=TOKEN) as mounted:
        yield mounted


def test_every_way_to_read_gives_the_bytes(mounted: Mounted) -> None:
    """Sequential, backward, random, odd, at the end and beyond it."""
    chance = random.Random(7)
    steps = range(0, SIZE_BYTES, 100_003)
    with Handle(mounted.path("real")) as opened:
        assert opened.size_bytes == SIZE_BYTES
        places = [
            *((chance.randrange(SIZE_BYTES), 70_000) for _ in range(40)),
            *((at, 100_003) for at in reversed(steps)),
            *((at, 100_003) for at in steps),
            (SIZE_BYTES - 1, 10),
            (SIZE_BYTES, 10),
            (SIZE_BYTES + 5_000_000, 10),
        ]
        for offset, count in places:
            assert opened.read(offset, count) == CONTENT[offset : offset + count]
    assert mounted.path("real").read_bytes() == CONTENT


def test_eight_processes_cost_each_byte_once(
    mounted: Mounted, server: RealServer
) -> None:
    """Counted in the server's own log."""
    with contextlib.suppress(OSError):  # some have no list
        os.listdir(mounted.directory)  # so that its look-up expects no open
    before = sent(server, "fresh")
    command = ["sha256sum", str(mounted.path("fresh"))]

    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)
    ]
    sums = [process.communicate(timeout=60)[0].split()[0] for process in processes]

    assert sums == [hashlib.sha256(CONTENT).hexdigest()] * 8
    eventually(
        lambda: sent(server, "fresh") - before >= SIZE_BYTES, "the last line of the log"
    )
    # Probes and small answers aside, a byte sent twice would be a block of 256 KiB.
    assert sent(server, "fresh") - before < SIZE_BYTES + 4096


def sent(server: RealServer, video_id: str) -> int:
    rows = server.requests("GET", video_id)
    return sum(int(row[3]) for row in rows if row[2] in {"200", "206"})


def test_ffmpeg_decodes_every_frame_as_from_the_local_file(mounted: Mounted) -> None:
    def framemd5(path: Path) -> str:
        done = run(
            [
                "ffmpeg",
                "-nostdin",
                "-v",
                "error",
                "-i",
                str(path),
                "-f",
                "framemd5",
                "-",
            ]
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    assert framemd5(mounted.path("clip")) == framemd5(CLIPS / "moov_last.mp4")


def test_a_missing_video_is_enoent(mounted: Mounted) -> None:
    assert stat_says(mounted.path("missing")) == "No such file or directory"


def test_the_listing_is_whole_or_quietly_absent(
    mounted: Mounted, server: RealServer, videos: Path
) -> None:
    """Where there is none, as at nginx, what was opened is listed."""
    with Handle(mounted.path("real")):
        names = set(os.listdir(mounted.directory))

    assert "real.mp4" in names
    assert names <= set(os.listdir(videos))
    if "GET /v1/videos 200 " in server.log.read_text():
        assert names == set(os.listdir(videos))


def test_the_time_is_one_and_the_same(mounted: Mounted, videos: Path) -> None:
    """created_at where the server tells it, else Last-Modified."""
    path = mounted.path("real")

    assert path.stat().st_mtime in {7, int((videos / "real.mp4").stat().st_mtime)}
    assert run(["stat", "-c", "%Y", path]).stdout == f"{int(path.stat().st_mtime)}\n"


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_redirect_is_followed_without_the_token(
    binding: str, tmp_path: Path, videos: Path
) -> None:
    """The host of the bytes never sees it, and refuses whoever shows one."""
    with (
        nginx(tmp_path, videos, redirect=True) as server,
        Mounted(server.base_url, binding, "--no-check", token=TOKEN) as mounted,
    ):
        assert mounted.path("real").read_bytes() == CONTENT

        log = server.log.read_text().splitlines()
        stored = [line.split(" ", 4) for line in log if " /bucket/" in line]
        assert stored
        assert {row[4] for row in stored} == {"-"}
        assert {row[2] for row in stored if row[0] == "GET"} <= {"200", "206"}
        assert "X-Amz" not in mounted.log


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_wrong_token_stops_the_mount_before_it_is_there(
    binding: str, tmp_path: Path, videos: Path
) -> None:
    """Or the first look at a video, where the check was left out."""
    with (
        uvicorn(tmp_path, videos) as server,
        Mounted(
            server.base_url, binding, "--no-check", token="oh-wrong-token"
        ) as mounted,
    ):
        assert stat_says(mounted.path("real")) == "Permission denied"
