"""Interim answers (RFC 9110 §15.2): a client reads any number of them, and goes on."""

from random import Random

from tests.fuzzing.table import (
    Answer,
    Drip,
    End,
    Endless,
    Pause,
    Script,
    add,
    anything,
    from_server,
    head_of,
    kind,
)

# 101 is not among them: it ends HTTP on the connection.
CODES = (100, 102, 103, 110, 199)


def hint(chance: Random) -> bytes:
    """One interim answer, with fields or without."""
    code = chance.choice(CODES)
    fields = chance.choice(
        (
            [],
            ["Link: </style.css>; rel=preload; as=style"],
            [f"X-Progress: {chance.randrange(100)}", "Server: fuzz"],
        )
    )
    return head_of([f"HTTP/1.1 {code} Wait", *fields])


def _one(code: int) -> None:
    def make(answer: Answer, _: Random) -> Script:
        return [head_of([f"HTTP/1.1 {code} Wait"]) + answer.whole()]

    add(f"legal/interim-{code}", make, from_server, legal=True)


for _code in CODES:
    _one(_code)


@kind("legal/interim-with-fields", from_server, legal=True)
def _(answer: Answer, _: Random) -> Script:
    fields = ["Link: </a>; rel=preload", 'ETag: "of-no-meaning"', "X-Hint: yes"]
    return [head_of(["HTTP/1.1 103 Early Hints", *fields]) + answer.whole()]


@kind("legal/interim-several", from_server, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    hints = b"".join(hint(chance) for _ in range(chance.randrange(2, 8)))
    return [hints + answer.whole()]


@kind("legal/interim-then-later", from_server, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    return [hint(chance), Pause(0.03), hint(chance), Pause(0.03), answer.whole()]


@kind("interim/with-length", from_server)
def _(answer: Answer, chance: Random) -> Script:
    """A length that means nothing: an interim answer has no body."""
    length = chance.choice((0, 5, len(answer.body), 10**6))
    code = chance.choice(CODES)
    first = head_of([f"HTTP/1.1 {code} Wait", f"Content-Length: {length}"])
    return [first + answer.whole()]


@kind("interim/with-coding", from_server)
def _(answer: Answer, _: Random) -> Script:
    first = head_of(["HTTP/1.1 103 Early Hints", "Transfer-Encoding: chunked"])
    return [first + answer.whole()]


@kind("interim/with-a-body", from_server, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    """Bytes like a body follow it, where a status line must stand."""
    other = answer.world.other(answer.request).body[:5000] or b"{}"
    code = chance.choice(CODES)
    lines = [f"HTTP/1.1 {code} Wait", f"Content-Length: {len(other)}"]
    return [head_of(lines) + other + answer.whole()]


@kind("interim/hundreds", from_server)
def _(answer: Answer, chance: Random) -> Script:
    hints = b"".join(hint(chance) for _ in range(chance.choice((50, 300, 3000))))
    return [hints + answer.whole()]


@kind("interim/large", from_server)
def _(answer: Answer, _: Random) -> Script:
    large = head_of(["HTTP/1.1 103 Early Hints", *["X-L: " + "x" * 5000] * 90])
    return [*([large] * 20), answer.whole()]


@kind("interim/without-end", anything)
def _(answer: Answer, chance: Random) -> Script:
    return [Endless(hint(chance), chance.choice((0.0, 0.01, 0.3)))]


@kind("interim/drips", from_server)
def _(answer: Answer, chance: Random) -> Script:
    return [Drip(hint(chance) * 20, 1, 0.1), answer.whole()]


@kind("interim/and-nothing-more", from_server)
def _(answer: Answer, chance: Random) -> Script:
    return [hint(chance), chance.choice((Pause(12), End.CLOSE, End.RESET))]


@kind("interim/cut", from_server)
def _(answer: Answer, chance: Random) -> Script:
    first = hint(chance)
    return [first[: chance.randrange(1, len(first))], End.CLOSE]


@kind("interim/malformed", from_server, doubtful=True)
def _(answer: Answer, _: Random) -> Script:
    first = head_of(["HTTP/1.1 103 Early Hints", "a line without a colon"])
    return [first + answer.whole()]


@kind("interim/switching-protocols", from_server, doubtful=True)
def _(answer: Answer, chance: Random) -> Script:
    fields = chance.choice(([], ["Upgrade: h2c", "Connection: Upgrade"]))
    first = head_of(["HTTP/1.1 101 Switching Protocols", *fields])
    return [first + answer.whole()]
