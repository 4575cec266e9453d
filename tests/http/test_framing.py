"""Which heads are believed and how bodies end; h11, a strict parser, is the measure."""

import contextlib
from typing import Any

import h11
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from hingfs.errors import ServerBroken
from hingfs.http.framing import (
    Framing,
    check_trailers,
    end_of_head,
    looks_chunked,
    parse_chunk_line,
    parse_head,
)

pytestmark = pytest.mark.usefixtures("little_address_space")

LENGTH, CHUNKED, CLOSE = Framing.LENGTH, Framing.CHUNKED, Framing.CLOSE


def head(*lines: str, first: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([first, *lines, "", ""]).encode("latin-1")


@pytest.mark.parametrize(
    ("lines", "framing", "length", "keeps_open"),
    [
        (["Content-Length: 5"], LENGTH, 5, True),
        (["content-length:5"], LENGTH, 5, True),
        (["Content-Length: \t 5 \t"], LENGTH, 5, True),
        (["Content-Length: 5", "Content-Length: 5"], LENGTH, 5, True),
        (["Content-Length: 5, 5"], LENGTH, 5, True),
        (["Content-Length: " + "0" * 5000 + "5"], LENGTH, 5, True),
        (["Content-Length: " + "9" * 5000], LENGTH, 10**19, True),
        (["Content-Length: 5", "Connection: close"], LENGTH, 5, False),
        (["Content-Length: 5", "Connection: X, Close"], LENGTH, 5, False),
        (["Transfer-Encoding: chunked"], CHUNKED, None, True),
        (["transfer-encoding: CHUNKED"], CHUNKED, None, True),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], CHUNKED, None, False),
        ([], CLOSE, None, False),
        (["Connection: keep-alive"], CLOSE, None, False),
    ],
)
def test_a_body_ends_as_the_head_says(lines, framing, length, keeps_open):
    found = parse_head(head(*lines), "GET")

    assert (found.framing, found.length_bytes) == (framing, length)
    assert found.keeps_open is keeps_open


@pytest.mark.parametrize(
    ("first", "method"),
    [
        ("HTTP/1.1 200 OK", "HEAD"),
        ("HTTP/1.1 204 No Content", "GET"),
        ("HTTP/1.1 304 Not Modified", "GET"),
        ("HTTP/1.1 103 Early Hints", "GET"),
    ],
)
def test_some_answers_have_no_body_whatever_their_length(first, method):
    found = parse_head(head("Content-Length: 5", first=first), method)

    assert (found.framing, found.length_bytes) == (LENGTH, 0)
    assert found.keeps_open


@pytest.mark.parametrize(
    ("lines", "keeps_open"),
    [
        (["Content-Length: 5"], False),
        (["Content-Length: 5", "Connection: keep-alive"], True),
        (["Transfer-Encoding: chunked", "Connection: keep-alive"], False),
    ],
)
def test_http_1_0_closes_unless_it_says_otherwise(lines, keeps_open):
    found = parse_head(head(*lines, first="HTTP/1.0 200 OK"), "GET")

    assert found.keeps_open is keeps_open


@pytest.mark.parametrize(
    "first",
    [
        *("HTTP/1.1 200 ", "HTTP/1.1 200", "HTTP/1.1 200 \xfc\xf6"),
        "HTTP/1.0 999 Request denied",
    ],
)
def test_a_reason_may_be_anything(first):
    assert parse_head(head("Content-Length: 1", first=first), "GET").length_bytes == 1


def test_a_bare_line_feed_ends_a_line():
    found = parse_head(b"HTTP/1.1 200 OK\nContent-Length: 5\nETag: x\n\n", "GET")

    assert found.headers == {"content-length": "5", "etag": "x"}


@pytest.mark.parametrize("end", [b"\r\n\n", b"\n\r\n"])
def test_an_empty_line_that_ends_otherwise_is_not_believed(end):
    """The empty line was lost, and the body begins with that byte."""
    with pytest.raises(ServerBroken, match="empty line"):
        parse_head(b"HTTP/1.1 200 OK\r\nContent-Length: 5" + end, "GET")


def test_a_folded_value_is_one_line():
    found = parse_head(head("ETag: a", "  b", "\tc", "Content-Length: 5"), "GET")

    assert found.headers["etag"] == "a b c"
    assert found.length_bytes == 5


BROKEN = {
    "no status line": b"220 mail.example ESMTP\r\n\r\n",
    "an empty one": b"\r\nHTTP/1.1 200 OK\r\n\r\n",
    "HTTP/0.9": b"<html>\r\n\r\n",
    "HTTP/2": b"HTTP/2 200\r\n\r\n",
    "another major version": b"HTTP/2.0 200 OK\r\n\r\n",
    "two digits": b"HTTP/1.1 20 OK\r\n\r\n",
    "four digits": b"HTTP/1.1 2000 OK\r\n\r\n",
    "a sign": b"HTTP/1.1 +20 OK\r\n\r\n",
    "lower case": b"http/1.1 200 OK\r\n\r\n",
    "a code below 100": b"HTTP/1.1 099 OK\r\n\r\n",
    "a status line that is folded": b"HTTP/1.1 200 OK\r\n ETag: x\r\n\r\n",
    "a line without a colon": head("ETag x", "Content-Length: 5"),
    "a blank before the colon": head("Content-Length : 5"),
    "no name": head(": 5"),
    "a name that is none": head("Content Length: 5"),
    "NUL in a value": head("X: a\0b"),
    "NUL in a name": head("X\0: a"),
    "a bare CR": head("X: a\rContent-Length: 5"),
    "a CR too many": head("X: a\r"),
    "a length with a sign": head("Content-Length: +5"),
    "a negative length": head("Content-Length: -5"),
    "a length in hexadecimal": head("Content-Length: 0x10"),
    "a length of words": head("Content-Length: five"),
    "an empty length": head("Content-Length:"),
    "two lengths": head("Content-Length: 5", "Content-Length: 6"),
    "two lengths in a line": head("Content-Length: 5, 6"),
    "a length in other digits": head("Content-Length: \xb2"),
    "gzip, chunked": head("Transfer-Encoding: gzip, chunked"),
    "chunked twice": head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
    "identity": head("Transfer-Encoding: identity"),
    "no coding": head("Transfer-Encoding:", "Content-Length: 5"),
    "xchunked": head("Transfer-Encoding: xchunked"),
    "another blank before chunked": head("Transfer-Encoding: \x0bchunked"),
    "another blank behind chunked": head("Transfer-Encoding: chunked\xa0"),
    "another blank behind a length": head("Content-Length: 5\x0c"),
    "chunked with a weight": head("Transfer-Encoding: chunked;q=1"),
}


@pytest.mark.parametrize("text", BROKEN.values(), ids=BROKEN)
def test_a_head_in_doubt_is_refused(text):
    with pytest.raises(ServerBroken, match="no HTTP"):
        parse_head(text, "GET")


def test_a_message_quotes_a_line_in_part():
    with pytest.raises(ServerBroken) as refused:
        parse_head(head("\x1b[31m" + "x" * 1000), "GET")

    assert len(str(refused.value)) < 140
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"0", 0),
        (b"1f", 31),
        (b"1F", 31),
        (b"001f", 31),
        (b"5 ", 5),
        (b"5;a=b", 5),
        (b'5 ; a="b;c"', 5),
        (b"f" * 16, (1 << 64) - 1),
    ],
)
def test_a_chunk_says_its_size(line, size):
    assert parse_chunk_line(line) == size


@pytest.mark.parametrize(
    "line",
    [b"", b" 5", b"-5", b"+5", b"0x5", b"5g", b"5,", b"f" * 17, b"5\r", b"5;\n", b";a"],
)
def test_a_chunk_without_a_size_is_refused(line):
    with pytest.raises(ServerBroken):
        parse_chunk_line(line)


def test_trailers_are_header_lines():
    check_trailers(b"")
    check_trailers(b"X-Checksum: abc\r\nY: z\r\n")
    with pytest.raises(ServerBroken):
        check_trailers(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.parametrize(
    ("first", "chunked"),
    [
        (b"20000\r\n\0\0\0\x18ftyp", True),
        (b"1f;x=y\r\n", True),
        (b"0\r\n\r\n", True),
        (b"\0\0\0\x18ftypisom", False),
        (b"\x1aE\xdf\xa3", False),
        (b"12345678901\r\n", False),
        (b"", False),
    ],
)
def test_a_body_in_chunks_is_known_by_its_first_bytes(first, chunked):
    assert looks_chunked(first) is chunked


# --- against h11 -----------------------------------------------------------------------

NAMES = st.sampled_from(
    ["Content-Length", "Transfer-Encoding", "Connection", "ETag", "X-A", "X", "X Y", ""]
)
VALUES = st.one_of(
    st.sampled_from(
        [
            *("5", "6", "5, 5", "+5", "-1", "0x5", "", "chunked", "gzip", "identity"),
            *("close", "keep-alive", '"e"', "a\tb", "\xe9", "a\0b", "a\rb", "1e3"),
        ]
    ),
    st.text('abc 019,;:=\t"\r\n\0\x7f\xff', max_size=12),
)
COLONS = st.sampled_from([":", ": ", ":\t", " :", "", "::"])
ENDS = st.sampled_from(["\r\n", "\r\n", "\r\n", "\n", "\r", "\r\n "])
LINES = st.lists(st.tuples(NAMES, COLONS, VALUES, ENDS), max_size=5)
FIRSTS = st.sampled_from(
    [
        *("HTTP/1.1 200 OK", "HTTP/1.0 206 Partial", "HTTP/1.1 204 ", "HTTP/1.1 404"),
        *("HTTP/1.1 99 x", "HTTP/1.12 200 OK", "HTTP/1.1  200 OK", "ICY 200 OK", ""),
    ]
)


def h11_reads(text: bytes, method: str) -> tuple[Framing, int | None] | None:
    """How h11 frames the body behind this head; None where it refuses the head."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(text)
    try:
        event = client.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(event, h11.Response):
        return None
    reader = type(client._reader).__name__
    if reader == "ChunkedReader":
        return CHUNKED, None
    if reader == "Http10Reader":
        return CLOSE, None
    remaining = getattr(client._reader, "_remaining", 0)
    return LENGTH, remaining


@given(FIRSTS, LINES, st.sampled_from(["GET", "HEAD"]))
def test_no_head_is_believed_that_h11_refuses_or_frames_otherwise(first, lines, method):
    """Ours may refuse more: codings that were not asked for, a folded first line."""
    text = first + "\r\n" + "".join("".join(line) for line in lines) + "\r\n"
    raw = text.encode("latin-1")
    stop = end_of_head(raw)
    if stop is None:
        return
    try:
        found = parse_head(raw[:stop], method)
    except ServerBroken:
        return
    if found.headers.keys() & {"content-length"} and found.framing is not LENGTH:
        return  # h11 refuses nothing here either, and reads it as chunks
    measured = h11_reads(raw[:stop], method)
    assert measured is not None, raw
    if measured != (found.framing, found.length_bytes):
        # Without a body there is nothing to frame.
        assert method == "HEAD" or found.status in (204, 304)


@given(st.binary(max_size=300))
def test_any_bytes_give_a_head_or_a_refusal(raw):
    stop = end_of_head(raw)
    text = raw if stop is None else raw[:stop]
    with contextlib.suppress(ServerBroken):
        assert 100 <= parse_head(text, "GET").status <= 999


@given(st.binary(max_size=40), st.integers(0, 40))
def test_the_end_of_a_head_is_its_first_empty_line(raw, start):
    stop = end_of_head(raw, start)
    ends = [
        at + len(end)
        for end in (b"\n\n", b"\n\r\n")
        for at in range(start, len(raw))
        if raw.startswith(end, at)
    ]

    assert stop == min(ends, default=None)


@given(st.text('0123456789abcdefABCDEF;= x\t"', max_size=20))
def test_chunk_lines_are_read_as_h11_reads_them(line):
    raw = line.encode()
    assume(b" ;" not in raw)  # RFC 9112 §7.1.1 has blanks there, h11 has none
    assume(b"\t;" not in raw)
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    client.send(h11.EndOfMessage())
    client.receive_data(head("Transfer-Encoding: chunked") + raw + b"\r\n")
    client.next_event()
    try:
        size = parse_chunk_line(raw)
    except ServerBroken:
        return
    client.next_event()  # raises where h11 finds no size
    reader: Any = client._reader
    assert size in {reader._bytes_in_chunk, 0}
