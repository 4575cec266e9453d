"""What is kept: begun, sealed, found by every process, and never lost."""

import hashlib
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hingfs.cache import kept as kept_module
from hingfs.cache import kept_files, stock
from hingfs.cache.disk import DiskCache
from hingfs.cache.folder import VideoFolder
from hingfs.cache.kept import KeptStore
from hingfs.cache.kept_files import KeepFull, NotWhole, anything_kept
from hingfs.cache.layout import GRID_BYTES, RECORDS_AT, Mark
from hingfs.cache.video import LOOK_SECONDS
from hingfs.version import VideoVersion
from tests.support.disks import (
    BLOCKS,
    LIMIT,
    SIZE,
    WAITING,
    open_files,
    opened,
    put,
    put_whole,
    readable,
    version_of,
)
from tests.support.keeping import files
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

MARK = Mark(1_764_244_800_123_456_789, 1_764_244_900.0, 1_764_248_400.0)


class Stores:
    """Processes that keep in *directory*; each has nothing in common with the others."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.made: list[VideoFolder] = []

    def __call__(self, limit_bytes: int = LIMIT) -> KeptStore:
        store = KeptStore(self.directory / "data", limit_bytes, WAITING)
        self.made.append(store)
        return store

    def cache(self) -> DiskCache:
        cache = DiskCache(self.directory / "cache", LIMIT, WAITING)
        self.made.append(cache)
        return cache

    def close(self) -> None:
        for store in self.made:
            store.close()
            assert store.join(10)


@pytest.fixture
def stores(tmp_path) -> Iterator[Stores]:
    stores = Stores(tmp_path)
    yield stores
    stores.close()


def put_all(store: KeptStore, version: VideoVersion) -> None:
    video = opened(store, version)
    put(store, video, *range(-(-version.size_bytes // GRID_BYTES)))
    video.release()


def keep(store: KeptStore, version: VideoVersion | None = None) -> VideoVersion:
    version = version or version_of()
    store.begin(version, MARK)
    put_all(store, version)
    store.seal(version)
    return version


def flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 16]))


def test_a_kept_video_is_there_for_every_process_with_all_that_its_name_needs(stores):
    one, other = stores(), stores()
    assert other.videos() == []

    version = keep(one)

    (found,) = other.videos()
    assert found == other.copy_of(ENDPOINT, "v")
    assert found.version == version
    assert found.mark.sha256 == hashlib.sha256(ramp("v", 0, SIZE)).digest()
    assert (found.mark.mtime_ns, found.mark.begun_at, found.mark.expires_at) == (
        MARK.mtime_ns,
        MARK.begun_at,
        MARK.expires_at,
    )
    assert other.has_sealed(version)
    assert anything_kept(stores.directory / "data", ENDPOINT)
    assert not anything_kept(stores.directory / "data", "https://other.example/v1")
    assert readable(opened(other, version)) == list(BLOCKS)
    modes = {path.stat().st_mode & 0o777 for path in files(stores.directory / "data")}
    assert modes == {0o600}


def test_a_video_that_was_only_begun_is_no_copy(stores):
    store = stores()
    store.begin(version_of(), MARK)

    assert [kept.is_sealed for kept in store.videos()] == [False]
    assert store.copy_of(ENDPOINT, "v") is None
    assert not anything_kept(stores.directory / "data", ENDPOINT)


def test_nothing_is_made_where_nothing_is_kept(stores):
    store = stores()

    assert store.open(version_of()) is None
    assert store.copy_of(ENDPOINT, "v") is None
    assert store.videos() == []
    assert list(stores.directory.iterdir()) == []


def test_the_last_of_two_versions_stands_for_the_video(stores):
    store = stores()
    keep(store, version_of(etag='"old"'))
    new = version_of(etag='"new"')
    store.begin(new, Mark(1, MARK.begun_at + 1))
    put_all(store, new)
    assert store.copy_of(ENDPOINT, "v").version.validator.etag == '"old"'

    store.seal(new)

    assert store.copy_of(ENDPOINT, "v").version == new
    assert len(store.videos()) == 2


# --- sealing ------------------------------------------------------------------------


def test_a_video_with_absent_blocks_is_not_sealed(stores):
    store, version = stores(), version_of()
    store.begin(version, MARK)
    video = opened(store, version)
    put(store, video, 0, 1, 3)
    video.release()

    with pytest.raises(NotWhole, match="2 blocks of 128 KiB are absent"):
        store.seal(version)
    assert store.copy_of(ENDPOINT, "v") is None


def test_a_block_that_is_bad_is_forgotten_and_not_sealed(stores):
    store, version = stores(), version_of()
    store.begin(version, MARK)
    put_all(store, version)
    flip(files(stores.directory / "data")[0], 2 * GRID_BYTES + 7)

    with pytest.raises(NotWhole, match="1 blocks are not as they were written"):
        store.seal(version)

    video = opened(stores(), version)
    assert readable(video) == [0, 1, 3, 4]
    put_all(store, version)
    assert store.seal(version).is_sealed


def test_a_video_that_was_dropped_meanwhile_is_not_sealed(stores):
    store, version = stores(), version_of()
    store.begin(version, MARK)
    stores().drop(store.videos()[0])

    with pytest.raises(FileNotFoundError):
        store.seal(version)


# --- the cache beside it -------------------------------------------------------------


def test_what_the_cache_has_is_taken_over_without_a_copy_and_stays_for_good(stores):
    """Neither `trim`, `clear` nor a full cache takes what is kept, or on its way."""
    store, cache, version = stores(), stores.cache(), version_of()
    video = opened(cache, version)
    put(cache, video, 0, 2)

    store.begin(version, MARK, cached=cache.where(version))

    (data,) = files(stores.directory / "data")
    assert data.stat().st_nlink == 2
    assert readable(opened(store, version)) == [0, 2]
    assert stock.trim(stores.directory / "cache", 0) == 0
    assert [one.kept for one in stock.videos(stores.directory / "cache")] == [True]
    put_all(store, version)
    store.seal(version)
    video.release()
    for path in files(stores.directory / "cache", "*"):
        path.unlink()
    assert readable(opened(stores(), version)) == list(BLOCKS)


def test_what_the_cache_has_on_another_disk_is_copied(stores):
    cache, version = stores.cache(), version_of()
    put_whole(cache, version)
    (cached,) = files(stores.directory / "cache")
    flip(cached, 3 * GRID_BYTES)
    with tempfile.TemporaryDirectory(dir="/dev/shm") as elsewhere:
        assert Path(elsewhere).stat().st_dev != cached.stat().st_dev
        store = KeptStore(Path(elsewhere), LIMIT, WAITING)
        stores.made.append(store)

        store.begin(version, MARK, cached=cache.where(version))

        assert files(Path(elsewhere))[0].stat().st_nlink == 1
        assert readable(opened(store, version)) == [0, 1, 2, 4]
        store.close()
        assert store.join(10)


def test_the_janitor_takes_only_parts_that_nobody_can_use(stores, monkeypatch):
    """Parts of a sighting belong to their process; what is sealed, to everybody."""
    gone = stores()
    part, whole = version_of(sighting=1), version_of("w", sighting=2)
    other = version_of("x")
    for version in (part, other):
        gone.begin(version, MARK)
    keep(gone, whole)
    gone.close()
    assert gone.join(10)

    store = stores()
    keep(store, version_of("y"))

    found = {kept.version for kept in store.videos()}
    assert found == {whole, other, version_of("y")}


# --- bounds ------------------------------------------------------------------------


def test_all_of_each_video_counts_from_its_beginning(stores):
    store = stores(limit_bytes=2 * SIZE + 100_000)
    store.begin(version_of("a"), MARK)
    stores(limit_bytes=LIMIT).begin(version_of("b"), MARK)

    with pytest.raises(KeepFull) as refused:
        store.begin(version_of("c"), MARK)

    said = str(refused.value)
    assert "do not fit" in said
    assert "give a larger --keep-size" in said
    assert "hingfs drop" in said
    store.begin(version_of("a"), MARK)  # it was begun
    assert len(store.videos()) == 2


def test_a_disk_without_free_space_takes_nothing_new(stores, monkeypatch):
    monkeypatch.setattr(kept_files, "STOP_BELOW", 1.0)

    with pytest.raises(KeepFull, match=r"the disk of .* --keep-dir on another disk"):
        stores().begin(version_of(), MARK)


# --- damage ------------------------------------------------------------------------


@pytest.mark.parametrize("offset", [0, 9, 40, 300, RECORDS_AT - 250, RECORDS_AT - 200])
def test_a_flipped_bit_in_the_page_loses_nothing(stores, offset):
    version = keep(stores())
    (index,) = files(stores.directory / "data", "index")
    flip(index, offset)

    store = stores()

    (found,) = store.videos()
    assert found.is_sealed
    assert found.version == version
    assert found.mark.mtime_ns == MARK.mtime_ns
    assert readable(opened(store, version)) == list(BLOCKS)


@pytest.mark.parametrize("where", ["data", "index"])
def test_one_flipped_bit_costs_one_block(stores, where):
    version = keep(stores())
    at = GRID_BYTES + 5 if where == "data" else RECORDS_AT + 8 + 3
    flip(files(stores.directory / "data", where)[0], at)

    store = stores()

    assert readable(opened(store, version)) == [0, 2, 3, 4]
    assert store.copy_of(ENDPOINT, "v").is_sealed


@pytest.mark.parametrize(
    ("size", "left"), [(0, []), (100, []), (RECORDS_AT, []), (RECORDS_AT + 17, [0, 1])]
)
def test_an_index_that_was_cut_costs_what_it_told_and_is_deleted_by_nobody(
    stores, size, left
):
    version = keep(stores())
    (index,) = files(stores.directory / "data", "index")
    os.truncate(index, size)

    store = stores()

    video = store.open(version)
    assert left == (readable(video) if video is not None else [])
    assert index.exists()
    assert files(stores.directory / "data")


def test_who_reads_goes_on_after_a_drop(stores):
    store = stores()
    version = keep(store)
    video = opened(store, version)

    store.drop(store.videos()[0])

    assert store.videos() == []
    assert readable(video) == list(BLOCKS)
    assert store.open(version) is None
    video.release()


def test_who_reads_goes_on_where_an_index_becomes_useless(stores):
    """It is deleted by nobody, and its files are closed after the last reader."""
    store = stores()
    version = keep(store)
    video = opened(store, version)
    (index,) = files(stores.directory / "data", "index")
    os.truncate(index, 0)

    assert store.open(version) is None
    assert readable(video) == list(BLOCKS)
    video.release()
    del video

    assert index.exists()
    assert files(stores.directory / "data")
    assert open_files(stores.directory) == []


def test_a_look_costs_nothing_until_something_changes(stores, monkeypatch):
    store = stores()
    keep(store)
    store.look()
    looked = 0

    def look(*_args):
        nonlocal looked
        looked += 1
        return iter(())

    monkeypatch.setattr(kept_module, "entries_in", look)

    for _ in range(5):
        store.look()
    assert looked == 0

    os.utime(stores.directory / "data" / "v2", (time.time(), time.time()))
    store.look()
    assert looked == 1


def test_a_version_that_is_nowhere_costs_one_look_for_many_reads(stores, monkeypatch):
    store = stores()
    keep(store)
    looks = 0
    own_look = store.look

    def look() -> None:
        nonlocal looks
        looks += 1
        own_look()

    monkeypatch.setattr(store, "look", look)
    monkeypatch.setattr(store, "_looked_at", -LOOK_SECONDS)

    for _ in range(100):
        assert store.open(version_of("elsewhere")) is None

    assert looks <= 2


def test_a_look_that_ends_late_hides_nothing_that_was_begun_meanwhile(
    stores, monkeypatch
):
    """Threads of a mount look while others begin videos."""
    store, version = stores(), version_of("new")
    keep(store)
    looks, go_on = threading.Event(), threading.Event()
    scan = kept_files.entries_in

    def slow_scan(*args):
        found = list(scan(*args))
        if threading.current_thread() is slow:
            looks.set()
            assert go_on.wait(10)
        return iter(found)

    monkeypatch.setattr(kept_module, "entries_in", slow_scan)
    os.utime(stores.directory / "data" / "v2")
    slow = threading.Thread(target=store._look)
    slow.start()
    assert looks.wait(10)

    store.begin(version, MARK)
    go_on.set()
    slow.join(10)

    opened(store, version).release()
    assert {one.version.video_id for one in store.videos()} == {"v", "new"}
