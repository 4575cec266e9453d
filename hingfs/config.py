"""Frozen settings, checked once, with their units in their names.

Each part has its own dataclass with the defaults beside it; `cli` fills them from
arguments and environment. Nothing here reads either.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from .base_url import is_loopback, normalized_base_url
from .blocks import KIB, MIB
from .errors import UsageError, printable
from .token import Token

DEFAULT_BASE_URL = "https://models.hingnet.com.cn"
LOG_LEVELS = ("debug", "info", "warning", "error")


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
