# ruff: noqa: ARG002 (methods of a fake server get what an override may want)
"""Requests of the API over HTTP: probes, lists, ranges that resume, tries, pauses."""

import contextlib
import json
import math
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from hingfs.api import content_urls
from hingfs.api.client import VideoClient
from hingfs.api.judgement import bodies, video_status
from hingfs.api.judgement.video_status import State, Status
from hingfs.api.pages import PagedList
from hingfs.blocks import ByteRange
from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    BodyCut,
    ContentChanged,
    DeadlineExceeded,
    EndpointError,
    HingError,
    NotAVideo,
    RangesIgnored,
    RateLimited,
    ServerBroken,
    TokenError,
    TransportError,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
)
from hingfs.http import patience
from hingfs.http.answer import Answer
from hingfs.http.turns import LONGEST_PAUSE_SECONDS
from hingfs.library.names import has_name
from hingfs.token import Token
from hingfs.version import Validator
from tests.conftest import Build
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint, ramp
from tests.support.memory import little_memory
from tests.support.odd_servers import OddType
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    RENDER_SECONDS,
    Personality,
    json_response,
    text_response,
)
from tests.support.sources import ENDPOINT
from tests.support.views import Direct, check_reads, pause_of, sequential

SIZE = 300_000
COMPLETED_AT = CREATED_AT + RENDER_SECONDS
COMPLETED = Status(State.READY, "completed", completed_at_seconds=COMPLETED_AT)
# JSON that breaks off.
CUT = replace(faults.close_at(30), suits=faults.any_answer)


def methods(endpoint, kind="content"):
    return [record.method for record in endpoint.requests_of(kind)]


def content_of(endpoint, video_id="v"):
    video = endpoint.videos[video_id]
    return Content(ENDPOINT, video_id, video.size_bytes, Validator(video.etag))


def taken(body, size_bytes: int) -> bytes:
    """The next *size_bytes* of a download."""
    target = bytearray(size_bytes)
    count = body.read_into([target], 0, size_bytes)
    assert count == size_bytes
    return bytes(target)


def all_of(answer: Answer) -> bytes:
    """The rest of an answer."""
    return b"".join(iter(lambda: answer.read_some(50_000), b""))


def download(client: VideoClient, content: Content, span: ByteRange) -> bytes:
    with contextlib.closing(client.source.open_range(content, span)) as body:
        return taken(body, len(span))


def read_all(client: VideoClient, content: Content, step: int) -> bytes:
    """All of *content*, read in pieces of *step* bytes from one body."""
    span = ByteRange(0, content.size_bytes)
    with contextlib.closing(client.source.open_range(content, span)) as body:
        return b"".join(taken(body, step) for _ in range(content.size_bytes // step))


def check_range(client: VideoClient, content: Content, start: int, stop: int) -> None:
    got = download(client, content, ByteRange(start, stop))
    assert got == ramp(content.video_id, start, stop)


def listed(client: VideoClient) -> list[str] | None:
    """The ids of the list; None where there is none."""
    videos = client.metadata.pages.list_videos(has_name)
    return None if videos is None else [video.video_id for video in videos]


Ask = Callable[..., VideoClient]


@pytest.fixture
def ask(build: Build, endpoint) -> Ask:
    """`ask(personality)`: a client of such a server, which has the video "v"."""

    def ask(personality: str | Personality = "openai", **options) -> VideoClient:
        if isinstance(personality, str):
            personality = PERSONALITIES[personality]
        endpoint.personality = personality
        if "v" not in endpoint.videos:
            endpoint.add("v", size_bytes=SIZE)
        return build(**options).engine.client

    return ask


@pytest.fixture
def client(ask: Ask) -> VideoClient:
    return ask()


# --- probe ---------------------------------------------------------------------


class TestProbe:
    def test_head_and_status_tell_everything(self, client, endpoint):
        probe = client.metadata.probe("v")

        assert probe.facts.size_bytes == SIZE
        assert probe.facts.validator.etag == endpoint.videos["v"].etag
        assert probe.status.state is State.READY
        assert probe.status.mtime_seconds == COMPLETED_AT
        assert methods(endpoint) == ["HEAD"]
        assert methods(endpoint, "status") == ["GET"]

    def test_status_is_asked_while_head_has_no_answer_yet(self, client, endpoint):
        let_go = threading.Event()
        endpoint.inject(
            faults.stall_before_headers(let_go), where=lambda r: r.method == "HEAD"
        )

        with ThreadPoolExecutor(1) as threads:
            probed = threads.submit(client.metadata.probe, "v")
            endpoint.wait_until(lambda: bool(endpoint.requests_of("status")))
            let_go.set()

            assert probed.result().facts.size_bytes == SIZE

    def test_a_status_that_was_listed_saves_the_request(self, client, endpoint):
        listed = Status(State.READY, "completed", completed_at_seconds=7.0)

        assert client.metadata.probe("v", listed).status is listed
        assert not endpoint.requests_of("status")

    @pytest.mark.parametrize(
        ("personality", "heads"),
        [("sglang", 1), ("new_api_new", 1), ("litellm_new", 1), ("token360", 2)],
    )
    def test_r5_a_server_without_head_is_asked_by_get_from_then_on(
        self, ask, endpoint, personality, heads
    ):
        """A redirect is no 405: two videos must prove it."""
        client = ask(personality)
        for video_id in "wx":
            endpoint.add(video_id, size_bytes=SIZE)

        sizes = {client.metadata.probe(video_id).facts.size_bytes for video_id in "vwx"}

        assert sizes == {SIZE}
        assert methods(endpoint).count("HEAD") == heads

    def test_r5_a_head_that_fails_with_500_is_no_trouble(self, ask, endpoint):
        @dataclass(frozen=True)
        class BrokenHead(Personality):
            head = False

            def refuse_head(self, request):
                return self.error(500, "oops")

        assert ask(BrokenHead()).metadata.probe("v").facts.size_bytes == SIZE
        assert methods(endpoint) == ["HEAD", "GET"]

    def test_r6_the_probe_reads_16_bytes(self, ask, endpoint):
        facts = ask("sglang").metadata.probe("v").facts

        probe = endpoint.requests_of("content", "GET")[0]
        assert probe.range == (0, 16)
        assert probe.body_bytes == 16
        assert facts.ranges is True

    def test_r6_a_server_that_ignores_ranges_is_known_by_its_200(self, ask):
        client = ask("litellm_new")

        facts = client.metadata.probe("v").facts

        assert (facts.size_bytes, facts.ranges) == (SIZE, False)
        assert not client.metadata.has_begun("v")  # it came at once, with its length

    def test_r6_a_length_nobody_tells_is_unknown(self, ask, endpoint):
        endpoint.inject(faults.chunked(), math.inf)

        assert ask("litellm_new").metadata.probe("v").facts.size_bytes is None

    @pytest.mark.parametrize(
        "fault",
        [faults.empty_body(), faults.empty_body() + faults.chunked()],
        ids=lambda fault: fault.name,
    )
    @pytest.mark.parametrize("personality", ["litellm_new", "sglang", "openai"])
    def test_r6_a_video_without_bytes_is_not_served_yet(
        self, ask, endpoint, personality, fault
    ):
        endpoint.add("v", size_bytes=0)
        endpoint.inject(fault, math.inf)

        with pytest.raises(VideoNotServed):
            ask(personality).metadata.probe("v")

    @pytest.mark.parametrize(
        ("status", "meaning"),
        [
            ("queued", VideoNotReady),
            ("in_progress", VideoNotReady),
            ("failed", VideoFailed),
            ("cancelled", VideoFailed),
            ("missing", VideoNotFound),
        ],
    )
    @pytest.mark.parametrize("personality", [*PERSONALITIES])
    def test_r9_every_server_s_way_of_refusing_is_understood(
        self, ask, endpoint, personality, status, meaning
    ):
        if status != "missing":
            endpoint.add("v:openai", status=status, size_bytes=SIZE)

        with pytest.raises(meaning):
            ask(personality).metadata.probe("v:openai")

    @pytest.mark.parametrize("personality", [*PERSONALITIES])
    def test_every_server_s_video_is_found_with_its_size(
        self, ask, endpoint, personality
    ):
        endpoint.add("v:openai", size_bytes=SIZE)

        probe = ask(personality).metadata.probe("v:openai")

        assert probe.facts.size_bytes == SIZE
        assert probe.status.state is State.READY

    def test_r9_a_failed_job_under_a_500_is_asked_once(self, ask, endpoint):
        endpoint.add("v", status="failed")

        with pytest.raises(VideoFailed):
            ask("vllm_omni").metadata.probe("v")
        assert methods(endpoint, "status") == ["GET"]

    def test_r9_completed_and_not_served_is_told_from_not_ready(self, client, endpoint):
        endpoint.inject(
            faults.status(404), math.inf, where=lambda r: r.kind == "content"
        )

        with pytest.raises(VideoNotServed):
            client.metadata.probe("v")

    def test_a_server_without_a_status_route_is_not_asked_again(self, ask, endpoint):
        @dataclass(frozen=True)
        class NoStatus(Personality):
            def status(self, request, site):
                return text_response(404, b"<html>no such page</html>", "text/html")

        client = ask(NoStatus())
        endpoint.add("w", size_bytes=SIZE)

        states = [client.metadata.probe(video_id).status.state for video_id in "vw"]

        assert states == [State.NO_ROUTE, State.UNSAID]
        assert len(endpoint.requests_of("status")) == 1

    @pytest.mark.parametrize(
        ("personality", "status"),
        [("openai", "completed"), ("sglang_partial", "in_progress")],
    )
    @pytest.mark.parametrize(
        "fault",
        [faults.status(500), faults.status(503), faults.stall_before_headers(1.0)],
        ids=lambda fault: fault.name,
    )
    def test_r13_what_is_served_while_its_status_cannot_be_had_is_not_taken(
        self, ask, endpoint, *, personality, status, fault
    ):
        """The file may be half written, and its time would depend on luck."""
        endpoint.add("v", status=status, size_bytes=SIZE)
        client = ask(personality, metadata_seconds=0.6)
        endpoint.inject(fault, math.inf, where=lambda r: r.kind == "status")

        with pytest.raises(TransportError):
            client.metadata.probe("v")

        endpoint.calm()
        endpoint.set_status("v", "completed")
        assert client.metadata.probe("v").status.mtime_seconds == COMPLETED_AT

    def test_r13_a_status_that_is_cut_is_asked_for_again(self, ask, endpoint):
        """It says of a file that is served that it is still being written."""
        endpoint.add("v", status="in_progress", size_bytes=SIZE)
        client = ask("sglang_partial")
        endpoint.inject(CUT, where=lambda r: r.kind == "status")

        with pytest.raises(VideoNotReady):
            client.metadata.probe("v")
        endpoint.inject(CUT, math.inf, where=lambda r: r.kind == "status")
        with pytest.raises(BodyCut):
            client.metadata.probe("v")

    def test_r10_a_refusal_is_judged_by_its_words_when_the_status_cannot_be_had(
        self, ask, endpoint
    ):
        """LiteLLM 1.100.5 answers the status of a missing video with 500."""
        endpoint.inject(
            faults.status(500), math.inf, where=lambda r: r.kind == "status"
        )

        with pytest.raises(VideoNotFound):
            ask("litellm_old").metadata.probe("nobody")

    @pytest.mark.parametrize(
        "answer",
        [
            faults._instead("page", lambda: text_response(404, b"<html>", "text/html")),
            faults._instead("200", lambda: text_response(200, b"<html>", "text/html")),
            faults.status(404),
            faults.status(405),
            faults.status(501),
        ],
        ids=lambda fault: fault.name,
    )
    def test_r13_a_status_route_that_worked_once_is_there(self, ask, endpoint, answer):
        """One web page in its place is trouble: neither remembered nor believed."""
        client = ask("sglang_partial")
        endpoint.add("w", status="in_progress", size_bytes=SIZE)
        client.metadata.probe("v")
        endpoint.inject(answer, where=lambda r: r.kind == "status")

        # The 404 of one replica does not speak for the others.
        missed = VideoNotReady if answer.name == "status_404" else ServerBroken
        with pytest.raises(missed):
            client.metadata.probe("w")
        with pytest.raises(VideoNotReady):
            client.metadata.probe("w")

    def test_a_word_nobody_knows_is_logged_once(self, client, endpoint, expected_log):
        endpoint.add("w", status="marinating")
        endpoint.set_status("v", "marinating")
        expected_log("unknown status word 'marinating'")

        for video_id in "vwv":
            with pytest.raises(VideoNotReady):
                client.metadata.probe(video_id)

        assert len(expected_log.lines) == 1

    def test_a_404_page_hints_at_the_base_url(self, ask, endpoint, expected_log):
        client = ask(base_url=endpoint.base_url + "/wrong")
        page = text_response(404, b"<!doctype html><html>", "text/html")
        endpoint.inject(faults.Fault("page", lambda _answer, _line: page), math.inf)
        expected_log("check the base URL")

        with pytest.raises(VideoNotFound):
            client.metadata.probe("v")

    def test_r12_no_such_route_is_no_missing_video(self, ask, endpoint):
        with pytest.raises(ServerBroken):
            ask(base_url=endpoint.base_url + "/wrong").metadata.probe("v")

    def test_r2_r3_an_id_is_quoted_whole_and_nothing_is_added(self, ask, endpoint):
        video_id = "a/b:c=+d %2F?#é&"
        endpoint.add(video_id, size_bytes=SIZE)

        ask().metadata.probe(video_id)

        asked = {record.path for record in endpoint.log}
        quoted = "a%2Fb%3Ac%3D%2Bd%20%252F%3F%23%C3%A9%26"
        assert asked == {f"/v1/videos/{quoted}/content", f"/v1/videos/{quoted}"}

    def test_refresh_by_etag_costs_one_request_without_a_body(self, client, endpoint):
        content = content_of(endpoint)

        assert client.metadata.refresh(content) is None

        (asked,) = endpoint.log
        assert (asked.method, asked.status) == ("HEAD", 304)

    def test_refresh_sees_a_new_version(self, client, endpoint):
        content = content_of(endpoint)
        endpoint.videos["v"].replace(size_bytes=SIZE + 1)

        facts = client.metadata.refresh(content)

        assert facts is not None
        assert facts.size_bytes == SIZE + 1
        assert content.validator.contradicts(facts.validator)


# --- list ----------------------------------------------------------------------


def bounded_list(client: VideoClient, **bounds: int) -> PagedList:
    """The list of *client*'s endpoint, with other bounds."""
    metadata, endpoint_check = client.metadata, client._endpoint_check
    return PagedList(metadata._sender, metadata._endpoint, endpoint_check, **bounds)


def serve_pages(endpoint, *pages):
    """Answer list requests with *pages* in turn, the last one for ever."""
    for number, page in enumerate(pages):
        answer = json_response(200, page)
        fault = faults._instead("page", partial(lambda page: page, answer))
        times = 1 if number < len(pages) - 1 else math.inf
        endpoint.inject(fault, times, where=lambda r: r.kind == "list")


def entries(start, stop):
    return [{"id": f"v{n}", "status": "completed"} for n in range(start, stop)]


def in_place(name, code, body, kind="application/json"):
    """A fault named *name*: that answer, whatever was asked for."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return faults._instead(name, lambda: text_response(code, data, kind))


# Of the servers of the survey: gin, axum, FastAPI, nginx, Bifrost.
NO_LIST = [
    in_place("gin", 404, {"error": {"message": "Invalid URL (GET /v1/videos)"}}),
    in_place("axum", 404, b""),
    in_place("fastapi-404", 404, {"detail": "Not Found"}),
    in_place("fastapi-405", 405, {"detail": "Method Not Allowed"}),
    in_place("501", 501, b""),
    in_place("nginx", 404, b"<html><title>404 Not Found</title></html>", "text/html"),
    in_place(
        "bifrost", 400, {"error": {"message": "provider query parameter is required"}}
    ),
]
ROW = {"id": "v"}
# Answers that say nothing of the route, and why they are no listing.
TROUBLE = [
    *(faults.status(code) for code in (400, 404, 405, 418, 501)),
    in_place("locked", 400, {"error": {"message": "database is locked"}}),
    in_place("offline", 404, {"error": {"message": "storage backend offline"}}),
    in_place("page", 404, b"<html>Nothing", "text/html"),
    in_place("challenge", 202, b""),
    in_place("no content", 204, b""),
    in_place("object", 200, {"id": "v", "object": "video"}),
    in_place("more", 200, {"object": "list", "data": None, "has_more": True}),
    in_place("php", 200, {"data": {}}),
    in_place("strange", 200, {"films": [ROW]}),
    in_place("ok", 200, {"status": "ok"}),
]
PAUSES = [
    in_place(f"pause-{code}", code, {"error": {"message": "rate limit exceeded"}})
    for code in (200, 400)
]


def test_a_video_under_a_wrong_type_that_begins_late_is_downloaded_once(
    build, endpoint
):
    """The answer that proved it to be one is the download."""
    endpoint.personality = OddType("text/html", whole=True)
    late = faults.stall_before_headers(1.2)
    endpoint.inject(late, 1, lambda r: (r.kind, r.method) == ("content", "GET"))
    video = endpoint.add("v", size_bytes=1_000_001)
    files = Direct(build(stall_seconds=5.0))

    check_reads(files, video, sequential(video.size_bytes))

    assert len(endpoint.requests_of("content", "GET")) == 1


class TestList:
    @pytest.fixture
    def client(self, build: Build) -> VideoClient:
        return build().engine.client

    def test_r23_all_pages_are_joined(self, client, endpoint):
        for number in range(250):
            endpoint.add(f"v{number}", created_at=CREATED_AT + number)

        assert listed(client) == [f"v{number}" for number in reversed(range(250))]
        queries = [record.path.partition("?")[2] for record in endpoint.log]
        assert queries == [
            "limit=100&order=desc",
            "limit=100&order=desc&after=v150",
            "limit=100&order=desc&after=v50",
        ]

    @pytest.mark.parametrize(
        ("pages", "videos"),
        [
            # Without has_more an empty page is the last, and no short one: servers cap
            # `limit` as they like; here at 20.
            ([(entries(0, 100), None), ([], None)], 100),
            (
                [(entries(n, min(n + 20, 150)), None) for n in range(0, 150, 20)]
                + [([], None)],
                150,
            ),
            ([(entries(0, 99), None)], 99),  # it comes again, so it is all
            ([(entries(0, 20), True), (entries(20, 25), False)], 25),
        ],
        ids=["an empty page", "short pages", "the same page", "has_more"],
    )
    def test_r23_the_end_of_a_list_is_known(self, client, endpoint, pages, videos):
        serve_pages(
            endpoint,
            *(
                {"data": rows} if more is None else {"data": rows, "has_more": more}
                for rows, more in pages
            ),
        )

        assert listed(client) == [f"v{n}" for n in range(videos)]
        assert len(endpoint.log) == max(len(pages), 2)

    @pytest.mark.parametrize(
        "pages",
        [
            # A server that ignores `after`.
            [{"data": entries(0, 100)}],
            [{"data": entries(0, 150)}],
            [{"data": entries(0, 100), "has_more": True}],
            [{"data": entries(0, 20), "has_more": True}],
            [{"data": [], "has_more": True}],
            [{"data": [{"object": "video"}] * 100}],
            # An id that cannot be sent.
            [{"data": [*entries(0, 2), {"id": "lone \ud800"}]}],
            [{"data": [*entries(0, 2), {"id": "x" * 1_000_000}]}],
            # An error behind the first page.
            [{"data": entries(0, 100), "has_more": True}, {"error": {"message": "no"}}],
        ],
        ids=[
            *("full", "more than full", "more", "short, more", "empty, more", "no ids"),
            *("a surrogate", "a long id", "an error"),
        ],
    )
    def test_r23_a_list_that_cannot_be_had_whole_is_an_error(
        self, client, endpoint, pages
    ):
        """A short listing would make `rsync --delete` erase copies."""
        serve_pages(endpoint, *pages)

        with pytest.raises(ServerBroken):
            listed(client)
        # No other page is asked for behind an id that cannot be sent.
        most = 1 if len(pages[0]["data"]) == 3 else 2
        assert len(endpoint.log) <= most

    def test_r23_rows_without_an_id_do_not_end_the_list(self, client, endpoint):
        holes = [*entries(0, 50), {"object": "video"}, None, *entries(50, 60)]
        serve_pages(endpoint, {"data": holes}, {"data": entries(60, 70)}, {"data": []})

        assert listed(client) == [f"v{n}" for n in range(70)]
        assert "after=v59" in endpoint.log[1].path

    def test_r23_ids_that_can_be_no_name_are_counted_and_not_kept(
        self, client, endpoint
    ):
        """Nor do they make a page that holds nothing else look repeated."""
        hostile = [{"id": f"{n}".ljust(5000), "status": "completed"} for n in range(9)]
        serve_pages(
            endpoint,
            {"data": [*entries(0, 2), {"id": "bad\udcff"}, *hostile]},
            {"data": [{"id": f"hidden/../{n}"} for n in range(9)]},
            {"data": entries(2, 4)},
            {"data": []},
        )

        assert listed(client) == ["v0", "v1", "v2", "v3"]

    @pytest.mark.parametrize("answer", NO_LIST, ids=lambda fault: fault.name)
    def test_r23_a_server_that_never_gave_a_list_has_none(
        self, client, endpoint, answer
    ):
        """The list is asked for again all the same: the answer may have been a fault."""
        endpoint.add("v")
        endpoint.inject(answer, 2, where=lambda r: r.kind == "list")

        assert listed(client) is None
        assert listed(client) is None
        assert listed(client) == ["v"]

    @pytest.mark.parametrize("answer", TROUBLE, ids=lambda fault: fault.name)
    def test_r23_what_says_nothing_of_the_route_is_no_empty_list(
        self, client, endpoint, expected_log, answer
    ):
        """An empty listing would make `rsync --delete` erase every copy."""
        expected_log.allow("check the base URL")
        endpoint.add("v")
        endpoint.inject(answer, 2, where=lambda r: r.kind == "list")

        for _ in range(2):
            with pytest.raises(ServerBroken):
                listed(client)
        assert listed(client) == ["v"]

    @pytest.mark.parametrize("answer", PAUSES, ids=lambda fault: fault.name)
    def test_a_list_that_asks_for_a_pause_is_one_that_may_be_had_later(
        self, client, endpoint, expected_log, answer
    ):
        """A program sees EAGAIN; the log says why, once until a list has come."""
        expected_log("no listing for now.*rate limit exceeded")
        endpoint.add("v")
        for _ in range(2):
            endpoint.inject(answer, 2, where=lambda r: r.kind == "list")
            for _ in range(2):
                with pytest.raises(RateLimited):
                    listed(client)
            assert listed(client) == ["v"]

        assert len(expected_log.lines) == 2

    def test_r23_no_content_behind_rows_is_the_end(self, client, endpoint):
        serve_pages(endpoint, {"data": entries(0, 2)})
        end = in_place("end", 204, b"")
        endpoint.inject(end, math.inf, where=lambda r: "after" in r.query)

        assert listed(client) == ["v0", "v1"]

    def test_a_list_that_is_cut_is_asked_for_again_and_is_none_of_no_videos(
        self, client, endpoint
    ):
        endpoint.add("v")
        endpoint.inject(CUT)
        assert listed(client) == ["v"]
        endpoint.inject(CUT, math.inf)

        with pytest.raises(BodyCut):
            listed(client)

    @pytest.mark.parametrize(
        "answer", [*NO_LIST, *TROUBLE], ids=lambda fault: fault.name
    )
    def test_r23_what_gave_a_list_once_is_broken_without_one(
        self, client, endpoint, answer
    ):
        """An empty listing would make `rsync --delete` erase every copy."""
        endpoint.add("v")
        assert listed(client) == ["v"]
        endpoint.inject(answer)

        with pytest.raises(ServerBroken):
            listed(client)
        assert listed(client) == ["v"]

    @pytest.mark.parametrize("code", [404, 500, 418])
    def test_a_later_page_that_is_refused_is_an_error(self, client, endpoint, code):
        endpoint.inject(
            in_place("first", 200, {"data": entries(0, 100), "has_more": True})
        )
        endpoint.inject(faults.status(code), math.inf)

        with pytest.raises(ServerBroken):
            listed(client)

    def test_a_list_that_does_not_end_is_an_error(self, client, endpoint):
        pages = [{"data": entries(n, n + 100), "has_more": True} for n in (0, 100, 200)]
        serve_pages(endpoint, *pages, {"data": entries(300, 400), "has_more": True})

        with pytest.raises(ServerBroken, match="more than 3 pages"):
            bounded_list(client, most_pages=3).list_videos(has_name)

    def test_a_page_beyond_all_size_is_an_error(self, client, endpoint):
        serve_pages(endpoint, {"data": entries(0, 100)})

        with pytest.raises(ServerBroken, match="a page of the list is larger"):
            bounded_list(client, most_page_bytes=1000).list_videos(has_name)

    def test_a_refused_token_is_told(self, ask, expected_log):
        expected_log("refused the token")
        with pytest.raises(AccessDenied):
            listed(ask(token=Token("wrong")))

    def test_r23_the_id_is_the_one_in_the_list(self, ask):
        """LiteLLM's status answers show another id than the one to ask for."""
        client = ask("litellm_new")

        assert listed(client) == ["v"]
        assert client.metadata.probe("v").facts.size_bytes == SIZE


# --- check ---------------------------------------------------------------------


class TestCheck:
    @pytest.mark.parametrize("personality", [*PERSONALITIES])
    def test_a_right_token_passes_everywhere(self, ask, endpoint, personality):
        assert ask(personality).check().warning == ""

        assert len(endpoint.log) == (1 if endpoint.personality.lists else 2)

    @pytest.mark.parametrize("personality", [*PERSONALITIES])
    def test_a_wrong_token_is_refused_everywhere(self, ask, personality):
        with pytest.raises(TokenError) as refused:
            ask(personality, token=Token("oh-wrong-secret")).check()
        assert "oh-wrong-secret" not in str(refused.value)

    def test_a_dead_endpoint_is_told_from_a_wrong_token(self, client, endpoint):
        endpoint.stop()

        with pytest.raises(EndpointError, match="--base-url"):
            client.check()


# --- ranges --------------------------------------------------------------------


class TestRanges:
    def test_a_range_is_one_request_with_if_range(self, client, endpoint):
        check_range(client, content_of(endpoint), 1000, 200_000)

        (asked,) = endpoint.log
        assert asked.range == (1000, 200_000)
        assert asked.headers["if-range"] == endpoint.videos["v"].etag
        assert asked.headers["accept-encoding"] == "identity"

    def test_nothing_is_sent_before_the_first_read(self, client, endpoint):
        client.source.open_range(content_of(endpoint), ByteRange(0, 10)).close()

        assert endpoint.log == []

    def test_reads_in_pieces_are_one_request(self, client, endpoint):
        with contextlib.closing(
            client.source.open_range(content_of(endpoint), ByteRange(0, SIZE))
        ) as body:
            pieces = [taken(body, n) for n in (1, 4095, 65_536, SIZE - 69_632)]

        assert b"".join(pieces) == ramp("v", 0, SIZE)
        assert len(endpoint.log) == 1

    @pytest.mark.parametrize(
        "fault",
        [
            faults.reset_at(100_000),
            faults.close_at(100_000),
            faults.stall_at(100_000, math.inf),
            faults.short_content_length(50_000),
            faults.short_of_range(50_000),
            faults.short_chunked(50_000),
        ],
        ids=lambda fault: fault.name,
    )
    def test_r18_a_body_that_breaks_off_is_resumed(self, client, endpoint, fault):
        endpoint.inject(fault)

        check_range(client, content_of(endpoint), 0, SIZE)
        assert len(endpoint.log) == 2

    def test_r18_after_a_first_cut_nothing_is_sent_twice(self, client, endpoint):
        """A fast read that fails may lose bytes that had arrived, once."""
        endpoint.inject(faults.close_at(50_000), times=5)

        assert read_all(client, content_of(endpoint), 1000) == ramp("v", 0, SIZE)
        assert len(endpoint.log) == 6
        endpoint.wait_until_idle()
        assert endpoint.bytes_served_twice("v") <= 1000

    def test_r18_progress_renews_patience(self, client, endpoint):
        """A body cut more often than there are tries still arrives."""
        times = 3 * patience.READ_TRIES
        endpoint.inject(faults.close_at(10_000), times=times)

        assert read_all(client, content_of(endpoint), 10_000) == ramp("v", 0, SIZE)

    @pytest.mark.parametrize(
        "fault",
        [faults.drip(20), faults.stall_at(1, math.inf)],
        ids=lambda fault: fault.name,
    )
    def test_a_body_that_hardly_comes_is_an_error_after_the_tries(
        self, ask, endpoint, fault
    ):
        """A byte now and then would hold a connection for ever."""
        client = ask(stall_seconds=0.1)
        endpoint.inject(fault, math.inf)

        with pytest.raises(BodyCut):
            download(client, content_of(endpoint), ByteRange(100_000, SIZE))

        assert len(endpoint.log) == patience.READ_TRIES

    def test_the_deadline_ends_the_tries(self, ask, endpoint, monkeypatch):
        client = ask(read_seconds=1.0)
        monkeypatch.setattr(patience, "_FIRST_DELAY_SECONDS", 100.0)
        monkeypatch.setattr(patience, "_LONGEST_DELAY_SECONDS", 100.0)
        endpoint.inject(faults.status(500), math.inf)

        with pytest.raises(DeadlineExceeded):
            download(client, content_of(endpoint), ByteRange(0, 10))
        assert len(endpoint.log) == 1

    def test_a_body_that_comes_too_slowly_goes_on_by_another_connection(
        self, ask, endpoint
    ):
        endpoint.inject(faults.drip(20))

        check_range(ask(stall_seconds=0.2), content_of(endpoint), 0, SIZE)
        assert len(endpoint.log) == 2
        assert endpoint.log[1].range[0] > 0

    def test_a_slow_link_is_waited_for(self, ask, endpoint):
        """Three KiB a second, for a dozen stall time-outs, by one request."""
        endpoint.inject(faults.drip(3 * 1024))

        check_range(ask(stall_seconds=0.15), content_of(endpoint), 0, 5000)
        assert len(endpoint.log) == 1

    def test_no_progress_at_all_is_an_error_after_the_tries(self, client, endpoint):
        endpoint.inject(faults.close_at(0), math.inf)

        with pytest.raises(BodyCut):
            download(client, content_of(endpoint), ByteRange(0, SIZE))
        assert len(endpoint.log) == patience.READ_TRIES

    @pytest.mark.parametrize(
        "fault",
        [
            faults.wrong_start(),
            faults.more_than_asked(),
            faults.wrong_total(),
            faults.multipart_206(),
            faults.json_200(),
            faults.wrong_etag(),
            faults.status_416(),
            faults.status(500),
            faults.status(502),
            faults.refuse_connection(),
            faults.header_bomb(),
            faults.huge_error_page(503),
        ],
        ids=lambda fault: fault.name,
    )
    def test_r15_one_wrong_answer_is_never_seen(self, client, endpoint, fault):
        endpoint.inject(fault)

        check_range(client, content_of(endpoint), 0, 100_000)
        assert endpoint.faults_left == 0

    def test_r15_a_server_that_keeps_to_the_wrong_range_is_broken(
        self, client, endpoint
    ):
        endpoint.inject(faults.wrong_start(), math.inf)

        with pytest.raises(ServerBroken):
            download(client, content_of(endpoint), ByteRange(0, 1000))

    def test_r16_a_new_version_is_a_change_and_no_byte_of_it_is_handed_out(
        self, client, endpoint
    ):
        content = content_of(endpoint)
        endpoint.videos["v"].replace()

        with pytest.raises(ContentChanged):
            download(client, content, ByteRange(0, 1000))

    def test_r16_a_version_that_changes_under_a_read_is_noticed(self, client, endpoint):
        content = content_of(endpoint)
        endpoint.inject(faults.close_at(1000))
        with contextlib.closing(
            client.source.open_range(content, ByteRange(0, SIZE))
        ) as body:
            assert taken(body, 1000) == ramp("v", 0, 1000)
            endpoint.videos["v"].replace()

            with pytest.raises(ContentChanged):
                taken(body, SIZE - 1000)

    def test_r17_another_size_is_a_change(self, client, endpoint):
        content = Content(ENDPOINT, "v", SIZE + 100_000, Validator())

        with pytest.raises(ContentChanged):
            download(client, content, ByteRange(SIZE, SIZE + 10))

    def test_a_200_hands_on_the_open_answer(self, client, endpoint):
        endpoint.inject(faults.answer_200_to_range())

        with contextlib.closing(
            client.source.open_range(content_of(endpoint), ByteRange(1000, 2000))
        ) as body:
            with pytest.raises(RangesIgnored):
                taken(body, 1000)
            answer = body.take_whole()
        assert answer is not None
        assert body.take_whole() is None
        with answer:
            assert all_of(answer) == ramp("v", 0, SIZE)

    @pytest.mark.parametrize(
        "fault", [faults.answer_200_to_range(), faults.gzip_encoded()]
    )
    def test_r14_one_200_from_a_server_of_ranges_is_a_fault(
        self, client, endpoint, fault
    ):
        endpoint.add("big", size_bytes=20_000_000)
        content = content_of(endpoint, "big")
        content.ranges_served()
        endpoint.inject(fault)

        check_range(client, content, 1000, 2000)
        assert len(endpoint.log) == 2
        endpoint.wait_until_idle()
        assert endpoint.content_bytes("big") < 20_000_000  # what nobody wants is cut

    def test_r14_two_200s_in_a_row_are_a_server_without_ranges(self, client, endpoint):
        """After that, announcements of the server prove nothing either."""
        content = content_of(endpoint)
        content.ranges_served()
        endpoint.inject(faults.answer_200_to_range(), 2)

        with pytest.raises(RangesIgnored):
            download(client, content, ByteRange(1000, 2000))

        assert len(endpoint.log) == 2
        assert client.metadata.probe("v").facts.ranges is None

    def test_r7_a_message_with_the_right_type_and_length_is_no_video(
        self, client, endpoint
    ):
        message = b'{"error": {"message": "upstream failed"}}'
        endpoint.add("w", data=message.ljust(5000))
        content = Content(ENDPOINT, "w", 5000, Validator())

        with pytest.raises(NotAVideo):
            download(client, content, ByteRange(0, 5000))

    def test_an_expired_video_is_not_found(self, client, endpoint):
        content = content_of(endpoint)
        endpoint.set_status("v", "expired")

        with pytest.raises((VideoNotFound, VideoFailed)):
            download(client, content, ByteRange(0, 10))

    def test_abort_wakes_a_read_that_waits(self, client, endpoint):
        endpoint.inject(faults.stall_at(1000, math.inf))
        body = client.source.open_range(content_of(endpoint), ByteRange(0, SIZE))
        taken(body, 1000)

        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(taken, body, 1000)
            body.abort()

            with pytest.raises(BodyCut):
                waiting.result()
        body.close()


class TestWhole:
    def test_a_whole_file_is_one_answer(self, client, endpoint):
        with client.source.open_whole(content_of(endpoint), 0) as answer:
            assert all_of(answer) == ramp("v", 0, SIZE)

        (asked,) = endpoint.log
        assert asked.range is None

    def test_a_whole_file_goes_on_at_an_offset(self, client, endpoint):
        with client.source.open_whole(content_of(endpoint), 1000) as answer:
            assert answer.status == 206
            assert all_of(answer) == ramp("v", 1000, SIZE)

    def test_another_version_is_a_change(self, client, endpoint):
        content = content_of(endpoint)
        endpoint.videos["v"].replace()

        with pytest.raises(ContentChanged):
            client.source.open_whole(content, 1000)

    def test_a_refusal_is_judged(self, client, endpoint):
        content = content_of(endpoint)
        endpoint.remove("v")

        with pytest.raises(VideoNotFound):
            client.source.open_whole(content, 0)


# --- servers that begin late ---------------------------------------------------


class TestLate:
    def test_parts_that_begin_late_are_waited_for_once_that_is_known(
        self, ask, endpoint, monkeypatch
    ):
        """Each attempt at a range was given up before its answer could come."""
        client = ask(read_seconds=1.0)
        delivery = client.source._routes.endpoint.delivery
        began = delivery.began
        monkeypatch.setattr(delivery, "began", lambda of, took: began(of, 10 * took))
        endpoint.add("w", size_bytes=SIZE)
        endpoint.inject(
            faults.stall_before_headers(0.7), math.inf, lambda r: r.kind == "content"
        )
        for video_id in ("v", "w"):
            assert client.metadata.probe(video_id).facts.ranges

        content = Content(ENDPOINT, "v", SIZE, Validator(), ranges=True)
        check_range(client, content, 0, 10)
        assert len(endpoint.requests_of("content", "GET")) == 1

    def test_the_answer_that_told_the_size_is_the_download(self, ask, endpoint):
        endpoint.inject(faults.chunked(), math.inf)
        client = ask("litellm_new")
        facts = client.metadata.probe("v").facts
        assert client.metadata.has_begun("v")

        with client.source.open_whole(
            Content(ENDPOINT, "v", -1, facts.validator), 0
        ) as answer:
            assert all_of(answer) == ramp("v", 0, SIZE)

        assert not client.metadata.has_begun("v")
        assert len(endpoint.requests_of("content", "GET")) == 1

    def test_a_begun_answer_is_of_no_version_that_its_validator_contradicts(
        self, ask, endpoint
    ):
        video = endpoint.add("v", size_bytes=SIZE)
        endpoint.inject(faults.chunked(), math.inf)
        client = ask("new_api_old")
        client.metadata.probe("v")
        video.replace()

        content = Content(ENDPOINT, "v", -1, Validator(video.etag))
        with client.source.open_whole(content, 0) as answer:
            assert all_of(answer) == video.read(0, SIZE)


# --- the token, pauses, a dead server ------------------------------------------


class TestToken:
    def test_a_renewed_token_file_is_used_at_a_401(self, ask, endpoint, tmp_path):
        file = token_file(tmp_path, endpoint.token)
        client = ask(token=Token(file=file))
        endpoint.token = "oh-second"
        file.write_text("oh-second\n")

        check_range(client, content_of(endpoint), 0, 1000)
        assert [record.status for record in endpoint.log] == [401, 206]

    @pytest.mark.parametrize(
        "refusal",
        [
            faults.status(401),
            faults.status(402),
            faults.status(403),
            *(faults.status(code, body=b"Invalid API key") for code in (400, 500)),
        ],
        ids=lambda fault: fault.name,
    )
    @pytest.mark.parametrize(
        ("kind", "wish"),
        [
            ("content", lambda client: client.metadata.probe("v", COMPLETED)),
            ("status", lambda client: client.metadata.probe("v")),
            ("list", listed),
        ],
        ids=["content", "status", "list"],
    )
    def test_a_renewed_token_file_is_used_whatever_says_no_to_the_old_one(
        self, ask, endpoint, tmp_path, *, kind, wish, refusal
    ):
        file = token_file(tmp_path, "oh-first")
        client = ask(Lenient(), token=Token(file=file))
        file.write_text(endpoint.token)
        old = "Bearer oh-first"
        endpoint.inject(
            refusal,
            math.inf,
            lambda r: r.kind == kind and r.headers["authorization"] == old,
        )

        assert wish(client)

    def test_r21_the_refusal_of_each_token_is_logged_once(
        self, ask, tmp_path, expected_log
    ):
        expected_log("refused the token")
        file = token_file(tmp_path, "oh-first")
        client = ask(token=Token(file=file))

        for token, lines in [("oh-first", 1), ("oh-first", 1), ("oh-second", 2)]:
            file.write_text(token)
            with pytest.raises(AccessDenied):
                client.metadata.probe("v")
            assert len(expected_log.lines) == lines

    def test_a_token_that_stays_wrong_is_refused_and_never_told(
        self, ask, endpoint, tmp_path, expected_log
    ):
        expected_log("refused the token")
        client = ask(token=Token(file=token_file(tmp_path, "oh-wrong-secret")))

        with pytest.raises(AccessDenied) as denied:
            download(client, content_of(endpoint), ByteRange(0, 1000))

        assert len(endpoint.requests_of("content")) == 1
        assert len(expected_log.lines) == 1
        assert "oh-wrong-secret" not in str(denied.value)
        assert "oh-wrong-secret" not in " ".join(expected_log.lines)


class Lenient(Personality):
    """Serves whatever the token; refusals are a test's."""

    def authorise(self, request, site):
        return None


def token_file(directory: Path, token: str) -> Path:
    file = directory / "token"
    file.touch(mode=0o600)
    file.write_text(token)
    return file


class TestPauses:
    @pytest.mark.parametrize(
        ("bound", "code", "times"),
        [(5.0, 429, 1), (5.0, 503, 1), (0.5, 429, 2), (0.5, 503, 1)],
    )
    def test_r21_a_read_waits_for_a_short_pause_whatever_the_bound_of_names(
        self, ask, endpoint, *, bound, code, times
    ):
        """The time-out of reads is their only bound."""
        client = ask(retry_after_seconds=bound)
        endpoint.inject(faults.status(code, retry_after="1"), times)

        check_range(client, content_of(endpoint), 0, 10)
        assert [record.status for record in endpoint.log] == [code] * times + [206]

    @pytest.mark.parametrize(
        ("code", "headers", "body"),
        [
            (429, {}, b"Please try again in 20s."),
            (429, {}, "请在 20 秒后重试".encode()),
            (429, {}, b'{"retry_after_ms": 20000}'),
            (429, {"Retry-After-Ms": "20000"}, b""),
            (429, {"RateLimit": '"default";r=0;t=20'}, b""),
            (429, {"x-ratelimit-reset-requests": "20s"}, b""),
            (403, {"Retry-After": "20"}, b""),
            (403, {}, b"rateLimitExceeded, retry after 20 seconds"),
            (502, {}, b"Upstream service returned status 429: try again in 20s"),
        ],
        ids=str,
    )
    def test_r21_the_pause_is_understood_however_it_is_named(
        self, build, endpoint, code, headers, body
    ):
        mount = build()
        answer = text_response(code, body, "application/json").with_headers(headers)
        endpoint.inject(faults._instead("limit", lambda: answer), math.inf)

        with pytest.raises(RateLimited):
            listed(mount.engine.client)

        assert pause_of(mount.engine.transport.limit) == pytest.approx(20, abs=2)
        assert len(endpoint.log) == 1

    def test_r21_a_pause_that_comes_instead_of_the_video_is_one(self, build, endpoint):
        """LiteLLM 1.100.5 says 200 video/mp4 of its upstream's 429."""
        endpoint.personality = PERSONALITIES["litellm_old"]
        endpoint.add("v", size_bytes=SIZE)
        mount = build()
        error = {"error": {"message": "Rate limit reached. Please try again in 20s"}}
        endpoint.inject(
            in_place("limit", 200, error, "video/mp4"),
            where=lambda r: r.kind == "content" and r.method == "GET",
        )

        with pytest.raises(RateLimited):
            mount.engine.client.metadata.probe("v")

        assert pause_of(mount.engine.transport.limit) == pytest.approx(20, abs=2)

    @pytest.mark.parametrize(
        ("code", "kind"),
        [(200, "video/mp4"), (200, "application/json"), (400, "application/json")],
    )
    @pytest.mark.parametrize("said", ["Please try again in 0.1s", "Slow down"])
    def test_r21_a_short_pause_instead_of_the_video_is_waited_for(
        self, ask, endpoint, code, kind, said
    ):
        error = {"error": {"message": f"Rate limit reached. {said}"}}
        endpoint.inject(
            in_place("limit", code, error, kind),
            where=lambda r: r.kind == "content" and r.method == "GET",
        )

        probe = ask("litellm_old").metadata.probe("v")

        assert probe.facts.size_bytes == SIZE
        assert endpoint.faults_left == 0

    def test_r21_a_long_pause_is_an_error_and_quiets_everybody(self, client, endpoint):
        endpoint.inject(faults.status(429, retry_after="30"))
        content = content_of(endpoint)  # which is read within 10 s
        with pytest.raises(RateLimited) as limited:
            download(client, content, ByteRange(0, 10))
        assert limited.value.retry_after_seconds == pytest.approx(30, abs=2)

        for request in (
            lambda: download(client, content, ByteRange(0, 10)),
            lambda: client.metadata.probe("v", COMPLETED),
            lambda: listed(client),
        ):
            with pytest.raises(RateLimited):
                request()
        assert len(endpoint.log) == 1

    @pytest.mark.parametrize("retry_after", [None, "0", "soon", "-5"])
    def test_r21_429_without_a_time_is_not_asked_for_ever(
        self, client, endpoint, retry_after
    ):
        endpoint.inject(faults.status(429, retry_after, body=b""), math.inf)

        with pytest.raises(RateLimited):
            client.metadata.probe("v", COMPLETED)
        assert len(endpoint.log) <= 2 * patience.METADATA_TRIES

    def test_r21_a_pause_at_the_check_is_no_reason_not_to_mount(self, client, endpoint):
        endpoint.inject(faults.status(429, retry_after="30"))

        assert "rate-limiting" in client.check().warning

        assert len(endpoint.log) == 1

    def test_r21_no_header_can_end_the_mount(self, build, endpoint):
        mount = build()
        endpoint.inject(faults.status(429, retry_after="999999999"))

        with pytest.raises(RateLimited):
            listed(mount.engine.client)

        assert 0 < pause_of(mount.engine.transport.limit) <= LONGEST_PAUSE_SECONDS


def test_a_dead_endpoint_is_given_up_quickly_after_some_failures(
    client, endpoint, monkeypatch
):
    """Listing a hundred files on a dead server must take seconds: one try each."""
    endpoint.stop()
    waits: list[float] = []  # each wait is a further try
    monkeypatch.setattr(client.source._routes.transport, "wait", waits.append)
    for _ in range(4):
        with pytest.raises(TransportError):
            client.metadata.probe("v", COMPLETED)
    waits.clear()

    with pytest.raises(TransportError):
        client.metadata.probe("v", COMPLETED)

    assert waits == []


# --- redirects -----------------------------------------------------------------


LOGIN = text_response(200, b"<html>Log in", "text/html")


class TestContentUrls:
    @pytest.fixture(autouse=True)
    def redirecting(self, endpoint) -> None:
        endpoint.personality = PERSONALITIES["hingnet_sora_redirect"]
        endpoint.add("v", size_bytes=SIZE)

    @pytest.fixture
    def client(self, build: Build) -> VideoClient:
        return build().engine.client

    @pytest.fixture
    def content(self) -> Content:
        return Content(ENDPOINT, "v", SIZE, Validator())

    def servers(self, endpoint):
        return [record.server for record in endpoint.requests_of("content")]

    def test_r4_the_place_of_a_redirect_is_used_again(self, client, endpoint, content):
        for start in (0, 1000, 2000):
            check_range(client, content, start, start + 1000)

        assert self.servers(endpoint) == ["api", "storage", "storage", "storage"]

    def test_r4_a_place_that_is_over_is_asked_for_once_more(
        self, client, endpoint, content
    ):
        download(client, content, ByteRange(0, 1000))
        endpoint.storage.expire()

        check_range(client, content, 0, 10)
        assert self.servers(endpoint) == ["api", "storage", "storage", "api", "storage"]

    def test_r4_a_place_that_is_over_is_not_tried_again(
        self, client, endpoint, content
    ):
        download(client, content, ByteRange(0, 1000))
        endpoint.storage.expire()
        endpoint.remove("v")
        endpoint.reset_log()

        for _ in range(2):
            with pytest.raises(VideoNotFound):
                download(client, content, ByteRange(0, 10))

        assert self.servers(endpoint).count("storage") == 1
        assert self.servers(endpoint)[0] == "storage"

    @pytest.mark.parametrize(
        "fault",
        [
            *(faults.status(code) for code in (400, 416, 429, 500)),
            faults.status(503, "3600"),
            faults._instead("page", lambda: LOGIN),
            faults.stall_before_headers(math.inf),
            faults.reset_at(0),
            faults.wrong_start(),
        ],
        ids=lambda fault: fault.name,
    )
    def test_r4_after_trouble_at_a_place_the_api_is_asked(
        self, build, endpoint, content, fault
    ):
        client = build(read_seconds=2.0).engine.client
        download(client, content, ByteRange(0, 1000))
        endpoint.reset_log()
        endpoint.inject(fault)

        check_range(client, content, 0, 10)
        assert self.servers(endpoint) == ["storage", "api", "storage"]

    def test_r4_a_place_that_is_dead_is_left_for_the_api(
        self, client, endpoint, content
    ):
        download(client, content, ByteRange(0, 1000))
        endpoint._servers["storage"].stop()
        endpoint.personality = PERSONALITIES["openai"]

        check_range(client, content, 0, 10)
        assert client.metadata.probe("v").facts.size_bytes == SIZE

    @pytest.mark.parametrize(
        "page",
        [
            LOGIN,
            text_response(206, b"<html>Log in", "text/html"),
            text_response(200, b"<html>Log in", "video/mp4"),
            text_response(206, b"<html>Log in", "video/mp4").with_headers(
                {"Content-Range": f"bytes 0-11/{SIZE}"}
            ),
        ],
        ids=["200", "206", "200 as video", "206 as video"],
    )
    @pytest.mark.parametrize("what", ["probe", "range"])
    def test_r4_a_page_that_a_redirect_leads_to_is_no_place(
        self, client, endpoint, content, *, page, what
    ):
        endpoint.inject(
            faults._instead("page", lambda: page), where=lambda r: r.server == "storage"
        )

        with contextlib.suppress(HingError):
            if what == "probe":
                client.metadata.probe("v")
            else:
                download(client, content, ByteRange(0, 1000))
        download(client, content, ByteRange(0, 1000))

        asked = endpoint.requests_of("content", "GET")
        (number,) = [n for n, record in enumerate(asked) if record.fault == "page"]
        assert asked[number + 1].server == "api"

    def test_r4_a_url_is_given_up_after_its_time(self):
        table = content_urls.ContentUrls(url_seconds=0.0)
        table.remember("v", "https://h/v")

        assert table.of("v") is None

    def test_r4_a_storage_host_cannot_deny_or_remove_a_video(
        self, client, endpoint, content
    ):
        endpoint.storage.uses_per_url = 0

        with pytest.raises(HingError) as refused:
            download(client, content, ByteRange(0, 10))

        assert not isinstance(refused.value, AccessDenied | VideoNotFound)

    @pytest.mark.parametrize("code", [429, 503])
    def test_r21_a_pause_that_a_storage_host_asks_for_is_not_the_api_s(
        self, build, endpoint, content, monkeypatch, code
    ):
        """A short pause is kept within the call; other calls do not notice."""
        mount = build(retry_after_seconds=5.0)
        endpoint.inject(faults.status(code, "1"), where=lambda r: r.server == "storage")
        waits: list[float] = []
        monkeypatch.setattr(mount.engine.transport, "wait", waits.append)

        check_range(mount.engine.client, content, 0, 10)

        assert waits == [1.0]
        assert pause_of(mount.engine.transport.limit) == 0
        assert self.servers(endpoint) == ["api", "storage"] * 2

    @pytest.mark.parametrize("code", [429, 503])
    def test_r21_a_long_pause_of_a_storage_host_ends_neither_the_call_nor_the_api(
        self, build, endpoint, content, code
    ):
        mount = build()
        endpoint.inject(
            faults.status(code, "3600"), where=lambda r: r.server == "storage"
        )

        check_range(mount.engine.client, content, 0, 10)

        assert pause_of(mount.engine.transport.limit) == 0
        assert self.servers(endpoint) == ["api", "storage"] * 2

    def test_r4_the_token_stays_with_the_api(self, client, endpoint, content):
        download(client, content, ByteRange(5, 15))

        api, storage = endpoint.requests_of("content")
        assert api.headers["authorization"] == f"Bearer {endpoint.token}"
        assert "authorization" not in storage.headers
        assert storage.range == (5, 15)

    def test_r8_a_url_in_json_is_a_place_too(self, build, endpoint, content):
        endpoint.personality = PERSONALITIES["json200_reseller"]
        endpoint.add("v", size_bytes=SIZE)
        client = build().engine.client

        for _ in range(2):
            check_range(client, content, 0, 10)

        asked = endpoint.requests_of("content")
        assert [record.server for record in asked] == ["api", "storage", "storage"]
        assert "authorization" not in asked[1].headers

    def test_urls_are_bounded_by_their_memory(self):
        """Of 64 KiB each, as a Location may have: 64 MiB for a thousand once."""
        table = content_urls.ContentUrls()
        with little_memory(7_000_000):
            for number in range(1000):
                table.remember(f"v{number}", f"https://h/{number:065536}")
                table.remember_named(f"{number:04096}")

        assert table.of("v999") == f"https://h/{999:065536}"
        assert table.of("v0") is None


def test_ids_that_look_like_paths_stay_inside_the_api(build, endpoint: FakeEndpoint):
    client = build().engine.client

    for video_id in ("..%2F..", "x?y=z", "a\\..\\b", "%2e%2e%2fx", "a/b", "a//b"):
        with pytest.raises(VideoNotFound):
            client.metadata.probe(video_id)

    assert {record.kind for record in endpoint.log} == {"content", "status"}


@pytest.mark.parametrize("judge", ["is_cut_short", "judge_status"])
def test_one_status_is_parsed_at_a_time(build, endpoint, monkeypatch, judge) -> None:
    """Each of eight threads may have one of 1 MiB, which takes 15 MiB as objects."""
    client: VideoClient = build().engine.client
    module = bodies if judge == "is_cut_short" else video_status
    parse = getattr(module, judge)
    two = threading.Barrier(2)
    met = []

    def parsing(*args: object) -> object:
        with contextlib.suppress(threading.BrokenBarrierError):
            two.wait(0.2)
            met.append(args)
        return parse(*args)

    monkeypatch.setattr(module, judge, parsing)
    for number in range(2):
        endpoint.add(f"v{number}", size_bytes=SIZE)
    with ThreadPoolExecutor(2) as threads:
        probes = list(threads.map(client.metadata.probe, ["v0", "v1"]))

    assert [probe.status.state for probe in probes] == [State.READY] * 2
    assert met == []
