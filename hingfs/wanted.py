"""Videos that a person has named are brought in, some at a time.

A video is read as a program would read it, so that look-ups, transfers and tries are
those of a mount. Decides how many come at once, and what becomes of one that changes
meanwhile. Leaves to `warm` and `keep` where a video lands, to `bringing` when all of it is
there, and to `cli` what is said.

Threads: those of a `DaemonPool`, each with one video at a time.
"""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from .blocks import ByteRange
from .bringing import Bringer, Progress
from .cache.kept_files import NotWhole
from .content import Content
from .engine import Engine
from .errors import Closing, ContentChanged, HingError, TransportError, foreseen
from .library.known import VideoFile
from .library.reader import VideoReader
from .workers import DaemonPool

log = logging.getLogger(__name__)

# How often a person who waits is shown news. A guess.
_TICK_SECONDS = 0.1
# How long the end of an answer is waited for, all of whose bytes were read. A guess.
_END_SECONDS = 60.0


@dataclass(slots=True, eq=False)
class Wanted(Progress):
    """A video that is wanted, and how far it has come. One thread at a time writes it."""

    said: str  # as a person named it
    name: str  # of its file
    error: HingError | None = None  # why it is not here


# Has the version of a file, whose content is held, land where it is wanted.
Land = Callable[[Wanted, VideoFile], None]


class Crew:
    """Brings videos in through *engine*, *at_once* at a time; *title* names the threads.

    Thread safety: `close` and `bring`. `work` is for one thread.
    """

    def __init__(self, engine: Engine, title: str, at_once: int) -> None:
        self._engine = engine
        self._tiers = engine.tiers
        self._pool = DaemonPool(title, at_once)
        self._ended: queue.SimpleQueue[Wanted] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._bringer = Bringer(engine.tiers, self._closing)

    def work(self, videos: Sequence[Wanted], land: Land) -> Iterator[Wanted | None]:
        """Have *videos* land; yields each that has ended, and None every now and then."""
        for video in videos:
            try:
                self._pool.submit(self._work_on, video, land)
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

    def bring(
        self, video: Wanted, content: Content, look: Callable[[Content], None]
    ) -> None:
        """Bring all of *content*, which is held; *look* sees it as each piece has come.

        Raises as `Bringer.bring` and *look* do.
        """
        self._bringer.bring(content, video, partial(self._fetch, video, content, look))

    def _work_on(self, video: Wanted, land: Land) -> None:
        try:
            self._land_latest(video, land)
        except BaseException as error:
            if not isinstance(error, HingError):
                log.exception("%s: unforeseen error", video.name)
            video.error = foreseen(error)
        finally:
            self._ended.put(video)

    def _land_latest(self, video: Wanted, land: Land) -> None:
        """Have the version land that the server has; once more, if that changes.

        And if blocks of it turn out bad: its files are opened anew, without these.
        """
        for last in (False, True):
            file = self._engine.catalog.find_to_open(video.name)
            try:
                with self._tiers.held(file.content):
                    land(video, file)
            except (ContentChanged, NotWhole):
                if last:
                    raise
            else:
                return

    def _fetch(
        self,
        video: Wanted,
        content: Content,
        look: Callable[[Content], None],
        absent: Sequence[ByteRange],
    ) -> None:
        """Read the pieces *absent*, and see to it that they are written."""
        reader = self._engine.readers.open(content, whole=True)
        try:
            for piece in absent:
                block = bytearray(len(piece))
                reader.read_into(memoryview(block), piece.start)
                look(content)
                if content.ranges is not False:  # or the stream sees to it
                    self._put(content, piece, block)
                video.came(len(piece))
            if content.ranges is False:
                self._put_spooled(reader, content, absent)
        finally:
            self._engine.readers.close(reader)

    def _put_spooled(
        self, reader: VideoReader, content: Content, absent: Sequence[ByteRange]
    ) -> None:
        """Have those of *absent* written that the stream has not brought to disk.

        It may have ended before there was a place for the video there.
        """
        rest = [one for one in absent if not self._tiers.lies_on_disk(content, one)]
        if not rest:
            return
        spool = self._engine.spools.open(content)
        spool.wait_complete(time.monotonic() + _END_SECONDS)  # its end is proved
        for piece in rest:
            block = bytearray(len(piece))
            reader.read_into(memoryview(block), piece.start)
            self._put(content, piece, block)

    def _put(self, content: Content, piece: ByteRange, block: bytearray) -> None:
        first = piece.start // self._tiers.block_bytes
        self._bringer.put(content, first, [block])
