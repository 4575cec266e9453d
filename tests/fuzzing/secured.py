"""TLS: handshakes that stall, drip or break off, records that are cut; and proxies.

A handshake is no answer: what is done with it stands in `HANDSHAKES`, a table of its
own. The answers of a proxy to CONNECT are answers, which most kinds suit; here are
those that suit nothing else.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from random import Random

from tests.fuzzing.table import (
    Answer,
    Drip,
    End,
    Endless,
    Pause,
    Script,
    Shred,
    from_server,
    head_of,
    kind,
    sized_video,
    tailed,
    with_body,
)


@dataclass(frozen=True, slots=True)
class Handshake:
    """The steps before and in a handshake.

    *before* is sent without TLS; then the server's part in pieces of *piece_bytes*
    each followed by *seconds*, up to *most_bytes*, after which *then* is played.
    """

    before: Script = ()
    piece_bytes: int = 1 << 20
    seconds: float = 0.0
    most_bytes: int = 1 << 30
    then: Script = ()


HANDSHAKES: dict[str, Callable[[Random], Handshake]] = {
    "tls/stall-at-accept": lambda _: Handshake(before=[Pause(15)]),
    "tls/slow-accept": lambda _: Handshake(before=[Pause(0.3)]),
    "tls/junk": lambda r: Handshake(before=[r.randbytes(500), End.CLOSE]),
    "tls/plain-http": lambda _: Handshake(
        before=[b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", End.CLOSE]
    ),
    "tls/alert": lambda r: Handshake(
        before=[bytes((21, 3, 3, 0, 2, 2, r.randrange(120))), End.CLOSE]
    ),
    "tls/record-without-end": lambda _: Handshake(
        before=[b"\x16\x03\x03\x3f\xff", Endless(b"\x00", 0.1)]
    ),
    "tls/close-at-once": lambda _: Handshake(before=[End.CLOSE]),
    "tls/reset-at-once": lambda _: Handshake(before=[End.RESET]),
    "tls/stall": lambda r: Handshake(most_bytes=r.randrange(900), then=[Pause(15)]),
    "tls/close": lambda r: Handshake(most_bytes=r.randrange(900), then=[End.CLOSE]),
    "tls/reset": lambda r: Handshake(most_bytes=r.randrange(900), then=[End.RESET]),
    "tls/junk-inside": lambda r: Handshake(
        most_bytes=r.randrange(900), then=[r.randbytes(400), Pause(1), End.CLOSE]
    ),
    "tls/drip": lambda r: Handshake(piece_bytes=1, seconds=r.choice((0.02, 0.1, 0.5))),
    "tls/in-pieces": lambda _: Handshake(piece_bytes=100, seconds=0.01),
}


def _by_tls(answer: Answer) -> bool:
    return from_server(answer) and answer.world.origin.startswith("https:")


@kind("tls/cut-in-a-record", _by_tls)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.whole()
    return [sent[: chance.randrange(len(sent))], End.CUT_RECORD]


@kind("legal/no-word-of-the-end", _by_tls, legal=True)
def _(answer: Answer, _: Random) -> Script:
    """The body was whole by its framing."""
    return [answer.whole(), End.ABRUPT]


@kind("tls/until-close-without-a-word", lambda a: _by_tls(a) and sized_video(a))
def _(answer: Answer, chance: Random) -> Script:
    """Only the word of TLS would tell that the body is whole."""
    bare = answer.without("Content-Length", "Transfer-Encoding")
    body = answer.body[: chance.randrange(1, len(answer.body) + 1)]
    return [bare.head() + body, End.ABRUPT]


@kind("tls/record-drips", lambda a: _by_tls(a) and with_body(a))
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.whole()
    at = chance.randrange(len(sent))
    return [sent[:at], Shred(sent[at : at + 200], 1, 0.1), sent[at + 200 :]]


# --- a proxy's answer to CONNECT --------------------------------------------------------------


def _connect(answer: Answer) -> bool:
    return answer.request.method == "CONNECT"


@kind("proxy/refuses", _connect)
def _(answer: Answer, chance: Random) -> Script:
    code = chance.choice((301, 400, 403, 404, 407, 429, 500, 502, 503, 504))
    body = b"<html>The proxy says no</html>" * chance.choice((0, 1, 20_000))
    return [
        replace(answer, code=code).with_field("Content-Length", str(len(body))).head()
        + body,
        chance.choice((End.CLOSE, Pause(0.1))),
    ]


@kind("proxy/junk-behind-the-head", _connect)
def _(answer: Answer, chance: Random) -> Script:
    junk = (
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nmore",
        chance.randbytes(200),
        b"\r\n",
    )
    return tailed(answer.head(), chance.choice(junk))


@kind("legal/connect-with-length", _connect, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    """RFC 9110 §9.3.6: a client ignores headers that announce a body."""
    framing = chance.choice(("Content-Length: 5", "Transfer-Encoding: chunked"))
    return [head_of([*answer.lines(), framing])]


@kind("proxy/head-drips-without-end", _connect)
def _(answer: Answer, chance: Random) -> Script:
    piece = chance.choice((b"X: 1\r\n", b"x"))
    return [answer.head()[:-2], Endless(piece, chance.choice((0.1, 0.5)))]


@kind("proxy/status-line-drips", _connect)
def _(answer: Answer, _: Random) -> Script:
    return [Drip(answer.head() * 3, 1, 0.4)]
