"""Where JSON names the bytes of a video, and where it names something else."""

import base64
import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.judgement.results import inline_bytes, url_in_json, url_of_result

pytestmark = pytest.mark.usefixtures("little_address_space")

CDN = "https://cdn.example/v.mp4?sig=1"
MINE = "https://cdn.example/my-own.mp4"
CLIP = b"\0\0\0\x18ftypisom" + bytes(range(256)) * 3
INLINE = "data:video/mp4;base64," + base64.b64encode(CLIP).decode()

# As servers were seen or reported to say it.
NAMED = [
    {"url": CDN},  # SGLang
    {"video_url": CDN},  # skyengine, juheapi, anyfast
    {"result": {"video_url": CDN}},  # HingNet
    {"metadata": {"url": CDN}},  # new-api
    {"video": {"url": CDN}},  # xAI
    {"video": CDN},
    {"output": {"video_url": CDN}},  # DashScope
    {"output": {"video": CDN}},  # PiAPI
    {"output": [CDN, MINE]},  # Runway, Replicate
    {"outputs": [CDN]},
    {"content": {"video_url": CDN, "last_frame_url": MINE}},  # Ark
    {"task_result": {"videos": [{"id": "w", "url": CDN, "duration": "5"}]}},  # Kling
    {"data": {"task_result": {"videos": [{"url": CDN}]}}},
    {"creations": [{"id": "w", "url": CDN, "cover_url": MINE}]},  # Vidu
    {"data": {"output_videos": [{"url": CDN}], "inputs": {"video_url": MINE}}},
    {
        "response": {
            "generateVideoResponse": {"generatedSamples": [{"video": {"uri": CDN}}]}
        }
    },
    {"videoUrl": CDN},
    {"result": {"finishedVideoUrl": CDN}},
    {"data": {"resultUrl": CDN}},
    {"download_url": CDN},
    {"generations": [{"video": {"download_url": CDN}}]},
    {"data": [{"url": CDN}]},
    {
        "artifacts": [
            {"media_type": "image", "url": MINE},
            {"media_type": "video", "url": CDN},
        ]
    },
    {"videos": [CDN]},
    {"video_result": [{"url": CDN, "cover_image_url": MINE}]},
    {"task": {"content": {"url": CDN}}},
    {
        "data": {
            "works": [{"resource": {"resourceWithoutWatermark": MINE, "resource": CDN}}]
        }
    },
    {"no_watermark_url": CDN},
    {"MP4_URL": CDN},
    {"thumbnail": {"url": MINE}, "video_url": "", "url": CDN},
    {"input": {"url": MINE}, "url": None, "video_url": CDN},
    {"video_url": f"  {CDN}\n"},
    {"video_url": {"url": CDN}},
    {"cover": MINE, "data": {"files": [{"type": "video/mp4", "url": CDN}]}},
    {"temp_url": CDN},
    {"payload": {"video_url": CDN}},
    {"body": {"url": CDN}},
    {"attachments": [{"url": CDN}]},
    {"direct_url": CDN},
    {"full_url": CDN},
    {"accessUrl": CDN},
    {"main_url": CDN},
    {"origin_video_url": CDN},
    {"output": {"location": CDN}},
    {"video_path": CDN},
    {"url_1080P": CDN},
    {"renditions": [{"url": CDN}]},
    {"outputs": {"9": {"gifs": [{"url": CDN}]}}},  # ComfyUI
    {"video_urls": {"720p": MINE, "1080p": CDN, "480p": MINE}},
    {"video": {"hd": CDN, "sd": MINE}},
    {"resultJson": json.dumps({"resultUrls": [CDN]})},  # kie
    {"data": {"resp_data": json.dumps({"urls": [CDN]})}},  # Jimeng
    {"status": "SUCCESS", "fail_reason": CDN},  # new-api of old
    # A URL that may be another route, or the user's own, comes after all others.
    {"response_url": MINE, "status_url": MINE, "video": {"url": CDN}},  # fal
    {"origin_url": MINE, "video_url": CDN},
    {"fail_reason": MINE, "video_url": CDN},
    {"response_url": CDN},
]
# Names under which some servers echo the request, with the user's own video.
ECHOES = [
    {"video": MINE},
    {"video": {"url": MINE}},
    {"file": MINE},
    {"media": [{"url": MINE}]},
    {"assets": [MINE]},
    {"content": [{"type": "video_url", "video_url": {"url": MINE}}]},
    {"task": {"videos": [MINE]}},
    {"payload": {"video_url": MINE}},
    {"url": MINE},
]
OUTPUTS = [
    {"output": {"video_url": CDN}},
    {"output": [CDN]},
    {"result": {"url": CDN}},
    {"task_result": {"videos": [{"url": CDN}]}},
    {"generated_video": CDN},
    {"resultJson": json.dumps({"url": CDN})},
    {"download_url": CDN},
]


@pytest.mark.parametrize("document", NAMED)
def test_a_result_is_found_by_its_name(document):
    expected = MINE if "works" in str(document) else CDN

    assert url_in_json(json.dumps(document).encode()) == expected


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("echo", ECHOES)
def test_what_is_named_as_output_comes_before_what_may_be_an_echo(echo, output):
    """Whichever stands first, and in whatever both are wrapped."""
    for document in ({**echo, **output}, {**output, **echo}):
        for wrapped in (document, {"data": document}, {"result": document}):
            assert url_of_result(wrapped) == CDN


# That of the user's own, or of another kind: it would be shown as the video.
OTHERS = [
    *("input", "inputs", "input_video", "input_reference", "input_image", "reference"),
    *("reference_video", "reference_image_url", "image", "image_url", "images"),
    *("thumbnail", "thumbnail_url", "thumbnailUrl", "preview", "preview_video_url"),
    *(
        *("cover", "cover_url", "poster", "first_frame", "last_frame_url"),
        "firstFrameImage",
    ),
    *(
        *("source", "source_url", "source_video", "original_video_url", "mask"),
        "audio_url",
    ),
    *("music", "subtitle_url", "spritesheet", "storyboard", "avatar", "logo", "prompt"),
    *("request", "params", "callback_url", "webhook", "status_url", "self", "next"),
    *("model", "user", "docs", "help_url", "error", "message", "remixed_from_video"),
    *("parent_video_url", "base_video", "driving_video", "extend_from", "uploads"),
    *("keyframes", "img", "pic_url", "image2video", "cancel", "get", "web", "page_url"),
]


WRAPPED = [
    {"?": MINE},
    {"?": {"url": MINE}},
    {"?": {"video_url": MINE}},
    {"?": [{"url": MINE}]},
    {"?": [MINE]},
    {"data": {"?": {"data": {"video": {"url": MINE}}}}},
    {"result": [{"?": INLINE}]},
    {"metadata": {"?": MINE}},
]


@pytest.mark.parametrize("name", OTHERS)
@pytest.mark.parametrize("document", WRAPPED)
def test_nothing_below_another_name_is_a_result(name, document):
    body = json.dumps(document).replace("?", name).encode()

    assert url_in_json(body) is None


@pytest.mark.parametrize(
    "document",
    [
        {
            "content": [
                {"type": "text", "text": "a cat"},
                {"type": "video_url", "video_url": {"url": MINE}},
            ]
        },
        {
            "content": [
                {
                    "type": "video_url",
                    "role": "reference_video",
                    "video_url": {"url": MINE},
                }
            ]
        },
        {"data": [{"type": "image", "url": MINE}]},
        {"files": [{"purpose": "input", "url": MINE}]},
        {"output": [{"variant": "thumbnail", "url": MINE}]},
        {"media": {"contentType": "image/png", "url": MINE}},
        {"url": "https://cdn.example/still.JPG?x=.mp4"},
        {"video_url": "https://cdn.example/list.m3u8"},
        {"video_url": "data:image/png;base64,AAAA"},
        {"video": "data:text/html;base64,AAAA"},
        {"file": "/srv/outputs/v.mp4"},  # a path on its disk
        {"video": "file:///etc/passwd"},
        {"url": "ftp://cdn.example/v.mp4"},
        {"url": "javascript:alert(1)"},
        {"url": "s3://bucket/v.mp4"},
        {"url": "x" * 10_000},
        {"url": "https://" + "x" * 10_000},
        {"url": 7, "video": True, "result": []},
        {"url": "http://[bad"},
        {"status": "completed"},
        {"fail_reason": "see https://docs.example/errors"},
        {"fail_reason": {"url": MINE}},
        {"resultJson": json.dumps({"input": {"url": MINE}})},
        {"param": json.dumps({"url": MINE})},
        {"resultJson": '{"url": '},
        {"1080p": MINE},
        [],
        None,
    ],
)
def test_what_is_of_another_kind_or_no_url_is_no_result(document):
    assert url_in_json(json.dumps(document).encode()) is None


@pytest.mark.parametrize(
    "url",
    ["/files/v.mp4", "//cdn.example/v.mp4", "HTTPS://cdn.example/v.mp4", "http://c/v"],
)
def test_a_url_may_be_relative_to_where_it_was_said(url):
    assert url_of_result({"url": url}) == url


@pytest.mark.parametrize(
    "url",
    [
        INLINE,
        INLINE.replace("video/mp4", "application/octet-stream"),
        INLINE.replace("video/mp4", "VIDEO/webm;codecs=vp9"),
        INLINE.replace("+", "%2B")
        .replace("/", "%2F", 99)
        .replace("video%2F", "video/"),
        INLINE[:60] + "\n" + INLINE[60:],
    ],
)
def test_the_bytes_may_stand_in_the_url_itself(url):
    assert url_of_result({"video": {"url": url}}) == url
    assert inline_bytes(url) == CLIP


@pytest.mark.parametrize(
    "url",
    ["data:video/mp4;base64,", "data:video/mp4;base64,A", "data:video/mp4,AAAA", CDN],
)
def test_a_data_url_of_nothing_holds_nothing(url):
    assert inline_bytes(url) is None


def test_a_document_of_any_shape_is_walked_in_bounded_time_and_memory():
    deep: object = {"url": CDN}
    for _ in range(500):
        deep = {"data": [deep]}
    wide = {"data": [{"list": [1] * 100} for _ in range(1000)], "url": CDN}
    tracemalloc.start()

    assert url_of_result(deep) is None
    assert url_of_result(wide) is None  # more parts than are looked at

    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20) | st.just(MINE),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["input", "url", "image", "data", "video", "cover", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_document_gives_a_url_or_none(document):
    named = url_of_result(document)

    assert named in (None, MINE)


@given(json_values, st.sampled_from(["input", "cover", "image_url", "x"]))
def test_whatever_stands_below_another_name_is_no_result(document, name):
    assert url_of_result({name: document}) is None
