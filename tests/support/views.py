"""One way to look at the files of a mount, whether there is a kernel between or not.

`Direct` calls the operations as the kernel would; `Through` uses the paths of a real
mount. A test written for `View` runs on both.
"""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from hingfs.errors import RateLimited
from hingfs.http.turns import RequestLimit
from hingfs.library.names import name_of
from hingfs.mount.serving import Mount
from tests.support.endpoint import Video
from tests.support.reading import READ_BYTES, DirectHandle, Handle, Opened


class View(Protocol):
    """The files of a mount."""

    def size_bytes(self, video_id: str) -> int:
        """What stat says."""

    def open(self, video_id: str) -> Opened: ...

    def names(self) -> list[str]:
        """The listing."""


class Direct:
    """The operations of *mount*, without a kernel."""

    def __init__(self, mount: Mount) -> None:
        self.mount = mount

    def size_bytes(self, video_id: str) -> int:
        return self.mount.operations.getattr(f"/{name_of(video_id)}", None)["st_size"]

    def open(self, video_id: str) -> DirectHandle:
        return DirectHandle(self.mount.operations, f"/{name_of(video_id)}")

    def names(self) -> list[str]:
        entries = self.mount.operations.readdir("/")
        return [entry.name for entry in entries if entry.name not in {".", ".."}]


class Through:
    """The files in *directory*, a real mount."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def size_bytes(self, video_id: str) -> int:
        return (self._directory / name_of(video_id)).stat().st_size

    def open(self, video_id: str) -> Handle:
        return Handle(self._directory / name_of(video_id))

    def names(self) -> list[str]:
        return sorted(os.listdir(self._directory))


@contextlib.contextmanager
def opened(view: View, video_id: str) -> Iterator[Opened]:
    """The file of *video_id*, open meanwhile."""
    handle = view.open(video_id)
    try:
        yield handle
    finally:
        handle.close()


def sequential(size_bytes: int, step: int = READ_BYTES) -> list[tuple[int, int]]:
    """Reads from the first byte to the last, as cp does them."""
    return [(offset, step) for offset in range(0, size_bytes, step)]


def check_reads(view: View, video: Video, reads: list[tuple[int, int]]) -> None:
    """Each (offset, count) gives the bytes that *video* has there, all of them."""
    with opened(view, video.video_id) as handle:
        assert handle.size_bytes == video.size_bytes
        for offset, count in reads:
            expected = video.read(offset, offset + count)
            assert handle.read(offset, count) == expected, (offset, count)


def pause_of(limit: RequestLimit) -> float:
    """How long the API wants to be left alone, as a call that may not wait is told."""
    try:
        with limit.take_turn(0.0, time.monotonic() + 10.0):
            return 0.0
    except RateLimited as limited:
        return limited.retry_after_seconds or 0.0
