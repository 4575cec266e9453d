"""Reads through a mount give the bytes that the endpoint serves, and cost no more.

The read suite runs on `HingOperations` directly and through the mount of either
binding; the rest needs what only a kernel and other programs do.
"""

import hashlib
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from functools import partial
from pathlib import Path

import pytest

from hingfs.mount.serving import Mount
from hingfs.settings import CacheConfig, Config, EndpointConfig, MountConfig
from hingfs.token import Token
from tests.support.endpoint import PROBE_BYTES, FakeEndpoint, Video, reset_at
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    each_binding,
    environment,
    eventually,
    own_mount,
    run,
)
from tests.support.reading import DirectHandle, Handle, Opened, errno_of
from tests.support.views import Direct

BLOCK_BYTES = 256 * 1024
# Neither a multiple of a block nor of a page; large enough for read-ahead to matter.
SIZE_BYTES = 12 * BLOCK_BYTES + 1234
LARGE_BYTES = 40 * BLOCK_BYTES + 77


# --- the read suite: directly and through mounts -----------------------------------


class Way:
    """One endpoint and one way to open its videos; ids are never used twice."""

    def __init__(
        self,
        endpoint: FakeEndpoint,
        opened: Callable[[str], Opened],
        listed: Callable[[], object],
    ) -> None:
        self.endpoint = endpoint
        self.list = listed  # reads the directory
        self._opened = opened
        self._made = 0

    def add(self, size_bytes: int = SIZE_BYTES) -> Video:
        self._made += 1
        return self.endpoint.add(f"video_{self._made}", size_bytes=size_bytes)

    def open(self, video: Video) -> closing[Opened]:
        return closing(self._opened(video.video_id))


WAYS = [
    "direct",
    *(pytest.param(binding, marks=pytest.mark.fuse) for binding in BINDINGS),
]


@pytest.fixture(scope="module", params=WAYS)
def way(request: pytest.FixtureRequest) -> Iterator[Way]:
    """`Way`: HingOperations directly, or the mount of a binding."""
    with ExitStack() as stack:
        endpoint = stack.enter_context(FakeEndpoint())
        if request.param == "direct":
            mount = Mount(direct_config(endpoint), lambda: None)
            stack.callback(mount.close)
            yield Way(
                endpoint,
                lambda id_: DirectHandle(mount.operations, f"/{id_}.mp4"),
                Direct(mount).names,
            )
        else:
            mounted = stack.enter_context(Mounted(endpoint, request.param))
            yield Way(
                endpoint,
                lambda id_: Handle(mounted.path(id_)),
                lambda: os.listdir(mounted.directory),
            )


def direct_config(endpoint: FakeEndpoint) -> Config:
    return Config(
        MountConfig(Path("/nowhere")),
        EndpointConfig(base_url=endpoint.base_url, token=Token(endpoint.token)),
        CacheConfig(),
    )


def check_reads(way: Way, video: Video, reads: list[tuple[int, int]]) -> None:
    """Each (offset, count) gives the bytes of *video* there, all of them."""
    with way.open(video) as opened:
        for offset, count in reads:
            expected = video.read(offset, offset + count)
            assert opened.read(offset, count) == expected, (offset, count)


@pytest.mark.parametrize("step", [4096, 65_536, 100_003, BLOCK_BYTES, 1_048_576])
def test_sequential_reads_give_the_bytes(way: Way, step: int) -> None:
    video = way.add()

    check_reads(way, video, [(at, step) for at in range(0, SIZE_BYTES, step)])


@pytest.mark.parametrize("step", [65_536, 100_003, BLOCK_BYTES])
def test_backward_reads_give_the_bytes(way: Way, step: int) -> None:
    video = way.add()

    reads = [(at, step) for at in range(0, SIZE_BYTES, step)]
    check_reads(way, video, reads[::-1])


@pytest.mark.parametrize("seed", range(4))
def test_random_reads_give_the_bytes(way: Way, seed: int) -> None:
    video = way.add(LARGE_BYTES)
    chance = random.Random(seed)

    check_reads(
        way,
        video,
        [
            (chance.randrange(LARGE_BYTES), chance.choice([1, 511, 4096, 70_000]))
            for _ in range(60)
        ],
    )


def test_reads_at_the_edges_of_blocks_give_the_bytes(way: Way) -> None:
    video = way.add()
    edges = range(0, SIZE_BYTES, BLOCK_BYTES)

    check_reads(
        way,
        video,
        [(max(0, e + by), n) for e in edges for by in (-1, 0, 1) for n in (1, 2, 3)],
    )


def test_a_read_at_the_end_is_clipped_and_beyond_it_is_empty(way: Way) -> None:
    video = way.add()

    with way.open(video) as opened:
        assert opened.read(SIZE_BYTES - 10, 100) == video.read(
            SIZE_BYTES - 10, SIZE_BYTES
        )
        assert opened.read(SIZE_BYTES - 1, 1) == video.read(SIZE_BYTES - 1, SIZE_BYTES)
        assert opened.read(SIZE_BYTES, 1) == b""
        assert opened.read(SIZE_BYTES + 1, 4096) == b""
        assert opened.read(SIZE_BYTES + 10 * BLOCK_BYTES, 4096) == b""


def test_an_empty_read_gives_nothing(way: Way) -> None:
    video = way.add()

    with way.open(video) as opened:
        assert opened.read(0, 0) == b""
        assert opened.read(SIZE_BYTES // 2, 0) == b""


def test_one_read_larger_than_the_file_gives_all_of_it(way: Way) -> None:
    video = way.add()

    with way.open(video) as opened:
        assert opened.read(0, SIZE_BYTES + 5_000_000) == video.read(0, SIZE_BYTES)


@pytest.mark.parametrize("size_bytes", [1, 2, 4095, 4096, 4097, BLOCK_BYTES])
def test_small_videos_have_their_size_and_bytes(way: Way, size_bytes: int) -> None:
    video = way.add(size_bytes)

    with way.open(video) as opened:
        assert opened.size_bytes == size_bytes
        assert opened.read(0, size_bytes + 1) == video.read(0, size_bytes)


def test_two_handles_do_not_disturb_each_other(way: Way) -> None:
    video = way.add(LARGE_BYTES)

    with way.open(video) as head, way.open(video) as tail:
        for at in range(0, 2_000_000, 50_000):
            assert head.read(at, 50_000) == video.read(at, at + 50_000)
            low = LARGE_BYTES - at - 50_000
            assert tail.read(low, 50_000) == video.read(low, low + 50_000)


def test_a_body_cut_again_and_again_is_read_whole(way: Way) -> None:
    """A fault that passes is invisible to the reader."""
    video = way.add()
    way.endpoint.inject(reset_at(70_000), times=6)

    with way.open(video) as opened:
        assert opened.read(0, SIZE_BYTES) == video.read(0, SIZE_BYTES)
    assert way.endpoint.faults_left == 0


def test_a_file_read_once_costs_its_bytes_once(way: Way) -> None:
    """N blocks cost N blocks' bytes, and no byte comes twice.

    After a listing no last bytes are asked for before the size is known.
    """
    video = way.add(LARGE_BYTES)
    way.list()

    check_reads(way, video, [(at, 65_536) for at in range(0, LARGE_BYTES, 65_536)])

    way.endpoint.wait_until_idle()
    assert way.endpoint.bytes_served_twice(video.video_id) == 0
    assert bytes_beside_probes(way.endpoint, video) == LARGE_BYTES


def test_a_second_read_asks_for_no_content(way: Way) -> None:
    video = way.add(LARGE_BYTES)
    everything = [(at, 131_072) for at in range(0, LARGE_BYTES, 131_072)]
    check_reads(way, video, everything)
    way.endpoint.wait_until_idle()
    way.endpoint.reset_log()

    check_reads(way, video, everything)

    assert way.endpoint.log == []


# --- what needs a kernel ------------------------------------------------------------


@pytest.fixture(scope="module", params=BINDINGS)
def mounted(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """One mount per binding of `mounted.endpoint`, for tests that leave it as it was."""
    with own_mount(request.param) as (_endpoint, mounted):
        yield mounted


@pytest.mark.fuse
def test_dd_at_odd_offsets_copies_the_bytes(mounted: Mounted, tmp_path: Path) -> None:
    video = mounted.endpoint.add("dd", size_bytes=SIZE_BYTES)
    copy = tmp_path / "copy"

    for skip, block, count in ((1, 1, 1000), (3, 7777, 201), (257, 4097, 300)):
        done = run(
            [
                *("dd", f"if={mounted.path('dd')}", f"of={copy}"),
                *(f"bs={block}", f"skip={skip}", f"count={count}"),
            ]
        )
        assert done.returncode == 0, done.stderr
        start = skip * block
        assert copy.read_bytes() == video.read(start, start + count * block)


@pytest.mark.fuse
def test_cp_and_cmp_agree_with_the_endpoint(mounted: Mounted, tmp_path: Path) -> None:
    video = mounted.endpoint.add("cp", size_bytes=LARGE_BYTES)
    copy = tmp_path / "copy"

    done = run(["cp", mounted.path("cp"), copy])

    assert done.returncode == 0, done.stderr
    assert copy.read_bytes() == video.read(0, LARGE_BYTES)
    assert run(["cmp", mounted.path("cp"), copy]).returncode == 0


@pytest.mark.fuse
def test_cmp_finds_a_single_other_byte(mounted: Mounted, tmp_path: Path) -> None:
    """The comparison above can fail."""
    video = mounted.endpoint.add("cmp", size_bytes=SIZE_BYTES)
    other = bytearray(video.read(0, SIZE_BYTES))
    other[SIZE_BYTES - 5] ^= 1
    (tmp_path / "other").write_bytes(other)

    done = run(["cmp", mounted.path("cmp"), tmp_path / "other"])

    assert done.returncode == 1
    assert f"byte {SIZE_BYTES - 4}," in done.stdout


@pytest.mark.fuse
def test_mmap_shows_the_bytes(mounted: Mounted) -> None:
    """Pages are faulted in out of order, as mmap does."""
    video = mounted.endpoint.add("mmap", size_bytes=LARGE_BYTES)
    script = (
        "import hashlib, mmap, random, sys\n"
        "with open(sys.argv[1], 'rb') as file:\n"
        "    pages = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "    order = list(range(0, len(pages), 65536))\n"
        "    random.Random(1).shuffle(order)\n"
        "    for at in order:\n"
        "        pages[at]\n"
        "    print(hashlib.sha256(pages).hexdigest())\n"
    )

    done = run([sys.executable, "-c", script, mounted.path("mmap")])

    assert done.stdout.strip() == sha256(video), done.stderr


@pytest.mark.fuse
def test_eight_processes_at_once_cost_the_file_once(mounted: Mounted) -> None:
    """One transfer of each byte, however many programs read."""
    video = mounted.endpoint.add("eight", size_bytes=LARGE_BYTES)
    os.listdir(mounted.directory)  # so that its look-up expects no open
    command = ["sha256sum", str(mounted.path("eight"))]

    processes = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment())
        for _ in range(8)
    ]
    sums = [process.communicate(timeout=60)[0].split()[0] for process in processes]

    assert sums == [sha256(video)] * 8
    mounted.endpoint.wait_until_idle()
    assert mounted.endpoint.bytes_served_twice("eight") == 0
    assert bytes_beside_probes(mounted.endpoint, video) == LARGE_BYTES


@pytest.mark.fuse
@each_binding
def test_the_kernel_keeps_the_pages_of_a_version_between_opens(binding: str) -> None:
    """With a cache far smaller than the file, the second read still costs nothing."""
    caches = ("--cache-size", "2MiB", "--disk-cache-size", "0")
    with own_mount(binding, *caches) as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=LARGE_BYTES)
        expected = video.read(0, LARGE_BYTES)
        assert mounted.path("video").read_bytes() == expected
        endpoint.wait_until_idle()
        endpoint.reset_log()

        assert mounted.path("video").read_bytes() == expected
        assert endpoint.requests_of("content", "GET") == []

        with Handle(mounted.path("video")) as opened:
            opened.forget_pages()
        assert mounted.path("video").read_bytes() == expected
        assert endpoint.requests_of("content", "GET") != []  # so it was the kernel


@pytest.mark.fuse
@each_binding
def test_pages_that_the_kernel_dropped_are_asked_for_and_not_what_is_between(
    binding: str,
) -> None:
    """It drops some here and there of what it has not used for a while."""
    size, apart, gone = 60_000_000, 1_500_000, 64 * 1024
    with own_mount(binding, "--cache-size", "8MiB") as (endpoint, mounted):
        video = endpoint.add("video", size_bytes=size)
        expected = video.read(0, size)
        with Handle(mounted.path("video")) as opened:
            assert opened.read_all() == expected
            endpoint.wait_until_idle()
            endpoint.reset_log()
            places = range(apart, size - 10_000_000, apart)  # the last blocks are here
            for place in places:
                start = place // gone * gone
                os.posix_fadvise(opened.fd, start, gone, os.POSIX_FADV_DONTNEED)
            missing = size - held_by_kernel(mounted.path("video"))

            assert opened.read_all() == expected

        endpoint.wait_until_idle()
        assert missing >= (len(places) - 1) * gone, "or nothing is tested"
        # It may have dropped others of its own; each costs the blocks that it touches.
        assert bytes_beside_probes(endpoint, video) <= 4 * missing


def held_by_kernel(path: Path) -> int:
    """How many bytes of *path* are in the page cache."""
    command = ["fincore", "--bytes", "--noheadings", "--output", "RES", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout)


@pytest.mark.fuse
@each_binding
def test_a_cache_far_smaller_than_the_file_still_gives_its_bytes(binding: str) -> None:
    with own_mount(binding, "--cache-size", "64KiB", "--block-size", "4KiB") as (
        endpoint,
        mounted,
    ):
        video = endpoint.add("video", size_bytes=SIZE_BYTES)

        assert mounted.path("video").read_bytes() == video.read(0, SIZE_BYTES)


# --- a video that changes -----------------------------------------------------------

NEW_SIZES = pytest.mark.parametrize(
    "new_size",
    [SIZE_BYTES, SIZE_BYTES + 2_000_001, SIZE_BYTES - 2_000_001],
    ids=["same size", "longer", "shorter"],
)


@pytest.fixture(scope="module", params=BINDINGS)
def changing(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    """A mount per binding that asks at every open; each test has a video of its own."""
    with own_mount(request.param, "--metadata-ttl", "0s") as (_endpoint, mounted):
        yield mounted


def added(mounted: Mounted, size_bytes: int) -> Video:
    """A video that no other test has."""
    video_id = f"video_{len(mounted.endpoint.videos)}"
    return mounted.endpoint.add(video_id, size_bytes=size_bytes)


@pytest.mark.fuse
@NEW_SIZES
def test_a_new_open_sees_only_the_new_bytes_and_size(
    changing: Mounted, new_size: int
) -> None:
    """At once, although the kernel holds the pages and the size of the old version."""
    video = added(changing, SIZE_BYTES)
    path = changing.path(video.video_id)
    assert path.read_bytes() == video.read(0, SIZE_BYTES)
    assert path.stat().st_size == SIZE_BYTES

    video.replace(size_bytes=new_size)

    with Handle(path) as opened:  # no fstat before the read
        assert opened.read_all() == video.read(0, new_size)
        assert opened.size_bytes == new_size
    assert path.stat().st_size == new_size
    assert path.read_bytes() == video.read(0, new_size)
    assert run(["cat", path]).returncode == 0


@pytest.mark.fuse
@NEW_SIZES
@pytest.mark.parametrize("cached", ["nothing read", "all read"])
def test_an_old_handle_gets_estale_once_a_new_open_found_other_bytes(
    changing: Mounted, new_size: int, cached: str
) -> None:
    """Never a mixture, also where the kernel holds the old version's pages."""
    video = added(changing, SIZE_BYTES)
    path = changing.path(video.video_id)
    with Handle(path) as old:
        if cached == "all read":
            assert old.read_all() == video.read(0, SIZE_BYTES)
        video.replace(size_bytes=new_size)

        with Handle(path) as new:
            assert new.read_all() == video.read(0, new_size)
            for offset in (0, 100_000, 1_000_000):
                assert errno_of(partial(old.read, offset, 5000)) == "ESTALE"
            assert new.read_all() == video.read(0, new_size)
            assert new.size_bytes == new_size

        assert path.read_bytes() == video.read(0, new_size)
        assert errno_of(lambda: old.read(0, 5000)) == "ESTALE"
    # With the old handle gone, the kernel may keep pages again.
    assert path.read_bytes() == video.read(0, new_size)


@pytest.mark.fuse
def test_an_old_handle_meets_the_change_by_itself(changing: Mounted) -> None:
    """Without any new open: old bytes, then ESTALE, never new ones."""
    # Larger than all that a mount which has read clips whole fetches at an open.
    video = added(changing, 300_000_000)
    with Handle(changing.path(video.video_id)) as old:
        was = video.read(0, 4096)
        assert old.read(0, 4096) == was
        changing.endpoint.wait_until_idle()
        video.replace()

        assert errno_of(lambda: old.read(200_000_000, 4096)) == "ESTALE"
        try:
            seen = old.read(0, 4096)
        except OSError:
            seen = was
        assert seen == was


@pytest.mark.fuse
@pytest.mark.parametrize("more", [[0], [100_001, -100_001]], ids=["same size", "sizes"])
def test_a_reader_in_the_middle_of_a_change_never_gets_a_mixture(
    changing: Mounted, more: list[int]
) -> None:
    """A copy holds one version from its first byte to its last, or fails."""
    video = added(changing, SIZE_BYTES)
    versions = {video.read(0, SIZE_BYTES)}
    ended = threading.Event()
    outcomes: list[bytes | str] = []

    def copy_on() -> None:
        while not ended.is_set():
            try:
                with Handle(changing.path(video.video_id)) as opened:
                    outcomes.append(opened.read_all())
            except OSError as error:
                outcomes.append(os.strerror(error.errno or 0))

    with ThreadPoolExecutor(3) as pool:
        copying = [pool.submit(copy_on) for _ in range(3)]
        try:
            for number in range(20):
                seen = len(outcomes)
                video.replace(size_bytes=SIZE_BYTES + more[number % len(more)])
                versions.add(video.read(0, video.size_bytes))
                eventually(partial(have, outcomes, seen + 4), "four more copies")
        finally:
            ended.set()
        for job in copying:
            job.result()

    copies = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
    assert len(copies) >= 20
    assert all(copy in versions for copy in copies)
    assert {o for o in outcomes if isinstance(o, str)} <= {os.strerror(116)}


def have(outcomes: Sequence[object], count: int) -> bool:
    return len(outcomes) >= count


@pytest.mark.fuse
def test_a_version_is_believed_while_the_server_is_away(changing: Mounted) -> None:
    """An open that cannot ask keeps what it knows."""
    video = added(changing, SIZE_BYTES)
    path = changing.path(video.video_id)
    assert path.read_bytes() == video.read(0, SIZE_BYTES)

    changing.endpoint.stop()
    try:
        assert path.read_bytes() == video.read(0, SIZE_BYTES)
    finally:
        changing.endpoint.start()


def bytes_beside_probes(endpoint: FakeEndpoint, video: Video) -> int:
    """Content bytes sent, without the few that settle what HEAD could not."""
    probed = [
        record.body_bytes
        for record in endpoint.requests_of("content", video_id=video.video_id)
        if record.range == (0, PROBE_BYTES)
    ]
    return endpoint.content_bytes(video.video_id) - sum(probed)


def sha256(video: Video) -> str:
    return hashlib.sha256(video.read(0, video.size_bytes)).hexdigest()
