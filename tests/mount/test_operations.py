"""The FUSE adapter without FUSE: errnos, stat fields, handles, what is kept."""

import errno
import os
import stat
import time
from pathlib import Path

import pytest
import requests

from hingfs import errors
from hingfs.blocks import MIB
from hingfs.errnos import ERRNO_OF_NAME, ERRNO_OF_READ, errno_for
from hingfs.errors import HingError
from hingfs.library.names import LONGEST_NAME_BYTES, full_name_of, inode_of, name_of
from hingfs.mount.filesystem import Refusal
from hingfs.mount.operations import HingOperations
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.endpoint import ramp
from tests.support.memory import little_memory
from tests.support.personalities import CREATED_AT, RENDER_SECONDS

SIZE = 300_000

# Every error we can name -> what names (getattr, open, readdir) and reads answer.
EXPECTED: dict[type[HingError], tuple[int, int]] = {
    errors.HingError: (errno.EIO, errno.EIO),
    errors.VideoNotFound: (errno.ENOENT, errno.ENOENT),
    errors.VideoNotReady: (errno.EAGAIN, errno.EIO),
    errors.VideoNotServed: (errno.EAGAIN, errno.EIO),
    errors.VideoFailed: (errno.EIO, errno.EIO),
    errors.AccessDenied: (errno.EACCES, errno.EACCES),
    errors.ContentChanged: (errno.ESTALE, errno.ESTALE),
    errors.NotAVideo: (errno.EIO, errno.EIO),
    errors.RangesIgnored: (errno.EIO, errno.EIO),
    errors.Closing: (errno.EIO, errno.EIO),
    errors.SpoolFull: (errno.EIO, errno.EIO),
    errors.TransportError: (errno.EIO, errno.EIO),
    errors.Unreachable: (errno.EIO, errno.EIO),
    errors.NoAnswer: (errno.EIO, errno.EIO),
    errors.Stale: (errno.EIO, errno.EIO),
    errors.BodyCut: (errno.EIO, errno.EIO),
    errors.ServerBroken: (errno.EIO, errno.EIO),
    errors.Undecodable: (errno.EIO, errno.EIO),
    errors.NeverServed: (errno.EIO, errno.EIO),
    errors.RateLimited: (errno.EAGAIN, errno.EIO),
    errors.GivenWay: (errno.EAGAIN, errno.EIO),
    errors.NoTls: (errno.EIO, errno.EIO),
    errors.NotAsked: (errno.EIO, errno.EIO),
    errors.CopyDamaged: (errno.EIO, errno.EIO),
    errors.Dropped: (errno.EIO, errno.EIO),
    errors.DeadlineExceeded: (errno.ETIMEDOUT, errno.ETIMEDOUT),
    errors.Unforeseen: (errno.EIO, errno.EIO),
    errors.SetupError: (errno.EIO, errno.EIO),
    errors.UsageError: (errno.EIO, errno.EIO),
    errors.TokenError: (errno.EIO, errno.EIO),
    errors.EndpointError: (errno.EIO, errno.EIO),
    errors.FuseUnavailable: (errno.EIO, errno.EIO),
    errors.MountpointError: (errno.EIO, errno.EIO),
    errors.MountBusy: (errno.EIO, errno.EIO),
    errors.NotMounted: (errno.EIO, errno.EIO),
    errors.NoSuchApi: (errno.EIO, errno.EIO),
}


def all_errors() -> set[type[HingError]]:
    found, left = set(), [HingError]
    while left:
        kind = left.pop()
        if kind.__module__ == errors.__name__:
            found.add(kind)
        left += kind.__subclasses__()
    return found


@pytest.fixture
def operations(build: Build, endpoint) -> HingOperations:
    endpoint.add("v", size_bytes=SIZE)
    return build().operations


def refused(call, *args) -> int:
    """The errno that `call(*args)` is refused with."""
    with pytest.raises(Refusal) as refusal:
        call(*args)
    return refusal.value.errno


def failing(error: BaseException):
    def fail(*_args, **_options):
        raise error

    return fail


class TestErrnos:
    def test_every_error_has_an_explicit_expectation(self):
        assert all_errors() == set(EXPECTED)

    @pytest.mark.parametrize(
        ("kind", "of_name", "of_read"),
        [(kind, *numbers) for kind, numbers in EXPECTED.items()],
        ids=lambda value: getattr(value, "__name__", None),
    )
    def test_every_error_has_its_errno(self, kind, of_name, of_read):
        assert errno_for(kind("x"), ERRNO_OF_NAME) == of_name
        assert errno_for(kind("x"), ERRNO_OF_READ) == of_read

    @pytest.mark.parametrize(
        "kind",
        sorted(all_errors(), key=str),
        ids=lambda kind: getattr(kind, "__name__", None),
    )
    def test_a_read_never_answers_eagain_or_eintr(self, kind):
        """Ffmpeg and cp would spin on them or silently truncate."""
        number = errno_for(kind("x"), ERRNO_OF_READ)

        assert number not in {errno.EAGAIN, errno.EINTR, errno.EWOULDBLOCK}

    @pytest.mark.parametrize("kind", EXPECTED, ids=lambda kind: kind.__name__)
    def test_each_operation_answers_with_its_table(
        self, operations, monkeypatch, kind, expected_log
    ):
        of_name, of_read = EXPECTED[kind]
        opened = operations.open("/v.mp4", os.O_RDONLY)
        reader = operations._handles[opened.handle].reader
        expected_log.allow("ERROR hingfs.mount.operations")  # some are worth a line
        for name in ("find", "find_to_open", "listing", "known_bytes"):
            monkeypatch.setattr(operations._catalog, name, failing(kind("x")))
        monkeypatch.setattr(
            type(reader), "read_into", lambda *_args: failing(kind("x"))()
        )
        monkeypatch.setattr(operations._readers, "close", failing(kind("x")))

        assert refused(operations.getattr, "/v.mp4", None) == of_name
        assert refused(operations.open, "/v.mp4", os.O_RDONLY) == of_name
        assert refused(operations.readdir, "/") == of_name
        assert refused(operations.statfs) == of_name
        buffer = memoryview(bytearray(10))
        assert refused(operations.read_into, opened.handle, buffer, 0) == of_read
        assert refused(operations.release, opened.handle) == of_read

    @pytest.mark.parametrize(
        "error",
        [
            RuntimeError("a mistake of ours"),
            KeyError("x"),
            OSError(errno.ENOENT, "x"),  # somebody else's ENOENT says nothing of ours
            OSError("without errno"),
            BlockingIOError(errno.EAGAIN, "x"),
            requests.exceptions.ConnectionError("x"),
            requests.exceptions.Timeout(),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_what_nobody_foresaw_is_eio_and_logged(
        self, operations, monkeypatch, expected_log, error
    ):
        expected_log("getattr .*: unforeseen error")
        monkeypatch.setattr(operations._catalog, "find", failing(error))

        assert refused(operations.getattr, "/v.mp4", None) == errno.EIO

    def test_what_is_ordinary_is_no_line_at_error(self, operations, endpoint):
        endpoint.add("w", status="queued")

        assert refused(operations.getattr, "/nobody.mp4", None) == errno.ENOENT
        assert refused(operations.open, "/w.mp4", os.O_RDONLY) == errno.EAGAIN

    def test_an_error_is_logged_with_its_name_and_errno(
        self, operations, endpoint, expected_log
    ):
        endpoint.add("w", status="failed")
        expected_log(r"ERROR .*open w\.mp4: rendering failed.*\(EIO\)")

        assert refused(operations.open, "/w.mp4", os.O_RDONLY) == errno.EIO


class TestAttributes:
    def test_a_video_is_a_regular_file(self, operations):
        attributes = operations.getattr("/v.mp4", None)

        completed_ns = (CREATED_AT + RENDER_SECONDS) * 10**9
        assert attributes == {
            "st_mode": stat.S_IFREG | 0o644,
            "st_ino": inode_of("v"),
            "st_nlink": 1,
            "st_uid": os.getuid(),
            "st_gid": os.getgid(),
            "st_size": SIZE,
            "st_blocks": -(-SIZE // 512),
            "st_blksize": 1 << 20,
            "st_mtime": completed_ns,
            "st_ctime": completed_ns,
            "st_atime": completed_ns,
        }

    def test_the_root_is_a_directory(self, operations, endpoint):
        attributes = operations.getattr("/", None)

        assert attributes["st_mode"] == stat.S_IFDIR | 0o755
        assert attributes["st_nlink"] == 2
        assert endpoint.log == []

    def test_an_open_file_is_described_without_asking(self, operations, endpoint):
        opened = operations.open("/v.mp4", os.O_RDONLY)
        expected = operations.getattr("/v.mp4", None)
        endpoint.stop()

        assert operations.getattr(None, opened.handle) == expected

    def test_a_handle_that_is_closed_is_described_by_its_path(self, operations):
        assert operations.getattr("/v.mp4", 12345)["st_size"] == SIZE

    def test_statfs_asks_nobody(self, operations, endpoint):
        operations.getattr("/v.mp4", None)
        endpoint.reset_log()

        fields = operations.statfs()

        used = (fields["f_blocks"] - fields["f_bfree"]) * fields["f_frsize"]
        assert SIZE <= used < SIZE + MIB
        assert fields["f_namemax"] == LONGEST_NAME_BYTES
        assert endpoint.log == []

    @pytest.mark.parametrize("known_bytes", [0, (3 << 50) - MIB])
    def test_statfs_is_never_full_and_fits_in_32_bits(
        self, operations, monkeypatch, known_bytes
    ):
        monkeypatch.setattr(operations._catalog, "known_bytes", lambda: known_bytes)

        fields = operations.statfs()

        assert fields["f_bavail"] == fields["f_bfree"]
        assert fields["f_bavail"] * fields["f_frsize"] == 1 << 50
        assert fields["f_blocks"] < 1 << 32


class TestNames:
    @pytest.mark.parametrize(
        "path",
        [
            "/.Trash",
            "/.hidden.mp4",
            "/autorun.inf",
            "/v",
            "/v.mov",
            "/a/v.mp4",
            "/not\udcffutf8.mp4",
            "/control\x01.mp4",
            "/a%2F..%2Fb.mp4",
            "",
        ],
    )
    def test_names_that_are_no_video_cost_nothing(self, operations, endpoint, path):
        assert refused(operations.getattr, path, None) == errno.ENOENT
        assert refused(operations.open, path, os.O_RDONLY) == errno.ENOENT
        assert endpoint.log == []

    def test_a_name_too_long_says_so(self, operations):
        path = "/" + "x" * LONGEST_NAME_BYTES + ".mp4"

        assert refused(operations.getattr, path, None) == errno.ENAMETOOLONG

    def test_an_id_with_a_slash_is_a_name(self, operations, endpoint):
        endpoint.add("a/b", size_bytes=7)

        assert operations.getattr("/" + name_of("a/b"), None)["st_size"] == 7

    def test_readdir_gives_names_and_inodes(self, operations):
        entries = {entry.name: entry for entry in operations.readdir("/")}

        assert set(entries) == {".", "..", "v.mp4"}
        assert entries["v.mp4"] == ("v.mp4", stat.S_IFREG, inode_of("v"))

    def test_only_the_root_is_a_directory(self, operations):
        assert refused(operations.readdir, "/v.mp4") == errno.ENOTDIR


class TestHandles:
    def read(self, operations, handle: int, offset: int, size: int) -> bytes:
        buffer = bytearray(size)
        count = operations.read_into(handle, memoryview(buffer), offset)
        return bytes(buffer[:count])

    def test_reads_are_the_bytes_of_the_file(self, operations):
        handle = operations.open("/v.mp4", os.O_RDONLY).handle

        assert self.read(operations, handle, 1000, 5000) == ramp("v", 1000, 6000)
        assert self.read(operations, handle, SIZE - 10, 100) == ramp(
            "v", SIZE - 10, SIZE
        )
        assert self.read(operations, handle, SIZE, 100) == b""

    @pytest.mark.parametrize(
        "flags", [os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC]
    )
    def test_opening_to_write_is_refused_without_a_request(
        self, operations, endpoint, flags
    ):
        assert refused(operations.open, "/v.mp4", flags) == errno.EROFS
        assert endpoint.log == []

    def test_handles_differ_and_end_at_release(self, operations):
        first = operations.open("/v.mp4", os.O_RDONLY).handle
        second = operations.open("/v.mp4", os.O_RDONLY).handle
        assert first != second

        operations.release(first)

        buffer = memoryview(bytearray(1))
        assert refused(operations.read_into, first, buffer, 0) == errno.EBADF
        assert self.read(operations, second, 0, 10) == ramp("v", 0, 10)
        operations.release(second)
        operations.release(second)
        assert refused(operations.read_into, second, buffer, 0) == errno.EBADF

    def test_pages_of_the_same_version_are_kept(self, operations):
        first = operations.open("/v.mp4", os.O_RDONLY)
        self.read(operations, first.handle, 0, 10)
        operations.release(first.handle)

        again = operations.open("/v.mp4", os.O_RDONLY)

        assert (first.keep_cache, again.keep_cache) == (False, True)
        assert not again.direct_io

    def test_pages_of_another_version_are_not(self, build, endpoint):
        operations = build(cache={"metadata_ttl_seconds": 0}).operations
        endpoint.add("v", size_bytes=SIZE)
        first = operations.open("/v.mp4", os.O_RDONLY)
        self.read(operations, first.handle, 0, 10)
        operations.release(first.handle)
        endpoint.videos["v"].replace()

        assert not operations.open("/v.mp4", os.O_RDONLY).keep_cache

    def test_pages_of_one_name_say_nothing_of_those_of_another(self, build, endpoint):
        """A short name and the full one are two files to the kernel, with pages each."""
        operations = build(cache={"metadata_ttl_seconds": 0}).operations
        video = endpoint.add("x" * 300, size_bytes=SIZE)
        full, short = (f"/{name('x' * 300)}" for name in (full_name_of, name_of))

        def read(path: str) -> bool:
            """True if the kernel may use the pages that it holds of *path*."""
            opened = operations.open(path, os.O_RDONLY)
            assert self.read(operations, opened.handle, 0, 10) == video.read(0, 10)
            operations.release(opened.handle)
            return bool(opened.keep_cache)

        assert [read(full), read(short), read(full), read(short)] == [0, 0, 1, 1]
        video.replace(size_bytes=SIZE)
        assert [read(short), read(full)] == [False, False]  # both held the old bytes
        assert [read(short), read(full)] == [True, True]

    def test_a_size_that_is_forgotten_may_have_been_another(self, build, endpoint):
        """A file that became shorter would be read with zeros behind its end."""
        mount = build(cache={"metadata_ttl_seconds": 0})
        operations = HingOperations(
            mount.engine.catalog,
            mount.engine.readers,
            mount._config.mount,
            on_start=lambda: None,
            on_stop=lambda: None,
            most_sizes=2,
        )
        for name in "abc":
            endpoint.add(name, size_bytes=SIZE)
            operations.getattr(f"/{name}.mp4", None)

        endpoint.videos["a"].replace(size_bytes=SIZE - 1)
        operations.getattr("/a.mp4", None)

        assert operations.open("/a.mp4", os.O_RDONLY).direct_io

    def test_what_is_noted_of_names_does_not_grow_with_them(self, operations):
        with little_memory(2_000_000):
            for number in range(5000):
                operations._note_size(f"{number:01000}", SIZE)

    def test_two_versions_open_at_once_share_no_pages(
        self, build, endpoint, expected_log
    ):
        operations = build(cache={"metadata_ttl_seconds": 0}).operations
        video = endpoint.add("v", size_bytes=SIZE)
        old = operations.open("/v.mp4", os.O_RDONLY)
        video.replace()
        expected_log("ESTALE")

        new = operations.open("/v.mp4", os.O_RDONLY)

        assert new.direct_io
        assert self.read(operations, new.handle, 0, 5000) == video.read(0, 5000)
        buffer = memoryview(bytearray(10))
        assert refused(operations.read_into, old.handle, buffer, 0) == errno.ESTALE

    def test_a_read_that_fails_is_an_error_and_no_end_of_file(
        self, operations, endpoint, expected_log
    ):
        endpoint.add("w", size_bytes=50_000_000)
        handle = operations.open("/w.mp4", os.O_RDONLY).handle
        endpoint.inject(faults.status(500), float("inf"))
        expected_log(r"read w\.mp4: .*EIO")

        buffer = memoryview(bytearray(10))
        assert refused(operations.read_into, handle, buffer, 30_000_000) == errno.EIO


def test_start_and_stop_are_handed_on(build, endpoint, tmp_path: Path):
    mount = build()
    seen: list[str] = []
    operations = HingOperations(
        mount.engine.catalog,
        mount.engine.readers,
        mount._config.mount,
        on_start=lambda: seen.append("start"),
        on_stop=lambda: seen.append("stop"),
    )

    operations.start()
    operations.stop()

    assert seen == ["start", "stop"]
    assert operations.getattr("/", None)["st_mtime"] <= time.time_ns()
