"""A disk below the cache that fails or hangs costs a reader nothing but its blocks."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.cache.layout import FOLDER
from tests.support.bad_disk import HANG, BadDisk, bad_disk
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import BINDINGS, Mounted, eventually
from tests.support.personalities import Video

pytestmark = pytest.mark.fuse

SIZE_BYTES = 2_000_000
EVERYTHING = ("*.read", "*.write", "*.other")
# A bad disk is looked at again at once, as long as it takes.
IMPATIENT = """
import sys
from hingfs.cache import health, janitor
janitor.LOOK_SECONDS = health.FIRST_PROBE_SECONDS = 0.02
health.LAST_PROBE_SECONDS = 0.1
health.HESITATION_SECONDS = 0.5
from hingfs.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[BadDisk]:
    with bad_disk(tmp_path / FOLDER) as disk:
        yield disk


@pytest.fixture(params=BINDINGS)
def mounted(request, endpoint, disk, tmp_path) -> Iterator[Mounted]:
    with Mounted(
        *(endpoint, request.param, "--no-check", "--cache-dir", str(tmp_path)),
        *(
            "--disk-cache-size",
            "1GiB",
            "--cache-size",
            "1MiB",
            "--block-size",
            "128KiB",
        ),
        launcher=(sys.executable, "-c", IMPATIENT),
    ) as mounted:
        yield mounted


def read(mounted: Mounted, video: Video) -> int:
    """Read all of *video*, of which the kernel holds nothing; how much was fetched."""
    mounted.endpoint.wait_until_idle()
    mounted.endpoint.reset_log()
    path = mounted.path(video.video_id)
    with path.open("rb", buffering=0) as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert path.read_bytes() == video.read(0, video.size_bytes)
    return mounted.endpoint.content_bytes(video.video_id)


def keep(mounted: Mounted, video: Video) -> None:
    """Have all of *video* on disk."""
    eventually(lambda: read(mounted, video) == 0, "all of it on disk")


def add(endpoint: FakeEndpoint, video_id: str) -> Video:
    return endpoint.add(video_id, size_bytes=SIZE_BYTES)


def warnings(mounted: Mounted) -> list[str]:
    lines = mounted.log.splitlines()
    return [line for line in lines if "disk cache is not" in line and "WARNING" in line]


def test_a_disk_that_fails_is_left_alone_until_it_is_well(endpoint, disk, mounted):
    """All of it, its data, its index, its writes; also where it hangs for ever."""
    video = add(endpoint, "video")
    keep(mounted, video)

    with disk.trouble(*EVERYTHING):
        assert read(mounted, video) > 0
        read(mounted, add(endpoint, "new"))
        eventually(lambda: warnings(mounted), "a warning")
        assert len(warnings(mounted)) == 1, mounted.log
        assert "Input/output error" in warnings(mounted)[0]

    eventually(lambda: "disk cache is used again" in mounted.log, "it is well")
    keep(mounted, video)
    for calls in (["data.read"], ["data.write"], ["index.read", "index.write"]):
        with disk.trouble(*calls):
            read(mounted, video)
            read(mounted, add(endpoint, calls[0]))
    keep(mounted, video)
    keep(mounted, add(endpoint, "last"))

    with disk.trouble(*EVERYTHING, what=HANG):
        assert read(mounted, video) > 0
        read(mounted, add(endpoint, "beside"))
    keep(mounted, video)
    with disk.trouble("data.read", "index.read", what=HANG):
        assert read(mounted, video) > 0
        mounted.send(signal.SIGTERM)
        eventually(lambda: not mounted.is_mounted, "its end")
