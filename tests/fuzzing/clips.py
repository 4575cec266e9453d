"""The bytes of the videos of a fuzzed server, as server and readers both know them.

The versions that a server has held are numbers in a file that all processes map; a
number is raised before its version is served, so that no reader sees bytes that it
knows nothing of.
"""

import mmap
import struct
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from tests.support import personalities
from tests.support.personalities import PERIOD, ramp

# Most videos have the same size, so that no size shows a swapped video.
EQUAL_BYTES = 2_097_169
FRESH = "fresh-"
# More bytes in a row than agree by chance.
_SHORTEST_RUN = 16
# Transfers end where a block does: the rest of a cut transfer may be a few bytes.
_BLOCK_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Clip:
    """One video: how it is served, and how it changes.

    *manner* is a word of `server.Mixed`; *changes* is "", "bytes" or "size".
    """

    video_id: str
    manner: str = "ranges"
    changes: str = ""
    size_bytes: int = EQUAL_BYTES

    def size_at(self, version: int) -> int:
        """How long *version* is."""
        if self.changes != "size":
            return self.size_bytes
        return self.size_bytes + (version * 3 % 7 - 3) * 131_071

    def bytes_at(self, version: int, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of *version*, clipped to its size."""
        return ramp(self.video_id, start, min(stop, self.size_at(version)), version)

    @property
    def has_validators(self) -> bool:
        return "bare" not in self.manner

    @property
    def mixes(self) -> bool:
        """Whether nothing tells its versions apart: size and validators are equal."""
        return self.changes == "bytes" and not self.has_validators


CLIPS = (
    *(Clip(f"equal-{n}") for n in range(8)),
    *(Clip(f"bare-{n}", "bare") for n in range(3)),
    Clip("headless", "headless"),
    Clip("headless-bare", "headless bare"),
    Clip("moved-1", "moved"),
    Clip("moved-2", "moved"),
    Clip("named", "named"),
    Clip("whole", "whole"),
    Clip("whole-bare", "whole bare"),
    Clip("unsized", "unsized"),
    Clip("unsized-bare", "unsized bare"),
    Clip("renewed-1", changes="bytes"),
    Clip("renewed-2", changes="bytes"),
    Clip("renewed-bare", "bare", changes="bytes"),
    Clip("renewed-moved", "moved", changes="bytes"),
    Clip("renewed-whole", "whole", changes="bytes"),
    Clip("resized", changes="size"),
    Clip("resized-bare", "bare", changes="size"),
    Clip("resized-unsized", "unsized", changes="size"),
)
NUMBER_OF = {clip.video_id: number for number, clip in enumerate(CLIPS)}


def clip_of(video_id: str) -> Clip | None:
    """The clip of that id; fresh ones are made when they are asked for."""
    if video_id in NUMBER_OF:
        return CLIPS[NUMBER_OF[video_id]]
    return Clip(video_id) if video_id.startswith(FRESH) else None


class Versions:
    """The newest version of each clip, for all processes that map the same file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), len(CLIPS) * 8)

    @classmethod
    def new(cls) -> Self:
        """All at 0, in a file that `remove` deletes."""
        with tempfile.NamedTemporaryFile(prefix="fuzz-versions-", delete=False) as file:
            file.write(bytes(len(CLIPS) * 8))
        return cls(Path(file.name))

    def remove(self) -> None:
        self._map.close()
        self.path.unlink()

    def newest(self, clip: Clip) -> int:
        """The number of the newest version that may have been served."""
        number = NUMBER_OF.get(clip.video_id)
        if number is None:
            return 0
        return int(struct.unpack_from("q", self._map, number * 8)[0])

    def raise_to(self, clip: Clip, version: int) -> None:
        struct.pack_into("q", self._map, NUMBER_OF[clip.video_id] * 8, version)


def is_mixture(clip: Clip, newest: int, start: int, data: bytes) -> bool:
    """Whether *data* at *start* is made of versions of *clip*, run after run."""
    held = [
        clip.bytes_at(version, start, start + len(data))
        for version in range(newest, -1, -1)
    ]
    at = 0
    while at < len(data):
        run = max(_agreeing(data, version, at) for version in held)
        to_block_end = _BLOCK_BYTES - (start + at) % _BLOCK_BYTES
        if run < min(_SHORTEST_RUN, to_block_end, len(data) - at):
            return False
        at += run
    return True


def _agreeing(data: bytes, other: bytes, at: int) -> int:
    """How many bytes from *at* on are equal in both."""
    low, high = 0, min(len(data), len(other)) - at
    while low < high:
        middle = (low + high + 1) // 2
        if data[at : at + middle] == other[at : at + middle]:
            low = middle
        else:
            high = middle - 1
    return max(low, 0)


def origin_of(data: bytes, offset: int, versions: Versions) -> str:
    """Where *data*, read at *offset*, comes from, in words: for a report."""
    pattern = bytes(personalities._PATTERN)
    found = pattern.find(data[:64])
    if found < 0:
        return f"no video's bytes: {data[:64]!r}"
    for clip in CLIPS:
        for version in range(versions.newest(clip) + 1):
            phase = personalities._phase(clip.video_id, version)
            at = (found - phase) % PERIOD
            if (at - offset) % PERIOD == 0:
                return f"bytes of {clip.video_id} version {version}, same offset"
            if at < 64:
                return f"bytes of {clip.video_id} version {version} from {at} on"
    return "bytes of a video from another offset"


def first_difference(data: bytes, expected: bytes) -> int:
    """The index of the first byte that is wrong."""
    return _agreeing(data, expected, 0)
