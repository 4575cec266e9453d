"""Whether a body comes fast enough to be waited for."""

import time

from ..blocks import KIB

# A body that brings less than this a second, over a stall time-out, has stalled: a
# byte now and then would hold a connection and its thread for ever. No link that a
# video is read over is so slow. A guess.
SLOWEST_BYTES_PER_SECOND = 1 * KIB


class Pace:
    """Whether a body comes fast enough to be waited for; judged each *seconds*.

    Used by one thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.restart()

    def restart(self) -> None:
        """What came until now counts no more."""
        self._since = time.monotonic()
        self._came = 0

    def took(self, count: int) -> None:
        """Note *count* bytes. The wait for the first ones tells nothing of the link."""
        if not self._came:
            self._since = time.monotonic()
        self._came += count

    @property
    def judged_at(self) -> float:
        """When it is time to judge (monotonic)."""
        return self._since + self._seconds

    @property
    def good(self) -> bool:
        """Whether bytes came, and, if that took long, not too few of them."""
        elapsed = time.monotonic() - self._since
        enough = self._came >= elapsed * SLOWEST_BYTES_PER_SECOND
        return self._came > 0 and (enough or elapsed < self._seconds)
