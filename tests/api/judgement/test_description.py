"""What a video was asked for, as some twenty servers tell it."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.judgement.description import Description
from hingfs.api.judgement.video_status import judge_status
from hingfs.blocks import MIB

PROMPT = "A cat that plays the piano"


def described(document: object) -> Description | None:
    body = json.dumps(document).encode()
    headers = {"Content-Type": "application/json"}
    return judge_status(200, headers, body, "v", 1e9).description


def told(**fields: object) -> Description:
    found = described({"id": "v", "status": "completed", **fields})
    assert found is not None
    return found


SERVERS = {
    "openai": (
        {"id": "v", "object": "video", "status": "completed", "model": "sora-2"}
        | {"prompt": PROMPT, "seconds": "8", "size": "1280x720"},
        Description("sora-2", PROMPT, 8, "1280x720"),
    ),
    "hingnet": (
        {"id": "v", "status": "success", "model": "veo-3.1", "progress": 0}
        | {"seconds": "6", "size": "720x1280"},
        Description("veo-3.1", None, 6, "720x1280"),
    ),
    "new-api": (
        {
            "code": "success",
            "data": {
                "task_id": "v",
                "status": "SUCCESS",
                "properties": {"input": PROMPT, "origin_model_name": "kling-v2"},
                "data": {"task_result": {"videos": [{"id": "w", "duration": "5.1"}]}},
            },
        },
        Description("kling-v2", PROMPT, 5.1),
    ),
    "runway": (
        {"id": "v", "status": "SUCCEEDED", "promptText": PROMPT}
        | {"model": "gen4_turbo", "ratio": "1280:720", "duration": 5},
        Description("gen4_turbo", PROMPT, 5, "1280x720"),
    ),
    "luma": (
        {
            "id": "v",
            "state": "completed",
            "model": "ray-2",
            "request": {
                "prompt": PROMPT,
                "aspect_ratio": "9:16",
                "resolution": "540p",
                "duration": "5s",
            },
        },
        Description("ray-2", PROMPT, 5, "540p 9:16"),
    ),
    "volcengine": (
        {"id": "v", "status": "succeeded", "model": "seedance-1-0", "duration": 5}
        | {"content": {"video_url": "https://a"}, "resolution": "1080P"}
        | {"ratio": "16:9"},
        Description("seedance-1-0", None, 5, "1080p 16:9"),
    ),
    "alibaba": (
        {
            "request_id": "r",
            "output": {
                "task_id": "v",
                "task_status": "SUCCEEDED",
                "orig_prompt": PROMPT,
                "actual_prompt": "much longer",
            },
            "usage": {"video_duration": 5, "video_ratio": "1280*720", "SR": 720},
        },
        Description(None, PROMPT, 5, "1280x720"),
    ),
    "minimax": (
        {"task_id": "v", "status": "Success", "video_width": 1366}
        | {"video_height": 768},
        Description(resolution="1366x768"),
    ),
    "veo": (
        {
            "id": "v",
            "status": "completed",
            "instances": [{"prompt": PROMPT}],
            "parameters": {
                "durationSeconds": 8,
                "aspectRatio": "16:9",
                "resolution": "4K",
            },
        },
        Description(None, PROMPT, 8, "4k 16:9"),
    ),
    "replicate": (
        {
            "id": "v",
            "status": "succeeded",
            "model": "google/veo-3",
            "input": {"prompt": PROMPT, "duration": 8, "aspect_ratio": "1:1"},
        },
        Description("google/veo-3", PROMPT, 8, "1:1"),
    ),
    "kie": (
        {
            "data": {
                "taskId": "v",
                "state": "success",
                "model": "sora-2",
                "param": json.dumps({"input": {"prompt": PROMPT, "n_frames": "10"}}),
            }
        },
        Description("sora-2", PROMPT),
    ),
    "fal": (
        {
            "request_id": "r",
            "status": "COMPLETED",
            "id": "v",
            "video": {"width": 1920, "height": 1080, "duration": 6.0},
        },
        Description(None, None, 6, "1920x1080"),
    ),
    "parts": (
        {
            "id": "v",
            "status": "completed",
            "model": {"name": "m"},
            "prompt": [{"type": "text", "text": "A cat"}, {"url": "u"}, "plays"],
        },
        Description("m", "A cat\nplays"),
    ),
    "nothing": ({"id": "v", "status": "completed"}, Description()),
}


@pytest.mark.parametrize(("document", "found"), SERVERS.values(), ids=SERVERS)
def test_each_server_tells_it_in_its_own_way(document, found):
    assert described(document) == found


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("8", 8),
        (8.04, 8.04),
        ("10 seconds", 10),
        ("5秒", 5),
        *(
            (odd, None)
            for odd in (
                *(0, -3, True, "", "long", None, "1e3", "٨", 10**400, 1e12),
                *(float("nan"), "9" * 5000),
            )
        ),
        ([], None),
        ({}, None),
    ],
)
def test_a_length_is_a_number_of_seconds_or_none(value, seconds):
    assert told(seconds=value).seconds == seconds


@pytest.mark.parametrize(
    ("fields", "resolution"),
    [
        ({"size": "1280X720 px"}, "1280x720"),
        ({"size": "1280\u00d7720"}, "1280x720"),
        ({"size": {"width": "640", "height": "360"}}, "640x360"),
        ({"resolution": 720}, "720p"),
        ({"resolution": "16:9"}, "16:9"),
        ({"resolution": "720p", "width": 1280, "height": 720}, "1280x720"),
        ({"size": 1024}, None),  # bytes
        ({"size": 12_650_449}, None),
        ({"width": 0, "height": 0}, None),
        ({"width": True, "height": [720]}, None),
        ({"quality": "standard"}, None),
        ({"resolution": "x" * 100_000}, None),
        ({"resolution": 10**400}, None),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_resolution_is_a_size_a_number_of_lines_a_shape_or_none(fields, resolution):
    assert told(**fields).resolution == resolution


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("one\r\ntwo\u2028three\rfour\n\nfive", "one\ntwo\nthree\nfour\n\nfive"),
        ("a\x00b\x1b[31mc\u202ed", "a b [31mc d"),
        ("a\ud83dz", "a?z"),
        ("👩\u200d👩\u200d👧 🐈", "👩\u200d👩\u200d👧 🐈"),
        ("猫弹钢琴", "猫弹钢琴"),
        ("  \n\x00 ", None),
        (7, None),
        ({"negative": "x"}, None),
        ('{"cmd": "x"}', None),
    ],
)
def test_a_prompt_has_no_control_characters_and_can_be_encoded(prompt, plain):
    found = told(prompt=prompt)

    assert found.prompt == plain
    assert found.prompt is None or found.prompt.encode()


def test_a_model_is_one_short_line():
    assert told(model="a\nb\x00" + "c" * 1000).model == "a b" + " " + "c" * 124
    assert told(model=3).model is None
    assert told(model={"id": "m"}).model == "m"


def test_a_remixed_original_or_another_row_tells_nothing():
    original = {"id": "w", "status": "completed", "prompt": "another"}

    assert told(remixed_from=original).prompt is None
    assert described({"data": [{"id": "v", "status": "done"}, original]}) == (
        Description()
    )


def test_the_prompt_is_in_no_text_of_the_status():
    body = json.dumps({"id": "v", "status": "completed", "prompt": PROMPT}).encode()
    status = judge_status(200, {}, body, "v", 1e9)

    assert status.description is not None
    assert status.description.prompt == PROMPT
    assert PROMPT not in repr(status) + repr(status.description)


def test_a_few_objects_are_looked_at():
    aside: dict[str, object] = {
        "params": {},
        "options": {},
        "config": {},
        "meta": {},
        "usage": {},
    }
    some = {"input": aside, "request": aside}
    many = {name: dict.fromkeys(aside, aside) for name in aside}

    assert told(**some, data={"prompt": PROMPT}).prompt == PROMPT
    assert told(**many, data={"prompt": PROMPT}).prompt is None


def test_a_document_of_any_shape_is_read_in_bounded_memory():
    deep: object = {"prompt": PROMPT}
    for _ in range(300):
        deep = {"data": [deep], "input": deep}
        if len(json.dumps(deep)) > MIB // 4:
            break
    tracemalloc.start()

    assert told(input=deep).prompt is None

    assert tracemalloc.get_traced_memory()[1] < 16 * MIB
    tracemalloc.stop()


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "input",
                    "model",
                    "prompt",
                    "size",
                    "seconds",
                    "ratio",
                    "width",
                    "data",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@given(json_values)
def test_any_document_is_read(value):
    found = told(**(value if isinstance(value, dict) else {"input": value}))

    for text in (found.model, found.prompt, found.resolution):
        assert text is None or "\x00" not in text
        assert text is None or text.encode()
    assert found.seconds is None or found.seconds > 0
