"""Fixtures of all tests: the fake endpoint, the watch on the log, a mount's objects."""

import gc
import logging
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from hingfs.blocks import MIB
from hingfs.http import patience, turns
from hingfs.mount.serving import Mount
from hingfs.settings import CacheConfig, Config, EndpointConfig, MountConfig
from hingfs.token import Token
from tests.support import memory
from tests.support.endpoint import FakeEndpoint

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("check", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("check" if os.environ.get("CI") else "dev")

# Containers often forbid Python to keep what it has compiled. Then each of some hundred
# mounts would compile hingfs, for 0.2 s of CPU (2026-11-27); an installed one never does.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A signal ends a test without a mount that hangs: a thread for each takes 1 ms.

    No signal ends a call into a mount that hangs; there the thread ends the process.
    """
    for item in items:
        if item.get_closest_marker("fuse") is None:
            item.add_marker(pytest.mark.timeout(method="signal"))


def pytest_collection_finish() -> None:
    """Leave what collecting made to no garbage collection: 0.15 s each (2026-11-27)."""
    gc.collect()
    gc.freeze()


class LogWatch(logging.Handler):
    """Collects warnings and errors; called with a pattern, it expects such a one."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self._expected: list[re.Pattern[str]] = []
        # Where servers are stopped, or ask for quiet, it may be noticed.
        self._allowed = [
            re.compile(r"did not answer \d+ times in a row"),
            re.compile(r"the server is away \("),
            re.compile(r"the API asked for a pause of"),
        ]

    def __call__(self, pattern: str) -> None:
        """At least one line must hold *pattern*; such lines fail no test."""
        self._expected.append(re.compile(pattern))

    def allow(self, pattern: str) -> None:
        """Lines that hold *pattern* may come, or not."""
        self._allowed.append(re.compile(pattern))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(f"{record.levelname} {record.name}: {record.getMessage()}")

    def unexpected(self) -> list[str]:
        return [
            line
            for line in self.lines
            if not any(p.search(line) for p in (*self._expected, *self._allowed))
        ]

    def missing(self) -> list[str]:
        return [
            pattern.pattern
            for pattern in self._expected
            if not any(pattern.search(line) for line in self.lines)
        ]


@pytest.fixture(autouse=True)
def quiet_log() -> Iterator[LogWatch]:
    """A warning or error of hingfs that no test expected is a failure."""
    watch = LogWatch()
    logger = logging.getLogger("hingfs")
    logger.addHandler(watch)
    yield watch
    logger.removeHandler(watch)
    assert watch.unexpected() == []
    assert watch.missing() == []


@pytest.fixture
def expected_log(quiet_log: LogWatch) -> LogWatch:
    """`expected_log(pattern)`: that warning or error must come, and may."""
    return quiet_log


@pytest.fixture
def little_address_space() -> Iterator[None]:
    """For tests of parsers: what a server sends may not make them map 256 MiB more."""
    with memory.little_address_space(256 * MIB):
        yield


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint() as endpoint:
        yield endpoint


Build = Callable[..., Mount]


@pytest.fixture
def build(
    endpoint: FakeEndpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Build]:
    """Make all objects of a mount of `endpoint`, wired as in earnest, not mounted.

    *cache* holds fields of CacheConfig; the others are of EndpointConfig. Patience is
    short, and pauses between tries are next to none.
    """
    monkeypatch.setattr(patience, "_FIRST_DELAY_SECONDS", 0.001)
    monkeypatch.setattr(patience, "_LONGEST_DELAY_SECONDS", 0.004)
    monkeypatch.setattr(turns, "_FIRST_PAUSE_SECONDS", 0.02)
    made: list[Mount] = []

    def build(cache: dict[str, object] | None = None, **options: object) -> Mount:
        patience: dict[str, object] = {
            "base_url": endpoint.base_url,
            "token": Token(endpoint.token),
            "connect_seconds": 1.0,
            "stall_seconds": 0.5,
            "read_seconds": 10.0,
            "metadata_seconds": 10.0,
            "retry_after_seconds": 0.5,
        }
        config = Config(
            MountConfig(tmp_path),
            EndpointConfig(**{**patience, **options}),  # type: ignore[arg-type]
            CacheConfig(**(cache or {})),  # type: ignore[arg-type]
        )
        made.append(Mount(config, lambda: None))
        return made[-1]

    yield build
    for mount in made:
        mount.close()
