"""scripts/examples, as a person starts them."""

import csv
import hashlib
import re
import sys
from pathlib import Path

import pytest

from tests.support.mounting import REPOSITORY, run
from tests.support.personalities import ramp

CLIPS, CLIP_BYTES = 12, 500_000


@pytest.mark.slow
def test_dask_makes_a_table_of_clips_and_each_byte_comes_once(tmp_path: Path) -> None:
    """Though two processes read all of them twice."""
    table = tmp_path / "table.csv"
    example = REPOSITORY / "scripts" / "examples" / "dask"
    sizes = ("--clips", str(CLIPS), "--clip-bytes", str(CLIP_BYTES))

    done = run([sys.executable, example, *sizes, "--table", table])

    assert done.returncode == 0, done.stdout + done.stderr
    told = re.fullmatch(
        rf"{CLIPS} clips, {CLIPS * CLIP_BYTES} bytes, 2 processes: \S+ s, again \S+ s; "
        r"the API had (\d+) requests and sent (\d+) bytes\n",
        done.stdout,
    )
    assert told is not None, done.stdout
    assert CLIPS * CLIP_BYTES <= int(told[2]) <= 1.02 * CLIPS * CLIP_BYTES
    with table.open() as file:
        rows = {row["name"]: row["sha256"] for row in csv.DictReader(file)}
    assert rows == {
        f"{video_id}.mp4": hashlib.sha256(ramp(video_id, 0, CLIP_BYTES)).hexdigest()
        for video_id in (f"clip_{number:03}" for number in range(CLIPS))
    }
