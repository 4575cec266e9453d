"""The table of settings: each with its option, unit, default and meaning, once.

Each field below declares a setting; its class is a part of `Config`, and a group of the
help. `units` has the units and most bounds. This module checks what must fit another
setting, so that no `Config` exists that cannot be used. `given` decides where the
values come from.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType
from typing import Any
from urllib.parse import urlsplit

from .base_url import is_loopback, normalized_base_url
from .blocks import KIB, MIB
from .declaring import Misfit, Setting, check_each, setting, settings_of, switch
from .errors import UsageError
from .shared_url import SharedAddress, parse_shared_url
from .token import Token
from .units import (
    DIRECTORY,
    DIRECTORY_MODE,
    FILE_TO_WRITE,
    GROUP,
    MEMORY_SIZE,
    MODE,
    SIZE,
    TIME,
    TIMEOUT,
    URL,
    USER,
    Unit,
    choice,
    parse_path,
    power_of_two,
    whole,
    written_size,
)

_TOKEN_FILE = Unit("FILE", lambda text: Token(file=parse_path(text)))
_SHARED_URL: Unit[SharedAddress | None] = Unit("URL", parse_shared_url)
_FILE: Unit[Path | None] = Unit("FILE", parse_path)
_FEWEST_BLOCKS = 8


@dataclass(frozen=True, slots=True)
class EndpointConfig:
    """Which API hingfs uses, and how long each exchange may take. Times in seconds."""

    base_url: str = setting(
        "--base-url",
        URL,
        "https://models.hingnet.com.cn",
        "the API, with or without a trailing /v1",
    )
    token: Token = setting(
        "--token-file",
        _TOKEN_FILE,
        Token,
        "read the token from FILE (mode 0600), again whenever the API refuses it; else HINGFS_TOKEN is used",
    )
    insecure_http: bool = switch(
        "--insecure-http", "send the token over plain http to another host"
    )
    insecure_storage: bool = switch(
        "--insecure-storage",
        "read over plain http, without the token, where the API keeps the bytes at a host that has no https",
    )
    private_storage: bool = switch(
        "--private-storage",
        "let an API on the Internet keep the bytes in your own network (VPC, VPN, Tailscale)",
    )
    # More than 10 gained nothing against any origin tried, and gateways count them.
    connections: int = setting(
        "--connections", whole(1, 64), "10", "requests for content at once, at most"
    )
    connect_seconds: float = setting(
        "--connect-timeout", TIMEOUT, "5s", "for a connection to be made"
    )
    stall_seconds: float = setting(
        "--stall-timeout",
        TIMEOUT,
        "10s",
        "without a byte in a started answer, then reconnect at the byte reached",
    )
    read_seconds: float = setting(
        "--read-timeout", TIMEOUT, "60s", "for one read, all its tries included"
    )
    metadata_seconds: float = setting(
        "--metadata-timeout", TIMEOUT, "30s", "for one stat or open"
    )
    # LiteLLM was seen to need 20 to 60 s for a clip, which it reads whole before it
    # sends any of it; a film takes longer. A guess.
    first_byte_seconds: float = setting(
        "--first-byte-timeout",
        TIMEOUT,
        "5m",
        "for a server that reads a whole file before it sends any of it",
    )
    # Below a stat's time-out, so that the pause can be waited for in one.
    retry_after_seconds: float = setting(
        "--retry-after-limit",
        TIME,
        "25s",
        "pauses the API may ask for inside one stat or open; longer is EAGAIN",
    )
    # Renders take minutes, and gateways count requests. A guess.
    poll_seconds: float = setting(
        "--poll-interval",
        TIMEOUT,
        "5s",
        "between two questions about a video that is waited for, unless the API names a pause",
    )
    # `cli` takes it from `StartConfig`: no request is sent.
    offline: bool = False
    # Between two looks at a video whose status is a word that nobody knows: a file that
    # is still being written grows meanwhile. A guess, and no setting.
    settle_seconds: float = 5.0

    def __post_init__(self) -> None:
        check_each(self)
        try:
            url = normalized_base_url(self.base_url)
        except UsageError as error:
            raise Misfit(str(error), field="base_url") from None
        object.__setattr__(self, "base_url", url)
        insecure = url.startswith("http:") and not is_loopback(self.host)
        if insecure and not self.insecure_http:
            raise Misfit(
                f"{url} would send the token unencrypted; use https, or add "
                "--insecure-http if you trust the whole way to that server",
                field="base_url",
            )

    @property
    def host(self) -> str:
        """The host of the base URL, for names and messages."""
        return urlsplit(self.base_url).hostname or ""


@dataclass(frozen=True, slots=True)
class CacheConfig:
    """How much hingfs remembers (bytes), and for how long (seconds)."""

    cache_bytes: int = setting(
        "--cache-size",
        MEMORY_SIZE,
        "128MiB",
        "memory for blocks read, in flight and ahead",
    )
    # Small enough that a random read of 64 KiB waits for and fetches little beside
    # what it asked for, large enough that a sequential read handles few of them:
    # 68 ms and 9 MB for 40 such reads where 256 KiB take 70 ms and 14 MB; a film on
    # loopback costs 0.1 s of CPU a GB more (2 cores, 2026-11-22).
    block_bytes: int = setting(
        "--block-size",
        power_of_two(4 * KIB, 8 * MIB),
        "128KiB",
        "cache grid, a power of two",
    )
    disk_cache_bytes: int = setting(
        "--disk-cache-size",
        SIZE,
        "10GiB",
        "disk for blocks that were read, for all mounts of one user together; 0 keeps none",
    )
    # Only a bound: the disk may be smaller.
    spool_bytes: int = setting(
        "--spool-size", SIZE, "4GiB", "disk for files of servers that ignore ranges"
    )
    directory: Path | None = setting(
        "--cache-dir",
        DIRECTORY,
        NoneType,
        "for blocks, and for facts that the next mount need not ask for (default: $XDG_CACHE_HOME/hingfs, else ~/.cache/hingfs); and for files of servers that ignore ranges (default: the system's temporary directory)",
    )
    shared: SharedAddress | None = setting(
        "--shared-cache",
        _SHARED_URL,
        NoneType,
        "a Valkey or Redis in which hosts share blocks, as redis://host:6379/0, rediss:// with TLS, or unix:///path; trusted as the API is",
    )
    shared_password: Path | None = setting(
        "--shared-cache-password-file",
        _FILE,
        NoneType,
        "read its password from FILE (mode 0600), for each connection; else HINGFS_SHARED_CACHE_PASSWORD is used",
    )
    keep_bytes: int = setting(
        "--keep-size",
        SIZE,
        "100GiB",
        "disk for videos that are kept; full, it stops new keeping alone",
    )
    keep_directory: Path | None = setting(
        "--keep-dir",
        DIRECTORY,
        NoneType,
        "for videos that are kept (default: $XDG_DATA_HOME/hingfs, else ~/.local/share/hingfs)",
    )
    # `cli` finds both, and they are no settings: where the facts and the disk cache lie,
    # and what is kept. None keeps nothing for the next mount: so do the demo, and the
    # check before a mount.
    kept_directory: Path | None = None
    kept_videos: Path | None = None
    metadata_ttl_seconds: float = setting(
        "--metadata-ttl",
        TIME,
        "60s",
        "a known video is believed unchanged; the next open after that asks",
    )
    negative_ttl_seconds: float = setting(
        "--negative-ttl",
        TIME,
        "2s",
        '"not ready" and "no such video" are remembered',
    )
    listing_ttl_seconds: float = setting(
        "--listing-ttl", TIME, "10s", "a directory listing is fresh"
    )

    def __post_init__(self) -> None:
        check_each(self)
        if self.cache_bytes < _FEWEST_BLOCKS * self.block_bytes:
            raise Misfit(
                f"{written_size(self.cache_bytes)} is too small; it holds at least "
                f"{_FEWEST_BLOCKS} blocks of {written_size(self.block_bytes)}",
                field="cache_bytes",
            )


@dataclass(frozen=True, slots=True)
class MountConfig:
    """Where and how the files appear, and which stay. Modes are permission bits."""

    directory: Path
    uid: int = setting("--uid", USER, os.getuid, "owner of the files (default: you)")
    gid: int = setting("--gid", GROUP, os.getgid, "group of the files (default: yours)")
    # Writable to look at, though the mount is not: copies take the mode over, and their
    # owners must be able to overwrite and remove them.
    file_mode: int = setting(
        "--file-mode",
        MODE,
        "0644",
        "permissions of the files, which copies take over; writing stays EROFS",
    )
    dir_mode: int = setting(
        "--dir-mode", DIRECTORY_MODE, "0755", "permissions of the directory"
    )
    fuse: str = setting(
        "--fuse",
        choice("LIBRARY", "FUSE library", ("mfusepy", "fusepy", "auto")),
        "auto",
        "mfusepy (libfuse 3), fusepy (libfuse 2) or auto",
    )
    allow_other: bool = switch(
        "--allow-other",
        "let other users read too (for users: needs user_allow_other in /etc/fuse.conf)",
    )
    wait_seconds: float = setting(
        "--wait-limit",
        TIMEOUT,
        "30m",
        "for a video that is opened below .wait/ to be ready, then EAGAIN",
    )
    keep: str = setting(
        "--keep",
        choice("WHICH", "choice", ("off", "opened", "all")),
        "off",
        "keep videos whole before their links expire, in the background: opened, each that a program opens; all, each that is listed",
    )

    def __post_init__(self) -> None:
        check_each(self)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """The level of the log, and its file; `log` chooses a file if none is named."""

    level: str = setting(
        "--log-level",
        choice("LEVEL", "level", ("debug", "info", "warning", "error")),
        "warning",
        "debug, info, warning or error",
    )
    file: Path | None = setting(
        "--log-file",
        FILE_TO_WRITE,
        NoneType,
        "log there; default: standard error, or with a mount in the background its own file in $XDG_STATE_HOME/hingfs",
    )

    def __post_init__(self) -> None:
        check_each(self)


@dataclass(frozen=True, slots=True)
class StartConfig:
    """How `hingfs mount` starts."""

    foreground: bool = switch(
        "--foreground", "stay attached to the terminal until the mount ends"
    )
    no_check: bool = switch(
        "--no-check", "mount without asking the endpoint first, as for boot"
    )
    offline: bool = switch(
        "--offline",
        "send no request: show what is kept and, for the token that is given, what was known",
    )
    strict: bool = switch(
        "--strict", "a HINGFS_ variable that is no setting is an error, not a warning"
    )


@dataclass(frozen=True, slots=True)
class Config:
    """Everything one mount needs to know."""

    mount: MountConfig
    endpoint: EndpointConfig = field(default_factory=EndpointConfig)
    cache: CacheConfig = field(default_factory=CacheConfig)
    log: LogConfig = field(default_factory=LogConfig)
    start: StartConfig = field(default_factory=StartConfig)


# Title in the help -> the settings under it.
GROUPS: dict[str, tuple[Setting[Any], ...]] = {
    title: tuple(settings_of(part).values())
    for title, part in (
        ("endpoint", EndpointConfig),
        ("cache", CacheConfig),
        ("mount", MountConfig),
        ("log", LogConfig),
        ("start", StartConfig),
    )
}
SETTINGS = tuple(declared for group in GROUPS.values() for declared in group)
