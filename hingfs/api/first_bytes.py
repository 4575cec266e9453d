"""The first and the last bytes of a video, asked for while its size is not known yet.

A program that looks a name up, and then opens it, reads these bytes next. Asked for
beside HEAD, they come a round trip sooner. Decides when such an answer is dropped, and
whether the server is asked in this way again. Leaves to `library.openings` for which
videos it is done, and to `range_answers` whether the bytes are believed.

Threads: `hingfs-first-N` of a `DaemonPool`. Each waits until its answer was taken, or
drops it.
"""

import contextlib
import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import NamedTuple

from ..blocks import ByteRange
from ..errors import HingError, TransportError, printable
from ..http.answer import Answer
from ..workers import DaemonPool
from .beliefs import Belief
from .endpoint_facts import EndpointFacts
from .get_route import GetRoute, Served, Wanted
from .judgement import verdict
from .sender import Sender

log = logging.getLogger(__name__)

# Videos for which this may be done at once.
MOST_VIDEOS = 4
# How long an answer waits for the look-up beside it, and for a transfer. A guess.
KEPT_SECONDS = 2.0


class FirstAnswer(NamedTuple):
    """An answer with a range that nobody knew the size for."""

    served: Served
    span: ByteRange  # what it brings
    size_bytes: int  # of the video


class _Key(NamedTuple):
    video_id: str
    last: bool  # whether it asks for the last bytes, or for the first


@dataclass(eq=False, slots=True)
class _Begun:
    """One of the two requests for a video."""

    ended: Callable[[], None]  # called by whoever takes this from the table
    # Its answer, None if it is no range; never an error.
    found: Future[FirstAnswer | None] = field(default_factory=Future)
    wanted: threading.Event = field(default_factory=threading.Event)  # or dropped


class FirstBytes:
    """See the module docstring. Thread safety: all methods."""

    def __init__(
        self,
        get: GetRoute,
        sender: Sender,
        endpoint: EndpointFacts,
        kept_seconds: float = KEPT_SECONDS,
    ) -> None:
        self._get = get
        self._sender = sender
        self._endpoint = endpoint
        self._kept_seconds = kept_seconds
        self._threads = DaemonPool("hingfs-first", 2 * MOST_VIDEOS)
        self._lock = threading.Lock()  # guards the table alone
        self._begun: dict[_Key, _Begun] = {}  # requests that nobody took

    @property
    def are_served(self) -> bool:
        """Whether the server is known to send parts of files, at once, and such ranges.

        A server that reads a whole file before it sends any gets one request for it, and
        one that seems dead gets none but those that programs wait for.
        """
        delivery = self._endpoint.delivery
        return (
            not self._sender.terms.seem_vain
            and delivery.serves_ranges
            and delivery.may_be_asked_again
            and self._endpoint.beliefs.holds(Belief.FIRST_BYTES)
        )

    def begin(
        self,
        video_id: str,
        head_bytes: int,
        tail_bytes: int,
        ended: Callable[[], None],
    ) -> None:
        """Ask for the first *head_bytes* and the last *tail_bytes*; does not wait.

        *ended* is called twice: once for each answer, when a transfer takes it, and
        brings its bytes from then on, or when it is dropped.
        """
        self._begin(_Key(video_id, last=False), head_bytes, ended)
        self._begin(_Key(video_id, last=True), tail_bytes, ended)

    def has(self, video_id: str, *, last: bool) -> bool:
        """Whether the answer with the first or the *last* bytes is here, or on its way."""
        with self._lock:
            return _Key(video_id, last) in self._begun

    def take(
        self, video_id: str, asked: ByteRange, size_bytes: int, seconds: float
    ) -> FirstAnswer | None:
        """The answer that has the byte at which *asked* starts; the caller closes it.

        Waits at most *seconds* for an answer on its way. None if there is none, or if it
        is of another size than *size_bytes*.
        """
        last = asked.start > 0
        if last and asked.stop != size_bytes:
            return None
        with self._lock:
            begun = self._begun.pop(_Key(video_id, last), None)
        if begun is None:
            return None
        begun.wanted.set()
        begun.ended()
        try:
            found = begun.found.result(seconds)
        except TimeoutError:
            begun.found.add_done_callback(_close)
            return None
        if found is None:
            return None
        inside = found.span.start <= asked.start < found.span.stop
        if inside and found.size_bytes == size_bytes:
            return found
        found.served.answer.close()
        return None

    def close(self, error: HingError) -> None:
        """Drop all answers."""
        with self._lock:
            begun = list(self._begun.values())
            self._begun.clear()
        for one in begun:
            one.found.add_done_callback(_close)
            one.wanted.set()
        self._threads.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._threads.join(seconds)

    def _begin(self, key: _Key, count: int, ended: Callable[[], None]) -> None:
        begun = _Begun(ended)
        with self._lock:
            under_way = self._begun.setdefault(key, begun) is not begun
        if under_way:
            ended()
            return
        try:
            self._threads.submit(self._run, key, begun, count)
        except TransportError:  # no thread for it
            self._drop(key, begun)
            begun.found.set_result(None)

    def _run(self, key: _Key, begun: _Begun, count: int) -> None:
        """Ask for *count* bytes, and keep the answer until it is taken."""
        found = None
        try:
            with contextlib.suppress(HingError):  # the open asks again
                found = self._ask(key, count)
        except Exception:
            log.exception("%s: unforeseen error", printable(key.video_id, 80))
        finally:
            begun.found.set_result(found)
            if found is not None:
                begun.wanted.wait(self._kept_seconds)
            if self._drop(key, begun) and found is not None:
                found.served.answer.close()

    def _ask(self, key: _Key, count: int) -> FirstAnswer | None:
        """The answer to a GET of *count* bytes, if it brings some of them."""
        patience = self._sender.terms.of_name(key.video_id, 1, gives_way=True)
        asked = f"bytes=-{count}" if key.last else ByteRange(0, count).to_header()
        headers = {"Range": asked}
        wanted = Wanted(key.video_id, patience, headers=headers, known=False)
        # One too many is no pause. The slot goes to the download that reads the answer.
        patience.slot.take(patience.deadline)
        try:
            served = self._get.ask(wanted)
        finally:
            patience.slot.release()
        answer = served.answer
        brought = verdict.parse_content_range(answer.headers.get("Content-Range", ""))
        if answer.status == 206 and not served.body and brought and brought[1]:
            return FirstAnswer(served, brought[0], brought[1])
        answer.close()
        if self._refuses(answer, count):
            why = f"HTTP {answer.status} to {asked}"
            self._endpoint.beliefs.end(Belief.FIRST_BYTES, why)
        return None

    def _refuses(self, answer: Answer, count: int) -> bool:
        """Whether *answer* says that the server does not serve such ranges."""
        if verdict.is_empty_video(answer.status, answer.headers):
            return False
        length = verdict.length_of(answer.headers)
        all_of_it = answer.status == 200 and length is not None and length <= count
        return answer.status in (200, 206, 416) and not all_of_it

    def _drop(self, key: _Key, begun: _Begun) -> bool:
        """Forget *begun*, unless it was taken; returns whether it was not."""
        with self._lock:
            untaken = self._begun.get(key) is begun
            if untaken:
                del self._begun[key]
        if untaken:
            begun.ended()
        return untaken


def _close(found: Future[FirstAnswer | None]) -> None:
    answer = found.result()
    if answer is not None:
        answer.served.answer.close()
