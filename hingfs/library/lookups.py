"""Which thread looks a name up, and how long its callers wait.

A name that hangs must delay no other. So the look-ups that programs wait for have their
own threads, apart from those of `ahead` and those for the list. Leaves to `catalog` what
is asked, and to `versions` what the answers mean.

A look-up that outlasts its callers goes on, and later callers join it. The kernel may
look up one name at a time in a directory; then a name that hangs would hold up all
others there, and `ls`. Its callers are sent away as soon as the server has been silent
about it for a while and answers others. While the server is away, no caller waits for
longer than a moment.
Threads: `hingfs-lookup-N` and `hingfs-list-N` of two `DaemonPool`s.
"""

import contextlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import AbstractContextManager
from typing import Any, Protocol, TypeVar

from ..errors import (
    DeadlineExceeded,
    GivenWay,
    HingError,
    TransportError,
    Unreachable,
    VideoNotReady,
)
from ..flights import Flight, SingleFlight
from ..workers import DaemonPool, all_joined

# More names than programs look up at once where all is well. So a thread is left for the
# next name, whatever the others do. Threads start when there is work.
LOOKUP_THREADS = 64
_LIST_THREADS = 3  # for a listing, what is read behind it, and the newest page

# How long the server may be silent about one name while others in its directory wait. A
# healthy server answers in a second; one that takes 20 to 60 s for each first byte would
# exceed any other bound as well. A guess.
SILENCE_SECONDS = 5.0
# When a caller looks again, if an answer that decides is on its way.
_LOOK_AGAIN_SECONDS = 0.2
# How long a caller waits for the one look-up, or list, that asks a server that is away:
# where a network swallows packets, a try takes all of --connect-timeout. A guess.
AWAY_SECONDS = 1.0
# How long a caller waits for a look-up that an earlier caller waited for in vain: in the
# meantime the kernel may look up no other name. A guess.
OUTLASTED_SECONDS = 1.0

Result = TypeVar("Result")
Job = Callable[[], Result]


class ServerActivity(Protocol):
    """When the server answers, and about what it is silent. A `Breaker` is one."""

    def silence_about(self, about: str) -> float:
        """Seconds since the oldest request about *about* that has no answer."""

    def answered_since(self, when: float) -> bool:
        """Whether the API has answered anything since *when* (monotonic)."""

    def next_request_about(self, about: str) -> AbstractContextManager[Future[None]]:
        """A future, which is done once a request about *about* has left."""

    @property
    def is_away(self) -> bool:
        """Whether no connection could be made on the last tries."""


class Lookups:
    """Jobs about names and lists, each run once for all its callers.

    *names* has the look-ups under way, those of `ahead` among them. Every job that
    decides which version of a video the server has must be a look-up of its name: two at
    once would make two contents of one version, and end one of them.
    *silence_seconds* is how long the server may be silent about a name, infinite where
    the kernel looks up names side by side. Thread safety: all methods.
    """

    def __init__(
        self,
        server: ServerActivity,
        silence_seconds: float,
        names: SingleFlight,
        outlasted_seconds: float = OUTLASTED_SECONDS,
    ) -> None:
        self._server = server
        self._silence_seconds = silence_seconds
        self._outlasted_seconds = outlasted_seconds
        self._names = names
        self._lists = SingleFlight()
        self._name_threads = DaemonPool("hingfs-lookup", LOOKUP_THREADS)
        self._list_threads = DaemonPool("hingfs-list", _LIST_THREADS)

    def result(self, video_id: str, deadline: float, job: Job[Result]) -> Result:
        """The result of *job*, which looks *video_id* up, or of one under way.

        Raises the job's error, DeadlineExceeded at *deadline* (monotonic seconds), and
        Unreachable after a moment if the server is away.
        """

        def waited() -> Result:
            flight = self._join_name(video_id, job)
            return self._await_result(flight, deadline)

        return _again_if_given_way(waited)

    def result_unless_silent(
        self,
        video_id: str,
        deadline: float,
        job: Job[Result],
        ask: Job[None],
        beside: Sequence[Job[None]] = (),
    ) -> Result:
        """As `result`, for a caller that holds up others: it need not wait till *deadline*.

        The wait ends early when the server is silent about *video_id* and answers other
        requests. A wait without a result raises VideoNotReady if the server answered
        anything meanwhile, else DeadlineExceeded. *ask* asks the server for something
        else, to see whether it answers. *beside* are called once a request about
        *video_id* has left, or the job has ended without one; they must not wait.
        """

        def waited() -> Result:
            flight = self._begin(video_id, deadline, job, beside)
            return self._await_unless_silent(flight, video_id, deadline, ask)

        return _again_if_given_way(waited)

    def listing(self, what: str, deadline: float, job: Job[Result]) -> Result:
        """As `result`, of a *job* that reads the list."""
        flight = self._lists.join(what, self._list_threads, job)
        self._wait_while_away(flight)
        return self._await_result(flight, deadline)

    def start(self, what: str, job: Job[object]) -> None:
        """Start *job*, which reads the list, unless it is under way; does not wait."""
        with contextlib.suppress(TransportError):  # no thread for it
            self._lists.begin(what, self._list_threads, job)

    def close(self, error: HingError) -> None:
        """Wake all callers that wait, with *error*."""
        for pool in (self._name_threads, self._list_threads):
            pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return all_joined((self._name_threads, self._list_threads), seconds)

    def _join_name(self, video_id: str, job: Job[Result]) -> Flight[Result]:
        flight = self._names.join(video_id, self._name_threads, job)
        self._wait_while_away(flight)
        return flight

    def _wait_while_away(self, flight: Flight[Result]) -> None:
        """Raise Unreachable unless *flight* ends, or the server is there, in a moment."""
        if not self._server.is_away:
            return
        wait([flight.future], AWAY_SECONDS)
        if not flight.future.done() and self._server.is_away:
            raise Unreachable("the server is away, and is being asked")

    def _await_result(self, flight: Flight[Result], deadline: float) -> Result:
        wait([flight.future], self._give_up_at(flight, deadline) - time.monotonic())
        if not flight.future.done():
            self._note_outlasted(flight)
            raise DeadlineExceeded("the server did not answer in time")
        return flight.outcome()

    def _begin(
        self,
        video_id: str,
        deadline: float,
        job: Job[Result],
        beside: Sequence[Job[None]],
    ) -> Flight[Result]:
        """The flight of *job*, or of one under way; calls *beside*."""
        if not beside:
            return self._join_name(video_id, job)
        with self._server.next_request_about(video_id) as sent:
            flight = self._join_name(video_id, job)
            seconds = self._give_up_at(flight, deadline) - time.monotonic()
            either: list[Future[Any]] = [flight.future, sent]
            wait(either, seconds, FIRST_COMPLETED)
        for other in beside:
            other()
        return flight

    def _await_unless_silent(
        self, flight: Flight[Result], video_id: str, deadline: float, ask: Job[None]
    ) -> Result:
        self._wait_while_heard(flight, video_id, deadline, ask)
        if flight.future.done():
            return flight.outcome()
        self._note_outlasted(flight)
        if self._server.answered_since(flight.started_at):
            raise VideoNotReady(
                "the server answers others and has not begun to send it; it is waited for"
            )
        raise DeadlineExceeded("the server did not answer in time")

    def _wait_while_heard(
        self, flight: Flight[Result], video_id: str, deadline: float, ask: Job[None]
    ) -> None:
        """Return when *flight* is done, or its caller should wait no longer.

        A caller whose time is half over, and that heard nothing, has the server asked for
        something else: what the caller is told depends on whether that is answered.
        """
        most, until = self._silence_seconds, self._give_up_at(flight, deadline)
        half = (flight.started_at + until) / 2
        while not flight.future.done() and (left := until - time.monotonic()) > 0:
            now = time.monotonic()
            silence = self._server.silence_about(video_id)
            heard = self._server.answered_since(now - silence)
            if silence >= most and heard:
                return
            unheard = not self._server.answered_since(flight.started_at)
            if (now >= half and unheard) or (silence >= most / 2 and not heard):
                self.start("ask", ask)
            following = most / 2 if silence < most / 2 else most
            again = following - silence
            if unheard:
                again = min(again, half - now)
            wait([flight.future], min(left, max(again, _LOOK_AGAIN_SECONDS)))

    def _note_outlasted(self, flight: Flight[Result]) -> None:
        """A caller gave *flight* up: another thread may stand in for that of its job."""
        if flight.outlast():
            self._name_threads.lend(flight.future)

    def _give_up_at(self, flight: Flight[Result], deadline: float) -> float:
        """Until when a caller waits for *flight*, in monotonic seconds."""
        if flight.outlasted:
            return min(deadline, time.monotonic() + self._outlasted_seconds)
        return deadline


def _again_if_given_way(wait: Job[Result]) -> Result:
    """The result of *wait*, which waits once more if the look-up gave way.

    A caller may have joined a look-up ahead. That gives way to other requests, since no
    caller waited for it when it began.
    """
    try:
        return wait()
    except GivenWay:
        return wait()
