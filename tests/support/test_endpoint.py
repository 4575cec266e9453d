"""The fake endpoint is what it says: content, ranges, log, faults, personalities."""

import datetime as dt
import gzip
import itertools
import json
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
import requests

from tests.support import endpoint as faults
from tests.support.certificates import certificate
from tests.support.endpoint import FakeEndpoint, ramp
from tests.support.personalities import MP4_HEAD, PERIOD, PERSONALITIES

SIZE = 3_000_000
Get = Callable[..., requests.Response]


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        endpoint.add("video_a", size_bytes=SIZE)
        yield endpoint
    assert not [t for t in threading.enumerate() if t.name.startswith("endpoint-")]


@pytest.fixture
def session(endpoint: FakeEndpoint) -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.headers["Authorization"] = f"Bearer {endpoint.token}"
        session.headers["Accept-Encoding"] = "identity"
        yield session


@pytest.fixture
def get(endpoint: FakeEndpoint, session: requests.Session) -> Get:
    """Ask for the content of a video, perhaps a range of it."""

    def get(video_id: str = "video_a", asked: str = "", **options) -> requests.Response:
        headers = {"Range": f"bytes={asked}"} if asked else {}
        method = options.pop("method", "GET")
        headers |= options.pop("headers", {})
        url = endpoint.url(video_id)
        return session.request(method, url, headers=headers, timeout=10, **options)

    return get


def error_of(answer: requests.Response) -> str:
    """The text of an error, however this server wraps it."""
    body = answer.json()
    return str(body["detail"] if "detail" in body else body["error"]["message"])


class TestContent:
    def test_begins_as_an_mp4(self):
        assert ramp("video_a", 4, 8) == b"ftyp"
        assert ramp("video_a", 0, len(MP4_HEAD)) == MP4_HEAD

    def test_pieces_join_to_the_whole(self):
        whole = ramp("video_a", 0, 3 * PERIOD)

        cuts = [0, 1, 31, 32, 33, PERIOD - 1, PERIOD + 5, 2 * PERIOD, 3 * PERIOD]
        joined = b"".join(ramp("video_a", a, b) for a, b in itertools.pairwise(cuts))

        assert joined == whole

    @pytest.mark.parametrize("block", [4096, 131_072, 1_048_576])
    def test_no_block_is_like_another(self, block):
        """Neither of another place, nor of another video or version."""
        here = ramp("video_a", block, 2 * block)

        assert here != ramp("video_b", block, 2 * block)
        assert here != ramp("video_a", block, 2 * block, version=1)
        others = (ramp("video_a", n * block, n * block + block) for n in range(2, 40))
        assert all(here != other for other in others)

    def test_bytes_and_files_are_served_as_they_are(self, endpoint, get, tmp_path):
        clip = tmp_path / "clip.mp4"
        clip.write_bytes(b"from a file" * 200_000)
        endpoint.add("bytes", data=b"as given")
        endpoint.add("file", data=clip)

        assert get("bytes").content == b"as given"
        assert get("file", "2-1999999").content == clip.read_bytes()[2:2_000_000]


class TestBestBehaved:
    def test_head_tells_all_but_the_bytes(self, endpoint, get):
        answer = get(method="HEAD", asked="0-9")

        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["Content-Length"] == str(SIZE)
        assert answer.headers["Content-Type"] == "video/mp4"
        assert answer.headers["ETag"] == endpoint.videos["video_a"].etag
        assert answer.headers["Last-Modified"].endswith("GMT")
        assert answer.headers["Accept-Ranges"] == "bytes"

    @pytest.mark.parametrize(
        ("asked", "code", "said"),
        [
            ("0-15", 206, f"bytes 0-15/{SIZE}"),
            ("100-99999999", 206, f"bytes 100-{SIZE - 1}/{SIZE}"),
            ("2999990-", 206, f"bytes 2999990-{SIZE - 1}/{SIZE}"),
            ("-7", 206, f"bytes {SIZE - 7}-{SIZE - 1}/{SIZE}"),
            ("-99999999", 206, f"bytes 0-{SIZE - 1}/{SIZE}"),
            # Past the end, and what it does not understand.
            *((asked, 416, f"bytes */{SIZE}") for asked in (f"{SIZE}-", "-0")),
            (f"{SIZE}-{SIZE + 5}", 416, f"bytes */{SIZE}"),
            *((asked, 200, None) for asked in ("0-1,5-6", "9-3", "x-", "-")),
        ],
    )
    def test_ranges(self, get, asked, code, said):
        answer = get(asked=asked)

        assert (answer.status_code, answer.headers.get("Content-Range")) == (code, said)
        if code == 206:
            start, last = map(int, said[6:].partition("/")[0].split("-"))
            assert answer.content == ramp("video_a", start, last + 1)

    def test_if_range_and_if_none_match(self, endpoint, get):
        etag = endpoint.videos["video_a"].etag

        assert get(asked="0-9", headers={"If-Range": etag}).status_code == 206
        assert get(asked="0-9", headers={"If-Range": '"old"'}).status_code == 200
        assert get(headers={"If-None-Match": etag}).status_code == 304

    def test_a_new_version_differs_in_everything(self, endpoint, get):
        video = endpoint.videos["video_a"]
        before = get(method="HEAD").headers

        video.replace(size_bytes=77_777)

        after = get()
        assert after.content == ramp("video_a", 0, 77_777, version=1)
        assert after.headers["ETag"] != before["ETag"]
        assert after.headers["Last-Modified"] != before["Last-Modified"]

    def test_the_key_is_asked_for(self, endpoint):
        answer = requests.get(endpoint.url("video_a"), timeout=10)

        assert answer.status_code == 401
        assert "key" in error_of(answer)

    def test_an_id_is_one_segment_decoded_once(self, endpoint, get):
        for video_id in ("a/b:c=+d", "100%25", "ü?#"):
            endpoint.add(video_id, size_bytes=5000)
            assert get(video_id).content == ramp(video_id, 0, 5000)
            assert endpoint.log[-1].video_id == video_id

    def test_paths_that_leave_videos_are_other(self, endpoint, get):
        assert get("../../admin").status_code == 404
        assert [record.kind for record in endpoint.log] == ["other"]

    def test_a_post_is_read_and_refused(self, endpoint, session):
        url = endpoint.url("video_a")

        assert session.post(url, data=b"x" * 100_000, timeout=10).status_code == 405
        assert session.get(url, timeout=10).status_code == 200
        assert endpoint.connections_seen == 1

    def test_the_list_pages(self, endpoint, session):
        for number in range(5):
            endpoint.add(f"v{number}", created_at=1_800_000_000 + number)
        url = f"{endpoint.base_url}/v1/videos"

        first = session.get(url, params={"limit": 4}, timeout=10).json()
        rest = {"limit": 4, "after": first["last_id"]}
        second = session.get(url, params=rest, timeout=10).json()

        assert [row["id"] for row in first["data"]] == ["v4", "v3", "v2", "v1"]
        assert [row["id"] for row in second["data"]] == ["v0", "video_a"]
        assert (first["has_more"], second["has_more"]) == (True, False)


class TestLog:
    def test_a_request_is_logged_with_what_became_of_it(self, endpoint, get):
        get(asked="10-109")

        endpoint.wait_until(lambda: endpoint.log[0].finished)
        (record,) = endpoint.requests_of("content", "GET", "video_a")
        assert (record.status, record.range) == (206, (10, 110))
        assert (record.body_bytes, record.served) == (100, (10, 110))
        assert record.headers["authorization"] == "Bearer oh-test-token"

    def test_a_hang_up_is_logged(self, endpoint, get):
        endpoint.add("film", size_bytes=2**40)

        get("film", stream=True).close()

        endpoint.wait_until(lambda: endpoint.log[0].finished)
        assert 0 < endpoint.content_bytes("film") < 2**30

    def test_bytes_served_twice(self, endpoint, get):
        for asked in ("0-15", "0-999", "500-1499", "5000-5999", "0-15", "700-799"):
            get(asked=asked)

        assert endpoint.bytes_served_twice("video_a") == 500 + 100

    def test_connections_are_counted(self, endpoint, get):
        for _ in range(3):
            get(asked="0-9")
        with requests.get(endpoint.url("video_a"), timeout=10):
            assert endpoint.peak_connections == 2
        assert endpoint.connections_seen == 2

        endpoint.reset_log()
        assert (endpoint.log, endpoint.connections_seen) == ([], 0)

    def test_waiting_in_vain_ends(self, endpoint):
        with pytest.raises(TimeoutError):
            endpoint.wait_until(lambda: False, timeout=0.01)


class TestFaults:
    def test_a_refused_connection(self, endpoint, get):
        endpoint.inject(faults.refuse_connection())

        with pytest.raises(requests.ConnectionError):
            get()
        assert (endpoint.log, endpoint.faults_left) == ([], 0)
        assert get().status_code == 200

    @pytest.mark.parametrize(
        "fault",
        [
            faults.reset_at(1000),
            faults.close_at(1000),
            faults.short_content_length(SIZE - 1000),
            faults.short_chunked(SIZE - 1000),
            faults.chunked() + faults.reset_at(1000),
        ],
        ids=lambda fault: fault.name,
    )
    def test_a_body_cut_short(self, endpoint, get, fault):
        endpoint.inject(fault)
        assert get(method="HEAD").status_code == 200  # not one that it suits

        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            get()
        endpoint.wait_until(lambda: endpoint.log[-1].finished)
        assert endpoint.log[-1].fault == fault.name
        assert endpoint.log[-1].served == (0, 1000)
        assert get().content == ramp("video_a", 0, SIZE)

    @pytest.mark.parametrize("fault", [faults.chunked(), faults.until_close()])
    def test_a_length_not_told(self, endpoint, get, fault):
        endpoint.inject(fault, times=2)

        assert "Content-Length" not in get(method="HEAD").headers
        assert get().content == ramp("video_a", 0, SIZE)

    @pytest.mark.parametrize("stall", [faults.stall_at, faults.stall_before_headers])
    def test_a_stall_lasts_until_the_event(self, endpoint, get, stall):
        event = threading.Event()
        at = (500,) if stall is faults.stall_at else ()
        endpoint.inject(stall(*at, event))
        bodies = []
        reader = threading.Thread(target=lambda: bodies.append(get().content))
        reader.start()
        endpoint.wait_until(lambda: bool(endpoint.log))

        assert not bodies
        event.set()
        reader.join()
        assert bodies == [ramp("video_a", 0, SIZE)]

    def test_a_stall_ends_with_the_client_or_the_endpoint(self, endpoint, get):
        endpoint.inject(faults.stall_at(500, threading.Event()), times=math.inf)

        with get(stream=True) as answer:
            assert len(answer.raw.read(500)) == 500
        endpoint.wait_until_idle()

        with get(stream=True) as answer:
            assert len(answer.raw.read(500)) == 500
            endpoint.stop()
        assert [record.served for record in endpoint.log] == [(0, 500)] * 2

    def test_a_drip_is_slow_and_whole(self, endpoint, get):
        endpoint.inject(faults.drip(20_000))

        answer = get(asked="0-1999")

        assert answer.content == ramp("video_a", 0, 2000)
        assert answer.elapsed < dt.timedelta(seconds=1)

    @pytest.mark.parametrize(
        ("fault", "span", "said"),
        [
            (faults.wrong_start(50), (50, 150), f"bytes 50-149/{SIZE}"),
            (faults.more_than_asked(9), (100, 209), f"bytes 100-208/{SIZE}"),
            (faults.wrong_total(), (100, 200), f"bytes 100-199/{SIZE + 1}"),
            (faults.short_of_range(20), (100, 180), f"bytes 100-199/{SIZE}"),
        ],
        ids=lambda value: getattr(value, "name", None),
    )
    def test_a_range_other_than_asked(self, endpoint, get, fault, span, said):
        endpoint.inject(fault)

        answer = get(asked="100-199")

        assert (answer.status_code, answer.headers["Content-Range"]) == (206, said)
        assert answer.content == ramp("video_a", *span)

    def test_statuses(self, endpoint, get):
        date = "Sun, 22 Nov 2026 15:00:00 GMT"
        endpoint.inject(faults.answer_200_to_range())
        endpoint.inject(faults.status_416())
        endpoint.inject(faults.status(429, retry_after=date, body=b""))

        answer = get(asked="100-199")
        assert (answer.status_code, len(answer.content)) == (200, SIZE)
        assert "Content-Range" not in answer.headers
        assert get(asked="0-9").headers["Content-Range"] == f"bytes */{SIZE}"
        limited = get()
        assert (limited.status_code, limited.content) == (429, b"")
        assert limited.headers["Retry-After"] == date

    def test_bodies_in_disguise(self, endpoint, get):
        endpoint.inject(faults.gzip_encoded())
        with get(asked="0-99", stream=True) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert gzip.decompress(answer.raw.read()) == ramp("video_a", 0, 100)

        endpoint.inject(faults.multipart_206())
        answer = get(asked="0-99")
        assert answer.headers["Content-Type"].startswith("multipart/byteranges")
        assert ramp("video_a", 0, 100) in answer.content

        endpoint.inject(faults.json_200())
        answer = get()
        assert answer.headers["Content-Type"] == "video/mp4"
        assert "error" in answer.json()

        endpoint.inject(faults.empty_body())
        assert get(asked="0-99").content == b""

        endpoint.inject(faults.deep_json())
        with pytest.raises(RecursionError):
            json.loads(get().content)

    def test_etags(self, endpoint, get):
        endpoint.inject(faults.wrong_etag())
        endpoint.inject(faults.etag_changes(), times=2)

        etags = [get(asked="0-9").headers["ETag"] for _ in range(4)]

        right = endpoint.videos["video_a"].etag
        assert etags == ['"another"', '"change-1"', '"change-2"', right]

    def test_redirects(self, endpoint, get):
        endpoint.inject(faults.redirect_to(endpoint.url("video_b")))
        assert get().status_code == 404

        endpoint.inject(faults.redirect_loop())
        with pytest.raises(requests.TooManyRedirects):
            get()

    def test_answers_beyond_reason(self, endpoint, get):
        endpoint.inject(faults.huge_content_length())
        with get(stream=True) as answer:
            assert answer.headers["Content-Length"] == str(2**63)

        endpoint.inject(faults.huge_error_page())
        with get(stream=True) as answer:
            assert len(answer.raw.read(5_000_000)) == 5_000_000

        endpoint.inject(faults.header_bomb())
        with pytest.raises(requests.ConnectionError):
            get()

    def test_a_fault_waits_for_the_requests_it_is_meant_for(self, endpoint, get):
        endpoint.add("video_b")
        endpoint.inject(
            faults.status(500), where=lambda request: request.video_id == "video_b"
        )

        assert get("video_a").status_code == 200
        assert get("video_b").status_code == 500
        assert get("video_b").status_code == 200

    def test_chaos_is_the_same_for_the_same_seed(self, endpoint, get):
        rounds = []
        for _ in range(2):
            endpoint.chaos(7, 0.5, [faults.status(500), faults.status(503)])
            rounds.append([get(asked="0-9").status_code for _ in range(20)])
        endpoint.calm()

        assert rounds[0] == rounds[1]
        assert set(rounds[0]) == {206, 500, 503}
        assert get().status_code == 200


class TestStopAndStart:
    def test_a_stopped_endpoint_comes_back_on_the_same_port(self, endpoint, get):
        before = endpoint.base_url
        assert get().status_code == 200

        endpoint.stop()
        with pytest.raises(requests.ConnectionError):
            get()
        endpoint.start()

        assert endpoint.base_url == before
        assert get().status_code == 200

    def test_a_stop_resets_a_body_on_its_way(self, endpoint, get):
        endpoint.add("film", size_bytes=2**40)

        with get("film", stream=True) as answer:
            endpoint.stop()
            with pytest.raises(requests.exceptions.ChunkedEncodingError):
                for _ in answer.iter_content(2**20):
                    pass
        assert endpoint.log[-1].finished

    def test_many_clients_at_once(self, endpoint):
        spans = [(n * 1000, n * 1000 + 5000) for n in range(200)]
        wrong = []

        def read(mine: list[tuple[int, int]]) -> None:
            with requests.Session() as session:
                session.headers["Authorization"] = f"Bearer {endpoint.token}"
                for start, stop in mine:
                    asked = {"Range": f"bytes={start}-{stop - 1}"}
                    answer = session.get(endpoint.url("video_a"), headers=asked)
                    if answer.content != ramp("video_a", start, stop):
                        wrong.append(start)

        readers = [threading.Thread(target=read, args=(spans[n::8],)) for n in range(8)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()

        assert not wrong
        assert len(endpoint.requests_of("content")) == 200
        assert endpoint.peak_connections <= 8

    def test_tls(self, tmp_path):
        files = certificate(tmp_path, "127.0.0.1")
        with FakeEndpoint(tls=files) as endpoint:
            endpoint.add("video_a", size_bytes=SIZE)
            headers = {"Authorization": f"Bearer {endpoint.token}"}
            url = endpoint.url("video_a")

            with suppress(requests.ConnectionError):  # not worth a traceback there
                requests.get(url.replace("https", "http"), timeout=10)
            answer = requests.get(url, headers=headers, verify=files[0], timeout=10)

            assert url.startswith("https://")
            assert answer.content == ramp("video_a", 0, SIZE)


class TestStorage:
    @pytest.fixture
    def signed(self, endpoint, get) -> Callable[[], str]:
        """Make signed URLs of the video."""
        endpoint.personality = PERSONALITIES["aisix_redirect"]

        def signed() -> str:
            answer = get(allow_redirects=False)
            assert answer.status_code == 302
            return str(answer.headers["Location"])

        return signed

    def test_redirects_lead_to_the_bytes(self, endpoint, get, signed):
        assert not signed().startswith(endpoint.base_url)

        answer = get(asked="5-9")

        assert (answer.status_code, answer.content) == (206, ramp("video_a", 5, 10))
        assert [r.server for r in endpoint.log] == ["api", "api", "storage"]
        assert "authorization" not in endpoint.log[-1].headers

    def test_a_storage_takes_neither_head_nor_keys(self, session, signed):
        assert requests.head(signed(), timeout=10).status_code == 403
        assert session.get(signed(), timeout=10).status_code == 400

    def test_urls_expire(self, endpoint, signed):
        stale = signed()
        endpoint.storage.expire()
        assert requests.get(stale, timeout=10).status_code == 403

        endpoint.storage.uses_per_url = 2
        fresh = signed()
        codes = [requests.get(fresh, timeout=10).status_code for _ in range(3)]
        assert codes == [200, 200, 403]


# Personality -> answers to HEAD, a range, not ready, failed, missing.
CODES = {
    "openai": (200, 206, 404, 400, 404),
    "litellm_old": (405, 200, 200, 200, 200),
    "litellm_new": (405, 200, 404, 400, 404),
    "new_api_old": (404, 200, 400, 400, 404),
    "new_api_new": (404, 206, 400, 400, 404),
    "sglang": (405, 206, 404, 404, 404),
    "sglang_partial": (405, 206, 200, 404, 404),
    "vllm_omni": (405, 206, 404, 422, 404),
    "aisix_proxy": (200, 200, 400, 400, 404),
    "aisix_redirect": (403, 206, 400, 400, 404),
    "llmgateway": (200, 206, 409, 409, 404),
    "bifrost": (405, 200, 404, 400, 404),
    "token360": (403, 206, 400, 400, 404),
    "json200_reseller": (200, 200, 200, 400, 404),
    "hingnet_veo": (200, 206, 400, 400, 404),
    "hingnet_sora": (200, 206, 404, 400, 404),
    "hingnet_sora_redirect": (403, 206, 404, 400, 404),
    "rivus": (200, 206, 400, 400, 404),
}


class TestPersonalities:
    @pytest.fixture
    def ids(self, endpoint) -> dict[str, str]:
        statuses = ("completed", "in_progress", "failed")
        for status in statuses:
            endpoint.add(f"{status}:openai", size_bytes=SIZE, status=status)
        return {status: f"{status}:openai" for status in (*statuses, "missing")}

    def test_every_personality_has_its_row(self):
        assert CODES.keys() == PERSONALITIES.keys()

    @pytest.mark.parametrize("name", CODES)
    def test_codes(self, endpoint, get, ids, name):
        endpoint.personality = PERSONALITIES[name]

        codes = (
            get(ids["completed"], method="HEAD", allow_redirects=True).status_code,
            get(ids["completed"], "0-99").status_code,
            get(ids["in_progress"]).status_code,
            get(ids["failed"]).status_code,
            get(ids["missing"]).status_code,
        )

        assert codes == CODES[name]

    @pytest.mark.parametrize("name", PERSONALITIES)
    def test_the_bytes_can_be_had_and_ranges_are_as_declared(
        self, endpoint, get, ids, name
    ):
        endpoint.personality = personality = PERSONALITIES[name]
        video_id = ids["completed"]

        answer = get(video_id, "100-199")
        if answer.headers["Content-Type"] == "application/json":
            url = answer.json()["video_url"]
            answer = requests.get(url, headers={"Range": "bytes=100-199"}, timeout=10)

        span = (100, 200) if personality.ranges else (0, SIZE)
        assert answer.content == ramp(video_id, *span)

    @pytest.mark.parametrize("name", PERSONALITIES)
    def test_the_list_is_as_declared(self, endpoint, session, ids, name):
        endpoint.personality = personality = PERSONALITIES[name]
        url = f"{endpoint.base_url.removesuffix('/v1')}/v1/videos?provider=openai"

        answer = session.get(url, timeout=10)

        assert (answer.status_code == 200) == personality.lists
        if personality.lists:
            assert ids["completed"] in [row["id"] for row in answer.json()["data"]]

    @pytest.mark.parametrize(
        ("name", "status", "text"),
        [
            ("openai", "in_progress", "Video is not ready yet, use GET /v1/videos/{"),
            ("litellm_old", "in_progress", "Video is not ready yet"),
            ("new_api_old", "in_progress", "current status: IN_PROGRESS"),
            ("new_api_new", "failed", "current status: FAILURE"),
            ("sglang", "in_progress", "Generation is still in-progress"),
            ("vllm_omni", "in_progress", "Generation is still in-progress"),
            ("aisix_proxy", "in_progress", "not ready for download (status: in_pro"),
            ("llmgateway", "in_progress", "not ready yet. Current status: in_progress"),
        ],
    )
    def test_what_a_refusal_sounds_like(
        self, endpoint, get, ids, *, name, status, text
    ):
        endpoint.personality = PERSONALITIES[name]

        assert text in error_of(get(ids[status]))

    def test_new_api_hides_its_upstream(self, endpoint, get, ids):
        endpoint.personality = PERSONALITIES["new_api_new"]
        assert get(ids["completed"], f"{SIZE}-").status_code == 502

        endpoint.set_status(ids["completed"], "expired")
        assert "returned status 410" in error_of(get(ids["completed"]))

    def test_sglang_serves_what_is_written_so_far(self, endpoint, get, ids):
        endpoint.personality = PERSONALITIES["sglang_partial"]

        assert get(ids["in_progress"]).content == ramp(ids["in_progress"], 0, SIZE // 2)

    def test_vllm_omni_answers_a_failed_job_with_an_error_code(
        self, endpoint, session, ids
    ):
        endpoint.personality = PERSONALITIES["vllm_omni"]

        url = endpoint.url(ids["failed"]).removesuffix("/content")
        answer = session.get(url, timeout=10)

        assert (answer.status_code, answer.json()["status"]) == (500, "failed")

    def test_bifrost_wants_a_provider_in_the_id(self, endpoint, get):
        endpoint.personality = PERSONALITIES["bifrost"]

        assert get("video_a").status_code == 400

    def test_hingnet_sora_has_its_own_words(self, endpoint, session, ids):
        endpoint.personality = PERSONALITIES["hingnet_sora"]

        page = session.get(f"{endpoint.base_url}/v1/videos", timeout=10).json()

        words = {row["id"]: row["status"] for row in page["data"]}
        assert words[ids["completed"]] == "success"
        assert words[ids["in_progress"]] == "processing"
        assert "has_more" not in page

    def test_rivus_has_v1_in_its_base_url(self, endpoint):
        endpoint.personality = PERSONALITIES["rivus"]

        assert endpoint.base_url.endswith("/v1")
