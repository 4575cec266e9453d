"""Reads of the file of facts that a program waits for.

Most facts are loaded when a mount starts. Details of videos are read when a program wants
them: they may be a hundred times as large, and most mounts never need them. Decides how
long a read may take, and that trouble with the file reads as nothing. Leaves the complaint
about it to `store`.

Threads: `hingfs-facts-read-1`, which starts with the first read. Any thread may call any
method.
"""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path

from ..errors import Closing, HingError
from ..workers import DaemonPool
from .database import Database
from .directory import network_file_system
from .records import DetailFacts

# A disk that takes longer hangs: the server is asked instead. A guess.
READ_SECONDS = 1.0
# Programs go through a directory by name, so the next videos are wanted next. Rows of a
# long prompt are 4 KiB: this is 2 MiB at most, and 3 ms for 500 of them (2 cores).
AT_ONCE = 500


class DetailReader:
    """Reads the details in the file at *path*. Thread safety: all methods.

    *account* gives the endpoint and the hash of the token, by the salt of the file.
    """

    def __init__(
        self, path: Path, account: Callable[[bytes], tuple[str, bytes]]
    ) -> None:
        self._path = path
        self._account = account
        self._pool = DaemonPool("hingfs-facts-read", 1)
        self._last: Future[list[DetailFacts]] | None = None  # it may hang

    def details_from(self, video_id: str) -> list[DetailFacts]:
        """The details of *video_id* and of those after it, AT_ONCE at most.

        Empty while the disk hangs, and if the file cannot be used.
        """
        if self._last is not None and not self._last.done():
            return []
        try:
            self._last = reading = self._pool.submit(self._read, video_id)
            return reading.result(READ_SECONDS)
        except (TimeoutError, HingError):
            return []

    def close(self) -> None:
        """End the waits of all callers."""
        self._pool.close(Closing("the mount is ending"))

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)

    def _read(self, video_id: str) -> list[DetailFacts]:
        try:
            if not self._path.exists():  # it would be made
                return []
            wal = network_file_system(self._path.parent) is None
            with Database(self._path, wal=wal) as facts:
                account = self._account(facts.salt)
                return facts.details_from(*account, video_id, AT_ONCE)
        except (sqlite3.Error, OSError):
            return []
