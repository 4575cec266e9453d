"""What a disk cache has done, in plain counters.

Threads: any thread may add. Two that add at once may count as one, which costs a figure
and no byte.
"""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Since the cache was made."""

    read_bytes: int = 0
    written_bytes: int = 0
    refused_bytes: int = 0  # that found no room on disk
    bad_blocks: int = 0
    evicted_videos: int = 0
