"""The file name of a video, and the video of a file name.

Decides how ids and names translate. Each id has a full name, from which the id can be
read again. If other file systems cannot hold the full name, a listing shows a short name
instead, made of the id alone: the beginning of the full name, "~", and a hash. An id
whose full name looks like a short one is listed under a short name as well, so that no
two videos share a name. Leaves to `catalog` which videos there are.

Threads: none of its own; any thread may call.
"""

import base64
import hashlib
import re
import threading
from collections.abc import Mapping

from ..blocks import MIB
from ..remembered import Remembered, bytes_of_texts

VIDEO_SUFFIX = ".mp4"
LONGEST_NAME_BYTES = 1020  # tried on Linux 6.18: longer names fail in the kernel
# Nearly every file system holds names of 255 bytes. Programs that copy need some of them
# for a temporary name: Syncthing 16 (.syncthing.NAME.tmp), rsync 8 (.NAME.XXXXXX; 3.5
# shortens NAME if that does not fit), aria2 and browsers up to 11.
LONGEST_LISTED_BYTES = 255 - 16
# A short name fits eCryptfs, and so the encrypted folders of many a NAS.
_SHORT_BYTES = 143
# 160 bits: a server that picks its ids cannot make two with one hash.
_HASH_BYTES = 20
# Thousands of short names that were listed or found.
_MOST_SHORT_NAME_BYTES = 1 * MIB
_SHORT_STEM = re.compile(r".+~[a-z2-7]{32}")

# Most ids. Nothing in them is to be escaped, shortened or refused, so the name is the id
# and the suffix: 2.5 us instead of 9.5 either way (2 cores, 2026-11-27).
_ORDINARY_STEM = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,199}")
_ESCAPED_SLASH = re.compile(r"%((?:25)*)2F")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name_of(video_id: str) -> str:
    """The file name of *video_id* in a listing: its full name, or a short one."""
    if _ORDINARY_STEM.fullmatch(video_id):
        return video_id + VIDEO_SUFFIX
    name = full_name_of(video_id)
    if len(name.encode()) <= LONGEST_LISTED_BYTES and not is_short(name):
        return name
    digest = hashlib.blake2b(video_id.encode(), digest_size=_HASH_BYTES).digest()
    end = f"~{base64.b32encode(digest).decode().lower()}{VIDEO_SUFFIX}"
    # A character that the cut goes through is left out.
    begin = name.encode()[: _SHORT_BYTES - len(end)].decode(errors="ignore")
    return begin + end


def full_name_of(video_id: str) -> str:
    """The name that holds all of *video_id*.

    "/" is written %2F, a literal %2F as %252F.
    """
    return (
        _ESCAPED_SLASH.sub(r"%25\g<1>2F", video_id).replace("/", "%2F") + VIDEO_SUFFIX
    )


def is_short(name: str) -> bool:
    """Whether *name* may be a short name, from which no id can be read."""
    if "~" not in name:
        return False
    stem = name.removesuffix(VIDEO_SUFFIX)
    return stem != name and _SHORT_STEM.fullmatch(stem) is not None


def video_id_of(name: str) -> str | None:
    """The id whose full name is *name*, or None if no video can have that."""
    stem = name.removesuffix(VIDEO_SUFFIX)
    if stem != name and _ORDINARY_STEM.fullmatch(stem):
        return stem
    if stem == name or not stem or stem.startswith(".") or _FORBIDDEN.search(stem):
        return None
    if len(name.encode()) > LONGEST_NAME_BYTES:
        return None
    video_id = _ESCAPED_SLASH.sub(
        lambda match: f"%{match[1][2:]}2F" if match[1] else "/", stem
    )
    if not {".", ".."}.isdisjoint(video_id.split("/")):
        return None  # a proxy might resolve the dots, and leave /v1/videos
    return video_id if full_name_of(video_id) == name else None


def has_name(video_id: str) -> bool:
    """Whether a file can stand for *video_id*."""
    return video_id_of(full_name_of(video_id)) == video_id


def may_be_a_video(name: str) -> bool:
    """Whether *name*, full or short, can stand for a video at all."""
    return video_id_of(name) is not None or is_short(name)


def inode_of(video_id: str) -> int:
    """A stable inode number: 63 bits of a hash of the id, never 0 or 1."""
    digest = hashlib.blake2b(video_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 | 2


class ShortNames:
    """The ids of short names that were listed or found. Thread safety: all methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        # name -> id; guarded by _lock
        self._ids: Remembered[str] = Remembered(_MOST_SHORT_NAME_BYTES, bytes_of_texts)

    def note(self, shortened: Mapping[str, str]) -> None:
        """Remember *shortened*, short name -> id."""
        with self._lock:
            for name, video_id in shortened.items():
                self._ids.put(name, video_id)

    def note_found(self, video_id: str) -> None:
        """The video *video_id* exists: remember its short name, if it has one."""
        if is_short(name := name_of(video_id)):
            self.note({name: video_id})

    def id_of(self, name: str) -> str | None:
        """The id whose short name is *name*, if it is known."""
        with self._lock:
            return self._ids.get(name)
