"""Brings videos into the disk cache, so that reads of them need no server.

A video is read as a program would read it, so that look-ups, transfers and tries are
those of a mount. Decides that a video is here once all of it lies on disk, how many are
brought in at a time, and how much one call may bring. Leaves to `cli.warm` what is said.

Threads: `hingfs-warm-N` of a `DaemonPool`, each with one video at a time.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from .blocks import GIB, MIB, ByteRange
from .cache.disk import LARGEST_SHARE
from .cache.layout import GRID_BYTES
from .content import Content
from .engine import Engine
from .errors import Closing, ContentChanged, HingError, TransportError, foreseen
from .library.reader import VideoReader
from .units import rounded_size, written_size
from .workers import DaemonPool

log = logging.getLogger(__name__)

# How often a person who waits is shown news. A guess.
_TICK_SECONDS = 0.1
# How often a full queue of the writer is tried again: it holds 32 MiB. A guess.
_WRITER_SECONDS = 0.02
# A disk that takes longer for what the queue holds takes nothing. A guess.
_WRITE_SECONDS = 60.0


class NoRoom(HingError):
    """The disk cache does not take a video, or all of it."""


class NotShared(HingError):
    """What is fetched of a video could be read by nobody else."""


@dataclass(slots=True, eq=False)
class Warmed:
    """A video that is wanted, and how far it has come. One thread at a time writes it."""

    said: str  # as a person named it
    name: str  # of its file
    size_bytes: int = -1  # until it is known
    here_bytes: int = 0
    fetched_bytes: int = 0
    error: HingError | None = None  # why it is not here


class Warmer:
    """Brings videos in through *engine*, *at_once* at a time, *most_bytes* together.

    Thread safety: `close`. The other methods are for one thread.
    """

    def __init__(self, engine: Engine, at_once: int, most_bytes: int) -> None:
        self._engine = engine
        self._tiers = engine.tiers
        # Whole grid blocks and whole blocks in memory, since the disk takes no others.
        self._piece_bytes = max(GRID_BYTES, engine.tiers.block_bytes)
        self._pool = DaemonPool("hingfs-warm", at_once)
        self._ended: queue.SimpleQueue[Warmed] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._promised: dict[Warmed, int] = {}  # bytes; guarded by _lock

    def warm(self, videos: Sequence[Warmed]) -> Iterator[Warmed | None]:
        """Bring *videos* in; yields each that has ended, and None every now and then."""
        for video in videos:
            try:
                self._pool.submit(self._bring, video)
            except TransportError as error:  # the system gives no thread
                video.error = error
                self._ended.put(video)
        left = len(videos)
        while left:
            try:
                ended = self._ended.get(timeout=_TICK_SECONDS)
            except queue.Empty:
                yield None
            else:
                left -= 1
                yield ended

    def close(self) -> None:
        """End all that is under way; what came stays."""
        self._closing.set()
        self._pool.close(Closing("it was ended"))

    # -- on the threads ----------------------------------------------------------------

    def _bring(self, video: Warmed) -> None:
        try:
            self._bring_latest(video)
        except BaseException as error:
            if not isinstance(error, HingError):
                log.exception("%s: unforeseen error", video.name)
            video.error = foreseen(error)
        finally:
            self._ended.put(video)

    def _bring_latest(self, video: Warmed) -> None:
        """Bring in the version that the server has; if it changes, the new one, once."""
        for last in (False, True):
            content = self._engine.catalog.find_to_open(video.name).content
            try:
                with self._tiers.held(content):
                    self._bring_version(video, content)
            except ContentChanged:
                if last:
                    raise
            else:
                return

    def _bring_version(self, video: Warmed, content: Content) -> None:
        size = content.size_bytes
        self._promise(video, size)
        video.size_bytes = size
        if size:
            self._tiers.block(content, 0)  # what is here counts as used now
        for _ in range(2):  # the first answer may show another tag than HEAD did
            absent = self._absent(content)
            video.here_bytes = size - sum(map(len, absent))
            if not absent:
                return
            reader = self._engine.readers.open(content, whole=True)
            try:
                self._fetch(video, reader, absent)
            finally:
                self._engine.readers.close(reader)
        if self._absent(content):
            raise NoRoom("parts of it went from disk while it was fetched")

    def _promise(self, video: Warmed, size_bytes: int) -> None:
        """Count *size_bytes* against the bound; raises NoRoom if they are too many.

        The disk cache would evict what came before, to take what comes after.
        """
        with self._lock:
            others = sum(self._promised.values()) - self._promised.get(video, 0)
            fits = others + size_bytes <= self._most_bytes
            if fits:
                self._promised[video] = size_bytes
        if not fits:
            beside = " beside the others" if others else ""
            raise NoRoom(
                f"the disk cache has no room for {rounded_size(size_bytes)}{beside}; "
                f"give --disk-cache-size {_limit_for(others + size_bytes)} or more, to "
                "the mounts too"
            )

    def _absent(self, content: Content) -> list[ByteRange]:
        """The pieces of *content* that do not lie on disk, in order."""
        size, step = content.size_bytes, self._piece_bytes
        pieces = (ByteRange(at, min(at + step, size)) for at in range(0, size, step))
        return [one for one in pieces if not self._tiers.lies_on_disk(content, one)]

    def _fetch(
        self, video: Warmed, reader: VideoReader, absent: Sequence[ByteRange]
    ) -> None:
        """Read the pieces *absent*, and see to it that they are written."""
        content = reader.content
        for piece in absent:
            block = bytearray(len(piece))
            reader.read_into(memoryview(block), piece.start)
            _demand_shared(content)
            if content.ranges is not False:  # or the stream sees to it
                # The transfer has given it to the writer too, but a full queue drops.
                first = piece.start // self._tiers.block_bytes
                self._wait_until(
                    lambda: self._tiers.put_on_disk(content, first, [block])  # noqa: B023
                )
            video.here_bytes += len(piece)
            video.fetched_bytes += len(piece)
        for piece in absent:
            self._wait_until(
                lambda: self._tiers.lies_on_disk(content, piece)  # noqa: B023
            )

    def _wait_until(self, holds: Callable[[], bool]) -> None:
        """Return once *holds*; raises NoRoom if the disk takes nothing."""
        give_up_at = time.monotonic() + _WRITE_SECONDS
        while not holds():
            if not self._tiers.disk_is_written or time.monotonic() > give_up_at:
                raise NoRoom("the disk cache takes no more; the log says why")
            if self._closing.wait(_WRITER_SECONDS):
                raise Closing("it was ended")


def room_of(limit_bytes: int) -> int:
    """How much of a disk cache of *limit_bytes* one call may fill.

    More might go again before the call has ended.
    """
    return int(LARGEST_SHARE * limit_bytes)


def _limit_for(size_bytes: int) -> str:
    """The limit of a disk cache that has room for *size_bytes*."""
    limit = int(size_bytes / LARGEST_SHARE) + 1
    unit = GIB if limit > GIB else MIB
    return written_size(-(-limit // unit) * unit)


def _demand_shared(content: Content) -> None:
    """Raise NotShared if what is fetched of *content* is of no use to others."""
    version = content.version
    if version is None or (version.sighting is not None and not content.is_dated):
        raise NotShared(
            "its server gives neither an ETag nor a time, so that no other mount could "
            "use it"
        )
