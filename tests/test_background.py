"""The daemon of `hingfs mount`: what it reports, once.

Each test runs a process of its own, which forks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .endpoint import FakeEndpoint
from .mounting import (
    each_binding,
    environment,
    hingfs,
    mount_directory,
    require_fuse,
    run,
)

# Calls `serve_in_background`, whose daemon does *serve*; it may call `up()`. Says the
# error, and how the daemon ended.
BACKGROUND = """
import os, signal, sys, threading
from pathlib import Path
from hingfs import mount
from hingfs.config import CacheConfig, Config, EndpointConfig, MountConfig, Token
from hingfs.errors import SetupError
directory = Path(sys.argv[1])
config = Config(
    MountConfig(directory), EndpointConfig("http://127.0.0.1:1", Token("t")), CacheConfig()
)
def serve(up):
    exec(sys.argv[2])
try:
    mount.serve_in_background(config, serve)
except SetupError as error:
    print(error.exit_status, error)
else:
    print("up")
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""


def in_background(directory: Path, serve: str) -> list[str]:
    """What the parent is told of a daemon that does *serve*, and its exit status."""
    done = run([sys.executable, "-c", BACKGROUND, directory, serve])
    return done.stdout.splitlines()


def test_a_daemon_that_fails_later_writes_no_second_report(tmp_path: Path) -> None:
    """The pipe's number is another file's by then."""
    files = [tmp_path / f"file{n}" for n in range(20)]
    serve = (
        "up()\n"
        f"opened = [os.open(directory / f'file{{n}}', os.O_CREAT | os.O_RDWR)"
        f" for n in range({len(files)})]\n"
        "raise RuntimeError('later')"
    )

    assert in_background(tmp_path, serve) == ["up", "1"]
    assert [file.read_bytes() for file in files] == [b""] * len(files)


@pytest.mark.fuse
@each_binding
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_mount_started_without_standard_streams_comes_up(
    binding: str, closed: str
) -> None:
    """As some supervisors start programs; their numbers would go to other files."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("video", size_bytes=100_001)
        command = [
            *(sys.executable, "-m", "hingfs", "mount", str(directory)),
            *("--base-url", endpoint.base_url, "--fuse", binding),
        ]

        done = subprocess.run(
            ["sh", "-c", f'"$@" {closed}', "sh", *command],
            check=False,
            timeout=60,
            env=environment(HINGFS_TOKEN=endpoint.token),
        )

        assert done.returncode == 0
        assert (directory / "video.mp4").read_bytes() == video.read(0, 100_001)
        assert os.listdir(directory) == ["video.mp4"]
        assert hingfs("umount", directory).returncode == 0
