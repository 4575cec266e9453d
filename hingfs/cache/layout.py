"""How a video lies on disk: the names of its two files, and what its index holds.

`v2/<2 hex>/<key>.data` is a sparse file of the video's size. `<key>.index` holds a header
of one page and then a record of 8 bytes for each grid block. The header is JSON under a
checksum: it names the version in full, and a later field is one more key. The last 256
bytes of the page are the mark of a video that is kept, under a checksum of its own: what a
name needs without its server, and the whole file's SHA-256 once all of it is there. They
are zeros for what is only cached. The index of a kept video ends with a copy of its page.

Decides what counts as a header of ours. Leaves the files to `pair`. Threads: none.
"""

import contextlib
import hashlib
import json
import math
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ..blocks import KIB
from ..content import Content
from ..version import Validator, VideoVersion

LAYOUT = 2
FOLDER = f"v{LAYOUT}"
DATA, INDEX = ".data", ".index"  # the endings of the two files
ABOUT = (
    ".about"  # of what the server told of a kept video, for people: its owner's text
)
# The unit that is checked and present or not. Larger, and a seek stores less of what it
# brought; smaller, and a film's records grow: 785 MB have 48 KB of them.
GRID_BYTES = 128 * KIB
RECORDS_AT = 4096
RECORD_BYTES = 8
# A record is the XXH3-64 of the block with this bit set; 0 where the block is absent. A GB
# costs 0.11 s of CPU; its CRC-32 cost 0.53 s (2026-11-27).
PRESENT = 1 << 63

_MAGIC = b"hingfs\r\n"
_HEAD = struct.Struct("<8sIII")  # magic, layout, bytes of the text, CRC-32 of it
_MARK_BYTES = 256
MARK_AT = RECORDS_AT - _MARK_BYTES
# Magic, format, whether all is there, mtime in ns, when it was begun and when its link
# expires in Unix seconds (NaN: untold), SHA-256; then the CRC-32 of all that.
_MARK = struct.Struct("<4sHHqdd32s")
_CRC = struct.Struct("<I")
_MARK_MAGIC, _MARK_FORMAT = b"kept", 1
_MOST_TEXT_BYTES = MARK_AT - _HEAD.size
_KEY_BYTES = 16


class NoHeader(ValueError):
    """An index is not one that this layout can use."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an index says of its video. Times are in Unix seconds.

    *created* is that of the index, and *completed_at* that of the video, if the server
    told it.
    """

    version: VideoVersion
    created: float
    completed_at: float | None = None

    def tells(self, content: Content) -> bool:
        """Whether the server has this very version, by all that it tells of *content*.

        So a sighting of another process counts as its own. At least one of two times must
        be told. The validators do not count where they change while the bytes do not.
        """
        version = self.version
        mine = (version.endpoint, version.video_id, version.size_bytes)
        if mine != (content.endpoint, content.video_id, content.size_bytes):
            return False
        if self.completed_at != content.completed_at or not content.is_dated:
            return False
        return content.shifting or version.validator == content.validator

    def packed(self) -> bytes:
        """The header's page; raises NoHeader if the version's texts do not fit."""
        version = self.version
        text = json.dumps(
            {
                "endpoint": version.endpoint,
                "id": version.video_id,
                "size": version.size_bytes,
                "etag": version.validator.etag,
                "last_modified": version.validator.last_modified,
                "sighting": version.sighting,
                "grid": GRID_BYTES,
                "created": self.created,
                "completed_at": self.completed_at,
            }
        ).encode()
        if len(text) > _MOST_TEXT_BYTES:
            raise NoHeader("its texts do not fit")
        head = _HEAD.pack(_MAGIC, LAYOUT, len(text), zlib.crc32(text))
        return (head + text).ljust(RECORDS_AT, b"\0")


@dataclass(frozen=True, slots=True)
class Mark:
    """That a video is kept, or on its way to it: what its name needs without a server.

    Times are in Unix seconds, but *mtime_ns*. *begun_at* is when keeping began, and
    *expires_at* when the link does, if the server told it.
    """

    mtime_ns: int
    begun_at: float
    expires_at: float | None = None
    sha256: bytes | None = None  # of the whole file, once all of it is there

    def packed(self) -> bytes:
        """The mark as a page ends with it."""
        body = _MARK.pack(
            _MARK_MAGIC,
            _MARK_FORMAT,
            self.sha256 is not None,
            self.mtime_ns,
            self.begun_at,
            math.nan if self.expires_at is None else self.expires_at,
            self.sha256 or b"",
        )
        return (body + _CRC.pack(zlib.crc32(body))).ljust(_MARK_BYTES, b"\0")


def mark_of(page: bytes) -> Mark | None:
    """The mark in *page*, the first of an index; None if there is no good one."""
    body = page[MARK_AT : MARK_AT + _MARK.size]
    try:
        magic, form, whole, mtime_ns, begun_at, expires_at, sha256 = _MARK.unpack(body)
        (crc,) = _CRC.unpack_from(page, MARK_AT + _MARK.size)
    except struct.error:
        return None
    if (magic, form, zlib.crc32(body)) != (_MARK_MAGIC, _MARK_FORMAT, crc):
        return None
    return Mark(
        mtime_ns,
        begun_at,
        None if math.isnan(expires_at) else expires_at,
        sha256 if whole else None,
    )


def header_of(page: bytes) -> Header:
    """The header in *page*, the first of an index; raises NoHeader."""
    try:
        magic, layout, size, crc = _HEAD.unpack_from(page)
        text = page[_HEAD.size : _HEAD.size + size]
        if (magic, layout) != (_MAGIC, LAYOUT) or zlib.crc32(text) != crc:
            raise NoHeader("another layout, or a broken one")
        found = json.loads(text)
        if found["grid"] != GRID_BYTES:
            raise NoHeader("another grid")
        version = VideoVersion(
            found["endpoint"],
            found["id"],
            found["size"],
            Validator(found["etag"], found["last_modified"]),
            found["sighting"],
        )
        completed_at = found.get("completed_at")  # absent from the first headers
        return Header(
            version,
            float(found["created"]),
            None if completed_at is None else float(completed_at),
        )
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise NoHeader(f"no header: {error}") from error


def stem_of(version: VideoVersion, folder: Path, holder: str) -> Path:
    """Where the two files of *version* lie in *folder*, without their endings.

    The name of a version with a sighting names its *holder* as well, the process that
    alone may use it until it is whole. The validators do not count then, so that all
    sightings of one video lie beside each other.
    """
    sighting = version.sighting
    key = _key_of(version, None if sighting is not None else version.validator.etag)
    name = key if sighting is None else f"{key}-{holder}-{sighting:x}"
    return folder / key[:2] / name


def sightings_of(video: VideoVersion | Content, folder: Path) -> Iterator[Path]:
    """Where the sightings of *video*, of that size, lie in *folder*; raises OSError."""
    key = _key_of(video, None)
    with contextlib.suppress(FileNotFoundError), os.scandir(folder / key[:2]) as shelf:
        for entry in shelf:
            if entry.name.startswith(f"{key}-") and entry.name.endswith(INDEX):
                yield Path(entry.path.removesuffix(INDEX))


def _key_of(video: VideoVersion | Content, etag: str | None) -> str:
    identity = (video.endpoint, video.video_id, video.size_bytes, etag)
    digest = hashlib.blake2b(json.dumps(identity).encode(), digest_size=_KEY_BYTES)
    return digest.hexdigest()


def data_of(stem: Path) -> Path:
    """The file of the video's bytes."""
    return stem.with_name(stem.name + DATA)


def index_of(stem: Path) -> Path:
    """The file of the header and the records."""
    return stem.with_name(stem.name + INDEX)


def about_of(stem: Path) -> Path:
    """The file of what the server told of a kept video; most have none."""
    return stem.with_name(stem.name + ABOUT)


def records_of(written: bytes | bytearray, count: int) -> "array[int]":
    """*count* records from the bytes of an index; those that it lacks are absent."""
    size = count * RECORD_BYTES
    records = array("Q", written[:size].ljust(size, b"\0"))
    if sys.byteorder == "big":
        records.byteswap()
    return records


def written_records(records: "array[int]") -> bytes:
    """*records* as an index holds them."""
    if sys.byteorder == "big":
        records = records[:]
        records.byteswap()
    return records.tobytes()
