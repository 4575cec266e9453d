"""The contenders, and a mount of one of them from its start to its end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from .origin import Origin, Way
from .system import (
    ContenderError,
    cpu_seconds,
    find_rclone,
    is_mounted,
    peak_rss_bytes,
    read_away,
    run,
    wait_until,
)

PROJECT = Path(__file__).resolve().parents[2]
MOUNT_SECONDS = 20
UNMOUNT_SECONDS = 15
_PREADV = Path(__file__).with_name("preadv.py")
# The folders of a home in which a mount finds what an earlier one kept.
KEPT = ("xdg-cache", "cache")


@dataclass(frozen=True, slots=True)
class Contender:
    """One column of the table.

    *options* are a mount's own command-line options, or the connections of aria2c.
    """

    key: str
    label: str
    family: str
    options: tuple[str, ...] = ()

    @property
    def is_mount(self) -> bool:
        """Whether it shows files, rather than downloading them."""
        return self.family != "tools"


CONTENDERS = (
    Contender("hingfs-fuse3", "hingfs fuse3", "hingfs", ("--fuse", "mfusepy")),
    Contender("hingfs-fuse2", "hingfs fuse2", "hingfs", ("--fuse", "fusepy")),
    Contender("rclone-off", "rclone off", "rclone", ("--vfs-cache-mode", "off")),
    Contender("rclone-full", "rclone full", "rclone", ("--vfs-cache-mode", "full")),
    Contender(
        "rclone-tuned",
        "rclone tuned",
        "rclone",
        (
            *("--vfs-cache-mode", "full"),
            *("--vfs-read-chunk-streams", "8", "--vfs-read-chunk-size", "4M"),
        ),
    ),
    Contender("preadv-fuse3", "preadv fuse3", "preadv", ("--fuse", "mfusepy")),
    Contender("preadv-fuse2", "preadv fuse2", "preadv", ("--fuse", "fusepy")),
    Contender("aria2c-x8", "aria2c x8", "tools", ("8",)),
    Contender("aria2c-x16", "aria2c x16", "tools", ("16",)),
    Contender("curl", "curl", "tools"),
    Contender("local", "local file", "tools"),
)


@dataclass(slots=True)
class Mount:
    """A contender's process and its mountpoint; a context manager that ends both."""

    contender: Contender
    mountpoint: Path
    process: subprocess.Popen[bytes]
    stderr: Path
    started: float
    up_after_seconds: float = 0

    def __enter__(self) -> Self:
        try:
            wait_until(self._is_up_or_died, MOUNT_SECONDS)
            if self.process.poll() is not None:
                self._fail(f"ended with {self.process.returncode}")
            if not is_mounted(self.mountpoint):
                self._fail(f"did not mount within {MOUNT_SECONDS} s")
            # statfs: an answer of the mount that sends no request
            run(["stat", "-f", self.mountpoint], deadline_seconds=MOUNT_SECONDS)
            self.up_after_seconds = time.perf_counter() - self.started
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def cpu_seconds(self) -> float:
        """CPU time the mount has used so far."""
        return cpu_seconds(self.process.pid)

    def peak_rss_bytes(self) -> int:
        """Largest resident size of the mount so far."""
        return peak_rss_bytes(self.process.pid)

    def stop(self) -> None:
        """Unmount and end the process, by force if it must be."""
        self.process.terminate()
        try:
            self.process.wait(UNMOUNT_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if is_mounted(self.mountpoint):
            _unmount_by_force(self.mountpoint)

    def said(self) -> str:
        """The last of what the mount wrote to stderr."""
        text = self.stderr.read_text(errors="replace").strip()
        return " / ".join(text.splitlines()[-3:]) or "nothing on stderr"

    def _is_up_or_died(self) -> bool:
        return is_mounted(self.mountpoint) or self.process.poll() is not None

    def _fail(self, what: str) -> None:
        message = f"{self.contender.label} {what}: {self.said()}"
        raise ContenderError(message)


def bring_program_into_memory(contender: Contender) -> None:
    """Have the page cache hold the program of *contender*, all that it loads included."""
    if contender.family == "rclone":
        read_away(find_rclone())
    elif contender.is_mount:
        loading = (
            "import hingfs.cli.mount; from hingfs.mount import binding; "
            f"binding.load({contender.options[1]!r})"
        )
        run(
            [sys.executable, "-c", loading],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            deadline_seconds=MOUNT_SECONDS,
        )


@contextmanager
def mounted(
    contender: Contender, origin: Origin, work: str, way: Way, home: Path
) -> Iterator[Mount]:
    """A mount of *contender* that shows the videos of *work*.

    Caches, settings and the mountpoint are in *home*: an empty folder is a first mount
    ever.
    """
    mountpoint = home / "mnt"
    mountpoint.mkdir(exist_ok=True)
    command = _COMMANDS[contender.family]
    argv, own_env = command(contender, origin, work, way, home)
    stderr = home / "stderr"
    started = time.perf_counter()
    with stderr.open("wb") as sink:
        process = subprocess.Popen(
            argv,
            cwd=PROJECT,
            env=_clean_environment(home, origin.certificate) | own_env,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=sink,
            start_new_session=True,
        )
    with Mount(contender, mountpoint, process, stderr, started) as mount:
        yield mount


def _hingfs(
    contender: Contender, origin: Origin, work: str, way: Way, home: Path
) -> tuple[list[str | Path], dict[str, str]]:
    argv: list[str | Path] = [
        *(sys.executable, "-m", "hingfs", "mount", home / "mnt", "--foreground"),
        *("--base-url", origin.api_url(work, way), *contender.options),
    ]
    return argv, {"HINGFS_TOKEN": origin.token}


def _rclone(
    contender: Contender, origin: Origin, work: str, way: Way, home: Path
) -> tuple[list[str | Path], dict[str, str]]:
    argv: list[str | Path] = [
        *(find_rclone(), "mount", ":http:", home / "mnt"),
        *("--http-url", origin.listing_url(work, way)),
        *("--config", home / "rclone.conf", "--cache-dir", home / "cache"),
        *contender.options,
    ]
    headers = f"Authorization,Bearer {origin.token}"
    return argv, {"RCLONE_HTTP_HEADERS": headers}


def _preadv(
    contender: Contender, origin: Origin, work: str, _way: Way, home: Path
) -> tuple[list[str | Path], dict[str, str]]:
    folders = (origin.originals(work), home / "mnt")
    argv: list[str | Path] = [sys.executable, _PREADV, *contender.options, *folders]
    return argv, {"PYTHONPATH": str(PROJECT)}


_COMMANDS = {"hingfs": _hingfs, "rclone": _rclone, "preadv": _preadv}


def _clean_environment(home: Path, certificate: Path) -> dict[str, str]:
    """This environment without anybody's settings, caches, proxies or authorities.

    The one authority is the origin's *certificate*.
    """
    env = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("HINGFS_", "RCLONE_"))
        and not name.lower().endswith("_proxy")
        and not name.endswith("_CA_BUNDLE")
    }
    env["SSL_CERT_FILE"] = str(certificate)
    for name in ("CACHE", "CONFIG", "DATA", "STATE"):
        folder = home / f"xdg-{name.lower()}"
        folder.mkdir(exist_ok=True)
        env[f"XDG_{name}_HOME"] = str(folder)
    return env


def _unmount_by_force(mountpoint: Path) -> None:
    for argv in (("fusermount3", "-uz"), ("fusermount", "-uz"), ("umount", "-l")):
        try:
            subprocess.run([*argv, mountpoint], capture_output=True, check=False)
        except FileNotFoundError:
            continue
        if not is_mounted(mountpoint):
            return
