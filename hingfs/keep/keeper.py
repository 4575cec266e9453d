"""Keeps videos in the background, before their links expire.

Decides which videos are wanted: those that programs open, or all that are listed; what
becomes of one that cannot be kept; and what the log says then. Leaves to `plan` which is
next, to `bringing` when all of one lies on disk, to `fetch` that readers go first, and to
`cache.kept` how what is kept stays whole.

Threads: `hingfs-keep-N`, from the first wish until `close`. Each does one thing at a time:
it asks for the list, for the size of a video, or brings one in. Programs never wait here.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial

from ..blocks import MIB
from ..bringing import Bringer, NoRoom
from ..cache.kept import KeptStore
from ..cache.kept_files import KeepFull, NotWhole
from ..cache.layout import Mark, NoHeader
from ..engine import Engine
from ..errors import (
    AccessDenied,
    Closing,
    HingError,
    NotAVideo,
    TransportError,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    foreseen,
    printable,
)
from ..library.known import VideoFile
from ..remembered import Remembered
from ..units import rounded_size
from ..version import VideoVersion
from ..workers import Worker, all_joined
from .incoming import LOOK_SECONDS, Incoming, Renewed, StandsBack
from .plan import Plan, Turn, Wish

log = logging.getLogger(__name__)

# One has the bytes of a video coming, while another's are checked and a third's size is
# asked for.
THREADS = 3
# An API that tells no expiry: most links live for an hour.
LIFE_SECONDS = 3600.0
# The API's clock as it is known here may be so far behind: a Date has whole seconds.
_CLOCK_SECONDS = 1.0
# `--keep all` asks for the list so many times less often than programs do.
LISTING_TTLS = 6
# How often the rate is measured. A guess.
_SAMPLE_SECONDS = 0.1
# A video that could not be kept is tried again after this time, doubled each time, up to
# the longest. Guesses.
_FIRST_DELAY_SECONDS = 5.0
_LONGEST_DELAY_SECONDS = 300.0
# How often it is looked for room, for those that did not fit: `drop` and others make some.
# It costs a look at each kept video. A guess.
ROOM_SECONDS = 5.0
_MOST_GIVEN_UP_BYTES = 1 * MIB  # thousands of videos
_MOST_VERSIONS = 3  # of a video that changes while it is brought in
# A video of these errors will not come, however often it is tried.
_FOR_GOOD = (VideoNotFound, VideoFailed, NotAVideo, NoHeader)


class Keeper:
    """Keeps videos of *engine*, which has a place for them. Thread safety: all methods.

    *everything*: all that are listed, asked for every *listing_seconds*; else those given
    to `opened`. Videos whose keeping an earlier mount has begun are kept as well.
    """

    def __init__(
        self, engine: Engine, *, everything: bool, listing_seconds: float
    ) -> None:
        assert engine.kept is not None, "the engine has a place for what is kept"
        self._engine = engine
        self._endpoint = engine.base_url
        self._tiers = engine.tiers
        self._fetcher = engine.fetcher
        self._store: KeptStore = engine.kept
        self._everything = everything
        self._listing_seconds = listing_seconds
        self._closing = threading.Event()
        self._bringer = Bringer(engine.tiers, self._closing)
        # Guards all below. No I/O is done, and no other lock is taken, while it is held.
        self._changed = threading.Condition()
        self._plan = Plan()
        self._workers: list[Worker] = []
        self._idle = 0  # threads
        self._begun: list[
            Wish
        ] = []  # by an earlier mount, until the first thread looks
        self._looked = False  # for those
        self._lists_at = 0.0 if everything else math.inf  # monotonic: the next time
        self._room_at = math.inf  # monotonic: when it is looked for room
        self._measures = False  # a thread does
        # Ids of those that will not come; the list may have them still.
        self._given_up: Remembered[None] = Remembered(
            _MOST_GIVEN_UP_BYTES, lambda _: 0, LIFE_SECONDS
        )
        self._full = False  # the log has said that no more is kept
        # For the rate:
        self._fetching = 0  # threads that wait for bytes
        self._streamed_bytes = 0  # of servers without ranges
        self._sampled_at = 0.0  # monotonic
        self._sampled_bytes = 0
        self._sampled_own_bytes = 0

    # -- for the mount -----------------------------------------------------------------

    def start(self) -> None:
        """Begin with what needs no open: what an earlier mount began, and the list."""
        with self._changed:
            if self._workers or self._closing.is_set():
                return
            self._workers = [
                Worker(f"hingfs-keep-{number}", self._run)
                for number in range(1, THREADS + 1)
            ]
            workers = list(self._workers)
        for worker in workers:
            with contextlib.suppress(TransportError):  # the others must do
                worker.start()

    def opened(self, file: VideoFile) -> None:
        """A program has opened *file*: keep it."""
        if self._tiers.is_kept(file.content):
            return
        deadline = self._deadline(file.video_id, file.content.completed_at)
        self._want(file.video_id, deadline, file.content.size_bytes)

    def close(self) -> None:
        """End all that is under way; what came stays, and the next mount goes on."""
        self._closing.set()
        with self._changed:
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        with self._changed:
            workers = list(self._workers)
        return all_joined(workers, seconds)

    # -- wishes ------------------------------------------------------------------------

    def _want(self, video_id: str, deadline: float, size_bytes: int = -1) -> None:
        """Keep *video_id* before *deadline* (monotonic)."""
        wish = Wish(video_id, deadline, size_bytes=size_bytes)
        with self._changed:
            if self._plan.add(wish):
                self._changed.notify_all()

    def _deadline(self, video_id: str, completed_at: float | None) -> float:
        """When the link of *video_id* expires (monotonic), as far as anything tells."""
        expires_at = self._engine.catalog.expires_at(video_id)
        return self._monotonic(expires_at, completed_at)

    def _monotonic(self, expires_at: float | None, completed_at: float | None) -> float:
        now = self._engine.client.metadata.now() + _CLOCK_SECONDS
        if expires_at is None:
            made_at = now if completed_at is None else completed_at
            expires_at = made_at + LIFE_SECONDS
        return time.monotonic() + expires_at - now

    # -- on the threads ----------------------------------------------------------------

    def _run(self) -> None:
        while (job := self._next()) is not None:
            try:
                job()
            except Exception as error:
                if self._closing.is_set():
                    return
                if not isinstance(error, HingError):
                    log.exception("keeping: unforeseen error")

    def _next(self) -> Callable[[], None] | None:
        """What this thread does next; None once all ends."""
        with self._changed:
            while not self._closing.is_set():
                now = time.monotonic()
                job = self._job_locked(now)
                if job is not None:
                    return job
                next_look = min(self._lists_at, self._room_at) - now
                wait = min(self._plan.next_try(now), next_look)
                self._idle += 1
                # It takes no week, and the longest that a system can wait for is less.
                self._changed.wait(min(wait, LIFE_SECONDS))
                self._idle -= 1
        return None

    def _job_locked(self, now: float) -> Callable[[], None] | None:
        if not self._looked:
            self._looked = True
            return self._go_on_with_begun
        if now >= self._lists_at:
            self._lists_at = math.inf  # until it is read
            return self._read_list
        if now >= self._room_at:
            self._room_at = math.inf  # until it was looked for
            return self._look_for_room
        if not self._measures:
            wish = self._plan.to_measure(now)
            if wish is not None:
                self._measures = True
                self._plan.take(wish)
                return partial(self._measure, wish)
        wish = self._plan.to_bring(now)
        if wish is None:
            return None
        self._plan.take(wish)
        wish.asks = True
        return partial(self._bring, wish)

    def _go_on_with_begun(self) -> None:
        """Take up what an earlier mount began, and may have lost its server since."""
        for kept in self._store.videos():
            version, mark = kept.version, kept.mark
            if not kept.is_sealed and version.endpoint == self._endpoint:
                deadline = self._monotonic(mark.expires_at, mark.begun_at)
                self._want(version.video_id, deadline)

    def _gave_up(self, video_id: str) -> bool:
        with self._changed:
            return video_id in self._given_up

    def _read_list(self) -> None:
        try:
            rows = self._engine.catalog.rows_to_keep()
        except HingError as error:
            log.info("keeping: the list cannot be had: %s", error)
            rows = {}
        kept = {
            one.version.video_id: one.header.completed_at
            for one in self._store.videos()
            if one.is_sealed and one.version.endpoint == self._endpoint
        }
        for video_id, row in rows.items():
            made_at = row.completed_at_seconds
            same = video_id in kept and (
                made_at is None or kept[video_id] in {None, made_at}
            )
            if not (same or self._gave_up(video_id)):
                deadline = self._monotonic(row.expires_at_seconds, made_at)
                self._want(video_id, deadline)
        with self._changed:
            self._lists_at = time.monotonic() + self._listing_seconds

    def _look_for_room(self) -> None:
        room = 0
        with contextlib.suppress(OSError):
            room = self._store.room_bytes()
        with self._changed:
            if self._plan.found_room(room):
                self._changed.notify_all()
            if self._plan.lacks_room:
                self._room_at = time.monotonic() + ROOM_SECONDS

    def _measure(self, wish: Wish) -> None:
        """Ask for the size of the video, and for when its link expires."""
        try:
            with self._outcome(wish):
                content = self._engine.catalog.find_to_keep(wish.video_id).content
                wish.deadline = self._deadline(wish.video_id, content.completed_at)
                wish.size_bytes = content.size_bytes
        finally:
            with self._changed:
                self._measures = False
                self._changed.notify_all()

    def _bring(self, wish: Wish) -> None:
        with self._outcome(wish):
            file = self._engine.catalog.find_to_keep(wish.video_id)
            with self._tiers.held(file.content):
                if not self._tiers.is_kept(file.content):
                    self._keep(wish, file)
            with self._changed:
                self._plan.remove(wish)

    @contextlib.contextmanager
    def _outcome(self, wish: Wish) -> Iterator[None]:
        """The thread has *wish* in hand meanwhile; what it raises is dealt with."""
        try:
            yield
        except StandsBack:
            log.debug("%s: stands back", printable(wish.video_id, 80))
        except (HingError, OSError, NoHeader) as error:
            if not self._closing.is_set():
                self._failed(wish, error)
        except BaseException as error:
            self._failed(wish, foreseen(error))
            raise
        finally:
            with self._changed:
                self._plan.put_back(wish)
                self._changed.notify_all()

    def _failed(self, wish: Wish, error: Exception) -> None:
        """*wish* met *error*: say so, and give it up or put it off."""
        name = printable(wish.video_id, 80)
        if isinstance(error, _FOR_GOOD):
            log.warning("%s: it cannot be kept: %s", name, error)
            self._drop_begun(wish)
            with self._changed:
                self._plan.remove(wish)
                self._given_up.put(wish.video_id, None)
            return
        delay = _FIRST_DELAY_SECONDS * 2 ** min(wish.failures, 10)
        with self._changed:
            wish.failures += 1
            wish.not_before = time.monotonic() + min(delay, _LONGEST_DELAY_SECONDS)
            wish.lacks_room = isinstance(error, KeepFull)
            if wish.lacks_room:
                self._room_at = min(self._room_at, time.monotonic() + ROOM_SECONDS)
            told, full = self._full, isinstance(error, (KeepFull, NoRoom, OSError))
            self._full |= full
        again = told if full else wish.failures > 1
        passing = isinstance(error, (VideoNotReady, TransportError, AccessDenied))
        level = logging.INFO if again or (passing and not full) else logging.WARNING
        log.log(level, "%s: it is not kept yet: %s", name, error)

    def _drop_begun(self, wish: Wish) -> None:
        """Make room: nothing more will come of what was begun."""
        with contextlib.suppress(OSError):
            for kept in self._store.videos():
                mine = kept.version.endpoint == self._endpoint
                if mine and kept.version.video_id == wish.video_id:
                    self._store.abandon(kept.version)

    # -- one video ---------------------------------------------------------------------

    def _keep(self, wish: Wish, file: VideoFile) -> None:
        """Bring *file* in, and seal it; its content is held."""
        content = file.content
        expires_at = self._engine.catalog.expires_at(file.video_id)
        for _ in range(_MOST_VERSIONS):
            mark = Mark(file.mtime_ns, time.time(), expires_at)
            version = self._tiers.keep(content, mark)
            with self._changed:
                self._full = False
            try:
                with self._fetches(wish):
                    incoming = Incoming(
                        *(wish, content, version),
                        engine=self._engine,
                        bringer=self._bringer,
                        turns=self,
                    )
                    self._bringer.bring(content, wish, incoming.fetch)
                if content.version == version:
                    self._seal(wish, version)
                    self._engine.catalog.note_kept(file)
                    return
            except Renewed:
                pass
            self._store.abandon(version)
        raise NotWhole("it comes under another version each time")

    def _seal(self, wish: Wish, version: VideoVersion) -> None:
        self._store.seal(version)
        name, size = printable(wish.video_id, 80), rounded_size(version.size_bytes)
        log.info("%s: kept, %s", name, size)

    @contextlib.contextmanager
    def _fetches(self, wish: Wish) -> Iterator[None]:
        """The thread waits for bytes meanwhile; they count for the rate."""
        now, arrived, own = time.monotonic(), self._arrived(), self._own()
        with self._changed:
            if not self._fetching:
                self._sampled_at, self._sampled_bytes = now, arrived
                self._sampled_own_bytes = own
            self._fetching += 1
        try:
            yield
        finally:
            with self._changed:
                self._fetching -= 1
                wish.asks, wish.asked, wish.landed_bytes = False, None, 0
                self._changed.notify_all()

    # -- turns and rates ---------------------------------------------------------------

    def await_turn(self, wish: Wish) -> None:
        """Return once the thread of *wish* may ask for bytes; else as `look`."""
        while self._turn(wish) is Turn.WAIT:
            with self._changed:
                self._changed.wait(LOOK_SECONDS)
        with self._changed:
            self._plan.asks(wish)

    def look(self, wish: Wish) -> None:
        """Measure the rate, and see whether *wish* stands back; raises StandsBack."""
        self._turn(wish)

    def pause(self, seconds: float) -> None:
        """Wait for *seconds*, or until all ends."""
        self._closing.wait(seconds)

    def asked_all(self, wish: Wish) -> None:
        """The next video's requests come behind those of *wish*."""
        with self._changed:
            wish.asks = False
            self._changed.notify_all()

    def streamed(self, size_bytes: int) -> None:
        """They count for the rate."""
        with self._changed:
            self._streamed_bytes += size_bytes

    @property
    def bytes_per_second(self) -> float | None:
        """The measured rate."""
        with self._changed:
            rate = self._plan.rate
            return rate.bytes_per_second if rate.is_known else None

    def _turn(self, wish: Wish) -> Turn:
        self._sample()
        with self._changed:
            if self._closing.is_set():
                raise Closing("it was ended")
            turn = self._plan.turn(wish, time.monotonic(), self._idle)
        if turn is Turn.STAND_BACK:
            raise StandsBack
        return turn

    def _sample(self) -> None:
        """Take what has come since the last time into the rate, and what follows of it."""
        now, arrived, own = time.monotonic(), self._arrived(), self._own()
        connections = self._fetcher.connections
        with self._changed:
            seconds = now - self._sampled_at
            if seconds < _SAMPLE_SECONDS:
                return
            size_bytes = arrived - self._sampled_bytes
            own_bytes = own - self._sampled_own_bytes
            self._sampled_at, self._sampled_bytes = now, arrived
            self._sampled_own_bytes = own
            self._plan.connections = connections
            rate = self._plan.rate
            known = rate.is_known
            rate.note(max(0, size_bytes), seconds, max(0, own_bytes))
            if not known:  # it may be now, and tells all
                self._plan.changed()
            share = self._plan.share(now)
            late = self._plan.newly_late(now)
            before = len(self._plan) - len(late)
        self._fetcher.share_background(share)
        for wish in late:
            log.warning(
                "%s: its link will expire in %.0f s, before it can be kept: %s are to "
                "come at %s a second, beside %d other videos; it is tried after those "
                "that can be; a faster link would help, or fewer videos at a time",
                printable(wish.video_id, 80),
                wish.deadline - now,
                rounded_size(wish.left_bytes),
                rounded_size(int(rate.bytes_per_second)),
                before,
            )

    def _own(self) -> int:
        return self._fetcher.brought_bytes + self._streamed_bytes

    def _arrived(self) -> int:
        return self._fetcher.arrived_bytes + self._streamed_bytes
