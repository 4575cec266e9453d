"""The first and the last bytes, asked for beside the look-up: used, dropped, or learnt."""

import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from hingfs.api.beliefs import Belief
from hingfs.api.first_bytes import MOST_VIDEOS
from hingfs.blocks import KIB, MIB
from hingfs.http.slots import Slot
from hingfs.library.names import name_of
from hingfs.library.readahead import HEAD_BYTES, SOUGHT_WINDOW_BYTES
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.containers import box
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, each_binding, eventually
from tests.support.personalities import ramp
from tests.support.views import Direct

SIZE = 12_650_449
TAIL_BYTES = 192 * KIB  # that of a clip, and a block
# A player that cuts a second: where it jumps to, and how much it reads at once, and in all.
JUMP, PLAYER_READ, CUT_BYTES = 3_153_920, 32 * KIB, 1_638_400
FIRST, LAST = (0, HEAD_BYTES), (-TAIL_BYTES, None)


def ranges_of(endpoint: FakeEndpoint, video_id: str | None = None) -> list[str]:
    """The ranges that were asked for, of *video_id* alone if it is given."""
    gets = endpoint.requests_of("content", "GET")
    return sorted(str(r.range) for r in gets if video_id in (None, r.video_id))


def texts(*ranges: tuple[int, int | None]) -> list[str]:
    return sorted(map(str, ranges))


class Engine:
    """A mount without a kernel, and its idle connections."""

    def __init__(self, build: Build, **options: object) -> None:
        self.mount = build(**options)
        self.view = Direct(self.mount)
        self.schedule = self.mount.engine.fetcher._schedule
        self.beliefs = self.mount.engine.client.metadata._endpoint.beliefs

    def gave_all_back(self) -> bool:
        return self.schedule._capacity.lent == 0

    def is_idle(self) -> bool:
        return self.gave_all_back() and self.schedule._workers == 0


@pytest.fixture
def engine(build: Build, endpoint: FakeEndpoint) -> Engine:
    return taught(Engine(build), endpoint)


def taught(engine: Engine, endpoint: FakeEndpoint) -> Engine:
    """*engine*, once it knows that ranges are served; until then nothing is begun."""
    endpoint.add("known", size_bytes=SIZE)
    assert engine.view.size_bytes("known") == SIZE
    endpoint.wait_until_idle()
    assert not endpoint.requests_of("content", "GET")
    with engine.view.open("known") as clip:
        clip.read(0, 1)
        endpoint.wait_until(lambda: len(ranges_of(endpoint, "known")) == 2)  # and tail
    endpoint.wait_until_idle()
    endpoint.reset_log()
    return engine


def test_what_an_open_reads_first_needs_no_other_request(engine, endpoint):
    endpoint.add("v", size_bytes=SIZE)

    assert engine.view.size_bytes("v") == SIZE
    content = engine.mount.engine.catalog.find(name_of("v")).content
    fetcher = engine.mount.engine.fetcher
    eventually(lambda: fetcher.has_ends(content), "both, however late the open")
    assert engine.gave_all_back()
    with engine.view.open("v") as clip:
        assert clip.read(0, 4096) == ramp("v", 0, 4096)
        assert clip.read(SIZE - 4096, 4096) == ramp("v", SIZE - 4096, SIZE)
    endpoint.wait_until_idle()

    assert ranges_of(endpoint, "v") == texts(FIRST, LAST)
    eventually(engine.gave_all_back, "both connections")


def test_of_a_clip_read_whole_less_than_a_block_comes_twice(engine, endpoint):
    """Where the last block begins is not known before the size."""
    endpoint.add("v", size_bytes=SIZE)
    engine.view.size_bytes("v")

    with engine.view.open("v") as clip:
        assert clip.read_all() == ramp("v", 0, SIZE)
    endpoint.wait_until_idle()

    assert ranges_of(endpoint, "v")[0] == str(LAST)
    assert endpoint.bytes_served_twice("v") < 128 * KIB


def test_programs_at_once_use_what_was_begun_for_one(engine, endpoint):
    """Of a film, whose last bytes are read ahead in one request with others."""
    film_bytes = 400_650_449
    endpoint.add("film", size_bytes=film_bytes)
    endpoint.inject(faults.stall_before_headers(0.05), 4)

    def read() -> bytes:
        assert engine.view.size_bytes("film") == film_bytes
        with engine.view.open("film") as film:
            return bytes(film.read(0, 4096))

    with ThreadPoolExecutor(8) as pool:
        assert {one.result() for one in [pool.submit(read) for _ in range(8)]} == {
            ramp("film", 0, 4096)
        }
    eventually(engine.is_idle, "every connection")

    assert endpoint.bytes_served_twice("film") < 128 * KIB


def test_bytes_of_another_version_are_dropped(engine, endpoint):
    endpoint.add("v", size_bytes=SIZE)
    endpoint.inject(
        faults.wrong_etag(),
        2,
        where=lambda r: r.kind == "content" and r.method == "GET",
    )

    assert engine.view.size_bytes("v") == SIZE
    endpoint.wait_until(lambda: len(ranges_of(endpoint, "v")) >= 2)
    with engine.view.open("v") as clip:
        assert clip.read_all() == ramp("v", 0, SIZE)
    eventually(engine.gave_all_back, "both connections")


def test_a_server_that_sends_whole_files_is_asked_so_once(engine, endpoint):
    for name in "vw":
        endpoint.add(name, size_bytes=SIZE)
    endpoint.inject(faults.answer_200_to_range(), math.inf)

    for name in "vw":
        assert engine.view.size_bytes(name) == SIZE
        eventually(engine.gave_all_back, "both connections")
        with engine.view.open(name) as clip:
            assert clip.read_all() == ramp(name, 0, SIZE)

    assert not engine.beliefs.holds(Belief.FIRST_BYTES)
    assert str(LAST) in ranges_of(endpoint, "v")
    assert str(LAST) not in ranges_of(endpoint, "w")


@pytest.mark.parametrize("connections", [1, 4, 10])
def test_no_more_are_asked_for_than_connections_are_idle(build, endpoint, connections):
    engine = taught(Engine(build, connections=connections), endpoint)
    names = [f"v{number}" for number in range(2 * MOST_VIDEOS)]
    answers = threading.Event()
    endpoint.inject(
        faults.stall_before_headers(answers),
        math.inf,
        where=lambda r: r.kind == "content" and r.method == "GET",
    )
    for name in names:
        endpoint.add(name, size_bytes=SIZE)
        engine.view.size_bytes(name)

    asked = [ask for name in names for ask in ranges_of(endpoint, name)]
    assert len(asked) <= max(0, connections - 2)  # they leave room for one more
    answers.set()
    endpoint.wait_until_idle()
    assert engine.gave_all_back()
    with engine.view.open(names[0]) as clip:
        assert clip.read_all() == ramp(names[0], 0, SIZE)


@pytest.mark.fuse
@each_binding
@pytest.mark.parametrize("lists", [False, True])
def test_a_listing_costs_no_byte_and_a_name_its_first(binding, lists):
    """Not even a `stat` of each name; without a listing, a player's look-up begins it."""
    with FakeEndpoint() as endpoint, Mounted(endpoint, binding) as mounted:
        for name in ("a", "b", "c", "known"):
            endpoint.add(name, size_bytes=SIZE)
        mounted.path("known").read_bytes()
        endpoint.wait_until_idle()
        endpoint.reset_log()
        shown = list(mounted.directory.iterdir()) if lists else []
        for path in shown or [mounted.directory / name_of("a")]:
            assert path.stat().st_size == SIZE
        if lists:
            endpoint.wait_until_idle()
            assert not endpoint.requests_of("content", "GET")
            return
        with mounted.path("a").open("rb") as clip:
            assert clip.read(4096) == ramp("a", 0, 4096)
        endpoint.wait_until_idle()
        asked = ranges_of(endpoint, "a")
        assert {str(FIRST), str(LAST)} <= set(asked)
        assert len([one for one in asked if one.startswith("(0, ")]) == 1


def test_what_was_begun_long_before_the_open_comes_once(engine, endpoint):
    """A copier may look all its names up first, and open them one after the other.

    After two of them the list is read, and the others are looked up ahead.
    """
    sizes = {"e": SIZE, "c": 3_000_000, "d": SIZE, "a": 20_000_000, "b": SIZE}
    engine_ = engine.mount.engine
    for name, size_bytes in sizes.items():
        endpoint.add(name, size_bytes=size_bytes)
    for name in "ec":
        assert engine.view.size_bytes(name) == sizes[name]
        content = engine_.catalog.find(name_of(name)).content
        eventually(partial(engine_.fetcher.has_ends, content), f"the ends of {name}")
        eventually(engine.is_idle, "every connection")
    for name in "dab":
        assert engine.view.size_bytes(name) == sizes[name]

    for name, size_bytes in sizes.items():
        with engine.view.open(name) as clip:
            assert clip.read_all() == ramp(name, 0, size_bytes)
    endpoint.wait_until_idle()

    for name, size_bytes in sizes.items():
        asked = ranges_of(endpoint, name)
        assert len([one for one in asked if one.startswith("(0, ")]) == 1
        assert endpoint.bytes_served_twice(name) < 128 * KIB
        assert len(asked) <= 2 + size_bytes // MIB
    fetched_bytes = sum(map(endpoint.content_bytes, sizes))
    assert fetched_bytes <= 1.02 * sum(sizes.values())


@pytest.mark.fuse
@each_binding
def test_a_second_mount_has_the_first_bytes_of_its_first_name(binding, tmp_path):
    """A player then reads the index and the head, and jumps to a frame."""
    options = ("--cache-dir", str(tmp_path))
    index = box(b"moov", bytes(12_000))
    film = box(b"ftyp", bytes(16)) + box(b"mdat", ramp("v", 0, SIZE)) + index
    with FakeEndpoint() as endpoint:
        endpoint.add("known", size_bytes=SIZE)
        endpoint.add("v", data=film)
        with Mounted(endpoint, binding, *options) as mounted:
            mounted.path("known").read_bytes()
        endpoint.reset_log()

        with Mounted(endpoint, binding, *options) as mounted:
            with mounted.path("v").open("rb", buffering=0) as clip:
                for start, stop in (
                    *((0, 32 * KIB), (len(film) - len(index), len(film))),
                    *((32 * KIB, 490 * KIB), (JUMP, JUMP + CUT_BYTES)),
                ):
                    clip.seek(start)
                    read = b"".join(
                        clip.read(min(PLAYER_READ, stop - at))
                        for at in range(start, stop, PLAYER_READ)
                    )
                    assert read == film[start:stop]
            endpoint.wait_until_idle()
        asked = ranges_of(endpoint, "v")
        assert {str(FIRST), str(LAST)} <= set(asked)
        # The kernel reads a MiB ahead of the player, and the window is ahead of both.
        cut = CUT_BYTES + MIB + SOUGHT_WINDOW_BYTES
        assert endpoint.content_bytes("v") <= HEAD_BYTES + TAIL_BYTES + cut
        assert len(asked) <= 2 + 4
        # The first request there brings more than the read that made it.
        gets = endpoint.requests_of("content", "GET", "v")
        (there,) = [r.range for r in gets if r.range and 0 <= JUMP - r.range[0] < MIB]
        assert there[1] is not None
        assert there[1] > JUMP + MIB


def test_a_read_keeps_no_slot_from_the_request_that_it_waits_for(engine, endpoint):
    """Where the server takes one request at once."""
    endpoint.add("v", size_bytes=SIZE)
    client, slots = engine.mount.engine.client, engine.mount.engine.transport.slots
    slots.recall(1, lambda _at_once: None)
    other = Slot(slots)
    other.take(time.monotonic() + 10)
    client.first_bytes.begin("v", HEAD_BYTES, TAIL_BYTES, lambda: None)

    with engine.view.open("v") as clip, ThreadPoolExecutor(1) as threads:
        read = threads.submit(clip.read_all)
        eventually(lambda: engine.schedule._running, "a transfer that waits")
        other.release()
        assert read.result() == ramp("v", 0, SIZE)


def test_a_read_is_not_kept_by_connections_that_were_lent(engine, endpoint):
    """A server that takes fewer meanwhile leaves the reader one at least."""
    endpoint.add("v", size_bytes=SIZE)
    endpoint.add("w", size_bytes=SIZE)
    engine.mount.engine.catalog._openings.begin("v")
    assert engine.schedule._capacity.lent
    engine.mount.engine.transport.slots.recall(1, lambda _at_once: None)

    with engine.view.open("w") as clip:
        assert clip.read(0, 4096) == ramp("w", 0, 4096)
        assert engine.schedule._capacity.lent, "they are still lent"
