"""Disk caches as processes of their own would have them, and the ramps they hold."""

from pathlib import Path

from hingfs.blocks import bounds_of
from hingfs.cache.disk import DiskCache
from hingfs.cache.folder import VideoFolder
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.video import DiskVideo
from hingfs.version import Validator, VideoVersion
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

SIZE = 4 * GRID_BYTES + 1000
BLOCKS = range(5)
LIMIT = 1 << 30
WAITING = 1 << 25


def version_of(
    video_id: str = "v",
    size: int = SIZE,
    etag: str = '"a"',
    sighting: int | None = None,
) -> VideoVersion:
    return VideoVersion(ENDPOINT, video_id, size, Validator(etag), sighting)


def put(cache: VideoFolder, video: DiskVideo, *indices: int) -> None:
    """Put grid blocks of the ramp, and wait until they are written, or not."""
    for index in indices:
        put_behind(video, index)
    assert cache.settle(10)


def put_behind(video: DiskVideo, index: int) -> None:
    """Put a grid block of the ramp, which is written sooner or later."""
    version = video.version
    span = bounds_of(index, GRID_BYTES, version.size_bytes)
    video.put(span.start, [ramp(version.video_id, span.start, span.stop)])


def put_whole(cache: VideoFolder, version: VideoVersion) -> None:
    """Put all of *version*, and release it."""
    video = opened(cache, version)
    put(cache, video, *range(-(-version.size_bytes // GRID_BYTES)))
    video.release()


def read(video: DiskVideo, start: int, stop: int) -> bytes | None:
    target = bytearray(stop - start)
    return bytes(target) if video.read_into(memoryview(target), start) else None


def readable(video: DiskVideo) -> list[int]:
    """The grid blocks that are read, each of which must be right."""
    version = video.version
    good = []
    for index in range(-(-version.size_bytes // GRID_BYTES)):
        span = bounds_of(index, GRID_BYTES, version.size_bytes)
        found = read(video, span.start, span.stop)
        if found is not None:
            assert found == ramp(version.video_id, span.start, span.stop)
            good.append(index)
    return good


def opened(cache: VideoFolder, version: VideoVersion | None = None) -> DiskVideo:
    video = cache.open(version or version_of())
    assert video is not None
    return video


def there(directory: Path, ending: str = "data") -> list[Path]:
    """The files of videos in *directory*."""
    return sorted(directory.glob(f"v2/*/*.{ending}"))


def open_files(directory: Path) -> list[Path]:
    """The files of videos in *directory* that this process has open."""
    links = [link.resolve() for link in Path("/proc/self/fd").iterdir()]
    ours = [link for link in links if directory in link.parents]
    return [link for link in ours if link.suffix in {".data", ".index"}]


class Processes:
    """Disk caches in *directory*; each has nothing in common with the others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[DiskCache] = []

    def __call__(self, limit_bytes: int = LIMIT) -> DiskCache:
        self.made.append(DiskCache(self.directory, limit_bytes, WAITING))
        return self.made[-1]

    def close(self) -> None:
        for cache in self.made:
            cache.close()
            assert cache.join(10)
