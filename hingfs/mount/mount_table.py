"""What is mounted where, and which processes use it, by the kernel's own tables.

A mount whose process was killed stays in the table and fails every call with ENOTCONN;
`os.path.exists` and `ismount` then say False. So this module reads the table, and
nothing on a mount, which may hang. `mountpoint` acts on what it finds.
"""

import contextlib
import os
import re
import select
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import printable

SUBTYPE = "hingfs"
_FS_TYPE = f"fuse.{SUBTYPE}"
_SOURCE = "hingfs:"
_MOUNTINFO = Path("/proc/self/mountinfo")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """One line of the mount table; *device* is "major:minor", *source* what df shows.

    *user_id* is the user who mounted it, None where the kernel does not tell.
    """

    directory: str
    fs_type: str
    device: str
    user_id: int | None = None
    source: str = ""


def entries() -> Iterator[MountEntry]:
    """All mounts; a mount on top of another comes after it."""
    for line in _MOUNTINFO.read_text(errors="surrogateescape").splitlines():
        head, separator, tail = line.partition(" - ")
        fields, rest = head.split(" "), tail.split(" ")
        if separator and len(fields) > 4 and len(rest) > 1:
            owner = re.search(r"\buser_id=(\d+)", rest[-1])
            yield MountEntry(
                directory=_unescaped(fields[4]),
                fs_type=rest[0],
                device=fields[2],
                user_id=int(owner[1]) if owner else None,
                source=_unescaped(rest[1]),
            )


def entry_at(directory: Path) -> MountEntry | None:
    """The topmost mount at *directory* (absolute), None if there is none."""
    found = None
    for entry in entries():
        if entry.directory == str(directory):
            found = entry
    return found


def is_ours(entry: MountEntry | None) -> bool:
    """True if *entry* is a mount of hingfs."""
    return entry is not None and entry.fs_type == _FS_TYPE


def source_of(base_url: str) -> str:
    """What the table shows as the source of a mount of *base_url*."""
    # A comma would end the mount's option. The kernel takes a page of options.
    return _SOURCE + printable(base_url, 1000).replace(",", "%2C")


class OwnMount:
    """Whether the mount of *device* is still in the table. Thread safety: all methods.

    Who has something open in a mount that was detached holds it up, unseen by others.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        # Open as long as the process, whose mount it is.
        self._table = os.open(_MOUNTINFO, os.O_RDONLY | os.O_CLOEXEC)
        self._gone = not self._is_listed()  # only ever set

    def is_there(self) -> bool:
        """Whether it is; reads the table only after that has changed."""
        changes = select.poll()  # not shared, since two threads may not use one
        changes.register(self._table, select.POLLPRI)
        if changes.poll(0) and not self._is_listed():
            self._gone = True
        return not self._gone

    def _is_listed(self) -> bool:
        return any(entry.device == self._device for entry in entries())


def base_url_of(entry: MountEntry) -> str:
    """The base URL that *entry*, one of ours, shows."""
    return entry.source.removeprefix(_SOURCE)


def ours_above(directory: Path) -> str | None:
    """The hingfs mount around *directory*, None if there is none."""
    return next(
        (
            entry.directory
            for entry in entries()
            if is_ours(entry) and Path(entry.directory) in directory.parents
        ),
        None,
    )


def users_of(device: str) -> Iterator[str]:
    """The processes that have something of *device* open, as "name (pid)".

    Reads the kernel's tables and nothing on the mount itself, which may hang.
    """
    major, _, minor = device.partition(":")
    # /proc/PID/maps writes the same numbers in hexadecimal.
    mapped = f"{int(major):02x}:{int(minor):02x}"
    directories = {line.directory for line in entries() if line.device == device}
    for process in Path("/proc").iterdir():
        if process.name.isdecimal() and process.name != str(os.getpid()):
            with contextlib.suppress(OSError):
                if _uses(process, directories, mapped):
                    name = (process / "comm").read_text().strip()
                    yield f"{name} ({process.name})"


def _uses(process: Path, directories: set[str], mapped: str) -> bool:
    links = [process / "cwd", process / "root"]
    links += list((process / "fd").iterdir())
    for link in links:
        with contextlib.suppress(OSError):
            target = os.readlink(link)
            if any(target == d or target.startswith(f"{d}/") for d in directories):
                return True
    return f" {mapped} " in (process / "maps").read_text(errors="replace")


def _unescaped(text: str) -> str:
    """*text* with the table's octal escapes (blank, tab, newline, backslash) undone."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
