"""The command `drop`: lets go of what is kept, if it can be had again.

Decides that a video goes only if its server has that version at this moment, if it was
never kept whole, or by force. Leaves to `kept` which versions a word means, and to
`library.copies` whether two versions are one.
"""

import argparse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from .. import log
from ..cache.kept import KeptStore
from ..cache.kept_files import Kept
from ..content import Content
from ..engine import Engine
from ..errors import Closing, HingError, VideoNotFound, printable
from ..given import Given
from ..library.copies import is_of
from ..library.names import full_name_of
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import rounded_size
from ..workers import DaemonPool
from . import batch, disk, kept
from .console import complain
from .given import tell_misspelt

# What is kept stays, since the server does not confirm that it has it.
_UNCONFIRMED = 14
_NOT_KEPT = 11
_FAILED = 1
# So many are asked for at once, as many as connections by default have time for. A guess.
_AT_ONCE = 8


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Drop what `hingfs drop` was given; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    wanted = batch.wanted(arguments, "drop")
    known = batch.known_api(given, wanted)
    base_url = given.part(EndpointConfig, **known).base_url
    cache = given.part(CacheConfig)
    directory = disk.keep_directory(cache, environ)
    everything = kept.everything(directory)
    picks, statuses = [], set[int]()
    for one in wanted:
        try:
            picks.append(kept.pick(one, everything, base_url))
        except VideoNotFound as error:
            complain(str(error))
            statuses.add(_NOT_KEPT)
    store = KeptStore(directory, cache.keep_bytes, 0)
    asks = not arguments.force and any(
        one.is_sealed for pick in picks for one in pick.found
    )
    if asks:
        statuses |= _drop_confirmed(picks, store, given, known)
    else:
        statuses |= _drop_all(picks, store, lambda _: None)
    return next(
        (one for one in (_FAILED, _UNCONFIRMED, _NOT_KEPT) if one in statuses), 0
    )


def _drop_confirmed(
    picks: Sequence[kept.Pick], store: KeptStore, given: Given, known: Mapping[str, str]
) -> set[int]:
    """Drop what the server has; the statuses."""
    endpoint = given.endpoint(**known)
    endpoint.token.read()
    log_config = given.part(LogConfig)
    log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
    # It has neither facts nor copies, so that the server alone can tell it anything.
    engine = Engine(endpoint, replace(given.part(CacheConfig), disk_cache_bytes=0))

    def doubt(one: Kept) -> str | None:
        try:
            file = engine.catalog.find_to_open(full_name_of(one.version.video_id))
        except HingError as error:
            return endpoint.token.hide(str(error))
        if is_of(file, one):
            return None
        if _is_another(file.content, one):
            return "it has another version now"
        return "it does not tell which version it has"

    with batch.ending(engine, lambda: None):
        return _drop_all(picks, store, doubt)


def _is_another(content: Content, one: Kept) -> bool:
    """Whether the *content* that the server has is certainly not *one*."""
    times = (content.completed_at, one.header.completed_at)
    return (
        content.size_bytes != one.version.size_bytes
        or content.contradicted_by(one.version.validator)
        or (None not in times and times[0] != times[1])
    )


def _drop_all(
    picks: Sequence[kept.Pick], store: KeptStore, doubt: Callable[[Kept], str | None]
) -> set[int]:
    """Drop what *picks* found, where there is no *doubt*; the statuses.

    Some at a time, and what becomes of each is told in their order.
    """
    pool = DaemonPool("hingfs-drop", _AT_ONCE)
    try:
        futures = [
            pool.submit(_drop, one, _called(pick, one), store, doubt)
            for pick in picks
            for one in pick.found
        ]
        statuses = set()
        for future in futures:
            status, told = future.result()
            if status:
                complain(told)
            else:
                print(told, flush=True)
            statuses.add(status)
    finally:
        pool.close(Closing("the command is ending"))
    return statuses


def _called(pick: kept.Pick, one: Kept) -> str:
    """What *one* of *pick* is called, so that its versions are told apart."""
    said = printable(pick.said)
    if len(pick.found) > 1 and one.is_sealed:
        return f"{said}@{kept.version_text(one)}"
    return said


def _drop(
    one: Kept, said: str, store: KeptStore, doubt: Callable[[Kept], str | None]
) -> tuple[int, str]:
    """Drop *one* if there is no *doubt*; a status, and what to tell."""
    reason = doubt(one) if one.is_sealed else None
    if reason is not None:
        return _UNCONFIRMED, (
            f"{said}: it stays, since the server does not confirm that it has "
            f"it: {reason}; give --force to drop what may be the last copy"
        )
    try:
        store.drop(one)
    except OSError as error:
        return _FAILED, f"{said}: it cannot be dropped: {error.strerror or error}"
    size = rounded_size(one.version.size_bytes)
    what = size if one.is_sealed else f"{size} that were to come"
    return 0, f"{said}: dropped, {what}"
