"""The time at the API: Unix seconds by its own clock.

Servers name times (`expires_at`, dates in Retry-After) by their own clock. This
machine's clock may be hours off: after a suspend, in a virtual machine, without NTP.
Each answer of the API carries its Date (RFC 9110 §6.6.1); the last one is believed.
"""

import time
from email.utils import parsedate_to_datetime


class ServerClock:
    """The API's clock; until an answer has named a Date, this machine's.

    Thread safety: all methods. If two assignments to `_ahead` race, either is right.
    """

    def __init__(self) -> None:
        # The API's Unix time when the monotonic clock stood at 0. That clock does not
        # jump when somebody sets the time of this machine.
        self._ahead: float | None = None

    def learn(self, date: str | None) -> None:
        """Set the clock to *date*; ignore it if it is no HTTP date."""
        if not date or len(date) > 64:
            return
        try:
            seconds = parsedate_to_datetime(date).timestamp()
        except (ValueError, TypeError, OverflowError):
            return
        self._ahead = seconds - time.monotonic()

    def now(self) -> float:
        """Unix seconds, up to one behind: a Date has whole seconds."""
        if self._ahead is None:
            return time.time()
        return self._ahead + time.monotonic()
