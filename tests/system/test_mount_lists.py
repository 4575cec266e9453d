"""What `ls`, `ls -l` and a scanner of a long list cost, through a mount."""

import os
import time
from collections.abc import Iterator

import pytest

from hingfs.library.walk import FIRST_AHEAD
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import BINDINGS, Mounted, eventually, run
from tests.support.personalities import CREATED_AT, RENDER_SECONDS

pytestmark = pytest.mark.fuse

VIDEOS, PAGES = 450, 5
TTL_SECONDS = 1.0


@pytest.fixture(params=BINDINGS)
def long(request: pytest.FixtureRequest) -> Iterator[Mounted]:
    with FakeEndpoint() as endpoint:
        for number in range(VIDEOS):
            add(endpoint, f"v{number:03}", number)
        with Mounted(endpoint, request.param, "--listing-ttl", "1s") as mounted:
            endpoint.wait_until_idle()
            endpoint.reset_log()
            yield mounted


def add(endpoint: FakeEndpoint, video_id: str, second: int) -> None:
    created_at = CREATED_AT + second
    endpoint.add(
        video_id,
        size_bytes=5000,
        created_at=created_at,
        completed_at=created_at + RENDER_SECONDS,
    )


def costs(endpoint: FakeEndpoint) -> dict[str, int]:
    """The requests since this was asked last, by kind."""
    time.sleep(0.1)  # what goes on behind the program begins
    endpoint.wait_until_idle()
    kinds = [record.kind for record in endpoint.log]
    endpoint.reset_log()
    return {kind: kinds.count(kind) for kind in sorted(set(kinds))}


def test_a_long_list_costs_its_pages_once_and_then_one(long: Mounted) -> None:
    endpoint, directory = long.endpoint, long.directory
    assert costs(endpoint) == {}, "nobody listed"

    assert len(os.listdir(directory)) == VIDEOS
    assert costs(endpoint) == {"list": PAGES}
    time.sleep(TTL_SECONDS)
    add(endpoint, "new", VIDEOS)
    assert "new.mp4" in run(["ls", directory]).stdout
    assert costs(endpoint) == {"list": 1}

    time.sleep(TTL_SECONDS)
    assert run(["ls", "-l", directory]).returncode == 0
    found = costs(endpoint)
    assert found.pop("list") <= 3
    assert found == {"content": VIDEOS + 1}
    time.sleep(TTL_SECONDS)
    assert costs(endpoint) == {}, "nobody looks"


def test_names_near_each_other_are_looked_up_at_once_and_no_list_is_read(
    long: Mounted,
) -> None:
    """Programs that start at once ask in any order, and the kernel passes one on.

    The check at the start has brought the newest page of the list.
    """
    endpoint = long.endpoint
    for number in (447, 443):
        assert long.path(f"v{number}").stat().st_size == 5000
    newest = {f"v{number}" for number in range(VIDEOS - 2 - FIRST_AHEAD, VIDEOS)}
    endpoint.wait_until(
        lambda: {r.video_id for r in endpoint.requests_of("content")} == newest
    )
    assert costs(endpoint) == {"content": len(newest), "status": len(newest)}

    for video_id in newest:
        assert long.path(video_id).stat().st_size == 5000
    assert costs(endpoint) == {}


def test_a_scanner_that_only_looks_at_the_root_sees_what_came(long: Mounted) -> None:
    endpoint, directory = long.endpoint, long.directory
    os.listdir(directory)
    before = directory.stat().st_mtime_ns
    assert before // 10**9 == CREATED_AT + VIDEOS - 1 + RENDER_SECONDS
    time.sleep(TTL_SECONDS)
    assert directory.stat().st_mtime_ns == before, "nothing came"
    add(endpoint, "new", 2 * VIDEOS)
    time.sleep(TTL_SECONDS)

    eventually(lambda: directory.stat().st_mtime_ns != before, "a newer root")

    assert directory.stat().st_mtime == pytest.approx(
        CREATED_AT + 2 * VIDEOS + RENDER_SECONDS, abs=1
    )
    assert "new.mp4" in os.listdir(directory)


def test_the_time_of_the_root_outlives_its_mount(long: Mounted) -> None:
    os.listdir(long.directory)
    before = long.directory.stat().st_mtime_ns
    binding = long.command[long.command.index("--fuse") + 1]

    with Mounted(long.endpoint, binding) as again:
        os.listdir(again.directory)
        assert again.directory.stat().st_mtime_ns == before
