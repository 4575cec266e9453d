"""How many servers behind one address are asked before "no such video" is believed.

Behind a load balancer, perhaps only the replica that made a video knows it, and a kept
connection goes to the same replica each time. So others are asked on fresh connections.
Decides how many, for how long, and how many searches go on at once. Leaves to its callers
what is asked, and which answer knows the video.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import TransportError, printable

log = logging.getLogger(__name__)

# Of two replicas in turn, one more request finds the other. Of two drawn at random, one
# look-up in 32 still meets only the wrong one. A higher number would cost more for videos
# that are gone indeed.
MOST_ASKED = 4
# A program waits meanwhile, and must soon hear that a video is gone.
ASKING_SECONDS = 2.0

# One search at a time: behind a round robin of two, two searches in step would each meet
# the same replica each time. Not a lock: it guards nothing, and a search that does not get
# its turn in time goes on without one.
_TURN = threading.Semaphore()
# How long a search waits for its turn: two or three round trips. With a second, searches
# that met a stalled server held all others up: 40 reads in a soak of 30 s instead of 400
# (scripts/soak, 2026-11-27).
_TURN_SECONDS = 0.1

Found = TypeVar("Found")


def ask_around(
    about: str,
    found: Found,
    ask: Callable[[], Found],
    knows: Callable[[Found], bool],
) -> Found:
    """The first of *found* and the results of *ask* that *knows* about the video *about*.

    If none does, the last result. *ask* uses a fresh connection each time; trouble on the
    way to another replica ends the search.
    """
    if knows(found):
        return found
    until = time.monotonic() + ASKING_SECONDS
    my_turn = _TURN.acquire(timeout=_TURN_SECONDS)
    try:
        for _ in range(MOST_ASKED):
            if knows(found) or time.monotonic() >= until:
                break
            found = ask()
    except TransportError as error:
        name = printable(about, 80)
        log.debug("%s: no other replica could be asked: %s", name, error)
    finally:
        if my_turn:
            _TURN.release()
    return found
