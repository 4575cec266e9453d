"""Where the facts lie, and whether the place is safe for them.

Decides which directory it is, and refuses one that another user owns or can write: such
a user could plant sizes and times. Says whether it lies on a network file system. Leaves
the file in it to `database`.
"""

import contextlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from ..errors import command_word, plain

_SYSTEM_CACHE = Path("/var/cache/hingfs")  # of root, where it has no home
_MOUNTINFO = Path("/proc/self/mountinfo")
# Their locks and shared memory may not reach other machines, so SQLite's WAL does not
# work there. Any other file system in user space counts as one of them: nobody knows.
_NETWORK = (
    *("nfs", "cifs", "smb", "9p", "fuse.", "ceph", "lustre", "afs", "gluster", "gfs2"),
    *("ocfs2", "beegfs", "virtiofs", "vboxsf", "prl_fs", "gpfs", "orangefs", "ncpfs"),
)


def usable(
    given: Path | None, environ: Mapping[str, str], of_root: Path = _SYSTEM_CACHE
) -> Path:
    """The directory for facts: *given*, else this user's own, made if need be.

    *of_root* is root's own without a home. Raises OSError, whose text is for people, if
    there is none or it is not safe.
    """
    directory = given or _of_user(environ, of_root)
    try:
        return made_safe(directory)
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(f"{plain(str(directory))}: {error.strerror}") from error


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


def _of_user(environ: Mapping[str, str], of_root: Path) -> Path:
    cache, home = Path(environ.get("XDG_CACHE_HOME", "")), Path(environ.get("HOME", ""))
    if cache.is_absolute():  # the XDG specification ignores any other
        return cache / "hingfs"
    # `sudo` may leave the caller's home to root, whose files would lock the caller out.
    with contextlib.suppress(OSError):
        if home.is_absolute() and home.stat().st_uid == os.geteuid():
            return home / ".cache" / "hingfs"
    if os.geteuid() == 0:
        return of_root
    raise OSError("HOME names no directory of yours")
