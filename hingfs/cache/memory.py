"""The memory cache of blocks, bounded in bytes.

Blocks that were fetched ahead and not read yet are kept apart from those that were
read: a sequential read would otherwise, under plain LRU, throw out what it is about
to read in favour of what it has just read. Read blocks go first, least recently used
first; unread ones go only when they alone exceed their share.

What is in flight, and whole-file streams held in memory, are *reserved* here, so
that one number bounds all of it.
"""

import threading
from dataclasses import dataclass

from cachetools import FIFOCache, LRUCache

from ..blocks import Block
from ..version import BlockKey
from .base import BlockCache

# The part of the budget that blocks nobody has read yet may fill. Half: the windows
# of all files together must leave room for what was read.
UNREAD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The bytes that count against the budget now."""

    held_bytes: int
    reserved_bytes: int


class MemoryBlockCache(BlockCache):
    """Blocks under (version, index), together with reservations at most *budget_bytes*.

    Thread safety: all methods; `_lock` is held for dictionary work only. cachetools
    needs it for lookups as well, since they reorder.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._unread_bytes = int(budget_bytes * UNREAD_SHARE)
        self._lock = threading.Lock()
        # BlockKey -> block; both guarded by _lock
        self._unread: FIFOCache[BlockKey, Block] = FIFOCache(self._unread_bytes, len)
        self._read: LRUCache[BlockKey, Block] = LRUCache(budget_bytes, len)
        self._reserved = 0

    @property
    def budget_bytes(self) -> int:
        """What blocks and reservations may take together."""
        return self._budget_bytes

    def get(self, key: BlockKey) -> Block | None:
        """The block, or None; marks it as read."""
        with self._lock:
            block = self._read.get(key)
            return self._mark_read_locked(key) if block is None else block

    def __contains__(self, key: BlockKey) -> bool:
        with self._lock:
            return key in self._read or key in self._unread

    def mark_read(self, key: BlockKey) -> None:
        """Somebody has read this block on its way here."""
        with self._lock:
            self._mark_read_locked(key)

    def put(self, key: BlockKey, block: Block, reserved_bytes: int = 0) -> None:
        """Keep *block* as unread, in place of *reserved_bytes* of the reservations.

        Those stay as they are if anything is raised.
        """
        with self._lock:
            while self._unread.currsize + len(block) > self._unread_bytes:
                self._unread.popitem()
            self._unread[key] = block
            self._reserved -= reserved_bytes
            self._shrink()

    def reserve(self, size_bytes: int) -> None:
        """Count *size_bytes* held elsewhere against the budget; may be negative."""
        with self._lock:
            self._reserved += size_bytes
            self._shrink()

    def room_bytes(self) -> int:
        """How many more bytes may be fetched ahead without pushing unread ones out."""
        with self._lock:
            used = int(self._unread.currsize) + self._reserved
            return max(0, self._unread_bytes - used)

    def stats(self) -> CacheStats:
        """What is held and reserved."""
        with self._lock:
            held_bytes = int(self._read.currsize + self._unread.currsize)
            return CacheStats(held_bytes, self._reserved)

    def _mark_read_locked(self, key: BlockKey) -> Block | None:
        block = self._unread.pop(key, None)
        if block is not None:
            self._read[key] = block
        return block

    def _shrink(self) -> None:
        """Evict until the budget holds; call with the lock held."""
        while (
            self._read.currsize + self._unread.currsize + self._reserved
            > self._budget_bytes
        ):
            if self._read:
                self._read.popitem()
            elif self._unread:
                self._unread.popitem()
            else:
                return
