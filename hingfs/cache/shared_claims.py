"""Which blocks other processes and other hosts are fetching now.

Processes of this host see it on the disk cache (`claims`), hosts in the shared cache: a
lease there of a few seconds, one for each value. Decides which values are leased: those
that begin in the blocks that are claimed, since whoever brings a beginning mostly goes on.
A lease ends when its value is there, when it is given back, and by itself.

Threads: any thread may call any method. Nobody waits for a lease here.
"""

from ..blocks import ByteRange, blocks_of
from ..content import Content
from ..version import VideoVersion
from .claims import DiskClaims
from .shared import SharedCache
from .tiers import Tiers
from .values import VALUE_BYTES, may_be_shared, span_of

# A claim leases no more values; a question for so many takes 1 ms. A guess.
_MOST_LEASES = 512


class SharedClaims:
    """The claims of *disk*, and behind them leases in *shared*. Thread safety: all methods.

    They are `fetch.claims.Claims`.
    """

    def __init__(self, disk: DiskClaims, shared: SharedCache, tiers: Tiers) -> None:
        self._disk = disk
        self._shared = shared
        self._tiers = tiers

    def claim(self, content: Content, blocks: range) -> range | None:
        """See `Claims`."""
        theirs = self._disk.claim(content, blocks)
        stop = blocks.stop if theirs is None else max(blocks.start, theirs.start)
        ours = range(blocks.start, stop)
        leased = self._leased(content, ours, take=True)
        if leased is None:
            return theirs
        left = range(max(ours.start, leased.start), ours.stop)
        self._disk.release(content, left)
        return leased

    def look(self, content: Content, blocks: range) -> range | None:
        """See `Claims`."""
        theirs = self._disk.look(content, blocks)
        return theirs or self._leased(content, blocks, take=False)

    def release(self, content: Content, blocks: range) -> None:
        """See `Claims`."""
        self._disk.release(content, blocks)
        version = content.version
        if version is None or not may_be_shared(version):
            return
        # What has come is in memory, and is written to the shared cache from there.
        if content.block_key(blocks.start) not in self._tiers.memory:
            self._shared.leases.give_back(version, self._values(version, blocks))

    def _leased(self, content: Content, blocks: range, *, take: bool) -> range | None:
        """The first run of *blocks* that another host is bringing."""
        version = content.version
        if version is None or not may_be_shared(version) or not blocks:
            return None
        values = self._values(version, blocks)
        begun = [i for i in values if self._first_block(i) >= blocks.start]
        earlier = values[: len(values) - len(begun)]
        leases = self._shared.leases
        theirs = leases.others(version, earlier)
        if not theirs:
            theirs = (leases.take if take else leases.others)(version, begun)
        if not theirs:
            return None
        last = theirs[0]
        while last + 1 in theirs:
            last += 1
        if take:
            leases.give_back(version, [i for i in begun if i > theirs[0]])
        start = max(blocks.start, self._first_block(theirs[0]))
        whole = ByteRange(
            span_of(version, theirs[0]).start, span_of(version, last).stop
        )
        return range(start, blocks_of(whole, self._tiers.block_bytes).stop)

    def _values(self, version: VideoVersion, blocks: range) -> range:
        each = self._tiers.block_bytes
        stop = min(blocks.stop * each, version.size_bytes)
        start = blocks.start * each // VALUE_BYTES
        return range(start, min(-(-stop // VALUE_BYTES), start + _MOST_LEASES))

    def _first_block(self, index: int) -> int:
        return index * VALUE_BYTES // self._tiers.block_bytes
