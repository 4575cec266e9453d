"""The blocks of contents that are here, wherever they are kept.

Decides under which version a content's blocks are kept and found. Leaves to `memory`
which blocks are evicted, and to its callers what becomes of those that are not here.

Threads: any thread may call any method; there is no lock here.
"""

from collections.abc import Iterable

from ..blocks import Block, ByteRange, blocks_of, copy_shared
from ..version import Content
from .base import BlockCache


class Tiers:
    """Blocks of *block_bytes*, kept in *memory*. Thread safety: all methods."""

    def __init__(self, memory: BlockCache, block_bytes: int) -> None:
        self.memory = memory
        self.block_bytes = block_bytes

    def has(self, content: Content, index: int) -> bool:
        """Whether block *index* is here; does not mark it as read."""
        return content.block_key(index) in self.memory

    def absent(self, content: Content, indices: Iterable[int]) -> list[int]:
        """Those of *indices* that are not here."""
        return [index for index in indices if not self.has(content, index)]

    def block(self, content: Content, index: int) -> Block | None:
        """Block *index*, if it is here; marks it as read."""
        return self.memory.get(content.block_key(index))

    def block_of_any(self, content: Content, index: int) -> Block | None:
        """Block *index* as *content* had it, under whichever version it is kept."""
        for version in content.versions:
            block = self.memory.get((version.key, index))
            if block is not None:
                return block
        return None

    def read_into(self, content: Content, target: memoryview, offset: int) -> list[int]:
        """Fill *target* from *offset* with what is here; returns the blocks that are not."""
        absent = []
        span = ByteRange(offset, offset + len(target))
        for index in blocks_of(span, self.block_bytes):
            block = self.memory.get(content.block_key(index))
            if block is None:
                absent.append(index)
            else:
                copy_shared(target, offset, block, index * self.block_bytes)
        return absent
