"""Answers that are kept for the download that follows: for whom, how many, how long."""

import pytest

from hingfs.api.begun import BegunAnswers


class FakeAnswer:
    def __init__(self) -> None:
        self.closed = False

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def begun():
    return BegunAnswers()


def test_what_is_kept_is_taken_once(begun):
    answer = FakeAnswer()
    begun.keep("v", answer)

    assert begun.has("v")
    assert begun.take("w") is None
    assert begun.take("v") is answer
    assert begun.take("v") is None
    assert not begun.has("v")
    assert not answer.closed


def test_a_later_answer_to_the_same_takes_its_place(begun):
    first, second = FakeAnswer(), FakeAnswer()
    begun.keep("v", first)
    begun.keep("v", second)

    assert first.closed
    assert begun.take("v") is second


def test_the_oldest_goes_where_there_are_too_many(begun):
    answers = {number: FakeAnswer() for number in range(10)}
    for number, answer in answers.items():
        begun.keep(f"v{number}", answer)

    assert [n for n, answer in answers.items() if answer.closed] == [0, 1]
    assert begun.take("v9") is answers[9]


@pytest.fixture
def forgetful():
    return BegunAnswers(kept_seconds=-1.0)


def test_what_nobody_takes_is_closed_after_a_while(forgetful):
    answer = FakeAnswer()
    forgetful.keep("v", answer)

    assert forgetful.take("v") is None
    assert answer.closed
