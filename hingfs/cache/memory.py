"""The memory cache of blocks, bounded in bytes.

Decides which blocks are evicted. Unread blocks are kept apart from read ones: under
plain LRU a sequential read would evict the blocks it is about to read, and keep those
it has just read. So read blocks go first, least recently used first; unread ones go
only when they alone exceed their share.

Transfers reserve their blocks here, and spools their memory, so that one number bounds
all of it. Leaves to them how much that is.

Threads: any thread may call any method.
"""

import threading
from dataclasses import dataclass

from cachetools import Cache, FIFOCache, LRUCache

from ..blocks import Block
from ..version import BlockKey
from .base import BlockCache

# The part of the budget that unread blocks may fill. Half: the windows of all files
# together must leave room for blocks that were read.
UNREAD_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class CacheStats:
    """The bytes that count against the budget now."""

    held_bytes: int
    reserved_bytes: int


class MemoryBlockCache(BlockCache):
    """Blocks under (version, index), together with reservations at most *budget_bytes*.

    Thread safety: all methods.
    """

    def __init__(self, budget_bytes: int) -> None:
        self._budget_bytes = budget_bytes
        self._unread_bytes = int(budget_bytes * UNREAD_SHARE)
        # Guards all below, and is held for dictionary work only. Even a look into one
        # of the two caches needs it, since that reorders the cache.
        self._lock = threading.Lock()
        # BlockKey -> block, each
        self._unread: FIFOCache[BlockKey, Block] = FIFOCache(self._unread_bytes, len)
        self._read: LRUCache[BlockKey, Block] = LRUCache(budget_bytes, len)
        self._reserved = 0

    @property
    def budget_bytes(self) -> int:
        """How many bytes blocks and reservations may take together."""
        return self._budget_bytes

    def get(self, key: BlockKey) -> Block | None:
        """The block, or None; marks it as read."""
        with self._lock:
            block = self._read.get(key)
            return self._mark_read_locked(key) if block is None else block

    def peek(self, key: BlockKey) -> Block | None:
        """The block, or None; nothing is marked."""
        with self._lock:
            if key in self._read:  # not by its own method, which would reorder it
                return Cache.__getitem__(self._read, key)
            return self._unread.get(key)

    def __contains__(self, key: BlockKey) -> bool:
        with self._lock:
            return key in self._read or key in self._unread

    def mark_read(self, key: BlockKey) -> None:
        """A reader took this block from its landing: it counts as read."""
        with self._lock:
            self._mark_read_locked(key)

    def put(self, key: BlockKey, block: Block, reserved_bytes: int = 0) -> None:
        """Keep *block* as unread, in place of *reserved_bytes* of the reservations.

        If it raises, the reservations stay as they are.
        """
        with self._lock:
            while self._unread.currsize + len(block) > self._unread_bytes:
                self._unread.popitem()
            self._unread[key] = block
            self._reserved -= reserved_bytes
            self._evict_locked()

    def put_read(self, key: BlockKey, block: Block) -> None:
        """Keep *block* as one that was read, which no unread one makes way for."""
        with self._lock:
            self._unread.pop(key, None)
            self._read[key] = block
            self._evict_locked()

    def reserve(self, size_bytes: int) -> None:
        """Count *size_bytes* held elsewhere against the budget; may be negative."""
        with self._lock:
            self._reserved += size_bytes
            self._evict_locked()

    @property
    def most_ahead_bytes(self) -> int:
        """How many bytes may be fetched ahead, in all."""
        return self._unread_bytes

    def room_bytes(self) -> int:
        """How many more bytes may be fetched ahead before unread blocks are evicted."""
        with self._lock:
            used = int(self._unread.currsize) + self._reserved
            return max(0, self._unread_bytes - used)

    def stats(self) -> CacheStats:
        """The bytes that blocks and reservations take now."""
        with self._lock:
            held_bytes = int(self._read.currsize + self._unread.currsize)
            return CacheStats(held_bytes, self._reserved)

    def _mark_read_locked(self, key: BlockKey) -> Block | None:
        block = self._unread.pop(key, None)
        if block is not None:
            self._read[key] = block
        return block

    def _evict_locked(self) -> None:
        """Evict until the budget holds, or nothing is left to evict."""
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
