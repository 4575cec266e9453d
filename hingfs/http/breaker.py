"""Whether the API answers: what has no answer yet, and when it counts as down.

Decides when calls fail without asking, so that a dead server costs seconds, and how
soon it is asked again. Leaves to `patience` how often a server that answers is tried.

Thread safety: all methods; none waits.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator

from ..errors import NoAnswer, NotAsked, TransportError, Unreachable

log = logging.getLogger(__name__)

# Failures in a row (no connection, or no answer in time, while nothing else was
# answered) after which names fail at once, and for how long: twice what the last one
# took, within these bounds. A hundred names on a dead server must cost seconds, also
# where it swallows packets or takes connections and stays silent. Guesses.
FAILURES = 4
_LEAST_SECONDS = 2.0
_MOST_SECONDS = 10.0


class Breaker:
    """Opens when the API did not answer several times in a row. See the module docstring.

    Silence about one video counts once, however often it is met: one slow video is no
    dead server.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards every field
        # In a row: how often there was no connection, and what the API was asked about
        # when it was silent.
        self._unreachable = 0
        self._silent_about: set[str] = set()
        self._answered_at = 0.0  # when the API last answered (monotonic)
        self._open_until = 0.0  # monotonic; 0 while it is closed
        # Requests without an answer yet: what each is about, and since when (monotonic).
        self._unanswered: dict[object, tuple[str, float]] = {}

    @property
    def seems_dead(self) -> bool:
        """Whether the API has not answered several times in a row: see `tries`."""
        with self._lock:
            return self._failures_locked() >= FAILURES

    def tries(self, most: int) -> int:
        """How many tries a call may have: *most*, or one while the API seems dead.

        That one is given to one call at a time. Raises NotAsked for the others.
        """
        with self._lock:
            failures = self._failures_locked()
            if failures < FAILURES:
                return most
            now = time.monotonic()
            if now < self._open_until:
                raise NotAsked(
                    f"the server did not answer {failures} times in a row; "
                    f"asked again in {self._open_until - now:.0f} s"
                )
            self._open_until = now + _MOST_SECONDS  # or until that call ends
            return 1

    def silence_about(self, about: str) -> float:
        """Seconds for which the oldest request about *about* has had no answer.

        0 where none waits for one: pauses, and bodies on their way, are no silence.
        """
        with self._lock:
            starts = [at for what, at in self._unanswered.values() if what == about]
        return time.monotonic() - min(starts) if starts else 0.0

    def answered_since(self, when: float) -> bool:
        """Whether the API has answered anything since *when* (monotonic)."""
        with self._lock:
            return self._answered_at > when

    @contextlib.contextmanager
    def unanswered(self, about: str, started: float) -> Iterator[None]:
        """Meanwhile a request about *about*, sent at *started*, has no answer."""
        request = object()
        with self._lock:
            self._unanswered[request] = about, started
        try:
            yield
        finally:
            with self._lock:
                del self._unanswered[request]

    def answered(self) -> None:
        """The API answered: it is not down."""
        with self._lock:
            was_open = self._open_until > 0.0
            self._unreachable = 0
            self._silent_about.clear()
            self._open_until = 0.0
            self._answered_at = time.monotonic()
        if was_open:
            log.info("the server answers again")

    def failed(self, error: TransportError, about: str, started: float) -> None:
        """The API did not answer a request about *about*, sent at *started*."""
        now = time.monotonic()
        with self._lock:
            if self._answered_at > started:
                return  # it answers others
            if isinstance(error, Unreachable):
                self._unreachable += 1
            elif isinstance(error, NoAnswer):
                if len(self._silent_about) < FAILURES:
                    self._silent_about.add(about)
            else:
                return  # an answer that breaks HTTP is an answer: the server is there
            failures = self._failures_locked()
            if failures < FAILURES:
                return
            opens = self._open_until == 0.0
            cost = max(_LEAST_SECONDS, 2 * (now - started))
            self._open_until = now + min(cost, _MOST_SECONDS)
        if opens:
            log.warning(
                "the server did not answer %d times in a row (%s): until it does, it is "
                "asked every few seconds only, and other calls fail at once",
                failures,
                error,
            )

    def _failures_locked(self) -> int:
        return self._unreachable + len(self._silent_about)
