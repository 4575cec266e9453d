"""One address may stand for several servers that do not know the same. Pure but for time.

Behind a load balancer the job is known to the replica that made it, and perhaps to no
other; a connection that is kept goes to the same one each time. Decides how many are
asked, on fresh connections, before "I know nothing of it" is believed of what another
one knows. Leaves to `sender` what is asked, and to `refusals` what is such an answer.
"""

import logging
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from ..errors import TransportError, printable

log = logging.getLogger(__name__)

# With two replicas in turn one is enough; drawn at random, one look-up in 32 still
# meets the wrong one only. More would cost more where the video is gone indeed.
MOST_ASKED = 4
# A program waits for it, and what is gone must not take long to be gone.
ASKING_SECONDS = 2.0

# Whose turn it is to search. Behind a round robin of two, two searches that asked in
# step would each meet the same replica each time. Not a lock: it guards nothing, and who
# does not get it in time goes on without.
_TURN = threading.Semaphore()
# For so long a turn is waited for: two or three round trips. With a second, searches that
# met a stalled server held all others up: 40 reads in a soak of 30 s instead of 400
# (scripts/soak, 2026-11-27).
_TURN_SECONDS = 0.1

Found = TypeVar("Found")


def ask_around(
    about: str,
    found: Found,
    ask: Callable[[], Found],
    knows: Callable[[Found], bool],
) -> Found:
    """*found*, or what *ask* brings from others, up to the first that *knows* *about*.

    The last one where none does. *ask* uses a fresh connection each time; trouble on
    the way to another replica ends the search.
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
