"""What a body says, as JSON or as words, within bounds. Pure.

A body is hostile input: it may be nested, long or broken. Whatever it holds, reading it
takes bounded memory and raises nothing. Leaves to `sender` how many bodies are read at
the same time.
"""

import codecs
import itertools
import json
import re
from collections.abc import Callable, Iterator, Sequence

from ...blocks import KIB, MIB

# HTML or XML, a fragment, a comment or a prolog of it.
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf\s*)?<[A-Za-z!/?]")

# What is parsed at once: a status object, one element of a list, the message of an error.
# As memory, an object of one key takes 184 bytes, an array 88, a key and its value up to
# 170 while their table grows, a text up to nine times its bytes (one character outside
# the BMP makes all of it four bytes wide, and so the copy that is parsed). The worst
# MiB of at most so many parts takes 15 MiB; of any number of parts 45 (2026-11-26).
MOST_JSON_BYTES = 1 * MIB
MOST_JSON_PARTS = 40_000
# A page larger than this, of some hundred videos, is parsed video by video, of each
# window what is whole in it: so a page of any size takes little memory.
SMALL_PAGE_BYTES = 256 * KIB
_WINDOW_BYTES = 64 * KIB
# By which names a refusal tells what it is about, in words for people.
_SENTENCES = ("message", "detail", "msg", "error", "error_description", "title")
_MOST_TEXT = 4096
_BEGINNING, _BRACKET = rb"(?:\A(?:\xef\xbb\xbf)?", rb")[ \t\r\n]*(\[)[ \t\r\n]*"
_BLANK = " \t\r\n"
_PLACE = b"-Infinity"
_SEPARATOR = re.compile(r"[ \t\r\n]*(?:,[ \t\r\n]*|(\]))")
_DECODER = json.JSONDecoder()
_Utf8 = codecs.getincrementaldecoder("utf-8")
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def parsed_json(body: bytes) -> object | None:
    """The JSON in *body*; None if it is none, or beyond what can be wanted.

    That is: nested so deeply that parsing gives up, or larger or of more parts than fit.
    """
    return _parsed(body, float)


def _parsed(body: bytes, constant: Callable[[str], object]) -> object | None:
    """As `parsed_json`; *constant* makes something of NaN and the infinities."""
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
    body: bytes, names: Sequence[str], kept: Callable[[object], object]
) -> object | None:
    """As `parsed_json`, for a page of a list whose rows stand under one of *names*.

    Of a large page each row is parsed for itself, and only what *kept* makes of it
    stays. What *kept* makes is no JSON, so that it can be told from rows.
    """
    found = None
    if len(body) > SMALL_PAGE_BYTES:
        named = b'|"(?i:%s)"[ \t\r\n]*:' % "|".join(names).encode()
        found = re.search(_BEGINNING + named + _BRACKET, body)
    if found is None:
        return parsed_json(body)
    try:
        rows, stop = _read_array(body, found.end(), kept)
    except (ValueError, RecursionError):
        return None
    # A word of JavaScript holds their place, and none may stand anywhere else.
    places: list[str] = []

    def placed(word: str) -> object:
        places.append(word)
        return rows

    page = _parsed(body[: found.start(1)] + _PLACE + body[stop + 1 :], placed)
    return page if len(places) == 1 else None


def _read_array(
    body: bytes, start: int, kept: Callable[[object], object]
) -> tuple[list[object], int]:
    """What *kept* makes of each element of an array, and where its last bracket stands.

    *start* is behind its first bracket. Raises ValueError if it is no JSON, or beyond
    what can be wanted, and RecursionError.
    """
    elements: list[object] = []
    if body[start : start + 1] == b"]":
        return elements, start
    window_bytes, closed = _WINDOW_BYTES, False
    while not closed:
        window = body[start : start + window_bytes]
        if _parts_of(window) > MOST_JSON_PARTS or window_bytes > MOST_JSON_BYTES:
            raise ValueError("an element that is too large, or no JSON")
        # What is cut at its end is left out.
        text = _Utf8("surrogatepass").decode(window)
        stop, closed = _take_elements(text, elements, kept)
        start += len(text[:stop].encode("utf-8", "surrogatepass"))
        window_bytes = _WINDOW_BYTES if stop else 2 * window_bytes
    return elements, start - 1


def _take_elements(
    text: str, elements: list[object], kept: Callable[[object], object]
) -> tuple[int, bool]:
    """Add what *text* has of elements followed by a comma or the array's end.

    Returns where the next one begins, and whether that was the end.
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

    LiteLLM quotes its upstream's JSON inside a string; the words are in there too,
    those outside ASCII perhaps as escapes.
    """
    return _words_of(parsed_json(body), body)


def _words_of(parsed: object, body: bytes) -> str:
    """The words of *body*, which is *parsed*, or None if it is no JSON."""
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
    """What an error body says, for a message: its own sentence, else its words."""
    parsed = parsed_json(body)
    if isinstance(parsed, dict):
        nested = parsed.get("error")
        objects = (nested, parsed) if isinstance(nested, dict) else (parsed,)
        for told, name in itertools.product(objects, _SENTENCES):
            sentence = told.get(name)
            if isinstance(sentence, str) and sentence.strip():
                return sentence.strip()[:_MOST_TEXT]
    return _words_of(parsed, body)


def _strings_in(value: object, depth: int) -> Iterator[str]:
    """The strings in *value*, made one after the other as they are asked for."""
    if isinstance(value, str):
        yield value[:_MOST_TEXT]
    elif depth and isinstance(value, dict):
        for key, item in itertools.islice(value.items(), 32):
            for text in _strings_in(item, depth - 1):
                yield f"{key[:64]}: {text}"  # a long key is repeated for each text
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
