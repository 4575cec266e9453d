"""fusermount3, which mounts and unmounts for users, and what its refusals mean.

fusermount3 says on standard error what it could not do, and not why. So does libfuse,
which mounts by itself as root. The tables below turn their words into the cause and the
ways out.
"""

import os
import re
import shutil
import stat
from pathlib import Path

from .. import invocation
from ..errors import (
    FuseUnavailable,
    MountpointError,
    SetupError,
    command_word,
    plain,
    printable,
)

_APPARMOR_PROFILE = Path("/etc/apparmor.d/fusermount3")
_PROCESS_STATUS = Path("/proc/self/status")

_NEEDED_BY_CONTAINERS = (
    "--device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined"
)
NO_DEVICE = (
    "there is no /dev/fuse; load the module (modprobe fuse), or start the container "
    f"with {_NEEDED_BY_CONTAINERS}"
)
NO_ACCESS = (
    "you may not open /dev/fuse; as root: chmod 666 /dev/fuse, or start the container "
    f"with {_NEEDED_BY_CONTAINERS}"
)
NO_ALLOW_OTHER = (
    "--allow-other needs the line user_allow_other in /etc/fuse.conf; as root: "
    "echo user_allow_other >> /etc/fuse.conf"
)
_NO_MTAB = (
    "fusermount3 wants /etc/mtab, which this system lacks; as root: "
    "ln -s /proc/self/mounts /etc/mtab"
)
# A pattern in their words -> the cause, where the machine is at fault.
_OF_MACHINE = (
    (r"device not found", NO_DEVICE),
    (r"failed to open /dev/fuse", NO_ACCESS),
    (r"only allowed if 'user_allow_other'", NO_ALLOW_OTHER),
    (
        r"too many FUSE filesystems",
        (
            "this machine has as many FUSE mounts as mount_max in /etc/fuse.conf allows; "
            "end some, or raise it"
        ),
    ),
    (r"failed to open /etc/mtab: No such file", _NO_MTAB),
    (
        r"failed to exec|posix_spawn|could not determine username",
        (
            "fusermount3, which mounts for users, cannot be run; on Debian and Ubuntu: "
            "apt-get install --reinstall fuse3"
        ),
    ),
)
# The same, where the directory is at fault.
_OF_DIRECTORY = (
    (
        r"no write access to mountpoint|not owned by user",
        "it is not yours to write; choose a directory of your own",
    ),
    (
        r"mounting over filesystem type",
        (
            "fusermount3 forbids to mount over a file system of this kind; choose a "
            "directory on another, as below your home"
        ),
    ),
    (
        r"mountpoint is not empty",
        (
            "it is not empty; choose an empty directory, since a mount would hide what is "
            "in it"
        ),
    ),
    (
        r"failed to (access mountpoint|chdir to mountpoint|open mountpoint)|bad mount point",
        (
            "it cannot be entered; look at the permissions of the directories above it "
            "with: namei -l"
        ),
    ),
)


def program() -> str | None:
    """The path of fusermount3, else of libfuse 2's fusermount; None without either."""
    return shutil.which("fusermount3") or shutil.which("fusermount")


def refused_mount(
    directory: str, said: str, profile: Path = _APPARMOR_PROFILE
) -> SetupError:
    """Why *directory* was not mounted, by what libfuse and fusermount3 *said*.

    *profile* is AppArmor's of fusermount3, which not every machine has.
    """
    head = f"cannot mount on {plain(directory)}"
    for pattern, meaning in _OF_MACHINE:
        if re.search(pattern, said):
            return FuseUnavailable(f"{head}: {meaning}")
    for pattern, meaning in _OF_DIRECTORY:
        if re.search(pattern, said):
            return MountpointError(f"{head}: {meaning}")
    if "mount failed: Permission denied" in said:
        if os.geteuid() == 0 or not profile.exists():
            return FuseUnavailable(
                f"{head}: AppArmor or SELinux forbids it (Permission denied); a "
                f"container needs {_NEEDED_BY_CONTAINERS}"
            )
        return MountpointError(f"{head}: {_apparmor(directory, profile)}")
    if "mount failed: Operation not permitted" in said:
        return FuseUnavailable(f"{head}: {_unprivileged()}")
    return MountpointError(f"{head}: {_quoted(said)}")


def refused_unmount(
    directory: str, said: str, profile: Path = _APPARMOR_PROFILE
) -> SetupError:
    """Why *directory* was not unmounted, by what fusermount3 *said*; as above."""
    head = f"cannot unmount {plain(directory)}"
    if "failed to open /etc/mtab: No such file" in said:
        return FuseUnavailable(f"{head}: {_NO_MTAB}")
    if re.search(r"entry for .* not found in ", said, re.DOTALL):
        return MountpointError(
            f"{head}: it is not your mount; its owner or root can end it; as root: "
            f"{invocation.command()} umount {command_word(directory)}"
        )
    if "Permission denied" in said and profile.exists():
        return MountpointError(f"{head}: {_apparmor(directory, profile)}")
    if "Operation not permitted" in said:
        return FuseUnavailable(f"{head}: {_unprivileged()}")
    return MountpointError(f"{head}: {_quoted(said)}")


def _quoted(said: str) -> str:
    return printable(" ".join(said.split())) or "no reason was given"


def _apparmor(directory: str, profile: Path) -> str:
    """The profile of Ubuntu since 25.04 allows few directories; the ways out."""
    local = "/etc/apparmor.d/local/fusermount3"
    return (
        "AppArmor allows FUSE mounts below your home, /mnt, /media and /tmp alone.\n"
        "  Choose a directory there; or, as root, add these lines to\n"
        f"  {local}:\n"
        f"    mount fstype=fuse.hingfs options=(nosuid,nodev,ro) -> {plain(directory)}/,\n"
        f"    umount {plain(directory)}/,\n"
        f"  and run: apparmor_parser -r {profile}"
    )


def _unprivileged() -> str:
    """Why fusermount3 had no right to mount or unmount."""
    path = program()
    if os.geteuid() != 0:
        if "NoNewPrivs:\t1" in _process_status():
            return (
                "this process may gain no privileges, which fusermount3 needs: "
                "NoNewPrivileges= of a systemd service, or a sandbox; allow it there, "
                "or mount outside"
            )
        if path and not os.stat(path).st_mode & stat.S_ISUID:
            return (
                f"{path} has lost its setuid bit, by which it mounts for users; as "
                f"root: chmod u+s {os.path.realpath(path)}"
            )
    return f"this container or sandbox may not mount; it needs {_NEEDED_BY_CONTAINERS}"


def _process_status() -> str:
    try:
        return _PROCESS_STATUS.read_text()
    except OSError:
        return ""
