"""Open files of hing://: reads, positions, versions, and what becomes of a lost one."""

import errno
import gc
import io
import math
import pickle
import threading
from typing import Any

import pytest

from hingfs.fsspec import engines
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import eventually
from tests.support.personalities import PERSONALITIES

SIZE = 5_000_000


@pytest.fixture
def video(endpoint: FakeEndpoint):
    return endpoint.add("clip", size_bytes=SIZE)


def test_it_reads_as_a_file_of_python_does(fs, video):
    """Each step beside a file in memory that has the same bytes."""
    steps: list[tuple[Any, ...]] = [
        *(("read", 10), ("tell",), ("seek", -7, 2), ("read",), ("read", 5), ("tell",)),
        *(("seek", 100), ("read", 0), ("read1", 20), ("seek", 30, 1), ("tell",)),
        *(("read", 3_000_000), ("seek", SIZE + 9), ("read", 1), ("tell",)),
        *(("seek", 0), ("read", -1), ("read", None), ("seek", 12), ("readline",)),
        *(("readable",), ("seekable",), ("writable",)),
    ]
    known = io.BytesIO(video.read(0, SIZE))
    with fs.open("hing://clip") as file:
        for method, *arguments in steps:
            if method == "writable":
                assert not file.writable()
            else:
                found = getattr(file, method)(*arguments)
                assert found == getattr(known, method)(*arguments), (method, arguments)
    assert file.closed


@pytest.mark.parametrize("method", ["readinto", "readinto1"])
def test_it_reads_into_what_the_caller_has(fs, video, method):
    with fs.open("clip") as file:
        file.seek(SIZE - 1000)
        target = bytearray(600)
        assert getattr(file, method)(target) == 600
        assert bytes(target) == video.read(SIZE - 1000, SIZE - 400)

        assert getattr(file, method)(memoryview(target).cast("I")) == 400
        assert bytes(target[:400]) == video.read(SIZE - 400, SIZE)
        assert getattr(file, method)(target) == 0


def test_it_tells_of_itself(fs, video):
    file = fs.open("hing://clip")

    assert (file.size, file.path, file.mode) == (SIZE, "clip.mp4", "rb")
    assert file.fs is fs
    with pytest.raises(ValueError, match="before the start"):
        file.seek(-1)
    with pytest.raises(ValueError, match="whence"):
        file.seek(0, 9)
    with pytest.raises(io.UnsupportedOperation):
        file.write(b"x")
    file.close()
    file.close()
    for call in (file.read, file.open, lambda: pickle.dumps(file)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_text_and_lines_are_read_through_it(fs, endpoint):
    endpoint.add("text", data=b"first\nsecond\n")

    with fs.open("text", "r") as lines:
        assert list(lines) == ["first\n", "second\n"]


def test_small_reads_make_no_request_each(fs, endpoint, video):
    with fs.open("clip") as file:
        file.read(1)
        endpoint.wait_until_idle()
        asked = len(endpoint.log)
        for _ in range(1000):
            file.read(32)
        endpoint.wait_until_idle()

    assert len(endpoint.log) - asked <= 2  # of the read-ahead
    assert endpoint.bytes_served_twice("clip") == 0


def test_a_version_that_changes_while_it_is_read_is_stale(make, endpoint, video):
    """Never bytes of both; a new open reads the new one."""
    fs = make(metadata_ttl="0s")
    file = fs.open("clip")
    assert file.read(1000) == video.read(0, 1000)
    before = video.read(0, SIZE)
    video.replace()

    with fs.open("clip") as new:
        assert new.read() == video.read(0, SIZE) != before
    with pytest.raises(OSError) as refusal:
        file.read(SIZE)
    assert refusal.value.errno == errno.ESTALE
    file.close()


def test_a_pickle_goes_on_where_the_file_was(fs, endpoint, video):
    with fs.open("clip") as file:
        file.seek(12345)
        again = pickle.loads(pickle.dumps(file))

    assert again.tell() == 12345
    assert again.read(10) == video.read(12345, 12355)
    again.close()


def test_a_pickle_of_a_version_that_is_gone_is_stale(make, endpoint, video):
    fs = make(metadata_ttl="0s")
    with fs.open("clip") as file:
        file.read(10)
        pickled = pickle.dumps(file)
    video.replace()

    again = pickle.loads(pickled)
    with pytest.raises(OSError) as refusal:
        again.read(10)
    assert refusal.value.errno == errno.ESTALE


def test_a_file_that_nobody_closed_is_closed(fs, video):
    """By the thread for that, since it may be collected under any lock."""
    readers = fs.lease().engine.readers
    file = fs.open("clip")
    file.read(10)
    (kept,) = readers._readers.values()
    assert kept.handles == 1

    cycle = [file]
    cycle.append(cycle)
    del file, cycle
    gc.collect()

    eventually(lambda: kept.handles == 0, "the file is closed")


def test_an_engine_ends_with_its_last_holder(make, video):
    """A filesystem, or a file that is open."""
    fs = make(skip_instance_cache=True)
    file = fs.open("clip")
    transport = fs.lease().engine.transport
    pool = fs.lease().pool
    del fs
    gc.collect()
    assert file.read(10) == video.read(0, 10)
    assert pool._closed is None

    file.fs = None
    file.close()
    del file
    gc.collect()

    eventually(lambda: pool._closed is not None, "the engine is closed")
    eventually(lambda: transport.join(0.1), "its threads have ended")
    assert not list(engines.here()._leases)


@pytest.mark.usefixtures("video")
@pytest.mark.parametrize(
    ("personality", "fault"),
    [
        ("openai", faults.reset_at(0)),
        ("litellm_new", faults.stall_at(1_000_000, threading.Event())),
    ],
    ids=["ranges", "whole"],
)
def test_a_read_that_failed_holds_no_buffer(make, endpoint, personality, fault):
    """Not even while its error is there: a bytearray can grow again, or BufferError."""
    endpoint.personality = PERSONALITIES[personality]
    endpoint.inject(fault, math.inf, faults.content_get)
    with make(read_timeout="300ms").open("clip") as file:
        file.seek(SIZE // 2)
        target = bytearray(2_000_000)

        with pytest.raises(OSError) as refusal:
            file.readinto(target)

        assert refusal.value.__context__ is None
        target.append(0)
        assert file.tell() == SIZE // 2
