"""What is dropped is of no use at once, and its files go behind the caller."""

import errno
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hingfs.blocks import MIB
from hingfs.cache import drops, health, janitor
from hingfs.cache.disk import DiskCache
from hingfs.cache.layout import GRID_BYTES
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.version import Validator
from tests.support.disks import (
    BLOCKS,
    SIZE,
    opened,
    put_behind,
    put_whole,
    readable,
    there,
    version_of,
)
from tests.support.mounting import eventually
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT


class Hang:
    """A call that says when it *hangs*, and does its work once it may *go on*."""

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call
        self.hangs, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *given: Any) -> Any:
        self.hangs.set()
        assert self.go_on.wait(10)
        return self._call(*given)


def sighting() -> Content:
    """A content of which all look the same."""
    return Content(ENDPOINT, "v", SIZE, Validator(), completed_at=1_764_244_800.0)


def put_sighting(cache: DiskCache, content: Content) -> None:
    """Leave *content* whole on disk."""
    tiers = Tiers(MemoryBlockCache(MIB), GRID_BYTES, cache)
    with tiers.held(content):
        tiers.put_on_disk(content, 0, [ramp("v", 0, SIZE)])
        assert cache.settle(10)


def test_a_tag_that_is_dropped_is_read_on_and_kept_no_more(process, tmp_path):
    cache = process()
    put_whole(cache, version_of())
    put_whole(cache, version_of("w"))
    video = opened(cache)

    cache.drop(version_of())

    put_behind(video, 0)
    assert cache.open(version_of()) is None
    assert readable(video) == [*BLOCKS]
    assert cache.settle(10)
    assert readable(opened(process())) == []
    assert readable(opened(process(), version_of("w"))) == [*BLOCKS]


@pytest.fixture
def hung(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Hang]]:
    """`hung(call)`: *call* of the module hangs, until the test or its end lets it go on."""
    made: list[Hang] = []

    def hung(call: str) -> Hang:
        made.append(Hang(getattr(drops, call)))
        monkeypatch.setattr(drops, call, made[-1])
        return made[-1]

    yield hung
    for hang in made:
        hang.go_on.set()


def test_a_tag_is_dropped_at_once_whatever_the_disk_does(process, tmp_path, hung):
    cache = process()
    put_whole(cache, version_of())
    disk = hung("unlink")

    cache.drop(version_of())
    assert disk.hangs.wait(10)

    assert cache.open(version_of()) is None
    disk.go_on.set()
    assert cache.settle(10)
    assert there(tmp_path) == []


def test_sightings_are_dropped_at_once_whatever_the_disk_does(process, tmp_path, hung):
    cache, content = process(), sighting()
    put_sighting(cache, content)
    assert content.version is not None
    video = opened(cache, content.version)
    disk = hung("sightings_of")

    cache.drop_sightings(sighting())
    assert disk.hangs.wait(10)

    assert cache.open(content.version) is None
    assert cache.whole_sighting(sighting()) is None
    assert not video.put(0, [ramp("v", 0, SIZE)])
    disk.go_on.set()
    assert cache.settle(10)
    assert there(tmp_path) == []


def test_a_sighting_is_kept_again_once_those_before_it_are_gone(process):
    cache = process()
    put_sighting(cache, sighting())
    cache.drop_sightings(sighting())
    assert cache.settle(10)

    put_sighting(cache, sighting())

    assert process().whole_sighting(sighting()) is not None


def test_what_a_bad_disk_does_not_delete_is_deleted_later(
    process, tmp_path, monkeypatch, expected_log
):
    monkeypatch.setattr(janitor, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(health, "FIRST_PROBE_SECONDS", 0.02)
    cache = process()
    put_whole(cache, version_of())

    def refuse(_: Path) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    expected_log("the disk cache is not written: .*Read-only file system")
    with monkeypatch.context() as patched:
        patched.setattr(drops, "unlink", refuse)
        cache.drop(version_of())
        assert cache.settle(10)
        assert cache.open(version_of()) is None
    assert len(there(tmp_path)) == 1

    eventually(lambda: cache.is_written, "it is written again")
    opened(cache, version_of("w"))
    assert cache.settle(10)
    assert len(there(tmp_path)) == 1
    assert readable(opened(process())) == []
    assert len(there(tmp_path)) == 2, "the other one, and the one that was just opened"
