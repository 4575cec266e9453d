"""How long everything is tried: names, ranges and whole files.

A call about a name has `METADATA_TRIES` within --metadata-timeout; a range has
`READ_TRIES` in vain, within --read-timeout of its last progress; a whole file has
`WHOLE_TRIES` attempts in vain, each as patient as a range. Decides how a call waits
between its tries, and for how long the head of an answer. Leaves pauses that the API
asks for to `limits`, a server that is down to `breaker`, a body that trickles to `pace`,
connections that died to `sessions`, and replicas that know less to `api.replicas`.
"""

import math
import random
import time

from ..errors import DeadlineExceeded, NotAVideo, TransportError
from ..settings import EndpointConfig
from .limits import Turn
from .transport import HttpTransport

# Tries without a byte of progress: about 12 s of waiting for reads, so that a server
# may restart under a reader, and well under a second for names, so that `ls` on a
# dead server is quick.
READ_TRIES = 8
METADATA_TRIES = 3
# Attempts in a row that bring nothing new of a whole file before it is given up.
WHOLE_TRIES = 4
_FIRST_DELAY_SECONDS = 0.2
_LONGEST_DELAY_SECONDS = 3.0
# The head of an answer is waited for at most this part of a call's time, so that one
# attempt that gets no answer leaves time for another. A guess.
_HEAD_SHARE = 0.5


class Terms:
    """How long the calls of one endpoint keep trying. Thread safety: all methods."""

    def __init__(self, transport: HttpTransport, config: EndpointConfig) -> None:
        self._transport = transport
        self._config = config

    def tries(self) -> int:
        """How many tries a call about names has now; one while the API seems dead.

        Raises NotAsked where another call has that one.
        """
        return self._transport.breaker.tries(METADATA_TRIES)

    def of_name(
        self, about: str = "", tries: int = METADATA_TRIES, *, gives_way: bool = False
    ) -> "Patience":
        """That of a call about names: *tries* in vain, or --metadata-timeout."""
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
        """That of a question before mounting: *tries* in vain, or *seconds*."""
        return Patience(
            self._transport,
            self._config,
            about="",
            seconds=seconds,
            tries=tries,
            pause_seconds=self._config.retry_after_seconds,
        )

    def of_read(self, about: str) -> "Patience":
        """That of a read, which waits for a pause as long as for anything else."""
        return Patience(
            self._transport,
            self._config,
            about=about,
            seconds=self._config.read_seconds,
            tries=READ_TRIES,
            pause_seconds=math.inf,
        )


class Patience:
    """How long one call keeps trying: until its deadline, or *tries* in vain.

    *about* is the video that the call is for, "" where it is for none. Pauses that the
    API asks for use up no try, but at most *pause_seconds* in all. An answer has to begin
    within a part of the time, or *config*'s `stall_seconds`; where `wait_long` was called,
    within its `first_byte_seconds`, which goes beyond the deadline. A call that *gives_way*
    ends with GivenWay once the API counts requests. Used by one thread.
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
    ) -> None:
        self.about = about
        self._transport = transport
        self._seconds = seconds
        self._tries = tries
        self._pause_left = pause_seconds
        self._gives_way = gives_way
        self._failures = 0
        self._stall_seconds = config.stall_seconds
        self._first_byte_by = time.monotonic() + config.first_byte_seconds
        self._waits_long = False
        self.deadline = time.monotonic() + seconds

    @property
    def head_deadline(self) -> float:
        """When the next answer must have begun (monotonic)."""
        if self._waits_long:
            return max(self.deadline, self._first_byte_by)
        return self.prompt_deadline

    @property
    def prompt_deadline(self) -> float:
        """As `head_deadline`, where another way is left that costs nothing."""
        left = self.deadline - time.monotonic()
        return time.monotonic() + max(
            left * _HEAD_SHARE, min(left, self._stall_seconds)
        )

    def wait_long(self) -> None:
        """To ask again may cost the server the whole file: it may take its time."""
        self._waits_long = True

    def bear_silence(self) -> None:
        """A server that answers others was silent: the next answer may take its time.

        Once; a second silence ends the call as its deadline says.
        """
        if not self._waits_long:
            self._waits_long = True
            self.deadline = time.monotonic() + self._seconds

    def answered(self) -> None:
        """An answer began: what is left to do gets its time, however late it is."""
        if self._waits_long:
            self.deadline = time.monotonic() + self._seconds

    def progressed(self) -> None:
        """Bytes arrived: what failed before does not count any more."""
        self._failures = 0
        self.deadline = time.monotonic() + self._seconds

    def failed(
        self, error: TransportError | NotAVideo, asked_seconds: float = 0.0
    ) -> None:
        """Wait before the next try; raise *error* if there is none left.

        The wait is *asked_seconds* where that is longer, unless it is too long for
        this call.
        """
        self._failures += 1
        if self._failures >= self._tries:
            raise error
        delay = min(
            _FIRST_DELAY_SECONDS * 2 ** (self._failures - 1), _LONGEST_DELAY_SECONDS
        )
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        if delay < asked_seconds <= self._longest_pause():
            self._pause_left -= asked_seconds
            delay = asked_seconds
        self._sleep(delay, error)

    def limited(self, seconds: float | None) -> None:
        """The API asked for a pause of *seconds*, None if it named no time."""
        self._transport.limit.pause(seconds)

    def turn(self) -> Turn:
        """Wait until the API may be asked; the request belongs into its `with` block.

        Raises RateLimited where the API wants to be left alone for longer than this
        call may wait for that.
        """
        began = time.monotonic()
        turn = self._transport.limit.take_turn(
            self._pause_left, self.deadline, gives_way=self._gives_way
        )
        self._pause_left -= time.monotonic() - began
        return turn

    def _longest_pause(self) -> float:
        return min(self._pause_left, self.deadline - time.monotonic())

    def _sleep(self, seconds: float, error: Exception) -> None:
        if time.monotonic() + seconds >= self.deadline:
            raise DeadlineExceeded(f"out of time; last: {error}") from error
        self._transport.wait(seconds)
