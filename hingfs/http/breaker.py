"""Whether the API answers, is away, or is silent.

Decides when calls fail without a request, so that a dead server costs seconds, and when
the API is asked again. Leaves to `patience` how often a call tries a server that
answers, and how long a read tries one that is away.

Only the API's own host counts, by whichever of its addresses or through whichever proxy:
`transport` tells nothing of storage hosts.
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Self

from ..errors import Dropped, NoAnswer, NotAsked, TransportError, Unreachable

log = logging.getLogger(__name__)

# The API is away after so many tries in a row without a connection. One may be an
# accident; tries that were under way at the same time met the same one, and count once.
AWAY_TRIES = 2
# It seems dead after so many failures of any kind: no connection, one that was dropped
# before an answer, or no answer in time while the API answered nothing else. A hundred
# names must cost seconds where it accepts connections and stays silent, too. A guess.
FAILURES = 4
# Meanwhile one call in so many seconds asks, and the others fail at once. A person who
# plugs the network in again waits no longer. A guess.
PROBE_SECONDS = 5.0
# Why nothing is asked where the user wants it so.
OFFLINE = "--offline was given: no request is sent"


class Breaker:
    """Opens when the API is away, or did not answer several times in a row.

    Any answer closes it. Silence about one video counts once, however often it repeats:
    one slow video is no dead server. Thread safety: all methods; none waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards every field
        # Failures in a row: tries without a connection, connections that were dropped,
        # and the videos about which the API was silent.
        self._unconnected = 0
        self._dropped = 0
        self._silent_about: set[str] = set()
        # When the first and the last try without a connection began and ended (monotonic).
        self._unconnected_since = 0.0
        self._unconnected_at = 0.0
        self._answered_at = 0.0  # when the API last answered (monotonic)
        self._open_until = 0.0  # monotonic; 0 while it is closed
        # Thread that sends a request, or waits for its answer -> (video, when it began
        # (monotonic)).
        self._unanswered: dict[int, tuple[str, float]] = {}
        # Futures of `next_request_about` that are not done yet, with their videos.
        self._expected: dict[Future[None], str] = {}

    @classmethod
    def shut(cls) -> Self:
        """One that is open for ever, as --offline wants it: the API counts as away."""
        breaker = cls()
        breaker._unconnected, breaker._unconnected_since = AWAY_TRIES, -math.inf
        breaker._open_until = math.inf
        return breaker

    @property
    def seems_dead(self) -> bool:
        """Whether the API is away, or has not answered several times: see `tries`."""
        with self._lock:
            return self._is_open_locked()

    @property
    def is_away(self) -> bool:
        """Whether no connection could be made on the last tries."""
        with self._lock:
            return self._unconnected >= AWAY_TRIES

    @property
    def away_seconds(self) -> float:
        """How long ago the first of the tries without a connection began; 0 if not away."""
        with self._lock:
            if self._unconnected < AWAY_TRIES:
                return 0.0
            return time.monotonic() - self._unconnected_since

    def tries(self, most: int) -> int:
        """How many tries a call may have: *most*, or one while the API seems dead.

        Only one call at a time gets that try. Raises NotAsked for the others.
        """
        with self._lock:
            if not self._is_open_locked():
                return most
            now = time.monotonic()
            if self._open_until == math.inf:
                raise NotAsked(OFFLINE)
            if now < self._open_until:
                raise NotAsked(
                    f"{self._trouble_locked()}; asked again in "
                    f"{self._open_until - now:.0f} s"
                )
            self._open_until = now + PROBE_SECONDS
            return 1

    def silence_about(self, about: str) -> float:
        """How many seconds the oldest request about *about* has waited for its answer.

        0 where none waits: pauses and bodies on their way are no silence.
        """
        with self._lock:
            starts = [
                sent_at
                for video, sent_at in self._unanswered.values()
                if video == about
            ]
        return time.monotonic() - min(starts) if starts else 0.0

    def answered_since(self, when: float) -> bool:
        """Whether the API has answered anything since *when* (monotonic)."""
        with self._lock:
            return self._answered_at > when

    @contextlib.contextmanager
    def next_request_about(self, about: str) -> Iterator[Future[None]]:
        """A future, which is done once a request about *about* has left.

        It is done at once if one waits for its answer already.
        """
        left: Future[None] = Future()
        with self._lock:
            under_way = any(video == about for video, _ in self._unanswered.values())
            if not under_way:
                self._expected[left] = about
        if under_way:
            left.set_result(None)
        try:
            yield left
        finally:
            with self._lock:
                self._expected.pop(left, None)

    @contextlib.contextmanager
    def unanswered(self, about: str, started: float) -> Iterator[None]:
        """Count a request about *about* of this thread as unanswered meanwhile.

        *started* is when it began to be sent.
        """
        sender = threading.get_ident()
        with self._lock:
            self._unanswered[sender] = about, started
        try:
            yield
        finally:
            with self._lock:
                del self._unanswered[sender]

    def sent(self) -> None:
        """The request of this thread has left."""
        with self._lock:
            about, _ = self._unanswered.get(threading.get_ident(), ("", 0.0))
            expected = [
                left for left, video in self._expected.items() if video == about
            ]
            for left in expected:
                del self._expected[left]
        for left in expected:
            left.set_result(None)

    def answered(self) -> None:
        """Close the breaker: the API answered."""
        with self._lock:
            was_open = self._open_until > 0.0
            self._unconnected = self._dropped = 0
            self._silent_about.clear()
            self._open_until = 0.0
            self._answered_at = time.monotonic()
        if was_open:
            log.info("the server answers again")

    def failed(self, error: TransportError, about: str, started: float) -> None:
        """Count a failed request about *about*, sent at *started*; perhaps open."""
        now = time.monotonic()
        with self._lock:
            if self._answered_at > started:
                return  # the API answers other requests
            if isinstance(error, Dropped):
                self._dropped += 1
            elif isinstance(error, Unreachable):
                self._count_unconnected_locked(started, now)
            elif isinstance(error, NoAnswer):
                if len(self._silent_about) < FAILURES:
                    self._silent_about.add(about)
            else:
                return  # broken HTTP is an answer too: the server is there
            if not self._is_open_locked():
                return
            opens = self._open_until == 0.0
            self._open_until = now + PROBE_SECONDS
            trouble = self._trouble_locked()
        if opens:
            log.warning(
                "%s (%s): until it answers, it is asked every %.0f s at most, what is "
                "known is shown as it is known, and other calls fail at once",
                trouble,
                error,
                PROBE_SECONDS,
            )

    def _count_unconnected_locked(self, started: float, now: float) -> None:
        if not self._unconnected:
            self._unconnected_since = started
        elif started < self._unconnected_at:
            return  # it was under way when another one failed
        self._unconnected += 1
        self._unconnected_at = now

    def _is_open_locked(self) -> bool:
        return self._unconnected >= AWAY_TRIES or self._failures_locked() >= FAILURES

    def _trouble_locked(self) -> str:
        if self._unconnected >= AWAY_TRIES:
            return "the server is away"
        return f"the server did not answer {self._failures_locked()} times in a row"

    def _failures_locked(self) -> int:
        return self._unconnected + self._dropped + len(self._silent_about)
