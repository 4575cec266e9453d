"""Bytes that one mount fetched are read by the next one from disk: requests, counted."""

import contextlib
import json
import math
import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB, MIB
from hingfs.cache import stock
from hingfs.facts.store import NAME
from tests.support.endpoint import (
    FakeEndpoint,
    Fault,
    LoggedRequest,
    chunked,
    stall_at,
    video_answer,
)
from tests.support.mounting import BINDINGS, Mounted, eventually, hingfs
from tests.support.personalities import PERSONALITIES

pytestmark = pytest.mark.fuse

SIZE_BYTES = 5_000_000
GRID_BYTES = 128 * KIB

Mount = Callable[..., contextlib.AbstractContextManager[Mounted]]


@pytest.fixture
def mount(request, endpoint, tmp_path) -> Mount:
    """Mount on the directory that earlier calls left; the log of requests begins anew.

    By one binding for each test: what is on disk is no matter of a binding.
    """
    binding = BINDINGS[sum(request.node.name.encode()) % 2]

    @contextlib.contextmanager
    def mount(*options: str, **more) -> Iterator[Mounted]:
        endpoint.wait_until_idle()
        endpoint.reset_log()
        with Mounted(
            *(endpoint, binding, "--no-check", *options),
            XDG_CACHE_HOME=str(tmp_path),
            **more,
        ) as mounted:
            yield mounted

    return mount


def age(cache: Path, seconds: float) -> None:
    """Let the facts below *cache* be that much older."""
    with contextlib.closing(sqlite3.connect(cache / "hingfs" / NAME)) as sql, sql:
        sql.execute("UPDATE videos SET confirmed_at = confirmed_at - ?", (seconds,))


def kept(cache: Path, kind: str = "data") -> list[Path]:
    """The files of blocks, or of another *kind*, below *cache*."""
    return sorted(cache.glob(f"hingfs/v2/*/*.{kind}"))


def kept_bytes(cache: Path) -> int:
    """How much of videos is on disk."""
    return sum(512 * path.stat().st_blocks for path in kept(cache))


def whole_on_disk(cache: Path) -> int:
    """How many videos are there whole."""
    return sum(
        found.here_bytes == found.version.size_bytes
        for found in stock.videos(cache / "hingfs")
    )


def of_bytes(endpoint: FakeEndpoint) -> list[LoggedRequest]:
    """The requests for bytes of videos."""
    return [r for r in endpoint.log if r.kind == "content" and r.method == "GET"]


def delete(directory: Path) -> None:
    """Delete *directory*, though others make files in it."""
    while directory.exists():
        shutil.rmtree(directory, ignore_errors=True)


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1]))


def test_a_remount_reads_what_was_fetched_and_asks_as_one_mount_does(
    endpoint, mount, tmp_path
):
    """Nothing within --metadata-ttl; one HEAD for an open past it; no byte in either.

    Whatever the clock was when the files were made: a time to come counts as long past.
    """
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    with mount() as mounted:
        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
        assert endpoint.bytes_served_twice("video") == 0

    for older, at in ((0.0, 1.0), (-3600.0, 4e9), (3600.0, 1.0)):
        age(tmp_path, older)
        for path in (*kept(tmp_path), *kept(tmp_path, "index")):
            os.utime(path, (at, at))
        with mount() as mounted:
            assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
            asked = [(r.method, r.kind) for r in endpoint.log]
            assert asked == [("HEAD", "content")] * (older != 0)
            if older > 0:
                said = hingfs("cache", "--json", XDG_CACHE_HOME=str(tmp_path))
                (shown,) = json.loads(said.stdout)
                told = [shown[key] for key in ("video", "api", "here_bytes")]
                assert told == ["video", endpoint.base_url, SIZE_BYTES]
                hingfs("cache", "clear", XDG_CACHE_HOME=str(tmp_path))
                assert kept(tmp_path) == []
                assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)

    directory = tmp_path / "hingfs"
    modes = {path.stat().st_mode & 0o777 for path in directory.rglob("*")}
    assert modes == {0o700, 0o600}


def test_a_second_mount_at_once_fetches_what_the_first_has_not(
    endpoint, mount, tmp_path
):
    video = endpoint.add("video", size_bytes=12 * SIZE_BYTES)
    with mount() as first:
        with first.path("video").open("rb", buffering=0) as clip:
            # Backwards, so that nothing is read ahead, and nothing follows the last read.
            for offset in range(11 * SIZE_BYTES, 0, -SIZE_BYTES):
                read = os.pread(clip.fileno(), GRID_BYTES, offset)
                assert read == video.read(offset, offset + GRID_BYTES)

        def all_are_written() -> bool:
            sent: int = endpoint.content_bytes("video")
            return kept_bytes(tmp_path) > max(sent, 11 * GRID_BYTES) - 3 * GRID_BYTES

        endpoint.wait_until_idle()
        eventually(all_are_written, "the blocks")
        endpoint.wait_until_idle()  # a request that waited for its turn may have begun
        fetched = endpoint.content_bytes("video")
        with mount() as second:
            whole = second.path("video").read_bytes()
            assert whole == video.read(0, video.size_bytes)
            endpoint.wait_until_idle()  # it counts what it has sent
            rest = endpoint.content_bytes("video")
            assert fetched > 11 * GRID_BYTES
            assert video.size_bytes <= fetched + rest <= video.size_bytes + 2**20


def test_a_changed_video_is_not_read_from_what_is_kept(endpoint, mount, tmp_path):
    """Nor is one whose server gives no ETag: its bytes are good for one mount alone."""
    endpoint.add("video", size_bytes=SIZE_BYTES)
    with mount() as mounted:
        mounted.path("video").read_bytes()
    age(tmp_path, 3600.0)
    changed = endpoint.add("video", size_bytes=SIZE_BYTES)
    assert changed.etag

    with mount() as mounted:
        assert mounted.path("video").read_bytes() == changed.read(0, SIZE_BYTES)


def test_without_a_tag_what_is_whole_serves_the_next_mount_if_a_time_tells(
    endpoint, mount, tmp_path
):
    """A part does not, nor what was completed at another time, or at no known one.

    The first mount is killed, and the second knows what lies on disk alone.
    """
    terse = lambda a, _: a.without_headers("ETag", "Last-Modified")  # noqa: E731
    endpoint.inject(Fault("terse", terse, video_answer), math.inf)
    same, half, changed, untimed = (
        endpoint.add(name, size_bytes=SIZE_BYTES, **more)
        for name, more in (
            *(("same", {}), ("half", {}), ("changed", {})),
            ("untimed", {"completed_at": None}),
        )
    )
    with mount(exit_status=-signal.SIGKILL) as mounted:
        with mounted.path("half").open("rb", buffering=0) as clip:
            clip.read(GRID_BYTES)
        for video in (same, changed, untimed):
            got = mounted.path(video.video_id).read_bytes()
            assert got == video.read(0, SIZE_BYTES)
        eventually(lambda: whole_on_disk(tmp_path) == 3, "three videos, whole on disk")
        mounted.send(signal.SIGKILL)
        mounted.wait()
    for facts in (tmp_path / "hingfs").glob(f"{NAME}*"):
        facts.unlink()
    changed.replace()

    for fetched in ({"half", "changed", "untimed"}, {"untimed"}):
        with mount("--metadata-ttl", "1h") as mounted:
            for video in (same, half, changed, untimed):
                got = mounted.path(video.video_id).read_bytes()
                assert got == video.read(0, SIZE_BYTES)
            assert {record.video_id for record in of_bytes(endpoint)} == fetched
            assert endpoint.bytes_served_twice("half") == 0
            eventually(lambda: whole_on_disk(tmp_path) >= 6, "all, whole on disk")
    assert {record.video_id for record in endpoint.log} <= {"untimed", None}


def test_a_server_without_ranges_sends_a_file_once_to_all_mounts(
    endpoint, mount, tmp_path
):
    """In memory, in a file, or of a length that nobody tells.

    Half a file is not used, nor one with a bad block.
    """
    endpoint.personality = PERSONALITIES["litellm_new"]
    small, large, untold, half = (
        endpoint.add(name, size_bytes=size)
        for name, size in (
            ("small", 100_000),
            *((name, SIZE_BYTES) for name in ("large", "untold", "half")),
        )
    )
    endpoint.inject(chunked(), math.inf, where=lambda r: r.video_id == "untold")
    options = ("--metadata-ttl", "1h", "--cache-size", "8MiB")
    for fetched in ({"small", "large", "untold"}, set()):
        with mount(*options) as mounted:
            for video in (small, large, untold):
                got = mounted.path(video.video_id).read_bytes()
                assert got == video.read(0, video.size_bytes)
            assert {record.video_id for record in of_bytes(endpoint)} == fetched
            eventually(lambda: whole_on_disk(tmp_path) == 3, "all, whole on disk")
    assert len(kept(tmp_path)) == 3

    go_on = threading.Event()
    slow = lambda r: (r.video_id, r.kind) == ("half", "content")  # noqa: E731
    endpoint.inject(stall_at(SIZE_BYTES // 2, go_on), math.inf, where=slow)
    with (
        mount(*options, exit_status=-signal.SIGKILL) as mounted,
        mounted.path("half").open("rb", buffering=0) as clip,
    ):
        assert clip.read(GRID_BYTES) == half.read(0, GRID_BYTES)
        eventually(lambda: kept_bytes(tmp_path) > 2 * SIZE_BYTES + MIB, "a part")
        mounted.send(signal.SIGKILL)
        mounted.wait()
        go_on.set()
        with pytest.raises(OSError, match="not connected"):
            clip.close()
    endpoint.calm()
    for path in kept(tmp_path):
        flip(path, 50_000)
    with mount(*options) as mounted:
        for video in (half, small, large):
            got = mounted.path(video.video_id).read_bytes()
            assert got == video.read(0, video.size_bytes)
        endpoint.wait_until_idle()
        assert endpoint.content_bytes("half") >= SIZE_BYTES


def test_a_flipped_byte_on_disk_is_fetched_again(endpoint, mount, tmp_path):
    """Also under a mount that has read it; only its block is asked for."""
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    with mount() as mounted:
        mounted.path("video").read_bytes()
    (data,) = kept(tmp_path)
    flip(data, 3_000_000)

    with mount() as mounted:
        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
        (bad,) = of_bytes(endpoint)
        start = 3_000_000 // GRID_BYTES * GRID_BYTES
        assert bad.range == (start, start + GRID_BYTES)

    with mount() as mounted:
        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
        assert of_bytes(endpoint) == []


def test_a_mount_that_is_killed_leaves_what_can_be_trusted(endpoint, mount):
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    with mount(exit_status=-signal.SIGKILL) as mounted:
        clip = mounted.path("video").open("rb", buffering=0)
        assert len(clip.read(SIZE_BYTES // 2)) == SIZE_BYTES // 2
        mounted.send(signal.SIGKILL)
        mounted.wait()
        with pytest.raises(OSError, match="not connected"):
            clip.close()

    with mount() as mounted:
        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)


def test_size_0_leaves_no_block_on_disk(endpoint, mount, tmp_path):
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    for _ in range(2):
        with mount("--disk-cache-size", "0") as mounted:
            assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)
            assert of_bytes(endpoint)

    assert [path.name for path in (tmp_path / "hingfs").iterdir()] == [NAME]


def test_reads_go_on_whatever_becomes_of_the_directory(endpoint, mount, tmp_path):
    """It is deleted, and made anew; a file of that name takes its place."""
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    other = endpoint.add("other", size_bytes=SIZE_BYTES)
    with mount("--cache-size", "1MiB", "--block-size", "128KiB") as mounted:
        with mounted.path("video").open("rb") as clip:
            assert clip.read(SIZE_BYTES // 2) == video.read(0, SIZE_BYTES // 2)
            delete(tmp_path / "hingfs" / "v2")
            assert clip.read() == video.read(SIZE_BYTES // 2, SIZE_BYTES)
        assert mounted.path("other").read_bytes() == other.read(0, SIZE_BYTES)
        eventually(lambda: kept_bytes(tmp_path) > SIZE_BYTES // 2, "blocks, kept anew")
        delete(tmp_path / "hingfs" / "v2")
        (tmp_path / "hingfs" / "v2").write_bytes(b"")
        for clip in (video, other):
            got = mounted.path(clip.video_id).read_bytes()
            assert got == clip.read(0, SIZE_BYTES)
