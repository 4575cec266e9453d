"""One HTTP answer as its readers want it: bytes of a video, or words.

The bytes of a video go from the kernel straight into the buffers they are meant for.
Decides what a coded body is worth, and how much of a text is read. Where the body
begins and ends, and how long it is waited for, is `exchange`'s.
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

# What is read of a message, for judging. A guess.
_MOST_TEXT_BYTES = 64 * KIB
_LARGEST_PIECE_BYTES = 256 * KIB
# A connection is worth this much of the body of a redirect, and waiting for it: about
# what a new one costs. Guesses.
_MOST_DRAINED_BYTES = 16 * KIB
_DRAIN_SECONDS = 0.3
# Of zlib's formats: a gzip header, a zlib one, none.
_WINDOW_BITS = {"gzip": (31,), "x-gzip": (31,), "deflate": (15, -15)}


class Answer:
    """One HTTP answer whose body has not been read yet. Close it, or read it out.

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
        self.hint = ""  # what may help where it is a refusal
        self.token_number = token_number  # which token was sent, by its renewals
        assert isinstance(response.raw, (Exchange, _Inline))
        self._exchange = response.raw
        self._stall_seconds = stall_seconds
        self._decoder: _Decoder | None = None  # once something is read decoded
        self._unread = b""

    def expect(self, size_bytes: int) -> None:
        """Its headers say that the body has so many bytes; fewer or more are none."""
        self._exchange.expect(size_bytes)

    def unread(self, data: bytes) -> None:
        """Put back *data*, what was read last and undecoded, to be read again."""
        self._unread = data + self._unread

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int = 1,
        until: float = math.inf,
    ) -> int:
        """What has arrived, undecoded, put over *targets* in turn; 0 at the end.

        At most what fits, and *least_bytes*, for which the first target has room,
        unless the body ends before; or at least one byte, once it is past *until*
        (monotonic). Raises BodyCut if it stalls or breaks off, ServerBroken where its
        framing breaks HTTP; where bytes had come, they are returned and the next call
        raises.
        """
        if self._unread:
            piece = self._piece(len(targets[0]), until)
            targets[0][: len(piece)] = piece
            return len(piece)
        return self._exchange.read_into(
            targets, least_bytes, until, self._stall_seconds
        )

    def read_some(
        self, most_bytes: int, *, decoded: bool = False, until: float = math.inf
    ) -> bytes:
        """What has arrived, at least one byte, at most *most_bytes*; b"" at the end.

        With *decoded*, the content coding is undone. Raises as `read_into`, and
        BodyCut past *until* (monotonic).
        """
        if not decoded:
            return self._piece(most_bytes, until)
        if self._decoder is None:
            self._decoder = _Decoder(self.headers.get("Content-Encoding", ""))
        # Bytes of a coding may bring none of the file: they are no progress.
        until = min(until, time.monotonic() + self._stall_seconds)
        while not (data := self._decoder.take(most_bytes)):
            piece = self._piece(most_bytes, until)
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

    def _piece(self, most_bytes: int, until: float) -> bytes:
        if self._unread:
            piece, self._unread = self._unread[:most_bytes], self._unread[most_bytes:]
            return piece
        seconds = min(self._stall_seconds, until - time.monotonic())
        buffer = bytearray(min(most_bytes, _LARGEST_PIECE_BYTES))
        count = self._exchange.read_into([memoryview(buffer)], 1, math.inf, seconds)
        return bytes(memoryview(buffer)[:count])

    def read_text(self, deadline: float, most_bytes: int = _MOST_TEXT_BYTES) -> bytes:
        """The body up to *most_bytes*, for judging; what arrived, if it breaks off.

        Compressed, as some gateways send it unasked, it is unpacked up to as many.
        Raises DeadlineExceeded when *deadline* (monotonic seconds) passes meanwhile.
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
        """Close, keeping the connection if what is left is little and comes at once."""
        left = self.headers.get("Content-Length", "")
        if left.isdecimal() and len(left) <= 9 and int(left) <= _MOST_DRAINED_BYTES:
            until = time.monotonic() + _DRAIN_SECONDS
            with contextlib.suppress(BodyCut, ServerBroken):
                while self.read_some(_MOST_DRAINED_BYTES, until=until):
                    pass
        self.close()

    def abort(self) -> None:
        """Wake the reading thread, whatever it waits for; it gets BodyCut."""
        self._exchange.abort()

    def close(self) -> None:
        """Give the connection back, or drop it if the body was not read out."""
        self._exchange.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def inline_answer(data: bytes) -> Answer:
    """The answer that *data*, a video that came inside of JSON, would be: 200, whole."""
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
    """A body that is here already, read as an `Exchange` is."""

    def __init__(self, data: bytes) -> None:
        self._left = memoryview(data)

    def expect(self, size_bytes: int) -> None:
        """Nothing: there are as many as there are."""

    def read_into(
        self,
        targets: Sequence[memoryview],
        least_bytes: int,  # noqa: ARG002 - as an exchange's
        until: float,  # noqa: ARG002
        stall_seconds: float,  # noqa: ARG002
    ) -> int:
        """As many as fit over *targets* in turn; 0 at the end."""
        count = 0
        for target in targets:
            piece = self._left[: len(target)]
            target[: len(piece)] = piece
            self._left = self._left[len(piece) :]
            count += len(piece)
        return count

    def abort(self) -> None:
        """Nothing: nobody waits."""

    def close(self) -> None:
        """Let go of the bytes."""
        self._left = memoryview(b"")


class _Decoder:
    """Undoes a content coding that nobody asked for, as some gateways send it."""

    def __init__(self, coding: str) -> None:
        formats = _WINDOW_BITS.get(coding.strip().lower())
        if formats is None:
            raise Undecodable(
                f"the body is coded as {printable(coding, 40)!r}, which was not asked for"
            )
        self._formats = formats
        self._unpacker = zlib.decompressobj(formats[0])
        self._packed = b""  # fed, and not unpacked
        self._untouched = True

    def feed(self, piece: bytes) -> None:
        """*piece* comes next."""
        self._packed += piece

    def take(self, most_bytes: int) -> bytes:
        """Up to *most_bytes* of what is inside; b"" where more must be fed for any.

        Raises Undecodable where it is not of the coding that it is said to be.
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
        """Nothing more comes; raises BodyCut where that is too early."""
        if not self._unpacker.eof and not self._untouched:
            raise BodyCut("the compressed body broke off")


def _unpacked(body: bytes, coding: str, most_bytes: int) -> bytes:
    """*body* without its content coding, up to *most_bytes*; or as it is, if it has none.

    What it is not coded as, and codings that are not in the standard library, are left.
    """
    for window_bits in _WINDOW_BITS.get(coding.strip().lower(), ()):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(window_bits).decompress(body, most_bytes)
    return body
