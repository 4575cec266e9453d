"""What is learnt about serving a version, and under which version its blocks are kept."""

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest

from hingfs.content import Content
from hingfs.version import Validator
from tests.support.sources import ENDPOINT

AABA = ('"a"', '"a"', '"b"', '"a"')
ABCD = ('"a"', '"b"', '"c"', '"d"')


class TestContent:
    def test_two_versions_are_never_equal(self):
        first, second = (Content(ENDPOINT, "v", 10, Validator('"a"')) for _ in range(2))

        assert first != second
        assert len({first, second}) == 2

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
