"""Brings videos into the disk cache, so that reads of them need no server.

Decides how much one call may bring, and what is of use to nobody. Leaves to `wanted` how
videos come, and to `cli.warm` what is said.

Threads: `hingfs-warm-N` of a `Crew`, each with one video at a time.
"""

import threading
from collections.abc import Iterator, Sequence

from .blocks import GIB, MIB
from .bringing import NoRoom
from .cache.disk import LARGEST_SHARE
from .content import Content
from .engine import Engine
from .errors import HingError
from .library.known import VideoFile
from .units import rounded_size, written_size
from .wanted import Crew, Wanted


class NotShared(HingError):
    """What is fetched of a video could be read by nobody else."""


class Warmer:
    """Brings videos in through *engine*, *at_once* at a time, *most_bytes* together.

    Thread safety: `close`. The other methods are for one thread.
    """

    def __init__(self, engine: Engine, at_once: int, most_bytes: int) -> None:
        self._tiers = engine.tiers
        self._crew = Crew(engine, "hingfs-warm", at_once)
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._promised: dict[Wanted, int] = {}  # bytes; guarded by _lock

    def warm(self, videos: Sequence[Wanted]) -> Iterator[Wanted | None]:
        """Bring *videos* in; yields each that has ended, and None every now and then."""
        return self._crew.work(videos, self._land)

    def close(self) -> None:
        """End all that is under way; what came stays."""
        self._crew.close()

    # -- on the threads ----------------------------------------------------------------

    def _land(self, video: Wanted, file: VideoFile) -> None:
        content = file.content
        self._promise(video, content.size_bytes)
        if content.size_bytes:
            self._tiers.block(content, 0)  # what is here counts as used now
        self._crew.bring(video, content, _demand_shared)

    def _promise(self, video: Wanted, size_bytes: int) -> None:
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
