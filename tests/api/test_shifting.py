# ruff: noqa: ARG002 (fakes get what the real ones use)
"""Samples show whether validators change while the bytes do not, and what follows."""

import threading

import pytest

from hingfs.api.beliefs import Belief
from hingfs.api.endpoint_facts import EndpointFacts
from hingfs.api.shifting import MOST_SAMPLES, SAMPLE, Settling, Trial
from hingfs.content import Content
from hingfs.errors import ContentChanged, ServerBroken
from hingfs.version import Validator
from tests.support.sources import ENDPOINT

OPENED, B, C, D, E = (Validator(f'"{letter}"') for letter in "abcde")
DATED = Validator(None, "Thu, 26 Nov 2026 12:00:00 GMT")
FULL = bytes(SAMPLE.stop)
OTHER = bytes([1]) * SAMPLE.stop
SHORT = bytes(100)


@pytest.mark.parametrize(
    ("seen", "samples", "shifts", "tells_nothing"),
    [
        ([B, B], [], False, False),
        ([B, B], [(B, FULL)] * 4, False, False),
        ([B, C], [], True, False),
        ([B, B], [(C, FULL)], True, False),
        ([B, B], [(OPENED, FULL)], True, False),
        # A fresh copy each time; two edges by turns.
        ([B], [(B, FULL), (C, FULL), (D, FULL), (E, FULL)], True, True),
        ([B], [(OPENED, FULL), (B, FULL), (B, FULL), (OPENED, FULL)], True, True),
        # One answer of four is odd, and perhaps a lie.
        ([B], [(OPENED, FULL), (OPENED, FULL), (C, FULL), (OPENED, FULL)], True, False),
        ([B], [(OPENED, FULL), (B, FULL), (C, FULL), (OPENED, FULL)], True, False),
        ([B], [(B, FULL), (C, FULL), (D, FULL)], True, False),
        ([B], [(B, FULL), (C, FULL), (D, FULL), (E, OTHER)], True, False),
        ([B], [(B, SHORT), (C, SHORT), (D, SHORT), (E, SHORT)], True, False),
        ([B, B], [(Validator(), FULL)] * 4, True, False),  # another one has none
        ([B], [(B, FULL), (DATED, FULL)], True, False),
    ],
)
def test_samples_tell_a_shift_from_a_change(seen, samples, shifts, tells_nothing):
    trial = Trial(OPENED, seen, samples)

    assert trial.shifts is shifts
    assert trial.tells_nothing is tells_nothing


class Samples:
    """Gives samples in turn, then none, and one validator for HEAD."""

    def __init__(self, *samples, head=None) -> None:
        self._samples = iter(samples)
        self._head = head
        self.asked = 0

    def sample(self, content):
        self.asked += 1
        try:
            return next(self._samples)
        except StopIteration:
            raise ServerBroken("no more") from None

    def head_validator(self, video_id):
        return self._head


def content(video_id: str = "v") -> Content:
    return Content(ENDPOINT, video_id, 1_000_000, OPENED, ranges=True)


def test_a_file_that_settled_on_another_validator_is_changed():
    api = Samples(*[(B, FULL)] * 9, head=B)

    with pytest.raises(ContentChanged):
        Settling(api, EndpointFacts.of_stranger()).settle(content(), [B, B])

    assert api.asked == MOST_SAMPLES


def test_without_a_sample_two_answers_are_believed():
    with pytest.raises(ContentChanged):
        Settling(Samples(), EndpointFacts.of_stranger()).settle(content(), [B, B])


def test_a_video_that_contradicts_itself_is_read_whole():
    video = content()

    Settling(Samples((C, FULL)), EndpointFacts.of_stranger()).settle(video, [B])

    assert video.shifting
    assert video.ranges is False
    assert not video.contradicted_by(D)
    assert not video.hand_out()


def test_what_was_handed_out_goes_on_where_its_validator_comes_again():
    video = content()
    assert video.hand_out()

    Settling(Samples((OPENED, FULL)), EndpointFacts.of_stranger()).settle(video, [B])

    assert video.recurring
    assert not video.shifting
    assert video.contradicted_by(B)
    assert video.hand_out()


def test_a_head_of_another_mind_is_not_asked_again():
    """HEAD shows one validator and GET always another: one answer of GET is taken."""
    facts, video = EndpointFacts.of_stranger(), content()

    Settling(Samples(*[(B, FULL)] * 4, head=OPENED), facts).settle(video, [B, B])

    assert video.shifting
    assert not facts.head.is_believed_of("v")


def test_bytes_under_the_validator_of_head_are_not_told_from_a_change():
    video = content()
    video.hand_out()

    with pytest.raises(ContentChanged):
        Settling(
            Samples(*[(B, FULL)] * 4, head=OPENED), EndpointFacts.of_stranger()
        ).settle(video, [B, B])


def test_two_videos_with_equal_bytes_end_the_belief_for_all():
    facts = EndpointFacts.of_stranger()
    first, second, third = (content(video_id) for video_id in "vwx")
    each = [(B, FULL), (C, FULL), (D, FULL), (E, FULL)]

    Settling(Samples(*each), facts).settle(first, [D])
    assert first.shifting
    assert facts.beliefs.holds(Belief.VALIDATORS)
    Settling(Samples(*each), facts).settle(second, [D])

    assert not facts.beliefs.holds(Belief.VALIDATORS)
    assert second.shifting
    settling = Settling(Samples(), facts)
    settling.believe(third)
    assert third.shifting


def test_what_goes_on_by_its_own_validator_is_left_so_without_the_belief():
    facts, video = EndpointFacts.of_stranger(), content()
    for video_id in "wx":
        facts.delivery.validators_contradicted(video_id)
    video.hand_out()
    video.keep_to_ranges()

    Settling(Samples(), facts).believe(video)

    assert not video.shifting
    assert video.contradicted_by(B)


UNTOLD = Validator()


@pytest.mark.parametrize(
    ("held", "samples", "differs"),
    [
        # Its validator decides where it is the same, or nothing is held.
        (b"", [(OPENED, FULL)], False),
        (b"", [(UNTOLD, FULL)], None),
        (FULL, [(OPENED, FULL)], False),
        (FULL, [(UNTOLD, FULL)], False),
        (FULL, [(OPENED, OTHER)], True),
        # Another validator is another file, unless it shifts.
        (FULL, [(B, FULL)] * 5, True),
        (b"", [(B, FULL)] * 5, True),
        (FULL, [(B, FULL), (OPENED, FULL)] * 3, False),
        (FULL, [(B, FULL), (C, FULL)] * 3, False),
        (FULL, [(B, OTHER), (C, FULL)] * 3, True),
    ],
)
def test_the_validator_of_a_sample_tells_another_file(held, samples, differs):
    settling = Settling(Samples(*samples), EndpointFacts.of_stranger())

    assert settling.differs(content(), held) is differs


@pytest.mark.parametrize("seen", [[B, B], [B]])
def test_an_answer_without_validators_is_not_the_opened_one_again(seen):
    """It may be of the new bytes: then the file is read whole, and proved."""
    video = content()
    video.hand_out()
    settling = Settling(Samples(*[(UNTOLD, FULL)] * 4), EndpointFacts.of_stranger())

    assert settling.shifts(video, seen)

    assert (video.shifting, video.recurring) == (True, False)


@pytest.mark.parametrize(
    ("held", "samples", "differs"),
    [
        (FULL, [(B, FULL)], False),
        (FULL, [(B, OTHER)], True),
        (SHORT, [(B, FULL)], False),
        (SHORT, [(B, OTHER)], True),
        (FULL, [(B, SHORT)], False),
        (FULL, [(B, b"")], None),
        (b"", [(B, FULL)], None),
        (FULL, [], None),
    ],
)
def test_what_is_held_tells_another_file(held, samples, differs):
    """None: neither was there to be compared."""
    untold = Content(ENDPOINT, "v", 1_000_000, UNTOLD, ranges=True)
    settling = Settling(Samples(*samples), EndpointFacts.of_stranger())

    assert settling.differs(untold, held) is differs


def test_other_bytes_under_other_validators_say_nothing_of_the_endpoint():
    facts = EndpointFacts.of_stranger()
    for video_id in "vwxy":
        video = content(video_id)
        Settling(Samples((B, FULL), (C, OTHER), (D, SHORT)), facts).settle(video, [D])
        assert video.shifting

    assert facts.beliefs.holds(Belief.VALIDATORS)


def test_no_byte_is_handed_out_by_ranges_once_it_is_read_whole():
    """Of many readers, each is told before or after, and none in between."""
    for _ in range(50):
        video = content()
        barrier = threading.Barrier(4)
        handed: list[tuple[bool, bool]] = []

        def read(video=video, barrier=barrier, handed=handed) -> None:
            barrier.wait()
            allowed = video.hand_out()
            handed.append((allowed, video.handed_out))

        threads = [threading.Thread(target=read) for _ in range(3)]
        for thread in threads:
            thread.start()
        barrier.wait()
        video.take_whole()
        for thread in threads:
            thread.join()

        assert all(marked for allowed, marked in handed if allowed)
        assert not video.hand_out()
        assert video.handed_out is any(allowed for allowed, _ in handed)
