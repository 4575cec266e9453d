"""Bodies: chunks, lengths, what follows the end, and connections that end early."""

from functools import partial
from random import Random

from tests.fuzzing.table import (
    Answer,
    Drip,
    End,
    Endless,
    Pause,
    Script,
    Shred,
    Unasked,
    add,
    api_content,
    chunked,
    from_server,
    get,
    has_fields,
    head_of,
    kind,
    part,
    sized_video,
    tailed,
    video,
    with_body,
)


def framed_head(answer: Answer) -> bytes:
    """The head of *answer*, whose body will come in chunks."""
    bare = answer.without("Content-Length")
    return bare.with_field("Transfer-Encoding", "chunked").head()


def split(body: bytes, chance: Random, most: int = 12) -> list[bytes]:
    """*body* in a few pieces at random places, none of them empty."""
    count = min(chance.randrange(1, most), len(body) - 1)
    cuts = sorted(chance.sample(range(1, len(body)), max(0, count)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]


def chunk(piece: bytes, size: bytes | None = None, extension: bytes = b"") -> bytes:
    """One chunk, whose line says *size* instead of its own size."""
    said = b"%x" % len(piece) if size is None else size
    return said + extension + b"\r\n" + piece + b"\r\n"


LAST = b"0\r\n\r\n"

# --- chunks as they may be ---------------------------------------------------------------


@kind("legal/chunked", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    pieces = split(answer.body, chance)
    return [framed_head(answer) + b"".join(map(chunk, pieces)) + LAST]


@kind("legal/chunks-of-a-byte", with_body, legal=True)
def _(answer: Answer, _: Random) -> Script:
    first, rest = answer.body[:300], answer.body[300:]
    chunks = b"".join(chunk(first[at : at + 1]) for at in range(len(first)))
    return [framed_head(answer) + chunks + (chunk(rest) if rest else b"") + LAST]


@kind("legal/chunk-sizes-written-otherwise", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    sizes = (b"%X", b"%08x", b"00%X")
    chunks = [
        chunk(piece, chance.choice(sizes) % len(piece))
        for piece in split(answer.body, chance)
    ]
    return [framed_head(answer) + b"".join(chunks) + LAST]


@kind("legal/chunk-extensions", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    some = (b"", b";a", b";a=b", b';a="b c"', b";a=1;b=2")
    chunks = [
        chunk(piece, extension=chance.choice(some))
        for piece in split(answer.body, chance)
    ]
    return [framed_head(answer) + b"".join(chunks) + b"0;last\r\n\r\n"]


@kind("legal/trailers", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    trailer = b'X-Checksum: 123\r\nServer-Timing: a;dur=1\r\nETag: "trailer"\r\n'
    pieces = split(answer.body, chance)
    return [
        framed_head(answer)
        + b"".join(map(chunk, pieces))
        + b"0\r\n"
        + trailer
        + b"\r\n"
    ]


@kind("legal/chunks-in-shreds", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    """The framing is cut by the network, wherever it likes."""
    framed = b"".join(map(chunk, split(answer.body, chance))) + LAST
    first, middle, last = framed[:60], framed[60:-4], framed[-4:]
    return [framed_head(answer), Shred(first, 3, 0.005), middle, Pause(0.02), last]


@kind("legal/coding-in-any-case", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    value = chance.choice(("Chunked", "CHUNKED", "chunked ", "\tchunked"))
    bare = answer.without("Content-Length", "Transfer-Encoding")
    head = head_of([*bare.lines(), f"Transfer-Encoding: {value}"])
    return [head + chunked(answer.body)]


# --- chunk sizes that are none -----------------------------------------------------------

SIZES = {
    "negative": b"-%x",
    "plus": b"+%x",
    "0x": b"0x%x",
    "blank-before": b" %x",
    "junk-behind": b"%xg",
    "float": b"%x.0",
    "underscore": b"1_%x",
    "comma": b"%x,0",
    "nul": b"%x\x00",
    "huge-63": b"7fffffffffffffff",
    "huge-64": b"ffffffffffffffff",
    "wraps": b"1%016x",
    "wraps-32": b"1%08x",
    "overlong": b"0" * 5000 + b"%x",
    "digits": b"f" * 5000,
    "full-width": "\uff11".encode(),
    "empty": b"",
    "blank": b" ",
    "word": b"chunk",
}


def _size(said: bytes, answer: Answer, chance: Random) -> Script:
    """One chunk of several says its size in a way that is none."""
    pieces = split(answer.body, chance)
    wrong = chance.randrange(len(pieces))
    framed = b"".join(
        chunk(p, (said % len(p) if b"%" in said else said) if n == wrong else None)
        for n, p in enumerate(pieces)
    )
    end = chance.choice((End.CLOSE, Pause(0.05)))
    return [framed_head(answer) + framed + LAST, end]


for _name, _said in SIZES.items():
    add(f"framing/size-{_name}", partial(_size, _said), with_body, doubtful=True)


@kind("framing/size-too-large", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """A chunk takes the framing behind it for its own."""
    pieces = split(answer.body, chance)
    at = chance.randrange(len(pieces))
    more = chance.choice((1, 2, 6, 7, 8, 1000))
    framed = b"".join(
        chunk(p, b"%x" % (len(p) + more) if n == at else None)
        for n, p in enumerate(pieces)
    )
    return [framed_head(answer) + framed + LAST, chance.choice((End.CLOSE, Pause(2)))]


@kind("framing/size-too-small", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    first, rest = answer.body[:1000], answer.body[1000:]
    framed = chunk(first, b"%x" % max(0, len(first) - 3)) + (
        chunk(rest) if rest else b""
    )
    return [framed_head(answer) + framed + LAST]


@kind("framing/line-ends", with_body)
def _(answer: Answer, chance: Random) -> Script:
    """A bare LF where CRLF must stand, or a bare CR."""
    end = chance.choice((b"\n", b"\r"))
    chunks = [
        (b"%x" % len(p))
        + chance.choice((end, b"\r\n"))
        + p
        + chance.choice((end, b"\r\n"))
        for p in split(answer.body, chance)
    ]
    return [framed_head(answer) + b"".join(chunks) + LAST, End.CLOSE]


@kind("framing/no-crlf-after-data", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    pieces = split(answer.body, chance)
    framed = b"".join(b"%x\r\n%b" % (len(p), p) for p in pieces)
    return [framed_head(answer) + framed + LAST, chance.choice((End.CLOSE, Pause(1)))]


@kind("framing/junk-after-data", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    junk = chance.choice((b"xx", b"junk", b"\r\n", b"\x00\x00", b"12"))
    pieces = split(answer.body, chance)
    framed = b"".join(b"%x\r\n%b%b\r\n" % (len(p), p, junk) for p in pieces)
    return [framed_head(answer) + framed + LAST]


# --- more, or less, than was asked for ---------------------------------------------------------


@kind("framing/chunk-beyond-the-range", part)
def _(answer: Answer, chance: Random) -> Script:
    """One chunk brings the range, and bytes of another video."""
    more = answer.world.other(answer.request).body[: chance.choice((1, 5, 4096))]
    return [framed_head(answer) + chunk(answer.body + more) + LAST]


@kind("framing/chunk-after-the-range", part)
def _(answer: Answer, chance: Random) -> Script:
    more = answer.world.other(answer.request).body[: chance.choice((1, 5, 4096))]
    return [framed_head(answer) + chunk(answer.body) + chunk(more) + LAST]


@kind("framing/chunks-without-end", part)
def _(answer: Answer, _: Random) -> Script:
    return [
        framed_head(answer) + chunk(answer.body),
        Endless(chunk(b"more" * 1000), 0.001),
    ]


@kind("framing/chunks-short", sized_video)
def _(answer: Answer, chance: Random) -> Script:
    """All is well framed, and some of the range is missing."""
    body = answer.body[: chance.randrange(len(answer.body))]
    return [framed_head(answer) + chunked(body)]


@kind("framing/no-chunks", sized_video)
def _(answer: Answer, _: Random) -> Script:
    return [framed_head(answer) + LAST]


@kind("framing/no-last-chunk", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    end = chance.choice((End.CLOSE, End.RESET, Pause(12)))
    return [framed_head(answer) + chunked(answer.body, last=b""), end]


@kind("framing/last-chunk-cut", with_body)
def _(answer: Answer, chance: Random) -> Script:
    cut = LAST[: chance.randrange(1, len(LAST))]
    end = chance.choice((End.CLOSE, End.RESET, Pause(12)))
    return [framed_head(answer) + chunked(answer.body, last=cut), end]


@kind("framing/cut-in-a-chunk", with_body)
def _(answer: Answer, chance: Random) -> Script:
    framed = b"".join(map(chunk, split(answer.body, chance)))
    end = chance.choice((End.CLOSE, End.RESET, End.ABRUPT, Pause(12)))
    return [framed_head(answer) + framed[: chance.randrange(len(framed))], end]


@kind("framing/long-body", from_server, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """More bytes than the length says: some of another video, as they come."""
    more = answer.world.other(answer.request).body[: chance.choice((1, 2, 5000))]
    return tailed(answer.whole(), more or b"x")


@kind("framing/short-body", lambda a: with_body(a) and has_fields("Content-Length")(a))
def _(answer: Answer, chance: Random) -> Script:
    body = answer.body[: chance.randrange(len(answer.body))]
    ends = (End.CLOSE, End.RESET, End.ABRUPT, Pause(2), Pause(12))
    return [answer.head() + body, chance.choice(ends)]


@kind("framing/length-less-than-range", part)
def _(answer: Answer, chance: Random) -> Script:
    """The range is named in full, the length is that of a part of it."""
    body = answer.body[: chance.randrange(len(answer.body))]
    short = answer.with_field("Content-Length", str(len(body)))
    return [short.head() + body]


@kind("framing/until-close-short", lambda a: part(a) and a.sized)
def _(answer: Answer, chance: Random) -> Script:
    bare = answer.without("Content-Length", "Transfer-Encoding")
    body = answer.body[: chance.randrange(len(answer.body))]
    return [bare.head() + body, chance.choice((End.CLOSE, End.ABRUPT, End.RESET))]


@kind("framing/until-close-long", part)
def _(answer: Answer, chance: Random) -> Script:
    bare = answer.without("Content-Length", "Transfer-Encoding")
    more = answer.world.other(answer.request).body[: chance.choice((1, 4096))]
    return [bare.head() + answer.body + more, End.CLOSE]


@kind("framing/until-close-without-end", part)
def _(answer: Answer, _: Random) -> Script:
    bare = answer.without("Content-Length", "Transfer-Encoding")
    return [bare.head() + answer.body, Endless(b"more" * 4000, 0.001)]


# --- what follows the end ------------------------------------------------------------------------


@kind("framing/second-answer", from_server, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    """Behind it stands another video's answer to the same request."""
    return tailed(answer.whole(), answer.world.other(answer.request).whole())


@kind("framing/second-answer-after-chunks", with_body, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    sent = framed_head(answer) + chunked(answer.body)
    return tailed(sent, answer.world.other(answer.request).whole())


@kind("framing/junk-after-the-end", from_server, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    junk = (b"\r\n", b"\n", b"x", b"HTTP/1.1 200 OK\r\n\r\n", chance.randbytes(3000))
    return tailed(answer.whole(), chance.choice(junk))


@kind("framing/unasked-answer", from_server)
def _(answer: Answer, chance: Random) -> Script:
    """Another video's, on an idle connection."""
    other = answer.world.other(answer.request).whole()
    return [answer.whole(), Unasked(other, chance.choice((0.0, 0.05, 0.3, 1.0)))]


@kind("framing/unasked-timeout", from_server)
def _(answer: Answer, chance: Random) -> Script:
    """Load balancers send this on an idle connection before they close it."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    end = (End.CLOSE,) if chance.random() < 0.5 else ()
    return [answer.whole(), Unasked(late, chance.uniform(0.0, 1.0)), *end]


@kind("undetectable/unasked-answer", api_content, undetectable=True)
def _(answer: Answer, _: Random) -> Script:
    """Sent once the next request has left, equal in all that an answer names."""
    other = answer.world.other(answer.request).without("ETag", "Last-Modified")
    return [answer.whole(), Unasked(other.whole(), 5.0, anyway=True)]


@kind("framing/head-with-a-body", lambda a: a.request.method == "HEAD", doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """The body that a GET would have, or another answer."""
    other = answer.world.other(answer.request).whole()
    return tailed(answer.head(), chance.choice((answer.body[:4000] or b"{}", other)))


@kind("framing/bodiless-with-a-body", get, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """RFC 9110 §6.4.1: 204 and 304 have none; what follows is no answer."""
    code = chance.choice((204, 304))
    head = head_of([f"HTTP/1.1 {code} None", *answer.lines()[1:]])
    other = answer.world.other(answer.request).whole()
    return tailed(head, chance.choice((answer.payload() or other, other)))


# --- what drips in the framing, or never ends ---------------------------------------------------

DRIPPED = {
    "size": (b"", b"0"),
    "extension": (b"5;", b"x"),
    "quoted-extension": (b'5;a="', b" "),
    "size-end": (b"5", b"\r"),
}


def _framing_drips(
    prefix: bytes, piece: bytes, answer: Answer, chance: Random
) -> Script:
    """Behind some whole chunks, or at once, a line of framing that does not end."""
    whole = chunk(answer.body[:1000]) if chance.random() < 0.7 else b""
    seconds = chance.choice((0.05, 0.2, 1.0))
    return [framed_head(answer) + whole + prefix, Endless(piece, seconds)]


def _framing_floods(
    prefix: bytes, piece: bytes, answer: Answer, chance: Random
) -> Script:
    whole = chunk(answer.body[:1000]) if chance.random() < 0.7 else b""
    return [framed_head(answer) + whole + prefix, Endless(piece * 10_000)]


for _name, (_prefix, _piece) in DRIPPED.items():
    add(f"framing/{_name}-drips", partial(_framing_drips, _prefix, _piece), with_body)
    add(f"framing/{_name}-floods", partial(_framing_floods, _prefix, _piece), with_body)


@kind("framing/extension-huge", with_body)
def _(answer: Answer, chance: Random) -> Script:
    size = chance.choice((5000, 70_000, 2_000_000))
    large = chunk(answer.body, extension=b";x=" + b"y" * size)
    return [framed_head(answer) + large + LAST]


@kind("framing/trailer-drips", with_body)
def _(answer: Answer, chance: Random) -> Script:
    start = framed_head(answer) + chunked(answer.body, last=b"0\r\n")
    piece, seconds = chance.choice(
        ((b"x", 0.2), (b"X-T: 1\r\n", 0.3), (b"X: 1\r\n", 1))
    )
    return [start, Endless(piece, seconds)]


@kind("framing/trailer-floods", with_body)
def _(answer: Answer, chance: Random) -> Script:
    start = framed_head(answer) + chunked(answer.body, last=b"0\r\n")
    return [start, Endless(chance.choice((b"x" * 65536, b"X-T: 1\r\n" * 5000)))]


@kind("framing/trailer-huge", with_body)
def _(answer: Answer, chance: Random) -> Script:
    trailer = chance.choice(
        (b"X-T: " + b"x" * 2_000_000 + b"\r\n", b"X: 1\r\n" * 50_000)
    )
    last = b"0\r\n" + trailer + b"\r\n"
    return [framed_head(answer) + chunked(answer.body, last=last)]


@kind("framing/trailer-malformed", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    line = chance.choice((b"no colon", b" fold", b"X : blank", b"X: a\x00b", b": none"))
    last = b"0\r\n" + line + b"\r\n\r\n"
    return [framed_head(answer) + chunked(answer.body, last=last)]


@kind("framing/chunks-drip", video)
def _(answer: Answer, chance: Random) -> Script:
    """Whole chunks of a byte, each after a while."""
    count = min(len(answer.body), 200)
    framed = b"".join(chunk(answer.body[at : at + 1]) for at in range(count))
    return [framed_head(answer), Drip(framed, 6, chance.choice((0.05, 0.3)))]


# --- connections that end ------------------------------------------------------------------------


@kind("framing/close-anywhere", from_server)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.whole()
    return [sent[: chance.randrange(len(sent))], End.CLOSE]


@kind("framing/reset-anywhere", from_server)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.whole()
    return [sent[: chance.randrange(len(sent))], End.RESET]


@kind("framing/close-at-once", from_server)
def _(answer: Answer, chance: Random) -> Script:
    return [chance.choice((End.CLOSE, End.RESET, End.ABRUPT))]


@kind("framing/reset-after-the-end", from_server)
def _(answer: Answer, chance: Random) -> Script:
    return [answer.whole(), Pause(chance.choice((0.001, 0.1))), End.RESET]


@kind("legal/close-after-the-end", from_server, legal=True)
def _(answer: Answer, _: Random) -> Script:
    """Without a word before: the next request needs another connection."""
    return [answer.whole(), End.CLOSE]
