"""What is kept in the background, without a mount: which videos, and what is said."""

import time
from collections.abc import Callable, Iterator
from math import inf
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from hingfs.cache.kept import KeptStore
from hingfs.cache.kept_files import Kept
from hingfs.engine import Engine
from hingfs.keep import keeper as keeper_module
from hingfs.keep.keeper import Keeper
from tests.conftest import Build, LogWatch
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint, Link, carried_by
from tests.support.mounting import eventually
from tests.support.personalities import PERSONALITIES

SIZE = 1_500_001
LONG = 3600


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What failed is tried again soon."""
    monkeypatch.setattr(keeper_module, "_FIRST_DELAY_SECONDS", 0.05)


class House:
    """An engine with a place for what is kept, and its keeper."""

    def __init__(self, engine: Engine, *, everything: bool) -> None:
        self.engine = engine
        self.keeper = Keeper(engine, everything=everything, listing_seconds=0.2)
        self.keeper.start()

    def open(self, video_id: str) -> None:
        self.keeper.opened(self.engine.catalog.find_to_open(f"{video_id}.mp4"))

    def sealed(self) -> dict[str, Kept]:
        assert self.engine.kept is not None
        return {
            kept.version.video_id: kept
            for kept in self.engine.kept.videos()
            if kept.is_sealed
        }

    def wait_for(self, *video_ids: str) -> None:
        eventually(lambda: set(self.sealed()) == set(video_ids), "they are kept")

    def end(self) -> None:
        self.keeper.close()
        self.engine.close()
        assert self.keeper.join(10)
        assert self.engine.settle(10)


Begin = Callable[..., House]


@pytest.fixture
def begin(build: Build, tmp_path: Path) -> Iterator[Begin]:
    houses: list[House] = []

    def begin(*, everything: bool = False, **cache: object) -> House:
        mount = build(
            cache={
                "kept_videos": tmp_path / "data",
                "negative_ttl_seconds": 0.0,
                **cache,
            }
        )
        houses.append(House(mount.engine, everything=everything))
        return houses[-1]

    yield begin
    for house in houses:
        house.end()


def test_what_is_opened_is_kept_and_nothing_else(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    videos = [endpoint.add(name, size_bytes=SIZE) for name in ("a", "b", "c")]
    house = begin()

    house.open("a")
    house.open("b")
    house.open("a")
    house.wait_for("a", "b")

    endpoint.wait_until_idle()
    assert [endpoint.content_bytes(one.video_id) for one in videos] == [SIZE, SIZE, 0]
    assert [endpoint.bytes_served_twice(one) for one in "ab"] == [0, 0]


def test_what_is_kept_costs_no_request_when_it_is_opened_again(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    endpoint.add("a", size_bytes=SIZE)
    house = begin()
    house.open("a")
    house.wait_for("a")
    house.end()
    again = begin()
    endpoint.wait_until_idle()
    endpoint.reset_log()

    again.open("a")
    target = bytearray(SIZE)
    content = again.engine.catalog.find_to_open("a.mp4").content
    reader = again.engine.readers.open(content)
    reader.read_into(memoryview(target), 0)
    again.engine.readers.close(reader)

    assert bytes(target) == faults.ramp("a", 0, SIZE)
    assert endpoint.content_bytes("a") == 0


def test_all_that_is_listed_is_kept_and_what_is_kept_is_not_asked_for_again(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    for name in ("a", "b"):
        endpoint.add(name, size_bytes=SIZE)
    endpoint.add("rendering", status="in_progress")
    house = begin(everything=True, listing_ttl_seconds=0.0)
    house.wait_for("a", "b")
    endpoint.wait_until_idle()
    endpoint.reset_log()

    endpoint.add("new", size_bytes=SIZE)
    house.wait_for("a", "b", "new")

    assert not endpoint.requests_of("a")
    assert not endpoint.requests_of("rendering")


def test_a_mount_that_nobody_uses_sends_no_request(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    endpoint.add("a", size_bytes=SIZE)
    house = begin()
    eventually(lambda: house.keeper._idle == keeper_module.THREADS, "all wait")

    assert not endpoint.log


@pytest.mark.parametrize("personality", ["litellm_new", "openai"])
def test_servers_that_ignore_ranges_or_give_no_tag(
    endpoint: FakeEndpoint, begin: Begin, personality: str
) -> None:
    endpoint.personality = PERSONALITIES[personality]
    endpoint.add("a", size_bytes=SIZE)
    house = begin()

    house.open("a")
    house.wait_for("a")

    assert endpoint.bytes_served_twice("a") == 0


def test_what_breaks_off_is_tried_again_and_the_rest_alone_is_fetched(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    endpoint.add("a", size_bytes=4 * MIB)
    endpoint.inject(faults.status(500), times=40, where=faults.content_get)
    house = begin()

    house.open("a")
    house.wait_for("a")

    assert endpoint.bytes_served_twice("a") == 0


def test_the_next_mount_goes_on_with_what_was_begun(
    endpoint: FakeEndpoint, begin: Begin
) -> None:
    endpoint.add("a", size_bytes=8 * MIB)
    endpoint.inject(carried_by(Link(4 * MIB)), times=inf)
    house = begin()
    house.open("a")
    eventually(lambda: endpoint.content_bytes("a") > 3 * MIB, "part of it has come")
    house.end()
    endpoint.wait_until_idle()
    endpoint.calm()
    came = endpoint.content_bytes("a")
    assert came < 7 * MIB

    begin().wait_for("a")

    endpoint.wait_until_idle()
    assert endpoint.content_bytes("a") < 8 * MIB + came / 2


def test_a_full_store_is_said_at_once_with_what_would_help(
    endpoint: FakeEndpoint, begin: Begin, expected_log: LogWatch
) -> None:
    for name in ("a", "b", "c"):
        endpoint.add(name, size_bytes=SIZE)
    expected_log(r"[bc]: it is not kept yet: .*--keep-size 2.0MiB.*give a larger")
    house = begin(keep_bytes=2 * MIB)

    for name in "abc":
        house.open(name)
        house.wait_for("a")
    eventually(lambda: len(expected_log.lines) > 0, "it is said")

    assert len(expected_log.lines) == 1, "and once"


def test_a_full_store_goes_on_once_another_process_has_made_room(
    endpoint: FakeEndpoint,
    begin: Begin,
    expected_log: LogWatch,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is tried again after 5 s at the earliest, and only where there is room."""
    monkeypatch.setattr(keeper_module, "ROOM_SECONDS", 0.05)
    monkeypatch.setattr(keeper_module, "_FIRST_DELAY_SECONDS", 1000.0)
    monkeypatch.setattr(keeper_module, "_LONGEST_DELAY_SECONDS", 1000.0)
    for name in ("a", "b"):
        endpoint.add(name, size_bytes=SIZE)
    expected_log("b: it is not kept yet: .*give a larger")
    house = begin(keep_bytes=2 * MIB)
    house.open("a")
    house.wait_for("a")
    house.open("b")
    eventually(lambda: len(expected_log.lines) > 0, "it is full")

    store = house.engine.kept
    assert store is not None
    looks: list[int] = []
    room_bytes = KeptStore.room_bytes

    def counted(of: KeptStore) -> int:
        looks.append(room_bytes(of))
        return looks[-1]

    monkeypatch.setattr(KeptStore, "room_bytes", counted)
    eventually(lambda: len(looks) > 2, "looks for room")
    endpoint.wait_until_idle()
    asked = len(endpoint.log)
    eventually(lambda: len(looks) > 4, "two more looks")
    assert len(endpoint.log) == asked, "nothing is asked before there is room"

    another = KeptStore(store._folder.parent, 2 * MIB, 0)
    another.drop(next(iter(another.videos())))
    house.wait_for("b")
    another.close()


def test_a_video_that_is_gone_is_given_up_and_its_room_is_free(
    endpoint: FakeEndpoint, begin: Begin, expected_log: LogWatch
) -> None:
    endpoint.add("a", size_bytes=SIZE)
    expected_log("a: it cannot be kept: no such video, or expired")
    house = begin(metadata_ttl_seconds=0.0)
    file = house.engine.catalog.find_to_open("a.mp4")
    endpoint.remove("a")

    house.keeper.opened(file)
    eventually(lambda: bool(expected_log.lines), "it is said")

    store = house.engine.kept
    assert store is not None
    eventually(lambda: not store.videos(), "nothing is left of it")


def test_a_video_that_will_come_too_late_is_said_at_once_and_comes_last(
    endpoint: FakeEndpoint, begin: Begin, expected_log: LogWatch
) -> None:
    now = time.time()
    endpoint.add("long", size_bytes=20 * MIB, expires_at=now + 1.8)
    endpoint.add("short", size_bytes=4 * MIB, expires_at=now + 2.6)
    endpoint.inject(carried_by(Link(8 * MIB)), times=inf)
    expected_log("long: its link will expire in [0-2] s, before it can be kept: .*MiB")
    house = begin()

    house.open("long")
    house.open("short")
    eventually(house.sealed, "one is kept")
    in_time = time.time()
    assert list(house.sealed()) == ["short"]
    house.wait_for("short", "long")

    assert in_time < now + 2.6
    assert endpoint.bytes_served_twice("short") == 0
