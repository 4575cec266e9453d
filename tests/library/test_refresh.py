"""How many pages a listing reads again, and what it notices."""

import contextlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from email.utils import formatdate
from functools import partial

import pytest

from hingfs.engine import Engine
from hingfs.errors import TransportError
from hingfs.facts.store import NAME, FactStore
from hingfs.library.refresh import ListRefresh
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.memories import age_listing
from tests.support.mounting import eventually
from tests.support.personalities import (
    CREATED_AT,
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
)

VIDEOS, PAGES = 450, 5
Again = Callable[..., Engine]


class Sorted(Personality):
    """A list of another order, or whose rows tell other times."""

    def __init__(self, arrange: Callable[[Iterable[Video]], list[Video]]) -> None:
        self._arrange = arrange

    def listing(self, request: Request, site: Site) -> Response:
        videos = self._arrange(site.find_all())
        ids = [video.video_id for video in videos]
        begin = ids.index(request.query["after"]) + 1 if "after" in request.query else 0
        page = videos[begin : begin + 100]
        return json_response(200, self.page(page, has_more=begin + 100 < len(videos)))


class Untimed(Personality):
    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        page = super().page(videos, has_more=has_more)
        rows = page["data"]
        assert isinstance(rows, list)
        page["data"] = [{**row, "created_at": 0} for row in rows]
        return page


class Counts(Personality):
    """Its pages tell a total: of the list, or *of_page*. *between* runs before a page."""

    def __init__(self, between: Callable[[], object], *, of_page: bool) -> None:
        self._between = between
        self._of_page = of_page
        self._all = 0

    def listing(self, request: Request, site: Site) -> Response:
        if "after" in request.query:
            self._between()
        self._all = len(list(site.find_all()))
        return super().listing(request, site)

    def page(self, videos: Sequence[Video], *, has_more: bool) -> dict[str, object]:
        total = len(videos) if self._of_page else self._all
        return {**super().page(videos, has_more=has_more), "total": total}


def fill(endpoint: FakeEndpoint, count: int = VIDEOS) -> None:
    for number in range(count):
        endpoint.add(f"v{number:03}", size_bytes=1000, created_at=CREATED_AT + number)


@pytest.fixture
def engine(build: Build, endpoint: FakeEndpoint) -> Engine:
    """An engine that has listed, and whose listing is no longer fresh."""
    fill(endpoint)
    engine = build().engine
    assert len(engine.catalog.listing()) == VIDEOS
    assert pages_of(endpoint) == PAGES
    age_listing(engine)
    return engine


def pages_of(endpoint: FakeEndpoint) -> int:
    """How many pages were asked for since this was called last."""
    endpoint.wait_until_idle()
    pages = len(endpoint.requests_of("list"))
    endpoint.reset_log()
    return pages


def shown(engine: Engine, video_id: str) -> bool:
    return f"{video_id}.mp4" in dict(engine.catalog.listing())


def read_behind(engine: Engine) -> bool:
    """Whether all that was to be read behind the program has been."""
    return not engine.catalog._list._refresh.has_rest and not engine._lookups._lists


@pytest.mark.parametrize("came", [0, 1, 60])
def test_the_newest_page_is_enough_and_shows_what_came(engine, endpoint, came):
    for number in range(came):
        endpoint.add(f"new{number}", created_at=CREATED_AT + VIDEOS + number)

    assert len(engine.catalog.listing()) == VIDEOS + came
    eventually(partial(read_behind, engine), "the end")
    assert pages_of(endpoint) == 1


def test_what_came_on_more_than_a_page_is_there_soon(engine, endpoint):
    for number in range(150):
        endpoint.add(f"new{number}", created_at=CREATED_AT + VIDEOS + number)

    assert len(engine.catalog.listing()) == VIDEOS + 100
    eventually(lambda: len(engine.catalog.listing()) == VIDEOS + 150, "all of them")
    assert pages_of(endpoint) == 2


@pytest.mark.parametrize("deleted", ["v440", f"v{VIDEOS - 1}"])
def test_a_row_missing_on_the_newest_page_has_the_whole_list_read_behind(
    engine, endpoint, deleted
):
    endpoint.remove(deleted)

    assert shown(engine, deleted), "not yet proved to be gone"
    eventually(lambda: not shown(engine, deleted), "gone")
    assert pages_of(endpoint) == PAGES


def test_an_older_row_that_is_deleted_is_noticed_by_the_whole_pass(engine, endpoint):
    endpoint.remove("v100")
    assert shown(engine, "v100")
    eventually(partial(read_behind, engine), "the end")
    assert pages_of(endpoint) == 1

    age_listing(engine, walk_is_due=True)
    assert shown(engine, "v100")
    eventually(lambda: not shown(engine, "v100"), "gone")
    assert pages_of(endpoint) == PAGES


def test_the_whole_pass_comes_also_where_each_refresh_finds_a_page_of_new_rows(
    engine, endpoint
):
    """Else a mount of a busy account would show deleted videos for ever."""
    endpoint.remove("v100")
    for number in range(95):
        endpoint.add(f"new{number}", created_at=CREATED_AT + VIDEOS + number)
    age_listing(engine, walk_is_due=True)

    assert shown(engine, "v100")
    eventually(lambda: not shown(engine, "v100"), "gone")
    assert pages_of(endpoint) == PAGES + 1


@pytest.mark.parametrize("of_page", [True, False])
def test_a_total_costs_no_pass_while_videos_come(build, endpoint, of_page):
    """It is that of the whole list, or counts something else."""
    add = partial(endpoint.add, "during", created_at=CREATED_AT + VIDEOS)
    endpoint.personality = Counts(add, of_page=of_page)
    fill(endpoint)
    engine = build().engine
    engine.catalog.listing()
    pages_of(endpoint)

    for name in ("new", "newer"):
        endpoint.add(name, created_at=CREATED_AT + VIDEOS + len(name))
        age_listing(engine)
        assert shown(engine, name)
        eventually(partial(read_behind, engine), "the end")
        assert pages_of(endpoint) == 1


def test_rows_that_complete_late_are_seen_by_one_page_each(build, endpoint):
    """Those of the newest page at once; one that never completes costs nothing."""
    now = int(time.time())
    making = dict.fromkeys(["v449", "v200"], now) | {"v050": CREATED_AT}
    for number in range(VIDEOS):
        video_id = f"v{number:03}"
        status = "in_progress" if video_id in making else "completed"
        endpoint.add(video_id, status=status, created_at=now - VIDEOS + number)
    endpoint.videos["v050"].created_at = now - 2 * 86_400
    for number in range(50):
        endpoint.videos[f"v{number:03}"].created_at = now - 3 * 86_400 + number
    engine = build().engine
    assert len(engine.catalog.listing()) == VIDEOS - 3
    pages_of(endpoint)
    endpoint.set_status("v449", "completed")
    endpoint.set_status("v200", "completed")
    age_listing(engine)

    assert shown(engine, "v449")
    eventually(lambda: shown(engine, "v200"), "the one of an older page")
    assert pages_of(endpoint) == 2


def oldest_first(videos: Iterable[Video]) -> list[Video]:
    return sorted(videos, key=lambda video: video.created_at)


def by_name(videos: Iterable[Video]) -> list[Video]:
    return sorted(videos, key=lambda video: video.video_id[::-1])


@pytest.mark.parametrize(
    "personality",
    [Sorted(oldest_first), Sorted(by_name), Untimed()],
    ids=["oldest first", "by name", "no times"],
)
def test_a_list_of_no_proved_order_is_read_whole_each_time(
    build, endpoint, personality
):
    endpoint.personality = personality
    fill(endpoint)
    engine = build().engine
    engine.catalog.listing()
    endpoint.add("zzz", created_at=CREATED_AT + VIDEOS)
    endpoint.remove("v100")
    pages_of(endpoint)
    age_listing(engine)

    assert shown(engine, "zzz")
    assert not shown(engine, "v100")
    assert pages_of(endpoint) == PAGES


def test_a_list_of_few_pages_is_read_whole_each_time(build, endpoint):
    fill(endpoint, 250)
    engine = build().engine
    engine.catalog.listing()
    endpoint.remove("v100")
    age_listing(engine)

    assert not shown(engine, "v100")


def test_what_came_during_a_whole_pass_stays_shown_after_it(engine, endpoint):
    """A listing that lost it again would make `rsync --delete` erase its copy."""
    go_on = threading.Event()
    stall = faults.stall_before_headers(go_on)
    endpoint.inject(stall, 1, where=lambda r: "after" in r.query)
    endpoint.remove("v440")
    engine.catalog.listing()
    endpoint.add("new", created_at=CREATED_AT + VIDEOS)
    age_listing(engine)

    assert shown(engine, "new")
    go_on.set()
    eventually(lambda: not shown(engine, "v440"), "the end of the pass")
    assert shown(engine, "new")


def test_a_pass_behind_that_fails_makes_the_next_listing_one_in_front(
    engine, endpoint, expected_log
):
    expected_log.allow("the last listing")
    endpoint.remove("v440")
    endpoint.inject(faults.status(404), 99, where=lambda r: "after" in r.query)
    assert shown(engine, "v440")
    eventually(partial(read_behind, engine), "the failure")
    endpoint.calm()
    age_listing(engine)

    assert not shown(engine, "v440")


def test_rows_that_take_too_much_memory_are_read_whole_again(engine, endpoint):
    rows = ListRefresh(engine.client.metadata, 10.0, FactStore(), most_bytes=1)

    for pages in (PAGES, 1, PAGES):
        assert len(rows.newest().rows) == VIDEOS
        assert pages_of(endpoint) == pages


def test_a_stat_of_the_root_reads_on_without_waiting_once_somebody_listed(
    build, endpoint
):
    fill(endpoint)
    engine = build().engine
    assert engine.catalog.changed_ns() is None
    assert pages_of(endpoint) == 0
    engine.catalog.listing()
    before = engine.catalog.changed_ns()
    assert pages_of(endpoint) == PAGES
    endpoint.add(
        "new", created_at=CREATED_AT + VIDEOS, completed_at=CREATED_AT + 10_000
    )
    age_listing(engine)

    assert engine.catalog.changed_ns() == before
    eventually(lambda: engine.catalog.changed_ns() != before, "the newer list")
    changed = engine.catalog.changed_ns()
    assert changed is not None
    assert changed // 10**9 == CREATED_AT + 10_000
    assert pages_of(endpoint) == 1


def test_the_time_of_the_root_is_that_of_the_list_and_moves_with_a_deletion(
    build, endpoint
):
    fill(endpoint, 3)
    first, again = build().engine, build().engine
    for engine in (first, again):
        engine.catalog.listing()
    assert first.catalog.changed_ns() == again.catalog.changed_ns()

    endpoint.remove("v000")
    age_listing(first)
    first.catalog.listing()

    assert first.catalog.changed_ns() != again.catalog.changed_ns()


def test_where_the_list_must_be_read_whole_a_stat_of_the_root_reads_it_seldom(
    build, endpoint
):
    endpoint.personality = Untimed()
    fill(endpoint)
    engine = build().engine
    engine.catalog.listing()
    age_listing(engine)
    pages_of(endpoint)

    engine.catalog.changed_ns()

    assert not engine.catalog._lookups._lists  # nothing reads it
    assert pages_of(endpoint) == 0


def test_a_completed_row_of_any_age_saves_its_status(engine, endpoint):
    engine.catalog.find("v000.mp4")

    assert not endpoint.requests_of("status")


def test_a_row_that_has_expired_since_is_asked_for(build, endpoint):
    expires_at = int(time.time()) + 60
    endpoint.add("v", size_bytes=1000, expires_at=expires_at)
    engine = build().engine
    engine.catalog.listing()
    age_listing(engine)
    engine.transport.clock.learn(formatdate(expires_at + 1, usegmt=True))

    engine.catalog.find("v.mp4")
    assert len(endpoint.requests_of("status")) == 1


def test_a_refresh_that_cannot_be_had_shows_the_last_listing_or_fails(
    engine, endpoint, expected_log
):
    expected_log("the last listing")
    endpoint.inject(faults.status(500), 99)
    assert len(engine.catalog.listing()) == VIDEOS
    for _ in range(6):
        age_listing(engine)

    with pytest.raises(TransportError):
        engine.catalog.listing()


class TestRemount:
    """The list of an earlier mount stands for the pages that the newest ones join."""

    @pytest.fixture
    def again(self, build: Build, endpoint: FakeEndpoint, tmp_path) -> Again:
        """The engine of a mount, and of later ones; the list is as old as *age*."""

        def again(age: float = 0.0) -> Engine:
            facts = {"kept_directory": tmp_path}
            for engine in made[-1:]:
                engine.close()
                assert engine.facts.join(5)
                with contextlib.closing(sqlite3.connect(tmp_path / NAME)) as sql, sql:
                    sql.execute("UPDATE accounts SET listed_at = listed_at - ?", [age])
            made.append(build(cache=facts).engine)
            return made[-1]

        made: list[Engine] = []
        fill(endpoint)
        return again

    @pytest.mark.parametrize("age", [1_000, -1_000])
    def test_a_list_that_was_read_long_ago_is_read_behind(self, again, endpoint, age):
        again().catalog.listing()
        endpoint.remove("v100")
        pages_of(endpoint)
        engine = again(age)

        assert shown(engine, "v100")
        eventually(lambda: not shown(engine, "v100"), "gone")
        assert pages_of(endpoint) == PAGES

    def test_rows_that_may_have_been_completed_since_are_read_first(
        self, again, endpoint
    ):
        """And what is in no listing, since it failed or never came, costs nothing."""
        endpoint.set_status("v100", "failed")
        endpoint.set_status("v050", "in_progress")
        for name in ("late", "soon"):
            endpoint.add(name, status="in_progress", created_at=int(time.time()))
        for number in range(150):
            endpoint.add(f"new{number}", created_at=int(time.time()) + 1 + number)
        again().catalog.listing()
        endpoint.set_status("late", "completed")
        pages_of(endpoint)
        engine = again()

        assert len(engine.catalog.listing()) == VIDEOS - 2 + 1 + 150
        assert pages_of(endpoint) == 2

    def test_the_list_of_another_server_is_not_shown(self, again, endpoint):
        again().catalog.listing()
        for video_id in [*endpoint.videos]:
            endpoint.remove(video_id)
        for number in range(400):
            endpoint.add(f"other{number}", created_at=CREATED_AT + 2 * VIDEOS + number)

        assert len(again().catalog.listing()) == 400

    def test_a_new_token_has_the_whole_list_read(self, again, endpoint):
        again().catalog.listing()
        endpoint.remove("v100")
        engine = again()
        engine.catalog.expire_listing()

        assert not shown(engine, "v100")
