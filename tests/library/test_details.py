"""What is told of a version, and that any file system holds it."""

import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.judgement.description import Description
from hingfs.api.judgement.video_status import UNSAID, State, Status
from hingfs.content import Content
from hingfs.library.details import (
    MOST_BYTES,
    PROMPT,
    Details,
    attributes_of,
    cut,
    details_of,
    packed,
    unpacked,
)
from hingfs.version import Validator

ALL = Details("sora-2", "A cat", 8.0, "1280x720", 1.5e9, 1.5e9 + 60.25, 1.6e9, '"tag"')


def content(
    video_id: str = "v", etag: str | None = None, completed_at: float | None = None
) -> Content:
    return Content("e", video_id, 9, Validator(etag), completed_at=completed_at)


def status(prompt: str | None, model: str | None = None) -> Status:
    description = Description(model, prompt, 8.0, "1280x720")
    return Status(
        *(State.READY, "completed", "", 1.5e9 + 60.25, 1.5e9, 1.6e9),
        description=description,
    )


def bytes_on_ext4(attributes: dict[str, bytes]) -> int:
    """As ext4 lays them out: entries from above, values from below, padded to 4."""
    entries = sum(16 + -(-len(name[5:]) // 4) * 4 for name in attributes)
    return entries + sum(-(-len(value) // 4) * 4 for value in attributes.values())


def test_what_is_told_has_names_and_what_is_not_has_none():
    details = details_of(content(etag='"tag"'), status("A cat", "sora-2"))

    assert details == ALL
    assert attributes_of("v", details) == {
        "user.hingfs.id": b"v",
        "user.hingfs.model": b"sora-2",
        "user.hingfs.prompt": b"A cat",
        "user.hingfs.seconds": b"8",
        "user.hingfs.resolution": b"1280x720",
        "user.hingfs.created_at": b"2017-07-14T02:40:00Z",
        "user.hingfs.completed_at": b"2017-07-14T02:41:00.250000Z",
        "user.hingfs.expires_at": b"2020-09-13T12:26:40Z",
        "user.hingfs.etag": b'"tag"',
    }
    assert attributes_of("v", Details()) == {"user.hingfs.id": b"v"}


def test_without_a_status_there_is_what_the_version_tells():
    details = details_of(content(etag='"tag"', completed_at=1.5e9), UNSAID)

    assert details == Details(completed_at=1.5e9, etag='"tag"')


@pytest.mark.parametrize(
    ("seconds", "text"), [(8.0, "8"), (10.0, "10"), (5.04, "5.04")]
)
def test_a_length_is_as_short_as_can_be(seconds, text):
    found = attributes_of("v", Details(seconds=seconds))

    assert found["user.hingfs.seconds"].decode() == text


@pytest.mark.parametrize("prompt", ["x" * 100_000, "猫" * 40_000, "🐈" * 30_000, "a"])
@pytest.mark.parametrize("video_id", ["v", "i" * 1016, "猫" * 338])
@pytest.mark.parametrize("etag", [None, '"' + "é" * 511])
def test_all_of_a_file_fits_one_block_of_ext4(prompt, video_id, etag):
    model = "模" * 128
    details = details_of(content(video_id, etag), status(prompt, model))
    attributes = attributes_of(video_id, details)

    assert bytes_on_ext4(attributes) <= MOST_BYTES
    assert len(attributes) == 8 + (etag is not None)
    text = attributes[PROMPT].decode()
    if len(prompt) > 1:
        assert text.endswith(f" […cut: {len(prompt.encode()):,} bytes in all]")
        assert prompt.startswith(text.partition(" […")[0])
        assert len(attributes[PROMPT]) >= 500
    else:
        assert text == prompt


@given(st.text(), st.integers(0, 200))
def test_a_cut_text_is_no_longer_than_it_may_be(text, most):
    text = text.encode("utf-8", "replace").decode()

    short = cut(text, most)

    assert len(short.encode()) <= most
    assert short == text or short.endswith("bytes in all]") or short == ""


@pytest.mark.parametrize("details", [ALL, Details(), replace(ALL, prompt="猫\n🐈")])
def test_details_are_written_down_and_read_again(details):
    assert unpacked(packed(details)) == details


@pytest.mark.parametrize(
    "text",
    [
        *("", "no JSON", "[]", "7", "null"),
        json.dumps({"seconds": True, "model": 7, "prompt": ["a"], "else": "b"}),
        json.dumps({"expires_at": math.inf, "created_at": math.nan, "seconds": -1}),
        json.dumps({"completed_at": 10**400}),
    ],
)
def test_a_text_of_somebody_else_tells_nothing(text):
    assert unpacked(text) in (None, Details())


def test_a_prompt_is_in_no_text_for_people():
    assert "A cat" not in repr(ALL)
