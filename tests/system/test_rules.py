# ruff: noqa: ARG002 (a method that overrides takes what it need not use)
"""The rules of the survey of real servers, R1 to R24, each end to end.

What a rule means for one answer is a table in test_verdict; how requests are made is
in test_client and test_transport. Here each rule is one test (or a few) of the
operations as a kernel calls them, against a server that needs the rule. R14 is in
test_rangeless, R15, R18 and R19 of content in test_faults, R20 and R22 in
test_promises, R24 in test_catalog and test_mount_names.
"""

import json
import math
from dataclasses import dataclass, replace

import pytest

from hingfs.api.shifting import MOST_SAMPLES, SAMPLE
from hingfs.library.names import name_of
from tests.support import endpoint as faults
from tests.support.memories import excuse_unserved
from tests.support.personalities import (
    CREATED_AT,
    PERSONALITIES,
    Personality,
    Request,
    Response,
    Site,
    Video,
    json_response,
    text_response,
)
from tests.support.reading import errno_of
from tests.support.views import Direct, check_reads, opened, sequential

SIZE_BYTES = 700_001
HTML = b"<!doctype html><html><body>Not here</body></html>"


@pytest.fixture
def view(build, endpoint):
    """The files of a personality, made on demand; nothing is remembered for long."""

    def view(personality: str | Personality = "openai", **options) -> Direct:
        if isinstance(personality, str):
            personality = PERSONALITIES[personality]
        endpoint.personality = personality
        cache = {"negative_ttl_seconds": 0.0, **options.pop("cache", {})}
        return Direct(build(cache, **options))

    return view


def errnos(view: Direct, video_id: str) -> set[str]:
    return {
        errno_of(lambda: view.size_bytes(video_id)),
        errno_of(lambda: view.open(video_id)),
    }


def read_through(view: Direct, video: Video) -> None:
    check_reads(view, video, sequential(video.size_bytes))


def content(method: str | None = None):
    return lambda r: r.kind == "content" and method in {None, r.method}


# --- requests -----------------------------------------------------------------


def test_r1_any_other_prefix_is_kept(view, endpoint, expected_log):
    expected_log("EIO")

    errnos(view(base_url=f"{endpoint.base_url}/openai/v1"), "v")

    assert {r.path.removesuffix("/content") for r in endpoint.log} == {
        "/openai/v1/videos/v"
    }


@pytest.mark.parametrize(
    "video_id",
    ["a:b", "a=b==", "a+b", "a/b", "a b", "100%", "%2F", "dé動", "?x=1#y", "x" * 400],
)
def test_r2_every_byte_of_an_id_that_could_be_misread_is_quoted(
    view, endpoint, video_id
):
    video = endpoint.add(video_id, size_bytes=SIZE_BYTES)

    read_through(view(), video)

    asked = [r for r in endpoint.log if r.kind != "list"]  # for what is named in short
    for record in asked:
        quoted = record.path.removeprefix("/v1/videos/").removesuffix("/content")
        assert record.video_id == video_id
        assert not set(quoted) & set("/:=+?# ")


@pytest.mark.parametrize("personality", [*PERSONALITIES])
def test_r3_one_range_identity_and_nothing_more_is_asked_for(
    view, endpoint, personality
):
    """`?variant=video` is a 404 at SGLang; two ranges are a multipart answer."""
    video = endpoint.add("v:x", size_bytes=SIZE_BYTES)

    read_through(view(personality), video)

    for record in endpoint.log:
        assert record.headers["accept"] == "*/*"
        assert record.headers["accept-encoding"] == "identity"
        assert record.headers.get("range", "").count("-") <= 1
        assert "," not in record.headers.get("range", "")
        assert record.kind == "list" or "variant" not in record.path


@pytest.mark.parametrize("personality", ["token360", "aisix_redirect"])
def test_r4_a_signed_url_that_is_over_is_asked_for_again(view, endpoint, personality):
    """The range goes along, the token does not; 403 of the storage is no refusal."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view(personality)

    with opened(files, "v") as handle:
        for offset, count in sequential(SIZE_BYTES):
            endpoint.storage.expire()
            expected = video.read(offset, offset + count)
            assert handle.read(offset, count) == expected

    storage = [r for r in endpoint.log if r.server == "storage"]
    assert storage
    assert not any("authorization" in r.headers for r in storage)
    assert all("range" in r.headers for r in storage)


@pytest.mark.parametrize("code", [401, 403, 404, 410])
def test_r4_a_storage_host_neither_denies_nor_removes_a_video(
    view, endpoint, expected_log, code
):
    expected_log("EIO")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(code), math.inf, lambda r: r.server == "storage")

    assert errnos(view("token360"), "v") == {"EIO"}


# --- the probe -------------------------------------------------------------------


PAGE_200 = faults._instead("page", lambda: text_response(200, HTML, "text/html"))
JSON_200 = faults._instead("json", lambda: json_response(200, {"error": "x"}))
TINY_200 = faults._instead("tiny", lambda: text_response(200, b"x" * 99, "video/mp4"))


@pytest.mark.parametrize(
    ("fault", "asked"),
    [
        *((faults.status(code), ["a"]) for code in (404, 405, 501)),
        (faults.redirect_to("http://127.0.0.1:1/"), ["a", "b"]),
        *((faults.status(code), ["a", "b"]) for code in (400, 403, 406)),
        *((fault, ["a", "b"]) for fault in (PAGE_200, JSON_200, TINY_200)),
        (faults.chunked(), ["a", "b"]),
        *((faults.status(code), ["a", "b", "c"]) for code in (408, 500, 502, 503)),
    ],
    ids=lambda value: value.name if isinstance(value, faults.Fault) else len(value),
)
def test_r5_a_head_that_proves_nothing_is_followed_by_a_get(
    view, endpoint, *, fault, asked, caplog
):
    """HEAD is given up on what says that there is none, or twice what GET denies.

    Trouble that passes says nothing of HEAD. The log tells it once.
    """
    caplog.set_level("INFO", "hingfs.api.beliefs")
    videos = [endpoint.add(name, size_bytes=SIZE_BYTES) for name in "abc"]
    endpoint.inject(fault, math.inf, content("HEAD"))
    files = view()

    for video in videos:
        read_through(files, video)

    heads = endpoint.requests_of("content", "HEAD")
    assert [r.video_id for r in heads] == asked
    said = [line for line in caplog.messages if "HEAD is not asked" in line]
    assert len(said) == (0 if len(asked) == 3 else 1)


def test_r5_a_404_that_get_confirms_says_nothing_of_head(view, endpoint):
    files = view()
    assert errnos(files, "nobody") == {"ENOENT"}

    read_through(files, endpoint.add("v", size_bytes=SIZE_BYTES))

    assert len(endpoint.requests_of("content", "HEAD", "v")) == 1
    assert len(endpoint.requests_of("content", "GET", "v")) > 0
    assert endpoint.requests_of("content", "GET", "v")[0].range != (0, 16)


def test_r5_a_clip_too_small_to_be_believed_says_nothing_of_head(view, endpoint):
    """HEAD tells the size that GET tells: it is asked about the next ones as well."""
    files = view()
    for name in ("a", "b", "c"):
        assert files.size_bytes(endpoint.add(name, size_bytes=99).video_id) == 99

    read_through(files, endpoint.add("v", size_bytes=SIZE_BYTES))

    assert len(endpoint.requests_of("content", "HEAD")) == 4


def test_r5_a_head_that_never_answers_says_nothing_of_head(view, endpoint):
    endpoint.add("a", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.stall_before_headers(2.0), where=content("HEAD"))
    files = view(metadata_seconds=4.0)
    files.size_bytes("a")

    files.size_bytes(endpoint.add("b", size_bytes=SIZE_BYTES).video_id)

    assert len(endpoint.requests_of("content", "HEAD", "b")) == 1


@pytest.mark.parametrize("personality", ["sglang", "litellm_new", "new_api_old"])
def test_r6_the_get_asks_for_16_bytes_and_is_told_the_size(view, endpoint, personality):
    endpoint.add("v", size_bytes=SIZE_BYTES)

    assert view(personality).size_bytes("v") == SIZE_BYTES

    probe = endpoint.requests_of("content", "GET")[0]
    assert probe.headers["range"] == "bytes=0-15"


@pytest.mark.parametrize(
    ("personality", "size_bytes"),
    [("openai", 0), ("sglang", 0), ("litellm_new", 0), ("openai", SIZE_BYTES)],
)
def test_r6_r9_completed_and_not_served_is_eagain_for_a_minute_and_then_eio(
    view, endpoint, expected_log, personality, size_bytes
):
    """A file without bytes, or a 404. Else a program would wait for EAGAIN for ever."""
    expected_log("for more than a minute: ")
    endpoint.add("v", size_bytes=size_bytes)
    if size_bytes:
        endpoint.inject(faults.status(404), math.inf, content())
    files = view(personality)

    assert errnos(files, "v") == {"EAGAIN"}
    excuse_unserved(files.mount.engine, 0.0)
    assert errnos(files, "v") == {"EIO"}


@pytest.mark.parametrize("body", [b'{"error":{"message":"boo"}}', HTML, b"[]"])
def test_r7_a_message_under_a_video_s_type_is_never_handed_out(
    view, endpoint, expected_log, body
):
    """At the probe, and at the first read after a HEAD that promised a video."""
    expected_log("EIO")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view()
    message = faults.json_200(body.ljust(SIZE_BYTES))
    endpoint.inject(message, math.inf, content("GET"))

    with opened(files, "v") as handle:
        assert errno_of(lambda: handle.read(0, 10)) == "EIO"
        assert errno_of(lambda: handle.read(SIZE_BYTES - 10, 10)) == "EIO"


@pytest.mark.parametrize(
    "body",
    [
        b" " * 20 + b'{"error":{"message":"no credit left"}}',
        b"\n" * 20 + b"<html>no credit left</html>",
        b'\xef\xbb\xbf{"error_description":"no credit left"}',
    ],
)
def test_r7_a_probe_knows_a_message_behind_blanks_or_a_byte_order_mark(
    view, endpoint, expected_log, body
):
    """Its first 16 bytes alone do not tell; it had a size, and failed at the open."""
    expected_log("EIO")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view("sglang")
    endpoint.inject(faults.json_200(body), math.inf, content("GET"))

    assert errno_of(lambda: files.size_bytes("v")) == "EIO"


def test_r7_no_container_s_magic_is_demanded(view, endpoint):
    """Design §3: test data and rare containers exist."""
    video = endpoint.add("v", data=b"\0\1\2not an mp4 at all" * 1000)

    read_through(view(), video)


def test_r8_json_that_names_a_url_leads_to_the_bytes(view, endpoint):
    video = endpoint.add("v", size_bytes=SIZE_BYTES)

    read_through(view("json200_reseller"), video)

    storage = [r for r in endpoint.log if r.server == "storage"]
    assert sum(r.body_bytes for r in storage if r.range != (0, 16)) == SIZE_BYTES
    assert not any("authorization" in r.headers for r in storage)


# --- not ready, failed, missing ---------------------------------------------------


WORDS = {
    "EAGAIN": "queued Pending submitted NOT_START initializing in_progress processing "
    "running generating unknown marinating",
    "EIO": "failed FAILURE error rejected cancelled canceled cancelling",
    "ENOENT": "expired deleted",
}


@pytest.mark.parametrize(
    ("word", "errno"),
    [(word, errno) for errno, words in WORDS.items() for word in words.split()],
)
@pytest.mark.parametrize("code", [202, 400, 404, 409, 410, 422, 423, 425])
def test_r9_the_status_object_decides_whatever_the_code(
    view, endpoint, quiet_log, *, word, errno, code
):
    if word in ("marinating", "unknown"):  # design §3: nobody knows it, so not ready
        quiet_log(f"unknown status word '{word}'")
    if errno == "EIO":
        quiet_log("rendering failed")
    endpoint.add("v", status=word)
    endpoint.inject(faults.status(code), math.inf, content())

    assert errnos(view(), "v") == {errno}


def test_r9_a_failed_job_under_an_error_code_is_failed(view, endpoint, expected_log):
    """vLLM-Omni's status route answers 500 with the video object as body."""
    expected_log("rendering failed")
    endpoint.add("v", status="failed")

    assert errnos(view("vllm_omni"), "v") == {"EIO"}


@pytest.mark.parametrize("seen", ["listed", "unseen"])
def test_r9_completed_and_said_to_have_expired_is_enoent_at_once(view, endpoint, seen):
    """Though the list has it, without a time when it expires."""
    endpoint.add("v", size_bytes=SIZE_BYTES)
    body = b'{"error":{"message":"The video has expired"}}'
    endpoint.inject(faults.status(404, body=body), math.inf, content())
    files = view()
    if seen == "listed":
        assert files.names() == ["v.mp4"]

    assert errnos(files, "v") == {"ENOENT"}


@dataclass(frozen=True)
class Speechless(Personality):
    """No status route: the words of the refusal are all there is."""

    code: int = 400
    message: str = ""
    wrap: str = "error"

    def status(self, request: Request, site: Site) -> Response:
        return text_response(404, HTML, "text/html")

    def content(self, request: Request, site: Site) -> Response:
        if self.wrap == "detail":
            return json_response(self.code, {"detail": self.message})
        if self.wrap == "quoted":
            inner = json.dumps({"error": {"message": self.message}})
            return self.error(self.code, f"litellm.APIError: {inner}")
        return self.error(self.code, self.message)


@pytest.mark.parametrize("wrap", ["error", "detail", "quoted"])
@pytest.mark.parametrize(
    ("code", "message", "errno"),
    [
        (400, "Task is not completed yet, current status: QUEUED", "EAGAIN"),
        (400, "Task is not completed yet, current status: FAILURE", "EIO"),
        (409, "Video is not ready yet. Current status: failed", "EIO"),
        (409, "Video is not ready yet. Current status: expired", "ENOENT"),
        (400, "video generation failed: moderation", "EIO"),
        (404, "Generation is still in-progress", "EAGAIN"),
        (404, "视频未就绪", "EAGAIN"),
        (400, "该视频已过期", "ENOENT"),
        (404, "whatever", "ENOENT"),
        (400, "whatever", "EIO"),  # R11: never EAGAIN, or pollers would wait for ever
        (409, "whatever", "EAGAIN"),
        (425, "whatever", "EAGAIN"),
        (410, "whatever", "ENOENT"),
    ],
)
def test_r10_without_a_status_route_the_words_decide(
    view, endpoint, quiet_log, *, code, message, errno, wrap
):
    if errno == "EIO":
        quiet_log("EIO")

    assert errnos(view(Speechless(code, message, wrap)), "v") == {errno}


def test_r12_a_route_that_is_not_there_is_eio_and_no_missing_video(
    view, endpoint, expected_log
):
    expected_log("no such route")

    assert errnos(view(base_url=f"{endpoint.base_url}/wrong"), "v") == {"EIO"}


def test_r12_a_404_page_is_enoent_and_hints_once_at_the_base_url(
    view, endpoint, expected_log
):
    """Design §3: nginx and http.server say "missing" in HTML."""
    expected_log("check the base URL")
    page = text_response(404, HTML, "text/html")
    endpoint.inject(faults._instead("page", lambda: page), math.inf)
    files = view()

    assert errnos(files, "v") == errnos(files, "w") == {"ENOENT"}
    assert len(expected_log.lines) == 1


def test_r13_a_file_that_is_still_written_is_not_ready(view, endpoint):
    """SGLang serves the half of it, as 200 with a length."""
    video = endpoint.add("v", status="in_progress", size_bytes=SIZE_BYTES)
    files = view("sglang_partial")
    assert errnos(files, "v") == {"EAGAIN"}

    endpoint.set_status("v", "completed")

    read_through(files, video)


# --- reading ---------------------------------------------------------------------


@pytest.mark.parametrize("validated", [True, False], ids=["etag", "last-modified"])
def test_r16_a_change_is_estale_and_the_next_open_is_new(
    view, endpoint, expected_log, validated
):
    """If-Range where there is a strong tag, else size and Last-Modified."""
    expected_log("ESTALE")
    bare = lambda answer, _line: answer.without_headers("ETag")  # noqa: E731
    if not validated:
        untagged = faults.Fault("untagged", bare, faults.video_answer)
        endpoint.inject(untagged, math.inf)
    video = endpoint.add("v", size_bytes=5 * SIZE_BYTES)
    files = view(cache={"metadata_ttl_seconds": 0.0})
    with opened(files, "v") as old:
        old.read(0, 10)
        video.replace()

        assert errno_of(lambda: old.read(4 * SIZE_BYTES, 10)) == "ESTALE"
        read_through(files, video)
        assert errno_of(lambda: old.read(0, 10)) == "ESTALE"

    ranges = [r for r in endpoint.requests_of("content", "GET") if r.range]
    samples = [r for r in ranges if r.range == (SAMPLE.start, SAMPLE.stop)]
    read = [r for r in ranges if r not in samples]
    assert all(("if-range" in r.headers) is validated for r in read)
    assert len(samples) <= 2 * MOST_SAMPLES  # of the two transfers that met it


def test_r17_nothing_past_the_end_is_asked_for(view, endpoint):
    """new-api answers 502 there, LiteLLM the whole file."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view("new_api_new")

    past = [(SIZE_BYTES - 5, 100_000), (SIZE_BYTES, 10), (SIZE_BYTES + 10**6, 10)]
    check_reads(files, video, [*past, *sequential(SIZE_BYTES)])

    asked = [r.range for r in endpoint.requests_of("content", "GET")]
    assert all(found and (found[1] or 0) <= SIZE_BYTES for found in asked)


@pytest.mark.parametrize("personality", ["openai", "new_api_new", "litellm_new"])
def test_r19_an_encoded_message_is_understood(
    view, endpoint, expected_log, personality
):
    """Status, list and refusals; some gateways compress whatever was asked."""
    expected_log("rendering failed")
    endpoint.inject(faults.gzip_message(), math.inf)
    files = view(personality)
    for status in ("completed", "queued", "failed"):
        endpoint.add(f"{status}:x", size_bytes=SIZE_BYTES, status=status)

    assert errnos(files, "completed:x") == {"none"}
    assert errnos(files, "queued:x") == {"EAGAIN"}
    assert errnos(files, "failed:x") == {"EIO"}
    assert errnos(files, "missing:x") == {"ENOENT"}
    assert files.names() == ["completed:x.mp4"]
    assert "gzip_message" in {record.fault for record in endpoint.log}


# --- errors and listing -------------------------------------------------------------


@pytest.mark.parametrize("body", [faults.ERROR, b'{"status": "unauthorized"}'])
@pytest.mark.parametrize("code", [401, 402, 403])
def test_r21_a_refusal_of_the_api_is_eacces(view, endpoint, expected_log, code, body):
    expected_log("the API (refused the token|asks for payment)")
    endpoint.add("v", size_bytes=SIZE_BYTES)
    endpoint.inject(faults.status(code, body=body), math.inf)
    files = view()

    for _ in range(2):
        assert errnos(files, "v") == {"EACCES"}
        assert errno_of(files.names) == "EACCES"
    assert len(expected_log.lines) == 1


@pytest.mark.parametrize("code", [400, 500])
def test_r21_a_token_refused_in_words_is_eacces(view, endpoint, expected_log, code):
    """LiteLLM without a database says 400 no_db_connection; others say 500."""
    expected_log("the API refused the token")
    body = b'{"error":{"message":"No connected db.","type":"no_db_connection"}}'
    endpoint.inject(faults.status(code, body=body), math.inf)

    assert errnos(view(), "v") == {"EACCES"}


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520])
def test_r21_trouble_that_passes_is_invisible(view, endpoint, code):
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view()
    for kind in ("content", "status", "list"):
        retry_after = "0" if code in {429, 503} else None
        endpoint.inject(
            faults.status(code, retry_after), where=lambda r, k=kind: r.kind == k
        )

    read_through(files, video)
    assert files.names() == ["v.mp4"]

    assert endpoint.faults_left == 0


@dataclass(frozen=True)
class Losing(Personality):
    """new-api in front of an upstream that has lost the file: 502 for any refusal."""

    upstream: int = 404
    knows: bool = True

    def serve(self, request: Request, video: Video, site: Site) -> Response:
        return self.error(502, f"Upstream service returned status {self.upstream}")

    def status(self, request: Request, site: Site) -> Response:
        if self.knows:
            return super().status(request, site)
        return json_response(400, {"code": "task_not_exist", "data": None})


@pytest.mark.parametrize(
    ("upstream", "knows", "errno"),
    [
        (410, True, "ENOENT"),  # completed, and its bytes are gone
        (404, True, "EAGAIN"),  # completed, and not served yet
        (404, False, "ENOENT"),  # no such task
        (410, False, "ENOENT"),
    ],
)
def test_r21_a_502_for_an_upstream_s_404_is_judged_by_the_status(
    view, endpoint, *, upstream, knows, errno
):
    endpoint.add("v", size_bytes=SIZE_BYTES)

    assert errnos(view(Losing(upstream, knows)), "v") == {errno}

    asked = endpoint.requests_of("content", "GET")
    assert len(asked) <= 2  # by stat and by open: asking again at once would not help


@dataclass(frozen=True)
class Paging(Personality):
    """A list that says as little as HingNet's, or ignores what it is asked."""

    says_more: bool = False
    ignores_after: bool = False
    total: int | None = None

    def listing(self, request: Request, site: Site) -> Response:
        if self.ignores_after and "after" in request.query:
            plain = replace(request, target="/v1/videos?limit=100")
            return super().listing(plain, site)
        return super().listing(request, site)

    def page(self, videos, *, has_more: bool) -> dict[str, object]:
        page = super().page(videos, has_more=has_more)
        total = {} if self.total is None else {"total": self.total}
        return page if self.says_more else {"data": page["data"], **total}


@pytest.mark.parametrize(
    ("says_more", "videos", "requests"),
    [
        *((True, 0, 1), (True, 99, 1), (True, 100, 1), (True, 250, 3)),
        # Where nothing is said, only an empty page is the end: limits may be lower.
        *((False, 0, 1), (False, 99, 2), (False, 100, 2), (False, 250, 4)),
    ],
)
def test_r23_the_list_is_read_page_by_page(view, endpoint, says_more, videos, requests):
    for number in range(videos):
        endpoint.add(f"v{number:03}", created_at=CREATED_AT + number)
    files = view(Paging(says_more=says_more))

    assert files.names() == [f"v{number:03}.mp4" for number in range(videos)]

    asked = endpoint.requests_of("list")
    assert len(asked) == requests
    assert all("limit=100" in r.path and "order=desc" in r.path for r in asked)


@pytest.mark.parametrize(
    ("videos", "total", "errno"),
    [
        (99, None, "none"),
        (100, None, "EIO"),
        (99, 99, "none"),
        (99, 100, "EIO"),  # where pages are shorter than was asked for
    ],
)
def test_r23_a_list_that_ignores_after_is_whole_only_if_it_is_short(
    view, endpoint, quiet_log, *, videos, total, errno
):
    """A full page that comes again may be one of many."""
    if errno == "EIO":
        quiet_log("cannot be paged")
    for number in range(videos):
        endpoint.add(f"v{number:03}", created_at=CREATED_AT + number)
    files = view(Paging(ignores_after=True, total=total))

    assert errno_of(files.names) == errno
    assert len(endpoint.requests_of("list")) == 2


@pytest.mark.parametrize("code", [400, 404, 405, 501])
def test_r23_without_a_list_what_was_opened_is_listed(view, endpoint, code):
    endpoint.add("v", size_bytes=10)
    endpoint.add("w", size_bytes=10)
    said = b'{"error": {"message": "Invalid URL (GET /v1/videos)"}}'
    endpoint.inject(
        faults.status(code, body=said), math.inf, lambda r: r.kind == "list"
    )
    files = view(cache={"listing_ttl_seconds": 0.0})
    assert files.size_bytes("v") == 10  # a look-up alone opens nothing

    assert files.names() == []
    with opened(files, "w"):
        assert files.names() == ["w.mp4"]


def test_r23_the_id_of_the_list_is_the_name(view, endpoint):
    """LiteLLM's status route tells another."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    files = view("litellm_new")

    assert files.names() == [name_of("v")]
    read_through(files, video)
    assert files.names() == [name_of("v")]
