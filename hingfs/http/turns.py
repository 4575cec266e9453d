"""When the API may be asked again, for all callers: pauses, and turns.

No bound on requests at once: that is `fetch.schedule`. An API that asks for a pause
counts requests. If all callers asked when the pause ends, the API would refuse them
together. So they take turns: a request leaves when the one before has its answer.
Decides how long turns last after a pause, and how long a pause is that names no time.
Leaves to `pauses` whether an answer asks for a pause, and to `patience` how long a call
may wait.
"""

import logging
import threading
import time
from types import TracebackType

from ..errors import DeadlineExceeded, GivenWay, HingError, RateLimited

log = logging.getLogger(__name__)

# The longest pause that is kept, whatever the API asks for: a wrong header must not end
# the mount. A guess.
LONGEST_PAUSE_SECONDS = 120.0
# Pauses in a row that name no time double from the first figure to the second. rclone
# found that 1 s is too little for "1000 calls a minute" without a Retry-After, and 5 s
# enough.
_FIRST_PAUSE_SECONDS = 0.4
_LONGEST_UNNAMED_SECONDS = 5.0
# The longest such pause of one call that gets it instead of content. A guess.
_LONGEST_AGAIN_SECONDS = 8.0
# APIs count requests per minute, or per three minutes (the default of one-hub).
_REMEMBERED_SECONDS = 300.0
# A turn ends after this, even without its answer. A guess.
_LONGEST_TURN_SECONDS = 1.0


def pause_after(number: int) -> float | None:
    """The pause of a call that got *number* requests for a pause before this one.

    They came as a 200 instead of content and named no time. `pause` cannot see that
    they follow each other, since a 200 counts as an answer. None for the first one:
    `pause` chooses.
    """
    return min(2.0 ** (number - 1), _LONGEST_AGAIN_SECONDS) if number else None


class Turn:
    """One request's turn, over at the end of its `with` block."""

    def __init__(self, limit: "RequestLimit", number: int) -> None:
        self._limit = limit
        self._number = number

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self._limit.end_turn(self._number)


class RequestLimit:
    """When the API may be asked again. See the module docstring.

    Thread safety: all methods.
    """

    def __init__(
        self,
        remembered_seconds: float = _REMEMBERED_SECONDS,
        longest_turn_seconds: float = _LONGEST_TURN_SECONDS,
    ) -> None:
        self._remembered_seconds = remembered_seconds
        self._longest_turn_seconds = longest_turn_seconds
        # Guards every field below; notified when a turn ends, and at the close. A
        # waiting thread does not hold it.
        self._changed = threading.Condition()
        self._paused_until = 0.0  # monotonic, as all times below
        self._known_until = 0.0  # until then requests take turns
        self._unnamed = 0  # pauses in a row that named no time
        self._turn = 0  # the number of the last turn
        self._turn_until = 0.0  # until then no other turn begins
        self._closing: HingError | None = None

    @property
    def known(self) -> bool:
        """Whether the API asked for a pause lately: then requests are few, and count.

        A hint: read without the lock.
        """
        return time.monotonic() < self._known_until

    def pause(self, seconds: float | None) -> None:
        """Ask the API nothing for *seconds*, as it wants; None: it named no time.

        A shorter pause never ends a longer one.
        """
        now = time.monotonic()
        with self._changed:
            news = now >= self._known_until
            if not seconds:  # 0 must not become a stream of requests
                doubled = _FIRST_PAUSE_SECONDS * 2 ** min(self._unnamed, 10)
                seconds = min(doubled, _LONGEST_UNNAMED_SECONDS)
                if now >= self._paused_until:
                    self._unnamed += 1
            until = now + min(seconds, LONGEST_PAUSE_SECONDS)
            self._paused_until = max(self._paused_until, until)
            self._known_until = self._paused_until + self._remembered_seconds
        if news:
            log.warning(
                "the API asked for a pause of %.1f s: a name that cannot wait so long is "
                "not ready meanwhile; requests are few and large, and take turns, until "
                "it has asked for none for %.0f s",
                seconds,
                self._remembered_seconds,
            )

    def answered(self) -> None:
        """Note that the API answered a request, and asked for no pause."""
        if self._unnamed:
            with self._changed:
                self._unnamed = 0

    def take_turn(
        self, pause_seconds: float, deadline: float, *, gives_way: bool = False
    ) -> Turn:
        """Wait until a request may leave; use the result in a `with` block.

        Raises RateLimited at once where a pause is longer than *pause_seconds* or ends
        behind *deadline* (monotonic), DeadlineExceeded where other turns took too long,
        and the error that `close` was given. *gives_way*: raise GivenWay rather than
        take a turn that another call needs.
        """
        with self._changed:
            if gives_way and self.known:
                raise GivenWay("the API counts requests, and nobody waits for this one")
            latest = min(time.monotonic() + pause_seconds, deadline)
            while (wake_at := self._allowed_at_locked(latest)) > time.monotonic():
                if time.monotonic() >= deadline:
                    raise DeadlineExceeded("others were asking the API all the time")
                self._changed.wait(min(wake_at, deadline) - time.monotonic())
            self._turn += 1
            if self.known:
                self._turn_until = time.monotonic() + self._longest_turn_seconds
            return Turn(self, self._turn)

    def end_turn(self, number: int) -> None:
        """End turn *number*: its request has an answer, or failed."""
        with self._changed:
            if number == self._turn:
                self._turn_until = 0.0
                self._changed.notify_all()

    def close(self, error: HingError) -> None:
        """Wake every waiting thread with *error*."""
        with self._changed:
            self._closing = error
            self._changed.notify_all()

    def _allowed_at_locked(self, latest: float) -> float:
        """When the next request may leave, as things are now (monotonic)."""
        if self._closing is not None:
            raise self._closing.again()
        seconds = self._paused_until - time.monotonic()
        if seconds > 0 and self._paused_until > latest:
            raise RateLimited(
                f"the API is rate-limiting; it is asked again in {seconds:.0f} s",
                seconds,
            )
        return max(self._paused_until, self._turn_until)
