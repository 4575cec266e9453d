"""Answers with other ranges than the request's, each honest about its bytes."""

from dataclasses import replace
from random import Random

from tests.fuzzing.table import (
    Answer,
    Endless,
    Script,
    add,
    head_of,
    kind,
    other_range,
    part,
    sized_video,
    video,
)


def _span(answer: Answer) -> tuple[int, int]:
    assert answer.span is not None
    return answer.span


def _size(answer: Answer) -> int:
    assert answer.video is not None
    return answer.video.size_bytes


@kind("ranges/other-start", part)
def _(answer: Answer, chance: Random) -> Script:
    start, stop = _span(answer)
    moved = chance.choice((0, start + 1, start - 1, start + 131_072, start - 131_072))
    moved = max(0, min(moved, _size(answer) - 1))
    return [other_range(answer, moved, max(stop, moved + 1)).whole()]


@kind("ranges/moved", part)
def _(answer: Answer, chance: Random) -> Script:
    """As long as was asked for, from elsewhere."""
    start, stop = _span(answer)
    by = chance.choice((1, 131_072, -1, -131_072))
    moved = max(0, min(start + by, _size(answer) - (stop - start)))
    return [other_range(answer, moved, moved + stop - start).whole()]


@kind("ranges/longer", part)
def _(answer: Answer, chance: Random) -> Script:
    start, stop = _span(answer)
    more = chance.choice((1, 131_072, _size(answer)))
    return [other_range(answer, start, min(stop + more, _size(answer))).whole()]


@kind("legal/range-shorter", part, legal=True)
def _(answer: Answer, chance: Random) -> Script:
    """RFC 9110 §15.3.7: a server may send a part of the range."""
    start, stop = _span(answer)
    kept = chance.randrange(max(1, (stop - start) // 4), stop - start + 1)
    return [other_range(answer, start, start + kept).whole()]


@kind("legal/range-of-unknown-total", part, legal=True)
def _(answer: Answer, _: Random) -> Script:
    said = answer.get("Content-Range").partition("/")[0]
    return [answer.with_field("Content-Range", f"{said}/*").whole()]


@kind("ranges/other-total", part)
def _(answer: Answer, chance: Random) -> Script:
    said = answer.get("Content-Range").partition("/")[0]
    total = _size(answer) + chance.choice((1, -1, 4096, 1 << 40, 1 << 50, 1 << 62))
    return [answer.with_field("Content-Range", f"{said}/{total}").whole()]


CONTENT_RANGES = {
    "empty": "",
    "reversed": "bytes 9-5/{size}",
    "beyond": "bytes {start}-{stop}/{start}",
    "unsatisfied": "bytes */{size}",
    "other-unit": "octets {start}-{last}/{size}",
    "no-unit": "{start}-{last}/{size}",
    "equals": "bytes={start}-{last}/{size}",
    "negative": "bytes -{start}-{last}/{size}",
    "huge": "bytes {start}-9223372036854775807/9223372036854775808",
    "digits": "bytes {start}-{last}/" + "9" * 5000,
    "two": "bytes {start}-{last}/{size}, bytes 0-9/10",
    "words": "bytes all/of it",
    "superscript": "bytes {start}-{last}/{size}\xb2",
}


def _content_range(text: str, answer: Answer) -> Script:
    start, stop = _span(answer)
    said = text.format(start=start, stop=stop, last=stop - 1, size=_size(answer))
    return [answer.with_field("Content-Range", said or " ").whole()]


for _name, _text in CONTENT_RANGES.items():
    add(
        f"ranges/content-range-{_name}",
        lambda answer, _, text=_text: _content_range(text, answer),  # type: ignore[misc]
        part,
    )


@kind("ranges/no-content-range", part)
def _(answer: Answer, _: Random) -> Script:
    return [answer.without("Content-Range").whole()]


@kind("legal/whole-to-a-range", part, legal=True)
def _(answer: Answer, _: Random) -> Script:
    assert answer.video is not None
    whole = answer.without("Content-Range").with_body(
        answer.video.read(0, _size(answer))
    )
    return [replace(whole, code=200).whole()]


@kind("ranges/ok-for-partial", part)
def _(answer: Answer, _: Random) -> Script:
    """The range's bytes under 200, as if they were the whole."""
    return [replace(answer, code=200).whole()]


@kind("ranges/multipart", part)
def _(answer: Answer, _: Random) -> Script:
    head = f"--sep\r\nContent-Range: {answer.get('Content-Range')}\r\n\r\n".encode()
    several = answer.without("Content-Range").with_body(
        head + answer.body + b"\r\n--sep--\r\n"
    )
    kind_of = "multipart/byteranges; boundary=sep"
    return [several.with_field("Content-Type", kind_of).whole()]


@kind("ranges/other-validator", video)
def _(answer: Answer, chance: Random) -> Script:
    etag = chance.choice(('"another"', 'W/"weak"', "unquoted", '"' + "x" * 5000 + '"'))
    return [answer.with_field("ETag", etag).whole()]


@kind("ranges/other-time", video)
def _(answer: Answer, chance: Random) -> Script:
    times = ("Thu, 01 Jan 1970 00:00:00 GMT", "yesterday", "Fri, 31 Feb 9999 99:99:99")
    return [answer.with_field("Last-Modified", chance.choice(times)).whole()]


@kind("ranges/other-video", lambda a: part(a) and bool(a.get("ETag")))
def _(answer: Answer, chance: Random) -> Script:
    """Another video's bytes, under a validator that no other answer has.

    Two lies that agree are the truth to any client.
    """
    etag = f'"{chance.randbytes(8).hex()}"'
    return [answer.world.other(answer.request).with_field("ETag", etag).whole()]


@kind("ranges/unsatisfiable", sized_video)
def _(answer: Answer, chance: Random) -> Script:
    totals = ("0", "*", str(_size(answer)), "1", str(1 << 63), "-5", "9" * 5000)
    refusal = replace(answer, code=416, body=b"").with_body(b"")
    said = f"bytes */{chance.choice(totals)}"
    return [refusal.with_field("Content-Range", said).whole()]


@kind("ranges/unsatisfiable-unsaid", part)
def _(answer: Answer, _: Random) -> Script:
    refusal = replace(answer.without("Content-Range"), code=416)
    return [refusal.with_body(b"no such range").whole()]


@kind("ranges/unsatisfiable-without-end", part)
def _(answer: Answer, _: Random) -> Script:
    lines = ["HTTP/1.1 416 Range Not Satisfiable", "Transfer-Encoding: chunked"]
    return [head_of(lines), Endless(b"5\r\nbytes\r\n", 0.1)]


@kind("ranges/encoded", part)
def _(answer: Answer, _: Random) -> Script:
    return [answer.with_field("Content-Encoding", "gzip").whole()]
