"""How a setting's value is written: sizes, times, modes.

Each function here turns what a person wrote into a value, or says why it is none. Which
option or variable held the text is told by the caller.
"""

import re

from .errors import UsageError, printable

_SIZE = re.compile(r"(\d{1,15})\s*([KMGT]?)(I?)B?", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_SIZE_EXPONENT = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TIME_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_MODE = re.compile(r"(?:0o)?([0-7]{1,4})", re.ASCII)
_LARGEST_MODE = 0o777  # no setuid, setgid or sticky bit


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
