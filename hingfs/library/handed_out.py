"""Which blocks of a file were handed out, and whether a whole answer has the same.

A server whose validators contradict one another may send another file the next time.
Such a file is taken from one whole answer, and bytes that programs had before, by
ranges, must be in that answer. Decides by comparing the bytes, since no validator tells.
Leaves to `shifting` when a file is taken from one answer.

Threads: those of the readers, many at once.
"""

import threading

from ..blocks import Runs, block_count
from ..cache.tiers import Tiers
from ..content import Content
from ..errors import ContentChanged
from ..fetch.spool import Spool

# Runs of blocks that are remembered of one file. A program that reads more of them reads
# at random: its reads prove nothing, and plan nothing.
_MOST_RUNS = 4096


class HandedOut:
    """The blocks of one content that were handed out. Thread safety: all methods."""

    def __init__(self, content: Content, tiers: Tiers) -> None:
        self._content = content
        self._tiers = tiers
        self._block_bytes = tiers.block_bytes
        # Whether every block of the content that was handed out is noted here.
        self._noted_all = not content.handed_out
        self._proved = False  # the whole answer has all these blocks; only ever set
        self._lock = threading.Lock()
        self._blocks = Runs(_MOST_RUNS)  # guarded by _lock

    def note(self, indices: range) -> None:
        """Blocks *indices* are about to be handed out."""
        with self._lock:
            self._blocks.add(indices)

    def is_whole(self) -> bool:
        """Whether every block of the file was read; False for an empty file."""
        blocks = range(block_count(self._content.size_bytes, self._block_bytes))
        with self._lock:
            return bool(blocks) and self._blocks.covers(blocks)

    def prove(self, spool: Spool, deadline: float) -> None:
        """Raise ContentChanged unless *spool* has every block handed out by ranges.

        The proof is made once.
        """
        if self._proved:
            return
        if not self._matches(spool, deadline):
            self._content.found_changed()
            raise ContentChanged("the bytes read so far may be of another file")
        self._proved = True

    def _matches(self, spool: Spool, deadline: float) -> bool:
        """Whether every block handed out is still here, and equal in *spool*."""
        with self._lock:
            if not (self._noted_all and self._blocks.is_complete):
                return False
            indices = list(self._blocks)
        for index in indices:
            block = self._tiers.block_handed_out(self._content, index)
            if block is None:
                return False
            held = bytearray(len(block))
            spool.read_into(memoryview(held), index * self._block_bytes, deadline)
            if held != block:
                return False
        return True
