"""Which blocks other processes of this host are fetching, as the disk cache shows it.

A claim is a lock on the bytes of a video's data file that are being fetched: it dies with
the process that holds it, and needs no file of its own. It ends earlier when `video` has
written its bytes, or dropped them. Decides that grid blocks alone are claimed that come
whole, and that nothing is where others could not use what comes: without the disk, on one
that is not written or lies on a network file system, and for a version that no other
process can tell.

Threads: any thread may call any method. Nobody waits for a claim here.
"""

import contextlib
from collections.abc import Callable

from ..blocks import ByteRange, blocks_of
from ..content import Content
from .locks import ByteLocks
from .tiers import Tiers
from .video import whole_grid


class DiskClaims:
    """The claims on videos in the folders of *tiers*. Thread safety: all methods.

    They are `fetch.claims.Claims`.
    """

    def __init__(self, tiers: Tiers) -> None:
        self._tiers = tiers

    def claim(self, content: Content, blocks: range) -> range | None:
        """See `Claims`."""
        return self._asked(ByteLocks.lock, content, blocks)

    def look(self, content: Content, blocks: range) -> range | None:
        """See `Claims`."""
        return self._asked(ByteLocks.look, content, blocks)

    def release(self, content: Content, blocks: range) -> None:
        """See `Claims`."""
        video = self._tiers.on_disk(content)
        if video is not None:
            video.unlock(self._span_of(content, blocks))

    def _asked(
        self,
        ask: Callable[[ByteLocks, ByteRange], ByteRange | None],
        content: Content,
        blocks: range,
    ) -> range | None:
        video = self._tiers.on_disk(content)
        if video is None or not video.is_shared:
            return None
        span = whole_grid(self._span_of(content, blocks), video.version.size_bytes)
        pair = video.pair
        theirs = None
        with contextlib.suppress(OSError):
            theirs = ask(pair.locks, span)
            if not video.take_up():  # after it: what they unlock is written
                return None
        return blocks_of(theirs or ByteRange(0, 0), self._tiers.block_bytes)

    def _span_of(self, content: Content, blocks: range) -> ByteRange:
        each = self._tiers.block_bytes
        span = ByteRange(blocks.start * each, blocks.stop * each)
        return span.clip(content.size_bytes)
