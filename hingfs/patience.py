"""How long one call keeps trying, and how it waits between its tries.

What the API asked for in the way of quiet is kept by `transport`, for all calls alike.
"""

import random
import time

from .errors import DeadlineExceeded, NotAVideo, RateLimited, TransportError
from .transport import HttpTransport

# Tries without a byte of progress: about 12 s of waiting for reads, so that a server
# may restart under a reader, and well under a second for names, so that `ls` on a
# dead server is quick.
READ_TRIES = 8
METADATA_TRIES = 3
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 3.0
# However long the API asks for quiet, it is asked again after this: a wrong header
# must not end the mount. A guess.
_LONGEST_PAUSE_SECONDS = 120.0


class Patience:
    """How long one call keeps trying: until its deadline, or *tries* in vain.

    Used by one thread.
    """

    def __init__(
        self,
        transport: HttpTransport,
        *,
        seconds: float,
        tries: int,
        retry_after_seconds: float,
    ) -> None:
        self._transport = transport
        self._seconds = seconds
        self._tries = tries
        self._pause_left = retry_after_seconds
        self._failures = 0
        self.deadline = time.monotonic() + seconds

    def progressed(self) -> None:
        """Bytes arrived: what failed before does not count any more."""
        self._failures = 0
        self.deadline = time.monotonic() + self._seconds

    def failed(
        self, error: TransportError | NotAVideo, asked_seconds: float = 0.0
    ) -> None:
        """Wait before the next try; raise *error* if there is none left.

        The wait is *asked_seconds* where that is longer, unless it is too long for
        this call.
        """
        self._failures += 1
        if self._failures >= self._tries:
            raise error
        delay = min(
            _FIRST_DELAY_SECONDS * 2 ** (self._failures - 1), _LONGEST_DELAY_SECONDS
        )
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if delay < asked_seconds <= self._longest_pause():
            self._pause_left -= asked_seconds
            delay = asked_seconds
        self._sleep(delay, error)

    def limited(self, retry_after_seconds: float | None) -> None:
        """The server asked for a pause: quiet everybody, and wait if it is short."""
        self._failures += 1
        # Retry-After: 0 must not become a stream of requests without a pause.
        seconds = retry_after_seconds or _FIRST_DELAY_SECONDS * 2**self._failures
        self._transport.pause(min(seconds, _LONGEST_PAUSE_SECONDS))
        self.respect_pause()

    def respect_pause(self) -> None:
        """Wait while the endpoint wants to be left alone.

        Raises RateLimited where that is longer than this call may wait for it.
        """
        seconds = self._transport.paused_seconds()
        if seconds <= 0:
            return
        error = RateLimited(
            f"the API is rate-limiting; it asks for {seconds:.0f} s of quiet", seconds
        )
        too_long = seconds > self._longest_pause()
        if too_long or self._failures >= 2 * self._tries:
            raise error
        self._pause_left -= seconds
        self._sleep(seconds, error)

    def _longest_pause(self) -> float:
        return min(self._pause_left, self.deadline - time.monotonic())

    def _sleep(self, seconds: float, error: Exception) -> None:
        if time.monotonic() + seconds >= self.deadline:
            raise DeadlineExceeded(f"out of time; last: {error}") from error
        self._transport.wait(seconds)
