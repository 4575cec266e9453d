"""The command `latest`: the newest clips that are ready, for scripts.

Decides how each is written, and where its path is. Leaves to `library.newest` which clips
these are, and to `videos` where an API is mounted.
"""

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace

from .. import log
from ..engine import Engine
from ..errors import HingError, ServerBroken, UsageError, VideoNotFound, printable
from ..given import Given
from ..library.names import name_of
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import whole
from . import batch, disk
from .console import complain
from .given import tell_misspelt
from .videos import directory_of, mount_at, mounted_base_urls

_STANDARD_OUTPUT = 1
# As many as the longest list that is read has.
_COUNT = whole(1, 20_000)


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Print what `hingfs latest` was asked for; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    most = _count(arguments.count)
    # None: no paths; "": in the mount of this API.
    directory: str | None = arguments.paths
    mounts = [mount_at(directory)] if directory else []
    endpoint = given.endpoint(**batch.known_api(given, mounts))
    endpoint.token.read()
    if directory == "":
        directory = _mounted(endpoint.base_url)
    log_config = given.part(LogConfig)
    log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
    try:
        found = _newest(endpoint, _config(given, environ), most)
    except HingError as error:
        complain(endpoint.token.hide(str(error)))
        return getattr(error, "exit_status", batch.status_of([error]))
    _write(found, directory, "\0" if arguments.print0 else "\n")
    return 0


def _count(text: str) -> int:
    try:
        count = _COUNT.parse(text)
        _COUNT.check(count)
    except UsageError as error:
        raise UsageError(f"N: {error}") from None
    return count


def _mounted(base_url: str) -> str:
    """Where the API at *base_url* is mounted; raises UsageError if it is nowhere."""
    directory = directory_of(base_url)
    if directory is not None:
        return directory
    others = ", ".join(map(printable, mounted_base_urls()))
    instead = f"; give --base-url for what is: {others}" if others else ""
    raise UsageError(
        f"{base_url} is not mounted, so that its clips have no paths; run: hingfs mount "
        f"DIR{instead}"
    )


def _config(given: Given, environ: Mapping[str, str]) -> CacheConfig:
    """The configuration of an engine that reads no video, and knows the facts."""
    config = given.part(CacheConfig)
    try:
        directory = disk.cache_directory(config, environ)
    except HingError:  # they save a request at most
        return replace(config, disk_cache_bytes=0)
    return replace(config, disk_cache_bytes=0, kept_directory=directory)


def _newest(endpoint: EndpointConfig, config: CacheConfig, most: int) -> list[str]:
    """The ids of the newest clips; raises VideoNotFound if there are none."""
    engine = Engine(endpoint, config)
    with batch.ending(engine, lambda: None):
        try:
            found = engine.catalog.newest(most)
        except ServerBroken:
            engine.client.check()  # which raises where there is no video API at all
            raise
    if found is None:
        raise HingError(
            f"{endpoint.base_url} gives no list of its videos, so that only ids that are "
            "known already can be used"
        )
    if not found:
        raise VideoNotFound(f"no clip at {endpoint.base_url} is ready yet")
    return found


def _write(found: Sequence[str], directory: str | None, end: str) -> None:
    """Write the ids *found*, or their paths in *directory*, each with an *end*."""
    lines = found
    if directory is not None:
        lines = [f"{directory.rstrip('/')}/{name_of(one)}" for one in found]
    if os.isatty(_STANDARD_OUTPUT):  # an id is the server's, and may hold anything
        lines = [printable(line, len(line)) for line in lines]
    text = "".join(f"{line}{end}" for line in lines)
    sys.stdout.buffer.write(os.fsencode(text))
    sys.stdout.buffer.flush()
