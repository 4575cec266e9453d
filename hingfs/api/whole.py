"""What one answer brings of a whole file, and whether its end is that of the file.

A finished download is one answer's extent that agrees with all that came before. What
earlier answers said of the size, and what they brought, binds the later ones; where
nothing says how long a body is, its end is told from its container. Decides what the
bytes and headers of an answer are worth; leaves to `spool` where they are kept, and how
often it is tried.
"""

from collections.abc import Iterator

from ..errors import BodyCut, NotAVideo, TransportError
from ..http.answer import Answer
from .judgement.closing import Read, closes
from .judgement.sniffing import Sort, is_container, sort_of
from .judgement.verdict import (
    PROBE,
    is_encoded,
    length_of,
    parse_content_range,
    refuse_absurd_size,
)

UNKNOWN_SIZE = -1
# No service renders a clip of none: it is not written yet, or the answer is a fault.
_NO_BYTES = "the file has no bytes yet"


class OtherExtent(TransportError):
    """An answer of another extent than those before: a fault once, a change twice."""


class Extent:
    """How long the answers to one download say that the file is. Used by one thread.

    *size_bytes* is what is known of that, else `UNKNOWN_SIZE`.
    """

    def __init__(self, size_bytes: int) -> None:
        self._known = size_bytes != UNKNOWN_SIZE
        self._said = size_bytes if self._known else None  # by the first that did
        self._claim: int | None = None  # what the answer that is read now says
        self._doubted_end: int | None = None
        self.coded = False  # the answer that is read now
        self.resumable = True  # False once a part of the file would prove nothing

    def begin(self, answer: Answer) -> int:
        """Where in the file *answer* starts; TransportError for what tells nothing."""
        headers, coded = answer.headers, is_encoded(answer.headers)
        self.resumable &= not coded  # what has arrived is no offset into the coded body
        coded = self.coded = is_coded(answer) if answer.status == 200 else coded
        refuse_absurd_size(answer.status, headers)
        start, size = 0, None if coded else length_of(headers)
        if answer.status == 206:
            if coded:
                raise TransportError("a range of a coded body is no range of the file")
            answered = parse_content_range(headers.get("Content-Range", ""))
            if answered is None:
                raise TransportError("206 without a readable Content-Range")
            start, size = answered[0].start, answered[1]
            if size is None and not self._known:
                self.resumable = False
                raise TransportError("206 that does not say how long the file is")
        if size == 0:
            raise TransportError(_NO_BYTES)
        self._claim = size
        return start

    def bind(self, held: int) -> None:
        """The answer that is read now is no message: what it says of the size counts.

        Raises OtherExtent where an earlier one said otherwise, or brought more: *held*.
        """
        if self._claim is None:
            return
        if self._said not in (None, self._claim) or self._claim < held:
            raise OtherExtent(f"{self._claim} bytes are announced, not as before")
        self._said = self._claim

    def end(self, answer: Answer, stop: int, held: int, read: Read) -> None:
        """*answer* ended at *stop* in the file, of which *held* bytes are there.

        Raises BodyCut or OtherExtent unless that is the end of the file.
        """
        if not stop:
            raise BodyCut(_NO_BYTES)
        self.bind(held)
        if self._said is not None and stop < self._said:
            raise BodyCut(f"the body ended at {stop} of {self._said} bytes")
        if stop < held or (self._said is not None and stop > self._said):
            raise OtherExtent(
                f"the body ended at {stop}, {self._said or held} were due"
            )
        if (
            self._said is not None
            or self._is_delimited(answer)
            or self._doubted_end == stop
        ):
            return
        # It ends where its connection does, which may have been cut. What is no
        # container, or one whose end nobody can tell, has nothing else to say.
        if is_container(read(0, PROBE.stop)) and not closes(read, stop):
            self._doubted_end, self.resumable = stop, False
            raise BodyCut(f"the body ended at {stop}, and its container does not")

    def _is_delimited(self, answer: Answer) -> bool:
        """Whether more than the end of the connection tells where the body ends."""
        headers = answer.headers
        named = "Content-Length" in headers or "Transfer-Encoding" in headers
        return named or self.coded


def is_coded(answer: Answer) -> bool:
    """Whether a body from the first byte on is coded; *answer* is not read yet.

    What begins as a container is the file itself, whatever coding it names. Raises as a
    read of its first bytes.
    """
    if not is_encoded(answer.headers):
        return False
    first = answer.read_up_to(PROBE.stop)
    answer.unread(first)
    return not is_container(first)


def judged(pieces: Iterator[bytes], *, needs_proof: bool) -> Iterator[bytes]:
    """The same bytes, held back until they are known to be no message.

    A message may come in small pieces, and blanks before it. Raises NotAVideo for one,
    and for all but a container where a video *needs_proof*: see `sniffing`.
    """
    head, sort = b"", Sort.UNTOLD
    for piece in pieces:
        head += piece
        sort = sort_of(head, needs_proof=needs_proof)
        if sort is not Sort.UNTOLD:
            break
    else:
        sort = sort_of(head, needs_proof=needs_proof, ended=True)
    if sort is Sort.MESSAGE:
        by = "by its type and its bytes" if needs_proof else "by its bytes"
        raise NotAVideo(f"a message arrived where the file was due, {by}")
    yield head
    yield from pieces
