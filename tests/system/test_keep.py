"""`hingfs keep` and `drop` beside mounts, and `keep` that is killed."""

import contextlib
import hashlib
import math
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.cache import stock
from hingfs.cache.files import found_pair
from hingfs.cache.kept_files import Kept, videos
from tests.cli import test_keep as commands
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.keep_process import KeepProcess
from tests.support.mounting import HINGFS, Mounted, each_binding, environment, hingfs
from tests.support.reading import errno_of

SIZE_BYTES = 3_000_001
README = Path(__file__).parents[2] / "README.md"
POINTS = 50
AT_ONCE = 10
# At this rate the last of ten is sealed 0.9 to 1.2 s after the first began (2 busy cores,
# 2026-11-28).
BYTES_PER_SECOND = 4_000_000  # on each connection
KEEPING_SECONDS = 1.2


@pytest.mark.fuse
@each_binding
def test_a_mount_that_runs_has_what_is_kept_from_its_next_look_on(
    binding: str, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """A mount that runs has what is kept, or dropped, from its next look on."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)

    def run(*words: str | Path) -> subprocess.CompletedProcess[str]:
        return hingfs(
            *words,
            HINGFS_TOKEN=endpoint.token,
            HINGFS_BASE_URL=endpoint.base_url,
            XDG_DATA_HOME=str(tmp_path),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
        )

    with Mounted(
        *(endpoint, binding, "--metadata-ttl", "0", "--negative-ttl", "0"),
        XDG_DATA_HOME=str(tmp_path),
    ) as mounted:
        path = mounted.path("v")
        done = run("keep", path)
        assert done.stdout.splitlines()[0] == f"{path}: 2.9MiB, kept, 2.9MiB fetched"
        endpoint.remove("v")

        assert path.read_bytes() == video.read(0, SIZE_BYTES)
        assert os.listdir(mounted.directory) == ["v.mp4"]

        assert run("drop", path).returncode == 14
        assert run("drop", "--force", path).returncode == 0
        assert errno_of(lambda: os.stat(path)) == "ENOENT"


def test_the_lines_for_cron_and_systemd_keep_what_is_new(
    endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """As they stand in the README, but for the home and the API."""
    endpoint.add("v", size_bytes=1000)
    (tmp_path / ".venv/bin").mkdir(parents=True)
    program = tmp_path / ".venv/bin/hingfs"
    program.write_text(f'#!/bin/sh\nexec {HINGFS} "$@"\n')
    program.chmod(0o700)
    token = tmp_path / ".config/hingfs/token"
    token.parent.mkdir(parents=True)
    token.write_text(endpoint.token)
    token.chmod(0o600)
    readme = README.read_text()
    (cron,) = re.findall(r"(?m)^\*/10 \* \* \* \* (.*)$", readme)
    (unit,) = re.findall(r"(?m)^ExecStart=(.*)$", readme)
    for line in (cron, unit.replace("%h", str(tmp_path))):
        endpoint.add(f"new-{len(endpoint.videos)}", size_bytes=1000)
        done = subprocess.run(
            ["/bin/sh", "-c", line],
            env=environment(
                HOME=str(tmp_path),
                XDG_DATA_HOME=str(tmp_path),
                HINGFS_BASE_URL=endpoint.base_url,
            ),
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        found = videos(tmp_path / "hingfs")
        assert {kept.version.video_id for kept in found} == set(endpoint.videos)
        assert all(kept.is_sealed for kept in found)


@contextlib.contextmanager
def keeping(endpoint: FakeEndpoint, directory: Path) -> Iterator[KeepProcess]:
    process = KeepProcess(
        HINGFS_TOKEN=endpoint.token,
        HINGFS_BASE_URL=endpoint.base_url,
        XDG_DATA_HOME=str(directory),
        XDG_CACHE_HOME=str(directory),
    )
    try:
        yield process
    finally:
        process.close()


def is_right(kept: Kept, video: Video) -> bool:
    """Whether what was sealed is whole, by its own files and by *video*."""
    pair = found_pair(kept.stem)
    data = memoryview(bytearray(kept.version.size_bytes))
    return pair.read_into(data, 0) == [] and data == video.read(0, len(data))


def test_a_call_that_is_killed_leaves_nothing_wrong_and_the_next_one_goes_on(
    endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """A call that is killed, by `kill -9` too, leaves nothing that is wrong or half and counts as kept. The next one goes on where it was, if an ETag tells the version."""
    points = random.Random(1)
    endpoint.inject(faults.drip(BYTES_PER_SECOND), math.inf)
    directory = tmp_path / "hingfs"
    with keeping(endpoint, tmp_path) as process:
        for first in range(0, POINTS, AT_ONCE):
            names = [f"v{number}" for number in range(first, first + AT_ONCE)]
            for name in names:
                endpoint.add(name, size_bytes=SIZE_BYTES)
            children = [process.start(name, "--connections", "2") for name in names]
            seconds = sorted(points.uniform(0, KEEPING_SECONDS) for _ in names)
            begun_at = time.monotonic()
            for child, after in zip(children, seconds, strict=True):
                # The point, not a wait for anything.
                time.sleep(max(0.0, begun_at + after - time.monotonic()))
                os.kill(child, signal.SIGKILL)
            for child in children:
                process.wait(child)
            for kept in videos(directory):
                if kept.is_sealed:
                    assert is_right(kept, endpoint.videos[kept.version.video_id])
        endpoint.calm()
        endpoint.wait_until_idle()
        endpoint.reset_log()
        here = {
            kept.version.video_id: stock.here_bytes(found_pair(kept.stem))
            for kept in videos(directory)
        }
        assert any(0 < size < SIZE_BYTES for size in here.values())

        child = process.start(*(f"v{number}" for number in range(POINTS)))
        assert process.wait(child) == 0

    found = {kept.version.video_id: kept for kept in videos(directory)}
    for number in range(POINTS):
        name = f"v{number}"
        kept, video = found[name], endpoint.videos[name]
        whole = hashlib.sha256(video.read(0, SIZE_BYTES)).digest()
        assert kept.mark.sha256 == whole
        assert is_right(kept, video)
        assert endpoint.content_bytes(name) <= SIZE_BYTES - here.get(name, 0)


def test_every_statement_of_the_readme_has_its_test() -> None:
    section = re.search(
        r"<!-- keeping: begin -->\n(.*?)<!-- keeping: end -->",
        README.read_text(),
        re.DOTALL,
    )
    assert section is not None
    statements = re.findall(r"(?m)^- (.*)$", section[1])
    here = [*globals().items(), *vars(commands).items()]
    tested = {test.__doc__ for name, test in here if name.startswith("test_")}

    assert statements
    assert [one for one in statements if one not in tested] == []
