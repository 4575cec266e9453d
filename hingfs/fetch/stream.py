"""One whole file on its way into its spool, from one answer after another.

When an answer breaks off, the next one goes on at the byte reached, or starts again and
is compared with the bytes held. So a changed file is noticed, and two files never mix.

Decides when a download is given up. Leaves to `api.whole` which part of the file an
answer brings, to `api.source` how long one answer is waited for, and to `room` how large
the file may be.

Threads: none of its own; a stream runs on the one thread that calls `run`.
"""

import logging
import time
from collections.abc import Iterator
from typing import Protocol

from ..api.judgement.verdict import odd_type_of
from ..api.whole import UNKNOWN_SIZE, OtherExtent, judged
from ..blocks import KIB
from ..cache.tiers import Tiers
from ..content import Content
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
from .copying import DiskCopy
from .room import Room
from .spool import Spool

log = logging.getLogger(__name__)

_PIECE_BYTES = 256 * KIB


class WholeSource(Protocol):
    """Where whole files come from."""

    def open_whole(self, content: Content, offset: int) -> Answer:
        """A 200 with the whole file, or a 206 that goes on at *offset*."""


class Stream:
    """The download of the bytes that *spool* lacks. For one thread and one `run`."""

    def __init__(
        self,
        source: WholeSource,
        room: Room,
        spool: Spool,
        stall_seconds: float,
        *,
        tiers: Tiers,
    ) -> None:
        self._source = source
        self._room = room
        self._spool = spool
        self._content = spool.content
        self._tiers = tiers
        self._copy = DiskCopy(tiers, spool)
        self._stall_seconds = stall_seconds
        self._answer_began_at = 0.0  # monotonic: of the answer that is read now
        self._vain_attempts = 0  # answers in a row that brought no new bytes
        self._other_extents = 0  # answers of another extent than the ones before

    def run(self, answer: Answer | None) -> None:
        """Fill the spool, from *answer* first if there is one. Raises no error."""
        if not self._spool.frontier:
            self._content.comes_anew()
        with self._tiers.held(self._content):
            self._run(answer)

    def _run(self, answer: Answer | None) -> None:
        name = printable(self._content.video_id, 80)
        try:
            self._fill(answer)
            if self._content.size_bytes == UNKNOWN_SIZE:
                self._content.measured(self._spool.frontier)
            self._copy.finish()
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

    def _fill(self, answer: Answer | None) -> None:
        """Read answers until the whole file is there; raises the last one's error."""
        if answer is not None and answer.status != 200:
            answer.close()  # not a range of the file: see `verdict.judge_range`
            answer = None
        while True:
            before = self._spool.frontier
            try:
                self._read_answer(answer or self._open_answer())
            except (TransportError, NotAVideo) as error:
                if self._spool.frontier == self._content.size_bytes:
                    return  # only the end of the body was damaged
                if self._is_last(error, self._spool.frontier - before):
                    raise
            else:
                return
            answer = None

    def _open_answer(self) -> Answer:
        """An answer that goes on at the frontier, or starts again."""
        # Where validators shift, the whole file must be compared.
        resumes = self._spool.extent.resumable and not self._content.shifting
        return self._source.open_whole(
            self._content, self._spool.frontier if resumes else 0
        )

    def _is_last(self, error: TransportError | NotAVideo, brought: int) -> bool:
        """Count an answer that met *error* after *brought* new bytes.

        An answer that brought bytes costs no try, unless they came as a trickle. Returns
        whether the tries are used up; raises ContentChanged where they are of no use.
        """
        self._other_extents += isinstance(error, OtherExtent)
        if self._other_extents > 1:
            raise ContentChanged(f"it is another file now: {error}") from error
        least = SLOWEST_BYTES_PER_SECOND * (time.monotonic() - self._answer_began_at)
        self._vain_attempts = (
            0 if brought > 0 and brought >= least else self._vain_attempts + 1
        )
        over = self._vain_attempts >= WHOLE_TRIES or self._spool.error is not None
        return over or isinstance(error, Undecodable)  # as the next answer would be

    def _read_answer(self, answer: Answer) -> None:
        """Read *answer* to its end into the spool; raises BodyCut if it ends early."""
        spool = self._spool
        self._answer_began_at = time.monotonic()
        with answer:
            position = spool.extent.begin(answer)
            pieces = self._pieces(answer)
            if not position:
                needs_proof = odd_type_of(answer.headers) is not None
                pieces = judged(pieces, needs_proof=needs_proof)
            for piece in pieces:
                spool.extent.bind(spool.frontier)
                self._append_new(piece, position)
                position += len(piece)
            spool.extent.end(answer, position, spool.frontier, spool.peek)

    def _pieces(self, answer: Answer) -> Iterator[bytes]:
        """The body of *answer* as it arrives.

        Raises BodyCut if it trickles for *stall_seconds*, or the spool is given up.
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

    def _append_new(self, piece: bytes, position: int) -> None:
        """Compare *piece*, which begins at *position*, with the bytes held; append the rest."""
        spool = self._spool
        if position > spool.frontier:
            raise TransportError(
                f"the bytes begin at {position}, beyond those asked for"
            )
        overlap = max(0, min(spool.frontier - position, len(piece)))
        if overlap and not spool.agrees(piece[:overlap], position):
            raise ContentChanged("the file has changed since the download began")
        if overlap < len(piece):
            limit = self._content.size_bytes
            if 0 <= limit < position + len(piece):
                raise ContentChanged("the file is longer than announced")
            if limit < 0:
                self._room.grow(spool, position + len(piece))
            new = piece[overlap:]
            spool.append(new)
            self._copy.follow(new)
