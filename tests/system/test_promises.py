"""What a user may rely on: the README's statements, each with its test.

The docstring of a test is the statement, word for word; `test_every_statement…` holds
README and tests together.
"""

import contextlib
import itertools
import math
import os
import re
import signal
import stat
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from email.utils import formatdate
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from hingfs.api.shifting import SAMPLE
from hingfs.errors import NoSuchApi, TokenError
from hingfs.fetch.landings import Landing
from hingfs.http.breaker import PROBE_SECONDS
from hingfs.http.patience import AWAY_TOO_LONG_SECONDS, FAILURE_MEMORY_SECONDS
from hingfs.library import lookups as lookups_module
from hingfs.library.listing import STALE_LISTING_SECONDS
from hingfs.library.names import full_name_of, name_of
from hingfs.mount import binding as binding_module
from hingfs.mount import serving as mount_module
from hingfs.mount.filesystem import Refusal
from hingfs.mount.threads import shares_of
from hingfs.settings import MountConfig
from hingfs.token import Token
from tests.support import endpoint as faults
from tests.support.attempts import Attempts
from tests.support.endpoint import Connection, FakeEndpoint
from tests.support.memories import (
    remember_failed_reads,
    remember_failed_transfers,
    show_stale_listings,
)
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    errno_of_process,
    eventually,
    hingfs,
    mount_directory,
    mount_line,
    own_mount,
    run,
)
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    RENDER_SECONDS,
    Personality,
    Request,
    Response,
    Site,
    Video,
    ranged,
    text_response,
)
from tests.support.reading import errno_of
from tests.support.views import (
    Direct,
    Through,
    check_reads,
    opened,
    pause_of,
    sequential,
)

SIZE_BYTES = 2_000_003
FILM_BYTES, FAR = 60_000_000, 40_000_000  # a place that no open fetches
README = Path(__file__).parents[2] / "README.md"
each_binding = pytest.mark.parametrize("binding", BINDINGS)


@pytest.fixture
def view(build, endpoint):
    """The files of `endpoint`, which has a video "v"; options are fields of configs."""
    endpoint.add("v", size_bytes=SIZE_BYTES)

    def view(cache: dict[str, object] | None = None, **options) -> Direct:
        return Direct(build({"negative_ttl_seconds": 0.0, **(cache or {})}, **options))

    return view


@pytest.fixture
def video(view, endpoint):
    return endpoint.videos["v"]


@pytest.fixture
def film(endpoint):
    return endpoint.add("film", size_bytes=FILM_BYTES)


def content(method: str = "GET"):
    return lambda r: r.kind == "content" and r.method == method


# --- bytes ---------------------------------------------------------------------


def test_exactly_the_bytes_or_an_error(view, video, endpoint, expected_log):
    """A read gives exactly the bytes that the server has there, or an error; never fewer before the end of the file, never others."""
    expected_log("EIO")
    files = view(read_seconds=5.0)
    check_reads(files, video, [(SIZE_BYTES - 10, 100), *sequential(SIZE_BYTES, 99_991)])
    other = endpoint.add("other", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.close_at(1000), 1)
    endpoint.inject(faults.wrong_start(), math.inf, content())

    with opened(files, "other") as handle:
        for offset, count in sequential(SIZE_BYTES):
            with contextlib.suppress(Refusal):
                found = handle.read(offset, count)
                assert found == other.read(offset, offset + count)


def test_two_versions_are_never_mixed(view, film, expected_log):
    """Two versions of a video are never mixed: a handle reads the version it was opened on, or fails with ESTALE. Versions are told apart by size and ETag, without an ETag by Last-Modified; where these are equal, they cannot be. Where there are none, an open, once `--metadata-ttl` is over, compares the first bytes that are held, else `completed_at`; a handle that reads on cannot tell."""
    expected_log("ESTALE")
    files = view()
    with opened(files, "film") as handle:
        assert handle.read(0, 1000) == film.read(0, 1000)
        film.replace()
        said = {errno_of(partial(handle.read, at, 1)) for at in (FAR, 0)}
    assert said == {"ESTALE"}


@pytest.mark.parametrize(
    ("told", "size_bytes", "errno"),
    [
        ((), FILM_BYTES, "none"),  # nobody can tell
        ((), FILM_BYTES + 1, "ESTALE"),
        (("ETag",), FILM_BYTES, "ESTALE"),
        (("Last-Modified",), FILM_BYTES, "ESTALE"),
    ],
    ids=["nothing", "size", "etag", "last-modified"],
)
def test_versions_are_told_apart(
    view, endpoint, film, quiet_log, *, told, size_bytes, errno
):
    if errno == "ESTALE":
        quiet_log("ESTALE")
    untold = {"ETag", "Last-Modified"} - {*told}
    spoil = lambda answer, _line: answer.without_headers(*untold)  # noqa: E731
    endpoint.inject(faults.Fault("terse", spoil, faults.video_answer), math.inf)
    files = view()
    with opened(files, "film") as handle:
        assert handle.read(0, 1000) == film.read(0, 1000)
        endpoint.wait_until_idle()
        film.replace(size_bytes=size_bytes)

        assert errno_of(lambda: handle.read(FAR, 10)) == errno


def bytes_beside_samples(endpoint: FakeEndpoint) -> int:
    """What was asked for of content; an open that meets a change takes samples."""
    endpoint.wait_until_idle()
    requests = endpoint.requests_of("content", method="GET")
    ranges = [request.range for request in requests if request.range is not None]
    return sum(
        stop - start
        for start, stop in ranges
        if stop is not None and (start, stop) != (SAMPLE.start, SAMPLE.stop)
    )


@pytest.mark.fuse
@each_binding
def test_a_version_that_is_served_again_is_read_through_a_mount(binding):
    with own_mount(binding, "--metadata-ttl", "0s") as (endpoint, mounted):
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        files = Through(mounted.directory)
        for change in (lambda: None, video.replace, video.go_back, video.replace):
            change()
            check_reads(files, video, sequential(SIZE_BYTES))
        assert bytes_beside_samples(endpoint) == 2 * SIZE_BYTES


# Of equal size; bytes that came under the old ones are not handed out as the new file.
@pytest.mark.parametrize("marks", [("ETag",), ("ETag", "Last-Modified")])
@pytest.mark.parametrize("of", ["any", "GET", "HEAD", "one in three"])
def test_an_open_sees_new_bytes_though_answers_lose_their_validators(
    view, video, endpoint, marks, of
):
    numbers = itertools.count()
    fault = faults.Fault(
        "terse",
        lambda answer, _line: answer.without_headers(*marks),
        faults.video_answer,
    )
    endpoint.inject(
        fault,
        math.inf,
        lambda request: (
            next(numbers) % 3 == 0
            if of == "one in three"
            else of in ("any", request.method)
        ),
    )
    files = view({"metadata_ttl_seconds": 0.0})

    changes = (video.replace, video.go_back, video.replace, video.replace)
    for change in (lambda: None, *changes):
        change()
        check_reads(files, video, sequential(SIZE_BYTES))


class NamedByTag(Personality):
    """An ETag that names the file, not its bytes, and a server that ignores conditions."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:  # noqa: ARG002
        conditions = {"if-range", "if-none-match"}
        headers = {k: v for k, v in request.headers.items() if k not in conditions}
        answer = ranged(replace(request, headers=headers), video)
        return answer.with_headers({"ETag": '"v"'})


def test_a_tag_that_stays_over_another_size_proves_nothing(view, video, endpoint):
    endpoint.personality = NamedByTag()
    files = view({"metadata_ttl_seconds": 0.0})
    for size_bytes in (SIZE_BYTES, SIZE_BYTES + 1, SIZE_BYTES):
        video.replace(size_bytes=size_bytes)
        check_reads(files, video, sequential(size_bytes))
    assert bytes_beside_samples(endpoint) == 3 * SIZE_BYTES + 1


# ESTALE: a length of its own looks like another version.
PAGE_ERRNOS = {"EIO", "ENOENT", "ESTALE"}


def test_validators_that_change_while_the_bytes_do_not(view, endpoint, caplog):
    """Where ETag or Last-Modified change while the bytes do not, the video is read whole, from one answer, and a second one is compared with it; once two videos had equal bytes under two of them, a server's validators are not believed for a day, and each of its videos is read so."""
    caplog.set_level("INFO", "hingfs.api.beliefs")
    endpoint.inject(faults.etag_changes(), math.inf)
    files = view()
    for number in range(3):
        endpoint.reset_log()
        video = endpoint.add(f"w{number}", size_bytes=SIZE_BYTES)

        check_reads(files, video, sequential(SIZE_BYTES))

        asked = endpoint.requests_of("content", "GET")
        wholes = [record for record in asked if record.range is None]
        assert len(wholes) == 1
    (line,) = [line for line in caplog.messages if "not believed" in line]
    assert "ETag and Last-Modified" in line


@pytest.mark.parametrize(
    "message", [b"<html>Sorry", b"<h1>Sorry</h1>", b"<Error>", b'{"error": "Sorry"}']
)
@pytest.mark.parametrize("code", [200, 206, 404, 500])
def test_a_message_is_never_video(
    view, video, endpoint, expected_log, *, code, message
):
    """A JSON, HTML or XML message in place of a video is never handed out, whatever code and type it comes with."""
    expected_log("read v.mp4")
    files = view()
    page = text_response(code, message.ljust(300_000), "video/mp4")
    if code == 206:
        page = page.with_headers({"Content-Range": f"bytes 0-299999/{SIZE_BYTES}"})
    endpoint.inject(faults._instead("page", lambda: page), math.inf, content())

    with opened(files, "v") as handle:
        assert errno_of(lambda: handle.read(1_500_000, 10)) in PAGE_ERRNOS
        assert errno_of(lambda: handle.read(0, 10)) in PAGE_ERRNOS


@pytest.mark.parametrize(
    "fault",
    [faults.close_at(70_000), faults.reset_at(70_000), faults.stall_at(70_000, 2.0)],
    ids=lambda fault: fault.name,
)
def test_a_fault_that_passes_is_not_seen(view, video, endpoint, fault):
    """A cut or stalled transfer goes on at the byte reached; a fault that passes is not seen by the reader."""
    files = view()
    endpoint.inject(fault, 2)

    check_reads(files, video, sequential(SIZE_BYTES))

    assert endpoint.faults_left == 0


class Unmarked(Personality):
    """Videos without ETag and time: of equal size, nothing but bytes tells them apart."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:  # noqa: ARG002
        answer = ranged(request, video)
        marks = {"ETag", "Last-Modified"}
        headers = {k: v for k, v in answer.headers.items() if k not in marks}
        return replace(answer, headers=headers)


@pytest.mark.parametrize(
    "where", ["before an answer", "behind an answer", "again and again"]
)
def test_an_answer_belongs_to_its_request(view, endpoint, where):
    """An answer belongs to its request: interim answers are read away, and a connection is used again only if its last answer ended exactly where HTTP says, and nothing waits on it. An answer that nobody asked for, sent after the next request has left and equal to the true one in size, range and validator, cannot be told from it by any HTTP/1.1 client."""
    endpoint.personality = Unmarked()
    videos = [endpoint.add(f"v{n}", size_bytes=SIZE_BYTES) for n in range(4)]

    def spoil(answer: Response, line: Connection) -> Response:
        stray = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"
        if where == "behind an answer":
            return replace(answer, body=itertools.chain(answer.body, [stray]))
        line.send_raw(stray * (1 if where == "before an answer" else 50))
        return answer

    files = view()
    endpoint.inject(faults.Fault(where, spoil), math.inf)

    for video in videos:
        check_reads(files, video, sequential(SIZE_BYTES))


def test_a_byte_is_fetched_once(view, video, endpoint):
    """A byte is fetched once while it is in the cache, however many programs read it at the same time. Only where the last bytes were asked for before the size was known, less than a block comes twice."""
    files = view()
    with ThreadPoolExecutor(8) as pool:
        readers = [
            pool.submit(check_reads, files, video, sequential(SIZE_BYTES))
            for _ in range(8)
        ]
        for reader in readers:
            reader.result()
    check_reads(files, video, sequential(SIZE_BYTES))

    endpoint.wait_until_idle()
    assert endpoint.bytes_served_twice("v") == 0
    assert endpoint.content_bytes("v") == SIZE_BYTES


# --- names --------------------------------------------------------------------


def test_enoent_means_that_the_server_said_so(view, endpoint, quiet_log):
    """ENOENT means that the server said so: no such video, or expired. A server that is away is never ENOENT."""
    quiet_log("EIO|ETIMEDOUT")
    files = view()
    endpoint.add("gone", status="expired")
    assert errno_of(lambda: files.size_bytes("missing")) == "ENOENT"
    assert errno_of(lambda: files.size_bytes("gone")) == "ENOENT"

    endpoint.stop()

    for _ in range(6):
        assert errno_of(lambda: files.size_bytes("v")) in {"EIO", "ETIMEDOUT"}


def test_what_was_served_is_gone_when_replicas_say_so(view, endpoint, expected_log):
    """A video that was served or listed is gone when four more connections say so, since the next replica may know it; a handle gets EIO, not ENOENT, until its status says that it is gone."""
    expected_log("EIO")
    video = endpoint.add("v", size_bytes=4 * SIZE_BYTES)
    files = view({"cache_bytes": 1 << 20, "metadata_ttl_seconds": 0.0})
    with opened(files, "v") as handle:
        handle.read(0, 10)
        endpoint.wait_until_idle()
        endpoint.inject(faults.status(404), 5, lambda r: r.kind == "content")
        assert files.size_bytes("v") == video.size_bytes
        check_reads(files, video, [(0, 10)])
        endpoint.calm()
        endpoint.inject(faults.status(404), math.inf, lambda r: r.kind == "content")

        assert errno_of(lambda: handle.read(2 * SIZE_BYTES, 10)) == "EIO"
    endpoint.remove("v")
    assert errno_of(lambda: files.open("v")) == "ENOENT"
    asked = endpoint.requests_of("content", "GET")
    assert sum(record.range == (0, 16) for record in asked) >= 5


def test_not_ready_is_eagain_until_it_is_ready(view, endpoint):
    """A video that is not ready is EAGAIN, and can be read within seconds of its being ready, without a remount."""
    video = endpoint.add("late", size_bytes=SIZE_BYTES, status="queued")
    files = view({"negative_ttl_seconds": 2.0})
    assert errno_of(lambda: files.size_bytes("late")) == "EAGAIN"
    assert errno_of(lambda: files.open("late")) == "EAGAIN"

    endpoint.set_status("late", "completed")

    eventually(lambda: errno_of(lambda: files.size_bytes("late")) == "none", "a size")
    check_reads(files, video, sequential(SIZE_BYTES))


def test_a_failed_video_is_eio(view, endpoint, expected_log):
    """A video whose rendering failed is EIO, so a program that waits for EAGAIN to end does not wait for ever."""
    expected_log("rendering failed")
    endpoint.add("failed", status="failed")

    assert errno_of(lambda: view().open("failed")) == "EIO"


def test_a_refused_token_is_eacces_until_the_file_holds_another(
    view, video, endpoint, tmp_path, expected_log
):
    """A refused token is EACCES; a token file that holds a new token is picked up without a remount."""
    expected_log("the API refused the token")
    file = tmp_path / "token"
    file.write_text("oh-old")
    file.chmod(0o600)
    files = view(token=Token(file=file))
    assert errno_of(lambda: files.open("v")) == "EACCES"

    file.write_text(endpoint.token)

    check_reads(files, video, [(0, 1000)])


@pytest.mark.parametrize("code", [401, 403, 500])
def test_a_list_that_is_refused_or_broken_stops_nothing(
    view, video, endpoint, quiet_log, code
):
    """A list that is refused or broken stops neither the mount nor a name that is given; only a token that is refused everywhere does."""
    quiet_log.allow("EIO")
    endpoint.inject(faults.status(code), math.inf, lambda r: r.kind == "list")
    files = view()

    assert "names that are given work" in files.mount.engine.client.check().warning
    check_reads(files, video, sequential(SIZE_BYTES))

    endpoint.calm()
    endpoint.inject(faults.status(403), math.inf)
    with pytest.raises(TokenError):
        view().mount.engine.client.check()


def test_a_website_is_not_mounted_and_no_empty_directory(view, endpoint, expected_log):
    """A server that shows no sign of a video API, by JSON from the list or the status route, is not mounted (exit status 9); with `--no-check` it is, and `ls` is EIO, not an empty directory."""
    expected_log("check the base URL")
    expected_log("EIO")
    page = text_response(404, b"<html><title>404</title></html>", "text/html")
    endpoint.inject(faults._instead("page", lambda: page), math.inf)

    with pytest.raises(NoSuchApi) as caught:
        view().mount.engine.client.check()
    assert caught.value.exit_status == 9
    assert errno_of(view().names) == "EIO"


def test_a_firewall_is_eio_and_one_refused_video_eacces(
    view, video, endpoint, expected_log
):
    """A firewall's web page is EIO and named in the log, never EACCES; one video that is refused is EACCES, and others are read."""
    expected_log("a firewall or gateway in front of")
    expected_log("the API refuses w and serves others")
    endpoint.add("w", size_bytes=SIZE_BYTES)
    files = view()
    check_reads(files, video, sequential(SIZE_BYTES))
    page = text_response(403, b"<html><title>Blocked</title></html>", "text/html")
    for fault, errno in [
        (faults._instead("page", lambda: page), "EIO"),
        (faults.status(403), "EACCES"),
    ]:
        endpoint.calm()
        endpoint.inject(fault, math.inf, lambda r: r.video_id == "w")

        assert errno_of(lambda: files.size_bytes("w")) == errno
        assert errno_of(lambda: files.open("w")) == errno
        check_reads(files, video, [(0, SIZE_BYTES)])


@pytest.mark.parametrize(
    "fault",
    [
        faults.status(429, "3600"),
        faults.status(404),
        faults.status(409),
        faults.status(503),
    ],
    ids=lambda fault: fault.name,
)
def test_a_read_is_never_eagain_or_eintr(view, video, endpoint, quiet_log, fault):
    """A read never fails with EAGAIN or EINTR, which programs take for a reason to spin or to stop early."""
    if fault.name != "status_404":  # that is ENOENT, which is no line at ERROR
        quiet_log("read v.mp4")
    files = view()
    files.size_bytes("v")
    endpoint.set_status("v", "in_progress")
    endpoint.inject(fault, math.inf)

    with opened(files, "v") as handle:
        assert errno_of(lambda: handle.read(1_500_000, 10)) in {"EIO", "ENOENT"}


def test_a_listing_is_whole_or_an_error(view, endpoint, monkeypatch, expected_log):
    """A listing is whole or an error: never a part of the server's list. The last whole one may be shown for five minutes while the server is away. While it stays away, a listing then shows the videos that are known."""
    expected_log("the last listing")
    expected_log("EIO")
    for number in range(150):
        endpoint.add(f"v{number:03}", created_at=CREATED_AT + number)
    files = view({"listing_ttl_seconds": 0.0})
    whole = files.names()
    assert len(whole) == 151
    endpoint.inject(
        faults.status(500), math.inf, lambda r: r.kind == "list" and "after" in r.query
    )

    assert files.names() == whole
    assert STALE_LISTING_SECONDS == 300.0
    show_stale_listings(files.mount.engine, 0.0)
    assert errno_of(files.names) == "EIO"
    assert files.size_bytes("v001") == files.size_bytes("v002")
    assert errno_of(files.names) == "EIO", "known, and the server is there"

    endpoint.stop()
    assert {"v001.mp4", "v002.mp4"} <= set(files.names()) < set(whole)


def test_no_list_is_what_the_server_says_of_its_route(view, endpoint, expected_log):
    """A server has no list where it says that it has no such route; any other answer in the list's place is an error, never an empty directory."""
    expected_log("readdir .*database is locked.*EIO")
    files = view({"listing_ttl_seconds": 0.0})
    locked = faults.status(400, body=b'{"error": {"message": "database is locked"}}')
    endpoint.inject(locked, math.inf, lambda r: r.kind == "list")
    assert errno_of(files.names) == "EIO"

    endpoint.calm()
    unrouted = faults.status(404, body=b'{"detail": "Not Found"}')
    endpoint.inject(unrouted, math.inf, lambda r: r.kind == "list")

    assert files.names() == []


def test_a_long_name_is_shown_in_short_and_opens_by_both(view, endpoint):
    """A listing shows names that every file system holds: a longer one in short, the same in every mount; both the short and the full name open."""
    endpoint.remove("v")
    video = endpoint.add("x" * 300, size_bytes=SIZE_BYTES)
    short, full = name_of("x" * 300), full_name_of("x" * 300)

    assert view().names() == [short]
    assert len(short.encode()) < 255 < len(full.encode())
    for name in (short, full):
        operations = view().mount.operations
        opened = operations.open(f"/{name}", os.O_RDONLY)
        buffer = memoryview(bytearray(SIZE_BYTES))
        assert operations.read_into(opened.handle, buffer, 0) == SIZE_BYTES
        assert buffer == video.read(0, SIZE_BYTES)


@pytest.mark.parametrize("name", [".hidden.mp4", ".Trash", "x.txt", "v", "..mp4", "é"])
def test_a_name_of_no_video_costs_no_request(view, endpoint, name):
    """A name that no video can have is ENOENT without a request; so is every hidden name but `.wait`."""
    operations = view().mount.operations

    assert errno_of(lambda: operations.getattr(f"/{name}", None)) == "ENOENT"
    assert errno_of(lambda: operations.open(f"/{name}", os.O_RDONLY)) == "ENOENT"
    assert stat.S_ISDIR(operations.getattr("/.wait", None)["st_mode"])

    assert endpoint.log == []


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """A real mount with a video "v"."""
    with own_mount(request.param, "--negative-ttl", "0s") as (endpoint, mounted):
        endpoint.add("v", size_bytes=SIZE_BYTES)
        endpoint.add("late", status="queued")
        yield mounted


@pytest.mark.fuse
@pytest.mark.parametrize(
    "call",  # test_mount_names has every one
    [
        "os.open(path, os.O_WRONLY)",
        "os.open(path, os.O_RDWR | os.O_TRUNC)",
        "os.open(path + b'.new.mp4', os.O_CREAT | os.O_WRONLY)",
        "os.unlink(path)",
        "os.chmod(path, 0o600)",
        "os.utime(path)",
        "os.truncate(path, 0)",
    ],
)
def test_every_attempt_to_change_is_erofs(mounted, call):
    """Every attempt to write, create, rename, delete or change is EROFS; where the kernel looks the name up first, and that fails, it is that error (EAGAIN, ENOENT)."""
    assert errno_of_process(mounted.path("v"), call) == "EROFS"
    if re.search("chmod|utime|truncate|open.path,", call):
        assert errno_of_process(mounted.path("late"), call) == "EAGAIN"
        assert errno_of_process(mounted.path("missing"), call) == "ENOENT"


# --- what is remembered ----------------------------------------------------------


def test_a_version_is_believed_for_its_time(view, video, endpoint, monkeypatch):
    """The size, time and version of a video are believed for `--metadata-ttl` (60 s); the next open after that asks once."""
    files = view()
    now = [time.monotonic()]
    monkeypatch.setattr(
        "hingfs.library.known.time",
        SimpleNamespace(time=time.time, monotonic=lambda: now[0]),
    )
    files.open("v").close()
    endpoint.reset_log()

    now[0] += 59.0
    files.open("v").close()
    assert not [r for r in endpoint.log if r.method == "HEAD"]
    now[0] += 2.0
    files.open("v").close()
    files.open("v").close()

    asked = [(r.method, r.status) for r in endpoint.log if r.method == "HEAD"]
    assert asked == [("HEAD", 304)]


def test_what_is_known_is_kept_while_the_server_is_away(
    view, video, endpoint, expected_log
):
    """If the server is away at that moment, hingfs keeps what it knows."""
    expected_log("kept as known")
    files = view({"metadata_ttl_seconds": 0.0})
    check_reads(files, video, sequential(SIZE_BYTES))
    endpoint.stop()

    check_reads(files, video, sequential(SIZE_BYTES))


def test_what_is_known_is_enough_while_the_server_is_away(
    build, endpoint, tmp_path, quiet_log
):
    """While the server is away, a video that was known is looked up and opened as it was known, also after a remount, and when its link has expired. One that lies whole on disk is read from there; of another, bytes that are not here are EIO."""
    quiet_log("EIO")
    at = int(time.time()) + 10**6
    clips = [
        endpoint.add("whole", size_bytes=SIZE_BYTES),
        endpoint.add("part", size_bytes=FILM_BYTES),
        endpoint.add("short", size_bytes=SIZE_BYTES, expires_at=at),
    ]
    on_disk = {"kept_directory": tmp_path, "disk_cache_bytes": 1 << 30}
    tmp_path.chmod(0o700)
    files = Direct(build(on_disk))
    for clip in clips:
        reads = sequential(SIZE_BYTES) if clip.video_id == "whole" else [(0, 10)]
        check_reads(files, clip, reads)
    files.mount.close()
    assert files.mount.engine.settle(10)

    files = Direct(build(on_disk))
    engine = files.mount.engine
    endpoint.stop()
    assert errno_of(lambda: files.size_bytes("unknown")) == "EIO"
    engine.transport.breaker._unconnected_since -= AWAY_TOO_LONG_SECONDS
    engine.transport.clock.learn(formatdate(at, usegmt=True))
    for clip in clips:
        assert files.size_bytes(clip.video_id) == clip.size_bytes
        check_reads(files, clip, [(0, 10)])
    check_reads(files, clips[0], sequential(SIZE_BYTES))
    with opened(files, "part") as handle:
        assert errno_of(lambda: handle.read(FAR, 10)) == "EIO"
    assert files.names() == ["part.mp4", "short.mp4", "whole.mp4"]


@pytest.mark.parametrize(("code", "trouble"), [(500, "EIO"), (429, "EAGAIN")])
def test_refusals_are_remembered_for_a_moment(
    view, endpoint, expected_log, code, trouble
):
    """EAGAIN, ENOENT and a failed rendering are remembered for `--negative-ttl` (2 s), a read that failed for 1.5 s; other errors are not remembered."""
    expected_log("EIO")
    names = ("late", "no", "failed", "v")
    endpoint.add("late", status="queued")
    endpoint.add("failed", status="failed")
    endpoint.inject(faults.status(code, "0"), math.inf, lambda r: r.video_id == "v")
    files = view({"negative_ttl_seconds": 3600.0})
    first = [errno_of(partial(files.size_bytes, name)) for name in names]
    endpoint.calm()
    # Each 429 made the pause twice as long; one that stands is EAGAIN by itself.
    limit = files.mount.engine.transport.limit
    eventually(lambda: pause_of(limit) == 0, "the end of the pause")
    endpoint.set_status("failed", "completed")
    endpoint.reset_log()

    again = [errno_of(partial(files.size_bytes, name)) for name in names]
    at_open = [errno_of(partial(files.open, name)) for name in names[:3]]

    assert first == ["EAGAIN", "ENOENT", "EIO", trouble]
    assert at_open == first[:3]
    assert again == ["EAGAIN", "ENOENT", "EIO", "none"]
    assert {r.video_id for r in endpoint.log} == {"v"}


def test_a_read_that_failed_is_remembered_for_a_moment(
    view, film, endpoint, expected_log
):
    expected_log("read .*EIO")
    assert FAILURE_MEMORY_SECONDS == 1.5
    files = view()
    remember_failed_transfers(files.mount.engine, 3600.0)
    with opened(files, "film") as handle:
        endpoint.wait_until_idle()
        endpoint.inject(faults.status(500), math.inf)
        assert errno_of(lambda: handle.read(FAR, 10)) == "EIO"
        endpoint.calm()
        endpoint.reset_log()

        assert errno_of(lambda: handle.read(FAR, 10)) == "EIO"
        assert endpoint.log == []


def test_a_listing_is_fresh_for_its_time(view, endpoint, monkeypatch):
    """A listing is fresh for `--listing-ttl` (10 s)."""
    files = view()
    now = [time.monotonic()]
    monkeypatch.setattr(
        "hingfs.library.listing.time",
        SimpleNamespace(time=time.time, monotonic=lambda: now[0]),
    )
    files.names()
    endpoint.add("w")

    now[0] += 9.0
    assert files.names() == ["v.mp4"]
    now[0] += 2.0
    assert files.names() == ["v.mp4", "w.mp4"]

    assert len(endpoint.requests_of("list")) == 2


def test_attributes_of_known_files_need_no_network(view, video, endpoint, expected_log):
    """Attributes of known files, and `df`, come from memory and need no network; only after a file changed, was refused to an open, or expired while the server is there, are its attributes asked for again, and can fail."""
    expected_log("getattr .*EIO")
    expires_at = int(time.time()) + 10**6
    endpoint.add("short", size_bytes=SIZE_BYTES, expires_at=expires_at)
    endpoint.add("gone", size_bytes=SIZE_BYTES)
    files = view({"metadata_ttl_seconds": 0.0})
    for name in ("v", "short", "gone"):
        files.size_bytes(name)
    endpoint.remove("gone")
    assert errno_of(lambda: files.open("gone")) == "ENOENT"
    opened_file = files.mount.engine.catalog.find("v.mp4")
    endpoint.stop()
    endpoint.reset_log()

    assert files.size_bytes("v") == files.size_bytes("short") == SIZE_BYTES
    space = files.mount.operations.statfs()
    assert space["f_blocks"] * space["f_frsize"] >= 2 * SIZE_BYTES
    assert endpoint.log == []

    opened_file.content.found_changed()
    files.mount.engine.transport.clock.learn(formatdate(expires_at, usegmt=True))
    said = [errno_of(partial(files.size_bytes, n)) for n in ("v", "short", "gone")]
    assert said == ["EIO", "none", "EIO"]


def test_the_time_of_a_version_never_changes(view, endpoint, expected_log):
    """The modification time of a version never changes, and is the same after a remount."""

    def mtime(files: Direct) -> int:
        return files.mount.operations.getattr("/v.mp4", None)["st_mtime"]

    files = view({"metadata_ttl_seconds": 0.0})
    first = mtime(files)
    endpoint.inject(faults.status(500), math.inf, lambda r: r.kind == "status")
    files.open("v").close()

    assert first == mtime(files) == (CREATED_AT + RENDER_SECONDS) * 10**9
    remounted = view()
    expected_log("EIO")  # not the time of another source
    assert errno_of(lambda: mtime(remounted)) == "EIO"
    endpoint.calm()
    assert mtime(remounted) == first


def test_caching_headers_are_ignored(view, video, endpoint):
    """Caching headers of servers are ignored."""
    endpoint.personality = PERSONALITIES["new_api_new"]  # max-age=86400
    files = view({"metadata_ttl_seconds": 0.0})
    for size_bytes in (SIZE_BYTES, SIZE_BYTES, SIZE_BYTES + 1):
        video.replace(size_bytes=size_bytes)
        check_reads(files, video, sequential(size_bytes))


# --- on change and on expiry --------------------------------------------------------


@pytest.mark.fuse
@each_binding
def test_after_a_change_only_new_bytes(binding):
    """After a change is noticed, new opens see only the new bytes and the new size; handles of the old version get ESTALE."""
    with own_mount(binding, "--metadata-ttl", "0s") as (endpoint, mounted):
        files = Through(mounted.directory)
        for size_bytes in (SIZE_BYTES, SIZE_BYTES // 2, SIZE_BYTES * 2):
            video = endpoint.add(f"to-{size_bytes}", size_bytes=SIZE_BYTES)
            with opened(files, video.video_id) as old:
                old.read(0, 4096)
                video.replace(size_bytes=size_bytes)

                check_reads(files, video, sequential(size_bytes))

                assert errno_of(partial(old.read, 500_000, 4096)) == "ESTALE"


def test_an_expired_video_is_asked_for_again(view, endpoint):
    """When a video's `expires_at` has passed, hingfs asks for the video again: ENOENT if the server no longer has it. An open handle still reads what is in the cache."""
    expires_at = int(time.time()) + 10**6
    video = endpoint.add("short", size_bytes=SIZE_BYTES, expires_at=expires_at)
    files = view()
    with opened(files, "short") as handle:
        assert handle.read(0, 1000) == video.read(0, 1000)
        endpoint.remove("short")
        assert errno_of(lambda: files.size_bytes("short")) == "none"

        files.mount.engine.transport.clock.learn(formatdate(expires_at, usegmt=True))

        assert errno_of(lambda: files.size_bytes("short")) == "ENOENT"
        assert errno_of(lambda: files.open("short")) == "ENOENT"
        assert handle.read(0, 1000) == video.read(0, 1000)


# --- time ----------------------------------------------------------------------------


def test_every_call_returns(view, film, endpoint, expected_log, monkeypatch):
    """Every call returns: each request of the kernel is served within `--read-timeout` (60 s) for bytes, `--metadata-timeout` (30 s) for a stat or open outside `.wait/`, with ETIMEDOUT if the server was silent; one call of a program can be several requests, one after the other, and none that failed is waited for again."""
    expected_log("ETIMEDOUT")
    go_on = threading.Event()
    deadlines = []
    wait = Landing.wait

    def recorded(landing, need, deadline):
        deadlines.append(deadline)
        return wait(landing, need, deadline)

    monkeypatch.setattr(Landing, "wait", recorded)
    files = view(read_seconds=1.0, metadata_seconds=1.0, stall_seconds=30.0)
    remember_failed_reads(files.mount.engine, 60.0)
    with opened(files, "film") as handle:
        endpoint.wait_until_idle()
        endpoint.inject(faults.stall_before_headers(go_on), math.inf)
        began = time.monotonic()

        said = [
            errno_of(lambda: handle.read(FAR, 10)),
            errno_of(lambda: handle.read(FAR, 10)),
            errno_of(lambda: files.size_bytes("other")),
            errno_of(lambda: files.open("another")),
        ]

        assert time.monotonic() - began < 20
    go_on.set()
    assert said == ["ETIMEDOUT"] * 4
    first, again = deadlines
    assert again == first


@pytest.mark.fuse
@each_binding
def test_an_open_waits_below_the_directory_for_that(binding):
    """Below `.wait/` names are found at once, without a request, and an open waits until its video is ready, `--wait-limit` (30 min) at most, then it is EAGAIN; a failure, ENOENT, a signal and the end of the mount end it at once. 480 opens may wait, and one more is EAGAIN at once."""
    assert MountConfig(Path("/mnt")).wait_seconds == 30 * 60
    assert shares_of(None).most_opens_waiting == 480
    options = ("--wait-limit", "500ms", "--poll-interval", "50ms")
    reads = "len(open(path, 'rb').read())"
    with own_mount(binding, *options) as (endpoint, mounted):
        directory = mounted.directory / ".wait"
        endpoint.wait_until_idle()
        asked = len(endpoint.log)
        for video_id in ("never", "failed", "gone"):
            assert (directory / f"{video_id}.mp4").stat().st_size == 0
        assert len(endpoint.log) == asked
        endpoint.add("never", status="queued")
        endpoint.add("failed", status="failed")
        endpoint.add("ready", size_bytes=SIZE_BYTES)

        said = [
            errno_of_process(directory / f"{video_id}.mp4", reads)
            for video_id in ("never", "failed", "gone", "ready")
        ]

        assert said == ["EAGAIN", "EIO", "ENOENT", f"no error: {SIZE_BYTES}"]


def test_a_first_byte_that_is_late_is_waited_for(view, endpoint):
    """A server that reads a whole file before it sends any of it gets one request for the file: the request goes on, for `--first-byte-timeout` (5 min) at most, while stat and open are EAGAIN, and the bytes that it brings are used."""
    endpoint.personality = PERSONALITIES["litellm_new"]
    video = endpoint.videos["v"]
    go_on = threading.Event()
    files = view(metadata_seconds=0.3, stall_seconds=0.3)
    endpoint.inject(faults.stall_before_headers(go_on), where=content())

    assert [errno_of(lambda: files.size_bytes("v")) for _ in range(3)] == ["EAGAIN"] * 3
    assert errno_of(lambda: files.open("v")) == "EAGAIN"
    go_on.set()

    eventually(lambda: errno_of(lambda: files.size_bytes("v")) == "none", "its size")
    check_reads(files, video, sequential(SIZE_BYTES))
    endpoint.wait_until_idle()
    assert len(endpoint.requests_of("content", "GET")) == 1


def test_silence_about_one_video_holds_up_no_other_for_long(
    view, endpoint, monkeypatch
):
    """A video about which the server is silent for 5 s, while it answers others, is EAGAIN where the kernel makes other names wait for it (libfuse before 3.17); the request goes on, and its answer is used when it comes."""
    assert lookups_module.SILENCE_SECONDS == 5.0
    monkeypatch.setattr(mount_module, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(binding_module.Binding, "looks_up_in_parallel", False)
    go_on = threading.Event()
    video = endpoint.add("w", size_bytes=SIZE_BYTES)
    endpoint.inject(
        faults.stall_before_headers(go_on), math.inf, lambda r: r.video_id == "w"
    )
    files = view()

    assert errno_of(lambda: files.size_bytes("w")) == "EAGAIN"
    assert errno_of(lambda: files.open("w")) == "EAGAIN"
    assert files.size_bytes("v") == SIZE_BYTES
    assert len(endpoint.requests_of("content", "HEAD", "w")) == 1
    endpoint.calm()
    go_on.set()
    eventually(lambda: errno_of(lambda: files.size_bytes("w")) == "none", "the answer")
    check_reads(files, video, [(0, 1000)])

    assert len(endpoint.requests_of("content", "HEAD", "w")) == 1


def test_calls_that_wait_keep_nobody_else_waiting(
    view, endpoint, monkeypatch, expected_log
):
    """Calls that wait for a server hold up no others: attributes of known files, `df`, and bytes in memory are served meanwhile. 960 calls may wait, and one more that would have to is ETIMEDOUT at once; 512 buffered reads may, and further reads wait in the kernel, whatever they ask for."""
    assert (binding_module.MAX_WAITING, binding_module.MAX_BACKGROUND) == (960, 512)
    assert binding_module.MAX_THREADS > 960
    expected_log("3 calls wait")
    expected_log("ETIMEDOUT")
    monkeypatch.setattr(binding_module, "MAX_WAITING", 3)
    files = view()
    size = 4 * SIZE_BYTES  # of which a look-up fetches a part
    videos = [endpoint.add(name, size_bytes=size) for name in ("a", "b", "c")]
    endpoint.add("late", size_bytes=size)
    ready = files.open("v")
    expected = ready.read(0, SIZE_BYTES)
    for name in ("a", "b", "c", "late"):
        files.size_bytes(name)
    over = threading.Event()
    endpoint.wait_until_idle()  # what was looked up ahead included
    endpoint.inject(faults.stall_before_headers(over), math.inf)
    endpoint.add("unknown", size_bytes=SIZE_BYTES)
    late, *waiting = (files.open(name) for name in ("late", "a", "b", "c"))
    with ThreadPoolExecutor() as pool:
        try:
            reads = [pool.submit(handle.read, 0, size) for handle in waiting]
            eventually(
                lambda: files.mount.engine.catalog._crowd._under_way == 3, "3 waiting"
            )

            assert ready.read(0, SIZE_BYTES) == expected
            assert files.size_bytes("v") == SIZE_BYTES
            assert files.mount.operations.statfs()
            assert errno_of(lambda: late.read(0, size)) == "ETIMEDOUT"
            assert errno_of(lambda: files.size_bytes("unknown")) == "ETIMEDOUT"
            assert errno_of(files.names) == "ETIMEDOUT"
            assert not any(read.done() for read in reads)
        finally:
            over.set()

        for video, read in zip(videos, reads, strict=True):
            assert read.result() == video.read(0, size)


def test_progress_keeps_patience(view, video, endpoint):
    """An attempt that brings bytes does not count against a read: a body cut ten times still arrives. Less than 1 KiB a second over `--stall-timeout` (10 s) counts as no bytes: the read goes on by another connection."""
    files = view()
    endpoint.inject(faults.close_at(10_000), 10)
    endpoint.inject(faults.reset_at(10_000), 10)
    endpoint.inject(faults.drip(20), where=lambda r: r.method == "GET")

    check_reads(files, video, sequential(SIZE_BYTES))

    assert endpoint.faults_left == 0


def test_a_pause_is_kept_by_all(view, film, endpoint, expected_log):
    """When the API asks for a pause, in whatever form, all keep it, for two minutes at most; a 429 without a time asks for one unless other bytes come meanwhile. A read waits for its end within `--read-timeout`, and is EIO where it is longer; a stat or open waits for up to `--retry-after-limit` (25 s), and is EAGAIN where it is longer. A storage host's pause is kept by who met it."""
    expected_log("rate-limiting")
    files = view(retry_after_seconds=10.0)
    with opened(files, "film") as handle:
        # The head and the tail, which an open asks for, come first.
        endpoint.wait_until(
            lambda: len(endpoint.requests_of("content", method="GET")) == 2, 10
        )
        endpoint.wait_until_idle()
        endpoint.inject(faults.status(429, "1000"), math.inf)
        said = [errno_of(lambda: files.size_bytes("other"))]
        endpoint.calm()

        said += [errno_of(partial(files.size_bytes, f"{n}")) for n in range(20)]
        said.append(errno_of(lambda: handle.read(FAR, 10)))

    assert said == ["EAGAIN"] * 21 + ["EIO"]
    assert {r.video_id for r in endpoint.log} == {"film", "other"}
    spans = [r.range for r in endpoint.requests_of("content", "GET", "film") if r.range]
    assert not any(start <= FAR < (stop or 0) for start, stop in spans)
    assert 100 < pause_of(files.mount.engine.transport.limit) <= 120


def test_a_pause_of_a_storage_host_is_kept_by_who_met_it(view, video, endpoint):
    endpoint.personality = PERSONALITIES["token360"]
    endpoint.inject(faults.status(503, "3600"), where=lambda r: r.server == "storage")
    files = view()

    check_reads(files, video, sequential(SIZE_BYTES))

    assert endpoint.faults_left == 0
    assert pause_of(files.mount.engine.transport.limit) == 0


def test_a_dead_server_costs_seconds(view, video, endpoint, quiet_log, monkeypatch):
    """A dead server costs a program that stats a hundred files seconds, not minutes; when it is back, no remount is needed."""
    monkeypatch.undo()  # with the pauses between tries as they are
    quiet_log("EIO|ETIMEDOUT")
    files = view()
    endpoint.stop()
    began = time.monotonic()

    said = {errno_of(partial(files.size_bytes, f"v{n}")) for n in range(100)}

    assert time.monotonic() - began < 30
    assert said <= {"EIO", "ETIMEDOUT"}
    endpoint.start()
    eventually(lambda: errno_of(lambda: files.size_bytes("v")) == "none", "an answer")
    check_reads(files, video, sequential(SIZE_BYTES))


def test_a_server_that_is_away_is_asked_now_and_then(
    view, film, endpoint, monkeypatch, expected_log
):
    """A server is away when two tries in a row made no connection: then one call in 5 s asks it, and other names that are not known are EIO at once; so are reads of bytes that are not here, once it has been away for 10 s. Its first answer ends that."""
    expected_log("EIO")
    attempts = Attempts(monkeypatch)
    files = view()
    breaker = files.mount.engine.transport.breaker
    with opened(files, "film") as handle:
        handle.read(0, 1000)
        endpoint.wait_until_idle()
        endpoint.stop()
        assert errno_of(lambda: files.size_bytes("unknown")) == "EIO"
        assert breaker.is_away
        attempts.count = 0

        said = {errno_of(partial(files.size_bytes, f"v{n}")) for n in range(100)}
        breaker._unconnected_since -= AWAY_TOO_LONG_SECONDS
        assert errno_of(lambda: handle.read(FAR, 1000)) == "EIO"
        assert said == {"EIO"}
        assert attempts.count < 30, "of what was under way"
        assert handle.read(0, 1000) == film.read(0, 1000)

        endpoint.start()
        breaker._open_until -= PROBE_SECONDS
        assert files.size_bytes("v") == SIZE_BYTES
        eventually(lambda: errno_of(lambda: handle.read(FAR, 1000)) == "none", "a read")


@pytest.mark.fuse
@each_binding
def test_an_idle_mount_sends_nothing(binding):
    """A mount that nobody uses sends no request, unless `--keep` has something to keep: `all` asks for the list every six `--listing-ttl`."""
    with own_mount(binding) as (endpoint, mounted):
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        check_reads(Through(mounted.directory), video, sequential(SIZE_BYTES))
        endpoint.wait_until_idle()
        endpoint.reset_log()

        with pytest.raises(TimeoutError):
            endpoint.wait_until(lambda: endpoint.log != [], timeout=1.0)


# --- signals and kills ------------------------------------------------------------------


@pytest.mark.fuse
@each_binding
@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "umount"])
def test_a_mount_ends_when_told(binding, how):
    """SIGTERM, SIGINT and `hingfs umount` end a mount within five seconds, readers in flight or not; those get an error, never a short read."""
    go_on = threading.Event()
    with own_mount(binding) as (endpoint, mounted):
        endpoint.add("v", size_bytes=30_000_000)
        endpoint.inject(faults.stall_at(0, go_on), math.inf, content())
        files = Through(mounted.directory)
        with ThreadPoolExecutor(4) as pool, opened(files, "v") as handle:
            reads = [
                pool.submit(errno_of, partial(handle.read, at, 4096))
                for at in range(8_000_000, 28_000_000, 5_000_000)
            ]
            endpoint.wait_until(lambda: len(endpoint.requests_of("content")) >= 3)
            began = time.monotonic()
            if how == "umount":
                done = hingfs("umount", "--lazy", mounted.directory)
                assert done.returncode == 0
                assert not mounted.is_mounted
                mounted.send(signal.SIGTERM)  # detached; the readers keep it alive
            else:
                mounted.send(signal.Signals[how])
            assert mounted.wait() == 0
            assert time.monotonic() - began < 5
            said = {read.result(10) for read in reads}

        assert not mounted.is_mounted
    go_on.set()
    assert said <= {"EIO", "ENOTCONN", "ECONNABORTED", "ETIMEDOUT"}


@pytest.mark.fuse
@each_binding
def test_a_killed_mount_is_recovered(binding):
    """After `kill -9` the directory is ENOTCONN; the next `hingfs mount` there clears it and works."""
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        killed = Mounted(
            endpoint, binding, directory=directory, exit_status=-signal.SIGKILL
        )
        with killed, opened(Through(directory), "v"):
            killed.send(signal.SIGKILL)
            killed.wait()
            assert errno_of(lambda: os.stat(directory)) == "ENOTCONN"

            with Mounted(endpoint, binding, directory=directory):
                check_reads(Through(directory), video, sequential(SIZE_BYTES))


# --- the token ------------------------------------------------------------------------


@pytest.mark.fuse
@each_binding
def test_the_token_stays_at_home(view, video, endpoint, caplog, binding):
    """The token goes to the scheme, host and port of the base URL and nowhere else; it is in no log, argument, mount option or error."""
    caplog.set_level("DEBUG")
    endpoint.personality = PERSONALITIES["token360"]
    check_reads(view(), video, sequential(SIZE_BYTES))
    with Mounted(endpoint, binding) as mounted:
        mounted.path("v").read_bytes()
        process = str(mounted.process.pid)
        pids = [process, *run(["ps", "-o", "pid=", "--ppid", process]).stdout.split()]
        arguments = "".join(Path(f"/proc/{pid}/cmdline").read_text() for pid in pids)
        options = mount_line(mounted.directory)
        missing, log = run(["cat", mounted.path("none")]).stderr, mounted.log

    assert options
    assert missing
    assert "/v1/videos/v/content" in log
    assert endpoint.token not in arguments + options + missing + log + mounted.stdout
    api = [r for r in endpoint.log if r.server == "api"]
    storage = [r for r in endpoint.log if r.server == "storage"]
    assert all(r.headers["authorization"] == f"Bearer {endpoint.token}" for r in api)
    assert storage
    assert all(endpoint.token not in str(r.headers) + r.path for r in storage)
    assert "/v1/videos/v/content" in caplog.text
    assert endpoint.token not in caplog.text


# --- README and tests agree --------------------------------------------------------------


def statements() -> list[str]:
    """The statements of the README, as they stand between its marks."""
    text = README.read_text()
    part = re.search(
        r"<!-- promises: begin -->(.*?)<!-- promises: end -->", text, re.DOTALL
    )
    assert part, "README has no marks for the promises"
    return re.findall(r"^- (.*)$", part[1], re.MULTILINE)


def test_every_statement_of_the_readme_has_its_test():
    tested = [
        (test.__doc__ or "").strip()
        for name, test in sorted(globals().items())
        if name.startswith("test_") and test.__doc__
    ]

    assert sorted(statements()) == sorted(tested)
