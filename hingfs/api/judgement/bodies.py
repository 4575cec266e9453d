"""What a body says, as JSON or as words, within bounds. Pure.

A body is hostile input: it may be nested, long or broken. Reading it takes bounded memory
and raises nothing, whatever it holds. Leaves to `sender` how many bodies are read at the
same time.
"""

import codecs
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from ...blocks import KIB, MIB

# HTML or XML: a tag, a comment or a prolog.
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf\s*)?<[A-Za-z!/?]")

# The most JSON that is parsed at once: a status object, one element of a list, the message
# of an error. In memory, an object of one key takes 184 bytes, an array 88, a key and its
# value up to 170 while their table grows, a text up to nine times its bytes (one character
# outside the BMP makes all of it four bytes wide, and so the copy that is parsed). The
# worst MiB of at most so many parts takes 15 MiB; of any number of parts 45 (2026-11-26).
MOST_JSON_BYTES = 1 * MIB
MOST_JSON_PARTS = 40_000


class Pieces(NamedTuple):
    """How a large page is parsed: in pieces, and the whole rows of each one by one.

    So a page of any size takes little memory.
    """

    small_page_bytes: int = 256 * KIB  # some hundred videos: parsed at once
    piece_bytes: int = 64 * KIB


IN_PIECES = Pieces()
# Names of the field in which an error speaks to people.
_SENTENCES = ("message", "detail", "msg", "error", "error_description", "title")
_MOST_TEXT = 4096
_BEGINNING, _BRACKET = rb"(?:\A(?:\xef\xbb\xbf)?", rb")[ \t\r\n]*(\[)[ \t\r\n]*"
_BLANK = " \t\r\n"
# A word of JavaScript, in the place of the rows while the rest of the page is parsed.
_STAND_IN = b"-Infinity"
_SEPARATOR = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*|(\]))")
_DECODER = json.JSONDecoder()
_Utf8 = codecs.getincrementaldecoder("utf-8")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def parsed_json(body: bytes) -> object | None:
    """The JSON in *body*; None if it is no JSON, or beyond the bounds.

    Beyond them is JSON that is nested too deeply to be parsed, larger than
    `MOST_JSON_BYTES`, or of more than `MOST_JSON_PARTS`.
    """
    return _parsed(body, float)


def _parsed(body: bytes, constant: Callable[[str], object]) -> object | None:
    """As `parsed_json`; *constant* gives the value of NaN and the infinities."""
    if len(body) > MOST_JSON_BYTES or _parts_of(body) > MOST_JSON_PARTS:
        return None
    try:
        parsed: object = json.loads(body, parse_constant=constant)
    except (ValueError, RecursionError):
        return None
    return parsed


def _parts_of(body: bytes) -> int:
    return sum(map(body.count, (b",", b"[", b"{")))


def parsed_page(
    body: bytes,
    names: Sequence[str],
    kept: Callable[[object], object],
    pieces: Pieces = IN_PIECES,
) -> object | None:
    """As `parsed_json`, for a page of a list whose rows stand under one of *names*.

    Each row of a large page is parsed by itself, and only the value that *kept* makes of
    it stays. That value is no JSON, so that callers can tell it from a row.
    """
    found = None
    if len(body) > pieces.small_page_bytes:
        named = b'|"(?i:%s)"[ \t\r\n]*:' % "|".join(names).encode()
        found = re.search(_BEGINNING + named + _BRACKET, body)
    if found is None:
        return parsed_json(body)
    try:
        rows, stop = _read_array(body, found.end(), kept, pieces.piece_bytes)
    except (ValueError, RecursionError):
        return None
    words: list[str] = []

    def rows_for(word: str) -> object:
        words.append(word)
        return rows

    page = _parsed(body[: found.start(1)] + _STAND_IN + body[stop + 1 :], rows_for)
    return page if len(words) == 1 else None  # another such word is no JSON


def _read_array(
    body: bytes, start: int, kept: Callable[[object], object], piece_bytes: int
) -> tuple[list[object], int]:
    """The values that *kept* makes of an array's elements, and the offset of its end.

    *start* is behind its first bracket, the end at its last. Raises ValueError if it is
    no JSON, or beyond the bounds, and RecursionError.
    """
    elements: list[object] = []
    if body[start : start + 1] == b"]":
        return elements, start
    taken_bytes, closed = piece_bytes, False
    while not closed:
        piece = body[start : start + taken_bytes]
        if _parts_of(piece) > MOST_JSON_PARTS or taken_bytes > MOST_JSON_BYTES:
            raise ValueError("an element that is too large, or no JSON")
        # The decoder leaves out a character that the end of the piece cuts.
        text = _Utf8("surrogatepass").decode(piece)
        stop, closed = _take_elements(text, elements, kept)
        start += len(text[:stop].encode("utf-8", "surrogatepass"))
        taken_bytes = piece_bytes if stop else 2 * taken_bytes
    return elements, start - 1


def _take_elements(
    text: str, elements: list[object], kept: Callable[[object], object]
) -> tuple[int, bool]:
    """Add the elements in *text* that a comma or the array's end follows.

    Returns where the next element begins, and whether the array has ended.
    """
    stop, closed = len(text) - len(text.lstrip(_BLANK)), False
    while not closed:
        try:
            element, end = _DECODER.raw_decode(text, stop)
        except ValueError:
            break
        separator = _SEPARATOR.match(text, end)
        if separator is None:
            break
        if len(elements) >= MOST_JSON_PARTS:
            raise ValueError("an array of too many elements")
        elements.append(kept(element))
        closed = separator[1] is not None
        stop = separator.end()
    return stop, closed


def text_of(body: bytes) -> str:
    """The words of an error body: the strings of its JSON, or the body itself.

    LiteLLM quotes its upstream's JSON inside a string: the words are in it, with escapes
    for characters outside ASCII, which are read here.
    """
    return _words_of(parsed_json(body), body)


def _words_of(parsed: object, body: bytes) -> str:
    """The words of *body*; *parsed* is its JSON, None if it is none."""
    if parsed is None:
        return body[:_MOST_TEXT].decode("utf-8", "replace")
    words: list[str] = []
    missing = _MOST_TEXT
    for string in _strings_in(parsed, depth=4):
        words.append(string[:missing])
        missing -= len(string) + 1
        if missing <= 0:
            break
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), " ".join(words))


def said_in(body: bytes) -> str:
    """The sentence of an error body, to be quoted in a message; else all its words."""
    parsed = parsed_json(body)
    if isinstance(parsed, dict):
        nested = parsed.get("error")
        objects = (nested, parsed) if isinstance(nested, dict) else (parsed,)
        for fields, name in itertools.product(objects, _SENTENCES):
            sentence = fields.get(name)
            if isinstance(sentence, str) and sentence.strip():
                return sentence.strip()[:_MOST_TEXT]
    return _words_of(parsed, body)


def _strings_in(value: object, depth: int) -> Iterator[str]:
    """The strings in *value*, each made only when it is asked for."""
    if isinstance(value, str):
        yield value[:_MOST_TEXT]
    elif depth and isinstance(value, dict):
        for key, item in itertools.islice(value.items(), 32):
            for text in _strings_in(item, depth - 1):
                yield f"{key[:64]}: {text}"  # each text repeats the key, so it is cut
    elif depth and isinstance(value, list):
        for item in value[:32]:
            yield from _strings_in(item, depth - 1)


def is_cut_short(body: bytes) -> bool:
    """Whether *body* begins as JSON and cannot be read to its end."""
    return begins_as_json(body) and parsed_json(body) is None


def begins_as_json(body: bytes) -> bool:
    """Whether *body* begins as an object or array of JSON does."""
    return body.lstrip()[:1] in (b"{", b"[")


def is_markup(body: bytes) -> bool:
    """Whether *body* begins as HTML or XML does."""
    return bool(_MARKUP.match(body[:8192]))
