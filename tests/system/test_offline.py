"""Mounts without a network, or without a token: what is known and kept can be read."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hingfs.blocks import KIB
from hingfs.engine import Engine
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.keeping import keep
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    eventually,
    hingfs,
    mount_directory,
)
from tests.support.reading import Handle, errno_of

pytestmark = pytest.mark.fuse

SIZE_BYTES = 3_000_000
FILM_BYTES, FAR = 60_000_000, 40_000_000  # a place that no open fetches


@pytest.fixture
def videos(endpoint: FakeEndpoint, tmp_path: Path) -> dict[str, Video]:
    """One that is kept, one whole in the disk cache, a part of one, and an unknown one."""
    videos = {
        name: endpoint.add(name, size_bytes=size)
        for name, size in (
            *(("kept", SIZE_BYTES), ("whole", SIZE_BYTES)),
            *(("part", FILM_BYTES), ("unknown", SIZE_BYTES)),
        )
    }
    for name in ("cache", "data"):
        (tmp_path / name / "hingfs").mkdir(mode=0o700, parents=True)
    engine = Engine(
        EndpointConfig(endpoint.base_url, token=Token(endpoint.token)),
        CacheConfig(
            disk_cache_bytes=1 << 30,
            kept_directory=tmp_path / "cache" / "hingfs",
            kept_videos=tmp_path / "data" / "hingfs",
        ),
    )
    keep(engine, "kept.mp4")
    for name, count in (("whole", SIZE_BYTES), ("part", 4 * KIB)):
        reader = engine.readers.open(engine.catalog.find_to_open(f"{name}.mp4").content)
        reader.read_into(memoryview(bytearray(count)), 0)
        engine.readers.close(reader)
    endpoint.wait_until_idle()
    engine.close()
    assert engine.settle(10)
    assert engine.join(10)
    eventually(lambda: endpoint._connections_open == 0, "no connection")
    endpoint.reset_log()
    return videos


Mount = Callable[..., Mounted]


@pytest.fixture
def mount(request, endpoint, videos, tmp_path) -> Mount:
    """By one binding for each test: where bytes come from is no matter of a binding."""
    binding = BINDINGS[sum(request.node.name.encode()) % 2]

    def mount(*options: str | Path, **variables) -> Mounted:
        return Mounted(
            *(endpoint, binding, "--disk-cache-size", "1GiB", *map(str, options)),
            XDG_CACHE_HOME=str(tmp_path / "cache"),
            XDG_DATA_HOME=str(tmp_path / "data"),
            **variables,
        )

    return mount


def names(mounted: Mounted) -> list[str]:
    return sorted(name.removesuffix(".mp4") for name in os.listdir(mounted.directory))


def check_whole(mounted: Mounted, video: Video) -> None:
    assert mounted.path(video.video_id).read_bytes() == video.read(0, video.size_bytes)


def test_offline_shows_what_is_known_and_sends_nothing(mount, videos, endpoint):
    """Though the server is there."""
    with mount("--offline", "--metadata-ttl", "0s", "--listing-ttl", "0s") as mounted:
        for _ in range(2):
            assert names(mounted) == ["kept", "part", "whole"]
            for video in videos.values():
                if video.video_id != "unknown":
                    found = mounted.path(video.video_id).stat()
                    assert found.st_size == video.size_bytes
            check_whole(mounted, videos["kept"])
            check_whole(mounted, videos["whole"])
            with Handle(mounted.path("part")) as handle:
                assert handle.read(0, 10) == videos["part"].read(0, 10)
                assert errno_of(lambda: handle.read(FAR, 10)) == "EIO"
            assert errno_of(lambda: mounted.path("unknown").stat()) == "EIO"
        assert "WARNING" not in mounted.log
        assert "--offline was given: no request is sent" in mounted.log
    assert endpoint.log == []
    assert endpoint.peak_connections == 0


def test_offline_without_a_token_shows_what_is_kept(mount, videos, endpoint):
    """Other facts belong to a token."""
    for options in ([], ["--token-file", "/nowhere"]):
        with mount("--offline", *options, HINGFS_TOKEN="") as mounted:
            assert names(mounted) == ["kept"]
            check_whole(mounted, videos["kept"])
            assert errno_of(lambda: mounted.path("whole").stat()) == "EIO"
    assert endpoint.log == []


def test_a_server_that_is_away_stops_no_mount_if_something_is_kept(
    mount, videos, endpoint
):
    endpoint.stop()
    with mount() as mounted:
        assert "warning: cannot reach" in mounted.stderr
        check_whole(mounted, videos["kept"])
        check_whole(mounted, videos["whole"])
        assert errno_of(lambda: mounted.path("unknown").stat()) == "EIO"
        assert names(mounted) == ["kept", "part", "whole"]

        endpoint.start()
        eventually(
            lambda: errno_of(lambda: mounted.path("unknown").stat()) == "none",
            "its end",
        )
        check_whole(mounted, videos["unknown"])
        assert names(mounted) == sorted(videos)


@pytest.mark.parametrize("before", ["no file", "refused", "a file for all"])
def test_a_token_that_is_mended_is_found_by_a_mount_of_what_is_kept(
    mount, videos, endpoint, tmp_path, before
):
    file = tmp_path / "token"
    if before != "no file":
        file.touch(0o600 if before == "refused" else 0o644)
        file.write_text("oh-another-token")
    with mount("--token-file", file, HINGFS_TOKEN="") as mounted:
        assert "warning: " in mounted.stderr
        assert "kept videos can be read" in mounted.stderr
        assert names(mounted) == ["kept"]
        check_whole(mounted, videos["kept"])
        assert errno_of(lambda: mounted.path("whole").stat()) == "EACCES"

        file.touch(0o600)
        file.chmod(0o600)
        file.write_text(endpoint.token)
        check_whole(mounted, videos["whole"])
        assert names(mounted) == sorted(videos)
    asked = {record.headers.get("authorization") for record in endpoint.log}
    assert None not in asked, "nothing is asked without a token"


@pytest.mark.parametrize("trouble", ["away", "no token"])
def test_where_nothing_is_kept_the_mount_ends_as_it_did(endpoint, tmp_path, trouble):
    if trouble == "away":
        endpoint.stop()
    with mount_directory() as directory:
        done = hingfs(
            *("mount", directory, "--base-url", endpoint.base_url),
            HINGFS_TOKEN=endpoint.token if trouble == "away" else "",
        )
    assert done.returncode == {"away": 4, "no token": 3}[trouble]
