"""What an older layout left: what of it goes and when, and what never does."""

import os
from pathlib import Path

import pytest

from hingfs.cache import janitor, older, processes, stock
from hingfs.cache.layout import MARK_AT, index_of
from tests.support.disks import (
    SIZE,
    Processes,
    opened,
    put_whole,
    readable,
    version_of,
)
from tests.support.mounting import eventually

IDS = "abc"


@pytest.fixture
def left(process: Processes, tmp_path: Path) -> Path:
    """The folder of an older layout, with three videos; its processes have ended."""
    cache = process()
    for video_id in IDS:
        put_whole(cache, version_of(video_id))
    process.close()
    process.made.clear()
    return (tmp_path / "v2").rename(tmp_path / "v1")


def stems(folder: Path) -> list[Path]:
    return sorted(path.with_suffix("") for path in folder.glob("*/*.data"))


def test_a_process_deletes_it_little_by_little(left, process, tmp_path, monkeypatch):
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(older, "MOST_AT_ONCE", 1)
    looked: list[int] = []
    clear = older.clear

    def counted(folder: Path, most: int | None = None) -> int:
        gone = clear(folder, most)
        looked.append(len(stems(folder)))
        return gone

    monkeypatch.setattr(older, "clear", counted)
    cache = process()
    put_whole(cache, version_of())
    eventually(lambda: looked == [2, 1, 0], "one goes after the other")

    assert not left.exists()
    assert readable(opened(cache)) == [*range(5)]
    assert [path.name for path in tmp_path.iterdir()] == ["v2"]


def test_it_is_left_alone_while_a_process_uses_it(left, tmp_path):
    user = processes.Membership(left, "older", 1 << 30)
    user.renew()
    older.tidy(tmp_path)
    assert len(stems(left)) == 3

    user.end()
    older.tidy(tmp_path)
    assert not left.exists()


def test_what_is_kept_or_none_of_ours_stays(left, tmp_path):
    linked, marked, gone = stems(left)
    os.link(linked.with_suffix(".data"), tmp_path / "elsewhere")
    with index_of(marked).open("r+b") as index:
        index.seek(MARK_AT)
        index.write(b"kept")
    note = gone.with_name("note")
    note.write_text("somebody's")

    stock.clear(tmp_path)

    assert stems(left) == [linked, marked]
    assert [index_of(stem).exists() for stem in (linked, marked)] == [True, True]
    assert note.read_text() == "somebody's"


@pytest.mark.parametrize("linked", ["v1", "shelf"])
def test_no_link_is_followed(left, tmp_path, linked):
    elsewhere = tmp_path / "elsewhere"
    if linked == "v1":
        left.rename(elsewhere)
        left.symlink_to(elsewhere)
    else:
        elsewhere.mkdir()
        for shelf in list(left.glob("??")):
            shelf.rename(elsewhere / shelf.name)
            shelf.symlink_to(elsewhere / shelf.name)

    assert stock.clear(tmp_path) == 0

    assert len(stems(elsewhere)) == 3


def test_a_folder_that_others_can_write_is_left_alone(left, tmp_path):
    left.chmod(0o777)
    older.tidy(tmp_path)
    assert len(stems(left)) == 3


def test_a_newer_layout_is_left_alone(left, tmp_path):
    newer = left.rename(tmp_path / "v3")
    older.tidy(tmp_path)
    assert len(stems(newer)) == 3


def test_clear_removes_all_of_it_and_tells_how_much(left, tmp_path):
    assert stock.clear(tmp_path) >= len(IDS) * SIZE

    assert not left.exists()
