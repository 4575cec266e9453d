"""The bytes of one range in order, whatever becomes of the connections.

A body that breaks off is resumed at the byte reached. Decides when to ask again, and
whether bytes come fast enough to be waited for. Leaves to `range_answers` what an
answer is worth.
"""

import time
from collections.abc import Sequence

from ..blocks import ByteRange, views_of
from ..errors import BodyCut, NotAVideo, ServerBroken, TransportError
from ..http.answer import Answer
from ..http.pace import Pace
from ..http.patience import Patience
from ..version import Content
from .judgement.sniffing import JUDGED_BYTES
from .range_answers import RangeAnswers, refuse_message
from .routes import Routes
from .sender import MOST_ERROR_BYTES


class RangeDownload:
    """The bytes of one range in order, whatever becomes of the connections.

    Thread safety: one thread reads and closes; `abort` may come from any other.
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

        Returns how many: at least *least_bytes*, and more where they are there and
        fit. Raises ContentChanged, NotAVideo, RangesIgnored (`take_whole` may then have
        the whole file), or what the refusal means; and TransportError once patience is
        over.
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
        """The open answer with the whole file that came instead, if one did.

        It is the caller's to close. None too where no answer may be used.
        """
        return self._answers.take_whole()

    def _next_piece(
        self, buffers: Sequence[bytearray], start: int, least_bytes: int
    ) -> int:
        """Put at least one byte over *buffers* from *start* on; returns how many.

        Fewer than *least_bytes* only where the body ends, breaks off or comes slowly.
        """
        while True:
            if self._aborted:
                raise BodyCut("the transfer was cut off here")
            try:
                answer = self._answer or self._ask()
                views = views_of(buffers, start, start + self._answer_left)
                count = answer.read_into(views, least_bytes, self._pace.judged_at)
            except (BodyCut, ServerBroken, NotAVideo) as error:
                trouble: TransportError | NotAVideo = error
            else:
                if count:
                    self._took(count)
                    return count
                trouble = BodyCut("the body ended before its range")
            self._failed(trouble)

    def _took(self, count: int) -> None:
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
                self._failed(BodyCut("the body came too slowly"))

    def _progressed(self) -> None:
        self._patience.progressed()
        self._pace.restart()

    def _failed(self, trouble: TransportError | NotAVideo) -> None:
        """Wait before another request for what is missing; raise if there is none."""
        self._leave()
        if self._pace.good:  # this attempt does not count against the tries
            self._patience.progressed()
        self._pace.restart()
        if not self._aborted:
            self._patience.failed(trouble)

    def _refuse_message(self, first: bytes, *, ended: bool) -> None:
        try:
            refuse_message(self._content, first, ended=ended)
        except NotAVideo:
            self._leave()
            raise

    def _leave(self) -> None:
        """Close after trouble; the next answer shall come by the API."""
        self._drop_answer()
        self._answers.distrust()

    def _drop_answer(self) -> None:
        if self._answer is not None:
            self._answer.close()
            self._answer = None

    def _ask(self) -> Answer:
        """An answer with what is missing, from the byte reached on."""
        asked = ByteRange(self._position, self._stop)
        self._answer, self._answer_left = self._answers.ask(asked)
        self._pace.restart()
        return self._answer
