"""The command `warm`: brings videos into the disk cache, or says how much of them is here.

Decides which videos are meant, what is said of each, and which failure gives the exit
status. Leaves to the module `warm` how they are brought in.
"""

import argparse
import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from .. import log
from ..bringing import NoRoom
from ..cache import stock
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
from ..library.names import full_name_of, name_of
from ..mount import mount_table
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import rounded_size, whole
from ..warm import Warmed, Warmer, room_of
from . import disk
from .console import complain
from .given import Given
from .videos import Named, mounted_base_url, named

_STANDARD_OUTPUT = 1
_JOBS = whole(1, 64)
# Four videos share all connections. Of ten, some cut others short, whose bytes on their
# way are lost: of 20 clips of 13 MB on loopback up to 16 MB came twice, and with four at
# once none (2026-11-27).
_JOBS_BY_DEFAULT = 4
# Not all is here yet: a video is not ready, or `--check` has found some absent.
_NOT_YET = 13
# Gravest first; what is none of these is 1.
_STATUSES: tuple[tuple[type[HingError], int], ...] = (
    (AccessDenied, 3),
    (Unreachable, 4),
    (HingError, 1),
    (VideoFailed, 10),
    (VideoNotFound, 11),
    (NoRoom, 12),
    (VideoNotReady, _NOT_YET),
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


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Bring in what `hingfs warm` was given, or check it; the exit status."""
    given = Given(vars(arguments), environ)
    given.tell_misspelt()
    jobs, wanted = _jobs(arguments), _wanted(arguments)
    cache = given.part(CacheConfig)
    if not cache.disk_cache_bytes:
        raise UsageError(
            "--disk-cache-size is 0, so that nothing is kept on disk; give it a size, "
            "here and to the mounts: --disk-cache-size 10GiB"
        )
    mounted = mounted_base_url(wanted)
    known = {"base_url": mounted} if mounted else {}
    base_url = given.part(EndpointConfig, **known).base_url
    _demand_one_api(base_url, mounted)
    cache = replace(cache, kept_directory=disk.cache_directory(cache, environ))
    videos = [Warmed(one.said, one.name) for one in wanted]
    if arguments.check:
        return _check(videos, cache, base_url)
    endpoint = given.endpoint(**known)
    try:
        endpoint.token.read()
        log_config = given.part(LogConfig)
        log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
        return _warm(videos, endpoint, cache, jobs)
    except HingError as error:  # it may quote the server
        error.args = (endpoint.token.hide(str(error)),)
        raise


def _wanted(arguments: argparse.Namespace) -> list[Named]:
    found = named(arguments.videos, arguments.file)
    if not found:
        raise UsageError(
            "`hingfs warm` needs a video: an ID, a path in a mount, `-f FILE` with one "
            "in each line, or `-` for standard input"
        )
    return found


def _demand_one_api(base_url: str, mounted: str | None) -> None:
    """Raise UsageError if paths are *mounted* from another API than the one to be used."""
    if mounted and mount_table.source_of(mounted) != mount_table.source_of(base_url):
        raise UsageError(
            f"a path is in a mount of {printable(mounted)}, and the API of this command "
            f"is {base_url}; give --base-url {printable(mounted)}"
        )


def _jobs(arguments: argparse.Namespace) -> int:
    if arguments.jobs is None:
        return _JOBS_BY_DEFAULT
    try:
        jobs = _JOBS.parse(arguments.jobs)
        _JOBS.check(jobs)
    except UsageError as error:
        raise UsageError(f"-j: {error}") from None
    return jobs


# -- bringing in -----------------------------------------------------------------------


def _warm(
    videos: Sequence[Warmed], endpoint: EndpointConfig, cache: CacheConfig, at_once: int
) -> int:
    assert cache.kept_directory is not None, "`run` has found one"
    with disk.in_words():
        limits = stock.limits(cache.kept_directory)
    most = room_of(min([cache.disk_cache_bytes, *limits]))
    engine = Engine(endpoint, cache)
    warmer = Warmer(engine, at_once, most)
    try:
        with _progress(videos) as progress:
            for video in warmer.warm(videos):
                if video is not None:
                    _tell(video, endpoint)
                    progress.ended(video)
                progress.show()
        if all(isinstance(video.error, _OF_NO_VIDEO) for video in videos):
            engine.client.check()  # which raises where there is no video API at all
    finally:
        warmer.close()
        engine.close()
        engine.settle(_END_SECONDS)
    engine.join(_END_SECONDS)
    print(_total(videos))
    return _status(video.error for video in videos)


class _Progress(Protocol):
    """Shows how far videos have come."""

    def ended(self, video: Warmed) -> None:
        """*video* has ended."""

    def show(self) -> None:
        """Show it now."""


class _Quiet:
    """For a pipe, where each video's one line is enough."""

    def ended(self, video: Warmed) -> None:
        """Nothing is shown of *video*."""

    def show(self) -> None:
        """Nothing is shown."""


@contextlib.contextmanager
def _progress(videos: Sequence[Warmed]) -> Iterator[_Progress]:
    """What shows the progress of *videos*, where standard output is a terminal."""
    if not os.isatty(_STANDARD_OUTPUT):
        yield _Quiet()
        return
    from .bars import Bars  # noqa: PLC0415 - rich takes 0.1 s, and a pipe needs none

    with Bars(videos) as bars:
        yield bars


def _tell(video: Warmed, endpoint: EndpointConfig) -> None:
    """Say how *video* ended."""
    said = printable(video.said)
    if video.error is None:
        size = rounded_size(video.size_bytes)
        fetched = rounded_size(video.fetched_bytes)
        news = f"{fetched} fetched" if video.fetched_bytes else "was here"
        print(f"{said}: {size}, {news}", flush=True)
        return
    sentence = endpoint.token.hide(f"{said}: {video.error}")
    remedies = (what for kind, what in _REMEDIES if isinstance(video.error, kind))
    complain("; ".join([sentence, *remedies]))


def _total(videos: Sequence[Warmed]) -> str:
    here = sum(video.error is None for video in videos)
    fetched = rounded_size(sum(video.fetched_bytes for video in videos))
    of = "" if here == len(videos) else f" of {len(videos):,}"
    noun = "video" if len(videos) == 1 else "videos"
    return f"{here:,}{of} {noun} here, {fetched} fetched"


def _status(errors: Iterable[HingError | None]) -> int:
    """The status of the gravest of *errors*; 0 if there is none."""
    statuses = {_status_of(error) for error in errors if error is not None}
    return next((status for _, status in _STATUSES if status in statuses), 0)


def _status_of(error: HingError) -> int:
    kinds = [one for one in _STATUSES if one[0] is not HingError]
    return next((status for kind, status in kinds if isinstance(error, kind)), 1)


# -- checking --------------------------------------------------------------------------


def _check(videos: Sequence[Warmed], cache: CacheConfig, base_url: str) -> int:
    """Say how much of each is here; asks no server."""
    assert cache.kept_directory is not None, "`run` has found one"
    here = _stocked(cache.kept_directory, base_url)
    absent = 0
    for video in videos:
        found = here.get(video.name)
        size = found.version.size_bytes if found else 0
        there = found.here_bytes if found else 0
        whole_here = found is not None and there == size
        absent += not whole_here
        part = "all" if whole_here else rounded_size(there)
        how_much = f"{part} of {rounded_size(size)} here" if there else "not here"
        print(f"{printable(video.said)}: {how_much}")
    return _NOT_YET if absent else 0


def _stocked(directory: Path, base_url: str) -> dict[str, stock.Stocked]:
    """What is here of the videos at *base_url*, by each name of theirs.

    Of two versions the one that was fetched last counts.
    """
    with disk.in_words():
        found = stock.videos(directory)
    return {
        name: video
        for video in sorted(found, key=lambda video: video.created_at)
        if video.version.endpoint == base_url and not video.private
        for name in {
            name_of(video.version.video_id),
            full_name_of(video.version.video_id),
        }
    }
