"""Storage where people met it, through real mounts and `cp`.

By plain http, at the fake addresses of a proxy, in a private network; and where it must
never be.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.endpoint import ramp
from tests.support.internet import Internet
from tests.support.mounting import (
    BINDINGS,
    Mounted,
    bindings_in_turn,
    each_binding,
    run,
)
from tests.support.worlds import SECRET, SIZE_BYTES, World, port

pytestmark = pytest.mark.fuse


@contextmanager
def storing(
    binding: str, directory: Path, host: str, *options: str, **ports: str
) -> Iterator[tuple[Mounted, World]]:
    """A mount of an API that keeps clip `v` at http://*host*; the token stays with it.

    *ports* are those of cdn.example, as p443="tls" or p80="plain".
    """
    internet = Internet()
    internet.put("vpc.example", "10.0.0.9")
    internet.put("fake.example", "198.18.0.7")
    internet.put("secrets.example", "169.254.169.254")
    world = World(directory, internet)
    try:
        world.serve(**{name: getattr(world, kind) for name, kind in ports.items()})
        world.lead(host)
        for address in ("10.0.0.9", "198.18.0.7", "169.254.169.254", "127.0.0.1"):
            internet.ports[f"{address} 80"] = port(world.plain, "storage")
            internet.ports[address] = 0
        with Mounted(
            "https://api.example",
            binding,
            *options,
            token=SECRET,
            launcher=internet.launcher,
            REQUESTS_CA_BUNDLE=str(world.authorities),
            http_proxy="",
            https_proxy="",
        ) as mounted:
            yield mounted, world
    finally:
        world.close()
    world.check_secrecy()


class TestStorageNamedByHttp:
    """An https API whose bytes are at http URLs, as Alibaba's OSS signs them."""

    def test_cp_reads_it_by_https(self, tmp_path: Path) -> None:
        with storing(BINDINGS[1], tmp_path, "cdn.example", p443="tls", p80="plain") as (
            mounted,
            world,
        ):
            done = run(["cp", mounted.path("v"), tmp_path / "copy"])

            assert (done.returncode, done.stderr) == (0, "")
            assert (tmp_path / "copy").read_bytes() == ramp("v", 0, SIZE_BYTES)
            assert world.plain.log == []

    def test_without_https_the_log_names_host_and_option(self, tmp_path: Path) -> None:
        with storing(BINDINGS[0], tmp_path, "cdn.example", p80="plain") as (
            mounted,
            world,
        ):
            done = run(["cp", mounted.path("v"), tmp_path / "copy"])

            assert "Input/output error" in done.stderr
            assert "http://cdn.example, which" in mounted.log
            assert "--insecure-storage" in mounted.log
            assert world.plain.log == []

    @each_binding
    def test_with_the_option_cp_reads_it_by_http(
        self, binding: str, tmp_path: Path
    ) -> None:
        with storing(
            binding, tmp_path, "cdn.example", "--insecure-storage", p80="plain"
        ) as (mounted, _world):
            done = run(["cp", mounted.path("v"), tmp_path / "copy"])

            assert (done.returncode, done.stderr) == (0, "")
            assert (tmp_path / "copy").read_bytes() == ramp("v", 0, SIZE_BYTES)


class TestStorageInAnotherNetwork:
    """Fake addresses of a proxy, private networks, and what is never gone to."""

    @bindings_in_turn("host", ["fake.example", "vpc.example"])
    def test_cp_reads_it(self, binding: str, host: str, tmp_path: Path) -> None:
        """As Clash, mihomo and Surge answer each name; and a VPC, with the option."""
        options = ["--insecure-storage"]
        if host == "vpc.example":
            options.append("--private-storage")
        with storing(binding, tmp_path, host, *options) as (mounted, _world):
            done = run(["cp", mounted.path("v"), tmp_path / "copy"])

            assert (done.returncode, done.stderr) == (0, "")
            assert (tmp_path / "copy").read_bytes() == ramp("v", 0, SIZE_BYTES)

    @bindings_in_turn(
        ("host", "said"),
        [
            ("vpc.example", "--private-storage"),
            ("198.18.0.7", "--private-storage"),
            ("secrets.example", "tells secrets; refused"),
            ("0xa9fea9fe", "tells secrets; refused"),
            ("127.0.0.1", "this machine; refused"),
        ],
    )
    def test_what_is_refused_is_said_and_not_connected_to(
        self, binding: str, host: str, said: str, tmp_path: Path
    ) -> None:
        with storing(binding, tmp_path, host, "--insecure-storage") as (mounted, world):
            done = run(["cp", mounted.path("v"), tmp_path / "copy"])

            assert "Input/output error" in done.stderr
            assert said in mounted.log
            assert world.plain.connections_seen == 0
