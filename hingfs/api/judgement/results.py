"""Which URL in JSON leads to the bytes of a video. Pure.

Some servers send JSON instead of the bytes. It may hold other URLs: the user's own
picture, a thumbnail, a web page, the route to ask again. So no list of bad names is kept.
A URL is taken only if every name on the way to it is a name of results, and nothing
beside it names another kind. Names such as `video` and `file` may echo what the user
sent, so a URL below `output` or `result` comes first, and of equal ones the first.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Self
from urllib.parse import unquote_to_bytes, urlsplit

from . import bodies
from .wording import fields_of

# Parts of the names on the way to a result: "videoUrl", "generated_samples",
# "no_watermark".
_OF_RESULTS = frozenset(
    {
        *("data", "result", "results", "output", "outputs", "response", "metadata"),
        *("meta", "content", "contents", "task", "job", "info", "detail", "details"),
        *("video", "videos", "clip", "clips", "mp4", "webm", "media", "file", "files"),
        *("creation", "creations", "generation", "generations", "generated"),
        *("generate",),
        *("sample", "samples", "artifact", "artifacts", "asset", "assets", "resource"),
        *("work", "works", "item", "items", "list", "object", "raw", "final"),
        *("finished",),
        *("completed", "download", "downloads", "downloadable", "url", "urls", "uri"),
        *("uris", "link", "links", "href", "src", "signed", "presigned", "public"),
        *("remote", "cdn", "oss", "s3", "cos", "storage", "cloud", "hd", "hq", "high"),
        *("quality", "play", "playback", "no", "without", "watermark", "watermarked"),
        *("payload", "body", "attachment", "attachments", "entity", "product", "gifs"),
        *("temp", "tmp", "temporary", "direct", "full", "access", "main", "external"),
        *("blob", "bucket", "gcs", "gs", "obs", "tos", "minio", "r2", "location"),
        *("path",),
        *("upscaled", "export", "exports", "rendition", "renditions"),
        *("return", "returned", "value", "resp", "json", "origin"),
        *("sd", "fhd", "uhd", "low", "medium"),
    }
)
# Parts that no server uses for what the user sent. The more of them stand on the way to a
# URL, the sooner it is taken.
_OF_OUTPUT = frozenset(
    {
        *("result", "results", "output", "outputs", "generated", "creation"),
        *("creations",),
        *("artifact", "artifacts", "final", "finished", "completed", "upscaled"),
        *("download", "downloads", "downloadable"),
    }
)
# Names of a URL that is taken last: it may be another route (fal) or the user's own.
_LAST = frozenset({"origin"})
_ROUTES = (frozenset({"response"}), frozenset({"resp"}))
# Old new-api puts the URL of a success where it says why others failed.
_REASON = frozenset({"fail", "reason"})
# Names of one of several: a number, or a height in pixels.
_NUMBER = re.compile(r"\d+[pk]?|[pk]")
# Under these a path without a host is a URL; under others it may be a path on a disk.
_OF_URLS = frozenset({"url", "urls", "uri", "uris", "link", "links", "href", "src"})
# Names whose value tells the kind of an object, and the kinds that are no result.
_KINDS = (
    *("type", "role", "kind", "purpose", "format", "variant", "media_type"),
    *("mime_type", "content_type"),
)
_OF_OTHERS = frozenset(
    {
        *("image", "picture", "photo", "thumbnail", "thumb", "preview", "cover"),
        *("poster", "frame", "first", "last", "sprite", "spritesheet", "mask", "audio"),
        *("music", "voice", "subtitle", "caption", "text", "json", "html", "zip"),
        *("input", "reference", "ref", "source", "original", "prompt", "user"),
        *("jpg", "jpeg", "png", "webp", "gif", "mp3", "wav", "srt", "vtt"),
    }
)
_OTHER_FILES = re.compile(
    r"\.(jpe?g|png|webp|gif|avif|bmp|svg|mp3|wav|m4a|aac|srt|vtt|json|txt|html?|zip|m3u8)\Z",
    re.IGNORECASE,
)
_PARTS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z][A-Z0-9]*(?![a-z])")
_INLINE = re.compile(
    r"data:(?:video/[\w.+-]+|application/octet-stream)(?:;[\w.=-]+)*;base64,",
    re.IGNORECASE,
)
_MOST_DEPTH = 8
_MOST_NODES = 10_000
_LONGEST_URL = 8192


def url_in_json(body: bytes) -> str | None:
    """The URL of the bytes in the JSON of *body*, as by `url_of_result`."""
    return url_of_result(bodies.parsed_json(body))


def url_of_result(found: object) -> str | None:
    """The URL of the bytes in *found*, a value of JSON; None if there is none.

    The URL may be relative to that of the JSON. It may be a data: URL, which
    `inline_bytes` reads.
    """
    named = [
        (last, -outputs, number, url)
        for number, (last, outputs, url) in enumerate(_Walk().urls_in(found, _Way()))
        if not _is_of_another_file(url)
    ]
    return min(named)[-1] if named else None


def inline_bytes(url: str) -> bytes | None:
    """The bytes in a data: URL of a video; None if *url* is another one, or empty."""
    inline = _INLINE.match(url)
    if inline is None:
        return None
    try:
        coded = unquote_to_bytes(url[inline.end() :])
        return base64.b64decode(b"".join(coded.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


@dataclass(frozen=True, slots=True)
class _Way:
    """The names on the way to a part of a document."""

    name: frozenset[str] = frozenset()  # the parts of the nearest
    outputs: int = 0  # how many of them have a part of _OF_OUTPUT
    last: bool = False  # a URL here is taken after all others

    def to(self, key: str) -> Self | None:
        """The way on to *key*; None if *key* leads to no result."""
        parts = _parts_of(key)
        if parts and all(map(_NUMBER.fullmatch, parts)):
            return self  # *key* numbers one of several
        known = all(part in _OF_RESULTS or _NUMBER.fullmatch(part) for part in parts)
        if not parts or not (known or parts == _REASON):
            return None
        is_route = bool(parts & _OF_URLS) and parts - _OF_URLS in _ROUTES
        return replace(
            self,
            name=parts,
            outputs=self.outputs + bool(parts & _OF_OUTPUT),
            last=self.last or is_route or parts == _REASON or bool(parts & _LAST),
        )


class _Walk:
    """One walk through at most `_MOST_NODES` parts of a document."""

    def __init__(self) -> None:
        self._left = _MOST_NODES

    def urls_in(
        self, value: object, way: _Way, depth: int = _MOST_DEPTH
    ) -> Iterator[tuple[bool, int, str]]:
        """The URLs below *value* in their order, each behind `last` and `outputs`."""
        self._left -= 1
        if self._left < 0 or depth < 0:
            return
        if isinstance(value, str):
            text = value.strip()
            if _is_url(text, way.name):
                yield way.last, way.outputs, text
                return
            value = _json_in(text) if way.name else None
        if way.name == _REASON:
            return
        for onward, item in _parts_below(value, way):
            yield from self.urls_in(item, onward, depth - 1)


def _json_in(text: str) -> object:
    """The object or array that *text* is the JSON of; None if it is no such JSON."""
    coded = text.encode(errors="replace") if text[:1] in ("{", "[") else b""
    return bodies.parsed_json(coded)


def _parts_below(value: object, way: _Way) -> Iterator[tuple[_Way, object]]:
    """The parts of an object or array that may lead to a result, and the way to each."""
    if isinstance(value, list) and not any(map(_is_words, value)):
        yield from ((way, item) for item in value)
    elif isinstance(value, dict) and not _is_of_others(value):
        for key, item in _best_first(value):
            onward = way.to(key)
            if onward is not None:
                yield onward, item


def _best_first(found: dict[str, object]) -> Iterable[tuple[str, object]]:
    """The fields of *found*; the highest first if all are heights in pixels."""
    heights = {key: int(key[:-1]) for key in found if re.fullmatch(r"\d{3,4}[pP]", key)}
    if len(heights) < len(found):
        return found.items()
    return sorted(found.items(), key=lambda field: -heights[field[0]])


def _is_url(text: str, name: frozenset[str]) -> bool:
    if _INLINE.match(text):
        return True
    if not 0 < len(text) <= _LONGEST_URL or not name:
        return False
    by_scheme = text[:8].lower().startswith(("https://", "http://"))
    return by_scheme or (text.startswith("/") and bool(name & _OF_URLS))


def _is_of_another_file(url: str) -> bool:
    """Whether *url* ends as another kind of file does, or is no URL."""
    try:
        name = "" if _INLINE.match(url) else urlsplit(url).path.rpartition("/")[2]
    except ValueError:
        return True
    return bool(_OTHER_FILES.search(name))


def _is_words(item: object) -> bool:
    """Whether *item* is the text of a prompt, whose other parts may be the user's videos."""
    return isinstance(item, dict) and (
        item.get("type") in ("text", "input_text") or isinstance(item.get("text"), str)
    )


def _is_of_others(found: dict[str, object]) -> bool:
    fields = fields_of(found)
    said = [fields[name] for name in _KINDS if isinstance(fields.get(name), str)]
    return any(_parts_of(str(kind)) & _OF_OTHERS for kind in said)


def _parts_of(name: str) -> frozenset[str]:
    return frozenset(part.lower() for part in _PARTS.findall(name[:100]))
