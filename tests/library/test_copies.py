"""A kept copy stands for its video while the server does not serve that."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hingfs.blocks import ByteRange
from hingfs.cache.layout import GRID_BYTES
from hingfs.engine import Engine
from hingfs.errors import AccessDenied, CopyDamaged, VideoNotFound
from hingfs.library.known import VideoFile
from hingfs.library.names import full_name_of, name_of
from hingfs.token import Token
from tests.conftest import Build
from tests.support.endpoint import FakeEndpoint
from tests.support.keeping import (
    answered_410,
    away,
    expired,
    files,
    gone,
    keep,
    refused,
)
from tests.support.mounting import eventually
from tests.support.personalities import PERSONALITIES

SIZE = 5 * GRID_BYTES + 321

Start = Callable[[], Engine]


@pytest.fixture
def start(build: Build, endpoint, tmp_path) -> Start:
    """Begin an engine, as a mount would, on the directories that earlier ones left."""
    token = Token(endpoint.token)

    def start(**options) -> Engine:
        (tmp_path / "cache").mkdir(exist_ok=True)
        cache = {
            "kept_directory": tmp_path / "cache",
            "kept_videos": tmp_path / "data",
            "disk_cache_bytes": 1 << 30,
            "negative_ttl_seconds": 0.0,
            "metadata_ttl_seconds": 0.0,
        }
        return build(cache=cache, token=token, **options).engine

    return start


def end(engine: Engine) -> None:
    engine.close()
    assert engine.settle(10)
    assert engine.join(10)


@pytest.fixture
def kept(start: Start, endpoint) -> VideoFile:
    """A video that an engine kept, which has ended since."""
    endpoint.add("v", size_bytes=SIZE)
    engine = start()
    keep(engine, "v.mp4")
    file = engine.catalog.find("v.mp4")
    end(engine)
    endpoint.wait_until_idle()
    endpoint.reset_log()
    return file


def read(engine: Engine, file: VideoFile, start: int = 0, stop: int = SIZE) -> bytes:
    reader = engine.readers.open(file.content)
    try:
        target = bytearray(stop - start)
        assert reader.read_into(memoryview(target), start) == len(target)
        return bytes(target)
    finally:
        engine.readers.close(reader)


def content_requests(endpoint: FakeEndpoint) -> int:
    return len([r for r in endpoint.requests_of("content") if r.method == "GET"])


def expect(expected_log, happen: Callable[[FakeEndpoint], None]) -> None:
    if happen is refused:
        expected_log("refused the token")
    if happen is away:
        expected_log("the server is away")


@pytest.mark.parametrize("happen", [gone, expired, answered_410, refused, away])
def test_a_copy_stands_for_a_video_that_is_not_served(
    start, endpoint, kept, happen, expected_log
):
    expect(expected_log, happen)
    data = endpoint.videos["v"].read(0, SIZE)
    happen(endpoint)
    engine = start()

    for find in (engine.catalog.find, engine.catalog.find_to_open):
        file = find("v.mp4")
        assert file.mtime_ns == kept.mtime_ns
        assert file.inode == kept.inode
        assert read(engine, file) == data
    assert file.content is engine.catalog.find("v.mp4").content
    if happen in {refused, away}:
        assert [name for name, _ in engine.catalog.listing()] == ["v.mp4"]
    assert endpoint.content_bytes("v") < 2000  # what refusals say


def test_a_video_that_was_kept_by_nobody_is_refused_as_ever(
    start, endpoint, kept, expected_log
):
    expected_log("refused the token")
    endpoint.token = "another"
    with pytest.raises(AccessDenied):
        start().catalog.find("w.mp4")


def test_what_is_gone_is_still_listed(start, endpoint, kept):
    endpoint.add("w", size_bytes=SIZE)
    endpoint.remove("v")

    names = [name for name, _ in start().catalog.listing()]

    assert names == ["v.mp4", "w.mp4"]


def test_a_copy_has_its_short_name_too(start, endpoint):
    long = "v" * 300
    endpoint.add(long, size_bytes=SIZE)
    engine = start()
    keep(engine, full_name_of(long))
    end(engine)
    endpoint.remove(long)

    file = start().catalog.find(name_of(long))

    assert file.video_id == long


def test_a_kept_version_that_is_served_is_read_from_disk(start, endpoint, kept):
    engine = start()

    assert read(engine, engine.catalog.find_to_open("v.mp4"))
    assert content_requests(endpoint) == 0


@pytest.mark.parametrize("personality", ["openai", "hingnet_veo", "litellm_old"])
def test_a_version_without_a_tag_is_found_again_by_its_times(
    start, endpoint, personality
):
    endpoint.personality = PERSONALITIES[personality]
    video = endpoint.add("v", size_bytes=SIZE)
    engine = start()
    keep(engine, "v.mp4")
    end(engine)
    endpoint.wait_until_idle()
    endpoint.reset_log()

    engine = start()
    assert read(engine, engine.catalog.find_to_open("v.mp4")) == video.read(0, SIZE)
    assert content_requests(endpoint) <= (personality != "openai")


def test_another_version_has_the_name_and_the_copy_stays(start, endpoint, kept):
    old = endpoint.videos["v"].read(0, SIZE)
    endpoint.remove("v")
    engine = start()
    copy = engine.catalog.find_to_open("v.mp4")
    assert read(engine, copy) == old

    endpoint.add("v", data=bytes(1000), completed_at=1_800_000_000)
    new = engine.catalog.find_to_open("v.mp4")

    assert read(engine, new, 0, 1000) == bytes(1000)
    assert copy.content.changed  # the name has one size
    endpoint.remove("v")
    again = engine.catalog.find_to_open("v.mp4")
    assert read(engine, again) == old


def damage(tmp_path: Path, block: int) -> None:
    (data,) = files(tmp_path / "data")
    with data.open("r+b") as file:
        file.seek(block * GRID_BYTES + 9)
        (byte,) = file.read(1)
        file.seek(block * GRID_BYTES + 9)
        file.write(bytes([byte ^ 4]))


def test_a_bad_block_is_fetched_again_once(start, endpoint, kept, tmp_path):
    damage(tmp_path, 2)
    data = endpoint.videos["v"].read(0, SIZE)
    engine = start()
    assert read(engine, engine.catalog.find_to_open("v.mp4")) == data
    assert content_requests(endpoint) == 1
    assert endpoint.content_bytes("v") == GRID_BYTES
    content = engine.catalog.find("v.mp4").content
    with engine.tiers.held(content):
        whole = ByteRange(0, SIZE)
        eventually(lambda: engine.tiers.lies_on_disk(content, whole), "it is mended")
    end(engine)

    endpoint.remove("v")
    engine = start()
    assert read(engine, engine.catalog.find("v.mp4")) == data


@pytest.mark.parametrize("happen", [gone, refused, away])
@pytest.mark.usefixtures("kept")
def test_a_bad_block_that_nobody_serves_is_an_error_for_itself_alone(
    start, endpoint, tmp_path, happen, expected_log
):
    expect(expected_log, happen)
    damage(tmp_path, 2)
    data = endpoint.videos["v"].read(0, SIZE)
    happen(endpoint)
    engine = start(read_seconds=1.0)
    file = engine.catalog.find_to_open("v.mp4")

    with pytest.raises(CopyDamaged, match="its kept copy is damaged there"):
        read(engine, file)

    assert read(engine, file, 0, 2 * GRID_BYTES) == data[: 2 * GRID_BYTES]
    assert read(engine, file, 3 * GRID_BYTES) == data[3 * GRID_BYTES :]


def test_without_a_copy_the_error_stays(start, endpoint, kept):
    with pytest.raises(VideoNotFound):
        start().catalog.find("unknown.mp4")
