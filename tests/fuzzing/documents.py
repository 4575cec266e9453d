"""JSON and pages: statuses, lists, errors, and documents instead of a video."""

import gzip
import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from random import Random

from tests.fuzzing.table import (
    Answer,
    End,
    Endless,
    Pause,
    Script,
    add,
    document,
    from_server,
    head_of,
    kind,
    listing,
    sized_video,
    status,
)

MIB = 1 << 20


def instead(
    answer: Answer, body: bytes, code: int = 200, content_type: str = "application/json"
) -> Answer:
    """*body* instead of the honest body."""
    bare = replace(answer, code=code, fields=(("Content-Type", content_type),))
    return bare.with_body(body).with_field("Content-Length", str(len(body)))


# --- bodies that cost more than they weigh, or are no JSON ---------------------------------


def _words(count: int) -> bytes:
    words = {f"word{n}": [f"text {n} " + "x" * 40] * 20 for n in range(count)}
    return json.dumps({"error": words}).encode()


def _large_words() -> bytes:
    """Long words at every depth that is looked at."""
    inner = {str(n): "w" * 4000 for n in range(32)}
    return json.dumps({"error": [inner] * 32, "detail": [inner] * 24}).encode()


def _bushy(leaves: int) -> bytes:
    """Empty words below three levels of long keys, which each of them is told with."""
    keys = ["k" * 60 + str(n) for n in range(32)]
    bush: object = [""] * leaves
    for _ in range(3):
        bush = dict.fromkeys(keys, bush)
    return json.dumps(bush, separators=(",", ":")).encode()


HEAVY: dict[str, Callable[[], bytes]] = {
    "deep-lists": lambda: b"[" * 100_000,
    "deep-lists-closed": lambda: b"[" * 50_000 + b"]" * 50_000,
    "deep-objects": lambda: b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "deep-data": lambda: b'{"data":' + b"[" * 3000 + b"]" * 3000 + b"}",
    "empty-lists": lambda: b"[" + b"[]," * 300_000 + b"[]]",
    "empty-objects": lambda: b'{"data":[' + b"{}," * 400_000 + b"{}]}",
    "numbers": lambda: b"[" + b"1," * 450_000 + b"1]",
    "half-a-megabyte-of-words": lambda: _words(500),
    "large-words": _large_words,
    "bushy": lambda: _bushy(12),
    "bushy-and-small": lambda: _bushy(3),
    "keys": lambda: json.dumps({"k" * 900 + str(n): 1 for n in range(900)}).encode(),
    "one-string": lambda: json.dumps({"error": "x" * (7 * MIB)}).encode(),
    "a-megabyte-of-status": lambda: json.dumps({"id": "v", "status": "q" * 1_000_000}).encode(),
    "escapes": lambda: b'{"error":"' + b"\\u0041" * 150_000 + b'"}',
    "huge-integer": lambda: b'{"id":"v","object":"video","status":"completed","completed_at":'
    + b"9" * 100_000 + b"}",
    "not-a-number": lambda: b'{"id":"v","status":"completed","completed_at":NaN,'
    b'"created_at":-Infinity,"expires_at":1e400}',
    "surrogates": lambda: b'{"id":"\\ud800","object":"video","status":"\\udfff"}',
    "no-utf-8": lambda: b'{"id":"\xff\xfe","status":"comp\xc3leted"}',
    "utf-16": lambda: '{"id":"v","status":"completed"}'.encode("utf-16"),
    "bom": lambda: b'\xef\xbb\xbf{"id":"v","object":"video","status":"completed"}',
    "keys-twice": lambda: b'{"id":"v","status":"queued","status":"completed","id":5}',
    "null": lambda: b"null",
    "nothing": lambda: b"",
    "blanks": lambda: b" " * MIB,
    "a-word": lambda: b"completed",
    "broken-off": lambda: b'{"id":"v","object":"video","status":"comple',
    "web-page": lambda: b"<!DOCTYPE html><html><body>Welcome</body></html>",
    "nul": lambda: b"\x00" * 100_000,
    "expired-long-ago": lambda: b'{"id":"v","object":"video","status":"completed","expires_at":1}',
}  # fmt: skip


@cache
def heavy(name: str) -> bytes:
    """The body called *name*; made once."""
    return HEAVY[name]()


def _heavy(name: str, answer: Answer, chance: Random) -> Script:
    """A document instead of any answer, under any status."""
    code = chance.choice((200, 200, 400, 404, 500, 503, answer.code))
    return [instead(answer, heavy(name), code).whole()]


def _replaceable(answer: Answer) -> bool:
    """Instead of a range, no body this large: that is a fault of the range."""
    return document(answer) or sized_video(answer)


for _name in HEAVY:
    add(f"documents/{_name}", partial(_heavy, _name), _replaceable)


# --- wrong types everywhere -----------------------------------------------------------------


def _anything(chance: Random) -> object:
    return chance.choice(
        (
            *(None, True, 0, -1, 1 << 70, 1e308, "", "text", [], {}),
            [[]],
            {"id": {}},
            "\x00",
        )
    )


def _spoilt(value: object, chance: Random) -> object:
    """*value*, some of whose parts are of another type."""
    if chance.random() < 0.15:
        return _anything(chance)
    if isinstance(value, dict):
        return {key: _spoilt(item, chance) for key, item in value.items()}
    if isinstance(value, list):
        return [_spoilt(item, chance) for item in value]
    return value


@kind("documents/wrong-types", document)
def _(answer: Answer, chance: Random) -> Script:
    body = json.dumps(_spoilt(json.loads(answer.body), chance)).encode()
    return [answer.with_body(body).whole()]


@kind("documents/bytes-flipped", document)
def _(answer: Answer, chance: Random) -> Script:
    body = bytearray(answer.body)
    for _ in range(chance.randrange(1, 8)):
        body[chance.randrange(len(body))] = chance.randrange(256)
    return [answer.with_body(bytes(body)).whole()]


WORDS = (
    *("", "COMPLETED", "unheard of", "failed", "queued", "expired", "\u200b"),
    "a" * 999,
)


@kind("documents/status-words", status)
def _(answer: Answer, chance: Random) -> Script:
    body = {**json.loads(answer.body), "status": chance.choice(WORDS)}
    return [answer.with_body(json.dumps(body).encode()).whole()]


@kind("documents/times", status)
def _(answer: Answer, chance: Random) -> Script:
    times = (-1, 1e300, 1 << 62, "tomorrow", "1" * 400, 10**15, True, "1e999", 1e-9)
    names = ("completed_at", "created_at", "expires_at")
    body = {**json.loads(answer.body), **{name: chance.choice(times) for name in names}}
    return [answer.with_body(json.dumps(body).encode()).whole()]


# --- lists ----------------------------------------------------------------------------------


def _page(answer: Answer, rows: list[object], **fields: object) -> Script:
    page = {"object": "list", "data": rows, "has_more": False, **fields}
    return [answer.with_body(json.dumps(page).encode()).whole()]


def _row(video_id: str) -> dict[str, object]:
    return {"id": video_id, "object": "video", "status": "completed", "completed_at": 9}


@kind("lists/wide-ids", listing)
def _(answer: Answer, chance: Random) -> Script:
    """Page after page of ids of 1,000 characters, all of them new."""
    prefix = chance.randbytes(8).hex()
    row = '{"id":"%s","object":"video","status":"completed"}'
    ids = (f"{prefix}{n:06}".ljust(1000, "w") for n in range(7000))
    rows = ",".join(row % video_id for video_id in ids)
    body = '{"object":"list","has_more":true,"data":[' + rows + "]}"
    return [answer.with_body(body.encode()).whole()]


@kind("lists/many-ids", listing)
def _(answer: Answer, chance: Random) -> Script:
    prefix = chance.randbytes(4).hex()
    rows = ",".join(f'{{"id":"{prefix}{n}"}}' for n in range(90_000))
    more = chance.choice(("true", "false"))
    body = f'{{"object":"list","has_more":{more},"data":[{rows}]}}'
    return [answer.with_body(body.encode()).whole()]


@kind("lists/pages-without-end", listing)
def _(answer: Answer, chance: Random) -> Script:
    return _page(
        answer, [_row(chance.randbytes(8).hex()) for _ in range(5)], has_more=True
    )


@kind("lists/pages-that-repeat", listing)
def _(answer: Answer, _: Random) -> Script:
    return _page(answer, [_row(f"again-{n}") for n in range(100)], has_more=True)


@kind("lists/odd-ids", listing)
def _(answer: Answer, chance: Random) -> Script:
    ids = (
        *("..", ".", "a/b", "a\x00b", "a\nb", "", " ", "\ud800", "-rf", "x" * 300),
        "\u202e",
    )
    rows: list[object] = [_row(video_id) for video_id in ids]
    return _page(answer, [*rows, *rows], has_more=chance.choice((True, False)))


DATA: tuple[object, ...] = (
    *(None, {}, "text", 5),
    [None],
    [[]],
    [{"id": 5}],
    [{"id": None}],
    [{}],
    [1, 2],
)


@kind("lists/odd-data", listing)
def _(answer: Answer, chance: Random) -> Script:
    page = {"object": "list", "data": chance.choice(DATA), "has_more": "maybe"}
    return [answer.with_body(json.dumps(page).encode()).whole()]


@kind("lists/empty", listing)
def _(answer: Answer, chance: Random) -> Script:
    return _page(answer, [], has_more=chance.choice((True, False, None)))


# --- in place of a video ----------------------------------------------------------------------

MESSAGES = (
    b'{"error":{"message":"out of order","type":"server_error"}}',
    b'[{"status":"failed"}]',
    b"<html><body>Bad gateway</body></html>",
    b"<?xml version='1.0'?><Error><Code>SlowDown</Code></Error>",
)
TYPES = ("application/json", "text/html", "video/mp4", "application/octet-stream", "")


@kind("documents/for-a-video", sized_video)
def _(answer: Answer, chance: Random) -> Script:
    """A message of its own length, under 200, whatever its type says."""
    body, content_type = chance.choice(MESSAGES), chance.choice(TYPES)
    return [instead(answer, body, 200, content_type).whole()]


ERRORS = (201, 202, 204, 206, 300, 400, 401, 402, 403, 404, 405, 409, 410, 418, 425, 429,
          451, 500, 501, 502, 503, 504, 520, 599)  # fmt: skip


@kind("documents/errors", from_server)
def _(answer: Answer, chance: Random) -> Script:
    body, content_type = chance.choice(MESSAGES), chance.choice(TYPES)
    return [instead(answer, body, chance.choice(ERRORS), content_type).whole()]


@kind("documents/retry-after", from_server)
def _(answer: Answer, chance: Random) -> Script:
    """Pauses that end in time, or are none; a long one would be kept, as is right."""
    pauses = (
        "0",
        "1",
        "-1",
        "soon",
        "1.5",
        "Thu, 01 Jan 1970 00:00:00 GMT",
        "0x10",
        "",
    )
    busy = instead(answer, MESSAGES[0], chance.choice((429, 503)))
    return [busy.with_field("Retry-After", chance.choice(pauses) or " ").whole()]


def _bomb(chance: Random) -> tuple[str, bytes]:
    zeros = bytes(64 * MIB)
    if chance.random() < 0.5:
        return "gzip", gzip.compress(zeros, 1)
    return "deflate", zlib.compress(zeros, 1)


@cache
def bomb(seed: int) -> tuple[str, bytes]:
    """A content coding, and a body that it makes 64 MiB of."""
    return _bomb(Random(seed))


@kind("documents/bombs", from_server)
def _(answer: Answer, chance: Random) -> Script:
    coding, body = bomb(chance.randrange(4))
    code = chance.choice((200, 404, 500))
    return [instead(answer, body, code).with_field("Content-Encoding", coding).whole()]


@kind("documents/error-without-end", from_server)
def _(answer: Answer, chance: Random) -> Script:
    lines = [f"HTTP/1.1 {chance.choice((200, 404, 500))} Hm", "Content-Type: text/html"]
    framing, piece = chance.choice(
        (
            ("Transfer-Encoding: chunked", b"4\r\nmore\r\n"),
            ("Connection: close", b"more"),
        )
    )
    seconds = chance.choice((0.0, 0.1, 1.0))
    count = 1 if seconds else 5000
    return [head_of([*lines, framing]), Endless(piece * count, seconds)]


# --- JSON that names the place of the bytes ----------------------------------------------------


def _urls(answer: Answer, chance: Random) -> str:
    world = answer.world
    return chance.choice(
        (
            *("file:///etc/passwd", "data:video/mp4;base64,AAAA", "ftp://127.0.0.1/a"),
            f"{world.closed_origin}/a.mp4",
            f"{world.origin}{answer.request.target}",
            *("http://", "http://[::1", "//", "x" * 9000, "\x00", "https://\ud800/"),
        )
    )


def _named(answer: Answer, url: str, chance: Random) -> bytes:
    shape = chance.randrange(3)
    if shape == 0:
        return json.dumps({"url": url}).encode()
    if shape == 1:
        return json.dumps({"id": answer.request.video_id, "video_url": url}).encode()
    return json.dumps({"result": {"video_url": url}}).encode()


@kind("documents/urls", sized_video)
def _(answer: Answer, chance: Random) -> Script:
    return [instead(answer, _named(answer, _urls(answer, chance), chance)).whole()]


def _at_api_by_get(answer: Answer) -> bool:
    return sized_video(answer) and answer.request.server == "api"


@kind("legal/url-of-the-storage", _at_api_by_get, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    """The same bytes are elsewhere, and the API says where."""
    url = answer.world.storage_url(answer.request.video_id or "")
    return [instead(answer, json.dumps({"url": url}).encode()).whole()]


@kind("documents/cut", document)
def _(answer: Answer, chance: Random) -> Script:
    body = answer.body[: chance.randrange(len(answer.body))]
    if chance.random() < 0.5:
        return [answer.with_body(body).whole()]
    return [answer.head() + body, chance.choice((End.CLOSE, Pause(6)))]
