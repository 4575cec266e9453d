"""The disk cache: what it keeps, for whom, and what a bad disk leads to."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import ByteRange, bounds_of
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.video import DiskVideo
from hingfs.version import Validator, VideoVersion
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

SIZE = 4 * GRID_BYTES + 1000
LIMIT = 1 << 30

Caches = Callable[..., DiskCache]


def version_of(
    video_id: str = "v", size: int = SIZE, etag: str = '"a"'
) -> VideoVersion:
    return VideoVersion(ENDPOINT, video_id, size, Validator(etag))


def put(video: DiskVideo, *indices: int) -> None:
    """Put grid blocks, and wait until they are written."""
    version = video.version
    for index in indices:
        span = bounds_of(index, GRID_BYTES, version.size_bytes)
        video.put(span.start, [ramp(version.video_id, span.start, span.stop)])
    assert video._behind.settle(10)


def read(video: DiskVideo, start: int, stop: int) -> bytes | None:
    target = bytearray(stop - start)
    return bytes(target) if video.read_into(memoryview(target), start) else None


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Caches]:
    """A cache in tmp_path, as a process of its own would have it."""
    made: list[DiskCache] = []

    def cache(limit_bytes: int = LIMIT) -> DiskCache:
        made.append(DiskCache(tmp_path, limit_bytes))
        return made[-1]

    yield cache
    for one in made:
        one.close()
        assert one.join(10)


def opened(cache: DiskCache, version: VideoVersion | None = None) -> DiskVideo:
    video = cache.open(version or version_of())
    assert video is not None
    return video


def test_what_was_put_is_read_by_the_next_process(cache):
    put(opened(cache()), 0, 2, 4)

    video = opened(cache())

    assert [video.has(index) for index in range(5)] == [True, False, True, False, True]
    assert read(video, 5, 99) == ramp("v", 5, 99)
    assert read(video, 4 * GRID_BYTES - 1, SIZE) is None
    assert read(video, SIZE - 7, SIZE) == ramp("v", SIZE - 7, SIZE)
    assert not video.is_complete
    assert not video.covers(ByteRange(0, GRID_BYTES + 1))
