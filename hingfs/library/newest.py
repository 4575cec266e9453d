"""The newest videos that can be read, from as few pages of the list as show them.

Decides which of two videos is newer, and how far the list is read. Leaves to `metadata`
which videos can be read, and to `pages` how the list is paged.

Threads: none of its own.
"""

from ..api.metadata import VideoMetadata
from .ground import is_newest_first
from .names import has_name


def newest(metadata: VideoMetadata, most: int) -> list[str] | None:
    """The ids of the *most* newest videos that a directory shows, the newest first.

    They are in the order of their times as files, as `ls -t` has them, and in the
    server's order where it tells none. A list that its times prove to be sorted newest
    first is read until enough videos have come, any other one whole: a video behind the
    last page read was ordered before all others, whenever it was completed. None if the
    API has no list, or refuses it to this token. Raises as `Reading.read_page` does.
    """
    reading = metadata.pages.reading(has_name)
    ready: list[str] = []
    while not reading.ended:
        reading.read_page()
        rows = {video.video_id: video.status for video in reading.videos}
        times = {one: status.mtime_seconds for one, status in rows.items()}
        ready = [one for one in rows if metadata.can_be_read(rows[one])]
        if len(ready) >= most and (is_newest_first(rows) or not any(times.values())):
            break
    if not reading.pages:
        return None
    return sorted(ready, key=lambda one: -(times[one] or 0.0))[:most]
