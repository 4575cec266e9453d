"""Where facts lie, which directories are refused, and which lie on a network."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from hingfs.facts import directory
from hingfs.facts.directory import CACHE, DATA


@pytest.mark.parametrize(
    ("place", "variables", "found"),
    [
        (CACHE, {"XDG_CACHE_HOME": "{}/cache", "HOME": "{}"}, "cache/hingfs"),
        (CACHE, {"XDG_CACHE_HOME": "relative", "HOME": "{}"}, ".cache/hingfs"),
        (CACHE, {"HOME": "{}"}, ".cache/hingfs"),
        (CACHE, {"HOME": "/nowhere"}, "var/hingfs"),
        (CACHE, {}, "var/hingfs"),
        (DATA, {"XDG_DATA_HOME": "{}/data", "HOME": "{}"}, "data/hingfs"),
        (DATA, {"HOME": "{}", "XDG_CACHE_HOME": "{}/c"}, ".local/share/hingfs"),
    ],
)
def test_the_directory_is_the_users_own(tmp_path, monkeypatch, place, variables, found):
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid)
    environ = {name: value.format(tmp_path) for name, value in variables.items()}

    made = directory.usable(
        None, environ, replace(place, of_root=tmp_path / "var" / "hingfs")
    )

    assert made == tmp_path / found
    assert made.stat().st_mode & 0o777 == 0o700
    assert directory.usable(made, {}) == made


def test_a_user_without_a_home_has_none(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12_345)

    with pytest.raises(OSError, match="HOME names no directory of yours"):
        directory.usable(None, {"HOME": "/"})


@pytest.mark.parametrize(
    ("mode", "owner", "reason"),
    [(0o770, None, "chmod go-w"), (0o1777, None, "by others"), (0o700, 9, "another")],
)
def test_a_directory_that_others_own_or_can_write_is_refused(
    tmp_path, mode, owner, reason
):
    tmp_path.chmod(mode)
    if owner is not None:
        os.chown(tmp_path, owner, -1)

    with pytest.raises(OSError, match=reason):
        directory.usable(tmp_path, {})


def test_a_directory_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").touch()

    with pytest.raises(OSError, match="file/hingfs: Not a directory"):
        directory.usable(None, {"XDG_CACHE_HOME": str(tmp_path / "file")})


@pytest.mark.parametrize(
    ("kind", "network"),
    [
        *((kind, True) for kind in ("nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs")),
        *((kind, True) for kind in ("fuse", "fuse.sshfs", "ceph", "lustre")),
        *((kind, False) for kind in ("ext4", "xfs", "tmpfs", "overlay", "fuseblk")),
    ],
)
def test_a_network_file_system_is_told_by_its_type(tmp_path, kind, network):
    device = tmp_path.stat().st_dev
    table = tmp_path / "mountinfo"
    table.write_text(
        "21 1 0:20 / /proc rw,nosuid shared:5 - proc proc rw\n"
        f"22 1 {os.major(device)}:{os.minor(device)} / / rw - {kind} there rw\n"
    )

    found = directory.network_file_system(tmp_path, table)

    assert found == (kind if network else None)


def test_a_file_system_that_is_in_no_table_counts_as_local():
    assert directory.network_file_system(Path("/"), Path("/dev/null")) is None
