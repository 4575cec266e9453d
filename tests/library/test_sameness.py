"""When a known version is compared with the server's: what that costs, and what decides."""

from types import SimpleNamespace
from typing import Any

import pytest

from hingfs.api.judgement.verdict import Facts
from hingfs.content import Content
from hingfs.library.known import VideoFile
from hingfs.library.sameness import Sameness
from hingfs.version import Validator
from tests.support.sources import ENDPOINT

TAG, OTHER = Validator('"a"'), Validator('"b"')
DATE = Validator(None, "Thu, 26 Nov 2026 12:00:00 GMT")
UNTOLD = Validator()
SIZE = 1000


class Server:
    """What `Sameness` asks: counts the samples of the content."""

    def __init__(
        self, *, differs: bool | None = False, completed_at: float | None = None
    ) -> None:
        self.samples = 0
        self._completed_at = completed_at
        self._differs = differs
        self.validators = self

    def differs(self, _content: Content, _held: bytes) -> bool | None:
        self.samples += 1
        return self._differs

    def shifts(self, *_seen: object) -> bool:
        return False

    def completed_at(self, _video_id: str) -> float | None:
        return self._completed_at


def is_same(
    server: Server, known: Validator, seen: Validator, *, ranges: bool | None = True
) -> bool:
    content = Content(ENDPOINT, "v", SIZE, known, ranges=ranges)
    spools: Any = SimpleNamespace(first_bytes=lambda *_: b"held")
    sameness = Sameness(server, spools)  # type: ignore[arg-type]
    facts = Facts(SIZE, seen, ranges)
    return sameness.is_same(VideoFile("v", content, 0, 1), facts)


@pytest.mark.parametrize("told", [TAG, DATE])
def test_a_validator_that_agrees_needs_no_sample(told):
    server = Server(differs=True)

    assert is_same(server, told, told)
    assert server.samples == 0


@pytest.mark.parametrize(
    ("known", "seen"), [(TAG, UNTOLD), (DATE, UNTOLD), (TAG, DATE)]
)
@pytest.mark.parametrize("differs", [False, True])
def test_facts_that_tell_nothing_of_it_are_not_enough(known, seen, differs):
    server = Server(differs=differs)

    assert is_same(server, known, seen) is not differs
    assert server.samples == 1


@pytest.mark.parametrize(("ranges", "samples"), [(True, 1), (None, 1), (False, 0)])
def test_where_no_answer_has_a_validator_a_sample_may_cost_the_whole_file(
    ranges, samples
):
    """So a server that ignores ranges is not asked for one."""
    server = Server()

    assert is_same(server, UNTOLD, UNTOLD, ranges=ranges)
    assert server.samples == samples


def test_a_validator_that_contradicts_is_another_file():
    assert not is_same(Server(), TAG, OTHER)


@pytest.mark.parametrize(
    ("completed_at", "same"), [(None, True), (0, True), (9, False)]
)
def test_where_a_sample_costs_the_whole_file_the_time_decides(completed_at, same):
    server = Server(completed_at=completed_at)

    assert is_same(server, UNTOLD, UNTOLD, ranges=False) is same
    assert server.samples == 0
