"""The soak of `scripts/soak`, for half a minute; run it longer by hand."""

import re
import sys

import pytest

from tests.support.mounting import BINDINGS, REPOSITORY, require_fuse, run


@pytest.mark.fuse
@pytest.mark.slow
def test_half_a_minute_of_faults_and_restarts_leaves_no_trace() -> None:
    """No wrong byte, no hang, no growth; threads, sockets and files as before."""
    require_fuse()

    done = run(
        [sys.executable, REPOSITORY / "scripts" / "soak", "--seconds", "30"],
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[1] for line in lines] == [f"{name}:" for name in BINDINGS]
    for line in lines:
        assert line.endswith(": ok")
        assert ", 0 wrong bytes, " in line
        assert ", 0 hangs, " in line
        reads, faults = re.findall(r"(\d+) (?:reads|faults injected)", line)
        assert int(reads) > 20
        assert int(faults) > 10
    print(done.stdout)


@pytest.mark.fuse
@pytest.mark.slow
def test_kept_videos_are_read_while_the_server_is_away_for_half_of_the_time() -> None:
    """Neither faults nor 404 nor an outage fail a read of a kept video."""
    require_fuse()

    done = run(
        [
            *(sys.executable, REPOSITORY / "scripts" / "soak"),
            *("--seconds", "16", "--away", "--fuse", "mfusepy"),
        ],
        timeout=110,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert ", 0 kept videos refused, " in done.stdout
    print(done.stdout)
