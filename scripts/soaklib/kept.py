"""Videos that are kept before the soak begins, and that the server has no more."""

import tempfile
from pathlib import Path

from hingfs.engine import Engine
from hingfs.library.names import full_name_of
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support.endpoint import FakeEndpoint
from tests.support.keeping import keep

PREFIX = "kept-"
_SIZES = (100_001, 3_000_017, 25_000_003)


def kept_before(endpoint: FakeEndpoint, directory: Path) -> list[tuple[str, int]]:
    """Keep videos in *directory*; returns their ids and sizes."""
    videos = [(f"{PREFIX}{size}", size) for size in _SIZES]
    with tempfile.TemporaryDirectory() as cache:
        engine = Engine(
            EndpointConfig(base_url=endpoint.base_url, token=Token(endpoint.token)),
            CacheConfig(kept_directory=Path(cache), kept_videos=directory),
        )
        try:
            for video_id, size in videos:
                endpoint.add(video_id, size_bytes=size)
                keep(engine, full_name_of(video_id))
                endpoint.remove(video_id)
        finally:
            engine.close()
            engine.join(10)
    return videos
