"""Eighty programs that wait for a silent server keep nobody else waiting."""

import contextlib
import math
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.endpoint import content_get, stall_before_headers
from tests.support.mounting import (
    PATIENCE_SECONDS,
    Mounted,
    each_binding,
    environment,
    eventually,
    hingfs,
    own_mount,
    run,
)
from tests.support.reading import Handle

pytestmark = pytest.mark.fuse

PROGRAMS = 80
SIZE_BYTES = 600_000
# Calls that wait for the server do so for thirty seconds and more.
AT_ONCE_SECONDS = 10

# Ways to wait: an expression about *path* that gives a number of bytes.
WAYS = {
    "buffered": "len(os.read(os.open(path, os.O_RDONLY), 1 << 20))",
    "direct": (
        "os.readv(os.open(path, os.O_RDONLY | os.O_DIRECT), [mmap.mmap(-1, 1 << 20)])"
    ),
    # The kernel reads the mapped pages, so that Python's lock is not held meanwhile.
    "mapped": (
        "os.write(os.pipe()[1], memoryview(mmap.mmap(os.open(path, os.O_RDONLY), 0, "
        "prot=mmap.PROT_READ))[:4096])"
    ),
    "open": "os.fstat(os.open(path, os.O_RDONLY)).st_size",
}


class Programs:
    """Eighty threads of one process, each of which goes one way with a file of its own.

    *outcomes* has a line for each: what came, or the errno's name.
    """

    SCRIPT = """
import errno, mmap, os, sys, threading
def go(path):
    try:
        outcome = WAY
    except OSError as error:
        outcome = errno.errorcode[error.errno]
    sys.stdout.write(f"{outcome}\\n")
threads = [threading.Thread(target=go, args=[path]) for path in sys.argv[1:]]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""

    def __init__(self, way: str, paths: list[Path]) -> None:
        script = self.SCRIPT.replace("WAY", WAYS[way])
        self.process = subprocess.Popen(
            [sys.executable, "-c", script, *map(str, paths)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )

    def waiting(self) -> int:
        """How many threads are in a call that is not Python's own waiting."""
        tasks = Path(f"/proc/{self.process.pid}/task")
        calls = {
            task.name: (task / "syscall").read_text().split()[0]
            for task in tasks.iterdir()
        }
        main = calls.pop(str(self.process.pid))
        return sum(call not in {main, "running"} for call in calls.values())

    def outcomes(self) -> list[str]:
        return self.process.communicate(timeout=PATIENCE_SECONDS)[0].split()


@contextlib.contextmanager
def programs(way: str, mounted: Mounted, names: list[str]) -> Iterator[Programs]:
    """Eighty of them, once all wait."""
    started = Programs(way, [mounted.path(name) for name in names])
    try:
        eventually(lambda: started.waiting() == PROGRAMS, "eighty that wait")
        yield started
    finally:
        started.process.kill()
        started.process.communicate(timeout=PATIENCE_SECONDS)


def resident_bytes(mounted: Mounted) -> int:
    status = Path(f"/proc/{mounted.process.pid}/status").read_text()
    (kib,) = re.findall(r"^VmRSS:\s+(\d+) kB", status, re.MULTILINE)
    return int(kib) * 1024


# Reads a file whose pages the kernel has dropped, and says how much came.
READ_PAST_THE_KERNEL = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY)
os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
print(len(os.read(fd, 1 << 20)))
"""


def check_that_others_are_served(mounted: Mounted) -> None:
    """`stat`, `ls` and `df` answer at once, and so does what is in memory."""
    commands: list[list[str | Path]] = [
        ["stat", mounted.path("video_1")],
        ["ls", mounted.directory],
        ["df", mounted.directory],
        [sys.executable, "-c", READ_PAST_THE_KERNEL, mounted.path("cached")],
    ]
    for command in commands:
        done = run(command, timeout=AT_ONCE_SECONDS)
        assert (done.returncode, done.stderr) == (0, ""), command
    assert done.stdout == f"{SIZE_BYTES}\n"


@each_binding
@pytest.mark.parametrize("way", ["buffered", "direct", "mapped"])
def test_eighty_stalled_readers_keep_nobody_waiting(binding: str, way: str) -> None:
    """`stat`, `ls`, `df`, what is in memory and `umount` answer; then all are served."""
    names = [f"video_{number}" for number in range(PROGRAMS)]
    with own_mount(binding) as (endpoint, mounted):
        for name in (*names, "cached"):
            endpoint.add(name, size_bytes=SIZE_BYTES)
        mounted.path("cached").read_bytes()
        over = threading.Event()
        endpoint.inject(stall_before_headers(over), math.inf, content_get)
        with programs(way, mounted, names) as stalled:
            check_that_others_are_served(mounted)
            done = hingfs("umount", mounted.directory, timeout=AT_ONCE_SECONDS)
            assert done.returncode == 7  # in use
            assert stalled.waiting() == PROGRAMS
            assert resident_bytes(mounted) < 200_000_000

            over.set()

            came = 4096 if way == "mapped" else SIZE_BYTES
            assert stalled.outcomes() == [str(came)] * PROGRAMS


@each_binding
@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_eighty_opens_that_wait_keep_nobody_waiting(
    binding: str, *, known: bool
) -> None:
    """Names whose time is over, and new ones, wait; a program with an open file reads on."""
    names = [f"video_{number}" for number in range(PROGRAMS)]
    with own_mount(binding, "--metadata-ttl", "0s") as (endpoint, mounted):
        for name in (*names, "cached"):
            endpoint.add(name, size_bytes=SIZE_BYTES)
        with Handle(mounted.path("cached")) as cached:
            expected = cached.read_all()
            if known:
                run(["ls", "-l", mounted.directory])
            over = threading.Event()
            endpoint.inject(stall_before_headers(over), math.inf)
            with programs("open", mounted, names) as stalled:
                cached.forget_pages()
                answered = threading.Event()

                def answers() -> None:
                    os.statvfs(mounted.directory)
                    if known:  # else the kernel looks up one name at a time there
                        mounted.path("video_1").stat()
                    assert cached.read_all() == expected
                    answered.set()

                threading.Thread(target=answers, daemon=True).start()
                assert answered.wait(AT_ONCE_SECONDS)

                over.set()

                assert stalled.outcomes() == [str(SIZE_BYTES)] * PROGRAMS
