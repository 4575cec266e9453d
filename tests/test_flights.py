"""What several want at the same time is done once, and what has ended is done anew."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future

import pytest

from hingfs.errors import Closing, TransportError, VideoNotFound
from hingfs.flights import SingleFlight
from hingfs.workers import DaemonPool
from tests.support.mounting import eventually


class NoThreads:
    """A system that has no thread left."""

    def start(self, future: Future[object], *_job: object) -> None:  # noqa: ARG002
        raise TransportError("no thread can be started")


@pytest.fixture
def flights() -> SingleFlight:
    return SingleFlight()


@pytest.fixture
def threads() -> Iterator[DaemonPool]:
    threads = DaemonPool("test", 2)
    yield threads
    threads.close(Closing("the test is over"))


@pytest.fixture
def go_on() -> Iterator[threading.Event]:
    go_on = threading.Event()
    yield go_on
    go_on.set()


def test_who_comes_while_it_is_done_joins_it(flights, threads, go_on):
    first = flights.join("v", threads, go_on.wait)

    assert flights.join("v", threads, lambda: "another") is first
    assert not flights.begin("v", threads, lambda: "another")
    assert flights.join("w", threads, lambda: "w").future.result(10) == "w"
    go_on.set()
    assert first.future.result(10) is True


def test_nobody_joins_what_has_ended(flights, threads):
    """Else a caller who asks again, since it gave way, would hear the same again."""
    for number in range(200):
        flight = flights.join("v", threads, lambda number=number: number)
        flight.future.result(10)
        assert flight.outcome() == number
    assert len(flights) == 0


def test_each_who_joined_gets_an_error_of_its_own(flights, threads):
    """One that several raise grows by the frames of all of them."""

    def fail() -> None:
        raise VideoNotFound("gone")

    flight = flights.join("v", threads, fail)
    eventually(flight.future.done, "the end")
    errors = []
    for _ in range(2):
        with pytest.raises(VideoNotFound, match="gone") as caught:
            flight.outcome()
        errors.append(caught.value)

    assert errors[0] is not errors[1]


def test_what_no_thread_can_do_holds_up_nobody(flights, threads):
    for start in (flights.join, flights.begin):
        with pytest.raises(TransportError):
            start("v", NoThreads(), lambda: "never")

    assert flights.join("v", threads, lambda: "v").future.result(10) == "v"


def test_close_wakes_who_joined(flights, threads, go_on):
    waiting = flights.join("v", threads, go_on.wait)
    threads.close(Closing("the mount is ending"))

    for flight in (waiting, flights.join("w", threads, go_on.wait)):
        with pytest.raises(Closing):
            flight.outcome()


def test_only_the_first_who_gives_up_is_told_that(flights, threads, go_on):
    flight = flights.join("v", threads, go_on.wait)

    assert not flight.outlasted
    assert [flight.outlast(), flight.outlast()] == [True, False]
    assert flight.outlasted
