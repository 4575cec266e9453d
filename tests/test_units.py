"""Sizes, times and modes: what is understood, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import KIB, MIB
from hingfs.errors import UsageError
from hingfs.units import parse_mode, parse_size, parse_time


class TestSizes:
    @pytest.mark.parametrize(
        ("text", "size"),
        [
            ("0", 0),
            ("1048576", MIB),
            ("128MiB", 128 * MIB),
            ("128 MiB", 128 * MIB),
            ("128M", 128 * MIB),
            ("128m", 128 * MIB),
            ("64K", 64 * KIB),
            ("64KiB", 64 * KIB),
            ("1G", 1 << 30),
            ("1TiB", 1 << 40),
            ("1MB", 1_000_000),
            ("1kb", 1000),
            ("2GB", 2 * 10**9),
            ("512B", 512),
            (" 5 ", 5),
        ],
    )
    def test_units_mean_what_they_say(self, text, size):
        assert parse_size(text) == size

    @pytest.mark.parametrize(
        "text", ["", "MiB", "-1", "1.5M", "1e6", "1MiBs", "1 2", "٣M", "9" * 16, "0x10"]
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(UsageError, match="not a size"):
            parse_size(text)

    @given(st.integers(0, 10**14))
    def test_a_plain_number_is_bytes(self, number):
        assert parse_size(str(number)) == number


class TestTimes:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("30", 30.0),
            ("30s", 30.0),
            ("500ms", 0.5),
            ("0.5s", 0.5),
            ("2m", 120.0),
            ("1h", 3600.0),
            ("1d", 86_400.0),
            ("1 H", 3600.0),
            ("0", 0.0),
        ],
    )
    def test_units_mean_what_they_say(self, text, seconds):
        assert parse_time(text) == seconds

    @pytest.mark.parametrize(
        "text", ["", "s", "-1s", "1e3", "1.s", "forever", "1 m s", "inf", "nan"]
    )
    def test_anything_else_is_refused(self, text):
        with pytest.raises(UsageError, match="not a time"):
            parse_time(text)


class TestModes:
    @pytest.mark.parametrize("text", ["644", "0644", "0o644", " 644 "])
    def test_modes_are_octal(self, text):
        assert parse_mode(text) == 0o644

    @pytest.mark.parametrize("text", ["", "rw", "648", "1777", "-1", "0x1ff", "٦٤٤"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(UsageError, match="not a mode"):
            parse_mode(text)
