"""Whether the disk may be used now.

Decides what trouble with the disk leads to: one that is full or read-only is not
written, and one that fails or hangs is not used at all, until a probe has shown that it
works again. One warning says so. A read that hangs cannot be taken back, so no other
read joins it; `attempts` has its caller go on. Leaves to `janitor` when a probe is made, and how.

Threads: any thread may call any method.
"""

import contextlib
import errno
import itertools
import logging
import threading
import time
from collections.abc import Iterator

log = logging.getLogger(__name__)

# So many errors without a good operation between them: one bad sector is no bad disk.
# As JuiceFS has it.
MOST_ERRORS = 3
# What takes longer has failed. As JuiceFS has it.
SLOW_SECONDS = 30.0
# A read that takes longer is left behind, and others do without the disk until it ends.
# A guess.
HESITATION_SECONDS = 2.0
# From trouble to the first probe. Each probe that fails doubles it, and so does trouble
# that comes again before the longest pause is over. Guesses.
FIRST_PROBE_SECONDS = 10.0
LAST_PROBE_SECONDS = 600.0

_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
# They tell nothing of the disk: no more descriptors or memory, deleted or odd files, or
# a read that did not join others, or files that were opened while the disk was read-only.
_NO_TROUBLE = frozenset(
    {
        errno.EMFILE,
        errno.ENFILE,
        errno.ENOMEM,
        errno.ENOENT,
        errno.EISDIR,
        errno.EAGAIN,
        errno.EBADF,
    }
)


class Health:
    """The state of the disk that holds *name*, called *title*. Thread safety: all methods.

    No frame keeps an error that it raises: the two would hold each other, and the files
    of all frames between them, until the next garbage collection.
    """

    def __init__(self, name: str, title: str = "the disk cache") -> None:
        self._name = name
        self._title = title
        self._lock = threading.Lock()  # guards all below; no I/O and no log call
        self._may_read = True
        self._may_write = True
        # Since the last good operation, of reads (True) and others: a disk that cannot
        # be read takes writes into memory.
        self._errors = {True: 0, False: 0}
        # Operation -> whether it reads, and its monotonic start; the oldest comes first.
        self._running: dict[int, tuple[bool, float]] = {}
        self._numbers = itertools.count()
        self._pause_seconds = FIRST_PROBE_SECONDS
        self._probe_at: float | None = None  # monotonic; None while all is well
        self._well_since = -LAST_PROBE_SECONDS  # monotonic

    @property
    def may_read(self) -> bool:
        """Whether blocks may be read."""
        return self._may_read

    @property
    def may_write(self) -> bool:
        """Whether blocks may be written."""
        return self._may_read and self._may_write

    @contextlib.contextmanager
    def operation(self, *, reading: bool = False) -> Iterator[None]:
        """Watch one use of the disk; an OSError counts against it, and is raised.

        Raises OSError before it begins if the disk hangs, or another read does.
        """
        number = self._begin(reading=reading)
        good = False
        try:
            yield
            good = True
        except OSError as error:
            self.blame(error, reading=reading)
            raise
        finally:
            with self._lock:
                del self._running[number]
                if good:
                    self._errors[reading] = 0

    def blame(self, error: OSError, *, reading: bool = False) -> None:
        """*error* came from the disk, or says that it may not be used."""
        if error.errno in _NO_TROUBLE:
            return
        with self._lock:
            told = self._take_locked(error, reading=reading)
        if told is not None:
            level, what = told
            log.log(level, "%s is not %s: %s", self._title, what, self._reason(error))

    @property
    def probe_at(self) -> float | None:
        """The monotonic time from which a probe is due; None while all is well."""
        return self._probe_at

    def recovered(self) -> None:
        """A probe went well: all may be read and written."""
        with self._lock:
            news, self._probe_at = self._probe_at is not None, None
            self._may_read = self._may_write = True
            self._errors = {True: 0, False: 0}
            self._well_since = time.monotonic()
        if news:
            log.info("%s is used again: %s", self._title, self._name)

    def probe_failed(self) -> None:
        """A probe failed: the next one is made later."""
        with self._lock:
            self._put_off_locked()

    def demand(self, *, reading: bool = False) -> None:
        """Raise OSError if the disk hangs, or another read does."""
        with self._lock:
            refusal = self._refusal_locked(reading=reading)
        if refusal is not None:
            raise self._refused(refusal, reading=reading)

    def _begin(self, *, reading: bool) -> int:
        with self._lock:
            refusal = self._refusal_locked(reading=reading)
            if refusal is None:
                number = next(self._numbers)
                self._running[number] = reading, time.monotonic()
                return number
        raise self._refused(refusal, reading=reading)

    def _refused(self, refusal: tuple[int, str], *, reading: bool) -> OSError:
        """*refusal* as an error, which counts against the disk."""
        self.blame(OSError(*refusal), reading=reading)
        return OSError(*refusal)

    def _refusal_locked(self, *, reading: bool) -> tuple[int, str] | None:
        """Why the disk may not be used now: an errno and words; None if it may."""
        if not self._running:
            return None
        now = time.monotonic()
        if any(now > begun + SLOW_SECONDS for _, begun in self._running.values()):
            self._errors[reading] = MOST_ERRORS
            return errno.ETIMEDOUT, f"no answer for {SLOW_SECONDS:.0f} s"
        if reading and any(
            reads and now > begun + HESITATION_SECONDS
            for reads, begun in self._running.values()
        ):
            return errno.EAGAIN, "another read hangs"
        return None

    def _take_locked(self, error: OSError, *, reading: bool) -> tuple[int, str] | None:
        """Take *error* into account; returns what to log, if that is news."""
        before = self._may_read, self._may_write
        if error.errno in _NOT_WRITTEN:
            self._may_write = False
        else:
            self._errors[reading] += 1
            # An error without a number is a refusal of ours.
            if error.errno is None or self._errors[reading] >= MOST_ERRORS:
                self._may_read = False
        if before == (self._may_read, self._may_write):
            return None
        again = time.monotonic() < self._well_since + LAST_PROBE_SECONDS
        if self._probe_at is None and not again:
            self._pause_seconds = FIRST_PROBE_SECONDS / 2
        self._put_off_locked()
        level = logging.INFO if again else logging.WARNING
        return level, "written" if self._may_read else "used"

    def _put_off_locked(self) -> None:
        self._pause_seconds = min(2 * self._pause_seconds, LAST_PROBE_SECONDS)
        self._probe_at = time.monotonic() + self._pause_seconds

    def _reason(self, error: OSError) -> str:
        return f"{self._name}: {error.strerror}" if error.errno else str(error)
