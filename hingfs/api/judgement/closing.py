"""Whether a container ends exactly where its file does, by its headers. Pure.

A file that is still being written also has a length. Its container shows that more is to
come: a box that reaches beyond the end, a box without a length, an index that is missing.
MP4 (ISO/IEC 14496-12 §4.2), Matroska and WebM (RFC 8794 §6, RFC 9559) and AVI show it.
Ogg, FLV and MPEG streams do not, and are never known to be whole. Leaves to the caller
how headers are read.
"""

from collections.abc import Callable

from ...mp4 import OPENING_BOXES

# (offset, count) -> at least *count* bytes from *offset* on, fewer only at the file's end.
Read = Callable[[int, int], bytes]

# The longest header of any container: an MP4 box with a length of 64 bits.
_HEADER_BYTES = 16
# An MP4 in fragments has three boxes for each of them. A guess: ten minutes of film, in
# fragments of a second.
_MOST_PARTS = 2000
_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067


def closes(read: Read, size_bytes: int) -> bool:
    """Whether *read* reads a container that is whole in *size_bytes*."""
    head = read(0, _HEADER_BYTES)
    if head[4:8] in OPENING_BOXES:
        return {b"moov", b"mdat"} <= _names(read, size_bytes, _box)
    if int.from_bytes(head[:4], "big") == _EBML:
        return bool(_names(read, size_bytes, _element) & {_SEGMENT})
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return bool(_names(read, size_bytes, _chunk))
    return False


# The part that a header begins: its name, and its length with the header; None if the
# bytes are no header, or the length is not known.
_Part = tuple[object, int] | None


def _names(
    read: Read, size_bytes: int, part_of: Callable[[bytes], _Part]
) -> set[object]:
    """The names of the outermost parts; none if they do not add up to *size_bytes*."""
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
    if length == 1:  # the length stands behind the name
        length, least = int.from_bytes(header[8:16], "big"), 16
    if len(header) < least or length < least:  # 0: to the end of the file
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
    if length == all_ones:  # not known yet
        return None
    name = int.from_bytes(header[:id_bytes], "big")
    return name, id_bytes + size_bytes + length


def _width(number: bytes, most: int) -> int:
    """How many bytes an EBML number takes, by its first byte; 0 if it is no number."""
    width = 9 - number[0].bit_length() if number[:1] else 0
    return width if width <= most else 0


def _chunk(header: bytes) -> _Part:
    length = int.from_bytes(header[4:8], "little")
    return (b"RIFF", 8 + length + length % 2) if header[:4] == b"RIFF" else None
