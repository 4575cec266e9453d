"""The command `warm`: brings videos into the disk cache, or says how much of them is here.

Decides what is said of each. Leaves to `batch` which videos are meant, and to the module
`warm` how they are brought in.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import log
from ..cache import stock
from ..engine import Engine
from ..errors import HingError, UsageError, printable
from ..given import Given
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import rounded_size
from ..wanted import Wanted
from ..warm import Warmer, room_of
from . import batch, disk
from .given import tell_misspelt
from .here import stocked


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Bring in what `hingfs warm` was given, or check it; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    jobs, named = batch.jobs(arguments), batch.wanted(arguments, "warm")
    cache = given.part(CacheConfig)
    if not cache.disk_cache_bytes:
        raise UsageError(
            "--disk-cache-size is 0, so that nothing is kept on disk; give it a size, "
            "here and to the mounts: --disk-cache-size 10GiB"
        )
    known = batch.known_api(given, named)
    base_url = given.part(EndpointConfig, **known).base_url
    cache = replace(cache, kept_directory=disk.cache_directory(cache, environ))
    videos = [Wanted(one.said, one.name) for one in named]
    if arguments.check:
        return _check(videos, cache, base_url, as_json=arguments.json)
    endpoint = given.endpoint(**known)
    try:
        endpoint.token.read()
        log_config = given.part(LogConfig)
        log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
        return _warm(videos, endpoint, cache, jobs, as_json=arguments.json)
    except HingError as error:  # it may quote the server
        error.args = (endpoint.token.hide(str(error)),)
        raise


# -- bringing in -----------------------------------------------------------------------


def _warm(
    videos: Sequence[Wanted],
    endpoint: EndpointConfig,
    cache: CacheConfig,
    at_once: int,
    *,
    as_json: bool,
) -> int:
    assert cache.kept_directory is not None, "`run` has found one"
    with disk.in_words():
        limits = stock.limits(cache.kept_directory)
    most = room_of(min([cache.disk_cache_bytes, *limits]))
    engine = Engine(endpoint, cache)
    warmer = Warmer(engine, at_once, most)

    def tell(video: Wanted) -> None:
        if as_json:
            batch.tell_as_json(video, "here", endpoint)
            return
        if video.error is not None:
            batch.tell_error(video.said, video.error, endpoint)
            return
        size = rounded_size(video.size_bytes)
        fetched = rounded_size(video.fetched_bytes)
        news = f"{fetched} fetched" if video.fetched_bytes else "was here"
        print(f"{printable(video.said)}: {size}, {news}", flush=True)

    with batch.ending(engine, warmer.close):
        batch.follow(engine, videos, warmer.warm(videos), tell)
    if not as_json:
        print(batch.total(videos, "here"))
    return batch.status_of(video.error for video in videos)


# -- checking --------------------------------------------------------------------------


def _check(
    videos: Sequence[Wanted], cache: CacheConfig, base_url: str, *, as_json: bool
) -> int:
    """Say how much of each is here; asks no server."""
    assert cache.kept_directory is not None, "`run` has found one"
    here = stocked(cache.kept_directory, base_url)
    absent = 0
    for video in videos:
        found = here.get(video.name)
        if found is not None:
            video.size_bytes = found.version.size_bytes
            video.here_bytes = found.here_bytes
        whole_here = video.here_bytes == video.size_bytes
        absent += not whole_here
        if as_json:
            part = "part" if video.here_bytes else "absent"
            batch.print_json(video, "here" if whole_here else part)
        else:
            _say_how_much(video)
    return batch.NOT_YET if absent else 0


def _say_how_much(video: Wanted) -> None:
    here, size = video.here_bytes, rounded_size(video.size_bytes)
    part = "all" if here == video.size_bytes else rounded_size(here)
    how_much = f"{part} of {size} here" if here else "not here"
    print(f"{printable(video.said)}: {how_much}")
