"""Reads equal the file, whatever their order, and cost what they must and no more."""

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Self

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs import mp4
from hingfs.blocks import KIB, MIB, ByteRange, block_count
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    Closing,
    ContentChanged,
    DeadlineExceeded,
    RangesIgnored,
    ServerBroken,
)
from hingfs.facts.counts import Count
from hingfs.facts.store import FactStore
from hingfs.fetch.fetcher import BlockFetcher
from hingfs.fetch.landings import Landing
from hingfs.fetch.queues import request_bytes
from hingfs.http.patience import FAILURE_MEMORY_SECONDS
from hingfs.library import reader as reader_module
from hingfs.library.crowd import Crowd
from hingfs.library.habits import WHOLE_HABIT_CLIPS
from hingfs.library.readahead import PROVEN_SHARE
from hingfs.library.reader import VideoReader
from hingfs.library.readers import MOST_IDLE_READERS, Readers
from hingfs.version import Validator
from tests.support.mounting import eventually
from tests.support.personalities import ramp
from tests.support.sources import ENDPOINT, Source
from tests.support.strategies import access_patterns, file_sizes, small_blocks

BLOCK = 64 * KIB
KERNEL_READ = 128 * KIB
LARGE = 24 * MIB  # beyond all that is fetched at open


def clip_of(video_id: str, size_bytes: int) -> Content:
    """A video of a server with ranges."""
    return Content(ENDPOINT, video_id, size_bytes, Validator(), ranges=True)


class FakeSpool:
    def __init__(self, content: Content) -> None:
        self.content = content

    def read_into(self, target: memoryview, offset: int, _deadline: float) -> None:
        target[:] = ramp(self.content.video_id, offset, offset + len(target))


class FakeSpools:
    """Whole files, of which every byte is there."""

    def __init__(self) -> None:
        self.opened: list[Content] = []

    def open(self, content: Content) -> FakeSpool:
        self.opened.append(content)
        return FakeSpool(content)


class Rig:
    """The readers of a mount on a `Source`."""

    def __init__(
        self,
        *,
        block_bytes: int = BLOCK,
        cache_bytes: int = 256 * MIB,
        connections: int = 4,
        read_seconds: float = 20.0,
        most_idle: int = MOST_IDLE_READERS,
        failure_memory_seconds: float = FAILURE_MEMORY_SECONDS,
    ) -> None:
        self.source = Source()
        self.cache = MemoryBlockCache(cache_bytes)
        self.spools = FakeSpools()
        tiers = Tiers(self.cache, block_bytes)
        self.fetcher = BlockFetcher(
            self.source,
            tiers,
            connections=connections,
            whole_body=lambda _content, _ignored: None,
            paying=Count(FactStore(), ""),
        )
        self.readers = Readers(
            self.fetcher,
            tiers,
            self.spools,  # type: ignore[arg-type]
            read_seconds,
            crowd=Crowd(100),
            most_idle=most_idle,
            failure_memory_seconds=failure_memory_seconds,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.fetcher.close(Closing("the test is over"))
        self.source.let(float("inf"))

    def open(self, size_bytes: int, *, ranges: bool | None = True) -> VideoReader:
        return self.readers.open(
            Content(ENDPOINT, "v", size_bytes, Validator(), ranges=ranges)
        )

    def read_whole(self, reader: VideoReader, step: int = KERNEL_READ) -> bytes:
        size = reader.content.size_bytes
        return b"".join(read(reader, at, step) for at in range(0, size, step))

    def all_arrived(self) -> None:
        """Return once nothing is queued and every request that began has ended."""
        eventually(self._is_at_rest, "the end of all requests")

    def _is_at_rest(self) -> bool:
        schedule = self.fetcher._schedule
        with schedule._lock:
            return not schedule._queues._files


@pytest.fixture
def rig() -> Iterator[Rig]:
    with Rig() as rig:
        yield rig


def read(reader: VideoReader, offset: int, size: int) -> bytes:
    target = bytearray(size)
    count = reader.read_into(memoryview(target), offset)
    return bytes(target[:count])


def expected(reader: VideoReader, offset: int, size: int) -> bytes:
    stop = min(offset + size, reader.content.size_bytes)
    return ramp("v", offset, max(offset, stop))


class TestBytes:
    @given(st.data(), file_sizes, small_blocks, st.integers(8, 200))
    def test_reads_equal_slices_of_the_file(self, data, size, block, cache_blocks):
        """For any sequence of reads, block size, cache size and file size."""
        reads = data.draw(access_patterns(size))
        cache_bytes = cache_blocks * block
        with Rig(block_bytes=block, cache_bytes=cache_bytes) as rig:
            reader = rig.open(size)

            for offset, length in reads:
                assert read(reader, offset, length) == expected(reader, offset, length)

    @given(st.data(), file_sizes, small_blocks, st.integers(8, 64))
    def test_reads_at_once_equal_slices_of_the_file(
        self, data, size, block, cache_blocks
    ):
        reads = data.draw(access_patterns(size))
        cache_bytes = cache_blocks * block
        with (
            Rig(block_bytes=block, cache_bytes=cache_bytes) as rig,
            ThreadPoolExecutor(4) as threads,
        ):
            reader = rig.open(size)

            got = threads.map(lambda one: read(reader, *one), reads)

            assert list(got) == [expected(reader, *one) for one in reads]

    @pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 10 * BLOCK])
    def test_a_read_is_short_only_at_the_end(self, rig, size):
        reader = rig.open(size)

        assert read(reader, 0, size + 100) == ramp("v", 0, size)
        assert read(reader, size - 1, 100) == ramp("v", size - 1, size)
        assert read(reader, size, 100) == b""
        assert read(reader, size + BLOCK, 100) == b""

    def test_an_end_of_file_is_not_believed_before_any_bytes_have_come(self, rig):
        """The answer that told the size may have been spoilt; the next one tells."""
        rig.source.fault = lambda _span: ContentChanged("the size is another one")
        reader = rig.open(LARGE)

        with pytest.raises(ContentChanged):
            read(reader, LARGE + 1, 100)

    def test_a_file_of_no_bytes_reads_as_nothing(self, rig):
        assert read(rig.open(0), 0, 100) == b""
        assert rig.source.requests == []


class TestCosts:
    @pytest.mark.parametrize("readers", [1, 8])
    @pytest.mark.parametrize("size", [1000, 1_500_000, LARGE - 1])
    def test_a_file_costs_its_bytes_once_however_many_read_it(self, rig, size, readers):
        start = threading.Barrier(readers)
        reader = rig.open(size)

        def read_all(_number: int):
            start.wait()
            return rig.read_whole(reader) == ramp("v", 0, size)

        with ThreadPoolExecutor(readers) as threads:
            assert all(threads.map(read_all, range(readers)))
        rig.all_arrived()

        assert rig.source.bytes_served_twice() == 0
        assert sum(len(span) for span in rig.source.served) == size

    @pytest.mark.parametrize("readers", [1, 8])
    def test_a_second_read_costs_nothing(self, rig, readers):
        reader = rig.open(LARGE)
        rig.read_whole(reader)
        rig.all_arrived()
        asked = len(rig.source.requests)

        with ThreadPoolExecutor(readers) as threads:
            again = threads.map(rig.read_whole, [reader] * readers)
            assert all(whole == ramp("v", 0, LARGE) for whole in again)

        assert len(rig.source.requests) == asked

    def test_a_sequential_read_needs_far_fewer_requests_than_blocks(self, rig):
        rig.read_whole(rig.open(LARGE))
        rig.all_arrived()

        assert len(rig.source.requests) < block_count(LARGE, BLOCK) / 8

    def test_what_a_full_window_lacks_is_asked_for_at_once(self):
        with Rig(connections=2) as rig:
            reader = rig.open(72 * MIB)
            for at in range(0, 48 * MIB, MIB):
                assert read(reader, at, MIB) == expected(reader, at, MIB)
                rig.all_arrived()

            window = range(24 * MIB, (24 + 24 // PROVEN_SHARE) * MIB)
            later = [
                len(span)
                for span in rig.source.requests
                if window.stop <= span.start < 48 * MIB
            ]
            assert min(later) >= request_bytes(len(window), 2)

    def test_random_reads_fetch_about_what_they_read(self, rig):
        """Far apart, so that none belongs to a sequence: their blocks and no more."""
        reader = rig.open(200 * MIB)
        rig.all_arrived()
        before = sum(len(span) for span in rig.source.served)

        for number in range(20):
            read(reader, (20 + (number * 77) % 160) * MIB, BLOCK)
        rig.all_arrived()

        fetched = sum(len(span) for span in rig.source.served) - before
        assert fetched <= 20 * BLOCK

    def test_a_clip_is_fetched_whole_at_open_in_few_requests(self, rig):
        size = reader_module.WHOLE_AT_OPEN_BYTES
        reader = rig.open(size)
        rig.all_arrived()

        assert sum(len(span) for span in rig.source.served) == size
        assert rig.read_whole(reader) == ramp("v", 0, size)
        assert len(rig.source.requests) <= 4

    def test_head_and_tail_of_a_longer_file_are_fetched_at_open(self, rig):
        rig.open(LARGE)

        rig.all_arrived()
        starts = sorted(span.start for span in rig.source.requests)
        stops = sorted(span.stop for span in rig.source.requests)
        assert starts[0] == 0
        assert stops[-1] == LARGE
        assert sum(len(span) for span in rig.source.requests) < LARGE // 4

    def test_a_server_not_known_to_have_ranges_is_asked_for_one_at_open(self, rig):
        rig.source.let(0)  # its answer would tell of ranges
        rig.open(LARGE, ranges=None)
        rig.source.let(float("inf"))
        rig.all_arrived()

        assert [span.start for span in rig.source.requests] == [0]

    def test_a_server_without_ranges_is_asked_for_none(self, rig):
        reader = rig.open(LARGE, ranges=False)

        assert read(reader, 5 * MIB, 1000) == ramp("v", 5 * MIB, 5 * MIB + 1000)
        assert rig.source.requests == []

    def test_a_second_handle_asks_for_nothing(self, rig):
        content = clip_of("v", LARGE)
        first = rig.readers.open(content)
        rig.all_arrived()
        asked = len(rig.source.requests)

        assert rig.readers.open(content) is first
        rig.all_arrived()
        assert len(rig.source.requests) == asked

    def test_after_clips_read_whole_the_next_is_fetched_whole(self, rig):
        clip = 4 * MIB  # more than is fetched whole of the first
        for number in range(WHOLE_HABIT_CLIPS):
            reader = rig.readers.open(clip_of(f"v{number}", clip))
            rig.read_whole(reader)
            rig.readers.close(reader)
        rig.all_arrived()
        rig.source.served.clear()

        rig.readers.open(clip_of("next", clip))

        rig.all_arrived()
        assert sum(len(span) for span in rig.source.served) == clip

    def test_one_clip_that_is_not_read_whole_ends_the_habit(self, rig):
        clip = 4 * MIB
        for number in range(WHOLE_HABIT_CLIPS + 1):
            reader = rig.readers.open(clip_of(f"v{number}", clip))
            if number < WHOLE_HABIT_CLIPS:
                rig.read_whole(reader)
            rig.readers.close(reader)
        rig.all_arrived()
        rig.source.served.clear()
        rig.source.requests.clear()

        rig.readers.open(clip_of("next", clip))
        rig.all_arrived()

        assert sum(len(span) for span in rig.source.served) < clip


class TestFilesAtOnce:
    def test_each_gets_a_connection_and_comes_in_few_requests(self):
        """Ten clips, ten readers, ten connections."""
        size, head = 12 * MIB, 2 * MIB
        with Rig(connections=10) as rig, ThreadPoolExecutor(10) as threads:
            rig.source.let(0)
            readers = [
                rig.readers.open(Content(ENDPOINT, f"v{n}", size, Validator()))
                for n in range(10)
            ]
            whole = [threads.submit(rig.read_whole, reader) for reader in readers]
            rig.source.wait_until(lambda: len(set(rig.source.videos)) == 10)
            assert len(rig.source.videos) == 10, "one for each"

            rig.source.let(head)
            rig.source.wait_until(
                lambda: sum(span.stop > head for span in rig.source.requests) >= 10
            )
            rig.source.let(float("inf"))
            for number, read_whole in enumerate(whole):
                assert read_whole.result(20) == ramp(f"v{number}", 0, size)
            rig.all_arrived()

            counts = Counter(rig.source.videos)
            assert max(counts.values()) <= 7, counts


class TestClipsInOrder:
    """Clip after clip, whole, in the order of their names."""

    CLIP = 4 * MIB  # more than is fetched whole of the first

    def clips(self, count: int, size_bytes: int = CLIP) -> list[Content]:
        return [clip_of(f"v{number}", size_bytes) for number in range(count)]

    def copy(self, rig: Rig, clip: Content, following: Sequence[Content]) -> None:
        reader = rig.readers.open(clip, following)
        rig.read_whole(reader)
        rig.readers.close(reader)

    def blocks_here(self, rig: Rig, clip: Content) -> int:
        rig.all_arrived()
        blocks = range(block_count(clip.size_bytes, BLOCK))
        return sum(clip.block_key(index) in rig.cache for index in blocks)

    def test_the_next_one_is_fetched_before_it_is_opened(self, rig):
        clips = self.clips(PROVEN_SHARE + 3)
        for number, clip in enumerate(clips[:-2]):
            self.copy(rig, clip, clips[number + 1 :])

        ahead, later = clips[-2:]
        assert self.blocks_here(rig, ahead) == block_count(self.CLIP, BLOCK)
        assert self.blocks_here(rig, later) == 0
        asked = len(rig.source.requests)
        self.copy(rig, ahead, [])
        assert len(rig.source.requests) == asked

    def test_no_more_than_a_quarter_of_what_was_read_is_fetched_in_vain(self, rig):
        clips = self.clips(40)
        for number, clip in enumerate(clips[:20]):
            self.copy(rig, clip, clips[number + 1 :])
            rig.all_arrived()
            fetched = sum(map(len, rig.source.served))
            read = (number + 1) * self.CLIP
            assert fetched <= read + read // PROVEN_SHARE

    @pytest.mark.parametrize("step", [2, 3, -1])
    def test_in_another_order_nothing_is(self, rig, step):
        clips = self.clips(24)

        for clip in clips[::step]:
            self.copy(rig, clip, clips[clips.index(clip) + 1 :])

        rig.all_arrived()
        assert sum(map(len, rig.source.served)) == len(clips[::step]) * self.CLIP

    def test_a_clip_larger_than_the_room_is_not(self):
        size = 2 * MIB
        with Rig(cache_bytes=3 * size) as rig:
            clips = self.clips(8, size)
            for clip, following in pairwise(clips):
                reader = rig.readers.open(clip, [following])
                assert self.blocks_here(rig, following) == 0
                rig.read_whole(reader)
                rig.readers.close(reader)


class TestIndex:
    """The head of an MP4 whose index lies at the end makes that end come early."""

    def test_the_head_is_looked_at_once(self, rig, monkeypatch):
        seen: list[tuple[int, int]] = []
        found = mp4.index_range

        def spy(head: bytes, size_bytes: int):
            seen.append((len(head), size_bytes))
            return found(head, size_bytes)

        monkeypatch.setattr(reader_module, "index_range", spy)
        reader = rig.open(LARGE)

        for _ in range(3):
            read(reader, 0, KERNEL_READ)
        read(reader, MIB, KERNEL_READ)

        assert seen == [(4 * KIB, LARGE)]

    def test_what_the_head_names_is_fetched(self, rig, monkeypatch):
        index = ByteRange(15 * MIB, 16 * MIB)
        monkeypatch.setattr(reader_module, "index_range", lambda *_: index)
        reader = rig.open(LARGE)

        read(reader, 0, 100)

        rig.source.wait_until(
            lambda: any(span.start == index.start for span in rig.source.requests)
        )


class TestErrors:
    def test_a_changed_video_is_never_read_on(self, rig):
        reader = rig.open(LARGE)
        read(reader, 0, 100)
        reader.content.found_changed()

        with pytest.raises(ContentChanged):
            read(reader, 0, 100)

    def test_a_change_that_is_met_reaches_this_and_every_later_read(self, rig):
        reader = rig.open(LARGE)
        rig.source.fault = lambda span: (
            ContentChanged("x") if span.start >= 8 * MIB else None
        )

        for offset in (8 * MIB, 0):
            with pytest.raises(ContentChanged):
                read(reader, offset, 100)

    @pytest.mark.parametrize("error", [AccessDenied("no"), ServerBroken("500")])
    def test_what_the_transfer_met_is_raised(self, rig, error):
        reader = rig.open(LARGE)
        rig.source.fault = lambda _span: error

        with pytest.raises(type(error)):
            read(reader, 8 * MIB, 100)

    def test_a_read_ends_at_its_deadline(self):
        with Rig(read_seconds=0.05) as rig:
            rig.source.let(0)
            reader = rig.open(LARGE)

            with pytest.raises(DeadlineExceeded):
                read(reader, 0, 100)

    def test_the_second_try_of_a_failed_read_has_the_deadline_of_the_first(
        self, monkeypatch
    ):
        """The kernel repeats what failed, while the program waits in the same call."""
        with Rig(read_seconds=0.05, failure_memory_seconds=60.0) as rig:
            deadlines = []
            wait = Landing.wait

            def recorded(landing, need, deadline):
                deadlines.append(deadline)
                return wait(landing, need, deadline)

            monkeypatch.setattr(Landing, "wait", recorded)
            rig.source.let(0)
            reader = rig.open(LARGE)
            for offset in (8 * MIB, 8 * MIB, 8 * MIB + 4 * KIB, 9 * MIB):
                with pytest.raises(DeadlineExceeded):
                    read(reader, offset, 4 * KIB + 1)

        first, again, overlapping, elsewhere = deadlines
        assert first == again == overlapping
        assert elsewhere > first

    def test_the_second_try_gets_what_has_arrived_meanwhile(self):
        with Rig(read_seconds=0.05, failure_memory_seconds=60.0) as rig:
            rig.source.let(0)
            reader = rig.open(LARGE)
            with pytest.raises(DeadlineExceeded):
                read(reader, 8 * MIB, 100)
            rig.source.let(LARGE)
            index = 8 * MIB // BLOCK
            eventually(
                lambda: reader.content.block_key(index) in rig.cache, "the block"
            )

            assert read(reader, 8 * MIB, 100) == ramp("v", 8 * MIB, 8 * MIB + 100)

    def test_a_failed_read_is_forgotten_after_a_moment(self):
        with Rig(read_seconds=0.05, failure_memory_seconds=0.0) as rig:
            rig.source.let(0)
            reader = rig.open(LARGE)
            with pytest.raises(DeadlineExceeded):
                read(reader, 8 * MIB, 100)
            reader._read_seconds = 20.0
            late = threading.Timer(0.2, rig.source.let, [LARGE])
            late.start()

            assert read(reader, 8 * MIB, 100) == ramp("v", 8 * MIB, 8 * MIB + 100)
            late.join()

    def test_ranges_that_are_ignored_lead_to_the_spool(self, rig):
        reader = rig.open(LARGE, ranges=None)
        rig.source.fault = lambda _span: RangesIgnored("200")

        assert read(reader, 2 * MIB, 1000) == ramp("v", 2 * MIB, 2 * MIB + 1000)
        assert reader.content.ranges is False
        asked = len(rig.source.requests)
        assert read(reader, 9 * MIB, 1000) == ramp("v", 9 * MIB, 9 * MIB + 1000)
        assert len(rig.source.requests) == asked


class TestHandles:
    def test_idle_readers_are_bounded(self):
        with Rig(most_idle=3) as rig:
            for number in range(10):
                reader = rig.readers.open(clip_of(f"v{number}", 1000))
                rig.readers.close(reader)

            assert len(rig.readers._readers) <= 4

    def test_a_reader_in_use_is_never_forgotten(self):
        with Rig(most_idle=0) as rig:
            content = clip_of("used", 1000)
            used = rig.readers.open(content)
            for number in range(5):
                other = rig.readers.open(clip_of(f"v{number}", 1000))
                rig.readers.close(other)

            assert rig.readers.open(content) is used

    def test_the_last_close_drops_what_is_queued(self):
        with Rig(connections=1) as rig:
            rig.source.let(0)
            reader = rig.open(LARGE)
            rig.source.wait_until(lambda: len(rig.source.requests) == 1)

            rig.readers.close(reader)
            rig.source.let(float("inf"))
            rig.all_arrived()

            assert len(rig.source.requests) == 1

    def test_what_was_dropped_is_fetched_when_it_is_read(self):
        with Rig(connections=1) as rig:
            content = clip_of("v", LARGE)
            rig.source.let(0)
            reader = rig.readers.open(content)
            rig.readers.close(reader)
            rig.source.let(float("inf"))

            again = rig.readers.open(content)

            assert rig.read_whole(again) == ramp("v", 0, LARGE)
            rig.all_arrived()
            assert rig.source.bytes_served_twice() == 0
