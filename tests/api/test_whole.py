"""A finished download is one answer's extent that agrees with all that came before."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.api.whole import UNKNOWN_SIZE
from hingfs.errors import BodyCut, ContentChanged, HingError
from tests.support.containers import mp4
from tests.support.personalities import ramp
from tests.support.whole_files import Pieces, download

WHOLE = ramp("v", 0, 4000)


@dataclass(frozen=True)
class Attempt:
    """One answer: of a file of *size* bytes, framed so, cut after *brings* of them.

    *resumes*: it goes on where it is asked to, else it starts again. *total* None: its
    Content-Range does not say how long the file is.
    """

    framing: str  # "length", "chunked" or "close"
    size: int
    brings: int | None = None
    resumes: bool = False
    total: bool = True
    whole: bytes = WHOLE

    def answer(self, start: int) -> Pieces:
        """The answer from *start* on."""
        data = self.whole[start : self.size]
        headers = {"Content-Type": "video/mp4"}
        if start:
            total = self.size if self.total else "*"
            headers["Content-Range"] = f"bytes {start}-{self.size - 1}/{total}"
        if self.framing == "length":
            headers["Content-Length"] = str(len(data))
        if self.framing == "chunked":
            headers["Transfer-Encoding"] = "chunked"
        cut = self.brings is not None and self.brings < self.size
        if self.brings is not None:
            data = data[: self.brings]
        return Pieces(
            206 if start else 200,
            headers,
            data,
            700,
            cut=cut and self.framing != "close",
        )


class Source:
    """Answers with one attempt after the other, the last of them for ever."""

    def __init__(self, *attempts: Attempt) -> None:
        self._attempts = list(attempts)
        self.given: list[Attempt] = []

    def __call__(self, offset: int) -> Pieces:
        attempt = self._attempts[min(len(self.given), len(self._attempts) - 1)]
        self.given.append(attempt)
        resumes = attempt.resumes and offset < attempt.size
        return attempt.answer(offset if resumes else 0)


def bytes_from(source: Source) -> bytes:
    """The bytes of a download of unknown size; raises the error that ended it."""
    outcome = download(source)
    if outcome.error is not None:
        raise outcome.error
    return outcome.data


FRAMINGS = ["length", "chunked", "close"]
attempts = st.builds(
    Attempt,
    st.sampled_from(FRAMINGS),
    st.sampled_from([1500, 2800, 4000]),
    st.none() | st.integers(0, 4000),
    st.booleans(),
    st.booleans(),
)


@given(st.lists(attempts, min_size=1, max_size=6))
def test_what_is_finished_is_the_extent_of_one_answer(attempts: list[Attempt]) -> None:
    """And of the longest, whatever the others were of, and wherever they broke off."""
    source = Source(*attempts)

    try:
        got = bytes_from(source)
    except HingError:
        return

    last = source.given[-1]
    assert got == WHOLE[: len(got)]
    if last.framing != "close":
        assert len(got) == last.size
    # Nothing tells that a body is cut which ends where its connection does; it can only
    # be shorter than what came before.
    for attempt in source.given:
        assert attempt.resumes or len(got) >= min(attempt.size, attempt.brings or 0)


@pytest.mark.parametrize("size", [UNKNOWN_SIZE, 4000])
@pytest.mark.parametrize("framing", FRAMINGS)
@pytest.mark.parametrize("resumes", [False, True])
def test_a_file_that_became_shorter_is_no_mixture(framing, resumes, size) -> None:
    """An answer ends properly before the end of an earlier one that broke off."""
    first = Attempt("chunked", 4000, brings=3000)
    source = Source(first, Attempt(framing, 2000, resumes=resumes))

    error = download(source, size).error

    # Of a known size, a body may as well be cut.
    told = framing == "length" or size == UNKNOWN_SIZE
    assert isinstance(error, ContentChanged if told else BodyCut)
    assert len(source.given) <= 5


@pytest.mark.parametrize("framing", FRAMINGS)
def test_one_answer_that_ends_too_early_is_a_fault_that_passes(framing) -> None:
    first = Attempt("chunked", 4000, brings=3000)
    source = Source(first, Attempt(framing, 2000), Attempt("chunked", 4000))

    assert bytes_from(source) == WHOLE


def test_a_part_that_does_not_reach_the_end_is_gone_on_from() -> None:
    """A server may send less of a range than was asked for."""
    first = Attempt("chunked", 4000, brings=1000)
    part = Attempt("chunked", 4000, brings=500, resumes=True)
    source = Source(first, part, part, Attempt("length", 4000, resumes=True))

    assert bytes_from(source) == WHOLE


@pytest.mark.parametrize("framing", FRAMINGS)
def test_a_part_of_a_file_whose_length_nobody_tells_proves_nothing(framing) -> None:
    first = Attempt("chunked", 4000, brings=1000)
    part = Attempt(framing, 2000, resumes=True, total=False)
    source = Source(first, part, Attempt("chunked", 4000))

    assert bytes_from(source) == WHOLE
    assert len(source.given) == 3


@pytest.mark.parametrize("size", [UNKNOWN_SIZE, 4000])
def test_a_part_of_a_file_of_another_length_is_not_added(size) -> None:
    """By ranges, nothing but the total tells that another file is being read."""
    longer = ramp("v", 0, 4000) + b"x" * 1000
    first = Attempt("length", 4000, brings=1000)
    source = Source(first, Attempt("length", 5000, resumes=True, whole=longer))

    outcome = download(source, size)

    assert isinstance(outcome.error, ContentChanged)
    assert outcome.data == WHOLE[:1000]


FILM = mp4(bytes(range(256)) * 8)


def test_a_container_that_ends_where_its_connection_does_is_whole() -> None:
    source = Source(Attempt("close", len(FILM), whole=FILM))

    assert bytes_from(source) == FILM
    assert len(source.given) == 1


@pytest.mark.parametrize("brings", [20, 700, len(FILM) - 1])
def test_a_container_that_is_cut_with_its_connection_is_not_whole(brings) -> None:
    """Without a length, nothing but its boxes tells."""
    cut = Attempt("close", len(FILM), brings=brings, whole=FILM)
    source = Source(cut, Attempt("close", len(FILM), whole=FILM))

    assert bytes_from(source) == FILM


def test_a_container_that_ends_twice_at_one_place_is_taken() -> None:
    """The end of some containers cannot be told; their files are whole all the same."""
    odd = FILM + b"odd"
    source = Source(Attempt("close", len(odd), whole=odd))

    assert bytes_from(source) == odd
    assert len(source.given) == 2
