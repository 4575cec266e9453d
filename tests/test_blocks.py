"""Arithmetic of ranges and blocks."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import (
    ByteRange,
    Runs,
    block_count,
    blocks_of,
    bounds_of,
    runs_of,
    views_of,
)
from tests.support.strategies import byte_ranges

block_sizes = st.integers(1, 1 << 20)
sizes = st.integers(0, 1 << 24)


class TestByteRange:
    def test_a_range_is_half_open(self):
        assert len(ByteRange(3, 7)) == 4
        assert len(ByteRange(3, 3)) == 0

    @pytest.mark.parametrize(("start", "stop"), [(-1, 3), (4, 3), (-2, -1)])
    def test_what_is_no_range_cannot_be_made(self, start, stop):
        with pytest.raises(ValueError, match="not a byte range"):
            ByteRange(start, stop)

    def test_the_header_names_the_last_byte(self):
        assert ByteRange(0, 1).to_header() == "bytes=0-0"
        assert ByteRange(10, 20).to_header() == "bytes=10-19"

    def test_nothing_has_no_header(self):
        with pytest.raises(ValueError, match="empty"):
            ByteRange(5, 5).to_header()

    @given(byte_ranges(), sizes)
    def test_clipping_keeps_what_lies_inside(self, span, size):
        clipped = span.clip(size)

        assert clipped.stop <= size
        assert len(clipped) == max(0, min(span.stop, size) - span.start)
        if len(clipped):
            assert clipped.start == span.start


class TestBlocks:
    @given(byte_ranges(), block_sizes)
    def test_blocks_of_a_span_cover_it_and_touch_nothing_else(self, span, block):
        indices = blocks_of(span, block)

        if not len(span):
            assert not indices
            return
        assert indices.start * block <= span.start < (indices.start + 1) * block
        assert (indices.stop - 1) * block < span.stop <= indices.stop * block

    @given(sizes, block_sizes)
    def test_all_blocks_join_to_the_file(self, size, block):
        count = block_count(size, block)
        some = {0, 1, count // 2, count - 2, count - 1}

        assert count == len(blocks_of(ByteRange(0, size), block))
        for index in (index for index in some if 0 <= index < count):
            bounds = bounds_of(index, block, size)
            assert bounds.start == index * block
            assert len(bounds) == block or bounds.stop == size
            assert len(bounds) > 0
        assert len(bounds_of(count, block, size)) == 0

    @given(st.sets(st.integers(0, 200)))
    def test_runs_are_maximal_and_hold_each_index_once(self, indices):
        runs = runs_of(sorted(indices))

        assert [index for run in runs for index in run] == sorted(indices)
        for left, right in pairwise(runs):
            assert left.stop < right.start

    @given(
        st.lists(st.binary(max_size=9), max_size=6),
        st.integers(0, 60),
        st.integers(0, 60),
    )
    def test_views_are_the_bytes_of_the_buffers_laid_end_to_end(
        self, pieces, start, stop
    ):
        buffers = [bytearray(piece) for piece in pieces]

        views = views_of(buffers, start, stop)

        assert b"".join(views) == b"".join(pieces)[start:stop]
        assert all(views), "no view is empty"


index_runs = st.builds(
    lambda start, count: range(start, start + count),
    st.integers(0, 60),
    st.integers(1, 20),
)


class TestRuns:
    @given(st.lists(index_runs, max_size=30), index_runs)
    def test_runs_hold_what_was_added(self, added, asked):
        runs = Runs(100)
        for run in added:
            runs.add(run)

        held = {index for run in added for index in run}
        assert list(runs) == sorted(held)
        assert runs.covers(asked) == held.issuperset(asked)
        assert runs.is_complete

    @given(st.lists(index_runs, max_size=30), st.integers(1, 4))
    def test_runs_hold_nothing_else_and_no_more_than_so_many(self, added, most):
        runs = Runs(most)
        for run in added:
            runs.add(run)

        held = {index for run in added for index in run}
        assert len(runs_of(runs)) <= most
        assert held.issuperset(runs)
        assert held == set(runs) or not runs.is_complete

    def test_a_file_of_any_size_read_in_order_is_one_run(self):
        runs = Runs(1)
        for first in range(1 << 28, (1 << 28) + 1000, 8):
            runs.add(range(first, first + 8))

        assert runs.covers(range(1 << 28, (1 << 28) + 1000))
