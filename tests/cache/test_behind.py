"""What waits to be written: in which runs it is given, and when its room is free again."""

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from hingfs.cache.behind import RUN_BYTES, Behind, Piece
from hingfs.errors import TransportError
from hingfs.workers import Worker
from tests.support.mounting import eventually

HALF = bytes(RUN_BYTES // 2)  # the same bytes for all pieces: they take no memory


class Held:
    """Work whose runs the test sees, and lets end."""

    def __init__(self) -> None:
        self.runs: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self._may_end = threading.Semaphore(0)

    def work(self, pieces: Sequence[Piece]) -> None:
        self.runs.put([offset // len(HALF) for offset, _ in pieces])
        assert self._may_end.acquire(timeout=10)

    def next(self) -> list[int]:
        """The pieces of the next run, which goes on until `end`."""
        return self.runs.get(timeout=10)

    def end(self) -> None:
        self._may_end.release()


@pytest.fixture
def behind() -> Iterator[Behind]:
    behind = Behind(3 * RUN_BYTES)
    yield behind
    behind.close()
    assert behind.join(10)


def put(behind: Behind, owner: Held, *halves: int) -> list[bool]:
    """Put half a run at each place."""
    return [behind.put(owner, half * len(HALF), [HALF]) for half in halves]


def begin(behind: Behind, owner: Held, half: int) -> None:
    """Have a run of *owner* being written, so that all else waits."""
    assert behind.put(owner, half * len(HALF), [HALF, HALF])
    assert owner.next() == [half]


def test_neighbours_are_one_run_and_owners_take_turns(behind):
    one, other = Held(), Held()
    begin(behind, one, 8)
    assert put(behind, one, 2, 0) + put(behind, other, 7) == [True] * 3
    assert put(behind, one, 1) == [True]

    one.end()
    assert one.next() == [0, 1]
    one.end()
    assert other.next() == [7]
    other.end()
    assert one.next() == [2]
    one.end()
    assert behind.settle(10)


def test_each_run_that_is_written_makes_room_for_another(behind):
    owner = Held()
    begin(behind, owner, 0)
    assert put(behind, owner, 2, 3, 4, 5, 6) == [True] * 4 + [False]
    assert behind.dropped_bytes == len(HALF)

    owner.end()
    assert owner.next() == [2, 3]
    assert put(behind, owner, 6, 7, 8) == [True, True, False]

    for run in ([4, 5], [6, 7]):
        owner.end()
        assert owner.next() == run
    owner.end()
    assert behind.settle(10)


def test_what_waits_already_is_taken_once_and_needs_no_room(behind):
    """Also a part of it, and where the queue is full; of another owner it is other bytes."""
    owner, other = Held(), Held()
    begin(behind, owner, 0)
    assert behind.put(owner, 2 * len(HALF), [HALF, HALF])
    assert put(behind, owner, 3) + put(behind, other, 3, 4) == [True] * 3
    assert behind.put(owner, 2 * len(HALF) + 1, [HALF[1:]])
    assert put(behind, owner, 1, 4) == [False, False]

    owner.end()
    assert owner.next() == [2]
    owner.end()
    assert other.next() == [3, 4]
    other.end()
    assert behind.settle(10)


@pytest.mark.parametrize("wait", ["settle", "put"])
def test_whoever_waits_goes_on_if_no_thread_can_be_started(monkeypatch, wait):
    """What was given is dropped then, and counted; the next work tries again."""
    behind, owner = Behind(0), Held()
    waits = threading.Event()

    def refuse(_: Worker) -> None:
        assert waits.wait(10)
        with behind._changed:  # it is free: who came to wait has begun to
            pass
        raise TransportError("no thread can be started")

    wait_for = behind._changed.wait_for

    def told(predicate: Callable[[], bool], seconds: float | None = None) -> bool:
        waits.set()
        return wait_for(predicate, seconds)

    with ThreadPoolExecutor() as threads, monkeypatch.context() as patched:
        patched.setattr(Worker, "start", refuse)
        patched.setattr(behind._changed, "wait_for", told)
        first = threads.submit(behind.put, owner, 0, [HALF] * 4)
        eventually(lambda: behind._held_bytes, "it is given")
        if wait == "settle":
            ended = threads.submit(behind.settle, 60.0)
        else:
            ended = threads.submit(behind.put, owner, 4 * len(HALF), [HALF], 60.0)
        assert ended.result(10)
        assert first.result(10)
    assert behind.dropped_bytes >= 4 * len(HALF)


def test_it_keeps_up_while_little_waits_and_no_end_is_near(behind):
    owner = Held()
    begin(behind, owner, 0)
    assert put(behind, owner, 2) == [True]
    assert behind.keeps_up
    assert put(behind, owner, 3) == [True]
    assert not behind.keeps_up

    owner.end()
    assert owner.next() == [2, 3]
    assert behind.keeps_up

    behind.close()
    assert not behind.keeps_up
    owner.end()
