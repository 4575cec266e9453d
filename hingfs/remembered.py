"""A table of server data, bounded by the memory it takes.

A server may send ids, URLs and words of any length and number, and one character can
make a text take four times its bytes. So each table whose keys are ids is one of these.
Decides how memory is counted, and that the entry unused for longest makes room. Leaves
to its owner how much memory there is, how much a value takes, and the lock.
"""

import math
import sys
import time
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value")

# An entry of the table without its key and value: measured (2026-11-26).
ENTRY_BYTES = 300


def bytes_of_texts(*texts: str | None) -> int:
    """The memory that *texts* take."""
    return sum(sys.getsizeof(text) for text in texts if text is not None)


class Remembered(Generic[Value]):
    """Values under keys of a server's choice, in *most_bytes* of memory at most.

    *bytes_of* says how much memory a value takes, without its key. A value is forgotten
    after *seconds*. Not thread-safe: its owner locks.
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
        # key -> (value, its bytes, monotonic time until which it is good); the entry
        # unused for longest comes first
        self._entries: dict[str, tuple[Value, int, float]] = {}
        self.held_bytes = 0

    def get(self, key: str) -> Value | None:
        """The value of *key*, if it is still good; it counts as used."""
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
        """Remember *value*; the entries unused for longest make room."""
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
        """All values that are still good; none of them counts as used."""
        return [value for _, value in self.items()]

    def items(self) -> list[tuple[str, Value]]:
        """As `values`, each behind its key."""
        now = time.monotonic()
        return [
            (key, value)
            for key, (value, _, until) in self._entries.items()
            if now < until
        ]
