"""SIGHUP: read again what may have changed, or the end of a terminal's mount."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from hingfs import log
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    Mounted,
    each_binding,
    eventually,
    hingfs,
    mount_directory,
    mount_line,
    require_fuse,
)

pytestmark = pytest.mark.fuse

# `hingfs` with the terminal of the environment as its own, and as nohup starts it.
IN_A_TERMINAL = """
import os, signal, sys
os.setsid()
os.open(os.environ["TERMINAL"], os.O_RDWR)
ignored = "NOHUP" in os.environ  # also where the tests are run under nohup
signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
from hingfs.cli.main import main
sys.exit(main())
"""


@contextlib.contextmanager
def terminal() -> Iterator[tuple[IO[bytes], str]]:
    """What keeps a terminal alive until it is closed, and the terminal's path."""
    master, slave = os.openpty()
    path = os.ttyname(slave)
    os.close(slave)
    with os.fdopen(master, "rb", buffering=0) as keeper:
        yield keeper, path


def server_of(directory: Path) -> int:
    """The process id of the mount in the background on *directory*."""
    (pid,) = (
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdecimal() and str(directory) in command_of(process)
    )
    return pid


def command_of(process: Path) -> str:
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_text(errors="replace")
    return ""


@each_binding
def test_a_background_mount_reads_token_list_and_log_again(
    binding: str, tmp_path: Path
) -> None:
    require_fuse()
    token_file = tmp_path / "token"
    token_file.touch(mode=0o600)
    token_file.write_text("oh-first-token")
    with (
        FakeEndpoint(token="oh-first-token") as endpoint,
        mount_directory() as directory,
    ):
        endpoint.add("first", size_bytes=1000)
        done = hingfs(
            *("mount", directory, "--base-url", endpoint.base_url, "--fuse", binding),
            *("--token-file", token_file, "--listing-ttl", "1h"),
            *("--log-level", "info"),
            XDG_STATE_HOME=str(tmp_path),
        )
        assert done.returncode == 0, done.stderr
        assert os.listdir(directory) == ["first.mp4"]
        file = tmp_path / "hingfs" / f"{log.name_for(directory)}.log"
        file.rename(file.with_suffix(".rotated"))
        endpoint.add("second", size_bytes=1000)
        token_file.write_text("oh-second-token")
        endpoint.token = "oh-second-token"
        assert os.listdir(directory) == ["first.mp4"]

        os.kill(server_of(directory), signal.SIGHUP)

        eventually(
            lambda: file.exists() and "SIGHUP" in file.read_text(), "a line in the log"
        )
        assert sorted(os.listdir(directory)) == ["first.mp4", "second.mp4"]
        assert (directory / "second.mp4").stat().st_size == 1000
        assert 401 not in {record.status for record in endpoint.log}
        assert hingfs("umount", directory).returncode == 0


@each_binding
def test_a_foreground_mount_without_a_terminal_goes_on(binding: str) -> None:
    """As a service, which systemd reloads by SIGHUP; also again and again."""
    launcher = ("setsid", sys.executable, "-m", "hingfs")
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=1000)
        with Mounted(endpoint, binding, launcher=launcher) as mounted:
            for count in range(1, 4):
                mounted.send(signal.SIGHUP)
                eventually(lambda: mounted.log.count("SIGHUP") == count, "a reload")  # noqa: B023
            assert mounted.path("video").read_bytes() == video.read(0, 1000)
            mounted.send(signal.SIGTERM)
            assert mounted.wait() == 0


@each_binding
@pytest.mark.parametrize("how", ["signal", "closed terminal"])
def test_a_foreground_mount_ends_with_its_terminal(binding: str, how: str) -> None:
    launcher = (sys.executable, "-c", IN_A_TERMINAL)
    with FakeEndpoint() as endpoint, terminal() as (keeper, path):
        endpoint.add("video", size_bytes=1000)
        with Mounted(endpoint, binding, launcher=launcher, TERMINAL=path) as mounted:
            assert os.listdir(mounted.directory) == ["video.mp4"]

            if how == "signal":
                mounted.send(signal.SIGHUP)
            else:
                keeper.close()

            assert mounted.wait() == 0
            assert mount_line(mounted.directory) is None
            assert "SIGHUP: unmounting" in mounted.log


@each_binding
def test_a_mount_under_nohup_outlives_its_terminal(binding: str) -> None:
    launcher = (sys.executable, "-c", IN_A_TERMINAL)
    with FakeEndpoint() as endpoint, terminal() as (keeper, path):
        video = endpoint.add("video", size_bytes=1000)
        with Mounted(
            endpoint, binding, launcher=launcher, TERMINAL=path, NOHUP="yes"
        ) as mounted:
            keeper.close()

            eventually(lambda: "SIGHUP" in mounted.log, "the hangup")
            assert mounted.path("video").read_bytes() == video.read(0, 1000)
