"""Where an HTTP/1.1 answer begins and ends, by RFC 9112. Pure.

Decides whether a head may be believed, how its body is framed, and whether another
answer may follow on the connection. Leaves sockets, deadlines and bounds to `exchange`.

This module refuses a doubtful byte and never guesses: one lost header changes the
meaning of all bytes behind it. It forgives only where the standard lets a recipient
forgive: a bare LF ends a line, a folded value is one line, a repeated length is one.

A head of twelve lines takes 47 us; h11 takes 104 and `http.client` 93 (the least of
seven rounds, 2026-11-26). The tests compare what is believed here with h11.
"""

import enum
import re
from dataclasses import dataclass

from ..errors import ServerBroken, printable

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-9]\d\d)(?: ([^\r\n\0]*))?")
_FIELD_LINE = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(.*?)[ \t]*", re.DOTALL)
_FOLD = re.compile(rb"\r?\n[ \t]+")
_LENGTH = re.compile(r"0*(\d+)", re.ASCII)
# Stands for every length of more digits; no body has as many bytes.
_ENDLESS_BYTES = 10**19
_CHUNK_LINE = re.compile(rb"([0-9A-Fa-f]{1,16})[ \t]*(?:;[^\r\n\0]*)?")
# A chunk line, at the beginning of a body whose head announces no chunks.
_LOOKS_CHUNKED = re.compile(rb"[0-9A-Fa-f]{1,8}[ \t]*(?:;[^\r\n]*)?\r\n")
# This many bytes of a body show whether it begins with a chunk line.
CHUNK_PEEK_BYTES = 16

# Python strips more characters as blank; HTTP knows only these (RFC 9110 §5.6.3).
_BLANKS = " \t"
_BODILESS = frozenset({204, 304})
SWITCHING_PROTOCOLS = 101


class Framing(enum.Enum):
    """How a recipient finds the end of a body."""

    LENGTH = "by its length"
    CHUNKED = "by a last chunk"
    CLOSE = "by the end of the connection"


@dataclass(frozen=True, slots=True)
class Head:
    """The head of an answer.

    *headers* has lower-case names; the values of a repeated header are joined by ", ".
    *length_bytes* is the body's length where *framing* is LENGTH, else None.
    *keeps_open*: the server means to answer again on this connection.
    """

    status: int
    reason: str
    headers: dict[str, str]
    framing: Framing
    length_bytes: int | None
    keeps_open: bool

    @property
    def is_interim(self) -> bool:
        """Whether the final answer is still to come (RFC 9110 §15.2)."""
        return 100 <= self.status < 200 and self.status != SWITCHING_PROTOCOLS


def end_of_head(received: bytes, start: int = 0) -> int | None:
    """Where the first empty line in *received*, from *start* on, ends; None without one."""
    while (line_end := received.find(b"\n", start)) >= 0:
        rest = received[line_end + 1 : line_end + 3]
        if rest[:1] == b"\n":
            return line_end + 2
        if rest == b"\r\n":
            return line_end + 3
        start = line_end + 1
    return None


def parse_head(head: bytes, method: str) -> Head:
    """Parse the *head* of an answer to a *method* request, its empty line included.

    Raises ServerBroken where a byte breaks the standard.
    """
    if head.endswith(b"\r\n\n") or (
        head.endswith(b"\n\r\n") and not head.endswith(b"\r\n\r\n")
    ):
        # The true empty line may be lost, and this one may belong to the body.
        raise _broken("its empty line does not end as the line before it", head[-80:])
    first, _, rest = head.partition(b"\n")
    match = _STATUS_LINE.fullmatch(first.removesuffix(b"\r"))
    if not match or rest[:1] in (b" ", b"\t"):
        raise _broken("its first line is no status line", first)
    status = int(match[2])
    headers = _parse_fields(rest)
    persistent = match[1] == b"1"
    framing, length_bytes, plain = _framing_of(
        status, method, headers, persistent=persistent
    )
    return Head(
        status,
        (match[3] or b"").decode("latin-1"),
        headers,
        framing,
        length_bytes,
        keeps_open=plain and _keeps_open(headers, persistent=persistent),
    )


def parse_chunk_line(line: bytes) -> int:
    """The size in bytes of the chunk that *line*, without its CRLF, announces.

    0 announces the last chunk. Extensions are ignored (RFC 9112 §7.1.1). Raises ServerBroken.
    """
    match = _CHUNK_LINE.fullmatch(line)
    if not match:
        raise _broken("a chunk has no size", line)
    return int(match[1], 16)


def check_trailers(trailers: bytes) -> None:
    """Raise ServerBroken unless every line of *trailers* is a header line."""
    _parse_fields(trailers)


def looks_chunked(first: bytes) -> bool:
    """Whether a body that begins with *first* is in chunks, though its head is silent.

    No container of video begins with a chunk line. Without this check, a head that
    lost a line would let chunk sizes pass for video.
    """
    return _LOOKS_CHUNKED.match(first) is not None


def _parse_fields(lines: bytes) -> dict[str, str]:
    """The fields in *lines*; the last line is empty."""
    headers: dict[str, str] = {}
    for line in _FOLD.sub(b" ", lines).split(b"\n"):
        line = line.removesuffix(b"\r")  # noqa: PLW2901 - the line without its end
        if not line:
            continue
        match = _FIELD_LINE.fullmatch(line)
        if not match or b"\r" in line or b"\0" in line:
            raise _broken("a header line is malformed", line)
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def _framing_of(
    status: int, method: str, headers: dict[str, str], *, persistent: bool
) -> tuple[Framing, int | None, bool]:
    """How the body is framed, its length, and whether the framing leaves no doubt.

    Follows the order of RFC 9112 §6.3.
    """
    length_bytes = _length_of(headers)
    coding = headers.get("transfer-encoding")
    if coding is not None and coding.strip(_BLANKS).lower() != "chunked":
        raise _broken("its transfer coding was not asked for", coding.encode("latin-1"))
    if method == "HEAD" or status in _BODILESS or 100 <= status < 200:
        return Framing.LENGTH, 0, True
    if coding is not None:
        # Chunks win over a length, and HTTP/1.0 has no chunks. An attacker may have
        # made the server send such a head: no other answer is read from there.
        return Framing.CHUNKED, None, length_bytes is None and persistent
    if length_bytes is not None:
        return Framing.LENGTH, length_bytes, True
    return Framing.CLOSE, None, False


def _length_of(headers: dict[str, str]) -> int | None:
    """The Content-Length, None without one; a repeated equal length counts once."""
    said = headers.get("content-length")
    if said is None:
        return None
    lengths = {length.strip(_BLANKS) for length in said.split(",")}
    match = _LENGTH.fullmatch(lengths.pop())
    if lengths or not match:
        raise _broken("its Content-Length is no length", said.encode("latin-1"))
    return int(match[1]) if len(match[1]) <= 19 else _ENDLESS_BYTES


def _keeps_open(headers: dict[str, str], *, persistent: bool) -> bool:
    options = {
        o.strip(_BLANKS).lower() for o in headers.get("connection", "").split(",")
    }
    if "close" in options:
        return False
    return persistent or "keep-alive" in options


def _broken(what: str, said: bytes) -> ServerBroken:
    quoted = printable(said[:80].decode("latin-1"), 60)
    return ServerBroken(f"the answer is no HTTP: {what}: {quoted!r}")
