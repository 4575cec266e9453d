"""Sees to it that all of a video lies on disk.

Decides which parts of it are absent, that a part which a full queue of the writer has
dropped is given to it again, and when a disk takes nothing. Leaves to `warm` and `keep`
which videos come, and how their bytes are fetched.

Threads: none of its own; a video is brought in by the thread that calls.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .blocks import Block, ByteRange
from .cache.layout import GRID_BYTES
from .cache.tiers import Tiers
from .content import Content
from .errors import Closing, HingError
from .version import VideoVersion

# How often a full queue of the writer is tried again: it holds 32 MiB. A guess.
_WRITER_SECONDS = 0.02
# A disk that takes longer for what the queue holds takes nothing. A guess.
_WRITE_SECONDS = 60.0


class NoRoom(HingError):
    """The disk does not take a video, or all of it."""


@dataclass(slots=True, eq=False)
class Progress:
    """How far a video has come. The thread that brings it in writes it."""

    size_bytes: int = field(default=-1, kw_only=True)  # until it is known
    here_bytes: int = field(default=0, kw_only=True)
    fetched_bytes: int = field(default=0, kw_only=True)

    def came(self, size_bytes: int) -> None:
        """*size_bytes* more are here, which were fetched."""
        self.here_bytes += size_bytes
        self.fetched_bytes += size_bytes


class Bringer:
    """Brings contents onto the disk of *tiers*, until *closing* is set.

    Thread safety: all methods, with one thread at a time for each content.
    """

    def __init__(self, tiers: Tiers, closing: threading.Event) -> None:
        self._tiers = tiers
        self._closing = closing
        # Whole grid blocks and whole blocks in memory, since the disk takes no others.
        self._piece_bytes = max(GRID_BYTES, tiers.block_bytes)

    def bring(
        self,
        content: Content,
        progress: Progress,
        fetch: Callable[[Sequence[ByteRange]], None],
    ) -> None:
        """Have *fetch* bring what is absent of *content*, which is held.

        *fetch* gets pieces in order, calls `put` for each and `Progress.came`. Raises
        what *fetch* does, NoRoom if the disk takes nothing, and Closing.
        """
        progress.size_bytes = content.size_bytes
        for _ in range(2):  # the first answer may show another tag than HEAD did
            absent = self.absent(content)
            progress.here_bytes = content.size_bytes - sum(map(len, absent))
            if not absent:
                return
            fetch(absent)
            for piece in absent:
                self._wait_until(
                    content,
                    lambda: self._tiers.lies_on_disk(content, piece),  # noqa: B023
                )
        if self.absent(content):
            raise NoRoom("parts of it went from disk while it was fetched")

    def absent(self, content: Content) -> list[ByteRange]:
        """The pieces of *content* that do not lie on disk, in order."""
        size, step = content.size_bytes, self._piece_bytes
        pieces = (ByteRange(at, min(at + step, size)) for at in range(0, size, step))
        return [one for one in pieces if not self._tiers.lies_on_disk(content, one)]

    def put(
        self,
        content: Content,
        first: int,
        blocks: Sequence[Block],
        version: VideoVersion | None = None,
    ) -> None:
        """Have *blocks*, the first of which is *first*, written; waits for the writer.

        The transfer has given them to it too, but a full queue drops. Nothing is written
        if *content* has another version than *version* by now. Raises as `bring`.
        """
        self._wait_until(
            content,
            lambda: (
                self._tiers.put_on_disk(content, first, blocks, version)
                or (version is not None and content.version != version)
            ),
        )

    def _wait_until(self, content: Content, holds: Callable[[], bool]) -> None:
        """Return once *holds*; raises NoRoom if the disk takes nothing."""
        give_up_at = time.monotonic() + _WRITE_SECONDS
        while not holds():
            if not self._tiers.is_written(content) or time.monotonic() > give_up_at:
                raise NoRoom("the disk takes no more; the log says why")
            if self._closing.wait(_WRITER_SECONDS):
                raise Closing("it was ended")
