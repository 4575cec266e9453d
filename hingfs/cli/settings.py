"""The settings of a mount: each declared once, as an option and a variable.

The parser, the table in README and `config_from` all read these declarations. A token
never comes from an argument, since `ps` shows those to everybody.
"""

import argparse
import grp
import os
import pwd
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from ..config import (
    DEFAULT_BASE_URL,
    CacheConfig,
    Config,
    EndpointConfig,
    LogConfig,
    MountConfig,
)
from ..errors import TokenError, UsageError, plain, printable
from ..mount import mountpoint
from ..token import Token
from ..units import parse_mode, parse_size, parse_time
from .arguments import nearest

Parsed = TypeVar("Parsed")

# Not set by an option.
_OTHER_VARIABLES = frozenset({"HINGFS_TOKEN"})
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"", "0", "false", "no", "off"})


@dataclass(frozen=True, slots=True)
class Option:
    """One option of `mount` with a value: its flag, its default as text, and its help."""

    flag: str
    default: str | None
    metavar: str
    help: str

    @property
    def variable(self) -> str:
        """The variable that does the same."""
        return f"HINGFS_{self.dest.upper()}"

    @property
    def dest(self) -> str:
        """Its name in what argparse gives back."""
        return self.flag.removeprefix("--").replace("-", "_")


_ENDPOINT = (
    Option(
        "--base-url", DEFAULT_BASE_URL, "URL", "the API, with or without a trailing /v1"
    ),
    Option(
        "--token-file",
        None,
        "FILE",
        "read the token from FILE (mode 0600), again whenever the API refuses it; else HINGFS_TOKEN is used",
    ),
    Option("--connections", "10", "N", "requests for content at once, at most"),
)
_CACHE = (
    Option(
        "--cache-size", "128MiB", "SIZE", "memory for blocks read, in flight and ahead"
    ),
    Option("--block-size", "128KiB", "SIZE", "cache grid, a power of two"),
    Option(
        "--spool-size", "4GiB", "SIZE", "disk for files of servers that ignore ranges"
    ),
    Option(
        "--cache-dir",
        None,
        "DIR",
        "where those files go (default: the system's temporary directory)",
    ),
)
_TIMES = (
    Option("--connect-timeout", "5s", "TIME", "for a connection to be made"),
    Option(
        "--stall-timeout",
        "10s",
        "TIME",
        "without a byte in a started answer, then reconnect at the byte reached",
    ),
    Option("--read-timeout", "60s", "TIME", "for one read, all its tries included"),
    Option("--metadata-timeout", "30s", "TIME", "for one stat or open"),
    Option(
        "--first-byte-timeout",
        "5m",
        "TIME",
        "for a server that reads a whole file before it sends any of it",
    ),
    Option(
        "--retry-after-limit",
        "25s",
        "TIME",
        "pauses the API may ask for inside one stat or open; longer is EAGAIN",
    ),
    Option(
        "--metadata-ttl",
        "60s",
        "TIME",
        "a known video is believed unchanged; the next open after that asks",
    ),
    Option(
        "--negative-ttl", "2s", "TIME", '"not ready" and "no such video" are remembered'
    ),
    Option("--listing-ttl", "10s", "TIME", "a directory listing is fresh"),
)
_MOUNT = (
    Option("--uid", None, "USER", "owner of the files (default: you)"),
    Option("--gid", None, "GROUP", "group of the files (default: yours)"),
    Option(
        "--file-mode",
        "0644",
        "MODE",
        "permissions of the files, which copies take over; writing stays EROFS",
    ),
    Option("--dir-mode", "0755", "MODE", "permissions of the directory"),
    Option(
        "--fuse", "auto", "LIBRARY", "mfusepy (libfuse 3), fusepy (libfuse 2) or auto"
    ),
    Option(
        "--log-file",
        None,
        "FILE",
        "log there; default: standard error, or with a mount in the background its own file in $XDG_STATE_HOME/hingfs",
    ),
    Option("--log-level", "warning", "LEVEL", "debug, info, warning or error"),
)
# Title in the help -> the options under it.
GROUPS = {
    "endpoint": _ENDPOINT,
    "memory and disk": _CACHE,
    "times": _TIMES,
    "mount and log": _MOUNT,
}
OPTIONS = tuple(option for options in GROUPS.values() for option in options)
_DEFAULTS = {option.dest: option.default for option in OPTIONS}
# Flag and help of each option without a value.
SWITCHES = (
    ("--foreground", "stay attached to the terminal until the mount ends"),
    (
        "--allow-other",
        "let other users read too (for users: needs user_allow_other in /etc/fuse.conf)",
    ),
    ("--insecure-http", "send the token over plain http to another host"),
    (
        "--insecure-storage",
        "read over plain http, without the token, where the API keeps the bytes at a host that has no https",
    ),
    (
        "--private-storage",
        "let an API on the Internet keep the bytes in your own network (VPC, VPN, Tailscale)",
    ),
    ("--strict", "a HINGFS_ variable that is no setting is an error, not a warning"),
    ("--no-check", "mount without asking the endpoint first, as for boot"),
)


def config_from(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings of *arguments*, where unset of *environ*, else the defaults.

    Raises SetupError for what they cannot be.
    """
    _check_switches(arguments, environ)

    def text(option: str) -> str | None:
        given: str | None = getattr(arguments, option)
        if given is not None:
            return given
        return environ.get(f"HINGFS_{option.upper()}") or _DEFAULTS[option]

    def needed(option: str) -> str:
        value = text(option)
        assert value is not None, f"{option} has a default"
        return value

    def parsed(option: str, parse: Callable[[str], Parsed]) -> Parsed:
        """Its value; an error names the option, or the variable that gave it."""
        try:
            return parse(needed(option))
        except UsageError as error:
            by_option = getattr(arguments, option) is not None
            flag, variable = f"--{option.replace('_', '-')}", f"HINGFS_{option.upper()}"
            raise UsageError(f"{flag if by_option else variable}: {error}") from None

    def seconds(option: str) -> float:
        return parsed(option, parse_time)

    def size_bytes(option: str) -> int:
        return parsed(option, parse_size)

    return Config(
        mount=MountConfig(
            directory=mountpoint.absolute(arguments.directory),
            allow_other=switched(arguments, environ, "allow_other"),
            uid=_user(text("uid")),
            gid=_group(text("gid")),
            file_mode=parsed("file_mode", parse_mode),
            dir_mode=parsed("dir_mode", parse_mode),
            fuse=text("fuse"),
        ),
        endpoint=EndpointConfig(
            base_url=needed("base_url"),
            token=_token(text("token_file"), environ),
            insecure_http=switched(arguments, environ, "insecure_http"),
            insecure_storage=switched(arguments, environ, "insecure_storage"),
            private_storage=switched(arguments, environ, "private_storage"),
            connections=parsed("connections", _whole_number),
            connect_seconds=seconds("connect_timeout"),
            stall_seconds=seconds("stall_timeout"),
            read_seconds=seconds("read_timeout"),
            metadata_seconds=seconds("metadata_timeout"),
            first_byte_seconds=seconds("first_byte_timeout"),
            retry_after_seconds=seconds("retry_after_limit"),
        ),
        cache=CacheConfig(
            cache_bytes=size_bytes("cache_size"),
            block_bytes=size_bytes("block_size"),
            spool_bytes=size_bytes("spool_size"),
            directory=_directory(text("cache_dir")),
            metadata_ttl_seconds=seconds("metadata_ttl"),
            negative_ttl_seconds=seconds("negative_ttl"),
            listing_ttl_seconds=seconds("listing_ttl"),
        ),
        log=LogConfig(level=needed("log_level").lower(), file=_file(text("log_file"))),
    )


def _check_switches(arguments: argparse.Namespace, environ: Mapping[str, str]) -> None:
    """Raise UsageError for one that says neither, before anything is asked or made."""
    for flag, _ in SWITCHES:
        switched(arguments, environ, flag.removeprefix("--").replace("-", "_"))


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A sentence for each variable of *environ* that looks like a setting and is none."""
    known = {option.variable for option in OPTIONS} | _OTHER_VARIABLES
    known |= {f"HINGFS_{flag[2:].replace('-', '_').upper()}" for flag, _ in SWITCHES}
    told = []
    for name in sorted(environ):
        if name.upper().startswith("HINGFS_") and name not in known:
            like = nearest(name.upper(), known)
            meant = f"; did you mean {like}?" if like else ""
            told.append(f"the variable {printable(name, 80)} is no setting{meant}")
    return told


def switched(
    arguments: argparse.Namespace, environ: Mapping[str, str], name: str
) -> bool:
    """Whether a switch is given, or its variable says so.

    Raises UsageError for a variable that says neither.
    """
    variable = f"HINGFS_{name.upper()}"
    said = environ.get(variable, "").strip().lower()
    if said not in _TRUE | _FALSE:
        raise UsageError(f"{variable}={printable(said, 40)!r}: write yes or no")
    return bool(getattr(arguments, name)) or said in _TRUE


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{printable(text, 40)!r} is not a whole number")
    return int(text)


def _token(file: str | None, environ: Mapping[str, str]) -> Token:
    if file:
        return Token(file=_file(file))
    value = environ.get("HINGFS_TOKEN")
    if not value:
        raise TokenError(
            "no token is given; put it into HINGFS_TOKEN (export HINGFS_TOKEN=oh-…), or "
            "into a file of mode 0600 that --token-file or HINGFS_TOKEN_FILE names"
        )
    return Token(value)


def _file(text: str | None) -> Path | None:
    return Path(text).expanduser().absolute() if text else None


def _directory(text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text).expanduser().absolute()
    if not (path.is_dir() and os.access(path, os.W_OK)):
        raise UsageError(
            f"--cache-dir {plain(str(path))} is no directory that you can write; make it, "
            "or choose another"
        )
    return path


def _user(text: str | None) -> int:
    if text is None:
        return os.getuid()
    try:
        return int(text) if text.isdecimal() else pwd.getpwnam(text).pw_uid
    except (KeyError, ValueError):
        raise UsageError(f"--uid {printable(text)}: no such user") from None


def _group(text: str | None) -> int:
    if text is None:
        return os.getgid()
    try:
        return int(text) if text.isdecimal() else grp.getgrnam(text).gr_gid
    except (KeyError, ValueError):
        raise UsageError(f"--gid {printable(text)}: no such group") from None
