"""Whole files on their way into the disk cache: what lies there is one answer's bytes."""

import gc
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from hingfs.api.whole import UNKNOWN_SIZE
from hingfs.blocks import KIB, MIB
from hingfs.cache import video
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.errors import BodyCut, Closing, ContentChanged, HingError
from hingfs.fetch.spool_store import SpoolStore
from hingfs.version import Validator
from tests.support.disks import Processes, open_files, there
from tests.support.mounting import eventually
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT
from tests.support.whole_files import Pieces

SIZE = 5 * MIB + 1000
NEW, OLD = (ramp("v", 0, SIZE, version) for version in (1, 0))

Answer = Callable[[int], Pieces]


def told(data: bytes, *, cut: int = SIZE) -> Answer:
    """*data* from its begin, under its length; it breaks off at *cut*."""
    headers = {"Content-Length": str(len(data))}
    return lambda _: Pieces(200, headers, data[:cut], 100 * KIB, cut=cut < len(data))


class Rig:
    """Whole files of a server that sends what *answer* says, and a disk."""

    def __init__(self, disk: DiskCache) -> None:
        self.disk = disk
        self.tiers = Tiers(MemoryBlockCache(MIB), GRID_BYTES, disk)
        self.answer = told(OLD)
        self.downloads = 0

    def open_whole(self, _content: Content, offset: int) -> Pieces:
        self.downloads += 1
        return self.answer(offset)

    @contextmanager
    def store(self) -> Iterator[SpoolStore]:
        """A store whose spools are given up at the end."""
        store = SpoolStore(
            self,  # type: ignore[arg-type]
            self.tiers,
            disk_bytes=8 * MIB,
            directory=None,
            stall_seconds=10.0,
        )
        try:
            yield store
        finally:
            store.close(Closing("the test is over"))
            assert store.join(10)

    def download(self, content: Content) -> HingError | None:
        """Download *content*; returns the error that ended that, if any."""
        with self.store() as store:
            spool = store.open(content)
            try:
                assert spool.wait_complete(time.monotonic() + 10) == SIZE
            except HingError as error:
                return error
            assert store.open(content) is spool
            eventually(lambda: self.on_disk(content), "the file, whole on disk")
        return None

    def on_disk(self, content: Content) -> bytes | None:
        """The bytes of *content* on disk, if all are there."""
        target = bytearray(SIZE)
        with self.tiers.held(content):
            absent = self.tiers.read_into(content, memoryview(target), 0)
        return None if absent else bytes(target)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    processes = Processes(tmp_path)
    yield Rig(processes())
    processes.close()


def bare(size: int = SIZE, etag: str | None = None) -> Content:
    return Content(ENDPOINT, "v", size, Validator(etag), ranges=False)


@pytest.mark.parametrize("size", [SIZE, UNKNOWN_SIZE])
@pytest.mark.parametrize("queue_bytes", [32 * MIB, MIB])
def test_a_file_lies_on_disk_once_it_is_whole(rig, monkeypatch, size, queue_bytes):
    """What a full queue dropped is written in the end."""
    monkeypatch.setattr(rig.disk._behind, "_most_bytes", queue_bytes)
    monkeypatch.setattr(video, "FILL_SECONDS", 30.0)  # a disk under load
    content = bare(size)

    assert rig.download(content) is None

    assert rig.on_disk(content) == OLD
    assert rig.downloads == 1


def test_what_is_deleted_meanwhile_is_written_again_in_the_end(rig, tmp_path):
    content = bare()
    at = {2 * MIB: lambda: delete(tmp_path), 4 * MIB: lambda: None}

    class Watched(Pieces):
        def read_some(self, most: int, *, decoded: bool) -> bytes:
            piece = super().read_some(most, decoded=decoded)
            for offset in [one for one in at if SIZE - len(self._left) > one]:
                assert rig.disk.settle(10)
                at.pop(offset)()
            return piece

    rig.answer = lambda _: Watched(200, {"Content-Length": str(SIZE)}, OLD, 100 * KIB)

    assert rig.download(content) is None

    assert not at
    assert rig.on_disk(content) == OLD


def delete(directory: Path) -> None:
    for path in (*there(directory), *there(directory, "index")):
        path.unlink()


def test_two_downloads_without_a_tag_never_meet_on_disk(rig, tmp_path):
    """The first breaks off, and its spool is given up; the file is another one by then."""
    content = bare()
    rig.answer = told(OLD, cut=3 * MIB)
    assert isinstance(rig.download(content), BodyCut)
    assert rig.disk.settle(10)
    assert any(path.stat().st_blocks for path in there(tmp_path)), "a part is written"
    assert rig.on_disk(content) is None

    rig.answer = told(NEW)
    assert rig.download(content) is None

    assert rig.on_disk(content) == NEW


def test_a_file_whose_end_is_not_proved_is_not_whole_on_disk(rig):
    """Though all of its announced bytes have come, under a tag that others believe."""
    content = bare(etag='"a"')
    chunked = Pieces(200, {"Transfer-Encoding": "chunked"}, OLD + b"more", SIZE)
    rig.answer = lambda _: chunked

    assert isinstance(rig.download(content), ContentChanged)

    assert rig.disk.settle(10)
    assert rig.on_disk(content) is None


def test_a_disk_that_cannot_be_written_costs_no_read(rig, monkeypatch):
    monkeypatch.setattr(rig.disk._janitor, "take", lambda _: False)
    content = bare()
    with rig.store() as store:
        target = bytearray(SIZE)
        spool = store.open(content)
        spool.read_into(memoryview(target), 0, time.monotonic() + 10)
        assert target == OLD
    assert rig.on_disk(content) is None


def test_a_download_that_has_failed_keeps_no_file_open(rig, tmp_path):
    """Its spool stays, to be resumed by a read that may never come."""
    rig.answer = told(OLD, cut=3 * MIB)
    with rig.store() as store:
        spool = store.open(bare())
        with pytest.raises(BodyCut):
            spool.wait_complete(time.monotonic() + 10)
        assert there(tmp_path), "it was on its way to the disk"

        eventually(lambda: not open_files(tmp_path), "they are closed")


def test_a_download_that_has_failed_keeps_no_answer_alive(rig):
    """Nor the piece of it that was read last: there may be many such spools."""
    answers: list[weakref.ref[Pieces]] = []

    def broken_off(offset: int) -> Pieces:
        answer = told(OLD, cut=3 * MIB)(offset)
        answers.append(weakref.ref(answer))
        return answer

    rig.answer = broken_off
    gc.disable()
    try:
        with rig.store() as store:
            spool = store.open(bare())
            with pytest.raises(BodyCut):
                spool.wait_complete(time.monotonic() + 10)
            eventually(lambda: not any(one() for one in answers), "they are freed")
    finally:
        gc.enable()
