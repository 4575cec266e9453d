"""Claims on blocks, as caches see them that have nothing but a directory in common."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB, MIB, bounds_of
from hingfs.cache import folder, locks
from hingfs.cache.claims import DiskClaims
from hingfs.cache.disk import DiskCache
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.pair import Pair
from hingfs.cache.tiers import Tiers
from hingfs.cache.video import DiskVideo
from hingfs.content import Content
from hingfs.version import Validator
from tests.support.disks import open_files, there
from tests.support.mounting import eventually
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT

BLOCK = 128 * KIB
SIZE_BYTES = 16 * BLOCK - 1000
EVERYTHING = range(16)


class Party:
    """A process with a cache of its own and a content that it holds."""

    def __init__(
        self, directory: Path, etag: str | None = '"a"', block_bytes: int = BLOCK
    ) -> None:
        self.disk = DiskCache(directory, 64 * MIB, waiting_bytes=32 * MIB)
        self.tiers = Tiers(MemoryBlockCache(MIB), block_bytes, self.disk)
        self.content = Content(ENDPOINT, "v", SIZE_BYTES, Validator(etag), ranges=True)
        self.tiers.hold(self.content)
        self._claims = DiskClaims(self.tiers)

    def claim(self, blocks: range) -> range | None:
        return self._claims.claim(self.content, blocks)

    def look(self, blocks: range = EVERYTHING) -> range | None:
        return self._claims.look(self.content, blocks)

    def release(self, blocks: range) -> None:
        self._claims.release(self.content, blocks)

    def put(self, blocks: range) -> bool:
        """Blocks that were fetched; they are written, or not, when it returns."""
        bounds = [bounds_of(index, BLOCK, SIZE_BYTES) for index in blocks]
        given = [bytes(ramp("v", span.start, span.stop)) for span in bounds]
        taken = self.tiers.put_on_disk(self.content, blocks.start, given)
        assert self.disk.settle(10)
        return taken

    def has(self, blocks: range) -> bool:
        return not self.tiers.absent(self.content, blocks)

    def close(self) -> None:
        self.tiers.release(self.content)
        self.tiers.close()
        assert self.tiers.join(10)


@pytest.fixture
def party(tmp_path: Path) -> Iterator[Callable[..., Party]]:
    """`party()`: one more of those that share a directory."""
    made: list[Party] = []

    def make(*args, **more) -> Party:
        made.append(Party(tmp_path, *args, **more))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_what_one_has_claimed_another_does_not_get(party):
    mine, other = party(), party()

    assert not mine.claim(range(4, 8))
    assert not mine.claim(range(10, 12))
    assert not mine.claim(range(5, 6)), "it is its own"

    assert other.look(range(5, 6)) == range(4, 8), "the whole run is told"
    assert not other.look(range(4))
    assert other.claim(EVERYTHING) == range(4, 8), "the first run is told"
    assert mine.look() == range(4), "what comes before it is claimed"


def test_a_claim_ends_as_its_blocks_are_written_and_they_are_there(party):
    mine, other = party(), party()
    mine.claim(range(4, 12))

    assert mine.put(range(4, 6))
    assert other.look() == range(6, 12)
    assert other.has(range(4, 6))
    assert not other.has(range(6, 7))

    assert mine.put(range(8, 9))
    assert other.look(range(8, 12)) == range(9, 12)
    assert not other.claim(range(8, 9)), "it is there already"
    assert other.has(range(8, 9))


def test_a_claim_ends_as_it_is_released_or_its_files_are_closed(party):
    mine, other = party(), party()
    mine.claim(range(4, 12))

    mine.release(range(4, 8))
    assert other.look() == range(8, 12)
    mine.tiers.release(mine.content)
    assert not other.look()
    mine.tiers.hold(mine.content)


def test_a_claim_ends_where_the_disk_takes_no_more(party, monkeypatch, expected_log):
    """Another process finds nothing there, and must fetch for itself."""
    mine, other = party(), party()
    mine.claim(range(4, 12))
    full = OSError(28, os.strerror(28))

    def refuse(*_: object) -> int:
        raise full

    monkeypatch.setattr(os, "pwritev", refuse)
    monkeypatch.setattr(os, "pwrite", refuse)
    expected_log("the disk cache is not written: .*No space left on device")
    assert mine.put(range(4, 8))

    assert other.look() == range(8, 12)
    assert not mine.claim(range(8))
    assert not other.look(range(8)), "what cannot be written is not claimed"


def test_a_deleted_directory_has_no_claims(party, tmp_path):
    mine, other = party(), party()
    mine.claim(range(4, 12))
    for path in (*there(tmp_path, "index"), *there(tmp_path)):
        path.unlink()

    assert not party().look()
    assert mine.put(range(4, 8))
    assert not other.claim(range(12, 16))


def test_a_version_that_no_other_process_can_tell_is_not_claimed(party, monkeypatch):
    """Nor does it cost a call to the kernel."""
    asked: list[str] = []
    monkeypatch.setattr(
        locks.ByteLocks, "_call", lambda _, command, *__: asked.append(command)
    )
    mine, other = party(etag=None), party(etag=None)

    assert not mine.claim(EVERYTHING)
    assert not other.claim(EVERYTHING)
    assert mine.put(range(4))
    assert asked == []


def test_nothing_is_claimed_on_a_network_file_system(party, monkeypatch):
    monkeypatch.setattr(folder, "network_file_system", lambda _: "nfs4")
    mine, other = party(), party()
    mine.claim(EVERYTHING)

    assert not other.look()


def test_nothing_is_claimed_where_nobody_knows_the_file_system(party, monkeypatch):
    def fail(_: Path) -> None:
        raise PermissionError(13, "no /proc")

    monkeypatch.setattr(folder, "network_file_system", fail)
    mine, other = party(), party()
    mine.claim(EVERYTHING)

    assert not other.look()
    assert mine.put(range(2)), "it is written all the same"


def test_nothing_is_claimed_where_the_system_has_no_such_locks(party, monkeypatch):
    monkeypatch.setattr(locks, "_HAS_LOCKS", False)
    mine, other = party(), party()
    mine.claim(EVERYTHING)

    assert not other.look()


def test_a_process_alone_looks_for_nobody(party, tmp_path, monkeypatch):
    """From the second claim on; once there were others, it looks once more."""
    looked: list[int] = []
    look = DiskVideo._look

    def counted(video: DiskVideo, pair: Pair) -> None:
        looked.append(id(video))
        look(video, pair)

    monkeypatch.setattr(DiskVideo, "_look", counted)
    mine = party()
    mine.claim(range(1))
    looked.clear()
    assert mine.claim(range(1, 2)) is None
    assert looked == []

    other = party()
    other.claim(range(2, 4))
    assert mine.claim(range(4, 5)) == range(0)
    other.put(range(2, 4))
    other.tiers.release(other.content)
    eventually(lambda: len(open_files(tmp_path)) == 2, "it has closed them")
    assert mine.claim(range(2, 4)) == range(0)
    assert mine.has(range(2, 4))
    assert mine.claim(range(5, 6)) is None
    assert len(looked) == 3, "the other one's first is among them"
    other.tiers.hold(other.content)


def test_of_smaller_blocks_those_are_claimed_that_are_whole_on_disk(party):
    mine, other = party(block_bytes=BLOCK // 4), party(block_bytes=BLOCK)

    mine.claim(range(3, 13))
    assert other.look() == range(1, 3)
    mine.claim(range(4 * 16 - 6, 4 * 16))
    assert other.look(range(4, 16)) == range(15, 16), "the last one is short"
