"""How many requests for content the server takes at once, learnt from its refusals.

Servers refuse the request that is one too many, by 429, 503 or a reset, and name no time:
it may pass when another one ends. Decides how many may be under way, when a refused one
is sent again, and when one more is tried. A request that is refused alone met no such
limit: that is a pause or an outage. Leaves both to `patience`, how many requests pay to
`fetch.concurrency`, and which transfers run to `fetch.schedule`.

Threads: none of its own. `Slots` is for any thread, each `Slot` for one.
"""

import logging
import threading
import time
from collections.abc import Callable

from ..errors import DeadlineExceeded, HingError

log = logging.getLogger(__name__)

# One more is tried after so many answers that ended while all slots were in use, and the
# next after half as many. The number doubles up to the second where the same limit is met
# again, which costs one refusal each time: 64 answers are some 500 MB. Guesses.
_FIRST_ANSWERS = 8
_MOST_ANSWERS = 64


class Slots:
    """The slots of one endpoint. Thread safety: all methods."""

    def __init__(self, most: int) -> None:
        self._most = max(1, most)
        self._learn: Callable[[int | None], None] = lambda _at_once: None  # set once
        # Guards every field below, and those of each slot; notified when a slot comes
        # free. A waiting thread does not hold it.
        self._changed = threading.Condition()
        self._held: set[Slot] = set()
        self._at_once = self._most
        self._met_at = self._most  # where a request was last refused
        self._answers = _FIRST_ANSWERS  # that end before one more is tried
        self._steps = 0  # up, since a request was last refused
        self._answers_left = _FIRST_ANSWERS
        self._down = False  # a request alone was refused, and none was served since
        self._closing: HingError | None = None

    @property
    def at_once(self) -> int:
        """How many requests the server takes at once; read without the lock, so a hint."""
        return self._at_once

    def recall(self, at_once: int | None, learn: Callable[[int | None], None]) -> None:
        """An earlier mount learnt *at_once*; *learn* is told what this one learns.

        That is None where the server takes all that it is asked. Called before all others.
        """
        if at_once is not None:
            self._at_once = self._met_at = max(1, min(at_once, self._most))
        self._learn = learn

    def close(self, error: HingError) -> None:
        """Wake every waiting thread with *error*."""
        with self._changed:
            self._closing = error
            self._changed.notify_all()

    def take(self, slot: "Slot", deadline: float) -> None:
        """As `Slot.take`."""
        with self._changed:
            while slot not in self._held:
                if self._closing is not None:
                    raise self._closing.again()
                if len(self._held) < self._at_once:
                    self._held.add(slot)
                    slot.most_served = self._served_locked()
                    return
                seconds = deadline - time.monotonic()
                if seconds <= 0:
                    raise DeadlineExceeded("the server was busy with other requests")
                self._changed.wait(seconds)

    def served(self, slot: "Slot") -> None:
        """As `Slot.served`."""
        with self._changed:
            slot.is_served = True
            served = self._served_locked()
            for one in self._held:
                one.most_served = max(one.most_served, served)
            before = self._at_once
            if self._down:
                self._down = False
                self._set_locked(self._most)
        self._tell(before)

    def release(self, slot: "Slot") -> bool:
        """As `Slot.release`."""
        with self._changed:
            if slot not in self._held:
                return False
            before = self._at_once
            if slot.is_served and len(self._held) >= self._at_once < self._most:
                self._answers_left -= 1
                if self._answers_left <= 0:
                    self._steps += 1
                    self._set_locked(self._at_once + 1)
            self._drop_locked(slot)
        self._tell(before)
        return True

    def refuse(self, slot: "Slot") -> bool:
        """Whether the request of *slot* was one too many; if so, lower the limit."""
        with self._changed:
            if slot not in self._held:
                return False
            if len(self._held) == 1:
                self._down = True
                return False
            self._drop_locked(slot)
            # One that was served meanwhile may just have ended.
            taken = max(len(self._held), slot.most_served)
            before = self._at_once
            if taken < before:
                again = taken == self._met_at
                more = min(2 * self._answers, _MOST_ANSWERS)
                self._answers = more if again else _FIRST_ANSWERS
                self._met_at = taken
                self._steps = 0
                self._set_locked(taken)
        self._tell(before)
        return True

    # ----------------------------------------------------------------------------------

    def _tell(self, before: int) -> None:
        """Log and learn the limit if it is not *before* any more."""
        at_once = self._at_once
        if at_once != before:
            log.debug("requests for content that the server takes at once: %d", at_once)
            self._learn(at_once if at_once < self._most else None)

    def _served_locked(self) -> int:
        return sum(one.is_served for one in self._held)

    def _set_locked(self, at_once: int) -> None:
        self._at_once = at_once
        self._answers_left = max(1, self._answers >> self._steps)
        self._changed.notify_all()

    def _drop_locked(self, slot: "Slot") -> None:
        self._held.discard(slot)
        slot.is_served = False
        self._changed.notify_all()


class Slot:
    """The place of one call among the requests for content under way. For one thread."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        # The lock of *slots* guards both.
        self.is_served = False  # its answer has begun
        self.most_served = 0  # how many were served at once since it was taken

    def take(self, deadline: float) -> None:
        """Wait until a request may leave, if the slot is not held yet.

        Raises DeadlineExceeded at *deadline* (monotonic), and the error of `Slots.close`.
        """
        self._slots.take(self, deadline)

    def served(self) -> None:
        """The bytes that were asked for begin to come."""
        self._slots.served(self)

    def release(self) -> bool:
        """The request is over; returns whether the slot was held."""
        return self._slots.release(self)

    def refused(self, deadline: float) -> bool:
        """Whether the request was one too many; then this waits until it may be sent.

        Raises as `take`.
        """
        refused = self._slots.refuse(self)
        if refused:
            self.take(deadline)
        return refused
