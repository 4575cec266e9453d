"""The plan to scale: its formula against a simulation, its constants against an engine."""

from pathlib import Path

import pytest
from scalelib.cli import REQUESTS_PER_NAME, REQUESTS_PER_TRANSFER, plan
from scalelib.fleet import Fleet, expected, hits, simulated

from tests.conftest import Build

CLIPS = 4_000
CLIP_BYTES = 12_700_000


@pytest.mark.parametrize("hosts", [1, 2, 10, 200])
@pytest.mark.parametrize("host_share", [0.0, 0.02, 0.4, 1.0])
@pytest.mark.parametrize("shared_share", [0.0, 0.3, 0.9, 1.0])
def test_the_formula_tells_what_a_simulation_shows(hosts, host_share, shared_share):
    fleet = Fleet(CLIPS, hosts, 6, host_share, shared_share)

    told, seen = expected(fleet), simulated(fleet)

    # Where a few disks hold much, what they miss is no random share of all reads.
    few = hosts <= 2 and host_share > 0.02
    most = 0.08 if few else 0.02
    reads = CLIPS * fleet.epochs
    for name in ("from_disk", "from_shared", "from_api"):
        difference = abs(getattr(told, name) - getattr(seen, name)) / reads
        assert difference < most, name
    assert told.from_disk + told.from_shared + told.from_api == pytest.approx(reads)


def test_a_cache_that_holds_all_leaves_one_transfer_of_each_clip():
    fleet = Fleet(CLIPS, 100, 5, 0.0, 1.0)

    assert expected(fleet).from_api == pytest.approx(CLIPS)
    assert simulated(fleet).from_api == CLIPS


def test_the_first_epoch_finds_nothing():
    assert hits([1.0], 0.5) == 0.0


def test_a_clip_that_is_read_whole_takes_this_many_requests(build: Build, endpoint):
    endpoint.add("v", size_bytes=CLIP_BYTES)
    engine = build().engine
    file = engine.catalog.find_to_open("v.mp4")
    reader = engine.readers.open(file.content, whole=True)
    buffer = bytearray(1 << 20)
    for offset in range(0, CLIP_BYTES, len(buffer)):
        reader.read_into(memoryview(buffer), offset)
    engine.readers.close(reader)

    transfers = endpoint.requests_of("content", "GET")
    assert len(endpoint.log) - len(transfers) == REQUESTS_PER_NAME
    assert len(transfers) <= REQUESTS_PER_TRANSFER
    assert endpoint.bytes_served_twice("v") == 0


def test_the_table_of_the_readme_is_what_the_script_prints():
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    table = readme.split("<!-- scale: begin -->\n")[1].split("\n<!-- scale: end -->")[0]

    million = plan(
        *(1_000_000, 12.7e6, 10, 24 * 3600.0),
        hosts=[1, 10, 1000],
        disk_tb=0.5,
        shared_tb=[0, 4, 13],
    )

    assert list(million) == table.splitlines()
