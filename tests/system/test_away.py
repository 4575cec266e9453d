"""A server that goes away under a mount and comes back: what is known serves meanwhile."""

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.blocks import KIB
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, bindings_in_turn, eventually
from tests.support.reading import Handle, errno_of

pytestmark = pytest.mark.fuse

SIZE_BYTES = 3_000_000
FILM_BYTES, FAR = 60_000_000, 40_000_000  # a place that no open fetches
# `hingfs` with a tenth of its patience: see `tests/http/test_breaker.py` for the figures.
HASTY_HINGFS = """
import sys
from hingfs.cli.main import main
from hingfs.http import breaker, patience
patience.READ_TRIES, patience.AWAY_TOO_LONG_SECONDS, breaker.PROBE_SECONDS = 4, 1.1, 1.0
sys.exit(main())
"""
# Twenty names that are each tried as often as one on a server that is there take 12 s.
AT_ONCE_SECONDS = 5.0


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < AT_ONCE_SECONDS


def mount(endpoint: FakeEndpoint, binding: str, cache: Path, *options: str) -> Mounted:
    return Mounted(
        *(endpoint, binding, "--disk-cache-size", "1GiB", "--negative-ttl", "0s"),
        *options,
        launcher=(sys.executable, "-c", HASTY_HINGFS),
        XDG_CACHE_HOME=str(cache),
    )


def succeeds(call: Callable[[], object]) -> bool:
    return errno_of(call) == "none"


@bindings_in_turn("remounted", [False, True])
def test_an_outage_is_survived_and_its_end_noticed(binding, remounted, tmp_path):
    """In one mount, or one that never saw the server; by reads, names and lists."""
    with FakeEndpoint() as endpoint:
        whole = endpoint.add("whole", size_bytes=SIZE_BYTES)
        endpoint.add("film", size_bytes=FILM_BYTES)
        with mount(endpoint, binding, tmp_path) as mounted:
            assert mounted.path("whole").read_bytes() == whole.read(0, SIZE_BYTES)
            with Handle(mounted.path("film")) as handle:
                handle.read(0, 4 * KIB)
            endpoint.wait_until_idle()
            endpoint.add("unknown", size_bytes=SIZE_BYTES)
            endpoint.stop()
            if not remounted:
                check_the_rest_of_an_outage(mounted, endpoint)
        if remounted:
            with mount(endpoint, binding, tmp_path, "--no-check") as mounted:
                check_the_rest_of_an_outage(mounted, endpoint)


def check_the_rest_of_an_outage(mounted: Mounted, endpoint: FakeEndpoint) -> None:
    whole, film = endpoint.videos["whole"], endpoint.videos["film"]
    assert errno_of(lambda: mounted.path("unknown").stat()) == "EIO"
    with at_once():
        for _ in range(20):
            assert errno_of(lambda: mounted.path("unknown").stat()) == "EIO"

    # Whole on disk; in part; and the listing.
    with at_once():
        assert mounted.path("whole").stat().st_size == SIZE_BYTES
        assert mounted.path("whole").read_bytes() == whole.read(0, SIZE_BYTES)
    with Handle(mounted.path("film")) as handle:
        assert handle.size_bytes == FILM_BYTES
        assert handle.read(0, 4 * KIB) == film.read(0, 4 * KIB)
        # The first read may wait as long as a server may take to restart.
        assert errno_of(lambda: handle.read(FAR, 4 * KIB)) == "EIO"
        eventually(lambda: fails_at_once(handle), "reads that fail at once")
        assert sorted(os.listdir(mounted.directory)) == ["film.mp4", "whole.mp4"]
        assert mounted.log.count("the server is away (") == 1

        endpoint.start()
        began = time.monotonic()
        eventually(lambda: succeeds(lambda: handle.read(FAR, 4 * KIB)), "a read")
        assert mounted.path("unknown").stat().st_size == SIZE_BYTES
        assert len(os.listdir(mounted.directory)) == 3
        # A probe is due after a second, and the failed read is forgotten by then.
        assert time.monotonic() - began < 1.0 + AT_ONCE_SECONDS
        assert handle.read(FAR, 4 * KIB) == film.read(FAR, FAR + 4 * KIB)


def fails_at_once(handle: Handle) -> bool:
    began = time.monotonic()
    assert errno_of(lambda: handle.read(FAR + 1_000_000, 4 * KIB)) == "EIO"
    return time.monotonic() - began < 0.5
