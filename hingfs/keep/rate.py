"""How fast bytes come, measured while there is something to bring.

Pure: no I/O, no threads, no clock. Not thread-safe: its owner locks.
"""

import math

# What came so long ago counts half. A guess: long enough for a few requests over a slow
# link, short enough for one that becomes slow.
HALF_LIFE_SECONDS = 10.0
# Before that the wait for the first answers is most of it. A guess.
_LEAST_SECONDS = 0.5


class Rate:
    """The bytes that came, and the seconds that they took; older ones count less."""

    def __init__(self) -> None:
        self._size_bytes = 0.0
        self._own_bytes = 0.0
        self._seconds = 0.0

    def note(self, size_bytes: int, seconds: float, own_bytes: int = 0) -> None:
        """In the last *seconds*, in which bytes were waited for, *size_bytes* came.

        *own_bytes* of them were waited for, the others were for readers.
        """
        weight: float = 0.5 ** (seconds / HALF_LIFE_SECONDS)
        self._size_bytes = self._size_bytes * weight + size_bytes
        self._own_bytes = self._own_bytes * weight + own_bytes
        self._seconds = self._seconds * weight + seconds

    @property
    def is_known(self) -> bool:
        """Whether enough was measured."""
        return self._seconds >= _LEAST_SECONDS and self._size_bytes > 0

    @property
    def own_part(self) -> float:
        """The part of the bytes that was not for readers; 0 while no rate is known."""
        return self._own_bytes / self._size_bytes if self.is_known else 0.0

    @property
    def bytes_per_second(self) -> float:
        """The rate; infinite while it is not known."""
        return self._size_bytes / self._seconds if self.is_known else math.inf
