"""The command line: arguments and environment in, exit status out.

Nothing else reads the environment's HINGFS_ variables or prints. Every option has a
variable of the same name; a token never comes from an argument, since `ps` shows
those to everybody.
"""

import argparse
import grp
import hashlib
import os
import pwd
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from . import __version__, mount, mountpoint
from .config import (
    DEFAULT_BASE_URL,
    CacheConfig,
    Config,
    EndpointConfig,
    MountConfig,
    Token,
    parse_size,
    parse_time,
)
from .demo import DemoEndpoint
from .errors import HingError, TokenError, UsageError, printable
from .names import name_of

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001

Parsed = TypeVar("Parsed")

EXIT_STATUSES = """exit status:
  0  done            4  endpoint unreachable
  1  failed          5  this machine cannot mount (no /dev/fuse, no libfuse)
  2  wrong usage     6  the directory cannot be mounted on
  3  token missing   7  umount: the mount is in use
     or refused      8  umount: not a hingfs mount"""

_TRUE = frozenset({"1", "true", "yes", "on"})


@dataclass(frozen=True, slots=True)
class _Option:
    """One option of `mount`: its flag, its default as text, and its help."""

    flag: str
    default: str | None
    metavar: str
    help: str

    @property
    def variable(self) -> str:
        return "HINGFS_" + self.flag.removeprefix("--").replace("-", "_").upper()

    @property
    def dest(self) -> str:
        return self.flag.removeprefix("--").replace("-", "_")


ENDPOINT_OPTIONS = (
    _Option(
        "--base-url", DEFAULT_BASE_URL, "URL", "the API, with or without a trailing /v1"
    ),
    _Option(
        "--token-file",
        None,
        "FILE",
        "read the token from FILE (mode 0600), again whenever the API refuses it; else HINGFS_TOKEN is used",
    ),
    _Option("--connections", "10", "N", "requests for content at once, at most"),
)
CACHE_OPTIONS = (
    _Option(
        "--cache-size", "128MiB", "SIZE", "memory for blocks read, in flight and ahead"
    ),
    _Option("--block-size", "128KiB", "SIZE", "cache grid, a power of two"),
    _Option(
        "--spool-size", "4GiB", "SIZE", "disk for files of servers that ignore ranges"
    ),
    _Option(
        "--cache-dir",
        None,
        "DIR",
        "where those files go (default: the system's temporary directory)",
    ),
)
TIME_OPTIONS = (
    _Option("--connect-timeout", "5s", "TIME", "for a connection to be made"),
    _Option(
        "--stall-timeout",
        "10s",
        "TIME",
        "without a byte in a started answer, then reconnect at the byte reached",
    ),
    _Option("--read-timeout", "60s", "TIME", "for one read, all its tries included"),
    _Option("--metadata-timeout", "30s", "TIME", "for one stat or open"),
    _Option(
        "--first-byte-timeout",
        "5m",
        "TIME",
        "for a server that reads a whole file before it sends any of it",
    ),
    _Option(
        "--retry-after-limit",
        "25s",
        "TIME",
        "pauses the API may ask for inside one stat or open; longer is EAGAIN",
    ),
    _Option(
        "--metadata-ttl",
        "60s",
        "TIME",
        "a known video is believed unchanged; the next open after that asks",
    ),
    _Option(
        "--negative-ttl", "2s", "TIME", '"not ready" and "no such video" are remembered'
    ),
    _Option("--listing-ttl", "10s", "TIME", "a directory listing is fresh"),
)
MOUNT_OPTIONS = (
    _Option("--uid", None, "USER", "owner of the files (default: you)"),
    _Option("--gid", None, "GROUP", "group of the files (default: yours)"),
    _Option(
        "--fuse", "auto", "LIBRARY", "mfusepy (libfuse 3), fusepy (libfuse 2) or auto"
    ),
    _Option("--log-file", None, "FILE", "log there instead of to standard error"),
    _Option("--log-level", "warning", "LEVEL", "debug, info, warning or error"),
)
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
    ("--no-check", "mount without asking the endpoint first, as for boot"),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is as `EXIT_STATUSES` says."""
    arguments = build_parser().parse_args(argv)
    environ = dict(os.environ)
    # No child may inherit the token: neither ours nor libfuse's (fusermount).
    os.environ.pop("HINGFS_TOKEN", None)
    try:
        status: int = arguments.run(arguments, environ)
    except HingError as error:
        print(f"hingfs: {error}", file=sys.stderr)
        return getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = argparse.ArgumentParser(
        prog="hingfs",
        description="Mount the finished clips of an OpenAI-style video API as files.",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"hingfs {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_mount(commands)
    _add_umount(commands)
    _add_demo(commands)
    return parser


def config_from(arguments: argparse.Namespace, environ: Mapping[str, str]) -> Config:
    """The settings of *arguments*, where unset of *environ*, else the defaults.

    Raises SetupError for what they cannot be.
    """

    def text(option: str) -> str | None:
        given: str | None = getattr(arguments, option)
        if given is not None:
            return given
        return environ.get(f"HINGFS_{option.upper()}") or _DEFAULTS[option]

    def needed(option: str) -> str:
        value = text(option)
        assert value is not None, f"{option} has a default"
        return value

    def seconds(option: str) -> float:
        return _named(option, parse_time, needed(option))

    def size_bytes(option: str) -> int:
        return _named(option, parse_size, needed(option))

    return Config(
        mount=MountConfig(
            directory=mountpoint.absolute(arguments.directory),
            allow_other=_switch(arguments, environ, "allow_other"),
            uid=_user(text("uid")),
            gid=_group(text("gid")),
            fuse=text("fuse"),
        ),
        endpoint=EndpointConfig(
            base_url=needed("base_url"),
            token=_token(text("token_file"), environ),
            insecure_http=_switch(arguments, environ, "insecure_http"),
            insecure_storage=_switch(arguments, environ, "insecure_storage"),
            private_storage=_switch(arguments, environ, "private_storage"),
            connections=_named("connections", _whole_number, needed("connections")),
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
    )


_DEFAULTS = {
    option.dest: option.default
    for option in (*ENDPOINT_OPTIONS, *CACHE_OPTIONS, *TIME_OPTIONS, *MOUNT_OPTIONS)
}


def _add_mount(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "mount",
        help="show the videos of an API in a directory",
        description=(
            "Show the videos of an API as <video_id>.mp4 in DIR, read-only. Returns "
            "when the mount answers; end it with `hingfs umount DIR`. Every option "
            "can be set by a variable too: --cache-size by HINGFS_CACHE_SIZE. The "
            "token comes from HINGFS_TOKEN or a file, never from an argument."
        ),
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.description = _wrapped(parser.description or "")
    parser.add_argument("directory", metavar="DIR", help="an empty directory")
    for title, options in (
        ("endpoint", ENDPOINT_OPTIONS),
        ("memory and disk", CACHE_OPTIONS),
        ("times", TIME_OPTIONS),
        ("mount and log", MOUNT_OPTIONS),
    ):
        group = parser.add_argument_group(title)
        for option in options:
            default = f" (default: {option.default})" if option.default else ""
            group.add_argument(
                option.flag, metavar=option.metavar, help=option.help + default
            )
    for flag, help_text in SWITCHES:
        group.add_argument(flag, action="store_true", help=help_text)
    parser.set_defaults(run=_mount)


def _add_umount(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "umount",
        help="end a mount",
        epilog=EXIT_STATUSES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("directory", metavar="DIR", help="the mounted directory")
    parser.add_argument(
        "--lazy", action="store_true", help="detach at once, even while files are open"
    )
    parser.set_defaults(run=_umount)


def _add_demo(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "demo",
        help="try it: a small API on this machine, mounted; no token, no network",
        description=_wrapped(
            "Serve four small videos from this machine in the manner of a video API "
            "and mount them: two that are ready, one that becomes ready after twenty "
            "seconds, one that failed. Ends at Ctrl-C or at `hingfs umount DIR`."
        ),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "directory",
        metavar="DIR",
        nargs="?",
        help="an empty directory (default: a new one)",
    )
    parser.add_argument(
        "--check", action="store_true", help="read every ready clip, compare, and end"
    )
    parser.set_defaults(run=_demo)


def _mount(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    config = config_from(arguments, environ)
    try:
        return _mount_as(config, arguments, environ)
    except HingError as error:  # which may quote the server
        error.args = (config.endpoint.token.hide(str(error)),)
        raise


def _mount_as(
    config: Config, arguments: argparse.Namespace, environ: Mapping[str, str]
) -> int:
    level = arguments.log_level or environ.get("HINGFS_LOG_LEVEL") or "warning"
    if level.lower() not in ("debug", "info", "warning", "error"):
        raise UsageError(f"--log-level {level}: choose debug, info, warning or error")
    log_file = arguments.log_file or environ.get("HINGFS_LOG_FILE")
    log_path = Path(log_file).absolute() if log_file else None
    config.endpoint.token.read()
    mount.prepare(config)
    if not _switch(arguments, environ, "no_check"):
        warning = mount.check(config)
        if warning:
            print(f"hingfs: warning: {warning}", file=sys.stderr)

    def configure_logs() -> None:
        mount.configure_logs(level, log_path, config.endpoint.token)

    if not _switch(arguments, environ, "foreground"):
        mount.serve_in_background(config, configure_logs)
        return 0
    configure_logs()
    mount.serve(config, lambda: _announce(config))
    return mount.leave(0)


def _announce(config: Config) -> None:
    directory = config.mount.directory
    print(
        f"hingfs: {config.endpoint.base_url} is mounted on {directory}; "
        f"end it with Ctrl-C or: hingfs umount {directory}",
        flush=True,
    )


def _umount(arguments: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    mountpoint.unmount(mountpoint.absolute(arguments.directory), lazy=arguments.lazy)
    return 0


def _demo(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.directory is not None:
        directory = mountpoint.absolute(arguments.directory)
        mount.leave(_run_demo(directory, environ, check=arguments.check))
    directory = mountpoint.absolute(tempfile.mkdtemp(prefix="hingfs-demo-"))
    try:
        status = _run_demo(directory, environ, check=arguments.check)
    finally:
        directory.rmdir()
    mount.leave(status)


def _run_demo(directory: Path, environ: Mapping[str, str], *, check: bool) -> int:
    """Serve the demo endpoint and its mount in this process until it is over."""
    mount.block_signals()  # before the endpoint's threads exist, so that they inherit it
    with DemoEndpoint() as endpoint:
        config = Config(
            mount=MountConfig(directory=directory, fuse=environ.get("HINGFS_FUSE")),
            endpoint=EndpointConfig(
                base_url=endpoint.base_url, token=Token(endpoint.token)
            ),
        )
        mount.prepare(config)
        mount.configure_logs("warning", None, config.endpoint.token)
        demo = _Demo(endpoint, directory, check=check)
        mount.serve(config, demo.start)
        return demo.status


class _Demo:
    """What happens beside the demo's mount, on a thread of its own."""

    def __init__(self, endpoint: DemoEndpoint, directory: Path, *, check: bool) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._job = self._check if check else self._invite
        self.status = 0

    def start(self) -> None:
        """Begin; called when the mount is up."""
        threading.Thread(target=self._job, name="hingfs-demo", daemon=True).start()

    def _invite(self) -> None:
        files = self._directory
        names = {
            video_id: files / name_of(video_id) for video_id in self._endpoint.videos
        }
        print(
            f"""\
hingfs: a small video API runs at {self._endpoint.base_url}, mounted on {files}
  ls -l {files}
  ffprobe -hide_banner {names["video_demo_moov_last"]}
  cvlc --play-and-exit {names["video_demo_moov_first"]}
  rsync -a {files}/ copies/
  stat {names["video_demo_rendering"]}    # not ready; try again in 20 s
  stat {names["video_demo_failed"]}    # failed for good
end it with Ctrl-C, or in another shell: hingfs umount {files}""",
            flush=True,
        )

    def _check(self) -> None:
        try:
            listed = sorted(os.listdir(self._directory))
            print(
                f"hingfs demo: mounted on {self._directory}, {len(listed)} videos listed"
            )
            ready = self._endpoint.ready_ids()
            wrong = [id_ for id_ in ready if name_of(id_) not in listed]
            for video_id in wrong:
                print(f"hingfs demo: {video_id} is ready and not listed")
            wrong += [id_ for id_ in ready if not self._reads_right(id_)]
            self.status = 1 if wrong or not ready else 0
        except OSError as error:
            print(f"hingfs demo: {error}", file=sys.stderr)
            self.status = 1
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _reads_right(self, video_id: str) -> bool:
        expected = self._endpoint.clips[video_id]
        path = self._directory / name_of(video_id)
        data = path.read_bytes()
        right = data == expected and path.stat().st_size == len(expected)
        digest = hashlib.sha256(data).hexdigest()[:16]
        print(
            f"hingfs demo: {path.name}: {len(data)} bytes read, sha256 {digest}…, "
            + ("as served" if right else "NOT as served"),
            flush=True,
        )
        return right


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width=min(shutil.get_terminal_size().columns, 88) - 2)


def _named(option: str, parse: Callable[[str], Parsed], text: str) -> Parsed:
    """*text* parsed; an error names the option."""
    try:
        return parse(text)
    except UsageError as error:
        raise UsageError(f"--{option.replace('_', '-')}: {error}") from None


def _switch(
    arguments: argparse.Namespace, environ: Mapping[str, str], name: str
) -> bool:
    """Whether a switch is given, or its variable says so."""
    return bool(getattr(arguments, name)) or (
        environ.get(f"HINGFS_{name.upper()}", "").lower() in _TRUE
    )


def _whole_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) < 10):
        raise UsageError(f"{text!r} is not a whole number")
    return int(text)


def _token(file: str | None, environ: Mapping[str, str]) -> Token:
    if file:
        return Token(file=Path(file).expanduser().absolute())
    value = environ.get("HINGFS_TOKEN")
    if not value:
        raise TokenError(
            "no token: put it into HINGFS_TOKEN (export HINGFS_TOKEN=oh-…), or into a "
            "file of mode 0600 named by --token-file or HINGFS_TOKEN_FILE"
        )
    return Token(value)


def _directory(text: str | None) -> Path | None:
    if text is None:
        return None
    path = Path(text).expanduser().absolute()
    if not (path.is_dir() and os.access(path, os.W_OK)):
        raise UsageError(f"--cache-dir {path} is not a directory that you can write")
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
