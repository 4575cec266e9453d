"""A video as an open file of Python.

Decides where a read goes, and that a file goes on with its own version alone: in a forked
child, and after a pickle, it is opened again, and refused with ESTALE if the server has
other bytes. Leaves blocks, read-ahead and time-outs to the engine, so that there is no
buffer here: each read copies once, into what the caller gets.

Threads: a file has one position, so one thread at a time; a filesystem is for all.
"""

import io
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple, Protocol, Self

from ..blocks import KIB, MIB
from ..content import Content
from ..errnos import ERRNO_OF_NAME, ERRNO_OF_READ
from ..errors import ContentChanged, HingError
from ..library.reader import VideoReader
from ..version import Validator
from .engines import Lease
from .refusals import refused

if TYPE_CHECKING:
    from typing_extensions import Buffer

# A read up to this size is asked for at once, and each part of it comes by a connection of
# its own: 20 parts of 10 MiB came at 140 MB/s, and at 110 in pieces of 4 MiB (25 MB/s a
# connection, 60 ms a request, 2026-11-28).
_MOST_AT_ONCE_BYTES = 16 * MIB
# A longer one is a stream of pieces, with read-ahead before it. By pieces of 16 MiB up to
# 4 % came twice, by these none. Each has a deadline of its own.
_PIECE_BYTES = 4 * MIB
# What `read1` gives when it may choose: a block.
_READ1_BYTES = 128 * KIB


class Seen(NamedTuple):
    """Which version a file was opened as, for another process."""

    size_bytes: int
    validator: Validator


class Handle:
    """One video, opened at the engine of *lease*. Thread safety: all methods.

    Raises OSError if it cannot be opened, and ESTALE if it is no longer as *seen*.
    """

    def __init__(
        self, lease: Lease, path: str, *, seen: Seen | None = None, whole: bool = False
    ) -> None:
        self.lease = lease
        self._path = path
        catalog, readers = lease.engine.catalog, lease.engine.readers
        try:
            file = catalog.find_to_open(path)
            content = file.content
            if seen is not None and _differs(content, seen):
                raise ContentChanged("the video changed since it was opened")
        except HingError as error:
            raise refused(error, ERRNO_OF_NAME, path, lease.hide) from None
        self._content = content
        self.size_bytes = content.size_bytes
        following = catalog.following(file.video_id)
        self._reader: VideoReader = readers.open(content, following, whole=whole)

    @property
    def seen(self) -> Seen:
        """The version that is open."""
        return Seen(self.size_bytes, self._content.validator)

    def read_into(self, target: memoryview, offset: int) -> int:
        """Fill *target* from *offset*; the count is short only at end of file."""
        done = 0
        at_once = len(target) <= _MOST_AT_ONCE_BYTES
        piece_bytes = len(target) if at_once else _PIECE_BYTES
        refusal = None
        try:
            while done < len(target):
                with target[done : done + piece_bytes] as piece:
                    got = self._reader.read_into(piece, offset + done)
                    done += got
                    if got < len(piece):
                        break
        except HingError as error:
            refusal = refused(error, ERRNO_OF_READ, self._path, self.lease.hide)
        if refusal is not None:
            # Not above: it would hold the frames of the failed read, and they *target*.
            raise refusal
        return done

    def read(self, offset: int, count: int) -> bytes:
        """*count* bytes from *offset*, fewer only at end of file."""
        count = min(count, self.size_bytes - offset)
        if count <= 0:
            self.read_into(memoryview(bytearray(1)), self.size_bytes)  # is it the end?
            return b""
        # Its bytes become the result without a copy: 0.4 ms for 10 MiB, and 1.3 ms by a
        # bytearray (2026-11-28).
        made = io.BytesIO()
        made.seek(count - 1)
        made.write(b"\0")
        with made.getbuffer() as target:
            got = self.read_into(target, offset)
        made.truncate(got)
        return made.getvalue()

    def release(self) -> None:
        """Close it; nothing happens to one of a process that was forked from."""
        if self.lease.is_here:
            self.lease.engine.readers.close(self._reader)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.release()


def _differs(content: Content, seen: Seen) -> bool:
    return content.size_bytes != seen.size_bytes or content.validator.contradicts(
        seen.validator
    )


class HingFile(io.BufferedIOBase):
    """The video *path*, read-only, as `lease` has it; opened at its first use.

    It can be pickled: settings, name, position and version travel, and the file is opened
    again where it is used. One thread at a time.
    """

    mode = "rb"
    _handle: Handle | None = None  # also where `__init__` was not reached

    def __init__(
        self,
        fs: "Leasing",
        path: str,
        position: int = 0,
        seen: Seen | None = None,
    ) -> None:
        self.fs = fs
        self.path = self.name = path
        self._position = position
        self._seen = seen

    def open(self) -> Handle:
        """Its handle in this process, made if need be. Raises OSError, as `Handle`."""
        handle = self._handle
        if handle is None or not handle.lease.is_here:
            if self.closed:
                raise ValueError("I/O operation on closed file")
            handle = Handle(self.fs.lease(), self.path, seen=self._seen)
            self._handle, self._seen = handle, handle.seen
        return handle

    @property
    def size(self) -> int:
        """How long the file is, in bytes."""
        return self.open().size_bytes

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Set where the next read begins; sends no request. Returns the position."""
        if whence == io.SEEK_CUR:
            offset += self._position
        elif whence == io.SEEK_END:
            offset += self.size
        elif whence != io.SEEK_SET:
            raise ValueError(f"invalid whence ({whence}, should be 0, 1 or 2)")
        if offset < 0:
            raise ValueError("a seek before the start of the file")
        self._position = offset
        return offset

    def readinto(self, target: "Buffer", /) -> int:
        """Fill *target*; the count is short only at end of file."""
        with memoryview(target) as view, view.cast("B") as span:
            got = self.open().read_into(span, self._position)
        self._position += got
        return got

    def readinto1(self, target: "Buffer", /) -> int:
        """As `readinto`."""
        return self.readinto(target)

    def read(self, size: int | None = -1, /) -> bytes:
        """*size* bytes, all that are left if that is negative; fewer at end of file."""
        handle = self.open()
        if size is None or size < 0:
            size = max(0, handle.size_bytes - self._position)
        found = handle.read(self._position, size) if size else b""
        self._position += len(found)
        return found

    def read1(self, size: int = -1, /) -> bytes:
        """As `read`, but a block if *size* is negative."""
        return self.read(_READ1_BYTES if size < 0 else size)

    def close(self) -> None:
        """Close it; may be called twice."""
        handle, self._handle = self._handle, None
        super().close()
        if handle is not None:
            handle.release()

    def __del__(self) -> None:
        # Collected anywhere, under any lock: another thread closes it.
        if self._handle is not None:
            self._handle.lease.process.later(self._handle.release)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        if self.closed:
            raise ValueError("a closed file cannot be pickled")
        seen = self._seen and tuple(self._seen)
        return _unpickled, (type(self), self.fs, self.path, self._position, seen)

    def __repr__(self) -> str:
        return f"<HingFile {self.path!r} at {self._position}>"


class Leasing(Protocol):
    """What a file wants of its filesystem; see `HingFileSystem`."""

    def lease(self) -> Lease:
        """The lease of its engine in this process. Raises OSError or ValueError."""


def _unpickled(
    kind: type[HingFile],
    fs: Leasing,
    path: str,
    position: int,
    seen: tuple[int, Validator] | None,
) -> HingFile:
    return kind(fs, path, position, None if seen is None else Seen(*seen))
