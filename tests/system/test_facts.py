"""What a mount learnt is not asked again by the next one: requests, counted."""

import pytest

from hingfs.blocks import KIB
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import Mounted, each_binding
from tests.support.personalities import PERSONALITIES

pytestmark = pytest.mark.fuse

SIZE_BYTES = 3_000_000


def first_bytes(mounted: Mounted, video_id: str) -> bytes:
    with mounted.path(video_id).open("rb") as clip:
        return clip.read(64 * KIB)


@each_binding
@pytest.mark.parametrize("server", ["vllm_omni", "new_api_old"])
def test_what_was_learnt_of_a_server_is_not_asked_again(binding, server, tmp_path):
    """Neither takes HEAD; the second mount's first bytes cost one request fewer."""
    asked = []
    with FakeEndpoint() as endpoint:
        endpoint.personality = PERSONALITIES[server]
        for video_id in ("first", "second"):
            endpoint.add(video_id, size_bytes=SIZE_BYTES)
            endpoint.reset_log()
            with Mounted(
                *(endpoint, binding, "--no-check"), XDG_CACHE_HOME=str(tmp_path)
            ) as mounted:
                assert first_bytes(mounted, video_id)
                asked.append([request.method for request in endpoint.log])
                log = mounted.log

    assert [methods.count("HEAD") for methods in asked] == [1, 0]
    assert "an earlier mount learnt it" in log
    (directory,) = tmp_path.iterdir()
    (file,) = directory.iterdir()
    assert [path.stat().st_mode & 0o777 for path in (directory, file)] == [0o700, 0o600]
