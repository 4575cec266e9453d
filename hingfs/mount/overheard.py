"""What libfuse and fusermount3 write to standard error, past any log.

Without a thread: the caller who makes an `Overheard` also ends it.
"""

import os
from contextlib import suppress

_STANDARD_ERROR = 2


class Overheard:
    """Collects what is written to standard error, from its making to `end`.

    libfuse and fusermount3 tell their reasons there alone, which nobody reads in the
    background.
    """

    def __init__(self) -> None:
        self._said = ""
        self._before: int | None = None
        with suppress(OSError):  # standard error is closed
            self._before = os.dup(_STANDARD_ERROR)
            self._file = os.memfd_create("libfuse")
            os.dup2(self._file, _STANDARD_ERROR)

    def end(self) -> str:
        """Give standard error back; returns what was collected, each time the same."""
        if self._before is not None:
            os.dup2(self._before, _STANDARD_ERROR)
            os.close(self._before)
            self._before = None
            with os.fdopen(self._file, "rb") as said:
                said.seek(0)
                self._said = said.read().decode(errors="replace")
        return self._said
