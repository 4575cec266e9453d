"""Daemon threads: jobs, their futures, and an end that waits for nobody."""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import wait

import pytest

from hingfs.errors import Closing, TransportError
from hingfs.workers import DaemonPool, Worker


@pytest.fixture
def pool() -> Iterator[DaemonPool]:
    pool = DaemonPool("test-pool", 3)
    yield pool
    pool.close(Closing("the test is over"))


def threads_of(name: str) -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name.startswith(name + "-")]


def test_a_future_holds_what_its_job_returns(pool):
    assert pool.submit(divmod, 17, 5).result(10) == (3, 2)


def test_a_future_holds_what_its_job_raises(pool):
    future = pool.submit(divmod, 1, 0)

    with pytest.raises(ZeroDivisionError):
        future.result(10)
    assert pool.submit(divmod, 17, 5).result(10) == (3, 2)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt, MemoryError])
def test_no_exception_ends_a_thread(error):
    pool = DaemonPool("test-lone", 1)

    def fail() -> None:
        raise error

    failed = pool.submit(fail)

    assert isinstance(failed.exception(10), error)
    assert pool.submit(int, "7").result(10) == 7


def test_jobs_run_beside_each_other_up_to_the_size_and_no_further():
    pool = DaemonPool("test-size", 3)
    go_on = threading.Event()
    running = threading.Semaphore(0)
    most = [0, 0]
    lock = threading.Lock()

    def job() -> None:
        with lock:
            most[0] += 1
            most[1] = max(most)
        running.release()
        go_on.wait(10)
        with lock:
            most[0] -= 1

    futures = [pool.submit(job) for _ in range(10)]
    for _ in range(3):
        assert running.acquire(timeout=10)
    assert not running.acquire(blocking=False)
    go_on.set()
    wait(futures, 10)

    assert most == [0, 3]
    assert len(threads_of("test-size")) <= 3


def test_threads_start_only_with_work_and_are_daemons():
    pool = DaemonPool("test-lazy", 5)
    assert threads_of("test-lazy") == []

    for _ in range(10):  # one at a time needs one thread
        pool.submit(int).result(10)

    (thread,) = threads_of("test-lazy")
    assert thread.daemon


def test_close_wakes_who_waits_for_running_and_for_queued_jobs(pool):
    go_on, started = threading.Event(), threading.Semaphore(0)

    def stuck() -> None:
        started.release()
        go_on.wait(10)

    running = [pool.submit(stuck) for _ in range(3)]
    for _ in running:
        assert started.acquire(timeout=10)
    queued = pool.submit(int, "7")

    pool.close(Closing("the mount is ending"))

    for future in [*running, queued]:
        assert isinstance(future.exception(0), Closing)
    go_on.set()


def test_a_job_that_was_queued_at_close_never_runs():
    pool = DaemonPool("test-queue", 1)
    go_on = threading.Event()
    ran: list[int] = []
    pool.submit(go_on.wait, 10)
    pool.submit(ran.append, 1)

    pool.close(Closing("the mount is ending"))
    go_on.set()

    assert pool.join(10)
    assert ran == []


def test_close_ends_idle_threads_and_busy_ones_after_their_job():
    pool = DaemonPool("test-end", 2)
    go_on, started = threading.Event(), threading.Event()
    pool.submit(int).result(10)

    def busy() -> None:
        started.set()
        go_on.wait(10)

    pool.submit(busy)
    assert started.wait(10)
    pool.close(Closing("the mount is ending"))

    assert not pool.join(0)
    go_on.set()
    assert pool.join(10)
    assert threads_of("test-end") == []


def test_no_job_is_queued_behind_the_ends_of_the_threads(pool, monkeypatch):
    """Nobody would take it, and the pool would keep what it holds."""
    guarded: list[bool] = []

    class Watched(queue.SimpleQueue[object]):
        def put(self, item: object, *_: object) -> None:
            guarded.append(pool._lock.locked())
            super().put(item)

    monkeypatch.setattr(pool, "_jobs", Watched())

    assert pool.submit(int, "7").result(10) == 7
    pool.close(Closing("the mount is ending"))

    assert guarded == [True, True]


def test_after_close_a_job_is_refused_and_not_run(pool):
    ran: list[int] = []
    pool.close(Closing("the mount is ending"))

    assert isinstance(pool.submit(ran.append, 1).exception(0), Closing)
    assert ran == []


def test_what_finishes_after_close_is_dropped(pool):
    go_on, started, ended = (threading.Event() for _ in range(3))

    def late() -> str:
        started.set()
        go_on.wait(10)
        ended.set()
        return "late"

    future = pool.submit(late)
    assert started.wait(10)
    pool.close(Closing("the mount is ending"))
    go_on.set()
    assert ended.wait(10)

    assert isinstance(future.exception(0), Closing)


def test_who_waits_for_long_holds_no_other_up():
    """A lent thread is one more, until its job is done."""
    pool = DaemonPool("test-lent", 1)
    go_on = threading.Event()
    long = pool.submit(go_on.wait, 10)
    other = pool.submit(int, "7")

    pool.lend(long)

    assert other.result(10) == 7
    go_on.set()
    assert long.result(10)
    assert pool._lent == 0
    pool.lend(long)  # too late to make a difference
    assert pool._lent == 0
    pool.close(Closing("the test is over"))


def test_threads_are_lent_up_to_a_number():
    pool = DaemonPool("test-most", 1, most_lent=2)
    go_on = threading.Event()
    for future in [pool.submit(go_on.wait, 10) for _ in range(6)]:
        pool.lend(future)

    assert len(threads_of("test-most")) == 3
    go_on.set()
    pool.close(Closing("the test is over"))


@pytest.fixture
def held_starts(monkeypatch) -> Iterator[tuple[threading.Event, threading.Event]]:
    """No thread starts before the second event; the first tells that one would."""
    reached, go_on = threading.Event(), threading.Event()
    start = threading.Thread.start

    def hold(thread: threading.Thread) -> None:
        if thread.name.startswith("test-held"):
            reached.set()
            assert go_on.wait(10)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", hold)
    yield reached, go_on
    go_on.set()


def test_a_worker_that_is_being_started_is_waited_for(held_starts):
    reached, go_on = held_starts
    ran = threading.Event()
    worker = Worker("test-held", ran.set)
    starter = threading.Thread(target=worker.start, name="test-starter")
    starter.start()
    assert reached.wait(10)

    assert not worker.join(0.01)
    go_on.set()
    assert worker.join(10)
    assert ran.is_set()
    starter.join()


def test_the_end_of_a_pool_waits_for_a_thread_that_is_being_started(held_starts):
    reached, go_on = held_starts
    pool = DaemonPool("test-held", 1)
    starter = threading.Thread(target=pool.submit, args=(int, "7"), name="test-starter")
    starter.start()
    assert reached.wait(10)
    pool.close(Closing("the test is over"))

    assert not pool.join(0.01)
    go_on.set()
    assert pool.join(10)
    starter.join()


def test_a_worker_that_the_system_refuses_has_ended(monkeypatch, expected_log):
    expected_log("no thread can be started for test-refused")

    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker("test-refused", int)
    monkeypatch.setattr(threading.Thread, "start", refuse)

    with pytest.raises(TransportError, match="no thread can be started"):
        worker.start()
    assert worker.join(0)
