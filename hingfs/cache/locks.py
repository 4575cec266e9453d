"""Locks on the bytes of a file, which other processes see and none of them must heed.

The kernel holds them for an open file, not for a process or a thread (fcntl_locking(2),
"Open file description locks"): two opens of one file are strangers to one another, in one
process too, and a lock goes with the last descriptor of its open file, however that ends.
A system without such locks has none here. Nothing waits for a lock.

Threads: any thread may call any method.
"""

import fcntl
import os
import struct

from ..blocks import ByteRange

# struct flock, as fcntl(2) has it, with the padding at its end: type, whence, start, length
# (0 is all that follows), process (0 for these locks).
_FLOCK = struct.Struct("hhqqi0q")
_SET: int | None = getattr(fcntl, "F_OFD_SETLK", None)
_GET: int | None = getattr(fcntl, "F_OFD_GETLK", None)
# Locks of others that are found one after the other, or end meanwhile. A guess.
_TRIES = 32


class ByteLocks:
    """Those of the open file *number*. Methods raise OSError; an empty span has no bytes."""

    __slots__ = ("_number",)

    def __init__(self, number: int) -> None:
        self._number = number

    def lock(self, span: ByteRange) -> ByteRange | None:
        """Lock *span* up to the first byte that another open file has locked.

        Returns the run of bytes that it has locked there, or None. The run may begin
        before *span* and end behind it.
        """
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
        if len(span):
            self._set(fcntl.F_UNLCK, span)

    def _set(self, kind: int, span: ByteRange) -> bool:
        if _SET is None:
            return True
        try:
            fcntl.fcntl(self._number, _SET, _packed(kind, span))
        except (BlockingIOError, PermissionError):  # fcntl(2) allows for both
            return False
        return True

    def _found(self, span: ByteRange) -> ByteRange | None:
        """A run of bytes, one at least in *span*, that another open file has locked."""
        if _GET is None:
            return None
        found = fcntl.fcntl(self._number, _GET, _packed(fcntl.F_WRLCK, span))
        kind, _, start, length, _ = _FLOCK.unpack(found)
        if kind == fcntl.F_UNLCK:
            return None
        return ByteRange(start, start + length if length else max(start, span.stop))


def _packed(kind: int, span: ByteRange) -> bytes:
    return _FLOCK.pack(kind, os.SEEK_SET, span.start, len(span), 0)


def _before(span: ByteRange, other: ByteRange) -> ByteRange:
    """The part of *span* before *other*."""
    return ByteRange(span.start, max(span.start, min(span.stop, other.start)))
