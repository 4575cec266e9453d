"""When the API may be asked again, for all who ask: pauses, and turns.

An API that has asked for a pause counts requests. Whoever waits for the end of the
pause must not be refused together with all others then, so requests take turns from
there on: the next one leaves when the one before it has its answer. Decides how long
"from there on" is, and how long a pause is that named no time. Leaves to `pauses` what
an answer asks for, and to `patience` how long a call may wait.

Thread safety: all methods; `_changed` guards every field, and is let go of while
anybody waits.
"""

import logging
import threading
import time
from types import TracebackType

from ..errors import DeadlineExceeded, GivenWay, HingError, RateLimited

log = logging.getLogger(__name__)

# However long the API asks for quiet, it is asked again after this: a wrong header
# must not end the mount. A guess.
LONGEST_PAUSE_SECONDS = 120.0
# Pauses that name no time, one after the other: doubled from the first to the last of
# these. rclone found that 1 s is too little for "1000 calls a minute" without a
# Retry-After, and 5 s enough.
_FIRST_PAUSE_SECONDS = 0.4
_LONGEST_UNNAMED_SECONDS = 5.0
# The longest of those that one call meets in place of content. A guess.
_LONGEST_AGAIN_SECONDS = 8.0
# Requests are counted per minute, or per three minutes (the default of one-hub).
_REMEMBERED_SECONDS = 300.0
# An answer that takes longer holds nobody up. A guess.
_LONGEST_TURN_SECONDS = 1.0


def pause_after(number: int) -> float | None:
    """The pause that a call keeps which met *number* such answers before, without a time.

    They came as a 200 in place of content, which counts as an answer: so `pause` does
    not see that they follow each other. None for the first: it is as any.
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
    """When the API may be asked again. See the module docstring."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._paused_until = 0.0  # monotonic, as all below
        self._known_until = 0.0
        self._unnamed = 0  # pauses in a row that named no time
        self._turn = 0
        self._turn_until = 0.0
        self._closing: HingError | None = None

    @property
    def known(self) -> bool:
        """Whether the API asked for a pause lately: requests are few, and count.

        Read without the lock, a hint.
        """
        return time.monotonic() < self._known_until

    def pause(self, seconds: float | None) -> None:
        """The API wants to be left alone for *seconds*; None: it named no time.

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
            self._known_until = self._paused_until + _REMEMBERED_SECONDS
        if news:
            log.warning(
                "the API asked for a pause of %.1f s: a name that cannot wait so long is "
                "not ready meanwhile; requests are few and large, and take turns, until "
                "it has asked for none for %.0f s",
                seconds,
                _REMEMBERED_SECONDS,
            )

    def answered(self) -> None:
        """The API answered a request, and asked for no pause."""
        if self._unnamed:
            with self._changed:
                self._unnamed = 0

    def take_turn(
        self, pause_seconds: float, deadline: float, *, gives_way: bool = False
    ) -> Turn:
        """Wait until a request may leave; use the result in a `with` block.

        Raises RateLimited at once where a pause is longer than *pause_seconds* or ends
        behind *deadline* (monotonic), DeadlineExceeded where others took too long, and
        what `close` was told. One that *gives_way* takes no turn from others: GivenWay.
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
                self._turn_until = time.monotonic() + _LONGEST_TURN_SECONDS
            return Turn(self, self._turn)

    def end_turn(self, number: int) -> None:
        """The request that had turn *number* has its answer, or failed."""
        with self._changed:
            if number == self._turn:
                self._turn_until = 0.0
                self._changed.notify_all()

    def close(self, error: HingError) -> None:
        """Wake whoever waits, with *error*."""
        with self._changed:
            self._closing = error
            self._changed.notify_all()

    def _allowed_at_locked(self, latest: float) -> float:
        """When the next request may leave, as it looks now."""
        if self._closing is not None:
            raise self._closing.again()
        seconds = self._paused_until - time.monotonic()
        if seconds > 0 and self._paused_until > latest:
            raise RateLimited(
                f"the API is rate-limiting; it is asked again in {seconds:.0f} s",
                seconds,
            )
        return max(self._paused_until, self._turn_until)
