"""Whether a container ends exactly where its file does, told from its headers. Pure.

A file that is still being written also has a length; its container tells that more is
to come: a box that reaches beyond the end, one without a length, an index that is not
there yet. MP4 (ISO/IEC 14496-12 §4.2), Matroska and WebM (RFC 8794 §6, RFC 9559) and
AVI can tell; Ogg, FLV and MPEG streams cannot, and are never known to be closed.
"""

from collections.abc import Callable

from ...mp4 import OPENING_BOXES

# Gives at least *count* bytes from *offset* on, fewer only at the end of the file.
Read = Callable[[int, int], bytes]

# The longest header of any of them: an MP4 box with a length of 64 bits.
_HEADER_BYTES = 16
# An MP4 in fragments has three boxes for each. A guess: ten minutes in seconds of media.
_MOST_PARTS = 2000
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def closes(read: Read, size_bytes: int) -> bool:
    """Whether the file of *size_bytes* that *read* reads is a container, and whole."""
    head = read(0, _HEADER_BYTES)
    if head[4:8] in OPENING_BOXES:
        return {b"moov", b"mdat"} <= _names(read, size_bytes, _box)
    if int.from_bytes(head[:4], "big") == _EBML:
        return bool(_names(read, size_bytes, _element) & {_SEGMENT})
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return bool(_names(read, size_bytes, _chunk))
    return False


# What a header says: a name, and the length with the header in it; None if it is none.
_Part = tuple[object, int] | None


def _names(
    read: Read, size_bytes: int, part_of: Callable[[bytes], _Part]
) -> set[object]:
    """The names of the outermost parts; none where they do not add up to the file."""
    names: set[object] = set()
    offset = 0
    for _ in range(_MOST_PARTS):
        part = part_of(read(offset, _HEADER_BYTES))
        if part is None:
            break
        name, length = part
        names.add(name)
        offset += length
        if offset >= size_bytes:
            return names if offset == size_bytes else set()
    return set()


def _box(header: bytes) -> _Part:
    length, least = int.from_bytes(header[:4], "big"), 8
    if length == 1:  # it stands behind the name
        length, least = int.from_bytes(header[8:16], "big"), 16
    if len(header) < least or length < least:  # 0: to the end, wherever that will be
        return None
    return header[4:8], length


def _element(header: bytes) -> _Part:
    """An EBML element, if its length is known."""
    id_bytes = _width(header, 4)
    size_bytes = _width(header[id_bytes:], 8)
    if not id_bytes or not size_bytes or len(header) < id_bytes + size_bytes:
        return None
    all_ones = (1 << 7 * size_bytes) - 1
    length = int.from_bytes(header[id_bytes : id_bytes + size_bytes], "big") & all_ones
    if length == all_ones:  # not known
        return None
    name = int.from_bytes(header[:id_bytes], "big")
    return name, id_bytes + size_bytes + length


def _width(number: bytes, most: int) -> int:
    """The bytes of an EBML number by its first one; 0 if it is none."""
    width = 9 - number[0].bit_length() if number[:1] else 0
    return width if width <= most else 0


def _chunk(header: bytes) -> _Part:
    length = int.from_bytes(header[4:8], "little")
    return (b"RIFF", 8 + length + length % 2) if header[:4] == b"RIFF" else None
