"""The command line: arguments and environment in, exit status out.

Nothing else reads HINGFS_ variables or prints. `hingfs.settings` declares what can be
set, and how a person writes it.
"""

import argparse
import contextlib
import hashlib
import os
import shutil
import signal
import sys
import tempfile
import textwrap
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from .. import __version__, invocation, log
from ..demo.endpoint import DemoEndpoint
from ..errors import HingError, UsageError, command_word, plain
from ..facts import directory as facts_directory
from ..library.names import name_of
from ..mount import daemon, mountpoint
from ..mount import serving as mount
from ..settings import Config, EndpointConfig, MountConfig, StartConfig
from ..token import Token
from ..workers import start
from .arguments import Parser
from .console import complain, is_terminal
from .given import Given, offer

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[Parser]  # noqa: SLF001

EXIT_STATUSES = """exit status:
  0  done            4  endpoint unreachable
  1  failed          5  this machine cannot mount (no /dev/fuse, no libfuse)
  2  wrong usage     6  DIR cannot be mounted on, or unmounted
  3  token missing   7  umount: the mount is in use
     or refused      8  umount: not a hingfs mount
                     9  the base URL is no video API"""
_STANDARD_ERROR = 2

# A person who waits for longer wonders whether anything happens.
_SILENT_SECONDS = 3.0


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is as `EXIT_STATUSES` says."""
    _open_standard_streams()
    arguments = build_parser().parse_args(argv)
    environ = dict(os.environ)
    # No child may inherit the token: neither ours nor libfuse's (fusermount).
    os.environ.pop("HINGFS_TOKEN", None)
    try:
        status: int = arguments.run(arguments, environ)
    except HingError as error:
        complain(str(error))
        return getattr(error, "exit_status", 1)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    return status


def _open_standard_streams() -> None:
    """Let standard streams that were closed lead nowhere.

    Otherwise the next files to be opened take their numbers: the parent's pipe, or the
    connection to the kernel, which a daemon then replaces by /dev/null.
    """
    while (number := os.open(os.devnull, os.O_RDWR)) <= _STANDARD_ERROR:
        os.set_inheritable(number, True)  # noqa: FBT003 - the name says it
    os.close(number)


def build_parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    parser = Parser(
        prog="hingfs",
        description="Mount the finished clips of an OpenAI-style video API as files.",
        epilog=EXIT_STATUSES,
    )
    parser.add_argument("--version", action="version", version=f"hingfs {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_mount(commands)
    _add_umount(commands)
    _add_demo(commands)
    return parser


def _add_mount(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "mount",
        usage="hingfs mount [OPTION]... DIR",
        help="show the videos of an API in a directory",
        description=(
            "Show the videos of an API as <video_id>.mp4 in DIR, read-only. Returns "
            "when the mount is up; end it with `hingfs umount DIR`. Every option "
            "can be set by a variable too: --cache-size by HINGFS_CACHE_SIZE. The "
            "token comes from HINGFS_TOKEN or a file, never from an argument."
        ),
        epilog=EXIT_STATUSES,
    )
    parser.description = _wrapped(parser.description or "")
    parser.add_argument("directory", metavar="DIR", help="an empty directory")
    offer(parser)
    parser.set_defaults(run=_mount)


def _add_umount(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "umount",
        help="end a mount",
        description=_wrapped(
            "End the mount on DIR, however it was started. If a program still uses the "
            "mount, says which, and leaves it."
        ),
        epilog=EXIT_STATUSES,
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
    given = Given(vars(arguments), environ)
    unknown = given.misspelt()
    if unknown and given.part(StartConfig).strict:
        raise UsageError("; ".join(unknown))
    for sentence in unknown:
        complain(f"warning: {sentence}")
    config = given.config(mountpoint.absolute(arguments.directory))
    try:
        return _mount_as(config)
    except HingError as error:  # it may quote the server
        error.args = (config.endpoint.token.hide(str(error)),)
        raise


def _mount_as(config: Config) -> int:
    config.endpoint.token.read()
    mount.prepare(config)
    if not config.start.no_check:
        with _saying_when_slow(f"waiting for {config.endpoint.base_url}"):
            warning = mount.check(config)
        if warning:
            complain(f"warning: {warning}")
    mountpoint.clear(config.mount.directory)
    if config.start.foreground:
        _serve(config, lambda: None, foreground=True)
        daemon.leave(0)
    daemon.serve_in_background(
        config, lambda on_up: _serve(config, on_up, foreground=False)
    )
    return 0


@contextlib.contextmanager
def _saying_when_slow(
    what: str, after_seconds: float = _SILENT_SECONDS
) -> Iterator[None]:
    """Say on a terminal *what* takes long, after a while; leaves no thread."""

    def say() -> None:
        complain(f"{what}; Ctrl-C ends it")

    timer = threading.Timer(after_seconds, say)
    timer.name = "hingfs-slow"
    if is_terminal():
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if timer.ident is not None:
            timer.join()


def _serve(config: Config, on_up: Callable[[], None], *, foreground: bool) -> None:
    """Log, mount and serve in this process until the mount ends.

    Once the mount is up, says so and calls *on_up*.
    """
    directory = config.mount.directory
    target = log.begin(
        config.log.level,
        config.endpoint.token.hide,
        file=config.log.file,
        background=None if foreground else directory,
    )
    if target.warning:
        complain(f"warning: {target.warning}")

    config = _with_facts(config)

    def announce() -> None:
        by_key = "Ctrl-C, or " if foreground else ""
        said = (
            f"hingfs: {config.endpoint.base_url} is mounted on {plain(str(directory))}\n"
            f"  end it with {by_key}{invocation.command()} umount "
            f"{command_word(directory)}"
        )
        if target.name:
            said += f"\n  log: {plain(target.name)}"
        with contextlib.suppress(OSError):  # nobody listens, or the disk is full
            print(said, flush=True)
        on_up()

    mount.serve(config, announce)


def _with_facts(config: Config) -> Config:
    """*config* with a directory for facts; says why if there is none."""
    try:
        found = facts_directory.usable(config.cache.directory, os.environ)
    except OSError as error:
        complain(f"warning: nothing is remembered for the next mount: {error}")
        return config
    return replace(config, cache=replace(config.cache, facts_directory=found))


def _umount(arguments: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    mountpoint.unmount(mountpoint.absolute(arguments.directory), lazy=arguments.lazy)
    return 0


def _demo(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    if arguments.directory is not None:
        directory = mountpoint.absolute(arguments.directory)
        daemon.leave(_run_demo(directory, environ, check=arguments.check))
    directory = mountpoint.absolute(tempfile.mkdtemp(prefix="hingfs-demo-"))
    try:
        status = _run_demo(directory, environ, check=arguments.check)
    finally:
        directory.rmdir()
    daemon.leave(status)


def _run_demo(directory: Path, environ: Mapping[str, str], *, check: bool) -> int:
    """Serve the demo endpoint and its mount in this process until the mount ends."""
    mount.block_signals()  # before the endpoint's threads exist, so that they inherit it
    with DemoEndpoint() as endpoint:
        chosen = Given({}, {"HINGFS_FUSE": environ.get("HINGFS_FUSE", "")})
        config = Config(
            mount=chosen.part(MountConfig, directory=directory),
            endpoint=EndpointConfig(
                base_url=endpoint.base_url, token=Token(endpoint.token)
            ),
        )
        mount.prepare(config)
        mountpoint.clear(directory)
        log.begin(config.log.level, config.endpoint.token.hide)
        demo = _Demo(endpoint, directory, check=check)
        mount.serve(config, demo.start)
        return demo.status


class _Demo:
    """Invites a person to try the demo's mount, or checks it, on `hingfs-demo-guide`."""

    def __init__(self, endpoint: DemoEndpoint, directory: Path, *, check: bool) -> None:
        self._endpoint = endpoint
        self._directory = directory
        self._job = self._check if check else self._invite
        self.status = 0

    def start(self) -> None:
        """Begin; called when the mount is up."""
        start(threading.Thread(target=self._job, name="hingfs-demo-guide", daemon=True))

    def _invite(self) -> None:
        files = self._directory
        umount = f"{invocation.command()} umount {command_word(files)}"
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
end it with Ctrl-C, or in another shell: {umount}""",
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
            right = len(ready) - len(set(wrong))
            print(f"hingfs demo: {right} of {len(ready)} ready clips are as served")
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
