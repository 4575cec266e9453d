"""Where JSON names the bytes of a video, for servers that send it instead of them. Pure.

A status object may hold other URLs beside that of the video: the user's own picture, a
thumbnail, a web page, the route to ask again. So nothing is excluded here: a URL is
taken only if every name on the way to it is one of a result, and nothing beside it says
that it is of another kind. Of several, the first is taken.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes, urlsplit

from . import bodies
from .wording import fields_of

# The parts of names that lead to a result: "videoUrl", "generated_samples", "no_watermark".
_OF_RESULTS = frozenset(
    {
        *("data", "result", "results", "output", "outputs", "response", "metadata"),
        *("meta", "content", "contents", "task", "job", "info", "detail", "details"),
        *("video", "videos", "clip", "clips", "mp4", "webm", "media", "file", "files"),
        *(
            "creation",
            "creations",
            "generation",
            "generations",
            "generated",
            "generate",
        ),
        *("sample", "samples", "artifact", "artifacts", "asset", "assets", "resource"),
        *(
            "work",
            "works",
            "item",
            "items",
            "list",
            "object",
            "raw",
            "final",
            "finished",
        ),
        *("completed", "download", "downloads", "downloadable", "url", "urls", "uri"),
        *("uris", "link", "links", "href", "src", "signed", "presigned", "public"),
        *("remote", "cdn", "oss", "s3", "cos", "storage", "cloud", "hd", "hq", "high"),
        *("quality", "play", "playback", "no", "without", "watermark", "watermarked"),
    }
)
# Under these a path without a host is a URL; under others it may be one of a disk.
_OF_URLS = frozenset({"url", "urls", "uri", "uris", "link", "links", "href", "src"})
# Names whose value tells of what kind an object is, and the kinds that are no result.
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
    """The URL of the bytes in the JSON of *body*, if any. As `url_of_result`."""
    return url_of_result(bodies.parsed_json(body))


def url_of_result(found: object) -> str | None:
    """The URL of the bytes in *found*, which was JSON, if any.

    It may be relative to that of the JSON, or a data: URL, which `inline_bytes` reads.
    """
    urls = _Walk().urls_in(found, frozenset())
    return next((url for url in urls if not _is_of_another_file(url)), None)


def inline_bytes(url: str) -> bytes | None:
    """The bytes in a data: URL of a video; None if it is none, or holds none."""
    inline = _INLINE.match(url)
    if inline is None:
        return None
    try:
        coded = unquote_to_bytes(url[inline.end() :])
        return base64.b64decode(b"".join(coded.split()), validate=True) or None
    except (binascii.Error, ValueError):
        return None


class _Walk:
    """One walk through a document, of a bounded number of its parts."""

    def __init__(self) -> None:
        self._left = _MOST_NODES

    def urls_in(
        self, value: object, name: frozenset[str], depth: int = _MOST_DEPTH
    ) -> Iterator[str]:
        """What is a URL below *value*, which stands under *name*, in its order."""
        self._left -= 1
        if self._left < 0 or depth < 0:
            return
        if isinstance(value, str):
            if _is_url(value.strip(), name):
                yield value.strip()
            return
        for part, item in _parts_below(value, name):
            yield from self.urls_in(item, part, depth - 1)


def _parts_below(
    value: object, name: frozenset[str]
) -> Iterator[tuple[frozenset[str], object]]:
    """The parts of an object or array that may lead to a result, with their names."""
    if isinstance(value, list) and not any(map(_is_words, value)):
        yield from ((name, item) for item in value)
    elif isinstance(value, dict) and not _is_of_others(value):
        for key, item in value.items():
            parts = _parts_of(key)
            if parts and parts <= _OF_RESULTS:
                yield parts, item


def _is_url(text: str, name: frozenset[str]) -> bool:
    if _INLINE.match(text):
        return True
    if not 0 < len(text) <= _LONGEST_URL or not name:
        return False
    by_scheme = text[:8].lower().startswith(("https://", "http://"))
    return by_scheme or (text.startswith("/") and bool(name & _OF_URLS))


def _is_of_another_file(url: str) -> bool:
    """Whether the ending of *url* says that it is no video; or it is no URL."""
    try:
        name = "" if _INLINE.match(url) else urlsplit(url).path.rpartition("/")[2]
    except ValueError:
        return True
    return bool(_OTHER_FILES.search(name))


def _is_words(item: object) -> bool:
    """Whether *item* is words among the parts of a prompt, which may hold videos."""
    return isinstance(item, dict) and (
        item.get("type") in ("text", "input_text") or isinstance(item.get("text"), str)
    )


def _is_of_others(found: dict[str, object]) -> bool:
    fields = fields_of(found)
    said = [fields[name] for name in _KINDS if isinstance(fields.get(name), str)]
    return any(_parts_of(str(kind)) & _OF_OTHERS for kind in said)


def _parts_of(name: str) -> frozenset[str]:
    return frozenset(part.lower() for part in _PARTS.findall(name[:100]))
