"""What time it is at the API: Unix seconds by its own clock.

Servers name times (`expires_at`, dates in Retry-After) by their clock, and the one of
this machine may be hours off: after a suspend, in a virtual machine, without NTP.
Each answer of the API carries its Date (RFC 9110 §6.6.1); the last one is believed.
"""

import time
from email.utils import parsedate_to_datetime


class ServerClock:
    """The API's clock; this machine's until an answer has told.

    Thread safety: all methods. `_ahead` is one assignment, and any of two that race is
    right.
    """

    def __init__(self) -> None:
        # What the API's Unix time was when the monotonic clock stood at 0. That clock
        # does not jump when somebody sets the time of this machine.
        self._ahead: float | None = None

    def learn(self, date: str | None) -> None:
        """Take over *date*, an HTTP date; what is none of those changes nothing."""
        if not date or len(date) > 64:
            return
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        self._ahead = seconds - time.monotonic()

    def now(self) -> float:
        """Unix seconds, up to a second behind: a Date has whole ones."""
        if self._ahead is None:
            return time.time()
        return self._ahead + time.monotonic()
