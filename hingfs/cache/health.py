"""Whether the disk may be used now.

Decides what an error of the disk leads to: a full or read-only one is not written, and
one that fails or hangs is not used at all, until a probe has shown that it works again.
One warning says so. Leaves to its owner when a probe is made, and how.

Threads: any thread may call any method.
"""

import contextlib
import errno
import itertools
import logging
import threading
import time
from collections.abc import Iterator

from ..errors import plain

log = logging.getLogger(__name__)

# So many errors without a good operation between them: one bad sector is no bad disk.
# As JuiceFS has it.
MOST_ERRORS = 3
# An operation that takes longer has failed, as far as others go. As JuiceFS has it.
SLOW_SECONDS = 30.0
# From trouble to the first probe; each probe that fails doubles it. Guesses.
FIRST_PROBE_SECONDS = 10.0
LAST_PROBE_SECONDS = 600.0

_NOT_WRITTEN = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
# They tell nothing of the disk: no more files or memory, or somebody deleted files.
_NO_TROUBLE = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOENT})


class Health:
    """The state of the disk that holds *name*. Thread safety: all methods."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()  # guards all below; no I/O and no log call
        self._may_read = True
        self._may_write = True
        self._errors = 0  # since the last good operation
        self._running: dict[
            int, float
        ] = {}  # operation -> monotonic start; oldest first
        self._numbers = itertools.count()
        self._probe_at = 0.0  # monotonic
        self._pause_seconds = FIRST_PROBE_SECONDS

    @property
    def may_read(self) -> bool:
        """Whether blocks may be read; no operation that hangs is joined by another."""
        return self._may_read

    @property
    def may_write(self) -> bool:
        """Whether blocks may be written."""
        return self._may_read and self._may_write

    @contextlib.contextmanager
    def operation(self) -> Iterator[None]:
        """Watch one use of the disk; an OSError counts against it and is raised."""
        with self._lock:
            number = next(self._numbers)
            self._running[number] = time.monotonic()
        try:
            yield
        except OSError as error:
            self._failed(error)
            raise
        else:
            self._errors = 0
        finally:
            with self._lock:
                del self._running[number]

    def _failed(self, error: OSError) -> None:
        if error.errno in _NO_TROUBLE:
            return
        with self._lock:
            if error.errno in _NOT_WRITTEN:
                news, self._may_write = self._may_write, False
            else:
                self._errors += 1
                bad = self._errors >= MOST_ERRORS
                news = bad and self._may_read
                self._may_read = self._may_read and not bad
        if news:
            log.warning("%s: %s", plain(self._name), error)
