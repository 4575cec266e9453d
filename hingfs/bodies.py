"""What a body says, as JSON or as words, within bounds. Pure.

A body is hostile input: it may be nested, long or broken. Whatever it holds, reading it
takes bounded memory and raises nothing.
"""

import json
import re

# HTML or XML, a fragment, a comment or a prolog of it.
_MARKUP = re.compile(rb"\s*(?:\xef\xbb\xbf\s*)?<[A-Za-z!/?]")

# An object or array takes some 60 bytes of memory and may be two bytes of JSON: with
# more of them than any list of videos has, a body is no JSON to us.
_MOST_JSON_PARTS = 500_000
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


def is_markup(body: bytes) -> bool:
    """Whether *body* begins as HTML or XML does."""
    return bool(_MARKUP.match(body[:8192]))
