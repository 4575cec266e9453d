"""Every fault of networks and servers: over when it passes, an errno when it stays.

The faults strike under `HingOperations` of a mount that is wired up and not mounted;
a handful is repeated through the mounts of both bindings. Whatever happens, a read
gives exactly the video's bytes or fails with an errno, and no call outlasts its
deadline; `Program` checks both on each call.
"""

import errno
import itertools
import math
import random
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hingfs.http import breaker, patience
from hingfs.mount.filesystem import Refusal
from hingfs.mount.serving import Mount
from hingfs.token import Token
from tests.conftest import Build, LogWatch
from tests.support import endpoint as faults
from tests.support.attempts import Attempts
from tests.support.certificates import certificate
from tests.support.endpoint import FakeEndpoint, Fault, Video, content_get
from tests.support.memories import remember_failed_transfers
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    eventually,
    own_mount,
    run,
)
from tests.support.personalities import PERSONALITIES, Request, text_response
from tests.support.reading import DirectHandle, Handle, Opened, errno_of
from tests.support.views import pause_of

# Several requests: head and tail at open, the rest in between as it is read.
SIZE_BYTES = 2_000_003
# What the kernel asks for at once through libfuse 2.
READ_BYTES = 128 * 1024
# A machine under load is slow, a hang lasts for ever.
SLACK_SECONDS = 20.0
NEVER = threading.Event()

BROKEN = frozenset({"EIO", "ETIMEDOUT"})
CHANGED = frozenset({"ESTALE"})


def every_second(where: Callable[[Request], bool]) -> Callable[[Request], bool]:
    """Every second one of the requests that *where* allows, the first included."""
    turns = itertools.cycle([True, False])
    return lambda request: where(request) and next(turns)


class Program:
    """What a program gets from a mount that is wired up and not mounted.

    No call may outlast its deadline, no byte may be wrong: each call checks that.
    """

    def __init__(self, mount: Mount) -> None:
        self.mount = mount
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
            return [entry.name for entry in self._operations.readdir("/")][2:]

    @contextmanager
    def opened(self, video: Video) -> Iterator[Opened]:
        with by_deadline(self._name_seconds):
            handle = DirectHandle(self._operations, f"/{video.video_id}.mp4")
        with handle:
            yield handle

    def check(self, handle: Opened, video: Video, offset: int, count: int) -> None:
        """A read at *offset* gives the bytes of *video* there, all of them."""
        with by_deadline(self._read_seconds):
            data = handle.read(offset, count)
        expected = video.read(offset, offset + count)
        assert len(data) == len(expected), f"{len(data)} bytes at {offset}"
        assert data == expected, f"wrong bytes in {count} at {offset}"

    def check_all(self, handle: Opened, video: Video) -> None:
        """Reading *video* from the start to the end of file gives its bytes."""
        for offset in range(0, video.size_bytes + 1, READ_BYTES):
            self.check(handle, video, offset, READ_BYTES)

    def check_whole(self, video: Video) -> None:
        """An open of *video* reads all of it."""
        with self.opened(video) as handle:
            self.check_all(handle, video)


@contextmanager
def begun(
    program: Program, endpoint: FakeEndpoint
) -> Iterator[tuple[Opened, Video, Callable[[], None]]]:
    """A handle whose head has been read, and a read of what nobody has asked for yet."""
    video = endpoint.add("video", size_bytes=8_000_000)
    with program.opened(video) as handle:
        program.check(handle, video, 0, READ_BYTES)
        endpoint.wait_until_idle()
        far = partial(program.check, handle, video.snapshot(), 5_000_000, READ_BYTES)
        yield handle, video, far


@contextmanager
def by_deadline(seconds: float) -> Iterator[None]:
    started = time.monotonic()
    try:
        yield
    finally:
        lasted = time.monotonic() - started
        assert lasted < seconds + SLACK_SECONDS, f"a call of {lasted:.1f} s"


def succeeds(call: Callable[[], object]) -> bool:
    return errno_of(call) == "none"


def forgive(log: LogWatch, pattern: str) -> None:
    """Lines with *pattern* were allowed, not demanded."""
    log.lines[:] = [line for line in log.lines if not re.search(pattern, line)]


@pytest.fixture(autouse=True)
def dead_servers_are_asked_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that was dead is asked again soon, so that no test has to wait."""
    monkeypatch.setattr(breaker, "PROBE_SECONDS", 0.3)


@pytest.fixture
def video(endpoint: FakeEndpoint) -> Video:
    return endpoint.add("video", size_bytes=SIZE_BYTES)


Make = Callable[..., Program]


@pytest.fixture
def make(build: Build) -> Make:
    """A `Program` on a mount with little patience; *options* as `build` takes them."""

    def make(**options: object) -> Program:
        patience: dict[str, object] = {
            "stall_seconds": 0.15,
            "read_seconds": 0.7,
            "metadata_seconds": 0.7,
            "retry_after_seconds": 5.0,
        }
        mount = build(**{**patience, **options})
        remember_failed_transfers(mount.engine, 0.0)  # or a test would have to wait
        return Program(mount)

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

    @property
    def pauses(self) -> bool:
        """True if it names a time of a second or two."""
        return bool(re.search("seconds|date", self.name))

    @property
    def patience_seconds(self) -> float:
        """How long a call has to outlive it once; half of it waits for a head."""
        return 1.0 if re.search("headers$|before the body", self.name) else 4.0


def in_seconds(seconds: float) -> str:
    """A Retry-After date, which has no fractions: up to a second less."""
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
    Case("drip before the body", lambda: faults.drip_headers(50)),
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
    # Of GET alone, while HEAD stays with its own: that of GET counts.
    Case("another ETag", faults.wrong_etag, ARRIVES, identity=True),
    Case("a new ETag each time", faults.etag_changes, ARRIVES, identity=True),
    Case("redirect loop", faults.redirect_loop),
    Case("an error as 200", faults.json_200),
    Case("headers without end", faults.header_bomb),
    Case("a page without end", lambda: faults.huge_error_page(503)),
]
each_case = pytest.mark.parametrize("case", CONTENT_CASES, ids=lambda case: case.name)


@each_case
def test_a_fault_that_passes_is_invisible(
    make: Make, endpoint: FakeEndpoint, video: Video, case: Case
) -> None:
    """It strikes once in a read of the whole file, and the reader gets every byte."""
    program = make(read_seconds=case.patience_seconds, metadata_seconds=10.0)
    assert program.size_of(video) == SIZE_BYTES
    endpoint.stop()  # or the connections of the stat would be used again
    endpoint.start()
    endpoint.inject(case.fault(), where=content_get)

    program.check_whole(video)

    assert endpoint.faults_left == 0


@pytest.mark.parametrize(
    "case",
    [
        case
        for case in CONTENT_CASES
        # Waits of a second add up, what looks like a change twice is one, and what
        # strikes before there is a request cannot tell which is the second.
        if not case.identity
        and not case.pauses
        and not re.search("headers$|closed at once", case.name)
    ],
    ids=lambda case: case.name,
)
def test_a_fault_of_every_second_answer_is_invisible(
    make: Make, endpoint: FakeEndpoint, video: Video, case: Case
) -> None:
    waits_for_heads = case.name == "drip before the body"  # half of its time, each
    read_seconds = 3.0 if waits_for_heads else 6.0
    program = make(read_seconds=read_seconds, metadata_seconds=10.0)
    assert program.size_of(video) == SIZE_BYTES
    fault = case.fault()
    endpoint.inject(fault, math.inf, every_second(content_get))

    program.check_whole(video)

    assert fault.name in {record.fault for record in endpoint.log}


@each_case
def test_a_fault_that_stays_is_an_errno_and_ends_without_a_remount(
    make: Make,
    endpoint: FakeEndpoint,
    video: Video,
    case: Case,
    quiet_log: LogWatch,
) -> None:
    """Never a wrong or short read; and where bytes arrive all the same, all of them."""
    # Only a read that fails waits for its deadline.
    read_seconds = 0.7 if case.stays else 5.0
    program = make(read_seconds=read_seconds, metadata_seconds=10.0)
    assert program.size_of(video) == SIZE_BYTES
    endpoint.inject(case.fault(), math.inf, content_get)
    if case.fault().at_accept:  # which a connection that is open already survives
        endpoint.stop()
        endpoint.start()

    with program.opened(video) as handle:
        if case.stays:
            said = errno_of(lambda: program.check_all(handle, video))
            assert said in case.stays
        else:
            program.check_all(handle, video)
        endpoint.calm()
        if not case.identity:
            # A read may join a transfer that has seen the fault, and fail with it.
            eventually(
                lambda: succeeds(lambda: program.check_all(handle, video)), "its end"
            )

    program.check_whole(video)  # a new open sees the video as it is
    forgive(quiet_log, "^ERROR hingfs.mount.operations: read ")


@pytest.mark.parametrize(
    "fault",
    [faults.stall_at(0, NEVER), faults.stall_before_headers(NEVER), faults.status(503)],
    ids=lambda fault: fault.name,
)
def test_one_failure_wakes_every_waiter(
    make: Make,
    endpoint: FakeEndpoint,
    fault: Fault,
    expected_log: LogWatch,
) -> None:
    """Eight readers of a block get their errno from the tries of one transfer."""
    expected_log(r"read \S+\.mp4: ")
    with begun(make(), endpoint) as (_, _, far), ThreadPoolExecutor(8) as pool:
        endpoint.inject(fault, math.inf, content_get)
        endpoint.reset_log()
        ready = threading.Barrier(8)

        def read() -> str:
            ready.wait()
            return errno_of(far)

        outcomes = [waiter.result() for waiter in [pool.submit(read) for _ in range(8)]]

    assert set(outcomes) <= BROKEN
    # A reader that comes after the failure may be the first of another transfer. What
    # the open asked for of the tail may come late, and fail as well.
    asked = [record.range or (0, 0) for record in endpoint.requests_of("content")]
    asked_far = [start <= 5_000_000 < (stop or 0) for start, stop in asked]
    assert sum(asked_far) <= 2 * patience.READ_TRIES


def test_a_drip_slower_than_the_deadline_is_etimedout_and_is_not_wasted(
    make: Make, endpoint: FakeEndpoint, expected_log: LogWatch
) -> None:
    """Bytes that go on arriving after the read gave up are there for the next read."""
    expected_log("read .*ETIMEDOUT")
    with begun(make(read_seconds=0.4), endpoint) as (_, _, far):
        endpoint.reset_log()
        endpoint.inject(faults.drip(200_000), math.inf, content_get)

        assert errno_of(far) == "ETIMEDOUT"
        eventually(lambda: succeeds(far), "a read of what has arrived")

    asked = [record.range or (0, 0) for record in endpoint.requests_of("content")]
    assert sum(start <= 5_000_000 < (stop or 0) for start, stop in asked) == 1


# --- combined at random -----------------------------------------------------------------


PASSING = [
    faults.refuse_connection(),
    faults.reset_at(0),
    faults.reset_at(70_000),
    faults.close_at(1),
    faults.close_at(200_000),
    faults.stall_at(50_000, NEVER),
    faults.drip(2_000_000),
    faults.short_content_length(1),
    faults.short_content_length(5000),
    faults.short_chunked(300),
    faults.short_of_range(70),
    faults.chunked(),
    faults.until_close(),
    faults.empty_body(),
    faults.wrong_start(),
    faults.wrong_start(100_000),
    faults.more_than_asked(),
    faults.multipart_206(),
    faults.status_416(),
    faults.status(429, "0"),
    faults.status(429),
    faults.status(500),
    faults.status(502),
    faults.status(503),
    faults.status(504),
    faults.json_200(),
    faults.redirect_loop(),
    faults.header_bomb(20),
    faults.huge_error_page(502),
    faults.reset_at(100_000) + faults.drip(3_000_000),
    faults.wrong_start() + faults.close_at(1000),
    faults.more_than_asked(4096) + faults.chunked(),
    faults.short_of_range(100) + faults.until_close(),
]
WHOLE = [faults.answer_200_to_range(), faults.gzip_encoded()]
IDENTITY = [faults.wrong_etag(), faults.wrong_total(), faults.etag_changes()]


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    sequence=st.lists(st.sampled_from(PASSING + WHOLE), min_size=1, max_size=6),
    size_bytes=st.integers(300_000, 1_800_000),
)
def test_any_sequence_of_passing_faults_is_invisible(
    make: Make,
    endpoint: FakeEndpoint,
    sequence: list[Fault],
    size_bytes: int,
) -> None:
    """Six in a row are fewer than the tries that a transfer has."""
    assert len(sequence) < patience.READ_TRIES
    video = endpoint.add(f"video-{next(numbers)}", size_bytes=size_bytes)
    program = make(read_seconds=4.0)
    assert program.size_of(video) == size_bytes
    for fault in sequence:
        endpoint.inject(fault, where=content_get)

    program.check_whole(video)
    endpoint.calm()


numbers = itertools.count(1)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("share", [0.2, 0.6])
def test_chaos_gives_the_bytes_or_an_errno(
    make: Make,
    endpoint: FakeEndpoint,
    seed: int,
    share: float,
    quiet_log: LogWatch,
) -> None:
    """Random reads by four threads, each fault at random, on names as well."""
    videos = [
        endpoint.add(f"video-{n}", size_bytes=size)
        for n, size in enumerate([150_001, 1_000_000, 2_500_000, 4_000_001])
    ]
    program = make(
        cache={"metadata_ttl_seconds": 0.0, "cache_bytes": 2**21, "block_bytes": 2**16},
        stall_seconds=0.1,
        read_seconds=1.0,
        metadata_seconds=1.0,
    )
    endpoint.chaos(seed, share, PASSING + WHOLE + IDENTITY)

    def read(number: int) -> int:
        chance = random.Random(f"{seed}/{number}")
        right = 0
        for _ in range(8):
            video = chance.choice(videos)
            with suppress(Refusal), program.opened(video) as handle:
                for _ in range(4):
                    offset = chance.randrange(video.size_bytes)
                    with suppress(Refusal):
                        program.check(handle, video, offset, chance.choice(COUNTS))
                        right += 1
        return right

    with ThreadPoolExecutor(4) as pool:
        right = sum(pool.map(read, range(4)))

    assert {record.fault for record in endpoint.log} > {""}
    # Most of what strikes passes; had every read failed, nothing was tested.
    assert right > (0 if share > 0.5 else 64)
    endpoint.calm()
    for video in videos:
        whole = partial(program.check_whole, video)
        eventually(partial(succeeds, whole), "recovery")
    forgive(quiet_log, "hingfs.mount.operations: |kept as known")


COUNTS = [1, 4096, 65_536, READ_BYTES, 500_000]


# --- names ------------------------------------------------------------------------------


NAME_CASES = [
    Case("connection closed at once", faults.refuse_connection),
    Case("stall before the headers", lambda: faults.stall_before_headers(NEVER)),
    Case("drip before the body", lambda: faults.drip_headers(50)),
    Case("429 with seconds", lambda: faults.status(429, "1"), frozenset({"EAGAIN"})),
    Case(
        "429 with a date",
        lambda: faults.status(429, in_seconds(2)),
        frozenset({"EAGAIN", "ETIMEDOUT"}),
    ),
    Case("429 without a time", lambda: faults.status(429), frozenset({"EAGAIN"})),
    Case("500", lambda: faults.status(500)),
    Case("502", lambda: faults.status(502)),
    Case("503", lambda: faults.status(503)),
    Case("504", lambda: faults.status(504)),
    Case("redirect loop", faults.redirect_loop),
    Case("headers without end", faults.header_bomb),
    Case("a page without end", lambda: faults.huge_error_page(500)),
    Case("JSON without end", faults.deep_json),
    Case("gzip", faults.gzip_encoded, ARRIVES),
]
each_name_case = pytest.mark.parametrize("case", NAME_CASES, ids=lambda case: case.name)


@each_name_case
def test_a_fault_that_passes_hides_no_name(
    make: Make, endpoint: FakeEndpoint, video: Video, case: Case
) -> None:
    seconds = case.patience_seconds
    program = make(read_seconds=seconds, metadata_seconds=seconds)
    endpoint.inject(case.fault())

    assert program.size_of(video) == SIZE_BYTES
    assert endpoint.faults_left == 0
    with program.opened(video) as handle:
        program.check(handle, video, 0, READ_BYTES)


@each_name_case
def test_a_fault_that_stays_hides_a_name_until_it_is_over(
    make: Make,
    endpoint: FakeEndpoint,
    video: Video,
    case: Case,
    quiet_log: LogWatch,
) -> None:
    """Never ENOENT, never another size, and nothing of it is remembered."""
    program = make(
        cache={"negative_ttl_seconds": 0.0},
        metadata_seconds=1.5 if case.pauses else 0.7,
    )
    endpoint.inject(case.fault(), math.inf)

    if case.stays:
        assert errno_of(lambda: program.size_of(video)) in case.stays
        assert errno_of(program.opened(video).__enter__) in case.stays
    else:
        assert program.size_of(video) == SIZE_BYTES

    endpoint.calm()
    eventually(lambda: sized(program, video), "the name")
    program.check_whole(video)
    forgive(quiet_log, "hingfs.mount.operations: (getattr|open) ")


NOT_SERVED = frozenset({"EAGAIN"})
REFUSED = frozenset({"EIO"})  # the status says that it is completed

# Ends of the one GET by which a name is learnt where HEAD gets no answer.
# *stays*: what the name is then, while it is not seen as it is.
PROBE_CASES = [
    Case("206 with a wrong start", faults.wrong_start, ARRIVES),
    Case("206 with a wrong total", faults.wrong_total, CHANGED, identity=True),
    Case("multipart", faults.multipart_206, REFUSED),
    Case("416", faults.status_416, REFUSED),
    Case("empty body", faults.empty_body, NOT_SERVED),
    Case("short body with Content-Length", lambda: faults.short_content_length(1)),
    Case("short of its Content-Range", lambda: faults.short_of_range(1), ARRIVES),
    Case("200 to a range", faults.answer_200_to_range, ARRIVES),
    Case("an error as 200", faults.json_200, REFUSED),
    Case("a page as 200", lambda: faults.json_200(b"<h1>Log in"), REFUSED),
]


@pytest.mark.parametrize("times", [1, math.inf])
@pytest.mark.parametrize("personality", ["sglang", "litellm_new"])
@pytest.mark.parametrize("case", PROBE_CASES, ids=lambda case: case.name)
def test_a_fault_of_the_probe_is_no_wrong_size_for_a_reader(
    make: Make,
    endpoint: FakeEndpoint,
    video: Video,
    quiet_log: LogWatch,
    *,
    case: Case,
    personality: str,
    times: float,
) -> None:
    """Never ENOENT and never for long: once it is over, all is well without a remount."""
    endpoint.personality = PERSONALITIES[personality]
    program = make(cache={"negative_ttl_seconds": 0.0})
    endpoint.inject(case.fault(), times, content_get)

    # A wrong total cannot be told from another version before anything is read.
    sizes = {SIZE_BYTES, SIZE_BYTES + 1} if case.identity else {SIZE_BYTES}
    assert told_of(program, video) in sizes | case.stays
    endpoint.calm()
    if program.size_of(video) != SIZE_BYTES:
        with program.opened(video) as handle:
            assert errno_of(lambda: program.check_all(handle, video)) == "ESTALE"

    program.check_whole(video)
    assert program.size_of(video) == SIZE_BYTES
    # A body that is announced and never comes is trouble, and no empty file.
    forgive(
        quiet_log,
        "hingfs.mount.operations: (read .*ESTALE|.*before its length|.*is refused)",
    )


def told_of(program: Program, video: Video) -> int | str:
    """What stat says of *video*: its size, or the name of an errno."""
    try:
        return program.size_of(video)
    except Refusal as refused:
        return errno.errorcode[refused.errno or 0]


def page(code: int) -> Fault:
    """What a gateway says in place of an API that is being maintained."""
    answer = text_response(code, b"<html>We will be back", "text/html")
    return faults._instead("page", lambda: answer)


each_page = pytest.mark.parametrize("code", [200, 404, 405, 500, 503])


@each_page
def test_a_page_in_place_of_the_status_hides_a_name_until_it_is_over(
    make: Make,
    endpoint: FakeEndpoint,
    video: Video,
    expected_log: LogWatch,
    code: int,
) -> None:
    """The route gave a status once; what is served now may be half written."""
    expected_log("getattr .*EIO")
    endpoint.personality = PERSONALITIES["sglang_partial"]
    other = endpoint.add("other", status="in_progress", size_bytes=SIZE_BYTES)
    program = make(cache={"negative_ttl_seconds": 0.0})
    assert told_of(program, video) == SIZE_BYTES
    endpoint.inject(page(code), math.inf, lambda r: r.kind == "status")

    assert [told_of(program, other) for _ in range(2)] == ["EIO"] * 2

    endpoint.calm()
    assert told_of(program, other) == "EAGAIN"
    endpoint.set_status("other", "completed")
    assert told_of(program, other) == SIZE_BYTES


@each_page
def test_a_page_in_place_of_the_list_empties_and_ends_no_listing(
    make: Make,
    endpoint: FakeEndpoint,
    video: Video,
    expected_log: LogWatch,
    code: int,
) -> None:
    expected_log("the last listing")
    program = make(cache={"listing_ttl_seconds": 0.0})
    assert program.names() == ["video.mp4"]
    endpoint.add("other")
    endpoint.inject(page(code), math.inf, lambda r: r.kind == "list")

    assert [program.names() for _ in range(2)] == [["video.mp4"]] * 2

    endpoint.calm()
    assert program.names() == ["other.mp4", "video.mp4"]


@pytest.mark.parametrize(
    "fault",
    [
        faults.refuse_connection(),
        faults.stall_before_headers(NEVER),
        faults.status(500),
        faults.status(503),
        faults.huge_error_page(502),
    ],
    ids=lambda fault: fault.name,
)
def test_a_listing_is_whole_or_an_error(
    make: Make,
    endpoint: FakeEndpoint,
    fault: Fault,
    expected_log: LogWatch,
) -> None:
    """A page that fails once is asked for again; a short listing is never shown."""
    expected_log("readdir")
    for number in range(130):
        endpoint.add(f"video-{number:03}", size_bytes=10_000)
    expected = [f"video-{number:03}.mp4" for number in range(130)]
    program = make(cache={"listing_ttl_seconds": 0.0})

    def second_page(request: Request) -> bool:
        return "after" in request.query

    endpoint.inject(fault, math.inf, second_page)
    assert errno_of(program.names) in BROKEN

    endpoint.calm()
    eventually(lambda: succeeds(program.names), "the listing")
    endpoint.inject(fault, 1, second_page)
    assert program.names() == expected


def sized(program: Program, video: Video) -> bool:
    return told_of(program, video) == video.size_bytes


# --- what changes, expires or is refused under way ------------------------------------------


@pytest.mark.parametrize("how", ["other bytes", "shorter", "longer", "another ETag"])
def test_a_change_between_two_ranges_is_estale_and_no_byte_of_it_is_seen(
    make: Make,
    endpoint: FakeEndpoint,
    expected_log: LogWatch,
    how: str,
) -> None:
    expected_log("read .*ESTALE")
    program = make()
    with begun(program, endpoint) as (_, video, far):
        if how == "another ETag":
            endpoint.inject(faults.wrong_etag(), math.inf)
        else:
            sizes = {"shorter": 7_000_000, "longer": 9_000_000}
            video.replace(size_bytes=sizes.get(how))

        assert errno_of(far) == "ESTALE"
        assert errno_of(far) == "ESTALE"

        endpoint.calm()
        program.check_whole(video)
        assert errno_of(far) == "ESTALE"


@pytest.mark.parametrize("what", ["removed", "expired"])
def test_expiry_between_open_and_read_is_enoent(
    make: Make,
    endpoint: FakeEndpoint,
    expected_log: LogWatch,
    what: str,
) -> None:
    """Bytes read before are still there; all others are gone, and the error says so."""
    program = make()
    with begun(program, endpoint) as (handle, video, far):
        if what == "removed":
            endpoint.remove("video")
        else:
            endpoint.set_status("video", "expired")

        assert errno_of(far) == "ENOENT"
        program.check(handle, video, 0, READ_BYTES)


def test_a_token_refused_in_mid_life_is_eacces_until_the_file_holds_a_new_one(
    make: Make,
    endpoint: FakeEndpoint,
    tmp_path: Path,
    expected_log: LogWatch,
) -> None:
    """Then the same handle reads on: no remount, no new open."""
    expected_log("refused the token")
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(endpoint.token)
    other = endpoint.add("other", size_bytes=10_000)
    program = make(token=Token(file=file))
    with begun(program, endpoint) as (_, _, far):
        endpoint.token = "oh-second"

        assert errno_of(far) == "EACCES"
        assert errno_of(lambda: program.size_of(other)) == "EACCES"
        assert errno_of(program.names) == "EACCES"
        assert len(expected_log.lines) == 1

        file.write_text("oh-second\n")
        far()
        assert program.size_of(other) == 10_000
        assert "other.mp4" in program.names()


def test_many_readers_take_a_new_token_at_once(
    make: Make, endpoint: FakeEndpoint, tmp_path: Path
) -> None:
    """Those whose request was refused by the old one notice nothing."""
    file = tmp_path / "token"
    file.touch(0o600)
    file.write_text(endpoint.token)
    videos = [endpoint.add(f"video-{n}", size_bytes=2_000_000) for n in range(8)]
    program = make(token=Token(file=file))
    for video in videos:
        program.size_of(video)
    endpoint.token = "oh-second"
    file.write_text("oh-second")
    ready = threading.Barrier(8)

    def read(video: Video) -> None:
        ready.wait()
        program.check_whole(video)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, videos))

    refused = [record for record in endpoint.log if record.status == 401]
    assert 1 <= len(refused) <= 10 + 8  # connections, and status routes beside them


# --- redirects ----------------------------------------------------------------------------


def servers(endpoint: FakeEndpoint) -> list[str]:
    return [record.server for record in endpoint.requests_of("content", "GET")]


def test_a_redirect_to_a_url_that_expires_costs_one_more_request_to_the_api(
    make: Make, endpoint: FakeEndpoint
) -> None:
    """The place is used again while it lives, and asked for anew when it is over."""
    endpoint.personality = PERSONALITIES["hingnet_sora_redirect"]
    program = make()
    with begun(program, endpoint) as (handle, video, _):
        endpoint.reset_log()
        program.check(handle, video, 3_000_000, 1000)
        assert set(servers(endpoint)) == {"storage"}

        endpoint.storage.expire()
        endpoint.reset_log()
        program.check(handle, video, 6_000_000, 1000)

    assert servers(endpoint).count("api") == 1
    assert servers(endpoint)[0] == "storage"


def test_urls_that_expire_at_every_use_are_no_trouble(
    make: Make, endpoint: FakeEndpoint
) -> None:
    endpoint.personality = PERSONALITIES["hingnet_sora_redirect"]
    endpoint.storage.uses_per_url = 1
    video = endpoint.add("video", size_bytes=SIZE_BYTES)
    program = make()

    program.check_whole(video)


def test_urls_that_never_work_are_eio(
    make: Make, endpoint: FakeEndpoint, expected_log: LogWatch
) -> None:
    """A storage host can neither refuse the token nor remove a video."""
    expected_log("read .*EIO")
    endpoint.personality = PERSONALITIES["hingnet_sora_redirect"]
    with begun(make(), endpoint) as (_, _, far):
        endpoint.storage.uses_per_url = 0
        endpoint.storage.expire()

        assert errno_of(far) == "EIO"
        endpoint.storage.uses_per_url = math.inf
        eventually(lambda: succeeds(far), "a URL that works")


def settle(program: Program, secure: FakeEndpoint) -> None:
    """End the mount before its server: no TLS connection is reset while it is made.

    CPython 3.11 leaves such a socket for the garbage collector, with a warning.
    """
    program.mount.close()
    secure.wait_until_idle()


def test_https_is_not_left_for_http(
    make: Make,
    endpoint: FakeEndpoint,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    expected_log: LogWatch,
) -> None:
    """Neither bytes nor token travel in the clear; the plain server is not asked."""
    expected_log("read .*--insecure-storage")
    files = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])
    endpoint.add("video", size_bytes=8_000_000)
    with FakeEndpoint(tls=files) as secure:
        program = make(base_url=secure.base_url)
        with begun(program, secure) as (_, _, far):
            away = faults.redirect_to(endpoint.url("video"))
            secure.inject(away, math.inf, content_get)

            assert errno_of(far) == "EIO"
            assert endpoint.log == []
            secure.calm()
            eventually(lambda: succeeds(far), "a read without the redirect")
        settle(program, secure)


# --- TLS ----------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["right", "wrong name", "unknown authority"])
def test_tls_serves_only_the_right_name_of_a_known_authority(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    quiet_log: LogWatch,
    what: str,
) -> None:
    """Else EIO, and not a single request leaves, so no token does."""
    host = "other.example" if what == "wrong name" else "127.0.0.1"
    files = certificate(tmp_path, host)
    if what != "unknown authority":
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])
    with FakeEndpoint(tls=files) as secure:
        video = secure.add("video", size_bytes=SIZE_BYTES)
        program = make(base_url=secure.base_url)

        if what == "right":
            program.check_whole(video)
            settle(program, secure)
            return
        assert errno_of(lambda: program.size_of(video)) == "EIO"
        assert errno_of(program.names) == "EIO"
        settle(program, secure)
        assert secure.log == []
        assert any("TLS" in line for line in quiet_log.lines)
    forgive(quiet_log, "hingfs.mount.operations: ")


@pytest.mark.parametrize(
    "fault",
    [
        faults.close_at(150_000),
        faults.reset_at(150_000),
        faults.stall_at(150_000, NEVER),
        faults.drip(2_000_000),
        faults.chunked(),
    ],
    ids=lambda fault: fault.name,
)
def test_over_tls_a_body_that_breaks_off_arrives(
    make: Make,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Fault,
) -> None:
    """There a body is read record by record, in a way of its own."""
    files = certificate(tmp_path, "127.0.0.1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])
    with FakeEndpoint(tls=files) as secure:
        video = secure.add("video", size_bytes=4 * SIZE_BYTES)
        program = make(base_url=secure.base_url)
        with program.opened(video) as handle:
            secure.inject(fault, 4, every_second(content_get))
            program.check_all(handle, video)
        assert fault.name in {record.fault for record in secure.log}
        settle(program, secure)


# --- names of hosts -------------------------------------------------------------------------


class Resolver:
    """getaddrinfo for one name: finds this machine, fails, or says nothing."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.mood = "finds"
        self.asked = 0
        self.freed = threading.Event()
        self._real = socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._find)

    def _find(self, host: object, *args: object, **options: object) -> object:
        if host != "api.hing.test":
            return self._real(host, *args, **options)  # type: ignore[arg-type]
        self.asked += 1
        if self.mood == "hangs":
            self.freed.wait()
        if self.mood == "fails":
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._real("127.0.0.1", *args, **options)  # type: ignore[arg-type]


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Resolver]:
    resolver = Resolver(monkeypatch)
    yield resolver
    resolver.freed.set()


@pytest.mark.parametrize("mood", ["fails", "hangs"])
def test_a_name_of_a_host_that_is_not_found_is_an_errno_until_it_is(
    make: Make,
    endpoint: FakeEndpoint,
    resolver: Resolver,
    expected_log: LogWatch,
    mood: str,
) -> None:
    """A resolver that hangs can be neither woken nor waited for, only left behind."""
    expected_log("getattr|the server is away")
    expected_log(r"read \S+\.mp4: ")
    other = endpoint.add("other", size_bytes=10_000)
    program = make(
        base_url=endpoint.base_url.replace("127.0.0.1", "api.hing.test"),
        insecure_http=True,
    )
    with begun(program, endpoint) as (handle, video, far):
        resolver.mood = mood
        resolver.asked = 0
        endpoint.stop()  # so that new connections need the resolver
        endpoint.start()

        assert errno_of(far) in BROKEN
        assert errno_of(lambda: program.size_of(other)) in BROKEN
        assert resolver.asked >= (2 if mood == "fails" else 1)  # which all wait for
        program.check(handle, video, 0, READ_BYTES)  # what is here needs no host

        resolver.mood = "finds"
        resolver.freed.set()
        eventually(lambda: succeeds(far), "the host for a read")
        eventually(lambda: sized(program, other), "the host for a name")


def test_names_that_hang_hold_up_nothing_once_the_resolver_is_well(
    make: Make,
    endpoint: FakeEndpoint,
    resolver: Resolver,
    expected_log: LogWatch,
) -> None:
    """Though those look-ups never end, and more calls waited than there are threads."""
    expected_log("name lookup took too long")
    expected_log.allow("hingfs.mount.operations: getattr")
    videos = [endpoint.add(f"video-{n}", size_bytes=10_000) for n in range(30)]
    program = make(
        base_url=endpoint.base_url.replace("127.0.0.1", "api.hing.test"),
        insecure_http=True,
        connect_seconds=0.1,
    )
    resolver.mood = "hangs"
    with ThreadPoolExecutor(len(videos)) as pool:
        said = pool.map(lambda v: errno_of(lambda: program.size_of(v)), videos)
        assert set(said) <= BROKEN
    assert resolver.asked < len(videos)

    resolver.mood = "finds"  # and those that hang still do
    eventually(lambda: sized(program, videos[0]), "the host for a name")
    assert [program.size_of(video) for video in videos] == [10_000] * len(videos)


# --- Retry-After ------------------------------------------------------------------------------


class Arrivals:
    """When requests for content arrived; give it to `inject` as *where*."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def __call__(self, request: Request) -> bool:
        if content_get(request):
            self.times.append(time.monotonic())
        return content_get(request)


READERS = 16


@contextmanager
def sixteen_opened(
    program: Program, endpoint: FakeEndpoint
) -> Iterator[list[tuple[Opened, Video]]]:
    """Handles of videos whose middle nobody has asked for yet; an empty log."""
    videos = [endpoint.add(f"video-{n}", size_bytes=6_000_000) for n in range(READERS)]
    with ExitStack() as stack:
        opened = [(stack.enter_context(program.opened(v)), v) for v in videos]
        for handle, video in opened:
            program.check(handle, video, 0, 100)
        # The head and the tail of each are asked for at open.
        endpoint.wait_until(
            lambda: len(endpoint.requests_of("content", method="GET")) == 2 * READERS,
            20,
        )
        endpoint.wait_until_idle()
        endpoint.reset_log()
        yield opened


def test_one_429_quiets_sixteen_readers(make: Make, endpoint: FakeEndpoint) -> None:
    """Until its time is over nobody asks; then each asks once, and is served."""
    program = make(read_seconds=10.0)
    with sixteen_opened(program, endpoint) as opened, ThreadPoolExecutor(16) as pool:
        arrivals = Arrivals()
        endpoint.inject(faults.status(429, "1"), 1, arrivals)

        def read(reader: tuple[Opened, Video]) -> None:
            program.check(*reader, 3_000_000, 1000)

        first = pool.submit(read, opened[0])
        transport = program.mount.engine.transport
        eventually(lambda: pause_of(transport.limit) > 0, "a pause")
        paused_until = time.monotonic() + pause_of(transport.limit)
        endpoint.inject(NOTHING, math.inf, arrivals)
        others = [pool.submit(read, reader) for reader in opened[1:]]
        for reader in [first, *others]:
            reader.result()

    assert len(endpoint.requests_of("content")) == 1 + READERS
    assert len(arrivals.times) == 1 + READERS
    assert min(arrivals.times[1:]) >= paused_until - 0.05


# Spoils nothing: to have its *where* asked.
NOTHING = Fault("nothing", lambda answer, _line: answer)


def test_a_long_pause_ends_sixteen_readers_with_no_more_requests_than_were_under_way(
    make: Make, endpoint: FakeEndpoint, expected_log: LogWatch
) -> None:
    """Those who come later do not even ask, neither for bytes nor for names."""
    expected_log("read .*rate-limiting")
    program = make(retry_after_seconds=1.0)
    with sixteen_opened(program, endpoint) as opened, ThreadPoolExecutor(16) as pool:
        endpoint.inject(faults.status(429, "60"), math.inf)

        def read(reader: tuple[Opened, Video]) -> str:
            return errno_of(lambda: program.check(*reader, 3_000_000, 1000))

        assert set(pool.map(read, opened)) == {"EIO"}
        asked = len(endpoint.log)
        connections = program.mount._config.endpoint.connections
        assert 1 <= asked <= connections

        assert {read(reader) for reader in opened} == {"EIO"}
        other = endpoint.add("other")
        assert errno_of(lambda: program.size_of(other)) == "EAGAIN"
        assert len(endpoint.log) == asked


# --- a dead server ------------------------------------------------------------------------------


FILES = 100
# A hundred names must cost seconds, not minutes; without a breaker each would cost
# three times the time-out below.
SECONDS_NOT_MINUTES = 30.0


@contextmanager
def black_hole() -> Iterator[str]:
    """The URL of a port of this machine where SYNs get no answer."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server, ExitStack() as s:
        while True:  # fill the queue of connections that nobody accepts
            client = s.enter_context(socket.socket())
            client.settimeout(0.2)
            try:
                client.connect(server.getsockname())
            except TimeoutError:
                break
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def silent() -> Iterator[str]:
    """The URL of a port that takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=1000) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def closed() -> Iterator[str]:
    """The URL of a port that refuses connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    yield f"http://127.0.0.1:{port}"


@contextmanager
def trickling() -> Iterator[str]:
    """The URL of a server whose headers never end, byte by byte."""
    with FakeEndpoint() as endpoint:
        endpoint.inject(faults.drip_headers(20), math.inf)
        yield endpoint.base_url


@contextmanager
def nameless() -> Iterator[str]:
    """A URL whose host is looked up for ever."""
    with pytest.MonkeyPatch.context() as patch:
        resolver = Resolver(patch)
        resolver.mood = "hangs"
        yield "http://api.hing.test:81"
        resolver.freed.set()


@pytest.mark.parametrize("dead", [closed, black_hole, silent, trickling, nameless])
def test_a_hundred_names_on_a_dead_server_cost_seconds(
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    dead: Callable[[], AbstractContextManager[str]],
    quiet_log: LogWatch,
) -> None:
    """The first few find out, the others are told: a handful of connections in all.

    Four of them: a server that takes requests and is silent may be so about one video.
    """
    attempts = Attempts(monkeypatch)
    with dead() as base_url, FakeEndpoint() as endpoint:
        videos = [endpoint.add(f"video-{n}") for n in range(FILES)]
        program = make(
            base_url=base_url,
            insecure_http=True,
            connect_seconds=0.5,
            metadata_seconds=1.0,
        )
        started = time.monotonic()

        said = {errno_of(lambda v=v: program.size_of(v)) for v in videos}  # type: ignore[misc]
        said.add(errno_of(program.names))

        assert said <= BROKEN
        assert time.monotonic() - started < SECONDS_NOT_MINUTES
        # Each time the breaker lets one through adds some: on a busy machine, twice.
        assert attempts.count <= 40
        assert attempts.count >= 1 or dead is nameless  # which has no address
    forgive(quiet_log, "hingfs.mount.operations: ")


def test_a_dead_server_that_is_back_serves_without_a_remount(
    make: Make, endpoint: FakeEndpoint, quiet_log: LogWatch
) -> None:
    """Attributes of known videos come from memory meanwhile."""
    videos = [endpoint.add(f"video-{n}", size_bytes=10_000 + n) for n in range(FILES)]
    program = make(cache={"metadata_ttl_seconds": 0.0})
    known = videos[0]
    with program.opened(known) as handle:
        program.check_all(handle, known)
        endpoint.stop()
        assert {errno_of(lambda v=v: program.size_of(v)) for v in videos[1:]} <= (  # type: ignore[misc]
            BROKEN
        )
        assert program.size_of(known) == 10_000
        program.check_all(handle, known)
        program.check_whole(known)

        endpoint.start()
        eventually(lambda: sized(program, videos[1]), "the first name")
        for video in videos:
            assert program.size_of(video) == video.size_bytes
        assert len(program.names()) == FILES
    forgive(quiet_log, "hingfs.mount.operations: getattr|kept as known")


# --- through mounts --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    with own_mount(
        request.param,
        *("--read-timeout", "2s", "--metadata-timeout", "2s"),
        *("--stall-timeout", "200ms", "--negative-ttl", "0s"),
    ) as (_endpoint, mounted):
        yield mounted


@pytest.mark.fuse
@pytest.mark.parametrize(
    "fault",
    [
        faults.reset_at(100_000),
        faults.stall_at(100_000, NEVER),
        faults.wrong_start(),
        faults.status(503),
        faults.gzip_encoded(),
        faults.answer_200_to_range(),
    ],
    ids=lambda fault: fault.name,
)
def test_through_a_mount_a_fault_that_passes_is_invisible(
    mounted: Mounted, fault: Fault
) -> None:
    endpoint = mounted.endpoint
    size = 4 * SIZE_BYTES  # of which a look-up fetches a part
    video = endpoint.add(f"passing-{next(numbers)}", size_bytes=size)
    assert mounted.path(video.video_id).stat().st_size == size
    endpoint.inject(fault, 2, every_second(content_get))

    with Handle(mounted.path(video.video_id)) as opened:
        assert opened.read_all() == video.read(0, size)

    assert fault.name in {record.fault for record in endpoint.log}
    endpoint.calm()


@pytest.mark.fuse
@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (faults.stall_before_headers(NEVER), BROKEN),
        (faults.wrong_etag(), CHANGED),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_through_a_mount_a_fault_that_stays_is_an_errno(
    mounted: Mounted, fault: Fault, said: set[str]
) -> None:
    """By the deadline, though the kernel asks twice; and then all is well again."""
    endpoint = mounted.endpoint
    # Larger than all that a mount which has read clips whole fetches at an open.
    video = endpoint.add(f"staying-{next(numbers)}", size_bytes=300_000_000)
    far = 200_000_000
    with Handle(mounted.path(video.video_id)) as opened:
        assert opened.read(0, 4096) == video.read(0, 4096)
        endpoint.inject(fault, math.inf, content_get)

        with by_deadline(2.0):
            assert errno_of(lambda: opened.read(far, 4096)) in said
        endpoint.calm()

    def reads() -> bool:
        with suppress(OSError), Handle(mounted.path(video.video_id)) as opened:
            pieces = [
                opened.read(far + at, 1 << 20) for at in range(0, 8 << 20, 1 << 20)
            ]
            return b"".join(pieces) == video.read(far, far + (8 << 20))
        return False

    eventually(reads, "a read without the fault")


@pytest.mark.fuse
def test_through_a_mount_a_hundred_names_on_a_dead_server_cost_seconds() -> None:
    """For a process that goes through them; and they are there once the server is."""
    script = """
import errno, os, sys
for number in range(100):
    try:
        os.stat(f"{sys.argv[1]}/video-{number}.mp4")
        print("there")
    except OSError as error:
        print(errno.errorcode[error.errno])
"""
    with own_mount(BINDINGS[1]) as (endpoint, mounted):
        for number in range(100):
            endpoint.add(f"video-{number}")
        endpoint.stop()

        def statted() -> set[str]:
            command = [sys.executable, "-c", script, str(mounted.directory)]
            done = run(command, timeout=SECONDS_NOT_MINUTES)
            return set(done.stdout.split())

        assert statted() <= BROKEN
        endpoint.start()
        eventually(lambda: statted() == {"there"}, "a hundred names")
