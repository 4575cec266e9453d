"""Settings: what is understood, what is refused, and that the token stays hidden."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import KIB, MIB
from hingfs.config import (
    CacheConfig,
    EndpointConfig,
    Token,
    is_loopback,
    normalized_base_url,
    parse_mode,
    parse_size,
    parse_time,
)
from hingfs.errors import TokenError, UsageError

HTTPS = "https://api.example"
SECRET = "oh-secret-token"


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
    def test_they_are_octal(self, text):
        assert parse_mode(text) == 0o644

    @pytest.mark.parametrize("text", ["", "rw", "648", "1777", "-1", "0x1ff", "٦٤٤"])
    def test_anything_else_is_refused(self, text):
        with pytest.raises(UsageError, match="not a mode"):
            parse_mode(text)


class TestBaseUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            (HTTPS, HTTPS),
            (HTTPS + "/", HTTPS),
            (HTTPS + "/v1", HTTPS),
            (HTTPS + "/v1/", HTTPS),
            (HTTPS + "//v1//", HTTPS),
            (HTTPS + "/api", HTTPS + "/api"),
            (HTTPS + "/api/v1", HTTPS + "/api"),
            (HTTPS + "/openai/v1/", HTTPS + "/openai"),
            (HTTPS + "/v1/v1", HTTPS + "/v1"),
            (HTTPS + "/v1/videos", HTTPS),
            (HTTPS + "/v1/videos/video_1/content", HTTPS),
            (HTTPS + "/api/v1/videos/video_1", HTTPS + "/api"),
            (HTTPS + "/openai/v1/videos/", HTTPS + "/openai"),
            (HTTPS + "/v1/v1/videos", HTTPS + "/v1"),
            (HTTPS + "/videos", HTTPS + "/videos"),
            (HTTPS + "/v12", HTTPS + "/v12"),
            (f"  {HTTPS}:8443  ", HTTPS + ":8443"),
            ("http://[::1]:80/v1", "http://[::1]:80"),
        ],
    )
    def test_r1_slashes_and_one_v1_are_dropped_and_prefixes_kept(self, text, url):
        assert normalized_base_url(text) == url

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "api.example",
            "ftp://api.example",
            "https://",
            "https:///v1",
            "https://user:pw@api.example",
            "https://user@api.example",
            HTTPS + "?key=x",
            HTTPS + "#part",
            "https://api.example:port",
            "https://[bad",
            "file:///etc/passwd",
        ],
    )
    def test_what_is_no_base_url_is_refused(self, text):
        with pytest.raises(UsageError):
            normalized_base_url(text)

    def test_a_password_in_the_url_is_not_repeated(self):
        with pytest.raises(UsageError) as refused:
            normalized_base_url(f"https://user:{SECRET}@api.example")
        assert SECRET not in str(refused.value)

    @pytest.mark.parametrize(
        ("host", "loopback"),
        [
            ("localhost", True),
            ("127.0.0.1", True),
            ("127.1.2.3", True),
            ("::1", True),
            ("127.0.0.1.evil.example", False),
            ("10.0.0.1", False),
            ("localhost.example", False),
        ],
    )
    def test_loopback_is_this_machine_alone(self, host, loopback):
        assert is_loopback(host) is loopback


class TestEndpointConfig:
    def test_the_token_is_not_sent_in_the_clear_to_other_machines(self):
        with pytest.raises(UsageError, match="insecure-http"):
            EndpointConfig("http://api.example")

        EndpointConfig("http://api.example", insecure_http=True)
        EndpointConfig("http://127.0.0.1:8080")
        EndpointConfig(HTTPS)

    def test_the_base_url_is_normalized(self):
        config = EndpointConfig(HTTPS + "/v1/")

        assert config.base_url == HTTPS
        assert config.host == "api.example"

    @pytest.mark.parametrize("connections", [0, -1, 65])
    def test_connections_are_bounded(self, connections):
        with pytest.raises(UsageError, match="--connections"):
            EndpointConfig(HTTPS, connections=connections)

    @pytest.mark.parametrize("name", ["connect", "stall", "read", "metadata"])
    @pytest.mark.parametrize("seconds", [0.0, -1.0])
    def test_time_outs_are_longer_than_nothing(self, name, seconds):
        options = {f"{name}_seconds": seconds}

        with pytest.raises(UsageError, match=f"--{name}-timeout"):
            EndpointConfig(HTTPS, **options)

    def test_settings_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            EndpointConfig(HTTPS).base_url = "x"  # type: ignore[misc]


class TestCacheConfig:
    @pytest.mark.parametrize("block", [4 * KIB, 256 * KIB, 8 * MIB])
    def test_powers_of_two_are_blocks(self, block):
        assert CacheConfig(block_bytes=block).block_bytes == block

    @pytest.mark.parametrize("block", [0, 1, 2 * KIB, 5000, 3 * MIB, 16 * MIB, -4096])
    def test_other_sizes_are_not(self, block):
        with pytest.raises(UsageError, match="--block-size"):
            CacheConfig(block_bytes=block)

    def test_a_cache_holds_eight_blocks(self):
        CacheConfig(cache_bytes=8 * MIB, block_bytes=MIB)
        with pytest.raises(UsageError, match="--cache-size"):
            CacheConfig(cache_bytes=8 * MIB - 1, block_bytes=MIB)

    def test_the_defaults_are_valid(self):
        assert CacheConfig().block_bytes < CacheConfig().cache_bytes


class TestToken:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "token"
        file.touch(mode=0o600)
        return file

    def test_a_value_is_itself_without_blanks_around(self):
        assert Token(f" {SECRET}\n").read() == SECRET

    def test_a_file_is_read_anew_each_time(self, file):
        token = Token(file=file)
        file.write_text("first\n")
        assert token.read() == "first"
        file.write_text("second\n")

        assert token.read() == "second"

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o611])
    def test_a_file_that_others_can_use_is_refused(self, file, mode):
        file.write_text(SECRET)
        file.chmod(mode)

        with pytest.raises(TokenError, match="chmod 600"):
            Token(file=file).read()

    @pytest.mark.parametrize("mode", [0o600, 0o400])
    def test_a_file_of_the_owner_alone_is_taken(self, file, mode):
        file.write_text(SECRET)
        file.chmod(mode)

        assert Token(file=file).read() == SECRET

    def test_a_file_that_is_not_there_is_told(self, tmp_path):
        with pytest.raises(TokenError, match="nowhere"):
            Token(file=tmp_path / "nowhere").read()

    @pytest.mark.parametrize(
        "text",
        ["", "  \n", "two words", "line\nbreak", "tab\there", "ключ", "nul\0", "\x7f"],
    )
    def test_what_cannot_stand_in_a_header_is_no_token(self, text, file):
        file.write_text(text)

        with pytest.raises(TokenError):
            Token(text).read()
        with pytest.raises(TokenError):
            Token(file=file).read()

    def test_bytes_that_are_no_text_are_no_token(self, file):
        file.write_bytes(b"\xff\xfe\x00")

        with pytest.raises(TokenError):
            Token(file=file).read()

    def test_nothing_is_no_token(self):
        with pytest.raises(TokenError, match="HINGFS_TOKEN"):
            Token().read()

    def test_it_is_never_shown(self, file):
        bad = f"{SECRET} with blanks"
        file.write_text(bad)
        config = EndpointConfig(HTTPS, Token(SECRET))

        assert SECRET not in f"{config!r} {config} {Token(SECRET)!r}"
        for token in (Token(bad), Token(file=file)):
            with pytest.raises(TokenError) as refused:
                token.read()
            assert SECRET not in str(refused.value)

    @pytest.mark.parametrize(
        "said", [SECRET, f"key={SECRET}&", SECRET.upper(), f"{SECRET} {SECRET}"]
    )
    def test_it_is_hidden_where_others_quote_it(self, said):
        token = Token(SECRET)
        token.read()

        hidden = token.hide(f"wrong key: {said}")

        assert SECRET.lower() not in hidden.lower()
        assert "wrong key: " in hidden
        assert "[token]" in hidden

    def test_no_more_than_half_of_it_is_shown(self):
        token = Token(SECRET)
        token.read()

        for length in range(len(SECRET)):
            hidden = token.hide(f"wrong key: {SECRET[:length]}…")
            assert SECRET[: len(SECRET) // 2 + 1] not in hidden

    def test_what_it_was_before_is_hidden_too(self, file):
        token = Token(file=file)
        for secret in ("oh-first-0123", "oh-second-4567"):
            file.write_text(secret)
            token.read()

        hidden = token.hide("oh-first-0123, oh-second-4567")
        assert hidden == "[token], [token]"

    def test_a_placeholder_is_no_secret(self):
        token = Token("none")
        token.read()

        assert token.hide("none of them") == "none of them"
