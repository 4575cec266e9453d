"""Which videos the words of a command mean: ids, and paths in a mount.

A path gives the name of a video, and the API that is mounted there. Decides by the
kernel's table of mounts, since a look at the path itself would be a request. Only mounts
of this user count: the token goes to no place that another user has chosen. And which
directory shows the videos of an API.
"""

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..errors import UsageError, command_word, plain, printable
from ..library.names import VIDEO_SUFFIX, full_name_of
from ..mount import mount_table
from ..mount.filesystem import WAITING
from ..units import parse_path


@dataclass(frozen=True, slots=True)
class Named:
    """A video as it was named; *base_url* is that of the mount, if it was a path."""

    said: str
    name: str  # of its file
    base_url: str | None


def named(words: Sequence[str], files: Sequence[str]) -> list[Named]:
    """The videos of *words* and of the lines of *files*, each once; "-" is standard input.

    Raises UsageError for a file that cannot be read, a path in no mount, and an empty
    word.
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


def mount_at(directory: str) -> Named:
    """This user's mount at *directory*, as a path in it names its API.

    Raises UsageError if there is none.
    """
    base_url = _base_url_at(directory)
    if base_url is None:
        where = printable(directory)
        raise UsageError(
            f"{where} is no hingfs mount of yours; run: hingfs mount "
            f"{command_word(directory)}"
        )
    return Named(directory, "", base_url)


def directory_of(base_url: str) -> str | None:
    """Where this user has mounted the API at *base_url*; the last of several places."""
    source = mount_table.source_of(base_url)
    topmost = {entry.directory: entry for entry in mount_table.entries()}
    found = [
        directory
        for directory, entry in topmost.items()
        if _is_own(entry) and entry.source == source
    ]
    return found[-1] if found else None


def mounted_base_urls() -> list[str]:
    """The base URLs of all of this user's mounts."""
    own = filter(_is_own, mount_table.entries())
    return list(dict.fromkeys(mount_table.base_url_of(entry) for entry in own))


def _is_own(entry: mount_table.MountEntry) -> bool:
    return mount_table.is_ours(entry) and entry.user_id == os.geteuid()


def _named(word: str, base_url_at: Callable[[str], str | None]) -> Named:
    if not word:
        raise UsageError('a VIDEO is empty, as "$ID" is if ID is not set; give its id')
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
    if f"/{where.name}" == WAITING:  # where videos have the same names
        where = where.parent
    entry = mount_table.entry_at(where)
    if entry is None or not _is_own(entry):
        return None
    return mount_table.base_url_of(entry)


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
