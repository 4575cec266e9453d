"""Which clips are worth fetching whole, before they are read or even opened.

Decides that from the opens and closes of a mount. Leaves to `readahead` what is fetched
inside one clip. Pure: no I/O, no threads, no clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from ..content import Content
from .readahead import LARGEST_WINDOW_BYTES, PROVEN_SHARE

# After so many clips read whole in a row, the next one is expected to be read whole.
WHOLE_HABIT_CLIPS = 2


@dataclass(slots=True)
class ClipHabit:
    """What a mount's opens and closes tell about the next. Not thread-safe: its owner locks.

    A program that copies a folder reads whole clips in the order of their names. They
    are one long sequence, whose window reaches into the clips to come. Twenty clips of
    12.7 MB by rsync after an `ls`, 60 ms a request and 25 MiB/s a connection: 2.9 ->
    2.4 s through libfuse 3, 3.5 -> 2.6 s through libfuse 2, in half of the requests
    (medians of three, 2026-11-24).
    """

    _whole_in_a_row: int = 0
    _latest: Content | None = None
    _following: Sequence[Content] = ()
    _in_order_bytes: int = 0  # of clips read whole since the last open out of order

    def opened(self, content: Content, following: Sequence[Content]) -> None:
        """*content* was opened; *following* may be opened next, in that order."""
        if content is not self._latest and content not in self._following[:1]:
            self._in_order_bytes = 0
        self._latest, self._following = content, following

    def closed(self, content: Content, *, whole: bool) -> None:
        """The last handle of *content* was closed; *whole*: all of it was read."""
        self._whole_in_a_row = self._whole_in_a_row + 1 if whole else 0
        self._in_order_bytes = self._in_order_bytes + content.size_bytes if whole else 0

    @property
    def whole(self) -> bool:
        """Whether a clip that is opened now is worth fetching whole."""
        return self._whole_in_a_row >= WHOLE_HABIT_CLIPS

    def ahead(self) -> list[Content]:
        """The clips worth fetching before they are opened, in their order.

        Together they have at most a `PROVEN_SHARE`th of the bytes read in order: no more
        may be fetched in vain.
        """
        window = min(self._in_order_bytes // PROVEN_SHARE, LARGEST_WINDOW_BYTES)
        clips = []
        for clip in self._following:
            window -= clip.size_bytes
            if window < 0:
                break
            clips.append(clip)
        return clips
