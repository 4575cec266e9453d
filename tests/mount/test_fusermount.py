"""What fusermount3 refuses: the cause and the ways out, in a message of ours.

Its words are those of fusermount3 3.14 and libfuse 2.9 and 3.14, which were provoked
where a machine without AppArmor can (no capability, no device), else read there.
"""

import os
import sys
from pathlib import Path

import pytest

from hingfs.errors import MountpointError, SetupError
from hingfs.mount import fusermount, mountpoint
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import (
    HINGFS,
    each_binding,
    environment,
    hingfs,
    mount_directory,
    mount_line,
    own_mount,
    require_fuse,
    run,
)

USER, ROOT = 1000, 0
D = "/data/hing"
CONTAINER = "--device /dev/fuse --cap-add SYS_ADMIN --security-opt apparmor=unconfined"
APPARMOR = """\
AppArmor allows FUSE mounts below your home, /mnt, /media and /tmp alone.
  Choose a directory there; or, as root, add these lines to
  /etc/apparmor.d/local/fusermount3:
    mount fstype=fuse.hingfs options=(nosuid,nodev,ro) -> /data/hing/,
    umount /data/hing/,
  and run: apparmor_parser -r PROFILE"""

# The user who mounts, the words of fusermount3, the status, the message after "cannot
# mount on D: ".
MOUNTS = [
    (USER, "fusermount3: mount failed: Permission denied\n", 6, APPARMOR),
    (
        ROOT,
        "fuse: mount failed: Permission denied\n",
        5,
        "AppArmor or SELinux forbids it (Permission denied); a container needs "
        + CONTAINER,
    ),
    (
        ROOT,
        "fusermount3: mount failed: Operation not permitted\n",
        5,
        f"this container or sandbox may not mount; it needs {CONTAINER}",
    ),
    (
        USER,
        "fusermount3: failed to open /dev/fuse: Operation not permitted\n",
        5,
        (
            "you may not open /dev/fuse; as root: chmod 666 /dev/fuse, or start the "
            f"container with {CONTAINER}"
        ),
    ),
    (
        USER,
        "fusermount3: fuse device not found, try 'modprobe fuse' first\n",
        5,
        (
            "there is no /dev/fuse; load the module (modprobe fuse), or start the container "
            f"with {CONTAINER}"
        ),
    ),
    (
        USER,
        (
            "fusermount3: option allow_other only allowed if 'user_allow_other' is set in "
            "/etc/fuse.conf\n"
        ),
        5,
        (
            "--allow-other needs the line user_allow_other in /etc/fuse.conf; as root: "
            "echo user_allow_other >> /etc/fuse.conf"
        ),
    ),
    (
        USER,
        (
            "fusermount3: too many FUSE filesystems mounted; mount_max=N can be set in "
            "/etc/fuse.conf\n"
        ),
        5,
        (
            "this machine has as many FUSE mounts as mount_max in /etc/fuse.conf allows; "
            "end some, or raise it"
        ),
    ),
    (
        USER,
        f"fusermount3: user has no write access to mountpoint {D}\n",
        6,
        "it is not yours to write; choose a directory of your own",
    ),
    (
        USER,
        "fusermount3: mounting over filesystem type 0x00006969 is forbidden\n",
        6,
        (
            "fusermount3 forbids to mount over a file system of this kind; choose a "
            "directory on another, as below your home"
        ),
    ),
    (
        USER,
        f"fuse: bad mount point `{D}': Permission denied\n",
        6,
        (
            "it cannot be entered; look at the permissions of the directories above it "
            "with: namei -l"
        ),
    ),
    (
        USER,
        "fusermount3: mount failed: No\x1b[31m space\nleft\n",
        6,
        "fusermount3: mount failed: No [31m space left",
    ),
    (USER, "", 6, "no reason was given"),
]


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """The AppArmor profile of fusermount3, as Ubuntu has it."""
    file = tmp_path / "fusermount3"
    file.touch()
    return file


def judged(error: SetupError) -> tuple[int, str]:
    return error.exit_status, str(error)


@pytest.mark.parametrize(("user_id", "said", "status", "message"), MOUNTS)
def test_a_refused_mount_is_told_with_its_cause(
    *,
    user_id: int,
    said: str,
    status: int,
    message: str,
    profile: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user_id)

    told = judged(fusermount.refused_mount(D, said, profile))

    expected = message.replace("PROFILE", str(profile))
    assert told == (status, f"cannot mount on {D}: {expected}")


def test_a_helper_without_its_setuid_bit_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper = tmp_path / "fusermount3"
    helper.touch(mode=0o755)
    monkeypatch.setattr(os, "geteuid", lambda: USER)
    monkeypatch.setenv("PATH", str(tmp_path))
    said = "fusermount3: mount failed: Operation not permitted\n"

    told = judged(fusermount.refused_mount(D, said))

    assert told == (
        5,
        (
            f"cannot mount on {D}: {helper} has lost its setuid bit, by which it mounts for "
            f"users; as root: chmod u+s {helper}"
        ),
    )


# What a process of another user than root is told.
TOLD = """
import os
from hingfs.mount import fusermount
os.geteuid = lambda: 1000
print(fusermount.refused_mount("/data/hing", "mount failed: Operation not permitted"))
"""


def test_a_process_that_may_gain_no_privileges_is_told_so() -> None:
    """As by NoNewPrivileges= of systemd, and by bubblewrap."""
    done = run(["setpriv", "--no-new-privs", sys.executable, "-c", TOLD])

    assert "may gain no privileges" in done.stdout


UNMOUNTS = [
    (
        f"fusermount3: entry for {D} not found in /etc/mtab\n",
        6,
        (
            "it is not your mount; its owner or root can end it; as root: "
            f"{HINGFS} umount {D}"
        ),
    ),
    (
        "fusermount3: failed to open /etc/mtab: No such file or directory\n",
        5,
        (
            "fusermount3 wants /etc/mtab, which this system lacks; as root: "
            "ln -s /proc/self/mounts /etc/mtab"
        ),
    ),
    (f"fusermount3: failed to unmount {D}: Permission denied\n", 6, APPARMOR),
    (
        f"fusermount3: failed to unmount {D}: Invalid argument\n",
        6,
        f"fusermount3: failed to unmount {D}: Invalid argument",
    ),
]


@pytest.mark.parametrize(("said", "status", "message"), UNMOUNTS)
def test_a_refused_unmount_is_told_with_its_cause(
    said: str, status: int, message: str, profile: Path
) -> None:
    told = judged(fusermount.refused_unmount(D, said, profile))

    expected = message.replace("PROFILE", str(profile))
    assert told == (status, f"cannot unmount {D}: {expected}")


# --- with real mounts -----------------------------------------------------------------------

# Root without the right to mount asks fusermount3, which libfuse runs by its path.
REFUSED = """
mount --bind "$1" /usr/bin/fusermount3 && shift &&
exec setpriv --bounding-set -sys_admin "$@"
"""


def helper_that_says(text: str, tmp_path: Path) -> Path:
    helper = tmp_path / "fusermount3"
    helper.write_text(f'#!/bin/sh\necho "{text}" >&2\nexit 1\n')
    helper.chmod(0o755)
    return helper


@pytest.mark.fuse
@each_binding
@pytest.mark.parametrize("foreground", [True, False])
def test_one_message_says_why_fusermount_refused(
    *, binding: str, foreground: bool, tmp_path: Path
) -> None:
    """Its own words, which stood before ours, are gone."""
    require_fuse()
    helper = helper_that_says("fusermount3: mount failed: Permission denied", tmp_path)
    with FakeEndpoint() as endpoint, mount_directory() as directory:
        done = run(
            [
                *("unshare", "--mount", "sh", "-c", REFUSED, "sh", helper),
                *(sys.executable, "-m", "hingfs", "mount", directory),
                *("--base-url", endpoint.base_url, "--fuse", binding),
                *(["--foreground"] if foreground else []),
            ],
            env=environment(HINGFS_TOKEN=endpoint.token),
        )

    assert (done.returncode, done.stdout) == (5, "")
    assert done.stderr == (
        f"hingfs: cannot mount on {directory}: AppArmor or SELinux forbids it "
        f"(Permission denied); a container needs {CONTAINER}\n"
    )


@pytest.mark.fuse
@each_binding
def test_an_unmount_that_is_refused_does_not_speak_of_mtab(
    binding: str, tmp_path: Path
) -> None:
    with own_mount(binding) as (_endpoint, mounted):
        directory = mounted.directory
        helper_that_says(
            f"fusermount3: entry for {directory} not found in /etc/mtab", tmp_path
        )

        done = hingfs("umount", directory, PATH=f"{tmp_path}:{os.environ['PATH']}")

        assert done.returncode == 6
        assert done.stderr == (
            f"hingfs: cannot unmount {directory}: it is not your mount; its owner or "
            f"root can end it; as root: {HINGFS} umount {directory}\n"
        )
        assert mounted.is_mounted


@pytest.mark.fuse
@each_binding
def test_another_user_s_mount_is_named_as_theirs(
    binding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with own_mount(binding) as (_endpoint, mounted):
        directory = mounted.directory
        monkeypatch.setattr(os, "getuid", lambda: USER)
        monkeypatch.setattr(os, "geteuid", lambda: USER)

        with pytest.raises(MountpointError) as caught:
            mountpoint.unmount(directory, lazy=True)
        assert str(caught.value) == (
            f"{directory} is a mount of root; only root can end it; as root: "
            f"{HINGFS} umount {directory}"
        )
        with pytest.raises(MountpointError, match="is a hingfs mount of root already"):
            mountpoint.prepare(directory)
        assert mount_line(directory) is not None
