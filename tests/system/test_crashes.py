"""What programs, users and machines do to a mount: it lives on, or ends as it should.

Ends by signals, a reader that is killed and 50 readers at a SIGTERM are in
`test_mount_life`. Here: kill -9 in mid-read, what fails inside a worker, what the
machine has too little of, readers that fork, and users who are not root.
"""

import contextlib
import errno
import hashlib
import logging
import math
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import MethodType

import pytest

from hingfs.api import download, metadata
from hingfs.fetch import spool
from hingfs.library import reader
from hingfs.mount.filesystem import Refusal
from tests.conftest import Build, LogWatch
from tests.support.endpoint import (
    FakeEndpoint,
    Video,
    stall_at,
    stall_before_headers,
)
from tests.support.mounting import (
    BINDINGS,
    FUSE_DEVICE,
    PATIENCE_SECONDS,
    REPOSITORY,
    Mounted,
    bindings_in_turn,
    each_binding,
    environment,
    eventually,
    hingfs,
    mount_directory,
    mount_line,
    own_mount,
    require_fuse,
    run,
)
from tests.support.personalities import PERSONALITIES
from tests.support.reading import Handle, errno_of
from tests.support.views import Direct, check_reads

SIZE_BYTES = 8_000_000


# --- kill -9 ----------------------------------------------------------------------------

# Reads a file from its middle on; says the errno, or how many bytes came.
READING = """
import errno, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
print("opened", flush=True)
try:
    print(len(os.pread(fd, 4096, 4_000_000)))
except OSError as error:
    print(errno.errorcode[error.errno])
"""


@contextlib.contextmanager
def readers_of(path: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """So many processes with READING, each past its open."""
    with contextlib.ExitStack() as stack:
        readers = []
        for _ in range(count):
            command = [sys.executable, "-c", READING, str(path)]
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, text=True, env=environment()
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            readers.append(process)
        for process in readers:
            assert process.stdout is not None
            assert process.stdout.readline() == "opened\n"
        yield readers


@pytest.mark.fuse
@each_binding
def test_kill_9_in_mid_read_is_recovered_by_the_next_mount(binding: str) -> None:
    """Every reader gets an error, and each command its own exit status."""
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("video", size_bytes=SIZE_BYTES)
        command = [
            *("mount", str(directory), "--fuse", binding),
            *("--base-url", endpoint.base_url),
        ]
        with Mounted(
            endpoint, binding, directory=directory, exit_status=-signal.SIGKILL
        ) as mounted:
            with Handle(mounted.path("video")) as opened:
                assert opened.read(0, 4096) == video.read(0, 4096)
                endpoint.wait_until_idle()
            endpoint.inject(stall_before_headers(threading.Event()), math.inf)
            with readers_of(mounted.path("video"), 4) as readers:
                endpoint.wait_until(
                    lambda: any(not record.finished for record in endpoint.log)
                )

                mounted.send(signal.SIGKILL)

                assert mounted.wait() == -signal.SIGKILL
                said = [r.communicate(timeout=PATIENCE_SECONDS)[0] for r in readers]
            assert {line.strip() for line in said} <= {"ENOTCONN", "ECONNABORTED"}
            assert errno_of(lambda: os.stat(directory)) == "ENOTCONN"
            endpoint.calm()

            done = hingfs(*command, HINGFS_TOKEN=endpoint.token)
            assert (done.returncode, done.stderr) == (0, "")
            assert (directory / "video.mp4").read_bytes() == video.read(0, SIZE_BYTES)
            assert hingfs(*command, HINGFS_TOKEN=endpoint.token).returncode == 6
            assert hingfs("umount", directory).returncode == 0
            assert hingfs("umount", directory).returncode == 8
            assert mount_line(directory) is None


# --- what fails inside ----------------------------------------------------------------------


def read_at(view: Direct, video: Video, offset: int) -> None:
    """Open, read, compare, close."""
    check_reads(view, video, [(offset, 4096)])


@pytest.fixture
def direct(build: Build) -> Direct:
    return Direct(build(cache={"cache_bytes": 2**23}))


def works(call: Callable[[], object]) -> bool:
    try:
        call()
    except Refusal:
        return False
    return True


PLACES = {
    "name": (metadata.VideoMetadata, "probe"),
    "fetch": (download.RangeDownload, "read_into"),
    "spool": (spool.Spool, "append"),
    "operation": (reader.VideoReader, "read_into"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("kind", [MemoryError, RecursionError, ZeroDivisionError])
def test_an_unforeseen_error_in_a_worker_is_eio_and_told_once(
    *,
    direct: Direct,
    endpoint: FakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    expected_log: LogWatch,
    caplog: pytest.LogCaptureFixture,
    place: str,
    kind: type[Exception],
) -> None:
    """To that caller; the thread lives, and the next call is served."""
    expected_log("unforeseen")
    expected_log("getattr|read|transfer|stream")
    caplog.set_level(logging.ERROR, "hingfs")
    if place == "spool":
        endpoint.personality = PERSONALITIES["aisix_proxy"]
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    if place != "name":
        read_at(direct, endpoint.add("other", size_bytes=10_000), 0)
        direct.names()  # no byte is asked for before an open then
        direct.size_bytes(video.video_id)
    owner, name = PLACES[place]
    real = getattr(owner, name)
    left = [1]

    def failing(self: object, *args: object, **options: object) -> object:
        if left and left.pop():
            raise kind("raised by the test")
        return MethodType(real, self)(*args, **options)

    monkeypatch.setattr(owner, name, failing)

    def call() -> None:
        if place == "name":
            direct.size_bytes(video.video_id)
        else:
            read_at(direct, video, 4_000_000)

    if place in {"fetch", "spool"}:  # what is read ahead at open meets it first
        with direct.open("video") as opened:
            schedule = direct.mount.engine.fetcher._schedule
            streams = direct.mount.engine.spools._pool._unfinished
            eventually(
                lambda: not (left or schedule._workers or streams),
                "the end of read-ahead",
            )
            left.append(1)
            said = errno_of(lambda: opened.read(4_000_000, 4096))
    else:
        said = errno_of(call)

    assert said == "EIO"
    call_said = f"{'getattr' if place == 'name' else 'read'} video.mp4: "
    told = [record.getMessage().startswith(call_said) for record in caplog.records]
    assert told.count(True) == 1
    traces = [record for record in caplog.records if record.exc_info]
    assert len(traces) == (2 if place in {"fetch", "spool"} else 1)
    assert {record.levelno for record in traces} == {logging.ERROR}
    eventually(lambda: works(call), "a call after the failure")


@pytest.mark.parametrize("pool", ["lookup", "status", "fetch", "spool"])
def test_a_thread_that_cannot_be_started_is_not_missed_later(
    direct: Direct,
    endpoint: FakeEndpoint,
    monkeypatch: pytest.MonkeyPatch,
    quiet_log: LogWatch,
    pool: str,
) -> None:
    """The system may have none left for a while, and more often than a pool has places.

    Each call in that time is EIO at once; afterwards all is as if nothing had been.
    """
    if pool == "spool":
        endpoint.personality = PERSONALITIES["aisix_proxy"]
    videos = [endpoint.add(f"video-{n}", size_bytes=1_000_000) for n in range(21)]
    if pool in {"fetch", "spool"}:
        for video in videos:
            direct.size_bytes(video.video_id)
    refused = []
    none_left = True
    real = threading.Thread.start

    def start(thread: threading.Thread) -> None:
        if none_left and thread.name.startswith(f"hingfs-{pool}"):
            refused.append(thread.name)
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", start)
    started = time.monotonic()
    for video in videos[:20]:
        assert not works(partial(read_at, direct, video, 0))
    assert time.monotonic() - started < 10  # of 20 deadlines of 10 s each
    assert len(refused) >= 20
    none_left = False

    for video in reversed(videos):
        eventually(partial(works, partial(read_at, direct, video, 0)), "a read")
    quiet_log.lines.clear()


# Makes a thread of ours die at its first step, as a defect would.
DYING = """
import sys
from hingfs.cli import main as cli
from hingfs.mount import heap, mountpoint, serving as mount
def dies(*args):
    raise LookupError("raised by the test")
owner, name = {
    "hingfs-up": (mountpoint, "raise_kernel_readahead"),
    "hingfs-trim": (heap, "give_back"),
    "hingfs-signals": (mount.Mount, "_await_signal"),
}[sys.argv.pop(1)]
setattr(owner, name, dies)
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.fuse
@bindings_in_turn("thread", ["hingfs-up", "hingfs-trim", "hingfs-signals"])
def test_a_thread_that_dies_is_told_in_the_log_and_the_mount_comes_up(
    binding: str, thread: str
) -> None:
    """Also in the background, where standard error leads nowhere."""
    require_fuse()
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        video = endpoint.add("video", size_bytes=10_000)
        with tempfile.TemporaryDirectory() as logs:
            log = Path(logs) / "log"
            done = run(
                [
                    *(sys.executable, "-c", DYING, thread, "mount", directory),
                    *("--base-url", endpoint.base_url, "--log-file", log),
                    # The check has a watchdog too, in a process without a log.
                    *("--fuse", binding, "--no-check"),
                ],
                env=environment(HINGFS_TOKEN=endpoint.token),
            )
            assert (done.returncode, done.stderr) == (0, "")
            assert (directory / "video.mp4").read_bytes() == video.read(0, 10_000)
            assert hingfs("umount", directory).returncode == 0
            text = log.read_text()

    assert f"{thread} died" in text
    assert text.count("Traceback") == 1
    assert "ERROR" in text


# --- what there is too little of -----------------------------------------------------------------


@contextlib.contextmanager
def small_disk(size_bytes: int) -> Iterator[Path]:
    """A file system of that size."""
    directory = Path(tempfile.mkdtemp(prefix="hingfs-disk-"))
    options = f"size={size_bytes}"
    mounted = run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", directory])
    assert mounted.returncode == 0, mounted.stderr
    try:
        yield directory
    finally:
        run(["umount", "--lazy", directory])
        directory.rmdir()


@pytest.mark.fuse
def test_a_full_disk_under_the_facts_costs_one_warning() -> None:
    with small_disk(16_384) as disk, FakeEndpoint() as endpoint:
        disk.chmod(0o700)
        (disk / "other").write_bytes(bytes(12_288))
        video = endpoint.add("video", size_bytes=100_000)
        with Mounted(endpoint, BINDINGS[0], "--cache-dir", str(disk)) as mounted:
            assert mounted.path("video").read_bytes() == video.read(0, 100_000)
            assert mounted.log.count("is not kept for the next mount") == 1


@pytest.mark.fuse
def test_a_full_disk_under_the_spool_is_eio_until_there_is_room() -> None:
    """Videos that fit are read meanwhile, and the mount lives on."""
    with (
        small_disk(20_000_000) as disk,
        FakeEndpoint() as endpoint,
        Mounted(
            *(endpoint, BINDINGS[1], "--cache-dir", str(disk)),
            *("--cache-size", "8MiB", "--read-timeout", "20s"),
        ) as mounted,
    ):
        endpoint.personality = PERSONALITIES["aisix_proxy"]
        video = endpoint.add("video", size_bytes=15_000_000)
        small = endpoint.add("small", size_bytes=1_000_000)
        filler = disk / "filler"
        filler.write_bytes(bytes(10_000_000))

        with Handle(mounted.path("video")) as opened:
            assert errno_of(lambda: opened.read(14_000_000, 4096)) == "EIO"
            assert errno_of(opened.read_all) == "EIO"
        assert mounted.path("small").read_bytes() == small.read(0, 1_000_000)
        assert "the spool cannot be written" in mounted.log

        filler.unlink()
        eventually(
            lambda: whole(mounted.path("video")) == video.read(0, 15_000_000),
            "a read once there is room",
        )


def whole(path: Path) -> bytes:
    """What reading *path* gives; nothing if it fails."""
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return b""


@pytest.mark.fuse
@pytest.mark.parametrize(
    ("binding", "most", "disk"),
    # A disk cache has one file of its own, and two of each video that is open.
    [*((binding, 12, "0") for binding in BINDINGS), (BINDINGS[0], 16, "1GiB")],
)
def test_a_low_limit_of_descriptors_is_an_errno_at_worst(
    binding: str, most: int, disk: str
) -> None:
    """Twenty readers at once want more sockets than there may be; one does not."""
    launcher = ("prlimit", f"--nofile={most}", sys.executable, "-m", "hingfs")
    options = ("--read-timeout", "3s", "--disk-cache-size", disk)
    with own_mount(binding, *options, launcher=launcher) as (endpoint, mounted):
        videos = [endpoint.add(f"video-{n}", size_bytes=SIZE_BYTES) for n in range(20)]
        # Those that have a socket keep it for a while, so that the others need theirs.
        endpoint.chaos(0, 0.5, [stall_at(1000, 0.1)])

        def read(video: Video) -> str:
            try:
                got = mounted.path(video.video_id).read_bytes()
            except OSError as error:
                return errno.errorcode[error.errno or 0]
            return "right" if got == video.read(0, SIZE_BYTES) else "wrong"

        with ThreadPoolExecutor(20) as pool:
            outcomes = set(pool.map(read, videos))
        endpoint.calm()

        assert outcomes <= {"right", "EIO", "ETIMEDOUT"}
        limit = Path(f"/proc/{mounted.process.pid}/limits").read_text()
        assert f" {most} " in next(x for x in limit.splitlines() if "open files" in x)
        for video in videos:
            eventually(lambda video=video: read(video) == "right", "a read alone")  # type: ignore[misc]


# --- readers that fork ------------------------------------------------------------------------------

FORKING = """
import hashlib, os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
head = os.pread(fd, 4096, 0)
children = []
for number in range(6):
    reading, writing = os.pipe()
    if os.fork() == 0:
        data = b"".join(os.pread(fd, 100_000, at) for at in range(0, int(sys.argv[2]), 100_000))
        os.write(writing, hashlib.sha256(data).hexdigest().encode())
        os._exit(number)  # without closing anything by itself
    children.append(reading)
    os.close(writing)
os.close(fd)
for reading in children:
    print(os.read(reading, 100).decode())
for _ in children:
    os.wait()
"""


@pytest.mark.fuse
@each_binding
def test_a_reader_that_forks_shares_its_file_with_its_children(binding: str) -> None:
    """The parent closes it first; the mount sees one handle, and lives on."""
    with own_mount(binding) as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=SIZE_BYTES)
        digest = hashlib.sha256(video.read(0, SIZE_BYTES)).hexdigest()

        done = run(
            [sys.executable, "-c", FORKING, mounted.path("video"), str(SIZE_BYTES)]
        )

        assert done.stdout.split() == [digest] * 6, done.stderr
        assert endpoint.bytes_served_twice("video") == 0
        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)


# --- users who are not root ------------------------------------------------------------------------


USER = f"hingfs-test-{os.getpid()}"  # two processes may run these tests at once
PACKAGES = (
    *("requests", "urllib3", "certifi", "idna", "charset_normalizer", "cachetools"),
    *("fuse.py", "mfusepy.py", "socks.py", "xxhash"),
)


class User:
    """An unprivileged user with an interpreter and packages that it can read."""

    def __init__(self, uid: int, gid: int, home: Path, python: str) -> None:
        self.uid = uid
        self.gid = gid
        self.home = home
        self.python = python

    def command(self, *command: str | Path) -> list[str]:
        """*command*, run by this user with nothing of root's."""
        return [*become(self.uid, self.gid), *map(str, command)]

    def run(
        self, *command: str | Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return run(
            self.command(*command),
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "HOME": str(self.home),
                "LANG": "C.UTF-8",
                "PYTHONPATH": str(self.home / "packages"),
                **variables,
            },
        )

    def hingfs(
        self, *arguments: str | Path, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        return self.run(self.python, "-m", "hingfs", *arguments, **variables)


def become(uid: int, gid: int) -> list[str]:
    ids = ["--reuid", str(uid), "--regid", str(gid), "--clear-groups"]
    return ["setpriv", *ids, "--inh-caps=-all", "--"]


@pytest.fixture(scope="module")
def user() -> Iterator[User]:
    """A user made for the tests; /dev/fuse is opened to it meanwhile, as distributions do.

    Udev's rule gives the device mode 0666; in containers it is often 0600.
    """
    require_fuse()
    if os.geteuid() != 0:
        pytest.fail("these tests make a user, which takes root", pytrace=False)
    with contextlib.ExitStack() as stack:
        # As udev has it. It stays so: another process may be at these tests.
        FUSE_DEVICE.chmod(0o666)
        home = Path(os.path.realpath(tempfile.mkdtemp(prefix="hingfs-home-")))
        stack.callback(shutil.rmtree, home)
        made = run(
            [
                *("useradd", "--system", "--no-create-home", "--home-dir", home),
                *("--shell", "/bin/sh", USER),
            ]
        )
        assert made.returncode == 0, made.stderr
        stack.callback(run, ["userdel", USER])
        entry = pwd.getpwnam(USER)
        packages = home / "packages"
        packages.mkdir()
        for name in PACKAGES:
            source = next(p for p in map(Path, sys.path) if (p / name).exists()) / name
            copy = shutil.copytree if source.is_dir() else shutil.copy
            copy(source, packages / name)
        shutil.copytree(REPOSITORY / "hingfs", packages / "hingfs")
        run(["chown", "-R", f"{entry.pw_uid}:{entry.pw_gid}", home])
        yield User(entry.pw_uid, entry.pw_gid, home, readable_python(entry))


def readable_python(entry: pwd.struct_passwd) -> str:
    """A Python that the user can run: ours may lie in a home that only root may enter."""
    tried = [sys.executable, sys._base_executable, "/usr/bin/python3"]  # type: ignore[attr-defined]
    for python in tried:
        wanted = "import sys; sys.exit(sys.version_info < (3, 11))"
        command = [*become(entry.pw_uid, entry.pw_gid), python, "-Ic", wanted]
        with contextlib.suppress(OSError):
            if run(command).returncode == 0:
                return str(python)
    pytest.fail(f"none of {tried} can be run by an unprivileged user", pytrace=False)


@pytest.mark.fuse
@each_binding
def test_an_unprivileged_user_mounts_reads_and_unmounts(
    binding: str, user: User
) -> None:
    """Another user and root get EACCES without --allow-other: the kernel sees to it."""
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=SIZE_BYTES)
        directory = user.home / f"videos-{binding}"
        assert user.run("mkdir", directory).returncode == 0
        try:
            done = user.hingfs(
                *("mount", directory, "--fuse", binding),
                *("--base-url", endpoint.base_url, "--log-file", user.home / "log"),
                HINGFS_TOKEN=endpoint.token,
            )
            assert (done.returncode, done.stderr) == (0, "")

            path = directory / "video.mp4"
            copy = user.home / f"copy-{binding}"
            assert user.run("cp", path, copy).returncode == 0
            assert copy.read_bytes() == video.read(0, SIZE_BYTES)
            listed = user.run("stat", "-c", "%u %g %a %s", path).stdout.split()
            assert listed == [str(user.uid), str(user.gid), "644", str(SIZE_BYTES)]

            assert errno_of(lambda: os.stat(path)) == "EACCES"
            assert errno_of(lambda: os.listdir(directory)) == "EACCES"
            nobody = pwd.getpwnam("nobody")
            said = run([*become(nobody.pw_uid, nobody.pw_gid), "cat", str(path)])
            assert "Permission denied" in said.stderr

            asked = len(endpoint.log)
            assert user.hingfs("umount", directory).returncode == 0
            assert mount_line(directory) is None
            assert len(endpoint.log) == asked
        finally:
            run(["umount", "--lazy", directory])


@pytest.mark.fuse
@each_binding
def test_a_user_may_let_others_in_only_where_the_machine_allows_it(
    binding: str, user: User
) -> None:
    """--allow-other needs user_allow_other; the error says so before anything is mounted."""
    conf = Path("/etc/fuse.conf")
    lines = conf.read_text().splitlines() if conf.exists() else []
    assert "user_allow_other" not in [line.strip() for line in lines]
    with FakeEndpoint() as endpoint:
        directory = user.home / f"shared-{binding}"
        assert user.run("mkdir", directory).returncode == 0

        done = user.hingfs(
            *("mount", directory, "--fuse", binding, "--allow-other"),
            *("--base-url", endpoint.base_url),
            HINGFS_TOKEN=endpoint.token,
        )

    assert done.returncode == 5
    assert "user_allow_other" in done.stderr
    assert mount_line(directory) is None


@pytest.mark.fuse
@each_binding
def test_a_user_s_dead_mount_is_cleared_by_that_user(binding: str, user: User) -> None:
    """Killed by -9, then the same command again."""
    with FakeEndpoint() as endpoint:
        video = endpoint.add("video", size_bytes=100_000)
        directory = user.home / f"killed-{binding}"
        assert user.run("mkdir", directory).returncode == 0
        command: list[str | Path] = [
            *("mount", directory, "--fuse", binding),
            *("--base-url", endpoint.base_url),
        ]
        try:
            for _ in range(2):
                done = user.hingfs(*command, HINGFS_TOKEN=endpoint.token)
                assert (done.returncode, done.stderr) == (0, "")
                digest = hashlib.sha256(video.read(0, 100_000)).hexdigest()
                read = user.run("sha256sum", directory / "video.mp4")
                assert read.stdout.startswith(digest), read.stderr
                for pid in mount_processes(directory):
                    os.kill(pid, signal.SIGKILL)
                eventually(
                    lambda: "not connected" in user.run("stat", directory).stderr,
                    "a dead mount",
                )
            assert user.hingfs("umount", directory).returncode == 0
            assert mount_line(directory) is None
        finally:
            run(["umount", "--lazy", directory])


def mount_processes(directory: Path) -> list[int]:
    """The pids whose command line mounts *directory*."""
    found = []
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            with contextlib.suppress(OSError):
                words = (process / "cmdline").read_text().split("\0")
                if "mount" in words and str(directory) in words:
                    found.append(int(process.name))
    return found
