"""A FUSE file system that shows the files of a folder, and does nothing but `preadv`.

    preadv.py --fuse LIBRARY FOLDER MOUNTPOINT

It runs on hingfs's own binding, with its options and its read-ahead of the kernel: what
is left between the two is what hingfs does for a read.
"""

import argparse
import errno
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from hingfs.mount import binding
from hingfs.mount.filesystem import Entry, OpenedFile, Refusal
from hingfs.mount.mountpoint import raise_kernel_readahead

_FIELDS = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino")


class Folder:
    """A `hingfs.mount.filesystem.Filesystem` of the regular files in *folder*."""

    def __init__(self, folder: Path, mountpoint: Path) -> None:
        self._folder = folder
        self._mountpoint = mountpoint

    def start(self) -> None:
        threading.Thread(target=self._raise_readahead, daemon=True).start()

    def _raise_readahead(self) -> None:
        self._mountpoint.stat()  # waits until the mount is up
        raise_kernel_readahead(self._mountpoint, binding.READAHEAD_KIB)

    def stop(self) -> None:
        """There is nothing to end."""

    def getattr(self, path: str | None, handle: int | None) -> Mapping[str, int]:
        try:
            found = os.stat(f"{self._folder}{path}" if handle is None else handle)
        except OSError as error:
            raise Refusal(error.errno or 0) from error
        return {name: getattr(found, name) for name in _FIELDS}

    def attributes_at_hand(self, name: str) -> Mapping[str, int] | None:
        return self.getattr(f"/{name}", None)

    def getxattr(self, _path: str, _attribute: str, _user_id: int) -> bytes:
        raise Refusal(errno.EOPNOTSUPP)

    def listxattr(self, _path: str, _user_id: int) -> Sequence[str]:
        return []

    def readdir(self, _path: str) -> Sequence[Entry]:
        with os.scandir(self._folder) as found:
            return [Entry(one.name, one.stat().st_mode, one.inode()) for one in found]

    def open(
        self, path: str, _flags: int, _interrupted: Callable[[], bool]
    ) -> OpenedFile:
        return OpenedFile(
            os.open(f"{self._folder}{path}", os.O_RDONLY), keep_cache=True
        )

    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        return os.preadv(handle, [buffer], offset)

    def release(self, handle: int) -> None:
        os.close(handle)

    def statfs(self) -> Mapping[str, int]:
        return {"f_bsize": 4096, "f_namemax": 255}


def main() -> None:
    """Serve until unmounted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fuse", required=True)
    parser.add_argument("folder", type=Path)
    parser.add_argument("mountpoint", type=Path)
    given = parser.parse_args()
    folder = Folder(given.folder.resolve(), given.mountpoint)
    binding.load(given.fuse).run(folder, str(given.mountpoint), {"ro": True})


if __name__ == "__main__":
    main()
