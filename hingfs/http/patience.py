"""How long a call keeps trying: for names, ranges and whole files.

A call about a name has `METADATA_TRIES` within --metadata-timeout. A range, which a
read of a program waits for, has `READ_TRIES` without progress, within --read-timeout of
its last progress. A whole file has `WHOLE_TRIES` attempts without progress, each with
the terms of a range. Decides how long a call waits between tries, and for the head of
an answer. Leaves pauses that the API asks for to `turns`, how many requests it takes at
once to `slots`, a server that is down to `breaker`, a body that trickles to `pace`, dead
connections to `wire`, and replicas that know less to `api.replicas`.
"""

import math
import random
import time

from ..errors import (
    DeadlineExceeded,
    NotAsked,
    NotAVideo,
    TransportError,
    Unreachable,
)
from ..settings import EndpointConfig
from .slots import Slot
from .transport import HttpTransport
from .turns import Turn

# Tries without a byte of progress: about 12 s of waiting for reads, so that a server
# may restart under a reader, and well under a second for names, so that `ls` on a
# dead server is quick.
READ_TRIES = 8
METADATA_TRIES = 3
# A whole file is given up after so many attempts in a row that bring nothing new.
WHOLE_TRIES = 4
# A block, a read or a whole file that failed is not tried again for so long: after a
# failed read the kernel asks two or three times more, and each of those reads must not
# cost all the tries again.
FAILURE_MEMORY_SECONDS = 1.5
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 3.0
_JITTER = 0.2  # the part by which a delay is shorter or longer, drawn at random
# A read that begins when the API has been away for so long fails at once, but for one in
# `breaker.PROBE_SECONDS`: it is the least that a read tries a server that refuses
# connections, 0.2 + 0.4 + 0.8 + 1.6 s and three times 3.0 s less the jitter, so what
# follows a read that used its tries up has none. Reads that began before keep theirs, so
# a server may restart under them.
AWAY_TOO_LONG_SECONDS = 9.6
# The part of a call's time that one attempt may wait for the head of its answer: an
# attempt without an answer must leave time for another. A guess.
_HEAD_SHARE = 0.5


class Terms:
    """How long the calls of one endpoint keep trying. Thread safety: all methods."""

    def __init__(self, transport: HttpTransport, config: EndpointConfig) -> None:
        self._transport = transport
        self._config = config

    def tries(self) -> int:
        """How many tries a call about names has now; one while the API seems dead.

        Raises NotAsked while another call has that try.
        """
        return self._transport.breaker.tries(METADATA_TRIES)

    @property
    def seem_vain(self) -> bool:
        """Whether the API is away or silent: what nobody waits for is not asked now."""
        return self._transport.breaker.seems_dead

    def of_name(
        self, about: str = "", tries: int = METADATA_TRIES, *, gives_way: bool = False
    ) -> "Patience":
        """Terms of a call about names: *tries*, within --metadata-timeout."""
        return Patience(
            self._transport,
            self._config,
            about=about,
            seconds=self._config.metadata_seconds,
            tries=tries,
            pause_seconds=self._config.retry_after_seconds,
            gives_way=gives_way,
        )

    def of_check(self, seconds: float, tries: int) -> "Patience":
        """Terms of a request before mounting: *tries*, within *seconds*."""
        return Patience(
            self._transport,
            self._config,
            about="",
            seconds=seconds,
            tries=tries,
            pause_seconds=self._config.retry_after_seconds,
        )

    def of_read(self, about: str) -> "Patience":
        """Terms of a read: a pause may use all of its time.

        Raises NotAsked while the API is away for too long, and another call asks it.
        """
        breaker = self._transport.breaker
        probes = breaker.away_seconds >= AWAY_TOO_LONG_SECONDS
        if probes:
            breaker.tries(1)
        return Patience(
            self._transport,
            self._config,
            about=about,
            seconds=self._config.read_seconds,
            tries=READ_TRIES,
            pause_seconds=math.inf,
            probes=probes,
        )


class Patience:
    """How long one call keeps trying: until its deadline, or *tries* without progress.

    *about* is the video that the call is for, "" for none. Pauses that the API asks for
    cost no try; together they may last *pause_seconds*. An answer must begin within a
    part of the time left, or within *config*'s `stall_seconds` if that is longer. After
    `wait_long` it has *config*'s `first_byte_seconds`, beyond the deadline if need be. A
    call that *gives_way* ends with GivenWay once the API counts requests. One that
    *probes* an API that is away ends where it is still away, and has its tries once it
    is not. One thread uses it.
    """

    def __init__(
        self,
        transport: HttpTransport,
        config: EndpointConfig,
        *,
        about: str,
        seconds: float,
        tries: int,
        pause_seconds: float,
        gives_way: bool = False,
        probes: bool = False,
    ) -> None:
        self.about = about
        self._transport = transport
        self._seconds = seconds
        self._tries = tries
        self._pause_left = pause_seconds
        self._gives_way = gives_way
        self._probes = probes
        self.slot = Slot(transport.slots)  # held by a call that fetches content
        self._failures = 0
        self._stall_seconds = config.stall_seconds
        self.began_at = time.monotonic()
        self._first_byte_by = self.began_at + config.first_byte_seconds
        self._waits_long = False
        self.deadline = self.began_at + seconds

    @property
    def head_deadline(self) -> float:
        """When the next answer must have begun (monotonic)."""
        if self._waits_long:
            return max(self.deadline, self._first_byte_by)
        return self.prompt_deadline

    @property
    def prompt_deadline(self) -> float:
        """As `head_deadline`, for a request that another, cheap one can replace."""
        left = self.deadline - time.monotonic()
        return time.monotonic() + max(
            left * _HEAD_SHARE, min(left, self._stall_seconds)
        )

    def wait_long(self) -> None:
        """Allow late answers: to ask again may cost the server the whole file."""
        self._waits_long = True

    def bear_silence(self) -> None:
        """Allow a late answer, and start the time again, after the server was silent.

        For a server that answers other requests. Works once: a second silence ends the
        call by its deadline.
        """
        if not self._waits_long:
            self._waits_long = True
            self.deadline = time.monotonic() + self._seconds

    def answered(self) -> None:
        """Start the time again where a late answer was allowed and has begun."""
        self._probes = False
        if self._waits_long:
            self.deadline = time.monotonic() + self._seconds

    def progressed(self) -> None:
        """Forget earlier failures, and start the time again: bytes arrived."""
        self._failures = 0
        self.deadline = time.monotonic() + self._seconds

    def failed(
        self, error: TransportError | NotAVideo, asked_seconds: float = 0.0
    ) -> None:
        """Wait before the next try; raise *error* if none is left.

        Waits *asked_seconds* if that is longer, and not too long for this call. Raises
        DeadlineExceeded where the wait would reach the deadline.
        """
        self._failures += 1
        still_away = self._probes and isinstance(error, Unreachable)
        if self._failures >= self._tries or still_away or isinstance(error, NotAsked):
            raise error
        delay = min(
            _FIRST_DELAY_SECONDS * 2 ** (self._failures - 1), _LONGEST_DELAY_SECONDS
        )
        delay *= random.uniform(1 - _JITTER, 1 + _JITTER)  # noqa: S311 - no secret
        if delay < asked_seconds <= self._longest_pause():
            self._pause_left -= asked_seconds
            delay = asked_seconds
        self._sleep(delay, error)

    def crowded(self) -> bool:
        """Whether the request was refused since others run; if so, one has ended now.

        It costs no try. Raises DeadlineExceeded where none ends in time.
        """
        return self.slot.refused(self.deadline)

    def limited(self, seconds: float | None) -> None:
        """Make all calls pause: the API asked for *seconds*, None without a time."""
        self._transport.limit.pause(seconds)

    def turn(self) -> Turn:
        """Wait until the API may be asked; send the request in the `with` block.

        Raises RateLimited where the API's pause is longer than this call may wait.
        """
        began = time.monotonic()
        turn = self._transport.limit.take_turn(
            self._pause_left, self.deadline, gives_way=self._gives_way
        )
        self._pause_left -= time.monotonic() - began
        return turn

    def _longest_pause(self) -> float:
        """The longest pause that this call can still keep, in seconds."""
        return min(self._pause_left, self.deadline - time.monotonic())

    def _sleep(self, seconds: float, error: Exception) -> None:
        if time.monotonic() + seconds >= self.deadline:
            raise DeadlineExceeded(f"out of time; last: {error}") from error
        held = self.slot.release()
        self._transport.wait(seconds)
        if held:
            self.slot.take(self.deadline)
