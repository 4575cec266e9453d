"""What a store keeps, for whom and how long, and what trouble with its file leads to."""

import contextlib
import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.facts import database, reading, store
from hingfs.facts.counts import Count
from hingfs.facts.reading import DetailReader
from hingfs.facts.records import VIDEO_SECONDS, DetailFacts, ListedRow, VideoFacts
from hingfs.facts.store import NAME, FactStore
from tests.support.mounting import eventually

ENDPOINT = "https://api.example"
TOKEN = b"oh-a-secret-token"

Mounts = Callable[..., FactStore]


def video(video_id: str = "v", age_seconds: float = 0.0) -> VideoFacts:
    return VideoFacts(
        video_id,
        size_bytes=12_650_449,
        etag='"tag"',
        last_modified=None,
        ranges=1,
        odd_type=None,
        odd_coding="br",
        mtime_ns=5 * 10**18,
        expires_at=None,
        confirmed_at=time.time() - age_seconds,
    )


def end(of: FactStore) -> None:
    of.close()
    assert of.join(10)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mounts]:
    """A store in tmp_path for *token* and *endpoint*, loaded as a mount does."""
    made: list[FactStore] = []

    def mount(
        token: bytes = TOKEN, endpoint: str = ENDPOINT, **options: float
    ) -> FactStore:
        def digest(salt: bytes) -> bytes:
            return hashlib.blake2b(token, key=salt).digest()

        made.append(FactStore(tmp_path, endpoint, digest, **options))
        made[-1].load()
        return made[-1]

    yield mount
    for one in made:
        end(one)


def kept(mount: Mounts, *videos: VideoFacts) -> None:
    """A mount that learns of *videos* and ends."""
    one = mount()
    for found in videos:
        one.put_video(found)
    end(one)


def test_a_count_is_recalled_until_it_is_not_so(mount):
    recalled = []
    for learnt in (7, None, None):
        one = mount()
        count = Count(one, "requests")
        recalled.append(count.recalled)
        count.learn(learnt)
        end(one)

    assert recalled == [None, 7, None]


def test_the_next_mount_recalls_what_was_kept_and_not_what_was_forgotten(mount):
    first, second, found = mount(), mount(), video()
    row = ListedRow("v", "ready", "done", 2.0, 1.0, None)
    for store_of, rows in ((first, [row, row._replace(video_id="w")]), (second, [row])):
        store_of.learn("lesson", "why", 60.0)
        store_of.learn("past", "why", -1.0)
        store_of.learn("forgotten")
        store_of.unlearn("forgotten")
        store_of.put_video(found)
        store_of.put_video(video("gone"))
        store_of.drop_video("gone")
        store_of.save_listing(rows, 9.0)
        end(store_of)

    recalled = mount().recalled

    assert [lesson[:2] for lesson in recalled.lessons] == [("lesson", "why")]
    assert recalled[1:] == ([found], [row], 9.0)


def test_accounts_never_see_each_others_facts_and_no_token_is_written(mount, tmp_path):
    kept(mount, video())
    one = mount()
    assert one.recalled.videos

    for other in (mount(token=b"oh-another"), mount(endpoint=f"{ENDPOINT}/else")):
        assert other.recalled.videos == []
    # A new token begins without what was learnt under the one before.
    one.put_video(video("before"))
    one.token_changed()
    one.put_video(video("after"))
    end(one)

    assert {found.video_id for found in mount().recalled.videos} == {"v", "after"}
    for file in tmp_path.iterdir():
        assert TOKEN not in file.read_bytes()


def test_the_files_are_for_their_owner_alone(mount, tmp_path):
    kept(mount, video())
    (tmp_path / NAME).chmod(0o644)

    one = mount()
    one.put_video(video())

    assert len(list(tmp_path.iterdir())) == 3  # with SQLite's two beside it
    assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o600}


def test_a_video_that_nobody_confirmed_for_long_is_forgotten(mount, tmp_path):
    kept(mount, video("new"), video("old", VIDEO_SECONDS + 1))
    kept(mount, video("newer"))

    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as sql:
        ids = sql.execute("SELECT video_id FROM videos").fetchall()
    assert sorted(ids) == [("new",), ("newer",)]


def test_on_a_network_file_system_there_is_no_wal(mount, monkeypatch, expected_log):
    expected_log("lies on nfs4, a network file system")
    monkeypatch.setattr(store, "network_file_system", lambda _: "nfs4")
    one = mount()
    one.put_video(video())
    end(one)

    assert mount().recalled.videos


@pytest.mark.parametrize("damage", [b"no database " * 500, b"SQLite format 3\0" * 256])
def test_a_broken_file_is_set_aside_and_begun_anew(
    mount, tmp_path, damage, expected_log
):
    expected_log("facts.sqlite is broken")
    (tmp_path / NAME).write_bytes(damage)

    kept(mount, video())

    assert mount().recalled.videos
    assert (tmp_path / f"{NAME}.broken").read_bytes() == damage


@pytest.mark.parametrize("table", ["salt", "videos"])
def test_a_file_that_is_broken_within_is_begun_anew(
    mount, tmp_path, table, expected_log
):
    kept(mount, video())
    expected_log("facts.sqlite is broken")
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as sql:
        sql.execute(f"DROP TABLE {table}")

    kept(mount, video())

    assert mount().recalled.videos


def test_an_older_layout_is_begun_anew_without_a_word(mount, tmp_path):
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as sql:
        sql.execute("CREATE TABLE videos (other TEXT)")

    kept(mount, video())

    assert mount().recalled.videos


def told(video_id: str, text: str = "{}") -> DetailFacts:
    return DetailFacts(video_id, 12_650_449, 5 * 10**18, text)


def test_details_are_read_when_they_are_wanted_with_those_that_come_next(mount):
    one, other = mount(), mount(token=b"oh-another")
    for video_id in "abcd":
        one.put_video(video(video_id))
        one.put_details(told(video_id))
    one.put_details(told("c", "later"))
    one.drop_video("d")
    other.put_video(video("c"))
    other.put_details(told("c", "of another account"))
    for store_of in (other, one):
        end(store_of)

    again = mount()

    assert again.details_from("b") == [told("b"), told("c", "later")]
    assert again.details_from("e") == []
    assert FactStore().details_from("b") == []


def test_details_that_changed_are_not_read_as_they_were(mount, tmp_path, expected_log):
    expected_log("database is locked")
    kept(mount, video())
    one = mount(gather_seconds=0.01)
    one.put_details(told("v"))
    eventually(lambda: one.details_from("v"), "what was written")
    with locked(tmp_path / NAME):
        one.drop_details("v")
        assert one.details_from("v") == []
        eventually(lambda: not one._batch.details, "the begin of a write")
        assert one.details_from("v") == []
        eventually(lambda: expected_log.lines, "an attempt to write it")
        assert one.details_from("v") == []
    end(one)
    assert mount().details_from("v") == []


def test_details_end_with_their_video(mount):
    old = video("old", VIDEO_SECONDS + 1)
    one = mount()
    for found in (old, video("new")):
        one.put_video(found)
        one.put_details(told(found.video_id))
    end(one)

    kept(mount, video("another"))  # which deletes what is too old

    assert mount().details_from("") == [told("new")]


def test_the_layout_before_keeps_its_facts_and_takes_details(mount, tmp_path):
    kept(mount, video())
    with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as sql:
        sql.executescript("DROP TABLE details; PRAGMA user_version=2")

    one = mount()

    assert one.recalled.videos
    one.put_details(told("v"))
    end(one)
    assert mount().details_from("v") == [told("v")]


def test_details_of_a_file_that_hangs_are_given_up_and_not_waited_for_again(
    mount, tmp_path, monkeypatch
):
    kept(mount, video())
    monkeypatch.setattr(reading, "READ_SECONDS", 0.05)
    go_on = threading.Event()
    reader = DetailReader(
        tmp_path / NAME, lambda salt: (ENDPOINT, salt if go_on.wait(10) else b"")
    )

    assert reader.details_from("v") == []
    hangs = reader._last
    assert reader.details_from("v") == []
    assert reader._last is hangs
    assert hangs is not None
    assert not hangs.done()

    go_on.set()
    hangs.result(10)
    reader.close()
    assert reader.join(10)


def test_without_a_good_file_there_are_no_details(mount, tmp_path):
    reader = DetailReader(tmp_path / NAME, lambda salt: (ENDPOINT, salt))

    assert reader.details_from("v") == []
    assert not (tmp_path / NAME).exists()
    (tmp_path / NAME).write_bytes(b"no database" * 1000)
    assert reader.details_from("v") == []
    reader.close()
    assert reader.join(10)


@contextlib.contextmanager
def newer(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path)) as sql:
        sql.execute("PRAGMA user_version=1000")
    yield
    with contextlib.closing(sqlite3.connect(path)) as sql:
        assert sql.execute("PRAGMA user_version").fetchone() == (1000,)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as sql:
        sql.execute("BEGIN EXCLUSIVE")
        yield


@contextlib.contextmanager
def no_file(path: Path) -> Iterator[None]:
    path.mkdir()
    yield


@contextlib.contextmanager
def of_another_user(path: Path) -> Iterator[None]:
    path.touch()
    os.chown(path, 65_534, -1)
    yield


@pytest.mark.parametrize("trouble", [newer, locked, no_file, of_another_user])
def test_without_a_usable_file_a_mount_goes_on_after_one_warning(
    mount, tmp_path, monkeypatch, *, trouble, quiet_log
):
    monkeypatch.setattr(
        database, "_BUSY_SECONDS", 0.05
    )  # that a locked one is waited for
    with trouble(tmp_path / NAME):
        one = mount(gather_seconds=0.01)
        for number in range(5):  # as many failures
            one.put_video(video(str(number)))
            eventually(lambda: not one._changed.is_set(), "an attempt to write it")
        end(one)

    assert not one.recalled.videos
    (line,) = quiet_log.lines
    assert "is not kept for the next mount" in line
    quiet_log("is not kept")


def test_what_could_not_be_written_is_written_once_that_can_be(
    mount, tmp_path, expected_log
):
    kept(mount, video())
    expected_log("database is locked")
    one = mount(gather_seconds=0.01)
    with locked(tmp_path / NAME):
        one.put_video(video("during"))
        eventually(lambda: expected_log.lines, "a warning")
    end(one)

    assert {found.video_id for found in mount().recalled.videos} == {"v", "during"}


def test_a_file_that_hangs_delays_no_mount(tmp_path, monkeypatch, expected_log):
    expected_log("the mount starts without it")

    go_on = threading.Event()

    def digest(salt: bytes) -> bytes:
        go_on.wait(10)
        return salt

    hung = FactStore(tmp_path, ENDPOINT, digest)
    hung.load(0.05)

    hung.learn("lesson")
    assert hung.recalled.lessons == []
    assert not hung.join(0.0)
    go_on.set()
    end(hung)
    recalled = FactStore(tmp_path, ENDPOINT, lambda salt: salt)
    recalled.load()
    assert recalled.lesson("lesson")
    end(recalled)
