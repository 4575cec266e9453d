"""The bytes of one range in order, over as many connections as it takes.

Decides when a request is sent again, from the byte reached on, and whether bytes come
fast enough to be waited for. Leaves to `range_answers` whether an answer is believed.
"""

import time
from collections.abc import Sequence

from ..blocks import ByteRange, views_of
from ..content import Content
from ..errors import BodyCut, NotAVideo, ServerBroken, TransportError
from ..http.answer import Answer
from ..http.pace import Pace
from ..http.patience import Patience
from .judgement.sniffing import JUDGED_BYTES
from .range_answers import RangeAnswers, refuse_message
from .routes import Routes
from .sender import MOST_ERROR_BYTES


class RangeDownload:
    """A transfer of one range. See the module docstring.

    Thread safety: one thread reads and closes; any other may call `abort`.
    """

    def __init__(
        self,
        routes: Routes,
        content: Content,
        span: ByteRange,
        *,
        patience: Patience,
        pace: Pace,
    ) -> None:
        self._answers = RangeAnswers(routes, content, patience)
        self._content = content
        self._patience = patience
        self._pace = pace
        self._position = span.start
        self._stop = span.stop
        self._answer: Answer | None = None
        self._answer_left = 0
        self._aborted = False

    def read_into(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put the next bytes over *buffers*, laid end to end, from *start* on.

        Returns how many: at least *least_bytes*, and more if they have arrived and fit.
        Raises ContentChanged, NotAVideo, RangesIgnored (`take_whole` may then have the
        whole file), the error that a refusal means, and TransportError after the last
        try.
        """
        at_start = self._position == 0
        count = 0
        while count < least_bytes:
            judged = at_start and count < JUDGED_BYTES
            least = 1 if judged else least_bytes - count
            count += self._next_piece(buffers, start + count, least)
            if judged:
                most = start + min(count, MOST_ERROR_BYTES)
                first = b"".join(views_of(buffers, start, most))
                self._refuse_message(first, ended=count >= least_bytes)
        return count

    def abort(self) -> None:
        """Wake the reading thread; its `read_into` raises BodyCut."""
        self._aborted = True
        answer = self._answer
        if answer is not None:
            answer.abort()

    def close(self) -> None:
        """Give the connection back, or drop it if bytes are left in it."""
        self._drop_answer()
        self._answers.close()

    def take_whole(self) -> Answer | None:
        """The open answer with the whole file that came instead; the caller closes it.

        None if none came, or none may be used.
        """
        return self._answers.take_whole()

    def _next_piece(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put at least one byte over *buffers* from *start* on; returns how many.

        Fewer than *least_bytes* only if the body ends, breaks off or comes slowly.
        """
        while True:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            try:
                answer = self._answer or self._open_answer()
                views = views_of(buffers, start, start + self._answer_left)
                count = answer.read_into(views, least_bytes, self._pace.judged_at)
            except (BodyCut, ServerBroken, NotAVideo) as error:
                trouble: TransportError | NotAVideo = error
            else:
                if count:
                    self._advance(count)
                    return count
                trouble = BodyCut("the body ended before its range")
            self._wait_to_retry(trouble)

    def _advance(self, count: int) -> None:
        """Count *count* bytes that came; drop an answer that ended, or is too slow."""
        self._position += count
        self._answer_left -= count
        self._pace.took(count)
        if self._answer_left == 0:
            self._drop_answer()
            self._progressed()
        elif time.monotonic() >= self._pace.judged_at:
            if self._pace.good:
                self._progressed()
            else:
                self._wait_to_retry(BodyCut("the body came too slowly"))

    def _progressed(self) -> None:
        self._patience.progressed()
        self._pace.restart()

    def _wait_to_retry(self, trouble: TransportError | NotAVideo) -> None:
        """Drop the answer and wait for the next try; raise *trouble* after the last."""
        self._abandon_answer()
        if self._pace.good:  # this attempt does not count against the tries
            self._patience.progressed()
        self._pace.restart()
        if not self._aborted:
            self._patience.failed(trouble)

    def _refuse_message(self, first: bytes, *, ended: bool) -> None:
        try:
            refuse_message(self._content, first, ended=ended)
        except NotAVideo:
            self._abandon_answer()
            raise

    def _abandon_answer(self) -> None:
        """Close the answer after trouble; the next request goes to the API's own URL."""
        self._drop_answer()
        self._answers.distrust()

    def _drop_answer(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        self._patience.slot.release()

    def _open_answer(self) -> Answer:
        """Ask for the rest of the range, from the byte reached on."""
        asked = ByteRange(self._position, self._stop)
        # Without a slot: the request that was begun may still wait for one.
        begun = self._answers.begun(asked)
        if begun is not None:
            self._answer, self._answer_left = begun
        self._patience.slot.take(self._patience.deadline)
        if self._answer is None:
            self._answer, self._answer_left = self._answers.ask(asked)
        self._patience.slot.served()
        self._pace.restart()
        return self._answer
