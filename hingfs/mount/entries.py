"""How the entries of a directory and their attributes reach libfuse.

Decides that an open directory shows one listing, however often the kernel asks for a
piece of it, and that attributes which need no request come with the names. Leaves to
`operations` what is listed and known, and to `binding` how the two libraries differ.

Threads: callbacks run on libfuse's threads, many at once.
"""

import ctypes
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .filesystem import Entry, Filesystem

# libfuse 3, fuse.h: the kernel takes attributes with names (READDIRPLUS).
_READDIR_PLUS = 1 << 0
# This entry has them, so that the kernel does not look the name up for NAME_SECONDS:
# `ls -l` of 10,000 known names makes 10,000 calls instead of 20,000, and 1.3 s of CPU
# where libfuse 2 takes 1.65 (2 cores, medians of three, 2026-11-27). libfuse counts one
# look-up too many of an entry that no longer fits, and forgets its name at the unmount.
_FILL_DIR_PLUS = 1 << 1
_TIMES = {name: f"{name}spec" for name in ("st_atime", "st_mtime", "st_ctime")}


class OpenDirectories:
    """The listing that each open directory shows. Thread safety: all methods."""

    def __init__(self, filesystem: Filesystem) -> None:
        self._filesystem = filesystem
        self._handles = itertools.count(1)
        # handle -> its path, and what it shows; the kernel reads one handle at a time
        self._paths: dict[int, str] = {}
        self._listings: dict[int, Sequence[Entry]] = {}

    def open(self, path: str) -> int:
        """A new handle of *path*; later calls may come with no path."""
        handle = next(self._handles)
        self._paths[handle] = path
        return handle

    def entries(self, handle: int, offset: int) -> Iterator[tuple[int, Entry]]:
        """(offset of the next, entry) from *offset* on; from 0 on, of a new listing."""
        listing = self._listings.get(handle)
        if listing is None or offset == 0:
            path = self._paths[handle]
            listing = self._listings[handle] = self._filesystem.readdir(path)
        return ((i + 1, listing[i]) for i in range(offset, len(listing)))

    def close(self, handle: int) -> None:
        """Forget *handle*."""
        self._paths.pop(handle, None)
        self._listings.pop(handle, None)


class EntryCallbacks:
    """The callbacks for names and attributes, as `binding` mixes them in."""

    _filesystem: Filesystem
    _directories: OpenDirectories
    _stat_type: Any

    def fgetattr(self, path: bytes | None, buf: Any, fip: Any) -> int:
        """The attributes of an open file, else of *path*."""
        handle = fip.contents.fh if fip else None
        _fill_stat(buf, self._filesystem.getattr(decoded(path), handle))
        return 0

    def opendir(self, path: bytes, fip: Any) -> int:
        """A handle, which shows one listing."""
        fip.contents.fh = self._directories.open(str(decoded(path)))
        return 0

    def releasedir(self, _path: bytes | None, fip: Any) -> int:
        """The handle is closed."""
        self._directories.close(fip.contents.fh)
        return 0

    def readdir_2(
        self, _path: bytes | None, buf: Any, fill: Any, offset: int, fip: Any
    ) -> int:
        """As many entries as fit, for libfuse 2."""
        stat_buffer = self._stat_type()
        for following, entry in self._entries(fip, offset):
            stat_buffer.st_mode, stat_buffer.st_ino = entry.mode, entry.inode
            if fill(buf, _encoded(entry.name), stat_buffer, following):
                break
        return 0

    def readdir_3(
        self,
        _path: bytes | None,
        buf: Any,
        fill: Any,
        offset: int,
        fip: Any,
        flags: int,
    ) -> int:
        """As many entries as fit, with attributes where the kernel takes them."""
        stat_buffer = self._stat_type()
        pointer = ctypes.pointer(stat_buffer)
        for following, entry in self._entries(fip, offset):
            known = None
            if flags & _READDIR_PLUS:
                known = self._filesystem.attributes_at_hand(entry.name)
            if known is None:
                stat_buffer.st_mode, stat_buffer.st_ino = entry.mode, entry.inode
            else:
                _fill_stat(pointer, known)
            plus = 0 if known is None else _FILL_DIR_PLUS
            if fill(buf, _encoded(entry.name), pointer, following, plus):
                break
        return 0

    def _entries(self, fip: Any, offset: int) -> Iterator[tuple[int, Entry]]:
        return self._directories.entries(fip.contents.fh, offset)


def decoded(path: bytes | None) -> str | None:
    """*path* as Python has it; None where libfuse gives none."""
    return None if path is None else path.decode("utf-8", "surrogateescape")


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", "surrogateescape")


def _fill_stat(pointer: Any, attributes: Mapping[str, int]) -> None:
    """Make *attributes* the struct stat at *pointer*, and all else 0; times are in ns."""
    target = pointer.contents
    ctypes.memset(pointer, 0, ctypes.sizeof(target))
    for field, value in attributes.items():
        timespec = _TIMES.get(field)
        if timespec is None:
            setattr(target, field, value)
        else:
            when = getattr(target, timespec)
            when.tv_sec, when.tv_nsec = divmod(value, 10**9)
