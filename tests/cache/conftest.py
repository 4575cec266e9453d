"""Disk caches for tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.disks import Processes


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Processes]:
    """`process()`: a disk cache of another process, on the same directory."""
    processes = Processes(tmp_path)
    yield processes
    processes.close()
