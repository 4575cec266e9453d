"""Whether an answer asks for a pause, and for how long. Pure.

Servers name a pause in many ways: Retry-After (RFC 9110 §10.2.3) in seconds or as a
date, its relatives under longer names or in milliseconds, the fields of the RateLimit
draft, the X-RateLimit fields of vendors, a field of the JSON in the body, or a sentence.
Decides which answers ask for a pause, and which of several times counts. Leaves to
`patience` which calls wait for it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

Headers = Mapping[str, str]

# "Too many requests" in three dialects: RFC 6585, Twitter's, Anthropic's.
_LIMIT_CODES = frozenset({420, 429, 529})
# These ask for a pause only if their words or headers say so: Google answers too many
# requests with 403, nginx with 503. Else they are a refusal and an outage.
_PERHAPS_LIMIT_CODES = frozenset({403, 503})
_LIMIT_TEXT = re.compile(
    r"rate.{0,3}limit|too.many.requests|throttl|slow.?down|reduce your request rate|"
    r"requests? too frequent|status 429|限流|限速|频繁|请求过多|速率限制",
    re.IGNORECASE,
)
_MOST_TEXT_BYTES = 4096
_ESCAPE = re.compile(r"\\+u([0-9a-fA-F]{4})")
# A number above the first is a time since the epoch (the year 2001), not a span (thirty
# years). Above the second it is in milliseconds.
_EPOCH_SECONDS = 1e9
_EPOCH_MILLISECONDS = 1e11

_UNIT_SECONDS = (
    (r"milliseconds?|millis|msecs?|ms|毫秒", 0.001),
    (r"seconds?|secs?|s|秒钟|秒", 1.0),
    (r"minutes?|mins?|m|分钟|分", 60.0),
    (r"hours?|hrs?|h|小时", 3600.0),
    (r"days?|d|天", 86400.0),
)
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_UNIT = "|".join(names for names, _seconds in _UNIT_SECONDS)
_PART = re.compile(rf"({_NUMBER})\s*(?:more\s+)?({_UNIT})", re.IGNORECASE)
# "20s", "6m0s", "1 minute 30 seconds", but not before more letters.
_SPAN = (
    rf"(?:{_NUMBER}\s*(?:more\s+)?(?:{_UNIT})(?:\s*(?:,|and)?\s*(?={_NUMBER}))?)"
    r"{1,4}(?![A-Za-z])"
)
# "PT1H30S" (ISO 8601). An M before the T would mean months.
_DURATION = re.compile(
    r"P(?=\d|T\d)(?:(\d{1,6})D)?"
    r"(?:T(?:(\d{1,6})H)?(?:(\d{1,6})M)?(?:(\d{1,9}(?:\.\d{1,9})?)S)?)?",
    re.IGNORECASE | re.ASCII,
)
# A span as a clock shows it: "in 1:00:37". "at 10:30" is a time of day.
_IN_CLOCK = re.compile(
    r"\b(in|after|for) ((?:[0-9]{1,3}:)?[0-9]{1,2}:[0-9]{2})(?![\d:])", re.IGNORECASE
)
# Numbers in words, before a unit. No "a second": that may mean the next one.
_ENGLISH = {
    "half a": 0.5,
    "half an": 0.5,
    "one": 1,
    "two": 2,
    "three": 3,
    "four": 4,
    "five": 5,
    "six": 6,
    "ten": 10,
    "fifteen": 15,
    "twenty": 20,
    "thirty": 30,
    "forty": 40,
    "sixty": 60,
    "ninety": 90,
}
_IN_ENGLISH = re.compile(
    rf"\b(?:({'|'.join(_ENGLISH)})\s+(?=(?:more\s+)?(?:{_UNIT})\b)"
    r"|an?\s+(?=(?:minute|hour|day)\b))",
    re.IGNORECASE,
)
_CHINESE = {"半": 0.5, "两": 2, **{c: n for n, c in enumerate("一二三四五六七八九", 1)}}
_IN_CHINESE = re.compile(
    r"([半两]|[一二三四五六七八九]?十?[一二三四五六七八九]?)个?(?=秒|分钟|小时|天)"
)
_MOMENT = r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?\s?(?:Z|UTC|[+-]\d\d:?\d\d)?"
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:\.\d+)?\s?(Z|UTC|[+-]\d\d:?\d\d)?"
)
# Retry-After, X-Retry-After, X-RateLimit-Retry-After, X-Ms-Retry-After-Ms.
_AFTER_NAME = re.compile(r"(?:\A|-)retry-after(?:-(ms|s|seconds))?\Z", re.IGNORECASE)
_FIELD = re.compile(
    r"(?:retry[-_ ]?(?:after|in|delay|at)|cool[-_ ]?down(?:[-_ ]?time)?|next[-_ ]request[-_ ]in|"
    r"(?:等待|剩余|冷却)时间|"
    r"resets?(?:[-_ ]?(?:after|in|at|time))?|wait(?:[-_ ]?time)?)[-_ ]?"
    r"(ms|millis(?:econds)?|s|secs?|seconds)?[\"'\\]*\s*[:=\uff1a]\s*[\"'\\]*"
    r"([^\"'\\,}\]]{1,40})",
    re.IGNORECASE,
)
_SENTENCES = (
    re.compile(
        rf"(?:again|retry|available|wait|resets?)\b[^.\d]{{0,24}}?({_SPAN})",
        re.IGNORECASE,
    ),
    re.compile(rf"({_SPAN})\s*(?:以|之)?后", re.IGNORECASE),
    re.compile(
        rf"(?:等待?|剩余|冷却)(?:时间)?[\s:\uff1a约为]{{0,4}}({_SPAN})", re.IGNORECASE
    ),
    re.compile(
        rf"(?:again|retry|available|wait|resets?)\b[^.\d]{{0,24}}?({_MOMENT})",
        re.IGNORECASE,
    ),
    re.compile(
        rf"(?:again|retry)[- ](?:in|after)\s+({_NUMBER})(?![\d.]*\s*[A-Za-z/%:-])",
        re.IGNORECASE,
    ),
)
# Not the limits counted in tokens: our requests use none.
_RESET_NAME = re.compile(r"rate-?limit(?!.*token).*reset", re.IGNORECASE)


def asks_for_pause(status: int, headers: Headers, body: bytes) -> bool:
    """Whether the answer says that we ask too often, or that the server is overloaded."""
    if status in _LIMIT_CODES:
        return True
    if status in _PERHAPS_LIMIT_CODES:
        named = (*_after_headers(headers, 0.0), *_in_body(body, 0.0))
        return bool(named) or _used_up(headers) or speaks_of_limit(body)
    # Gateways pass their upstream's words on in an error of their own.
    return status >= 500 and speaks_of_limit(body)


def named_pause(headers: Headers, body: bytes, now_seconds: float) -> float | None:
    """The seconds of quiet that an answer asks for; None where it names no time.

    The most specific source wins: Retry-After, then the words of the body, then the end
    of the server's counting period. A moment in the past gives 0. *now_seconds* (Unix
    time) is for dates in an answer without a Date of its own.
    """
    now_seconds = _unix_date(headers.get("Date", "")) or now_seconds
    passed = None
    for seconds in (
        *_after_headers(headers, now_seconds),
        *_in_body(body, now_seconds),
        *_reset_headers(headers, now_seconds),
    ):
        if seconds > 0:
            return seconds
        passed = 0.0
    return passed


def retry_after(headers: Headers, now_seconds: float) -> float | None:
    """The seconds after which an answer wants to be asked for again; None if untold.

    Of its headers alone, and not of those about a limit: an answer that is no refusal
    names the end of a counting period as well. *now_seconds* is as for `named_pause`.
    """
    now_seconds = _unix_date(headers.get("Date", "")) or now_seconds
    return next((s for s in _after_headers(headers, now_seconds) if s > 0), None)


def _after_headers(headers: Headers, now_seconds: float) -> Iterator[float]:
    """The seconds in Retry-After and its relatives; milliseconds first, then itself."""
    named = [(name, _AFTER_NAME.search(name)) for name in headers]
    units = [(name, (found[1] or "").lower()) for name, found in named if found]
    units.sort(key=lambda each: (each[1] != "ms", each[0].lower() != "retry-after"))
    for name, unit in units:
        yield from _seconds_until(headers[name], unit, now_seconds)


def _in_body(body: bytes, now_seconds: float) -> Iterator[float]:
    """The seconds in fields of the body, then in its sentences."""
    text = _with_digits(_text_of(body))
    for field in _FIELD.finditer(text):
        yield from _seconds_until(field[2], field[1] or "", now_seconds)
    for sentence in _SENTENCES:
        for found in sentence.finditer(text):
            yield from _seconds_until(found[1], "", now_seconds)


def _reset_headers(headers: Headers, now_seconds: float) -> list[float]:
    """The end of the used-up counting period; if none is known as such, the nearest."""
    ends: list[tuple[bool, float]] = []
    for name, value in headers.items():
        if name.lower() == "ratelimit":
            ends += _structured(value)
        elif _RESET_NAME.search(name):
            left = headers.get(re.sub("reset", "remaining", name, flags=re.IGNORECASE))
            if left is None or left.strip() == "0":
                found = _seconds_until(value, "", now_seconds)
                ends += [(left is not None, seconds) for seconds in found]
    used_up = [seconds for is_used_up, seconds in ends if is_used_up]
    if used_up:
        return [max(used_up)]
    return [min(seconds for _, seconds in ends)] if ends else []


def _structured(value: str) -> Iterator[tuple[bool, float]]:
    """(whether it is used up, seconds to its end) per period in a RateLimit field.

    Reads `"default";r=0;t=30` (draft-ietf-httpapi-ratelimit-headers-08 and later) and
    `limit=100, remaining=0, reset=30` (draft 07).
    """
    value = re.sub(r'"[^"]*"', "", value)  # a name may hold anything
    older = re.search(r"(?:^|,)\s*reset\s*=\s*(\d{1,9})", value)
    if older:
        yield True, float(older[1])
    for period in value.split(","):
        end = re.search(r";\s*t\s*=\s*(\d{1,9})", period)
        left = re.search(r";\s*r\s*=\s*(\d{1,18})", period)
        if end and (left is None or int(left[1]) == 0):
            yield left is not None, float(end[1])


def _used_up(headers: Headers) -> bool:
    """Whether a header says that no request is left, as GitHub's does beside a 403."""
    return any(
        re.search(r"rate-?limit(?!.*token).*remaining", name, re.IGNORECASE)
        and value.strip() == "0"
        for name, value in headers.items()
    )


def speaks_of_limit(body: bytes) -> bool:
    """Whether *body* speaks of a rate limit, under any status."""
    return bool(_LIMIT_TEXT.search(_text_of(body)))


def _text_of(body: bytes) -> str:
    """*body* as text, JSON or not, with its character escapes undone."""
    text = body[:_MOST_TEXT_BYTES].decode("utf-8", "replace")
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _with_digits(text: str) -> str:
    """*text* with the numbers before units in digits: "in one minute", "两分钟"."""

    def english(found: re.Match[str]) -> str:
        word = " ".join((found[1] or "one").lower().split())
        return f"{_ENGLISH[word]} "

    def clock(found: re.Match[str]) -> str:
        seconds = 0
        for part in found[2].split(":"):
            seconds = 60 * seconds + int(part)
        return f"{found[1]} {seconds} s"

    def chinese(found: re.Match[str]) -> str:
        tens, ten, ones = found[1].rpartition("十")
        if not found[1]:
            return found[0]
        number = (_CHINESE.get(tens, 1) * 10 if ten else 0) + _CHINESE.get(ones, 0)
        return str(number)

    text = _IN_CLOCK.sub(clock, _IN_ENGLISH.sub(english, text))
    return _IN_CHINESE.sub(chinese, text)


def _seconds_until(value: str, unit: str, now_seconds: float) -> Iterable[float]:
    """The seconds that *value* means: a number, a span or a moment; empty for none.

    *unit* is the unit of a bare number: seconds, unless it begins with "m".
    """
    value = value.strip().strip("\"'").strip()
    if value.isascii() and value.isdecimal():
        value = value[:15]
    if re.fullmatch(_NUMBER, value):
        return [_bare_seconds(float(value), unit, now_seconds)]
    duration = _DURATION.fullmatch(value)
    if duration:
        days, hours, minutes, seconds = (float(part or 0) for part in duration.groups())
        return [((days * 24 + hours) * 60 + minutes) * 60 + seconds]
    moment = _unix_date(value)
    if moment is not None:
        return [max(0.0, moment - now_seconds)]
    span = re.match(_SPAN, value, re.IGNORECASE)
    parts = _PART.findall(span[0]) if span else []
    return [sum(_part_seconds(*part) for part in parts)] if parts else []


def _bare_seconds(number: float, unit: str, now_seconds: float) -> float:
    if unit.lower().startswith("m"):
        return number / 1000
    if number >= _EPOCH_MILLISECONDS:
        number /= 1000
    return number if number < _EPOCH_SECONDS else max(0.0, number - now_seconds)


def _part_seconds(number: str, unit: str) -> float:
    for names, seconds in _UNIT_SECONDS:
        if re.fullmatch(names, unit, re.IGNORECASE):
            return float(number) * seconds
    raise AssertionError(unit)


def _unix_date(value: str) -> float | None:
    """The HTTP or ISO 8601 date at the start of *value* as Unix time; None without one."""
    iso = _ISO.match(value.strip())
    try:
        if iso:
            zone = (iso[3] or "Z").replace("UTC", "Z")
            return datetime.fromisoformat(f"{iso[1]}T{iso[2]}{zone}").timestamp()
        found = parsedate_to_datetime(value.strip())
        return found.replace(tzinfo=found.tzinfo or UTC).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
