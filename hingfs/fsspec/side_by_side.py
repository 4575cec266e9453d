"""Many ranges of many files, read side by side.

Decides which reads go together to the threads of a lease: all files are opened at once,
then all ranges are read at once. Leaves to `spans` which ranges are one read, and to the
engine how many requests run at once.

Threads: `hingfs-span-N` open and read; no job of theirs waits for another one.
"""

import contextlib
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import NamedTuple, TypeVar

from ..errnos import ERRNO_OF_READ
from ..errors import HingError
from .engines import Lease
from .files import Handle
from .refusals import refused
from .spans import Merged, merged, span_of

Result = TypeVar("Result")


class Asked(NamedTuple):
    """The bytes [start, stop) of *path*, both as in a slice."""

    path: str
    start: int | None
    stop: int | None

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the file, whatever its size."""
        return self.start is None and self.stop is None


def read_side_by_side(
    lease: Lease, asked: Sequence[Asked], near_bytes: int
) -> list[bytes | Exception]:
    """The bytes of each of *asked*, or the error in their place; all ends have come."""
    numbers: dict[str, list[int]] = {}
    for number, one in enumerate(asked):
        numbers.setdefault(one.path, []).append(number)
    opening = {
        path: _begin(lease, path, _opener(lease, path, [asked[n] for n in those]))
        for path, those in numbers.items()
    }
    found: dict[int, bytes | Exception] = {}
    with contextlib.ExitStack() as ends:
        reading: list[tuple[str, Merged, Future[bytes]]] = []
        for path, opened in opening.items():
            handle = _outcome(lease, path, opened)
            if isinstance(handle, Exception):
                found.update(dict.fromkeys(numbers[path], handle))
                continue
            ends.callback(handle.release)
            spans = [
                (n, span_of(asked[n].start, asked[n].stop, handle.size_bytes))
                for n in numbers[path]
            ]
            found.update((n, b"") for n, span in spans if not len(span))
            for read in merged((each for each in spans if len(each[1])), near_bytes):
                job = _reader(handle, read)
                reading.append((path, read, _begin(lease, path, job)))
        for path, read, future in reading:
            outcome = _outcome(lease, path, future)
            found.update(_parts(read, outcome))
    return [found[number] for number in range(len(asked))]


def _opener(lease: Lease, path: str, asked: Sequence[Asked]) -> Callable[[], Handle]:
    whole = any(one.is_whole for one in asked)
    return lambda: Handle(lease, path, whole=whole)


def _reader(handle: Handle, one: Merged) -> Callable[[], bytes]:
    return lambda: handle.read(one.span.start, len(one.span))


def _begin(lease: Lease, path: str, job: Callable[[], Result]) -> Future[Result]:
    """*job* on a thread of *lease*."""
    try:
        return lease.pool.submit(job)
    except HingError as error:  # the system gives no thread
        failed: Future[Result] = Future()
        failed.set_exception(refused(error, ERRNO_OF_READ, path, lease.hide))
        return failed


def _outcome(lease: Lease, path: str, future: Future[Result]) -> Result | Exception:
    """What came of *future*; each job in it has a deadline."""
    try:
        return future.result()
    except HingError as error:  # the engine was closed
        return refused(error, ERRNO_OF_READ, path, lease.hide)
    except Exception as error:  # noqa: BLE001 - the caller gets it for its bytes
        return error


def _parts(
    one: Merged, result: bytes | Exception
) -> list[tuple[int, bytes | Exception]]:
    """The members of *one*, each with its part of *result*."""
    if isinstance(result, Exception):
        return [(number, result) for number, _ in one.members]
    start = one.span.start
    return [
        (number, result[span.start - start : span.stop - start])
        for number, span in one.members
    ]


def raise_first(results: Sequence[bytes | Exception]) -> None:
    """Raise the first error of *results*, if there is one."""
    for result in results:
        if isinstance(result, Exception):
            raise result
