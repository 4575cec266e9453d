"""What `warm`, `keep`, `drop` and `wait` share: many videos at once, told one by one.

Decides which videos and which API are meant, how progress is shown, what helps where a
video cannot be had, and which failure gives the exit status. Leaves to each command where
videos land, and what it says of those that do.
"""

import argparse
import contextlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from ..bringing import NoRoom
from ..cache.kept_files import KeepFull
from ..engine import Engine
from ..errors import (
    AccessDenied,
    HingError,
    NotAVideo,
    RateLimited,
    Unreachable,
    UsageError,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    printable,
)
from ..given import Given
from ..library.names import video_id_of
from ..mount import mount_table
from ..settings import EndpointConfig
from ..units import rounded_size, whole
from ..wait.awaited import TimedOut
from ..wanted import Wanted
from .console import complain
from .videos import Named, mounted_base_url, named

_STANDARD_OUTPUT = 1
_JOBS = whole(1, 64)
# Four videos share all connections. Of ten, some cut others short, whose bytes on their
# way are lost: of 20 clips of 13 MB on loopback up to 16 MB came twice, and with four at
# once none (2026-11-27).
_JOBS_BY_DEFAULT = 4
# Not all is here yet: a video is not ready, or `--check` has found some absent.
NOT_YET = 13
TIMED_OUT = 124  # as timeout(1) ends
# Each with its exit status, and its name for programs. The gravest is first; what is none
# of them is a HingError alone.
_OUTCOMES: tuple[tuple[type[HingError], int, str], ...] = (
    (AccessDenied, 3, "refused"),
    (Unreachable, 4, "unreachable"),
    (HingError, 1, "error"),
    (VideoFailed, 10, "failed"),
    (VideoNotFound, 11, "not_found"),
    (NoRoom, 12, "no_room"),
    (KeepFull, 12, "no_room"),
    (VideoNotReady, NOT_YET, "not_ready"),
    (TimedOut, TIMED_OUT, "timed_out"),
)
# Such errors for all videos may mean that something else answers at the base URL.
_OF_NO_VIDEO = (VideoNotFound, NotAVideo)
# What a person can do about a video that is not here.
_REMEDIES: tuple[tuple[type[HingError], str], ...] = (
    (VideoNotReady, "once it is ready, give it again"),
    (VideoNotFound, "look at the id, and at the account of the token"),
    (RateLimited, "give --retry-after-limit 2m --metadata-timeout 3m to wait for it"),
)
# How long the end waits for what was fetched to be written, and for threads. A guess.
_END_SECONDS = 2.0


# -- what is meant ---------------------------------------------------------------------


def wanted(arguments: argparse.Namespace, command: str) -> list[Named]:
    """The videos that *command* was given; raises UsageError if there are none."""
    found = named(arguments.videos, arguments.file)
    if not found:
        raise UsageError(
            f"`hingfs {command}` needs a video: an ID, a path in a mount, `-f FILE` with "
            "one in each line, or `-` for standard input"
        )
    return found


def known_api(given: Given, videos: Sequence[Named]) -> dict[str, str]:
    """The base URL of the mounts that *videos* are in, for `Given.part`.

    Raises UsageError if it is another one than *given*.
    """
    mounted = mounted_base_url(videos)
    if mounted is None:
        return {}
    base_url = given.part(EndpointConfig, base_url=mounted).base_url
    if mount_table.source_of(mounted) != mount_table.source_of(base_url):
        raise UsageError(
            f"a path is in a mount of {printable(mounted)}, and the API of this command "
            f"is {base_url}; give --base-url {printable(mounted)}"
        )
    return {"base_url": mounted}


def jobs(arguments: argparse.Namespace) -> int:
    """How many videos come at once."""
    if arguments.jobs is None:
        return _JOBS_BY_DEFAULT
    try:
        found = _JOBS.parse(arguments.jobs)
        _JOBS.check(found)
    except UsageError as error:
        raise UsageError(f"-j: {error}") from None
    return found


# -- what is done ----------------------------------------------------------------------


def follow(
    engine: Engine,
    videos: Sequence[Wanted],
    work: Iterable[Wanted | None],
    tell: Callable[[Wanted], None],
) -> None:
    """Do *work* on *videos*, show how far they come, and *tell* of each that has ended.

    Raises what the check of the API does, if none of them is found.
    """
    with _progress(videos) as progress:
        for video in work:
            if video is not None:
                tell(video)
                progress.ended(video)
            progress.show()
    demand_api(engine, [video.error for video in videos])


def demand_api(engine: Engine, errors: Sequence[HingError | None]) -> None:
    """Raise what the check of the API does, if by *errors* no video at all was found."""
    if errors and all(isinstance(error, _OF_NO_VIDEO) for error in errors):
        engine.client.check()  # which raises where there is no video API at all


@contextlib.contextmanager
def ending(engine: Engine, close: Callable[[], None]) -> Iterator[None]:
    """End *engine* after what *close* ends, with all written that came."""
    try:
        yield
    finally:
        close()
        engine.close()
        engine.settle(_END_SECONDS)
    engine.join(_END_SECONDS)


class _Progress(Protocol):
    """Shows how far videos have come."""

    def ended(self, video: Wanted) -> None:
        """*video* has ended."""

    def show(self) -> None:
        """Show it now."""


class _Quiet:
    """For a pipe, where each video's one line is enough."""

    def ended(self, video: Wanted) -> None:
        """Nothing is shown of *video*."""

    def show(self) -> None:
        """Nothing is shown."""


@contextlib.contextmanager
def _progress(videos: Sequence[Wanted]) -> Iterator[_Progress]:
    """What shows the progress of *videos*, where standard output is a terminal."""
    if not os.isatty(_STANDARD_OUTPUT):
        yield _Quiet()
        return
    from .bars import Bars  # noqa: PLC0415 - rich takes 0.1 s, and a pipe needs none

    with Bars(videos) as bars:
        yield bars


# -- what is said ----------------------------------------------------------------------


def tell_error(said: str, error: HingError, endpoint: EndpointConfig) -> None:
    """Say why the video that was named as *said* did not come, and what helps."""
    sentence = endpoint.token.hide(f"{printable(said)}: {error}")
    remedies = (what for kind, what in _REMEDIES if isinstance(error, kind))
    complain("; ".join([sentence, *remedies]))


def tell_as_json(
    video: Wanted, good: str, endpoint: EndpointConfig, **more: object
) -> None:
    """Tell programs how *video* ended; *good* is its outcome if it did well."""
    error = video.error
    outcome = good if error is None else outcome_of(error)
    text = None if error is None else endpoint.token.hide(str(error))
    print_json(video, outcome, text, **more)


def print_json(
    video: Wanted, outcome: str, error: str | None = None, **more: object
) -> None:
    """Tell programs of *video*, in a line of its own."""
    told = {
        "video": video_id_of(video.name) or video.said,
        "outcome": outcome,
        "size_bytes": video.size_bytes if video.size_bytes >= 0 else None,
        "here_bytes": video.here_bytes,
        "fetched_bytes": video.fetched_bytes,
        "error": error,
    }
    print(json.dumps(told | more), flush=True)


def total(videos: Sequence[Wanted], what: str) -> str:
    """How many of *videos* came to be *what*."""
    here = sum(video.error is None for video in videos)
    fetched = rounded_size(sum(video.fetched_bytes for video in videos))
    of = "" if here == len(videos) else f" of {len(videos):,}"
    noun = "video" if len(videos) == 1 else "videos"
    return f"{here:,}{of} {noun} {what}, {fetched} fetched"


def status_of(errors: Iterable[HingError | None]) -> int:
    """The status of the gravest of *errors*; 0 if there is none."""
    statuses = {_outcome_of(error)[0] for error in errors if error is not None}
    return next((status for _, status, _ in _OUTCOMES if status in statuses), 0)


def outcome_of(error: HingError) -> str:
    """The name of *error* for programs."""
    return _outcome_of(error)[1]


def _outcome_of(error: HingError) -> tuple[int, str]:
    # All are of the last.
    kinds = sorted(_OUTCOMES, key=lambda one: one[0] is HingError)
    return next(
        (status, name) for kind, status, name in kinds if isinstance(error, kind)
    )
