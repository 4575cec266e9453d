"""What is kept, as people name and see it: ids, paths in a mount, and versions.

An id stands for all its versions, `ID@HEX` for the one whose SHA-256 begins so. Decides
which of them a word means. No server is asked.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..cache import kept_files, stock
from ..cache.files import found_pair
from ..cache.kept_files import Kept
from ..cache.layout import NoHeader
from ..errors import UsageError, VideoNotFound, printable
from ..library.names import VIDEO_SUFFIX, full_name_of, name_of
from . import disk
from .videos import Named

HEX_DIGITS = 8  # of the SHA-256, as a version is shown
_PICK = re.compile(r"(?P<word>.+)@(?P<digits>[0-9a-f]{4,64})", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Pick:
    """What a word means: the versions *found*, newest first."""

    said: str
    found: tuple[Kept, ...]


def everything(directory: Path) -> list[Kept]:
    """All that is kept in *directory*, or on its way to it, the newest first."""
    with disk.in_words():
        found = kept_files.videos(directory)
    return sorted(found, key=lambda kept: -kept.mark.begun_at)


def best(found: Sequence[Kept], base_url: str) -> dict[str, Kept]:
    """The version of each video at *base_url* by its names: whole ones first, then new."""
    return {
        name: one
        for one in sorted(found, key=lambda one: (one.is_sealed, one.mark.begun_at))
        if one.version.endpoint == base_url
        for name in (name_of(one.version.video_id), full_name_of(one.version.video_id))
    }


def here_bytes(kept: Kept) -> int:
    """How much of *kept* is here."""
    if kept.is_sealed:
        return kept.version.size_bytes
    try:
        with disk.in_words():
            return stock.here_bytes(found_pair(kept.stem))
    except NoHeader:
        return 0


def version_text(kept: Kept) -> str:
    """The short version by which a person picks *kept*; "-" until it is kept whole."""
    return kept.mark.sha256.hex()[:HEX_DIGITS] if kept.mark.sha256 else "-"


def pick(named: Named, kept: Sequence[Kept], base_url: str) -> Pick:
    """The versions of *kept*, the newest first, that *named* means at *base_url*.

    Raises VideoNotFound if there are none.
    """
    found = _named(named.name, kept)
    if not found:
        name, digits = _split(named.name.removesuffix(VIDEO_SUFFIX))
        found = [
            one
            for one in _named(name.removesuffix(VIDEO_SUFFIX) + VIDEO_SUFFIX, kept)
            if digits and one.mark.sha256 and one.mark.sha256.hex().startswith(digits)
        ]
    here = tuple(one for one in found if one.version.endpoint == base_url)
    if here:
        return Pick(named.said, here)
    said = printable(named.said)
    if found:
        others = printable(found[0].version.endpoint)
        raise UsageError(f"{said} is kept of {others}; give --base-url {others}")
    raise VideoNotFound(f"{said}: it is not kept; `hingfs keep --list` shows what is")


def _named(name: str, kept: Sequence[Kept]) -> list[Kept]:
    return [
        one
        for one in kept
        if name in {name_of(one.version.video_id), full_name_of(one.version.video_id)}
    ]


def _split(word: str) -> tuple[str, str]:
    found = _PICK.fullmatch(word)
    return (found["word"], found["digits"]) if found else (word, "")
