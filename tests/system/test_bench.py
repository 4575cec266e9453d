"""What `scripts/bench` says of a measurement, and what it measures with."""

import json
import math
import sys
from pathlib import Path

import pytest
from benchlib import reader
from benchlib.chart import worst_first
from benchlib.long_run import Cycle, Stay
from benchlib.plan import QUICK_WORKS
from benchlib.result import RCLONE, Result, Row, Target
from benchlib.rows import rows
from benchlib.scenarios import MET, scenarios
from benchlib.served import PAGE_ENTRIES, Shown, write_site
from benchlib.traffic import Request, Traffic

from tests.support.mounting import run

AT_MOST_HALF = Target(0.5, RCLONE)


def result(
    target: Target = AT_MOST_HALF, *, higher: bool = False, **medians: float
) -> Result:
    """A row, and what each contender reached in it."""
    row = Row("row", "a row", "work", "seconds", "s", target, higher=higher)
    values = {key.replace("_", "-"): [value] for key, value in medians.items()}
    return Result(row, values)


def test_a_target_is_a_share_of_the_best_rclone() -> None:
    """The best is the least where less is better; others are no rclone."""
    one = result(hingfs_fuse3=2, rclone_off=6, rclone_full=5, curl=1)

    assert one.limit == 2.5
    assert one.best_peer == 5
    assert one.holds("hingfs-fuse3") is True
    assert one.holds("hingfs-fuse2") is None


@pytest.mark.parametrize(
    ("higher", "reached", "than", "times"),
    [
        (False, 2, 6, 3),
        (True, 2, 6, 1 / 3),
        (False, 0, 0, 1),
        (False, 0, 6, math.inf),
        (False, 2, 0, 0),
        (True, 2, 0, math.inf),
    ],
)
def test_a_ratio_above_one_is_better(higher, reached, than, times) -> None:
    """Also where a goal is zero, or reached to the last byte."""
    one = result(higher=higher, hingfs_fuse3=reached)

    assert one.times_better("hingfs-fuse3", than) == pytest.approx(times)


def test_the_picture_has_the_worst_on_top() -> None:
    """By the worse binding; without a figure or a goal there is no line."""
    good = result(Target(9), hingfs_fuse3=1, hingfs_fuse2=2)
    bad = result(Target(9), hingfs_fuse3=1, hingfs_fuse2=10)

    shown = worst_first([good, bad, result(hingfs_fuse3=1), result(Target(9), curl=1)])

    assert shown == [bad, good]


def test_each_row_is_of_a_work() -> None:
    """And the quick ones too."""
    known = {work.key for work in scenarios(20)}

    assert {row.scenario for row in rows(20)} == known
    assert set(QUICK_WORKS) < known


def test_the_clip_that_a_mount_read_before_is_of_no_row() -> None:
    """And where the mount is the first ever, it is not even listed."""
    for work in scenarios(20):
        assert MET not in (*work.videos, *work.beside)
        assert (MET in work.shown) is not work.first


def test_bytes_sent_twice_are_counted() -> None:
    """Once for each time beyond the first."""
    lines = [
        "10.0|1.0|1|GET|206|100|bytes=0-99|/v1/videos/a/content",
        "10.5|1.0|2|GET|206|100|bytes 50-149/900bytes=50-149|/v1/videos/a/content",
        "10.5|1.0|3|HEAD|200|0|-|/v1/videos/a/content",
        "12.0|1.0|1|GET|206|100|bytes 800-899/900bytes=-100|/v1/videos/a/content",
    ]
    traffic = Traffic(tuple(Request.from_line(line) for line in lines))

    assert traffic.content_bytes == 300
    assert traffic.twice_bytes == 50
    assert traffic.peak_transfers == 2


def test_a_work_has_its_own_list_in_pages(tmp_path: Path) -> None:
    """Each page is named after the last id of the page before it; no list, no page."""
    film = tmp_path / "film.mp4"
    film.write_bytes(b"film")
    ids = tuple(f"video_{number:03}" for number in range(2 * PAGE_ENTRIES + 1))
    site = tmp_path / "site"

    works = {"listed": Shown(ids), "unlisted": Shown(ids[:1], listed=False)}
    write_site(site, dict.fromkeys(ids, film), works)

    told, name, more = [], "first", True
    while more:
        page = json.loads((site / "pages" / "listed" / f"{name}.json").read_text())
        told += [row["id"] for row in page["data"]]
        name, more = told[-1], page["has_more"]
    assert told == list(ids)
    assert not (site / "pages" / "unlisted").exists()
    assert (site / "content" / "unlisted" / f"{ids[0]}.mp4").read_bytes() == b"film"


@pytest.mark.parametrize("way", ["whole", "sequential", "readers"])
def test_the_reader_sees_a_wrong_byte(tmp_path: Path, way: str) -> None:
    """One checksum for equal files by other names, another for one changed byte."""
    size = 3 << 19
    given = {"whole": ["2", str(size)], "readers": ["2", str(size)], "sequential": []}
    folders = [tmp_path / name for name in ("right", "same", "wrong")]
    for folder in folders:
        folder.mkdir()
        for name in "abc" if way == "whole" else "a":
            (folder / name).write_bytes(bytes(size))
    with (folders[2] / "a").open("r+b") as file:
        file.write(b"!")

    said = [
        json.loads(
            run(
                [
                    sys.executable,
                    reader.__file__,
                    way,
                    *given[way],
                    *sorted(one.iterdir()),
                ]
            ).stdout
        )
        for one in folders
    ]

    assert [one["bytes"] for one in said] == [said[0]["bytes"]] * 3
    assert said[0]["crc"] == said[1]["crc"] != said[2]["crc"]


def test_a_long_run_compares_its_end_with_its_start() -> None:
    """Ten minutes each, by the time its works took and not by what the checks did."""
    cycles = [Cycle(600, 100), Cycle(1200, 100), Cycle(1800, 200)]

    told = Stay("hingfs", 0, cycles)

    assert (told.first_per_hour, told.last_per_hour) == (36, 18)
    assert "36 in the first 600 s, 18 in the last" in told.summary()
