# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""The token goes nowhere else, and nothing a server sends does harm.

Hosts of the Internet are played by `internet`: names resolve to public addresses,
and connections to those end at a fake on loopback.
"""

import contextlib
import json
import logging
import math
import os
import re
import sys
import time
import traceback
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from email.utils import format_datetime
from functools import cache, partial
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hingfs import blocks, log
from hingfs.api.client import VideoClient
from hingfs.api.judgement import listing, refusals, results, verdict, video_status
from hingfs.api.judgement.video_status import UNSAID
from hingfs.cli import main as cli
from hingfs.errors import AccessDenied, HingError, ServerBroken, UsageError, printable
from hingfs.http.transport import HttpTransport
from hingfs.library.names import name_of, video_id_of
from hingfs.mount import serving as mount
from hingfs.settings import Config, EndpointConfig, MountConfig
from hingfs.token import Token
from hingfs.units import parse_size, parse_time
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.internet import Internet
from tests.support.memory import little_memory
from tests.support.mounting import (
    environment,
    hingfs,
    mount_directory,
    mount_in_background,
    run,
)
from tests.support.personalities import (
    PERSONALITIES,
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
    redirect,
    text_response,
)
from tests.support.reading import errno_of
from tests.support.views import Direct, check_reads, opened, sequential

SECRET = "oh-secret-0123456789"
TOKEN = Token(SECRET)
SIZE_BYTES = 300_000
HOSTILE = "\x1b[2J\x1b]0;owned\x07\r\n\x08\x9b31m\u202eevil\u2028"
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e]")
# Every test that waits for a server is over long before this, or it hangs.
IN_TIME_SECONDS = 20.0


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(SECRET) as endpoint:
        yield endpoint


@pytest.fixture
def elsewhere() -> Iterator[FakeEndpoint]:
    """Another server, which must never see the token."""
    with FakeEndpoint("another token") as elsewhere:
        yield elsewhere
        for record in elsewhere.log:
            assert SECRET not in json.dumps(dict(record.headers)) + record.path


# --- the token ------------------------------------------------------------------


@dataclass(frozen=True)
class Leading(Personality):
    """Answers requests of one kind by what leads elsewhere."""

    kind: str = "content"
    location: str = ""
    how: str = "302"

    def respond(self, request: Request, site: Site) -> Response:
        if self.how == "status" and request.kind == "status":
            video = site.find(request.video_id or "")
            found = self.describe(video) if video else {"status": "completed"}
            return json_response(200, {**found, "output": [{"url": self.location}]})
        if request.kind != self.kind or request.method != "GET":
            return super().respond(request, site)
        match self.how:
            case "status":
                return self.error(400, "uploaded to cloud storage")
            case "video_url" | "url":
                return json_response(200, {self.how: self.location})
            case "result":
                return json_response(200, {"result": {"video_url": self.location}})
        return replace(redirect(self.location), status=int(self.how))


WAYS_TO_LEAD = [
    *(("content", how) for how in ("301", "302", "303", "307", "308")),
    *(("content", how) for how in ("video_url", "url", "result", "status")),
    ("status", "302"),
    ("list", "302"),
]


@pytest.mark.parametrize(("kind", "how"), WAYS_TO_LEAD)
@pytest.mark.parametrize("place", ["port", "host", "userinfo", "backslash"])
def test_the_token_goes_to_no_other_place(
    build, endpoint, elsewhere, quiet_log, *, kind, how, place
) -> None:
    """Redirects of each kind and URLs in JSON: other ports, other hosts, odd URLs."""
    quiet_log.allow("the list of .* came as|EIO")  # a video's bytes
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    elsewhere.add("v", size_bytes=SIZE_BYTES)
    away = elsewhere.sign("v").removeprefix("http://")
    own = endpoint.base_url.removeprefix("http://")
    location = {
        "port": f"http://{away}",
        # The same address under another name that needs no name service.
        "host": f"http://{away.replace('127.0.0.1', '127.1')}",
        "userinfo": f"http://{own}@{away}",
        # urllib3 connects to the first host of these, urlsplit reads the second.
        "backslash": f"http://{away.partition('/')[0]}\\@{own}/{away.partition('/')[2]}",
    }[place]
    endpoint.personality = Leading(kind, location, how)
    view = Direct(build(token=Token(SECRET)))

    with contextlib.suppress(Exception):
        check_reads(view, video, sequential(SIZE_BYTES))
    with contextlib.suppress(Exception):
        view.names()

    assert elsewhere.log != []  # it was led there, and `elsewhere` saw no token
    assert not [line for line in quiet_log.lines if "signature" in line.lower()]


@pytest.mark.parametrize(
    "location",
    [
        "file:///etc/passwd",
        "ftp://127.0.0.1/clip.mp4",
        "gopher://127.0.0.1:1/x",
        "data:text/html;base64,AAAA",
        "javascript:alert(1)",
        "//",
        "http://",
        "http://[::1",
        "http://host:port/",
        "http://host:99999/",
        "http://\x00/",
        "http:// /",
        "http://ⓔ。xample/",
    ],
)
@pytest.mark.parametrize("how", ["302", "video_url", "status"])
def test_nothing_but_http_is_followed(
    build, endpoint, expected_log, location, how
) -> None:
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.personality = Leading("content", location, how)
    if how == "302":  # as the bytes that a header carries
        location = location.encode().decode("latin-1")
        endpoint.personality = Leading("content", location, how)
    view = Direct(build())
    expected_log("EIO")

    with opened(view, "v") as handle:
        began = time.monotonic()
        assert errno_of(lambda: handle.read(0, 100)) == "EIO"
        assert time.monotonic() - began < IN_TIME_SECONDS

    assert {record.kind for record in endpoint.log} == {"content", "status"}


def holders(built: mount.Mount) -> Iterator[object]:
    """The objects that hold a token, or hold one that does, five steps deep."""
    seen: set[int] = set()
    layer: list[object] = [built]
    for _ in range(5):
        below: list[object] = []
        for thing in layer:
            if id(thing) in seen or not type(thing).__module__.startswith("hingfs"):
                continue
            seen.add(id(thing))
            yield thing
            # Python 3.11.2, Debian 12's, fails to look at the one for weak references.
            names = {*getattr(thing, "__slots__", ())} - {"__weakref__"}
            slots = [getattr(thing, name, None) for name in names]
            below += [*getattr(thing, "__dict__", {}).values(), *slots]
        layer = below


def test_the_token_is_in_no_repr_traceback_or_log(
    build, endpoint, caplog, monkeypatch, expected_log
) -> None:
    caplog.set_level(logging.DEBUG)
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("failed", status="failed")
    built = build(token=Token(SECRET))
    view = Direct(built)
    expected_log("unforeseen|rendering failed|refused the token")
    text = []

    check_reads(view, endpoint.videos["v"], sequential(SIZE_BYTES))
    endpoint.inject(faults.status(401), 4)
    text.append(errno_of(lambda: view.size_bytes("failed")))
    text.append(errno_of(lambda: view.size_bytes("other")))
    real = HttpTransport.request

    def send(_adapter, request, **_options):
        raise RuntimeError(f"nobody foresaw this of {request}")

    monkeypatch.setattr("requests.adapters.HTTPAdapter.send", send)
    assert errno_of(lambda: view.size_bytes("new")) == "EIO"
    try:
        real(built.engine.transport, "GET", endpoint.url("v"), deadline=math.inf)
    except RuntimeError:
        text.append(traceback.format_exc())
    things = [*holders(built), built.engine.transport._wire._adapter]
    text += [f"{thing!r} {thing} {thing!a}" for thing in things]

    assert any(isinstance(thing, Token) for thing in things)
    assert "nobody foresaw this" in caplog.text
    assert "Traceback" in caplog.text
    for said in [*text, caplog.text]:
        assert SECRET not in said
        assert "Bearer" not in said or "_Bearer" in said


def test_the_token_is_in_no_message_of_the_setup(tmp_path, monkeypatch, capsys) -> None:
    """Wrong base URLs, refused tokens, dead endpoints: what is printed has no token."""
    with FakeEndpoint("right") as endpoint:
        for arguments in (
            ["mount", str(tmp_path), "--base-url", endpoint.base_url],
            ["mount", str(tmp_path), "--base-url", "http://127.0.0.1:1"],
            ["mount", str(tmp_path), "--base-url", f"http://{SECRET}@127.0.0.1:1"],
            ["mount", str(tmp_path), "--base-url", "nonsense"],
            ["umount", str(tmp_path)],
        ):
            monkeypatch.setenv("HINGFS_TOKEN", SECRET)
            assert cli.main(arguments) != 0

    said = capsys.readouterr()
    assert said.err.count("hingfs: ") == 5
    assert SECRET not in said.out + said.err


def test_children_of_umount_do_not_inherit_the_token(tmp_path) -> None:
    """Fusermount gets the environment without HINGFS_TOKEN, and the rest of it."""
    helper = tmp_path / "fusermount3"
    helper.write_text(f'#!/bin/sh\nenv >"{tmp_path}/env"\nexec {which()} "$@"\n')
    helper.chmod(0o755)
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        done = mount_in_background(
            endpoint,
            directory,
        )
        assert done.returncode == 0, done.stderr

        path = f"{tmp_path}:{os.environ['PATH']}"
        done = hingfs("umount", directory, HINGFS_TOKEN=SECRET, PATH=path)

    assert done.returncode == 0, done.stderr
    inherited = (tmp_path / "env").read_text()
    assert "PATH=" in inherited
    assert "HINGFS_TOKEN" not in inherited
    assert SECRET not in inherited


def which() -> str:
    """The real fusermount3."""
    return run(["sh", "-c", "command -v fusermount3"]).stdout.strip()


# Asks a child for its environment at the moment when libfuse would start fusermount.
SPYING = """
import subprocess, sys
from hingfs.cli import main as cli
from hingfs.mount import serving as mount
def serve(config, *_):
    print(subprocess.run(["env"], capture_output=True, text=True).stdout)
    print("token still known:", bool(config.endpoint.token.read()))
mount.serve = serve
cli.main(sys.argv[1:])
"""


@pytest.mark.fuse
def test_children_of_the_mount_do_not_inherit_the_token(tmp_path) -> None:
    done = run(
        [
            *(sys.executable, "-c", SPYING, "mount", tmp_path),
            *("--foreground", "--no-check", "--base-url", "http://127.0.0.1:1"),
        ],
        env=environment(HINGFS_TOKEN=SECRET),
    )

    assert "token still known: True" in done.stdout, done.stderr
    assert "PATH=" in done.stdout
    assert "HINGFS_TOKEN" not in done.stdout
    assert SECRET not in done.stdout + done.stderr


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o777, 0o610])
def test_a_token_file_that_others_can_use_stops_the_mount(
    tmp_path, monkeypatch, capsys, mode
) -> None:
    monkeypatch.delenv("HINGFS_TOKEN", raising=False)
    file = tmp_path / "token"
    file.write_text(SECRET)
    file.chmod(mode)
    directory = tmp_path / "mnt"
    directory.mkdir()

    assert cli.main(["mount", str(directory), "--token-file", str(file)]) == 3

    said = capsys.readouterr()
    assert "chmod 600" in said.err
    assert SECRET not in said.err + said.out


# --- where redirects may lead ----------------------------------------------------


@pytest.fixture
def internet(monkeypatch) -> Internet:
    internet = Internet()
    internet.patch(monkeypatch)
    return internet


PRIVATE = [
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "fe80::1",
    "fd00::1",
    "::",
    # What leads to an IPv4 address, and none of it to a public one.
    "64:ff9b::7f00:1",  # NAT64 of 127.0.0.1
    "64:ff9b::a00:1",
    "64:ff9b:1::a9fe:a9fe",  # its local form, of 169.254.169.254
    "2002:a00:1::1",  # 6to4 of 10.0.0.1
    "2002:7f00:1::",
    "2001:0:5ef5:79fd:0:59d:f5ff:fffe",  # Teredo of 10.0.0.1
    "::127.0.0.1",
    "::10.0.0.1",
    "fec0::1",
    "224.0.0.1",
    "ff0e::1",
]
PUBLIC = "93.184.216.34"


def public_view(build, internet: Internet, endpoint: FakeEndpoint) -> Direct:
    """The files of an API on the Internet."""
    internet.addresses["api.example"] = PUBLIC
    port = int(endpoint.base_url.rpartition(":")[2])
    internet.ports[PUBLIC] = port
    return Direct(
        build(base_url="http://api.example", insecure_http=True, token=Token(SECRET))
    )


@pytest.mark.parametrize("how", ["302", "video_url", "status"])
@pytest.mark.parametrize("address", PRIVATE)
def test_a_public_api_leads_to_no_private_address(
    build, internet, endpoint, elsewhere, *, expected_log, how, address
) -> None:
    """By a name or by its number, in a redirect or in JSON: no connection is made."""
    expected_log("private address")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    internet.addresses["cdn.example"] = address
    internet.ports[address] = int(elsewhere.base_url.rpartition(":")[2])
    written = f"[{address}]" if ":" in address else address
    view = public_view(build, internet, endpoint)
    for host in ("cdn.example", written):
        endpoint.personality = Leading("content", f"http://{host}/v.mp4", how)
        endpoint.add(host, size_bytes=SIZE_BYTES)

        with opened(view, host) as handle:
            assert errno_of(lambda: handle.read(0, 100)) == "EIO"

    assert set(internet.connected) == {PUBLIC}
    assert elsewhere.log == []


@pytest.mark.parametrize("how", ["302", "video_url", "status"])
def test_a_name_that_changes_its_address_after_it_was_checked_is_no_way_in(
    build, internet, endpoint, elsewhere, *, expected_log, how
) -> None:
    """DNS rebinding: public when looked up, private when connected to; nothing is sent."""
    expected_log("private address")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    internet.addresses["cdn.example"] = "8.8.8.8"
    internet.rebound["cdn.example"] = "10.0.0.1"
    internet.ports["10.0.0.1"] = int(elsewhere.base_url.rpartition(":")[2])
    view = public_view(build, internet, endpoint)
    endpoint.personality = Leading("content", "http://cdn.example/v.mp4", how)

    with opened(view, "v") as handle:
        assert errno_of(lambda: handle.read(0, 100)) == "EIO"

    assert "10.0.0.1" in internet.connected
    assert elsewhere.log == []


@pytest.mark.parametrize(
    "address",
    [
        "8.8.8.8",
        "2606:4700::1",
        "64:ff9b::808:808",
        "2002:808:808::1",
        "::ffff:8.8.8.8",
    ],
)
def test_a_public_api_may_lead_to_a_public_storage(
    build, internet, endpoint, elsewhere, address
) -> None:
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    elsewhere.add("v", size_bytes=SIZE_BYTES)
    signed = elsewhere.sign("v")
    host, _, path = signed.removeprefix("http://").partition("/")
    internet.addresses["cdn.example"] = address
    internet.ports[address] = int(host.rpartition(":")[2])
    view = public_view(build, internet, endpoint)
    endpoint.personality = Leading("content", f"http://cdn.example/{path}")

    check_reads(view, video, sequential(SIZE_BYTES))

    assert {address, PUBLIC} == set(internet.connected)


def test_an_api_in_the_private_network_may_lead_to_private_storage(
    build, endpoint, elsewhere
) -> None:
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    elsewhere.add("v", size_bytes=SIZE_BYTES)
    endpoint.personality = Leading("content", elsewhere.sign("v"))

    check_reads(Direct(build(token=Token(SECRET))), video, sequential(SIZE_BYTES))

    assert elsewhere.log != []


# --- text of servers in logs and errors ---------------------------------------------


class Shouting(Personality):
    """Every text it can send is full of control characters, and long."""

    text = HOSTILE + "x" * 5000

    def not_ready(self, video: Video) -> Response:
        return self.error(400, self.text)

    def describe(self, video: Video) -> dict[str, object]:
        described = super().describe(video)
        if video.status == "odd":
            described["status"] = self.text
        if video.status == "failed":
            described["error"] = {"message": self.text}
        if video.status == "told":
            described["error"] = self.text
            described["status"] = "error"
        return described


@pytest.fixture
def log_file(tmp_path, expected_log) -> Iterator[Path]:
    """Where `hingfs mount` logs everything, meanwhile."""
    expected_log(".")
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    file = tmp_path / "log"
    log.begin("debug", TOKEN.hide, file=file)
    yield file
    for handler in list(root.handlers):
        handler.close()
        root.removeHandler(handler)
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)


SHOUTED_HEADERS = [
    {"Content-Type": "text/\x1b[31mevil" + "y" * 3000},
    {"Content-Range": "bytes \x1b[31m0-1/2"},
    {"ETag": '"\x1b[2Jevil"'},
    {"Last-Modified": "\x1b[2J" + "z" * 3000},
]
SHOUTED_PLACES = [
    "\x1b[2J://evil/",
    "http://\x1b[2Jevil/",
    "evil" + "w" * 9000 + "://h/",
]


def test_text_of_servers_is_stripped_and_cut_in_the_log(
    build, endpoint, log_file
) -> None:
    """Error messages, status words, header values, redirects, as a log file gets them."""
    endpoint.personality = Shouting()
    view = Direct(build(token=Token(SECRET)))
    for status in ("odd", "failed", "told", "queued"):
        endpoint.add(status, status=status, size_bytes=SIZE_BYTES)
        assert errno_of(lambda: view.size_bytes(status)) != "none"  # noqa: B023
    for number, headers in enumerate(SHOUTED_HEADERS):
        endpoint.add(f"header {number}", size_bytes=SIZE_BYTES)
        endpoint.inject(
            faults._headers("shouted", partial(dict[str, str], headers)), math.inf
        )
        errno_of(lambda: view.open(f"header {number}").read(0, 10))  # noqa: B023
        endpoint.calm()
    for number, location in enumerate(SHOUTED_PLACES):
        endpoint.add(f"place {number}", size_bytes=SIZE_BYTES)
        endpoint.personality = Leading("content", location)
        assert errno_of(lambda: view.open(f"place {number}").read(0, 10)) == "EIO"  # noqa: B023
    # The log strips a text that missed `printable`.
    logging.getLogger("hingfs").error("as it came: %s", HOSTILE)

    text = log_file.read_text(encoding="utf-8")
    assert "evil" in text  # what was said did reach the log
    assert text.count("\n") > 20
    assert CONTROLS.findall(text.replace("\n", "")) == []
    assert max(map(len, text.split("\n"))) < 1000


def test_text_of_servers_is_stripped_on_the_terminal(tmp_path, monkeypatch, capsys):
    """`hingfs mount` prints a refusal as one short line without tricks."""
    message = f"invalid api key {HOSTILE}{'x' * 9000}"
    refusal = text_response(401, message.encode(), "text/plain")
    monkeypatch.setenv("HINGFS_TOKEN", SECRET)
    with FakeEndpoint(SECRET) as endpoint:
        endpoint.inject(faults.Fault("no", lambda _answer, _line: refusal), math.inf)

        assert cli.main(["mount", str(tmp_path), "--base-url", endpoint.base_url]) == 3

    said = capsys.readouterr().err
    assert "evil" in said
    assert CONTROLS.findall(said.replace("\n", "")) == []
    assert said.count("\n") == 1
    assert len(said) < 500


@dataclass(frozen=True)
class Echoing(Personality):
    """Refuses requests of one kind and quotes the key, after so many other letters."""

    kind: str = "content"
    code: int = 401
    before: int = 0

    def respond(self, request: Request, site: Site) -> Response:
        if request.kind != self.kind:
            return super().respond(request, site)
        key = request.headers.get("authorization", "").removeprefix("Bearer ")
        message = f"{'x' * self.before} Incorrect API key provided: {key}"
        if self.code == 200:  # as the word for its state
            return json_response(200, {"id": "v", "status": key})
        return self.error(self.code, message)


@pytest.mark.parametrize("before", [0, 70, 180])
@pytest.mark.parametrize("code", [200, 400, 401, 404, 422, 500])
@pytest.mark.parametrize("kind", ["content", "status", "list"])
def test_a_token_that_the_server_quotes_is_not_logged(
    build, endpoint, log_file, *, kind, code, before
) -> None:
    """Whole or cut off, by whichever answer, at whatever level."""
    logging.getLogger("hingfs").warning("a line to expect")
    endpoint.add("v", size_bytes=SIZE_BYTES, status="queued")
    view = Direct(build(token=TOKEN))
    endpoint.personality = Echoing(kind, code, before)

    said = [errno_of(lambda: view.size_bytes("v")), errno_of(view.names)]
    endpoint.set_status("v", "completed")
    said.append(errno_of(lambda: view.open("w").read(0, 10)))

    assert said != ["none"] * 3
    text = log_file.read_text(encoding="utf-8").lower()
    assert "/v1/videos" in text
    assert SECRET[: len(SECRET) // 2 + 1] not in text


def test_a_token_that_the_server_quotes_is_not_printed(
    tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.setenv("HINGFS_TOKEN", SECRET)
    with FakeEndpoint("another", Echoing("list")) as endpoint:
        assert cli.main(["mount", str(tmp_path), "--base-url", endpoint.base_url]) == 3

    said = capsys.readouterr().err
    assert "Incorrect API key provided: [token]" in said
    assert SECRET not in said


# Fails as a daemon would that met a server quoting its token.
QUOTING = """
import sys
from hingfs.cli import main as cli
from hingfs import errors
from hingfs.mount import serving as mount
class Mount:
    def __init__(self, config, *_):
        self.token = config.endpoint.token.read()
    def run(self):
        raise getattr(errors, sys.argv.pop())(f"not with {self.token}")
mount.Mount = Mount
errors.Odd = RuntimeError
sys.exit(cli.main(sys.argv[1:-1]))
"""


@pytest.mark.fuse
@pytest.mark.parametrize("error", ["MountpointError", "Odd"])
def test_a_daemon_tells_its_parent_no_token(tmp_path, error) -> None:
    with mount_directory() as directory:
        done = run(
            [
                *(sys.executable, "-c", QUOTING, "mount", directory, "--no-check"),
                *("--log-file", tmp_path / "log", error),
            ],
            env=environment(HINGFS_TOKEN=SECRET),
        )

    assert done.returncode != 0
    assert "not with [token]" in done.stderr
    assert SECRET not in done.stderr + done.stdout
    assert SECRET not in (tmp_path / "log").read_text()


# --- bounds ----------------------------------------------------------------------------


@contextlib.contextmanager
def in_time() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < IN_TIME_SECONDS


def wide_json(size_bytes: int) -> bytes:
    return b'{"data":[' + b"{}," * (size_bytes // 3) + b"{}]}"


def answer_of(body: bytes, code: int = 200, kind: str = "application/json"):
    return faults._instead("hostile", lambda: text_response(code, body, kind))


def errnos_of(view: Direct) -> list[str]:
    """What stat and read of "v" say, and a listing."""
    return [
        errno_of(lambda: view.size_bytes("v")),
        errno_of(lambda: view.open("v").read(0, 1000)),
        errno_of(view.names),
    ]


@cache
def bomb(mebibytes: int, wbits: int) -> bytes:
    """So many MiB of zeros, packed."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    pieces = [packer.compress(bytes(1 << 20)) for _ in range(mebibytes)]
    return b"".join(pieces) + packer.flush()


def of_any(fault: faults.Fault) -> faults.Fault:
    """*fault*, of messages too."""
    return replace(fault, suits=faults.any_answer)


HARMFUL = {
    "an error page without end": faults.huge_error_page(500),
    "a 404 page without end": faults.huge_error_page(404),
    "a 200 page without end": faults.huge_error_page(200),
    "a Content-Length of 2**63": of_any(faults.huge_content_length()),
    "a Content-Length of 2**64": of_any(faults.huge_content_length(2**64)),
    "a Content-Length of 5000 digits": of_any(
        faults._headers("digits", lambda: {"Content-Length": "9" * 5000})
    ),
    "deep JSON": faults.deep_json(),
    "deep objects": answer_of(b'{"a":' * 20_000 + b"1" + b"}" * 20_000),
    "wide JSON": answer_of(wide_json(7_000_000)),
    "a long key": answer_of(
        json.dumps({"k" * 30_000: [[[""] * 32] * 32] * 32}).encode()[:65_000], 400
    ),
    "a number of a million digits": answer_of(b'{"created_at":' + b"9" * 10**6 + b"}"),
    "numbers beyond all time": answer_of(
        b'{"id":"v","status":"completed","created_at":1e999,"expires_at":-1e999,'
        b'"completed_at":1' + b"0" * 400 + b"}"
    ),
    "a header bomb": of_any(faults.header_bomb()),
    "a header of 300 kB": of_any(
        faults._headers("long", lambda: {"X-Long": "x" * 300_000})
    ),
    "a loop of redirects": faults.redirect_loop(),
    "a redirect of 60 kB": faults.redirect_to("http://127.0.0.1:1/" + "x" * 60_000),
}


# What stat and read of a video say whose content is answered so: broken, or no video,
# though the status route says that it is completed. A 404 may be a replica that lags
# behind. Where the header lies about the length only, the size is had from
# Content-Range.
OF_CONTENT = {
    "a 404 page without end": "EAGAIN",
    "a Content-Length of 2**63": "none",
    "a Content-Length of 2**64": "none",
    "a Content-Length of 5000 digits": "none",
}
# A status route that is broken, not one that is not there or says nothing: what it
# would have said decides whether the file is whole.
NO_STATUS = {
    "an error page without end",
    "deep JSON",
    "deep objects",
    "a number of a million digits",
    "a header bomb",
    "a header of 300 kB",
    "a loop of redirects",
    "a redirect of 60 kB",
}
# Lists that are broken, whatever comes in their place.
NO_LIST = {
    "deep JSON",
    "deep objects",
    "wide JSON",
    "a number of a million digits",
    "numbers beyond all time",
    "a long key",
    "an error page without end",
    "a 404 page without end",
    "a 200 page without end",
    "a header bomb",
    "a header of 300 kB",
    "a loop of redirects",
    "a redirect of 60 kB",
}


def errnos_of_harm(what: str, kind: str) -> list[str]:
    """What stat, read and a listing say while answers of *kind* are *what*."""
    match kind:
        case "content":
            return [*[OF_CONTENT.get(what, "EIO")] * 2, "none"]
        case "list":
            return ["none", "none", "EIO" if what in NO_LIST else "none"]
    return [*["EIO" if what in NO_STATUS else "none"] * 2, "none"]


@pytest.mark.parametrize("kind", ["content", "status", "list"])
@pytest.mark.parametrize("what", [*HARMFUL])
def test_what_is_beyond_all_bounds_does_no_harm(
    build, endpoint, quiet_log, what, kind
) -> None:
    """Its errno, in little memory and time, and no absurd size; the next video is read."""
    quiet_log(".")  # what is logged is not the point here
    logging.getLogger("hingfs").warning("a line to expect")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(HARMFUL[what], math.inf, where=lambda r: r.kind == kind)
    view = Direct(build({"negative_ttl_seconds": 0.0}, read_seconds=5.0))

    with little_memory(60_000_000), in_time():
        said = errnos_of(view)
        size = view.size_bytes("v") if said[0] == "none" else SIZE_BYTES

    assert said == errnos_of_harm(what, kind)
    assert size == SIZE_BYTES
    assert HARMFUL[what].name in {record.fault for record in endpoint.log}
    assert not [line for line in quiet_log.lines if "unforeseen" in line]
    endpoint.calm()
    video = endpoint.add("w", size_bytes=SIZE_BYTES)
    check_reads(view, video, sequential(SIZE_BYTES))


def test_a_redirect_to_a_url_that_no_server_takes_is_not_followed(
    build, endpoint, expected_log
) -> None:
    """The requests, and the memory of them, stay small."""
    expected_log("a URL of 9000 characters")
    to_far = faults.redirect_to(f"{endpoint.base_url}/".ljust(9000, "x"))
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(to_far, math.inf, where=lambda r: r.kind == "content")

    assert errno_of(lambda: Direct(build()).size_bytes("v")) == "EIO"


DIGITS = {"Content-Length": "9" * 5000}  # more than int() takes


def test_a_redirect_with_a_length_of_5000_digits_is_followed(build, endpoint) -> None:
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    moved = redirect(endpoint.sign("v")).with_headers(DIGITS)
    endpoint.inject(
        faults.Fault("moved", lambda _answer, _line: moved),
        math.inf,
        where=lambda r: r.kind == "content" and r.server == "api",
    )

    check_reads(Direct(build()), video, sequential(SIZE_BYTES))


def test_a_whole_file_with_a_length_of_5000_digits_is_eio(
    build, endpoint, expected_log
) -> None:
    """Nobody knows where it ends, so it is not taken for the file."""
    expected_log("beyond all reason")
    endpoint.personality = PERSONALITIES["litellm_new"]
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults._headers("digits", lambda: DIGITS), math.inf)

    assert errno_of(lambda: Direct(build()).size_bytes("v")) == "EIO"


@pytest.mark.parametrize("personality", ["new_api_new", "litellm_new"])
@pytest.mark.parametrize("claimed", [(1 << 40) + 1, 1 << 50, 1 << 60])
def test_a_size_that_no_video_has_is_refused_and_brings_no_whole_file(
    build, endpoint, expected_log, personality, claimed
) -> None:
    """By servers with ranges and without: as an unknown size, it would be spooled."""
    expected_log("beyond all reason")
    endpoint.personality = PERSONALITIES[personality]
    endpoint.add("v", size_bytes=8_000_000)
    says = {"Content-Length": str(claimed), "Content-Range": f"bytes 0-15/{claimed}"}
    endpoint.inject(faults._headers("absurd", lambda: says), math.inf)
    built = build()

    with in_time():
        assert errno_of(lambda: Direct(built).size_bytes("v")) == "EIO"
    assert built.engine.spools.held_bytes() == 0
    assert len(endpoint.requests_of("content")) <= 3


@pytest.mark.parametrize("block_bytes", [4096, 131_072])
def test_a_file_of_a_tebibyte_is_read_in_little_memory(
    build, endpoint, block_bytes
) -> None:
    """Nothing is as large as the size that a server names."""
    video = endpoint.add("v", size_bytes=1 << 40)
    view = Direct(build({"block_bytes": block_bytes}))
    for reads in ([(0, 65_536)], [((1 << 40) - 70_000, 65_536)]):
        with little_memory(8_000_000), in_time():
            assert view.size_bytes("v") == 1 << 40
            check_reads(view, video, reads)


def test_an_error_page_without_end_costs_64_kb_and_no_more(
    build, endpoint, expected_log
) -> None:
    """10 GB would come; what is read is enough to judge it."""
    expected_log("check the base URL")
    endpoint.inject(faults.huge_error_page(404), math.inf)
    client: VideoClient = build().engine.client

    with little_memory(2_000_000), in_time(), pytest.raises(HingError):
        client.metadata.probe("v")


def listing_of(count: int, fields: str = "") -> bytes:
    rows = ",".join(
        f'{{"id":"video_{n}","status":"completed"{fields}}}' for n in range(count)
    )
    return f'{{"object":"list","data":[{rows}],"has_more":false}}'.encode()


def test_a_list_of_a_million_entries_is_an_error_in_little_memory(
    build, endpoint, expected_log
) -> None:
    expected_log("4 MiB")
    endpoint.inject(
        answer_of(listing_of(1_000_000)), math.inf, where=lambda r: r.kind == "list"
    )
    view = Direct(build())

    with little_memory(40_000_000), in_time():
        assert errno_of(view.names) == "EIO"


LONG_ID = "i" * 1010


@pytest.mark.parametrize(
    ("video_id", "rows"),
    [(LONG_ID, 1_500), ("\U0001f600" + LONG_ID, 900)],
)
def test_a_list_whose_pages_never_end_is_an_error_in_little_memory(
    build, endpoint, expected_log, video_id, rows
) -> None:
    """Each page is new and large; the sum of the ids is bounded, by their memory."""
    expected_log("ids that take more than 8 MiB")
    pages = [0]

    def page(_answer: Response, _line: object) -> Response:
        pages[0] += 1
        ids = [f"{video_id[:-7]}{pages[0]}-{n}" for n in range(rows)]
        found = [{"id": id_, "status": "completed"} for id_ in ids]
        body = json.dumps({"data": found, "has_more": True}, ensure_ascii=False)
        return text_response(200, body.encode(), "application/json")

    endpoint.inject(
        faults.Fault("pages", page), math.inf, where=lambda r: r.kind == "list"
    )
    view = Direct(build())

    with little_memory(30_000_000), in_time():
        assert errno_of(view.names) == "EIO"
    assert pages[0] == {1_500: 4, 900: 2}[rows]


def test_a_whole_list_of_ten_thousand_is_shown(build, endpoint) -> None:
    """The bounds leave room for servers that ignore `limit`."""
    fields = ',"object":"video","model":"m","progress":100,"seconds":"8","error":null'
    endpoint.inject(
        answer_of(listing_of(10_000, fields)), where=lambda r: r.kind == "list"
    )

    assert len(Direct(build()).names()) == 10_000


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_bomb_of_compressed_zeros_stops_at_the_bound_of_the_spool(
    build, endpoint, expected_log, encoding
) -> None:
    """250 kB that unpack to 256 MiB: decoded piece by piece, to the spool's bound."""
    expected_log("spool")
    packed = bomb(256, 31 if encoding == "gzip" else 15)
    answer = text_response(200, packed, "video/mp4")
    answer = answer.with_headers({"Content-Encoding": encoding})
    endpoint.inject(
        faults._instead("bomb", lambda: answer),
        math.inf,
        where=lambda r: r.kind == "content",
    )
    endpoint.add("v", size_bytes=SIZE_BYTES)
    built = build({"spool_bytes": 50_000_000})

    with little_memory(30_000_000), in_time():
        assert errno_of(lambda: Direct(built).size_bytes("v")) == "EIO"
    assert built.engine.spools.held_bytes() <= 50_000_000
    assert built.engine.cache.stats().reserved_bytes == 0  # none of it in memory


@pytest.mark.parametrize("kind", ["content", "status", "list"])
def test_a_bomb_of_compressed_zeros_is_no_message(
    build, endpoint, quiet_log, kind
) -> None:
    """250 kB that unpack to 256 MiB: no more of it is unpacked than is read of a body."""
    quiet_log(".")
    logging.getLogger("hingfs").warning("a line to expect")
    answer = text_response(200, bomb(256, 31), "application/json")
    answer = answer.with_headers({"Content-Encoding": "gzip"})
    endpoint.inject(
        faults._instead("bomb", lambda: answer), math.inf, lambda r: r.kind == kind
    )
    endpoint.add("v", size_bytes=SIZE_BYTES)
    view = Direct(build())
    expected = {
        "content": ["EIO", "EIO", "none"],  # the status route says completed
        "status": ["none", "none", "none"],
        "list": ["none", "none", "EIO"],
    }

    with little_memory(40_000_000), in_time():
        assert errnos_of(view) == expected[kind]


def test_a_refusal_with_a_long_key_is_judged_in_little_memory() -> None:
    """64 kB of JSON whose texts would each repeat a key of 30 kB: 300 MB once."""
    body = json.dumps({"k" * 30_000: [[["q"] * 32] * 32] * 8}).encode()

    with little_memory(4_000_000):
        refusals.refusal(400, {}, body, UNSAID)


# --- properties --------------------------------------------------------------------------

header_text = st.one_of(
    st.text(st.characters(codec="latin-1"), max_size=80),
    st.from_regex(r"bytes \d{1,25}-\d{1,25}/(\d{1,25}|\*)", fullmatch=True),
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=40)
    | st.sampled_from(["completed", "failed", "queued", "expired", "1e400", "nan"]),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(
            st.sampled_from(
                [
                    "id",
                    "status",
                    "error",
                    "message",
                    "data",
                    "has_more",
                    "object",
                    "created_at",
                    "completed_at",
                    "expires_at",
                    "video_url",
                    "result",
                ]
            )
            | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
bodies = st.one_of(
    st.binary(max_size=300),
    json_values.map(lambda value: json.dumps(value).encode()),
    json_values.map(lambda value: json.dumps(value, ensure_ascii=False)[:-1]).map(
        lambda text: text.encode("utf-8", "surrogatepass")
    ),
)


@given(header_text)
@example("bytes 0-" + "9" * 19 + "/*")
def test_any_content_range_is_parsed_or_nothing(value: str) -> None:
    parsed = verdict.parse_content_range(value)

    if parsed is not None:
        span, total = parsed
        assert 0 <= span.start < span.stop
        assert total is None or span.stop <= total
        assert span.stop <= blocks.LARGEST_VIDEO_BYTES + 1


retry_dates = st.one_of(
    st.datetimes().map(format_datetime),
    st.datetimes().map(lambda when: when.strftime("%d %b %Y %H:%M:%S -0000")),
    st.from_regex(r"\d{1,3} [A-Z][a-z]{2} \d{1,6} \d\d:\d\d(:\d\d)? [+-]\d{4}"),
)


@given(st.sampled_from([200, 400, 401, 404, 422, 429, 500, 502]), bodies)
def test_any_status_answer_has_a_state(code: int, body: bytes) -> None:
    with contextlib.suppress(AccessDenied):
        status = video_status.judge_status(code, {}, body, "v", 1e9)
        for seconds in (status.mtime_seconds, status.expires_at_seconds):
            assert seconds is None or 0 < seconds < 1e11
        assert len(status.word) <= 40
        assert CONTROLS.findall(status.word + status.reason) == []


@given(bodies)
def test_any_list_answer_is_entries_or_nothing(body: bytes) -> None:
    page = None
    with contextlib.suppress(ServerBroken):
        page = listing.judge_list(body, 1e9)

    if page is not None:
        assert page.has_more in (True, False, None)
        assert page.rows >= len(page.videos)
        assert all(
            video_id and isinstance(video_id, str) for video_id, _ in page.videos
        )


@given(st.integers(100, 599), bodies)
def test_any_error_body_is_judged_in_one_short_line(code: int, body: bytes) -> None:
    error = refusals.refusal(code, {}, body, UNSAID)

    assert isinstance(error, HingError)
    assert len(str(error)) < 250
    assert CONTROLS.findall(str(error)) == []


@given(bodies)
def test_any_json_names_a_url_or_nothing(body: bytes) -> None:
    named = results.url_in_json(body)

    assert named is None or isinstance(named, str)


@given(st.text(max_size=300) | st.text("./%2Fe\\:=+\x00\x1f\x9f", max_size=30))
def test_any_name_stands_for_one_id_or_none(stem: str) -> None:
    """An id never leaves /v1/videos, however its path is normalised."""
    video_id = video_id_of(stem + ".mp4")

    if video_id is not None:
        assert name_of(video_id) == stem + ".mp4"
        assert not video_id.startswith(".")
        assert {".", ".."}.isdisjoint(video_id.split("/"))
        assert CONTROLS.findall(video_id.replace("\u2028", "")) == [] or (
            printable(video_id) != video_id
        )


@pytest.fixture(scope="module")
def quiet_server() -> Iterator[tuple[FakeEndpoint, Direct]]:
    with FakeEndpoint() as endpoint:
        config = Config(
            MountConfig(Path("/nowhere")),
            EndpointConfig(endpoint.base_url, Token(endpoint.token)),
        )
        built = mount.Mount(config, lambda: None)
        yield endpoint, Direct(built)
        built.close()


@given(st.text("ab./%2Fe\\?#:=+ é", max_size=40))
@example("..%2F..%2F..")
@example("%2e%2e")
@example("%252e%252e%2F")
@example("a?b#c")
def test_no_name_leads_to_a_request_outside_the_videos(quiet_server, stem) -> None:
    endpoint, view = quiet_server
    path = f"/{stem}.mp4"

    errno_of(lambda: view.mount.operations.getattr(path, None))

    assert {r.kind for r in endpoint.log} <= {"content", "status"}
    assert all(r.path.startswith("/v1/videos/") for r in endpoint.log)
    endpoint.reset_log()


@given(st.text(max_size=20) | st.from_regex(r"[0-9.]{1,12} ?[KkMmGgTt]?[iI]?[Bb]?"))
def test_any_text_is_a_size_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 <= parse_size(text) < 2**100


@given(st.text(max_size=20) | st.from_regex(r"[0-9.]{1,12} ?(ms|s|m|h|d)?"))
def test_any_text_is_a_time_or_a_usage_error(text: str) -> None:
    with contextlib.suppress(UsageError):
        assert 0 <= parse_time(text) < 1e15
