"""Hosts that share a Valkey: engines with a disk cache each, as two machines have."""

import hashlib
import logging
import math
import pickle
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from hingfs.blocks import MIB
from hingfs.cache import leases, valkey
from hingfs.engine import Engine
from hingfs.errors import UsageError
from hingfs.settings import CacheConfig, EndpointConfig
from hingfs.shared_url import (
    PASSWORD_VARIABLE,
    SharedAddress,
    parse_shared_url,
)
from hingfs.token import Token
from tests.support import endpoint as faults
from tests.support.certificates import certificate
from tests.support.endpoint import FakeEndpoint, Video
from tests.support.mounting import Mounted, each_binding, eventually
from tests.support.valkey import Liar, Valkey

SIZE_BYTES = 9 * MIB + 12_345
READ_BYTES = 128 << 10
SECRET = "a-secret-for-the-shared-cache"
END_SECONDS = 20.0


class Hosts:
    """Engines, each on a host of its own; all read one endpoint."""

    def __init__(self, endpoint: FakeEndpoint, directory: Path) -> None:
        self.endpoint = endpoint
        self.video = endpoint.add("v", size_bytes=SIZE_BYTES)
        self.directory = directory
        self._engines: list[Engine] = []

    @property
    def fetched_bytes(self) -> int:
        """Of the video, from the endpoint."""
        return self.endpoint.content_bytes("v")

    def add(self, address: SharedAddress, password: Path | None = None) -> Engine:
        directory = self.directory / f"host-{len(self._engines)}"
        directory.mkdir()
        engine = Engine(
            EndpointConfig(self.endpoint.base_url, token=Token(self.endpoint.token)),
            CacheConfig(
                directory=directory,
                kept_directory=directory,
                shared=address,
                shared_password=password,
            ),
        )
        self._engines.append(engine)
        return engine

    def close(self) -> None:
        for engine in self._engines:
            engine.close()
        for engine in self._engines:
            assert engine.join(END_SECONDS)


@pytest.fixture
def hosts(endpoint: FakeEndpoint, tmp_path: Path) -> Iterator[Hosts]:
    hosts = Hosts(endpoint, tmp_path)
    yield hosts
    hosts.close()


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine shall not make a server that is well look slow."""
    monkeypatch.setattr(valkey, "PATIENCE_SECONDS", 5.0)
    monkeypatch.setattr(valkey, "WHOLE_SECONDS", 10.0)


def read(
    engine: Engine, name: str = "v.mp4", each: Callable[[int], object] = lambda _: None
) -> str:
    """The SHA-256 of all of *name*; *each* is called with each offset before its read."""
    digest = hashlib.sha256()
    reader = engine.readers.open(engine.catalog.find_to_open(name).content)
    target = memoryview(bytearray(READ_BYTES))
    offset = 0
    try:
        while True:
            each(offset)
            count = reader.read_into(target, offset)
            if not count:
                return digest.hexdigest()
            digest.update(target[:count])
            offset += count
    finally:
        engine.readers.close(reader)


def right(video: Video) -> str:
    return hashlib.sha256(video.read(0, video.size_bytes)).hexdigest()


def settled(engine: Engine) -> None:
    """What *engine* has fetched is on the server: it ends."""
    engine.close()
    assert engine.settle(END_SECONDS)


@pytest.mark.usefixtures("patient")
class TestOneTransfer:
    def test_what_one_host_has_read_costs_the_next_no_bytes(self, hosts):
        with Valkey(hosts.directory) as server:
            first = hosts.add(server.address)
            assert read(first) == right(hosts.video)
            settled(first)
            assert len(server.names()) == 10
            before = hosts.fetched_bytes

            assert read(hosts.add(server.address)) == right(hosts.video)

            assert hosts.fetched_bytes <= before * 1.05
            assert before <= SIZE_BYTES * 1.05

    def test_hosts_that_read_at_once_share_one_transfer(self, hosts):
        """Each asks for the first two megabytes when it opens, and for the end."""
        film = hosts.endpoint.add("film", size_bytes=60 * MIB)
        with Valkey(hosts.directory) as server:
            engines = [hosts.add(server.address) for _ in range(2)]

            with ThreadPoolExecutor(2) as threads:
                read_by_each = threads.map(lambda one: read(one, "film.mp4"), engines)
                assert set(read_by_each) == {right(film)}

            fetched = hosts.endpoint.content_bytes("film")
            assert fetched <= film.size_bytes * 1.05

    def test_a_host_that_dies_leaves_its_leases_for_a_moment_alone(
        self, hosts, monkeypatch
    ):
        monkeypatch.setattr(leases, "LEASE_SECONDS", 0.5)
        with Valkey(hosts.directory) as server:
            engine = hosts.add(server.address)
            version = engine.catalog.find_to_open("v.mp4").content.version
            assert version is not None
            other = hosts.add(server.address)
            assert other.shared_cache is not None
            taken = other.shared_cache.leases
            assert taken.take(version, range(10)) == []
            assert taken.others(version, range(10)) == []
            assert engine.shared_cache is not None
            assert engine.shared_cache.leases.others(version, [3, 4]) == [3, 4]

            assert read(engine) == right(hosts.video)

    @pytest.mark.parametrize("tag", ['W/"weak"', ""])
    def test_a_version_without_a_strong_validator_is_never_there(self, hosts, tag):
        hosts.endpoint.inject(faults.wrong_etag(tag), times=math.inf)
        with Valkey(hosts.directory) as server:
            engine = hosts.add(server.address)
            assert read(engine) == right(hosts.video)
            settled(engine)

            assert server.ask("DBSIZE") == [b":0"]

    def test_what_the_server_evicts_is_fetched(self, hosts):
        bounds = ("--maxmemory", "7mb", "--maxmemory-policy", "allkeys-lru")
        with Valkey(hosts.directory, *bounds) as server:
            first = hosts.add(server.address)
            assert read(first) == right(hosts.video)
            settled(first)
            before = hosts.fetched_bytes
            assert len(server.names()) < 10

            assert read(hosts.add(server.address)) == right(hosts.video)

            # Reading in order may evict what would come next: it is all fetched then.
            assert hosts.fetched_bytes > before


class TestTrouble:
    def test_reads_go_on_when_the_server_is_killed(self, hosts, quiet_log):
        quiet_log.allow("the shared cache is not used")
        with Valkey(hosts.directory) as server:
            settled_one = hosts.add(server.address)
            read(settled_one)
            settled(settled_one)

            def kill(offset: int) -> None:
                if offset == 2 * MIB:
                    server.kill()

            assert read(hosts.add(server.address), each=kill) == right(hosts.video)
            server.start()

    def test_a_server_that_hangs_is_asked_a_few_times(self, hosts, expected_log):
        expected_log("the shared cache is not used: .*: it took too long|timed out")
        with Valkey(hosts.directory) as server:
            server.stop()
            engine = hosts.add(server.address)
            shared = engine.shared_cache
            assert shared is not None

            assert read(engine) == right(hosts.video)
            version = engine.catalog.find_to_open("v.mp4").content.version
            assert version is not None
            until = time.monotonic() + END_SECONDS
            while not shared.server.is_down:
                assert shared.get(version, 0) is None
                assert time.monotonic() < until
            asked, began = shared.server.asked, time.monotonic()
            assert asked <= valkey.FAILURES + 10  # connections may ask at the same time
            for index in range(50):
                assert shared.get(version, index % 9) is None
            if time.monotonic() < began + valkey.REST_SECONDS:
                assert shared.server.asked == asked
            warnings = [line for line in expected_log.lines if "shared cache" in line]
            assert len(warnings) == 1

    def test_a_server_that_is_back_is_used_again(
        self, hosts, monkeypatch, expected_log
    ):
        monkeypatch.setattr(valkey, "REST_SECONDS", 0.1)
        monkeypatch.setattr(valkey, "PAUSE_SECONDS", 0.0)
        expected_log("the shared cache is not used")
        with Valkey(hosts.directory) as server:
            server.kill()
            engine = hosts.add(server.address)
            version = engine.catalog.find_to_open("v.mp4").content.version
            shared = engine.shared_cache
            assert shared is not None
            for _ in range(valkey.FAILURES):
                assert not shared.server.told([[b"PING"]])
            server.start()

            eventually(lambda: shared.server.told([[b"PING"]]), "it is asked again")
            assert read(engine) == right(hosts.video)
            settled(engine)
            assert version is not None
            assert server.names()

    @pytest.mark.parametrize(
        "reply",
        [
            b"HTTP/1.1 400 Bad Request\r\n\r\n",
            b"$999999999\r\n",
            b"$1048576\r\nshort",
            b"*1000000000\r\n",
            b"$-1\r\n:1\r\n+OK\r\n+more\r\n",
            b"\x00" * 5000,
            b"$abc\r\n",
            b"$0\r\nxx",
        ],
    )
    def test_rubbish_is_a_miss(self, hosts, quiet_log, reply):
        quiet_log.allow("the shared cache is not used")
        with Liar(hosts.directory, lambda _question: reply) as liar:
            assert read(hosts.add(liar.address)) == right(hosts.video)

    @pytest.mark.usefixtures("patient")
    def test_an_answer_that_is_larger_than_a_value_is_not_read(self, tmp_path):
        reply = b"$%d\r\n%b\r\n" % (2 * MIB, bytes(2 * MIB))
        with Liar(tmp_path, lambda _question: reply) as liar:
            server = valkey.Server(liar.address, None)
            assert server.told([[b"GET", b"x"]], most_bytes=MIB) == []
            server.close()
            assert server.join(END_SECONDS)

    @pytest.mark.usefixtures("patient")
    def test_wrong_values_are_misses_and_are_replaced(self, hosts):
        other = hosts.endpoint.add("w", size_bytes=SIZE_BYTES)
        with Valkey(hosts.directory) as server:
            first = hosts.add(server.address)
            assert read(first) == right(hosts.video)
            assert read(first, "w.mp4") == right(other)
            settled(first)
            names = server.names()
            values = {name: server.value(name) for name in names}
            for count, name in enumerate(names):
                value = bytearray(values[name])
                value[-1 - count] ^= 1
                damaged = (
                    bytes(value),  # a flipped bit
                    values[names[count - 1]],  # another's
                    values[name][:-1000],
                )
                server.ask("SET", name, damaged[count % 3])

            second = hosts.add(server.address)
            assert read(second) == right(hosts.video)
            assert read(second, "w.mp4") == right(other)

            settled(second)
            wrong = [name for name in names if server.value(name) != values[name]]
            assert wrong == []


@pytest.mark.usefixtures("patient")
class TestPassword:
    @pytest.fixture
    def locked(self, tmp_path: Path) -> Iterator[Valkey]:
        with Valkey(tmp_path) as server:
            server.ask("CONFIG", "SET", "requirepass", SECRET)
            yield server

    def test_a_wrong_one_is_told_once_and_the_cache_does_without(
        self, hosts, locked, monkeypatch, expected_log, caplog
    ):
        caplog.set_level(logging.DEBUG, "hingfs")
        expected_log("the shared cache is not used: .* it refuses the password")
        monkeypatch.setenv(PASSWORD_VARIABLE, SECRET + "-not")

        assert read(hosts.add(locked.address)) == right(hosts.video)

        told = [line for line in expected_log.lines if "shared cache" in line]
        assert len(told) == 1
        assert SECRET not in caplog.text

    def test_it_is_read_from_a_file_or_the_variable(
        self, hosts, locked, monkeypatch, caplog
    ):
        caplog.set_level(logging.DEBUG, "hingfs")
        file = hosts.directory / "password"
        file.touch(0o600)
        file.write_text(SECRET + "\n")
        first = hosts.add(locked.address, file)
        assert read(first) == right(hosts.video)
        settled(first)
        before = hosts.fetched_bytes
        monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)

        assert read(hosts.add(locked.address)) == right(hosts.video)

        assert hosts.fetched_bytes <= before * 1.05
        config = CacheConfig(shared=locked.address, shared_password=file)
        assert SECRET not in caplog.text + repr(config)
        assert SECRET.encode() not in pickle.dumps(config)

    def test_a_file_that_others_can_use_is_not_read(self, hosts, locked, expected_log):
        expected_log("the shared cache is not used: .*can be used by other users")
        file = hosts.directory / "password"
        file.write_text(SECRET)
        file.chmod(0o644)
        engine = hosts.add(locked.address, file)
        shared = engine.shared_cache
        assert shared is not None

        def is_down() -> object:
            return shared.server.told([[b"PING"]]) or shared.server.is_down

        eventually(is_down, "it is given up")
        assert read(engine) == right(hosts.video)

    def test_a_user_who_may_only_read_reads(self, hosts, monkeypatch):
        with Valkey(hosts.directory) as server:
            rights = ("on", f">{SECRET}", "~hingfs:*", "+get", "+exists")
            server.ask("ACL", "SETUSER", "reader", *rights)
            writer = hosts.add(server.address)
            assert read(writer) == right(hosts.video)
            settled(writer)
            before = hosts.fetched_bytes
            monkeypatch.setenv(PASSWORD_VARIABLE, SECRET)
            address = SharedAddress(path=str(server.path), user="reader")

            assert read(hosts.add(address)) == right(hosts.video)

            assert hosts.fetched_bytes <= before * 1.05

    @pytest.mark.parametrize(
        "url", ["redis://:pw-1@h", "redis://u:pw-1@h/0", "redis://h/0?password=pw-1"]
    )
    def test_a_url_that_holds_it_is_refused_with_the_remedy(self, url):
        with pytest.raises(UsageError, match=PASSWORD_VARIABLE) as refused:
            parse_shared_url(url)

        assert "pw-1" not in str(refused.value)


@pytest.mark.usefixtures("patient")
def test_tls_is_spoken_and_its_certificate_is_checked(hosts, monkeypatch, expected_log):
    pem, key = certificate(hosts.directory, "localhost")
    with Valkey(hosts.directory) as server:
        files = ("tls-cert-file", pem, "tls-key-file", key, "tls-ca-cert-file", pem)
        server.ask("CONFIG", "SET", "tls-auth-clients", "no", *files)
        port = server.listen("tls-port")
        address = parse_shared_url(f"rediss://localhost:{port}/0")
        expected_log("the shared cache is not used: .*certificate verify failed")
        strange = hosts.add(address).shared_cache
        assert strange is not None
        for _ in range(valkey.FAILURES):
            assert not strange.server.told([[b"PING"]])
            strange.server._quiet_until = 0.0
        assert server.ask("DBSIZE") == [b":0"]

        monkeypatch.setenv("SSL_CERT_FILE", pem)
        first = hosts.add(address)
        assert read(first) == right(hosts.video)
        settled(first)
        before = hosts.fetched_bytes
        assert read(hosts.add(address)) == right(hosts.video)
        assert hosts.fetched_bytes <= before * 1.05


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://h", SharedAddress("h")),
        ("valkey://u@h:1/2", SharedAddress("h", 1, user="u", database=2)),
        ("rediss://h", SharedAddress("h", tls=True)),
        ("valkeys://[::1]:7", SharedAddress("::1", 7, tls=True)),
        ("unix:///run/v.sock", SharedAddress(path="/run/v.sock")),
    ],
)
def test_urls(url, address):
    assert parse_shared_url(url) == address


@pytest.mark.parametrize(
    "url",
    ["", "h:6379", "http://h", "redis://", "redis://h:x", "redis://h/db", "unix:"],
)
def test_what_is_no_shared_cache_is_refused(url):
    with pytest.raises(UsageError, match=re.escape("redis://cache.example:6379/0")):
        parse_shared_url(url)


@pytest.mark.fuse
@each_binding
def test_a_mount_reads_what_another_host_has_fetched(
    endpoint: FakeEndpoint, tmp_path: Path, binding: str
) -> None:
    """Its own disk cache is empty: the film comes from the shared one, or the API."""
    video = endpoint.add("v", size_bytes=SIZE_BYTES)
    pieces = -(-SIZE_BYTES // MIB)
    first, second = tmp_path / "first", tmp_path / "second"
    with Valkey(tmp_path) as server:
        options = ("--shared-cache", f"unix://{server.path}", "--cache-dir")
        for cache in (first, second):
            cache.mkdir()
            with Mounted(endpoint, binding, *options, str(cache)) as mounted:
                data = mounted.path("v").read_bytes()
                assert data == video.read(0, SIZE_BYTES)
                eventually(lambda: len(server.names()) == pieces, "all is there")
        found = re.search(rb"keyspace_hits:(\d+)", server.ask("INFO", "stats")[0])

    # How many depends on how busy the machine is: what is not there in time is a miss.
    assert found is not None
    assert int(found[1])
    assert endpoint.content_bytes("v") < 2 * SIZE_BYTES
