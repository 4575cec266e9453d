"""What answers mean: the rules of the survey of real servers, as tables.

A test named `test_r9_…` holds rule R9. Rules about requests, redirects and pools of
connections (R1 to R4, R14, R22) are held where those live.
"""

import contextlib
import itertools
import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs import blocks
from hingfs.api.judgement import (
    bodies,
    denials,
    listing,
    refusals,
    results,
    sniffing,
    verdict,
    video_status,
    wording,
)
from hingfs.api.judgement.listing import ListPage
from hingfs.api.judgement.video_status import UNSAID, State, Status
from hingfs.blocks import ByteRange
from hingfs.content import Content
from hingfs.errors import (
    AccessDenied,
    ContentChanged,
    HingError,
    NotAVideo,
    RangesIgnored,
    RateLimited,
    ServerBroken,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
)
from hingfs.version import Validator
from tests.support.personalities import MP4_HEAD
from tests.support.sources import ENDPOINT

NOW = 1_790_000_000.0
T = 1_790_000_000
SIZE = 1_000_000
MP4 = {"Content-Type": "video/mp4"}
JSON = {"Content-Type": "application/json"}
HTML = {"Content-Type": "text/html; charset=utf-8"}
PAGE = b"<!DOCTYPE html><html><body>hello</body></html>"


def sized(**more):
    return {**MP4, "Content-Length": str(SIZE), **more}


def ranged(span, total=SIZE, **more):
    length = span[1] - span[0]
    return {
        **MP4,
        "Content-Length": str(length),
        "Content-Range": f"bytes {span[0]}-{span[1] - 1}/{total}",
        **more,
    }


def error(message, **more):
    return json.dumps({"error": {"message": message, **more}}).encode()


def detail(message):
    return json.dumps({"detail": message}).encode()


def status(word, **more):
    return json.dumps({"id": "v", "object": "video", "status": word, **more}).encode()


def judged(document, code=200):
    """The status of v that *document*, bytes or JSON to be, tells under *code*."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return video_status.judge_status(code, JSON, body, "v", NOW)


def listed(page):
    """The page of a list that *page*, bytes or JSON to be, is."""
    body = page if isinstance(page, bytes) else json.dumps(page).encode()
    return listing.judge_list(body, NOW)


def content(size_bytes=SIZE, etag=None, **more):
    return Content(ENDPOINT, "v", size_bytes, Validator(etag), **more)


def kind_of(code, body, known=UNSAID):
    return type(refusals.refusal(code, {}, body, known))


# --- the probe -----------------------------------------------------------------


@pytest.mark.parametrize(
    "kind", ["video/mp4", "video/webm; codecs=vp9", "application/octet-stream"]
)
def test_r5_a_head_that_describes_a_clip_is_believed(kind):
    headers = sized(**{"Content-Type": kind, "ETag": '"a"', "Last-Modified": "then"})

    facts = verdict.judge_head(200, headers)

    assert facts is not None
    assert facts.size_bytes == SIZE
    assert facts.validator == Validator('"a"', "then")
    assert facts.last_modified == "then"


@pytest.mark.parametrize(
    ("code", "headers"),
    [
        (405, sized()),
        (404, sized()),
        (403, sized()),
        (400, sized()),
        (302, sized(Location="https://elsewhere/")),
        (206, sized()),
        (500, sized()),
        (200, MP4),
        (200, {**MP4, "Content-Length": "4095"}),
        (200, {**MP4, "Content-Length": "1e6"}),
        (200, {**MP4, "Content-Length": "-1000000"}),
        (200, {**MP4, "Content-Length": "1000000000000000000000"}),
        (200, {**MP4, "Content-Length": str(2**60)}),
        (200, {**HTML, "Content-Length": "10000"}),
        (200, {**JSON, "Content-Length": "10000"}),
        (200, sized(**{"Content-Encoding": "gzip"})),
    ],
)
def test_r5_a_head_that_describes_anything_else_proves_nothing(code, headers):
    assert verdict.judge_head(code, headers) is None


@pytest.mark.parametrize(
    ("announced", "ranges"), [("bytes", True), ("none", None), (None, None)]
)
def test_r5_head_says_of_ranges_only_what_it_announces(announced, ranges):
    headers = sized() if announced is None else sized(**{"Accept-Ranges": announced})

    facts = verdict.judge_head(200, headers)

    assert facts is not None
    assert facts.ranges is ranges


@pytest.mark.parametrize(
    ("code", "headers", "size_bytes", "ranges"),
    [
        (206, ranged((0, 16)), SIZE, True),
        (206, ranged((0, 10), total=10), 10, True),
        (206, ranged((0, 16), total="*"), None, False),
        (206, ranged((1, 17)), None, False),
        (206, MP4, None, False),
        (206, {**MP4, "Content-Range": "bytes 0-15/10"}, None, False),
        (200, sized(), SIZE, False),
        (200, MP4, None, False),
    ],
)
def test_r6_a_get_of_the_first_bytes_tells_size_and_ranges(
    code, headers, size_bytes, ranges
):
    facts = verdict.judge_probe(code, headers, MP4_HEAD[:16])

    assert facts is not None
    assert (facts.size_bytes, facts.ranges) == (size_bytes, ranges)


def test_r6_a_multipart_answer_is_no_content():
    headers = {"Content-Type": "multipart/byteranges; boundary=cut"}

    assert verdict.judge_probe(206, headers, b"\r\n--cut\r\n") is None


@pytest.mark.parametrize("code", [202, 204, 304, 400, 404, 416, 500])
def test_r6_only_200_and_206_are_content(code):
    assert verdict.judge_probe(code, sized(), MP4_HEAD[:16]) is None


@pytest.mark.parametrize(
    ("code", "headers", "empty"),
    [
        (416, {"Content-Range": "bytes */0"}, True),
        (416, {"Content-Range": "bytes */1000"}, False),
        (416, {}, False),
        (200, {**MP4, "Content-Length": "0"}, True),
        (200, {**JSON, "Content-Length": "0"}, False),
        (200, sized(), False),
        (404, {**MP4, "Content-Length": "0"}, False),
    ],
)
def test_r6_a_file_of_no_bytes_is_told_from_a_refusal(code, headers, empty):
    assert verdict.is_empty_video(code, headers) is empty


@pytest.mark.parametrize(
    "first",
    [
        *(b'{"error":{"message":"Video is not ready"}}', b' \n{"detail": "gone"}'),
        *(b"{}", b"[]", b'[{"error": "x"}]', b"<!DOCTYPE html><html>", b"<html><body>"),
        *(b"\xef\xbb\xbf<html>", b"<?xml version='1.0'?><Error/>"),
        *(b"<h1>502 Bad Gateway</h1>", b"<!-- generated --><html>"),
        *(b"<Error><Code>AccessDenied</Code></Error>", b"</html>"),
        *(b"\n" * 1000 + b"<html>", b'\xef\xbb\xbf{"error": "with a byte order mark"}'),
        b'{"error": {"message": "' + b"x" * 70_000,  # cut before its end
    ],
)
def test_r7_an_error_body_is_known_whatever_its_type(first):
    assert sniffing.looks_like_message(first)
    assert verdict.judge_probe(200, sized(), first) is None


@pytest.mark.parametrize(
    "first",
    [
        MP4_HEAD[:16],
        *(b"\x1a\x45\xdf\xa3webm", b"RIFF....AVI ", b"", b"\0" * 64),
        *(b"plain test data", b"{\x00\x01 binary that begins with a brace"),
        *(b"[\xff\xfe\xfd", b"<\x00\x00\x00", b"< 3"),
    ],
)
def test_r7_no_magic_is_demanded_of_a_video(first):
    assert not sniffing.looks_like_message(first)
    assert verdict.judge_probe(200, sized(), first) is not None


@given(st.binary(max_size=200), st.sampled_from([b"", b"{", b"[", b"<", b'{"']))
def test_r7_any_first_bytes_are_judged_without_an_error(tail, head):
    sniffing.looks_like_message(head + tail)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_r7_json_too_deep_to_parse_is_no_video(opening):
    assert sniffing.looks_like_message(opening * 100_000)


@pytest.mark.parametrize(
    ("document", "url"),
    [
        ({"video_url": "https://cdn/x.mp4"}, "https://cdn/x.mp4"),
        ({"url": "https://cdn/x.mp4"}, "https://cdn/x.mp4"),
        ({"result": {"video_url": "https://cdn/x.mp4"}}, "https://cdn/x.mp4"),
        ({"url": "/files/x.mp4"}, "/files/x.mp4"),
        ({"video_url": "", "url": "https://cdn/y.mp4"}, "https://cdn/y.mp4"),
        ({"video_url": 7, "result": []}, None),
        ({"url": "x" * 10_000}, None),
        ({"url": "http://[bad"}, None),
        ({"status": "completed"}, None),
        ([], None),
    ],
)
def test_r8_json_may_name_the_url_of_the_bytes(document, url):
    body = json.dumps(document).encode()

    assert results.url_in_json(body) == url


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("application/json", True),
        ("application/problem+json", True),
        ("text/html", True),
        ("text/plain", True),
        ("application/xml", True),
        ("video/mp4", False),
        ("application/octet-stream", False),
        ("binary/octet-stream", False),
    ],
)
def test_r8_the_type_tells_what_is_for_reading(kind, message):
    headers = {"Content-Type": kind}

    assert verdict.may_be_message(headers, None) is message
    assert not verdict.may_be_message(headers, kind)


# --- right bytes under a wrong type ----------------------------------------------

CONTAINERS = [
    MP4_HEAD[:16],
    b"\0\0\0\x18styp",
    b"\0\x01\0\0moov\0\0\0\x6cmvhd",
    b"\0\0\0\0mdat",  # to the end of the file
    b"\0\0\0\x01mdat\0\0\0\0\0\x10\0\0",
    *(b"\0\0\0\x08wide\0\0\x10\0mdat", b"\0\0\0\x08free", b"\0\0\0\x10skip"),
    b"\x1a\x45\xdf\xa3\x9f\x42\x86\x81\x01",  # WebM
    *(b"RIFF\x24\x08\0\0AVI LIST", b"OggS\0\x02", b"FLV\x01\x05\0\0\0\x09"),
    *(b"\x47\x40\0\x10\0\0\xb0", b"\x47\x40\x11\x10\0\x42", b"\0\0\x01\xba\x44"),
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9",
]
NO_CONTAINERS = [
    *(b"", b"\0\0\0", b"{}", b"<html>", b"Gateway error", b"plain test data"),
    *(b"\0\0\0\x05ftyp", b"Listmoov", b"    mdat", b"a b!free", b"\0\0\0\x18abcd"),
    *(b"RIFF\x24\x08\0\0WAVE", b"RIFF", b"OggShop", b"FLVs", b"G@ you"),
    *(b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0", b"GIF89a", b"%PDF-1.7", b"ID3\x04"),
]
ODD_TYPES = ["text/plain", "text/html; charset=utf-8", "application/json", "image/png"]


@pytest.mark.parametrize("kind", [*ODD_TYPES, "application/xml", "Text/Plain"])
@pytest.mark.parametrize("first", CONTAINERS)
def test_what_begins_as_a_container_is_video_whatever_its_type(first, kind):
    headers = ranged((0, 16), **{"Content-Type": kind})

    facts = verdict.judge_probe(206, headers, first)
    whole = verdict.judge_probe(200, sized(**{"Content-Type": kind}), first)

    assert facts is not None
    assert whole is not None
    assert (facts.size_bytes, facts.ranges) == (SIZE, True)
    assert (whole.size_bytes, whole.ranges) == (SIZE, False)
    assert facts.odd_type == kind.partition(";")[0].lower()


@pytest.mark.parametrize("kind", ODD_TYPES)
@pytest.mark.parametrize("first", NO_CONTAINERS)
def test_what_does_not_begin_as_one_is_no_video_under_a_wrong_type(first, kind):
    headers = ranged((0, 16), **{"Content-Type": kind})

    assert verdict.judge_probe(206, headers, first) is None


def test_a_body_in_parts_is_no_video_whatever_it_begins_with():
    headers = ranged((0, 16), **{"Content-Type": "multipart/byteranges; boundary=x"})

    assert verdict.judge_probe(206, headers, MP4_HEAD[:16]) is None
    assert verdict.odd_type_of(headers) is None


def test_the_type_that_was_proven_and_no_other_is_believed_of_later_ranges():
    known = content()
    known.odd_type_seen("text/plain")
    headers = ranged((1000, 2000), **{"Content-Type": "Text/Plain; charset=utf-8"})

    assert verdict.judge_range(206, headers, ASKED, known) == ASKED
    for kind in ("text/html", "application/json", "multipart/byteranges"):
        with pytest.raises(NotAVideo):
            verdict.judge_range(206, {**headers, "Content-Type": kind}, ASKED, known)


def test_a_head_with_a_wrong_type_proves_nothing():
    for kind in ODD_TYPES:
        assert verdict.judge_head(200, sized(**{"Content-Type": kind})) is None


# --- not ready, failed, missing ------------------------------------------------

WORDS = {
    State.NOT_READY: (
        "queued pending submitted not_start initializing in_progress processing "
        "running generating QUEUED In_Progress "
        "waiting preparing Queueing in_queue dreaming THROTTLED scheduled 排队中 生成中"
    ),
    State.READY: (
        "completed complete success succeeded done SUCCESS "
        "succeed Finished ready successful 已完成 成功"
    ),
    State.FAILED: (
        "failed failure error rejected cancelled canceled cancelling FAILURE "
        "Fail timeout timed_out content_filtered nsfw moderated aborted blocked 失败"
    ),
    State.GONE: "expired deleted EXPIRED removed not_found 已过期",
}


@pytest.mark.parametrize("code", [200, 400, 404, 422, 500])
@pytest.mark.parametrize(
    ("word", "state"),
    [(word, state) for state, words in WORDS.items() for word in words.split()],
)
def test_r9_the_status_object_counts_whatever_its_code(word, state, code):
    found = judged(status(word), code)

    assert (found.state, found.word) == (state, word.lower())


@pytest.mark.parametrize(
    ("said", "state", "word"),
    [
        ("In-Progress", State.NOT_READY, "in_progress"),
        ("inProgress", State.NOT_READY, "in_progress"),
        ("  IN PROGRESS\n", State.NOT_READY, "in_progress"),
        ("NotStarted", State.NOT_READY, "not_started"),
        ("TASK_STATUS_PROCESSING", State.NOT_READY, "processing"),
        ("TASK_STATUS_SUCCEED", State.READY, "succeed"),
        ("JOB_STATE_SUCCEEDED", State.READY, "succeeded"),
        ("video_generation_completed", State.READY, "completed"),
        ("generation failed", State.FAILED, "failed"),
        ("Content-Filtered", State.FAILED, "content_filtered"),
        ("timedOut", State.FAILED, "timed_out"),
        ("MEDIA_GENERATION_STATUS_FAILED", State.FAILED, "failed"),
        ("MEDIA_GENERATION_STATUS_SUCCESSFUL", State.READY, "successful"),
        # Unknown words that begin like known ones.
        ("task_paused", State.UNCERTAIN, "task_paused"),
        ("completed_partially", State.UNCERTAIN, "completed_partially"),
        ("marinating", State.UNCERTAIN, "marinating"),
        ("unknown", State.UNCERTAIN, "unknown"),  # as new-api calls what it cannot map
        ("UNKNOWN", State.UNCERTAIN, "unknown"),
        ({"state": "marinating"}, State.UNCERTAIN, "marinating"),
        # Values that are no words.
        (3, State.UNCERTAIN, "3"),
        ({"completed": False}, State.UNCERTAIN, "{completed}"),
        ({"code": 200, "message": "ok"}, State.UNCERTAIN, "{code message}"),
        ([7], State.UNCERTAIN, "7"),
        (["queued", "completed"], State.UNCERTAIN, "2 states"),
        ([{"queued": 1}], State.UNCERTAIN, "{queued}"),
    ],
)
def test_a_word_is_known_in_every_spelling_or_decides_nothing(said, state, word):
    found = judged(status(said))

    assert (found.state, found.word) == (state, word)


@pytest.mark.parametrize(
    "document",
    [
        {"data": {"id": "v", "status": "SUCCESS", "finished_at": T}},
        {
            "code": "success",
            "message": "",
            "data": {"task_id": "v", "status": "SUCCESS"},
        },
        {
            "code": 0,
            "message": "SUCCEED",
            "data": {"task_id": "v", "task_status": "succeed"},
        },
        {"request_id": "r", "output": {"task_id": "v", "task_status": "SUCCEEDED"}},
        {"status": "success", "data": {"id": "v", "status": "completed"}},
        {"id": "r", "status": "pending", "data": {"id": "v", "status": "completed"}},
        {"video": {"videoId": "v", "videoStatus": "Completed"}},
        {"task": {"id": "v", "state": "done"}},
        {"result": {"generation_id": "v", "status": "finished"}},
        {"response": {"data": {"jobId": "v", "jobStatus": "COMPLETE"}}},
        {"id": "other", "object": "video", "status": "completed"},  # LiteLLM
        {"id": 7, "status": "completed"},
        {"status": "completed", "data": {"url": "https://cdn/v.mp4"}},
        {"id": "v", "status": "completed", "video": {"id": "w", "status": "queued"}},
        [{"id": "v", "status": "completed"}],
        {"data": [{"id": "w", "status": "failed"}, {"id": "v", "status": "completed"}]},
        # The word in an object of its own.
        {"id": "v", "status": {"state": "completed"}},
        {"id": "v", "status": {"code": 3, "name": "COMPLETED"}},
        {"id": "v", "state": {"phase": "Succeeded", "at": T}},
        {"data": {"task_id": "v", "task_status": {"value": 4, "label": "success"}}},
        {"id": "v", "status": ["completed"]},
        # Names in every case.
        {"Id": "v", "Status": "Completed"},
        {"ID": "v", "STATUS": "COMPLETED"},
        {"Data": {"TaskID": "v", "TaskStatus": "SUCCESS"}},
        {"Video": {"Video-Id": "v", "Job Status": "done"}},
        {"_id": "v", "status": None, "Status": {"State": "Done"}},
        # Other wrappers, and whatever looks like a video under any name.
        *(
            {name: {"id": "v", "status": "completed"}}
            for name in ("payload", "body", "record", "content", "Payload", "clip")
        ),
        {"payload": {"status": "completed"}},
        {"request_id": "r", "myClip": {"taskId": 7, "state": "done"}},
        {"data": {"shot": {"id": "v", "status": "completed"}}},
        {"id": "r", "status": "pending", "shot": {"id": "v", "status": "completed"}},
        {"clips": [{"id": "w", "status": "x"}, {"id": "v", "status": "completed"}]},
    ],
    ids=str,
)
def test_the_video_is_found_in_what_it_is_wrapped_in(document):
    assert judged(document).state is State.READY


@pytest.mark.parametrize(
    "document",
    [
        {"status": "success", "data": {"id": "v", "status": "processing"}},
        {"status": "success", "data": {"status": "processing"}},
        {"id": "v", "status": "queued", "result": {"status": "completed"}},
        {"status": "completed", "output": {"id": "v", "status": "running"}},
        {"id": "v", "status": "queued", "extends": {"id": "w", "status": "done"}},
    ],
    ids=str,
)
def test_the_status_of_the_request_or_of_another_is_not_that_of_the_video(document):
    assert judged(document).state is State.NOT_READY


@pytest.mark.parametrize(
    "document",
    [
        {"code": 0, "message": "SUCCEED", "data": {"task_id": "v"}},
        {"data": [{"id": "w", "status": "completed"}] * 2},
        {"code": 404, "data": {"data": {"data": {"id": "v", "status": "x"}}}},
        {"id": "v", "remixed_from": {"id": "w", "status": "completed"}},
        {"clips": [{"id": "w", "status": "completed"}] * 2},
        {"shot": {"status": "completed"}},
    ],
    ids=str,
)
def test_the_status_of_another_video_or_of_none_says_nothing(document):
    assert judged(document).state is State.UNSAID


@pytest.mark.parametrize(
    "fields",
    [
        {"error": {"message": "blocked by us"}},
        {"error": "blocked by us"},
        {"fail_reason": "blocked by us"},
        {"taskStatusMsg": "blocked by us"},
        {"errorMessage": "blocked by us"},
    ],
)
@pytest.mark.parametrize(("word", "code"), [("FAIL", 400), ("GENERATE_FAILED", 404)])
def test_the_reason_of_a_failure_reaches_the_message_by_its_names(fields, word, code):
    found = judged(status(word, **fields))

    assert "blocked by us" in str(refusals.refusal(code, {}, b"", found))


@pytest.mark.parametrize(
    "document",
    [
        {"id": "v", "status": {"state": "processing"}},
        {"Id": "v", "Status": "Processing"},
        {"payload": {"id": "v", "status": {"State": "Processing"}}},
    ],
    ids=str,
)
def test_what_is_still_made_is_not_ready_however_its_object_is_written(document):
    found, page = judged(document), listed({"data": [document]})

    assert (found.state, found.word) == (State.NOT_READY, "processing")
    assert page is not None
    assert [(id_, row.state) for id_, row in page.videos] == [("v", State.NOT_READY)]


@pytest.mark.parametrize("code", [200, 400, 404, 409, 410, 422])
@pytest.mark.parametrize(
    ("said", "meaning"),
    [
        ("?", VideoNotReady),
        ("no such video", VideoNotReady),
        ("Video generation failed: out of memory", VideoFailed),
        ("current status: FAILURE", VideoFailed),
    ],
)
def test_what_is_not_served_under_such_a_word_is_not_ready_unless_it_failed(
    code, said, meaning
):
    known = Status(State.UNCERTAIN, "marinating")

    assert kind_of(code, error(said), known) is meaning


@pytest.mark.parametrize("code", [200, 400, 404, 409, 410, 422])
@pytest.mark.parametrize(
    ("word", "meaning"),
    [
        *(
            (word, VideoFailed)
            for word in (
                *("GENERATE_FAILED", "internal_error", "FAILED_MODERATION", "审核失败"),
                *("system_error", "generateFailed", "SENSITIVE_WORD_ERROR", "任务失败"),
                *(
                    "CALLBACK_EXCEPTION",
                    "Error: timeout",
                    "cancelled-by-user",
                    "已失败",
                ),
                *("completed_with_errors", "request_timed_out", "审核不通过"),
                "VIDEO_GENERATION_TASK_STATUS_OUTPUT_MODERATION_FAILED",  # is cut
            )
        ),
        *(
            (word, VideoNotFound)
            for word in ("link_expired", "DELETED_BY_USER", "object_not_found")
        ),
        *(
            (word, VideoNotReady)
            for word in (
                *("failed_retrying", "no_error", "pending_error_check", "not_failed"),
                *("failover", "terrorized", "inexpired", "marinating", "unknown"),
            )
        ),
    ],
)
def test_an_odd_word_is_a_failure_only_where_the_content_is_refused_too(
    word, meaning, code
):
    found = judged(status(word))

    assert found.state is State.UNCERTAIN
    assert kind_of(code, error("?"), found) is meaning


@pytest.mark.parametrize(
    ("expires_at", "expired"),
    [(NOW - 1, True), (NOW, True), (NOW + 1, False), (None, False)],
)
def test_a_past_expiry_alone_says_nothing(expires_at, expired):
    """The link may be gone; while the video is served, it is there."""
    found = judged(status("completed", expires_at=expires_at))

    assert (found.state, found.expired) == (State.READY, expired)


@pytest.mark.parametrize(
    ("code", "body", "meaning"),
    [
        (404, error("?"), VideoNotServed),  # another replica may have it in a moment
        (410, error("?"), VideoNotFound),
        (409, error("?"), VideoNotServed),
        (202, b"", VideoNotServed),
        (400, error("Video not found"), VideoNotServed),
        (400, error("still being uploaded, queued"), VideoNotServed),
        (502, error("Upstream service returned status 404"), VideoNotServed),
        (404, error("Your session has expired"), VideoNotServed),  # not the bytes
        (502, error("video cache expired, try again"), VideoNotServed),
        # Nothing says that waiting would help.
        (400, error("Video has been uploaded to cloud storage"), ServerBroken),
        (422, error("use the url"), ServerBroken),
        (404, error("Invalid URL (GET /v1/videos/v/content)"), ServerBroken),
        (405, b"", ServerBroken),
        (501, b"", ServerBroken),
        (200, error("see the console"), ServerBroken),
        (200, b"<html>Log in</html>", ServerBroken),
    ],
)
def test_completed_and_refused_is_waited_for_where_it_may_lag(code, body, meaning):
    met = refusals.refusal(code, {}, body, Status(State.READY, "completed"))

    assert type(met) is meaning
    if meaning is ServerBroken:
        assert f"HTTP {code}" in str(met)
        assert wording.words_of_page(bodies.said_in(body)) in str(met)


@pytest.mark.parametrize("code", [200, 400, 404, 409, 422])
def test_what_is_not_served_past_its_expiry_is_gone(code):
    known = Status(State.READY, "completed", expired=True)

    assert kind_of(code, error("?"), known) is VideoNotFound


@pytest.mark.parametrize(
    ("known", "meaning"),
    [
        (Status(State.READY), VideoNotServed),
        (Status(State.NOT_READY, "queued"), VideoNotReady),
        (Status(State.FAILED, "failed"), VideoFailed),
        (Status(State.GONE, "expired"), VideoNotFound),
    ],
)
@pytest.mark.parametrize("code", [400, 404, 409, 422, 425, 202, 204, 423, 200])
def test_r9_the_status_outweighs_code_and_wording(code, known, meaning):
    body = error("Task is not completed yet, current status: FAILURE")

    assert kind_of(code, body, known) is meaning


@pytest.mark.parametrize(
    ("code", "body"),
    [
        (410, b""),
        (502, error("Upstream service returned status 410")),
        (404, error("Video has expired")),
        (404, error("The content of this task is expired.")),
        (400, error("expired video")),
        (404, error("视频已过期")),
        (409, error("资源已过期")),
    ],
)
def test_r9_content_that_is_gone_though_completed_has_expired(code, body):
    assert kind_of(code, body, Status(State.READY)) is VideoNotFound


@pytest.mark.parametrize(
    ("code", "headers", "body", "state"),
    [
        (404, JSON, error("Video not found"), State.GONE),
        (404, JSON, b"", State.GONE),
        (410, JSON, b"", State.GONE),
        (404, JSON, b'{"status": "error", "message": "no"}', State.GONE),
        (400, JSON, b'{"code": "task_not_exist", "data": null}', State.GONE),
        (400, JSON, error("Video not found"), State.GONE),
        (422, JSON, detail("Unknown video"), State.GONE),
        (200, JSON, error("Video not found"), State.GONE),
        (200, JSON, b'{"status": "error", "message": "video not found"}', State.GONE),
        (400, JSON, b'{"status": "fail", "msg": "no such task"}', State.GONE),
        (200, JSON, b'{"status": "failed", "error": "image not found"}', State.FAILED),
        (200, JSON, b'{"status": "error", "message": "no GPU"}', State.FAILED),
        (400, JSON, error("bad id"), State.UNSAID),
        (422, JSON, error("bad id"), State.UNSAID),
        (200, JSON, error("busy"), State.UNSAID),
        (404, HTML, PAGE, State.NO_ROUTE),
        (404, MP4, PAGE, State.NO_ROUTE),
        (404, JSON, error("Invalid URL (GET /v1/videos/v)"), State.NO_ROUTE),
        (405, JSON, detail("Method Not Allowed"), State.NO_ROUTE),
        (501, JSON, b"", State.NO_ROUTE),
        (500, JSON, error("oops"), State.UNSAID),
        (200, JSON, b'{"id": "v"}', State.UNSAID),
        (200, JSON, b'{"id": "v", "status": []}', State.UNSAID),
        (200, JSON, b'{"id": "v", "status": {}}', State.UNSAID),
        (200, JSON, b'{"status": {"done": 1}}', State.UNSAID),
        (200, JSON, b'{"id": "v", "status": true}', State.UNSAID),
        (200, JSON, b'{"status": 200, "message": "ok"}', State.UNSAID),
        (200, JSON, b'{"status": "success", "data": null}', State.UNSAID),
        (200, JSON, b'{"status": "error", "data": {}}', State.UNSAID),
        (200, JSON, b'{"id": "v", "status": " "}', State.UNSAID),
        (200, JSON, b"[]", State.UNSAID),
        (200, JSON, b"[" * 100_000, State.UNSAID),
        (200, HTML, PAGE, State.UNSAID),
        (200, JSON, b"\xff\xfe", State.UNSAID),
    ],
)
def test_r9_a_status_answer_without_a_status(code, headers, body, state):
    assert video_status.judge_status(code, headers, body, "v", NOW).state is state


def test_r9_the_reason_of_a_failure_reaches_the_message_without_its_controls():
    body = status("failed", error={"code": "x", "message": "blocked\x1b[31m by us"})

    said = str(refusals.refusal(400, {}, b"", judged(body)))

    assert "blocked [31m by us" in said
    assert "\x1b" not in said


NOT_READY = "video is not ready"
TASK = "Task is not completed yet"
NO_ROUTE = "Invalid URL (GET /v1/videos/v/content)"
UPSTREAM = json.dumps({"error": {"message": "Video is not ready yet"}})


@pytest.mark.parametrize(
    ("code", "body", "meaning"),
    [
        # 1: a status inside the sentence; new-api and llmgateway use one for both
        (400, error(f"{TASK}, current status: QUEUED"), VideoNotReady),
        (400, error(f"{TASK}, current status: FAILURE"), VideoFailed),
        (409, error("Video is not ready yet. Current status: canceled"), VideoFailed),
        (409, error("Video is not ready yet. Current status: expired"), VideoNotFound),
        (400, error(f"{NOT_READY} for download (status: running)"), VideoNotReady),
        # 2: words of failure
        (422, detail("Video generation failed: out of memory"), VideoFailed),
        (400, error("refused by moderation"), VideoFailed),
        (400, error("This prompt was blocked"), VideoFailed),
        # 3: words of waiting
        (404, detail("Generation is still in-progress"), VideoNotReady),
        (404, error("Video is not ready yet, use GET /v1/videos/{id}"), VideoNotReady),
        (404, error("video not found or not yet available"), VideoNotReady),
        (404, error("video does not exist or is not finished yet"), VideoNotReady),
        (400, error("任务未完成"), VideoNotReady),
        (400, error("视频处理中"), VideoNotReady),
        (400, error("排队"), VideoNotReady),
        # 4: words of absence
        (400, error("the video has expired"), VideoNotFound),
        (400, error("视频已过期"), VideoNotFound),
        (400, error("视频不存在"), VideoNotFound),
        (404, error("Task not found"), VideoNotFound),
        (400, error("no such video"), VideoNotFound),
        # 5: the code alone
        (404, error("?"), VideoNotFound),
        (404, b"", VideoNotFound),
        (410, b"", VideoNotFound),
        (400, error("?"), ServerBroken),
        (422, error("?"), ServerBroken),
        (409, b"", VideoNotReady),
        (425, b"", VideoNotReady),
        (202, b"", VideoNotReady),
        (204, b"", VideoNotReady),
        (423, b"", VideoNotReady),
        # wrapped: LiteLLM quotes its upstream, FastAPI says detail
        (400, error(f"litellm.APIError: OpenAIException - {UPSTREAM}"), VideoNotReady),
        (404, detail([{"msg": "still being written"}]), VideoNotReady),
        (404, "视频未就绪".encode(), VideoNotReady),
        # an error sent as 200
        (200, error("Video is not ready yet"), VideoNotReady),
        (200, error("Video generation failed"), VideoFailed),
        (200, b'{"hello": "world"}', NotAVideo),
        (200, PAGE, NotAVideo),
        # R11: 400 alone never means not ready
        *((400, body, ServerBroken) for body in (b"", error("bad"), PAGE, b"\xff")),
        # R12: a route that is not there is no missing video, but Nginx and http.server
        # answer a missing file with HTML
        (404, error(NO_ROUTE, type="invalid_request_error"), ServerBroken),
        (404, NO_ROUTE.encode(), ServerBroken),
        (404, PAGE, VideoNotFound),
    ],
)
def test_r10_r11_r12_without_a_status_the_wording_decides(code, body, meaning):
    assert kind_of(code, body) is meaning


@pytest.mark.parametrize(
    ("code", "headers", "body", "missing"),
    [
        (404, HTML, PAGE, True),
        (404, {}, PAGE, True),
        (404, JSON, error("no"), False),
        (500, HTML, PAGE, False),
    ],
)
def test_r12_a_404_page_may_mean_a_wrong_base_url(code, headers, body, missing):
    assert refusals.route_missing(code, headers, body) is missing


@pytest.mark.parametrize("code", [200, 206])
def test_r13_content_served_before_it_is_ready_is_not_ready(code):
    assert kind_of(code, b"", Status(State.NOT_READY, "in_progress")) is VideoNotReady


# --- reading -------------------------------------------------------------------

ASKED = ByteRange(1000, 2000)


@pytest.mark.parametrize(
    ("headers", "span"),
    [
        (ranged((1000, 2000)), ByteRange(1000, 2000)),
        (ranged((1000, 1500)), ByteRange(1000, 1500)),
        (ranged((1000, 2000), total="*"), ByteRange(1000, 2000)),
        # Content-Length may be absent, or short of the range: then the body is cut.
        ({**MP4, "Content-Range": f"bytes 1000-1999/{SIZE}"}, ByteRange(1000, 2000)),
        (ranged((1000, 2000), **{"Content-Length": "999"}), ByteRange(1000, 2000)),
    ],
)
def test_r15_r18_a_range_as_asked_or_shorter_is_taken(headers, span):
    assert verdict.judge_range(206, headers, ASKED, content()) == span


@pytest.mark.parametrize(
    ("headers", "meaning"),
    [
        # R18: a body longer than its range; a shorter one is cut, as above.
        (ranged((1000, 2000), **{"Content-Length": "1001"}), ServerBroken),
        (ranged((999, 2000)), ServerBroken),
        (ranged((1001, 2000)), ServerBroken),
        (ranged((0, 1000)), ServerBroken),
        (ranged((1000, 2001)), ServerBroken),
        (MP4, ServerBroken),
        ({**MP4, "Content-Range": "bytes 1000-1999"}, ServerBroken),
        ({**MP4, "Content-Range": "items 1000-1999/5000"}, ServerBroken),
        (ranged((1000, 2000), total=SIZE + 1), ContentChanged),
        (ranged((1000, 2000), ETag='"b"'), ContentChanged),
        (ranged((1000, 2000), **{"Content-Type": "application/json"}), NotAVideo),
        (ranged((1000, 2000), **{"Content-Type": "text/html"}), NotAVideo),
        ({"Content-Type": "multipart/byteranges; boundary=x"}, NotAVideo),
        (ranged((1000, 2000), **{"Content-Encoding": "gzip"}), RangesIgnored),
    ],
)
def test_r15_r18_any_other_206_is_refused(headers, meaning):
    with pytest.raises(meaning):
        verdict.judge_range(206, headers, ASKED, content(etag='"a"'))


@pytest.mark.parametrize(
    ("headers", "meaning"),
    [
        (sized(), RangesIgnored),
        (sized(ETag='"b"'), ContentChanged),
        ({**MP4, "Content-Length": str(SIZE + 1)}, ContentChanged),
    ],
)
def test_r15_r16_a_200_is_never_taken_as_the_range(headers, meaning):
    with pytest.raises(meaning):
        verdict.judge_range(200, headers, ASKED, content(etag='"a"'))


@pytest.mark.parametrize(
    ("mine", "other", "contradicts"),
    [
        (('"a"', None), {"ETag": '"a"'}, False),
        (('"a"', None), {"ETag": '"b"'}, True),
        (('"a"', None), {}, False),
        (('"a"', None), {"ETag": 'W/"b"'}, False),
        (('"a"', "then"), {"ETag": '"a"', "Last-Modified": "now"}, False),
        (('"a"', "then"), {"Last-Modified": "now"}, True),
        ((None, "then"), {"Last-Modified": "then"}, False),
        ((None, "then"), {"ETag": '"b"', "Last-Modified": "now"}, True),
        ((None, None), {"ETag": '"b"', "Last-Modified": "now"}, False),
    ],
)
def test_r16_another_validator_means_other_bytes(mine, other, contradicts):
    seen = verdict.validator_of(other)

    assert Validator(*mine).contradicts(seen) is contradicts


@pytest.mark.parametrize(
    ("known", "value", "changed"),
    [
        (SIZE, f"bytes */{SIZE}", False),
        (SIZE, f"bytes */{SIZE - 1}", True),
        (SIZE, "bytes */0", True),
        (SIZE, "bytes */*", False),
        (SIZE, "", False),
        (SIZE, "bytes */-1", False),
        (-1, "bytes */100", False),  # of a file of unknown size
    ],
)
def test_r17_a_416_with_another_size_is_a_change(known, value, changed):
    error = verdict.error_of_416({"Content-Range": value}, content(known))

    assert type(error) is (ContentChanged if changed else ServerBroken)


@pytest.mark.parametrize(
    ("code", "headers", "fits"),
    [
        (206, ranged((0, 16)), True),
        (206, ranged((0, 16), total="*"), True),
        (206, ranged((0, 16), total=SIZE + 1), False),
        (206, MP4, False),
        (200, sized(), True),
        (200, MP4, True),
        (200, {**MP4, "Content-Length": "5"}, False),
        (200, {**MP4, "Content-Length": "5", "Content-Encoding": "gzip"}, True),
    ],
)
def test_an_answer_that_tells_no_size_fits_any(code, headers, fits):
    assert verdict.tells_size(code, headers, SIZE) is fits


@pytest.mark.parametrize("encoding", ["gzip", "br", "x-unknown"])
def test_r19_the_length_of_an_encoded_body_is_no_size_and_no_range(encoding):
    coding = {"Content-Encoding": encoding}
    for code, headers in ((200, sized(**coding)), (206, ranged((0, 16), **coding))):
        facts = verdict.judge_probe(code, headers, b"\x1f\x8b")

        assert facts is not None
        assert (facts.size_bytes, facts.ranges) == (None, False)
    with pytest.raises(RangesIgnored):
        verdict.judge_range(200, sized(**coding), ASKED, content(size_bytes=5))


FTYP = b"\0\0\0\x18ftypisom\0\0\2\0"


@pytest.mark.parametrize(
    ("coding", "ranges"),
    [
        *[(coding, True) for coding in ("mp4", "undefined", "utf-16", "text", ";")],
        *[(coding, True) for coding in ("base64", "x-unknown", "aws-chunked, mp4")],
        *[(coding, False) for coding in ("gzip", "X-GZIP", "deflate", "br", "zstd")],
        *[(coding, False) for coding in ("compress", "aws-chunked, gzip", "mp4,br")],
    ],
)
def test_what_begins_as_a_container_is_the_file_whatever_coding_it_names(
    coding, ranges
):
    """Its size is told; by ranges it comes only where nothing else could be coded."""
    headers = ranged((0, 16), **{"Content-Encoding": coding})

    facts = verdict.judge_probe(206, headers, FTYP)

    assert facts is not None
    assert facts.size_bytes == SIZE
    assert facts.ranges is ranges
    assert facts.odd_coding == (coding if ranges else None)
    known = content(ranges=facts.ranges, odd_coding=facts.odd_coding)
    later = ranged((1000, 2000), **{"Content-Encoding": coding})
    if ranges:
        assert verdict.judge_range(206, later, ASKED, known) == ASKED
    else:
        with pytest.raises(RangesIgnored):
            verdict.judge_range(206, later, ASKED, known)
    other = ranged((1000, 2000), **{"Content-Encoding": "gzip, " + coding})
    with pytest.raises(RangesIgnored):
        verdict.judge_range(206, other, ASKED, known)


def test_the_length_of_a_whole_answer_is_a_size_where_it_begins_as_a_container():
    facts = verdict.judge_probe(200, sized(**{"Content-Encoding": "gzip"}), FTYP)

    assert facts is not None
    assert facts.size_bytes == SIZE
    assert facts.ranges is False


@pytest.mark.parametrize(
    "coding",
    [
        *("identity", "Identity", "identity, identity", "", " ", ", ", "none", "None"),
        *("aws-chunked", "aws-chunked,", "aws-chunked, identity", "null", "chunked"),
        *("utf-8", "UTF8", "iso-8859-1", "binary", "8bit", "video/mp4"),
    ],
)
def test_a_coding_that_changes_no_byte_is_none(coding):
    """Storage keeps the aws-chunked of an upload; other servers name a charset."""
    headers = {"Content-Encoding": coding}

    head = verdict.judge_head(200, sized(**headers))
    probe = verdict.judge_probe(206, ranged((0, 16), **headers), MP4_HEAD[:16])
    span = verdict.judge_range(206, ranged((1000, 2000), **headers), ASKED, content())

    assert head is not None
    assert probe is not None
    assert (head.size_bytes, probe.size_bytes, probe.ranges) == (SIZE, SIZE, True)
    assert span == ASKED


@pytest.mark.parametrize(
    "coding",
    ["gzip, identity", "aws-chunked,gzip", "application/gzip", "base64", "utf-8, br"],
)
def test_one_coding_among_words_for_none_is_a_coding(coding):
    assert verdict.is_encoded({"Content-Encoding": coding})


def test_r20_cache_control_changes_no_verdict():
    public = {"Cache-Control": "public, max-age=86400", "Expires": "never"}

    assert verdict.judge_head(200, sized(**public)) == verdict.judge_head(200, sized())
    assert verdict.judge_probe(
        206, ranged((0, 16), **public), MP4_HEAD
    ) == verdict.judge_probe(206, ranged((0, 16)), MP4_HEAD)


# --- errors and listing --------------------------------------------------------


@pytest.mark.parametrize("known", [UNSAID, Status(State.READY), Status(State.GONE)])
@pytest.mark.parametrize(
    ("code", "body"),
    [
        (401, b""),
        (402, error("no money")),
        (403, error("not yours")),
        (401, b'{"status": "error"}'),
        (402, b'{"status": "failed", "message": "no money"}'),
        (403, b'{"status": "unauthorized"}'),
        (403, b'{"id": "v", "object": "video", "status": "expired"}'),
        (400, error("No connected db.", type="no_db_connection")),
        (500, error("Authentication Error, No api key passed in.")),
        (400, error("Incorrect API key provided: oh-abc")),
        (400, error("invalid token")),
    ],
)
def test_r21_a_refused_token_is_known_by_code_or_by_words(code, body, known):
    assert kind_of(code, body, known) is AccessDenied
    assert refusals.is_final(code, {}, body)
    with pytest.raises(AccessDenied):
        video_status.judge_status(code, JSON, body, "v", NOW)


@pytest.mark.parametrize(
    ("code", "headers", "body"),
    [
        (403, {}, PAGE),
        (403, {}, b"  <HTML><BODY>no</BODY></HTML>"),
        (403, {}, error("upstream: <!DOCTYPE html><title>Blocked</title>")),
        (403, {}, b"error code: 1015"),
        (403, {}, b"RBAC: access denied"),
        (403, {}, error("blocked by the firewall")),
        (405, {}, b"<html><title>405</title>WAF</html>"),
        (406, {}, b"<html>Mod_Security</html>"),
        # By its headers as well.
        (403, HTML, b""),
        (403, HTML, b"Forbidden"),
        (403, HTML, b"<h1>403 Forbidden</h1>"),
        (403, {"Content-Type": "TEXT/HTML"}, b"<p>Your request has been blocked.</p>"),
        (403, {"Content-Type": "application/xhtml+xml"}, b"no"),
        (405, HTML, b"<p>WAF</p>"),
        (202, {**HTML, "x-amzn-waf-action": "challenge"}, b""),
        (405, {**HTML, "x-amzn-waf-action": "captcha"}, b""),
        (403, {"x-amzn-waf-action": "challenge"}, b""),
    ],
)
def test_a_firewall_passes_and_is_no_verdict_on_the_token(code, headers, body):
    assert not denials.refuses_token(code, headers, body)
    assert not refusals.is_final(code, headers, body)
    broken = refusals.trouble(code, headers, body, "api.example", from_api=True)
    assert "firewall or gateway in front of api.example" in str(broken)


@pytest.mark.parametrize(
    ("code", "headers", "body", "said"),
    [
        (200, HTML, b"<title>Log in</title>", "sent a web page ?: Log"),
        (206, {}, b"<html>Log in</html>", "sent a web page ?: Log in"),
        (200, JSON, error("expired"), "sent a message ?: expired"),
        (200, JSON, b"", "sent a message ?"),
        (404, HTML, b"<html>Gone</html>", "answered HTTP 404: Gone"),
    ],
)
@pytest.mark.parametrize("from_api", [False, True])
def test_what_came_in_place_of_a_video_is_named(code, headers, body, said, from_api):
    broken = refusals.trouble(code, headers, body, "h", from_api=from_api)

    who = "server" if from_api else "storage host"
    assert str(broken).startswith(
        f"the {who} {said}".replace("?", "in place of the video")
    )


@pytest.mark.parametrize(
    ("code", "headers", "body"),
    [
        (401, HTML, b"Unauthorized"),
        (402, HTML, b""),
        (403, HTML, error("no access to this model")),  # PHP names no other type
        (403, {"Content-Type": "text/plain"}, b"Forbidden"),
        (403, JSON, b""),
        (403, {}, b"Forbidden"),
    ],
)
def test_what_the_api_says_of_the_token_is_so_under_any_type(code, headers, body):
    assert denials.refuses_token(code, headers, body)
    assert refusals.is_final(code, headers, body)
    with pytest.raises(AccessDenied):
        video_status.judge_status(code, headers, body, "v", NOW)


@pytest.mark.parametrize(
    ("code", "body", "is_token"),
    [
        (401, PAGE, True),
        (402, PAGE, True),
        (403, b"", True),
        (403, b"Forbidden", True),
        (403, error("domain not in whitelist"), True),
        (405, PAGE, False),  # nginx: this path takes no GET
        (500, b"<html>authentication</html>", False),
    ],
)
def test_what_is_no_firewall_is_final_or_trouble_as_ever(code, body, is_token):
    assert denials.refuses_token(code, {}, body) is is_token
    assert refusals.is_final(code, {}, body) is (code < 500)
    broken = refusals.trouble(code, {}, body, "api.example", from_api=True)
    assert "firewall" not in str(broken)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (b"<html><title> Just a moment... </title>", "Just a moment..."),
        (b"<html><title></title><script>x<y</script><h1>No</h1>", "No"),
        (b"<html><body>a\x1b[31m<b>b</b>\n</body>", "a [31m b"),
    ],
)
def test_the_words_of_a_page_are_fit_for_a_log(page, words):
    assert repr(words) in str(refusals.trouble(403, {}, page, "h", from_api=True))


@pytest.mark.parametrize("code", [200, 206, 400])
def test_r21_a_limit_in_words_is_one_unless_the_video_failed(code):
    body = b'{"error": {"message": "Rate limit reached. Please try again in 20s"}}'

    assert kind_of(code, body) is RateLimited
    assert kind_of(code, body, Status(State.READY, "completed")) is RateLimited
    assert kind_of(code, body, Status(State.FAILED, "failed")) is VideoFailed
    assert kind_of(429, b"") is RateLimited


@pytest.mark.parametrize("code", [408, 500, 502, 503, 504, 520, 522, 524, 530])
def test_r21_trouble_of_the_server_may_pass(code):
    assert not refusals.is_final(code, {}, b"oops")
    assert kind_of(code, error("The job queue failed")) is ServerBroken


@pytest.mark.parametrize("code", [200, 400, 401, 404, 409, 410, 416, 422])
def test_r21_an_answer_that_is_not_trouble_is_final(code):
    assert refusals.is_final(code, {}, b"")


@pytest.mark.parametrize("upstream", [404, 410])
def test_r21_an_upstream_without_the_file_is_final(upstream):
    assert refusals.is_final(
        502, {}, error(f"Upstream service returned status {upstream}")
    )
    assert not refusals.is_final(502, {}, error("Upstream service returned status 500"))


def test_r9_a_status_object_under_a_5xx_is_final():
    """vLLM-Omni answers for a failed job with 500 and the video object."""
    assert refusals.is_final(500, {}, status("failed"))
    assert not refusals.is_final(
        500, {}, b'{"status": "error", "message": "try later"}'
    )


def test_r23_entries_of_a_page_keep_their_order_and_id():
    page = {
        "object": "list",
        "data": [
            {"id": "b", "status": "completed", "created_at": 5},
            {"id": "a", "status": "queued"},
            {"id": "c"},
            {"id": ""},
            {"id": 7},
            "nonsense",
            None,
        ],
        "has_more": True,
    }

    found = listed(page)

    assert found is not None
    assert [video_id for video_id, _ in found.videos] == ["b", "a", "c", "7"]
    states = [status.state for _, status in found.videos]
    assert states == [State.READY, State.NOT_READY, State.UNSAID, State.UNSAID]
    assert (found.rows, found.last_id, found.has_more) == (7, "7", True)


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"data": {}}', b'{"data": null, "has_more": true}', b'{"data": "x"}'),
        b'{"data": null, "pagination": {"has_more": true}}',
        b'{"data": {"items": null}, "has_more": true}',
        *(b'{"success": true}', b'{"code": 0, "message": "success"}'),
        *(b'{"request_id": "r"}', b'{"data": null, "strange": 1}'),
        b'{"films": [{"id": "v", "status": "completed"}]}',
        *(b'{"id": "v", "object": "video"}', b"7", b'"none"', PAGE, b""),
        b"[" * 100_000,
    ],
)
def test_r23_anything_else_is_no_page_of_a_list(body):
    assert listed(body) is None


@pytest.mark.parametrize(
    "body",
    [
        *(b"null", b" null\n", b"{}", b"[]", b'{"data": null}', b'{"videos": null}'),
        *(b'{"object": "list"}', b'{"data": null, "has_more": false}'),
        b'{"object": "list", "data": null, "first_id": null, "last_id": null}',
        b'{"items": null, "total": 0, "page": 1, "page_size": 20}',
        *(b'{"data": null, "error": null}', b'{"data": {"items": []}}'),
        b'{"code": 0, "message": "SUCCESS", "data": []}',
        b'{"success": true, "message": "", "data": {"items": [], "total": 0}}',
        b'{"success": true, "message": "", "data": {"items": null, "total": 0}}',
        b'{"success": true, "message": "", "data": null}',
        b'{"success": true, "message": "", "data": null, "request_id": "r"}',
        b'{"data": null, "pagination": {"total": 1, "has_more": false}}',
        b'{"object": "list", "data": null, "requestId": "r", "timestamp": 1790000000}',
        b'{"code": 0, "message": "success", "data": null}',
        b'{"data": null, "message": "success"}',
        b'{"code": 10000, "message": "Success", "data": null}',
        b'{"code": 1, "msg": "\xe6\x93\x8d\xe4\xbd\x9c\xe6\x88\x90\xe5\x8a\x9f", "data": []}',
        b'{"code": 1, "message": "ok", "data": null}',  # the words tell what 1 means
        b'{"status": "success", "data": null}',
        b'{"code": "SUCCESS", "message": "no error", "data": []}',
        b'{"base_resp": {"status_code": 0, "status_msg": "ok"}, "videos": null}',
        *(b'{"Data": []}', b'{"Items": null, "Total": 0}', b'{"jobs": []}'),
    ],
)
def test_the_end_of_a_list_is_only_what_can_mean_nothing_else(body):
    """Go sends a nil slice as null; `rsync --delete` erases copies that are not listed."""
    page = listed(body)

    assert page is not None
    assert (page.rows, page.videos) == (0, ())


@pytest.mark.parametrize(
    "body",
    [
        *(b'{"error": "boom"}', b'{"detail": "Not authenticated"}', b'{"code": 500}'),
        *(b'{"message": "try later"}', b'{"data": null, "message": "hello"}'),
        b'{"object": "list", "data": null, "error": {"message": "database is locked"}}',
        b'{"success": true, "message": "try again later", "data": []}',
        b'{"code": 0, "message": "partial: a shard timed out", "data": [{"id": "v"}]}',
        b'{"code": 500, "message": "success", "data": null}',
        b'{"code": 10000, "message": "failed", "data": [{"id": "v"}]}',
        *(b'{"status_code": 17, "data": []}', b'{"errcode": 4, "videos": []}'),
        b'{"base_resp": {"status_code": 1004, "status_msg": "no"}, "data": []}',
        b'{"Error": {"Message": "busy"}, "Data": []}',
        b'{"data": {"items": [], "error": "busy"}}',
        *(b'{"status": 500, "data": []}', b'{"ok": false, "data": []}'),
        *(b'{"data": [], "error": {"code": "x"}}', b'{"data": [], "message": "sorry"}'),
        b'{"code": 50000, "message": "busy", "data": []}',
        *(
            b'{"code": "fail", "data": [{"id": "v"}]}',
            b'{"code": 7, "data": [{"id": "v"}]}',
        ),
        *(b'{"success": false, "data": []}', b'{"status": "error", "data": []}'),
        b'{"errors": [{"message": "timeout"}], "data": [{"id": "v"}]}',
        b'{"msg": "busy", "data": null}',
        *(b"[null]", b'{"data": [{"name": "a model"}]}'),  # rows, and no id in any
    ],
)
def test_a_list_that_says_it_failed_is_no_end_of_one(body):
    with pytest.raises(ServerBroken):
        listed(body)


@pytest.mark.parametrize(
    "page",
    [
        [{"id": "v", "status": "succeeded"}],
        {"videos": [{"id": "v", "status": "succeeded"}]},
        {"items": [{"task_id": "v", "status": "SUCCESS"}], "total": 1},
        {
            "code": 0,
            "message": "ok",
            "data": [{"taskId": "v", "taskStatus": "Succeed"}],
        },
        {"success": True, "data": {"items": [{"video_id": "v", "state": "done"}]}},
        {"data": [{"id": 12, "task_id": "v", "status": "SUCCESS"}]},
        {"data": [{"video": {"id": "v", "status": "completed"}}]},
        {"response": {"tasks": [{"generation_id": "v", "status": "Completed"}]}},
        {"Data": [{"Id": "v", "Status": "Succeeded"}], "HasMore": False},
        {"Result": {"Items": [{"TaskId": "v", "TaskStatus": "SUCCESS"}]}},
        {"Videos": [{"ID": "v", "Status": "completed"}]},
        {"videoList": [{"id": "v", "status": "completed"}]},
        {"jobs": [{"id": "v", "status": "completed"}]},
        {"code": 10000, "message": "Success", "data": [{"id": "v", "status": "done"}]},
        {"code": 1, "message": "ok", "data": [{"id": "v", "status": "done"}]},
        {"message": "3 videos found", "data": [{"id": "v", "status": "done"}]},
        {"data": [{"id": "v", "status": {"state": "completed", "code": 0}}]},
        {"data": [{"id": "v", "status": {"code": "SUCCESS"}}]},
        {"errno": 7, "data": [{"id": "v", "status": "done"}]},
    ],
)
def test_rows_of_another_shape_are_rows(page):
    found = listed(page)

    assert found is not None
    ((video_id, row),) = found.videos
    assert (video_id, row.state, found.last_id) == ("v", State.READY, "v")


@pytest.mark.parametrize(
    ("page", "total", "has_more"),
    [
        ({"data": []}, None, None),
        ({"data": [], "has_more": True}, None, True),
        ({"data": [], "has_more": False}, None, False),
        ({"data": [], "has_more": "no"}, None, None),
        ({"data": [], "total": 3}, 3, None),
        ({"data": {"items": [], "totalCount": 3}}, 3, None),
        ({"data": None, "pagination": {"total": 3}}, 3, None),
        ({"data": [], "meta": {"hasMore": True}}, None, True),
        ({"data": [], "meta": {"hasMore": False}}, None, None),
        ({"Data": [], "HasMore": False}, None, False),
    ],
)
def test_r23_what_a_page_says_of_the_whole_list_stands_in_it_or_aside(
    page, total, has_more
):
    assert listed(page) == ListPage(0, (), "", has_more, total)


def test_a_list_that_asks_for_a_pause_in_words_is_limited():
    with pytest.raises(RateLimited):
        listed({"error": {"message": "Too many requests"}})


@pytest.mark.parametrize(
    ("fields", "mtime"),
    [
        ({"completed_at": T + 100, "created_at": T}, T + 100),
        ({"created_at": T}, T),
        ({"completed_at": None, "created_at": T}, T),
        ({"completed_at": 0, "created_at": T}, T),
        ({"finished_at": T + 9, "created_at": T}, T + 9),
        ({"finish_time": T + 9, "submit_time": T}, T + 9),
        ({"completedAt": T + 9, "createdAt": T}, T + 9),
        ({"completed": T + 9, "created": T}, T + 9),
        ({"completion_time": str(T + 9)}, T + 9),
        ({"ended_at": "2026-09-21T14:13:29Z"}, T + 9),
        ({"end_time": "2026-09-21 14:13:29.000"}, T + 9),
        ({"completed_at": "2026-09-21T22:13:29+08:00"}, T + 9),
        ({"completed_at": "2026-09-21T14:13:29.352630851Z"}, T + 9.35263),
        ({"finished_at": "Mon, 21 Sep 2026 14:13:29 GMT"}, T + 9),
        ({"meta": {"ended_at": T + 9, "created_at": T}}, T + 9),
        ({"completed_at": (T + 9) * 10**6}, T + 9),
        ({"completed_at": (T + 9) * 10**9}, T + 9),
        ({"completed_at": "2026/09/21 14:13:29"}, T + 9),
        ({"completed_at": "2026-9-21 14:13"}, T - 20),
        ({"completed_at": "2026年09月21日 14:13:29"}, T + 9),
        ({"completed_at": "2026-09-21 14:13:29 UTC"}, T + 9),
        ({"completed_at": "2026-09-21 14:13:29 +0000 UTC"}, T + 9),
        ({"completed_at": "2026-09-21 22:13:29.5 +0800 CST m=+0.5"}, T + 9.5),
        ({"completed_at": "2026-09-21 14:13:29 CST", "created_at": T}, T),  # of two
        ({"completed_at": "2026/13/41 14:13:29", "created_at": T}, T),
        ({"completed_at": {"seconds": T + 9, "nanos": 5}}, T + 9),
        ({"completed_at": {"_seconds": str(T + 9), "_nanoseconds": 0}}, T + 9),
        ({"completed_at": {"$date": "2026-09-21T14:13:29Z"}}, T + 9),
        ({"completed_at": {"by": "us"}, "created_at": T}, T),
        *(
            ({name: T + 9, "created_at": T}, T + 9)
            for name in (
                *("finish_at", "end_at", "generated_at", "gmt_finish", "success_at"),
                *("finishAt", "FinishAt", "EndAt", "generatedAt", "gmtFinish"),
            )
        ),
        *(
            ({name: T}, T)
            for name in ("gmt_create", "gmtCreate", "createAt", "dateCreated")
        ),
        ({"completed_at": None, "completedAt": T + 9}, T + 9),
        ({"timestamps": {"completed": T + 9}}, T + 9),
        ({"status": {"state": "completed", "finished_at": T + 9}}, T + 9),
        ({"updated_at": T + 9, "created_at": T}, T),  # it moves on
        ({"completed": True, "end_time": 5.0, "created": 2026}, None),
        ({"ended_at": "0001-01-01T00:00:00Z", "created_at": T}, T),
        ({"created_at": 0}, None),
        ({"created_at": str(T)}, T),
        ({"created_at": 1_790_000_000_123}, 1_790_000_000.123),
        ({"created_at": True}, None),
        ({"created_at": "today"}, None),
        ({"created_at": -5}, None),
        ({"created_at": [T]}, None),
        ({"created_at": 10**400}, None),
        ({"created_at": "nan"}, None),
        ({"created_at": "inf"}, None),
        ({}, None),
    ],
)
def test_r24_the_time_is_that_of_completion_else_of_creation(fields, mtime):
    found = judged(status("completed", **fields))

    assert found.mtime_seconds == (mtime and pytest.approx(mtime, abs=1e-5))


# --- for all input -------------------------------------------------------------

any_body = st.one_of(
    st.binary(max_size=300),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(
                st.sampled_from(
                    ["id", "status", "error", "data", "message", "expires_at", "url"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    ).map(lambda value: json.dumps(value).encode()),
)
codes = st.sampled_from(
    [200, 202, 206, 302, 400, 401, 404, 409, 416, 422, 429, 500, 502]
)
header_text = st.text(string.printable, max_size=40)
headers_of_any_kind = st.dictionaries(
    st.sampled_from(
        ["Content-Type", "Content-Length", "Content-Range", "Content-Encoding", "ETag"]
    ),
    st.one_of(
        header_text,
        st.sampled_from(["video/mp4", "1000", "bytes 0-15/100", "bytes */0", '"a"']),
    ),
)


@given(codes, headers_of_any_kind, any_body)
def test_any_answer_gets_a_verdict(code, headers, body):
    """Whatever a server sends: a verdict or one of our errors, never a crash."""
    verdict.judge_head(code, headers)
    verdict.judge_probe(code, headers, body[:16])
    verdict.is_empty_video(code, headers)
    with contextlib.suppress(ServerBroken):
        listing.judge_list(body, NOW)
    results.url_in_json(body)
    refusals.is_final(code, {}, body)
    try:
        known = video_status.judge_status(code, headers, body, "v", NOW)
    except AccessDenied:
        known = UNSAID
    assert isinstance(refusals.refusal(code, {}, body, known), HingError)


@given(headers_of_any_kind, st.sampled_from([200, 206]))
def test_a_range_that_is_accepted_starts_where_it_was_asked(headers, code):
    try:
        span = verdict.judge_range(code, headers, ASKED, content())
    except HingError:
        return

    assert span.start == ASKED.start
    assert ASKED.start < span.stop <= ASKED.stop


@given(
    st.integers(0, blocks.LARGEST_VIDEO_BYTES - 1),
    st.integers(1, 2**20),
    st.integers(0, 2**20),
)
def test_a_content_range_reads_back_as_it_was_written(start, length, rest):
    total = min(start + length + rest, blocks.LARGEST_VIDEO_BYTES)
    stop = min(start + length, total)

    parsed = verdict.parse_content_range(f"bytes {start}-{stop - 1}/{total}")

    assert parsed == (ByteRange(start, stop), total)


@pytest.mark.parametrize(
    "value",
    [
        *("", "bytes 5-4/10", "bytes 0-10/10", "bytes -5-10/100", "bytes 0-9/"),
        *("bytes 0-9/x", "bytes  0-9/10", "bytes */10", "bytes 0-9/10, 20-29/30"),
        "bytes \u0660-\u0669/\u0661\u0660",
        f"bytes 0-9/{2**60}",
        f"bytes 0-9/{10**30}",
    ],
)
def test_a_content_range_of_another_form_is_unreadable(value):
    assert verdict.parse_content_range(value) is None


def test_no_word_stands_for_two_states():
    words = [words.split() for words in WORDS.values()]

    assert all(not set(a) & set(b) for a, b in itertools.combinations(words, 2))


# --- what was served before ------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "body", "absent"),
    [
        (404, b"", True),
        (404, PAGE, True),
        (404, detail("Generation is still in-progress"), True),
        (410, b"", True),
        (400, b'{"code": "task_not_exist"}', True),
        (400, error("Video not found"), True),
        (400, b"Video not found", True),
        (400, error("video_not_found"), True),
        (422, detail("Unknown video"), True),
        (422, detail("This video doesn't exist"), True),
        (422, error("Could not find the task"), True),
        (200, error("Video not found"), True),
        (200, b'{"error": "not_found"}', True),
        (200, b'{"Error": {"Message": "No such task"}}', True),
        (200, b'{"code": 404, "message": "Task not found", "data": null}', True),
        (200, '{"success": false, "message": "任务不存在"}'.encode(), True),
        (200, b'{"status": "error", "message": "video not found"}', True),
        (422, detail([{"loc": ["video_id"], "msg": "is no UUID"}]), False),
        (422, error("the image is too large"), False),
        (400, error("video is not ready"), False),
        # The words of a video are its own.
        (400, status("failed", error="the image was not found"), False),
        (200, b'{"id": "v", "error": "the image was not found"}', False),
        (200, b'{"id": "v", "prompt": "a word not found"}', False),
        (200, b'{"prompt": "a word not found"}', False),
        (200, b'{"data": {"a": 1}, "message": "not found: b"}', False),
        (200, b"not found", False),
        (200, b"", False),
        (401, b"", False),
        (403, error("no such video for you"), False),
        (409, b"", False),
        (502, error("Upstream service returned status 404"), False),
        (206, b"", False),
    ],
)
def test_a_replica_that_knows_nothing_is_known(code, body, absent):
    assert video_status.is_absent(code, body) is absent


@pytest.mark.parametrize(
    ("code", "body", "status", "meaning"),
    [
        (404, b"", UNSAID, ServerBroken),
        (404, b"", Status(State.NO_ROUTE), ServerBroken),
        (404, b"", Status(State.READY, "completed"), ServerBroken),
        (400, error("not ready"), UNSAID, ServerBroken),
        (404, b"", Status(State.NOT_READY, "queued"), ServerBroken),
        (404, b"", Status(State.GONE), VideoNotFound),
        (404, b"", Status(State.GONE, "expired"), VideoNotFound),
        (410, b"", UNSAID, ServerBroken),
        (410, b"", Status(State.READY, "completed"), ServerBroken),
        (410, b"", Status(State.READY, "completed", expired=True), VideoNotFound),
        (404, b'{"status": "expired"}', UNSAID, VideoNotFound),
        (404, b"", Status(State.FAILED, "failed"), VideoFailed),
        (401, b"", UNSAID, AccessDenied),
    ],
)
def test_a_404_of_what_was_opened_is_trouble_until_the_status_says_gone(
    code, body, status, meaning
):
    error = refusals.of_opened(refusals.refusal(code, {}, body, status))
    assert type(error) is meaning
