"""Keeps the disk cache within its bounds, and finds out when a bad disk works again.

Decides how much this process may write until the next look, and how much is evicted. The
folder may hold what the most modest of its processes lets it hold. Free space of the file
system is a floor for all. One process at a time evicts. Leaves to `shelf` what goes first
and to `health` what trouble means.

Threads: one, `hingfs-janitor`, which starts with `begin`. Any thread may call any method.
"""

import contextlib
import errno
import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ..errors import TransportError
from ..workers import Worker
from . import processes
from .files import safe
from .health import Health
from .layout import GRID_BYTES
from .pair import Descriptor
from .shelf import Rules, Shelved, evict, is_useless, shelved
from .tally import Tally

log = logging.getLogger(__name__)

# Evicted down to this share below the limit, so that it is not done for each write.
MARGIN = 1 / 20
# Shares of the file system that are free: below the first, videos are evicted until the
# last is free, and below the second nothing is written. As cachefilesd has them.
CULL_BELOW = 0.07
STOP_BELOW = 0.03
CULL_UNTIL = 0.10
# The file system's free space is looked at so often, since others may fill it; and the
# time of a probe. A guess.
LOOK_SECONDS = 10.0
# A write waits so long for room. Its queue fills meanwhile, and drops. A guess.
WAIT_SECONDS = 5.0
PAGE_BYTES = 4096
# A look that finds no room is not made again for so long: 10,000 videos take 0.1 s of it
# (2026-11-27).
REFUSAL_SECONDS = 1.0
# Between two looks, where another process evicts now. A guess.
_BUSY_SECONDS = 0.1


class Janitor:
    """The bounds of *folder* for the process *holder*. Thread safety: all methods."""

    def __init__(
        self,
        folder: Path,
        limit_bytes: int,
        holder: str,
        *,
        health: Health,
        tally: Tally,
        rules: Rules,
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._health = health
        self._tally = tally
        # Guards all below but the last; no I/O under it, and the thread starts without.
        self._changed = threading.Condition()
        self._room_bytes = 0  # that this process may write until the next look
        self._taken_bytes = 0  # since it runs
        self._writing_bytes = 0  # the last of them: a look may not see them yet
        self._wanted_bytes = 0  # that somebody waits for
        self._looks = 0
        self._refused_at = -REFUSAL_SECONDS  # monotonic; since then nothing was found
        self._closed = False
        self._worker: Worker | None = None
        # The thread's own, both.
        self._running: dict[str, int] = {}  # processes with their limits, as last seen
        self._membership = processes.Membership(folder, holder, limit_bytes)

    def begin(self) -> None:
        """Start the thread, if it does not run yet."""
        with self._changed:
            if self._worker is not None or self._closed:
                return
            worker = self._worker = Worker("hingfs-janitor", self._run)
        try:
            worker.start()
        except TransportError:  # which is logged: the next video tries again
            with self._changed:
                self._worker = None

    def take(self, size_bytes: int) -> bool:
        """Whether *size_bytes* may be written now; waits for the look that decides."""
        size_bytes += -size_bytes % PAGE_BYTES + PAGE_BYTES  # and their records
        with self._changed:
            self._writing_bytes = 0
            if self._room_bytes < size_bytes and not self._is_refused_locked():
                last = self._looks + 1  # one that is under way may have begun before
                self._wanted_bytes = max(self._wanted_bytes, size_bytes)
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: (
                        self._room_bytes >= size_bytes
                        or self._looks > last
                        or self._closed
                    ),
                    WAIT_SECONDS,
                )
                self._wanted_bytes = 0
                if self._room_bytes < size_bytes:
                    self._refused_at = time.monotonic()
            granted = self._room_bytes >= size_bytes
            if granted:
                self._writing_bytes = size_bytes
                self._take_locked(size_bytes)
            return granted

    def made(self, size_bytes: int) -> None:
        """Files of *size_bytes* were made."""
        with self._changed:
            self._take_locked(size_bytes)

    def _take_locked(self, size_bytes: int) -> None:
        self._room_bytes -= size_bytes
        self._taken_bytes += size_bytes

    def close(self) -> None:
        """End the thread; what room was found may still be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within *seconds*."""
        with self._changed:
            worker = self._worker
        return worker is None or worker.join(seconds)

    def _is_refused_locked(self) -> bool:
        """Whether a look has just found no room: each costs a scan of the folder."""
        return time.monotonic() < self._refused_at + REFUSAL_SECONDS

    # -- on the thread -----------------------------------------------------------------

    def _run(self) -> None:
        while not self._closed:
            try:
                self._round()
            except OSError as error:
                self._health.blame(error)
            except Exception:
                log.exception("%s is not looked after", self._rules.title)
            with self._changed:
                self._looks += 1
                self._changed.notify_all()
                self._changed.wait_for(
                    lambda: self._closed or self._wanted_bytes, LOOK_SECONDS
                )
        with contextlib.suppress(OSError):
            self._membership.end()

    def _round(self) -> None:
        due = self._health.probe_at
        if due is None:
            self._look()
        elif time.monotonic() >= due:
            try:
                self._probe()
            except OSError:
                self._health.probe_failed()
            else:
                self._health.recovered()

    def _look(self) -> None:
        """Find how much this process may write, and evict what is too much.

        Raises OSError. The videos are looked through only if there is a reason.
        """
        folder = safe(self._folder)
        self._membership.renew()
        running = processes.running(folder)
        if not running:  # somebody has just deleted the directory
            return
        self._rules.tidy(folder.parent)
        with self._changed:
            wanted = len(running) * self._wanted_bytes
            before = self._taken_bytes - self._writing_bytes
            room = self._room_bytes + self._writing_bytes
        lack = _lack(folder)
        if wanted or lack > 0 or running != self._running:
            self._running = running
            room = self._make_room(folder, wanted, lack) // len(running)
        free, total = _free(folder)
        spare = free - int(STOP_BELOW * total)
        with self._changed:
            taken = self._taken_bytes - before
            self._room_bytes = min(room, spare // len(running)) - taken
        if spare < 0:
            floor = f"less than {100 * STOP_BELOW:.0f} % of it is free"
            raise OSError(errno.ENOSPC, floor)

    def _make_room(self, folder: Path, wanted: int, lack: int) -> int:
        """Evict if that is due, and here; returns what all processes may write now.

        What others were given and have not written cannot be seen. So each is given
        little where there are several, and room for that is left below the limit.
        """
        limit, shared = min(self._running.values()), len(self._running) > 1
        margin = max(int(MARGIN * limit), wanted)
        if shared:
            limit -= margin
        with _only_one(folder) as chosen:
            videos = shelved(folder)
            used = sum(
                video.taken_bytes for video in videos if self._rules.counts(video)
            )
            if chosen:
                over = used - limit + (margin if used + wanted > limit else 0)
                used -= self._evict(videos, max(over, lack))
        if not chosen and limit - used < wanted:
            with self._changed:  # the process that was chosen is at it
                self._changed.wait_for(lambda: self._closed, _BUSY_SECONDS)
        return min(limit - used, margin) if shared else limit - used

    def _evict(self, videos: list[Shelved], least: int) -> int:
        """Evict *least* bytes and what is useless; returns how many bytes went."""
        gone = 0
        for video in self._rules.first_to_go(videos, self._running):
            if gone < least or is_useless(video, self._running):
                evict(video)
                gone += video.taken_bytes
                self._tally.evicted_videos += 1
        return gone

    def _probe(self) -> None:
        """Use the disk as a write does; raises OSError."""
        folder = safe(self._folder)
        free, total = _free(folder)
        if free < STOP_BELOW * total:
            self._look()
        with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
            file.write(bytes(GRID_BYTES))
            os.fsync(file.fileno())


@contextlib.contextmanager
def _only_one(folder: Path) -> Iterator[bool]:
    """Whether this process is the one that evicts, meanwhile."""
    path = folder / "janitor.lock"
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    file = Descriptor(os.open(path, flags, 0o600))
    try:
        yield processes.locked(file)
    finally:
        processes.unlock(file)


def _free(folder: Path) -> tuple[int, int]:
    """How many bytes of the file system are free, and how many it has."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _lack(folder: Path) -> int:
    """How many bytes must be evicted for the sake of others on the file system."""
    free, total = _free(folder)
    return int(CULL_UNTIL * total) - free if free < CULL_BELOW * total else 0
