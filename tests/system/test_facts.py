"""What a mount learnt is not asked again by the next one: requests, counted."""

import contextlib
import math
import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB
from hingfs.facts.store import NAME
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import BINDINGS, Mounted, bindings_in_turn, each_binding
from tests.support.personalities import CREATED_AT, PERSONALITIES

pytestmark = pytest.mark.fuse

SIZE_BYTES = 3_000_000
# `hingfs`, which says on standard error each time the kernel asks for attributes.
ASKED = "asked for attributes"
HINGFS_THAT_SAYS = f"""
import sys
from hingfs.cli.main import main
from hingfs.mount.entries import EntryCallbacks
ask = EntryCallbacks.fgetattr
def asked(*arguments):
    print({ASKED!r}, file=sys.stderr, flush=True)
    return ask(*arguments)
EntryCallbacks.fgetattr = asked
sys.exit(main())
"""


def first_bytes(mounted: Mounted, video_id: str) -> bytes:
    with mounted.path(video_id).open("rb") as clip:
        return clip.read(64 * KIB)


@bindings_in_turn("server", ["vllm_omni", "new_api_old"])
def test_what_was_learnt_of_a_server_is_not_asked_again(binding, server, tmp_path):
    """Neither takes HEAD; the second mount's first bytes cost one request fewer."""
    asked = []
    with FakeEndpoint() as endpoint:
        endpoint.personality = PERSONALITIES[server]
        for video_id in ("first", "second"):
            endpoint.add(video_id, size_bytes=SIZE_BYTES)
            endpoint.reset_log()
            with Mounted(
                *(endpoint, binding, "--no-check"), XDG_CACHE_HOME=str(tmp_path)
            ) as mounted:
                assert first_bytes(mounted, video_id)
                asked.append([request.method for request in endpoint.log])
                log = mounted.log

    assert [methods.count("HEAD") for methods in asked] == [1, 0]
    assert "an earlier mount learnt it" in log
    (directory,) = tmp_path.iterdir()
    file = directory / NAME
    assert [path.stat().st_mode & 0o777 for path in (directory, file)] == [0o700, 0o600]


def age(cache: Path, seconds: float) -> None:
    """Let the facts below *cache* be that much older."""
    with contextlib.closing(sqlite3.connect(cache / "hingfs" / NAME)) as sql, sql:
        sql.execute("UPDATE videos SET confirmed_at = confirmed_at - ?", (seconds,))


@pytest.fixture
def binding(request) -> str:
    """One for each test, unless it needs both: facts are no matter of a binding."""
    return BINDINGS[sum(request.node.name.encode()) % 2]


@pytest.fixture
def mounted_anew(binding, endpoint, tmp_path):
    """Mount with what earlier calls of it left; the log of requests begins anew."""

    @contextlib.contextmanager
    def mounted_anew(*options: str, program: str = "") -> Iterator[Mounted]:
        endpoint.wait_until_idle()
        endpoint.reset_log()
        with Mounted(
            *(endpoint, binding, "--no-check", *options),
            launcher=(
                sys.executable,
                *(("-c", program) if program else ("-m", "hingfs")),
            ),
            XDG_CACHE_HOME=str(tmp_path),
        ) as mounted:
            yield mounted

    return mounted_anew


def test_a_remount_stats_and_opens_what_was_confirmed_just_before(
    endpoint, mounted_anew
):
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    with mounted_anew() as mounted:
        before = mounted.path("video").stat()

    with mounted_anew() as mounted:
        assert mounted.path("video").stat().st_mtime_ns == before.st_mtime_ns
        assert mounted.path("video").stat().st_size == SIZE_BYTES
        assert endpoint.log == []
        assert first_bytes(mounted, "video") == video.read(0, 64 * KIB)
        assert {(r.method, r.kind) for r in endpoint.log} == {("GET", "content")}


@each_binding
def test_a_remount_lists_and_stats_many_by_the_list_alone(
    endpoint, mounted_anew, tmp_path
):
    """And the kernel asks once for each: with libfuse 3, names come with attributes."""
    for number in range(120):
        endpoint.add(f"video_{number}", size_bytes=SIZE_BYTES)
    with mounted_anew() as mounted:
        stats = {e.name: e.stat() for e in os.scandir(mounted.directory)}
    age(tmp_path, 3600.0)

    with mounted_anew(program=HINGFS_THAT_SAYS) as mounted:
        before = mounted.stderr.count(ASKED)
        again = {e.name: e.stat() for e in os.scandir(mounted.directory)}
        asked = mounted.stderr.count(ASKED) - before
    each = 1 if mounted.binding == "mfusepy" else 2
    assert each * 120 <= asked <= each * 120 + 4

    assert {n: s.st_mtime_ns for n, s in again.items()} == {
        n: s.st_mtime_ns for n, s in stats.items()
    }
    assert {request.kind for request in endpoint.log} == {"list"}


def test_a_remount_of_a_long_list_asks_for_its_newest_page(endpoint, mounted_anew):
    """And shows what came since; the time of the root is as it was, before any `ls`."""
    counts, modified = [], 0
    for mount in range(3):
        for number in range(450 + mount if mount else 0, 451 + mount):
            at = CREATED_AT + number
            endpoint.add(f"v{number}", size_bytes=5000, created_at=at, completed_at=at)
        with mounted_anew() as mounted:
            assert not mount or mounted.directory.stat().st_mtime_ns == modified
            files = [e for e in os.scandir(mounted.directory) if e.stat().st_size]
            assert len(files) == 451 + mount
            endpoint.wait_until_idle()
            modified = mounted.directory.stat().st_mtime_ns
        kinds = [(request.method, request.kind) for request in endpoint.log]
        counts.append((kinds.count(("GET", "list")), len(kinds)))

    assert counts == [(5, 5 + 451), (1, 1 + 1), (1, 1 + 1)]


def test_a_remount_begins_with_as_many_requests_at_once_as_paid(endpoint, mounted_anew):
    """Where each is slow, ten pay; the second mount does not climb there."""
    endpoint.inject(faults.drip(5_000_000), math.inf, lambda r: r.method == "GET")
    endpoint.add("video", size_bytes=30 * SIZE_BYTES)
    logs = []
    for _ in range(2):
        with mounted_anew() as mounted:
            assert len(mounted.path("video").read_bytes()) == 30 * SIZE_BYTES
            logs.append(mounted.log)

    assert ["requests at once: 10" in log for log in logs] == [True, False]


def test_an_old_fact_is_confirmed_before_it_is_shown(endpoint, mounted_anew, tmp_path):
    """By one request, where nothing changed; a changed video and a lost one are noticed."""
    for video_id in ("same", "changed", "lost"):
        endpoint.add(video_id, size_bytes=SIZE_BYTES)
    with mounted_anew() as mounted:
        for video_id in ("same", "changed", "lost"):
            mounted.path(video_id).stat()
    age(tmp_path, 3600.0)
    changed = endpoint.add("changed", size_bytes=2 * SIZE_BYTES)
    endpoint.remove("lost")

    with mounted_anew() as mounted:
        assert mounted.path("same").stat().st_size == SIZE_BYTES
        asked = [r for r in endpoint.log if r.range is None]  # no bytes
        assert [(r.method, r.kind) for r in asked] == [("HEAD", "content")]
        assert mounted.path("changed").read_bytes() == changed.read(0, 2 * SIZE_BYTES)
        with pytest.raises(FileNotFoundError):
            mounted.path("lost").stat()
    endpoint.add("lost", size_bytes=SIZE_BYTES)

    with mounted_anew() as mounted:
        assert mounted.path("lost").stat().st_size == SIZE_BYTES
        assert {r.kind for r in endpoint.log} == {"content", "status"}
