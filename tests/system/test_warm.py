"""`hingfs warm` beside a mount of the same cache directory: requests, counted."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, each_binding, environment

pytestmark = pytest.mark.fuse

LIMIT = ("--disk-cache-size", "1GiB")
SIZES = {"first": 13_000_000, "second": 3_000_001, "third": 200_000}


@each_binding
def test_a_mount_that_runs_reads_what_came_without_a_request_for_bytes(
    binding: str, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """Named as arguments, in a file and on standard input; a second call asks nothing."""
    videos = {name: endpoint.add(name, size_bytes=size) for name, size in SIZES.items()}
    (tmp_path / "ids").write_text("\nsecond\n")
    command = [
        *(sys.executable, "-m", "hingfs", "warm", "--base-url", endpoint.base_url),
        *(*LIMIT, "first", "-f", str(tmp_path / "ids"), "-"),
    ]
    env = environment(HINGFS_TOKEN=endpoint.token, XDG_CACHE_HOME=str(tmp_path))

    def warm() -> list[str]:
        done = subprocess.run(
            command,
            env=env,
            input="third\n",
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        endpoint.wait_until_idle()
        return str(done.stdout).splitlines()

    with Mounted(
        endpoint, binding, "--no-check", *LIMIT, XDG_CACHE_HOME=str(tmp_path)
    ) as mounted:
        assert warm()[-1] == "3 videos here, 15.4MiB fetched"
        assert [endpoint.content_bytes(name) for name in SIZES] == list(SIZES.values())
        assert sum(map(endpoint.bytes_served_twice, SIZES)) == 0

        endpoint.reset_log()
        assert warm()[-1] == "3 videos here, 0B fetched"
        assert endpoint.log == []
        for name, video in videos.items():
            assert mounted.path(name).read_bytes() == video.read(0, video.size_bytes)
        of_bytes = [
            r for r in endpoint.log if r.kind == "content" and r.method == "GET"
        ]
        assert of_bytes == []
