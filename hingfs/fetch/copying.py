"""The bytes of a spool on their way into the disk cache.

Decides when they are written: while they arrive, and what found no room then once all of
them are there. The end of the file is not written before it is proved, so that only a
file that is right lies whole on disk. Leaves to `cache` where that is, and what becomes
of a disk that is full or fails: the spool has the bytes in any case.

Threads: the one of the stream.
"""

import contextlib

from ..blocks import MIB
from ..cache.tiers import Tiers
from ..errors import BodyCut
from .spool import Spool

# So much is handed over at once. A guess.
_PIECE_BYTES = MIB


class DiskCopy:
    """What *tiers* has on disk of the bytes in *spool*. For one thread."""

    def __init__(self, tiers: Tiers, spool: Spool) -> None:
        self._tiers = tiers
        self._spool = spool
        self._content = spool.content
        self._given_bytes = spool.frontier  # what is there already may be on disk

    def follow(self) -> None:
        """Have what has arrived written behind the caller, but for the end."""
        while self._spool.frontier - self._given_bytes > _PIECE_BYTES:
            self._give(_PIECE_BYTES)

    def finish(self) -> None:
        """All has arrived, and its end is proved. Returns once it is on disk, or not.

        Readers need not wait for that: the spool is finished before.
        """
        self._give(_PIECE_BYTES)
        # Of these very bytes: the next download of the content has another version.
        video = self._tiers.on_disk(self._content)
        self._spool.finish()
        if video is not None:
            with contextlib.suppress(BodyCut):  # given up meanwhile
                video.fill(self._spool.peek)

    def _give(self, count: int) -> None:
        video = self._tiers.on_disk(self._content)
        if video is not None:
            data = self._spool.peek(self._given_bytes, count)
            video.put(self._given_bytes, [data])
        self._given_bytes += count
