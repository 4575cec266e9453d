"""One endpoint's engine: it needs no FUSE, and leaves nothing behind."""

import contextlib
import math
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hingfs.cache import stock
from hingfs.cache.layout import FOLDER
from hingfs.engine import Engine
from hingfs.errors import Closing
from hingfs.facts.store import NAME
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import eventually
from tests.support.personalities import PERSONALITIES

SIZE_BYTES = 300_000
MANY = 50


def open_files() -> set[str]:
    """What the process has open: paths, sockets and pipes."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add(os.readlink(f"/proc/self/fd/{number}"))
        except FileNotFoundError:  # of the listing itself
            continue
    return found


def hingfs_threads() -> set[threading.Thread]:
    """Those of every engine in this process; other tests may have left some."""
    return {t for t in threading.enumerate() if t.name.startswith("hingfs")}


def engine_of(endpoint: FakeEndpoint, directory: Path | None = None) -> Engine:
    return Engine(
        EndpointConfig(endpoint.base_url, token=Token(endpoint.token)),
        CacheConfig(
            cache_bytes=4 << 20,
            directory=directory,
            kept_directory=directory and directory / "facts",
        ),
    )


def test_the_longest_time_outs_can_be_waited_for() -> None:
    """A system counts seconds, or thousandths of them, in so many bits."""
    with FakeEndpoint() as endpoint:
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        week = 7 * 86_400.0
        engine = Engine(
            EndpointConfig(
                endpoint.base_url,
                token=Token(endpoint.token),
                connect_seconds=week,
                stall_seconds=week,
                read_seconds=week,
                metadata_seconds=week,
                first_byte_seconds=week,
            ),
            CacheConfig(),
        )
        try:
            assert read(engine, "v.mp4", 0, 5000) == video.read(0, 5000)
        finally:
            engine.close()


def read(engine: Engine, name: str, offset: int, count: int) -> bytes:
    """Bytes of *name* through all of it."""
    reader = engine.readers.open(engine.catalog.find_to_open(name).content)
    target = bytearray(count)
    try:
        got = reader.read_into(memoryview(target), offset)
    finally:
        engine.readers.close(reader)
    return bytes(target[:got])


def test_fifty_engines_in_one_process_leave_nothing(tmp_path: Path) -> None:
    """Threads, sockets and temporary files; half of the servers know no ranges."""
    (tmp_path / "facts").mkdir()
    with FakeEndpoint() as ranged, FakeEndpoint() as whole:
        whole.personality = PERSONALITIES["litellm_new"]
        videos = [e.add("v", size_bytes=SIZE_BYTES) for e in (ranged, whole)]
        before, others = open_files(), hingfs_threads()
        for number in range(MANY):
            endpoint, video = (ranged, whole)[number % 2], videos[number % 2]
            engine = engine_of(endpoint, tmp_path)
            if number % 3:
                assert [name for name, _ in engine.catalog.listing()] == ["v.mp4"]
            assert read(engine, "v.mp4", 1000, 5000) == video.read(1000, 6000)

            engine.close()

            assert engine.join(10.0)
            assert hingfs_threads() <= others
        # The servers' own ends are closed by threads of theirs.
        eventually(lambda: open_files() <= before, "no file is left open")
        assert [file.name for file in tmp_path.iterdir()] == ["facts"]
        kept = {file.name for file in (tmp_path / "facts").iterdir()}
        assert kept == {NAME, FOLDER}


def test_bytes_under_a_tag_that_lies_are_not_left_to_the_next(tmp_path: Path) -> None:
    """The server shows other bytes under the tag; a read has found that out."""
    config = CacheConfig(kept_directory=tmp_path, disk_cache_bytes=64 << 20)
    with FakeEndpoint() as endpoint:
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        for changes in (False, True, False):
            endpoint.reset_log()
            engine = Engine(
                EndpointConfig(endpoint.base_url, token=Token(endpoint.token)), config
            )
            try:
                got = read(engine, "v.mp4", 0, SIZE_BYTES)
                if changes:
                    assert endpoint.content_bytes("v") == 0
                    engine.catalog.find("v.mp4").content.found_changed()
                    assert read(engine, "v.mp4", 0, SIZE_BYTES) == got
            finally:
                engine.close()
                assert engine.join(10.0)

        assert got == video.read(0, SIZE_BYTES)
        assert endpoint.content_bytes("v") == SIZE_BYTES


def test_an_engine_is_closed_while_a_reader_waits() -> None:
    with FakeEndpoint() as endpoint, ThreadPoolExecutor(1) as readers:
        endpoint.add("v", size_bytes=SIZE_BYTES)
        engine, others = engine_of(endpoint), hingfs_threads()
        endpoint.inject(
            faults.stall_at(0, threading.Event()), math.inf, lambda r: r.method == "GET"
        )
        waiting = readers.submit(read, engine, "v.mp4", 0, 10)
        endpoint.wait_until(
            lambda: any(r.kind == "content" and r.method == "GET" for r in endpoint.log)
        )

        engine.close()

        with pytest.raises(Closing):
            waiting.result(timeout=10)
        assert engine.join(10.0)
        engine.close()
        assert hingfs_threads() <= others


def test_an_engine_loads_no_fuse_library() -> None:
    code = (
        "import sys, hingfs.engine; "
        "print(sorted({'fuse', 'mfusepy', 'hingfs.mount.binding'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


@pytest.fixture
def untold() -> Iterator[FakeEndpoint]:
    """A server whose answers have no validator."""
    bare = lambda a, _: a.without_headers("ETag", "Last-Modified")  # noqa: E731
    with FakeEndpoint() as endpoint:
        endpoint.inject(faults.Fault("untold", bare, faults.video_answer), math.inf)
        yield endpoint


@contextlib.contextmanager
def engine_with_disk(endpoint: FakeEndpoint, directory: Path) -> Iterator[Engine]:
    """What it knows is old at once. At its end all that was read lies on disk."""
    engine = Engine(
        EndpointConfig(endpoint.base_url, token=Token(endpoint.token)),
        CacheConfig(
            cache_bytes=8 << 20,
            kept_directory=directory,
            disk_cache_bytes=1 << 30,
            metadata_ttl_seconds=0.0,
            listing_ttl_seconds=0.0,
        ),
    )
    try:
        yield engine
    finally:
        engine.close()
        assert engine.join(10)


def whole_on_disk(directory: Path) -> list[bool]:
    return [one.here_bytes == SIZE_BYTES for one in stock.videos(directory)]


def test_bytes_that_were_found_to_be_old_are_not_read_from_disk(untold, tmp_path):
    """No time tells the new ones: they are known by their first bytes."""
    video = untold.add("v", size_bytes=SIZE_BYTES)
    completed_at = video.completed_at
    with engine_with_disk(untold, tmp_path) as engine:
        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)
        eventually(lambda: whole_on_disk(tmp_path) == [True], "it is whole on disk")
        video.replace()
        video.completed_at = completed_at

        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)


@pytest.mark.parametrize("replaced", [False, True])
def test_a_time_from_an_old_list_is_asked_for_before_a_disk_is_believed(
    untold, tmp_path, replaced
):
    """It costs a request about the status, and saves all the bytes if they are the same."""
    video = untold.add("v", size_bytes=SIZE_BYTES)
    with engine_with_disk(untold, tmp_path) as engine:
        read(engine, "v.mp4", 0, SIZE_BYTES)
    for facts in tmp_path.glob(f"{NAME}*"):
        facts.unlink()
    with engine_with_disk(untold, tmp_path) as engine:
        assert len(engine.catalog.listing()) == 1
        if replaced:
            video.replace()
        untold.reset_log()

        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)
        kinds = [record.kind for record in untold.log if record.method == "GET"]
        assert kinds[:1] == ["status"]
        assert ("content" in kinds) is replaced


def test_a_whole_file_that_was_replaced_is_not_read_from_disk(untold, tmp_path):
    """Its server ignores ranges as well, and its facts are those of the mount before."""
    untold.personality = PERSONALITIES["litellm_new"]
    video = untold.add("v", size_bytes=SIZE_BYTES)
    with engine_with_disk(untold, tmp_path) as engine:
        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)
        eventually(lambda: any(whole_on_disk(tmp_path)), "it is whole on disk")
    video.replace()

    with engine_with_disk(untold, tmp_path) as engine:
        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)
        video.replace()
        assert read(engine, "v.mp4", 0, SIZE_BYTES) == video.read(0, SIZE_BYTES)


def test_a_late_answer_with_a_file_that_lies_on_disk_is_not_read(
    build, endpoint, tmp_path, monkeypatch
):
    """As LiteLLM's, which tells a size by sending the file; the facts of it are lost."""
    endpoint.personality = PERSONALITIES["litellm_new"]
    video = endpoint.add("v", size_bytes=20_000_000)
    cache = {"kept_directory": tmp_path, "disk_cache_bytes": 1 << 30}
    monkeypatch.setattr("hingfs.api.probing._DEAR_SECONDS", 0.0)
    first = build(cache).engine
    assert read(first, "v.mp4", 19_000_000, 9) == video.read(19_000_000, 19_000_009)
    eventually(
        lambda: [one.here_bytes for one in stock.videos(tmp_path)] == [20_000_000],
        "the file, whole on disk",
    )
    first.close()
    assert first.join(10)
    for facts in tmp_path.glob(f"{NAME}*"):
        facts.unlink()
    endpoint.wait_until_idle()
    endpoint.reset_log()

    second = build(cache).engine
    assert read(second, "v.mp4", 9, 9) == video.read(9, 18)

    endpoint.wait_until_idle()
    (asked,) = endpoint.requests_of("content", "GET")
    assert asked.body_bytes < 20_000_000
