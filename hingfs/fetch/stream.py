"""One whole file on its way into its spool, from one answer after another.

A stream whose answer breaks off goes on at the byte reached, or starts again and is
compared with what is there, so that a changed file is noticed and never mixed.

Decides when a stream is given up. Leaves to `api.whole` what an answer brings of the
file, to `api.source` how long one answer is waited for, and to `room` how much there may
be. A stream runs on the one thread that calls `run`.
"""

import logging
import time
from collections.abc import Iterator
from typing import Protocol

from ..api.judgement.verdict import odd_type_of
from ..api.whole import OtherExtent, judged
from ..blocks import KIB
from ..errors import (
    BodyCut,
    ContentChanged,
    HingError,
    NotAVideo,
    SpoolFull,
    TransportError,
    Undecodable,
    foreseen,
    printable,
)
from ..http.answer import Answer
from ..http.pace import SLOWEST_BYTES_PER_SECOND, Pace
from ..http.patience import WHOLE_TRIES
from ..version import Content
from .room import Room
from .spool import Spool

log = logging.getLogger(__name__)

_PIECE_BYTES = 256 * KIB


class WholeSource(Protocol):
    """Where whole files come from."""

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with all of it, or a 206 that goes on at *offset*."""


class Stream:
    """The download of all that *spool* still lacks. Used by one thread, for one `run`."""

    def __init__(
        self, source: WholeSource, room: Room, spool: Spool, stall_seconds: float
    ) -> None:
        self._source = source
        self._room = room
        self._spool = spool
        self._content = spool.content
        self._stall_seconds = stall_seconds
        self._began = 0.0  # when the answer that is read now did
        self._vain = 0  # attempts in a row that brought nothing new
        self._others = 0  # answers of another extent than those before

    def run(self, answer: Answer | None) -> None:
        """Fill the spool, from *answer* first if there is one; no exception leaves."""
        name = printable(self._content.video_id, 80)
        try:
            self._fill(answer)
        except ContentChanged as error:
            self._content.found_changed()
            self._spool.fail(error)
        except HingError as error:
            self._spool.fail(error)
        except OSError as error:
            reason = f"the spool cannot be written: {error.strerror or error}"
            log.error("%s: %s", name, reason)  # noqa: TRY400 - foreseen
            self._spool.fail(SpoolFull(reason))
        except BaseException as error:
            log.exception("%s: unforeseen error in a whole-file stream", name)
            self._spool.fail(foreseen(error))
        else:
            self._spool.finish()

    def _fill(self, answer: Answer | None) -> None:
        """Read answers until all is there; raises what the last attempt met."""
        if answer is not None and answer.status != 200:
            answer.close()  # a range that is none of the file: see `verdict.judge_range`
            answer = None
        while True:
            before = self._spool.frontier
            try:
                self._take(answer or self._ask())
            except (TransportError, NotAVideo) as error:
                if self._spool.frontier == self._content.size_bytes:
                    return  # only the end of the body was spoilt
                self._failed(error, self._spool.frontier - before)
            else:
                return
            answer = None

    def _ask(self) -> Answer:
        """An answer that goes on at the frontier, or has all from the start."""
        # Where validators shift, all of it must be compared.
        resumes = self._spool.extent.resumable and not self._content.shifting
        return self._source.open_whole(
            self._content, self._spool.frontier if resumes else 0
        )

    def _failed(self, error: TransportError | NotAVideo, brought: int) -> None:
        """An attempt met *error* after *brought* new bytes; raises unless it may go on.

        One that brought bytes costs no try, unless it brought them as a trickle.
        """
        self._others += isinstance(error, OtherExtent)
        if self._others > 1:
            raise ContentChanged(f"it is another file now: {error}") from error
        least = SLOWEST_BYTES_PER_SECOND * (time.monotonic() - self._began)
        self._vain = 0 if brought > 0 and brought >= least else self._vain + 1
        over = self._vain >= WHOLE_TRIES or self._spool.error is not None
        if over or isinstance(error, Undecodable):  # so would the next one be
            raise error

    def _take(self, answer: Answer) -> None:
        """Read *answer* to its end into the spool, and close it.

        Raises BodyCut if it ends early.
        """
        spool = self._spool
        self._began = time.monotonic()
        with answer:
            position = spool.extent.begin(answer)
            pieces = self._pieces(answer)
            if not position:
                needs_proof = odd_type_of(answer.headers) is not None
                pieces = judged(pieces, needs_proof=needs_proof)
            for piece in pieces:
                spool.extent.bind(spool.frontier)
                self._place(piece, position)
                position += len(piece)
            spool.extent.end(answer, position, spool.frontier, spool.peek)

    def _pieces(self, answer: Answer) -> Iterator[bytes]:
        """The body of *answer* as it arrives, while the spool is wanted.

        Raises BodyCut where it trickles for *stall_seconds*.
        """
        decoded = self._spool.extent.coded
        pace = Pace(self._stall_seconds)
        while piece := answer.read_some(_PIECE_BYTES, decoded=decoded):
            yield piece
            if self._spool.error is not None:
                raise BodyCut("the spool was given up")
            pace.took(len(piece))
            if time.monotonic() >= pace.judged_at:
                if not pace.good:
                    raise BodyCut("the body came too slowly")
                pace.restart()

    def _place(self, piece: bytes, position: int) -> None:
        """Compare what is there of *piece*, which begins at *position*; append the rest."""
        spool = self._spool
        if position > spool.frontier:
            raise TransportError(f"bytes from {position} on, not as asked")
        overlap = max(0, min(spool.frontier - position, len(piece)))
        if overlap and not spool.agrees(piece[:overlap], position):
            raise ContentChanged("the file is another one than when the download began")
        if overlap < len(piece):
            limit = self._content.size_bytes
            if 0 <= limit < position + len(piece):
                raise ContentChanged("the file is longer than announced")
            if limit < 0:
                self._room.grow(spool, position + len(piece))
            spool.append(piece[overlap:])
