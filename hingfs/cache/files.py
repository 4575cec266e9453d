"""The files of a version: found, or made.

Decides which files count as ours: regular ones of this user whose index names the version
in full. Others under these names are unlinked, never cut: another process may read them.
An index gets its name once it is whole, so any number of processes may make it at once.

Threads: none.
"""

import contextlib
import errno
import os
import stat
import tempfile
import time
from pathlib import Path

from ..blocks import KIB, block_count
from ..facts.directory import made_safe
from ..version import VideoVersion
from .layout import (
    GRID_BYTES,
    RECORD_BYTES,
    RECORDS_AT,
    Header,
    NoHeader,
    about_of,
    data_of,
    header_of,
    index_of,
)
from .pair import Descriptor, Pair, Recall, copy_of_page

# Other processes may delete what was just made. A guess.
_TRIES = 4
_MOST_ABOUT_BYTES = 64 * KIB  # more is none of ours, and no longer JSON when it is cut
_FLAGS = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


def safe(folder: Path) -> Path:
    """*folder* in its cache directory, both made if need be.

    Raises OSError, whose text is for people, if others own or can write one of them.
    """
    made_safe(folder.parent)
    return made_safe(folder)


def open_pair(
    stem: Path,
    version: VideoVersion,
    recall: Recall,
    completed_at: float | None = None,
) -> Pair:
    """The pair of *version* at *stem*, made if need be, of a video *completed_at* then.

    Raises OSError, and NoHeader if the version's texts are too long to be written down.
    """
    for _ in range(_TRIES):
        try:
            pair = found_pair(stem, recall)
            if pair.header.version == version:
                return pair
        except FileNotFoundError:
            _make(stem, Header(version, time.time(), completed_at))
            continue
        except NoHeader:
            pass
        unlink(stem)
    raise OSError(errno.EAGAIN, "others delete what is made", str(stem))


def unlink(stem: Path) -> None:
    """Delete the files: the index first, since the others are nothing without one."""
    for path in (index_of(stem), data_of(stem), about_of(stem)):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def found_pair(stem: Path, recall: Recall = lambda _: None) -> Pair:
    """The pair at *stem*; raises OSError and NoHeader."""
    index = _opened(index_of(stem))
    header = _header_in(index)
    data = _opened(data_of(stem))
    if _size_of(data) > header.version.size_bytes:
        raise NoHeader("data of another video")
    return Pair(data, index, header, recall)


def write_about(stem: Path, text: str) -> None:
    """Have *text* lie beside the files at *stem*, whole; raises OSError."""
    number, path = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=stem.parent)
    file = Descriptor(number)
    try:
        os.write(file.number, text.encode())
        Path(path).replace(about_of(stem))
    except BaseException:
        Path(path).unlink()
        raise


def read_about(stem: Path) -> str:
    """The text that lies beside the files at *stem*; raises OSError.

    Raises NoHeader, too, if it is none of ours.
    """
    file = _opened(about_of(stem))
    return os.pread(file.number, _MOST_ABOUT_BYTES, 0).decode("utf-8", "replace")


def _header_in(index: Descriptor) -> Header:
    """The header of *index*, mended from its copy if need be; raises NoHeader."""
    try:
        return header_of(os.pread(index.number, RECORDS_AT, 0))
    except NoHeader:
        page = copy_of_page(index)
        header = header_of(page)
    with contextlib.suppress(OSError):  # it could be read, and that is enough
        os.pwrite(index.number, page, 0)
    return header


def _opened(path: Path) -> Descriptor:
    """The file at *path*, kept to its owner; raises NoHeader if it is none of ours."""
    try:
        file = Descriptor(os.open(path, os.O_RDWR | _FLAGS))
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise NoHeader("a link") from error
        if error.errno != errno.EROFS:
            raise
        file = Descriptor(os.open(path, os.O_RDONLY | _FLAGS))
    found = os.fstat(file.number)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
        raise NoHeader("no file of this user")
    if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        os.fchmod(file.number, 0o600)
    return file


def _make(stem: Path, header: Header) -> None:
    """Make both files, or leave those that are there as they are."""
    page = header.packed()
    size = header.version.size_bytes
    stem.parent.mkdir(mode=0o700, exist_ok=True)
    flags = os.O_RDWR | os.O_CREAT | _FLAGS
    data = Descriptor(os.open(data_of(stem), flags, 0o600))
    if _size_of(data) < size:
        os.ftruncate(data.number, size)
    number, path = tempfile.mkstemp(prefix=".", suffix=".tmp", dir=stem.parent)
    index = Descriptor(number)
    try:
        os.write(index.number, page)
        os.ftruncate(
            index.number, RECORDS_AT + RECORD_BYTES * block_count(size, GRID_BYTES)
        )
        with contextlib.suppress(FileExistsError):  # another process was first
            os.link(path, index_of(stem))
    finally:
        Path(path).unlink()


def _size_of(file: Descriptor) -> int:
    return os.fstat(file.number).st_size
