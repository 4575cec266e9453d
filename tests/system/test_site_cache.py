"""The nginx of scripts/examples in front of the API: one copy for a site, for the allowed."""

import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from hingfs.blocks import MIB
from hingfs.engine import Engine
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.token import Token
from tests.support.endpoint import FakeEndpoint
from tests.support.mounting import REPOSITORY, eventually
from tests.system.test_real_servers import listening, served

EXAMPLE = REPOSITORY / "scripts" / "examples" / "nginx-site-cache.conf"
SIZE_BYTES = 5 * MIB + 321

# For all paths of an nginx that is not installed as a service.
AROUND = """
pid {work}/pid;
error_log {work}/error.log;
user {user};
events {{}}
http {{
    access_log off;
    client_body_temp_path {work}/body;
    proxy_temp_path {work}/proxy;
    fastcgi_temp_path {work}/fastcgi;
    uwsgi_temp_path {work}/uwsgi;
    scgi_temp_path {work}/scgi;
    {example}
}}
"""


@dataclass(frozen=True)
class Site:
    """The cache at *base_url*, in front of *endpoint*."""

    base_url: str
    endpoint: FakeEndpoint

    def get(self, video_id: str, token: str, **headers: str) -> requests.Response:
        return requests.get(
            f"{self.base_url}/v1/videos/{video_id}/content",
            headers={"Authorization": f"Bearer {token}", **headers},
            timeout=30,
        )

    def read(self, video_id: str) -> bytes:
        """All of a video, as a host of the site reads it, which has nothing on disk."""
        token = Token(self.endpoint.token)
        engine = Engine(EndpointConfig(self.base_url, token=token), CacheConfig())
        try:
            content = engine.catalog.find_to_open(f"{video_id}.mp4").content
            reader = engine.readers.open(content)
            target = bytearray(content.size_bytes)
            view, offset = memoryview(target), 0
            while count := reader.read_into(view[offset:][: 128 << 10], offset):
                offset += count
            engine.readers.close(reader)
            return bytes(target)
        finally:
            engine.close()
            assert engine.join(20.0)


@pytest.fixture
def site(endpoint: FakeEndpoint, tmp_path: Path) -> Iterator[Site]:
    port = urlsplit(endpoint.base_url).port
    text = EXAMPLE.read_text()
    user = f"{pwd.getpwuid(os.getuid()).pw_name} {tmp_path.group()}"
    with listening() as listener:
        ours = listener.getsockname()[1]
        for old, new in (
            ("models.hingnet.com.cn:443", f"127.0.0.1:{port}"),
            ("models.hingnet.com.cn", f"127.0.0.1:{port}"),
            ("https://hingfs_api", "http://hingfs_api"),
            ("listen 8088", f"listen 127.0.0.1:{ours}"),
            ("/var/cache/nginx/hingfs", f"{tmp_path}/cache"),
        ):
            assert old in text
            text = text.replace(old, new)
        config = tmp_path / "conf"
        config.write_text(AROUND.format(work=tmp_path, user=user, example=text))
        paths = ("-e", f"{tmp_path}/error.log", "-c", str(config), "-p", str(tmp_path))
        command = ["nginx", *paths, "-g", "daemon off;"]
        sockets = [listener.fileno()]
        with served(command, sockets, NGINX=f"{sockets[0]};"):
            site = Site(f"http://127.0.0.1:{ours}", endpoint)
            eventually(lambda: site.get("none", "x").status_code == 401, "nginx serves")
            yield site


def test_the_second_host_of_a_site_costs_the_api_no_bytes(site):
    video = site.endpoint.add("v", size_bytes=SIZE_BYTES)

    assert site.read("v") == video.read(0, SIZE_BYTES)
    fetched = site.endpoint.content_bytes("v")
    assert fetched <= SIZE_BYTES * 1.05
    assert site.read("v") == video.read(0, SIZE_BYTES)

    assert site.endpoint.content_bytes("v") == fetched


def test_a_wrong_token_is_refused_though_the_bytes_are_here(site):
    site.endpoint.add("v", size_bytes=SIZE_BYTES)
    good = site.get("v", site.endpoint.token)
    assert (good.status_code, len(good.content)) == (200, SIZE_BYTES)

    refused = site.get("v", "oh-another", Range="bytes=0-99")

    assert refused.status_code == 401
    assert b"nginx" not in refused.content  # the API's own words


def test_a_video_that_is_gone_is_not_served_from_here(site):
    site.endpoint.add("v", size_bytes=SIZE_BYTES)
    assert site.get("v", site.endpoint.token).ok

    site.endpoint.remove("v")

    assert site.get("v", site.endpoint.token).status_code == 404


def test_a_new_version_is_not_mixed_with_the_old_one(site):
    site.endpoint.add("v", data=b"a" * SIZE_BYTES)
    assert site.get("v", site.endpoint.token).content == b"a" * SIZE_BYTES

    site.endpoint.add("v", data=b"b" * SIZE_BYTES)

    assert site.get("v", site.endpoint.token).content == b"b" * SIZE_BYTES


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        (f"bytes={MIB - 5}-{2 * MIB + 5}", MIB - 5, 2 * MIB + 6),
        ("bytes=-77", SIZE_BYTES - 77, SIZE_BYTES),
        (f"bytes={SIZE_BYTES - 1}-", SIZE_BYTES - 1, SIZE_BYTES),
    ],
)
def test_ranges_are_right(site, asked, start, stop):
    video = site.endpoint.add("v", size_bytes=SIZE_BYTES)

    for _ in range(2):
        part = site.get("v", site.endpoint.token, Range=asked)

        assert part.status_code == 206
        told = f"bytes {start}-{stop - 1}/{SIZE_BYTES}"
        assert part.headers["Content-Range"] == told
        assert part.content == video.read(start, stop)
