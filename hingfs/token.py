"""The bearer token: where it comes from, and how it stays out of what is shown.

Each `read` reads a token file again; its callers decide when. Text that may quote the
token goes through `hide` before anybody sees it.
"""

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path

from .blocks import KIB
from .errors import TokenError, command_word, plain

_MOST_TOKEN_BYTES = 16 * KIB
# "export HINGFS_TOKEN=", "Authorization: Bearer " and parts of them.
_BESIDE_TOKEN = re.compile(
    r"\A(?:(?:export\s+)?HINGFS_TOKEN\s*=|Authorization\s*:|Bearer(?=\s|\Z))",
    re.IGNORECASE,
)
# A shorter token is a placeholder ("none", "EMPTY") and may be part of any word.
_SHORTEST_SECRET = 6


@dataclass(frozen=True, slots=True)
class Token:
    """Where the bearer token comes from: a value, or a file that may be renewed.

    Its repr never shows the token, and `hide` takes it out of the words of others.
    Thread safety: all methods.
    """

    value: str | None = field(default=None, repr=False)
    file: Path | None = None
    optional: bool = False  # `read` gives "" where there is none to be had
    # Every token read so far; only ever added to.
    _known: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def source(self) -> str:
        """Where the token comes from, in words."""
        if self.file is None:
            return "HINGFS_TOKEN"
        return f"token file {plain(str(self.file))}"

    def read(self) -> str:
        """The token as it is now.

        Raises TokenError if there is none, if it cannot stand in a header, or if
        other users can use the file; but gives "" if it is *optional*.
        """
        try:
            token = self._read()
        except TokenError:
            if not self.optional:
                raise
            return ""
        self._known.add(token)
        return token

    def hide(self, text: str) -> str:
        """*text* with "[token]" for each token read so far.

        Servers quote the token that they refuse, perhaps in small letters. A text that
        was cut may end with half a token, which is hidden too.
        """
        for token in sorted(self._known, key=len, reverse=True):
            for secret in (token, token[: max(len(token) // 2, _SHORTEST_SECRET)]):
                if len(secret) >= _SHORTEST_SECRET:
                    said = re.escape(secret)
                    text = re.sub(said, "[token]", text, flags=re.IGNORECASE)
        return text

    def _read(self) -> str:
        if self.file is None:
            return _checked_token(self.value or "", self.source)
        try:
            with self.file.open("rb") as stream:
                mode = os.fstat(stream.fileno()).st_mode
                text = stream.read(_MOST_TOKEN_BYTES)
        except OSError as error:
            raise TokenError(
                f"token file {plain(str(self.file))}: {error.strerror or error}; it "
                "holds the API token alone, and --token-file or HINGFS_TOKEN_FILE names "
                "it"
            ) from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise TokenError(
                f"token file {plain(str(self.file))} can be used by other users; "
                f"run: chmod 600 {command_word(self.file)}"
            )
        return _checked_token(text.decode("utf-8-sig", "replace"), self.source)


def _checked_token(text: str, source: str) -> str:
    token = _unwrapped(text)
    if not token:
        raise TokenError(f"{source} holds no token; put the API token there, as oh-…")
    if not re.fullmatch(r"[\x21-\x7e]+", token):
        raise TokenError(
            f"{source} {_excess(token)}; it should hold the API token alone, as oh-…"
        )
    return token


def _unwrapped(text: str) -> str:
    """*text* without the things that people copy beside a token.

    These are quotes, "Bearer " of the header, and the name of the variable or header.
    """
    before, token = None, text.strip()
    while token != before:
        before = token
        token = _BESIDE_TOKEN.sub("", token, count=1).strip()
        if len(token) > 1 and token[0] == token[-1] and token[0] in "'\"`":
            token = token[1:-1].strip()
    return token


def _excess(token: str) -> str:
    lines = len(token.splitlines())
    if lines > 1:
        return f"holds more than one token: {lines} lines"
    if len(token.split()) > 1:
        return f"holds more than one token: {len(token.split())} words"
    return "does not hold a token: it has a character that no header can hold"
