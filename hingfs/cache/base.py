"""What readers and the fetcher ask of a cache of blocks.

One budget bounds the blocks, and the memory that others *reserve* here.
"""

from typing import Protocol

from ..blocks import Block
from ..version import BlockKey


class BlockCache(Protocol):
    """Blocks under (version, index), within a budget. Thread safety: all methods.

    A block counts as unread until a reader has had it. No method waits for I/O with a
    lock held.
    """

    @property
    def budget_bytes(self) -> int:
        """How many bytes blocks and reservations may take together."""

    def get(self, key: BlockKey) -> Block | None:
        """The block, or None; marks it as read."""

    def peek(self, key: BlockKey) -> Block | None:
        """The block, or None; does not mark it as read."""

    def __contains__(self, key: BlockKey) -> bool:
        """Whether the block is there; does not mark it as read."""

    def mark_read(self, key: BlockKey) -> None:
        """A reader took this block from its landing: it counts as read."""

    def put(self, key: BlockKey, block: Block, reserved_bytes: int = 0) -> None:
        """Keep *block* as unread, in place of *reserved_bytes* of the reservations.

        If it raises, the reservations stay as they are.
        """

    def put_read(self, key: BlockKey, block: Block) -> None:
        """Keep *block* as one that was read."""

    def reserve(self, size_bytes: int) -> None:
        """Count *size_bytes* held elsewhere against the budget; may be negative."""

    @property
    def most_ahead_bytes(self) -> int:
        """How many bytes may be fetched ahead, in all."""

    def room_bytes(self) -> int:
        """How many more bytes may be fetched ahead before unread blocks are evicted."""
