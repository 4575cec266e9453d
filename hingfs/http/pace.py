"""Whether a body comes fast enough to be waited for."""

import time

from ..blocks import KIB

# A body that brings less than this a second, over a stall time-out, has stalled: a
# byte now and then would hold a connection and its thread for ever. No link that
# carries video is so slow. A guess.
SLOWEST_BYTES_PER_SECOND = 1 * KIB


class Pace:
    """The speed of one body, judged each *seconds*.

    Used by one thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """Forget the bytes that came until now."""
        self._since = time.monotonic()
        self._came = 0

    def took(self, count: int) -> None:
        """Add *count* bytes; the wait for the first ones tells nothing of the link."""
        if not self._came:
            self._since = time.monotonic()
        self._came += count

    @property
    def judged_at(self) -> float:
        """When to look at `good` next (monotonic)."""
        return self._since + self._seconds

    @property
    def good(self) -> bool:
        """Whether bytes came, and fast enough if that took *seconds* or longer."""
        elapsed = time.monotonic() - self._since
        enough = self._came >= elapsed * SLOWEST_BYTES_PER_SECOND
        return self._came > 0 and (enough or elapsed < self._seconds)
