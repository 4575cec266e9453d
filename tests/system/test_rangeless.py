# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""Servers that send whole files only: one transfer for each video, and no wrong byte.

LiteLLM says so by its first answer; aisix answers HEAD and ignores Range after it;
`Liar` even announces ranges (and is believed, once). The tests of one transfer run
directly and through mounts.
"""

import math
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import pytest

from hingfs.mount.serving import Mount
from hingfs.settings import CacheConfig, Config, EndpointConfig, MountConfig
from hingfs.token import Token
from tests.support.endpoint import (
    FakeEndpoint,
    Fault,
    Video,
    answer_200_to_range,
    chunked,
    close_at,
    reset_at,
    short_chunked,
    stall_at,
    status_416,
    until_close,
)
from tests.support.mounting import BINDINGS, Mounted
from tests.support.personalities import (
    PERSONALITIES,
    NewApiOld,
    Personality,
    Request,
    Response,
    Site,
    validators,
    whole,
)
from tests.support.reading import errno_of
from tests.support.views import (
    Direct,
    Through,
    View,
    check_reads,
    opened,
    sequential,
)

SIZE_BYTES = 3_000_017
MIB = 1 << 20


@dataclass(frozen=True)
class Liar(Personality):
    """Announces ranges to HEAD and with each answer, and sends the whole file."""

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return whole(video).with_headers(validators(video))


SERVERS = {
    **{
        name: PERSONALITIES[name]
        for name in ("litellm_new", "litellm_old", "new_api_old", "aisix_proxy")
    },
    "bifrost": PERSONALITIES["bifrost"],
    "liar": Liar(),
}
WAYS = ["direct", *(pytest.param(b, marks=pytest.mark.fuse) for b in BINDINGS)]


@dataclass
class Rig:
    """An endpoint that ignores ranges, and its files."""

    endpoint: FakeEndpoint
    view: View
    numbers: Iterator[int]

    def add(self, size_bytes: int = SIZE_BYTES) -> Video:
        video_id = f"video_{next(self.numbers)}:openai"
        return self.endpoint.add(video_id, size_bytes=size_bytes)

    def transfers(self, video: Video) -> list[int]:
        """How many bytes each content answer sent, but for the probe's."""
        return [
            record.body_bytes
            for record in self.endpoint.requests_of("content", "GET", video.video_id)
            if record.range != (0, 16)
        ]


def build_view(
    stack: ExitStack,
    endpoint: FakeEndpoint,
    way: str,
    cache: CacheConfig | None = None,
    metadata_seconds: float = 20.0,
) -> View:
    if way != "direct":
        options = ("--negative-ttl", "0s", "--read-timeout", "20s")
        return Through(stack.enter_context(Mounted(endpoint, way, *options)).directory)
    config = Config(
        MountConfig(Path("/nowhere")),
        EndpointConfig(
            base_url=endpoint.base_url,
            token=Token(endpoint.token),
            stall_seconds=2.0,
            read_seconds=20.0,
            metadata_seconds=metadata_seconds,
        ),
        cache or CacheConfig(negative_ttl_seconds=0.0),
    )
    mount = Mount(config, lambda: None)
    stack.callback(mount.close)
    return Direct(mount)


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[*SERVERS])
def rig(request: pytest.FixtureRequest, way: str) -> Iterator[Rig]:
    with ExitStack() as stack:
        personality = SERVERS[request.param]
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        rig = Rig(endpoint, build_view(stack, endpoint, way), count(1))
        # A server's announcement is believed until one video showed that it lies.
        check_reads(rig.view, rig.add(), [(SIZE_BYTES - 10, 10), (0, 10)])
        yield rig


def random_reads(size_bytes: int) -> list[tuple[int, int]]:
    draw = random.Random(size_bytes)
    return [
        (draw.randrange(size_bytes), draw.choice([1, 4096, 70_000, 400_000]))
        for _ in range(60)
    ]


PATTERNS = {
    "onward": sequential(SIZE_BYTES),
    "backwards": sequential(SIZE_BYTES)[::-1],
    "random": random_reads(SIZE_BYTES),
    "tail first": [(SIZE_BYTES - 65_536, 65_536), *sequential(SIZE_BYTES)],
}


@pytest.mark.parametrize("pattern", [*PATTERNS])
def test_r14_however_it_is_read_it_is_transferred_once(rig: Rig, pattern: str) -> None:
    """One transfer brings every byte; it is the only one begun."""
    video = rig.add()

    check_reads(rig.view, video, PATTERNS[pattern])
    check_reads(rig.view, video, PATTERNS["random"])

    rig.endpoint.wait_until_idle()
    assert rig.transfers(video) == [SIZE_BYTES]


def test_r14_eight_readers_share_one_transfer(rig: Rig) -> None:
    video = rig.add()
    patterns = [*PATTERNS.values()] * 2
    barrier = threading.Barrier(len(patterns))

    def read(reads: list[tuple[int, int]]) -> None:
        barrier.wait(10)
        check_reads(rig.view, video, reads)

    with ThreadPoolExecutor(len(patterns)) as pool:
        for reader in [pool.submit(read, reads) for reads in patterns]:
            reader.result()

    rig.endpoint.wait_until_idle()
    assert rig.transfers(video) == [SIZE_BYTES]


@pytest.mark.parametrize("size_bytes", [1, 5000, 700_001, 1_400_001])
def test_r14_a_small_video_is_transferred_once(rig: Rig, size_bytes: int) -> None:
    """A small clip is fetched whole at open; from these servers by one request."""
    video = rig.add(size_bytes)

    check_reads(rig.view, video, sequential(size_bytes)[::-1])

    rig.endpoint.wait_until_idle()
    assert rig.transfers(video) == [size_bytes]


@pytest.mark.parametrize("cut", [close_at, reset_at], ids=lambda cut: cut.__name__)
def test_r18_a_transfer_cut_again_and_again_starts_again_without_a_wrong_byte(
    rig: Rig, cut
) -> None:
    """As a gateway does after 60 seconds: each attempt gets a little further."""
    video = rig.add()
    for at in (1, 500_000, 1_000_000, 2_999_999):
        rig.endpoint.inject(
            cut(at),
            where=lambda r: r.video_id == video.video_id and r.range != (0, 16),
        )

    check_reads(rig.view, video, PATTERNS["onward"])
    check_reads(rig.view, video, PATTERNS["random"])

    assert rig.endpoint.faults_left == 0


@pytest.mark.parametrize(
    "fault", [chunked(), until_close()], ids=lambda fault: fault.name
)
def test_r6_a_length_nobody_tells_is_the_true_one_and_never_0(rig: Rig, fault) -> None:
    video = rig.add()
    rig.endpoint.inject(fault, math.inf, where=lambda r: r.video_id == video.video_id)

    assert rig.view.size_bytes(video.video_id) == SIZE_BYTES
    check_reads(rig.view, video, PATTERNS["random"])

    rig.endpoint.calm()
    rig.endpoint.wait_until_idle()
    # The one that shows that there is no length goes on to the end.
    asked = rig.endpoint.requests_of("content", "GET", video.video_id)
    # Where nothing but the connection's end is that of the file, and no box of an MP4
    # either, two that end alike are believed.
    times = 2 if fault.name == "until_close" else 1
    assert [record.body_bytes for record in asked] == [SIZE_BYTES] * times


def test_a_chunked_body_that_breaks_off_is_no_end_of_file(rig: Rig) -> None:
    """Cut twice before its last chunk, then whole: the size is never the shorter one."""
    video = rig.add()
    fault = short_chunked(400_000)
    rig.endpoint.inject(
        chunked(), where=lambda r: r.video_id == video.video_id and r.method == "HEAD"
    )
    rig.endpoint.inject(
        chunked(), where=lambda r: r.video_id == video.video_id and r.range == (0, 16)
    )
    rig.endpoint.inject(
        fault, 2, where=lambda r: r.video_id == video.video_id and r.range != (0, 16)
    )

    assert rig.view.size_bytes(video.video_id) == SIZE_BYTES
    check_reads(rig.view, video, PATTERNS["onward"])


# --- what only some of them do ---------------------------------------------------


def test_a_server_that_cuts_each_transfer_short_gives_its_head_and_then_errors(
    way: str, expected_log
) -> None:
    """new-api of old ends every transfer at the same byte: EIO, never a short file."""
    personality = NewApiOld(transfer_bytes=1_000_000)
    with ExitStack() as stack:
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        view = build_view(stack, endpoint, way)
        video = endpoint.add("cut", size_bytes=SIZE_BYTES)
        if way == "direct":
            expected_log("the body ended at 1000000|the body ended before its length")

        assert view.size_bytes("cut") == SIZE_BYTES
        with opened(view, "cut") as handle:
            assert handle.read(0, 65_536) == video.read(0, 65_536)
            assert handle.read(900_000, 65_536) == video.read(900_000, 965_536)
            assert errno_of(lambda: handle.read(2_000_000, 65_536)) == "EIO"
            assert errno_of(lambda: handle.read(SIZE_BYTES - 1, 1)) == "EIO"


def test_a_server_with_ranges_that_cuts_is_resumed_where_it_stopped(way: str) -> None:
    """new-api of today: the rest is asked for, and no byte is sent twice."""
    with ExitStack() as stack:
        personality = PERSONALITIES["new_api_new"]
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        view = build_view(stack, endpoint, way)
        video = endpoint.add("cut", size_bytes=SIZE_BYTES)
        endpoint.inject(
            close_at(100_000), 3, where=lambda r: r.range not in {None, (0, 16)}
        )

        check_reads(view, video, sequential(SIZE_BYTES))
        endpoint.wait_until_idle()

        assert endpoint.faults_left == 0
        # A read that was cut loses the block that it was in.
        assert endpoint.bytes_served_twice("cut") <= 3 * 262_144


def test_a_length_nobody_tells_is_eagain_while_it_arrives_slowly() -> None:
    """Never 0: not ready by the deadline, and right once all of it has come."""
    go_on = threading.Event()
    with ExitStack() as stack:
        personality = PERSONALITIES["litellm_new"]
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        stack.callback(go_on.set)
        view = build_view(stack, endpoint, "direct", metadata_seconds=0.5)
        video = endpoint.add("slow", size_bytes=SIZE_BYTES)
        endpoint.inject(chunked() + stall_at(1_000_000, go_on), math.inf)

        assert errno_of(lambda: view.size_bytes("slow")) == "EAGAIN"
        assert errno_of(lambda: view.open("slow")) == "EAGAIN"
        go_on.set()
        endpoint.wait_until_idle()

        check_reads(view, video, sequential(SIZE_BYTES))
        assert len(endpoint.requests_of("content", "GET")) == 1


def test_memory_holds_small_spools_within_the_budget_and_disk_the_others(
    tmp_path: Path,
) -> None:
    """Twelve videos of 3 MB, a memory budget of 16 MiB, a disk bound of 20 MB."""
    cache = CacheConfig(
        cache_bytes=16 * MIB, spool_bytes=20_000_000, directory=tmp_path
    )
    with ExitStack() as stack:
        personality = PERSONALITIES["litellm_new"]
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        view = build_view(stack, endpoint, "direct", cache)
        assert isinstance(view, Direct)
        small = [endpoint.add(f"small_{n}", size_bytes=SIZE_BYTES) for n in range(6)]
        large = [endpoint.add(f"large_{n}", size_bytes=9_000_001) for n in range(6)]

        most = 0
        for video in [*small, *large, *small]:
            check_reads(view, video, sequential(video.size_bytes))
            most = max(most, view.mount.engine.spools.held_bytes())

        assert most <= 16 * MIB // 2 + 20_000_000
        assert (
            view.mount.engine.spools.held_bytes() > 9_000_001
        )  # and it does hold some
        assert [*tmp_path.iterdir()] == []  # in files that have no name


def test_a_video_larger_than_the_spool_is_eio_and_the_others_are_read(
    expected_log,
) -> None:
    expected_log("do not fit the spool")
    cache = CacheConfig(cache_bytes=16 * MIB, spool_bytes=8_000_000)
    with ExitStack() as stack:
        personality = SERVERS["litellm_new"]
        endpoint = stack.enter_context(FakeEndpoint(personality=personality))
        view = build_view(stack, endpoint, "direct", cache)
        endpoint.add("too large", size_bytes=9_000_000)
        video = endpoint.add("small", size_bytes=SIZE_BYTES)

        with opened(view, "too large") as handle:
            assert errno_of(lambda: handle.read(0, 10)) == "EIO"
        check_reads(view, video, sequential(SIZE_BYTES))


def test_a_416_to_a_stream_that_goes_on_is_a_fault_that_passes() -> None:
    """Found by Hypothesis: it was taken for a refusal of a completed video, and EIO."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(FakeEndpoint())
        video = endpoint.add("v", size_bytes=SIZE_BYTES)
        view = build_view(stack, endpoint, "direct")
        get = lambda r: r.method == "GET" and r.kind == "content"  # noqa: E731
        # Nothing announces ranges, the answer to the first is the whole, which is cut,
        # and the first attempt to go on is refused.
        endpoint.inject(
            Fault("silent", lambda a, _line: a.without_headers("Accept-Ranges")),
            where=lambda r: r.method == "HEAD",
        )
        endpoint.inject(answer_200_to_range() + close_at(1_000_000), where=get)
        endpoint.inject(status_416(), where=lambda r: (r.range or (0, 0))[1] is None)

        check_reads(view, video, sequential(SIZE_BYTES))

        assert endpoint.faults_left == 0
