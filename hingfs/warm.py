"""Brings videos into the disk cache, so that reads of them need no server.

A video is read as a program would read it, so that look-ups, transfers and tries are
those of a mount. Decides how many are brought in at a time, and how much one call may
bring. Leaves to `bringing` when a video is here, and to `cli.warm` what is said.

Threads: `hingfs-warm-N` of a `DaemonPool`, each with one video at a time.
"""

import logging
import queue
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .blocks import GIB, MIB, ByteRange
from .bringing import Bringer, NoRoom, Progress
from .cache.disk import LARGEST_SHARE
from .content import Content
from .engine import Engine
from .errors import Closing, ContentChanged, HingError, TransportError, foreseen
from .units import rounded_size, written_size
from .workers import DaemonPool

log = logging.getLogger(__name__)

# How often a person who waits is shown news. A guess.
_TICK_SECONDS = 0.1


class NotShared(HingError):
    """What is fetched of a video could be read by nobody else."""


@dataclass(slots=True, eq=False)
class Warmed(Progress):
    """A video that is wanted, and how far it has come. One thread at a time writes it."""

    said: str  # as a person named it
    name: str  # of its file
    error: HingError | None = None  # why it is not here


class Warmer:
    """Brings videos in through *engine*, *at_once* at a time, *most_bytes* together.

    Thread safety: `close`. The other methods are for one thread.
    """

    def __init__(self, engine: Engine, at_once: int, most_bytes: int) -> None:
        self._engine = engine
        self._tiers = engine.tiers
        self._pool = DaemonPool("hingfs-warm", at_once)
        self._ended: queue.SimpleQueue[Warmed] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._bringer = Bringer(engine.tiers, self._closing)
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
        self._promise(video, content.size_bytes)
        if content.size_bytes:
            self._tiers.block(content, 0)  # what is here counts as used now
        self._bringer.bring(content, video, partial(self._fetch, video, content))

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

    def _fetch(
        self, video: Warmed, content: Content, absent: Sequence[ByteRange]
    ) -> None:
        """Read the pieces *absent*, and see to it that they are written."""
        reader = self._engine.readers.open(content, whole=True)
        try:
            for piece in absent:
                block = bytearray(len(piece))
                reader.read_into(memoryview(block), piece.start)
                _demand_shared(content)
                if content.ranges is not False:  # or the stream sees to it
                    first = piece.start // self._tiers.block_bytes
                    self._bringer.put(content, first, [block])
                video.came(len(piece))
        finally:
            self._engine.readers.close(reader)


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
