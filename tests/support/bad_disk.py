"""A disk that fails or hangs when told to: a FUSE file system over a healthy folder.

A file in the control folder is trouble: `EIO` in `*.read` has each read fail, and `hang`
in `data.read` has each read of a `.data` file wait until the control file is gone. The
kernel keeps nothing of it, so each call of the program above arrives here.

Threads: `bad_disk` runs the file system as a process of its own; calls come from many.
"""

import contextlib
import errno
import functools
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.mounting import detach, environment, eventually, mount_line

HANG = "hang"
STAT_FIELDS = tuple(
    f"st_{name}"
    for name in (
        *("mode", "nlink", "uid", "gid", "size", "ino", "blocks"),
        *("atime_ns", "mtime_ns", "ctime_ns"),
    )
)


class BadDisk:
    """The disk that shows *folder* on *directory*, and its troubles."""

    def __init__(self, directory: Path, folder: Path, control: Path) -> None:
        self.directory = directory
        self.folder = folder
        self._control = control

    @contextlib.contextmanager
    def trouble(self, *calls: str, what: str = "EIO") -> Iterator[None]:
        """Have *calls* meet *what*, an errno or HANG, meanwhile."""
        paths = [self._control / call for call in calls]
        for path in paths:
            made = path.with_suffix(".new")
            made.write_text(what)
            made.rename(path)
        try:
            yield
        finally:
            for path in paths:
                path.unlink()


@contextlib.contextmanager
def bad_disk(directory: Path) -> Iterator[BadDisk]:
    """A healthy disk on *directory*, which its user may trouble."""
    folder, control = (directory.with_name(f"{directory.name}-{w}") for w in "fc")
    for made in (directory, folder, control):
        made.mkdir(mode=0o700, parents=True)
    command = [sys.executable, "-m", __name__, folder, directory, control]
    with subprocess.Popen(
        list(map(str, command)), env=environment(FUSE_LIBRARY_NAME="fuse3")
    ) as process:
        try:
            eventually(lambda: mount_line(directory), "the bad disk")
            yield BadDisk(directory, folder, control)
        finally:
            for left in control.iterdir():
                left.unlink()
            detach(directory)
            process.wait(10)


def _serve(folder: str, directory: str, control: Path) -> None:
    from mfusepy import FUSE, Operations  # noqa: PLC0415 - only this process loads FUSE

    class Disk(Operations):  # type: ignore[misc]
        use_ns = True

        def init_with_config(self, _connection: Any, config: Any) -> None:
            config.direct_io = 1
            config.use_ino = 1
            config.hard_remove = 1

        def getattr(self, path: str, fh: int | None = None) -> dict[str, int]:
            found = os.lstat(folder + path) if fh is None else os.fstat(fh)
            return {
                name.removesuffix("_ns"): getattr(found, name) for name in STAT_FIELDS
            }

        def readdir(self, path: str, _fh: int) -> list[tuple[str, dict[str, int], int]]:
            with os.scandir(folder + path) as entries:
                return [(one.name, {"st_ino": one.inode()}, 0) for one in entries]

        def statfs(self, path: str) -> dict[str, int]:
            found = os.statvfs(folder + path)
            names = ("f_bsize", "f_frsize", "f_blocks", "f_bfree", "f_bavail")
            return {name: getattr(found, name) for name in names}

        def open(self, path: str, flags: int) -> int:
            return os.open(folder + path, flags & ~os.O_NOFOLLOW)

        def create(self, path: str, mode: int, _fi: Any = None) -> int:
            return os.open(folder + path, os.O_RDWR | os.O_CREAT | os.O_EXCL, mode)

        def read(self, _path: str, size: int, offset: int, fh: int) -> bytes:
            return os.pread(fh, size, offset)

        def write(self, _path: str, data: bytes, offset: int, fh: int) -> int:
            return os.pwrite(fh, data, offset)

        def truncate(self, path: str, length: int, fh: int | None = None) -> None:
            os.truncate(folder + path if fh is None else fh, length)

        def utimens(self, path: str, times: tuple[int, int]) -> None:
            os.utime(folder + path, ns=times)

        def link(self, target: str, source: str) -> None:
            os.link(folder + source, folder + target)

        def rename(self, old: str, new: str) -> None:
            Path(folder + old).rename(folder + new)

        def unlink(self, path: str) -> None:
            Path(folder + path).unlink()

        def mkdir(self, path: str, mode: int) -> None:
            Path(folder + path).mkdir(mode)

        def rmdir(self, path: str) -> None:
            Path(folder + path).rmdir()

        def chmod(self, path: str, mode: int) -> None:
            Path(folder + path).chmod(mode)

        def fsync(self, _path: str, _datasync: int, fh: int) -> None:
            os.fsync(fh)

        def release(self, _path: str, fh: int) -> None:
            os.close(fh)

    for call, method in list(vars(Disk).items()):
        if callable(method) and call not in {"init_with_config", "release"}:
            setattr(Disk, call, _troubled(call, method, control))
    FUSE(
        Disk(),
        directory,
        foreground=True,
        max_threads=40,
        attr_timeout=0,
        entry_timeout=0,
    )


def _troubled(call: str, method: Callable[..., Any], control: Path) -> Any:
    kind = call if call in {"read", "write"} else "other"

    @functools.wraps(method)
    def troubled(disk: object, path: str | None, *arguments: Any) -> Any:
        ending = (path or "").rpartition(".")[2]  # a deleted file has no path
        for name in (f"*.{kind}", f"{ending}.{kind}"):
            _meet(control / name)
        return method(disk, path, *arguments)

    return troubled


def _meet(trouble: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        what = trouble.read_text()
        if what != HANG:
            raise OSError(getattr(errno, what), what)
        while trouble.exists():
            time.sleep(0.01)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
