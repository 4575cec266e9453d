"""Real mounts for tests: `hingfs mount` in a process of its own, on either binding.

`Mounted` starts the command line as a user would, waits for the kernel's mount table
(never by guessing how long), and on its way out unmounts, whatever happened, and
checks what must hold of every mount: the exit status, that the mount is gone, that no
traceback was logged, and that the token is nowhere in the log or on standard error.
"""

import contextlib
import itertools
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

from hingfs.library.names import name_of
from tests.support.endpoint import DEFAULT_TOKEN, FakeEndpoint
from tests.support.personalities import PERSONALITIES, Personality

BINDINGS = ("mfusepy", "fusepy")
FUSE_DEVICE = Path("/dev/fuse")
# How tests call it, and so what messages tell to call.
HINGFS = f"{sys.executable} -m hingfs"
REPOSITORY = Path(__file__).resolve().parents[2]
CLIPS = REPOSITORY / "hingfs" / "demo" / "clips"
# Generous: a machine under load is slow, a hang lasts for ever.
PATIENCE_SECONDS = 30.0

# Where mounts in the background log, unless a test says otherwise.
STATE_HOME = tempfile.TemporaryDirectory(prefix="hingfs-state-")
# Where mounts remember, each in its own directory: ports come again, and so do tokens.
CACHE_HOMES = tempfile.TemporaryDirectory(prefix="hingfs-cache-")

each_binding = pytest.mark.parametrize("binding", BINDINGS)


def bindings_in_turn(
    names: str | Sequence[str], rows: Iterable[Any], ids: Iterable[str | None] = ()
) -> pytest.MarkDecorator:
    """Parametrize by "binding" and *names*: the bindings take the *rows* in turn.

    For rows that differ in what the server says alone, of which each needs a mount of
    its own. Other tests show what both bindings make of sizes, bytes and errors.
    """
    named = [names] if isinstance(names, str) else names
    each = zip(itertools.cycle(BINDINGS), rows, [*ids] or itertools.repeat(None))
    return pytest.mark.parametrize(
        ("binding", *named),
        [
            pytest.param(
                *(binding, *(row if isinstance(row, tuple) else (row,))),
                id=name and f"{name}-{binding}",
            )
            for binding, row, name in each
        ],
    )


class NotUpError(Exception):
    """The mount process ended before its mount was there."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"the mount process ended with status {status}: {said}")
        self.status = status
        self.said = said


def require_fuse() -> None:
    """Fail, with the reason, where nothing can be mounted: a skip proves nothing."""
    if not FUSE_DEVICE.exists():
        pytest.fail(
            "there is no /dev/fuse, and these tests mount for real: modprobe fuse, "
            "or start the container with --device /dev/fuse --cap-add SYS_ADMIN",
            pytrace=False,
        )


def environment(**variables: str) -> dict[str, str]:
    """This process' environment in English, without HINGFS_ settings, with *variables*."""
    places = ("XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME")
    ours = ("HINGFS_", "JOURNAL_STREAM", *places)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
    # Where hingfs is not installed it is found as `python -m hingfs` finds it here.
    path = os.pathsep.join(filter(None, [str(REPOSITORY), kept.get("PYTHONPATH")]))
    return {
        **kept,
        "LC_ALL": "C.UTF-8",
        "PYTHONPATH": path,
        "XDG_STATE_HOME": STATE_HOME.name,
        "XDG_CACHE_HOME": tempfile.mkdtemp(dir=CACHE_HOMES.name),
        "XDG_DATA_HOME": tempfile.mkdtemp(dir=CACHE_HOMES.name),
        **variables,
    }


def hingfs(
    *arguments: str | Path, timeout: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end, with *variables* as its only settings."""
    return run(
        [sys.executable, "-m", "hingfs", *map(str, arguments)],
        env=environment(**variables),
        timeout=timeout,
    )


def run(
    command: Sequence[str | Path],
    *,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run *command* to its end in English; its status is the caller's to judge."""
    return subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=timeout,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**(environment() if env is None else env), "LC_ALL": "C.UTF-8"},
    )


def as_nobody() -> tuple[str, ...]:
    """A prefix that runs a command as the user nobody, if this is root."""
    if os.geteuid() != 0:
        pytest.fail("this test becomes another user, which only root can")
    return ("setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups")


def eventually(
    holds: Callable[[], object], what: str, seconds: float = PATIENCE_SECONDS
) -> None:
    """Return once *holds*; fail with *what* was waited for after *seconds*."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not holds():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {seconds} s: {what}")
        pause.wait(0.02)


def mount_line(directory: Path) -> str | None:
    """The line of the kernel's table for what is mounted on *directory*."""
    where = str(directory).replace(" ", "\\040")
    table = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    lines = [line for line in table.splitlines() if line.split(" ")[4] == where]
    return lines[-1] if lines else None


def detach(directory: Path) -> None:
    """Take away whatever is mounted on *directory*, used or not, dead or alive."""
    while mount_line(directory) is not None:
        subprocess.run(
            ["fusermount3", "-uz", str(directory)],
            check=True,
            capture_output=True,
            timeout=PATIENCE_SECONDS,
        )


@contextlib.contextmanager
def mount_directory() -> Iterator[Path]:
    """An empty directory that every user can reach, for one mount."""
    # Not pytest's tmp_path, whose parents only their owner may enter.
    directory = Path(os.path.realpath(tempfile.mkdtemp(prefix="hingfs-test-")))
    directory.chmod(0o755)
    try:
        yield directory
    finally:
        detach(directory)
        directory.rmdir()


class Mounted:
    """A foreground mount of *endpoint*, from `with` to the end of its block.

    *options* go to `hingfs mount`, which *launcher* runs. At the end SIGTERM ends the
    mount, unless the test did; *exit_status* is what the process must have ended with.
    *unforeseen* allows tracebacks in the log.
    """

    def __init__(
        self,
        endpoint: FakeEndpoint | str,
        binding: str,
        *options: str,
        token: str | None = None,
        exit_status: int = 0,
        unforeseen: bool = False,
        directory: Path | None = None,
        launcher: Sequence[str] = (sys.executable, "-m", "hingfs"),
        **variables: str,
    ) -> None:
        self._endpoint = endpoint
        self.base_url = endpoint if isinstance(endpoint, str) else endpoint.base_url
        self.token = token or DEFAULT_TOKEN
        self.binding = binding
        self.exit_status = exit_status
        self._unforeseen = unforeseen
        self._options = options
        self._launcher = launcher
        self._variables = variables
        self._given_directory = directory
        self._resources = contextlib.ExitStack()
        self.process: subprocess.Popen[bytes]
        self.directory: Path
        self.log_path: Path

    def __enter__(self) -> Self:
        require_fuse()
        with contextlib.ExitStack() as stack:
            work = Path(
                stack.enter_context(tempfile.TemporaryDirectory(prefix="hingfs-log-"))
            )
            self.directory = self._given_directory or stack.enter_context(
                mount_directory()
            )
            self.log_path = work / "log"
            before = mount_line(self.directory)  # a dead mount, if there is any
            self._stdout, self._stderr = work / "stdout", work / "stderr"
            with self._stdout.open("wb") as out, self._stderr.open("wb") as err:
                self.process = subprocess.Popen(
                    # Should this process be killed, the mount ends with it.
                    ["setpriv", "--pdeathsig", "TERM", *self.command],
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    env=environment(
                        **{
                            "HINGFS_TOKEN": self.token,
                            "XDG_CACHE_HOME": str(work / "cache"),
                            "XDG_DATA_HOME": str(work / "data"),
                            **self._variables,
                        }
                    ),
                )
            stack.callback(self._kill)
            self._await_mount(before)
            self._resources = stack.pop_all()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._resources:
            status = self.end()
            if exc is None:
                self._check(status)
            else:
                exc.add_note(f"log of the mount:\n{self.log[-4000:]}{self.stderr}")

    @property
    def endpoint(self) -> FakeEndpoint:
        """The fake that is mounted."""
        assert isinstance(self._endpoint, FakeEndpoint)
        return self._endpoint

    @property
    def command(self) -> list[str]:
        """The command, without setpriv before it."""
        return [
            *(*self._launcher, "mount", str(self.directory)),
            *("--foreground", "--fuse", self.binding, "--base-url", self.base_url),
            *("--log-file", str(self.log_path), "--log-level", "debug"),
            *self._options,
        ]

    @property
    def log(self) -> str:
        """The log so far, every level."""
        return _text(self.log_path)

    @property
    def stderr(self) -> str:
        return _text(self._stderr)

    @property
    def stdout(self) -> str:
        return _text(self._stdout)

    @property
    def is_mounted(self) -> bool:
        return mount_line(self.directory) is not None

    def path(self, video_id: str) -> Path:
        """The file of *video_id*."""
        return self.directory / name_of(video_id)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def wait(self, seconds: float = PATIENCE_SECONDS) -> int:
        """The exit status, once the process has ended."""
        return self.process.wait(seconds)

    def end(self) -> int:
        """Ask the mount to leave, if it has not left; its exit status."""
        if self.process.poll() is None:
            self.send(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self._kill()

    def _await_mount(self, before: str | None) -> None:
        """Return when the kernel has another mount than *before*, and it says it is up.

        Until it says so it looks at itself, and is in use to whoever unmounts it.
        """
        eventually(
            lambda: (
                self.process.poll() is not None
                or (mount_line(self.directory) not in {None, before} and self.stdout)
            ),
            f"a mount on {self.directory}",
        )
        if self.process.poll() is not None:
            raise NotUpError(self.process.returncode, self.log + self.stderr)

    def _kill(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        if self._given_directory is None:
            detach(self.directory)

    def _check(self, status: int) -> None:
        assert status == self.exit_status, f"{status}: {self.log}{self.stderr}"
        said = self.log + self.stderr + self.stdout
        assert self.token not in said
        assert "Bearer " not in said
        assert self._unforeseen or "Traceback" not in said, said


@contextlib.contextmanager
def own_mount(
    binding: str, *options: str, personality: Personality | None = None, **more: Any
) -> Iterator[tuple[FakeEndpoint, Mounted]]:
    """A server and a mount of it, as `Mounted` takes *options* and *more*."""
    with (
        FakeEndpoint(personality=personality or PERSONALITIES["openai"]) as endpoint,
        Mounted(endpoint, binding, *options, **more) as mounted,
    ):
        yield endpoint, mounted


def mount_in_background(
    endpoint: FakeEndpoint, directory: Path, *options: str | Path, **variables: Any
) -> subprocess.CompletedProcess[str]:
    """`hingfs mount`, which returns once its daemon serves, or has failed."""
    return hingfs(
        *("mount", directory, "--base-url", endpoint.base_url, *options),
        HINGFS_TOKEN=endpoint.token,
        **variables,
    )


def _text(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


# --- what programs say ---------------------------------------------------------------------


def errno_of_process(path: Path, call: str) -> str:
    """The errno of an expression about *path* in a Python of its own."""
    script = (
        "import errno, os, sys\n"
        "path = os.fsencode(sys.argv[1])\n"
        "try:\n"
        f"    print('no error:', {call})\n"
        "except OSError as error:\n"
        "    print(errno.errorcode[error.errno])\n"
    )
    done = run([sys.executable, "-c", script, path])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def stat_says(path: Path) -> str:
    """The words of `stat PATH` on standard error; empty if it succeeds."""
    return re.sub(r".*: ", "", run(["stat", path]).stderr.strip())
