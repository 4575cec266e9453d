"""A table of what servers said, bounded by the memory it takes.

Ids, URLs and words are of any length and number that a server likes, and one character
makes a text take four times its bytes. So each table under ids is one of these, and what
was used longest ago makes room. Decides how memory is counted; leaves to its owner how
much there may be, what a value takes, and the lock.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

# The place in the table, with its value's counters and time: measured (2026-11-26).
ENTRY_BYTES = 300


def bytes_of_texts(*texts: str | None) -> int:
    """The memory that *texts* take."""
    return sum(sys.getsizeof(text) for text in texts if text is not None)


class Remembered(Generic[Value]):
    """Values under keys of a server's choice, in *most_bytes* of memory at most.

    *bytes_of* says what a value takes, beside its key. A value is forgotten after
    *seconds*. Not thread-safe: its owner locks.
    """

    def __init__(
        self,
        most_bytes: int,
        bytes_of: Callable[[Value], int],
        seconds: float = math.inf,
    ) -> None:
        self._most_bytes = most_bytes
        self._bytes_of = bytes_of
        self._seconds = seconds
        # key -> (value, its bytes, monotonic time until which it is good); the one that
        # was used longest ago comes first
        self._entries: dict[str, tuple[Value, int, float]] = {}
        self.held_bytes = 0

    def get(self, key: str) -> Value | None:
        """The value of *key*, if there is a good one; it counts as used."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return None
        if time.monotonic() >= entry[2]:
            self.held_bytes -= entry[1]
            return None
        self._entries[key] = entry
        return entry[0]

    def __contains__(self, key: str) -> bool:
        entry = self._entries.get(key)
        return entry is not None and time.monotonic() < entry[2]

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, key: str, value: Value) -> None:
        """Remember *value*; what was used longest ago makes room."""
        self.pop(key)
        size = ENTRY_BYTES + bytes_of_texts(key) + self._bytes_of(value)
        self._entries[key] = (value, size, time.monotonic() + self._seconds)
        self.held_bytes += size
        while self.held_bytes > self._most_bytes:
            self.pop(next(iter(self._entries)))

    def pop(self, key: str) -> None:
        """Forget *key*, if it is there."""
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.held_bytes -= entry[1]

    def values(self) -> list[Value]:
        """All that are good; none of them counts as used."""
        now = time.monotonic()
        return [value for value, _, until in self._entries.values() if now < until]
