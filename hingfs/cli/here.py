"""What the disk cache holds of the videos of one API, by the names of these."""

from pathlib import Path

from ..cache import stock
from ..library.names import full_name_of, name_of
from . import disk


def stocked(directory: Path, base_url: str) -> dict[str, stock.Stocked]:
    """What is here of the videos at *base_url*, by each name of theirs.

    Of two versions the one that was fetched last counts.
    """
    with disk.in_words():
        found = stock.videos(directory)
    return {
        name: video
        for video in sorted(found, key=lambda video: video.created_at)
        if video.version.endpoint == base_url and not video.private
        for name in {
            name_of(video.version.video_id),
            full_name_of(video.version.video_id),
        }
    }
