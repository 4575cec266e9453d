"""Locks on the bytes of a file, which other processes see and none of them must heed.

The kernel holds them for an open file, not for a process or a thread (fcntl_locking(2),
"Open file description locks"): two opens of one file are strangers to one another, in one
process too, and a lock goes with the last descriptor of its open file, however that ends.
A system without such locks, or of 32 bits, has none here. Nothing waits for a lock.

Threads: any thread may call any method. The interpreter's lock is held meanwhile: the
kernel only looks into a table, and to get that lock back takes much longer. A film on
loopback needs a thousand calls.
"""

import ctypes
import errno
import fcntl
import os
import sys

from ..blocks import ByteRange

_HAS_LOCKS = hasattr(fcntl, "F_OFD_SETLK") and sys.maxsize > 1 << 32
_libc = ctypes.PyDLL(None, use_errno=True)
# Locks of others that are found one after the other, or end meanwhile. A guess.
_TRIES = 32
# Whoever uses these locks has a lock on this byte that others may have as well; no file is
# so long.
_PRESENCE = ByteRange(1 << 62, (1 << 62) + 1)


class _Flock(ctypes.Structure):
    """struct flock, as fcntl(2) has it where a long has 64 bits."""

    _fields_ = (
        ("kind", ctypes.c_short),
        ("whence", ctypes.c_short),
        ("start", ctypes.c_longlong),
        ("length", ctypes.c_longlong),  # 0 is all that follows
        ("process", ctypes.c_int),  # 0 for these locks
    )


class ByteLocks:
    """Those of the open file *number*. Methods raise OSError; an empty span has no bytes."""

    __slots__ = ("_number", "_present")

    def __init__(self, number: int) -> None:
        self._number = number
        self._present = False

    def are_others(self) -> bool:
        """Whether another open file has ever locked a part of itself, and is still open."""
        return self._found(_PRESENCE) is not None

    def lock(self, span: ByteRange) -> ByteRange | None:
        """Lock *span* up to the first byte that another open file has locked.

        Returns the run of bytes that it has locked there, or None. The run may begin
        before *span* and end behind it.
        """
        if not self._present:
            self._present = self._set(fcntl.F_RDLCK, _PRESENCE)
        theirs = None
        for _ in range(_TRIES):
            if not len(span) or self._set(fcntl.F_WRLCK, span):
                break
            # Of several runs, any may be found first; or none, which has just ended.
            found = self._found(span)
            if found is not None:
                theirs, span = found, _before(span, found)
        return theirs

    def look(self, span: ByteRange) -> ByteRange | None:
        """As `lock`, and nothing is locked."""
        theirs = None
        for _ in range(_TRIES):
            found = self._found(span) if len(span) else None
            if found is None:
                break
            theirs, span = found, _before(span, found)
        return theirs

    def unlock(self, span: ByteRange) -> None:
        """This open file has no lock on *span* any more."""
        if len(span) and self._present:  # else it never had one
            self._set(fcntl.F_UNLCK, span)

    def _set(self, kind: int, span: ByteRange) -> bool:
        return self._call("F_OFD_SETLK", kind, span) is not None

    def _found(self, span: ByteRange) -> ByteRange | None:
        """A run of bytes, one at least in *span*, that another open file has locked."""
        found = self._call("F_OFD_GETLK", fcntl.F_WRLCK, span)
        if found is None or found.kind == fcntl.F_UNLCK:
            return None
        length = found.length or max(0, span.stop - found.start)
        return ByteRange(found.start, found.start + length)

    def _call(self, command: str, kind: int, span: ByteRange) -> _Flock | None:
        """What the kernel has made of its argument; None if it refuses a lock."""
        flock = _Flock(kind, os.SEEK_SET, span.start, len(span), 0)
        if not _HAS_LOCKS:
            flock.kind = fcntl.F_UNLCK
            return flock
        number = getattr(fcntl, command)
        while _libc.fcntl(self._number, number, ctypes.byref(flock)) < 0:
            error = ctypes.get_errno()
            if error in (errno.EAGAIN, errno.EACCES):  # fcntl(2) allows for both
                return None
            if error != errno.EINTR:
                raise OSError(error, os.strerror(error))
        return flock


def _before(span: ByteRange, other: ByteRange) -> ByteRange:
    """The part of *span* before *other*."""
    return ByteRange(span.start, max(span.start, min(span.stop, other.start)))
