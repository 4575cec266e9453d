"""What a body says, as JSON or as words, within bounds. Pure.

A body is hostile input: it may be nested, long or broken. Whatever it holds, reading it
takes bounded memory and raises nothing.
"""

import json
import re

from .mp4 import OPENING_BOXES

# HTML or XML, a fragment, a comment or a prolog of it.
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf\s*)?<[A-Za-z!/?]")

# An object or array takes some 60 bytes of memory and may be two bytes of JSON: with
# more of them than any list of videos has, a body is no JSON to us.
_MOST_JSON_PARTS = 500_000
# How containers other than MP4 begin; each has bytes that are in no text.
_MAGIC = (
    re.compile(rb"\x1a\x45\xdf\xa3"),  # Matroska and WebM
    re.compile(rb"RIFF.{4}AVI ", re.DOTALL),
    re.compile(rb"OggS\x00"),
    re.compile(rb"FLV\x01[\x01\x04\x05]\x00\x00"),
    re.compile(rb"\x47\x40[\x00\x11][\x10-\x1f]\x00"),  # MPEG-TS: its first tables
    re.compile(rb"\x00\x00\x01\xba"),  # MPEG-PS
    re.compile(rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),  # ASF: WMV
)
_FOUR_OF_TEXT = re.compile(rb"[\t\n\r -~]{4}")
_MOST_TEXT = 4096
_ESCAPE = re.compile(r"\\u([0-9a-fA-F]{4})")


def parsed_json(body: bytes) -> object | None:
    """The JSON in *body*; None if it is none, or beyond what can be wanted.

    That is: nested so deeply that parsing gives up, or of more parts than fit.
    """
    if sum(map(body.count, (b",", b"[", b"{"))) > _MOST_JSON_PARTS:
        return None
    try:
        parsed: object = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return parsed


def json_object(body: bytes) -> dict[str, object]:
    """The JSON object in *body*; empty if it holds none."""
    parsed = parsed_json(body)
    return parsed if isinstance(parsed, dict) else {}


def text_of(body: bytes) -> str:
    """The words of an error body: the strings of its JSON, or the body itself.

    LiteLLM quotes its upstream's JSON inside a string; the words are in there too,
    those outside ASCII perhaps as escapes.
    """
    parsed = parsed_json(body)
    if parsed is None:
        return body[:_MOST_TEXT].decode("utf-8", "replace")
    text = " ".join(_strings_in(parsed, depth=4))[:_MOST_TEXT]
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)


def _strings_in(value: object, depth: int) -> list[str]:
    if isinstance(value, str):
        return [value[:_MOST_TEXT]]
    if depth == 0:
        return []
    if isinstance(value, dict):
        return [
            f"{key[:64]}: {text}"  # a long key would be repeated for each text
            for key, item in list(value.items())[:32]
            for text in _strings_in(item, depth - 1)
        ]
    if isinstance(value, list):
        return [text for item in value[:32] for text in _strings_in(item, depth - 1)]
    return []


def is_cut_short(body: bytes) -> bool:
    """Whether *body* begins as JSON and cannot be read to its end."""
    return body.lstrip()[:1] in (b"{", b"[") and parsed_json(body) is None


def looks_like_message(first: bytes) -> bool:
    """Whether a body that begins with *first* is JSON, HTML or XML instead of video.

    *first* is the whole body or its first block. No container's magic is demanded:
    test data and rare containers exist, and plain text may be such data.
    """
    if is_markup(first):
        return True
    stripped = first[:8192].strip().removeprefix(b"\xef\xbb\xbf").lstrip()
    if stripped[:1] not in (b"{", b"["):
        return False
    return parsed_json(first) is not None or bool(
        re.match(rb'[{\[]\s*(\[|\{\s*"|"[A-Za-z_]{1,64}"\s*:)', stripped)
    )


def is_container(first: bytes) -> bool:
    """Whether a body that begins with *first* is certainly a video.

    Enough to believe it under a type that says otherwise; 16 bytes tell. Of MP4 the
    first box must be one that opens a file, and of a length that is no text.
    """
    length = int.from_bytes(first[:4], "big")
    if first[4:8] in OPENING_BOXES:
        sane = length in (0, 1) or length >= 8
        return sane and not _FOUR_OF_TEXT.match(first)
    return any(magic.match(first) for magic in _MAGIC)


def is_markup(body: bytes) -> bool:
    """Whether *body* begins as HTML or XML does."""
    return bool(_MARKUP.match(body[:8192]))
