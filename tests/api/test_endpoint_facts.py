"""Facts about an endpoint: how much evidence they take, how long they hold, one log line."""

import logging

import pytest

from hingfs.api.beliefs import LESSON_SECONDS, Belief
from hingfs.api.endpoint_facts import EndpointFacts


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def facts(clock: Clock) -> EndpointFacts:
    return EndpointFacts.of_stranger(clock)


@pytest.fixture
def story(caplog):
    """The lines that tell the story of the server."""
    caplog.set_level(logging.INFO, "hingfs.api.beliefs")
    return lambda: [
        record.getMessage()
        for record in caplog.records
        if record.name == "hingfs.api.beliefs"
    ]


@pytest.mark.parametrize("code", [405, 501])
def test_a_method_that_is_not_there_ends_head_at_once(facts, code, story):
    facts.head.refused(code)

    assert not facts.beliefs.holds(Belief.HEAD)
    (line,) = story()
    assert "HEAD" in line
    assert str(code) in line


@pytest.mark.parametrize("code", [200, 304, 400, 401, 403, 404, 408, 429, 500, 503])
def test_any_other_answer_to_head_alone_ends_nothing(facts, code, story):
    facts.head.refused(code)

    assert facts.beliefs.holds(Belief.HEAD)
    assert story() == []


@pytest.mark.parametrize(
    ("code", "videos"),
    [(404, 1), (302, 2), (200, 2), (400, 2), (401, 2), (403, 2), (406, 2), (410, 2)],
)
def test_get_must_contradict_head_for_as_many_videos(facts, code, videos):
    for number in range(videos):
        assert facts.beliefs.holds(Belief.HEAD)
        for _ in range(3):  # the same one again says no more
            facts.head.contradicted(f"v{number}", code)

    assert not facts.beliefs.holds(Belief.HEAD)


@pytest.mark.parametrize("code", [408, 429, 500, 502, 503, 504, 520])
def test_trouble_that_passes_says_nothing_of_head(facts, code):
    for number in range(9):
        facts.head.contradicted(f"v{number}", code)

    assert facts.beliefs.holds(Belief.HEAD)
    assert facts.head.is_believed_of("v1")


def test_head_is_not_asked_about_the_one_video_of_which_it_lied(facts):
    facts.head.contradicted("v", 200)

    assert not facts.head.is_believed_of("v")
    assert facts.head.is_believed_of("w")


def test_validators_are_disbelieved_after_two_videos_for_a_day(facts, clock, story):
    facts.delivery.validators_contradicted("v")
    facts.delivery.validators_contradicted("v")
    assert facts.beliefs.holds(Belief.VALIDATORS)

    facts.delivery.validators_contradicted("w")
    clock.now += LESSON_SECONDS - 1
    assert not facts.beliefs.holds(Belief.VALIDATORS)
    clock.now += 2

    assert facts.beliefs.holds(Belief.VALIDATORS)
    assert facts.beliefs.holds(Belief.VALIDATORS)
    ended, resumed = story()
    assert "ETag" in ended
    assert "a day has passed" in resumed
    facts.delivery.validators_contradicted("w")  # all of it must be seen again
    assert facts.beliefs.holds(Belief.VALIDATORS)


def test_a_status_that_was_told_outweighs_all_that_says_there_is_none(facts, story):
    facts.status.missing("404")
    assert not facts.beliefs.holds(Belief.STATUS)

    facts.status.told()
    facts.status.missing("404")

    assert facts.beliefs.holds(Belief.STATUS)
    assert len(story()) == 2


def test_a_list_that_is_given_again_is_believed_again(facts, story):
    facts.list.withheld("403")
    facts.list.withheld("403")
    assert not facts.beliefs.holds(Belief.LIST)

    facts.list.came()

    assert facts.beliefs.holds(Belief.LIST)
    assert len(story()) == 2


def test_a_refusal_is_about_the_video_where_the_token_is_good_for_others(facts):
    assert not facts.token.is_about_video("v")  # nothing was ever had
    facts.token.served()

    assert facts.token.is_about_video("v")
    assert facts.token.is_about_video("v")
    assert not facts.token.is_about_video("w")  # two in a row
    facts.token.served()
    assert facts.token.is_about_video("w")

    facts.token.renewed()
    assert not facts.token.is_about_video("w")
    assert facts.token.has_served


def test_what_a_server_says_reaches_the_log_in_one_line(facts, story):
    facts.list.withheld("403\nFORGED\x1b[31m")

    (line,) = story()
    assert "\n" not in line
    assert "\x1b" not in line


class TestWhatItCosts:
    def test_nothing_is_cheap_before_a_size_was_told(self, facts):
        assert not facts.delivery.sizes_are_cheap
        facts.delivery.size_told()
        assert facts.delivery.sizes_are_cheap

    def test_one_size_that_cost_all_is_enough(self, facts, clock, story):
        facts.delivery.size_told()
        for _ in range(3):
            facts.delivery.size_cost_all()
        facts.delivery.size_told()

        assert not facts.delivery.sizes_are_cheap
        (line,) = story()
        assert "not looked up ahead" in line
        clock.now += LESSON_SECONDS
        assert facts.delivery.sizes_are_cheap

    def test_two_late_videos_make_a_late_server_and_a_prompt_one_ends_it(
        self, facts, story
    ):
        facts.delivery.size_told()
        facts.delivery.began("v", 20.0)
        facts.delivery.began("v", 20.0)
        assert facts.delivery.may_be_asked_again
        facts.delivery.began("w", 20.0)
        assert not facts.delivery.may_be_asked_again
        facts.delivery.began("w", 0.1)
        assert facts.delivery.may_be_asked_again

        late, prompt = story()
        assert "however late" in late
        assert "no longer so" in prompt

    def test_where_a_size_cost_all_nothing_is_asked_for_twice(self, facts):
        assert not facts.delivery.may_be_asked_again
        facts.delivery.size_told()
        assert facts.delivery.may_be_asked_again
        facts.delivery.size_cost_all()
        assert not facts.delivery.may_be_asked_again
