"""The command `info`: what videos are, and how far they have come.

Decides where each is looked for, and which outcome is a failure of the command. Leaves to
`seen` what is said of a video, to `library.look` what is known of it, to `batch` which
videos are meant, and to `cells` how lines are filled.

Threads: `hingfs-info-N` look at some videos at a time; the main thread tells of each in
the order in which they were given.
"""

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .. import log
from ..engine import Engine
from ..errors import Closing, HingError, plain
from ..given import Given
from ..library.look import Look
from ..library.names import name_of
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..workers import DaemonPool
from . import batch, cells, disk, kept
from .given import tell_misspelt
from .here import stocked
from .seen import LABEL_CELLS, Seen, as_json, rows
from .videos import Named, directory_of

# As many as there are connections by default, and some that wait for a slow answer.
_AT_ONCE = 16
_STANDARD_OUTPUT = 1
_LEAST_COLUMNS, _MOST_COLUMNS = 40, 100


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Show what `hingfs info` was given; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    named = batch.wanted(arguments, "info")
    endpoint = given.endpoint(**batch.known_api(given, named))
    try:
        endpoint.token.read()
        log_config = given.part(LogConfig)
        log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
        cache = _with_directories(given.part(CacheConfig), environ)
        return _info(named, endpoint, cache, to_programs=arguments.json)
    except HingError as error:  # it may quote the server
        error.args = (endpoint.token.hide(str(error)),)
        raise


def _with_directories(config: CacheConfig, environ: Mapping[str, str]) -> CacheConfig:
    """*config* of an engine that reads no video, and knows the facts and the copies."""
    return replace(
        config,
        disk_cache_bytes=0,
        kept_directory=_usable(disk.cache_directory, config, environ),
        kept_videos=_usable(disk.keep_directory, config, environ),
    )


def _usable(
    find: Callable[[CacheConfig, Mapping[str, str]], Path],
    config: CacheConfig,
    environ: Mapping[str, str],
) -> Path | None:
    """The directory that *find* gives; None if it cannot be used: it has nothing then."""
    try:
        return find(config, environ)
    except HingError:
        return None


def _info(
    named: Sequence[Named],
    endpoint: EndpointConfig,
    config: CacheConfig,
    *,
    to_programs: bool,
) -> int:
    see = _eyes(endpoint.base_url, config)
    engine = Engine(endpoint, config)
    pool = DaemonPool("hingfs-info", _AT_ONCE)
    failures = []
    with batch.ending(engine, lambda: pool.close(Closing("it was ended"))):
        looks = [pool.submit(engine.catalog.look_at, one.name) for one in named]
        for number, (one, look) in enumerate(zip(named, looks, strict=True)):
            seen = see(one, look.result())
            failures.append(seen.failure)
            if to_programs:
                print(endpoint.token.hide(json.dumps(as_json(seen))), flush=True)
            else:
                _show(seen, endpoint.token.hide, is_first=not number)
        batch.demand_api(engine, failures)
    return batch.status_of(failures)


def _eyes(base_url: str, config: CacheConfig) -> Callable[[Named, Look], Seen]:
    """A function that adds to a look what is here of that video."""
    cached, all_kept = {}, {}
    if config.kept_directory is not None:
        cached = stocked(config.kept_directory, base_url)
    if config.kept_videos is not None:
        all_kept = kept.best(kept.everything(config.kept_videos), base_url)
    directory = directory_of(base_url)

    def seen(one: Named, look: Look) -> Seen:
        name = name_of(look.video_id) if look.video_id else one.name
        path = f"{directory}/{name}" if directory and look.video_id else None
        here = (cached.get(name), all_kept.get(name), path)
        return Seen(base_url, one.said, look, *here, looked_at=time.time())

    return seen


def _show(seen: Seen, hide: Callable[[str], str], *, is_first: bool) -> None:
    """Print *seen* as a block of lines, which fit the terminal if there is one."""
    width = sys.maxsize
    if os.isatty(_STANDARD_OUTPUT):
        columns = shutil.get_terminal_size().columns
        width = max(_LEAST_COLUMNS, min(columns, _MOST_COLUMNS))
    told = [(label, hide(text)) for label, text in rows(seen)]
    lines = [
        *cells.wrapped(plain(seen.video_id), width),
        *cells.labelled(told, LABEL_CELLS, width),
    ]
    print("\n".join(["", *lines][is_first:]), flush=True)
