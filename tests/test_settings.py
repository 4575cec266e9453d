"""Settings: what is understood, and what is refused."""

import dataclasses
import math

import pytest

from hingfs.blocks import KIB, MIB
from hingfs.errors import UsageError
from hingfs.settings import CacheConfig, EndpointConfig

HTTPS = "https://api.example"


class TestEndpointConfig:
    def test_the_token_is_not_sent_in_the_clear_to_other_machines(self):
        with pytest.raises(UsageError, match="insecure-http"):
            EndpointConfig("http://api.example")

        EndpointConfig("http://api.example", insecure_http=True)
        EndpointConfig("http://127.0.0.1:8080")
        EndpointConfig(HTTPS)

    def test_the_base_url_is_normalized(self):
        config = EndpointConfig(HTTPS + "/v1/")

        assert config.base_url == HTTPS
        assert config.host == "api.example"

    @pytest.mark.parametrize("connections", [0, -1, 65])
    def test_connections_are_bounded(self, connections):
        with pytest.raises(UsageError, match="connections"):
            EndpointConfig(HTTPS, connections=connections)

    @pytest.mark.parametrize("name", ["connect", "stall", "read", "metadata"])
    @pytest.mark.parametrize("seconds", [0.0, -1.0, 8 * 86_400.0, math.inf])
    def test_time_outs_are_longer_than_nothing_and_no_longer_than_a_week(
        self, name, seconds
    ):
        options = {f"{name}_seconds": seconds}

        with pytest.raises(UsageError, match=f"{name}_seconds"):
            EndpointConfig(HTTPS, **options)

    def test_settings_cannot_be_changed(self):
        with pytest.raises(dataclasses.FrozenInstanceError):
            EndpointConfig(HTTPS).base_url = "x"  # type: ignore[misc]


class TestCacheConfig:
    @pytest.mark.parametrize("block", [4 * KIB, 256 * KIB, 8 * MIB])
    def test_powers_of_two_are_blocks(self, block):
        assert CacheConfig(block_bytes=block).block_bytes == block

    @pytest.mark.parametrize("block", [0, 1, 2 * KIB, 5000, 3 * MIB, 16 * MIB, -4096])
    def test_a_block_of_another_size_is_refused(self, block):
        with pytest.raises(UsageError, match="block_bytes"):
            CacheConfig(block_bytes=block)

    def test_a_cache_holds_eight_blocks(self):
        CacheConfig(cache_bytes=8 * MIB, block_bytes=MIB)
        with pytest.raises(UsageError, match="cache_bytes"):
            CacheConfig(cache_bytes=8 * MIB - 1, block_bytes=MIB)

    def test_the_defaults_are_valid(self):
        assert CacheConfig().block_bytes < CacheConfig().cache_bytes
