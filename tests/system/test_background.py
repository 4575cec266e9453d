"""The daemon of `hingfs mount`: what it reports, once, and when its parent gives up.

Each test runs a process of its own, which forks.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    Mounted,
    NotUpError,
    bindings_in_turn,
    each_binding,
    environment,
    hingfs,
    mount_directory,
    mount_line,
    require_fuse,
    run,
)

# Calls `serve_in_background`, whose daemon does *serve*; it may call `up()`. Says the
# error, and how the daemon ended.
BACKGROUND = """
import os, signal, sys, threading
from pathlib import Path
from hingfs.mount import daemon
from hingfs.settings import CacheConfig, Config, EndpointConfig, MountConfig
from hingfs.token import Token
from hingfs.errors import SetupError
daemon.UP_SECONDS = float(sys.argv[3])
directory = Path(sys.argv[1])
config = Config(
    MountConfig(directory), EndpointConfig("http://127.0.0.1:1", Token("t")), CacheConfig()
)
def serve(up):
    exec(sys.argv[2])
try:
    daemon.serve_in_background(config, serve)
except SetupError as error:
    print(error.exit_status, error)
else:
    print("up")
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""
AMPLE_SECONDS = 60


def in_background(
    directory: Path, serve: str, up_seconds: float = AMPLE_SECONDS
) -> list[str]:
    """The parent's message and exit status after a daemon that does *serve*."""
    done = run([sys.executable, "-c", BACKGROUND, directory, serve, str(up_seconds)])
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


def test_a_daemon_that_ends_before_it_is_up_says_so(tmp_path: Path) -> None:
    said, status = in_background(tmp_path, "pass")

    assert said == "6 the mount was ended before it was up"
    assert status == "0"


def test_a_daemon_that_is_killed_before_it_is_up_is_told(tmp_path: Path) -> None:
    said, status = in_background(tmp_path, "os.kill(os.getpid(), signal.SIGKILL)")

    assert said.startswith("6 the mount process was killed before its mount was up")
    assert status == "-9"


def test_a_daemon_that_does_not_come_up_in_time_is_ended(tmp_path: Path) -> None:
    said, status = in_background(tmp_path, "threading.Event().wait()", 0.5)

    assert said.startswith("6 the mount was not up within 0.5 s")
    assert status == "-9"


# The command line, with *patch* run before it.
PATCHED = """
import errno, os, sys, threading
from hingfs.mount import daemon, filesystem, operations
from hingfs.cli import main as cli
exec(sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""
REFUSING = """
def refusing(self, path, handle):
    raise filesystem.Refusal(errno.EIO)
operations.HingOperations.getattr = refusing
"""
SILENT = """
operations.HingOperations.getattr = lambda *_: threading.Event().wait()
daemon.UP_SECONDS = 0.5
"""
NO_THREAD = """
class Thread(threading.Thread):
    def start(self):
        if self.name == "hingfs-up":
            raise RuntimeError("can't start new thread")
        super().start()
threading.Thread = Thread
"""
NO_DESCRIPTOR = """
def failing():
    raise OSError(errno.EMFILE, "Too many open files")
daemon._detach_streams = failing
"""


@pytest.mark.fuse
@bindings_in_turn(
    ("patch", "reason"),
    [
        (REFUSING, "it does not answer: Input/output error"),
        (SILENT, "the mount was not up within 0.5 s"),
        (NO_THREAD, "no thread can be started: can't start new thread"),
        (NO_DESCRIPTOR, "OSError: [Errno 24] Too many open files"),
    ],
    ids=["refused", "silent", "no thread", "no descriptor"],
)
def test_a_mount_that_fails_at_its_start_ends_with_the_reason(
    binding: str, patch: str, reason: str
) -> None:
    """The shell is not left waiting, and nothing stays mounted."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        done = run(
            [
                *(sys.executable, "-c", PATCHED, patch, "mount", directory),
                *("--base-url", endpoint.base_url, "--fuse", binding),
            ],
            env=environment(HINGFS_TOKEN=endpoint.token),
        )

        assert done.returncode == 6, done.stderr
        assert reason in done.stderr
        assert mount_line(directory) is None


@pytest.mark.fuse
@each_binding
def test_in_the_foreground_a_mount_that_does_not_answer_ends(binding: str) -> None:
    launcher = (sys.executable, "-c", PATCHED, REFUSING)
    with (
        FakeEndpoint() as endpoint,
        pytest.raises(NotUpError) as caught,
        Mounted(endpoint, binding, launcher=launcher),
    ):
        pytest.fail("it is up")

    assert caught.value.status == 6
    assert "it does not answer: Input/output error" in caught.value.said


@pytest.mark.fuse
@bindings_in_turn("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
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
