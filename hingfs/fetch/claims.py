"""Who fetches which blocks, where several processes or hosts want the same ones.

`Claims` is what others show of themselves; this room asks for no more. `Claimed` decides
when the claims of this process end: with the transfer that took them. Leaves to `sharing`
what becomes of blocks that others are fetching.

Threads: none. Any thread may call.
"""

import threading
from typing import Protocol

from ..blocks import runs_of
from ..content import Content
from .transfer import Transfer


class Claims(Protocol):
    """Which blocks others are fetching now. Thread safety: all methods.

    *content* is held in the tiers by the caller. A claim is a hint: it saves a transfer,
    and proves nothing. It ends by itself with its process, once its blocks are where
    others find them, and where they cannot come there. Methods may do I/O, none of them
    waits for another's claim, and none raises.
    """

    def claim(self, content: Content, blocks: range) -> range | None:
        """Claim *blocks* for this process, up to the first that others are fetching.

        Returns the run of theirs with that block: it may begin before *blocks* and end
        behind them, and its change shows that its holder goes on. It is empty if all are
        claimed, and None if there are no others. If there are, the tiers show afterwards
        what they had brought of *blocks* before. What this process has claimed already
        may be claimed again.
        """

    def look(self, content: Content, blocks: range) -> range | None:
        """As `claim`, and nothing is claimed."""

    def release(self, content: Content, blocks: range) -> None:
        """This process is not fetching *blocks* any more, or nobody will find them."""


class Alone:
    """The claims of a process that shares with nobody."""

    def claim(self, content: Content, blocks: range) -> None:
        """See `Claims`."""

    def look(self, content: Content, blocks: range) -> None:
        """See `Claims`."""

    def release(self, content: Content, blocks: range) -> None:
        """See `Claims`."""


class Claimed:
    """The claims of the transfers that run in this process. Thread safety: all methods.

    The rest of a transfer that was cut may run before that one ends. So it claims its
    blocks again, and they stay claimed when the first one ends.
    """

    def __init__(self, claims: Claims) -> None:
        self._claims = claims
        self._lock = threading.Lock()  # guards all below; no I/O under it
        self._held: dict[Transfer, range] = {}

    def take(self, transfer: Transfer) -> range | None:
        """As `Claims.claim`, for the blocks of *transfer*, until `end`."""
        blocks = range(transfer.first, transfer.stop)
        with self._lock:  # before it is claimed: the end of another must not release it
            self._held[transfer] = blocks
        theirs = self._claims.claim(transfer.content, blocks)
        if theirs:
            with self._lock:
                stop = max(blocks.start, theirs.start)
                self._held[transfer] = range(blocks.start, stop)
        return theirs

    def end(self, transfer: Transfer) -> None:
        """Release what *transfer* has claimed and not brought."""
        with self._lock:
            held = self._held.pop(transfer, range(0))
            left = range(max(held.start, transfer.next), held.stop)
            if not left:
                return
            others = [
                blocks
                for other, blocks in self._held.items()
                if other.content is transfer.content
            ]
        free = (index for index in left if not any(index in run for run in others))
        for run in runs_of(free):
            self._claims.release(transfer.content, run)
