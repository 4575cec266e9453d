"""Heads: status lines, malformed lines, framing fields, and what is allowed but odd."""

from dataclasses import replace
from functools import partial
from random import Random

from tests.fuzzing.table import (
    Answer,
    End,
    Endless,
    Pause,
    Script,
    add,
    anything,
    chunked,
    from_server,
    has_fields,
    head_of,
    kind,
    sized_video,
    video,
    with_body,
)

# --- status lines --------------------------------------------------------------------

STATUS_LINES = {
    "no-code": "HTTP/1.1",
    "word-for-code": "HTTP/1.1 abc OK",
    "two-digits": "HTTP/1.1 20 OK",
    "four-digits": "HTTP/1.1 2000 OK",
    "negative": "HTTP/1.1 -200 OK",
    "icy": "ICY 200 OK",
    "no-version": "200 OK",
    "version-in-words": "HTTP/one.one 200 OK",
    "version-2": "HTTP/2 200 OK",
    "version-3.0": "HTTP/3.0 200 OK",
    "version-0.9": "HTTP/0.9 200 OK",
    "blank": "   ",
    "request": "GET / HTTP/1.1",
    "code-0": "HTTP/1.1 000 OK",
    "code-99": "HTTP/1.1 099 OK",
    "code-600": "HTTP/1.1 600 Beyond",
    "code-999": "HTTP/1.1 999 Denied",
    "superscript": "HTTP/1.1 20\xb2 OK",
    "colon": "HTTP/1.1: 200 OK",
    "nul": "HTTP/1.1 200 O\x00K",
    "long": "HTTP/1.1 200 " + "K" * 200_000,
}


def _status_line(line: str, answer: Answer, _: Random) -> Script:
    return [head_of([line, *answer.lines()[1:]]) + answer.payload()]


for _name, _line in STATUS_LINES.items():
    add(f"heads/status-{_name}", partial(_status_line, _line), anything)


@kind("heads/random-bytes", anything)
def _(answer: Answer, chance: Random) -> Script:
    return [chance.randbytes(chance.randrange(1, 5000)), End.CLOSE]


@kind("heads/http-0.9", with_body)
def _(answer: Answer, _: Random) -> Script:
    return [answer.body, End.CLOSE]


@kind("heads/blank-lines-before", anything)
def _(answer: Answer, chance: Random) -> Script:
    return [b"\r\n" * chance.choice((1, 2, 500)) + answer.whole()]


@kind("heads/cut", anything)
def _(answer: Answer, chance: Random) -> Script:
    head = answer.head()
    return [head[: chance.randrange(len(head))], chance.choice((End.CLOSE, End.RESET))]


@kind("heads/never-ends", anything)
def _(answer: Answer, _: Random) -> Script:
    return [answer.head()[:-2], Endless(b"X-More: and more\r\n", 0.001)]


# --- malformed lines, and what stands behind them ---------------------------------------

MALFORMED = {
    "no-colon": "a line without a colon",
    "blank-before-colon": "X-Blank : value",
    "tab-before-colon": "X-Blank\t: value",
    "no-name": ": value",
    "blank-in-name": "X Blank: value",
    "nul-in-name": "X-N\x00ul: value",
    "nul-in-value": "X-Nul: a\x00b",
    "bare-cr": "X-Cr: a\rX-Hidden: b",
    "control-in-name": "X-\x01: value",
    "umlaut-in-name": "X-\xfc: value",
}
LOSABLE = ("ETag", "Content-Length", "Content-Range", "Content-Type")


def _malformed_at(answer: Answer, line: str, at: int) -> bytes:
    lines = answer.lines()
    return head_of([*lines[:at], line, *lines[at:]]) + answer.payload()


def _malformed(line: str, answer: Answer, chance: Random) -> Script:
    return [_malformed_at(answer, line, chance.randrange(1, len(answer.fields) + 2))]


def _losing(name: str, answer: Answer, chance: Random) -> Script:
    """Behind a malformed line stands field *name*."""
    line = chance.choice(list(MALFORMED.values()))
    moved = answer.without(name).with_field(name, answer.get(name))
    return [_malformed_at(moved, line, len(moved.fields))]


for _name, _line in MALFORMED.items():
    add(
        f"heads/malformed-{_name}",
        partial(_malformed, _line),
        anything,
        doubtful=True,
    )
for _name in LOSABLE:
    add(
        f"heads/lost-{_name.lower()}",
        partial(_losing, _name),
        has_fields(_name),
        doubtful=True,
    )


@kind("heads/lost-transfer-encoding", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """The framing comes out as video, where the client looks at the rest alone."""
    framed = _chunked(answer)
    if chance.random() < 0.5:  # as long as the range, to be believed
        framed = framed.with_field("Content-Length", str(len(answer.body)))
    return [*_losing("Transfer-Encoding", framed, chance), End.CLOSE]


@kind("heads/folded", anything)
def _(answer: Answer, chance: Random) -> Script:
    """RFC 9112 §5.2: a client takes a fold for blanks, or refuses it."""
    at = chance.randrange(len(answer.fields) + 1)
    lines = answer.lines()
    lines.insert(at + 1, "X-Folded: first\r\n second\r\n\tthird")
    return [head_of(lines) + answer.payload()]


@kind("heads/folded-value", has_fields("Content-Length"))
def _(answer: Answer, chance: Random) -> Script:
    name = chance.choice(("Content-Length", "ETag", "Content-Range"))
    folded = answer.with_field(name, "\r\n " + answer.get(name))
    return [folded.whole()]


@kind("heads/fold-first", anything, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    """A fold with nothing before it but the status line."""
    return [_malformed_at(answer, " X-Fold: of nothing", 1)]


@kind("heads/bare-lf", anything)
def _(answer: Answer, _: Random) -> Script:
    """RFC 9112 §2.2: a client may take it for the end of a line."""
    return [answer.head().replace(b"\r\n", b"\n") + answer.payload()]


@kind("heads/some-bare-lf", anything)
def _(answer: Answer, chance: Random) -> Script:
    parts = answer.head().split(b"\r\n")
    ends = [chance.choice((b"\n", b"\r\n")) for _ in parts[1:]]
    head = parts[0] + b"".join(
        end + piece for end, piece in zip(ends, parts[1:], strict=True)
    )
    return [head + answer.payload()]


@kind("heads/cr-for-crlf", anything)
def _(answer: Answer, _: Random) -> Script:
    return [answer.head().replace(b"\r\n", b"\r") + answer.payload(), End.CLOSE]


@kind("heads/no-empty-line", with_body)
def _(answer: Answer, chance: Random) -> Script:
    """The head runs into the body."""
    return [answer.head()[:-2] + answer.payload(), chance.choice((End.CLOSE, Pause(6)))]


# --- too much --------------------------------------------------------------------------


@kind("heads/ten-megabytes", anything)
def _(answer: Answer, _: Random) -> Script:
    line = b"X-Large: " + b"x" * 10_000 + b"\r\n"
    return [answer.head()[:-2], *([line] * 1000), b"\r\n", answer.payload()]


@kind("heads/one-long-line", anything)
def _(answer: Answer, chance: Random) -> Script:
    line = b"X-Long: " + b"x" * chance.choice((70_000, 1_000_000, 8_000_000))
    return [answer.head()[:-2], line, b"\r\n\r\n", answer.payload()]


@kind("heads/thousands", anything)
def _(answer: Answer, chance: Random) -> Script:
    count = chance.choice((101, 257, 5000, 100_000))
    extra = b"".join(b"X-%d: %d\r\n" % (n, n) for n in range(count))
    return [answer.head()[:-2], extra, b"\r\n", answer.payload()]


# --- lengths -----------------------------------------------------------------------------

LENGTHS = {
    "plus": "+{n}",
    "minus": "-{n}",
    "hex": "0x{n:x}",
    "blank-inside": "{n} {n}",
    "exponent": "1e3",
    "float": "{n}.0",
    "empty": "",
    "word": "many",
    "underscore": "1_000",
    "superscript": "{n}\xb2",
    "list": "{n}, {m}",
    "list-equal": "{n}, {n}",
    "semicolon": "{n}; q=1",
    "pow50": str(1 << 50),
    "pow50-less-1": str((1 << 50) - 1),
    "tera": str(1 << 46),
    "giga": str(1 << 33),
    "pow63": str(1 << 63),
    "pow63-less-1": str((1 << 63) - 1),
    "wraps": "{wraps}",
    "thirty-digits": "9" * 30,
    "five-thousand-digits": "1" * 5000,
    "zero": "0",
    "one-more": "{m}",
}


def _length(text: str, answer: Answer, chance: Random) -> Script:
    count = len(answer.body)
    said = text.format(n=count, m=count + 1, wraps=(1 << 64) + count)
    lines = answer.without("Content-Length", "Transfer-Encoding").lines()
    ends = (End.CLOSE, End.RESET, Pause(0.05), Pause(2))
    body = answer.body if answer.has_body else b""
    return [head_of([*lines, f"Content-Length: {said}"]) + body, chance.choice(ends)]


for _name, _text in LENGTHS.items():
    add(
        f"heads/length-{_name}",
        partial(_length, _text),
        # A length that says less than there is makes a shorter video of one whose
        # size is told nowhere else.
        lambda a: a.sized and has_fields("Content-Length")(a),
    )


@kind("heads/length-twice", has_fields("Content-Length"))
def _(answer: Answer, _: Random) -> Script:
    """RFC 9110 §8.6: equal ones may be taken for one."""
    lines = [*answer.lines(), f"Content-Length: {answer.get('Content-Length')}"]
    return [head_of(lines) + answer.payload()]


@kind(
    "heads/length-conflicts",
    lambda a: a.sized and has_fields("Content-Length")(a),
    doubtful=True,
)
def _(answer: Answer, chance: Random) -> Script:
    count = int(answer.get("Content-Length"))
    others = {0, 5, count - 1, count + 1, count * 2} - {count, -1}
    other = f"Content-Length: {chance.choice(sorted(others))}"
    lines = answer.lines()
    lines.insert(chance.choice((1, len(lines))), other)
    return [head_of(lines) + answer.payload()]


# --- transfer codings ------------------------------------------------------------------------

CODINGS = {
    "gzip-chunked": "gzip, chunked",
    "chunked-gzip": "chunked, gzip",
    "identity": "identity",
    "identity-chunked": "identity, chunked",
    "chunked-identity": "chunked, identity",
    "xchunked": "xchunked",
    "chunkedx": "chunkedx",
    "twice": "chunked, chunked",
    "parameter": "chunked;q=1",
    "vertical-tab": "\x0bchunked",
    "quoted": '"chunked"',
    "empty": "",
    "deflate": "deflate",
    "nbsp": "chunked\xa0",
}


def _chunked(answer: Answer) -> Answer:
    return answer.without("Content-Length").with_field("Transfer-Encoding", "chunked")


def _coding(value: str, answer: Answer, chance: Random) -> Script:
    """Framed as chunked; with the length of the body, or of the framing, or without."""
    framed = chunked(answer.body)
    lines = answer.without("Content-Length", "Transfer-Encoding").lines()
    length = chance.choice((None, len(answer.body), len(framed)))
    if length is not None:
        lines.append(f"Content-Length: {length}")
    end: tuple[End, ...] = (End.CLOSE,) if chance.random() < 0.5 else ()
    return [head_of([*lines, f"Transfer-Encoding: {value}"]) + framed, *end]


for _name, _value in CODINGS.items():
    add(
        f"heads/coding-{_name}",
        partial(_coding, _value),
        with_body,
        doubtful=True,
    )


@kind("heads/coding-and-length", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """RFC 9112 §6.3: the coding wins, and the connection is closed after it."""
    length = chance.choice((len(answer.body), len(answer.body) // 2, 0, 10**9))
    framed = _chunked(answer).with_field("Content-Length", str(length))
    return [framed.whole()]


@kind("heads/coding-in-two-lines", with_body, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    lines = answer.without("Content-Length", "Transfer-Encoding").lines()
    first = chance.choice(("gzip", "identity", "chunked", "x"))
    codings = [f"Transfer-Encoding: {first}", "Transfer-Encoding: chunked"]
    return [head_of([*lines, *codings]) + chunked(answer.body)]


@kind("heads/coding-under-1.0", with_body, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    """RFC 9112 §6.1: faulty, even if it is framed so."""
    lines = _chunked(answer).lines()
    lines[0] = lines[0].replace("HTTP/1.1", "HTTP/1.0")
    return [head_of(lines) + chunked(answer.body)]


@kind("heads/content-coding", video)
def _(answer: Answer, chance: Random) -> Script:
    """A body that is not compressed, though its head says so."""
    value = chance.choice(("gzip", "br", "deflate", "gzip, gzip", "zstd", "x" * 300))
    return [answer.with_field("Content-Encoding", value).whole()]


# --- fields twice, of two minds -----------------------------------------------------------


def _twice(name: str, value: str, answer: Answer, chance: Random) -> Script:
    lines = answer.lines()
    lines.insert(chance.choice((1, len(lines))), f"{name}: {value}")
    return [head_of(lines) + answer.payload()]


for _name, _value in (
    ("ETag", '"another"'),
    ("Content-Range", "bytes 0-99/100"),
    ("Content-Type", "application/json"),
    ("Last-Modified", "Thu, 01 Jan 1970 00:00:00 GMT"),
):
    add(
        f"heads/two-{_name.lower()}",
        partial(_twice, _name, _value),
        has_fields(_name),
    )

# --- allowed, and read right -----------------------------------------------------------------


@kind("legal/names-in-any-case", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    def mixed(name: str) -> str:
        return "".join(chance.choice((c.lower(), c.upper())) for c in name)

    fields = tuple((mixed(name), value) for name, value in answer.fields)
    return [replace(answer, fields=fields).head() + answer.payload()]


@kind("legal/blanks-around-values", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    blanks = ("", " ", "\t", "  \t ")
    lines = [
        f"{name}:{chance.choice(blanks)}{value}{chance.choice(blanks)}"
        for name, value in answer.fields
    ]
    return [head_of([answer.status_line, *lines]) + answer.payload()]


@kind("legal/any-order", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    fields = list(answer.fields)
    chance.shuffle(fields)
    return [replace(answer, fields=tuple(fields)).head() + answer.payload()]


@kind("legal/more-fields", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    more = [f"X-{n}: {chance.randbytes(20).hex()}" for n in range(30)]
    odd = ["X-Empty:", "X-Text: \xe4\xf6\xfc", "Keep-Alive: timeout=60", "X-!#$%&'*: 1"]
    return [head_of([*answer.lines(), *more, *odd]) + answer.payload()]


@kind("legal/no-reason", anything, legal=True)
def _(answer: Answer, _: Random) -> Script:
    lines = [f"HTTP/1.1 {answer.code} ", *answer.lines()[1:]]
    return [head_of(lines) + answer.payload()]


@kind("legal/zeros-before-length", has_fields("Content-Length"), legal=True)
def _(answer: Answer, _: Random) -> Script:
    said = "000" + answer.get("Content-Length")
    return [answer.with_field("Content-Length", said).head() + answer.payload()]


@kind("legal/head-in-pieces", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    head = answer.head()
    cuts = sorted(chance.sample(range(1, len(head)), 4))
    steps: list[bytes | Pause] = []
    for start, stop in zip([0, *cuts], [*cuts, len(head)], strict=True):
        steps += [head[start:stop], Pause(0.02)]
    return [*steps, answer.payload()]


@kind("legal/version-1.0", lambda a: with_body(a) and not a.is_chunked, legal=True)
def _(answer: Answer, _: Random) -> Script:
    lines = answer.lines()
    lines[0] = lines[0].replace("HTTP/1.1", "HTTP/1.0")
    return [head_of(lines) + answer.payload(), End.CLOSE]


@kind("legal/says-close", from_server, legal=True)
def _(answer: Answer, _: Random) -> Script:
    return [answer.with_field("Connection", "close").whole(), End.CLOSE]


@kind("heads/says-close-and-stays", from_server, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    return [answer.with_field("Connection", "close").whole()]


@kind("legal/until-close", sized_video, legal=True)
def _(answer: Answer, _: Random) -> Script:
    bare = answer.without("Content-Length", "Transfer-Encoding")
    return [bare.with_field("Connection", "close").head() + answer.body, End.CLOSE]
