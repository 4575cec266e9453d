"""What a value of the shared cache must be to be believed."""

import random

import pytest

from hingfs.blocks import MIB
from hingfs.cache.values import (
    may_be_shared,
    name_of,
    packed,
    span_of,
    unpacked,
)
from hingfs.version import Validator, VideoVersion

API = "https://api.example"
VERSION = VideoVersion(API, "v", MIB + 1000, Validator('"tag"'))
OTHERS = [
    VideoVersion("https://other.example", "v", MIB + 1000, Validator('"tag"')),
    VideoVersion(API, "w", MIB + 1000, Validator('"tag"')),
    VideoVersion(API, "v", MIB + 1000, Validator('"other"')),
    VideoVersion(API, "v", MIB + 1001, Validator('"tag"')),
]
DATA = random.Random(7).randbytes(1000)


def value(index: int = 1, data: bytes = DATA) -> bytes:
    return packed(VERSION, index, [memoryview(data[:400]), memoryview(data[400:])])


def test_a_value_holds_its_piece():
    assert span_of(VERSION, 1).start == MIB
    assert bytes(unpacked(value(), VERSION, 1) or b"") == DATA


@pytest.mark.parametrize("other", OTHERS)
def test_the_value_of_another_version_is_none_and_lies_elsewhere(other):
    assert unpacked(value(), other, 1) is None
    assert name_of(VERSION, 1) != name_of(other, 1)


def test_another_piece_is_none():
    assert unpacked(value(), VERSION, 0) is None
    # Of the same length, so that the index alone tells.
    long = VideoVersion(API, "v", 3 * MIB, Validator('"tag"'))
    whole = packed(long, 0, [memoryview(bytes(MIB))])
    assert unpacked(whole, long, 0) is not None
    assert unpacked(whole, long, 1) is None


def test_no_flipped_bit_is_believed():
    good = bytearray(value())
    for at in range(len(good)):
        good[at] ^= 1 << at % 8
        assert unpacked(good, VERSION, 1) is None, at
        good[at] ^= 1 << at % 8
    assert bytes(unpacked(good, VERSION, 1) or b"") == DATA


@pytest.mark.parametrize("odd", [b"", b"hingfs1\n", value()[:-1], value() + b"x"])
def test_a_value_of_another_length_is_none(odd):
    assert unpacked(odd, VERSION, 1) is None


def test_a_version_without_a_strong_validator_is_not_shared():
    assert may_be_shared(VERSION)
    assert not may_be_shared(None)
    assert not may_be_shared(VideoVersion(API, "v", 10, Validator(), sighting=1))
    doubted = VideoVersion(API, "v", 10, Validator('"tag"'), sighting=1)
    assert not may_be_shared(doubted)
