"""A mount whose server sends the worst that is read of it, in little memory."""

import contextlib
import json
import math
import os
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint
from tests.support.memory import WORST_JSON, WORST_PAGES, little_address_space
from tests.support.mounting import BINDINGS, Mounted
from tests.support.personalities import Response, text_response

pytestmark = pytest.mark.fuse

MOST_BYTES = 200_000_000
TEBIBYTE = 1 << 40
# Bodies that none of the others is worse than, so that a mount meets few of them.
PAGES = ("long ids", "wide ids", "one row of arrays")
STATUSES = ("objects nested deeply", "a wide text", "words")


def peak_bytes(mount: Mounted) -> int:
    """The most memory that the mount's process had so far."""
    lines = Path(f"/proc/{mount.process.pid}/status").read_text().splitlines()
    (peak,) = (line.split()[1] for line in lines if line.startswith("VmHWM:"))
    return int(peak) * 1024


@contextlib.contextmanager
def answering(endpoint: FakeEndpoint, kind: str, make: Callable[[], bytes]):
    """Meanwhile every answer of *kind* is what *make* makes."""

    def answer(_answer: Response, _line: object) -> Response:
        return text_response(200, make(), "application/json")

    fault = faults.Fault("worst", answer)
    endpoint.inject(fault, math.inf, where=lambda request: request.kind == kind)
    yield
    endpoint.calm()


def pages_of(video_id: str, rows: int) -> Callable[[], bytes]:
    """The next page of a list without end, of *rows* ids that begin with *video_id*."""
    pages = [0]

    def page() -> bytes:
        pages[0] += 1
        ids = [f"{video_id}{pages[0]}-{row}" for row in range(rows)]
        found = [{"id": id_, "status": "completed"} for id_ in ids]
        said = {"data": found, "has_more": True}
        return json.dumps(said, ensure_ascii=False).encode()

    return page


def at_once(call: Callable[[Path], object], *paths: Path) -> None:
    """Make *call* with each of *paths* at the same time, whatever errors it meets."""

    def attempt(path: Path) -> None:
        with contextlib.suppress(OSError):
            call(path)

    threads = [threading.Thread(target=attempt, args=[path]) for path in paths]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.parametrize("binding", BINDINGS)
def test_the_worst_that_a_server_sends_stays_below_200_mb(
    endpoint: FakeEndpoint, binding: str
) -> None:
    """Lists, statuses and sizes, one after the other and from many threads at once."""
    film = endpoint.add("film", size_bytes=48 * MIB)
    endpoint.add("claim", size_bytes=TEBIBYTE)
    with Mounted(endpoint, binding, "--negative-ttl", "0s") as mount:
        files = mount.directory
        assert len((files / "film.mp4").read_bytes()) == film.size_bytes
        for what in PAGES:
            with answering(endpoint, "list", partial(WORST_PAGES[what], 4 * MIB)):
                at_once(os.listdir, files, files)
        for video_id in ("i" * 990, "\U0001f600" + "i" * 990):
            page = pages_of(video_id, 800_000 // len(video_id))
            with answering(endpoint, "list", page):
                at_once(os.listdir, files, files)
        for what in STATUSES:
            with answering(endpoint, "status", partial(WORST_JSON[what], 1 * MIB)):
                at_once(os.stat, *(files / f"{what}-{n}.mp4" for n in range(8)))
        with (files / "claim.mp4").open("rb") as claim:
            assert len(claim.read(4096)) == 4096
            assert claim.seek(-4096, os.SEEK_END) == TEBIBYTE - 4096
            assert len(claim.read()) == 4096

        assert peak_bytes(mount) < MOST_BYTES
        assert sorted(os.listdir(files)) == ["claim.mp4", "film.mp4"]


def test_memory_without_measure_is_refused() -> None:
    """The bound of address space, which tests of parsers are under, does bind."""
    with little_address_space(64 * MIB):
        assert len(bytearray(32 * MIB)) == 32 * MIB
        with pytest.raises(MemoryError):
            bytearray(1024 * MIB)
