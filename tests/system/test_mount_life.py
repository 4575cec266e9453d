"""How mounts begin and end: by signals, commands, crashes, and servers that go away."""

import contextlib
import math
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import pytest

from hingfs.mount import mountpoint
from tests.support.endpoint import (
    FakeEndpoint,
    Video,
    content_get,
    drip,
    stall_at,
    stall_before_headers,
    status,
)
from tests.support.mounting import (
    BINDINGS,
    HINGFS,
    PATIENCE_SECONDS,
    Mounted,
    NotUpError,
    bindings_in_turn,
    each_binding,
    environment,
    eventually,
    hingfs,
    mount_directory,
    mount_in_background,
    mount_line,
    own_mount,
    require_fuse,
    run,
    stat_says,
)
from tests.support.reading import Handle, errno_of

pytestmark = pytest.mark.fuse

SIZE_BYTES = 3_000_001
# Long before a read would give up by itself, however slow the machine.
LEAVES_WITHIN_SECONDS = 15
END_SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])


@pytest.fixture(params=BINDINGS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """A mount of its own, with one video of SIZE_BYTES, named "video"."""
    with FakeEndpoint() as endpoint:
        endpoint.add("video", size_bytes=SIZE_BYTES)
        with Mounted(endpoint, request.param) as mounted:
            yield mounted


class Readers:
    """A process that opens files and reads each on a thread of its own.

    *outcomes* holds a line per file: the errno's name, or how many bytes were read.
    """

    SCRIPT = """
import errno, os, sys, threading
opened = [os.open(path, os.O_RDONLY) for path in sys.argv[1:]]
def read(fd):
    try:
        outcome = 0
        while piece := os.read(fd, 100_000):
            outcome += len(piece)
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    sys.stdout.write(f"{outcome}\\n")
print("opened", flush=True)
threads = [threading.Thread(target=read, args=[fd]) for fd in opened]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

    def __init__(self, paths: list[Path]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.SCRIPT, *map(str, paths)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def __enter__(self) -> Self:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "opened\n"
        return self

    def __exit__(self, *_exc: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=PATIENCE_SECONDS)

    def waiting(self) -> int:
        """How many of the threads are inside read(2)."""
        # A thread that reads this file is in read(2) itself, whatever its number here.
        number = Path("/proc/self/syscall").read_text().split()[0]
        tasks = Path(f"/proc/{self.process.pid}/task").iterdir()
        calls = [(task / "syscall").read_text().split()[0] for task in tasks]
        return calls.count(number)

    def outcomes(self) -> list[str]:
        return self.process.communicate(timeout=PATIENCE_SECONDS)[0].split()


@contextlib.contextmanager
def holder(path: Path, *, directory: bool = False) -> Iterator[int]:
    """The pid of a process that has *path* open, or as its working directory."""
    script = (
        "import os, sys\n"
        "os.chdir(sys.argv[1]) if sys.argv[2] else os.open(sys.argv[1], os.O_RDONLY)\n"
        "print('there', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(path), "yes" if directory else ""],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "there\n"
        try:
            yield process.pid
        finally:
            process.kill()


# --- ends that somebody asked for ---------------------------------------------------


@END_SIGNALS
def test_a_signal_unmounts_while_files_are_open(
    mounted: Mounted, number: signal.Signals
) -> None:
    with Handle(mounted.path("video")) as opened:
        assert opened.read(0, 10) != b""

        mounted.send(number)

        assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
        assert not mounted.is_mounted
        assert errno_of(lambda: os.fstat(opened.fd)) in {"ENOTCONN", "EIO"}


def test_the_mount_says_that_it_is_up_and_how_to_end_it(mounted: Mounted) -> None:
    assert mounted.stdout.splitlines() == [
        f"hingfs: {mounted.base_url} is mounted on {mounted.directory}",
        f"  end it with Ctrl-C, or {HINGFS} umount {mounted.directory}",
        f"  log: {mounted.log_path}",
    ]


@pytest.mark.parametrize("program", ["fusermount3 -u", "umount"])
def test_an_unmount_from_outside_ends_the_process_with_status_0(
    mounted: Mounted, program: str
) -> None:
    done = run([*program.split(), mounted.directory])

    assert done.returncode == 0, done.stderr
    assert mounted.wait() == 0
    assert not mounted.is_mounted


@END_SIGNALS
@each_binding
def test_a_signal_ends_fifty_readers_that_wait_for_a_server(
    binding: str, number: signal.Signals
) -> None:
    """Unmounted long before any time-out; each reader gets an error, none a byte."""
    with own_mount(binding) as (endpoint, mounted):
        names = [f"video_{n}" for n in range(50)]
        for name in names:
            endpoint.add(name, size_bytes=SIZE_BYTES)
        endpoint.inject(stall_before_headers(threading.Event()), math.inf, content_get)
        with Readers([mounted.path(name) for name in names]) as readers:
            eventually(lambda: readers.waiting() == 50, "50 reads in flight")

            mounted.send(number)

            assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
            assert not mounted.is_mounted
            outcomes = readers.outcomes()
        assert len(outcomes) == 50
        assert set(outcomes) <= {"EIO", "ENOTCONN", "ECONNABORTED"}


@each_binding
def test_a_signal_ends_a_stat_that_waits_for_a_server(binding: str) -> None:
    with own_mount(binding) as (endpoint, mounted):
        endpoint.inject(stall_before_headers(threading.Event()), math.inf)
        waiting = subprocess.Popen(
            ["stat", str(mounted.path("video"))],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env=environment(),
        )
        endpoint.wait_until(lambda: endpoint.requests_of("content") != [])

        mounted.send(signal.SIGTERM)

        assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
        waiting.communicate(timeout=PATIENCE_SECONDS)
        assert waiting.returncode == 1


# --- hingfs umount ------------------------------------------------------------------


def test_umount_takes_an_unused_mount_away(mounted: Mounted) -> None:
    done = hingfs("umount", mounted.directory)

    assert (done.returncode, done.stderr) == (0, "")
    assert not mounted.is_mounted
    assert mounted.wait() == 0


def test_umount_of_a_mount_in_use_names_the_user_and_leaves_it(
    mounted: Mounted,
) -> None:
    with holder(mounted.path("video")) as pid:
        done = hingfs("umount", mounted.directory)

        assert done.returncode == 7
        assert f"({pid})" in done.stderr
        assert "--lazy" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert mounted.path("video").stat().st_size == SIZE_BYTES


def test_umount_names_a_process_that_stands_in_the_directory(mounted: Mounted) -> None:
    with holder(mounted.directory, directory=True) as pid:
        done = hingfs("umount", mounted.directory)

        assert done.returncode == 7
        assert f"({pid})" in done.stderr


def test_umount_works_once_the_user_is_gone(mounted: Mounted) -> None:
    with holder(mounted.path("video")):
        assert hingfs("umount", mounted.directory).returncode == 7

    eventually(
        lambda: hingfs("umount", mounted.directory).returncode == 0, "an unmount"
    )


def test_a_lazy_umount_detaches_a_mount_in_use(mounted: Mounted) -> None:
    """The directory is free at once, the process ends with its last user."""
    with holder(mounted.path("video")):
        done = hingfs("umount", "--lazy", mounted.directory)

        assert (done.returncode, done.stderr) == (0, "")
        assert not mounted.is_mounted
        assert list(mounted.directory.iterdir()) == []

    assert mounted.wait() == 0


def test_umount_without_etc_mtab_says_how_to_make_it(
    mounted: Mounted, tmp_path: Path
) -> None:
    """A bare chroot has none, and a user's fusermount gives up with these words."""
    helper = tmp_path / "fusermount3"
    helper.write_text(
        "#!/bin/sh\necho 'fusermount3: failed to open /etc/mtab:"
        " No such file or directory' >&2\nexit 1\n"
    )
    helper.chmod(0o755)

    done = hingfs("umount", mounted.directory, PATH=f"{tmp_path}:{os.environ['PATH']}")

    assert done.returncode == 5
    assert "as root: ln -s /proc/self/mounts /etc/mtab" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert mounted.is_mounted


def test_umount_finds_the_mount_by_any_spelling_of_its_path(
    mounted: Mounted, tmp_path: Path
) -> None:
    link = tmp_path / "link"
    link.symlink_to(mounted.directory)

    assert hingfs("umount", f"{link}/").returncode == 0
    assert mounted.wait() == 0


# --- crashes and second mounts --------------------------------------------------------


@each_binding
def test_umount_clears_a_dead_mount(binding: str) -> None:
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        with Mounted(
            endpoint, binding, directory=directory, exit_status=-signal.SIGKILL
        ) as killed:
            killed.send(signal.SIGKILL)
            killed.wait()

        done = hingfs("umount", directory)

        assert (done.returncode, done.stderr) == (0, "")
        assert mount_line(directory) is None


def test_a_second_mount_of_the_directory_is_refused(mounted: Mounted) -> None:
    done = hingfs(
        *("mount", mounted.directory, "--base-url", mounted.base_url),
        HINGFS_TOKEN=mounted.token,
    )

    assert done.returncode == 6
    assert "is a hingfs mount already" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert mounted.path("video").stat().st_size == SIZE_BYTES


@pytest.fixture(params=[0, 1000], ids=["root", "a user"])
def connections(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """The kernel's files of all connections, which root needs not; as root, or a user."""
    done = run(["mount", "-t", "fusectl", "fusectl", tmp_path])
    assert done.returncode == 0, done.stderr
    monkeypatch.setattr(os, "geteuid", lambda: request.param)
    yield tmp_path
    assert run(["umount", tmp_path]).returncode == 0


@each_binding
def test_a_mount_is_cut_off_while_a_reader_waits_in_it(
    binding: str, connections: Path
) -> None:
    with own_mount(binding) as (endpoint, mounted):
        endpoint.add("video", size_bytes=SIZE_BYTES)
        endpoint.inject(stall_before_headers(threading.Event()), math.inf, content_get)
        with Readers([mounted.path("video")]) as readers:
            eventually(lambda: readers.waiting() == 1, "a read in flight")

            mountpoint.cut_off(mounted.directory, connections)

            assert not mounted.is_mounted
            (outcome,) = readers.outcomes()
        assert outcome in {"ECONNABORTED", "ENOTCONN"}  # the kernel's own


# --- in the background ----------------------------------------------------------------


@each_binding
def test_in_the_background_it_returns_when_the_mount_answers(binding: str) -> None:
    """The very next command finds the files; no terminal is held."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("video", size_bytes=SIZE_BYTES)

        done = mount_in_background(
            endpoint,
            directory,
            "--fuse",
            binding,
        )

        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.splitlines()[:2] == [
            f"hingfs: {endpoint.base_url} is mounted on {directory}",
            f"  end it with {HINGFS} umount {directory}",
        ]
        assert os.listdir(directory) == ["video.mp4"]
        assert (directory / "video.mp4").read_bytes() == video.read(0, SIZE_BYTES)
        assert hingfs("umount", directory).returncode == 0
        assert mount_line(directory) is None


@each_binding
def test_in_the_background_it_tells_why_it_could_not_mount(binding: str) -> None:
    """Status and reason of the daemon reach the shell: here it may not mount."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        done = run(
            [
                *("setpriv", "--bounding-set", "-sys_admin"),
                *(sys.executable, "-m", "hingfs", "mount", directory),
                *("--base-url", endpoint.base_url, "--fuse", binding),
            ],
            env=environment(HINGFS_TOKEN=endpoint.token),
        )

        assert done.returncode == 5
        assert done.stderr.startswith(f"hingfs: cannot mount on {directory}: this cont")
        assert len(done.stderr.splitlines()) == 1
        assert mount_line(directory) is None


@each_binding
def test_in_the_foreground_it_ends_with_the_reason_if_it_cannot_mount(
    binding: str,
) -> None:
    launcher = ("setpriv", "--bounding-set", "-sys_admin", sys.executable)
    with (
        FakeEndpoint() as endpoint,
        pytest.raises(NotUpError) as caught,
        Mounted(endpoint, binding, launcher=(*launcher, "-m", "hingfs")),
    ):
        pytest.fail("it mounted")

    assert caught.value.status == 5
    assert "this container or sandbox may not mount" in caught.value.said


# --- servers that go away -------------------------------------------------------------


def test_a_server_that_is_back_in_seconds_costs_no_read() -> None:
    """Killed in mid-read; the reader notices nothing but the time."""
    with own_mount(BINDINGS[0]) as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=8_000_000)
        endpoint.inject(drip(200_000), math.inf, content_get)
        with Readers([mounted.path("video")]) as readers:
            endpoint.wait_until(lambda: endpoint.content_bytes("video") > 300_000)
            endpoint.stop()
            endpoint.calm()
            back = threading.Timer(2.5, endpoint.start)
            back.start()
            try:
                assert readers.outcomes() == ["8000000"]
            finally:
                back.join()

        assert mounted.path("video").read_bytes() == video.read(0, 8_000_000)


def test_a_server_that_stays_away_is_an_error_by_the_deadline() -> None:
    """EIO or ETIMEDOUT, never fewer bytes; other reads of what is there go on."""
    with own_mount(BINDINGS[1], "--read-timeout", "2s") as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=30_000_000)
        with Handle(mounted.path("video")) as opened:
            assert opened.read(0, 4096) == video.read(0, 4096)
            endpoint.stop()
            try:
                far = 20_000_000
                assert errno_of(lambda: opened.read(far, 4096)) in {"EIO", "ETIMEDOUT"}
                assert errno_of(opened.read_all) in {"EIO", "ETIMEDOUT"}
                assert opened.read(0, 4096) == video.read(0, 4096)
                assert opened.size_bytes == 30_000_000
            finally:
                endpoint.start()
            # All is well again without a remount.
            eventually(lambda: reads(opened, video, far), "a read after the outage")


def reads(opened: Handle, video: Video, offset: int) -> bool:
    try:
        return opened.read(offset, 4096) == video.read(offset, offset + 4096)
    except OSError:
        return False


def test_a_silent_server_is_an_error_by_the_deadline() -> None:
    with own_mount(BINDINGS[0], "--read-timeout", "2s", "--stall-timeout", "500ms") as (
        endpoint,
        mounted,
    ):
        endpoint.add("video", size_bytes=SIZE_BYTES)
        endpoint.inject(stall_at(0, threading.Event()), math.inf, content_get)

        with Handle(mounted.path("video")) as opened:
            assert errno_of(lambda: opened.read(0, 4096)) in {"EIO", "ETIMEDOUT"}


@bindings_in_turn("how", ["SIGTERM", "umount --lazy"])
def test_a_mount_whose_server_is_gone_can_be_taken_away(binding: str, how: str) -> None:
    """With a reader waiting in it."""
    with own_mount(binding, "--read-timeout", "3s") as (endpoint, mounted):
        endpoint.add("video", size_bytes=SIZE_BYTES)
        endpoint.inject(stall_before_headers(threading.Event()), math.inf, content_get)
        with Readers([mounted.path("video")]) as readers:
            eventually(lambda: readers.waiting() == 1, "a read in flight")
            endpoint.stop()

            if how == "SIGTERM":
                mounted.send(signal.SIGTERM)
                assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
            else:
                done = hingfs("umount", "--lazy", mounted.directory)
                assert (done.returncode, done.stderr) == (0, "")
            assert not mounted.is_mounted
            (outcome,) = readers.outcomes()
        assert outcome in {"EIO", "ETIMEDOUT", "ENOTCONN", "ECONNABORTED"}
        assert mounted.wait() == 0


# --- what must not be seen, and what nobody foresaw -------------------------------------


def test_the_token_is_nowhere_to_be_seen(mounted: Mounted) -> None:
    """ps, the mount table, error texts, attributes and the log lack it; `Mounted` checks the log."""
    endpoint, token = mounted.endpoint, mounted.token
    endpoint.add("failed", status="failed")
    endpoint.add("limited", size_bytes=SIZE_BYTES)
    endpoint.inject(status(401), times=2, where=lambda r: r.video_id == "limited")
    seen = [
        Path(f"/proc/{mounted.process.pid}/cmdline").read_text(),
        Path("/proc/self/mountinfo").read_text(),
        run(["mount"]).stdout,
        run(["df", mounted.directory]).stdout,
        run(["ps", "-ww", "-o", "args", "-p", str(mounted.process.pid)]).stdout,
        *(stat_says(mounted.path(name)) for name in ("failed", "limited", "missing")),
        run(["getfattr", "-d", mounted.path("video")]).stdout,
    ]
    assert "user.hingfs.id" in seen[-1]
    assert mounted.path("video").read_bytes() != b""
    assert str(mounted.directory) in seen[1]
    assert "/v1/videos/" in mounted.log
    assert mounted.log_path.stat().st_mode & 0o077 == 0

    for text in [*seen, mounted.log, mounted.stderr, mounted.stdout]:
        assert token not in text
        assert token.removeprefix("oh-") not in text


# Raises a requests error, an OSError without errno, where *place* says, once the file
# *flag* exists.
RAISING = """
import os, sys
import requests
from hingfs.library import catalog, reader
from hingfs.cli import main as cli
from hingfs.http import transport
place, flag = sys.argv[1:3]
owner, name = {
    "transport": (transport.HttpTransport, "request"),
    "read": (reader.VideoReader, "read_into"),
    "getattr": (catalog.Catalog, "find"),
    "open": (catalog.Catalog, "find_to_open"),
}[place]
real = getattr(owner, name)
def patched(*args, **kwargs):
    if os.path.exists(flag):
        raise requests.ReadTimeout("raised by the test")
    return real(*args, **kwargs)
setattr(owner, name, patched)
sys.exit(cli.main(sys.argv[3:]))
"""


@each_binding
@pytest.mark.parametrize("place", ["transport", "read", "getattr", "open"])
def test_a_requests_error_nobody_foresaw_is_eio(
    binding: str, place: str, tmp_path: Path
) -> None:
    """Left to itself, fusepy would answer with garbage data or a silent end of file."""
    flag = tmp_path / "raise"
    launcher = (sys.executable, "-c", RAISING, place, str(flag))
    with own_mount(binding, launcher=launcher, unforeseen=True) as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=30_000_000)
        endpoint.add("other", size_bytes=SIZE_BYTES)
        with Handle(mounted.path("video")) as opened:
            assert opened.read(0, 4096) == video.read(0, 4096)
            flag.touch()

            if place in {"transport", "read"}:
                far = 20_000_000
                assert errno_of(lambda: opened.read(far, 4096)) == "EIO"
            if place in {"transport", "getattr"}:
                path = mounted.path("other")
                assert errno_of(lambda: os.stat(path)) == "EIO"
            if place == "open":
                assert errno_of(lambda: Handle(mounted.path("video"))) == "EIO"

            flag.unlink()
            eventually(lambda: reads(opened, video, 20_000_000), "a read again")
        assert "raised by the test" in mounted.log
        assert "Traceback" in mounted.log


def test_a_reader_that_is_killed_leaves_the_mount_alive(mounted: Mounted) -> None:
    video = mounted.endpoint.add("slow", size_bytes=30_000_000)
    event = threading.Event()
    mounted.endpoint.inject(stall_at(100_000, event), math.inf, content_get)
    with Readers([mounted.path("slow")]) as readers:
        eventually(lambda: readers.waiting() == 1, "a read in flight")
        readers.process.kill()

    mounted.endpoint.calm()
    event.set()

    with Handle(mounted.path("slow")) as opened:
        assert opened.read(0, 100) == video.read(0, 100)
        assert opened.read(25_000_000, 100) == video.read(25_000_000, 25_000_100)
