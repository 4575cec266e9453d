"""Which processes use a folder now, and how much each lets it hold.

Each has a file there with its limit, and a lock on it that ends with the process, however
that ends. So nobody needs process numbers, which differ between containers.

Threads: a `Membership` belongs to one thread.
"""

import contextlib
import fcntl
import os
import tempfile
from pathlib import Path

from .pair import Descriptor

_ENDING = ".process"


class Membership:
    """This process's file in *folder*, under its *holder* name. Methods raise OSError."""

    def __init__(self, folder: Path, holder: str, limit_bytes: int) -> None:
        self._path = folder / f"{holder}{_ENDING}"
        self._limit_bytes = limit_bytes
        self._file: Descriptor | None = None

    def renew(self) -> None:
        """Make the file, or make it anew if somebody deleted it."""
        with contextlib.suppress(FileNotFoundError):
            if self._file is not None and os.path.samestat(
                self._path.stat(), os.fstat(self._file.number)
            ):
                return
        number, made = tempfile.mkstemp(
            prefix=".", suffix=".tmp", dir=self._path.parent
        )
        file = Descriptor(number)
        os.write(number, str(self._limit_bytes).encode())
        fcntl.flock(number, fcntl.LOCK_EX)  # before others can find it
        Path(made).rename(self._path)
        self._file = file

    def end(self) -> None:
        """Leave: the file goes."""
        if self._file is not None:
            self._file = None
            self._path.unlink(missing_ok=True)


def running(folder: Path) -> dict[str, int]:
    """The holder names of the processes that use *folder*, with their limits.

    Files of processes that have ended are deleted.
    """
    found = {}
    for path in folder.glob(f"*{_ENDING}"):
        with contextlib.suppress(FileNotFoundError, ValueError):
            file = Descriptor(os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW))
            if locked(file):
                path.unlink()
            else:
                found[path.name.removesuffix(_ENDING)] = int(
                    os.pread(file.number, 32, 0)
                )
    return found


def locked(file: Descriptor) -> bool:
    """Whether nobody else has *file* locked, so that it is locked now.

    It is so until `unlock`, or until it is closed here and in each child forked since.
    """
    try:
        fcntl.flock(file.number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def unlock(file: Descriptor) -> None:
    """Nobody has *file* locked, a forked child that holds it open neither."""
    fcntl.flock(file.number, fcntl.LOCK_UN)
