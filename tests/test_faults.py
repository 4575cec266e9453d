"""Every fault of networks and servers: over when it passes, an errno when it stays.

The faults strike under `HingOperations` of a mount that is wired up and not mounted;
a handful is repeated through the mounts of both bindings. Whatever happens, a read
gives exactly the video's bytes or fails with an errno, and no call outlasts its
deadline; `Program` checks both on each call.
"""

import errno
import itertools
import math
import os
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from pathlib import Path

import pytest
import urllib3.util.connection
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hingfs import client as client_module
from hingfs import fetcher as fetcher_module
from hingfs.binding import Refusal
from hingfs.config import Token
from hingfs.mount import Mount
from tests import endpoint as faults
from tests.conftest import Build, LogWatch
from tests.endpoint import FakeEndpoint, Fault, Video
from tests.mounting import (
    BINDINGS,
    Handle,
    Mounted,
    each_binding,
    errno_of,
    eventually,
    run,
)
from tests.personalities import PERSONALITIES, Request
from tests.test_transport import certificate

# Several requests: head and tail at open, the rest in between as it is read.
SIZE_BYTES = 2_000_003
# What the kernel asks for at once through libfuse 2.
READ_BYTES = 128 * 1024
# A machine under load is slow, a hang lasts for ever.
SLACK_SECONDS = 20.0
NEVER = threading.Event()

BROKEN = frozenset({"EIO", "ETIMEDOUT"})
CHANGED = frozenset({"ESTALE"})


def content_get(request: Request) -> bool:
    return request.kind == "content" and request.method == "GET"


def every_second(where: Callable[[Request], bool]) -> Callable[[Request], bool]:
    """Every second one of the requests that *where* allows, the first included."""
    turns = itertools.cycle([True, False])
    return lambda request: where(request) and next(turns)


class Program:
    """What a program gets from a mount that is wired up and not mounted.

    No call may outlast its deadline, no byte may be wrong: each call checks that.
    """

    def __init__(self, mount: Mount) -> None:
        self._operations = mount.operations
        endpoint = mount._config.endpoint
        self._name_seconds = endpoint.metadata_seconds
        self._read_seconds = endpoint.read_seconds

    def size_of(self, video: Video) -> int:
        """What stat says of *video*."""
        path = f"/{video.video_id}.mp4"
        with by_deadline(self._name_seconds):
            return self._operations.getattr(path, None)["st_size"]

    def names(self) -> list[str]:
        with by_deadline(self._name_seconds):
            return [name for name, _ in self._operations.readdir("/")][2:]

    @contextmanager
    def opened(self, video: Video) -> Iterator[int]:
        path = f"/{video.video_id}.mp4"
        with by_deadline(self._name_seconds):
            handle = self._operations.open(path, os.O_RDONLY).handle
        try:
            yield handle
        finally:
            self._operations.release(handle)

    def check(self, handle: int, video: Video, offset: int, count: int) -> None:
        """A read at *offset* gives the bytes of *video* there, all of them."""
        buffer = bytearray(b"\xee" * count)
        with by_deadline(self._read_seconds):
            got = self._operations.read_into(handle, memoryview(buffer), offset)
        expected = video.read(offset, offset + count)
        assert got == len(expected), f"{got} bytes at {offset}, not {len(expected)}"
        assert buffer[:got] == expected, f"wrong bytes in {count} at {offset}"

    def check_all(self, handle: int, video: Video) -> None:
        """Reading *video* from the start to the end of file gives its bytes."""
        for offset in range(0, video.size_bytes + 1, READ_BYTES):
            self.check(handle, video, offset, READ_BYTES)


@contextmanager
def by_deadline(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        lasted = time.monotonic() - started
        assert lasted < seconds + SLACK_SECONDS, f"a call of {lasted:.1f} s"


def errno_refused(call: Callable[[], object]) -> str:
    """The name of the errno that *call* is refused with."""
    with pytest.raises(Refusal) as refused:
        call()
    return errno.errorcode[refused.value.errno]


def succeeds(program: Program, handle: int, video: Video) -> bool:
    try:
        program.check_all(handle, video)
    except Refusal:
        return False
    return True


def forgive(log: LogWatch, pattern: str) -> None:
    """Lines with *pattern* were allowed, not demanded."""
    log.lines[:] = [line for line in log.lines if not re.search(pattern, line)]


@pytest.fixture(autouse=True)
def failures_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A failed block is asked for again at once, so that no test has to wait."""
    monkeypatch.setattr(fetcher_module, "FAILURE_MEMORY_SECONDS", 0.0)


@pytest.fixture
def video(endpoint: FakeEndpoint) -> Video:
    return endpoint.add("video", size_bytes=SIZE_BYTES)


@pytest.fixture
def make(build: Build) -> Callable[..., Program]:
    """A `Program` on a mount with little patience; *options* as `build` takes them."""

    def make(**options: object) -> Program:
        patience: dict[str, object] = {
            "stall_seconds": 0.3,
            "read_seconds": 2.5,
            "metadata_seconds": 2.5,
            "retry_after_seconds": 5.0,
        }
        return Program(build(**{**patience, **options}))

    return make


# --- the list ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Case:
    """A named fault, made anew for each test.

    *stays*: the errnos that a read may end with while every answer is spoilt so;
    none: the bytes arrive all the same. *identity*: the fault looks like another
    version of the video, which two answers in a row prove.
    """

    name: str
    fault: Callable[[], Fault]
    stays: frozenset[str] = BROKEN
    identity: bool = False


def in_seconds(seconds: float) -> str:
    return formatdate(time.time() + seconds, usegmt=True)


ARRIVES: frozenset[str] = frozenset()

CONTENT_CASES = [
    Case("connection closed at once", faults.refuse_connection),
    Case("reset at byte 0", lambda: faults.reset_at(0)),
    Case("reset at byte 150,000", lambda: faults.reset_at(150_000), ARRIVES),
    Case("end at byte 0", lambda: faults.close_at(0)),
    Case("end at byte 150,000", lambda: faults.close_at(150_000), ARRIVES),
    Case("stall at byte 0", lambda: faults.stall_at(0, NEVER)),
    Case("stall at byte 150,000", lambda: faults.stall_at(150_000, NEVER), ARRIVES),
    Case("slow drip", lambda: faults.drip(1_000_000), ARRIVES),
    Case("stall before the headers", lambda: faults.stall_before_headers(NEVER)),
    Case("short body with Content-Length", lambda: faults.short_content_length(1)),
    Case("short body without Content-Length", lambda: faults.short_chunked(1)),
    Case("short of its Content-Range", lambda: faults.short_of_range(1)),
    Case("chunked", faults.chunked, ARRIVES),
    Case("until the connection closes", faults.until_close, ARRIVES),
    Case("empty body", faults.empty_body),
    Case("206 with a wrong start", faults.wrong_start),
    Case("206 with a wrong total", faults.wrong_total, CHANGED, identity=True),
    Case("206 with more than asked", faults.more_than_asked),
    Case("200 to a range", faults.answer_200_to_range, ARRIVES),
    Case("416", faults.status_416),
    Case("gzip", faults.gzip_encoded, ARRIVES),
    Case("multipart", faults.multipart_206),
    Case("429 with seconds", lambda: faults.status(429, "1")),
    Case("429 with a date", lambda: faults.status(429, in_seconds(2))),
    Case("429 without a time", lambda: faults.status(429)),
    Case("500", lambda: faults.status(500)),
    Case("502", lambda: faults.status(502)),
    Case("503", lambda: faults.status(503)),
    Case("503 with seconds", lambda: faults.status(503, "1")),
    Case("504", lambda: faults.status(504)),
    Case("another ETag", faults.wrong_etag, CHANGED, identity=True),
    Case("a new ETag each time", faults.etag_changes, CHANGED, identity=True),
    Case("redirect loop", faults.redirect_loop),
    Case("an error as 200", faults.json_200),
    Case("headers without end", faults.header_bomb),
    Case("a page without end", lambda: faults.huge_error_page(503)),
]
each_case = pytest.mark.parametrize("case", CONTENT_CASES, ids=lambda case: case.name)


@each_case
def test_a_fault_that_passes_is_invisible(
    make: Callable[..., Program], endpoint: FakeEndpoint, video: Video, case: Case
) -> None:
    """It strikes once in a read of the whole file, and the reader gets every byte."""
    program = make()
    assert program.size_of(video) == SIZE_BYTES
    endpoint.inject(case.fault(), where=content_get)

    with program.opened(video) as handle:
        program.check_all(handle, video)

    assert endpoint.faults_left == 0


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CONTENT_CASES
        # Waits of a second add up, what looks like a change twice is one, and what
        # strikes before there is a request cannot tell which is the second.
        if not case.identity
        and not re.search("seconds|date|headers$|closed at once", case.name)
    ],
    ids=lambda case: case.name,
)
def test_a_fault_of_every_second_answer_is_invisible(
    make: Callable[..., Program], endpoint: FakeEndpoint, video: Video, case: Case
) -> None:
    program = make(read_seconds=20.0)
    assert program.size_of(video) == SIZE_BYTES
    fault = case.fault()
    endpoint.inject(fault, math.inf, every_second(content_get))

    with program.opened(video) as handle:
        program.check_all(handle, video)

    assert fault.name in {record.fault for record in endpoint.log}


@each_case
def test_a_fault_that_stays_is_an_errno_and_ends_without_a_remount(
    make: Callable[..., Program],
    endpoint: FakeEndpoint,
    video: Video,
    case: Case,
    quiet_log: LogWatch,
) -> None:
    """Never a wrong or short read; and where bytes arrive all the same, all of them."""
    program = make()
    assert program.size_of(video) == SIZE_BYTES
    endpoint.inject(case.fault(), math.inf, content_get)

    with program.opened(video) as handle:
        if case.stays:
            said = errno_refused(lambda: program.check_all(handle, video))
            assert said in case.stays
        else:
            program.check_all(handle, video)
        endpoint.calm()
        if not case.identity:
            # A read may join a transfer that has seen the fault, and fail with it.
            eventually(lambda: succeeds(program, handle, video), "an end of the fault")

    with program.opened(video) as handle:  # and a new open sees the video as it is
        program.check_all(handle, video)
    forgive(quiet_log, "^ERROR hingfs.operations: read_into ")
