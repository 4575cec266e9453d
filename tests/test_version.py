"""Which bytes a video is: when two versions are the same."""

import json
import pickle
from dataclasses import asdict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.version import Validator, VideoVersion
from tests.support.sources import ENDPOINT

TAGS = ('"a"', '"b"')

validators = st.builds(
    Validator, st.sampled_from([None, *TAGS]), st.sampled_from([None, "x", "y"])
)
versions = st.builds(
    VideoVersion,
    st.sampled_from([ENDPOINT, "https://b.test"]),
    st.sampled_from("vw"),
    st.integers(0, 1),
    validators,
    st.sampled_from([1, 2]),
) | st.builds(
    VideoVersion,
    st.just(ENDPOINT),
    st.sampled_from("vw"),
    st.integers(0, 1),
    st.builds(Validator, st.sampled_from(TAGS), st.sampled_from([None, "x"])),
)


@pytest.mark.parametrize(
    ("first", "second", "contradicts"),
    [
        (Validator(), Validator(), False),
        (Validator('"a"'), Validator(), False),
        (Validator('"a"'), Validator('"b"'), True),
        (Validator('"a"', "x"), Validator('"a"', "y"), False),
        (Validator(None, "x"), Validator('"a"', "y"), True),
        (Validator('"a"', "x"), Validator(None, "x"), False),
    ],
)
def test_validators_contradict_each_other_or_not(first, second, contradicts):
    assert first.contradicts(second) is contradicts
    assert second.contradicts(first) is contradicts


class TestVideoVersion:
    @pytest.mark.parametrize(
        ("first", "second", "equal"),
        [
            # With a strong ETag, by that.
            ((Validator('"a"'), None), (Validator('"a"'), None), True),
            ((Validator('"a"', "x"), None), (Validator('"a"', "y"), None), True),
            ((Validator('"a"', "x"), None), (Validator('"b"', "x"), None), False),
            # Without one, by the sighting as well.
            ((Validator(None, "x"), 1), (Validator(None, "x"), 1), True),
            ((Validator(None, "x"), 1), (Validator(None, "x"), 2), False),
            ((Validator(None, "x"), 1), (Validator(None, "y"), 1), False),
            ((Validator(), 1), (Validator(), 1), True),
            ((Validator(), 1), (Validator(), 2), False),
            ((Validator(), 1), (Validator(None, "x"), 1), False),
            # An ETag that proves nothing.
            ((Validator('"a"'), 1), (Validator('"a"'), 1), True),
            ((Validator('"a"'), 1), (Validator('"a"'), 2), False),
            ((Validator('"a"'), 1), (Validator('"a"'), None), False),
            ((Validator('"a"'), 1), (Validator(), 1), False),
        ],
    )
    def test_the_rules_of_equality(self, first, second, equal):
        one, other = (
            VideoVersion(ENDPOINT, "v", 10, validator, sighting)
            for validator, sighting in (first, second)
        )

        assert (one == other) is equal
        assert (len({one, other}) == 1) is equal

    @pytest.mark.parametrize(
        "other", [("https://b.test", "v", 10), (ENDPOINT, "w", 10), (ENDPOINT, "v", 11)]
    )
    def test_endpoint_id_and_size_count(self, other):
        tag = Validator('"a"')
        endpoint, video_id, size_bytes = other

        version = VideoVersion(endpoint, video_id, size_bytes, tag)

        assert VideoVersion(ENDPOINT, "v", 10, tag) != version

    @pytest.mark.parametrize(
        ("size_bytes", "validator"),
        [(-1, Validator('"a"')), (10, Validator()), (10, Validator(None, "x"))],
    )
    def test_what_tells_no_version_is_none(self, size_bytes, validator):
        with pytest.raises(ValueError, match="version"):
            VideoVersion(ENDPOINT, "v", size_bytes, validator)

    def test_a_version_equals_nothing_of_another_kind(self):
        assert VideoVersion(ENDPOINT, "v", 10, Validator('"a"')) != "v"

    @given(versions, versions)
    def test_equal_ones_hash_equal(self, one, other):
        assert (one == other) is (other == one)
        assert one != other or hash(one) == hash(other)

    @given(versions)
    def test_a_version_written_down_and_read_back_is_equal(self, version):
        hash(version)
        fields = json.loads(json.dumps(asdict(version)))
        fields["validator"] = Validator(**fields["validator"])

        assert VideoVersion(**fields) == version
        assert pickle.loads(pickle.dumps(version)) == version

    def test_its_key_is_one_text_whatever_the_fields_hold(self):
        """Also where one field holds what would end another in a plainer text."""
        tags = ('"a"', '"a", 10', '["a"]', "\udc80", "null")
        versions = [
            VideoVersion(ENDPOINT, video_id, 10, validator, 1)
            for video_id in ("v", 'v", 10, "', "v\udc80", "视频")
            for validator in [
                *(Validator(tag) for tag in tags),
                *(Validator(None, tag) for tag in tags),
                Validator(),
            ]
        ]

        keys = {version.key for version in versions}

        assert len(keys) == len(versions)
        assert all(key.isascii() for key in keys)
        assert {version.key for version in pickle.loads(pickle.dumps(versions))} == keys
