"""Extended attributes of a mount, as programs ask for them."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    Mounted,
    as_nobody,
    bindings_in_turn,
    each_binding,
    errno_of_process,
    mount_directory,
    own_mount,
    run,
)
from tests.support.telling import Telling

pytestmark = pytest.mark.fuse
SIZE = 100_000
PROMPT = "A cat\nthat plays the piano"
NAMES = [
    "user.hingfs.completed_at",
    "user.hingfs.created_at",
    "user.hingfs.etag",
    "user.hingfs.id",
    "user.hingfs.model",
    "user.hingfs.prompt",
    "user.hingfs.resolution",
    "user.hingfs.seconds",
]


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in sorted(os.listxattr(path))}


def of_path(call: str) -> str:
    return f"os.{call.replace('PATH', 'path')}"


@each_binding
def test_a_person_sees_what_a_video_is(binding):
    with own_mount(binding, personality=Telling(PROMPT)) as (endpoint, mounted):
        endpoint.add("v", size_bytes=SIZE)
        endpoint.add("late", status="in_progress")
        path = mounted.path("v")
        path.stat()
        endpoint.wait_until_idle()
        endpoint.reset_log()

        shown = run(["getfattr", "-d", "--absolute-names", path])

        lines = shown.stdout.splitlines()[1:]  # behind the name of the file
        assert [line.partition("=")[0] for line in lines if line] == NAMES
        assert attributes(path) | {"user.hingfs.etag": b""} == {
            "user.hingfs.completed_at": b"2026-09-21T14:14:20Z",
            "user.hingfs.created_at": b"2026-09-21T14:13:20Z",
            "user.hingfs.etag": b"",
            "user.hingfs.id": b"v",
            "user.hingfs.model": b"sora-2",
            "user.hingfs.prompt": PROMPT.encode(),
            "user.hingfs.resolution": b"1280x720",
            "user.hingfs.seconds": b"8",
        }
        with path.open() as file:
            assert os.getxattr(file.fileno(), "user.hingfs.id") == b"v"
        # What no video has is answered without a request; writing is refused as ever.
        assert os.listxattr(mounted.directory) == []
        for call, number in {
            "getxattr(PATH, 'user.xdg.tags')": "ENODATA",
            "getxattr(PATH, 'user.hingfs.else')": "ENODATA",
            "getxattr(PATH, 'user.hingfs.expires_at')": "ENODATA",
            "getxattr(os.path.dirname(PATH), 'user.hingfs.id')": "ENODATA",
            "getxattr(PATH, 'security.selinux')": "ENOTSUP",
            "getxattr(PATH, 'security.capability')": "ENOTSUP",
            "getxattr(PATH, 'system.posix_acl_access')": "ENOTSUP",
            "setxattr(PATH, 'user.a', b'b')": "EROFS",
            "removexattr(PATH, 'user.hingfs.id')": "EROFS",
        }.items():
            assert errno_of_process(path, of_path(call)) == number, call
        assert not endpoint.requests_of("status")
        assert all(one.method == "GET" for one in endpoint.requests_of("content"))
        # A list that told the time has saved the status, which nobody asks for in vain.
        endpoint.add("w", size_bytes=SIZE)
        assert mounted.path("w").name in os.listdir(mounted.directory)
        call = of_path("getxattr(PATH, 'user.xdg.tags')")
        assert errno_of_process(mounted.path("w"), call) == "ENODATA"
        assert not endpoint.requests_of("status", video_id="w")
        # Errors are those of the name.
        for name, number in {"late": "EAGAIN", "gone": "ENOENT"}.items():
            for call in ("listxattr(PATH)", "getxattr(PATH, 'user.hingfs.id')"):
                assert errno_of_process(mounted.path(name), of_path(call)) == number
        endpoint.wait_until_idle()
        assert PROMPT not in mounted.log + mounted.stderr
        assert "plays the piano" not in mounted.log


@each_binding
def test_a_buffer_that_is_too_small_is_refused_and_not_filled(binding):
    libc = ctypes.CDLL(None, use_errno=True)
    with own_mount(binding, personality=Telling(PROMPT)) as (endpoint, mounted):
        endpoint.add("v", size_bytes=SIZE)
        path = os.fsencode(mounted.path("v"))
        for get in (
            lambda buffer, size: libc.getxattr(
                path, b"user.hingfs.model", buffer, size
            ),
            lambda buffer, size: libc.listxattr(path, buffer, size),
        ):
            length = get(None, 0)
            assert length > 5
            small = ctypes.create_string_buffer(b"?" * length, length)
            assert get(small, length - 1) == -1
            assert ctypes.get_errno() == errno.ERANGE
            assert small.raw == b"?" * length
            assert get(small, length) == length
            assert b"?" not in small.raw


@each_binding
def test_only_its_owner_and_root_are_told_the_prompt(binding):
    options = ("--allow-other", "--uid", "1234")
    with own_mount(binding, *options, personality=Telling(PROMPT)) as (
        endpoint,
        mounted,
    ):
        endpoint.add("v", size_bytes=SIZE)
        path = mounted.path("v")

        def seen_by(*prefix: str) -> str:
            return run([*prefix, "getfattr", "-d", "--absolute-names", path]).stdout

        others = seen_by(*as_nobody())

        assert "prompt" not in others
        assert others.count("user.hingfs.") == len(NAMES) - 1
        said = run([*as_nobody(), "getfattr", "-n", "user.hingfs.prompt", path])
        assert "No such attribute" in said.stderr
        for owner in ("0", "1234"):
            seen = seen_by("setpriv", "--reuid", owner, "--clear-groups")
            assert seen.count("user.hingfs.") == len(NAMES)


def copied(mounted: Mounted, target: Path, *options: str) -> list[str]:
    """What rsync changed on the way to *target*, a line for each."""
    source = f"{mounted.directory}/"
    done = run(["rsync", "-rltOi", *options, "--no-owner", source, f"{target}/"])
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


PROMPTS = {
    "long": "x" * 100_000,
    "emoji": "👩\u200d👩\u200d👧 plays " * 9_000,
    "chinese": "一只猫弹钢琴" * 9_000,
    "nul": "a\0b\x1b[31m\ud83d" * 900,
    "i" * 200: "a long name " * 900,
}


class TellingEach(Telling):
    """A prompt for each video, whose expiry moves with each answer."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts = dict(PROMPTS)
        self.answers = 0

    def describe(self, video):
        self.answers += 1
        moving = video.created_at + 10_000_000 + self.answers
        told = {
            "prompt": self.prompts[video.video_id],
            "expires_at": moving,
        }
        return {**super().describe(video), **told}


def asked(endpoint: FakeEndpoint) -> list[tuple[str, str, str | None]]:
    endpoint.wait_until_idle()
    return sorted((one.method, one.kind, one.video_id) for one in endpoint.log)


@each_binding
def test_rsync_settles_though_prompts_are_long_and_expiries_move(binding, tmp_path):
    """Onto the file system of the tests: ext4 has a block of 4 KiB for all of a file."""
    target, cache = tmp_path / "target", str(tmp_path / "cache")
    server = TellingEach()
    with (
        FakeEndpoint(personality=server) as endpoint,
        mount_directory() as directory,
    ):
        for name in PROMPTS:
            endpoint.add(name, size_bytes=SIZE)

        def mount() -> Mounted:
            return Mounted(
                *(endpoint, binding, "--metadata-ttl", "0s"),
                directory=directory,
                XDG_CACHE_HOME=cache,
            )

        with mount() as mounted:
            assert len(copied(mounted, target, "-X")) == 2 + len(PROMPTS)
            told = {path.name: attributes(path) for path in directory.iterdir()}
            kept = {path.name: attributes(path) for path in target.iterdir()}
            assert kept == told
            assert len(told) == len(PROMPTS)
            for found in told.values():
                assert len(found) == 1 + len(NAMES)
                assert found["user.hingfs.prompt"].decode().endswith("bytes in all]")
                assert not set(found["user.hingfs.prompt"]) & {0, 27}

            endpoint.wait_until_idle()
            endpoint.reset_log()
            assert copied(mounted, target) == []
            plain = asked(endpoint)
            endpoint.reset_log()
            assert copied(mounted, target, "-X") == []
            assert asked(endpoint) == plain

        endpoint.reset_log()
        with mount() as mounted:
            assert copied(mounted, target, "-X") == []
            endpoint.wait_until_idle()
            assert not endpoint.requests_of("status")

            # Another version is another file, and has its own.
            endpoint.videos["nul"].replace(size_bytes=SIZE + 1)
            server.prompts["nul"] = PROMPT
            mounted.path("nul").read_bytes()
            (line,) = copied(mounted, target, "-X")
            assert "nul.mp4" in line
            assert attributes(target / "nul.mp4")["user.hingfs.prompt"] == (
                PROMPT.encode()
            )


@bindings_in_turn("command", [("cp -a",), ("tar",), ("mv",)], ids=["cp", "tar", "mv"])
def test_programs_copy_what_a_video_is(binding, command, tmp_path):
    with own_mount(binding, personality=Telling(PROMPT)) as (endpoint, mounted):
        endpoint.add("v", size_bytes=SIZE)
        source, target = mounted.path("v"), tmp_path / "v.mp4"
        if command == "tar":
            archive = tmp_path / "a.tar"
            done = run(
                ["tar", "--xattrs", "-C", mounted.directory, "-cf", archive, "v.mp4"]
            )
            assert (done.returncode, done.stderr) == (0, "")
            done = run(["tar", "--xattrs", "-C", tmp_path, "-xf", archive])
        else:
            done = run([*command.split(), source, target])
        # Only the removal is refused.
        assert done.returncode == (command == "mv")
        assert ("Read-only file system" in done.stderr) == (command == "mv")

        assert attributes(target) == attributes(source)
        assert target.read_bytes() == endpoint.videos["v"].read(0, SIZE)
