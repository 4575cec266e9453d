"""The rules of `.wait/` without a kernel: who waits, what ends it, what stat says."""

import errno
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from types import SimpleNamespace

import pytest

from hingfs.errors import HingError, VideoNotReady
from hingfs.library.crowd import Crowd
from hingfs.library.known import VideoFile
from hingfs.mount.filesystem import Refusal
from hingfs.mount.operations import HingOperations
from hingfs.mount.serving import Mount
from hingfs.mount.waiting import WaitingOpens
from hingfs.wait.poller import Poller
from tests.conftest import Build, LogWatch
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import eventually

PATIENCE = 10.0  # seconds that no test needs
SIZE_BYTES = 300_000
LATER = "/.wait/later.mp4"


@pytest.fixture
def mount(build: Build, endpoint: FakeEndpoint) -> Mount:
    """A mount of "ready", and of "later", which is asked after often."""
    endpoint.add("ready", size_bytes=SIZE_BYTES)
    endpoint.add("later", size_bytes=SIZE_BYTES, status="in_progress")
    return build(poll_seconds=0.05)


@pytest.fixture
def operations(mount: Mount) -> HingOperations:
    return mount.operations


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


def opens(operations: HingOperations, path: str, *more: Callable[[], bool]) -> int:
    """A handle of *path*, opened as the kernel does: a stale one is looked up anew."""
    operations.getattr(path, None)
    try:
        return operations.open(path, os.O_RDONLY, *more).handle
    except Refusal as refusal:
        if refusal.errno != errno.ESTALE:
            raise
    operations.getattr(path, None)
    return operations.open(path, os.O_RDONLY, *more).handle


def errno_of(call: Callable[[], object]) -> int:
    with pytest.raises(Refusal) as refusal:
        call()
    return refusal.value.errno


def refused(future: "Future[int]") -> int:
    return errno_of(lambda: future.result(PATIENCE))


def waiting(operations: HingOperations) -> int:
    """How many opens wait, as stat tells it."""
    return operations.getattr("/.wait", None)["st_size"]


def begun(
    pool: ThreadPoolExecutor, operations: HingOperations, *more: Callable[[], bool]
) -> "Future[int]":
    """An open of `.wait/later.mp4` that waits."""
    others = waiting(operations)
    future = pool.submit(opens, operations, LATER, *more)
    eventually(lambda: waiting(operations) == others + 1, "it waits")
    return future


class TestNames:
    def test_it_is_a_directory_that_no_listing_shows_and_that_shows_none(
        self, operations
    ):
        root, shown = operations.getattr("/", None), operations.getattr("/.wait", None)

        assert stat.S_ISDIR(shown["st_mode"])
        assert shown["st_mode"] == root["st_mode"]
        assert {e.name for e in operations.readdir("/")} == {".", "..", "ready.mp4"}
        own, above = operations.readdir("/.wait")
        assert (own.name, own.inode) == (".", shown["st_ino"])
        assert (above.name, above.inode) == ("..", root["st_ino"])

    def test_any_possible_name_is_there_at_once_and_asks_nothing(
        self, operations, endpoint
    ):
        short = "/.wait/long~" + "a" * 32 + ".mp4"
        for path in (LATER, "/.wait/no-such-video.mp4", short):
            shown = operations.getattr(path, None)
            assert (stat.S_ISREG(shown["st_mode"]), shown["st_size"]) == (True, 0)
        for name in (
            "x.txt",
            ".hidden.mp4",
            "..mp4",
            ".wait",
            "a/b.mp4",
            ".wait/v.mp4",
        ):
            path = f"/.wait/{name}"
            assert errno_of(partial(operations.getattr, path, None)) == errno.ENOENT
            assert errno_of(partial(operations.open, path, 0)) == errno.ENOENT
        assert (
            errno_of(lambda: operations.getattr(f"/.wait/{'x' * 2000}.mp4", None))
            == errno.ENAMETOOLONG
        )
        assert endpoint.log == []

    def test_a_known_video_has_its_size_and_an_inode_of_its_own(
        self, operations, endpoint
    ):
        before = operations.getattr("/.wait/ready.mp4", None)
        root = operations.getattr("/ready.mp4", None)
        endpoint.add("ready.mp4")  # the id that is the name of another's file
        namesake = operations.getattr("/ready.mp4.mp4", None)
        asked = len(endpoint.log)

        shown = operations.getattr("/.wait/ready.mp4", None)

        assert (before["st_size"], shown["st_size"]) == (0, SIZE_BYTES)
        assert before["st_ino"] == shown["st_ino"]
        assert shown["st_ino"] not in {root["st_ino"], namesake["st_ino"]}
        assert shown["st_mtime"] == root["st_mtime"]
        assert len(endpoint.log) == asked

    def test_an_open_file_has_its_size_though_it_is_not_at_hand_any_more(
        self, operations, monkeypatch
    ):
        handle = opens(operations, "/.wait/ready.mp4")
        monkeypatch.setattr(operations._catalog, "at_hand", lambda _name: None)

        assert operations.getattr("/.wait/ready.mp4", None)["st_size"] == SIZE_BYTES

        operations.release(handle)
        assert operations.getattr("/.wait/ready.mp4", None)["st_size"] == 0

    def test_a_video_is_described_once_it_is_known(self, operations, endpoint):
        path, attribute = "/.wait/ready.mp4", "user.hingfs.id"
        for nothing in ("/.wait", path):
            assert operations.listxattr(nothing, 0) == []
            call = partial(operations.getxattr, nothing, attribute, 0)
            assert errno_of(call) == errno.ENODATA
        assert endpoint.log == []

        operations.getattr("/ready.mp4", None)

        assert operations.getxattr(path, attribute, 0) == b"ready"
        assert attribute in operations.listxattr(path, 0)

    def test_nothing_is_opened_for_writing(self, operations):
        assert errno_of(lambda: operations.open(LATER, os.O_RDWR)) == errno.EROFS


class TestWaits:
    def test_an_open_waits_and_then_reads_what_the_server_has(
        self, operations, endpoint, pool
    ):
        opening = begun(pool, operations)
        endpoint.set_status("later", "completed")

        handle = opening.result(PATIENCE)

        assert operations.getattr(LATER, None)["st_size"] == SIZE_BYTES
        shown = operations.getattr(LATER, handle)
        assert shown["st_size"] == SIZE_BYTES
        assert shown["st_ino"] == operations.getattr(LATER, None)["st_ino"]
        buffer = bytearray(SIZE_BYTES)
        assert operations.read_into(handle, memoryview(buffer), 0) == SIZE_BYTES
        assert buffer == endpoint.videos["later"].read(0, SIZE_BYTES)
        assert waiting(operations) == 0

    def test_the_kernel_looks_it_up_anew_where_it_believes_another_size(
        self, operations, endpoint
    ):
        """Else sendfile, which asks for no size, would end at the old one."""
        operations.getattr("/.wait/ready.mp4", None)

        assert errno_of(lambda: operations.open("/.wait/ready.mp4", 0)) == errno.ESTALE

        operations.getattr("/.wait/ready.mp4", None)
        opened = operations.open("/.wait/ready.mp4", 0)
        assert opened.direct_io  # the new size may be on its way to the kernel
        asked = len(endpoint.log)
        opens(operations, "/.wait/ready.mp4")
        assert len(endpoint.log) == asked

    @pytest.mark.parametrize("flags", [os.O_NONBLOCK, os.O_NOFOLLOW])
    def test_flags_that_mean_nothing_for_a_file_change_nothing(
        self, operations, endpoint, pool, flags
    ):
        """VLC opens each file with O_NONBLOCK."""
        operations.getattr(LATER, None)
        opening = pool.submit(operations.open, LATER, os.O_RDONLY | flags)
        eventually(lambda: waiting(operations) == 1, "it waits")
        endpoint.remove("later")

        assert refused(opening) == errno.ENOENT

    def test_what_the_server_says_for_good_ends_a_wait(
        self, operations, endpoint, pool, expected_log
    ):
        expected_log("open .wait/later.mp4: .*EIO")
        opening = begun(pool, operations)
        endpoint.set_status("later", "failed")

        assert refused(opening) == errno.EIO

    def test_the_root_does_not_wait(self, operations):
        assert errno_of(lambda: operations.open("/later.mp4", 0)) == errno.EAGAIN

    def test_an_interrupted_program_gets_eintr(self, operations, pool):
        signalled = threading.Event()
        opening = begun(pool, operations, signalled.is_set)
        signalled.set()

        assert refused(opening) == errno.EINTR
        assert waiting(operations) == 0

    def test_the_end_of_the_mount_ends_a_wait(self, mount, operations, pool):
        opening = begun(pool, operations)
        mount.close()

        assert refused(opening) == errno.EIO

    def test_the_end_of_the_mount_ends_a_wait_between_two_questions(
        self, build, endpoint, pool
    ):
        endpoint.add("later", status="in_progress")
        mount = build(poll_seconds=6 * PATIENCE)
        opening = begun(pool, mount.operations)
        assert mount._poller.await_look(0, PATIENCE) == 1
        mount.close()

        assert refused(opening) == errno.EIO

    def test_a_mount_that_was_detached_ends_a_wait(self, mount, operations, pool):
        opening = begun(pool, operations)
        mount._own_mount = SimpleNamespace(is_there=lambda: False)

        assert refused(opening) == errno.EIO

    def test_nothing_is_asked_once_nobody_waits(self, operations, endpoint, pool):
        signalled = threading.Event()
        opening = begun(pool, operations, signalled.is_set)
        endpoint.wait_until(lambda: len(endpoint.requests_of("status")) > 2)
        signalled.set()
        assert refused(opening) == errno.EINTR
        endpoint.wait_until_idle()
        asked = len(endpoint.requests_of("status", video_id="later"))

        endpoint.add("other", status="in_progress")
        signalled.clear()
        other = pool.submit(opens, operations, "/.wait/other.mp4", signalled.is_set)
        endpoint.wait_until(
            lambda: len(endpoint.requests_of("status", video_id="other")) > 4
        )
        signalled.set()

        assert refused(other) == errno.EINTR
        assert len(endpoint.requests_of("status", video_id="later")) == asked

    def test_without_requests_nothing_is_waited_for(self, build, endpoint):
        operations = build(offline=True).operations

        assert errno_of(lambda: operations.open(LATER, 0)) == errno.EIO
        assert endpoint.log == []


class Server:
    """A video that is never ready."""

    def look(self, _name: str) -> VideoFile:
        raise VideoNotReady("not ready")


@pytest.fixture
def poller() -> Iterator[Poller]:
    poller = Poller(Server().look, 0.01)
    yield poller
    poller.close()
    assert poller.join(PATIENCE)


def waits(
    poller: Poller, *, most: int = 2, crowd: Crowd | None = None, seconds: float
) -> WaitingOpens:
    return WaitingOpens(
        *(poller, crowd or Crowd(100)),
        most=most,
        seconds=seconds,
        is_attached=lambda: True,
    )


class TestBounds:
    def test_a_wait_ends_at_its_limit(self, poller):
        began = time.monotonic()

        with pytest.raises(VideoNotReady, match="within --wait-limit"):
            waits(poller, seconds=0.3).await_ready("v.mp4", lambda: False)

        assert time.monotonic() - began >= 0.3

    @pytest.mark.parametrize("bound", ["opens", "calls"])
    def test_beyond_the_bound_an_open_fails_at_once_and_one_warning_says_so(
        self, poller, pool, bound, expected_log: LogWatch
    ):
        said = "2 opens wait below .wait/" if bound == "opens" else "2 calls wait"
        expected_log(said)
        opening = (
            waits(poller, most=2, seconds=PATIENCE)
            if bound == "opens"
            else waits(poller, most=9, crowd=Crowd(2), seconds=PATIENCE)
        )
        done = threading.Event()
        two = [
            pool.submit(_outcome, opening, f"{number}.mp4", done.is_set)
            for number in range(2)
        ]
        eventually(lambda: opening.count == 2, "two wait")

        for _ in range(3):
            with pytest.raises(VideoNotReady, match="too many"):
                opening.await_ready("late.mp4", lambda: False)

        done.set()
        assert [one.result(PATIENCE) for one in two] == [errno.EINTR, errno.EINTR]
        assert sum(said in line for line in expected_log.lines) == 1


def _outcome(
    opening: WaitingOpens, name: str, interrupted: Callable[[], bool]
) -> int | HingError:
    try:
        opening.await_ready(name, interrupted)
    except Refusal as refusal:
        return refusal.errno
    except HingError as error:
        return error
    return 0
