# ruff: noqa: ARG002 (methods of a fake server get what an override may want)
"""Which names exist, what they are, and for how long that is believed."""

import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any

import pytest

from hingfs.api.judgement.verdict import Facts
from hingfs.api.judgement.video_status import UNSAID
from hingfs.api.metadata import Probe
from hingfs.blocks import MIB
from hingfs.content import Content
from hingfs.engine import Engine
from hingfs.errors import (
    AccessDenied,
    HingError,
    NeverServed,
    ServerBroken,
    TransportError,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
)
from hingfs.http import breaker
from hingfs.library.catalog import Catalog
from hingfs.library.known import KnownVideos, VideoFile
from hingfs.library.names import full_name_of, inode_of, name_of
from hingfs.library.walk import FIRST_AHEAD, MOST_AHEAD, MOST_WALKS
from hingfs.version import Validator
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.memories import age_listing
from tests.support.memory import little_memory
from tests.support.mounting import eventually
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    RENDER_SECONDS,
    UPLOAD_SECONDS,
    Aisix,
    HingNetVeo,
    LiteLLM,
    Personality,
    json_response,
    text_response,
    whole,
)

SIZE = 300_000
SECOND_NS = 10**9
COMPLETED_NS = (CREATED_AT + RENDER_SECONDS) * SECOND_NS
MODIFIED_NS = COMPLETED_NS + UPLOAD_SECONDS * SECOND_NS


@pytest.fixture
def catalog(build: Build, endpoint) -> Catalog:
    endpoint.add("v", size_bytes=SIZE)
    return build().engine.catalog


def catalog_with(build: Build, **cache) -> Catalog:
    return build(cache=cache).engine.catalog


def listed(catalog: Catalog) -> list[str]:
    return [name for name, _inode in catalog.listing()]


# --- look up -------------------------------------------------------------------


class TestLookup:
    def test_a_video_is_a_file_with_size_and_time(self, catalog):
        file = catalog.find("v.mp4")

        assert file.content.size_bytes == SIZE
        assert file.mtime_ns == COMPLETED_NS
        assert file.inode == inode_of("v")

    def test_a_stampede_is_one_probe(self, catalog, endpoint):
        go_on = threading.Event()
        endpoint.inject(faults.stall_before_headers(go_on), times=2)

        with ThreadPoolExecutor(16) as threads:
            found = [threads.submit(catalog.find, "v.mp4") for _ in range(16)]
            endpoint.wait_until(lambda: len(endpoint.log) == 2)
            go_on.set()

            assert len({id(future.result().content) for future in found}) == 1
        assert len(endpoint.requests_of("content")) == 1
        assert len(endpoint.requests_of("status")) == 1


# --- ahead ---------------------------------------------------------------------


class TestAhead:
    """Look-ups ahead are few, and delay no program."""

    def listed(self, catalog: Catalog, endpoint, count: int) -> list[str]:
        """The ids of *count* videos that a listing has shown, in its order."""
        names = [f"a{number:02}" for number in range(count)]
        for name in names:
            endpoint.add(name, size_bytes=SIZE)
        listed(catalog)
        return names

    def probed(self, catalog: Catalog, monkeypatch, first=lambda _: None) -> list[str]:
        """The ids that are asked for from now on; *first* is done with each before."""
        asked: list[str] = []
        real = catalog._versions._metadata.probe

        def probe(video_id: str, *args: Any, **options: Any) -> object:
            asked.append(video_id)
            first(video_id)
            return real(video_id, *args, **options)

        monkeypatch.setattr(catalog._versions._metadata, "probe", probe)
        return asked

    def walk(self, catalog: Catalog, names: list[str]) -> None:
        for name in names:
            with suppress(HingError):
                catalog.find(name_of(name))

    def answers(self, catalog: Catalog, name: str) -> bool:
        with suppress(TransportError):
            catalog.find(name_of(name))
            return True
        return False

    def test_all_that_comes_next_is_asked_once_and_no_more(self, catalog, endpoint):
        names = self.listed(catalog, endpoint, 40)

        self.walk(catalog, names[:2])
        window = names[: 2 + FIRST_AHEAD]
        endpoint.wait_until(
            lambda: {r.video_id for r in endpoint.requests_of("content")} == set(window)
        )
        endpoint.wait_until_idle()

        assert len(endpoint.requests_of("content")) == len(window)

    def test_a_wanted_name_is_asked_before_others_and_beside_them(
        self, catalog, endpoint
    ):
        """Where few requests at once, or a minute, are served, it is among the first."""
        endpoint.add("z", size_bytes=SIZE)
        catalog.find("z.mp4")  # which shows that sizes are cheap
        names = self.listed(catalog, endpoint, FIRST_AHEAD)
        endpoint.reset_log()
        asked_ahead = threading.Event()
        endpoint.inject(
            faults.stall_before_headers(asked_ahead),
            math.inf,
            where=lambda r: r.video_id == names[0],
        )

        with ThreadPoolExecutor(1) as threads:
            wanted = threads.submit(catalog.find, name_of(names[0]))
            endpoint.wait_until(
                lambda: (
                    {r.video_id for r in endpoint.requests_of("content")} >= set(names)
                )
            )
            assert not wanted.done()
            asked_ahead.set()
            assert wanted.result().content.size_bytes == SIZE

        assert endpoint.requests_of("content")[0].video_id == names[0]

    def test_names_that_fail_are_asked_for_once_and_not_in_a_circle(
        self, catalog, endpoint, monkeypatch
    ):
        """An idle mount sends no request."""
        names = self.listed(catalog, endpoint, 30)

        def break_ahead(video_id: str) -> None:
            if video_id not in names[:2]:
                raise ServerBroken("out of order")  # which is not remembered

        asked = self.probed(catalog, monkeypatch, break_ahead)
        self.walk(catalog, names[:2])
        last = 1 + FIRST_AHEAD
        eventually(lambda: names[last] in asked, "the last one ahead")
        eventually(lambda: not catalog._lookups._names, "the end")

        assert sorted(asked) == names[: last + 1]
        assert catalog._walks._next_lookup() is None

    def test_once_the_api_counts_requests_none_is_spent_ahead(
        self, build, endpoint, monkeypatch
    ):
        """Not by those either that were under way, or waited for a turn."""
        engine = build(cache={"listing_ttl_seconds": 0}).engine
        catalog = engine.catalog
        names = self.listed(catalog, endpoint, 30)

        def pause_ahead(video_id: str) -> None:
            if video_id not in names[:2]:
                engine.transport.limit.pause(0.1)

        begun = self.probed(catalog, monkeypatch, pause_ahead)
        self.walk(catalog, names[:2])
        eventually(lambda: not catalog._lookups._names, "the end")

        assert 2 < len(begun) <= 2 + FIRST_AHEAD
        assert {r.video_id for r in endpoint.requests_of("content")} == set(names[:2])
        assert not endpoint.requests_of("status"), "the list told it"
        assert catalog.find(name_of(names[5])).content.size_bytes == SIZE

    def test_while_the_server_seems_dead_its_only_try_is_left_to_who_wants(
        self, catalog, endpoint, monkeypatch
    ):
        names = self.listed(catalog, endpoint, 6)
        endpoint.stop()
        others = [f"z{number}" for number in range(breaker.FAILURES)]
        self.walk(catalog, others)
        asked = self.probed(catalog, monkeypatch)
        self.walk(catalog, names[:3])
        eventually(lambda: not catalog._lookups._names, "the end")
        assert asked == names[:3]

        endpoint.start()
        eventually(lambda: self.answers(catalog, names[3]), "the server again")
        catalog.find(name_of(names[4]))
        eventually(lambda: names[5] in asked, "one ahead")

    def test_ids_that_hang_hold_up_neither_names_nor_the_list(self, build, endpoint):
        """More than are asked for at once ahead, and more than are asked for at all."""
        catalog = catalog_with(build, listing_ttl_seconds=0)
        endpoint.add("wanted", size_bytes=SIZE)
        names = self.listed(catalog, endpoint, 30)
        go_on = threading.Event()
        endpoint.inject(
            faults.stall_before_headers(go_on),
            math.inf,
            lambda r: "a01" < (r.video_id or "") < "a30",
        )
        self.walk(catalog, names[:2])

        try:
            assert catalog.find("wanted.mp4").content.size_bytes == SIZE
            assert len(listed(catalog)) == 31
        finally:
            go_on.set()


# --- short names -----------------------------------------------------------------

LONG = "x" * 300
SHORT = name_of(LONG)


class TestShortNames:
    """A listing shows a name that other file systems hold; it and the full one open."""

    def test_both_names_are_one_file(self, catalog, endpoint):
        endpoint.add(LONG, size_bytes=SIZE)
        assert listed(catalog) == ["v.mp4", SHORT]
        endpoint.reset_log()

        by_short, by_full = catalog.find(SHORT), catalog.find(full_name_of(LONG))

        assert by_short is by_full
        assert by_short.inode == inode_of(LONG)
        assert catalog.find_to_open(SHORT) is by_short
        assert endpoint.requests_of("list") == []

    @pytest.mark.parametrize("open_", [False, True])
    def test_right_after_a_remount_the_list_is_asked_once(
        self, catalog, endpoint, open_
    ):
        endpoint.add(LONG, size_bytes=SIZE)
        endpoint.add("y" * 400, size_bytes=7)

        find = catalog.find_to_open if open_ else catalog.find
        assert find(SHORT).content.size_bytes == SIZE
        assert find(name_of("y" * 400)).content.size_bytes == 7

        assert len(endpoint.requests_of("list")) == 1

    @pytest.mark.parametrize(
        ("status", "meaning"), [("queued", VideoNotReady), ("failed", VideoFailed)]
    )
    def test_a_short_name_of_what_cannot_be_read_says_why(
        self, catalog, endpoint, status, meaning
    ):
        """It is in the list, and in no listing."""
        endpoint.add(LONG, status=status)
        assert listed(catalog) == ["v.mp4"]

        with pytest.raises(meaning):
            catalog.find(SHORT)

    def test_unknown_short_names_cost_one_list_while_that_is_fresh(
        self, catalog, endpoint
    ):
        for _ in range(5):
            with pytest.raises(VideoNotFound):
                catalog.find(SHORT)

        assert len(endpoint.requests_of("list")) == 1
        assert len(endpoint.requests_of("status")) == 1  # of the id that it would be

    def test_a_list_that_cannot_be_had_is_no_enoent(self, build, endpoint):
        """A server that is away is never ENOENT."""
        catalog = catalog_with(build)
        endpoint.add(LONG, size_bytes=SIZE)
        endpoint.inject(faults.status(500), math.inf, lambda r: r.kind == "list")

        with pytest.raises(TransportError):
            catalog.find(SHORT)
        endpoint.calm()

        assert catalog.find(SHORT).content.size_bytes == SIZE

    def test_a_real_id_that_looks_short_opens_by_its_own_name(self, catalog, endpoint):
        looks_short = SHORT.removesuffix(".mp4")
        endpoint.add(looks_short, size_bytes=7)

        assert catalog.find(SHORT).content.size_bytes == 7

    def test_of_two_ids_the_listed_one_has_the_short_name(self, catalog, endpoint):
        """Only an id picked to be like a short name meets this."""
        looks_short = SHORT.removesuffix(".mp4")
        endpoint.add(looks_short, size_bytes=7)
        endpoint.add(LONG, size_bytes=SIZE)

        assert sorted(listed(catalog)) == sorted(["v.mp4", SHORT, name_of(looks_short)])
        assert catalog.find(SHORT).content.size_bytes == SIZE
        assert catalog.find(name_of(looks_short)).content.size_bytes == 7

    def test_without_a_list_a_short_name_opens_once_the_full_one_did(
        self, build, endpoint
    ):
        endpoint.personality = PERSONALITIES["aisix_redirect"]
        endpoint.add(LONG, size_bytes=SIZE)
        catalog = catalog_with(build, negative_ttl_seconds=0)
        with pytest.raises(VideoNotFound):
            catalog.find(SHORT)

        catalog.find_to_open(full_name_of(LONG))

        assert catalog.find(SHORT).content.size_bytes == SIZE
        assert listed(catalog) == [SHORT]

    def test_what_left_the_list_keeps_its_name(self, build, endpoint):
        """A listing is no proof of absence: some show one day."""
        catalog = catalog_with(build, listing_ttl_seconds=0)
        endpoint.add(LONG, size_bytes=SIZE)
        assert listed(catalog) == [SHORT]
        endpoint.inject(
            faults.Fault("other list", lambda *_: json_response(200, {"data": []})),
            math.inf,
            lambda r: r.kind == "list",
        )
        assert listed(catalog) == []

        assert catalog.find(SHORT).content.size_bytes == SIZE

    def test_both_waits_of_a_short_name_are_one_deadline(self, build, endpoint):
        catalog = build(metadata_seconds=0.4).engine.catalog
        endpoint.add(LONG)
        endpoint.inject(faults.stall_before_headers(math.inf), math.inf)
        began = time.monotonic()

        with pytest.raises(HingError):
            catalog.find(SHORT)

        assert time.monotonic() - began < 2

    def test_listings_go_by_name_and_not_by_id(self, catalog, endpoint):
        """Read-ahead goes on with the video that a program opens next."""
        ids = [LONG + str(number) for number in range(20)] + ["a/b", "a.b", "a~b"]
        for video_id in ids:
            endpoint.add(video_id, size_bytes=SIZE)

        names = listed(catalog)

        assert names == sorted(names)
        order = catalog._list.latest
        assert order is not None
        assert [name_of(video_id) for video_id in order.order] == names


# --- time ----------------------------------------------------------------------


@dataclass(frozen=True)
class NoStatus(Personality):
    """A plain file server: no status route."""

    def status(self, request, site):
        return text_response(404, b"<html>no such page</html>", "text/html")


@dataclass(frozen=True)
class Bare(NoStatus):
    """Nor validators."""

    def serve(self, request, video, site):
        return whole(video)


class Timeless(Personality):
    """Shows no time but Last-Modified."""

    def describe(self, video):
        return {**super().describe(video), "created_at": 0, "completed_at": 0}


class Unfinished(HingNetVeo):
    """Shows no completion time."""

    def describe(self, video):
        return {**super().describe(video), "completed_at": None}


class Terse(Personality):
    """Tells less in its list than in its status objects."""

    def page(self, videos, *, has_more):
        page = super().page(videos, has_more=has_more)
        told = ("id", "object", "status", "created_at")
        rows = [{key: self.describe(video)[key] for key in told} for video in videos]
        return {**page, "data": rows}


class TestTime:
    @pytest.mark.parametrize(
        ("personality", "mtime_ns"),
        [
            (Personality(), COMPLETED_NS),
            (Unfinished(), CREATED_AT * SECOND_NS),
            (NoStatus(), MODIFIED_NS),
            (Timeless(), MODIFIED_NS),
            (Bare(), 0),
            (Aisix(), 0),  # its created_at is 0, which means unknown
        ],
        ids=["completed", "created", "modified", "timeless", "nothing", "zero"],
    )
    def test_r24_the_first_source_that_is_there_tells_the_time(
        self, build, endpoint, personality, mtime_ns
    ):
        endpoint.personality = personality
        endpoint.add("v", size_bytes=SIZE)

        assert build().engine.catalog.find("v.mp4").mtime_ns == mtime_ns

    def test_r24_the_time_stays_when_its_source_goes(self, build, endpoint):
        """Another time for the same bytes makes `rsync -a` copy them again."""
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        endpoint.add("v", size_bytes=SIZE)
        before = catalog.find_to_open("v.mp4").mtime_ns
        endpoint.personality = NoStatus()
        endpoint.videos["v"].completed_at += 5000

        for _ in range(3):
            assert catalog.find_to_open("v.mp4").mtime_ns == before
            assert catalog.find("v.mp4").mtime_ns == before

    @pytest.mark.parametrize("personality", [Personality(), Terse()])
    def test_r24_a_status_from_the_list_gives_the_same_time(
        self, build, endpoint, personality
    ):
        endpoint.personality = personality
        endpoint.add("v", size_bytes=SIZE)
        alone, after_list = build().engine.catalog, build().engine.catalog
        after_list.listing()

        assert after_list.find("v.mp4").mtime_ns == alone.find("v.mp4").mtime_ns

    def test_r24_a_video_of_unknown_length_has_its_time_whenever_it_arrives(
        self, build, endpoint
    ):
        """Also when the first look-up had to give up waiting for its end."""
        endpoint.personality = PERSONALITIES["litellm_new"]
        endpoint.add("v", size_bytes=SIZE)
        go_on = threading.Event()
        slow = faults.chunked() + faults.stall_at(SIZE // 2, go_on)
        endpoint.inject(slow)
        mount = build(
            cache={"negative_ttl_seconds": 0}, metadata_seconds=0.3, stall_seconds=5
        )
        with pytest.raises(VideoNotReady):
            mount.engine.catalog.find("v.mp4")
        go_on.set()

        (spool,) = mount.engine.spools._room.spools()
        spool.wait_complete(time.monotonic() + 10)
        file = mount.engine.catalog.find("v.mp4")

        assert file.content.size_bytes == SIZE
        assert file.mtime_ns == COMPLETED_NS


# --- one step at a time ----------------------------------------------------------


class Step:
    """The first call of *method* of the catalog's versions, which waits, once *reached*, for *go_on*."""

    def __init__(
        self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch, method: str
    ) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()
        self._real = getattr(catalog._versions, method)
        monkeypatch.setattr(catalog._versions, method, self._call)

    def _call(self, *args: object) -> object:
        first = not self.reached.is_set()
        self.reached.set()
        if first:
            self.go_on.wait(10)
        return self._real(*args)


class Shared:
    """Which jobs the callers of a catalog wait for."""

    def __init__(self, catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
        self._jobs: list[object] = []
        self._real: Callable[..., object] = catalog._lookups._names.join
        monkeypatch.setattr(catalog._lookups._names, "join", self._started)

    def _started(self, *args: object) -> object:
        job = self._real(*args)
        self._jobs.append(job)
        return job

    def by_all(self, callers: int) -> bool:
        """Whether as many wait, all for one."""
        return len(self._jobs) == callers and len({id(job) for job in self._jobs}) == 1


class Lengthless(LiteLLM):
    """Tells versions apart, but no length."""

    def serve(self, request, video, site):
        answer = super().serve(request, video, site)
        return answer.with_headers({"ETag": f'"{video.version}"'})


# --- versions ------------------------------------------------------------------


class TestVersions:
    @pytest.mark.parametrize("personality", ["openai", "litellm_new", "sglang"])
    def test_r16_a_new_version_is_another_content(self, build, endpoint, personality):
        endpoint.personality = PERSONALITIES[personality]
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        endpoint.add("v", size_bytes=SIZE)
        old = catalog.find_to_open("v.mp4")
        endpoint.videos["v"].replace(size_bytes=SIZE + 1)

        new = catalog.find_to_open("v.mp4")

        assert new.content is not old.content
        assert (old.content.changed, new.content.changed) == (True, False)
        assert new.content.size_bytes == SIZE + 1
        assert catalog.find("v.mp4") is new

    def test_a_change_seen_by_a_read_makes_the_next_look_up_ask(
        self, catalog, endpoint
    ):
        old = catalog.find("v.mp4")
        endpoint.videos["v"].replace(size_bytes=SIZE * 2)
        old.content.found_changed()

        assert catalog.find("v.mp4").content.size_bytes == SIZE * 2

    @pytest.mark.parametrize(
        ("status", "meaning", "shown"),
        [
            ("queued", VideoNotReady, ["v.mp4"]),
            ("failed", VideoFailed, ["v.mp4"]),
            (None, VideoNotFound, []),
        ],
    )
    def test_a_refusal_forgets_only_a_video_that_is_gone(
        self, build, endpoint, *, status, meaning, shown
    ):
        endpoint.personality = PERSONALITIES["new_api_new"]  # without a list
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        endpoint.add("v", size_bytes=SIZE)
        catalog.find_to_open("v.mp4")
        if status is None:
            endpoint.remove("v")
        else:
            endpoint.set_status("v", status)

        with pytest.raises(meaning):
            catalog.find_to_open("v.mp4")

        assert listed(catalog) == shown

    def test_a_look_up_that_finds_a_new_version_ends_the_old_one(self, build, endpoint):
        mount = build()
        catalog, clock = mount.engine.catalog, mount.engine.transport.clock
        endpoint.ahead_seconds = CREATED_AT - time.time()
        endpoint.add("v", size_bytes=SIZE, expires_at=CREATED_AT + 200)
        old = catalog.find("v.mp4")
        # It has expired, so it is asked for again.
        clock.learn(formatdate(CREATED_AT + 200, usegmt=True))
        endpoint.videos["v"].replace()
        endpoint.videos["v"].expires_at = CREATED_AT + 1000

        new = catalog.find("v.mp4")

        assert (old.content.changed, new.content.changed) == (True, False)

    @pytest.mark.parametrize("sized", [True, False])
    def test_a_new_version_that_two_find_at_once_is_one(
        self, build, endpoint, monkeypatch, sized
    ):
        """An open finds it, and a stat meanwhile: else readers of one got ESTALE."""
        if not sized:
            endpoint.personality = Lengthless()
            endpoint.inject(faults.chunked(), math.inf)
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        video = endpoint.add("v", size_bytes=SIZE)
        old = catalog.find_to_open("v.mp4")
        video.replace(size_bytes=SIZE + 1)
        step = Step(catalog, monkeypatch, "_make_known" if sized else "_measure")
        shared = Shared(catalog, monkeypatch)

        with ThreadPoolExecutor(2) as threads:
            opening = threads.submit(catalog.find_to_open, "v.mp4")
            assert step.reached.wait(10)
            looking_up = threads.submit(catalog.find, "v.mp4")
            eventually(lambda: looking_up.done() or shared.by_all(2), "an end, or both")
            step.go_on.set()
            new = opening.result()

            assert looking_up.result().content is new.content
        assert (old.content.changed, new.content.changed) == (True, False)
        assert catalog.find("v.mp4") is new

    def test_a_change_that_a_read_sees_while_an_open_asks_is_no_version_kept(
        self, build, endpoint
    ):
        """The server said "not modified" before; the stat that asks again hears it."""
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        endpoint.add("v", size_bytes=SIZE)
        old = catalog.find_to_open("v.mp4")
        go_on = threading.Event()
        endpoint.inject(faults.stall_before_headers(go_on))
        endpoint.reset_log()

        with ThreadPoolExecutor(2) as threads:
            opening = threads.submit(catalog.find_to_open, "v.mp4")
            endpoint.wait_until(lambda: bool(endpoint.log))
            old.content.found_changed()
            looking_up = threads.submit(catalog.find, "v.mp4")
            go_on.set()

            for found in (opening, looking_up):
                assert not found.result().content.changed

    def test_r7_a_head_that_lies_about_the_size_is_believed_once(self, build, endpoint):
        @dataclass(frozen=True)
        class Liar(Personality):
            def serve(self, request, video, site):
                answer = super().serve(request, video, site)
                if request.method == "HEAD":
                    return answer.with_headers({"Content-Length": str(SIZE + 999)})
                return answer

        endpoint.personality = Liar()
        mount = build()
        endpoint.add("v", size_bytes=SIZE)
        told = mount.engine.catalog.find_to_open("v.mp4")
        assert told.content.size_bytes == SIZE + 999
        with pytest.raises(HingError):
            mount.engine.readers.open(told.content).read_into(
                memoryview(bytearray(10)), 0
            )

        file = mount.engine.catalog.find_to_open("v.mp4")

        assert file.content.size_bytes == SIZE
        target = bytearray(SIZE)
        mount.engine.readers.open(file.content).read_into(memoryview(target), 0)
        assert target == endpoint.videos["v"].read(0, SIZE)


# --- listing -------------------------------------------------------------------


class TestListing:
    def test_a_row_past_its_expiry_is_listed_until_it_is_not_served(
        self, build, endpoint
    ):
        """Its expiry is that of the link; a video that may be gone costs one request."""
        catalog = catalog_with(build, listing_ttl_seconds=0, negative_ttl_seconds=0)
        endpoint.add("served", expires_at=CREATED_AT, size_bytes=SIZE)
        endpoint.add("gone", expires_at=CREATED_AT, size_bytes=SIZE)
        endpoint.inject(
            faults.status(404),
            2,  # HEAD and GET
            lambda r: (r.video_id, r.kind) == ("gone", "content"),
        )
        endpoint.add("valid", size_bytes=SIZE)
        endpoint.inject(
            faults.status(410), math.inf, where=lambda r: r.video_id == "valid"
        )
        assert listed(catalog) == ["gone.mp4", "served.mp4", "valid.mp4"]

        for name in ("gone.mp4", "valid.mp4"):
            with pytest.raises(VideoNotFound):
                catalog.find(name)
        catalog.find("served.mp4")
        assert listed(catalog) == ["served.mp4", "valid.mp4"]

        catalog.find("gone.mp4")  # it is served again
        assert listed(catalog) == ["gone.mp4", "served.mp4", "valid.mp4"]

    def test_names_are_sorted_and_quoted(self, build, endpoint):
        for video_id in ("b", "a/b", "a", ".hidden", "x\x07y", "a/../c"):
            endpoint.add(video_id)

        assert listed(build().engine.catalog) == ["a%2Fb.mp4", "a.mp4", "b.mp4"]

    def test_a_refused_token_lists_nothing_old(self, build, endpoint, expected_log):
        catalog = catalog_with(build, listing_ttl_seconds=0)
        endpoint.add("v")
        catalog.listing()
        endpoint.token = "another"
        expected_log("refused the token")

        with pytest.raises(AccessDenied):
            catalog.listing()

    def test_a_listed_video_is_looked_up_without_its_status(self, catalog, endpoint):
        listed(catalog)
        catalog.find("v.mp4")

        assert not endpoint.requests_of("status")

    @pytest.fixture
    def walk(self, build, endpoint):
        """(engine, names) once a program has listed these names, 200 of them."""
        names = [f"v{number:03}" for number in range(200)]
        for name in names:
            endpoint.add(name, size_bytes=SIZE)
        engine = build().engine
        engine.catalog.listing()
        assert not endpoint.requests_of("content")
        return engine, names

    def test_a_walk_is_as_far_ahead_as_twice_the_names_it_asked_for(
        self, walk, endpoint
    ):
        """The first name begins it, and few requests are in vain if it ends there."""
        engine, names = walk

        for asked in (1, 2, 10, 30, 60, 90):
            for name in names[:asked]:
                engine.catalog.find(name_of(name))
            ahead = min(max(FIRST_AHEAD, 2 * asked), MOST_AHEAD)
            endpoint.wait_until(
                lambda most=asked + ahead: len(endpoint.requests_of("content")) == most
            )
            endpoint.wait_until_idle()
            assert {r.video_id for r in endpoint.requests_of("content")} == set(
                names[: asked + ahead]
            )

    def test_programs_that_walk_at_the_same_time_each_have_names_ahead(
        self, walk, endpoint
    ):
        engine, names = walk

        for step in range(20):
            if step == 10:  # the list is read again, and tells another time
                endpoint.videos["v150"].created_at += 1
                age_listing(engine)
                engine.catalog.listing()
            for first in (0, 100):
                engine.catalog.find(name_of(names[first + step]))
        looked_up = {*names[:60], *names[100:160]}
        endpoint.wait_until(
            lambda: {r.video_id for r in endpoint.requests_of("content")} == looked_up
        )

    def test_names_picked_at_random_soon_have_none_looked_up_ahead(
        self, walk, endpoint
    ):
        engine, names = walk
        for name in names[::-15]:
            engine.catalog.find(name_of(name))
            endpoint.wait_until_idle()

        picked, in_vain = len(names[::-15]), MOST_WALKS * FIRST_AHEAD
        assert len(endpoint.requests_of("content")) <= picked + in_vain

    def test_names_that_are_given_in_order_are_looked_up_ahead_as_well(
        self, build, endpoint
    ):
        """As `rsync -a a.mp4 b.mp4 c.mp4 …` does, which lists nothing."""
        count = 3 + FIRST_AHEAD
        for number in range(count):
            endpoint.add(f"v{number:02}", size_bytes=SIZE)
        catalog = build().engine.catalog

        catalog.find("v00.mp4")
        assert not endpoint.requests_of("list"), "one name is no order"
        catalog.find("v01.mp4")
        endpoint.wait_until(lambda: len(endpoint.requests_of("list")) == 1)
        endpoint.wait_until_idle()
        eventually(lambda: catalog._list.has("v00"), "the order of names")
        catalog.find("v02.mp4")
        endpoint.wait_until(lambda: len(endpoint.requests_of("content")) == count)

        for number in range(count):
            catalog.find(f"v{number:02}.mp4")
        assert len(endpoint.requests_of("list")) == 1

    def test_names_of_a_server_without_a_list_cost_one_look_for_it(
        self, build, endpoint
    ):
        endpoint.personality = PERSONALITIES["new_api_new"]
        catalog = build().engine.catalog

        for number in range(20):
            endpoint.add(f"v{number}", size_bytes=SIZE)
            catalog.find(f"v{number}.mp4")
        endpoint.wait_until_idle()

        assert len(endpoint.requests_of("list")) == 1

    def test_without_a_list_names_follow_as_they_were_looked_up(self, build, endpoint):
        """A program that copies what it was given opens its files in that order."""
        endpoint.personality = PERSONALITIES["new_api_new"]
        catalog = build().engine.catalog
        for name in "cab":
            endpoint.add(name, size_bytes=SIZE)
            catalog.find(f"{name}.mp4")
        catalog.find_to_open("c.mp4")

        following = {name: catalog.following(name) for name in "cabd"}

        ids = {one: [c.video_id for c in rest] for one, rest in following.items()}
        assert ids == {"c": ["a", "b"], "a": ["b"], "b": [], "d": []}

    def test_names_that_are_not_found_cost_none(self, catalog, endpoint):
        for number in range(20):
            with pytest.raises(VideoNotFound):
                catalog.find(f"v{number}.mp4")
        endpoint.wait_until_idle()

        assert not endpoint.requests_of("list")

    def test_where_requests_are_counted_names_cost_what_was_asked_for(
        self, build, endpoint
    ):
        """No look-ups ahead, no listing of the newest; a listing of a minute ago will do."""
        for number in range(20):
            endpoint.add(f"v{number:02}", size_bytes=SIZE)
        mount = build(cache={"listing_ttl_seconds": 0.0})
        mount.engine.catalog.listing()
        mount.engine.transport.limit.pause(0.001)

        for number in range(4):
            mount.engine.catalog.find(f"v{number:02}.mp4")
        endpoint.wait_until_idle()

        assert len(endpoint.requests_of("list")) == 1
        assert len(endpoint.requests_of("content")) == 4
        assert not endpoint.requests_of("status")


class TestLate:
    @pytest.fixture
    def late(self, build, endpoint):
        """A catalog of a server whose GET waits for the event; a stat waits 0.3 s."""
        endpoint.personality = PERSONALITIES["litellm_new"]
        endpoint.add("v", size_bytes=SIZE)
        go_on = threading.Event()
        endpoint.inject(
            faults.stall_before_headers(go_on),
            math.inf,
            lambda r: r.kind == "content" and r.method == "GET",
        )
        options = {"metadata_seconds": 0.3, "stall_seconds": 0.2}
        catalog = build(cache={"negative_ttl_seconds": 0}, **options).engine.catalog
        yield catalog, go_on
        go_on.set()

    def test_many_of_them_hold_no_other_name_up(self, late, endpoint):
        catalog, _go_on = late
        endpoint.add("failed", status="failed")
        names = [f"v{number}" for number in range(10)]
        for name in names:
            endpoint.add(name, size_bytes=SIZE)
        with ThreadPoolExecutor(len(names)) as threads:
            finds = [threads.submit(catalog.find, f"{name}.mp4") for name in names]
        for find in finds:
            with pytest.raises(VideoNotReady):
                find.result()

        with pytest.raises(VideoFailed):
            catalog.find("failed.mp4")

    def test_where_facts_cost_a_download_the_status_confirms_a_version(
        self, build, endpoint
    ):
        """Each open after `--metadata-ttl` was a whole download of LiteLLM's."""
        endpoint.personality = PERSONALITIES["litellm_new"]
        video = endpoint.add("v", size_bytes=SIZE)
        catalog = catalog_with(build, metadata_ttl_seconds=0)
        first = catalog.find_to_open("v.mp4").content
        endpoint.reset_log()

        assert catalog.find_to_open("v.mp4").content is first
        assert not endpoint.requests_of("content")

        video.replace(size_bytes=SIZE + 1)
        assert catalog.find_to_open("v.mp4").content.size_bytes == SIZE + 1


# --- bounds and lengths -------------------------------------------------------


def test_what_is_known_is_bounded():
    known = KnownVideos(0.0, time.time, most_bytes=3_500)
    for number in range(8):
        content = Content("http://x", f"v{number}", SIZE, Validator())
        known.put(VideoFile(f"v{number}", content, 0, number), None)

    assert known.total_bytes() == 4 * SIZE


def test_refusals_are_remembered_without_the_bodies_they_came_in(build, endpoint):
    """A traceback holds the frames, and those the bodies: 512 MiB of 64 KiB each."""
    endpoint.inject(faults.status(404, body=b"gone " * 13_000), math.inf)
    catalog = build({"negative_ttl_seconds": 600.0}).engine.catalog

    with little_memory(3_000_000):
        for number in range(60):
            with pytest.raises(VideoNotFound):
                catalog.find(f"v{number}.mp4")

    assert len(catalog._known._refused) == 60


def test_what_is_remembered_of_hostile_names_is_bounded(build):
    """Ids of 1,000 characters and entity tags of 500, of four bytes each where may be."""
    catalog = build().engine.catalog
    with little_memory(18 * MIB):
        for number in range(5_000):
            video_id = f"\U0001f600{number:01000}"
            etag = f'"{number:0500}"'
            facts = Facts(SIZE, Validator(etag, None), ranges=True)
            catalog._versions._file_of(video_id, Probe(facts, UNSAID))

    assert 3_000 < len(catalog._known._known) < 4_000


def test_ids_of_a_listing_that_cannot_be_names_are_left_out(build, endpoint):
    endpoint.add("x" * 2000)
    endpoint.add("good")

    assert listed(build().engine.catalog) == ["good.mp4"]


# --- away ----------------------------------------------------------------------


class TestAway:
    """What is known is shown as it is known while no connection can be made."""

    @pytest.fixture
    def remount(self, build, tmp_path, endpoint):
        """The catalog of another mount with the facts and blocks of those before."""
        engines: list[Engine] = []

        def remount() -> Catalog:
            for engine in engines:
                engine.close()
                assert engine.settle(10)
            engines[:] = [
                build(
                    cache={
                        "kept_directory": tmp_path / "kept",
                        "disk_cache_bytes": 64 * MIB,
                        "negative_ttl_seconds": 0.0,
                    }
                ).engine
            ]
            return engines[0].catalog

        (tmp_path / "kept").mkdir(mode=0o700)
        return remount

    def lose(self, catalog: Catalog, endpoint) -> None:
        """Stop the server, and notice it."""
        endpoint.stop()
        with pytest.raises(TransportError):
            catalog.find("unheard-of.mp4")
        endpoint.reset_log()

    def let_expire(self, catalog: Catalog, at: float) -> None:
        catalog._metadata._transport.clock.learn(formatdate(at + 10, usegmt=True))

    def test_a_link_that_has_expired_is_known_and_a_change_is_not(
        self, remount, endpoint
    ):
        at = int(time.time()) + 10**6
        for name in ("short", "changed"):
            endpoint.add(name, size_bytes=SIZE, expires_at=at)
        catalog = remount()
        for name in ("short", "changed"):
            catalog.find(name_of(name))
        catalog.find("changed.mp4").content.found_changed()
        self.let_expire(catalog, at)
        self.lose(catalog, endpoint)

        assert catalog.find("short.mp4").content.size_bytes == SIZE
        assert catalog.find_to_open("short.mp4").content.size_bytes == SIZE
        with pytest.raises(TransportError):
            catalog.find("changed.mp4")

    def test_files_of_an_earlier_mount_are_at_hand(self, remount, endpoint):
        endpoint.add("v", size_bytes=SIZE)
        remount().find("v.mp4")
        catalog = remount()
        catalog._known._earlier["v"] = catalog._known._earlier["v"]._replace(
            confirmed_at=0.0
        )
        assert catalog.at_hand("v.mp4") is None, "it would be confirmed"

        self.lose(catalog, endpoint)

        file = catalog.at_hand("v.mp4")
        assert file is not None
        assert (file.content.size_bytes, file.mtime_ns) == (SIZE, COMPLETED_NS)

    def test_a_short_name_of_an_earlier_mount_is_found(self, remount, endpoint):
        long = "v" * 300
        endpoint.add(long, size_bytes=SIZE)
        remount().find(full_name_of(long))
        catalog = remount()
        self.lose(catalog, endpoint)

        assert listed(catalog) == [name_of(long)]
        assert catalog.find(name_of(long)).video_id == long

    def test_it_is_said_once_in_each_outage(self, remount, endpoint, caplog, quiet_log):
        quiet_log("kept as known")
        names = [name_of(f"v{number}") for number in range(20)]
        for number in range(20):
            endpoint.add(f"v{number}", size_bytes=SIZE)
        catalog = remount()
        object.__setattr__(catalog._config, "metadata_ttl_seconds", 0.0)
        for name in names:
            catalog.find(name)
        for outage in range(1, 3):
            endpoint.stop()
            for name in names:
                catalog.find_to_open(name)
            said = [r for r in caplog.records if "kept as known" in r.getMessage()]
            assert [r.levelname for r in said].count("WARNING") == outage
            endpoint.start()
            catalog._metadata._transport.breaker._open_until = 0.0
            catalog.find_to_open(names[0])

    def test_a_listing_shows_what_the_last_one_had_and_what_is_on_disk(
        self, remount, endpoint
    ):
        """The videos of a list of a few pages are not kept for the next mount."""
        at = int(time.time()) + 10**6
        for name in ("known", "stored", "past"):
            expires_at = None if name == "known" else at
            endpoint.add(name, size_bytes=SIZE, expires_at=expires_at)
        catalog = remount()
        for name in ("known", "stored", "past"):
            file = catalog.find(name_of(name))
            if name == "stored":
                fetcher = catalog._openings._fetcher
                for landing in fetcher.prefetch(file.content, range(3)):
                    landing.wait(1, time.monotonic() + 10)
        catalog = remount()
        self.let_expire(catalog, at)
        self.lose(catalog, endpoint)

        assert listed(catalog) == ["known.mp4", "stored.mp4"]
        assert endpoint.log == []

    def test_what_the_last_listing_did_not_have_is_not_shown(self, remount, endpoint):
        """It may have been deleted; what was made since may not."""
        endpoint.add("gone", size_bytes=SIZE)
        for number in range(320):
            endpoint.add(f"v{number}", size_bytes=SIZE, created_at=CREATED_AT + number)
        catalog = remount()
        catalog.find("gone.mp4")
        endpoint.remove("gone")
        catalog.find("v1.mp4")
        assert len(listed(catalog)) == 320
        late = CREATED_AT + 10_000
        endpoint.add("new", size_bytes=SIZE, created_at=late, completed_at=late)
        catalog.find("new.mp4")

        for _ in range(2):
            catalog._list._stale_seconds = 0.0
            catalog._list.expire()
            self.lose(catalog, endpoint)
            assert listed(catalog) == ["new.mp4", "v1.mp4"]
            endpoint.start()
            catalog = remount()

    def test_where_nothing_is_known_there_is_no_listing(self, remount, endpoint):
        catalog = remount()
        self.lose(catalog, endpoint)

        with pytest.raises(TransportError):
            catalog.listing()


# --- waiting ---------------------------------------------------------------------


class TestWaiting:
    def test_a_look_at_a_video_that_is_not_ready_is_one_request(self, build, endpoint):
        endpoint.add("v", status="in_progress")
        endpoint.set_status("v", "in_progress", progress=42)
        catalog = build().engine.catalog

        for _ in range(3):  # though it was refused a moment ago
            with pytest.raises(VideoNotReady) as refused:
                catalog.find_when_ready("v.mp4")

        assert (refused.value.word, refused.value.progress) == ("in_progress", 0.42)
        assert [record.kind for record in endpoint.log] == ["status"] * 3

    def test_once_it_is_ready_its_content_is_asked_for(self, build, endpoint):
        endpoint.add("v", size_bytes=SIZE, status="queued")
        catalog = build().engine.catalog
        with pytest.raises(VideoNotReady):
            catalog.find_when_ready("v.mp4")
        endpoint.set_status("v", "completed")
        endpoint.reset_log()

        file = catalog.find_when_ready("v.mp4")

        assert file.content.size_bytes == SIZE
        assert file.mtime_ns == COMPLETED_NS
        assert len(endpoint.requests_of("status")) == 1
        assert len(endpoint.requests_of("content", "HEAD")) == 1
        endpoint.reset_log()
        assert catalog.find_when_ready("v.mp4") is file
        assert catalog.find_to_open("v.mp4") is file
        assert endpoint.log == []

    @pytest.mark.parametrize(
        ("status", "error"), [("failed", VideoFailed), (None, VideoNotFound)]
    )
    def test_an_end_is_told(self, build, endpoint, status, error):
        if status is not None:
            endpoint.add("v", status=status)
        catalog = build().engine.catalog

        with pytest.raises(error):
            catalog.find_when_ready("v.mp4")

    def test_a_replica_that_does_not_know_it_yet_ends_no_wait(self, build, endpoint):
        """The status of a moment ago said that it is rendered."""
        endpoint.add("v", status="queued")
        catalog = build().engine.catalog
        with pytest.raises(VideoNotReady):
            catalog.find_when_ready("v.mp4")
        endpoint.inject(faults.status(404), times=2)

        with pytest.raises(VideoNotReady):
            catalog.find_when_ready("v.mp4")

        assert endpoint.faults_left == 0
        endpoint.remove("v")
        with pytest.raises(VideoNotFound):
            catalog.find_when_ready("v.mp4")

    def test_a_pause_that_the_server_names_is_passed_on(self, build, endpoint):
        endpoint.add("v", status="queued")
        catalog = build().engine.catalog
        endpoint.inject(
            faults.status(200, "7", b'{"id": "v", "status": "queued"}'),
            where=lambda request: request.kind == "status",
        )

        with pytest.raises(VideoNotReady) as refused:
            catalog.find_when_ready("v.mp4")

        assert refused.value.pause_seconds == 7

    def test_a_completed_video_that_is_never_served_ends_a_wait(self, build, endpoint):
        endpoint.add("v")
        catalog = build().engine.catalog
        catalog._versions._unserved_seconds = 0.0
        endpoint.inject(
            faults.status(400, body=b'{"error": {"message": "no"}}'),
            times=math.inf,
            where=lambda request: request.kind == "content",
        )

        with pytest.raises(NeverServed):
            catalog.find_when_ready("v.mp4")
