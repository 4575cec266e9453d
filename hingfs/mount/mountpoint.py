"""Where a mount may be made, and how it is taken away again.

Decides what to do about the directory, and tells the user what stands in the way.
`mount_table` tells what is mounted; this module touches mounts of hingfs alone.
"""

import contextlib
import ctypes
import errno
import os
import pwd
import stat
import subprocess
from pathlib import Path

from .. import invocation
from ..errors import (
    FuseUnavailable,
    MountBusy,
    MountpointError,
    NotMounted,
    SetupError,
    UsageError,
    command_word,
    plain,
)
from . import fusermount, mount_table
from .filesystem import WAITING
from .mount_table import MountEntry

_FUSE_CONF = Path("/etc/fuse.conf")
_FUSE_DEVICE = Path("/dev/fuse")
_BDI = Path("/sys/class/bdi")
_CONNECTIONS = Path("/sys/fs/fuse/connections")
_MOST_NAMED = 10
_HELPER_SECONDS = 10.0
_MNT_FORCE, _MNT_DETACH = 1, 2  # sys/mount.h


def absolute(directory: str | os.PathLike[str]) -> Path:
    """*directory* as the mount table writes it: absolute, links followed.

    Raises UsageError for the empty name, which would be the current directory.
    """
    if not os.fspath(directory):
        raise UsageError("DIR is empty; name the directory of the mount")
    return Path(os.path.realpath(directory))


def prepare(directory: Path) -> None:
    """Make sure that *directory* can be mounted on, once `clear` was called.

    Raises MountpointError with what to do about it.
    """
    entry = mount_table.entry_at(directory)
    if mount_table.is_ours(entry):
        if not _is_dead(directory):
            raise MountpointError(
                f"{plain(str(directory))} is a hingfs mount{_of_another(entry)} already; "
                f"end it first: {invocation.command()} umount {command_word(directory)}"
            )
        _demand_own(entry, directory)
        return  # dead: the directory below can be seen once the mount is gone
    above = mount_table.ours_above(directory)
    name = plain(str(directory))
    if above is not None:
        raise MountpointError(
            f"{name} is inside the hingfs mount on {plain(above)}; choose a directory "
            "outside of it"
        )
    try:
        with os.scandir(directory) as entries:
            busy = next(entries, None)
    except OSError as error:
        raise MountpointError(_no_empty_directory(directory, error)) from None
    if busy is not None:
        raise MountpointError(
            f"{name} is not empty, and a mount would hide what is in it; choose an "
            "empty directory"
        )
    if os.geteuid() != 0 and not os.access(directory, os.W_OK):
        raise MountpointError(
            f"{name} is not yours to write, which fusermount3 demands; choose a "
            "directory of your own"
        )


def clear(directory: Path) -> None:
    """Take away a dead hingfs mount at *directory*; raises as `prepare`.

    Call it just before the new mount: programs that find an empty directory meanwhile
    believe that there are no videos.
    """
    if mount_table.is_ours(mount_table.entry_at(directory)) and _is_dead(directory):
        _detach(directory, lazy=True)
        prepare(directory)


def check_fuse(*, allow_other: bool) -> None:
    """Make sure that this machine can mount; raises FuseUnavailable with the reason."""
    if not _FUSE_DEVICE.exists():
        raise FuseUnavailable(fusermount.NO_DEVICE)
    if not os.access(_FUSE_DEVICE, os.R_OK | os.W_OK):
        raise FuseUnavailable(fusermount.NO_ACCESS)
    if os.geteuid() == 0:
        return
    if fusermount.program() is None:
        raise FuseUnavailable(
            "fusermount3 is missing, which mounts for users; on Debian and Ubuntu: "
            "apt-get install fuse3"
        )
    if allow_other and not _user_allow_other():
        raise FuseUnavailable(fusermount.NO_ALLOW_OTHER)


def raise_kernel_readahead(directory: Path, size_kib: int) -> bool:
    """Let the kernel ask for *size_kib* KiB at once; True if that was allowed.

    A FUSE mount starts with 128 KiB. Only a file in /sys raises that, which root alone
    may write, and only after the kernel's first message was replied to.
    """
    entry = mount_table.entry_at(directory)
    if entry is None:
        return False
    try:
        (_BDI / entry.device / "read_ahead_kb").write_text(str(size_kib))
    except OSError:
        return False
    return True


def unmount(directory: Path, *, lazy: bool) -> None:
    """Take away the hingfs mount at *directory*.

    *lazy* detaches it at once, and readers that have files open get errors. Opens that
    wait below `.wait/` are ended.
    Raises NotMounted, or MountBusy with the names of the processes that use it.
    """
    entry = mount_table.entry_at(directory)
    if entry is None:
        raise NotMounted(_no_mount(directory))
    if not mount_table.is_ours(entry):
        raise NotMounted(
            f"{plain(str(directory))} is a mount of {plain(entry.fs_type)}, not of hingfs; "
            f"end it as it was made, or by: umount {command_word(directory)}"
        )
    _demand_own(entry, directory)
    try:
        _detach(directory, lazy=lazy or _is_dead(directory))
    except MountBusy as busy:
        users = list(mount_table.users_of(entry.device))
        if not users and _opens_wait(directory):
            _detach(directory, lazy=True)  # which ends them
            return
        named = ", ".join(users[:_MOST_NAMED]) or "processes of other users"
        raise MountBusy(
            f"{busy} by {named}; leave it and close them, or run: "
            f"{invocation.command()} umount --lazy {command_word(directory)}"
        ) from None


def _opens_wait(directory: Path) -> bool:
    """Whether opens wait for their videos in the mount at *directory*."""
    try:
        return os.stat(f"{directory}{WAITING}").st_size > 0
    except OSError:  # another user's, or one of an older hingfs
        return False


def cut_off(directory: Path, connections: Path = _CONNECTIONS) -> None:
    """Take away the hingfs mount at *directory*, if any, even if processes wait in it.

    A process that waits for its own mount dies of no signal until the kernel gives the
    mount up. Root makes the kernel do so by a forced unmount; other users by a file of
    fusectl, where that is mounted: on *connections*.
    """
    entry = mount_table.entry_at(directory)
    if entry is None or not mount_table.is_ours(entry):
        return
    if os.geteuid() == 0:
        umount2 = ctypes.CDLL(None).umount2
        umount2(os.fsencode(directory), _MNT_FORCE | _MNT_DETACH)
        return
    connection = connections / entry.device.partition(":")[2]
    with contextlib.suppress(OSError):
        (connection / "abort").write_text("1")
    with contextlib.suppress(SetupError):
        _detach(directory, lazy=True)


def _no_empty_directory(directory: Path, error: OSError) -> str:
    """Why *directory* is no empty directory, by *error*, and what to do."""
    name = plain(str(directory))
    if error.errno == errno.ENOENT:
        return f"{name} does not exist; make it: mkdir -p {command_word(directory)}"
    if error.errno == errno.ENOTDIR:
        what = "is a file" if directory.exists() else "is below a file"
        return f"{name} {what}, and a mount needs a directory; choose an empty one"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"you may not look into {name}; choose a directory of your own"
    if error.errno in (errno.ENOTCONN, errno.ECONNABORTED):
        entry = mount_table.entry_at(directory)
        kind = plain(entry.fs_type) if entry else "FUSE"
        return (
            f"{name} is a dead mount of {kind}; take it away first: "
            f"fusermount3 -u {command_word(directory)}"
        )
    return f"{name} cannot be mounted on: {error.strerror}"


def _no_mount(directory: Path) -> str:
    """What *directory* is instead of a mount, and which mounts there are."""
    above = mount_table.ours_above(directory)
    name = plain(str(directory))
    if above is not None:
        return (
            f"{name} is inside the hingfs mount on {plain(above)}; to end that: "
            f"{invocation.command()} umount {command_word(above)}"
        )
    try:
        is_directory = stat.S_ISDIR(os.stat(directory).st_mode)
        what = "is a directory" if is_directory else "is a file"
        what += " and nothing is mounted on it"
    except FileNotFoundError:
        what = "does not exist"
    except OSError as error:
        what = f"is not mounted ({error.strerror})"
    mounts = sorted(
        {
            plain(entry.directory)
            for entry in mount_table.entries()
            if mount_table.is_ours(entry)
        }
    )
    there = ", ".join(mounts[:_MOST_NAMED]) or "none"
    return f"{name} {what}; mounts of hingfs here: {there}"


def _is_dead(directory: Path) -> bool:
    try:
        os.stat(directory)
    except OSError as error:
        return error.errno in (errno.ENOTCONN, errno.ECONNABORTED)
    return False


def _detach(directory: Path, *, lazy: bool) -> None:
    helper = fusermount.program()
    if helper is not None:
        command = [helper, "-u", *(["-z"] if lazy else []), str(directory)]
    else:
        command = ["umount", *(["-l"] if lazy else []), str(directory)]
    try:
        done = subprocess.run(  # noqa: S603 - fixed program, no shell
            command,
            capture_output=True,
            text=True,
            timeout=_HELPER_SECONDS,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        what = "hangs" if isinstance(error, subprocess.TimeoutExpired) else "cannot run"
        raise MountpointError(
            f"cannot unmount {plain(str(directory))}: {command[0]} {what}; try: "
            f"{invocation.command()} umount --lazy {command_word(directory)}"
        ) from error
    if done.returncode == 0:
        return
    if "busy" in done.stderr.lower():
        raise MountBusy(f"{plain(str(directory))} is in use")
    raise fusermount.refused_unmount(str(directory), done.stderr)


def _of_another(entry: MountEntry | None) -> str:
    """The words "of NAME" for the owner of *entry*; none if that is the caller."""
    if entry is None or entry.user_id in (None, os.getuid()):
        return ""
    assert entry.user_id is not None
    try:
        return f" of {pwd.getpwuid(entry.user_id).pw_name}"
    except KeyError:
        return f" of the user with id {entry.user_id}"


def _demand_own(entry: MountEntry | None, directory: Path) -> None:
    """Raise MountpointError if only another user can unmount *entry*."""
    owner = _of_another(entry)
    if owner and os.geteuid() != 0:
        who = "root" if owner == " of root" else "they or root"
        raise MountpointError(
            f"{plain(str(directory))} is a mount{owner}; only {who} can end it; "
            f"as root: {invocation.command()} umount {command_word(directory)}"
        )


def _user_allow_other() -> bool:
    try:
        lines = _FUSE_CONF.read_text().splitlines()
    except OSError:
        return False
    return any(line.strip() == "user_allow_other" for line in lines)
