"""The command `keep`: has videos stay, and shows, checks or writes out what stays.

Decides what is said of each. Leaves to `batch` which videos are meant, to `kept` which
versions a word picks, and to the package `keep` how videos are kept and written out.
"""

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from .. import log
from ..api.judgement.video_status import Status
from ..cache.kept_files import KeepFull, Kept, NotWhole, demand_room
from ..cache.layout import FOLDER
from ..cache.stock import Stocked
from ..engine import Engine
from ..errors import HingError, UsageError, VideoNotFound, plain, printable
from ..given import Given
from ..keep import export
from ..keep.named import NamedKeeper, ToKeep, not_kept
from ..library.names import full_name_of
from ..settings import CacheConfig, EndpointConfig, LogConfig
from ..units import rounded_size
from ..wanted import Wanted
from . import batch, disk, kept
from .console import complain
from .given import tell_misspelt
from .here import stocked
from .tables import count, minute, table
from .videos import Named, named

_STANDARD_OUTPUT = "-"


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do what `hingfs keep` was asked for; the exit status."""
    given = Given(vars(arguments), environ)
    tell_misspelt(given)
    _demand_sense(arguments)
    cache = given.part(CacheConfig)
    directory = disk.keep_directory(cache, environ)
    if arguments.list:
        return _list(directory, cache, arguments)
    if arguments.export:
        return _export(directory, given, arguments)
    if arguments.check:
        return _check(directory, _cached(cache, environ), given, arguments)
    jobs = batch.jobs(arguments)
    wanted = [] if arguments.all else batch.wanted(arguments, "keep")
    endpoint = given.endpoint(**batch.known_api(given, wanted))
    cache = replace(cache, kept_videos=directory, kept_directory=_facts(cache, environ))
    try:
        endpoint.token.read()
        log_config = given.part(LogConfig)
        log.begin(log_config.level, endpoint.token.hide, file=log_config.file)
        return _keep(wanted, endpoint, cache, jobs, arguments)
    except HingError as error:  # it may quote the server
        error.args = (endpoint.token.hide(str(error)),)
        raise


def _demand_sense(arguments: argparse.Namespace) -> None:
    """Raise UsageError for options and videos that do not go together."""
    videos = bool(arguments.videos or arguments.file)
    alone = [
        flag
        for flag, is_given in (
            ("--list", arguments.list),
            ("--export", arguments.export),
            ("--all", arguments.all),
        )
        if is_given
    ]
    if len(alone) > 1 or (alone and arguments.check):
        raise UsageError(f"give {alone[0]} alone: each asks for another thing")
    if alone and videos:
        raise UsageError(f"{alone[0]} takes no more videos")
    if arguments.overwrite and not arguments.export:
        raise UsageError("--overwrite is for --export")


def _facts(cache: CacheConfig, environ: Mapping[str, str]) -> Path | None:
    """Where the facts and the disk cache lie, if that can be used."""
    try:
        return disk.cache_directory(cache, environ)
    except HingError as error:
        complain(f"warning: nothing is remembered for the next time: {error}")
        return None


# -- keeping ---------------------------------------------------------------------------


def _keep(
    wanted: Sequence[Named],
    endpoint: EndpointConfig,
    cache: CacheConfig,
    at_once: int,
    arguments: argparse.Namespace,
) -> int:
    engine = Engine(endpoint, cache)
    keeper = NamedKeeper(engine, at_once)
    with batch.ending(engine, keeper.close):
        nothing = ""
        if arguments.all:
            rows = engine.catalog.rows_to_keep()
            nothing = (
                "all that is listed is kept"
                if rows
                else "no video that can be read is listed"
            )
            videos = _not_kept(rows, engine, endpoint.base_url)
        else:
            videos = [ToKeep(one.said, one.name) for one in wanted]
        tell = _tell_as_json if arguments.json else _tell
        batch.follow(
            engine, videos, keeper.keep(videos), lambda video: tell(video, endpoint)
        )
    if not arguments.json:
        print(batch.total(videos, "kept") if videos else nothing)
    return batch.status_of(
        video.error for video in videos if not (arguments.all and _is_past(video))
    )


def _is_past(video: ToKeep) -> bool:
    """Whether the link of *video* has expired, and it is gone: a list may show it on."""
    expired = video.expires_at is not None and video.expires_at <= time.time()
    return expired and isinstance(video.error, VideoNotFound)


def _not_kept(
    listed: Mapping[str, Status], engine: Engine, base_url: str
) -> list[ToKeep]:
    """Those *listed* that are not kept yet."""
    assert engine.kept is not None, "there is a place for what is kept"
    here = [one for one in engine.kept.videos() if one.version.endpoint == base_url]
    rows = not_kept(listed, here)
    return [
        ToKeep(video_id, full_name_of(video_id), expires_at=row.expires_at_seconds)
        for video_id, row in rows.items()
    ]


def _tell(video: Wanted, endpoint: EndpointConfig) -> None:
    """Say how *video* ended."""
    assert isinstance(video, ToKeep), "`_keep` makes no other"
    if video.error is not None:
        batch.tell_error(video.said, video.error, endpoint)
        return
    size, fetched = rounded_size(video.size_bytes), rounded_size(video.fetched_bytes)
    news = f"kept, {fetched} fetched" if video.fetched_bytes else "is kept"
    doubt = "" if video.is_confirmed else "; the server does not confirm it now"
    print(f"{printable(video.said)}: {size}, {news}{doubt}", flush=True)


def _tell_as_json(video: Wanted, endpoint: EndpointConfig) -> None:
    assert isinstance(video, ToKeep), "`_keep` makes no other"
    sha256 = video.sha256.hex() if video.sha256 else None
    confirmed = video.is_confirmed and video.error is None
    batch.tell_as_json(video, "kept", endpoint, sha256=sha256, confirmed=confirmed)


# -- checking --------------------------------------------------------------------------


def _cached(cache: CacheConfig, environ: Mapping[str, str]) -> Path | None:
    """Where the disk cache lies, if `keep` would take over what it has."""
    if cache.disk_cache_bytes:
        with contextlib.suppress(HingError):
            return disk.cache_directory(cache, environ)
    return None


def _check(
    directory: Path, cache: Path | None, given: Given, arguments: argparse.Namespace
) -> int:
    """Say how much of each need not be fetched; asks no server."""
    wanted = batch.wanted(arguments, "keep")
    known = batch.known_api(given, wanted)
    base_url = given.part(EndpointConfig, **known).base_url
    here = kept.best(kept.everything(directory), base_url)
    cached = stocked(cache, base_url) if cache is not None else {}
    all_kept = True
    for one in wanted:
        found = here.get(one.name)
        is_kept = found is not None and found.is_sealed
        all_kept &= is_kept
        video = _as_far_as_here(one, found, cached.get(one.name))
        if arguments.json:
            part = "part" if video.here_bytes else "absent"
            batch.print_json(video, "kept" if is_kept else part)
        else:
            how_much = _how_much(video.here_bytes, video.size_bytes)
            if is_kept:
                how_much = f"all of {rounded_size(video.size_bytes)} kept"
            print(f"{printable(one.said)}: {how_much}")
    return 0 if all_kept else batch.NOT_YET


def _as_far_as_here(one: Named, found: Kept | None, cached: Stocked | None) -> Wanted:
    """*one* with what was *found* among what is kept, or more of it that is *cached*."""
    video = Wanted(one.said, one.name)
    if found is not None:
        video.size_bytes = found.version.size_bytes
        video.here_bytes = kept.here_bytes(found)
    is_kept = found is not None and found.is_sealed
    if cached is not None and not is_kept and cached.here_bytes > video.here_bytes:
        video.size_bytes = cached.version.size_bytes
        video.here_bytes = cached.here_bytes
    return video


def _how_much(here_bytes: int, size_bytes: int) -> str:
    """How much is here of a video that is not kept; its size is negative if untold."""
    if size_bytes < 0:
        return "not kept"
    size = rounded_size(size_bytes)
    here = "all" if here_bytes == size_bytes else rounded_size(here_bytes)
    return f"{here} of {size} here, not kept yet"


# -- showing ---------------------------------------------------------------------------

_HEAD = ("VIDEO", "SIZE", "HERE", "WHOLE", "VERSION", "KEPT SINCE", "EXPIRES", "API")
_SIDES = "<>><<<<<"


def _list(directory: Path, cache: CacheConfig, arguments: argparse.Namespace) -> int:
    found = kept.everything(directory)
    if arguments.json:
        print(json.dumps([_as_json(one) for one in found], indent=2))
        return 0
    if found:
        several = len({one.version.endpoint for one in found}) > 1
        columns = len(_HEAD) if several else len(_HEAD) - 1
        rows = [_HEAD, *(_row(one) for one in found)]
        print(table([row[:columns] for row in rows], _SIDES[:columns]))
    print(_total(found, directory, cache.keep_bytes))
    if found:
        _tell_bound(max(one.version.size_bytes for one in found), directory, cache)
    return 0


def _row(one: Kept) -> tuple[str, ...]:
    return (
        printable(one.version.video_id),
        rounded_size(one.version.size_bytes),
        "all" if one.is_sealed else rounded_size(kept.here_bytes(one)),
        "yes" if one.is_sealed else "no",
        kept.version_text(one),
        minute(one.mark.begun_at),
        minute(one.mark.expires_at),
        printable(one.version.endpoint),
    )


def _as_json(one: Kept) -> dict[str, object]:
    return {
        "video": one.version.video_id,
        "api": one.version.endpoint,
        "size_bytes": one.version.size_bytes,
        "here_bytes": kept.here_bytes(one),
        "whole": one.is_sealed,
        "sha256": one.mark.sha256.hex() if one.mark.sha256 else None,
        "kept_since": one.mark.begun_at,
        "expires_at": one.mark.expires_at,
    }


def _total(found: Sequence[Kept], directory: Path, limit_bytes: int) -> str:
    """What is there and what is still to come, and the bound of both."""
    where = plain(str(directory))
    if not found:
        return f"nothing is kept in {where}"
    here = sum(map(kept.here_bytes, found))
    promised = sum(one.version.size_bytes for one in found)
    coming = "" if here == promised else f", {rounded_size(promised)} once all is whole"
    left = max(0, limit_bytes - promised)
    return (
        f"{count(len(found), 'video')}, {rounded_size(here)}{coming}, in {where}; "
        f"{rounded_size(left)} of --keep-size {rounded_size(limit_bytes)} left"
    )


def _tell_bound(size_bytes: int, directory: Path, cache: CacheConfig) -> None:
    """Say so if no other video of *size_bytes* can be kept."""
    try:
        with disk.in_words():
            demand_room(directory / FOLDER, size_bytes, cache.keep_bytes)
    except KeepFull as full:
        print(f"no other one as large as the largest can be kept: {full}")


# -- writing out -----------------------------------------------------------------------


def _export(directory: Path, given: Given, arguments: argparse.Namespace) -> int:
    word, file = arguments.export
    (one,) = named([word], [])
    known = batch.known_api(given, [one])
    base_url = given.part(EndpointConfig, **known).base_url
    try:
        picked = kept.pick(one, kept.everything(directory), base_url)
        chosen = _newest_whole(picked)
    except VideoNotFound as error:
        complain(str(error))
        return 11
    said = printable(one.said)
    _tell_others(picked, chosen)
    try:
        if file == _STANDARD_OUTPUT:
            export.check(chosen)  # nothing is written of one that has lost blocks
            export.copy(chosen, _to_standard_output)
            return 0
        export.export(chosen, Path(file), replaces=arguments.overwrite)
    except NotWhole as error:
        raise HingError(f"{said}: it cannot be written out: {error}") from error
    except BrokenPipeError:  # `main` says nothing of it
        raise
    except OSError as error:
        raise HingError(f"{plain(file)}: {error.strerror or error}") from error
    size = rounded_size(chosen.version.size_bytes)
    assert chosen.mark.sha256 is not None, "it is whole"
    print(f"{said}: {size} in {plain(file)}, SHA-256 {chosen.mark.sha256.hex()}")
    return 0


def _newest_whole(picked: kept.Pick) -> Kept:
    for one in picked.found:
        if one.is_sealed:
            return one
    newest, said = picked.found[0], printable(picked.said)
    how_much = _how_much(kept.here_bytes(newest), newest.version.size_bytes)
    raise VideoNotFound(f"{said}: {how_much}; run: hingfs keep {said}")


def _tell_others(picked: kept.Pick, chosen: Kept) -> None:
    """Say that there are other versions than the one *chosen*."""
    others = [
        kept.version_text(one)
        for one in picked.found
        if one.is_sealed and one is not chosen
    ]
    if others:
        said = printable(picked.said)
        complain(
            f"{said}: the newest version, {kept.version_text(chosen)}, is written; "
            f"{said}@HEX picks another, of {', '.join(others)}"
        )


def _to_standard_output(part: memoryview) -> None:
    sys.stdout.buffer.write(part)
    sys.stdout.buffer.flush()
