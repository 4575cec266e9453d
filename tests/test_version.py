"""Which bytes a video is, and what is learnt about serving them."""

import json
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.version import Content, Validator, VideoVersion
from tests.support.sources import ENDPOINT

AABA = ('"a"', '"a"', '"b"', '"a"')
ABCD = ('"a"', '"b"', '"c"', '"d"')

validators = st.builds(
    Validator, st.sampled_from([None, *ABCD[:2]]), st.sampled_from([None, "x", "y"])
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
    st.builds(Validator, st.sampled_from(ABCD[:2]), st.sampled_from([None, "x"])),
)


class TestContent:
    def test_two_versions_are_never_equal(self):
        first, second = (Content(ENDPOINT, "v", 10, Validator('"a"')) for _ in range(2))

        assert first != second
        assert len({first, second}) == 2

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
    def test_validators_contradict_each_other_or_not(self, first, second, contradicts):
        assert first.contradicts(second) is contradicts
        assert second.contradicts(first) is contradicts

    def test_an_entity_tag_that_it_lacks_is_learnt_from_the_first_that_has_one(self):
        content = Content(ENDPOINT, "v", 10, Validator(None, "today"))

        assert content.learn(Validator(None, "today"))
        assert content.learn(Validator('"a"', "today"))
        assert not content.learn(Validator('"b"', "today"))
        assert content.learn(Validator(None, "today"))
        assert not content.learn(Validator(None, "tomorrow"))
        assert content.validator == Validator('"a"', "today")

    @pytest.mark.parametrize(
        ("validator", "ranges", "unproved"),
        [
            (Validator(), None, True),
            (Validator(), True, True),
            (Validator(), False, False),  # one answer holds it
            (Validator(None, "today"), True, False),
            (Validator('"a"'), True, False),
        ],
    )
    def test_without_a_validator_ranges_prove_nothing(
        self, validator, ranges, unproved
    ):
        content = Content(ENDPOINT, "v", 10, validator, ranges=ranges)

        assert content.unproved is unproved
        content.take_whole()
        assert content.unproved

    def test_of_many_answers_at_once_one_tells_the_entity_tag(self):
        for _ in range(50):
            content = Content(ENDPOINT, "v", 10, Validator())
            barrier = threading.Barrier(4)
            believed: list[str] = []

            def learn(tag, content=content, barrier=barrier, believed=believed):
                barrier.wait()
                if content.learn(Validator(tag)):
                    believed.append(tag)

            threads = [threading.Thread(target=learn, args=[t]) for t in ABCD]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert believed == [content.validator.etag]


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


class TestVersionOfContent:
    """Under which version the blocks of a sighting are kept."""

    @staticmethod
    def sighting(etag: str | None = '"a"', time: str | None = None, size: int = 10):
        return Content(ENDPOINT, "v", size, Validator(etag, time))

    def test_sightings_with_one_tag_are_of_one_version(self):
        first, again = self.sighting(time="x"), self.sighting(time="y")
        for content in (first, again):
            assert content.learn(Validator('"a"'))

        assert first.version == again.version
        assert first.version.sighting is None
        assert first.block_key(3) == again.block_key(3) == (first.version.key, 3)

    @pytest.mark.parametrize("time", [None, "x"])
    def test_without_a_tag_each_sighting_is_a_version_of_its_own(self, time):
        first, again = self.sighting(None, time), self.sighting(None, time)

        assert first.version == first.version
        assert first.version != again.version

    def test_the_tag_of_get_counts_where_head_tells_none(self):
        first, again = self.sighting(None, "x"), self.sighting(None, "x")
        assert first.version != again.version

        for content in (first, again):
            assert content.learn(Validator('"a"', "x"))

        assert first.version == again.version

    def test_what_came_without_a_tag_is_for_its_own_sighting(self):
        """HEAD tells one; an answer to GET has lost it, and may be of other bytes."""
        first, again = self.sighting(), self.sighting()
        proved = first.version
        assert first.learn(Validator('"a"'))
        assert first.version == proved

        assert first.learn(Validator())
        unproved = first.version
        assert first.learn(Validator('"a"'))

        assert again.version == proved != unproved
        assert first.version == unproved
        assert first.versions == [unproved, proved]

    def test_a_tag_that_comes_after_bytes_without_one_does_not_stand_for_them(self):
        content = self.sighting(None)
        before = content.version
        assert content.learn(Validator())
        assert content.learn(Validator('"a"'))

        assert content.validator.etag == '"a"'
        assert content.version == before

    def test_a_sighting_that_is_read_whole_is_a_version_of_its_own(self):
        content, again = self.sighting(), self.sighting()
        by_ranges = content.version

        content.take_whole()
        assert content.taken_from(Validator('"b"'))

        assert again.version == by_ranges
        assert content.version != by_ranges
        assert content.version.validator == Validator('"b"')
        assert content.version.sighting is not None
        assert by_ranges in content.versions

    def test_a_tag_that_told_no_change_proves_nothing_of_what_follows(self):
        first, second, third, fourth = (self.sighting(tag) for tag in AABA)
        before = first.version
        for earlier, later in pairwise((first, second, third, fourth)):
            later.comes_after(earlier)

        versions = {c.version for c in (first, second, third, fourth)}
        assert len(versions) == 4
        assert first.version == before

    def test_what_is_there_again_is_the_version_it_was(self):
        first, second, third = (self.sighting(tag) for tag in ('"a"', '"b"', '"a"'))
        second.comes_after(first)
        third.comes_after(second)

        assert third.version == first.version != second.version

    def test_what_has_changed_keeps_its_version(self):
        content = self.sighting()
        before = content.version

        content.found_changed()
        content.replaced()

        assert content.version == before

    def test_one_of_unknown_size_has_no_version(self):
        content = self.sighting(size=-1)
        assert content.version is None
        assert content.versions == []

        content.measured(20)

        assert content.version == self.sighting(size=20).version

    def test_many_threads_see_one_version(self):
        for _ in range(50):
            content = self.sighting(None)
            barrier = threading.Barrier(4)

            def look(content=content, barrier=barrier):
                barrier.wait()
                return content.version

            with ThreadPoolExecutor(4) as pool:
                seen = [future.result() for future in [pool.submit(look) for _ in ABCD]]
            assert len(set(seen)) == 1
