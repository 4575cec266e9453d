"""The command `cache`: what the disk cache holds, and making it less.

Decides how it is told to people and to programs. Leaves the files to `cache.stock`, which
works beside running mounts, and what is known of links to `facts.store`.
"""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from ..cache import stock
from ..cache.stock import Checked, Stocked
from ..errors import UsageError, plain, printable
from ..facts.store import expiries
from ..given import Given
from ..settings import CacheConfig
from ..units import parse_size, rounded_size
from . import disk
from .tables import count, minute, table

_Expiries = Mapping[tuple[str, str], float]


def run(arguments: argparse.Namespace, environ: Mapping[str, str]) -> int:
    """Do what `hingfs cache` was asked for; the exit status."""
    if arguments.json and arguments.job != "list":
        raise UsageError("--json is for `hingfs cache` alone")
    config = Given(vars(arguments), environ).part(CacheConfig)
    directory = disk.cache_directory(config, environ)
    return _JOBS[arguments.job](directory, arguments)


def _list(directory: Path, arguments: argparse.Namespace) -> int:
    with disk.in_words():
        videos = stock.videos(directory)
        known = expiries(directory)
    if arguments.json:
        print(json.dumps([_as_json(video, known) for video in videos], indent=2))
        return 0
    if videos:
        rows = [_row(video, known) for video in videos]
        print(table([_HEAD, *rows], _SIDES))
    print(_total(videos, directory))
    return 0


def _verify(directory: Path, _arguments: argparse.Namespace) -> int:
    """Say which videos had bad blocks, as they are found; status 1 if there were any."""
    videos = good = bad = 0
    for checked in _in_words(stock.verify(directory)):
        videos += 1
        good += checked.good_blocks
        bad += checked.bad_blocks
        if checked.bad_blocks:
            name = printable(checked.version.video_id)
            print(f"{name}: {count(checked.bad_blocks, 'bad block')}", flush=True)
    print(f"{count(videos, 'video')}: {count(good, 'block')} as written, {bad:,} bad")
    if bad:
        print("what was bad is removed, and fetched again when it is read")
    return 1 if bad else 0


def _trim(directory: Path, arguments: argparse.Namespace) -> int:
    most_bytes = parse_size(arguments.size)
    return _make_less(directory, lambda: stock.trim(directory, most_bytes))


def _clear(directory: Path, _arguments: argparse.Namespace) -> int:
    return _make_less(directory, lambda: stock.clear(directory))


def _make_less(directory: Path, evict: Callable[[], int]) -> int:
    """Say how many bytes went by *evict*, and what is left."""
    with disk.in_words():
        gone = evict()
        left = stock.videos(directory)
    print(f"{rounded_size(gone)} removed; {_total(left, directory)}")
    return 0


_HEAD = ("VIDEO", "SIZE", "HERE", "KEPT", "LAST USED", "EXPIRES", "API")
_SIDES = "<>><<<<"


def _row(video: Stocked, known: _Expiries) -> tuple[str, ...]:
    size = video.version.size_bytes
    return (
        printable(video.version.video_id),
        rounded_size(size),
        "all" if video.here_bytes == size else rounded_size(video.here_bytes),
        "yes" if video.kept else "no",
        minute(video.used_at),
        minute(_expiry(video, known)),
        printable(video.version.endpoint),
    )


def _as_json(video: Stocked, known: _Expiries) -> dict[str, object]:
    return {
        "video": video.version.video_id,
        "api": video.version.endpoint,
        "size_bytes": video.version.size_bytes,
        "here_bytes": video.here_bytes,
        "disk_bytes": video.taken_bytes,
        "kept": video.kept,
        "created_at": video.created_at,
        "used_at": video.used_at,
        "expires_at": _expiry(video, known),
    }


def _expiry(video: Stocked, known: _Expiries) -> float | None:
    return known.get((video.version.endpoint, video.version.video_id))


def _total(videos: Sequence[Stocked], directory: Path) -> str:
    """What is there, in one line."""
    if not videos:
        return f"the disk cache in {plain(str(directory))} is empty"
    taken = sum(video.taken_bytes for video in videos)
    return (
        f"{count(len(videos), 'video')}, {rounded_size(taken)} on disk in "
        f"{plain(str(directory))}"
    )


def _in_words(checks: Iterator[Checked]) -> Iterator[Checked]:
    """*checks*, with trouble of the disk in words."""
    while True:
        with disk.in_words():
            checked = next(checks, None)
        if checked is None:
            return
        yield checked


_JOBS: dict[str, Callable[[Path, argparse.Namespace], int]] = {
    "list": _list,
    "verify": _verify,
    "trim": _trim,
    "clear": _clear,
}
