"""Fills a cache directory of hingfs with small videos that nobody serves.

    fill.py DIRECTORY COUNT

Their bytes are few, since what a mount does with them at its start goes by their number.
"""

import sys
from pathlib import Path

from hingfs.cache.files import open_pair, safe
from hingfs.cache.layout import FOLDER, stem_of
from hingfs.version import Validator, VideoVersion

VIDEO = bytes(4096)


def fill(directory: Path, count: int) -> None:
    """Make *count* videos in *directory*, each whole."""
    folder = safe(directory / FOLDER)
    for number in range(count):
        version = VideoVersion(
            *("https://bench.invalid", f"video_{number:05}", len(VIDEO)),
            Validator(f'"{number}"'),
        )
        pair = open_pair(stem_of(version, folder, "bench"), version, lambda _: None)
        pair.write(0, [memoryview(VIDEO)])


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
