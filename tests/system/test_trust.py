# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""Servers that cannot be taken at their word, and what hingfs believes of them.

Each kind end to end, as a kernel calls the operations, with the requests it costs.
`beliefs` has its own tests; test_field mounts one server of each kind.
"""

import math
import threading
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

import pytest

from hingfs.api.shifting import MOST_SAMPLES
from hingfs.errors import EndpointError, TokenError
from hingfs.mount.filesystem import Refusal
from tests.support import endpoint as faults
from tests.support.doubtful_servers import (
    ABSENT,
    FIREWALLS,
    SHIFTING,
    Balancer,
    FewRights,
    Firewall,
    ForbidsOne,
    Replicas,
    Shifting,
    StatusKnowsNot,
    Walled,
    draws,
    slowly,
    turns,
)
from tests.support.endpoint import content_get
from tests.support.memories import (
    remember_failed_reads,
    remember_failed_transfers,
    show_stale_listings,
)
from tests.support.mounting import CLIPS
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    Personality,
    Request,
    Video,
    ranged,
    text_response,
    whole,
)
from tests.support.reading import errno_of
from tests.support.views import Direct, check_reads, opened, sequential

SIZE_BYTES = 700_001
VALIDATORS = ("ETag", "Last-Modified")
CLIP = (CLIPS / "moov_last.mp4").read_bytes()


@pytest.fixture
def view(build, endpoint):
    """The files of a server; nothing is remembered for long."""

    def view(personality: Personality, **options) -> Direct:
        endpoint.personality = personality
        cache = {"negative_ttl_seconds": 0.0, **options.pop("cache", {})}
        return Direct(build(cache, **options))

    return view


@pytest.fixture
def story(caplog):
    """The lines that tell what is believed of the endpoint."""
    caplog.set_level("INFO", "hingfs.api.beliefs")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "hingfs.api.beliefs"
    ]


def errnos(view: Direct, video_id: str) -> set[str]:
    return {
        errno_of(lambda: view.size_bytes(video_id)),
        errno_of(lambda: view.open(video_id)),
    }


def is_of(kind: str):
    return lambda request: request.kind == kind


class Bare(Personality):
    """Its list has ids and nothing else."""

    def page(self, videos, *, has_more):
        rows = [{"id": video.video_id} for video in videos]
        return {"data": rows, "has_more": has_more}


# --- firewalls ----------------------------------------------------------------------

each_firewall = pytest.mark.parametrize("name", [*FIREWALLS])


@each_firewall
def test_a_firewall_that_passes_is_not_seen(view, endpoint, name):
    """As a 503: at every route, and in mid-read."""
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    for kind in ("list", "status", "content"):
        wall = Firewall(1, is_of(kind))
        files = view(Walled(FIREWALLS[name], wall))
        assert files.size_bytes("v") == video.size_bytes
        assert files.names() == ["v.mp4"]
        assert wall.blocks == 0
    wall = Firewall(0, content_get)
    files = view(Walled(FIREWALLS[name], wall), cache={"cache_bytes": 1 << 20})
    with opened(files, "v") as handle:
        assert handle.read(0, 10) == video.read(0, 10)
        endpoint.wait_until_idle()
        wall.blocks = 1

        at = 4 * SIZE_BYTES
        assert handle.read(at, 10) == video.read(at, at + 10)

    assert wall.blocks == 0


@each_firewall
def test_a_firewall_that_stays_is_eio_and_named(view, endpoint, expected_log, name):
    """It is no verdict on the token, and no missing route or video; then all is well."""
    expected_log("a firewall or gateway in front of 127.0.0.1 refuses this machine")
    if name == "cloudflare":  # the title of the page, and what to do
        expected_log(r"403: 'Attention Required! \| Cloudflare'.*try without VPN")
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    wall = Firewall(math.inf)
    files = view(Walled(FIREWALLS[name], wall))

    assert errnos(files, "v") == {"EIO"}
    assert errno_of(files.names) == "EIO"

    assert not [line for line in expected_log.lines if "token" in line]
    assert FIREWALLS[name].status in {r.status for r in endpoint.log}
    wall.blocks = 0
    check_reads(files, video, sequential(SIZE_BYTES))


@pytest.mark.parametrize("page", [name for name in FIREWALLS if "nginx" in name])
def test_a_storage_host_s_firewall_is_never_eacces(view, endpoint, expected_log, page):
    expected_log("a firewall or gateway in front of 127.0.0.1")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    answer = faults._instead("page", lambda: FIREWALLS[page])
    endpoint.inject(answer, math.inf, lambda r: r.server == "storage")

    assert errnos(view(PERSONALITIES["token360"]), "v") == {"EIO"}


@pytest.mark.parametrize("code", [401, 402])
def test_a_401_is_of_the_token_whatever_page_comes_with_it(
    view, endpoint, expected_log, code
):
    expected_log("the API (refused the token|asks for payment)")
    endpoint.add("v")
    page = text_response(code, b"<html><title>Login</title></html>", "text/html")
    endpoint.inject(faults._instead("page", lambda: page), math.inf)
    files = view(PERSONALITIES["openai"])

    assert errnos(files, "v") == {"EACCES"}
    assert errno_of(files.names) == "EACCES"


@each_firewall
def test_a_firewall_at_the_check_is_no_refused_token(build, endpoint, name):
    """Exit status 4, with the firewall's name; behind the list alone, a warning."""
    endpoint.personality = Walled(FIREWALLS[name], Firewall(math.inf))
    with pytest.raises(EndpointError, match="firewall or gateway in front of"):
        build().engine.client.check()

    endpoint.personality = Walled(FIREWALLS[name], Firewall(math.inf, is_of("list")))
    assert "firewall or gateway" in build().engine.client.check().warning


# --- one id alone ----------------------------------------------------------------------


@pytest.mark.parametrize("routes", [("content",), ("content", "status")])
def test_a_403_on_one_id_is_about_that_id(view, endpoint, expected_log, routes):
    """EACCES for it, others are served, and nobody says that the token was refused."""
    expected_log("the API refuses theirs and serves others.*domain not in whitelist")
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("theirs", size_bytes=SIZE_BYTES)
    files = view(ForbidsOne(routes=routes))
    check_reads(files, video, [(0, SIZE_BYTES)])

    for _ in range(2):
        assert errnos(files, "theirs") == {"EACCES"}
        check_reads(files, video, [(0, 100)])

    (line,) = expected_log.lines
    assert "refused the token" not in line


def test_a_403_that_all_ids_get_is_about_the_token(view, endpoint, expected_log):
    expected_log("refused the token")
    expected_log.allow("the API refuses v0")
    for number in range(3):
        endpoint.add(f"v{number}", size_bytes=SIZE_BYTES)
    files = view(PERSONALITIES["openai"])
    files.size_bytes("v2")
    endpoint.inject(faults.status(403), math.inf)

    assert errnos(files, "v0") == {"EACCES"}
    assert errnos(files, "v1") == {"EACCES"}


# --- keys with few rights ----------------------------------------------------------------

each_refusal = pytest.mark.parametrize(
    "server",
    [
        FewRights(),
        FewRights(code=401),  # LiteLLM says it so
        FewRights(code=402, saying="upgrade your plan"),
        FewRights(withheld=("list", "status")),
        FewRights(withheld=("list", "status"), code=401),
        # LiteLLM without a database
        FewRights(code=500, saying="Authentication Error, no_db_connection"),
        FewRights(code=400, saying="No connected db."),
    ],
    ids=lambda server: f"{'-'.join(server.withheld)}-{server.code}",
)


@each_refusal
def test_a_list_that_is_refused_stops_no_mount_and_no_name(
    view, endpoint, server, story
):
    """`ls` shows what was opened; what was learnt is said once."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(server, cache={"listing_ttl_seconds": 0.0})
    assert "names that are given work" in files.mount.engine.client.check().warning

    assert files.names() == []
    check_reads(files, video, sequential(SIZE_BYTES))
    assert files.names() == ["v.mp4"]
    assert files.names() == ["v.mp4"]

    assert len([line for line in story() if "list" in line]) == 1


@each_refusal
def test_a_key_with_few_rights_costs_no_more_once_it_is_known(view, endpoint, server):
    videos = [endpoint.add(name, size_bytes=SIZE_BYTES) for name in "abc"]
    files = view(server, cache={"listing_ttl_seconds": 0.0})
    files.names()
    files.size_bytes("a")
    endpoint.reset_log()

    files.names()
    for video in videos[1:]:
        files.size_bytes(video.video_id)

    asked = sorted((r.kind, r.method) for r in endpoint.log if r.kind != "list")
    statuses = 0 if "status" in server.withheld else 2
    assert asked == [("content", "HEAD")] * 2 + [("status", "GET")] * statuses
    assert len(endpoint.requests_of("list")) <= 2  # for ls, and for the order of names


@pytest.mark.parametrize("code", [401, 402, 403])
def test_a_token_that_is_refused_everywhere_ends_the_mount(build, endpoint, code):
    endpoint.personality = FewRights(withheld=("list", "status", "content"), code=code)

    with pytest.raises(TokenError, match="not allowed"):
        build().engine.client.check()

    assert len(endpoint.log) == 3


def test_a_list_that_was_given_and_is_refused_then_is_no_empty_one(
    view, endpoint, expected_log, monkeypatch
):
    """`rsync --delete` would erase copies: the last one for a while, then EIO."""
    expected_log("the last listing")
    expected_log("EIO")
    endpoint.add("v")
    files = view(PERSONALITIES["openai"], cache={"listing_ttl_seconds": 0.0})
    assert files.names() == ["v.mp4"]

    endpoint.personality = FewRights()
    assert files.names() == ["v.mp4"]
    show_stale_listings(files.mount.engine, 0.0)

    assert errno_of(files.names) == "EIO"


def test_a_list_that_is_given_after_all_is_shown(view, endpoint, story):
    endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(FewRights(), cache={"listing_ttl_seconds": 0.0})
    assert files.names() == []

    endpoint.personality = PERSONALITIES["openai"]

    assert files.names() == ["v.mp4"]
    withheld, given = story()
    assert "refused (HTTP 403)" in withheld
    assert "gave it" in given


@pytest.mark.parametrize("code", [500, 503, 404, 400])
def test_a_list_that_is_broken_stops_no_mount_and_no_name(
    view, endpoint, expected_log, code
):
    expected_log.allow("EIO")
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(code), math.inf, is_of("list"))
    files = view(PERSONALITIES["openai"])

    warned = files.mount.engine.client.check().warning

    assert bool(warned) is (code >= 500)
    assert errno_of(files.names) == "EIO"
    assert not warned or "ls fails until the list is had" in warned
    check_reads(files, video, sequential(SIZE_BYTES))


def test_a_list_that_is_not_there_is_said_once(view, endpoint, story):
    """In one line: what, and why; so is its return."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(PERSONALITIES["new_api_new"], cache={"listing_ttl_seconds": 0.0})

    assert [files.names() for _ in range(2)] == [[], []]
    (line,) = [line for line in story() if "list" in line]
    assert "without a list" in line
    assert "HTTP 404" in line
    assert "Invalid URL" in line

    endpoint.personality = PERSONALITIES["openai"]
    assert files.names() == ["v.mp4"]
    assert len([line for line in story() if "list" in line]) == 2


@dataclass(frozen=True)
class Whole(Personality):
    """Sends the whole file to whoever asks for a part, as it announces or does not."""

    announces: bool = False

    def serve(self, request, video, site):
        announced = {"Accept-Ranges": "bytes"} if self.announces else {}
        return whole(video).with_headers(announced)


class WholeWithoutHead(Whole):
    head = False


@pytest.mark.parametrize("server", [Whole, WholeWithoutHead])
@pytest.mark.parametrize("announces", [True, False])
def test_ranges_that_are_ignored_are_said_once(
    view, endpoint, story, server, announces
):
    """In one line: what, and why."""
    files = view(server(announces))

    for name in "abc":
        video = endpoint.add(name, size_bytes=SIZE_BYTES)
        check_reads(files, video, [(0, SIZE_BYTES)])

    (line,) = [line for line in story() if "range" in line]
    assert "answered with the whole file" in line


def test_a_row_that_tells_no_state_is_shown(view, endpoint):
    """Its copy would be erased if it were left out; not ready, it is EAGAIN."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.add("w", status="in_progress")
    endpoint.add("x", size_bytes=SIZE_BYTES)
    files = view(Bare())

    assert files.names() == ["v.mp4", "w.mp4", "x.mp4"]
    check_reads(files, video, [(0, SIZE_BYTES)])
    assert errnos(files, "w") == {"EAGAIN"}


def test_a_gateway_that_is_broken_for_a_video_that_is_none_takes_the_token(
    build, endpoint
):
    """LiteLLM answers the status of a missing video with 500."""
    endpoint.personality = FewRights()
    for kind in ("status", "content"):
        endpoint.inject(faults.status(500), math.inf, is_of(kind))

    assert "names that are given work" in build().engine.client.check().warning


def test_a_status_that_is_withheld_hides_no_other_word(view, endpoint, expected_log):
    """The content route still tells not ready, failed and missing apart."""
    expected_log("rendering failed")
    endpoint.add("rendering", status="in_progress")
    endpoint.add("failed", status="failed")
    files = view(replace(FewRights(), withheld=("status",)))

    assert errnos(files, "rendering") == {"EAGAIN"}
    assert errnos(files, "failed") == {"EIO"}
    assert errnos(files, "nobody") == {"ENOENT"}


# --- replicas -----------------------------------------------------------------------------

BALANCERS = {
    "turns-per-connection": lambda: Balancer(turns(2), pinned=True),
    "turns-per-request": lambda: Balancer(turns(2), pinned=False),
    "three-per-request": lambda: Balancer(turns(3), pinned=False),
    "drawn-per-connection": lambda: Balancer(draws(2), pinned=True),
    "drawn-per-request": lambda: Balancer(draws(2), pinned=False),
}
each_balancer = pytest.mark.parametrize("balancer", [*BALANCERS])
each_absence = pytest.mark.parametrize("absent", [*ABSENT])


@each_balancer
@each_absence
def test_what_one_replica_knows_is_read_to_its_end(view, endpoint, balancer, absent):
    """Listed by one of them, looked up, and read by many ranges; then all of it again."""
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    server = Replicas(BALANCERS[balancer](), ABSENT[absent])
    files = view(server, cache={"cache_bytes": 1 << 20, "metadata_ttl_seconds": 0.0})
    assert files.names() == ["v.mp4"]

    for _ in range(3):
        check_reads(files, video, sequential(video.size_bytes, 1 << 20))


@each_balancer
@pytest.mark.parametrize("routes", [("content",), ("status",)])
def test_replicas_that_share_a_part_are_no_trouble(view, endpoint, balancer, routes):
    """The status of all, the content of one; and the other way round."""
    videos = [endpoint.add(f"v{number}", size_bytes=SIZE_BYTES) for number in range(5)]
    files = view(Replicas(BALANCERS[balancer](), routes=routes))

    for video in videos:
        check_reads(files, video, [(0, SIZE_BYTES)])


@pytest.mark.parametrize("absent", [name for name in ABSENT if name != "404-page"])
def test_a_served_video_that_the_status_route_never_knows_is_proved_by_its_content(
    view, endpoint, absent
):
    """Where the route tells of others; the page of a 404 says that there is no route."""
    known = endpoint.add("known", size_bytes=SIZE_BYTES)
    server = StatusKnowsNot(ABSENT[absent], videos=("v", "half"))
    video = endpoint.add("v", data=CLIP)
    endpoint.add("half", data=CLIP[:-100])
    files = view(server, settle_seconds=0.0)

    for each in (known, video):
        check_reads(files, each, sequential(each.size_bytes))
    assert errno_of(partial(files.size_bytes, "half")) == "EAGAIN"


def test_a_video_that_the_status_route_never_knows_is_not_believed_at_first_sight(
    view, endpoint
):
    known = endpoint.add("known", size_bytes=SIZE_BYTES)
    endpoint.add("v", data=CLIP)
    files = view(StatusKnowsNot(), settle_seconds=3600.0)
    check_reads(files, known, [(0, SIZE_BYTES)])

    assert errno_of(partial(files.size_bytes, "v")) == "EAGAIN"


def test_a_video_that_nobody_knows_costs_as_much_as_ever(view, endpoint):
    """One HEAD, one look at the status, one GET: ENOENT stays cheap."""
    files = view(Replicas())

    for video_id in ("nobody", "nothing", "none"):
        assert errno_of(partial(files.size_bytes, video_id)) == "ENOENT"

    asked = sorted((r.kind, r.method) for r in endpoint.log)
    each = [("content", "GET"), ("content", "HEAD"), ("status", "GET")]
    assert asked == sorted(each * 3)


def test_a_video_that_was_served_is_asked_of_four_more_before_it_is_gone(
    view, endpoint
):
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(PERSONALITIES["openai"], cache={"metadata_ttl_seconds": 0.0})
    check_reads(files, video, [(0, SIZE_BYTES)])
    endpoint.remove("v")
    endpoint.reset_log()

    assert errno_of(lambda: files.open("v")) == "ENOENT"

    asked = endpoint.requests_of("content", "GET")
    assert len(asked) == 1 + 4
    fresh = {record.connection_id for record in asked}
    assert len(fresh) == 5
    endpoint.reset_log()
    assert errno_of(lambda: files.open("v")) == "ENOENT"  # and it is cheap again
    assert len(endpoint.log) == 3


@each_absence
def test_a_handle_gets_eio_until_the_status_says_that_the_video_is_gone(
    view, endpoint, expected_log, monkeypatch, absent
):
    """The content is nowhere, the status completed: not ENOENT, which means gone."""
    expected_log("it was served before")
    endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    files = view(PERSONALITIES["openai"], cache={"cache_bytes": 1 << 20})
    remember_failed_reads(files.mount.engine, 0.0)
    remember_failed_transfers(files.mount.engine, 0.0)
    with opened(files, "v") as handle:
        handle.read(0, 10)
        endpoint.wait_until_idle()
        endpoint.reset_log()
        away = faults._instead("absent", lambda: ABSENT[absent])
        endpoint.inject(away, math.inf, is_of("content"))

        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 10)) == "EIO"
        asked = Counter(record.range for record in endpoint.requests_of("content"))
        assert max(asked.values()) == 3 * (1 + 4)

        endpoint.remove("v")
        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 10)) == "ENOENT"


def test_a_handle_gets_eio_where_there_is_no_status_to_say_it(
    view, endpoint, expected_log
):
    expected_log("it was served before")
    endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    page = text_response(404, b"<html>no such route</html>", "text/html")
    endpoint.inject(faults._instead("page", lambda: page), math.inf, is_of("status"))
    files = view(PERSONALITIES["openai"], cache={"cache_bytes": 1 << 20})
    with opened(files, "v") as handle:
        handle.read(0, 10)
        endpoint.wait_until_idle()
        endpoint.remove("v")

        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 10)) == "EIO"


def test_whole_files_of_one_replica_are_read_as_well(view, endpoint):
    """Without ranges: the stream starts at the replica that knows the video."""

    class Whole(Replicas):
        ranges = False

        def serve(self, request, video, site):
            return PERSONALITIES["litellm_new"].serve(request, video, site)

    for balancer in BALANCERS.values():
        video = endpoint.add("v", size_bytes=SIZE_BYTES)

        check_reads(view(Whole(balancer())), video, sequential(SIZE_BYTES))


def test_a_status_route_is_not_given_up_for_one_replica_s_404(view, endpoint, story):
    """The content is in a shared store, the jobs are not."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(Replicas(Balancer(turns(2), pinned=False), routes=("status",)))

    files.size_bytes("v")

    assert not [line for line in story() if "status" in line]
    attributes = files.mount.operations.getattr("/v.mp4", None)
    assert attributes["st_mtime"] == endpoint.videos["v"].completed_at * 10**9


@pytest.mark.parametrize("code", [404, 400])
def test_a_list_goes_on_at_a_replica_that_knows_where_it_was(view, endpoint, code):
    for number in range(150):
        endpoint.add(f"v{number:03}", created_at=CREATED_AT + number)
    unknown = faults.status(code, body=b'{"detail": "No such video"}')
    endpoint.inject(unknown, 3, lambda r: "after" in r.query)

    assert len(view(PERSONALITIES["openai"]).names()) == 150


# --- validators that change while the bytes do not --------------------------------------------

each_shifting = pytest.mark.parametrize("kind", [*SHIFTING])


def mtime_ns(files: Direct, video_id: str) -> int:
    return files.mount.operations.getattr(f"/{video_id}.mp4", None)["st_mtime"]


@each_shifting
def test_shifting_validators_hide_no_byte(view, endpoint, story, kind):
    """Each of four videos, at the first open and at later ones; one mtime for each."""
    videos = [endpoint.add(f"v{number}", size_bytes=SIZE_BYTES) for number in range(4)]
    files = view(SHIFTING[kind](), cache={"metadata_ttl_seconds": 0.0})
    for video in videos:
        settled = mtime_ns(files, video.video_id)
        for _ in range(3):
            check_reads(files, video, sequential(SIZE_BYTES, 100_000))
            check_reads(files, video, [(SIZE_BYTES - 10, 100), (0, 16)])

        assert mtime_ns(files, video.video_id) == settled

    assert len([line for line in story() if "ETag" in line]) <= 1


@pytest.mark.parametrize("kind", ["a-copy-for-each-answer", "two-edges-in-turn"])
def test_a_long_film_with_shifting_validators_is_read(view, endpoint, kind):
    """More than the cache holds, backwards as well."""
    film = endpoint.add("film", size_bytes=20_000_000)
    files = view(SHIFTING[kind](), cache={"cache_bytes": 4 << 20})

    check_reads(files, film, sequential(film.size_bytes, 1 << 20))
    check_reads(files, film, sequential(film.size_bytes, 1 << 20)[::-1])


def test_two_videos_with_equal_bytes_end_the_belief_in_validators(
    view, endpoint, story
):
    """Then each is one whole answer, without samples; said once."""
    videos = [
        endpoint.add(f"v{number}", size_bytes=5 * SIZE_BYTES) for number in range(5)
    ]
    files = view(Shifting())
    for video in videos[:3]:
        check_reads(files, video, sequential(video.size_bytes, 1 << 20))
    (line,) = [line for line in story() if "ETag" in line]
    assert "two videos" in line
    endpoint.reset_log()

    for video in videos[3:]:
        check_reads(files, video, sequential(video.size_bytes, 1 << 20))

    asked = endpoint.requests_of("content", "GET")
    assert [(record.video_id, record.status) for record in asked] == [
        ("v3", 200),
        ("v4", 200),
    ]


def check_one_version(handle, versions: list[Video]) -> None:
    """*handle* reads to its end what one of *versions* has, or fails."""
    size_bytes = versions[0].size_bytes
    read = b""
    with suppress(Refusal):
        for offset in range(0, size_bytes, 1 << 20):
            read += handle.read(offset, 1 << 20)
    assert read in [version.read(0, len(read)) for version in versions]


@each_shifting
@pytest.mark.parametrize("before", [0, 3], ids=["believed", "disbelieved"])
def test_an_overwritten_film_is_read_anew_and_never_mixed(
    view, endpoint, quiet_log, kind, before
):
    """Of equal size, and half of the old one is held. Its handles: ESTALE, or the old.

    Of edges drawn by chance, too many in a row may have another validator.
    """
    quiet_log.allow("ESTALE|EIO")
    files = view(SHIFTING[kind](), cache={"metadata_ttl_seconds": 0.0})
    for number in range(before):
        clip = endpoint.add(f"v{number}", size_bytes=SIZE_BYTES)
        check_reads(files, clip, sequential(SIZE_BYTES))
    film = endpoint.add("film", size_bytes=8 * SIZE_BYTES)
    old = film.snapshot()
    with opened(files, "film") as handle:
        assert handle.read(0, 2 << 20) == old.read(0, 2 << 20)
        endpoint.wait_until_idle()
        film.replace()

        if "edges" in kind:
            with opened(files, "film") as later:
                check_one_version(later, [old, film])
        else:
            check_reads(files, film, sequential(film.size_bytes, 1 << 20))

        check_one_version(handle, [old])


@each_shifting
def test_a_film_overwritten_in_mid_read_is_never_mixed(view, endpoint, quiet_log, kind):
    """By the handle that is open, and no other open meanwhile."""
    quiet_log.allow("ESTALE|EIO")
    files = view(SHIFTING[kind]())
    for number in range(3):
        clip = endpoint.add(f"v{number}", size_bytes=SIZE_BYTES)
        check_reads(files, clip, sequential(SIZE_BYTES))
    film = endpoint.add("film", size_bytes=8 * SIZE_BYTES)
    old = film.snapshot()
    with opened(files, "film") as handle:
        handle.read(0, 1000)
        film.replace()

        check_one_version(handle, [old, film])


class Untold(Personality):
    """No ETag and no Last-Modified; *timeless*: the status tells no time either."""

    def __init__(self, *, timeless: bool = False) -> None:
        self._timeless = timeless

    def serve(self, request, video, site):
        return super().serve(request, video, site).without_headers(*VALIDATORS)

    def describe(self, video):
        times = {"created_at": 0, "completed_at": None} if self._timeless else {}
        return {**super().describe(video), **times}


@pytest.mark.parametrize(
    ("timeless", "held"), [(False, 0), (True, 0), (False, 3 * SIZE_BYTES)]
)
def test_without_any_validator_an_open_compares_bytes_else_the_time(
    view, endpoint, expected_log, timeless, held
):
    """Where nothing is held of its first bytes, the time that the status tells."""
    expected_log("ESTALE")
    video = endpoint.add("v", size_bytes=8 * SIZE_BYTES)
    files = view(Untold(timeless=timeless), cache={"metadata_ttl_seconds": 0.0})
    if held:
        endpoint.inject(faults.status(404), math.inf, lambda r: r.range == (0, 16_384))
    with opened(files, "v") as handle:
        assert handle.read(held, 1000) == video.read(held, held + 1000)
        endpoint.wait_until_idle()
        video.replace()

        check_reads(files, video, sequential(video.size_bytes, 1 << 20))

        assert errno_of(lambda: handle.read(0, 10)) == "ESTALE"


def test_without_any_validator_what_is_the_same_stays(view, endpoint):
    """An open costs the HEAD and one sample, and nothing is read twice."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(Untold(), cache={"metadata_ttl_seconds": 0.0})
    with opened(files, "v") as handle:
        check_reads(files, video, sequential(SIZE_BYTES))
        endpoint.reset_log()

        check_reads(files, video, sequential(SIZE_BYTES))

        assert handle.read(0, 10) == video.read(0, 10)
    asked = [(record.method, record.range) for record in endpoint.log]
    assert asked == [("HEAD", None), ("GET", (0, 16_384))]


def test_one_video_alone_is_read_whole_and_others_by_their_validators(
    view, endpoint, story, expected_log
):
    expected_log("ESTALE")
    odd = endpoint.add("odd", size_bytes=5 * SIZE_BYTES)
    good = endpoint.add("good", size_bytes=5 * SIZE_BYTES)
    files = view(
        Shifting(videos={"odd"}),
        cache={"metadata_ttl_seconds": 0.0, "cache_bytes": 1 << 20},
    )
    for _ in range(2):
        check_reads(files, odd, sequential(odd.size_bytes, 1 << 20))
    assert story() == []
    wholes = [r for r in endpoint.requests_of("content", "GET", "odd") if not r.range]
    assert len(wholes) == 1

    with opened(files, "good") as handle:
        handle.read(0, 10)
        endpoint.wait_until_idle()
        good.replace()
        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 10)) == "ESTALE"
        check_reads(files, good, sequential(good.size_bytes, 1 << 20))


def test_a_download_that_starts_over_is_compared(view, endpoint, expected_log):
    """The one answer breaks off; the next one is of another file: ESTALE, not a mix."""
    expected_log("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    old = video.snapshot()
    wholes = count()

    class Overwritten(Shifting):
        def serve(self, request, video, site):
            if content_get(request) and not request.range and next(wholes) == 1:
                endpoint.videos["v"].replace()
            return super().serve(request, site.find("v"), site)

    def is_whole(request: Request) -> bool:
        return content_get(request) and not request.range

    endpoint.inject(faults.close_at(3 * SIZE_BYTES), where=is_whole)
    files = view(Overwritten())
    with opened(files, "v") as handle:
        assert handle.read(0, 100) == old.read(0, 100)

        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 100)) == "ESTALE"
    check_reads(files, video, sequential(video.size_bytes, 1 << 20))


def test_a_download_that_starts_over_and_agrees_goes_on(view, endpoint):
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    endpoint.inject(
        faults.close_at(3 * SIZE_BYTES),
        where=lambda r: content_get(r) and not r.range,
    )

    check_reads(view(Shifting()), video, sequential(video.size_bytes, 1 << 20))

    assert endpoint.faults_left == 0


def test_what_was_read_before_its_validators_shifted_is_proved(view, endpoint):
    """The first answers were of one copy; then each is of another. The handle goes on."""
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    copies = count(1)
    shifting = threading.Event()
    server = Shifting(lambda _request: next(copies) if shifting.is_set() else 0)
    files = view(server)
    with opened(files, "v") as handle:
        assert handle.read(0, 300_000) == video.read(0, 300_000)
        endpoint.wait_until_idle()
        shifting.set()

        for offset in range(0, video.size_bytes, 1 << 20):
            stop = offset + (1 << 20)
            assert handle.read(offset, 1 << 20) == video.read(offset, stop)


def test_what_was_read_and_is_forgotten_cannot_be_proved(view, endpoint, expected_log):
    """Its blocks have left the cache: ESTALE; the next open reads all of it."""
    expected_log("ESTALE")
    film = endpoint.add("film", size_bytes=20_000_000)
    copies = count(1)
    shifting = threading.Event()
    server = Shifting(lambda _request: next(copies) if shifting.is_set() else 0)
    files = view(server, cache={"cache_bytes": 2 << 20})
    with opened(files, "film") as handle:
        for offset in range(0, 6 << 20, 1 << 20):
            assert handle.read(offset, 1 << 20) == film.read(offset, offset + (1 << 20))
        endpoint.wait_until_idle()
        shifting.set()

        assert errno_of(lambda: handle.read(15_000_000, 100)) == "ESTALE"
    check_reads(files, film, sequential(film.size_bytes, 1 << 20))


def test_replicas_with_other_bytes_are_never_mixed(view, endpoint, quiet_log):
    """One has the new version, of equal size, the next the old one."""
    quiet_log.allow("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    old = video.snapshot()
    video.replace()
    new = video.snapshot()
    turn = turns(2)

    class TwoVersions(Personality):
        def serve(self, request, video, site):
            return ranged(request, (old, new)[turn()])

    files = view(TwoVersions(), cache={"metadata_ttl_seconds": 0.0})
    for _ in range(3):
        with opened(files, "v") as handle:
            check_one_version(handle, [old, new])


def test_an_overwritten_file_behind_a_stale_head_is_never_mixed(
    view, endpoint, quiet_log
):
    """Its head was fetched before it was overwritten; HEAD comes from a cache for ever."""
    quiet_log.allow("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    old = video.snapshot()
    video.replace()
    new = video.snapshot()
    heads = count()

    class StaleHead(Personality):
        def serve(self, request, video, site):
            is_old = request.method == "HEAD" or (
                request.range is not None and request.range[0] == 0 and next(heads) == 0
            )
            return ranged(request, old if is_old else new)

    files = view(StaleHead(), cache={"metadata_ttl_seconds": 0.0})
    for _ in range(3):
        with opened(files, "v") as handle:
            # The tail, fetched ahead, has met the other version, and HEAD was asked.
            endpoint.wait_until(
                lambda: len(endpoint.requests_of("content", "HEAD")) > 1
            )
            endpoint.wait_until_idle()
            check_one_version(handle, [old, new])


def test_a_copy_every_few_answers_is_read_in_the_end(view, endpoint, quiet_log):
    """As slowly as they shift, it looks like an overwritten file, once or twice."""
    quiet_log.allow("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    files = view(Shifting(slowly(7)), cache={"metadata_ttl_seconds": 0.0})

    for _ in range(5):
        try:
            check_reads(files, video, sequential(video.size_bytes, 1 << 20))
        except Refusal:
            continue
        return
    pytest.fail("never read")


def test_an_overwritten_file_is_estale_and_a_new_one_whatever_came_before(
    view, endpoint, expected_log
):
    """A server that shifted for a while, and stands still again: changes are seen."""
    expected_log.allow("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    copies = count(1)
    shifting = threading.Event()
    shifting.set()
    server = Shifting(lambda _request: next(copies) if shifting.is_set() else 0)
    files = view(server, cache={"metadata_ttl_seconds": 0.0})
    check_reads(files, video, sequential(video.size_bytes, 1 << 20))
    shifting.clear()
    check_reads(files, video, [(0, 100)])

    for _ in range(3):
        video.replace()
        check_reads(files, video, sequential(video.size_bytes, 1 << 20))


def test_a_true_change_costs_a_few_samples_more(view, endpoint, expected_log):
    expected_log("ESTALE")
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    files = view(PERSONALITIES["openai"], cache={"cache_bytes": 1 << 20})
    with opened(files, "v") as handle:
        handle.read(0, 10)
        endpoint.wait_until_idle()
        video.replace()
        endpoint.reset_log()

        assert errno_of(lambda: handle.read(4 * SIZE_BYTES, 10)) == "ESTALE"

    samples = [r for r in endpoint.requests_of("content") if r.range == (0, 16_384)]
    assert 1 <= len(samples) <= 2 * MOST_SAMPLES
