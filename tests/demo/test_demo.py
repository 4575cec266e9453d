"""The embedded endpoint of `hingfs demo`, over HTTP, and its packaged clips."""

import hashlib
import logging

import pytest
import requests

from hingfs.demo.endpoint import NOT_READY, DemoEndpoint, span_of

FIRST = "video_demo_moov_first"
LAST = "video_demo_moov_last"
RENDERING = "video_demo_rendering"
FAILED = "video_demo_failed"
NOON = 1_800_000_000.25


class Clock:
    """Unix seconds that move only when told to."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


class Client:
    """Requests to one endpoint, with its token unless told otherwise."""

    def __init__(self, endpoint, session):
        self.endpoint = endpoint
        self.session = session

    def request(self, method, path, **headers):
        headers.setdefault("Authorization", f"Bearer {self.endpoint.token}")
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        url = self.endpoint.base_url + path
        return self.session.request(method, url, headers=named, timeout=10)

    def get(self, path, **headers):
        return self.request("GET", path, **headers)

    def content(self, video_id, **headers):
        return self.get(f"/v1/videos/{video_id}/content", **headers)


@pytest.fixture(scope="module")
def served():
    """One endpoint for all tests, which change nothing of it but its clock."""
    clock = Clock()
    with DemoEndpoint(ready_after_seconds=20.0, clock=clock) as endpoint:
        yield endpoint, clock


@pytest.fixture
def clock(served):
    clock = served[1]
    clock.now = NOON
    return clock


@pytest.fixture
def client(served, clock):
    with requests.Session() as session:
        yield Client(served[0], session)


def boxes(clip):
    """The top-level boxes of an MP4 as (name, size), walked to its very end."""
    found = []
    offset = 0
    while offset < len(clip):
        size, name = int.from_bytes(clip[offset : offset + 4]), clip[offset + 4 :][:4]
        assert size >= 8, "a box of 64-bit or open size: not in a small clip"
        found.append((name.decode("ascii"), size))
        offset += size
    assert offset == len(clip)
    return found


@pytest.mark.parametrize(
    ("video_id", "order"),
    [
        (FIRST, ["moov", "mdat"]),
        (LAST, ["mdat", "moov"]),
        (RENDERING, ["moov", "mdat"]),
    ],
)
def test_the_clips_are_mp4_with_moov_where_their_names_say(client, video_id, order):
    """Players treat the two layouts differently, so the demo has both."""
    clip = client.endpoint.clips[video_id]

    names = [name for name, _ in boxes(clip)]

    assert names[0] == "ftyp"
    assert [name for name in names if name in {"moov", "mdat"}] == order
    assert b"avc1" in clip
    assert b"mp4a" in clip


def test_the_clips_are_small_and_differ(client):
    """A package should not grow for its demo, nor one clip pass for another."""
    clips = client.endpoint.clips

    assert sum(map(len, clips.values())) < 2_000_000
    assert len({hashlib.sha256(clip).digest() for clip in clips.values()}) == 3


def test_a_whole_clip_is_served_byte_for_byte(client):
    """Content has its exact length, a strong ETag, a date and its type."""
    answer = client.content(LAST)

    assert answer.status_code == 200
    assert answer.content == client.endpoint.clips[LAST]
    assert answer.headers["Content-Type"] == "video/mp4"
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["ETag"].startswith('"')
    assert answer.headers["Last-Modified"].endswith("GMT")


def test_head_answers_as_get_without_the_body(client):
    """HEAD gives the headers of the whole, and the connection goes on after it."""
    get = client.content(FIRST)
    head = client.request("HEAD", f"/v1/videos/{FIRST}/content", Range="bytes=0-9")

    assert head.status_code == 200
    assert head.content == b""
    same = ("Content-Length", "ETag", "Last-Modified", "Content-Type")
    assert [head.headers[name] for name in same] == [get.headers[name] for name in same]
    assert client.content(FIRST).content == get.content


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=1000-1999", 1000, 2000),
        ("bytes=4096-", 4096, None),
        ("bytes=-100", -100, None),
        ("bytes=10-99999999999", 10, None),
        ("bytes=-99999999999", 0, None),
    ],
)
def test_a_range_is_answered_with_206_and_exactly_its_bytes(client, asked, start, stop):
    """Prefix, middle, open, suffix and clamped ranges."""
    clip = client.endpoint.clips[FIRST]

    answer = client.content(FIRST, Range=asked)

    wanted = clip[start:stop]
    first = clip.index(wanted) if start < 0 else start
    assert answer.status_code == 206
    assert answer.content == wanted
    shown = f"bytes {first}-{first + len(wanted) - 1}/{len(clip)}"
    assert answer.headers["Content-Range"] == shown


@pytest.mark.parametrize(
    "asked", ["bytes=99999999-", "bytes=99999999-99999999", "bytes=-0"]
)
def test_a_range_outside_the_clip_is_416_with_the_size(client, asked):
    """A client learns the size from the refusal."""
    answer = client.content(FIRST, Range=asked)

    assert answer.status_code == 416
    size_bytes = len(client.endpoint.clips[FIRST])
    assert answer.headers["Content-Range"] == f"bytes */{size_bytes}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-2", "bytes=-", "bytes=a-b", "items=0-1", "bytes=0-1,5-6"]
)
def test_a_range_without_sense_is_ignored(client, asked):
    """As RFC 9110 has it: the whole clip."""
    answer = client.content(FIRST, Range=asked)

    assert answer.status_code == 200
    assert answer.content == client.endpoint.clips[FIRST]


def test_a_range_never_leaves_the_body():
    """Spans of a small body, compared with the positions a range names."""
    for first in range(7):
        for last in range(first, 9):
            span = span_of(f"bytes={first}-{last}", 5)
            assert span is not None
            assert list(range(*span)) == [n for n in range(5) if first <= n <= last]


def test_if_range_keeps_the_range_only_for_the_same_version(client):
    """Another version is sent whole, so that two are never mixed."""
    shown = client.content(FIRST, Range="bytes=0-0").headers
    asked = {"Range": "bytes=0-9"}

    same_etag = client.content(FIRST, If_Range=shown["ETag"], **asked)
    same_date = client.content(FIRST, If_Range=shown["Last-Modified"], **asked)
    other = client.content(FIRST, If_Range='"another"', **asked)

    assert (same_etag.status_code, same_date.status_code) == (206, 206)
    assert other.status_code == 200
    assert other.content == client.endpoint.clips[FIRST]


def test_an_unchanged_video_is_304(client):
    """A conditional request costs no body."""
    etag = client.content(FIRST, Range="bytes=0-0").headers["ETag"]

    answer = client.request("HEAD", f"/v1/videos/{FIRST}/content", If_None_Match=etag)

    assert answer.status_code == 304
    assert client.content(FIRST, If_None_Match='"another"').status_code == 200


@pytest.mark.parametrize(
    "sent", ["", "Bearer", "Bearer wrong", "Basic {}", "{}", "Bearer é"]
)
@pytest.mark.parametrize(
    "path", ["/v1/videos", f"/v1/videos/{FIRST}", f"/v1/videos/{FIRST}/content", "/"]
)
def test_nothing_is_told_without_the_token(client, sent, path):
    """Every route wants ``Bearer`` and this run's token."""
    header = sent.format(client.endpoint.token).encode("latin-1")

    answer = client.get(path, Authorization=header)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_every_endpoint_has_a_token_of_its_own(client):
    """A token is good for one run only."""
    with DemoEndpoint() as other:
        assert other.token != client.endpoint.token
        assert len(other.token) > 20


def test_the_token_is_never_logged(client, caplog):
    """Requests are logged at DEBUG, headers are not."""
    caplog.set_level(logging.DEBUG)

    client.content(FIRST, Range="bytes=0-9")
    client.get("/nowhere")

    assert f"/v1/videos/{FIRST}/content" in caplog.text
    assert client.endpoint.token not in caplog.text
    ours = [
        record for record in caplog.records if record.name == "hingfs.demo.endpoint"
    ]
    assert {record.levelno for record in ours} == {logging.DEBUG}


def test_the_rendering_video_is_queued_then_in_progress_then_ready(client, clock):
    """Its status, its progress and its content follow the clock."""
    seen = []
    for seconds in (0, 1, 5, 19.75, 20, 3600):
        clock.now = NOON + seconds
        video = client.get(f"/v1/videos/{RENDERING}").json()
        code = client.content(RENDERING).status_code
        seen.append((video["status"], video["progress"], code))

    assert [(status, code) for status, _, code in seen] == [
        ("queued", 404),
        ("queued", 404),
        ("in_progress", 404),
        ("in_progress", 404),
        ("completed", 200),
        ("completed", 200),
    ]
    progress = [percent for _, percent, _ in seen]
    assert progress == sorted(progress)
    assert progress[-1] == 100


def test_not_ready_is_a_404_that_says_so(client, clock):
    """As OpenAI answers, and then the clip."""
    early = client.content(RENDERING)
    ready_early = client.endpoint.ready_ids()
    clock.now += 20
    late = client.content(RENDERING)

    assert early.status_code == 404
    assert early.json()["error"]["message"] == NOT_READY
    assert ready_early == [FIRST, LAST]
    assert late.content == client.endpoint.clips[RENDERING]
    assert client.endpoint.ready_ids() == [FIRST, LAST, RENDERING]


def test_a_failed_video_says_why_and_has_no_content(client):
    """The status route is the judge of a 404."""
    video = client.get(f"/v1/videos/{FAILED}").json()

    assert video["status"] == "failed"
    assert video["error"]["code"] == "moderation_blocked"
    assert video["error"]["message"]
    assert client.content(FAILED).status_code == 404
    assert FAILED not in client.endpoint.clips


def test_a_ready_video_tells_when_it_was_completed(client):
    """Times are Unix seconds, whole, and agree with Last-Modified."""
    video = client.get(f"/v1/videos/{FIRST}").json()

    assert video["id"] == FIRST
    assert video["object"] == "video"
    assert video["status"] == "completed"
    assert video["created_at"] < video["completed_at"] < NOON
    assert video["expires_at"] is None
    assert video["error"] is None


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "path",
    ["/v1/videos/video_other", "/v1/videos/video_other/content", "/", "/v2/videos"],
)
def test_what_is_not_there_is_404(client, method, path):
    """Unknown videos and unknown routes."""
    assert client.request(method, path).status_code == 404


def test_the_list_has_every_video_newest_first(client):
    """Also those that can not be read: the mount decides what to show."""
    page = client.get("/v1/videos").json()

    assert page["object"] == "list"
    ids = [video["id"] for video in page["data"]]
    assert ids == [RENDERING, FAILED, LAST, FIRST]
    assert (page["first_id"], page["last_id"]) == (RENDERING, FIRST)
    assert page["has_more"] is False


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 100])
def test_pages_followed_by_after_give_each_video_once(client, limit):
    """In both orders."""
    for order, expected in [("asc", [FIRST, LAST, FAILED, RENDERING]), ("desc", None)]:
        path, ids, more = f"/v1/videos?limit={limit}&order={order}", [], True
        after = ""
        while more:
            page = client.get(path + after).json()
            ids += [video["id"] for video in page["data"]]
            after, more = f"&after={page['last_id']}", page["has_more"]
        assert ids == (expected or [RENDERING, FAILED, LAST, FIRST])


@pytest.mark.parametrize(
    "query", ["limit=101", "limit=-1", "limit=x", "order=up", "after=nope"]
)
def test_a_wrong_query_is_400(client, query):
    """In OpenAI's error shape."""
    answer = client.get(f"/v1/videos?{query}")

    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"


def test_an_empty_page_has_no_ids(client):
    """``limit=0`` is allowed and gives nothing."""
    page = client.get("/v1/videos?limit=0").json()

    assert page["data"] == []
    assert (page["first_id"], page["last_id"], page["has_more"]) == (None, None, True)


def test_one_connection_serves_many_requests(client):
    """Keep-alive, over errors and empty bodies too."""
    connections = set()
    for video_id in (FIRST, FAILED, "other", LAST):
        url = f"{client.endpoint.base_url}/v1/videos/{video_id}/content"
        headers = {"Authorization": f"Bearer {client.endpoint.token}"}
        with client.session.get(
            url, headers=headers, stream=True, timeout=10
        ) as answer:
            connection = answer.raw.connection
            connections.add(connection.sock.getsockname() if connection else None)
            answer.raw.read()

    assert None not in connections
    assert len(connections) == 1


def test_a_client_that_goes_away_leaves_no_trace(client, capfd):
    """Half-read bodies are what readers do; nothing is printed for them."""
    for _ in range(3):
        with requests.get(
            f"{client.endpoint.base_url}/v1/videos/{LAST}/content",
            headers={"Authorization": f"Bearer {client.endpoint.token}"},
            stream=True,
            timeout=10,
        ) as answer:
            answer.raw.read(10)

    assert client.content(FIRST).status_code == 200
    assert capfd.readouterr() == ("", "")


def test_a_closed_endpoint_accepts_nobody(clock):
    """``close`` ends it, twice too, and also where it was never started."""
    DemoEndpoint(clock=clock).close()
    endpoint = DemoEndpoint(clock=clock)
    endpoint.start()
    endpoint.close()
    endpoint.close()

    with pytest.raises(requests.ConnectionError):
        requests.get(f"{endpoint.base_url}/v1/videos", timeout=5)
