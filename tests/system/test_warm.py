"""`hingfs warm` beside a mount of the same cache directory: requests, counted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hingfs.library.names import is_short
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, each_binding, environment

pytestmark = pytest.mark.fuse

LONG = 300 * "x"
LIMIT = ("--disk-cache-size", "1GiB")
SIZES = {"first": 5_000_000, "second": 3_000_001, LONG: 200_000}


@each_binding
def test_a_mount_that_runs_reads_what_came_without_a_request_for_bytes(
    binding: str, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """Named by paths, one of them short, in a file and on standard input.

    The mount tells the API. A second call asks nothing but what a short name stands for.
    """
    videos = {name: endpoint.add(name, size_bytes=size) for name, size in SIZES.items()}
    (tmp_path / "ids").write_text("\nsecond\nfirst\n")

    def warm(short: Path) -> str:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "hingfs", "warm", *LIMIT),
                *("first.mp4", "-f", str(tmp_path / "ids"), "-", "-j", "1"),
            ],
            env=environment(HINGFS_TOKEN=endpoint.token, XDG_CACHE_HOME=str(tmp_path)),
            cwd=short.parent,
            input=f"{short}\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        endpoint.wait_until_idle()
        return str(done.stdout).splitlines()[-1]

    with Mounted(
        endpoint, binding, "--no-check", *LIMIT, XDG_CACHE_HOME=str(tmp_path)
    ) as mounted:
        paths = {name: mounted.path(name) for name in SIZES}
        short = paths[LONG]
        assert is_short(short.name)
        assert warm(short) == "3 videos here, 7.8MiB fetched"
        assert [endpoint.content_bytes(name) for name in SIZES] == list(SIZES.values())
        assert sum(map(endpoint.bytes_served_twice, SIZES)) == 0

        endpoint.reset_log()
        assert warm(short) == "3 videos here, 0B fetched"
        assert [r.kind for r in endpoint.log] == ["list"]
        os.listdir(mounted.directory)  # which tells it what the short name stands for
        for name, video in videos.items():
            assert paths[name].read_bytes() == video.read(0, video.size_bytes)
        of_bytes = [
            r for r in endpoint.log if r.kind == "content" and r.method == "GET"
        ]
        assert of_bytes == []
