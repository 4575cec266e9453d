"""Which thread asks for a name, and how long its callers wait.

A name that hangs must delay nobody else. So names that programs ask for have threads of
their own, beside those of `ahead` and those for the list; and what gave way to others is
asked for again if somebody had come to wait for it.
Leaves to `catalog` what is asked, and to `versions` what becomes of the answers.

A job that outlasts its callers goes on, and who comes again joins it: they are told
VideoNotReady if the server answered anything meanwhile, DeadlineExceeded if not. Where
the kernel looks up one name at a time in a directory, a name that hangs would hold up
all others there, and `ls`; so its callers are sent away as soon as the server has been
silent about it for a while and answers others.

Threads: pools of daemons, `hingfs-name` and `hingfs-list`. Any thread may call any method.
"""

import contextlib
import time
from collections.abc import Callable
from concurrent.futures import wait
from functools import partial
from typing import Protocol, TypeVar

from ..errors import (
    DeadlineExceeded,
    GivenWay,
    HingError,
    TransportError,
    VideoNotReady,
)
from ..flights import Flight, SingleFlight
from ..workers import DaemonPool, all_joined

# More than programs ask for at once where all is well, so that one is left for the next
# name whatever the others do. They are started when there is work.
LOOKUP_THREADS = 64
_LIST_THREADS = 2  # the list, and the look at its newest part: each once at a time

# How long the server may be silent about one name while others in its directory wait. A
# server that is well answers in a second; one that takes longer for each first byte,
# some 20 to 60 s, takes too long for this bound as for any other. A guess.
SILENCE_SECONDS = 5.0
# The evidence is on its way: look again soon.
_LOOK_AGAIN_SECONDS = 0.2
# Whoever asks for what another has waited for in vain waits for this long: in the
# meantime the kernel may ask for no other name. A guess.
_OUTLASTED_SECONDS = 1.0

Result = TypeVar("Result")
Job = Callable[[], Result]


class Ear(Protocol):
    """What the server is heard to say, and about what not. A `Breaker` is one."""

    def silence_about(self, about: str) -> float:
        """Seconds for which the oldest request about *about* has had no answer."""

    def answered_since(self, when: float) -> bool:
        """Whether the API has answered anything since *when* (monotonic)."""


class Lookups:
    """Jobs about names and lists, each run once for all who want it at the same time.

    *names* has the look-ups that are under way, those of `ahead` among them. Whatever
    decides which version the server has of a video is a look-up of its name: two at once
    would make two contents of one version, and end one of them.
    *ear* tells what the server says; *silence_seconds* is the bound above, infinite
    where the kernel looks up names side by side. Thread safety: all methods.
    """

    def __init__(self, ear: Ear, silence_seconds: float, names: SingleFlight) -> None:
        self._ear = ear
        self._silence_seconds = silence_seconds
        self._names = names
        self._lists = SingleFlight()
        self._name_threads = DaemonPool("hingfs-name", LOOKUP_THREADS)
        self._list_threads = DaemonPool("hingfs-list", _LIST_THREADS)

    def result(self, video_id: str, deadline: float, job: Job[Result]) -> Result:
        """What *job*, which is about *video_id*, gives; shared if one is under way.

        Raises what it raises, and DeadlineExceeded at *deadline* (monotonic seconds).
        """

        def waited() -> Result:
            flight = self._names.join(video_id, self._name_threads, job)
            return self._waited(flight, deadline)

        return _wanted(waited)

    def answer(
        self, video_id: str, deadline: float, job: Job[Result], ask: Job[None]
    ) -> Result:
        """As `result`, for callers that hold up others: VideoNotReady if it hangs.

        *ask* asks the server for something else; its answer shows that it is there.
        """
        return _wanted(partial(self._answer, video_id, deadline, job, ask))

    def listing(self, what: str, deadline: float, job: Job[Result]) -> Result:
        """As `result`, of a *job* that is about the list."""
        flight = self._lists.join(what, self._list_threads, job)
        return self._waited(flight, deadline)

    def start(self, what: str, job: Job[object]) -> None:
        """Have *job*, which is about the list, done unless it is; nobody waits for it."""
        with contextlib.suppress(TransportError):  # no thread for it
            self._lists.begin(what, self._list_threads, job)

    def close(self, error: HingError) -> None:
        """Wake everybody who waits, with *error*."""
        for pool in (self._name_threads, self._list_threads):
            pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return all_joined((self._name_threads, self._list_threads), seconds)

    def _waited(self, flight: Flight[Result], deadline: float) -> Result:
        wait([flight.future], _patience(flight, deadline) - time.monotonic())
        if not flight.future.done():
            self._outlast(flight)
            raise DeadlineExceeded("the server did not answer in time")
        return flight.outcome()

    def _answer(
        self, video_id: str, deadline: float, job: Job[Result], ask: Job[None]
    ) -> Result:
        flight = self._names.join(video_id, self._name_threads, job)
        self._await(flight, video_id, deadline, ask)
        if flight.future.done():
            return flight.outcome()
        self._outlast(flight)
        if self._ear.answered_since(flight.started_at):
            raise VideoNotReady(
                "the server answers others and has not begun to send it; it is waited for"
            )
        raise DeadlineExceeded("the server did not answer in time")

    def _await(
        self, flight: Flight[Result], video_id: str, deadline: float, ask: Job[None]
    ) -> None:
        """Return when *flight* is done, or nobody should wait for it any longer."""
        most, until = self._silence_seconds, _patience(flight, deadline)
        while not flight.future.done() and (left := until - time.monotonic()) > 0:
            silence = self._ear.silence_about(video_id)
            heard = self._ear.answered_since(time.monotonic() - silence)
            if silence >= most and heard:
                return
            if silence >= most / 2 and not heard:
                self.start("ask", ask)
            following = most / 2 if silence < most / 2 else most
            again = max(following - silence, _LOOK_AGAIN_SECONDS)
            wait([flight.future], min(left, again))

    def _outlast(self, flight: Flight[Result]) -> None:
        """A caller of *flight* has gone; its thread is not missed by others."""
        if flight.outlast():
            self._name_threads.lend(flight.future)


def _patience(flight: Flight[Result], deadline: float) -> float:
    """Until when a caller waits for *flight*, in monotonic seconds."""
    if flight.outlasted:
        return min(deadline, time.monotonic() + _OUTLASTED_SECONDS)
    return deadline


def _wanted(wait: Job[Result]) -> Result:
    """What *wait* gives to a caller, who may have joined what was asked ahead of it.

    Where that gave way, for nobody waited for it when it began, it is asked once more.
    """
    try:
        return wait()
    except GivenWay:
        return wait()
