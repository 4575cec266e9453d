"""Fills a cache directory of hingfs with small videos that nobody serves.

    fill.py DIRECTORY COUNT

Their bytes are few, since what a mount does with them at its start goes by their number.
"""

import sys
from pathlib import Path

from hingfs.cache.disk import DiskCache
from hingfs.version import Validator, VideoVersion

VIDEO = bytes(4096)
SECONDS = 30


def fill(directory: Path, count: int) -> None:
    """Make *count* videos in *directory*, each whole."""
    cache = DiskCache(directory, 10 << 30, waiting_bytes=32 << 20)
    for number in range(count):
        tag = Validator(f'"{number}"')
        name = f"video_{number:05}"
        version = VideoVersion("https://bench.invalid", name, len(VIDEO), tag)
        video = cache.open(version)
        assert video is not None
        video.put(0, [VIDEO])
        video.release()
        if number % 100 == 99:
            assert cache.settle(SECONDS)
    cache.close()
    assert cache.join(SECONDS)


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
