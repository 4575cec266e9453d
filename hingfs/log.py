"""Log lines: what they look like, and where they go.

A mount in the foreground logs to standard error. One in the background has a file of
its own, named after its directory, in `$XDG_STATE_HOME/hingfs`: two files of
`MOST_BYTES` at most, for their owner alone. Where standard error is systemd's journal,
both log there, with the priorities that sd-daemon(3) describes. A file that the user
named comes before all; the user rotates it.

The user's level is that of hingfs's lines. Lines of libraries need WARNING, since their
debugging says little about a mount.

Thread safety: all of it, by the lock that `logging` gives each handler.
"""

import contextlib
import hashlib
import logging
import os
import re
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import UsageError, plain, printable

# One file and the one before it; a day of trouble is some thousand lines of 150 bytes.
MOST_BYTES = 8 * 1024 * 1024
_SYSTEM_LOGS = Path("/var/log/hingfs")  # of root, where it has no home
_LONGEST_NAME_BYTES = 200  # of 255; ".log.1" follows
_PRIORITIES = {"ERROR": 3, "WARNING": 4, "INFO": 6, "DEBUG": 7}  # syslog(3)
_STANDARD_ERROR = 2

_Hide = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Target:
    """Where the lines go, in words; *warning* says why they do not go where they should."""

    name: str
    warning: str = ""


def begin(
    level: str,
    hide: _Hide,
    *,
    file: Path | None = None,
    background: Path | None = None,
    most_bytes: int = MOST_BYTES,
    of_root: Path = _SYSTEM_LOGS,
) -> Target:
    """Log lines of *level* and above, each through *hide*; returns where they go.

    *background* is the directory of a mount in the background, whose own file is
    rotated at *most_bytes*, and lies in *of_root* for root without a home. Raises
    UsageError if *file* cannot be written.
    """
    formatter = _LineFormatter(hide)
    if file is not None:
        target, handler = _chosen(file)
    elif _is_journal():
        target, handler = Target("the journal"), _stream()
        formatter = _JournalFormatter(hide)
    elif background is None:
        target, handler = Target(""), _stream()
    else:
        target, handler = _own(background, most_bytes, of_root)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(__package__).setLevel(level.upper())
    return target


def _chosen(file: Path) -> tuple[Target, logging.Handler]:
    """The *file* that the user named."""
    try:
        return Target(str(file)), _File(file)
    except OSError as error:
        raise UsageError(f"log file {plain(str(file))}: {error.strerror}") from None


def _own(
    directory: Path, most_bytes: int, of_root: Path
) -> tuple[Target, logging.Handler]:
    """The own file of the mount at *directory*; a warning if it cannot be made."""
    try:
        file = _directory(os.environ, of_root) / f"{name_for(directory)}.log"
        return Target(str(file)), _OwnFile(file, most_bytes)
    except OSError as error:
        warning = f"there is no log: {_reason(error)}; choose another with --log-file"
        return Target("", warning), logging.NullHandler()


def reopen() -> None:
    """Go on in the file that has the log's name now, another one after logrotate."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, _File):
            handler.reopen()


def name_for(directory: Path) -> str:
    """The name of the log of a mount at *directory*: "mnt-hing" for /mnt/hing.

    No two directories share one: all but letters, digits, "_" and "." is escaped as in
    URLs.
    """
    parts = [re.sub(r"[^\w.]+", _escaped, part) for part in directory.parts[1:]]
    name = "-".join(parts)
    if len(name.encode()) <= _LONGEST_NAME_BYTES:
        return name
    digest = hashlib.sha256(os.fsencode(directory)).hexdigest()[:32]
    head = name.encode()[: _LONGEST_NAME_BYTES - len(digest) - 1].decode(
        errors="ignore"
    )
    return f"{head}~{digest}"


def _escaped(match: re.Match[str]) -> str:
    return "".join(f"%{byte:02X}" for byte in os.fsencode(match[0]))


def _directory(environ: Mapping[str, str], of_root: Path) -> Path:
    """The directory for the logs of this user's mounts; raises OSError without one."""
    state, home = Path(environ.get("XDG_STATE_HOME", "")), Path(environ.get("HOME", ""))
    if state.is_absolute():  # the XDG specification ignores any other
        return state / "hingfs"
    # `sudo` may leave the caller's home to root, whose files would lock the caller out.
    if home.is_absolute() and _is_mine(home):
        return home / ".local" / "state" / "hingfs"
    if os.geteuid() == 0:
        return of_root
    raise OSError("HOME names no directory of yours")


def _is_mine(directory: Path) -> bool:
    with contextlib.suppress(OSError):
        return directory.stat().st_uid == os.geteuid()
    return False


def _reason(error: OSError) -> str:
    where = f"{printable(error.filename)}: " if error.filename else ""
    return f"{where}{error.strerror or error}"


def _is_journal() -> bool:
    """True if standard error goes to systemd's journal, by the test of sd-daemon(3).

    The variable alone proves nothing: a terminal that was started there inherits it.
    """
    try:
        status = os.fstat(_STANDARD_ERROR)
    except OSError:
        return False
    here = f"{status.st_dev}:{status.st_ino}"
    return os.environ.get("JOURNAL_STREAM") == here


def _stream() -> logging.Handler:
    """Standard error as it is now; it may be detached later."""
    try:
        copy = os.dup(_STANDARD_ERROR)
    except OSError:
        return logging.NullHandler()
    return logging.StreamHandler(
        os.fdopen(copy, "w", encoding="utf-8", errors="backslashreplace")
    )


class _File(logging.Handler):
    """Appends each line to *path* by one write; the file is made for its owner alone.

    A line that cannot be written is dropped: a full disk ends no mount.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        self._file = self._open()  # guarded by the handler's lock

    def emit(self, record: logging.LogRecord) -> None:
        """Append *record*; called with the handler's lock held."""
        line = f"{self.format(record)}\n".encode("utf-8", "backslashreplace")
        with contextlib.suppress(OSError):
            self._make_room_locked(len(line))
            os.write(self._file, line)

    def reopen(self) -> None:
        """Open the path again; the file that was open stays in use if that fails."""
        with self.lock or contextlib.nullcontext(), contextlib.suppress(OSError):
            self._renew_locked()

    def close(self) -> None:
        """No line comes after this one."""
        with contextlib.suppress(OSError):
            os.close(self._file)
        self._file = -1
        super().close()

    def _renew_locked(self) -> None:
        before, self._file = self._file, self._open()
        os.close(before)

    def _open(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
        return os.open(self._path, flags, 0o600)

    def _make_room_locked(self, line_bytes: int) -> None:
        """Rotate, where this file is ours to rotate."""


class _OwnFile(_File):
    """The log of a user who named no file: bounded, private, and no one else's."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(path)
        self._most_bytes = most_bytes

    def close(self) -> None:
        """As above; a mount that had nothing to say leaves nothing behind."""
        with contextlib.suppress(OSError):
            if self._is_at_path() and os.fstat(self._file).st_size == 0:
                self._path.unlink()
        super().close()

    def _open(self) -> int:
        directory = self._path.parent
        if not directory.parent.exists():
            directory.parent.mkdir(parents=True, exist_ok=True)
        if not directory.exists():
            directory.mkdir(mode=0o700, exist_ok=True)
        # A user who may put names there could make us write through a link to any file.
        _demand_own(os.lstat(directory), directory)
        status = os.stat(directory)
        _demand_own(status, directory)
        if stat.S_ISDIR(status.st_mode) and stat.S_IMODE(status.st_mode) & 0o077:
            directory.chmod(0o700)
        flags = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_WRONLY | os.O_APPEND | os.O_CREAT
        file = os.open(self._path, flags, 0o600)
        try:
            status = os.fstat(file)
            _demand_own(status, self._path)
            _demand_plain_file(status, self._path)
            os.fchmod(file, 0o600)
        except OSError:
            os.close(file)
            raise
        return file

    def _make_room_locked(self, line_bytes: int) -> None:
        if os.fstat(self._file).st_size + line_bytes <= self._most_bytes:
            return
        if self._is_at_path():  # or another mount of this directory has rotated it
            self._path.replace(f"{self._path}.1")
        self._renew_locked()

    def _is_at_path(self) -> bool:
        try:
            return os.path.samestat(os.stat(self._path), os.fstat(self._file))
        except FileNotFoundError:
            return False


def _demand_own(status: os.stat_result, path: Path) -> None:
    """Raise OSError unless the caller owns *path*, by its *status*."""
    if status.st_uid != os.geteuid():
        raise OSError(0, "belongs to another user", str(path))


def _demand_plain_file(status: os.stat_result, path: Path) -> None:
    """Raise OSError unless *path* is a file, by its *status*, and has no other name."""
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise OSError(0, "is no plain file of one name", str(path))


class _LineFormatter(logging.Formatter):
    """Lines without control characters and tokens.

    A traceback ends with the text of an exception that may quote the server.
    """

    def __init__(
        self, hide: _Hide, head: str = "%(asctime)s %(levelname)s %(threadName)s"
    ) -> None:
        super().__init__(f"{head} %(name)s: %(message)s")
        self._hide = hide

    def format(self, record: logging.LogRecord) -> str:
        """The lines of *record*."""
        if (record.threadName or "").startswith("Dummy-"):  # made by libfuse
            record.threadName = "fuse"
        text = self._hide(super().format(record))
        return "\n".join(plain(line) for line in text.split("\n"))


class _JournalFormatter(_LineFormatter):
    """As above, for the journal, which tells time and level itself."""

    def __init__(self, hide: _Hide) -> None:
        super().__init__(hide, "%(threadName)s")

    def format(self, record: logging.LogRecord) -> str:
        """The lines of *record*, each with its priority."""
        priority = _PRIORITIES.get(record.levelname, 3)
        lines = super().format(record).split("\n")
        return "\n".join(f"<{priority}>{line}" for line in lines)
