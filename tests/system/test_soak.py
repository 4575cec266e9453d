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
