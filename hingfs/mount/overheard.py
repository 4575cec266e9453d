"""What others in this process write to standard error, past any log.

It has no thread; whoever begins to listen ends it.
"""

import os
from contextlib import suppress

_STANDARD_ERROR = 2


class Overheard:
    """What is written to standard error from here to `end`: by libfuse and fusermount3.

    Both tell their reasons there, past any log, and to nobody in the background.
    """

    def __init__(self) -> None:
        self._said = ""
        self._before: int | None = None
        with suppress(OSError):  # it is closed
            self._before = os.dup(_STANDARD_ERROR)
            self._file = os.memfd_create("libfuse")
            os.dup2(self._file, _STANDARD_ERROR)

    def end(self) -> str:
        """Give standard error back; what was said. Later calls say the same."""
        if self._before is not None:
            os.dup2(self._before, _STANDARD_ERROR)
            os.close(self._before)
            self._before = None
            with os.fdopen(self._file, "rb") as said:
                said.seek(0)
                self._said = said.read().decode(errors="replace")
        return self._said
