"""What each way of reading costs: requests, bytes, joins and hits, never seconds.

Everything runs on the operations directly, against the fake endpoint's log.
"""

import random
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib import resources

import pytest

from hingfs.blocks import KIB, MIB
from hingfs.library.habits import WHOLE_HABIT_CLIPS
from hingfs.library.readahead import (
    HEAD_BYTES,
    LARGEST_WINDOW_BYTES,
    UNPROVEN_WINDOW_BYTES,
)
from hingfs.library.reader import WHOLE_AT_OPEN_BYTES
from tests.support.endpoint import FakeEndpoint
from tests.support.personalities import ramp
from tests.support.views import Direct

CLIP_BYTES = 12_650_449  # eight seconds of 1080p, the bench's clip
KERNEL_READ_BYTES = 128 * KIB


@pytest.fixture
def files(build) -> Direct:
    return Direct(build())


def content_ranges(endpoint: FakeEndpoint) -> list[tuple[int, int]]:
    """The ranges of content asked for, ascending, probes of a few bytes left out."""
    ranges = []
    for request in endpoint.requests_of("content", method="GET"):
        assert request.range is not None
        start, stop = request.range
        assert stop is not None
        if stop - start > 16:
            ranges.append((start, stop))
    return sorted(ranges)


@pytest.mark.parametrize(
    "size_bytes", [WHOLE_AT_OPEN_BYTES + 1, 3_000_000, CLIP_BYTES, 30_000_000]
)
def test_a_clip_read_once_costs_its_bytes_in_few_requests(endpoint, files, size_bytes):
    endpoint.add("clip", size_bytes=size_bytes)

    with files.open("clip") as clip:
        assert clip.read_all() == ramp("clip", 0, size_bytes)
    endpoint.wait_until_idle()

    assert endpoint.bytes_served_twice("clip") == 0
    assert endpoint.content_bytes("clip") == size_bytes
    assert len(content_ranges(endpoint)) <= max(12, 12 * size_bytes // CLIP_BYTES)


def read_at_once(
    endpoint: FakeEndpoint, files: Direct, count: int, size: int, title: str = "video"
) -> None:
    """*count* videos of *size* bytes, each by a reader of its own."""
    names = [f"{title}-{number}" for number in range(count)]
    for name in names:
        endpoint.add(name, size_bytes=size)
    together = threading.Barrier(count)

    def is_right(name: str) -> bool:
        with files.open(name) as video:
            together.wait(30)
            return video.read_all() == ramp(name, 0, size)

    with ThreadPoolExecutor(count) as pool:
        assert all(pool.map(is_right, names))
    endpoint.wait_until_idle()


def test_films_at_once_share_the_memory_and_come_in_long_requests(endpoint, build):
    """Together they are three times as large as it."""
    films = 8
    read_at_once(
        endpoint, Direct(build(cache={"cache_bytes": 64 * MIB})), films, 24_000_000
    )

    short = [one for one in content_ranges(endpoint) if one[1] - one[0] < MIB]
    assert len(short) <= 3 * films  # the first and the last of each among them


def test_clips_at_once_have_a_connection_each(endpoint, files):
    """The head, the tail, and one or two requests for the rest; one alone has ten."""
    clips = 10
    read_at_once(endpoint, files, clips, CLIP_BYTES)

    assert len(content_ranges(endpoint)) <= 5 * clips


def test_more_clips_at_once_than_connections_cost_little_beside_their_bytes(
    endpoint, build
):
    """What waits for a connection cuts no request whose bytes are about to come.

    A mount of its own for each round: one that has seen clips read whole asks for all of
    the next ones at open, which together may be more than its memory holds.
    """
    rounds, clips = 3, 12
    for turn in range(rounds):
        read_at_once(endpoint, Direct(build()), clips, CLIP_BYTES, f"turn-{turn}")

    fetched = sum(one.body_bytes for one in endpoint.requests_of("content"))
    assert fetched <= 1.02 * rounds * clips * CLIP_BYTES


def test_where_requests_are_counted_a_clip_is_one_range(endpoint, build):
    """A film that does not fit into memory is a few."""
    endpoint.add("clip", size_bytes=CLIP_BYTES)
    endpoint.add("film", size_bytes=300 * MIB)
    mount = build()
    mount.engine.transport.limit.pause(0.001)

    with Direct(mount).open("clip") as clip:
        assert clip.read_all() == ramp("clip", 0, CLIP_BYTES)
    endpoint.wait_until_idle()
    assert content_ranges(endpoint) == [(0, CLIP_BYTES)]
    endpoint.reset_log()

    with Direct(mount).open("film") as film:
        film.read_all()
    endpoint.wait_until_idle()
    assert endpoint.bytes_served_twice("film") == 0
    assert len(content_ranges(endpoint)) <= 24


def test_a_small_clip_is_fetched_whole_at_open(endpoint, files):
    endpoint.add("clip", size_bytes=WHOLE_AT_OPEN_BYTES)

    with files.open("clip"):  # and reads nothing
        endpoint.wait_until(
            lambda: endpoint.content_bytes("clip") == WHOLE_AT_OPEN_BYTES, timeout=10
        )
    endpoint.wait_until_idle()

    assert len(content_ranges(endpoint)) <= 2
    assert endpoint.bytes_served_twice("clip") == 0


def test_a_probe_of_head_and_tail_stays_small(endpoint, files):
    """A probe by ffprobe of a clip whose index is last costs at most 2.6 MB."""
    endpoint.add("clip", size_bytes=CLIP_BYTES)

    with files.open("clip") as clip:
        clip.read(0, 64 * KIB)
        clip.read(CLIP_BYTES - 12 * KIB, 12 * KIB)
        clip.read_all(0, 768 * KIB)
    endpoint.wait_until_idle()

    assert endpoint.content_bytes("clip") <= 2_600_000
    assert endpoint.bytes_served_twice("clip") == 0


def test_head_and_tail_are_asked_for_at_open(endpoint, files):
    endpoint.add("clip", size_bytes=CLIP_BYTES)

    with files.open("clip"):
        endpoint.wait_until(lambda: len(content_ranges(endpoint)) == 2, timeout=10)
    endpoint.wait_until_idle()

    ranges = content_ranges(endpoint)
    assert ranges[0] == (0, HEAD_BYTES)
    assert ranges[1][1] == CLIP_BYTES


def test_random_reads_fetch_little_beside_what_they_ask_for(endpoint, files):
    """40 reads of 64 KiB, 2.6 MB, cost at most 16 MB of a film."""
    size_bytes = 776_000_000
    endpoint.add("film", size_bytes=size_bytes)
    offsets = [random.Random(n).randrange(size_bytes - 64 * KIB) for n in range(40)]

    with files.open("film") as film:
        for offset in offsets:
            expected = ramp("film", offset, offset + 64 * KIB)
            assert film.read(offset, 64 * KIB) == expected
    endpoint.wait_until_idle()

    assert endpoint.content_bytes("film") <= 16_000_000


def test_eight_readers_cost_as_much_as_one_and_a_window(endpoint, files):
    endpoint.add("film", size_bytes=120 * MIB)
    wrong: list[int] = []
    expected = hash(ramp("film", 0, 40 * MIB))

    def read() -> None:
        with files.open("film") as film:
            if hash(film.read_all(0, 40 * MIB)) != expected:
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    endpoint.wait_until_idle()

    assert not any(thread.is_alive() for thread in threads)
    assert wrong == []
    assert endpoint.bytes_served_twice("film") == 0
    # The tail, asked for at open, comes on top.
    allowed = 40 * MIB + UNPROVEN_WINDOW_BYTES + MIB
    assert endpoint.content_bytes("film") <= allowed


def test_probe_then_play_loses_nothing(endpoint, files):
    endpoint.add("clip", size_bytes=CLIP_BYTES)
    with files.open("clip") as clip:
        clip.read_all(0, 512 * KIB)

    with files.open("clip") as clip:
        clip.read_all()
    endpoint.wait_until_idle()

    assert endpoint.bytes_served_twice("clip") == 0
    assert endpoint.content_bytes("clip") == CLIP_BYTES


def test_a_mount_that_reads_clips_whole_takes_the_next_one_at_open(endpoint, build):
    names = [f"clip_{n}" for n in range(WHOLE_HABIT_CLIPS + 1)]
    for name in names:
        endpoint.add(name, size_bytes=CLIP_BYTES)
    mount = build()
    for name in names[:-1]:
        with Direct(mount).open(name) as clip:
            clip.read_all()
    endpoint.wait_until_idle()

    with Direct(mount).open(names[-1]):  # and reads nothing
        endpoint.wait_until(
            lambda: endpoint.content_bytes(names[-1]) == CLIP_BYTES, timeout=20
        )

    assert endpoint.bytes_served_twice(names[-1]) == 0


def test_a_folder_copied_in_order_is_fetched_one_clip_ahead(endpoint, build):
    size = 3_000_000
    names = [f"clip_{n}" for n in range(8)]
    for name in names:
        endpoint.add(name, size_bytes=size)
    mount = build()
    list(mount.operations.readdir("/"))
    for name in names:
        mount.operations.getattr(f"/{name}.mp4", None)
    for name in names[:6]:
        with Direct(mount).open(name) as clip:
            assert clip.read_all() == ramp(name, 0, size)
    endpoint.wait_until(lambda: endpoint.content_bytes(names[6]) == size)

    assert [endpoint.content_bytes(name) for name in names] == [size] * 7 + [0]
    for name in names[6:]:
        with Direct(mount).open(name) as clip:
            clip.read_all()
    endpoint.wait_until_idle()
    assert [endpoint.content_bytes(name) for name in names] == [size] * 8


def test_one_clip_read_in_part_ends_the_habit(endpoint, files):
    names = [f"clip_{n}" for n in range(WHOLE_HABIT_CLIPS + 2)]
    for name in names:
        endpoint.add(name, size_bytes=CLIP_BYTES)
    for name in names[:-2]:
        with files.open(name) as clip:
            clip.read_all()
    with files.open(names[-2]) as clip:
        clip.read(0, KERNEL_READ_BYTES)
    endpoint.wait_until_idle()

    with files.open(names[-1]):
        pass
    endpoint.wait_until_idle()

    assert endpoint.content_bytes(names[-1]) < CLIP_BYTES


def test_the_index_of_a_real_clip_is_fetched_when_its_head_tells_where_it_is(
    endpoint, files
):
    """The box walk asks for exactly what lies behind the media."""
    head_box = (24).to_bytes(4, "big") + b"ftyp" + b"isom" + bytes(12)
    index_bytes = 3 * MIB
    media_bytes = 20 * MIB
    data = (
        head_box
        + media_bytes.to_bytes(4, "big")
        + b"mdat"
        + bytes(media_bytes - 8)
        + index_bytes.to_bytes(4, "big")
        + b"moov"
        + bytes(index_bytes - 8)
    )
    endpoint.add("clip", data=data)

    with files.open("clip") as clip:
        clip.read(0, 32 * KIB)
        index_start = len(head_box) + media_bytes
        endpoint.wait_until(
            lambda: any(
                start <= index_start < stop for start, stop in content_ranges(endpoint)
            ),
            timeout=10,
        )
        endpoint.wait_until_idle()
        endpoint.reset_log()
        clip.read_all(index_start, len(data))

    assert content_ranges(endpoint) == []


@pytest.mark.parametrize("name", ["moov_first", "moov_last"])
def test_a_real_clip_costs_its_bytes_and_reads_right(endpoint, files, name):
    data = resources.files("hingfs.demo.clips").joinpath(f"{name}.mp4").read_bytes()
    endpoint.add("clip", data=data)

    with files.open("clip") as clip:
        assert clip.read_all() == data
    endpoint.wait_until_idle()

    assert endpoint.bytes_served_twice("clip") == 0


def test_a_jump_drops_what_was_queued_and_reads_on(endpoint, files):
    """After a jump, what was not started for the old place is not fetched."""
    size_bytes = 400 * MIB
    endpoint.add("film", size_bytes=size_bytes)

    with files.open("film") as film:
        film.read_all(0, 4 * MIB)
        for place in (200 * MIB, 300 * MIB, 100 * MIB):
            expected = ramp("film", place, place + MIB)
            assert film.read_all(place, place + MIB) == expected
    endpoint.wait_until_idle()

    assert endpoint.bytes_served_twice("film") == 0
    assert (
        endpoint.content_bytes("film") <= 7 * MIB + UNPROVEN_WINDOW_BYTES + 3 * 8 * MIB
    )


def test_the_budget_bounds_blocks_and_reservations(endpoint, build):
    """Cache, in flight and ahead together stay inside --cache-size."""
    endpoint.add("film", size_bytes=80 * MIB)
    budget = 16 * MIB
    mount = build(cache={"cache_bytes": budget})
    held: list[int] = []

    with Direct(mount).open("film") as film:
        for offset in range(0, film.size_bytes, KERNEL_READ_BYTES):
            film.read(offset, KERNEL_READ_BYTES)
            stats = mount.engine.cache.stats()
            held.append(stats.held_bytes)
    endpoint.wait_until_idle()

    assert max(held) <= budget
    assert mount.engine.cache.stats().reserved_bytes == 0
    assert endpoint.bytes_served_twice("film") == 0


def test_windows_never_outgrow_half_of_the_default_budget(build):
    mount = build()

    assert mount.engine.cache.budget_bytes >= 2 * LARGEST_WINDOW_BYTES


def test_connections_are_open_before_the_first_request(endpoint, build):
    """Connections are made ahead, nothing is sent, and requests use them."""
    endpoint.add("clip", size_bytes=CLIP_BYTES)
    mount = build()
    mount.engine.transport.warm(2)
    endpoint.wait_until(lambda: endpoint.connections_seen == 2, timeout=10)
    assert endpoint.log == []

    mount.operations.getattr("/clip.mp4", None)

    assert endpoint.connections_seen == 2
