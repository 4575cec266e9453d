"""One HTTP answer, read as bytes of a video or as a text.

Bytes of a video go from the kernel straight into the reader's buffers.
Decides which content codings are undone, and how much of a text is read. Leaves to
`exchange` where the body begins and ends, and how long a read waits for it.
"""

import contextlib
import hashlib
import math
import time
import zlib
from collections.abc import Mapping, Sequence
from typing import Self

import requests

from ..blocks import KIB
from ..errors import BodyCut, DeadlineExceeded, ServerBroken, Undecodable, printable
from .exchange import Exchange

# The most that is read of a text. A guess.
_MOST_TEXT_BYTES = 64 * KIB
_LARGEST_PIECE_BYTES = 256 * KIB
# To keep a connection, at most this much of a redirect's body is read, for at most this
# long: a new connection costs about as much. Guesses.
_MOST_DRAINED_BYTES = 16 * KIB
_DRAIN_SECONDS = 0.3
# The window bits of zlib for a gzip header (31), a zlib header (15), none (-15).
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


class Answer:
    """One HTTP answer, its body unread. Its owner closes it, or reads it out.

    Thread safety: one thread reads; `abort` may come from any other.
    """

    def __init__(
        self,
        response: requests.Response,
        *,
        from_api: bool,
        token_number: int,
        stall_seconds: float,
        waited_seconds: float,
    ) -> None:
        self.waited_seconds = waited_seconds  # from the request to the head
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        self.url: str = response.url
        self.from_api = from_api
        self.hint = ""  # advice to the user, where the answer is a refusal
        self.token_number = token_number  # of the token that was sent
        assert isinstance(response.raw, (Exchange, _Inline))
        self._exchange = response.raw
        self._stall_seconds = stall_seconds
        self._decoder: _Decoder | None = None  # set by the first decoded read
        self._unread = b""  # put back by `unread`; read first

    def expect(self, size_bytes: int) -> None:
        """Refuse the body unless it has exactly *size_bytes*, as its headers say."""
        self._exchange.expect(size_bytes)

    def unread(self, data: bytes) -> None:
        """Put back *data*, the undecoded bytes that were read last."""
        self._unread = data + self._unread

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int = 1,
        until: float = math.inf,
    ) -> int:
        """Fill *targets* in turn with undecoded bytes; return the count, 0 at the end.

        Waits for *least_bytes*, which must fit the first target; past *until*
        (monotonic), one byte is enough. The body's end may leave fewer. Raises BodyCut
        if the body stalls or breaks off, and ServerBroken if its framing breaks HTTP.
        Bytes that came before the error are returned, and the next call raises.
        """
        if self._unread:
            piece = self._next_piece(len(targets[0]), until)
            targets[0][: len(piece)] = piece
            return len(piece)
        return self._exchange.read_into(
            targets, least_bytes, until, self._stall_seconds
        )

    def read_some(
        self, most_bytes: int, *, decoded: bool = False, until: float = math.inf
    ) -> bytes:
        """Return at least one byte and at most *most_bytes*; b"" at the body's end.

        *decoded*: undo the content coding. Raises as `read_into`, and BodyCut past
        *until* (monotonic).
        """
        if not decoded:
            return self._next_piece(most_bytes, until)
        if self._decoder is None:
            self._decoder = _Decoder(self.headers.get("Content-Encoding", ""))
        # Coded bytes that unpack to nothing are no progress.
        until = min(until, time.monotonic() + self._stall_seconds)
        while not (data := self._decoder.take(most_bytes)):
            piece = self._next_piece(most_bytes, until)
            if not piece:
                self._decoder.finish()
                return b""
            self._decoder.feed(piece)
        return data

    def read_up_to(self, count: int, *, decoded: bool = False) -> bytes:
        """The next *count* bytes, fewer only at the end. Raises as `read_some`."""
        data = b""
        while len(data) < count and (
            piece := self.read_some(count - len(data), decoded=decoded)
        ):
            data += piece
        return data

    def skip(self, count: int) -> None:
        """Read *count* bytes away. Raises as `read_some`, and BodyCut at the end."""
        while count:
            piece = self.read_some(count)
            if not piece:
                raise BodyCut("the body ended before its range")
            count -= len(piece)

    def _next_piece(self, most_bytes: int, until: float) -> bytes:
        if self._unread:
            piece, self._unread = self._unread[:most_bytes], self._unread[most_bytes:]
            return piece
        seconds = min(self._stall_seconds, until - time.monotonic())
        buffer = bytearray(min(most_bytes, _LARGEST_PIECE_BYTES))
        count = self._exchange.read_into([memoryview(buffer)], 1, math.inf, seconds)
        return bytes(memoryview(buffer)[:count])

    def read_text(self, deadline: float, most_bytes: int = _MOST_TEXT_BYTES) -> bytes:
        """Return the first *most_bytes* of the body, or the part before it broke off.

        Some gateways compress unasked: such a body is unpacked, up to as many bytes.
        Raises DeadlineExceeded when *deadline* (monotonic) passes meanwhile.
        """
        pieces: list[bytes] = []
        missing = most_bytes
        while missing > 0:
            if time.monotonic() > deadline:
                raise DeadlineExceeded("the server's answer took too long to arrive")
            try:
                piece = self.read_some(missing, until=deadline)
            except (BodyCut, ServerBroken):
                if time.monotonic() > deadline:
                    continue
                break
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        coding = self.headers.get("Content-Encoding", "")
        return _unpacked(b"".join(pieces), coding, most_bytes)

    def drain_and_close(self) -> None:
        """Close; keep the connection if the rest is short and comes at once."""
        left = self.headers.get("Content-Length", "")
        if left.isdecimal() and len(left) <= 9 and int(left) <= _MOST_DRAINED_BYTES:
            until = time.monotonic() + _DRAIN_SECONDS
            with contextlib.suppress(BodyCut, ServerBroken):
                while self.read_some(_MOST_DRAINED_BYTES, until=until):
                    pass
        self.close()

    def abort(self) -> None:
        """Wake the reading thread, which gets BodyCut."""
        self._exchange.abort()

    def close(self) -> None:
        """Keep the connection if the body was read out, else close it."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inline_answer(data: bytes) -> Answer:
    """Present *data*, a video that came inside JSON, as an answer: a whole 200."""
    response = requests.Response()
    response.status_code = 200
    response.url = "data:"
    digest = hashlib.blake2b(data, digest_size=16).hexdigest()
    response.headers["Content-Type"] = "video/mp4"
    response.headers["Content-Length"] = str(len(data))
    response.headers["ETag"] = f'"{digest}"'
    response.raw = _Inline(data)
    return Answer(
        response,
        from_api=False,
        token_number=0,
        stall_seconds=math.inf,
        waited_seconds=0.0,
    )


class _Inline:
    """A body in memory, with the reading methods of `Exchange`."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def expect(self, size_bytes: int) -> None:
        """Nothing: the size is known."""

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,  # noqa: ARG002 - as an exchange's
        until: float,  # noqa: ARG002
        stall_seconds: float,  # noqa: ARG002
    ) -> int:
        """Fill *targets* in turn; return the count, 0 at the end."""
        count = 0
        for target in targets:
            piece = self._left[: len(target)]
            target[: len(piece)] = piece
            self._left = self._left[len(piece) :]
            count += len(piece)
        return count

    def abort(self) -> None:
        """Nothing: no thread waits for these bytes."""

    def close(self) -> None:
        """Let go of the bytes."""
        self._left = memoryview(b"")


class _Decoder:
    """Undoes a content coding that some gateways apply unasked."""

    def __init__(self, coding: str) -> None:
        formats = _WINDOW_BITS.get(coding.strip().lower())
        if formats is None:
            raise Undecodable(
                f"the body is coded as {printable(coding, 40)!r}, which was not asked for"
            )
        self._formats = formats
        self._unpacker = zlib.decompressobj(formats[0])
        self._packed = b""  # fed and not yet unpacked
        self._untouched = True

    def feed(self, piece: bytes) -> None:
        """Append *piece* to the coded bytes."""
        self._packed += piece

    def take(self, most_bytes: int) -> bytes:
        """Return up to *most_bytes* unpacked; b"" where more must be fed first.

        Raises Undecodable where the bytes are not in the announced coding.
        """
        if not self._packed:
            return b""
        if self._unpacker.eof:  # gzip may come in several members
            self._unpacker = zlib.decompressobj(self._formats[0])
        try:
            data = self._unpacker.decompress(self._packed, most_bytes)
        except zlib.error as error:
            if not self._untouched or len(self._formats) == 1:
                raise Undecodable(f"the body cannot be unpacked: {error}") from error
            self._formats = self._formats[1:]
            self._unpacker = zlib.decompressobj(self._formats[0])
            return self.take(most_bytes)
        self._untouched = False
        self._packed = self._unpacker.unconsumed_tail or self._unpacker.unused_data
        return data

    def finish(self) -> None:
        """End the coded bytes; raise BodyCut where the coding is not complete."""
        if not self._unpacker.eof and not self._untouched:
            raise BodyCut("the compressed body broke off")


def _unpacked(body: bytes, coding: str, most_bytes: int) -> bytes:
    """*body* without its content *coding*, up to *most_bytes*.

    A body comes back as it is where it has no coding, where it is not in the announced
    one, and where the standard library does not know that one.
    """
    for window_bits in _WINDOW_BITS.get(coding.strip().lower(), ()):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(window_bits).decompress(body, most_bytes)
    return body
