"""Writes of whole grid blocks that leave no copy in the kernel's page cache.

Decides how bytes are laid out for O_DIRECT, and that a directory whose file system
refuses it is not asked again. Leaves to `video` when it is worth it, and to `pair` what
is not written here. Reads of these files go through the page cache: the kernel takes out
of it what is written beneath, and a page that stays is found by its block's checksum.

Threads: one.
"""

import contextlib
import errno
import mmap
import os
import time
from collections.abc import Sequence

from ..blocks import MIB, views_of
from .layout import GRID_BYTES

# Of one write; the buffer is as large. A GB costs 0.09 s of CPU so, its checksums among
# them, and 0.11 s by 1 MiB. Through the page cache it costs 0.4 to 1.2 s, and 0.25 s if the
# kernel is told to drop it there (RWF_DONTCACHE). ext4, Linux 6.18, medians of 3 to 5,
# 2026-11-28.
_WRITE_BYTES = 4 * MIB
# A disk that writes fewer bytes in a second is slow, for so many seconds. Guesses: the disk of
# the figures above wrote 4 MiB in 3 ms, and one time in 100 in 13 ms or more while a dozen
# programs wanted its two cores; a slow one would take 27 ms. One slow write of a film of
# 781 MB on loopback had 220 MB go through the page cache with 0.5 s, and 16 MB at most with
# 0.1 s. A mount took 0.23 s of CPU a GB more than without a disk cache through libfuse 3, and
# 0.40 s through libfuse 2 (scripts/bench, 2026-11-28).
_SLOW_BYTES = 150 * MIB
_SLOW_SECONDS = 0.1


class DirectWriter:
    """Writes to the files of one directory, past the page cache."""

    def __init__(self) -> None:
        # Made at the first write: O_DIRECT wants whole pages, and blocks begin anywhere.
        self._buffer: memoryview | None = None
        self._refused = False  # by the file system; only ever set
        self._slow_at = -_SLOW_SECONDS  # monotonic

    @property
    def is_quick(self) -> bool:
        """Whether no write was slow just now."""
        return time.monotonic() >= self._slow_at + _SLOW_SECONDS

    def write(self, number: int, views: Sequence[memoryview], at: int) -> int:
        """Write *views*, end to end, at the grid block that begins at offset *at*.

        To the file that is open as *number*. Returns how many bytes are written, from
        the first on: those of whole grid blocks, but fewer or none where the file system
        does not do it. Raises OSError.
        """
        size = sum(map(len, views)) // GRID_BYTES * GRID_BYTES
        if self._refused or not size:
            return 0
        try:
            if self._buffer is None:
                self._buffer = _aligned(_WRITE_BYTES)
            file = _opened(number)
        except OSError as error:
            # If there is more to it, the write through the page cache tells.
            self._refused = error.errno == errno.EINVAL
            return 0
        begun = time.monotonic()
        try:
            written = _written(file, views_of(views, 0, size), at, self._buffer)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            self._refused = True
            return 0
        finally:
            os.close(file)
        now = time.monotonic()
        if written < _SLOW_BYTES * (now - begun):
            self._slow_at = now
        return written


def _opened(number: int) -> int:
    """The file that is open as *number*, open for direct writes beside it.

    Others read through *number*, and reads shall not be direct. The file may have lost
    its name.
    """
    flags = os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC
    return os.open(f"/proc/self/fd/{number}", flags)


def _aligned(size: int) -> memoryview:
    """Memory that begins with a page, in huge pages if there are any.

    With those a GB costs 0.02 s less: fewer pages are held for the disk (2026-11-28).
    """
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    with contextlib.suppress(OSError):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return memoryview(memory)


def _written(
    file: int, views: Sequence[memoryview], at: int, buffer: memoryview
) -> int:
    size = sum(map(len, views))
    done = 0
    while done < size:
        end = 0
        for view in views_of(views, done, min(done + len(buffer), size)):
            buffer[end : end + len(view)] = view
            end += len(view)
        written = os.pwritev(file, [buffer[:end]], at + done)
        done += written
        if written < end:  # the next write, through the page cache, tells why
            break
    return done
