"""Tables, times and numbers, as the commands that list videos show them."""

import time
from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]], sides: str) -> str:
    """*rows* in columns, each of which begins "<" or ends ">" at one place by *sides*."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{cell:{side}{width}}"
            for cell, side, width in zip(row, sides, widths, strict=True)
        ).rstrip()
        for row in rows
    )


def minute(at: float | None) -> str:
    """The time *at* as clocks here show it."""
    if at is None:
        return "-"
    try:
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
    except (ValueError, OverflowError):  # what a server or a damaged file says
        return "-"


def count(number: int, what: str) -> str:
    """*number* of *what*."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"
