"""The SQLite file of facts: its layout, its modes, and what is read and written at once.

Any number of processes and mounts share it. Decides what a file of another layout or a
broken one leads to, and what is deleted for its age. Leaves to `store` which thread works
here, and when. The file holds no token: an account is an endpoint with a hash of its
token, salted by a number that is drawn for each file.

Threads: one connection serves the thread that opened it.
"""

import contextlib
import os
import secrets
import sqlite3
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from . import records
from .records import NOTHING, DetailFacts, Lesson, ListedRow, Recalled, VideoFacts

LAYOUT = 3
# How long another process's transaction is waited for: it takes 0.1 s for 10,000 videos
# (2 cores, 2026-11-27).
_BUSY_SECONDS = 0.5
_SALT_BYTES = 16
# Of all accounts together, some 170 bytes each.
_MOST_VIDEOS = 4 * records.MOST_VIDEOS
_TABLES = """
CREATE TABLE salt (id INTEGER PRIMARY KEY CHECK (id = 1), value BLOB) STRICT;
CREATE TABLE accounts (
    account INTEGER PRIMARY KEY, endpoint TEXT, token BLOB, listed_at REAL,
    UNIQUE (endpoint, token)
) STRICT;
CREATE TABLE lessons (
    account INTEGER, subject TEXT, value TEXT, until REAL,
    PRIMARY KEY (account, subject)
) STRICT, WITHOUT ROWID;
CREATE TABLE videos (
    account INTEGER, video_id TEXT, size_bytes INTEGER, etag TEXT, last_modified TEXT,
    ranges INTEGER, odd_type TEXT, odd_coding TEXT, mtime_ns INTEGER, expires_at REAL,
    confirmed_at REAL, completed_at REAL,
    PRIMARY KEY (account, video_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE listing (
    account INTEGER, video_id TEXT, state TEXT, word TEXT, completed_at REAL,
    created_at REAL, expires_at REAL,
    PRIMARY KEY (account, video_id)
) STRICT, WITHOUT ROWID;
"""
# Layout 2 lacks this table alone, so its facts stay.
_DETAILS_TABLE = """
CREATE TABLE details (
    account INTEGER, video_id TEXT, size_bytes INTEGER, mtime_ns INTEGER, told TEXT,
    PRIMARY KEY (account, video_id)
) STRICT, WITHOUT ROWID
"""
_LAYOUT_WITHOUT_DETAILS = 2
_PRUNING = """
DELETE FROM lessons WHERE until <= :now;
DELETE FROM videos WHERE confirmed_at <= :confirmed OR expires_at <= :expired;
DELETE FROM videos WHERE (account, video_id) IN (
    SELECT account, video_id FROM videos ORDER BY confirmed_at DESC LIMIT -1 OFFSET :most
);
DELETE FROM details WHERE (account, video_id) NOT IN (
    SELECT account, video_id FROM videos
);
DELETE FROM listing WHERE account IN (
    SELECT account FROM accounts WHERE listed_at <= :listed
);
DELETE FROM accounts WHERE account NOT IN (
    SELECT account FROM lessons UNION SELECT account FROM videos
    UNION SELECT account FROM listing
);
"""
_VIDEOS = """
SELECT video_id, size_bytes, etag, last_modified, ranges, odd_type, odd_coding, mtime_ns,
    expires_at, confirmed_at, completed_at
FROM videos WHERE account = ? AND confirmed_at > ? ORDER BY confirmed_at DESC LIMIT ?
"""
_DETAILS = """
SELECT video_id, size_bytes, mtime_ns, told FROM details JOIN accounts USING (account)
WHERE endpoint = ? AND token = ? AND video_id >= ? ORDER BY video_id LIMIT ?
"""
_LISTING = """
SELECT video_id, state, word, completed_at, created_at, expires_at
FROM listing WHERE account = ?
"""
_EXPIRIES = """
SELECT endpoint, video_id, max(expires_at) FROM accounts JOIN (
    SELECT account, video_id, expires_at FROM videos
    UNION ALL SELECT account, video_id, expires_at FROM listing
) USING (account)
WHERE expires_at IS NOT NULL GROUP BY endpoint, video_id
"""
_PUT_LESSON = "REPLACE INTO lessons VALUES (?, ?, ?, ?)"
_FORGET_LESSON = "DELETE FROM lessons WHERE account = ? AND subject = ?"
_PUT_VIDEO = "REPLACE INTO videos VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_FORGET_VIDEO = "DELETE FROM videos WHERE account = ? AND video_id = ?"
_PUT_DETAILS = "REPLACE INTO details VALUES (?, ?, ?, ?, ?)"
_FORGET_DETAILS = "DELETE FROM details WHERE account = ? AND video_id = ?"
_NAMES = ("salt", "accounts", "lessons", "videos", "listing", "details")
# The file holds no database, or not the one that its layout promises.
_BROKEN = frozenset(
    {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR}
)


@dataclass(slots=True)
class Batch:
    """Changes of one account; None forgets what has that key."""

    lessons: dict[str, Lesson | None] = field(default_factory=dict)
    videos: dict[str, VideoFacts | None] = field(default_factory=dict)
    details: dict[str, DetailFacts | None] = field(default_factory=dict)
    listing: Sequence[ListedRow] | None = None
    listed_at: float = 0.0

    def __bool__(self) -> bool:
        changed = self.lessons or self.videos or self.details
        return bool(changed or self.listing is not None)


class Database:
    """The file at *path*, open; see the module docstring.

    With *wal*, readers and writers do not wait for one another. Raises sqlite3.Error and
    OSError, as each method does.
    """

    def __init__(self, path: Path, *, wal: bool) -> None:
        _make_private(path)
        self._sql = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None)
        try:
            journal = "WAL" if wal else "DELETE"
            self._sql.execute(f"PRAGMA journal_mode={journal}")
            # A crash of the machine may cost the last facts, and never the file.
            self._sql.execute("PRAGMA synchronous=NORMAL")
            self._settle_layout()
            (self.salt,) = self._sql.execute("SELECT value FROM salt").fetchone()
        except BaseException:
            self._sql.close()
            raise
        self._pruned = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the file back."""
        self._sql.close()

    def load(self, endpoint: str, token: bytes) -> Recalled:
        """All that is still good of the account of *endpoint* and the hash *token*."""
        row = self._sql.execute(
            "SELECT account, listed_at FROM accounts WHERE endpoint = ? AND token = ?",
            (endpoint, token),
        ).fetchone()
        if row is None:
            return NOTHING
        account, listed_at = row
        now = time.time()
        lessons = self._sql.execute(
            "SELECT subject, value, until FROM lessons WHERE account = ? AND until > ?",
            (account, now),
        )
        videos = self._sql.execute(
            _VIDEOS,
            (account, now - records.VIDEO_SECONDS, records.MOST_VIDEOS),
        )
        listing = self._sql.execute(_LISTING, (account,))
        return Recalled(
            [Lesson._make(row) for row in lessons],
            [VideoFacts._make(row) for row in videos],
            [ListedRow._make(row) for row in listing],
            listed_at,
        )

    def details_from(
        self, endpoint: str, token: bytes, video_id: str, most: int
    ) -> list[DetailFacts]:
        """The details of *most* videos from *video_id* on, in the order of their ids."""
        rows = self._sql.execute(_DETAILS, (endpoint, token, video_id, most))
        return [DetailFacts._make(row) for row in rows]

    def expiries(self) -> dict[tuple[str, str], float]:
        """Endpoint and id -> when the link ends, in Unix seconds; of all accounts."""
        rows = self._sql.execute(_EXPIRIES)
        return {(endpoint, video_id): at for endpoint, video_id, at in rows}

    def write(self, endpoint: str, token: bytes, batch: Batch) -> None:
        """Write *batch* for the account of *endpoint* and the hash *token*, or nothing."""
        self._in_transaction(lambda: self._write(endpoint, token, batch))

    def _write(self, endpoint: str, token: bytes, batch: Batch) -> None:
        if not self._pruned:
            self._prune(time.time())
        identity = (endpoint, token)
        self._sql.execute(
            "INSERT OR IGNORE INTO accounts (endpoint, token) VALUES (?, ?)", identity
        )
        (account,) = self._sql.execute(
            "SELECT account FROM accounts WHERE endpoint = ? AND token = ?", identity
        ).fetchone()
        self._change(account, batch.lessons, _PUT_LESSON, _FORGET_LESSON)
        self._change(account, batch.videos, _PUT_VIDEO, _FORGET_VIDEO)
        self._change(account, batch.details, _PUT_DETAILS, _FORGET_DETAILS)
        if batch.listing is not None:
            self._write_listing(account, batch.listing, batch.listed_at)
        self._pruned = True

    def _change(
        self,
        account: int,
        changes: Mapping[str, Lesson | VideoFacts | DetailFacts | None],
        put: str,
        forget: str,
    ) -> None:
        kept = [(account, *row) for row in changes.values() if row is not None]
        gone = [(account, key) for key, row in changes.items() if row is None]
        self._sql.executemany(put, kept)
        self._sql.executemany(forget, gone)

    def _write_listing(
        self, account: int, rows: Sequence[ListedRow], listed_at: float
    ) -> None:
        """Make *rows* the listing; only those that differ are written."""
        before, now = set(self._sql.execute(_LISTING, (account,))), set(rows)
        self._sql.executemany(
            "DELETE FROM listing WHERE account = ? AND video_id = ?",
            [(account, row[0]) for row in before - now],
        )
        self._sql.executemany(
            "REPLACE INTO listing VALUES (?, ?, ?, ?, ?, ?, ?)",
            [(account, *row) for row in now - before],
        )
        self._sql.execute(
            "UPDATE accounts SET listed_at = ? WHERE account = ?", (listed_at, account)
        )

    def _prune(self, now: float) -> None:
        """Delete what no mount will use again; once for each time the file is opened."""
        ages = {
            "now": now,
            "confirmed": now - records.VIDEO_SECONDS,
            "expired": now - records.DAY_SECONDS,
            "listed": now - records.LISTING_SECONDS,
            "most": _MOST_VIDEOS,
        }
        for statement in filter(str.strip, _PRUNING.split(";")):
            self._sql.execute(statement, ages)

    def _settle_layout(self) -> None:
        """Make the tables, if there are none, or those of an older layout."""
        if self._layout() == LAYOUT:
            return
        self._in_transaction(self._make_tables)

    def _make_tables(self) -> None:
        layout = self._layout()
        if layout == LAYOUT:  # another process made them meanwhile
            return
        if layout > LAYOUT:
            raise OSError("a newer hingfs wrote it")
        if layout != _LAYOUT_WITHOUT_DETAILS:
            self._begin_anew()
        self._sql.execute(_DETAILS_TABLE)
        self._sql.execute(f"PRAGMA user_version={LAYOUT}")

    def _begin_anew(self) -> None:
        for name in _NAMES:
            self._sql.execute(f"DROP TABLE IF EXISTS {name}")
        for statement in filter(str.strip, _TABLES.split(";")):
            self._sql.execute(statement)
        salt = secrets.token_bytes(_SALT_BYTES)
        self._sql.execute("INSERT INTO salt VALUES (1, ?)", (salt,))

    def _layout(self) -> int:
        layout: int = self._sql.execute("PRAGMA user_version").fetchone()[0]
        return layout

    def _in_transaction(self, job: Callable[[], None]) -> None:
        self._sql.execute("BEGIN IMMEDIATE")
        try:
            job()
        except BaseException:
            with contextlib.suppress(sqlite3.Error):  # it may have ended by itself
                self._sql.execute("ROLLBACK")
            raise
        self._sql.execute("COMMIT")


def is_broken(error: Exception) -> bool:
    """Whether *error* says that the file is no database, or not one of ours."""
    if not isinstance(error, sqlite3.Error):
        return False
    code = getattr(error, "sqlite_errorcode", None)  # absent from some of Python's own
    return code is not None and code & 0xFF in _BROKEN


def set_aside(path: Path) -> Path:
    """Move a broken file out of the way, over the one before; returns where to."""
    aside = path.with_name(f"{path.name}.broken")
    path.replace(aside)
    for file in _beside(path):
        file.unlink(missing_ok=True)
    return aside


def _make_private(path: Path) -> None:
    """Make the file, if it is not there, and keep it to its owner.

    SQLite gives the files beside it the same mode. Nothing here opens the file: closing
    it again would end the locks of another connection in this process (fcntl(2)).
    """
    with contextlib.suppress(FileExistsError):
        os.mknod(path, 0o600)
    for file in (path, *_beside(path)):
        with contextlib.suppress(FileNotFoundError):
            found = file.lstat()
            if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid():
                raise OSError("it is no file of yours")
            if found.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                file.chmod(0o600)


def _beside(path: Path) -> list[Path]:
    return [path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal")]
