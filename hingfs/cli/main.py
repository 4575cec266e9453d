"""The command line: arguments and environment in, exit status out.

Nothing else reads HINGFS_ variables or prints. `hingfs.settings` declares what can be
set, and how a person writes it.
"""

import argparse
import contextlib
import gc
import importlib
import os
import shutil
import signal
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from .. import __version__
from ..errors import HingError
from .arguments import Parser
from .console import complain
from .given import offer, offer_cache_directory

if TYPE_CHECKING:
    _Commands = argparse._SubParsersAction[Parser]  # noqa: SLF001

Command = Callable[[argparse.Namespace, Mapping[str, str]], int]

EXIT_STATUSES = """exit status:
  0  done            4  endpoint unreachable
  1  failed          5  this machine cannot mount (no /dev/fuse, no libfuse)
  2  wrong usage     6  DIR cannot be mounted on, or unmounted
  3  token missing   7  umount: the mount is in use
     or refused      8  umount: not a hingfs mount
                     9  the base URL is no video API
exit status of `warm` and `keep`, the first that holds of 3, 4, 1 and:
  10  rendering failed               12  no room on disk, or in --keep-size
  11  no such video, or expired      13  not ready yet; --check: not all is here
 130  ended by Ctrl-C
exit status of `drop`, the first that holds of 1, 14 and 11 (not kept):
  14  the server does not confirm that it has what is kept
exit status of `info`, whatever is told of a video: 0; else the first of 3, 4, 1 and 11
exit status of `latest`: 11 if no clip is ready
exit status of `wait`, the first that holds of 3, 4, 1, 10, 11 and:
 124  timed out                     130  ended by Ctrl-C (143: by SIGTERM)"""
_STANDARD_OUTPUT, _STANDARD_ERROR = 1, 2


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
    except BrokenPipeError:  # as of `hingfs cache | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), _STANDARD_OUTPUT)  # Python flushes it
        return 128 + signal.SIGPIPE
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
    _add_info(commands)
    _add_latest(commands)
    _add_wait(commands)
    _add_warm(commands)
    _add_keep(commands)
    _add_drop(commands)
    _add_cache(commands)
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
    parser.set_defaults(run=_command("mount"))


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


def _add_info(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "info",
        usage="hingfs info [OPTION]... [VIDEO]... [-f FILE] [-]",
        help="show what videos are, and how far they have come",
        description=_wrapped(
            "Show what videos are, ready or not: status, model, prompt, times, size, and "
            "how much of them is here. What the server does not tell is left out. The "
            "options are those of `hingfs mount`."
        ),
        epilog=EXIT_STATUSES,
    )
    _add_videos(parser)
    parser.add_argument(
        "--json", action="store_true", help="for programs; a line for each video"
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("info"))


def _add_latest(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "latest",
        usage="hingfs latest [N] [-p [DIR]] [-0] [OPTION]...",
        help="print the ids, or the paths, of the newest clips that are ready",
        description=_wrapped(
            "Print the ids of the newest N clips that are ready, the newest first, each "
            "on a line. The options are those of `hingfs mount`."
        ),
        epilog=EXIT_STATUSES,
    )
    parser.add_argument(
        "count", metavar="N", nargs="?", default="1", help="how many (default: 1)"
    )
    parser.add_argument(
        *("-p", "--paths"),
        metavar="DIR",
        nargs="?",
        const="",
        help="print paths in the mount of the API, or in the mount DIR",
    )
    parser.add_argument(
        *("-0", "--print0"), action="store_true", help="end each with NUL: for xargs -0"
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("latest"))


def _add_wait(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "wait",
        usage="hingfs wait [OPTION]... [VIDEO]... [-f FILE] [-]",
        help="end once videos are ready, or will never be",
        description=_wrapped(
            "Wait until videos are ready, and print the id of each as it becomes so. "
            "Whatever is final ends the wait for a video: it is served, its rendering "
            "failed, it is missing, or has expired. How far they are stands on standard "
            "error. The options are those of `hingfs mount`."
        ),
        epilog=EXIT_STATUSES,
    )
    _add_videos(parser)
    parser.add_argument(
        "--timeout",
        metavar="TIME",
        help="wait no longer, then end with 124; 0 looks once (default: no limit)",
    )
    parser.add_argument(
        "--any", action="store_true", help="end with 0 as soon as one is ready"
    )
    parser.add_argument(
        "--fail-fast",
        action="store_true",
        help="end as soon as one will never be ready",
    )
    parser.add_argument(
        "--json", action="store_true", help="for programs; a line for each video"
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("wait"))


def _add_warm(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "warm",
        usage="hingfs warm [OPTION]... [VIDEO]... [-f FILE] [-]",
        help="bring videos into the disk cache, before they are read",
        description=_wrapped(
            "Fetch videos into the disk cache, so that mounts with the same --cache-dir "
            "and --base-url read them from there; one that runs sees them at once. "
            "Only what is not here is fetched. The options are those of `hingfs mount`."
        ),
        epilog=EXIT_STATUSES,
    )
    _add_videos(parser)
    _add_jobs(parser)
    parser.add_argument(
        "--check",
        action="store_true",
        help="say how much of each is here, and ask no server",
    )
    parser.add_argument(
        "--json", action="store_true", help="for programs; a line for each video"
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("warm"))


def _add_keep(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "keep",
        usage="hingfs keep [OPTION]... [VIDEO]... [-f FILE] [-]\n"
        "       hingfs keep --all | --list | --export VIDEO FILE",
        help="have videos stay on disk after their links have expired",
        description=_wrapped(
            "Fetch videos whole, check them, and have them stay until `hingfs drop`. "
            "Mounts with the same --keep-dir and --base-url show and read them from "
            "there, whatever becomes of the server; one that runs sees them at once. "
            "Only what is not here is fetched. The options are those of `hingfs mount`."
        ),
        epilog=EXIT_STATUSES,
    )
    _add_videos(parser)
    _add_jobs(parser)
    for flag, meaning in (
        ("--all", "keep all that the API lists, and that is not kept yet"),
        ("--check", "say how much of each is here, and ask no server"),
        ("--list", "show what is kept, and ask no server"),
        ("--json", "for programs; a line for each video"),
        ("--overwrite", "with --export: replace FILE if there is one"),
    ):
        parser.add_argument(flag, action="store_true", help=meaning)
    parser.add_argument(
        "--export",
        nargs=2,
        metavar=("VIDEO", "FILE"),
        help="write what is kept of VIDEO to FILE, all of it or nothing; - is standard "
        "output; VIDEO@HEX picks a version of --list",
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("keep"))


def _add_drop(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "drop",
        usage="hingfs drop [OPTION]... [VIDEO]... [-f FILE] [-]",
        help="let go of videos that are kept",
        description=_wrapped(
            "Let go of videos that are kept. The server is asked at that moment whether "
            "it has the same version, and a video of which it does not say so stays. "
            "What is only on its way to being kept goes unasked."
        ),
        epilog=EXIT_STATUSES,
    )
    _add_videos(parser)
    parser.add_argument(
        "--force", action="store_true", help="drop them, and ask no server"
    )
    offer(parser, ("endpoint", "cache", "log"))
    parser.set_defaults(run=_command("drop"))


def _add_videos(parser: Parser) -> None:
    parser.add_argument(
        "videos",
        metavar="VIDEO",
        nargs="*",
        help="an id, or a path in a mount; - reads them from standard input",
    )
    parser.add_argument(
        *("-f", "--file"),
        metavar="FILE",
        action="append",
        default=[],
        help="read them from FILE, one in each line",
    )


def _add_jobs(parser: Parser) -> None:
    parser.add_argument(
        *("-j", "--jobs"),
        metavar="N",
        help="videos at once, which share the connections (default: 4)",
    )


def _add_cache(commands: "_Commands") -> None:
    parser = commands.add_parser(
        "cache",
        usage="hingfs cache [--json] [--cache-dir DIR] [COMMAND ...]",
        help="show what the disk cache holds, check it, or make it less",
        description=_wrapped(
            "Show the videos in the disk cache, the one used last first. Mounts that run "
            "go on with whatever a command leaves, and fetch what it removed again. What "
            "is kept stays."
        ),
        epilog=EXIT_STATUSES,
    )
    parser.add_argument(
        "--json", action="store_true", help="for programs; times in Unix seconds"
    )
    offer_cache_directory(parser)
    parser.set_defaults(run=_command("cache"), job="list")
    below = parser.add_subparsers(
        title="commands", prog="hingfs cache", metavar="COMMAND"
    )
    for name, meaning in (
        (
            "verify",
            "read every block, tell which videos have bad ones, and remove these",
        ),
        ("trim", "remove what was not used for longest, until SIZE is left"),
        ("clear", "remove all"),
    ):
        one = below.add_parser(
            name,
            help=meaning,
            description=_wrapped(f"{meaning[0].upper()}{meaning[1:]}."),
        )
        if name == "trim":
            one.add_argument("size", metavar="SIZE", help="such as 10GiB")
        offer_cache_directory(one)
        one.set_defaults(job=name)


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
    parser.set_defaults(run=_command("demo"))


# A command's modules are imported when it runs: HTTP and FUSE take 0.25 s of CPU
# (2026-11-27), which `--help`, `--version` and `umount` need not spend.


@contextlib.contextmanager
def _importing() -> Iterator[None]:
    """Collect no garbage meanwhile, and look at what was imported no more.

    Modules stay for good; 65 collections in between took 16 ms (2 cores, 2026-11-27).
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _command(name: str) -> Command:
    """What runs the command whose module is *name*, which is imported then."""

    def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
        with _importing():
            command = importlib.import_module(f".{name}", __package__)
        status: int = command.run(arguments, environ)
        return status

    return run


def _umount(arguments: argparse.Namespace, _environ: Mapping[str, str]) -> int:
    from ..mount import mountpoint  # noqa: PLC0415 - as said above

    mountpoint.unmount(mountpoint.absolute(arguments.directory), lazy=arguments.lazy)
    return 0


def _wrapped(text: str) -> str:
    return textwrap.fill(text, width=min(shutil.get_terminal_size().columns, 88) - 2)
