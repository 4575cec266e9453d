"""Time: waits and drips at every stage of an answer."""

from random import Random

from tests.fuzzing.table import (
    Answer,
    Drip,
    Pause,
    Script,
    Shred,
    anything,
    chunked,
    kind,
    sized_video,
    video,
    with_body,
)

# Rates are far below 1 KiB a second, which is a stall to a mount, or far above: what is
# slow and no stall is waited for, and would not be read within seconds of health.
# Stalls are within, around and beyond the deadlines of a mount that is fuzzed.
STALLS = (0.3, 2.0, 6.0, 15.0)


@kind("legal/slow-start", anything, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    return [Pause(chance.uniform(0.02, 0.2)), answer.whole()]


@kind("legal/body-in-pieces", with_body, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    half = chance.randrange(len(answer.body))
    return [
        *(answer.head(), Pause(0.02)),
        *(answer.payload()[:half], Pause(0.05), answer.payload()[half:]),
    ]


@kind("timing/stall-before-the-head", anything)
def _(answer: Answer, chance: Random) -> Script:
    return [Pause(chance.choice(STALLS)), answer.whole()]


@kind("timing/stall-in-the-head", anything)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.head()
    at = chance.randrange(1, len(sent))
    return [sent[:at], Pause(chance.choice(STALLS)), sent[at:] + answer.payload()]


@kind("timing/stall-in-the-body", with_body)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.payload()
    at = chance.randrange(len(sent))
    return [answer.head() + sent[:at], Pause(chance.choice(STALLS)), sent[at:]]


@kind("timing/stall-at-the-end", with_body)
def _(answer: Answer, chance: Random) -> Script:
    sent = answer.whole()
    return [sent[:-1], Pause(chance.choice(STALLS)), sent[-1:]]


@kind("timing/stall-in-the-framing", with_body)
def _(answer: Answer, chance: Random) -> Script:
    bare = answer.without("Content-Length")
    head = bare.with_field("Transfer-Encoding", "chunked").head()
    sent = chunked(answer.body)
    at = chance.choice(
        (1, 3, len(sent) - 1, len(sent) - 3, len(sent) - 5, len(sent) - 6)
    )
    return [head + sent[:at], Pause(chance.choice(STALLS)), sent[at:]]


@kind("timing/head-drips", anything)
def _(answer: Answer, chance: Random) -> Script:
    seconds = chance.choice((0.01, 0.1, 0.4))
    return [Drip(answer.head(), 1, seconds), answer.payload()]


@kind("timing/body-drips", with_body)
def _(answer: Answer, chance: Random) -> Script:
    piece, seconds = chance.choice(((1, 0.1), (10, 0.4), (20, 0.05)))
    return [answer.head(), Drip(answer.payload(), piece, seconds)]


@kind("timing/body-slow", video)
def _(answer: Answer, chance: Random) -> Script:
    """Slow, and not so slow that it is a fault."""
    return [answer.head(), Drip(answer.payload(), chance.choice((4000, 8000)), 0.02)]


@kind("timing/end-drips", sized_video)
def _(answer: Answer, _: Random) -> Script:
    sent = answer.whole()
    return [sent[:-20], Drip(sent[-20:], 1, 0.3)]


@kind("timing/shreds", with_body)
def _(answer: Answer, chance: Random) -> Script:
    """Bytes of the connection, those of TLS included, a few at a time."""
    piece, seconds = chance.choice(((1, 0.05), (10, 0.05), (3000, 0.01)))
    return [Shred(answer.whole(), piece, seconds)]
