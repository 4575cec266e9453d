"""Bounds on the threads of a mount, and a mount that gets few."""

import contextlib
import logging
import math
import os
import resource
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB
from hingfs.errors import FuseUnavailable
from hingfs.mount.binding import MAX_THREADS, MAX_WAITING
from hingfs.mount.threads import Shares, shares_of, threads_left
from tests.support.endpoint import FakeEndpoint, content_get, stall_before_headers
from tests.support.mounting import Mounted, each_binding, eventually
from tests.system.test_stalled import (
    SIZE_BYTES,
    Programs,
    check_that_others_are_served,
)

FEW_THREADS = 100


def bounded(group: Path, most: str, current: int) -> None:
    group.mkdir(parents=True, exist_ok=True)
    (group / "pids.max").write_text(f"{most}\n")
    (group / "pids.current").write_text(f"{current}\n")


@pytest.fixture
def processes(tmp_path: Path) -> Path:
    """A /proc with the groups of this process, as `said` of it."""
    (tmp_path / "proc" / "self").mkdir(parents=True)
    return tmp_path / "proc"


@pytest.mark.parametrize(
    ("line", "group"),
    [
        ("0::/user.slice/app.scope", "user.slice/app.scope"),
        ("0::/user.slice/app.scope", "user.slice"),  # of those above it as well
        ("0::/user.slice/app.scope", "."),
        ("0::/app", "unified/app"),  # version 2 beside version 1
        ("8:pids:/docker/4f2a", "pids/docker/4f2a"),
        ("8:pids:/docker/4f2a", "pids"),  # as a container sees its own
        ("8:cpu,pids:/a:b", "pids/a:b"),
        ("0::/", "."),
    ],
)
def test_a_group_leaves_what_its_bound_leaves(
    tmp_path: Path, processes: Path, line: str, group: str
) -> None:
    (processes / "self" / "cgroup").write_text(f"9:name=systemd:/x\n{line}\n")
    bounded(tmp_path / "cgroup" / group, "300", 120)

    assert threads_left(tmp_path / "cgroup", processes) == 180


def test_the_least_of_several_groups_counts(tmp_path: Path, processes: Path) -> None:
    (processes / "self" / "cgroup").write_text("0::/a/b\n")
    bounded(tmp_path / "cgroup" / "a", "40", 60)  # lowered below what runs
    bounded(tmp_path / "cgroup" / "a" / "b", "max", 10)

    assert threads_left(tmp_path / "cgroup", processes) == 0


@pytest.mark.parametrize("said", ["", "nonsense\n", "8:pids:/x\n", "0::/a/b\n"])
def test_no_bound_is_none(tmp_path: Path, processes: Path, said: str) -> None:
    (processes / "self" / "cgroup").write_text(said)
    bounded(tmp_path / "cgroup" / "a" / "b", "max", 10)

    assert threads_left(tmp_path / "cgroup", processes) is None


def test_a_user_is_bound_by_ulimit_and_root_is_not(
    tmp_path: Path, processes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (processes / "self" / "cgroup").write_text("")
    for task in ("77/task/77", "77/task/78", "80/task/80", "uptime"):
        (processes / task).mkdir(parents=True)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50, 60))

    for user, left in ((1000, 47), (0, None)):
        monkeypatch.setattr(os, "geteuid", lambda: user)  # noqa: B023
        assert threads_left(tmp_path / "none", processes) == left


def test_half_of_what_is_left_may_wait(
    caplog: pytest.LogCaptureFixture, expected_log: Callable[[str], None]
) -> None:
    expected_log("may be started here")
    caplog.set_level(logging.WARNING)
    for left in (None, 30_000, 2 * MAX_WAITING):
        assert shares_of(left) == Shares(MAX_THREADS, MAX_WAITING) == Shares(1024, 960)
    assert not caplog.records
    assert Shares(1024, 960).most_opens_waiting == 480

    assert shares_of(1000) == Shares(most_threads=625, most_waiting=500)
    assert shares_of(32) == Shares(most_threads=20, most_waiting=16)
    assert "--pids-limit" in caplog.text

    with pytest.raises(FuseUnavailable, match="may start 31 more threads, and a mount"):
        shares_of(31)


@contextlib.contextmanager
def group_of(most: int) -> Iterator[Path]:
    """A control group for *most* processes and threads."""
    for root in (Path("/sys/fs/cgroup/pids"), Path("/sys/fs/cgroup")):
        group = root / f"hingfs-test-{os.getpid()}-{threading.get_ident()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / "pids.max").write_text(str(most))
            except OSError:
                group.rmdir()
            else:
                break
    else:
        pytest.skip("no control group can be made here")
    try:
        yield group
    finally:
        group.rmdir()


def inside(group: Path) -> tuple[str, ...]:
    """A launcher of the command line in *group*."""
    join = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
    return ("sh", "-c", join, str(group), sys.executable, "-m", "hingfs")


@pytest.mark.fuse
@each_binding
def test_stalled_readers_of_a_container_with_few_threads_keep_nobody_waiting(
    binding: str,
) -> None:
    """As many as may wait do; what is beyond fails at once, and what is known answers."""
    names = [f"video_{number}" for number in range(80)]
    with (
        group_of(FEW_THREADS) as group,
        FakeEndpoint() as endpoint,
        Mounted(endpoint, binding, launcher=inside(group)) as mounted,
    ):
        for name in (*names, "cached"):
            video = endpoint.add(name, size_bytes=SIZE_BYTES)
        mounted.path("cached").read_bytes()
        os.listdir(mounted.directory)
        over = threading.Event()
        endpoint.inject(stall_before_headers(over), math.inf, content_get)
        stalled = Programs("buffered", [mounted.path(name) for name in names])
        try:
            eventually(lambda: "more fail at once" in mounted.log, "a crowd")
            check_that_others_are_served(mounted)
            over.set()
            outcomes = stalled.outcomes()
        finally:
            stalled.process.kill()
            stalled.process.communicate()

        # The kernel splits a read, and gives what came before the part that failed.
        begun = {str(count) for count in range(128 * KIB, SIZE_BYTES, 128 * KIB)}
        assert set(outcomes) <= {str(SIZE_BYTES), *begun, "ETIMEDOUT", "EAGAIN"}
        assert (
            outcomes.count(str(SIZE_BYTES)) >= 5
        )  # libfuse 2 splits each read in five
        assert mounted.path("cached").read_bytes() == video.read(0, SIZE_BYTES)


@pytest.mark.fuse
def test_a_container_with_too_few_threads_is_told_what_to_raise() -> None:
    with group_of(20) as group, FakeEndpoint() as endpoint:
        mounted = Mounted(endpoint, "mfusepy", launcher=inside(group))
        with pytest.raises(Exception, match="raise the bound: ulimit -u") as failed:
            mounted.__enter__()
        assert getattr(failed.value, "status", None) == 5
