"""What is fetched in the background comes, and takes nothing from readers."""

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.content import Content
from hingfs.errors import BodyCut
from hingfs.version import Validator
from tests.fetch.test_fetcher import BLOCK, Rig
from tests.support.sources import ENDPOINT

CONNECTIONS = 4
INFINITE = float("inf")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig(connections=CONNECTIONS) as rig:
        rig.fetch(0)  # so that it is known that ranges are served
        rig.source.requests.clear()
        yield rig


def bring(rig: Rig, *pieces: range) -> None:
    for piece in pieces:
        rig.fetcher.bring(rig.content, piece)


def fours(first: int, count: int) -> list[range]:
    return [range(at, at + 4) for at in range(first, first + 4 * count, 4)]


def wait_for(rig: Rig, count: int) -> None:
    rig.source.wait_until(lambda: len(rig.source.requests) >= count)


def test_it_takes_all_connections_where_no_reader_wants_any(rig: Rig) -> None:
    rig.source.let(0)

    bring(rig, *fours(4, 6))
    wait_for(rig, CONNECTIONS)

    assert sorted(rig.starts()) == [4, 8, 12, 16]
    rig.go_on()
    assert rig.fetch(*range(4, 28)) == [rig.bytes_of(index) for index in range(4, 28)]
    assert rig.source.bytes_served_twice() == 0


def test_it_makes_way_for_a_reader_and_goes_on_after_it(rig: Rig) -> None:
    """Each transfer ends at the block that it reads; the rest comes later."""
    rig.source.let(0)
    rig.fetcher._schedule._block_seconds = 1.0  # the link is slow
    bring(rig, *fours(4, 6))
    wait_for(rig, CONNECTIONS)

    landing = rig.fetcher.demand(rig.content, [40])
    rig.fetcher.prefetch(rig.content, range(50, 52))
    rig.go_on()
    rig.await_block(landing[0])

    wait_for(rig, 6 + 2 + CONNECTIONS)  # all, and the rests
    order = rig.starts()
    assert set(order[CONNECTIONS : CONNECTIONS + 2]) == {40, 50}
    rig.fetch(*range(4, 28))
    assert rig.source.bytes_served_twice() == 0


def test_it_waits_while_a_reader_reads(rig: Rig) -> None:
    rig.source.let(0)
    landing = rig.fetcher.demand(rig.content, [40])
    wait_for(rig, 1)

    bring(rig, range(4, 8))
    rig.fetcher.prefetch(rig.content, range(50, 52))
    wait_for(rig, 2)
    assert rig.starts() == [40, 50], "a later prefetch is not behind it"

    rig.go_on()
    rig.await_block(landing[0])
    wait_for(rig, 3)
    assert rig.starts()[2:] == [4]


@pytest.mark.parametrize("asked", [1, 2, 100])
def test_its_share_runs_beside_readers_and_one_is_always_theirs(
    rig: Rig, asked: int
) -> None:
    most = min(asked, CONNECTIONS - 1)
    rig.source.let(0)
    rig.fetcher.share_background(asked)
    landings = rig.fetcher.demand(rig.content, [40])
    wait_for(rig, 1)

    bring(rig, *fours(4, 6))
    wait_for(rig, 1 + most)
    landings += rig.fetcher.demand(rig.content, [60])
    if most + 2 > CONNECTIONS:
        rig.go_on()  # the reader had its one
    wait_for(rig, 2 + most)

    before = rig.starts()[: 1 + most]
    assert sorted(before) == [*range(4, 4 + 4 * most, 4), 40]
    rig.go_on()
    for landing in landings:
        rig.await_block(landing)


def test_a_reader_that_waits_for_one_of_its_blocks_makes_it_a_demand(rig: Rig) -> None:
    rig.source.let(0)
    rig.fetcher.demand(rig.content, [40])
    bring(rig, range(4, 8), range(8, 12))
    wait_for(rig, 1)

    landings = rig.fetcher.demand(rig.content, [9])
    wait_for(rig, 2)

    assert rig.starts() == [40, 8]
    rig.go_on()
    assert bytes(rig.await_block(landings[0])) == rig.bytes_of(9)


def test_what_is_dropped_is_not_fetched_and_may_be_asked_for_again(rig: Rig) -> None:
    rig.source.let(0)
    rig.fetcher.demand(rig.content, [40])
    wait_for(rig, 1)
    (landing,) = rig.fetcher.bring(rig.content, [4]).values()

    rig.fetcher.drop_brought(rig.content)

    with pytest.raises(BodyCut):
        landing.wait(1, time.monotonic() + 10)
    rig.go_on()
    assert rig.fetch(4) == [rig.bytes_of(4)]


def test_the_blocks_take_no_room_from_what_is_fetched_ahead(rig: Rig) -> None:
    rig.source.let(0)
    before = rig.fetcher.room_bytes()
    landings = rig.fetcher.bring(rig.content, range(4, 24))
    wait_for(rig, 1)
    assert rig.fetcher.room_bytes() == before

    rig.go_on()
    for landing in landings.values():
        rig.await_block(landing)

    assert rig.fetcher.room_bytes() == before
    assert rig.fetch(*range(4, 24)) == [rig.bytes_of(index) for index in range(4, 24)]
    assert len(rig.source.requests) == 1


def test_the_first_answer_about_a_file_is_waited_for() -> None:
    """A server that ignores ranges would send all of it for each request."""
    with Rig(connections=CONNECTIONS) as rig:
        rig.source.let(0)
        bring(rig, *fours(4, 3))
        wait_for(rig, 1)
        other = Content(ENDPOINT, "w", 4 * BLOCK, Validator())
        rig.fetcher.bring(other, range(4))
        wait_for(rig, 2)

        assert rig.source.videos == ["v", "w"]
        rig.go_on()
        rig.fetch(*range(4, 16))
        assert rig.source.bytes_served_twice() == 0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["read", "ahead", "bring", "drop"]),
            st.integers(0, 30),
            st.integers(1, 12),
        ),
        max_size=12,
    ),
    st.integers(1, 4),
    st.integers(0, 3),
)
def test_no_byte_comes_twice_whatever_is_wanted(
    wishes: list[tuple[str, int, int]], connections: int, share: int
) -> None:
    with Rig(32, connections=connections) as rig:
        rig.fetcher.share_background(share)
        for kind, first, count in wishes:
            indices = range(first, min(first + count, 32))
            if kind == "read":
                assert rig.fetch(*indices) == [rig.bytes_of(i) for i in indices]
            elif kind == "ahead":
                rig.fetcher.prefetch(rig.content, indices)
            elif kind == "bring":
                rig.fetcher.bring(rig.content, indices)
            else:
                rig.fetcher.drop_brought(rig.content)
        assert rig.fetch(*range(32)) == [rig.bytes_of(i) for i in range(32)]

        assert rig.source.bytes_served_twice() == 0
