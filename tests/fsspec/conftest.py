"""Fixtures for hing:// in this process: a token in the environment, engines that end."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hingfs.fsspec import HingFileSystem, engines
from hingfs.http import patience, turns
from tests.support.endpoint import FakeEndpoint

Make = Callable[..., HingFileSystem]


@pytest.fixture
def make(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Make]:
    """Make filesystems of `endpoint`, whose token is in the environment alone.

    Patience is short, and pauses between tries are next to none.
    """
    monkeypatch.setattr(patience, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_DELAY_SECONDS", 0.004)
    monkeypatch.setattr(turns, "_FIRST_PAUSE_SECONDS", 0.02)
    monkeypatch.setenv("HINGFS_TOKEN", endpoint.token)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))

    def make(**options: object) -> HingFileSystem:
        brief = {
            "base_url": endpoint.base_url,
            "stall_timeout": "500ms",
            "read_timeout": "5s",
            "metadata_timeout": "5s",
        }
        return HingFileSystem(**{**brief, **options})

    yield make
    HingFileSystem.clear_instance_cache()
    engines.here().close()


@pytest.fixture
def fs(make: Make) -> HingFileSystem:
    return make()
