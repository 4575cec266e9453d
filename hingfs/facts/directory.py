"""Where facts, blocks and kept videos lie, and whether the place is safe for them.

Decides which directory it is, and refuses one that another user owns or can write: such
a user could plant sizes and times. Says whether it lies on a network file system. Leaves
the file in it to `database`.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..errors import command_word, plain

_MOUNTINFO = Path("/proc/self/mountinfo")
# Their locks and shared memory may not reach other machines, so SQLite's WAL does not
# work there. Any other file system in user space counts as one of them: nobody knows.
_NETWORK = (
    *("nfs", "cifs", "smb", "9p", "fuse.", "ceph", "lustre", "afs", "gluster", "gfs2"),
    *("ocfs2", "beegfs", "virtiofs", "vboxsf", "prl_fs", "gpfs", "orangefs", "ncpfs"),
)


@dataclass(frozen=True, slots=True)
class Place:
    """A kind of directory: of *variable*, else *below_home*, else root's *of_root*."""

    variable: str
    below_home: str
    of_root: Path


# As the XDG base directory specification has them; root's, where it has no home, as FHS.
CACHE = Place("XDG_CACHE_HOME", ".cache", Path("/var/cache/hingfs"))
DATA = Place("XDG_DATA_HOME", ".local/share", Path("/var/lib/hingfs"))


def usable(
    given: Path | None, environ: Mapping[str, str], place: Place = CACHE
) -> Path:
    """The directory *given*, else this user's own *place*, made if need be.

    Raises OSError, whose text is for people, if there is none or it is not safe.
    """
    directory = given or _of_user(environ, place)
    try:
        return made_safe(directory)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{plain(str(directory))}: {error.strerror}") from error


def usable_if_there(
    given: Path | None, environ: Mapping[str, str], place: Place
) -> Path:
    """As `usable`, but a directory that does not exist is not made."""
    directory = given or _of_user(environ, place)
    return usable(directory, environ, place) if directory.exists() else directory


def made_safe(directory: Path) -> Path:
    """*directory*, made if need be; raises OSError.

    One without a number refuses a directory that is not safe, in a text for people.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = directory.stat()
    if found.st_uid != os.geteuid():
        raise OSError(f"{plain(str(directory))} belongs to another user")
    if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise OSError(
            f"{plain(str(directory))} can be written by others; run: chmod go-w "
            f"{command_word(directory)}"
        )
    return directory


def network_file_system(directory: Path, mountinfo: Path = _MOUNTINFO) -> str | None:
    """The type of the network file system that *directory* lies on; None if local.

    *mountinfo* is the kernel's table of mounts, as proc_pid_mountinfo(5) has it.
    """
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    for line in mountinfo.read_text(errors="surrogateescape").splitlines():
        head, _, tail = line.partition(" - ")
        if head.split(" ")[2] == number:
            kind = tail.split(" ")[0]
            return kind if kind.startswith(_NETWORK) or kind == "fuse" else None
    return None


def _of_user(environ: Mapping[str, str], place: Place) -> Path:
    """This user's own directory of *place*; raises OSError, in words, if there is none."""
    own, home = Path(environ.get(place.variable, "")), Path(environ.get("HOME", ""))
    if own.is_absolute():  # the XDG specification ignores any other
        return own / "hingfs"
    # `sudo` may leave the caller's home to root, whose files would lock the caller out.
    with contextlib.suppress(OSError):
        if home.is_absolute() and home.stat().st_uid == os.geteuid():
            return home / place.below_home / "hingfs"
    if os.geteuid() == 0:
        return place.of_root
    raise OSError("HOME names no directory of yours")
