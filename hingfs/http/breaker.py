"""Whether the API answers, or counts as down.

Decides when calls fail without a request, so that a dead server costs seconds, and when
the API is asked again. Leaves to `patience` how often a call tries a server that
answers.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future

from ..errors import NoAnswer, NotAsked, TransportError, Unreachable

log = logging.getLogger(__name__)

# After so many failures in a row, calls about names fail at once, for twice the time that
# the last failure took, within these bounds. A failure is no connection, or no answer in
# time while the API answered nothing else. A hundred names on a dead server must cost
# seconds, also where it swallows packets or accepts connections and stays silent.
# Guesses.
FAILURES = 4
_LEAST_SECONDS = 2.0
_MOST_SECONDS = 10.0


class Breaker:
    """Opens when the API did not answer several times in a row.

    Silence about one video counts once, however often it repeats: one slow video is no
    dead server. Thread safety: all methods; none waits.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards every field
        # Failures in a row: attempts without a connection, and the videos about which
        # the API was silent.
        self._unreachable = 0
        self._silent_about: set[str] = set()
        self._answered_at = 0.0  # when the API last answered (monotonic)
        self._open_until = 0.0  # monotonic; 0 while it is closed
        # Thread that sends a request, or waits for its answer -> (video, when it began
        # (monotonic)).
        self._unanswered: dict[int, tuple[str, float]] = {}
        # Futures of `next_request_about` that are not done yet, with their videos.
        self._expected: dict[Future[None], str] = {}

    @property
    def seems_dead(self) -> bool:
        """Whether the API has not answered several times in a row: see `tries`."""
        with self._lock:
            return self._failures_locked() >= FAILURES

    def tries(self, most: int) -> int:
        """How many tries a call may have: *most*, or one while the API seems dead.

        Only one call at a time gets that try. Raises NotAsked for the others.
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
            self._open_until = now + _MOST_SECONDS  # unless that call ends before
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
            self._unreachable = 0
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
            if isinstance(error, Unreachable):
                self._unreachable += 1
            elif isinstance(error, NoAnswer):
                if len(self._silent_about) < FAILURES:
                    self._silent_about.add(about)
            else:
                return  # broken HTTP is an answer too: the server is there
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
