"""The disk cache beside a dictionary, with real processes, damage, and `kill -9`."""

import os
import random
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hingfs.blocks import ByteRange
from hingfs.cache import stock
from hingfs.cache.disk import DiskCache
from hingfs.cache.video import DiskVideo
from hingfs.version import VideoVersion
from tests.support.disk_process import DiskProcess
from tests.support.disks import (
    BLOCKS,
    SIZE,
    Processes,
    opened,
    put,
    read,
    readable,
    there,
    version_of,
)
from tests.support.personalities import ramp

IDENTITIES = [("v", '"a"'), ("v", '"b"'), ("w", '"a"')]
identities = st.sampled_from(IDENTITIES)
blocks = st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=5)
at_random = st.floats(0, 1, exclude_max=True)


@pytest.fixture(scope="module")
def others() -> Iterator[list[DiskProcess]]:
    processes = [DiskProcess() for _ in range(2)]
    DiskMachine.others = processes
    yield processes
    for process in processes:
        process.close()


class DiskMachine(RuleBasedStateMachine):
    """Caches here and processes elsewhere; no byte is wrong, and none is lost."""

    others: ClassVar[list[DiskProcess]] = []

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="hingfs-model-"))
        self.processes = Processes(self.directory)
        self.caches: list[DiskCache] = []
        self.videos: list[tuple[DiskCache, DiskVideo]] = []
        # The blocks that a process which opens the version now must read.
        self.sure: dict[VideoVersion, set[int]] = {}

    def teardown(self) -> None:
        self.processes.close()
        for process in self.others:
            process.end_caches()
        shutil.rmtree(self.directory, ignore_errors=True)

    @rule(identity=identities, private=st.booleans())
    def open(self, identity: tuple[str, str], *, private: bool) -> None:
        if len(self.caches) < 3:
            self.caches.append(self.processes())
        cache = self.caches[len(self.videos) % len(self.caches)]
        sighting = self.caches.index(cache) if private else None
        video = opened(
            cache, version_of(*identity[:1], etag=identity[1], sighting=sighting)
        )
        self.videos.append((cache, video))
        assert set(readable(video)) >= self.sure.get(video.version, set())

    @precondition(lambda self: self.videos)
    @rule(at=at_random, which=blocks)
    def put(self, at: float, which: list[int]) -> None:
        cache, video = self.videos[int(at * len(self.videos))]
        opened(cache, video.version).release()  # it looks for files made anew
        readable(video)  # what is bad is forgotten, and can be put
        put(cache, video, *which)
        found = set(readable(video))
        if video.version.sighting is None:  # else others may take it for a leftover, as
            # long as the directory that was deleted lacks the file of this process
            assert found >= set(which)
            self.sure.setdefault(video.version, set()).update(which)

    @rule(identity=identities, which=blocks, other=st.booleans())
    def put_elsewhere(
        self, identity: tuple[str, str], which: list[int], *, other: bool
    ) -> None:
        video_id, etag = identity
        found = self.others[other].put(self.directory, video_id, etag, which)
        sure = self.sure.setdefault(version_of(video_id, etag=etag), set())
        sure.update(which)
        assert set(found) >= sure

    @precondition(lambda self: self.videos)
    @rule(at=at_random, start=st.integers(0, SIZE - 1), size=st.integers(1, SIZE))
    def read(self, at: float, start: int, size: int) -> None:
        cache, video = self.videos[int(at * len(self.videos))]
        span = ByteRange(start, start + size).clip(SIZE)
        found = read(video, span.start, span.stop)
        if found is not None:
            assert found == ramp(video.version.video_id, span.start, span.stop)
        assert cache.settle(10)

    @precondition(lambda self: self.videos)
    @rule(at=at_random)
    def release(self, at: float) -> None:
        _, video = self.videos.pop(int(at * len(self.videos)))
        video.release()

    # No precondition: what is on disk at a step is the threads' doing as well, and
    # Hypothesis must find the same rules each time.
    @rule(
        at=at_random,
        where=at_random,
        ending=st.sampled_from(["data", "index"]),
        how=st.sampled_from(["flip", "zero", "cut", "delete"]),
    )
    def damage(self, at: float, where: float, ending: str, how: str) -> None:
        found = there(self.directory, ending)
        if not found:
            return
        path = found[int(at * len(found))]
        self.sure.clear()
        size = path.stat().st_size
        offset = int(where * size)
        if how == "delete":
            path.unlink()
        elif how == "cut":
            os.truncate(path, offset)
        elif size:
            with path.open("r+b", buffering=0) as file:
                old = os.pread(file.fileno(), 1 if how == "flip" else 4096, offset)
                new = (
                    bytes(byte ^ 1 for byte in old)
                    if how == "flip"
                    else bytes(len(old))
                )
                os.pwrite(file.fileno(), new, offset)

    @rule(most=st.integers(0, 4 * SIZE))
    def trim(self, most: int) -> None:
        (self.directory / "v2").mkdir(parents=True, exist_ok=True, mode=0o700)
        stock.trim(self.directory, most)
        assert sum(video.taken_bytes for video in stock.videos(self.directory)) <= most
        self.sure.clear()

    @rule()
    def delete_the_directory(self) -> None:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.sure.clear()

    @rule()
    def verify(self) -> None:
        (self.directory / "v2").mkdir(parents=True, exist_ok=True, mode=0o700)
        list(stock.verify(self.directory))
        assert not any(one.bad_blocks for one in stock.verify(self.directory))


@pytest.mark.slow
def test_no_byte_is_wrong_and_none_is_lost(others):
    """Whatever processes on one directory do, in any order, and whatever is damaged."""
    # Threads have a part in it, so that no failure is made smaller by running it again.
    examples = settings(
        max_examples=20,
        stateful_step_count=20,
        deadline=None,
        phases=[Phase.generate],
        report_multiple_bugs=False,
        suppress_health_check=[*HealthCheck],
    )
    run_state_machine_as_test(DiskMachine, settings=examples)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_no_wrong_byte(others, tmp_path):
    """Fifty processes are killed while they write; their blocks are right, or absent."""
    chance = random.Random(7)
    for number in range(50):
        child = others[0].forever(tmp_path, number)
        time.sleep(chance.uniform(0, 0.02))
        os.kill(child, signal.SIGKILL)

    processes = Processes(tmp_path)
    cache = processes()
    versions = [video.version for video in stock.videos(tmp_path)]
    found = [len(readable(opened(cache, version))) for version in versions]
    assert len(versions) >= 50
    assert sum(found) >= 50, "what was written in time is there"
    assert not any(one.bad_blocks for one in stock.verify(tmp_path))
    processes.close()
