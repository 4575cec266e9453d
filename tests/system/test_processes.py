"""Processes that read one film at the same time: what its server sends, counted."""

import contextlib
import hashlib
import math
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from tests.support.endpoint import (
    FakeEndpoint,
    Fault,
    LoggedRequest,
    stall_at,
    video_answer,
)
from tests.support.mounting import BINDINGS, Mounted, eventually
from tests.support.personalities import Video
from tests.support.reading_process import Readers

SIZE_BYTES = 40_000_000


@pytest.fixture
def readers(endpoint: FakeEndpoint, tmp_path: Path) -> Iterator[Readers]:
    (tmp_path / "cache").mkdir(mode=0o700)
    readers = Readers(endpoint, tmp_path / "cache")
    yield readers
    readers.close()


@pytest.fixture
def film(endpoint: FakeEndpoint) -> Video:
    return endpoint.add("film", size_bytes=SIZE_BYTES)


def sha256(video: Video) -> str:
    return hashlib.sha256(video.read(0, video.size_bytes)).hexdigest()


def sent(endpoint: FakeEndpoint) -> int:
    """How many bytes of the film were sent, once nothing is on its way."""
    endpoint.wait_until_idle()
    return endpoint.content_bytes("film")


@pytest.mark.parametrize("count", [2, 4, 6])
def test_all_processes_together_cost_one_transfer(endpoint, readers, film, count):
    assert readers.read(count, "film") == {sha256(film)}

    assert SIZE_BYTES <= sent(endpoint) <= 1.02 * SIZE_BYTES


def hangs(record: LoggedRequest) -> bool:
    return record.fault == "stall_at" and not record.finished


@contextlib.contextmanager
def holder(
    endpoint: FakeEndpoint, readers: Readers
) -> Iterator[tuple[int, Callable[[], None]]]:
    """A process two of whose transfers hang in their middle, and what lets them go on."""
    go_on = threading.Event()
    late = lambda request: request.range is not None and request.range[0] > 8 * MIB  # noqa: E731
    endpoint.inject(stall_at(MIB // 2, go_on), times=math.inf, where=late)
    try:
        child = readers.start("film")
        endpoint.wait_until(lambda: sum(map(hangs, endpoint.log)) >= 2)
        endpoint.calm()
        yield child, go_on.set
    finally:
        go_on.set()


def test_a_process_that_is_killed_leaves_its_blocks_to_the_others_at_once(
    endpoint, readers, film
):
    """They would wait 1,000 s for one that hangs."""
    with holder(endpoint, readers) as (killed, _):
        others = [readers.start("film") for _ in range(2)]
        eventually(
            lambda: endpoint.content_bytes("film") > SIZE_BYTES // 2, "all but its own"
        )
        os.kill(killed, signal.SIGKILL)

        assert readers.wait(killed).status == -signal.SIGKILL
        assert {readers.sha256(other) for other in others} == {sha256(film)}


def test_a_process_that_hangs_is_waited_for_in_vain_for_a_while_and_goes_on(
    endpoint, readers, film
):
    with holder(endpoint, readers) as (stopped, let):
        os.kill(stopped, signal.SIGSTOP)
        others = [readers.start("film", stall_seconds=0.5) for _ in range(2)]
        assert {readers.sha256(other) for other in others} == {sha256(film)}

        let()
        os.kill(stopped, signal.SIGCONT)
        assert readers.sha256(stopped) == sha256(film)
    endpoint.reset_log()
    assert readers.read(1, "film") == {sha256(film)}
    assert sent(endpoint) == 0, "what it wrote late is what was there"


def test_without_a_strong_validator_each_process_has_a_transfer_of_its_own(
    endpoint, readers, film
):
    """Once one of them has a copy that is whole, the next process reads that."""
    weak = lambda a, _: a.without_headers("ETag")  # noqa: E731
    endpoint.inject(Fault("weak", weak, video_answer), math.inf)

    assert readers.read(3, "film") == {sha256(film)}
    assert 2 * SIZE_BYTES < sent(endpoint) <= 3 * 1.02 * SIZE_BYTES

    endpoint.reset_log()
    assert readers.read(3, "film") == {sha256(film)}
    assert sent(endpoint) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount")
def test_a_disk_that_is_full_keeps_no_process_waiting(
    endpoint, readers, film, tmp_path
):
    directory = tmp_path / "cache"
    size = "size=8m,mode=700"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", size, "hingfs", directory], check=True
    )
    try:
        assert readers.read(3, "film") == {sha256(film)}
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_directory_that_is_deleted_keeps_no_process_waiting(
    endpoint, readers, film, tmp_path
):
    children = [readers.start("film") for _ in range(3)]
    endpoint.wait_until(lambda: endpoint.content_bytes("film") >= 4 * MIB)
    for _ in range(20):
        shutil.rmtree(tmp_path / "cache", ignore_errors=True)

    assert {readers.sha256(child) for child in children} == {sha256(film)}


@pytest.mark.fuse
def test_two_mounts_at_once_cost_one_transfer(endpoint, film, tmp_path):
    with contextlib.ExitStack() as stack:
        mounts = [
            stack.enter_context(
                Mounted(endpoint, binding, "--no-check", XDG_CACHE_HOME=str(tmp_path))
            )
            for binding in BINDINGS
        ]
        sums = [
            subprocess.Popen(
                ["sha256sum", mounted.path("film")], stdout=subprocess.PIPE, text=True
            )
            for mounted in mounts
        ]
        for one in sums:
            told, _ = one.communicate(timeout=30)
            assert told.split()[0] == sha256(film)

        assert SIZE_BYTES <= sent(endpoint) <= 1.02 * SIZE_BYTES
