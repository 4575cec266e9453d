"""`.wait/` of real mounts: programs wait in open, at no cost to others, and can be ended."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    CLIPS,
    Mounted,
    as_nobody,
    each_binding,
    environment,
    errno_of_process,
    eventually,
    hingfs,
    mount_directory,
    own_mount,
    run,
    stat_says,
)

CLIP = CLIPS / "moov_last.mp4"
SIZE_BYTES = 300_000
# An open looks five times a second whether it is to end; the rest is for a busy machine.
ENDS_WITHIN_SECONDS = 3.0
LEAVES_WITHIN_SECONDS = 5.0
OFTEN = ("--poll-interval", "50ms")

pytestmark = pytest.mark.fuse

# By a private map; a shared one needs the kernel's pages.
READS = """
import errno, mmap, os, sys
source = os.open(sys.argv[1], os.O_RDONLY)
try:
    mmap.mmap(source, 0, mmap.MAP_SHARED, mmap.PROT_READ)
except OSError as error:
    assert error.errno == errno.ENODEV, error
else:
    raise AssertionError("a shared map")
mapped = mmap.mmap(source, 0, mmap.MAP_PRIVATE, mmap.PROT_READ)
sys.stdout.buffer.write(mapped)
"""
# Without a look at the size, as BusyBox' cp and cat do.
SENDS = """
import os, sys
source = os.open(sys.argv[1], os.O_RDONLY)
while os.sendfile(1, source, None, 1 << 20):
    pass
"""
MANY = 100
OPENS_MANY = f"""
import errno, os, sys
from concurrent.futures import ThreadPoolExecutor

def ends(number):
    try:
        os.open(f"{{sys.argv[1]}}/.wait/never-{{number}}.mp4", os.O_RDONLY)
    except OSError as error:
        return errno.errorcode[error.errno]

with ThreadPoolExecutor({MANY}) as pool:
    print(*set(pool.map(ends, range({MANY}))))
"""


def awaited(mounted: Mounted, video_id: str) -> Path:
    return mounted.directory / ".wait" / f"{video_id}.mp4"


def waiting(mounted: Mounted) -> int:
    """How many opens wait."""
    return (mounted.directory / ".wait").stat().st_size


def asked_again(endpoint: FakeEndpoint, video_id: str) -> bool:
    return len(endpoint.requests_of("status", video_id=video_id)) > 1


def state_of(process: "subprocess.Popen[str]") -> str:
    """The letter that ps shows; D is a process that no signal reaches."""
    stat = Path(f"/proc/{process.pid}/stat").read_text()
    return stat.rpartition(") ")[2][0]


@contextmanager
def begun(*command: str | Path, **more: str) -> Iterator["subprocess.Popen[str]"]:
    """A program under way, whose output can be read; it ends with the block.

    It heeds Ctrl-C, though the tests may run in the background of a shell.
    """
    process = subprocess.Popen(
        ["env", "--default-signal=INT", *map(str, command)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="surrogateescape",
        env=environment(**more),
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=LEAVES_WITHIN_SECONDS)


@contextmanager
def one_waits(mounted: Mounted, video_id: str) -> Iterator["subprocess.Popen[str]"]:
    """A program that waits for *video_id*."""
    with begun("cp", awaited(mounted, video_id), "/dev/null") as process:
        eventually(lambda: waiting(mounted) == 1, "it waits")
        yield process


def vlc(path: Path) -> list[str | Path]:
    return [
        *(*as_nobody(), "cvlc", "-vv", "--no-color", "--play-and-exit"),
        *("--intf", "dummy", "--vout", "dummy", "--aout", "dummy"),
        *("--rate", "8", path),
    ]


@each_binding
def test_programs_wait_and_then_have_the_right_bytes(
    binding: str, tmp_path: Path
) -> None:
    """cp, mmap, sendfile, ffmpeg and VLC, all at once; others go on meanwhile."""
    md5 = ("-v", "error", "-c", "copy", "-f", "md5", "-")
    expected = CLIP.read_bytes()
    with (
        mount_directory() as home,
        own_mount(binding, "--allow-other", *OFTEN) as (endpoint, mounted),
    ):
        home.chmod(0o777)
        endpoint.add("other", size_bytes=SIZE_BYTES)
        ids = ("cp", "python", "sendfile", "ffmpeg", "vlc")
        for video_id in ids:
            endpoint.add(video_id, data=CLIP, status="queued")
        paths = {video_id: awaited(mounted, video_id) for video_id in ids}
        copies = {video_id: tmp_path / video_id for video_id in ids}
        python = (sys.executable, "-c")
        with (
            begun("cp", paths["cp"], copies["cp"]) as cp,
            begun(
                "sh", "-c", *_into(copies["python"], *python, READS, paths["python"])
            ) as reads,
            begun(
                "sh",
                "-c",
                *_into(copies["sendfile"], *python, SENDS, paths["sendfile"]),
            ) as sends,
            begun("ffmpeg", "-i", paths["ffmpeg"], *md5) as ffmpeg,
            begun(
                *vlc(paths["vlc"]), HOME=str(home), XDG_RUNTIME_DIR=str(home)
            ) as plays,
        ):
            eventually(lambda: waiting(mounted) == len(ids), "all wait")
            for video_id in ids:
                endpoint.wait_until(partial(asked_again, endpoint, video_id))
                assert paths[video_id].stat().st_size == 0
            assert stat_says(mounted.path("cp")) == "Resource temporarily unavailable"
            assert os.listdir(mounted.directory) == ["other.mp4"]
            assert len(mounted.path("other").read_bytes()) == SIZE_BYTES
            assert waiting(mounted) == len(ids)

            for video_id in ids:
                endpoint.set_status(video_id, "completed")
            programs = (cp, reads, sends, ffmpeg, plays)
            said = [program.communicate(timeout=60) for program in programs]
            assert [program.returncode for program in programs] == [0] * 5, said

        assert all(copies[name].read_bytes() == expected for name in ids[:3])
        assert said[3][0] == run(["ffmpeg", "-i", CLIP, *md5]).stdout
        assert "EOF reached" in said[4][1]
        for entry in home.iterdir():
            run(["rm", "-r", entry])
        assert waiting(mounted) == 0
        assert {path.stat().st_size for path in paths.values()} == {len(expected)}


@each_binding
def test_a_mount_that_was_told_not_yet_believes_the_path_that_waits(
    binding: str,
) -> None:
    """And forgets what it was told, so that the ordinary path is there as well."""
    with own_mount(binding, "--negative-ttl", "1h") as (endpoint, mounted):
        endpoint.add("video", size_bytes=SIZE_BYTES, status="queued")
        assert stat_says(mounted.path("video")) == "Resource temporarily unavailable"
        endpoint.set_status("video", "completed")
        assert stat_says(mounted.path("video")) == "Resource temporarily unavailable"

        assert len(awaited(mounted, "video").read_bytes()) == SIZE_BYTES
        assert mounted.path("video").stat().st_size == SIZE_BYTES


def _into(copy: Path, *command: str | Path) -> list[str]:
    """Arguments of `sh -c` that run *command* into *copy*."""
    return ['copy=$1; shift; exec "$@" > "$copy"', "sh", str(copy), *map(str, command)]


@each_binding
def test_programs_that_are_ended_while_they_wait_are_gone_at_once(
    binding: str,
) -> None:
    """And nothing is asked for them any more."""
    every = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
    with (
        mount_directory() as home,
        own_mount(binding, "--allow-other", *OFTEN) as (endpoint, mounted),
    ):
        endpoint.add("never", status="queued")
        path = awaited(mounted, "never")
        commands: Sequence[tuple[Sequence[signal.Signals], Sequence[str | Path]]] = (
            ((*every, signal.SIGTSTP), ("cp", path, "/dev/null")),
            (every, ("ffmpeg", "-v", "error", "-i", path, "-f", "null", "-")),
            (every, (sys.executable, "-c", READS, path)),
            # VLC, as mpv, has other threads take signals, and waits for the one that opens.
            ((signal.SIGKILL,), vlc(path)),
        )
        for number, command in ((n, command) for ns, command in commands for n in ns):
            with begun(*command, HOME=str(home)) as process:
                eventually(lambda: waiting(mounted) == 1, "it waits")
                assert state_of(process) == "S"
                process.send_signal(number)
                began = time.monotonic()
                if number == signal.SIGTSTP:
                    eventually(lambda: waiting(mounted) == 0, "none waits")
                    process.send_signal(signal.SIGCONT)
                process.wait(10 * ENDS_WITHIN_SECONDS)
                assert time.monotonic() - began < ENDS_WITHIN_SECONDS
                assert process.returncode != 0
            eventually(lambda: waiting(mounted) == 0, "none waits")
        endpoint.wait_until_idle()
        asked = len(endpoint.requests_of("status", video_id="never"))
        endpoint.add("other", status="queued")
        with one_waits(mounted, "other"):
            endpoint.wait_until(
                lambda: len(endpoint.requests_of("status", video_id="other")) > 4
            )

        assert len(endpoint.requests_of("status", video_id="never")) == asked


@each_binding
def test_a_hundred_that_wait_delay_no_other_and_end_with_the_mount(
    binding: str,
) -> None:
    with own_mount(binding) as (endpoint, mounted):
        endpoint.add("ready", size_bytes=SIZE_BYTES)
        endpoint.add("unknown", size_bytes=SIZE_BYTES)
        for number in range(MANY):
            endpoint.add(f"never-{number}", status="queued")
        with begun(sys.executable, "-c", OPENS_MANY, mounted.directory) as many:
            eventually(lambda: waiting(mounted) == MANY, "all wait")

            assert len(mounted.path("ready").read_bytes()) == SIZE_BYTES
            assert mounted.path("unknown").stat().st_size == SIZE_BYTES
            assert awaited(mounted, "unknown").stat().st_size == SIZE_BYTES
            assert awaited(mounted, "never-0").stat().st_size == 0
            assert len(os.listdir(mounted.directory)) == 2
            assert awaited(mounted, "ready").read_bytes()
            assert waiting(mounted) == MANY
            mounted.send(signal.SIGTERM)

            assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
            said, _ = many.communicate(timeout=LEAVES_WITHIN_SECONDS)
    assert said == "EIO\n"


@each_binding
@pytest.mark.parametrize("how", ["SIGINT", "umount", "umount --lazy"])
def test_opens_that_wait_are_ended_with_their_mount(binding: str, how: str) -> None:
    """A plain umount(8) finds the mount busy: the kernel cannot tell waits from files."""
    with own_mount(binding, *OFTEN) as (endpoint, mounted):
        endpoint.add("never", status="queued")
        with one_waits(mounted, "never") as process:
            if how == "SIGINT":
                mounted.send(signal.SIGINT)
            else:
                plain = run(["umount", mounted.directory])
                assert (plain.returncode != 0, "busy" in plain.stderr) == (True, True)
                done = hingfs(*how.split(), mounted.directory)
                assert (done.returncode, done.stderr) == (0, "")

            _, said = process.communicate(timeout=LEAVES_WITHIN_SECONDS)
            assert mounted.wait(LEAVES_WITHIN_SECONDS) == 0
        assert "Input/output error" in said
        assert not mounted.is_mounted


@each_binding
def test_umount_leaves_a_mount_where_a_file_is_open_beside_a_wait(binding: str) -> None:
    with own_mount(binding, *OFTEN) as (endpoint, mounted):
        endpoint.add("never", status="queued")
        endpoint.add("ready", size_bytes=SIZE_BYTES)
        with one_waits(mounted, "never") as process:
            holds = 'exec <"$1"; echo; exec sleep 60'
            with begun("sh", "-c", holds, "sh", mounted.path("ready")) as holder:
                assert holder.stdout
                holder.stdout.readline()
                done = hingfs("umount", mounted.directory)
                assert (done.returncode, f"({holder.pid})" in done.stderr) == (7, True)
                assert process.poll() is None
                assert waiting(mounted) == 1


@each_binding
def test_it_is_unlisted_and_cannot_be_written(binding: str) -> None:
    with own_mount(binding) as (endpoint, mounted):
        endpoint.add("ready", size_bytes=SIZE_BYTES)
        directory = mounted.directory / ".wait"
        for call in ("os.mkdir(path)", "os.open(path, os.O_CREAT | os.O_WRONLY)"):
            assert errno_of_process(directory / "new", call) == "EROFS"
        assert errno_of_process(awaited(mounted, "ready"), "os.utime(path)") == "EROFS"
        assert os.listdir(directory) == []
        assert os.listdir(mounted.directory) == ["ready.mp4"]
        assert directory.stat().st_nlink == 2

        # tar takes the size before it opens the file.
        archives = ["tar", "-C", str(directory), "-cO", "ready.mp4"]
        assert len(run(archives).stdout) < SIZE_BYTES // 2
        assert len(mounted.path("ready").read_bytes()) == SIZE_BYTES
        assert len(run(archives).stdout) > SIZE_BYTES // 2
