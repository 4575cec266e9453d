"""What the origin serves, as files: each work has videos and lists of its own.

A work's folder shows only the videos of this work, so that both kinds of mount list
the same names, and a list of 10,000 is nobody else's.
"""

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

# As OpenAI's list, whose `limit` is at most that.
PAGE_ENTRIES = 100

# The page that is asked for without `after`.
FIRST_PAGE = "first"


@dataclass(frozen=True, slots=True)
class Shown:
    """The ids of one work; its server has a list of them, or answers 404 for it."""

    videos: tuple[str, ...]
    listed: bool = True


def originals_in(site: Path, work: str) -> Path:
    """The folder with the files that are served to *work*."""
    return site / "content" / work


def original_in(site: Path, work: str, video_id: str) -> Path:
    """The file that is served as *video_id* to *work*."""
    return originals_in(site, work) / f"{video_id}.mp4"


def write_site(
    site: Path, videos: Mapping[str, Path], works: Mapping[str, Shown]
) -> None:
    """Write all that nginx serves below *site*; *videos* maps ids to files."""
    (site / "status").mkdir(parents=True)
    (site / "listings").mkdir()
    for video_id, path in videos.items():
        answer = json.dumps(_status(video_id, path))
        (site / "status" / f"{video_id}.json").write_text(answer)
    for work, shown in works.items():
        originals_in(site, work).mkdir(parents=True)
        for video_id in shown.videos:
            original_in(site, work, video_id).hardlink_to(videos[video_id])
        _write_html(site / "listings" / f"{work}.html", shown.videos)
        if shown.listed:
            rows = [_status(one, videos[one]) for one in shown.videos]
            _write_pages(site / "pages" / work, rows)


def _write_html(page: Path, ids: Sequence[str]) -> None:
    links = "\n".join(f'<a href="{one}.mp4">{one}.mp4</a>' for one in ids)
    page.write_text(f"<html><body>\n{links}\n</body></html>\n")


def _write_pages(folder: Path, rows: Sequence[Mapping[str, str | int]]) -> None:
    """One file per page, named after the last id of the page before."""
    folder.mkdir(parents=True)
    name, left = FIRST_PAGE, len(rows)
    for page in _pages(rows):
        left -= len(page)
        answer = {"object": "list", "data": page, "has_more": left > 0}
        (folder / f"{name}.json").write_text(json.dumps(answer))
        name = str(page[-1]["id"])


def _pages(
    rows: Sequence[Mapping[str, str | int]],
) -> Iterator[Sequence[Mapping[str, str | int]]]:
    for start in range(0, len(rows), PAGE_ENTRIES):
        yield rows[start : start + PAGE_ENTRIES]


def _status(video_id: str, path: Path) -> dict[str, str | int]:
    """Its row; ids count from the newest video on, a minute apart, as real ones are."""
    number = video_id.rpartition("_")[2]
    age = 60 * int(number) if number.isdecimal() else 0
    made = int(path.stat().st_mtime) - age
    return {
        "id": video_id,
        "object": "video",
        "status": "completed",
        "progress": 100,
        "created_at": made - 60,
        "completed_at": made,
        "expires_at": int(time.time()) + 86_400,
    }
