"""Which videos the words of a command mean: ids, and paths in a mount.

A path gives the name of a video, and the API that is mounted there. Decides by the
kernel's table of mounts, since a look at the path itself would be a request. Only mounts
of this user count: the token goes to no place that another user has chosen.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import UsageError, plain, printable
from ..library.names import VIDEO_SUFFIX, full_name_of
from ..mount import mount_table
from ..units import parse_path


@dataclass(frozen=True, slots=True)
class Named:
    """A video as it was named; *base_url* is that of the mount, if it was a path."""

    said: str
    name: str  # of its file
    base_url: str | None


def named(words: Sequence[str], files: Sequence[str]) -> list[Named]:
    """The videos of *words* and of the lines of *files*, each once; "-" is standard input.

    Raises UsageError for a file that cannot be read, and a path in no mount.
    """
    base_url_at = cache(_base_url_at)  # the table is read once for all ids
    found: dict[str, Named] = {}
    for word in _all_words(words, files):
        one = _named(word, base_url_at)
        found.setdefault(one.name, one)
    return list(found.values())


def mounted_base_url(videos: Sequence[Named]) -> str | None:
    """The base URL of the mounts that *videos* are in, None if they are in none."""
    mounted = {video.base_url: video.said for video in videos if video.base_url}
    if len(mounted) > 1:
        first, second, *_ = mounted.values()
        raise UsageError(
            f"{printable(first)} and {printable(second)} are in mounts of two APIs; use "
            "a command for each"
        )
    return next(iter(mounted), None)


def _named(word: str, base_url_at: Callable[[str], str | None]) -> Named:
    directory, name = os.path.split(word)
    base_url = base_url_at(directory)
    if base_url is not None and (directory or name.endswith(VIDEO_SUFFIX)):
        return Named(word, name, base_url)
    if word.startswith(("/", "./", "../")):
        raise UsageError(
            f"{printable(word)} is in no hingfs mount of yours; mount it, or give the id"
        )
    return Named(word, full_name_of(word), None)


def _base_url_at(directory: str) -> str | None:
    """The base URL of this user's mount at *directory*, None if there is none."""
    try:
        where = Path(os.path.realpath(directory or os.curdir))
    except OSError:  # the working directory is gone
        return None
    entry = mount_table.entry_at(where)
    if entry is None or not mount_table.is_ours(entry):
        return None
    return mount_table.base_url_of(entry) if entry.user_id == os.geteuid() else None


def _all_words(words: Sequence[str], files: Sequence[str]) -> Iterator[str]:
    for word in words:
        yield from _lines(word) if word == "-" else [word]
    for file in files:
        yield from _lines(file)


def _lines(file: str) -> Iterator[str]:
    """The lines of *file* that are not empty."""
    read = sys.stdin.buffer.read if file == "-" else parse_path(file).read_bytes
    try:
        text = read().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise UsageError(f"{plain(file)}: {error.strerror}") from None
    return filter(None, map(str.strip, text.splitlines()))
