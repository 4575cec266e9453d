"""The file name of a video, and the video of a file name.

Decides what a name may be, and the inode numbers. Leaves to `catalog` which videos
there are.
"""

import hashlib
import re

VIDEO_SUFFIX = ".mp4"
LONGEST_NAME_BYTES = 1020  # tried on Linux 6.18: longer names fail in the kernel

_ESCAPED_SLASH = re.compile(r"%((?:25)*)2F")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def name_of(video_id: str) -> str:
    """The file name of *video_id*; "/" is written %2F, a literal %2F as %252F."""
    return (
        _ESCAPED_SLASH.sub(r"%25\g<1>2F", video_id).replace("/", "%2F") + VIDEO_SUFFIX
    )


def video_id_of(name: str) -> str | None:
    """The id that *name* stands for, or None if no video can have that name."""
    stem = name.removesuffix(VIDEO_SUFFIX)
    if stem == name or not stem or stem.startswith(".") or _FORBIDDEN.search(stem):
        return None
    if len(name.encode()) > LONGEST_NAME_BYTES:
        return None
    video_id = _ESCAPED_SLASH.sub(
        lambda match: f"%{match[1][2:]}2F" if match[1] else "/", stem
    )
    if not {".", ".."}.isdisjoint(video_id.split("/")):
        return None  # a proxy might resolve them, and leave /v1/videos
    return video_id if name_of(video_id) == name else None


def has_name(video_id: str) -> bool:
    """Whether a file can stand for *video_id*."""
    return video_id_of(name_of(video_id)) == video_id


def inode_of(video_id: str) -> int:
    """A stable inode number: 63 bits of a hash of the id, never 0 or 1."""
    digest = hashlib.blake2b(video_id.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 | 2
