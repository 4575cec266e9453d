"""The blocks of contents that are here: in memory, or else on disk.

Decides that memory is asked first, and that what lies on disk is read from there without
a copy in memory. A version that is kept, or on its way to it, lies among what is kept;
any other one in the disk cache. Decides under which version a content's blocks are kept. Leaves to
`memory` and `disk` which blocks are evicted, to `disk` what is wrong there, and to its
callers what becomes of blocks that are not here.

Threads: any thread may call any method. Nobody waits here for a write to disk.
"""

import contextlib
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ..blocks import (
    Block,
    ByteRange,
    block_count,
    blocks_of,
    bounds_of,
    copy_shared,
    runs_of,
)
from ..content import Content
from ..version import VideoVersion
from ..workers import all_joined
from .base import BlockCache
from .disk import DiskCache
from .kept import KeptStore
from .layout import GRID_BYTES, Mark
from .shared import SharedCache
from .video import DiskVideo

# How often it is seen whether a video is whole on disk: a look costs 40 µs for a film.
# A guess.
_LOOK_SECONDS = 1.0


@dataclass(slots=True)
class _Held:
    """A content whose files on disk stay open. Guarded by the lock of `Tiers`."""

    holders: int = 0
    video: DiskVideo | None = None  # replaced when the content gets another version
    whole: bool = False  # whether all blocks of *video* were there
    looked_at: float = 0.0  # monotonic: for *whole*


class Tiers:
    """Blocks of *block_bytes*, in *memory*, on *disk* and *kept*. Thread safety: all methods.

    What lands is also written to *shared*; `fetch.shared_source` reads from there. *disk*
    and *kept* take part for contents that are *held*, so that their files are open no
    longer than somebody reads or fetches.
    """

    def __init__(
        self,
        memory: BlockCache,
        block_bytes: int,
        disk: DiskCache | None = None,
        kept: KeptStore | None = None,
        shared: SharedCache | None = None,
    ) -> None:
        self.memory = memory
        self.block_bytes = block_bytes
        self._disk = disk
        self._kept = kept
        self._shared = shared
        # What is kept comes first: it is whole, or on its way to that.
        self._folders = [folder for folder in (kept, disk) if folder is not None]
        # Guards the table and its values; no file is opened or closed under it. A look
        # into the table alone needs no lock.
        self._lock = threading.Lock()
        self._held: dict[Content, _Held] = {}

    def close(self) -> None:
        """Take nothing more; what waits for the disk is still written, see `join`."""
        for folder in self._owners:
            folder.close()

    def join(self, seconds: float) -> bool:
        """Whether all is written, and every thread has ended, within *seconds*."""
        return all_joined(self._owners, seconds)

    @property
    def _owners(self) -> Sequence[DiskCache | KeptStore | SharedCache]:
        """The owners of threads."""
        return self._folders if self._shared is None else [*self._folders, self._shared]

    @contextlib.contextmanager
    def held(self, content: Content) -> Iterator[None]:
        """Hold *content* meanwhile."""
        self.hold(content)
        try:
            yield
        finally:
            self.release(content)

    def hold(self, content: Content) -> None:
        """Keep the files of *content* open, from their first use until `release`.

        What an earlier process left whole of it is taken up at the first hold.
        """
        if not self._folders:
            return
        with self._lock:
            self._held.setdefault(content, _Held()).holders += 1
        if content.seeks_sighting:  # all who use its version hold it first
            version = self._whole_sighting(content)
            if version is not None:
                content.take_up(version)

    def may_take_up(self, content: Content) -> bool:
        """Whether an earlier process left it whole, by all that *content* tells."""
        return content.seeks_sighting and self._whole_sighting(content) is not None

    def keep(self, content: Content, mark: Mark) -> VideoVersion:
        """Have *content*, which is held, land among what is kept; returns its version.

        Does I/O; raises as `KeptStore.begin` does.
        """
        version = content.version
        assert self._kept is not None, "who keeps has a place for it"
        assert version is not None, "only a video of known size is kept"
        cached = None
        if self._disk is not None:
            with contextlib.suppress(OSError):
                cached = self._disk.where(version)
        completed_at = content.completed_at
        self._kept.begin(version, mark, completed_at=completed_at, cached=cached)
        with self._lock:  # the next use finds the files among what is kept
            held = self._held.get(content)
            video = held.video if held is not None else None
            if held is not None:
                held.video, held.whole = None, False
        if video is not None:
            video.release()
        return version

    def is_kept(self, content: Content) -> bool:
        """Whether the version of *content* is kept whole; memory only."""
        version = content.version
        if self._kept is None or version is None:
            return False
        return self._kept.has_sealed(version)

    def _whole_sighting(self, content: Content) -> VideoVersion | None:
        """The version that lies whole in a folder and is *content*, by what it tells."""
        found = (folder.whole_sighting(content) for folder in self._folders)
        return next((version for version in found if version is not None), None)

    def release(self, content: Content) -> None:
        """One `hold` less."""
        if not self._folders:
            return
        with self._lock:
            held = self._held[content]
            held.holders -= 1
            if held.holders:
                return
            del self._held[content]
            video, held.video = held.video, None
        if video is not None:
            video.release()

    def has(self, content: Content, index: int) -> bool:
        """Whether block *index* is here; does not mark it as read."""
        return not self.absent(content, [index])

    def absent(self, content: Content, indices: Iterable[int]) -> list[int]:
        """Those of *indices* that are not here."""
        memory = self.memory
        absent = [i for i in indices if content.block_key(i) not in memory]
        video = self.on_disk(content) if absent else None
        if video is None:
            return absent
        return [i for i in absent if not video.covers(self._bounds(content, i))]

    def block(self, content: Content, index: int) -> Block | None:
        """Block *index*, if it is here; marks it as read."""
        block = self.memory.get(content.block_key(index))
        if block is None:
            block = self._from_disk(self.on_disk(content), content, index)
        return block

    def block_handed_out(self, content: Content, index: int) -> Block | None:
        """Block *index* under whichever version of *content* it is kept."""
        on_disk = content in self._held
        for version in content.versions:
            block = self.memory.get((version.key, index))
            if block is None and on_disk:
                block = self._from_disk_as(version, content, index)
            if block is not None:
                return block
        return None

    def read_into(self, content: Content, target: memoryview, offset: int) -> list[int]:
        """Fill *target* from *offset* with what is here; returns the blocks that are not.

        The bytes in their place are good for nothing.
        """
        absent: list[int] = []
        span = ByteRange(offset, offset + len(target))
        video = self.on_disk(content)
        for index in blocks_of(span, self.block_bytes):
            block = self.memory.get(content.block_key(index))
            if block is not None:
                copy_shared(target, offset, block, index * self.block_bytes)
                continue
            # Most often memory then has none of the others, and one call reads them all.
            # It leaves alone what memory gave: disk may fail, and spoil its target.
            rest = target[max(0, index * self.block_bytes - offset) :]
            at = offset + len(target) - len(rest)
            if not absent and video is not None and video.read_into(rest, at):
                return []
            absent.append(index)
        if video is None:
            return absent
        read = _Read(video, target, span, self.block_bytes)
        return [index for run in runs_of(absent) for index in read.fill(run)]

    def is_whole_on_disk(self, content: Content) -> bool:
        """Whether every block lay on disk lately, so that nothing need be read ahead.

        One that has turned out bad since is absent to `read_into`.
        """
        held = self._held.get(content)
        if held is None or held.whole:
            return held is not None
        now = time.monotonic()
        if now < held.looked_at + _LOOK_SECONDS:
            return False
        video = self.on_disk(content)
        whole = video is not None and video.is_complete
        with self._lock:
            held.looked_at = now
            held.whole = whole and held.video is video
        return whole

    def lies_whole(self, content: Content) -> bool:
        """Whether all of *content* lies on disk, held or not. Does I/O."""
        return any(folder.has_whole(content) for folder in self._folders)

    def lies_on_disk(self, content: Content, span: ByteRange) -> bool:
        """Whether all of *span* lies on disk, as far as is known here."""
        video = self.on_disk(content)
        return video is not None and video.covers(span)

    def is_written(self, content: Content) -> bool:
        """Whether the disk takes blocks of *content* now."""
        video = self.on_disk(content)
        return video is not None and video.is_written

    def drop_disproved(self, content: Content) -> None:
        """Delete what another process would take for *content*, and may not be.

        That is what lies under its tag, if that lies, and sightings that look like it, if
        the version before it did.
        """
        etag, size = content.validator.etag, content.size_bytes
        if self._disk is None or size < 0:
            return
        if content.is_like_before:
            self._disk.drop_sightings(content)
        if content.etag_proves or etag is None:
            return
        validator = content.validator
        version = VideoVersion(content.endpoint, content.video_id, size, validator)
        self._disk.drop(version)

    def drop_replaced(self, content: Content) -> None:
        """The server has another version of the video than *content*.

        What the cache has of that one is deleted behind the caller; its users read on.
        """
        if self._disk is None or content.shifting or content.size_bytes < 0:
            return
        if content.etag_proves and content.validator.etag is not None:
            for version in content.versions:
                if version.sighting is None:
                    self._disk.drop(version)
        else:
            self._disk.drop_sightings(content)

    def put_on_disk(
        self,
        content: Content,
        first: int,
        blocks: Sequence[Block],
        version: VideoVersion | None = None,
    ) -> bool:
        """Have *blocks*, the first of which is *first*, written behind the caller.

        The disk keeps whole grid blocks alone: the last part of one that comes brings the
        others from memory. False if nothing is written: there is no disk, or it takes no
        more now, or *content* has another version than *version* by now.
        """
        video = self.on_disk(content)
        if video is None or (version is not None and video.version != version):
            return False
        first, whole = self._grid_blocks(video.version, first, blocks)
        return bool(whole) and video.put(first * self.block_bytes, whole)

    def share(self, version: VideoVersion, first: int, blocks: Sequence[Block]) -> None:
        """Have *blocks*, which are in memory, written to the shared cache, if there is one."""
        if self._shared is not None:
            self._shared.offer(version, first, blocks, self.memory, self.block_bytes)

    def _grid_blocks(
        self, version: VideoVersion, first: int, blocks: Sequence[Block]
    ) -> tuple[int, Sequence[Block]]:
        """*blocks* from *first* on, with the rest of the grid blocks at both ends.

        An end of which memory lacks a part is left out.
        """
        each = GRID_BYTES // self.block_bytes
        if each < 2:
            return first, blocks
        stop = first + len(blocks)
        count = block_count(version.size_bytes, self.block_bytes)
        before = range(first - first % each, first)
        after = range(stop, min(stop + -stop % each, count))
        start, found = before.start, list[Block | None](blocks)
        found[:0] = [self.memory.peek((version.key, index)) for index in before]
        found += [self.memory.peek((version.key, index)) for index in after]
        if None in found[:each]:
            start += each
            del found[:each]
        last = len(found) % each or each  # the video's last one may have fewer
        if None in found[-last:]:
            del found[-last:]
        return start, [block for block in found if block is not None]

    def on_disk(self, content: Content) -> DiskVideo | None:
        """What is on disk of the version that *content* has now, if it is held."""
        held = self._held.get(content)
        version = content.version
        if held is None or version is None:
            return None
        found = (
            held.video
        )  # once: another thread may replace it by that of another version
        if found is not None and found.version == version:
            return found
        video = left = self._opened(version, content.completed_at)
        with self._lock:
            if held.holders:  # else it serves this call alone
                left, held.video = held.video, video
                held.whole = False
        if left is not None:
            left.release()
        return video

    def _opened(
        self, version: VideoVersion, completed_at: float | None = None
    ) -> DiskVideo | None:
        for folder in self._folders:
            video = folder.open(version, completed_at)
            if video is not None:
                return video
        return None

    def _from_disk_as(
        self, version: VideoVersion, content: Content, index: int
    ) -> Block | None:
        video = self._opened(version)
        try:
            return self._from_disk(video, content, index)
        finally:
            if video is not None:
                video.release()

    def _from_disk(
        self, video: DiskVideo | None, content: Content, index: int
    ) -> Block | None:
        bounds = self._bounds(content, index)
        if video is None or not video.covers(bounds):
            return None
        block = bytearray(len(bounds))
        return block if video.read_into(memoryview(block), bounds.start) else None

    def _bounds(self, content: Content, index: int) -> ByteRange:
        return bounds_of(index, self.block_bytes, content.size_bytes)


@dataclass(frozen=True, slots=True)
class _Read:
    """One read of *span* into *target*, from *video*."""

    video: DiskVideo
    target: memoryview
    span: ByteRange
    block_bytes: int

    def fill(self, run: range) -> list[int]:
        """Fill the part of blocks *run*; returns those that are not there."""
        start = max(run.start * self.block_bytes, self.span.start)
        stop = min(run.stop * self.block_bytes, self.span.stop)
        part = self.target[start - self.span.start : stop - self.span.start]
        if self.video.read_into(part, start):
            return []
        if len(run) == 1:
            return [run.start]
        return [index for one in run for index in self.fill(range(one, one + 1))]
