"""Redirects: to nowhere, in circles, to other schemes, and to where the bytes are."""

from functools import partial
from random import Random

from tests.fuzzing.table import (
    Answer,
    End,
    Endless,
    Pause,
    Script,
    add,
    api_content,
    get,
    head_of,
    kind,
)

CODES = (301, 302, 303, 307, 308)


def to(location: str, chance: Random, *fields: str, body: bytes = b"") -> bytes:
    """A redirect to *location*, by any of its codes."""
    lines = [f"HTTP/1.1 {chance.choice(CODES)} Elsewhere", f"Location: {location}"]
    return head_of([*lines, f"Content-Length: {len(body)}", *fields]) + body


PLACES = {
    "file": "file:///etc/passwd",
    "ftp": "ftp://127.0.0.1/video.mp4",
    "data": "data:video/mp4;base64,AAAA",
    "script": "javascript:alert(1)",
    "no-host": "http:///video.mp4",
    "no-scheme": "://video",
    "half-an-address": "http://[::1/video.mp4",
    "bad-port": "http://127.0.0.1:99999999/video.mp4",
    "word-for-port": "http://127.0.0.1:port/video.mp4",
    "backslash": "http://127.0.0.1\\@example.invalid/",
    "nul": "/v1/videos/\x00",
    "blank": "  ",
    "empty": "",
    "no-such-name": "http://no-such-name.invalid/video.mp4",
    "no-name": "http://" + "a" * 300 + ".invalid/",
    "non-ascii": "http://\xe4\xf6\xfc.invalid/",
    "long": "/" + "x" * 60_000,
    "closed": "{closed}/video.mp4",
    "without-tls": "{plain}/v1/videos",
    "user": "http://user:word@127.0.0.1:1/video.mp4",
    "fragment": "#fragment",
    "query": "?query",
    "up": "../../../../../",
}


def _place(text: str, answer: Answer, chance: Random) -> Script:
    world = answer.world
    location = text.format(closed=world.closed_origin, plain=world.plain_origin)
    return [to(location, chance)]


for _name, _text in PLACES.items():
    add(f"redirects/{_name}", partial(_place, _text), get)


@kind("redirects/to-itself", get)
def _(answer: Answer, chance: Random) -> Script:
    return [to(answer.request.target, chance)]


@kind("redirects/without-location", get)
def _(answer: Answer, chance: Random) -> Script:
    code = chance.choice((*CODES, 300, 304, 305, 306))
    return [head_of([f"HTTP/1.1 {code} Elsewhere", "Content-Length: 0"])]


@kind("redirects/two-locations", get)
def _(answer: Answer, chance: Random) -> Script:
    return [to(answer.request.target, chance, "Location: /elsewhere")]


@kind("redirects/body-without-end", get)
def _(answer: Answer, chance: Random) -> Script:
    head = [
        f"HTTP/1.1 {chance.choice(CODES)} Elsewhere",
        f"Location: {answer.request.target}",
    ]
    framing, piece = chance.choice(
        (
            ("Transfer-Encoding: chunked", b"4\r\nmore\r\n"),
            ("Transfer-Encoding: chunked", b"0"),
            ("Content-Length: 100000000", b"more"),
            ("Content-Length: 10000", b"m"),
            ("Connection: close", b"more"),
        )
    )
    return [
        head_of([*head, framing]),
        Endless(piece, chance.choice((0.0005, 0.1, 1.0))),
    ]


@kind("redirects/body-cut", get)
def _(answer: Answer, chance: Random) -> Script:
    lines = [f"HTTP/1.1 {chance.choice(CODES)} Elsewhere", "Content-Length: 500"]
    end = chance.choice((End.CLOSE, End.RESET, Pause(6)))
    return [head_of([*lines, f"Location: {answer.request.target}"]) + b"some", end]


def _not_yet_redirected(answer: Answer) -> bool:
    """Content at the API that was not asked for by a redirect of ours."""
    return api_content(answer) and "hop" not in answer.request.query


@kind("legal/redirect-to-storage", _not_yet_redirected, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    url = answer.world.storage_url(answer.request.video_id or "")
    return [to(url, chance, body=chance.choice((b"", b"It is elsewhere.")))]


@kind("legal/redirect-by-path", _not_yet_redirected, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    return [to(f"{answer.request.path}?hop={chance.randrange(9)}", chance)]
