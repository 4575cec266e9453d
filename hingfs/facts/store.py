"""The facts of one endpoint: loaded when a mount starts, and written behind it.

Decides when the file is read and written, and what trouble with it leads to: one warning,
and the mount goes on without. Nobody who learns something waits for the disk. Leaves the
file to `database`, and to its callers what the facts mean.

Threads: all access to the file is on `hingfs-facts`, which starts with `load` and ends
with `close`, but what `reading` reads. Any thread may call any method.
"""

import contextlib
import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from ..errors import TransportError, plain
from ..workers import Worker
from . import database
from .database import Batch, Database
from .directory import network_file_system
from .reading import DetailReader
from .records import (
    DAY_SECONDS,
    MOST_VIDEOS,
    MOST_WAITING_DETAILS,
    NOTHING,
    DetailFacts,
    Lesson,
    ListedRow,
    Recalled,
    VideoFacts,
)

log = logging.getLogger(__name__)

NAME = "facts.sqlite"
# A mount starts without its facts after so long: 10,000 videos take 0.04 s (2 cores,
# 2026-11-27), so the disk hangs, or another process holds the file.
LOAD_SECONDS = 1.0
# Changes are gathered for so long, so that `ls -l` of many videos is a few transactions.
# A mount that is killed loses so much. A guess.
_GATHER_SECONDS = 1.0

Result = TypeVar("Result")


class FactStore:
    """What is remembered of one endpoint for one token. Thread safety: all methods.

    *digest* hashes the token in use with a salt. Without a *directory* nothing is
    remembered, and nothing is kept. Changes are gathered for *gather_seconds*.
    """

    def __init__(
        self,
        directory: Path | None = None,
        endpoint: str = "",
        digest: Callable[[bytes], bytes] = lambda _: b"",
        *,
        gather_seconds: float = _GATHER_SECONDS,
    ) -> None:
        self._path = directory and directory / NAME
        self.endpoint = endpoint
        self._digest = digest
        self._gather_seconds = gather_seconds
        self.recalled: Recalled = NOTHING  # set once, by `load`
        self._lock = threading.Lock()  # guards the four fields below; no I/O under it
        self._batch = Batch()
        self._writing = Batch()  # what the thread writes now
        self._tokens = 0  # how often the token changed: only ever grows
        self._closed = False
        self._loaded = threading.Event()
        self._changed = threading.Event()
        self._closing = threading.Event()
        self._worker: Worker | None = None  # set once, by `load`
        self._reader: DetailReader | None = None  # set once, by `load`
        # Both belong to the thread.
        self._database: Database | None = None
        self._complained = False  # since the file was last used without trouble

    def load(self, seconds: float = LOAD_SECONDS) -> None:
        """Recall what is remembered, within *seconds*; called once, before all others."""
        if self._path is None:
            return
        found: list[Recalled] = []
        worker = Worker("hingfs-facts", self._run, found)
        with contextlib.suppress(TransportError):  # which is logged: it goes without
            worker.start()
            self._worker = worker
            self._reader = DetailReader(
                self._path, lambda salt: (self.endpoint, self._digest(salt))
            )
            if self._loaded.wait(seconds):
                self.recalled = found[0]
                return
            log.warning(
                "%s did not come within %.0f s: the mount starts without it",
                plain(str(self._path)),
                seconds,
            )

    def lesson(self, subject: str) -> Lesson | None:
        """What an earlier mount learnt of *subject*, if that is still good."""
        lessons = self.recalled.lessons
        return next((one for one in lessons if one.subject == subject), None)

    def learn(
        self, subject: str, value: str = "", seconds: float = DAY_SECONDS
    ) -> None:
        """Keep *value* of *subject* for *seconds*."""
        lesson = Lesson(subject, value, time.time() + seconds)
        self._note(lambda batch: batch.lessons.__setitem__(subject, lesson))

    def unlearn(self, subject: str) -> None:
        """Forget what was learnt of *subject*."""
        self._note(lambda batch: batch.lessons.__setitem__(subject, None))

    def put_video(self, video: VideoFacts) -> None:
        """Keep *video*, in place of what is kept of it."""
        self._note_video(video.video_id, video)

    def drop_video(self, video_id: str) -> None:
        """Forget *video_id*, and its details."""
        self._note_video(video_id, None)
        self.drop_details(video_id)

    def put_details(self, details: DetailFacts) -> None:
        """Keep *details*, in place of those that are kept of their video."""
        self._note_details(details.video_id, details)

    def drop_details(self, video_id: str) -> None:
        """Forget the details of *video_id*."""
        self._note_details(video_id, None)

    def details_from(self, video_id: str) -> list[DetailFacts]:
        """The details on file of *video_id*, and of some after it; waits for the disk.

        Those that this process changed are left out until the change is written.
        """
        if self._reader is None:
            return []
        with self._lock:  # before the read, which may see the file as it was
            changed = {*self._batch.details, *self._writing.details}
        found = self._reader.details_from(video_id)
        return [row for row in found if row.video_id not in changed]

    def save_listing(self, rows: Sequence[ListedRow], listed_at: float) -> None:
        """Keep *rows*, taken at *listed_at* (Unix seconds), as the last listing."""

        def change(batch: Batch) -> None:
            batch.listing, batch.listed_at = rows, listed_at

        self._note(change)

    def token_changed(self) -> None:
        """Requests carry another token: what is learnt from here on is kept for it."""
        with self._lock:
            self._batch = Batch()
            self._tokens += 1

    def close(self) -> None:
        """Take no more changes, and write what is pending; wait for it with `join`."""
        with self._lock:
            self._closed = True
        self._closing.set()
        self._changed.set()
        if self._reader is not None:
            self._reader.close()

    def join(self, seconds: float) -> bool:
        """Whether all is written, or given up, within *seconds*; after `close`."""
        if self._worker is None or self._reader is None:
            return True
        deadline = time.monotonic() + seconds
        ended = self._worker.join(seconds)
        return self._reader.join(max(0.0, deadline - time.monotonic())) and ended

    def _note_video(self, video_id: str, video: VideoFacts | None) -> None:
        def change(batch: Batch) -> None:
            if video_id in batch.videos or len(batch.videos) < MOST_VIDEOS:
                batch.videos[video_id] = video

        self._note(change)

    def _note_details(self, video_id: str, details: DetailFacts | None) -> None:
        def change(batch: Batch) -> None:
            most = MOST_VIDEOS if details is None else MOST_WAITING_DETAILS
            if video_id in batch.details or len(batch.details) < most:
                batch.details[video_id] = details

        self._note(change)

    def _note(self, change: Callable[[Batch], None]) -> None:
        if self._worker is None:
            return
        with self._lock:
            if not self._closed:
                change(self._batch)
        self._changed.set()

    # -- on the thread -----------------------------------------------------------------

    def _run(self, found: list[Recalled]) -> None:
        try:
            found.append(self._use(self._load) or NOTHING)
            self._loaded.set()
            last = False
            while not last:
                self._changed.wait()
                last = self._closing.wait(self._gather_seconds)
                self._changed.clear()
                self._write_pending()
        finally:
            self._drop_database()

    def _load(self, facts: Database) -> Recalled:
        return facts.load(self.endpoint, self._digest(facts.salt))

    def _write_pending(self) -> None:
        with self._lock:
            batch, self._batch = self._batch, Batch()
            self._writing = batch
            tokens = self._tokens
        if not batch:
            return

        def write(facts: Database) -> bool:
            token = self._digest(facts.salt)
            if tokens == self._tokens:
                facts.write(self.endpoint, token, batch)
            return True

        written = self._use(write)
        with self._lock:
            self._writing = Batch()
            if not written and tokens == self._tokens:
                self._batch = _joined(batch, self._batch)  # tried with the next change

    def _use(self, job: Callable[[Database], Result]) -> Result | None:
        """The result of *job*; None if the file cannot be used now.

        A broken file is set aside, and the job tried once more with a new one.
        """
        try:
            try:
                result = job(self._opened())
            except sqlite3.Error as error:
                if not database.is_broken(error):
                    raise
                self._begin_anew(error)
                result = job(self._opened())
        except (sqlite3.Error, OSError) as error:
            self._drop_database()
            self._complain(error)
            return None
        self._complained = False
        return result

    def _opened(self) -> Database:
        assert self._path is not None, "without a file there is no thread"
        if self._database is None:
            network = network_file_system(self._path.parent)
            self._database = Database(self._path, wal=network is None)
            if network is not None:
                log.warning(
                    "%s lies on %s, a network file system: it is used without SQLite's "
                    "WAL; --cache-dir can name a directory of this machine",
                    plain(str(self._path)),
                    plain(network),
                )
        return self._database

    def _begin_anew(self, error: Exception) -> None:
        assert self._path is not None, "without a file there is no thread"
        self._drop_database()
        log.warning(
            "%s is broken (%s): it is begun anew, and the old one kept as %s",
            plain(str(self._path)),
            error,
            database.set_aside(self._path).name,
        )

    def _complain(self, error: Exception) -> None:
        if not self._complained:
            self._complained = True
            log.warning(
                "what is learnt is not kept for the next mount: %s: %s",
                plain(str(self._path)),
                error,
            )

    def _drop_database(self) -> None:
        if self._database is not None:
            with contextlib.suppress(sqlite3.Error):
                self._database.close()
            self._database = None


def expiries(directory: Path) -> dict[tuple[str, str], float]:
    """As `Database.expiries`, of the file in *directory*; empty if it cannot be used."""
    path = directory / NAME
    try:
        if not path.exists():  # it would be made
            return {}
        with Database(path, wal=network_file_system(directory) is None) as facts:
            return facts.expiries()
    except (sqlite3.Error, OSError):
        return {}


def _joined(older: Batch, newer: Batch) -> Batch:
    """One batch for both; *newer* decides."""
    newest = newer if newer.listing is not None else older
    return Batch(
        older.lessons | newer.lessons,
        older.videos | newer.videos,
        older.details | newer.details,
        newest.listing,
        newest.listed_at,
    )
