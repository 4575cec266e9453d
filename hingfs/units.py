"""How values are written and what they may be: sizes, times, modes, users, words.

A unit turns a person's text into a value, and checks that a value is in bounds. It says
what is wrong; its caller knows which option or variable held the text. `settings` checks
bounds that depend on another setting.
"""

import grp
import os
import pwd
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from .blocks import GIB
from .errors import UsageError, plain, printable

Value = TypeVar("Value")

_SIZE = re.compile(r"(\d{1,15})\s*([KMGT]?)(I?)B?", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_SIZE_EXPONENT = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TIME_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_MODE = re.compile(r"(?:0o)?([0-7]{1,4})", re.ASCII)
_LARGEST_MODE = 0o777  # no setuid, setgid or sticky bit

# Longer than anybody waits, and short enough for the system's clocks: 999999d was an
# OverflowError in each exchange (Linux, CPython 3.11, 2026-11-27).
_LONGEST_TIMEOUT_SECONDS = 7 * 86_400.0

_IDS = 1 << 32  # of users, and of groups; the kernel drops what is above

_ON = frozenset({"1", "true", "yes", "on"})
_OFF = frozenset({"0", "false", "no", "off"})


def _is_any(_value: object) -> None:
    """Allow every value."""


@dataclass(frozen=True, slots=True)
class Unit(Generic[Value]):
    """One kind of value: its name in the help, how text is read, which values fit.

    *parse* and *check* raise UsageError, with the reason alone.
    """

    metavar: str
    parse: Callable[[str], Value]
    check: Callable[[Value], None] = _is_any


def parse_size(text: str) -> int:
    """Bytes in *text*: "128MiB", "1 MB", "64K" (binary) or a plain number of bytes.

    KB, MB, GB are powers of 1,000; KiB, MiB, GiB and the bare K, M, G of 1,024.
    Raises UsageError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{printable(text, 40)!r} is not a size; write it as 128MiB, 64K or 1048576"
        )
    number, unit, binary = match.groups()
    decimal = unit and not binary and text.strip()[-1:] in "bB"
    unit_bytes: int = (1000 if decimal else 1024) ** _SIZE_EXPONENT[unit.upper()]
    return int(number) * unit_bytes


def parse_time(text: str) -> float:
    """Seconds in *text*: "30s", "500ms", "2m", "1h", "1d" or a plain number.

    Raises UsageError for anything else.
    """
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{printable(text, 40)!r} is not a time; write it as 30s, 500ms or 2m"
        )
    number, unit = match.groups()
    return float(number) * _TIME_SECONDS[(unit or "s").lower()]


def parse_mode(text: str) -> int:
    """The permission bits in *text*: "644", "0644" or "0o644", octal, up to 777.

    Raises UsageError for anything else.
    """
    match = _MODE.fullmatch(text.strip())
    mode = int(match[1], 8) if match else -1
    if not 0 <= mode <= _LARGEST_MODE:
        raise UsageError(
            f"{text!r} is not a mode; write it in octal, as 0644, up to 0777"
        )
    return mode


def parse_path(text: str) -> Path:
    """The absolute path that *text* names, seen from the working directory."""
    return Path(text).expanduser().absolute()


def written_size(size_bytes: int) -> str:
    """*size_bytes* as `parse_size` reads it, in the largest unit that shows it exactly."""
    for unit in ("", "KiB", "MiB", "GiB"):
        if size_bytes % 1024 or not size_bytes:
            return f"{size_bytes}{unit}"
        size_bytes //= 1024
    return f"{size_bytes}TiB"


def rounded_size(size_bytes: int) -> str:
    """About *size_bytes*, for people: "987B", "12.1MiB"."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1000:
            return f"{size:.0f}{unit}" if unit == "B" else f"{size:.1f}{unit}"
        size /= 1024
    return f"{size:.1f}TiB"


def whole(least: int, most: int) -> Unit[int]:
    """Whole numbers from *least* to *most*."""

    def check(value: int) -> None:
        if not least <= value <= most:
            raise UsageError(f"{value} is not one of {least} to {most}")

    return Unit("N", _parse_whole, check)


def power_of_two(least: int, most: int) -> Unit[int]:
    """Sizes that are powers of two, from *least* to *most* bytes."""

    def check(value: int) -> None:
        if value & (value - 1) or not least <= value <= most:
            raise UsageError(
                f"{written_size(value)} is no power of two from "
                f"{written_size(least)} to {written_size(most)}"
            )

    return Unit("SIZE", parse_size, check)


def choice(metavar: str, kind: str, words: Sequence[str]) -> Unit[str]:
    """One of *words*, in capitals or not; messages call it a *kind*."""

    def check(value: str) -> None:
        if value not in words:
            raise UsageError(
                f"{printable(value, 40)!r} is no {kind}; choose "
                f"{', '.join(words[:-1])} or {words[-1]}"
            )

    return Unit(metavar, str.lower, check)


def _parse_whole(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{printable(text, 40)!r} is not a whole number")
    return int(text)


def _parse_switch(text: str) -> bool:
    said = text.strip().lower()
    if said not in _ON | _OFF:
        raise UsageError(f"{printable(text, 40)!r} says neither; write yes or no")
    return said in _ON


def _parse_directory(text: str) -> Path:
    path = parse_path(text)
    if not (path.is_dir() and os.access(path, os.W_OK)):
        raise UsageError(
            f"{plain(str(path))} is no directory that you can write; make it, or "
            "choose another"
        )
    return path


def _parse_file_to_write(text: str) -> Path:
    path = parse_path(text)
    written = path if path.exists() else path.parent  # the directory gets a new name
    is_one = path.parent.is_dir() and not path.is_dir()
    if not (is_one and os.access(written, os.W_OK)):
        raise UsageError(
            f"{plain(str(path))} is no file that you can write; make its directory, or "
            "choose another"
        )
    return path


def _parse_user(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise UsageError(f"{printable(text)!r} is no user here") from None


def _parse_group(text: str) -> int:
    try:
        return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise UsageError(f"{printable(text)!r} is no group here") from None


def _fits_memory(size_bytes: int) -> None:
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size_bytes > memory_bytes:
        raise UsageError(
            f"{written_size(size_bytes)} is more than the memory of this machine, which "
            f"is {memory_bytes / GIB:.1f}GiB"
        )


def _can_be_entered(mode: int) -> None:
    if not mode & 0o111:
        raise UsageError(f"nobody can enter a directory of mode {mode:04o}; try 0755")


def _is_id(number: int) -> None:
    # The last one, -1, means "as it is" to chown(2).
    if not 0 <= number < _IDS - 1:
        raise UsageError(f"{number} is not one of 0 to {_IDS - 2}")


def _is_timeout(seconds: float) -> None:
    if seconds <= 0:
        raise UsageError("it takes a time longer than 0, such as 30s")
    if not seconds <= _LONGEST_TIMEOUT_SECONDS:
        raise UsageError("a time of more than 7d is no time-out; write it as 30s")


URL = Unit("URL", str)
SIZE = Unit("SIZE", parse_size)
MEMORY_SIZE = Unit("SIZE", parse_size, _fits_memory)
TIME = Unit("TIME", parse_time)
TIMEOUT = Unit("TIME", parse_time, _is_timeout)
MODE = Unit("MODE", parse_mode)
DIRECTORY_MODE = Unit("MODE", parse_mode, _can_be_entered)
USER = Unit("USER", _parse_user, _is_id)
GROUP = Unit("GROUP", _parse_group, _is_id)
FILE_TO_WRITE: Unit[Path | None] = Unit("FILE", _parse_file_to_write)
DIRECTORY: Unit[Path | None] = Unit("DIR", _parse_directory)
SWITCH = Unit("", _parse_switch)
