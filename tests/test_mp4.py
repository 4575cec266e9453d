"""Where the index of an MP4 lies, told from its first bytes; whatever they are."""

import struct
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import MIB, ByteRange
from hingfs.mp4 import LARGEST_INDEX_BYTES, OPENING_BOXES, index_range

pytestmark = pytest.mark.usefixtures("little_address_space")


def box(name: bytes, length: int, *, long: bool = False) -> bytes:
    """The header of a box of *length* bytes in all."""
    if long:
        return struct.pack(">I4sQ", 1, name, length)
    return struct.pack(">I4s", length, name)


FTYP = box(b"ftyp", 24) + b"isom" * 4
SIZE = 12 * MIB
MOOV_AT = SIZE - 20_000


@pytest.mark.parametrize("long", [False, True])
def test_an_index_behind_the_media_is_all_from_there_on(long):
    head = FTYP + box(b"mdat", MOOV_AT - 24, long=long) + b"media" * 10

    assert index_range(head, SIZE) == ByteRange(MOOV_AT, SIZE)


def test_boxes_between_are_walked_over():
    head = FTYP + box(b"free", 8) + box(b"wide", 16) + b"x" * 8
    head += box(b"mdat", MOOV_AT - 48) + b"media" * 10

    assert index_range(head, SIZE) == ByteRange(MOOV_AT, SIZE)


def test_an_index_in_front_is_named_exactly():
    head = FTYP + box(b"moov", 5000) + b"x" * 100

    assert index_range(head, SIZE) == ByteRange(24, 5024)


def test_an_index_in_front_ends_with_the_file():
    head = FTYP + box(b"moov", SIZE) + b"x" * 100

    assert index_range(head, 5000) == ByteRange(24, 5000)


@pytest.mark.parametrize(
    ("head", "size"),
    [
        (b"", SIZE),
        (FTYP[:7], SIZE),
        (FTYP, SIZE),
        (b"\x1a\x45\xdf\xa3" + b"webm" * 20, SIZE),
        (b"\0" * 64, SIZE),
        (FTYP + box(b"mdat", 0) + b"x" * 20, SIZE),  # up to the end of the file
        (FTYP + box(b"mdat", SIZE - 24) + b"x" * 20, SIZE),  # nothing behind it
        (FTYP + box(b"mdat", SIZE * 2) + b"x" * 20, SIZE),
        (FTYP + box(b"mdat", 7) + b"x" * 20, SIZE),
        (FTYP + box(b"free", SIZE - 1000) + b"x" * 20, SIZE),  # no media before it
        (box(b"junk", 24) + box(b"moov", 100), SIZE),
        (box(b"free", 8) * 1000, SIZE),
    ],
)
def test_what_names_no_index_gives_none(head, size):
    assert index_range(head, size) is None


def test_an_index_too_large_to_fetch_unasked_gives_none():
    head = FTYP + box(b"mdat", 1000) + b"x" * 20

    assert index_range(head, 1024 + LARGEST_INDEX_BYTES) is not None
    assert index_range(head, 1024 + LARGEST_INDEX_BYTES + 1) is None


@pytest.mark.parametrize("clip", ["moov_first", "moov_last"])
def test_the_index_of_a_real_clip_is_found(clip):
    (data,) = [
        found.read_bytes()
        for found in files("hingfs.demo.clips").iterdir()
        if clip in found.name
    ]

    index = index_range(data[:4096], len(data))

    assert index is not None
    assert data[index.start + 4 : index.start + 8] == b"moov"


lengths = st.integers(0, 40) | st.integers(0, 2**32 - 1) | st.just(1)
names = st.sampled_from([*sorted(OPENING_BOXES), b"moov", b"uuid"]) | st.binary(
    min_size=4, max_size=4
)
headers = st.one_of(
    st.builds(lambda name, length: struct.pack(">I4s", length, name), names, lengths),
    st.builds(
        lambda name, length: box(name, length, long=True),
        names,
        st.integers(0, 2**64 - 1) | st.integers(0, 64),
    ),
)
heads = st.lists(headers | st.binary(max_size=24), max_size=12).map(b"".join)


@given(heads | st.binary(max_size=300), st.integers(0, 2**40) | st.integers(0, 500))
def test_any_head_gives_a_range_inside_the_file_or_none(head, size):
    index = index_range(head, size)

    if index is not None:
        assert 0 <= index.start < index.stop <= size
        assert len(index) <= LARGEST_INDEX_BYTES
