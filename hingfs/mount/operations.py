"""The FUSE protocol adapter: paths, stat fields, handles and errnos. Nothing else.

Every operation passes `_refusing_by`, which turns each exception into an errno by the
tables of `errnos`.

Threads: operations run on libfuse's threads. `library` makes the files; this module
decides what the kernel may keep of them. `waiting` has the opens that wait.
"""

import errno
import functools
import itertools
import logging
import os
import stat
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar
from weakref import WeakValueDictionary

from ..blocks import MIB
from ..content import Content
from ..errnos import ERRNO_OF_NAME, ERRNO_OF_READ, ErrnoTable, errno_for
from ..errors import Closing, ContentChanged, HingError, NotAsked, printable
from ..library.catalog import Catalog
from ..library.known import VideoFile
from ..library.names import LONGEST_NAME_BYTES, may_be_a_video
from ..library.reader import VideoReader
from ..library.readers import Readers
from ..settings import MountConfig
from . import waiting
from .attributes import ToldAttributes
from .filesystem import WAITING, Entry, OpenedFile, Refusal
from .waiting import WaitingOpens

log = logging.getLogger(__name__)

Params = ParamSpec("Params")
Result = TypeVar("Result")

# Errnos that programs meet every day are logged at DEBUG. EACCES is one of them, since
# `api` warns once of a refused token.
_ORDINARY = frozenset({errno.ENOENT, errno.EAGAIN, errno.EROFS, errno.EACCES})

_ROOT_INODE = 1
_STAT_BLOCK_BYTES = 512  # the unit of st_blocks, whatever st_blksize says
# Programs size their buffers by st_blksize: one read of this size is few callbacks.
_PREFERRED_READ_BYTES = 1 << 20
# Large, so that up to 3 PiB of files and what is free fit in 32 bits: programs built
# without large files get EOVERFLOW for more blocks.
_STATFS_BLOCK_BYTES = MIB
# What `df` shows as free. Nothing can be written, but alarms, Samba and installers take
# little free space for a full disk. rclone shows 1 PiB as well. The figure is constant,
# so that no forecast sees it run out.
_STATFS_FREE_BYTES = 1 << 50
_MOST_SIZES = 32_768  # of 170 bytes each, however long the names are (2026-11-26)
# The attributes that getattr gives reach the kernel within this time. A guess.
_SIZE_SETTLED_SECONDS = 1.0


def _refusing_by(
    table: ErrnoTable,
) -> Callable[[Callable[Params, Result]], Callable[Params, Result]]:
    """Let nothing but `Refusal` leave an operation of `HingOperations`."""

    def decorate(operation: Callable[Params, Result]) -> Callable[Params, Result]:
        @functools.wraps(operation)
        def guarded(*args: Params.args, **kwargs: Params.kwargs) -> Result:
            try:
                return operation(*args, **kwargs)
            except Refusal:
                raise
            except HingError as error:
                number = errno_for(error, table)
                _log_refusal(_words_of(operation, args), number, error)
                raise Refusal(number) from None
            except Exception as error:
                log.exception("%s: unforeseen error", _words_of(operation, args))
                raise Refusal(errno.EIO) from error

        return guarded

    return decorate


def _words_of(operation: Callable[..., object], args: Sequence[object]) -> str:
    """The call in words, "read clip.mp4"; *args* begin with the `HingOperations`."""
    operations, subjects = args[0], args[1:]
    assert isinstance(operations, HingOperations)
    subject = next((subject for subject in subjects if subject is not None), "")
    name = operations.name_of(subject) if isinstance(subject, int) else str(subject)
    verb = operation.__name__.removesuffix("_into")
    return f"{verb} {printable(name.removeprefix('/') or '/', 80)}"


def _log_refusal(call: str, number: int, error: HingError) -> None:
    quiet = number in _ORDINARY or isinstance(error, Closing | NotAsked)
    level = logging.DEBUG if quiet else logging.ERROR
    log.log(level, "%s: %s (%s)", call, error, errno.errorcode[number])


@dataclass(slots=True)
class _Handle:
    file: VideoFile
    name: str  # as opened; to the kernel, each name is a file of its own
    inode: int
    reader: VideoReader
    # True from an open that makes the kernel drop the pages of other versions, until a
    # read proves that it did: another open at that time might still use those pages.
    clears: bool


def _nothing(_file: VideoFile) -> None:
    """Nobody is told of opens."""


def _never() -> bool:
    """Nothing interrupts a call."""
    return False


class HingOperations:
    """The file system, as `filesystem.Filesystem` wants it. Thread safety: all methods.

    *on_open* is told of each file that a program opens, and does not wait. Without
    *waits*, an open below `.wait/` is as one in the root.
    """

    def __init__(
        self,
        catalog: Catalog,
        readers: Readers,
        config: MountConfig,
        *,
        on_start: Callable[[], None],
        on_stop: Callable[[], None],
        on_open: Callable[[VideoFile], None] = _nothing,
        waits: WaitingOpens | None = None,
        most_sizes: int = _MOST_SIZES,
    ) -> None:
        self._catalog = catalog
        self._readers = readers
        self._config = config
        self._told = ToldAttributes(catalog, {config.uid, os.geteuid()})
        self._on_start = on_start
        self._on_stop = on_stop
        self._on_open = on_open
        self._waits = waits
        self._most_sizes = most_sizes
        self._mounted_ns = time.time_ns()
        self._numbers = itertools.count(1)
        # Guards all below, for dictionary work only. The keys of the kernel's tables are
        # hashes of names, which may be long. Two names with one hash are safe: their
        # reads bypass the kernel's pages.
        self._lock = threading.Lock()
        self._handles: dict[int, _Handle] = {}
        # name -> the version whose pages alone the kernel holds, while there is one
        self._kernel_pages: WeakValueDictionary[int, Content] = WeakValueDictionary()
        # name -> (the size that the kernel was given last, the monotonic time when that
        # replaced another size, 0.0 if it never did), the oldest first
        self._kernel_sizes: dict[int, tuple[int, float]] = {}
        self._forgot_sizes = False  # of any name

    def name_of(self, handle: int) -> str:
        """The name by which *handle* was opened."""
        opened = self._handles.get(handle)  # one lookup is atomic
        return opened.name if opened is not None else "a closed file"

    def start(self) -> None:
        """Begin work, since the mount is up."""
        self._on_start()

    def stop(self) -> None:
        """End work, since the mount is gone."""
        self._on_stop()

    @_refusing_by(ERRNO_OF_NAME)
    def getattr(self, path: str | None, handle: int | None) -> Mapping[str, int]:
        """The stat fields; those of an open file come from memory, without a request."""
        if handle is not None:
            with self._lock:
                opened = self._handles.get(handle)
            if opened is not None:
                if opened.file.content.changed:
                    # The kernel has one size per file: the old size would cut off, or
                    # pad, reads through handles of the new version.
                    raise ContentChanged("the video changed since it was opened")
                return self._stat_of_file(opened.file, opened.name, opened.inode)
        if path == "/":
            changed_ns = self._catalog.changed_ns() or self._mounted_ns
            return self._stat_of_directory(_ROOT_INODE, changed_ns)
        if path == WAITING:
            return self._stat_of_waits()
        name = _name(path)
        if waiting.is_below(path):
            return self._stat_of_awaited(name, str(path))
        file = self._catalog.find(name, more_follows=True)
        return self._stat_of_file(file, name, file.inode)

    @_refusing_by(ERRNO_OF_NAME)
    def attributes_at_hand(self, name: str) -> Mapping[str, int] | None:
        """The stat fields of *name* if they come from memory, without a request."""
        file = self._catalog.at_hand(name)
        return None if file is None else self._stat_of_file(file, name, file.inode)

    @_refusing_by(ERRNO_OF_NAME)
    def getxattr(self, path: str, attribute: str, user_id: int) -> bytes:
        """What was told of the video, under its name; asks at most once of each."""
        return self._told.one_of(self._described(path), attribute, user_id)

    @_refusing_by(ERRNO_OF_NAME)
    def listxattr(self, path: str, user_id: int) -> Sequence[str]:
        """The attributes that there are; none of the directory."""
        name = self._described(path)
        return [] if name is None else [*self._told.all_of(name, user_id)]

    def _described(self, path: str) -> str | None:
        """The file whose video is described by attributes of *path*, if any is.

        None is of a directory, nor below `.wait/` of a video that is not known yet.
        """
        if path in {"/", WAITING}:
            return None
        name = _name(path)
        if waiting.is_below(path) and self._catalog.at_hand(name) is None:
            return None
        return name

    @_refusing_by(ERRNO_OF_NAME)
    def readdir(self, path: str) -> Sequence[Entry]:
        """The names that can be read now; none in `.wait/`.

        A program that opens all it finds would wait there.
        """
        above = Entry("..", stat.S_IFDIR, _ROOT_INODE)
        if path == WAITING:
            return [Entry(".", stat.S_IFDIR, waiting.inode_of(path)), above]
        if path != "/":
            raise Refusal(errno.ENOTDIR)
        listing = self._catalog.listing()
        files = [Entry(name, stat.S_IFREG, inode) for name, inode in listing]
        return [Entry(".", stat.S_IFDIR, _ROOT_INODE), above, *files]

    @_refusing_by(ERRNO_OF_NAME)
    def open(
        self, path: str, flags: int, interrupted: Callable[[], bool] = _never
    ) -> OpenedFile:
        """A handle for reading the version that the server has now.

        Below `.wait/` waits until there is one. O_NONBLOCK means nothing for a regular
        file, and VLC opens each file so.
        """
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise Refusal(errno.EROFS)
        name = _name(path)
        if not waiting.is_below(path):
            file = self._catalog.find_to_open(name)
            return self._open(file, name, file.inode)
        if self._waits is not None and self._catalog.at_hand(name) is None:
            self._waits.await_ready(name, interrupted)
        file = self._catalog.find_to_open(name)
        self._demand_told_size(file, path)
        return self._open(file, path.removeprefix("/"), waiting.inode_of(path))

    def _demand_told_size(self, file: VideoFile, path: str) -> None:
        """Refuse an open of *path* while the kernel believes that it has another size.

        The kernel then looks it up anew, and opens it again: no program sees the refusal.
        sendfile, by which BusyBox copies, ends at the size of the last look-up.
        """
        with self._lock:
            size, _since = self._kernel_sizes.get(hash(path.removeprefix("/")), (-1, 0))
        if size != file.content.size_bytes:
            raise Refusal(errno.ESTALE)

    def _open(self, file: VideoFile, name: str, inode: int) -> OpenedFile:
        """A handle for *file*, opened as *name*."""
        content = file.content
        handle = next(self._numbers)
        reader = self._readers.open(content, self._catalog.following(file.video_id))
        self._on_open(file)
        with self._lock:
            # The kernel keeps one set of pages and one size per file, and no program may
            # see two versions mixed. While handles of an older version are open, the new
            # handle bypasses the pages, so that no new byte gets into them. The old pages
            # are dropped, so that the old handles get ESTALE. The new handle also
            # bypasses the pages while the kernel may believe the old size.
            mixed = any(
                other.file.video_id == file.video_id
                and other.file.content is not content
                for other in self._handles.values()
            )
            direct = mixed or self._may_know_another_size_locked(file, name)
            keep = self._kernel_pages.get(hash(name)) is content
            self._handles[handle] = _Handle(
                file, name, inode, reader, clears=not keep and not direct
            )
        return OpenedFile(handle, keep_cache=keep, direct_io=direct)

    @_refusing_by(ERRNO_OF_READ)
    def read_into(self, handle: int, buffer: memoryview, offset: int) -> int:
        """Exactly the bytes asked for, fewer only at end of file, or an error."""
        opened = self._handles.get(handle)  # one lookup is atomic
        if opened is None:
            raise Refusal(errno.EBADF)
        if opened.clears:
            self._note_clean_pages(opened)
        return opened.reader.read_into(buffer, offset)

    @_refusing_by(ERRNO_OF_READ)
    def release(self, handle: int) -> None:
        """Forget the handle."""
        with self._lock:
            opened = self._handles.pop(handle, None)
        if opened is not None:
            self._readers.close(opened.reader)

    @_refusing_by(ERRNO_OF_NAME)
    def statfs(self) -> Mapping[str, int]:
        """The size of known files, and free space that no alarm minds; sends no request.

        The kernel adds that the mount is read-only. Inodes are not counted, as on btrfs.
        """
        used = -(-self._catalog.known_bytes() // _STATFS_BLOCK_BYTES)
        free = _STATFS_FREE_BYTES // _STATFS_BLOCK_BYTES
        return {
            "f_bsize": _STATFS_BLOCK_BYTES,
            "f_frsize": _STATFS_BLOCK_BYTES,
            "f_blocks": used + free,
            "f_bfree": free,
            "f_bavail": free,
            "f_namemax": LONGEST_NAME_BYTES,
        }

    def _note_clean_pages(self, opened: _Handle) -> None:
        """Note that the kernel holds pages of this version alone, as a read proves."""
        with self._lock:
            opened.clears = False
            self._kernel_pages[hash(opened.name)] = opened.file.content

    def _stat_of_file(
        self, file: VideoFile, name: str, inode: int
    ) -> Mapping[str, int]:
        return self._stat_of(name, inode, file.content.size_bytes, file.mtime_ns)

    def _stat_of_awaited(self, name: str, path: str) -> Mapping[str, int]:
        """The stat fields of *path*, which is *name* below `.wait/`; from memory alone.

        Its size is 0 until it is known. fstat comes by path as well.
        """
        if not may_be_a_video(name):
            raise Refusal(errno.ENOENT)
        inode, opened_as = waiting.inode_of(path), path.removeprefix("/")
        file = self._catalog.at_hand(name) or self._opened_as(opened_as)
        if file is None:
            return self._stat_of(opened_as, inode, 0, self._mounted_ns)
        return self._stat_of_file(file, opened_as, inode)

    def _opened_as(self, name: str) -> VideoFile | None:
        """The file that was opened last as *name*, and is still open."""
        with self._lock:
            opened = [one.file for one in self._handles.values() if one.name == name]
        return opened[-1] if opened else None

    def _note_size(self, name: str, size: int) -> None:
        """The kernel is about to be given *size* as that of *name*."""
        with self._lock:
            known = self._kernel_sizes.get(hash(name))
            if known is None or known[0] != size:
                if len(self._kernel_sizes) >= self._most_sizes:
                    self._kernel_sizes.pop(next(iter(self._kernel_sizes)))
                    self._forgot_sizes = True
                # Otherwise the kernel may have been given a size that is forgotten.
                first = known is None and not self._forgot_sizes
                since = 0.0 if first else time.monotonic()
                self._kernel_sizes[hash(name)] = (size, since)

    def _may_know_another_size_locked(self, file: VideoFile, name: str) -> bool:
        """True if the kernel may still believe that *file* has another size.

        The kernel asks for attributes only when a program does, or reads past the end
        that the kernel knows. A file that became shorter then reads with zeros to the end
        of the page (libfuse 3 on Linux 6.18, one open in three, 2026-11-22).
        """
        known = self._kernel_sizes.get(hash(name))
        if known is None:
            return self._forgot_sizes
        size, since = known
        settled = time.monotonic() - since >= _SIZE_SETTLED_SECONDS
        return size != file.content.size_bytes or not (since == 0.0 or settled)

    def _stat_of(
        self, name: str, inode: int, size: int, mtime_ns: int
    ) -> Mapping[str, int]:
        """The stat fields of *name*; notes its size, since the kernel gets them."""
        self._note_size(name, size)
        return {
            "st_mode": stat.S_IFREG | self._config.file_mode,
            "st_ino": inode,
            "st_nlink": 1,
            "st_uid": self._config.uid,
            "st_gid": self._config.gid,
            "st_size": size,
            "st_blocks": -(-size // _STAT_BLOCK_BYTES),
            "st_blksize": _PREFERRED_READ_BYTES,
            "st_mtime": mtime_ns,
            "st_ctime": mtime_ns,
            "st_atime": mtime_ns,
        }

    def _stat_of_waits(self) -> Mapping[str, int]:
        """The stat fields of `.wait/`; its size is how many opens wait."""
        inode = waiting.inode_of(WAITING)
        count = self._waits.count if self._waits is not None else 0
        return {**self._stat_of_directory(inode, self._mounted_ns), "st_size": count}

    def _stat_of_directory(self, inode: int, changed_ns: int) -> Mapping[str, int]:
        return {
            "st_mode": stat.S_IFDIR | self._config.dir_mode,
            "st_ino": inode,
            "st_nlink": 2,
            "st_uid": self._config.uid,
            "st_gid": self._config.gid,
            "st_mtime": changed_ns,
            "st_ctime": changed_ns,
            "st_atime": changed_ns,
        }


def _name(path: str | None) -> str:
    """The file name in *path*; refuses one that no file can have."""
    above = f"{WAITING}/" if waiting.is_below(path) else "/"
    name = (path or "").removeprefix(above)
    if "/" in name:
        raise Refusal(errno.ENOENT)
    if (
        len(name) > 255
        and len(name.encode("utf-8", "surrogateescape")) > LONGEST_NAME_BYTES
    ):
        raise Refusal(errno.ENAMETOOLONG)
    return name
