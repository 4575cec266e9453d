"""Whole-file streams: one transfer however they are read, cut, resumed, compared."""

import errno
import math
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.whole import UNKNOWN_SIZE
from hingfs.blocks import KIB, MIB
from hingfs.cache.memory import MemoryBlockCache
from hingfs.cache.tiers import Tiers
from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    BodyCut,
    Closing,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    NotAVideo,
    ServerBroken,
    SpoolFull,
    TransportError,
    Unforeseen,
    VideoNotFound,
)
from hingfs.fetch import spool_store as spool_store_module
from hingfs.fetch.spool import IN_USE_SECONDS, Spool
from hingfs.fetch.spool_store import SpoolStore
from hingfs.fetch.storage import Memory
from hingfs.http import patience
from hingfs.http.patience import FAILURE_MEMORY_SECONDS
from hingfs.mount.serving import Mount
from hingfs.version import Validator
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint, ramp
from tests.support.mounting import eventually
from tests.support.personalities import PERSONALITIES, NewApiOld, Response
from tests.support.sources import ENDPOINT
from tests.support.whole_files import Outcome, Pieces, download

SIZE = 3 * MIB + 17
SMALL = 100 * KIB  # fits the share of memory


class Rig:
    """A spool store over HTTP on a server that ignores ranges."""

    def __init__(self, endpoint: FakeEndpoint, mount: Mount, store: SpoolStore) -> None:
        self.endpoint = endpoint
        self.mount = mount
        self.store = store

    def add(
        self, video_id: str = "v", size: int = SIZE, *, known: bool = True
    ) -> Content:
        video = self.endpoint.add(video_id, size_bytes=size)
        announced = video.size_bytes if known else UNKNOWN_SIZE
        return Content(ENDPOINT, video_id, announced, Validator(), ranges=False)

    def read(
        self, content: Content, offset: int, size: int, seconds: float = 10
    ) -> bytes:
        target = bytearray(size)
        deadline = time.monotonic() + seconds
        self.store.open(content).read_into(memoryview(target), offset, deadline)
        return bytes(target)

    def whole(self, content: Content) -> bytes:
        size = self.store.open(content).wait_complete(time.monotonic() + 10)
        return self.read(content, 0, size)

    def let_pass(self, content: Content, seconds: float) -> None:
        """Have *content* look as if it had been used, or had failed, so long ago."""
        spool = self.store._room.find(content)
        assert spool is not None
        spool.used_at -= seconds
        spool._failed_at -= seconds

    def fail(self, size: int) -> Content:
        """A video whose stream broke off after 50,000 bytes, and is hopeless since."""
        self.endpoint.inject(faults.close_at(50_000))
        self.endpoint.inject(faults.status(500), math.inf)
        content = self.add(size=size)
        with pytest.raises(TransportError):
            self.whole(content)
        return content

    def slow_closing(self, content, patch):
        """The removal of *content*'s file, which takes its time from now on."""
        spool = self.store._room.find(content)
        storage = spool and spool._storage._storage
        assert storage is not None
        closing = SlowDisk(storage.close)
        patch.setattr(storage, "close", closing)
        return closing

    def sent(self, video_id: str = "v"):
        return self.endpoint.requests_of("content", "GET", video_id)


Make = Callable[..., Rig]


@pytest.fixture
def make(build, endpoint, tmp_path):
    """A rig; *disk_bytes* and *budget_bytes* bound its store."""
    stores: list[SpoolStore] = []

    def make(
        *,
        disk_bytes: int = 64 * MIB,
        budget_bytes: int = 4 * MIB,
        most_leaving_seconds: float = 10.0,
    ) -> Rig:
        endpoint.personality = PERSONALITIES["litellm_new"]
        mount = build()
        cache = MemoryBlockCache(budget_bytes)
        store = SpoolStore(
            mount.engine.client.source,
            Tiers(cache, 128 * KIB),
            disk_bytes=disk_bytes,
            directory=tmp_path,
            stall_seconds=0.5,
            most_leaving_seconds=most_leaving_seconds,
        )
        stores.append(store)
        return Rig(endpoint, mount, store)

    yield make
    for store in stores:
        store.close(Closing("the test is over"))


@pytest.fixture
def rig(make: Make) -> Rig:
    return make()


@pytest.mark.parametrize("size", [SMALL, SIZE], ids=["memory", "file"])
class TestOneTransfer:
    def test_however_it_is_read_it_is_sent_once(self, rig, size):
        content = rig.add(size=size)

        for offset in (size - 10, 0, size // 2, 5, size - 1000):
            assert rig.read(content, offset, 10) == ramp("v", offset, offset + 10)

        assert len(rig.sent()) == 1

    def test_many_readers_share_it(self, rig, size):
        content = rig.add(size=size)
        offsets = range(0, size - 1000, size // 50)

        with ThreadPoolExecutor(16) as threads:
            got = list(threads.map(lambda at: rig.read(content, at, 1000), offsets))

        assert got == [ramp("v", at, at + 1000) for at in offsets]
        assert len(rig.sent()) == 1

    def test_what_has_arrived_is_read_while_the_rest_is_on_its_way(self, rig, size):
        go_on = threading.Event()
        rig.endpoint.inject(faults.stall_at(size // 2, go_on))
        content = rig.add(size=size)

        assert rig.read(content, 0, 1000) == ramp("v", 0, 1000)
        with pytest.raises(DeadlineExceeded):
            rig.read(content, size - 10, 10, seconds=0)
        go_on.set()
        assert rig.read(content, size - 10, 10) == ramp("v", size - 10, size)

    @pytest.mark.parametrize(
        "fault",
        [
            faults.reset_at(50_000),
            faults.close_at(50_000),
            faults.stall_at(50_000, math.inf),
            faults.reset_at(1) + faults.close_at(0),
            faults.short_chunked(30_000),
            faults.short_content_length(30_000),
        ],
        ids=lambda fault: fault.name,
    )
    def test_a_cut_stream_starts_again_and_is_compared(self, rig, size, fault):
        rig.endpoint.inject(fault)
        content = rig.add(size=size)

        assert rig.whole(content) == ramp("v", 0, size)
        assert len(rig.sent()) == 2

    def test_a_cut_stream_goes_on_where_it_was_if_the_server_can(self, make, size):
        rig = make()
        rig.endpoint.personality = PERSONALITIES["openai"]
        rig.endpoint.inject(faults.close_at(50_000))
        content = rig.add(size=size)

        assert rig.whole(content) == ramp("v", 0, size)
        rig.endpoint.wait_until_idle()
        assert rig.endpoint.bytes_served_twice("v") == 0

    def test_after_a_hopeless_stream_a_new_one_goes_on_where_it_was(self, make, size):
        rig = make()
        rig.endpoint.personality = PERSONALITIES["openai"]
        content = rig.fail(size)
        rig.endpoint.calm()

        assert rig.whole(content) == ramp("v", 0, size)
        rig.endpoint.wait_until_idle()
        assert rig.endpoint.bytes_served_twice("v") == 0

    def test_after_a_hopeless_stream_what_had_come_is_still_there(self, rig, size):
        content = rig.fail(size)

        assert rig.read(content, 0, 50_000) == ramp("v", 0, 50_000)
        rig.endpoint.calm()
        assert rig.whole(content) == ramp("v", 0, size)

    def test_a_change_before_a_new_stream_is_noticed(self, rig, size):
        content = rig.fail(size)
        rig.endpoint.videos["v"].replace()
        rig.endpoint.calm()

        with pytest.raises(ContentChanged):
            rig.whole(content)

    def test_a_change_between_two_attempts_is_noticed(self, rig, size):
        content = rig.add(size=size)
        video = rig.endpoint.videos["v"]
        rig.endpoint.inject(
            faults.close_at(50_000) + faults.call_at(50_000, video.replace)
        )

        with pytest.raises(ContentChanged):
            rig.read(content, size - 10, 10)
        assert content.changed

    @pytest.mark.parametrize("difference", [-1, 1])
    def test_another_size_than_announced_is_a_change(self, rig, size, difference):
        content = rig.add(size=size)
        rig.endpoint.videos["v"].replace(size_bytes=size + difference)
        # The first bytes are those of every ramp, so only the size can tell.

        with pytest.raises((ContentChanged, BodyCut)):
            rig.store.open(content).wait_complete(time.monotonic() + 10)

    def test_an_end_that_is_spoilt_spoils_nothing_else(self, rig, size):
        """All bytes came, and the connection closed without the last chunk."""
        rig.endpoint.inject(faults.short_chunked(0))
        content = rig.add(size=size)

        assert rig.whole(content) == ramp("v", 0, size)
        assert len(rig.sent()) == 1


class TestUnknownLength:
    @pytest.fixture
    def rig(self, make: Make) -> Rig:
        rig = make()
        rig.endpoint.inject(faults.chunked(), math.inf)
        return rig

    def test_the_size_is_known_once_all_has_arrived(self, rig):
        content = rig.add(known=False)

        spool = rig.store.open(content)

        assert spool.wait_complete(time.monotonic() + 10) == SIZE
        assert rig.whole(content) == ramp("v", 0, SIZE)
        assert len(rig.sent()) == 1

    def test_a_chunked_body_that_breaks_off_is_no_end(self, rig):
        rig.endpoint.calm()
        rig.endpoint.inject(faults.short_chunked(1000))
        rig.endpoint.inject(faults.chunked(), math.inf)
        content = rig.add(known=False)

        assert rig.whole(content) == ramp("v", 0, SIZE)
        assert len(rig.sent()) == 2

    def test_r19_an_encoded_body_is_spooled_decoded(self, rig):
        rig.endpoint.calm()
        rig.endpoint.inject(faults.gzip_encoded(), math.inf)
        content = rig.add(known=False)

        assert rig.whole(content) == ramp("v", 0, SIZE)


def test_r14_each_server_without_ranges_costs_one_stream(make):
    rig = make()
    for name in ("litellm_old", "litellm_new", "aisix_proxy", "bifrost", "new_api_old"):
        rig.endpoint.personality = PERSONALITIES[name]
        video_id = f"{name}:x"
        content = rig.add(video_id)

        assert rig.whole(content) == ramp(video_id, 0, SIZE), name
        assert len(rig.sent(video_id)) == 1


def test_r18_a_server_that_cuts_every_transfer_is_an_error_and_no_short_file(make):
    rig = make()
    rig.endpoint.personality = replace(NewApiOld(), transfer_bytes=SIZE // 2)
    content = rig.add()

    assert rig.read(content, 0, 1000) == ramp("v", 0, 1000)
    with pytest.raises(BodyCut):
        rig.read(content, SIZE - 10, 10)
    assert len(rig.sent()) <= 2 + patience.WHOLE_TRIES


class TestErrors:
    def test_r7_a_message_is_no_file(self, rig):
        rig.endpoint.inject(faults.json_200(), math.inf)

        with pytest.raises(NotAVideo):
            rig.read(rig.add(), 0, 10)

    def test_r7_blanks_and_a_pause_before_a_message_make_no_file(self, rig):
        """Gateways send blanks to keep a connection while they wait."""
        go_on = threading.Event()

        def body(line):
            yield b"\n"
            line.pause(go_on)
            yield faults.ERROR

        def spoil(_answer, line):
            return Response(200, {"Content-Type": "video/mp4"}, body(line), None)

        rig.endpoint.inject(faults.Fault("late", spoil), math.inf)
        spool = rig.store.open(rig.add(known=False))
        rig.endpoint.wait_until(
            lambda: any(record.body_bytes == 1 for record in rig.endpoint.log)
        )
        go_on.set()

        with pytest.raises(NotAVideo):
            spool.wait_complete(time.monotonic() + 10)
        assert spool.frontier == 0

    def test_r7_one_message_is_not_the_end(self, rig):
        """Old LiteLLM says 200 to whatever befell its upstream."""
        rig.endpoint.inject(faults.json_200())

        assert rig.whole(rig.add()) == ramp("v", 0, SIZE)

    def test_a_refusal_reaches_the_reader(self, rig):
        content = rig.add()
        rig.endpoint.remove("v")

        with pytest.raises(VideoNotFound):
            rig.read(content, 0, 10)

    @pytest.mark.parametrize("code", [401, 500])
    def test_after_an_error_a_later_read_may_succeed(self, rig, code, expected_log):
        if code == 401:
            expected_log("refused the token")
        content = rig.add()
        rig.endpoint.inject(
            faults.status(code), math.inf, where=lambda r: r.kind == "content"
        )
        with pytest.raises(HingError):
            rig.read(content, 0, 10)
        rig.endpoint.calm()
        rig.let_pass(content, FAILURE_MEMORY_SECONDS)

        assert rig.whole(content) == ramp("v", 0, SIZE)

    def test_a_refusal_is_not_asked_about_by_every_read(self, rig, expected_log):
        expected_log("refused the token")
        content = rig.add()
        rig.endpoint.token = "another"

        for _ in range(5):
            with pytest.raises(AccessDenied):
                rig.read(content, 0, 10)
        assert len(rig.sent()) == 1

    def test_close_wakes_who_waits_and_starts_nothing_new(self, rig):
        rig.endpoint.inject(faults.stall_at(1000, math.inf))
        content = rig.add()
        rig.read(content, 0, 100)

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(rig.read, content, SIZE - 10, 10)
            rig.store.close(Closing("the mount is ending"))

            with pytest.raises(Closing):
                waiting.result()
        with pytest.raises(Closing):
            rig.store.open(rig.add("w"))

    def test_an_error_nobody_foresaw_reaches_the_reader(self, rig, expected_log):
        expected_log("unforeseen error in a whole-file stream")
        content = rig.add()

        def broken(_content, _offset):
            raise RuntimeError("a mistake of ours")

        rig.store._source = type("Source", (), {"open_whole": staticmethod(broken)})()

        with pytest.raises(Unforeseen, match="RuntimeError"):
            rig.read(content, 0, 10)

    def test_a_stream_that_could_not_begin_leaves_nobody_waiting(
        self, rig, monkeypatch
    ):
        content = rig.add()

        def broken(*_: object) -> None:
            raise MemoryError("no thread")

        with monkeypatch.context() as patch:
            patch.setattr(rig.store._pool, "submit", broken)
            with pytest.raises(MemoryError):
                rig.store.open(content)

        assert rig.whole(content) == ramp("v", 0, SIZE)


class TestRoom:
    def test_a_file_larger_than_the_spool_is_refused(self, make):
        rig = make(disk_bytes=SIZE - 1)

        with pytest.raises(SpoolFull):
            rig.store.open(rig.add())
        assert rig.endpoint.log == []

    def test_an_answer_that_finds_no_room_is_closed(self, make):
        rig = make(disk_bytes=SIZE - 1)
        content = rig.add()
        answer = rig.mount.engine.client.source.open_whole(content, 0)

        with pytest.raises(SpoolFull):
            rig.store.open(content, answer)

        assert not rig.mount.engine.transport._open._open

    def test_a_file_of_unknown_length_stops_at_the_bound(self, make):
        rig = make(disk_bytes=SIZE - 1)
        rig.endpoint.inject(faults.chunked(), math.inf)

        with pytest.raises(SpoolFull):
            rig.whole(rig.add(known=False))
        assert rig.store.held_bytes() < SIZE

    def test_the_least_recently_used_makes_room(self, make):
        rig = make(disk_bytes=2 * SIZE)
        contents = [rig.add(name) for name in "abc"]
        for content in contents[:2]:
            rig.whole(content)
        rig.read(contents[0], 0, 10)

        rig.whole(contents[2])

        assert rig.store.held_bytes() == 2 * SIZE
        rig.whole(contents[0])
        rig.whole(contents[1])
        assert [len(rig.sent(name)) for name in "abc"] == [1, 2, 1]

    def test_files_of_unknown_length_share_the_bound(self, make):
        rig = make(disk_bytes=2 * SIZE)
        rig.endpoint.inject(faults.chunked(), math.inf)
        for name in "abc":
            rig.store.open(rig.add(name, known=False)).wait_complete(
                time.monotonic() + 10
            )

        assert rig.store.held_bytes() <= 2 * SIZE

    def test_small_files_stay_in_memory_within_their_share(self, make):
        rig = make(budget_bytes=8 * SMALL)
        for number in range(10):
            rig.whole(rig.add(f"v{number}", SMALL))

        cache = rig.store._tiers.memory
        assert cache.stats().reserved_bytes == rig.store.held_bytes()
        assert rig.store.held_bytes() <= cache.budget_bytes // 2

    @pytest.mark.parametrize("kind", [OSError, MemoryError])
    def test_what_cannot_be_mapped_goes_to_disk(
        self, rig, kind, monkeypatch, expected_log
    ):
        expected_log("v: no memory can be mapped")
        break_mapping(monkeypatch, kind(errno.ENOMEM, "Cannot allocate memory"))
        content = rig.add(size=SMALL)

        assert rig.whole(content) == ramp("v", 0, SMALL)
        assert rig.store.held_bytes() == SMALL
        assert rig.store._tiers.memory.stats().reserved_bytes == 0
        assert len(rig.sent()) == 1

    def test_what_is_reserved_is_given_back_whatever_is_thrown(self, rig, monkeypatch):
        content = rig.add(size=SMALL)
        with monkeypatch.context() as patch:
            break_mapping(patch, RuntimeError("a mistake of ours"))
            with pytest.raises(RuntimeError):
                rig.store.open(content)

        assert rig.store._tiers.memory.stats().reserved_bytes == 0
        assert rig.whole(content) == ramp("v", 0, SMALL)

    def test_downloads_that_fail_leave_few_files_open(self, make):
        """Each time, a file of unknown size is another one.

        After 416 nobody else is asked, so that 200 of them take a second.
        """
        rig = make()
        rig.endpoint.inject(faults.status(416), math.inf)
        before = len(os.listdir("/proc/self/fd"))
        for number in range(200):
            with pytest.raises(HingError):
                rig.whole(rig.add(f"v{number}", known=False))

        assert len(os.listdir("/proc/self/fd")) - before < 160

    def test_the_smallest_files_count_as_what_they_take(self, make):
        rig = make(budget_bytes=4 * MIB)
        for number in range(300):
            rig.whole(rig.add(f"v{number}", 1))

        assert len(rig.store._room.spools()) <= 128
        assert rig.store._tiers.memory.stats().reserved_bytes <= 2 * MIB

    @pytest.mark.parametrize("known", [True, False])
    def test_readers_side_by_side_take_no_room_from_each_other(self, make, known):
        """A file that does not fit memory goes to disk, and each is sent once."""
        rig = make(budget_bytes=8 * MIB)
        size = 1_900_000
        with waiting(rig, "abc", size, known=known) as reads:
            pass

        assert [read.result() for read in reads] == [ramp(v, 0, size) for v in "abc"]
        assert [len(rig.sent(name)) for name in "abc"] == [1, 1, 1]
        assert rig.store._tiers.memory.stats().reserved_bytes <= 4 * MIB

    def test_who_finds_no_room_on_disk_is_told_and_nobody_is_disturbed(self, make):
        rig = make(disk_bytes=3 * SIZE - 1)
        third = rig.add("c")
        with waiting(rig, "ab", SIZE) as reads, pytest.raises(SpoolFull, match="size"):
            rig.store.open(third)

        assert [read.result() for read in reads] == [ramp(v, 0, SIZE) for v in "ab"]
        assert [len(rig.sent(name)) for name in "abc"] == [1, 1, 0]
        assert rig.whole(third) == ramp("c", 0, SIZE)

    def test_files_that_grow_beyond_all_room_leave_one_another_in_peace(self, make):
        rig = make(disk_bytes=2 * SIZE)
        with waiting(rig, "abc", SIZE, known=False) as reads:
            pass

        for name, read in zip("abc", reads, strict=True):
            error = read.exception()
            assert isinstance(error, SpoolFull | None)
            assert error or read.result() == ramp(name, 0, SIZE)
        assert rig.store.held_bytes() <= 2 * SIZE

    def test_what_was_read_a_moment_ago_is_in_use(self, make):
        rig = make(disk_bytes=SIZE)
        other = rig.add("b")
        content = rig.add("a")
        rig.whole(content)
        rig.read(content, 0, 10)

        with pytest.raises(SpoolFull):
            rig.store.open(other)
        rig.let_pass(content, IN_USE_SECONDS)
        assert rig.whole(other) == ramp("b", 0, SIZE)

    def test_what_was_read_to_its_end_makes_room_at_once(self, make):
        """Files are copied one after the other, and fast."""
        rig = make(disk_bytes=SIZE)

        for name in "abc":
            assert rig.whole(rig.add(name)) == ramp(name, 0, SIZE)

    def test_a_full_disk_is_an_error_and_no_wrong_byte(
        self, rig, monkeypatch, expected_log
    ):
        expected_log("the spool cannot be written")
        written = os.pwrite

        def pwrite(fd: int, data, offset: int) -> int:
            if offset + len(data) > SIZE // 2:
                raise OSError(28, "No space left on device")
            return written(fd, data, offset)

        monkeypatch.setattr(os, "pwrite", pwrite)
        content = rig.add()

        with pytest.raises(SpoolFull):
            rig.read(content, SIZE - 10, 10)
        assert rig.read(content, 0, 1000) == ramp("v", 0, 1000)

    def test_a_write_that_takes_only_a_part_is_continued(self, rig, monkeypatch):
        written = os.pwrite
        monkeypatch.setattr(
            os, "pwrite", lambda fd, data, offset: written(fd, data[:1000], offset)
        )

        assert rig.whole(rig.add()) == ramp("v", 0, SIZE)

    def test_a_directory_that_is_not_there_is_an_error(self, make, tmp_path):
        rig = make()
        rig.store._room._directory = tmp_path / "nowhere"

        with pytest.raises(SpoolFull):
            rig.store.open(rig.add())

    def test_nothing_is_left_in_the_directory(self, rig, tmp_path):
        rig.whole(rig.add())

        assert list(tmp_path.iterdir()) == []


class SlowDisk:
    """A call of the system that waits, once *reached*, for *go_on*."""

    def __init__(self, call: Callable[..., object]) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self.broken = False
        self.result: object = None
        self._call = call

    def __call__(self, *args: object, **options: object) -> object:
        self.reached.set()
        self.go_on.wait(20)
        if self.broken:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.result = self._call(*args, **options)
        return self.result


@pytest.mark.parametrize(
    "fault", [faults.empty_body(), faults.empty_body() + faults.until_close()]
)
def test_an_answer_without_bytes_is_no_empty_file(make, fault):
    """Not even where nothing else says how long the file is; the next answer counts."""
    rig = make()
    content = rig.add(size=SMALL, known=False)
    rig.endpoint.inject(fault)

    assert rig.whole(content) == ramp("v", 0, SMALL)


def test_what_is_held_of_a_file_before_its_first_byte_is_nothing(rig):
    spool = Spool(rig.add())

    assert spool.peek(0, 10) == b""


class TestSlowDisk:
    """A file is made and removed without a lock that anybody else waits for."""

    @pytest.fixture
    def making(self, monkeypatch) -> Iterator[SlowDisk]:
        slow = SlowDisk(tempfile.TemporaryFile)
        monkeypatch.setattr(tempfile, "TemporaryFile", slow)
        yield slow
        slow.go_on.set()

    @pytest.fixture
    def threads(self) -> Iterator[ThreadPoolExecutor]:
        with ThreadPoolExecutor(4) as threads:
            yield threads

    def test_while_a_file_is_made_others_are_opened_and_read(
        self, rig, threads, making
    ):
        content, other = rig.add(), rig.add("other", SMALL)

        reads = [threads.submit(rig.whole, content)]
        assert making.reached.wait(10)
        reads.append(threads.submit(rig.whole, content))
        try:
            read = threads.submit(rig.whole, other)
            assert read.result(10) == ramp("other", 0, SMALL)
            assert rig.store.held_bytes() == SIZE + SMALL
        finally:
            making.go_on.set()

        assert [read.result() for read in reads] == [ramp("v", 0, SIZE)] * 2
        assert len(rig.sent()) == 1

    def test_while_a_file_is_removed_others_are_opened_and_read(
        self, make, threads, monkeypatch
    ):
        rig = make(disk_bytes=SIZE)
        content, other = rig.add(), rig.add("other", SMALL)
        rig.whole(content)
        closing = rig.slow_closing(content, monkeypatch)

        opening = threads.submit(rig.whole, rig.add("b"))
        assert closing.reached.wait(10)
        try:
            read = threads.submit(rig.whole, other)
            assert read.result(10) == ramp("other", 0, SMALL)
        finally:
            closing.go_on.set()

        assert opening.result() == ramp("b", 0, SIZE)

    @pytest.mark.parametrize("known", [True, False])
    def test_what_is_given_up_counts_until_it_is_off_the_disk(
        self, make, threads, monkeypatch, known
    ):
        """Another thread gave it up, and is not done; the spool has its bound all the same."""
        rig = make(disk_bytes=2 * SIZE)
        large = rig.add("large", 2 * SIZE)
        rig.whole(large)
        closing = rig.slow_closing(large, monkeypatch)
        rig.endpoint.inject(faults.chunked(), math.inf)
        second, third = rig.add("b"), rig.add("c", known=known)

        reads = [threads.submit(rig.whole, second)]
        assert closing.reached.wait(10)
        reads.append(threads.submit(rig.whole, third))
        try:
            with pytest.raises(TimeoutError):
                reads[1].result(0.3)
            spool = rig.store._room.find(third)
            assert spool.frontier == 0
        finally:
            closing.go_on.set()

        assert [read.result() for read in reads] == [ramp(v, 0, SIZE) for v in "bc"]

    def test_what_never_leaves_the_disk_is_an_error(self, make, threads, monkeypatch):
        rig = make(disk_bytes=2 * SIZE, most_leaving_seconds=0.05)
        large = rig.add("large", 2 * SIZE)
        rig.whole(large)
        closing = rig.slow_closing(large, monkeypatch)

        first = threads.submit(rig.whole, rig.add("b"))
        assert closing.reached.wait(10)
        try:
            with pytest.raises(SpoolFull, match="removed"):
                rig.store.open(rig.add("c"))
        finally:
            closing.go_on.set()

        assert first.result() == ramp("b", 0, SIZE)

    def test_who_waits_for_a_file_that_cannot_be_made_is_told(
        self, rig, threads, making
    ):
        content = rig.add()
        making.broken = True
        reads = [threads.submit(rig.whole, content)]
        assert making.reached.wait(10)
        spool = rig.store._room.find(content)
        reads.append(threads.submit(spool.wait_complete, time.monotonic() + 10))
        making.go_on.set()

        for read in reads:
            with pytest.raises(SpoolFull):
                read.result()
        assert rig.store.held_bytes() == 0
        making.broken = False
        assert rig.whole(content) == ramp("v", 0, SIZE)

    def test_a_file_that_is_made_as_the_mount_ends_is_closed(
        self, rig, threads, making
    ):
        opening = threads.submit(rig.store.open, rig.add())
        assert making.reached.wait(10)
        rig.store.close(Closing("the mount is ending"))
        making.go_on.set()

        with pytest.raises(Closing):
            opening.result()
        assert making.result.closed
        assert rig.endpoint.log == []


def break_mapping(patch: pytest.MonkeyPatch, error: Exception) -> None:
    """No memory is mapped any more for spools."""

    def mapped(*_: object) -> None:
        raise error

    patch.setattr(Memory, "__init__", mapped)


@contextmanager
def waiting(
    rig: Rig, names: str, size: int, *, known: bool = True
) -> Iterator[list[Future[bytes]]]:
    """Reads of whole files, which are on their way together; they end after it."""
    go_on = threading.Event()
    if not known:
        rig.endpoint.inject(faults.chunked() + faults.stall_at(1000, go_on), math.inf)
    rig.endpoint.inject(faults.stall_at(1000, go_on), math.inf)
    contents = [rig.add(name, size, known=known) for name in names]
    with ThreadPoolExecutor(len(names)) as threads:
        reads = [threads.submit(rig.whole, content) for content in contents]
        for content in contents:
            eventually(lambda: rig.store.open(content).frontier == 1000, "a start")  # noqa: B023
        try:
            yield reads
        finally:
            go_on.set()


class Slow:
    """A storage whose reads wait; closing it is noted."""

    def __init__(self) -> None:
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.closed = threading.Event()

    def write(self, offset: int, data: bytes) -> None:
        assert (offset, data) == (0, b"x" * 10)

    def read_into(self, target: memoryview, _offset: int) -> None:
        self.reading.set()
        self.go_on.wait(10)
        assert not self.closed.is_set()
        target[:] = b"x" * len(target)

    def close(self) -> None:
        self.closed.set()


class TestGivenUp:
    @pytest.fixture
    def slow(self) -> Iterator[Slow]:
        slow = Slow()
        yield slow
        slow.go_on.set()

    def test_its_file_stays_open_while_it_is_read(self, slow):
        """A closed descriptor could be another file's a moment later."""
        spool = Spool(Content(ENDPOINT, "v", 10, Validator()))
        spool.hold(slow)
        spool.append(b"x" * 10)
        target = bytearray(10)
        deadline = time.monotonic() + 10

        with ThreadPoolExecutor(1) as threads:
            read = threads.submit(spool.read_into, memoryview(target), 0, deadline)
            slow.reading.wait(10)
            spool.close()
            assert not slow.closed.is_set()
            slow.go_on.set()
            read.result()

        assert target == b"x" * 10
        assert slow.closed.is_set()

    def test_a_later_use_is_an_error_of_ours(self, slow):
        spool = Spool(Content(ENDPOINT, "v", 10, Validator()))
        spool.hold(slow)
        spool.append(b"x" * 10)
        spool.close()

        with pytest.raises(BodyCut):
            spool.read_into(memoryview(bytearray(10)), 0, time.monotonic())
        with pytest.raises(BodyCut):
            spool.append(b"y")


def streamed(body: bytes, step: int) -> Outcome:
    """The download of *body*, which comes in pieces of *step*, again and again."""
    return download(lambda _offset: Pieces(200, {}, body, step), len(body))


@pytest.mark.parametrize("step", [1, 3, 8000])
@pytest.mark.parametrize(
    "body",
    [
        b'{"error": {"message": "Out of order"}}',
        b'\r\n\r\n  {\n  "error": "Out of order"\n}\n',
        b'\xef\xbb\xbf{"error": "Out of order"}',
        *(b"\xef\xbb\xbf<!doctype html><p>Sorry", b"\n" * 50 + b"<html>Sorry"),
        *(b'[{"error": "Out of order"}]', b'{"error": "' + b"x" * 20_000 + b'"}'),
        *(b"\n", b" " * 20_000),
    ],
    ids=[
        *("json", "blanks", "mark", "page", "html", "list", "long", "a blank"),
        "blanks only",
    ],
)
def test_r7_a_message_is_no_file_in_whatever_pieces_it_comes(body, step):
    """And none of it can be read meanwhile."""
    outcome = streamed(body, step)

    assert isinstance(outcome.error, NotAVideo)
    assert outcome.data == b""


@pytest.mark.parametrize("step", [1, 3, 8000])
@pytest.mark.parametrize("body", [b"[", b"{}x", b" \n<", b"\xef\xbb\xbf\0", b"\n\0"])
def test_what_begins_like_a_message_and_is_none_is_a_file(body, step):
    outcome = streamed(body, step)

    assert outcome.error is None
    assert outcome.data == body


@given(
    st.integers(1, 2000),
    st.lists(st.tuples(st.booleans(), st.integers(0, 2000)), max_size=3),
    st.integers(1, 700),
)
def test_a_file_is_whole_however_its_attempts_were_cut(size, cuts, step):
    """Attempts resume or start again, and end anywhere; the bytes are the file's."""
    whole = ramp("v", 0, size)
    attempts = iter([*cuts, (False, size), (False, size)])

    def answer(offset: int) -> Pieces:
        resumes, length = next(attempts)
        if resumes and offset:
            said = {"Content-Range": f"bytes {offset}-{size - 1}/{size}"}
            return Pieces(206, said, whole[offset : offset + length], step)
        return Pieces(200, {}, whole[:length], step)

    outcome = download(answer, size)

    assert outcome.error is None
    assert outcome.data == whole


def test_a_source_that_never_gets_on_is_given_up(rig):
    rig.endpoint.inject(faults.close_at(0), math.inf)

    with pytest.raises(TransportError):
        rig.read(rig.add(), 0, 10)
    assert len(rig.sent()) == patience.WHOLE_TRIES


def test_streams_that_trickle_leave_their_threads_to_others(rig):
    """Each brings a byte now and then, which never stalls."""

    def slow(request):
        return (request.video_id or "").startswith("slow")

    rig.endpoint.inject(faults.drip(20), math.inf, slow)
    slow_ones = [
        rig.store.open(rig.add(f"slow-{number}"))
        for number in range(spool_store_module._MOST_STREAMS)
    ]
    rig.endpoint.wait_until(lambda: len(rig.endpoint.log) == len(slow_ones))

    assert rig.whole(rig.add()) == ramp("v", 0, SIZE)
    with pytest.raises(BodyCut, match="too slowly"):
        slow_ones[0].wait_complete(time.monotonic() + 10)


def test_a_stream_that_is_slow_and_no_trickle_arrives(rig):
    size = 20_000
    rig.endpoint.inject(faults.drip(10_000), math.inf)

    assert rig.whole(rig.add(size=size)) == ramp("v", 0, size)
    assert len(rig.sent()) == 1


def test_a_server_that_keeps_failing_is_broken(rig):
    rig.endpoint.inject(faults.status(500), math.inf)

    with pytest.raises(ServerBroken):
        rig.read(rig.add(), 0, 10)
