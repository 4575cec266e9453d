"""Names that programs which start at once will look up next. Pure: no lock, no I/O.

The kernel may look up one name at a time in a directory; then eight programs that open
eight clips wait for one name after the other, in whatever order they came. A mount sees
that two names in a row stand near each other in the list, as the clips of one project
do. Decides which names beside those two are looked up ahead, and how many: a few at
first, twice as many after each time that most of them were asked for, none otherwise.
Leaves to `walk` the programs that go through the names in order.
"""

from collections import deque
from collections.abc import Mapping, Sequence


class Burst:
    """The names ahead of programs that start at once. Not thread-safe: its owner locks.

    *first* names are looked up at first, at most *most* later.
    """

    def __init__(self, first: int, most: int) -> None:
        self._size = first
        self._most = most
        # Not looked up yet. Where nothing is looked up ahead for a while, the oldest go.
        self._waiting: deque[str] = deque(maxlen=2 * most)
        # Those ahead that no program has asked for; they are among the last `_size`.
        self._unasked: set[str] = set()
        self._begun = False  # whether there was one before

    def asked(self, video_id: str) -> None:
        """A program looks *video_id* up."""
        self._unasked.discard(video_id)

    def begin(
        self, order: Sequence[str], places: Mapping[str, int], video_id: str, last: str
    ) -> bool:
        """Programs ask for *last*, then *video_id*, of a list in that *order*.

        *places* are the indices of all names in it. Returns whether names beside the two
        are worth a look-up; `next` tells them.
        """
        at, before = places.get(video_id), places.get(last)
        if at is None or before is None or 2 * len(self._unasked) > self._size:
            return False
        size = min(2 * self._size, self._most) if self._begun else self._size
        low, high = sorted((at, before))
        if not 0 < high - low <= size:
            return False
        start = low - (size + 1 - (high - low)) // 2
        start = max(0, min(start, len(order) - size - 2))
        near = order[start : start + size + 2]
        beside = [one for one in near if one not in (video_id, last)]
        self._size, self._begun = size, True
        self._waiting.extend(beside)
        self._unasked = set(beside)
        return True

    def next(self) -> str | None:
        """The next name to look up ahead; None if there is none."""
        return self._waiting.popleft() if self._waiting else None
