"""What a page of the API's list says. Pure."""

from dataclasses import dataclass

from . import bodies
from .statuses import UNSAID, Status, status_of


@dataclass(frozen=True, slots=True)
class ListPage:
    """One page of the API's list.

    *rows* counts all that it holds, *videos* are those of them that have an id, in
    the page's order; *last_id* is "" where none has. *has_more* None: not said.
    """

    rows: int
    videos: tuple[tuple[str, Status], ...]
    last_id: str
    has_more: bool | None


def judge_list(body: bytes, now_seconds: float) -> ListPage | None:
    """What a page of the API's list says; None if *body* is no such page."""
    page = bodies.json_object(body)
    data = page.get("data")
    if not isinstance(data, list):
        return None
    videos: list[tuple[str, Status]] = []
    last_id = ""
    for found in data:
        video_id = found.get("id") if isinstance(found, dict) else None
        if not isinstance(video_id, str) or not video_id:
            continue
        last_id, word = video_id, found.get("status")
        status = UNSAID
        if isinstance(word, str) and word.strip():
            status = status_of(found, word.strip().lower(), now_seconds)
        videos.append((video_id, status))
    has_more = page.get("has_more")
    if not isinstance(has_more, bool):
        has_more = None
    return ListPage(len(data), tuple(videos), last_id, has_more)
