"""Which bytes a video is, and what is learnt about serving them."""

import threading

import pytest

from hingfs.version import Content, Validator

ABCD = ('"a"', '"b"', '"c"', '"d"')


class TestContent:
    def test_two_versions_are_never_equal(self):
        first, second = (Content("v", 10, Validator('"a"')) for _ in range(2))

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
        content = Content("v", 10, Validator(None, "today"))

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
        content = Content("v", 10, validator, ranges=ranges)

        assert content.unproved is unproved
        content.take_whole()
        assert content.unproved

    def test_of_many_answers_at_once_one_tells_the_entity_tag(self):
        for _ in range(50):
            content = Content("v", 10, Validator())
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
