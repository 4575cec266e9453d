"""What an answer to a request for content means: is it video, and which bytes? Pure.

No two servers agree: an error may come as 200 with type video/mp4, and a Range may be
ignored by a server that announces ranges. The functions here hold these rules; they get
plain values and have no effects, so each rule is a table row and each row a test.
Leaves to `refusals` what an answer without content means.
"""

import re
from dataclasses import dataclass

from ...blocks import LARGEST_VIDEO_BYTES, ByteRange
from ...content import Content
from ...errors import (
    ContentChanged,
    HingError,
    NotAVideo,
    RangesIgnored,
    ServerBroken,
    printable,
)
from ...http.pauses import Headers
from ...version import Validator
from .sniffing import PROOF_BYTES, Sort, is_container, sort_of

# A HEAD that announces less than this describes an error page, not a clip.
SMALLEST_BELIEVED_BYTES = 4096
# The bytes that a probe asks for, to see whether they begin a video.
PROBE = ByteRange(0, PROOF_BYTES)

# Values of Content-Encoding that change no byte: how a body travelled to the storage
# (aws-chunked), charsets, the type once more, words for none.
_NO_CODING = re.compile(
    r"|identity|none|null|no|off|raw|plain|aws-chunked|chunked|binary|8bit|7bit|"
    r"utf-?8|(us-)?ascii|iso-8859-1|video/[a-z0-9.+-]+|(application|binary)/octet-stream",
    re.IGNORECASE,
)
# Codings in use (IANA's, and compressions). Bytes that came uncoded under one of these
# prove nothing of the next answer, which may be coded: the file is read from one answer.
_CODINGS = re.compile(
    r"(x-)?(gzip|compress|deflate|br|zstd|bzip2|bzip|bz2|xz|lzma|lz4|snappy|zip)|"
    r"dcb|dcz|exi|pack200-gzip",
    re.IGNORECASE,
)
_CONTENT_RANGE = re.compile(r"bytes (\d{1,19})-(\d{1,19})/(\d{1,19}|\*)", re.ASCII)


@dataclass(frozen=True, slots=True)
class Facts:
    """What a content answer tells about a video."""

    size_bytes: int | None  # None: the server does not say
    validator: Validator
    ranges: bool | None  # None: not tried yet
    last_modified: str | None = None
    # A type other than a video's, under which the bytes of a container came.
    odd_type: str | None = None
    # A coding that nobody uses, under which the bytes of a container came uncoded.
    odd_coding: str | None = None


def judge_head(status: int, headers: Headers) -> Facts | None:
    """The facts of a HEAD answer, or None if it proves nothing.

    FastAPI answers 405, gin 404, a presigned GET URL 403. A redirect, and a tiny or
    encoded body, describe something else than the clip.
    """
    if status != 200 or not _is_media(headers) or is_encoded(headers):
        return None
    size_bytes = length_of(headers)
    if size_bytes is None or size_bytes < SMALLEST_BELIEVED_BYTES:
        return None
    # A hint only: some servers announce ranges and ignore them.
    announced = headers.get("Accept-Ranges", "").strip().lower() == "bytes"
    return Facts(
        size_bytes,
        validator_of(headers),
        True if announced else None,
        _modified(headers),
    )


def judge_probe(status: int, headers: Headers, first: bytes) -> Facts | None:
    """The facts of a GET for `PROBE`, or None if the answer is no content.

    *first* holds the body's first bytes. Raises ServerBroken for a size that no video
    has: if it were taken as unknown, the whole file would be asked for.
    """
    odd_type = odd_type_of(headers)
    needs_proof = not _is_media(headers)
    if status not in (200, 206) or (needs_proof and odd_type is None):
        return None
    # The caller reads as much of a 200 as a judgement takes. A 206 ends with the probe.
    ended = status == 200 or len(first) < len(PROBE)
    sort = sort_of(first, needs_proof=needs_proof, ended=ended)
    if sort is Sort.MESSAGE or (needs_proof and sort is Sort.UNTOLD):
        return None
    refuse_absurd_size(status, headers)
    size_bytes, ranges = None if status == 206 else length_of(headers), False
    named = is_encoded(headers)
    if named and not is_container(first):
        size_bytes = None
    elif status == 206:
        answered = parse_content_range(headers.get("Content-Range", ""))
        if answered and answered[0].start == 0 and answered[1] is not None:
            size_bytes, ranges = answered[1], not _names_coding_in_use(headers)
    return Facts(
        size_bytes,
        validator_of(headers),
        ranges,
        _modified(headers),
        odd_type,
        _coding_of(headers) if named and ranges else None,
    )


def is_empty_video(status: int, headers: Headers) -> bool:
    """Whether a probe was refused because the file has no bytes (yet)."""
    if status == 416:
        return headers.get("Content-Range", "").replace(" ", "") in (
            "bytes*/0",
            "bytes=*/0",
        )
    return status == 200 and _is_media(headers) and length_of(headers) == 0


def may_be_message(headers: Headers, odd_type: str | None) -> bool:
    """Whether the type of a 200 says that its body is text or an image, not a video.

    *odd_type* is a type under which this video's bytes are known to come.
    """
    return not _is_media(headers) and _type_of(headers) != odd_type


def odd_type_of(headers: Headers) -> str | None:
    """The type of an answer, if it is no video's type and video bytes may come under it.

    A body in parts (multipart) never is the bytes themselves.
    """
    kind = _type_of(headers)
    return None if _is_media(headers) or kind.startswith("multipart/") else kind


def judge_range(
    status: int, headers: Headers, asked: ByteRange, content: Content
) -> ByteRange:
    """The bytes [start, stop) that an answer to a Range request brings.

    They start where *asked* starts and may stop earlier. Raises RangesIgnored for a
    200 with the same version, ContentChanged for another version, NotAVideo for
    pages and messages, ServerBroken for a 206 that is not what was asked. *content*
    learns the entity tag of an answer that brings some.
    """
    if may_be_message(headers, content.odd_type):
        raise NotAVideo(
            f"HTTP {status} with type {printable(headers.get('Content-Type'), 60)}"
        )
    seen = validator_of(headers)
    if content.contradicted_by(seen):
        raise ContentChanged("the server's validator is another one now")
    refuse_absurd_size(status, headers)
    coded = is_encoded(headers) and _coding_of(headers) != content.odd_coding
    length = None if coded else length_of(headers)
    if status == 200:
        _check_size(length, content)
        raise RangesIgnored("200 to a Range request")
    if coded:
        raise RangesIgnored("a range of an encoded body is no range of the file")
    answered = parse_content_range(headers.get("Content-Range", ""))
    if answered is None:
        raise ServerBroken("206 without a readable Content-Range")
    span, total = answered
    _check_size(total, content)
    inside = span.start == asked.start and span.stop <= asked.stop
    if not inside or (length is not None and length > len(span)):
        raise ServerBroken(f"206 for [{span.start}, {span.stop}), not as asked")
    if not content.learn(seen):  # another thread learnt a validator meanwhile
        raise ContentChanged("the server's validator is another one now")
    return span


def refuse_absurd_size(status: int, headers: Headers) -> None:
    """Raise ServerBroken if an answer names a size that no video has."""
    named = headers.get("Content-Range" if status == 206 else "Content-Length", "")
    for digits in re.findall("[0-9]+", named):
        if len(digits.lstrip("0")) > 13 or int(digits) > LARGEST_VIDEO_BYTES:
            raise ServerBroken(f"a size beyond all reason: {printable(named, 60)}")


def tells_size(status: int, headers: Headers, size_bytes: int) -> bool:
    """Whether an answer to a request for content is of a file of *size_bytes*."""
    if status == 206:
        answered = parse_content_range(headers.get("Content-Range", ""))
        return answered is not None and answered[1] in (None, size_bytes)
    return is_encoded(headers) or length_of(headers) in (None, size_bytes)


def _check_size(size_bytes: int | None, content: Content) -> None:
    if size_bytes is not None and size_bytes != content.size_bytes:
        raise ContentChanged(f"{size_bytes} bytes now, {content.size_bytes} before")


def error_of_416(headers: Headers, content: Content) -> HingError:
    """The meaning of a 416 inside the file: ContentChanged if it names another size."""
    value = headers.get("Content-Range", "")
    match = re.fullmatch(r"bytes \*/(\d{1,19})", value.strip(), re.ASCII)
    known = content.size_bytes >= 0
    if match and known and int(match[1]) != content.size_bytes:
        return ContentChanged("the size is another one now")
    return ServerBroken("416 for a range inside the file")


def is_encoded(headers: Headers) -> bool:
    """Whether the headers name a coding, so that the body is not the file's bytes.

    An unknown word counts as a coding until the first bytes of the body disprove it.
    """
    codings = _coding_of(headers).split(",")
    return not all(_NO_CODING.fullmatch(coding.strip()) for coding in codings)


def _names_coding_in_use(headers: Headers) -> bool:
    codings = _coding_of(headers).split(",")
    return any(_CODINGS.fullmatch(coding.strip()) for coding in codings)


def _coding_of(headers: Headers) -> str:
    return headers.get("Content-Encoding", "")


def parse_content_range(value: str) -> tuple[ByteRange, int | None] | None:
    """(range, total) of a Content-Range header (RFC 9110 §14.4); None if unreadable."""
    match = _CONTENT_RANGE.fullmatch(value.strip())
    if not match:
        return None
    start, last = int(match[1]), int(match[2])
    total = None if match[3] == "*" else int(match[3])
    if last < start or (total is not None and last >= total):
        return None
    if max(last, total or 0) > LARGEST_VIDEO_BYTES:
        return None
    return ByteRange(start, last + 1), total


def validator_of(headers: Headers) -> Validator:
    """The validator in *headers*, weak entity tags dropped."""
    etag = headers.get("ETag")
    strong = etag is not None and etag.startswith('"') and len(etag) <= 512
    return Validator(etag if strong else None, _modified(headers))


def _type_of(headers: Headers) -> str:
    return headers.get("Content-Type", "").partition(";")[0].strip().lower()[:80]


def _is_media(headers: Headers) -> bool:
    """Whether the type can be a video: anything but text, JSON, XML and multipart."""
    kind = _type_of(headers)
    return not (
        kind.startswith(("text/", "multipart/", "image/"))
        or kind.endswith(("json", "xml"))
    )


def _modified(headers: Headers) -> str | None:
    value = headers.get("Last-Modified")
    return value if value and len(value) <= 64 else None


def length_of(headers: Headers) -> int | None:
    """The Content-Length; None if it is absent or absurd."""
    value = headers.get("Content-Length", "").strip()
    if not (value.isascii() and value.isdecimal() and len(value) <= 19):
        return None
    length = int(value)
    return length if length <= LARGEST_VIDEO_BYTES else None
