"""What is on disk, and what the server says: each cell of the table, through a mount.

The rows are a kept video, a complete one and a part of one; the columns are what the
server does. A read through a handle that was open before is a cell of its own.
"""

import contextlib
import errno
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from hingfs.cache import kept_files, stock
from hingfs.engine import Engine
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.keeping import answered_410, away, expired, gone, keep, refused
from tests.support.mounting import Mounted, each_binding, eventually

pytestmark = [pytest.mark.fuse, each_binding]

SIZE = 5_000_000
NEW = bytes(range(256)) * 1000
# What a read that fails at once may take on a busy machine.
AT_ONCE_SECONDS = 5.0
# Absent from a part of the video: far from its head and its tail.
MIDDLE = 3 * MIB


@pytest.fixture
def video(endpoint: FakeEndpoint) -> Video:
    return endpoint.add("v", size_bytes=SIZE)


class Prepare:
    """An engine reads, or keeps, the video before there is a mount."""

    def __init__(self, endpoint: FakeEndpoint, directory: Path) -> None:
        self._endpoint = endpoint
        self._directory = directory

    @contextlib.contextmanager
    def _engine(self) -> Iterator[Engine]:
        (self._directory / "hingfs").mkdir(exist_ok=True)
        engine = Engine(
            EndpointConfig(
                base_url=self._endpoint.base_url, token=Token(self._endpoint.token)
            ),
            CacheConfig(
                disk_cache_bytes=1 << 30,
                kept_directory=self._directory / "hingfs",
                kept_videos=self._directory / "hingfs-kept" / "hingfs",
            ),
        )
        try:
            yield engine
        finally:
            engine.close()
            assert engine.settle(10)
            assert engine.join(10)
            self._endpoint.wait_until_idle()
            self._endpoint.reset_log()

    def kept(self) -> None:
        with self._engine() as engine:
            engine.catalog.listing()
            keep(engine, "v.mp4")

    def read(self, stop: int) -> None:
        """Read the video from its beginning to *stop*."""
        with self._engine() as engine:
            engine.catalog.listing()
            file = engine.catalog.find_to_open("v.mp4")
            reader = engine.readers.open(file.content)
            reader.read_into(memoryview(bytearray(stop)), 0)
            engine.readers.close(reader)


@pytest.fixture
def prepare(endpoint, video, tmp_path) -> Prepare:
    return Prepare(endpoint, tmp_path)


Mount = Callable[..., Mounted]


@pytest.fixture
def mount(endpoint, binding, tmp_path) -> Mount:
    def mount(*options: str, **more) -> Mounted:
        return Mounted(
            *(endpoint, binding, "--no-check", "--disk-cache-size", "1GiB"),
            *("--metadata-ttl", "1ms", "--listing-ttl", "1ms", *options),
            XDG_CACHE_HOME=str(tmp_path),
            XDG_DATA_HOME=str(tmp_path / "hingfs-kept"),
            **more,
        )

    return mount


def another_version(endpoint: FakeEndpoint) -> None:
    endpoint.remove("v")
    endpoint.add("v", data=NEW, completed_at=1_800_000_000)


NAME_ERRORS = {gone: "ENOENT", refused: "EACCES"}


def same(_endpoint: FakeEndpoint) -> None:
    pass


def errno_of(use: Callable[[], object]) -> str:
    with pytest.raises(OSError) as raised:
        use()
    return errno.errorcode[raised.value.errno or 0]


def open_error(path: Path) -> str | None:
    """The errno of an open, None if it succeeds: what was just confirmed is believed."""
    try:
        os.close(os.open(path, os.O_RDONLY))
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def read_at(handle: int, start: int, size: int) -> bytes:
    return os.pread(handle, size, start)


# --- kept ---------------------------------------------------------------------------


@pytest.mark.parametrize("happen", [same, gone, expired, answered_410, refused, away])
def test_a_kept_video_is_listed_and_read_from_disk(
    endpoint, video, prepare, mount, happen
):
    prepare.kept()
    happen(endpoint)

    with mount() as mounted:
        assert os.listdir(mounted.directory) == ["v.mp4"]
        assert mounted.path("v").stat().st_size == SIZE
        assert mounted.path("v").stat().st_mtime == video.completed_at
        assert mounted.path("v").read_bytes() == video.read(0, SIZE)
        assert endpoint.bytes_served_twice("v") == 0
        assert endpoint.content_bytes("v") < 10_000  # what refusals say


def test_a_kept_video_stays_while_its_name_is_another_version(
    endpoint, video, prepare, mount, tmp_path
):
    prepare.kept()
    another_version(endpoint)

    with mount() as mounted:
        assert os.listdir(mounted.directory) == ["v.mp4"]
        assert mounted.path("v").read_bytes() == NEW
        endpoint.remove("v")
        assert mounted.path("v").read_bytes() == video.read(0, SIZE)
    (found,) = kept_files.videos(tmp_path / "hingfs-kept" / "hingfs")
    assert found.is_sealed


# --- complete, not kept -------------------------------------------------------------


@pytest.mark.parametrize("happen", [same, away])
def test_a_complete_video_is_listed_and_read_from_disk(
    endpoint, video, prepare, mount, happen
):
    prepare.read(SIZE)
    happen(endpoint)

    with mount() as mounted:
        assert os.listdir(mounted.directory) == ["v.mp4"]
        assert mounted.path("v").stat().st_size == SIZE
        assert mounted.path("v").read_bytes() == video.read(0, SIZE)
        assert endpoint.content_bytes("v") == 0


@pytest.mark.parametrize("read_bytes", [SIZE, 1], ids=["complete", "partial"])
def test_what_is_not_kept_is_dropped_once_the_name_is_another_version(
    endpoint, prepare, mount, tmp_path, read_bytes
):
    prepare.read(read_bytes)
    another_version(endpoint)

    with mount() as mounted:
        assert mounted.path("v").read_bytes() == NEW

        def sizes() -> list[int]:
            found = stock.videos(tmp_path / "hingfs")
            return [one.version.size_bytes for one in found]

        eventually(lambda: sizes() == [len(NEW)], "the old version has gone")


@pytest.mark.parametrize("happen", [gone, refused])
@pytest.mark.parametrize("read_bytes", [SIZE, 1], ids=["complete", "partial"])
def test_a_name_that_is_refused_leaves_open_handles_what_is_here(
    endpoint, prepare, mount, happen, read_bytes
):
    video, name_error = endpoint.videos["v"], NAME_ERRORS[happen]
    prepare.read(read_bytes)
    with mount() as mounted:
        handle = os.open(mounted.path("v"), os.O_RDONLY)
        try:
            happen(endpoint)

            eventually(lambda: open_error(mounted.path("v")) == name_error, "the error")
            assert read_at(handle, 0, 1000) == video.read(0, 1000)
            if read_bytes == SIZE:
                assert read_at(handle, MIDDLE, 1000) == video.read(
                    MIDDLE, MIDDLE + 1000
                )
            else:
                began = time.monotonic()
                assert errno_of(lambda: read_at(handle, MIDDLE, 1000)) == name_error
                assert time.monotonic() - began < AT_ONCE_SECONDS
        finally:
            os.close(handle)


# --- partial ------------------------------------------------------------------------


def test_the_missing_blocks_of_a_part_are_fetched(endpoint, video, prepare, mount):
    prepare.read(1)

    with mount() as mounted:
        assert mounted.path("v").read_bytes() == video.read(0, SIZE)
        assert endpoint.content_bytes("v") > 0


def test_without_the_server_a_part_has_its_attributes_and_its_blocks(
    endpoint, video, prepare, mount
):
    """A missing block is EIO at once, once the server has been away for a while."""
    prepare.read(1)
    endpoint.stop()

    with mount() as mounted:
        path = mounted.path("v")
        assert path.stat().st_size == SIZE
        with path.open("rb", buffering=0) as file:
            assert file.read(1000) == video.read(0, 1000)
            assert errno_of(lambda: read_at(file.fileno(), MIDDLE, 1000)) == "EIO"
            began = time.monotonic()
            assert errno_of(lambda: read_at(file.fileno(), MIDDLE - MIB, 1000)) == "EIO"
            assert time.monotonic() - began < AT_ONCE_SECONDS
        assert errno_of(mounted.path("unknown").stat) == "EIO"
