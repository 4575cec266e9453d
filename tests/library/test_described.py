"""What was told of a version stays, asks little, and outlives a mount."""

import contextlib
import itertools
import math
import sqlite3
import threading
import time
from collections.abc import Callable

import pytest

from hingfs.engine import Engine
from hingfs.errors import DeadlineExceeded, TransportError, VideoFailed, VideoNotReady
from hingfs.facts.store import NAME
from hingfs.library.described import Described
from hingfs.library.details import Details
from hingfs.library.walk import FIRST_AHEAD
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.keeping import away, files, gone, keep
from tests.support.personalities import (
    CREATED_AT,
    RENDER_SECONDS,
    Request,
    Response,
    Site,
)
from tests.support.telling import Telling

SIZE = 300_000
PROMPT = "A cat that plays the piano"
Start = Callable[[], Engine]


@pytest.fixture
def server(endpoint) -> Telling:
    """What the endpoint tells of "v"."""
    endpoint.personality = server = Telling(PROMPT)
    endpoint.add("v", size_bytes=SIZE)
    return server


@pytest.fixture
def start(build: Build, server, tmp_path) -> Start:
    """Begin an engine, as a mount would, after the one before it has ended."""
    made: list[Engine] = []

    def start() -> Engine:
        if made:
            made[-1].close()
            assert made[-1].settle(10)
        (tmp_path / "cache").mkdir(exist_ok=True)
        cache = {
            "kept_directory": tmp_path / "cache",
            "kept_videos": tmp_path / "data",
            "negative_ttl_seconds": 0.0,
            "metadata_ttl_seconds": 0.0,
        }
        made.append(build(cache=cache).engine)
        return made[-1]

    return start


def details(engine: Engine, name: str = "v.mp4") -> Details:
    return engine.catalog.details_of(engine.catalog.find(name))


def requests(endpoint) -> list[tuple[str, str]]:
    endpoint.wait_until_idle()
    return [(one.method, one.kind) for one in endpoint.log]


def test_the_look_up_brings_all_and_no_request_is_sent_for_them(start, endpoint):
    engine = start()
    file = engine.catalog.find("v.mp4")
    assert sorted(requests(endpoint)) == [("GET", "status"), ("HEAD", "content")]
    endpoint.reset_log()

    found = engine.catalog.details_of(file)

    assert found == Details(
        *("sora-2", PROMPT, 8.0, "1280x720", CREATED_AT),
        completed_at=CREATED_AT + RENDER_SECONDS,
        etag=endpoint.videos["v"].etag,
    )
    assert requests(endpoint) == []


def test_where_the_list_told_the_time_one_request_brings_them(start, endpoint):
    engine = start()
    assert engine.catalog.listing()
    file = engine.catalog.find("v.mp4")
    assert ("GET", "status") not in requests(endpoint)
    endpoint.reset_log()

    for _ in range(3):
        assert engine.catalog.details_of(file).prompt == PROMPT

    assert requests(endpoint) == [("GET", "status")]


def test_after_one_that_nobody_knew_the_look_ups_bring_them(start, endpoint):
    """A program that goes through a directory waits once for each name."""
    for number in range(FIRST_AHEAD + 10):
        endpoint.add(f"w{number:02}", size_bytes=SIZE)
    engine = start()
    assert engine.catalog.listing()
    details(engine)
    file = engine.catalog.find(f"w{FIRST_AHEAD + 9}.mp4")
    endpoint.wait_until_idle()
    endpoint.reset_log()

    assert engine.catalog.details_of(file).prompt == PROMPT

    assert requests(endpoint) == []


def test_what_moves_later_moves_no_detail(start, endpoint, server):
    endpoint.videos["v"].expires_at = CREATED_AT * 1.5
    found = details(start())
    assert found.expires_at == CREATED_AT * 1.5

    server.prompt = "another"
    endpoint.videos["v"].expires_at = CREATED_AT * 1.6
    for _ in range(2):
        engine = start()
        file = engine.catalog.find_to_open("v.mp4")
        engine.catalog._versions._find("v")  # asks for the status as well
        assert engine.catalog.details_of(file) == found


def test_a_video_that_was_forgotten_and_is_looked_up_anew_has_its_own_again(
    start, server
):
    """As one of many thousands."""
    engine = start()
    found = details(engine)
    server.prompt = "another"
    engine.catalog._known._known.pop("v")

    assert details(engine) == found


def test_a_mount_again_asks_nothing(start, endpoint):
    found = details(start())
    engine = start()
    file = engine.catalog.find("v.mp4")
    endpoint.wait_until_idle()
    endpoint.reset_log()

    assert engine.catalog.details_of(file) == found

    assert requests(endpoint) == []


def test_what_was_settled_for_many_is_read_at_once(start, endpoint, monkeypatch):
    names = [f"v{number:03}" for number in range(40)]
    for name in names:
        endpoint.add(name, size_bytes=SIZE)
    engine = start()
    for name in names:
        details(engine, f"{name}.mp4")
    engine = start()
    reads: list[str] = []
    reader = engine.facts._reader
    assert reader is not None
    real = reader._read

    def read(video_id: str) -> object:
        reads.append(video_id)
        return real(video_id)

    monkeypatch.setattr(reader, "_read", read)

    for name in names:
        assert details(engine, f"{name}.mp4").prompt == PROMPT

    assert reads == ["v000"]


@pytest.mark.parametrize(
    "ways",
    [*itertools.product([False, True], repeat=3)],
    ids="{0[0]:d}{0[1]:d}{0[2]:d}".format,
)
def test_another_version_has_its_own(start, endpoint, server, ways):
    """After a remount or not, at the same time or not, and as a list told it or not."""
    mounted_again, same_time, listed = ways
    engine = start()
    old = details(engine)
    server.prompt = "a dog"
    video = endpoint.videos["v"]
    made_at = video.completed_at
    video.replace()
    if same_time:
        video.completed_at = made_at
    engine = start() if mounted_again else engine
    if listed:  # so that the look-up brings no details
        engine.catalog.listing()
    file = engine.catalog.find_to_open("v.mp4")

    new = engine.catalog.details_of(file)

    assert (old.prompt, new.prompt) == (PROMPT, "a dog")
    assert new.etag == video.etag != old.etag
    assert (new.completed_at == old.completed_at) is same_time
    assert details(start()) == new


def test_a_version_that_comes_while_it_is_asked_about_is_not_mixed_up(
    start, endpoint, server
):
    engine = start()
    assert engine.catalog.listing()
    old = engine.catalog.find("v.mp4")
    server.prompt = "a dog"
    endpoint.videos["v"].replace()

    found = engine.catalog.details_of(old)

    new = engine.catalog.find("v.mp4")
    assert old.content.changed
    assert new.content is not old.content
    assert engine.catalog.details_of(new) == found
    assert (found.prompt, found.etag) == ("a dog", endpoint.videos["v"].etag)


class Untold(Telling):
    """A server whose status route is not there, or refuses this token."""

    def __init__(self, code: int) -> None:
        super().__init__()
        self.code = code

    def status(self, request: Request, site: Site) -> Response:  # noqa: ARG002
        if self.code == 404:
            return self.unrouted(request)
        return self.error(self.code, "not for you")


@pytest.mark.parametrize("code", [404, 403])
def test_without_a_status_route_there_is_what_the_version_tells(
    start, endpoint, code, quiet_log
):
    quiet_log.allow("status route")
    endpoint.personality = Untold(code)
    engine = start()

    found = details(engine)

    assert found == Details(etag=endpoint.videos["v"].etag)
    endpoint.wait_until_idle()
    endpoint.reset_log()
    assert details(engine) == found
    assert requests(endpoint) == []


def test_a_status_that_hides_them_once_does_not_for_good(start, endpoint, server):
    engine = start()
    assert engine.catalog.listing()
    engine.catalog.find("v.mp4")
    endpoint.personality = Untold(403)
    assert details(engine).prompt is None

    endpoint.personality = server

    assert details(start()).prompt == PROMPT


@pytest.mark.parametrize(
    ("status", "error"), [("in_progress", VideoNotReady), ("failed", VideoFailed)]
)
def test_a_video_that_is_no_longer_served_is_refused_as_its_name(
    start, endpoint, status, error
):
    engine = start()
    assert engine.catalog.listing()
    file = engine.catalog.find("v.mp4")
    endpoint.set_status("v", status)

    with pytest.raises(error):
        engine.catalog.details_of(file)


def test_a_server_that_breaks_is_no_answer(start, endpoint):
    engine = start()
    assert engine.catalog.listing()
    file = engine.catalog.find("v.mp4")
    endpoint.inject(faults.status(500), times=100)

    with pytest.raises(TransportError):
        engine.catalog.details_of(file)


def test_a_look_up_and_what_is_told_take_no_longer_than_one_call(start, endpoint):
    """Of the 10 s that a call has here, a look-up took 9.8."""
    engine = start()
    assert engine.catalog.listing()
    file = engine.catalog.find("v.mp4")
    endpoint.inject(faults.stall_before_headers(threading.Event()), math.inf)
    began_at = time.monotonic()

    with pytest.raises(DeadlineExceeded):
        engine.catalog.details_of(file, began_at - 9.8)

    assert time.monotonic() - began_at < 5


def kept(start: Start) -> Details:
    engine = start()
    keep(engine, "v.mp4")
    engine.catalog.note_kept(engine.catalog.find("v.mp4"))
    return details(engine)


@pytest.mark.parametrize("happen", [gone, away])
def test_a_kept_video_has_them_without_its_server_and_without_the_facts(
    start, endpoint, tmp_path, happen, quiet_log
):
    quiet_log.allow("away|status route")
    found = kept(start)
    (about,) = files(tmp_path / "data", "about")
    assert about.stat().st_mode & 0o777 == 0o600
    start().close()
    (tmp_path / "cache" / NAME).unlink()
    happen(endpoint)

    engine = start()

    assert details(engine) == found


def test_a_kept_video_of_an_older_hingfs_has_what_its_file_tells(
    start, endpoint, tmp_path
):
    etag = endpoint.videos["v"].etag
    engine = start()
    keep(engine, "v.mp4")
    start().close()
    (tmp_path / "cache" / NAME).unlink()
    assert files(tmp_path / "data", "about") == []
    gone(endpoint)
    engine = start()
    file = engine.catalog.find("v.mp4")
    endpoint.wait_until_idle()
    endpoint.reset_log()

    found = engine.catalog.details_of(file)

    assert found == Details(completed_at=CREATED_AT + RENDER_SECONDS, etag=etag)
    assert requests(endpoint) == []


def test_what_is_dropped_leaves_nothing_behind(start, tmp_path):
    kept(start)
    engine = start()
    assert engine.kept is not None
    (one,) = engine.kept.videos()

    engine.kept.drop(one)

    for ending in ("data", "index", "about"):
        assert files(tmp_path / "data", ending) == []


def test_they_take_no_more_memory_than_their_bound(start, endpoint, server):
    server.prompt = "x" * 100_000
    engine = start()
    engine.catalog._described = described = Described(
        engine.facts, engine.catalog._copies, most_bytes=20_000
    )
    engine.catalog._versions._described = described
    for number in range(20):
        endpoint.add(f"w{number}", size_bytes=SIZE)
        details(engine, f"w{number}.mp4")

    assert 0 < described._settled.held_bytes <= 20_000
    assert len(described._settled) < 20


def test_a_file_of_the_layout_before_keeps_its_facts(start, endpoint, tmp_path):
    engine = start()
    engine.catalog.find("v.mp4")
    start().close()
    path = tmp_path / "cache" / NAME
    with contextlib.closing(sqlite3.connect(path)) as sql:
        sql.executescript("DROP TABLE details; PRAGMA user_version=2")
    endpoint.reset_log()

    engine = start()

    assert [video.video_id for video in engine.facts.recalled.videos] == ["v"]
    assert details(engine).prompt == PROMPT


def test_a_disk_that_hangs_has_the_server_asked(start, endpoint, monkeypatch):
    details(start())
    engine = start()
    monkeypatch.setattr(engine.facts, "details_from", lambda _: [])
    endpoint.wait_until_idle()
    endpoint.reset_log()

    assert details(engine).prompt == PROMPT

    assert ("GET", "status") in requests(endpoint)
