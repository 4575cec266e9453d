"""Finds the index of an MP4 from the first bytes of the file.

An MP4 is a row of boxes, each with a length and a four-letter name (ISO/IEC 14496-12
§4.2). A player needs the box `moov`, the index, before it can show a frame; many
encoders write it last. The boxes in front of it tell exactly where it begins.
Leaves to `reader` when the index is fetched. Pure: no I/O, no threads.
"""

from .blocks import MIB, ByteRange

# Names that may open an MP4 or QuickTime file; anything else is another container.
OPENING_BOXES = frozenset(
    {b"ftyp", b"styp", b"moov", b"mdat", b"free", b"skip", b"wide"}
)

# A larger index is not worth fetching ahead: that of two hours of video has about 8 MiB
# (arithmetic: 16 bytes for each of 60 samples a second).
LARGEST_INDEX_BYTES = 8 * MIB

_HEADER_BYTES = 8
_LONG_HEADER_BYTES = 16
_MOST_BOXES = 64


def index_range(head: bytes, size_bytes: int) -> ByteRange | None:
    """The bytes [start, stop) of the index, as far as *head* can tell.

    *head* is the beginning of a file of *size_bytes*. If the box after a media box lies
    outside *head*, the index is taken to be all bytes from there to the end of the file.
    None for a file that is no MP4, is broken, or whose index would be larger than
    `LARGEST_INDEX_BYTES`. Never raises, whatever the bytes.
    """
    offset = 0
    for _ in range(_MOST_BOXES):
        box = _box_at(head, offset, size_bytes)
        if box is None:
            return None
        name, length = box
        if offset == 0 and name not in OPENING_BOXES:
            return None
        if name == b"moov":
            return _bounded(ByteRange(offset, min(offset + length, size_bytes)))
        offset += length
        if offset >= size_bytes:
            return None
        if offset + _LONG_HEADER_BYTES > len(head):
            # The next box is outside *head*. After a media box it is the index.
            return _bounded(ByteRange(offset, size_bytes)) if name == b"mdat" else None
    return None


def _box_at(head: bytes, offset: int, size_bytes: int) -> tuple[bytes, int] | None:
    header = head[offset : offset + _LONG_HEADER_BYTES]
    if len(header) < _HEADER_BYTES:
        return None
    length = int.from_bytes(header[:4], "big")
    name = header[4:8]
    if length == 1:  # the length stands behind the name, in 64 bits
        if len(header) < _LONG_HEADER_BYTES:
            return None
        length = int.from_bytes(header[8:16], "big")
    elif length == 0:  # up to the end of the file
        length = size_bytes - offset
    return (name, length) if length >= _HEADER_BYTES else None


def _bounded(index: ByteRange) -> ByteRange | None:
    return index if 0 < len(index) <= LARGEST_INDEX_BYTES else None
