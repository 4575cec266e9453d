"""One HTTP exchange: its request, the host that gets it, and its failures."""

import errno
import ipaddress
import logging
import math
import os
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
import urllib3

from hingfs.blocks import ByteRange, views_of
from hingfs.errors import (
    BodyCut,
    Closing,
    DeadlineExceeded,
    Dropped,
    HingError,
    ServerBroken,
    TransportError,
    Unreachable,
)
from hingfs.http import breaker, dialing
from hingfs.http import transport as transport_module
from hingfs.http.answer import Answer
from hingfs.http.authorization import origin_of
from hingfs.http.exchange import Exchange
from hingfs.http.open_connections import OpenConnections
from hingfs.http.transport import HttpTransport
from hingfs.settings import EndpointConfig
from hingfs.token import Token
from tests.support import endpoint as faults
from tests.support.certificates import certificate
from tests.support.endpoint import CutError, FakeEndpoint, ramp
from tests.support.personalities import Response, text_response
from tests.support.socks import SocksProxy

SIZE = 200_000
SECRET = "oh-test-token"
FAR = "http://api.example:81"  # a proxy alone can reach it
CDN = "http://cdn.example:81"
CONTENT = "/v1/videos/v/content"


@pytest.fixture
def endpoint() -> Iterator[FakeEndpoint]:
    with FakeEndpoint(SECRET) as endpoint:
        endpoint.add("v", size_bytes=SIZE)
        yield endpoint


@pytest.fixture
def make():
    made: list[HttpTransport] = []

    def make(base_url: str, **options) -> HttpTransport:
        options = {
            "connect_seconds": 1.0,
            "stall_seconds": 0.3,
            "token": Token(SECRET),
            **options,
        }
        made.append(HttpTransport(EndpointConfig(base_url, **options)))
        return made[-1]

    yield make
    for transport in made:
        transport.close()


@pytest.fixture
def transport(make: Callable[..., HttpTransport], endpoint) -> HttpTransport:
    return make(endpoint.base_url)


def get(transport: HttpTransport, url: str, seconds: float = 10, **options) -> Answer:
    deadline = time.monotonic() + seconds
    return transport.request("GET", url, deadline=deadline, **options)


def taken(answer: Answer, most_bytes: int) -> bytes:
    """The next *most_bytes* of the body; fewer where it ends."""
    target = memoryview(bytearray(most_bytes))
    count = 0
    while count < most_bytes and (came := answer.read_into([target[count:]])):
        count += came
    return bytes(target[:count])


def read(transport: HttpTransport, url: str, **options) -> bytes:
    with get(transport, url, **options) as answer:
        return taken(answer, 10 * SIZE)


def only_numbers(real):
    """Getaddrinfo of a machine without DNS."""

    def find(host, *args, **options):
        ipaddress.ip_address(host)  # raises for a name
        return real(host, *args, **options)

    return find


class TestRequests:
    def test_a_request_carries_what_it_must_and_nothing_else(self, transport, endpoint):
        read(transport, endpoint.url("v"), span=ByteRange(10, 20))

        (asked,) = endpoint.log
        host = endpoint.base_url.removeprefix("http://")
        assert asked.headers == {
            "host": host,
            "accept": "*/*",
            "accept-encoding": "identity",
            "user-agent": "hingfs",
            "authorization": f"Bearer {SECRET}",
            "range": "bytes=10-19",
        }

    def test_connections_are_used_again(self, transport, endpoint):
        for _ in range(5):
            read(transport, endpoint.url("v"))

        assert endpoint.connections_seen == 1

    def test_cookies_are_refused(self, transport, endpoint):
        cookie = faults._headers("cookie", lambda: {"Set-Cookie": "a=b; Path=/"})
        endpoint.inject(cookie)

        for _ in range(2):
            read(transport, endpoint.url("v"))

        assert all("cookie" not in record.headers for record in endpoint.log)

    def test_a_netrc_entry_does_not_replace_the_token(
        self, make, endpoint, tmp_path, monkeypatch
    ):
        netrc = tmp_path / "netrc"
        netrc.write_text("machine 127.0.0.1 login eve password secret\n")
        netrc.chmod(0o600)
        monkeypatch.setenv("NETRC", str(netrc))
        transport = make(endpoint.base_url)
        endpoint.inject(faults.redirect_to(endpoint.sign("v")))

        read(transport, endpoint.url("v"))

        sent = [record.headers.get("authorization") for record in endpoint.log]
        assert sent == [f"Bearer {SECRET}", None]

    def test_the_proxy_of_the_environment_is_used(self, make, endpoint, monkeypatch):
        monkeypatch.setenv("http_proxy", endpoint.base_url)
        transport = make(FAR, insecure_http=True)

        get(transport, FAR + CONTENT).close()

        (asked,) = endpoint.log
        assert asked.path == FAR + CONTENT

    def test_a_proxy_for_https_is_told_the_host_and_nothing_else(
        self, make, endpoint, monkeypatch
    ):
        monkeypatch.setenv("https_proxy", endpoint.base_url)
        transport = make("https://api.example")

        with pytest.raises(Unreachable):  # it makes no tunnels
            get(transport, "https://api.example" + CONTENT)

        (asked,) = endpoint.log
        assert (asked.method, asked.path) == ("CONNECT", "api.example:443")
        assert "authorization" not in asked.headers

    @pytest.mark.parametrize("scheme", ["socks5h", "socks"])
    def test_a_socks_proxy_looks_names_up_itself(
        self, make, endpoint, monkeypatch, scheme
    ):
        """As GNOME and Clash set it; this machine may have no DNS."""
        monkeypatch.setattr(socket, "getaddrinfo", only_numbers(socket.getaddrinfo))
        port = int(endpoint.base_url.rpartition(":")[2])
        with SocksProxy(port) as proxy:
            monkeypatch.setenv("all_proxy", f"{scheme}://{proxy.place}")
            transport = make(FAR, insecure_http=True)
            for _ in range(2):
                assert read(transport, FAR + CONTENT) == ramp("v", 0, SIZE)

        assert proxy.hosts == [("api.example", 81)]  # and the connection is kept
        assert endpoint.log[0].headers["authorization"] == f"Bearer {SECRET}"

    def test_a_name_for_socks5_is_looked_up_here(self, make, endpoint, monkeypatch):
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("192.0.2.7", 81))]
        real = socket.getaddrinfo

        def find(host, *args, **options):
            return found if host == "api.example" else real(host, *args, **options)

        monkeypatch.setattr(socket, "getaddrinfo", find)
        port = int(endpoint.base_url.rpartition(":")[2])
        with SocksProxy(port) as proxy:
            monkeypatch.setenv("all_proxy", f"socks5://{proxy.place}")
            transport = make(FAR, insecure_http=True)
            read(transport, FAR + CONTENT)

        assert proxy.hosts == [("192.0.2.7", 81)]

    @pytest.mark.parametrize("mood", ["refuses", "silent"])
    def test_a_socks_proxy_in_trouble_is_no_connection(self, make, monkeypatch, mood):
        with SocksProxy(1, mood) as proxy:
            monkeypatch.setenv("all_proxy", f"socks5h://{proxy.place}")
            transport = make(FAR, insecure_http=True)
            with pytest.raises(Unreachable, match="SOCKS"):
                read(transport, FAR + CONTENT)

    def test_no_name_is_looked_up_for_a_host_behind_a_proxy(self, make, monkeypatch):
        """Each redirect would wait for a DNS that is not there."""
        monkeypatch.setattr(socket, "getaddrinfo", only_numbers(socket.getaddrinfo))
        with FakeEndpoint(SECRET) as proxy:
            proxy.add("v", size_bytes=SIZE)
            proxy.inject(faults.redirect_to(CDN + CONTENT))
            monkeypatch.setenv("http_proxy", proxy.base_url)
            monkeypatch.setenv("https_proxy", proxy.base_url)
            transport = make(FAR, insecure_http=True)

            get(transport, FAR + CONTENT).close()

            asked = [record.path for record in proxy.log]
            assert asked == [FAR + CONTENT, CDN + CONTENT]

    @pytest.mark.parametrize(
        "host",
        [
            *("ip6-localhost", "ip6-loopback:8080", "localhost.localdomain"),
            *("localhost6", "a.localhost", "rancher-metadata", "100.96.0.96"),
            *("api.metadata.cloud.ibm.com", "metadata.google.internal%2e"),
        ],
    )
    def test_a_proxy_is_not_asked_for_secrets_or_for_itself(
        self, make, monkeypatch, host
    ):
        """Only the proxy looks names up, so the name alone must show it."""
        with FakeEndpoint(SECRET) as proxy:
            monkeypatch.setenv("http_proxy", proxy.base_url)
            transport = make(FAR, insecure_http=True, private_storage=True)

            with pytest.raises(ServerBroken, match="refused"):
                transport.redirect_target(FAR + CONTENT, f"http://{host}/x")

            assert proxy.log == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.1.2.3"])
    @pytest.mark.parametrize("variable", ["http_proxy", "HTTP_PROXY", "all_proxy"])
    def test_this_machine_is_never_reached_through_a_proxy(
        self, make, endpoint, monkeypatch, *, host, variable
    ):
        """Its base URL may be plain http, and a proxy would see the token."""
        with FakeEndpoint() as proxy:
            monkeypatch.setenv(variable, proxy.base_url)
            base_url = endpoint.base_url.replace("127.0.0.1", host)
            transport = make(base_url)

            transport.warm(1)
            with suppress(Unreachable):  # nobody listens on 127.1.2.3
                read(transport, base_url + CONTENT)

            assert proxy.connections_seen == 0

    @pytest.mark.parametrize(
        "exempt",
        ["cdn.example", ".example", "x, cdn.example:81", "*", "10.0.0.1/8", "10.1.2.3"],
    )
    def test_no_proxy_is_respected_wherever_a_redirect_leads(
        self, make, endpoint, monkeypatch, exempt
    ):
        """A later change of the environment does not matter."""
        host = "10.1.2.3" if exempt.startswith("10") else "cdn.example"
        found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.1.2.3", 81))]
        place = f"http://{host}:81{CONTENT}"
        asked = []

        def connect(address, port, _options):
            asked.append((address, port))
            raise ConnectionRefusedError

        monkeypatch.setenv("http_proxy", endpoint.base_url)
        monkeypatch.setenv("no_proxy", exempt)
        transport = make("http://api.test:81", insecure_http=True)
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)
        monkeypatch.setattr(dialing, "begin_connecting", connect)

        with pytest.raises(Unreachable):
            read(transport, place)

        assert asked == [("10.1.2.3", 81)]
        assert endpoint.connections_seen == 0

    def test_a_host_that_is_not_exempt_is_asked_through_the_proxy(
        self, make, endpoint, monkeypatch
    ):
        """Though the API is exempt: each host of a chain of redirects is checked."""
        with FakeEndpoint(SECRET) as proxy:
            proxy.add("v", size_bytes=SIZE)
            monkeypatch.setenv("http_proxy", proxy.base_url)
            monkeypatch.setenv("no_proxy", "127.0.0.1")
            transport = make(endpoint.base_url)
            endpoint.inject(faults.redirect_to(CDN + CONTENT))

            get(transport, endpoint.url("v")).close()

            (asked,) = proxy.log
            assert asked.path == CDN + CONTENT
            assert "authorization" not in asked.headers

    @pytest.mark.parametrize(
        ("url", "origin"),
        [
            ("https://API.example/v1", ("https", "api.example", 443)),
            ("http://api.example:8080/x", ("http", "api.example", 8080)),
            ("http://[::1]/", ("http", "::1", 80)),
            ("http://user@api.example/", ("http", "api.example", 80)),
        ],
    )
    def test_an_origin_is_scheme_host_and_port(self, url, origin):
        assert origin_of(url) == origin


class TestDescriptors:
    """A process may have few, and idle connections hold some."""

    def test_an_open_connection_is_used_before_another_is_made(
        self, transport, endpoint
    ):
        """Also after a request that failed, whose connection is closed."""
        with ThreadPoolExecutor(2) as pool:
            both = threading.Barrier(2)

            def held() -> bytes:
                with get(transport, endpoint.url("v")) as answer:
                    both.wait(10)
                    return taken(answer, SIZE)

            for one in [pool.submit(held) for _ in range(2)]:
                assert len(one.result()) == SIZE
        endpoint.inject(faults.header_bomb())
        with pytest.raises(ServerBroken):
            read(transport, endpoint.url("v"))

        read(transport, endpoint.url("v"))

        assert len({asked.connection_id for asked in endpoint.log}) == 2

    def test_idle_ones_are_closed_where_no_other_can_be_opened(
        self, transport, endpoint, monkeypatch
    ):
        """Of whatever host they are."""
        read(transport, endpoint.url("v"))
        (idle,) = transport._open._idle
        sock, real, refused = idle.sock, dialing.begin_connecting, []

        def begin_connecting(*args: Any) -> socket.socket:
            if sock.fileno() >= 0:  # it holds a descriptor
                refused.append(args)
                raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
            return real(*args)

        monkeypatch.setattr(dialing, "begin_connecting", begin_connecting)
        with FakeEndpoint(SECRET) as other, get(transport, other.url("w")) as answer:
            assert answer.status == 401  # it got no token

        assert len(refused) == 1


class TestRedirects:
    def test_r4_the_range_goes_along_and_the_token_does_not(self, transport, endpoint):
        endpoint.inject(faults.redirect_to(endpoint.sign("v")))

        got = read(transport, endpoint.url("v"), span=ByteRange(5, 25))

        assert got == ramp("v", 5, 25)
        api, storage = endpoint.log
        assert api.headers["authorization"] == f"Bearer {SECRET}"
        assert "authorization" not in storage.headers
        assert storage.range == (5, 25)

    def test_r4_the_token_does_go_to_another_path_of_the_api(self, transport, endpoint):
        endpoint.add("w", size_bytes=10)
        endpoint.inject(faults.redirect_to(endpoint.url("w")))

        assert read(transport, endpoint.url("v")) == ramp("w", 0, 10)

    def test_r4_the_same_host_under_another_name_gets_no_token(
        self, transport, endpoint
    ):
        other = endpoint.url("v").replace("127.0.0.1", "127.1")
        endpoint.inject(faults.redirect_to(other))

        with get(transport, endpoint.url("v")) as answer:
            assert answer.status == 401
        assert "authorization" not in endpoint.log[1].headers

    def test_r4_head_follows_no_redirect(self, transport, endpoint):
        endpoint.inject(faults.redirect_to(endpoint.sign("v")))

        deadline = time.monotonic() + 10
        with transport.request("HEAD", endpoint.url("v"), deadline=deadline) as answer:
            assert answer.status == 302
        assert len(endpoint.log) == 1

    def test_r4_a_loop_of_redirects_ends(self, transport, endpoint):
        endpoint.inject(faults.redirect_loop())

        with pytest.raises(ServerBroken):
            get(transport, endpoint.url("v"))
        assert len(endpoint.log) == 1 + transport_module.MOST_REDIRECTS

    @pytest.mark.parametrize(
        "location",
        [
            *("file:///etc/passwd", "ftp://host/x", "http://[bad/", "http://h:x/"),
            "data:,x",
        ],
    )
    def test_a_redirect_that_leads_nowhere_is_refused(
        self, transport, endpoint, location
    ):
        endpoint.inject(faults.redirect_to(location))

        with pytest.raises(TransportError):
            get(transport, endpoint.url("v"))
        assert len(endpoint.log) == 1

    PRIVATE = (
        *("127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "::1", "fe80::1%eth0", "fd00::1"),
    )

    @pytest.mark.parametrize("address", [*PRIVATE, "93.184.216.34", "2606:4700::1111"])
    def test_a_public_api_cannot_send_us_into_the_private_network(
        self, make, monkeypatch, address
    ):
        """A private one may, as the redirects above show."""
        names = {"api.example": "93.184.216.34", "cdn.example": address}

        def resolve(host, *_):
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (names[host], 0))]

        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        transport = make("https://api.example")
        hop = ("https://api.example/a", "https://cdn.example/b")

        if address in self.PRIVATE:
            with pytest.raises(ServerBroken, match="private address"):
                transport.redirect_target(*hop)
        else:
            assert transport.redirect_target(*hop) == hop[1]


class TestSilence:
    """Requests that the API has not answered yet."""

    def test_a_request_without_an_answer_is_silence_about_its_video_alone(
        self, transport, endpoint
    ):
        go_on = threading.Event()
        endpoint.inject(faults.stall_before_headers(go_on))
        began = time.monotonic()
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(get, transport, endpoint.url("v"), about="v")
            endpoint.wait_until(lambda: bool(endpoint.log))

            assert 0 < transport.breaker.silence_about("v") <= time.monotonic() - began
            assert transport.breaker.silence_about("w") == 0
            assert not transport.breaker.answered_since(began)

            go_on.set()
            asked.result().close()

        assert transport.breaker.silence_about("v") == 0
        assert transport.breaker.answered_since(began)

    def test_a_request_that_fails_is_no_silence_afterwards(self, transport, endpoint):
        endpoint.stop()

        with pytest.raises(Unreachable):
            get(transport, "http://127.0.0.1:1/")

        assert transport.breaker._unanswered == {}


class TestTls:
    def fetch(self, make, files: tuple[str, str]) -> bytes:
        with FakeEndpoint(SECRET, tls=files) as endpoint:
            endpoint.add("v", size_bytes=SIZE)
            return read(make(endpoint.base_url), endpoint.url("v"))

    @pytest.mark.parametrize("variable", ["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"])
    def test_a_known_authority_is_trusted(self, make, tmp_path, monkeypatch, variable):
        files = certificate(tmp_path, "127.0.0.1")
        for other in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
            monkeypatch.delenv(other, raising=False)
        monkeypatch.setenv(variable, files[0])

        assert self.fetch(make, files) == ramp("v", 0, SIZE)

    def test_the_authorities_are_read_once(self, make, tmp_path, monkeypatch):
        files = certificate(tmp_path, "127.0.0.1")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])
        with FakeEndpoint(SECRET, tls=files) as endpoint:
            endpoint.add("v", size_bytes=SIZE)
            transport = make(endpoint.base_url)
            get(transport, endpoint.url("v")).close()
            (tmp_path / files[0]).write_text("no certificate")

            assert read(transport, endpoint.url("v"), fresh=True) == ramp("v", 0, SIZE)

    def test_an_unknown_authority_is_no_connection(self, make, tmp_path):
        with pytest.raises(Unreachable, match="TLS"):
            self.fetch(make, certificate(tmp_path, "127.0.0.1"))

    def test_a_certificate_of_another_host_is_no_connection(
        self, make, tmp_path, monkeypatch
    ):
        files = certificate(tmp_path, "other.example")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", files[0])

        with pytest.raises(Unreachable, match="TLS"):
            self.fetch(make, files)

    def test_plain_http_on_the_port_is_no_connection(self, make, endpoint):
        url = endpoint.base_url.replace("http:", "https:")

        with pytest.raises(TransportError):
            get(make(url), url + "/v1/videos")


def subclasses(*kinds: type) -> list[type]:
    """These and all below them, each once, of the two libraries only."""
    found = dict.fromkeys(kinds)
    for kind in kinds:
        found |= dict.fromkeys(subclasses(*kind.__subclasses__()))
    return [
        kind for kind in found if kind.__module__.startswith(("requests", "urllib3"))
    ]


KINDS = subclasses(requests.exceptions.RequestException, urllib3.exceptions.HTTPError)


def instance(kind: type[BaseException]) -> BaseException:
    """An exception of *kind*, whatever its constructor wants."""
    error: BaseException = kind.__new__(kind)
    # What the texts of a few are made of.
    vars(error).update(partial=0, expected=1, length=b"")
    return error


def test_a_connection_that_cannot_be_made_names_its_server_and_no_password(make):
    with socket.create_server(("127.0.0.1", 0)) as taken_port:
        port = taken_port.getsockname()[1]

    with pytest.raises(Unreachable) as failed:
        get(make("http://127.0.0.1:1"), f"http://me:secret@127.0.0.1:{port}/v1/videos")

    assert str(failed.value) == f"127.0.0.1:{port}: Connection refused"
    assert failed.value.reason == "Connection refused"


class TestFailures:
    @pytest.mark.parametrize(
        "kind",
        [
            *KINDS,
            *(OSError, ConnectionResetError, TimeoutError, socket.gaierror, ValueError),
            UnicodeError,
        ],
        ids=lambda kind: f"{kind.__module__}.{kind.__name__}",
    )
    def test_every_exception_of_an_exchange_becomes_ours(
        self, transport, endpoint, monkeypatch, kind
    ):
        def fail(*_args, **_options):
            raise instance(kind)

        monkeypatch.setattr(transport._wire._adapter, "send", fail)

        with pytest.raises(TransportError):
            get(transport, endpoint.url("v"))

    @pytest.mark.parametrize("kind", [OSError, ConnectionResetError, ssl.SSLError])
    def test_every_exception_of_a_body_becomes_body_cut(
        self, transport, endpoint, monkeypatch, kind
    ):
        def fail(*_args, **_options):
            raise instance(kind)

        with get(transport, endpoint.url("v")) as answer:
            assert isinstance(answer._exchange, Exchange)
            monkeypatch.setattr(answer._exchange._input, "into", fail)

            with pytest.raises(BodyCut):
                taken(answer, 10)
            with pytest.raises(BodyCut):
                answer.read_some(10)
            assert answer.read_text(time.monotonic() + 1) == b""

    def test_a_name_that_is_not_known_is_unreachable(self, make, monkeypatch):
        def unknown(*_args, **_options):
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", unknown)
        transport = make("https://nowhere.invalid")

        with pytest.raises(Unreachable, match="not known"):
            get(transport, "https://nowhere.invalid/v1/videos")

    def test_headers_that_do_not_come_are_an_error(self, transport, endpoint):
        endpoint.inject(faults.stall_before_headers(math.inf))

        with pytest.raises(TransportError):
            get(transport, endpoint.url("v"), seconds=0.2)

    def test_without_time_left_nothing_is_sent(self, transport, endpoint):
        with pytest.raises(DeadlineExceeded):
            get(transport, endpoint.url("v"), seconds=0)
        assert endpoint.log == []

    @pytest.mark.parametrize(
        "text",
        [
            b"220 mail.example ESMTP\r\n\r\n",
            b"HTTP/1.1 two hundred\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"x" * 270_000 + b"\r\n\r\n",
            b"HTTP/1.1 200 OK\r\n" + b"X: x\r\n" * 50_000 + b"\r\n",
        ],
        ids=["mail", "status", "long", "many"],
    )
    def test_an_answer_that_is_no_http_is_one_all_the_same(
        self, transport, endpoint, text
    ):
        """One route that is broken is no reason to leave the others in peace."""

        def spoil(_answer, line):
            line.send_raw(text)
            raise CutError(reset=False)

        endpoint.inject(faults.Fault("no HTTP", spoil), math.inf)

        for _ in range(breaker.FAILURES):
            with pytest.raises(ServerBroken):
                get(transport, endpoint.url("v"))
        assert not transport.breaker.seems_dead

    def test_no_answer_is_no_connection(self, transport, endpoint):
        endpoint.inject(faults.refuse_connection())

        with pytest.raises(Unreachable):
            get(transport, endpoint.url("v"))

    @pytest.mark.parametrize(
        "fault",
        [
            faults.reset_at(1000),
            faults.close_at(1000),
            faults.stall_at(1000, math.inf),
            faults.short_chunked(1000),
        ],
        ids=lambda fault: fault.name,
    )
    def test_a_body_that_breaks_off_or_stalls_is_cut(self, transport, endpoint, fault):
        endpoint.inject(fault)

        with pytest.raises(BodyCut):
            read(transport, endpoint.url("v"))

    def test_no_failure_tells_the_token(self, transport, endpoint, caplog):
        caplog.set_level(logging.DEBUG)
        messages = []
        for fault in (faults.reset_at(5), faults.header_bomb(), faults.redirect_loop()):
            endpoint.inject(fault)
            with pytest.raises(HingError) as failed:
                read(transport, endpoint.url("v"))
            messages += [str(failed.value), repr(failed.value)]

        assert SECRET not in "\n".join([*messages, caplog.text])

    def test_a_signed_url_is_not_logged(self, transport, endpoint, caplog):
        caplog.set_level(logging.DEBUG)
        endpoint.inject(faults.redirect_to(endpoint.sign("v")))

        read(transport, endpoint.url("v"))

        assert "X-Signature" not in caplog.text
        assert "-> 302" in caplog.text


class TestBodies:
    def test_read_gives_exactly_what_is_asked_until_the_end(self, transport, endpoint):
        with get(transport, endpoint.url("v")) as answer:
            assert taken(answer, 1000) == ramp("v", 0, 1000)
            assert taken(answer, SIZE) == ramp("v", 1000, SIZE)
            assert taken(answer, 1) == b""

    @pytest.mark.parametrize(
        "sizes", [[SIZE], [1, 2, 3], [50_000] * 4, [10_000, 1, 70_000, SIZE], [9000]]
    )
    def test_what_comes_is_put_over_many_targets_in_turn(
        self, transport, endpoint, sizes
    ):
        buffers = [bytearray(size) for size in sizes]
        total = min(sum(sizes), SIZE)
        count = 0
        with get(transport, endpoint.url("v")) as answer:
            while count < total:
                views = views_of(buffers, count, sum(sizes))
                least = min(len(views[0]), total - count)
                came = answer.read_into(views, least)
                assert came >= least
                count += came

        assert b"".join(buffers)[:total] == ramp("v", 0, total)

    def test_what_has_come_is_handed_out_though_there_is_room_for_more(
        self, make, endpoint
    ):
        transport = make(endpoint.base_url, stall_seconds=600)
        endpoint.inject(faults.stall_at(100_000, math.inf))
        target = memoryview(bytearray(SIZE))
        with get(transport, endpoint.url("v")) as answer:
            count = answer.read_into([target], 20_000)
            while count < 100_000:  # or this waits for ever
                count += answer.read_into([target[count:]], 1)

        assert bytes(target[:count]) == ramp("v", 0, 100_000)

    def test_a_connection_waits_for_headers_no_longer_than_before_its_last_body(
        self, transport, endpoint
    ):
        """Reading a body changes the mode of the socket, which is used again."""
        with get(transport, endpoint.url("v")) as answer:
            taken(answer, SIZE)
        endpoint.inject(faults.stall_before_headers(math.inf))

        with pytest.raises(TransportError):
            get(transport, endpoint.url("v"), seconds=0.5)
        assert endpoint.connections_seen == 1

    def test_read_some_gives_what_has_arrived(self, transport, endpoint):
        endpoint.inject(faults.stall_at(1000, math.inf))

        with get(transport, endpoint.url("v")) as answer:
            got = b""
            while len(got) < 1000:
                got += answer.read_some(SIZE)
            assert got == ramp("v", 0, 1000)

    def test_an_encoded_body_is_decoded_only_when_asked(self, transport, endpoint):
        endpoint.inject(faults.gzip_encoded(), times=2)

        with get(transport, endpoint.url("v")) as answer:
            assert taken(answer, 2) == b"\x1f\x8b"
        with get(transport, endpoint.url("v")) as answer:
            pieces = iter(lambda: answer.read_some(SIZE, decoded=True), b"")
            assert b"".join(pieces) == ramp("v", 0, SIZE)

    @pytest.mark.parametrize(
        ("fault", "text"),
        [
            (faults.huge_error_page(), b"<p>Something went wrong.</p>\n" * 1000),
            (faults.close_at(1000), ramp("v", 0, 1000)),
        ],
        ids=["huge", "cut"],
    )
    def test_a_text_is_read_up_to_a_bound_or_as_far_as_it_came(
        self, transport, endpoint, fault, text
    ):
        endpoint.inject(fault)

        with get(transport, endpoint.url("v")) as answer:
            got = answer.read_text(time.monotonic() + 10, most_bytes=5000)

        assert got == text[:5000]

    @pytest.mark.parametrize(
        ("coding", "window_bits"),
        [("gzip", 31), ("X-Gzip", 31), ("deflate", 15), ("deflate", -15)],
    )
    @pytest.mark.parametrize("cut", [0, 5])
    def test_a_text_that_is_compressed_is_unpacked(
        self, transport, endpoint, *, coding, window_bits, cut
    ):
        """Nobody asked for it; a body that was cut is unpacked as far as it goes."""
        packer = zlib.compressobj(9, zlib.DEFLATED, window_bits)
        packed = packer.compress(b"text " * 1000) + packer.flush()
        body = packed[: len(packed) - cut]
        answer = text_response(200, body, "text/plain")
        answer = answer.with_headers({"Content-Encoding": coding})
        endpoint.inject(faults._instead("packed", lambda: answer))

        with get(transport, endpoint.url("v")) as got:
            text = got.read_text(time.monotonic() + 10)

        assert (b"text " * 1000).startswith(text)
        assert len(text) == 5000 if not cut else len(text) > 0

    @pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
    def test_a_text_not_in_its_announced_coding_is_left_as_it_is(
        self, transport, endpoint, coding
    ):
        answer = text_response(200, b'{"a": 1}', "application/json")
        answer = answer.with_headers({"Content-Encoding": coding})
        endpoint.inject(faults._instead("plain", lambda: answer))

        with get(transport, endpoint.url("v")) as got:
            assert got.read_text(time.monotonic() + 10) == b'{"a": 1}'

    def test_a_text_that_drips_ends_at_the_deadline(self, transport, endpoint):
        endpoint.inject(faults.drip(100))

        with (
            get(transport, endpoint.url("v")) as answer,
            pytest.raises(DeadlineExceeded),
        ):
            answer.read_text(time.monotonic())

    def test_abort_wakes_a_reader(self, make, endpoint):
        transport = make(endpoint.base_url, stall_seconds=30)
        endpoint.inject(faults.stall_at(1000, math.inf))
        answer = get(transport, endpoint.url("v"))

        with answer, ThreadPoolExecutor(1) as threads:
            taken(answer, 1000)
            reading = threads.submit(taken, answer, 1000)
            answer.abort()

            with pytest.raises(BodyCut):
                reading.result()

    def test_close_wakes_every_reader_and_refuses_new_requests(self, make, endpoint):
        transport = make(endpoint.base_url, stall_seconds=30)
        endpoint.inject(faults.stall_at(1000, math.inf), times=4)
        answers = [get(transport, endpoint.url("v")) for _ in range(4)]

        with ThreadPoolExecutor(4) as threads:
            reads = [threads.submit(taken, answer, SIZE) for answer in answers]
            transport.close()
            for reading in reads:
                assert isinstance(reading.exception(), BodyCut)
        for answer in answers:
            answer.close()

        with pytest.raises(Closing):
            get(transport, endpoint.url("v"))
        with pytest.raises(Closing):
            transport.wait(30)

    def test_a_small_rest_is_drained_so_that_the_connection_is_kept(
        self, transport, endpoint
    ):
        for _ in range(3):
            answer = get(transport, endpoint.url("missing"))
            answer.drain_and_close()

        assert endpoint.connections_seen == 1

    @pytest.mark.parametrize(
        ("piece", "pause", "length"), [(b"x", 0.02, 16_000), (b"x" * 100_000, 0, None)]
    )
    def test_a_redirect_whose_body_trickles_or_never_ends_is_followed_at_once(
        self, make, endpoint, *, piece, pause, length
    ):
        transport = make(endpoint.base_url, stall_seconds=30)

        def body(line):
            while True:
                line.pause(pause)
                yield piece

        def spoil(_answer, line):
            headers = {"Location": endpoint.sign("v")}
            return Response(302, headers, body(line), length)

        endpoint.inject(faults.Fault("moved", spoil))

        assert read(transport, endpoint.url("v")) == ramp("v", 0, SIZE)
        assert endpoint.log[0].body_bytes < 50_000_000

    def test_nothing_is_left_open(self, transport, endpoint):
        for fault in (faults.reset_at(5), faults.redirect_loop()):
            endpoint.inject(fault)
            with pytest.raises(HingError):
                read(transport, endpoint.url("v"))

        assert not transport._open._open


class TestBreaker:
    def test_the_breaker_opens_after_failures_in_a_row_only(self, transport, endpoint):
        url = endpoint.url("v")
        for _ in range(2):  # a success in between counts anew
            endpoint.stop()
            for _ in range(breaker.AWAY_TRIES - 1):
                with pytest.raises(Unreachable):
                    get(transport, url)
            assert not transport.breaker.seems_dead
            endpoint.start()
            get(transport, url).close()

        endpoint.stop()
        for _ in range(breaker.AWAY_TRIES):
            with pytest.raises(Unreachable):
                get(transport, url)
        assert transport.breaker.seems_dead
        assert transport.breaker.is_away

    def test_a_connection_that_is_dropped_is_not_away(self, transport, endpoint):
        endpoint.inject(faults.refuse_connection(), math.inf)
        for number in range(breaker.FAILURES):
            assert transport.breaker.tries(3) == 3, number
            with pytest.raises(Dropped):
                get(transport, endpoint.url("v"))

        assert transport.breaker.seems_dead
        assert not transport.breaker.is_away

    def test_a_storage_host_that_is_away_is_not_the_api(self, transport, endpoint):
        get(transport, endpoint.url("v")).close()
        endpoint._servers["storage"].stop()
        for _ in range(breaker.FAILURES):
            with pytest.raises(Unreachable):
                get(transport, endpoint.sign("v"))

        assert not transport.breaker.seems_dead

    def test_a_dead_server_is_said_once_and_that_it_is_back(
        self, transport, endpoint, expected_log, caplog
    ):
        expected_log("the server is away .*other calls fail at once")
        caplog.set_level(logging.INFO, "hingfs")
        url = endpoint.url("v")
        endpoint.stop()
        for _ in range(breaker.FAILURES + 2):
            with pytest.raises(Unreachable):
                get(transport, url)
        endpoint.start()
        for _ in range(2):
            get(transport, url).close()

        lines = [record.getMessage() for record in caplog.records]
        assert len([line for line in lines if "is away" in line]) == 1
        assert len([line for line in lines if "answers again" in line]) == 1

    def test_the_token_file_is_read_again_when_told(self, make, endpoint, tmp_path):
        file = tmp_path / "token"
        file.touch(mode=0o600)
        file.write_text("oh-old")
        transport = make(endpoint.base_url, token=Token(file=file))
        with (
            get(transport, endpoint.url("v")) as refused,
            get(transport, endpoint.url("v")) as refused_as_well,
        ):
            assert not transport.authorization.renew()
            file.write_text(SECRET)

            assert transport.authorization.renew()
            # What is in the file is no news to the second, and yet worth a try.
            assert transport.authorization.renewed_since(refused.token_number)
            assert transport.authorization.renewed_since(refused_as_well.token_number)
        with get(transport, endpoint.url("v")) as accepted:
            assert not transport.authorization.renewed_since(accepted.token_number)
        assert read(transport, endpoint.url("v")) == ramp("v", 0, SIZE)

    def test_a_token_file_that_went_bad_leaves_the_old_token(
        self, make, endpoint, tmp_path, expected_log
    ):
        file = tmp_path / "token"
        file.touch(mode=0o600)
        file.write_text(SECRET)
        transport = make(endpoint.base_url, token=Token(file=file))
        file.write_text("")
        expected_log(
            "holds no token; put the API token there.*; the old token stays in use"
        )

        assert not transport.authorization.renew()
        assert read(transport, endpoint.url("v")) == ramp("v", 0, SIZE)


def test_many_threads_share_one_transport(transport, endpoint):
    def one(number: int) -> bool:
        start = number * 1000
        span = ByteRange(start, start + 1000)
        return read(transport, endpoint.url("v"), span=span) == ramp(
            "v", start, start + 1000
        )

    with ThreadPoolExecutor(16) as threads:
        assert all(threads.map(one, range(100)))
    assert endpoint.peak_connections <= 16


def test_an_answer_of_many_kinds_keeps_its_headers(transport, endpoint):
    answer = Response(200, {"Content-Type": "x/y", "ETag": '"e"'})
    endpoint.inject(faults.Fault("own", lambda _answer, _line: answer))

    with get(transport, endpoint.url("v")) as got:
        assert got.headers.get("etag") == '"e"'
        assert got.headers.get("Content-Type") == "x/y"
        assert got.from_api


def sockets_to(endpoint: FakeEndpoint) -> int:
    """How many sockets this process has open to *endpoint*."""
    port = urlsplit(endpoint.base_url).port
    count = 0
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # it is no socket, or not connected, or gone
            number = os.dup(int(name))
            try:
                sock = socket.socket(fileno=number)
            except OSError:
                os.close(number)
                raise
            with sock:
                inet = sock.family == socket.AF_INET
                count += inet and sock.getpeername()[1] == port
    return count


def close_at(
    patch: pytest.MonkeyPatch,
    transport: HttpTransport,
    owner: type,
    name: str,
    *,
    first: bool = False,
) -> None:
    """Have each call of *owner*'s method *name* close *transport*, or *first* do it."""
    real = getattr(owner, name)

    def call(*args, **options):
        if first:
            transport.close()
        result = real(*args, **options)
        transport.close()
        return result

    patch.setattr(owner, name, call)


class TestNoSocketIsLeftAfterClose:
    def test_of_those_that_were_kept(self, transport, endpoint):
        answers = [get(transport, endpoint.url("v")) for _ in range(3)]
        for answer in answers:
            taken(answer, 10 * SIZE)
            answer.close()
        read(transport, endpoint.url("v"), fresh=True)
        assert sockets_to(endpoint) == 4

        transport.close()

        assert sockets_to(endpoint) == 0

    def test_of_those_made_ahead(self, transport, endpoint):
        transport.warm(2)
        assert sockets_to(endpoint) == 2

        transport.close()

        assert sockets_to(endpoint) == 0

    def test_of_answers_that_nobody_reads(self, transport, endpoint):
        answers = [get(transport, endpoint.url("v")) for _ in range(2)]
        assert sockets_to(endpoint) == 2

        transport.close()

        assert sockets_to(endpoint) == 0
        for answer in answers:
            with pytest.raises(BodyCut):
                taken(answer, SIZE)
            answer.close()

    @pytest.mark.parametrize("ahead", [True, False])
    def test_of_those_that_are_being_made(
        self, transport, endpoint, monkeypatch, ahead
    ):
        close_at(monkeypatch, transport, dialing.Dialer, "dial")
        if ahead:
            transport.warm(1)
        else:
            with pytest.raises(Closing):
                get(transport, endpoint.url("v"))

        assert sockets_to(endpoint) == 0

    def test_of_those_that_are_being_returned(self, transport, endpoint, monkeypatch):
        """The exchange is over, and its connection is not in its pool yet."""
        answer = get(transport, endpoint.url("v"))
        taken(answer, 10 * SIZE)
        close_at(monkeypatch, transport, OpenConnections, "discard")
        answer.close()

        assert sockets_to(endpoint) == 0

    def test_of_those_that_are_being_taken(self, transport, endpoint, monkeypatch):
        """The pool has given one out, and nothing was sent by it yet."""
        read(transport, endpoint.url("v"))
        close_at(monkeypatch, transport, OpenConnections, "take", first=True)
        with pytest.raises(Closing):
            get(transport, endpoint.url("v"))

        assert sockets_to(endpoint) == 0

    def test_whatever_each_thread_is_at(self, make, endpoint):
        def work(transport):
            while True:
                read(transport, endpoint.url("v"))

        for n in range(20):
            transport = make(endpoint.base_url)
            with ThreadPoolExecutor(8) as threads:
                works = [threads.submit(work, transport) for _ in range(8)]
                before = len(endpoint.requests_of("content"))
                asked = partial(endpoint.requests_of, "content")
                endpoint.wait_until(lambda: len(asked()) > before + n)  # noqa: B023
                transport.close()
                errors = [each.exception() for each in works]
            assert {type(error) for error in errors} <= {Closing, BodyCut}
            assert sockets_to(endpoint) == 0


def test_no_thread_is_left_after_close(make, endpoint):
    """The daemon is forked after the check, and forks no other thread with it."""
    before = set(threading.enumerate())
    host = endpoint.base_url.replace("127.0.0.1", "localhost")
    transport = make(host)
    read(transport, f"{host}/v1/videos/v/content")
    names = {thread.name for thread in set(threading.enumerate()) - before}
    assert "hingfs-dns-1" in names

    transport.close()

    assert transport.join(10)
    left = {thread.name for thread in set(threading.enumerate()) - before}
    assert not [name for name in left if name.startswith("hingfs")]


def test_threads_are_none_of_the_transport(make, endpoint):
    before = threading.active_count()

    make("http://127.0.0.1:1")

    assert threading.active_count() == before
