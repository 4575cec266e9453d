"""Tokens: what is one, where it is read, and that it stays hidden."""

from pathlib import Path

import pytest

from hingfs.errors import TokenError
from hingfs.settings import EndpointConfig
from hingfs.token import Token

HTTPS = "https://api.example"
SECRET = "oh-secret-token"


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

    def test_a_token_is_never_shown(self, file):
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
    def test_a_token_is_hidden_where_others_quote_it(self, said):
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
