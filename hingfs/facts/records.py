"""The records that are kept: plain values, as the columns of the file hold them.

Decides what is remembered of an endpoint, and for how long at most. Each record is good
for one account, an endpoint with a token. There is no place for a token or for a URL:
URLs may be signed. Refusals and "not ready" are never recorded.
"""

from typing import NamedTuple

DAY_SECONDS = 86_400.0
# A video that no server confirmed for so long is forgotten. Links live an hour to days,
# and clips that are kept for longer are asked for once. A guess.
VIDEO_SECONDS = 30 * DAY_SECONDS
# A listing that is older saves nothing: whoever lists has waited for longer. A guess.
LISTING_SECONDS = 30 * DAY_SECONDS
# Details that wait to be written; of 4 KiB each at most.
MOST_WAITING_DETAILS = 2_000
# As many as `library.known` remembers in memory, with ids of 40 characters.
MOST_VIDEOS = 16_000


class Lesson(NamedTuple):
    """Something learnt about the server: *value* of *subject*, until then."""

    subject: str
    value: str
    until: float  # Unix seconds


class VideoFacts(NamedTuple):
    """A video as the server showed it when it last confirmed it."""

    video_id: str
    size_bytes: int
    etag: str | None  # a strong one
    last_modified: str | None
    ranges: int | None  # 1: a range came; 0: one was ignored
    odd_type: str | None
    odd_coding: str | None
    mtime_ns: int
    expires_at: float | None  # Unix seconds
    confirmed_at: float  # Unix seconds
    completed_at: float | None = None  # Unix seconds, if the server told


class DetailFacts(NamedTuple):
    """What was told of a version of a video: *told* is a text of its owner's.

    The size and the time tell the version, as long as another one that the server shows
    is noted when it comes.
    """

    video_id: str
    size_bytes: int
    mtime_ns: int
    told: str


class ListedRow(NamedTuple):
    """A row of the last listing; times in Unix seconds."""

    video_id: str
    state: str
    word: str
    completed_at: float | None
    created_at: float | None
    expires_at: float | None


class Recalled(NamedTuple):
    """All that a file held of one account."""

    lessons: list[Lesson]
    videos: list[VideoFacts]
    listing: list[ListedRow]
    listed_at: float | None  # Unix seconds; None if no listing is remembered


NOTHING = Recalled([], [], [], None)
