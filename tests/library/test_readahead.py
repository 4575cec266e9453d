"""Reads alone decide which bytes are fetched ahead; properties, not constants."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import KIB, MIB, ByteRange
from hingfs.content import Content
from hingfs.fetch import queues
from hingfs.fetch.queues import request_bytes
from hingfs.library import readahead
from hingfs.library.habits import ClipHabit
from hingfs.library.readahead import Plan, ReadAhead, Room
from hingfs.version import Validator
from tests.support.sources import ENDPOINT

KERNEL_READ = 128 * KIB
PLENTY = 1 << 40
FILM = 2048 * MIB
# Two reads further apart than this belong to no common sequence.
APART = readahead.FORWARD_TOLERANCE_BYTES + readahead.BACKWARD_TOLERANCE_BYTES + MIB


def advance(
    ahead: ReadAhead,
    span: ByteRange,
    *,
    waited: bool = True,
    room: int = PLENTY,
    its_share: int = PLENTY,
    connections: int = 8,
) -> Plan:
    of_memory = Room(free_bytes=room, share_bytes=its_share)
    return ahead.advance(span, waited=waited, room=of_memory, share=connections)


def kernel_reads(start: int, stop: int, *, shuffled: int = 1, seed: int = 0):
    """[start, stop) in reads of the kernel; *shuffled* neighbours in any order."""
    spans = [
        ByteRange(at, min(at + KERNEL_READ, stop))
        for at in range(start, stop, KERNEL_READ)
    ]
    order = random.Random(seed)
    for at in range(0, len(spans), shuffled):
        group = spans[at : at + shuffled]
        order.shuffle(group)
        spans[at : at + shuffled] = group
    return spans


steps = st.lists(
    st.tuples(
        st.integers(0, 300 * MIB),
        st.integers(1, 2 * MIB),
        st.booleans(),
        st.integers(0, 64 * MIB) | st.just(PLENTY),
        st.integers(1, 64),
        st.booleans(),  # goes on where the last one ended
    ),
    max_size=60,
)


def largest_request(connections: int) -> int:
    """One request at a time has the window for itself."""
    if connections == 1:
        return queues.LARGEST_SINGLE_REQUEST_BYTES
    return queues.LARGEST_REQUEST_BYTES


@given(st.integers(1, 300 * MIB), steps)
def test_a_plan_stays_inside_the_file_the_room_and_the_window(size, reads):
    """However a file is read."""
    ahead = ReadAhead(size)
    end = highest = 0
    for offset, length, waited, room, connections, goes_on in reads:
        start = min(end if goes_on else offset, size - 1)
        span = ByteRange(start, min(start + length, size))
        end = span.stop % size
        highest = max(highest, span.stop)

        plan = advance(ahead, span, waited=waited, room=room, connections=connections)

        if plan.ahead is not None:
            assert 0 < len(plan.ahead) <= room
            assert plan.ahead.stop <= size
            assert plan.ahead.stop <= highest + readahead.LARGEST_WINDOW_BYTES


@given(st.integers(1, 400 * MIB), st.integers(1, 64), st.integers(1, 8), st.integers())
def test_one_sequence_plans_every_byte_at_most_once(size, connections, shuffled, seed):
    ahead = ReadAhead(size)
    planned = 0
    for span in kernel_reads(0, min(size, 100 * MIB), shuffled=shuffled, seed=seed):
        plan = advance(ahead, span, connections=connections)

        if plan.ahead is not None:
            assert plan.ahead.start >= planned
            planned = plan.ahead.stop
        assert not plan.new_region


@given(st.permutations(range(60)), st.integers(1, 512 * KIB))
def test_reads_far_from_each_other_plan_nothing(places, length):
    ahead = ReadAhead(60 * APART + length)

    plans = [
        advance(ahead, ByteRange(place * APART, place * APART + length))
        for place in places
    ]

    assert all(plan.ahead is None for plan in plans)


def holes(start: int, length: int, apart: int, count: int = 40) -> list[ByteRange]:
    """Reads of *length*, each *apart* behind the end of the one before."""
    at = range(start, start + count * (length + apart), length + apart)
    return [ByteRange(offset, offset + length) for offset in at]


@given(st.integers(1, 255 * KIB), st.integers(3, 64), st.integers(0, 1))
def test_pages_missing_here_and_there_plan_nothing(length, share, start):
    """A program reads on, and the kernel asks only for what it has dropped."""
    ahead = ReadAhead(FILM)

    plans = [
        advance(ahead, span)
        for span in holes(start * MIB, length, min(share * length, MIB + length))
    ]

    assert all(plan.ahead is None for plan in plans)


@pytest.mark.parametrize("length", [4 * KIB, 128 * KIB, 255 * KIB])
def test_pages_missing_behind_a_sequence_plan_nothing(length):
    ahead = ReadAhead(FILM)
    planned = 0
    for span in kernel_reads(0, 100 * MIB):
        plan = advance(ahead, span)
        planned = plan.ahead.stop if plan.ahead is not None else planned

    plans = [advance(ahead, span) for span in holes(planned + MIB, length, MIB)]

    assert all(plan.ahead is None for plan in plans)


def test_a_sequence_behind_missing_pages_arms_as_any_other():
    ahead = ReadAhead(FILM)
    for span in holes(0, 16 * KIB, MIB):
        advance(ahead, span)
        start = span.stop + MIB

    first, second = kernel_reads(start, start + 2 * KERNEL_READ)

    assert advance(ahead, first).ahead is None
    assert advance(ahead, second).ahead is not None


def test_a_skip_inside_the_window_keeps_it():
    ahead = ReadAhead(FILM)
    for span in kernel_reads(0, 100 * MIB):
        advance(ahead, span)
    start = 110 * MIB

    reach = 0
    for span in kernel_reads(start, start + 16 * MIB):
        plan = advance(ahead, span)
        if plan.ahead is not None:
            reach = max(reach, plan.ahead.stop - span.stop)

    assert reach > readahead.SOUGHT_WINDOW_BYTES


@pytest.mark.parametrize("shuffled", [1, 2, 8])
@pytest.mark.parametrize("start", [0, 700 * MIB])
def test_parallel_reads_of_one_sequence_arm_and_grow(shuffled, start):
    """The kernel's reads of 128 KiB arrive in any order, here within a MiB."""
    ahead = ReadAhead(FILM)
    reach, frontier = [], 0
    for span in kernel_reads(start, start + 200 * MIB, shuffled=shuffled):
        plan = advance(ahead, span)
        frontier = max(frontier, span.stop)
        if plan.ahead is not None:
            reach.append(plan.ahead.stop - frontier)

    assert reach, "never armed"
    assert max(reach) > 4 * reach[0]
    assert max(reach) <= readahead.LARGEST_WINDOW_BYTES


def test_a_sequence_is_planned_long_before_it_is_read():
    ahead = ReadAhead(FILM)
    planned = behind = 0
    for number, span in enumerate(kernel_reads(0, 200 * MIB)):
        if number > 32 and span.stop > planned:
            behind += 1
        plan = advance(ahead, span)
        if plan.ahead is not None:
            planned = plan.ahead.stop

    assert behind == 0


def test_a_window_grows_only_while_reads_wait():
    def furthest(*, waited: bool) -> int:
        ahead = ReadAhead(FILM)
        reach = 0
        for span in kernel_reads(0, 16 * MIB):
            plan = advance(ahead, span, waited=waited)
            if plan.ahead is not None:
                reach = max(reach, plan.ahead.stop - span.stop)
        return reach

    assert furthest(waited=False) < furthest(waited=True)


@given(st.integers(1, 300 * MIB), st.integers(1, 64), st.booleans())
def test_a_program_that_stops_has_cost_little_in_proportion(
    read_bytes, connections, waited
):
    """At most a window; a large one only after as much as four of the others."""
    ahead = ReadAhead(FILM)
    planned = 0
    for span in kernel_reads(0, read_bytes):
        plan = advance(ahead, span, connections=connections, waited=waited)
        if plan.ahead is not None:
            planned = plan.ahead.stop

    allowed = max(readahead.UNPROVEN_WINDOW_BYTES, read_bytes // readahead.PROVEN_SHARE)
    if waited and read_bytes >= readahead.PROVEN_AFTER_BYTES:
        allowed = readahead.LARGEST_WINDOW_BYTES
    assert planned - read_bytes <= min(allowed, readahead.LARGEST_WINDOW_BYTES)


def test_without_room_nothing_is_planned():
    ahead = ReadAhead(FILM)

    plans = [advance(ahead, span, room=0) for span in kernel_reads(0, 20 * MIB)]

    assert all(plan.ahead is None for plan in plans)


def test_a_short_rest_is_planned_to_the_end():
    size = 12 * MIB
    ahead = ReadAhead(size)
    planned = 0
    for span in kernel_reads(0, size // 2):
        plan = advance(ahead, span)
        if plan.ahead is not None:
            planned = plan.ahead.stop

    assert planned == size


def test_a_read_elsewhere_begins_a_new_region_once():
    ahead = ReadAhead(FILM)
    for span in kernel_reads(0, 4 * MIB):
        advance(ahead, span)
    far = 1000 * MIB

    first = advance(ahead, ByteRange(far, far + KERNEL_READ))
    second = advance(ahead, ByteRange(far + KERNEL_READ, far + 2 * KERNEL_READ))

    assert (first.new_region, second.new_region) == (True, False)


def test_the_head_is_remembered_while_the_tail_is_read():
    """A player that jumps between both goes on at once in each."""
    ahead = ReadAhead(FILM)
    for span in kernel_reads(0, 8 * MIB):
        advance(ahead, span)
    for span in kernel_reads(FILM - 2 * MIB, FILM):
        advance(ahead, span)

    back = advance(ahead, ByteRange(8 * MIB, 8 * MIB + KERNEL_READ))

    assert not back.new_region


def test_the_number_of_cursors_is_bounded():
    ahead = ReadAhead(FILM)
    for place in range(100):
        advance(ahead, ByteRange(place * APART, place * APART + 1))

    assert len(ahead._cursors) <= readahead.MOST_CURSORS


def test_what_may_be_gone_is_planned_again():
    ahead = ReadAhead(FILM)
    frontier = planned = 0
    for span in kernel_reads(0, 8 * MIB):
        frontier = span.stop
        plan = advance(ahead, span)
        if plan.ahead is not None:
            planned = plan.ahead.stop
    assert planned > frontier

    ahead.replan()
    again = advance(ahead, ByteRange(frontier, frontier + KERNEL_READ))

    assert again.ahead is not None
    assert again.ahead.start == frontier + KERNEL_READ


def test_what_comes_anyway_is_not_planned():
    ahead = ReadAhead(4 * MIB)
    first, *others = kernel_reads(0, 4 * MIB)
    advance(ahead, first)
    ahead.note_planned(ByteRange(0, 4 * MIB))

    assert all(advance(ahead, span).ahead is None for span in others)


@given(st.integers(0, 1 << 40), st.integers(1, 64))
def test_a_request_is_a_share_of_the_window_within_bounds(window, connections):
    size = request_bytes(window, connections)

    assert queues.SMALLEST_REQUEST_BYTES <= size <= largest_request(connections)
    assert size >= request_bytes(window, connections + 1)


class TestClipHabit:
    @given(st.lists(st.tuples(st.integers(0, 9), st.booleans())), st.integers(1, 12))
    def test_clips_are_wanted_ahead_only_after_four_times_as_much(self, uses, known):
        """Whatever is opened, in whatever order, and read whole or not."""
        clips = [
            Content(ENDPOINT, f"v{n}", 1 + n * 7 % 5, Validator()) for n in range(11)
        ]
        habit = ClipHabit()
        read = 0
        for number, whole in uses:
            following = clips[number + 1 : number + 1 + known]
            habit.opened(clips[number], following)
            wanted = habit.ahead()
            assert wanted == following[: len(wanted)]
            size = sum(clip.size_bytes for clip in wanted)
            assert size * readahead.PROVEN_SHARE <= read
            habit.closed(clips[number], whole=whole)
            read = read + clips[number].size_bytes if whole else 0

    def test_the_window_never_outgrows_that_of_a_film(self):
        clips = [Content(ENDPOINT, f"v{n}", 10 * MIB, Validator()) for n in range(100)]
        habit = ClipHabit()
        for number, clip in enumerate(clips):
            habit.opened(clip, clips[number + 1 :])
            window = sum(one.size_bytes for one in habit.ahead())
            assert window <= readahead.LARGEST_WINDOW_BYTES
            habit.closed(clip, whole=True)
        assert len(habit.ahead()) == 0, "nothing follows the last"


def test_the_second_of_two_small_reads_in_a_row_is_a_sequence():
    """However small: a player reads on in pieces of some KiB."""
    ahead = ReadAhead(100 * MIB)
    plans = [
        ahead.advance(
            ByteRange(start, start + 4 * KIB),
            waited=True,
            room=Room(free_bytes=100 * MIB, share_bytes=100 * MIB),
            share=6,
        )
        for start in (50 * MIB, 50 * MIB + 4 * KIB)
    ]

    assert [plan.ahead is None for plan in plans] == [True, False]


def test_one_of_many_files_never_plans_beyond_its_share_of_the_memory():
    """However fast it reads; and its requests are no shorter than half of that."""
    ahead, share = ReadAhead(FILM), 8 * MIB
    plans: list[ByteRange] = []
    for span in kernel_reads(0, 200 * MIB):
        plan = advance(ahead, span, its_share=share, connections=1)
        if plan.ahead is not None:
            assert plan.ahead.stop <= span.stop + share
            plans.append(plan.ahead)

    assert sum(map(len, plans)) >= 200 * MIB
    late = [len(plan) for plan in plans if plan.start >= 32 * MIB]
    assert min(late) >= share // 2


INDEX = ByteRange(FILM - MIB, FILM)


def player(index: ByteRange = INDEX) -> ReadAhead:
    """The read-ahead of a program that has read the head, and then the index."""
    ahead = ReadAhead(FILM)
    advance(ahead, ByteRange(0, KERNEL_READ))
    ahead.found_index(index.start)
    advance(ahead, ByteRange(index.start, index.start + KERNEL_READ))
    return ahead


@pytest.mark.parametrize("index_at", [32, INDEX.start])
def test_a_jump_from_the_index_has_its_window_at_once(index_at):
    """Wherever the index lies; with the others, what was queued is dropped."""
    ahead = player(ByteRange(index_at, index_at + MIB))
    at = ByteRange(500 * MIB, 500 * MIB + KERNEL_READ)

    plan = advance(ahead, at)

    assert plan.new_region
    assert plan.ahead is not None
    assert plan.ahead.start == at.stop
    assert len(plan.ahead) <= readahead.SOUGHT_WINDOW_BYTES


def test_jumps_that_are_not_read_on_from_have_few_windows_in_vain():
    """A program that reads here and there has read the index by chance."""
    ahead = player()
    most = readahead.MOST_JUMPS_IN_VAIN
    jumps = holes(100 * MIB, KERNEL_READ, APART)

    planned = [advance(ahead, span).ahead is not None for span in jumps]
    assert planned == [True] * most + [False] * (len(jumps) - most)

    last = jumps[-1].stop
    advance(ahead, ByteRange(last, last + KERNEL_READ))
    assert advance(ahead, ByteRange(MIB * 900, MIB * 901)).ahead is not None


def test_jumps_that_are_read_on_from_always_have_a_window():
    ahead = player()
    for span in holes(100 * MIB, KERNEL_READ, APART):
        assert advance(ahead, span).ahead is not None
        advance(ahead, ByteRange(span.stop, span.stop + KERNEL_READ))


def test_a_player_that_probes_the_head_fetches_no_more_than_the_open_did():
    """A copier, which has not been to the index, has a window there."""
    head = kernel_reads(KERNEL_READ, readahead.HEAD_BYTES)

    def plans(ahead: ReadAhead) -> int:
        return sum(advance(ahead, span).ahead is not None for span in head)

    playing, copying = player(), ReadAhead(FILM)
    assert plans(playing) == 0
    assert plans(copying) > 0
    beyond = ByteRange(readahead.HEAD_BYTES, readahead.HEAD_BYTES + KERNEL_READ)
    assert advance(playing, beyond).ahead is not None


@pytest.mark.parametrize("start", [0, 3 * MIB])
def test_a_player_has_the_rest_once_it_has_read_as_much(start):
    size = 12 * MIB
    ahead = ReadAhead(size)
    advance(ahead, ByteRange(0, KERNEL_READ))
    ahead.found_index(size - KIB)
    advance(ahead, ByteRange(size - KIB, size))

    for span in kernel_reads(start, size - MIB):
        plan = advance(ahead, span, waited=False)
        if plan.ahead is not None and plan.ahead.stop == size:
            break

    assert span.stop - start >= size - span.stop - readahead.SOUGHT_WINDOW_BYTES
