"""Whether an answer brings the rest of a whole file, and whether its end is the file's.

A download is finished when an answer ends where all answers so far say that the file does.
The size that an earlier answer told, and the bytes that it brought, bind the later ones.
If no header tells the length of a body, its container must end where the body does. Leaves
to `spool` where bytes are kept, and how often a request is tried.
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
# No service renders an empty clip: the file is not written yet, or the answer is a fault.
_NO_BYTES = "the file has no bytes yet"


class OtherExtent(TransportError):
    """An answer of another extent than earlier ones: a fault once, a change twice."""


class Extent:
    """How long the file is, by the answers to one download. Used by one thread.

    *size_bytes* is its size if it is known, else `UNKNOWN_SIZE`.
    """

    def __init__(self, size_bytes: int) -> None:
        self._known = size_bytes != UNKNOWN_SIZE
        # The size by the first answer that told one, else the known one.
        self._said = size_bytes if self._known else None
        self._claim: int | None = None  # the size by the answer that is read now
        # Where a body without a length ended before its container; the same end twice
        # is believed.
        self._doubted_end: int | None = None
        self.coded = False  # whether the answer that is read now is coded
        self.resumable = True  # False once a part of the file would prove nothing

    def begin(self, answer: Answer) -> int:
        """The offset where *answer* starts; TransportError if it does not tell."""
        headers, coded = answer.headers, is_encoded(answer.headers)
        # A count of decoded bytes is no offset in a coded body.
        self.resumable &= not coded
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
        """Let the size by the answer that is read now count, as it is no message.

        Raises OtherExtent if an earlier answer told another size, or brought more: *held*.
        """
        if self._claim is None:
            return
        if self._said not in (None, self._claim) or self._claim < held:
            raise OtherExtent(f"{self._claim} bytes are announced, not as before")
        self._said = self._claim

    def end(self, answer: Answer, stop: int, held: int, read: Read) -> None:
        """Check that *answer*, which ended at *stop*, ended at the end of the file.

        *held* bytes of the file have arrived. Raises BodyCut or OtherExtent.
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
        # The body ends where its connection does, which may have been cut. A container
        # may tell; of any other body nothing tells.
        if is_container(read(0, PROBE.stop)) and not closes(read, stop):
            self._doubted_end, self.resumable = stop, False
            raise BodyCut(f"the body ended at {stop}, and its container does not")

    def _is_delimited(self, answer: Answer) -> bool:
        """Whether framing or coding, not just the connection, tells the body's end."""
        headers = answer.headers
        named = "Content-Length" in headers or "Transfer-Encoding" in headers
        return named or self.coded


def is_coded(answer: Answer) -> bool:
    """Whether the body of *answer* is coded; it starts at the file's first byte.

    *answer* must be unread. A body that begins as a container is the file itself, under
    any named coding. Raises as a read of its first bytes does.
    """
    if not is_encoded(answer.headers):
        return False
    first = answer.read_up_to(PROBE.stop)
    answer.unread(first)
    return not is_container(first)


def judged(pieces: Iterator[bytes], *, needs_proof: bool) -> Iterator[bytes]:
    """The same bytes, held back until they are known to be no message.

    A message may come in small pieces, after blanks. Raises NotAVideo for a message, and
    with *needs_proof* for any body but a container: see `sniffing`.
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
