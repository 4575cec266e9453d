"""Frozen settings, checked once, with their units in their names.

Each part has its own dataclass with the defaults beside it; `cli` fills them from
arguments and environment. Nothing here reads either.
"""

import ipaddress
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .blocks import KIB, MIB
from .errors import TokenError, UsageError, command_word, plain, printable

DEFAULT_BASE_URL = "https://models.hingnet.com.cn"
LOG_LEVELS = ("debug", "info", "warning", "error")

_SIZE = re.compile(r"(\d{1,15})\s*([KMGT]?)(I?)B?", re.IGNORECASE | re.ASCII)
_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(ms|s|m|h|d)?", re.IGNORECASE | re.ASCII)
_SIZE_EXPONENT = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}
_TIME_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

_MODE = re.compile(r"(?:0o)?([0-7]{1,4})", re.ASCII)
_LARGEST_MODE = 0o777  # no setuid, setgid or sticky bit

_MOST_TOKEN_BYTES = 16 * KIB
# "export HINGFS_TOKEN=", "Authorization: Bearer " and parts of them.
_BESIDE_TOKEN = re.compile(
    r"\A(?:(?:export\s+)?HINGFS_TOKEN\s*=|Authorization\s*:|Bearer(?=\s|\Z))",
    re.IGNORECASE,
)
# What is shorter is a placeholder ("none", "EMPTY") and may be part of any word.
_SHORTEST_SECRET = 6


def parse_size(text: str) -> int:
    """Bytes in *text*: "128MiB", "1 MB", "64K" (binary) or a plain number of bytes.

    KB, MB, GB are powers of 1,000; KiB, MiB, GiB and the bare K, M, G of 1,024.
    Raises UsageError for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{printable(text, 40)!r} is not a size; write it as 128MiB, 64K or 1048576"
        )
    number, unit, binary = match.groups()
    decimal = unit and not binary and text.strip()[-1:] in "bB"
    unit_bytes: int = (1000 if decimal else 1024) ** _SIZE_EXPONENT[unit.upper()]
    return int(number) * unit_bytes


def parse_time(text: str) -> float:
    """Seconds in *text*: "30s", "500ms", "2m", "1h", "1d" or a plain number.

    Raises UsageError for anything else.
    """
    match = _TIME.fullmatch(text.strip())
    if not match:
        raise UsageError(
            f"{printable(text, 40)!r} is not a time; write it as 30s, 500ms or 2m"
        )
    number, unit = match.groups()
    return float(number) * _TIME_SECONDS[(unit or "s").lower()]


def parse_mode(text: str) -> int:
    """The permission bits in *text*: "644", "0644" or "0o644", octal, up to 777.

    Raises UsageError for anything else.
    """
    match = _MODE.fullmatch(text.strip())
    mode = int(match[1], 8) if match else -1
    if not 0 <= mode <= _LARGEST_MODE:
        raise UsageError(
            f"{text!r} is not a mode; write it in octal, as 0644, up to 0777"
        )
    return mode


def normalized_base_url(text: str) -> str:
    """*text* without trailing slashes and without one trailing "/v1" or "/v1/videos".

    Some services publish their base URL with /v1, some without, and some people paste
    the address of the list, or of a clip; every request path of ours begins with it.
    Any other prefix ("/openai") is kept.
    Raises UsageError if it is no http(s) URL, or holds credentials or a query.
    """
    url = re.sub(
        r"/v1(/+videos(/[^/?#]+(/content)?)?)?$", "", text.strip().rstrip("/")
    ).rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(
            f"--base-url: {_shown(text)} is no URL; is its port one of 1 to 65535?"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"--base-url: {_shown(text)} is no base URL, which looks like "
            "https://api.example.com"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "--base-url holds no user name, password, query or fragment; "
            "the token goes into HINGFS_TOKEN or a token file"
        )
    return url


def _shown(text: str) -> str:
    """*text* as a message may show it: nothing of what may hold a password."""
    return "what is given" if "@" in text else repr(printable(text, 80))


def is_loopback(host: str) -> bool:
    """Whether *host*, a name or an address in a URL, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@dataclass(frozen=True, slots=True)
class Token:
    """Where the bearer token comes from: a value, or a file that may be renewed.

    Its repr never shows the token, and `hide` keeps it out of what others said.
    Thread safety: all methods; what was read is only ever added to.
    """

    value: str | None = field(default=None, repr=False)
    file: Path | None = None
    _known: set[str] = field(default_factory=set, init=False, repr=False, compare=False)

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.file is None:
            return "HINGFS_TOKEN"
        return f"token file {plain(str(self.file))}"

    def read(self) -> str:
        """The token as it is now.

        Raises TokenError if there is none, if it cannot stand in a header, or if
        the file can be read by others.
        """
        token = self._read()
        self._known.add(token)
        return token

    def hide(self, text: str) -> str:
        """*text* with "[token]" for each token read so far.

        Servers quote the token they refuse, perhaps in small letters; and where their
        text was cut, half a token is too much as well.
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
    """*text* without what people copy beside a token.

    That is quotes, "Bearer " of the header, and the name of the variable or header.
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


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Which API is spoken to, and how patient each exchange is. Times in seconds."""

    base_url: str = DEFAULT_BASE_URL
    token: Token = field(default_factory=Token)
    insecure_http: bool = False
    insecure_storage: bool = False
    private_storage: bool = False
    # More than 10 gained nothing against any origin tried, and gateways count them.
    connections: int = 10
    connect_seconds: float = 5.0
    stall_seconds: float = 10.0
    read_seconds: float = 60.0
    metadata_seconds: float = 30.0
    # LiteLLM was seen to need 20 to 60 s for a clip, which it reads whole before it
    # sends any of it; a film takes longer. A guess.
    first_byte_seconds: float = 300.0
    # Below a stat's time-out, so that the pause can be waited for in one.
    retry_after_seconds: float = 25.0
    # Between two sights of a video whose status is a word that nobody knows: what is
    # written in pieces grows within it. A guess, and no option.
    settle_seconds: float = 5.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", normalized_base_url(self.base_url))
        host = urlsplit(self.base_url).hostname or ""
        insecure = self.base_url.startswith("http:") and not is_loopback(host)
        if insecure and not self.insecure_http:
            raise UsageError(
                f"{self.base_url} would send the token unencrypted; use https, or "
                "add --insecure-http if you trust the whole way to that server"
            )
        if not 1 <= self.connections <= 64:
            raise UsageError(f"--connections takes 1 to 64, not {self.connections}")
        for name in (
            "connect_seconds",
            "stall_seconds",
            "read_seconds",
            "metadata_seconds",
            "first_byte_seconds",
        ):
            if getattr(self, name) <= 0:
                option = name.removesuffix("_seconds").replace("_", "-")
                raise UsageError(
                    f"--{option}-timeout takes a time longer than 0, such as 30s"
                )

    @property
    def host(self) -> str:
        """The host of the base URL, for names and messages."""
        return urlsplit(self.base_url).hostname or ""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """What is remembered, how much of it (bytes) and for how long (seconds)."""

    cache_bytes: int = 128 * MIB
    # Small enough that a random read of 64 KiB waits for and fetches little beside
    # what it asked for, large enough that a sequential read handles few of them:
    # 68 ms and 9 MB for 40 such reads where 256 KiB take 70 ms and 14 MB; a film on
    # loopback costs 0.1 s of CPU a GB more (2 cores, 2026-11-22).
    block_bytes: int = 128 * KIB
    spool_bytes: int = 4096 * MIB
    directory: Path | None = None
    metadata_ttl_seconds: float = 60.0
    negative_ttl_seconds: float = 2.0
    listing_ttl_seconds: float = 10.0

    def __post_init__(self) -> None:
        power_of_two = self.block_bytes & (self.block_bytes - 1) == 0
        if not (power_of_two and 4 * KIB <= self.block_bytes <= 8 * MIB):
            raise UsageError("--block-size takes a power of two from 4KiB to 8MiB")
        if self.cache_bytes < 8 * self.block_bytes:
            raise UsageError(
                "--cache-size is too small: it holds at least eight blocks of "
                f"--block-size, which are {8 * self.block_bytes // KIB}KiB"
            )


@dataclass(frozen=True, slots=True)
class MountConfig:
    """Where and how the files appear. Modes are permission bits."""

    directory: Path
    allow_other: bool = False
    uid: int = field(default_factory=os.getuid)
    gid: int = field(default_factory=os.getgid)
    # Writable as programs see them, which the mount is not: copies take them over, and
    # whoever copied must be able to overwrite and remove what is theirs.
    file_mode: int = 0o644
    dir_mode: int = 0o755
    fuse: str | None = None


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged, and the file for it, where it is not to be as `log` chooses."""

    level: str = "warning"
    file: Path | None = None

    def __post_init__(self) -> None:
        if self.level not in LOG_LEVELS:
            raise UsageError(
                f"--log-level: {printable(self.level, 40)!r} is no level; choose {', '.join(LOG_LEVELS[:-1])} or "
                f"{LOG_LEVELS[-1]}"
            )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one mount needs to know."""

    mount: MountConfig
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    log: LogConfig = field(default_factory=LogConfig)
