"""Videos that are kept, as the command and the mount would, and how "v" is lost then."""

import math
import time
from pathlib import Path

from hingfs.cache.kept_files import Kept
from hingfs.cache.layout import Mark
from hingfs.engine import Engine
from tests.support import endpoint as faults
from tests.support.endpoint import FakeEndpoint


def keep(engine: Engine, name: str) -> Kept:
    """Read the video of *name* through *engine*, and keep it."""
    file = engine.catalog.find_to_open(name)
    content = file.content
    kept = engine.kept
    assert kept is not None
    with engine.tiers.held(content):
        version = engine.tiers.keep(content, Mark(file.mtime_ns, time.time()))
        reader = engine.readers.open(content, whole=True)
        try:
            reader.read_into(memoryview(bytearray(content.size_bytes)), 0)
        finally:
            engine.readers.close(reader)
        assert kept.settle(10)
        return kept.seal(version)


def files(directory: Path, ending: str = "data") -> list[Path]:
    """The files of what is kept in *directory*."""
    return sorted(directory.glob(f"v2/*/*.{ending}"))


def gone(endpoint: FakeEndpoint) -> None:
    endpoint.remove("v")


def expired(endpoint: FakeEndpoint) -> None:
    endpoint.videos["v"].expires_at = 1


def answered_410(endpoint: FakeEndpoint) -> None:
    endpoint.inject(
        faults.status(410), math.inf, lambda request: request.kind != "list"
    )


def refused(endpoint: FakeEndpoint) -> None:
    endpoint.token = "another"


def away(endpoint: FakeEndpoint) -> None:
    endpoint.stop()
