"""Where an API may send us, and by which scheme; the token never goes along."""

import socket
from collections.abc import Iterator

import pytest

from hingfs.errors import ServerBroken, TransportError
from hingfs.http.destinations import _MOST_PLAIN_HOSTS, Destinations
from hingfs.settings import EndpointConfig
from hingfs.token import Token
from tests.support import endpoint as faults
from tests.support.internet import Internet
from tests.support.reading import errno_of
from tests.support.views import Direct, check_reads, opened, sequential
from tests.support.worlds import (
    PUBLIC,
    SECRET,
    SIZE_BYTES,
    STORAGE,
    Leading,
    World,
    port,
)


@pytest.fixture
def internet(monkeypatch) -> Internet:
    internet = Internet()
    internet.patch(monkeypatch)
    return internet


def destinations(
    api: str = "https://api.example", plain_seconds: float = 600.0, **options: bool
) -> Destinations:
    config = EndpointConfig(api, Token(SECRET), insecure_http=True, **options)
    return Destinations(
        config,
        lambda host: [str(a[4][0]) for a in socket.getaddrinfo(host, 0)],
        plain_seconds,
    )


def refused(where: Destinations, host: str) -> str:
    """Why *host* is refused; "" if it is not."""
    try:
        where.check(host)
    except ServerBroken as error:
        return str(error)
    return ""


# --- hosts ----------------------------------------------------------------------------

NEVER = [
    *("169.254.169.254", "2852039166", "0xa9fea9fe", "0251.0376.0251.0376"),
    *("169.254.43518", "[::ffff:a9fe:a9fe]", "[64:ff9b::a9fe:a9fe]"),
    *("[2002:a9fe:a9fe::]", "100.100.100.200", "100.96.0.96"),
    "1684013152",  # the same
    *("100.80.80.80", "192.0.0.192", "[fd00:ec2::254]", "rancher-metadata"),
    *("api.metadata.cloud.ibm.com", "metadata.google.internal"),
    *("METADATA.google.internal.", "instance-data"),
    "metadata.example",  # a name that leads there
]
THIS_MACHINE = [
    *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0", "0.0.0.0"),
    *("[::1]", "[::]", "[::ffff:127.0.0.1]", "localhost", "LOCALHOST."),
    *("cdn.localhost", "localhost.localdomain", "localhost6", "ip6-localhost"),
    *("ip6-loopback", "loop.example"),
]
OWN_NETWORK = [
    *("10.0.0.1", "0xa000001", "192.168.1.1", "100.64.0.7", "[fd12:3456::1]"),
    "vpc.example",
    # Fake addresses mean something only as the answer to a name.
    *("198.18.0.7", "3323068423", "[::ffff:198.18.0.7]", "[fc00::7]"),
]


@pytest.fixture
def names(internet) -> None:
    internet.addresses |= {
        "api.example": PUBLIC,
        "metadata.example": "169.254.169.254",
        "loop.example": "127.0.0.1",
        "vpc.example": "10.0.0.9",
        "cdn.example": "198.18.0.7",
        "cdn6.example": "fc00::7",
        "metadata.google.internal": "198.18.0.8",  # by a proxy that answers all
        "instance-data": "198.18.0.9",
        "rancher-metadata": "198.18.0.13",
        "api.metadata.cloud.ibm.com": "198.18.0.14",
        "localhost.localdomain": "198.18.0.15",
        "localhost6": "198.18.0.16",
        "ip6-localhost": "198.18.0.17",
        "ip6-loopback": "198.18.0.18",
        "localhost": "198.18.0.10",
        "cdn.localhost": "198.18.0.11",
        "gateway.example": "10.0.0.2",
        "behind.example": "198.18.0.12",
    }


@pytest.mark.usefixtures("names")
class TestHosts:
    @pytest.mark.parametrize("host", NEVER)
    @pytest.mark.parametrize(
        "api",
        [
            *("https://api.example", "http://127.0.0.1:1", "https://gateway.example"),
            "https://behind.example",
        ],
    )
    def test_a_metadata_service_is_refused_whatever_the_api_and_the_options(
        self, api, host
    ):
        assert "secrets" in refused(destinations(api, private_storage=True), host)

    @pytest.mark.parametrize("host", THIS_MACHINE)
    @pytest.mark.parametrize(
        "api",
        ["https://api.example", "https://gateway.example", "https://behind.example"],
    )
    def test_this_machine_is_refused_to_an_api_elsewhere(self, api, host):
        assert "this machine" in refused(destinations(api, private_storage=True), host)

    @pytest.mark.parametrize("host", THIS_MACHINE)
    @pytest.mark.parametrize("api", ["http://127.0.0.1:1", "http://localhost:1"])
    def test_an_api_on_this_machine_may_name_it(self, api, host):
        assert refused(destinations(api), host) == ""

    @pytest.mark.parametrize("host", OWN_NETWORK)
    def test_ones_own_network_takes_the_option_that_the_message_names(self, host):
        assert "--private-storage" in refused(destinations(), host)
        assert refused(destinations(private_storage=True), host) == ""

    @pytest.mark.parametrize("host", OWN_NETWORK)
    @pytest.mark.parametrize("api", ["https://gateway.example", "http://127.0.0.1:1"])
    def test_an_api_in_ones_own_network_may_name_it(self, api, host):
        assert refused(destinations(api), host) == ""

    @pytest.mark.parametrize("host", ["cdn.example", "cdn6.example"])
    @pytest.mark.parametrize("api", ["https://api.example", "https://behind.example"])
    def test_fake_addresses_are_allowed_as_the_answer_to_a_name(self, api, host):
        assert refused(destinations(api), host) == ""

    @pytest.mark.parametrize("host", ["10.0.0.1", "vpc.example"])
    def test_an_api_behind_fake_addresses_is_on_the_internet(self, host):
        where = destinations("https://behind.example")

        assert "--private-storage" in refused(where, host)

    def test_one_private_address_among_many_is_enough(self, monkeypatch):
        found = [(0, 0, 0, "", (a, 0)) for a in (PUBLIC, "10.0.0.1")]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)

        assert "private" in refused(destinations(), "mixed.example")

    @pytest.mark.parametrize("address", ["169.254.169.254", "127.0.0.1", "10.0.0.9"])
    def test_the_apis_own_host_is_the_users_choice(self, address):
        assert refused(destinations(f"http://{address}:8000"), address) == ""

    def test_a_name_that_nobody_knows_is_left_to_the_request(self):
        assert refused(destinations(), "unknown.example") == ""


class Peer(socket.socket):
    """A socket that is connected to *peer*, as it says."""

    peer = ("", 0)

    def getpeername(self):
        return self.peer


def admitted(where: Destinations, host: str, address: str, port: int = 443) -> bool:
    with Peer() as peer:
        peer.peer = (address, port)
        try:
            where.admit(host, peer)
        except OSError:
            return False
    return True


@pytest.mark.usefixtures("names")
class TestPeers:
    def test_what_was_looked_up_is_looked_at_again(self):
        where = destinations()

        assert admitted(where, "cdn.example", STORAGE)
        assert admitted(where, "cdn.example", "198.18.0.7")
        for address in ("10.0.0.1", "127.0.0.1", "169.254.169.254", "fd00:ec2::254"):
            assert not admitted(where, "cdn.example", address)

    def test_an_api_that_was_public_stays_so_whatever_its_name_leads_to(self, internet):
        """Its own name server cannot open this machine to it."""
        where = destinations()
        assert admitted(where, "api.example", PUBLIC)
        internet.addresses["api.example"] = "127.0.0.1"
        assert admitted(where, "api.example", "127.0.0.1")

        assert "this machine" in refused(where, "127.0.0.1")
        assert "private" in refused(where, "10.0.0.1")

    def test_another_port_of_the_apis_host_tells_nothing_of_the_api(self):
        where = destinations("https://gateway.example")
        assert admitted(where, "gateway.example", "127.0.0.1", 2375)

        assert "this machine" in refused(where, "127.0.0.1")


# --- schemes --------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path, internet, monkeypatch) -> Iterator[World]:
    world = World(tmp_path, internet)
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(world.authorities))
    try:
        yield world
    finally:
        world.close()
    world.check_secrecy()


def view_of(build, **options) -> Direct:
    return Direct(build(base_url="https://api.example", token=Token(SECRET), **options))


@pytest.mark.parametrize("how", ["302", "video_url"])
class TestSchemes:
    @pytest.mark.parametrize("place", ["cdn.example", "cdn.example:80"])
    @pytest.mark.parametrize("insecure", [False, True])
    def test_https_comes_first_and_is_enough(
        self, build, world, *, how, place, insecure
    ):
        """A signature does not cover the scheme."""
        world.serve(p443=world.tls, p80=world.plain)
        world.lead(place, how)

        view = view_of(build, insecure_storage=insecure)
        check_reads(view, world.api.videos["v"], sequential(SIZE_BYTES))

        assert world.tls.requests_of("content")
        assert world.plain.log == []

    def test_a_port_that_is_named_stays(self, build, world, how):
        world.serve(p9000=world.tls)
        world.lead("cdn.example:9000", how)

        check_reads(view_of(build), world.api.videos["v"], sequential(SIZE_BYTES))

    @pytest.mark.parametrize(
        "place", ["cdn.example", "cdn.example:80", "cdn.example:9000"]
    )
    def test_what_is_served_by_http_alone_takes_the_option(
        self, build, world, expected_log, *, how, place
    ):
        """The message names the host and the option; nothing is sent in clear text."""
        expected_log(f"http://{place}, .*--insecure-storage")
        world.serve(p80=world.plain, p9000=world.plain)
        world.lead(place, how)

        assert errno_of(lambda: view_of(build).open("v")) == "EIO"
        assert [r for r in world.plain.log if r.status] == []

        view = view_of(build, insecure_storage=True)
        check_reads(view, world.api.videos["v"], sequential(SIZE_BYTES))

    def test_each_range_does_not_pay_for_https_again(
        self, build, world, internet, monkeypatch, *, how
    ):
        world.serve(p80=world.plain, p443=world.api)  # of another name: no TLS with it
        world.lead("cdn.example", how)
        view = view_of(build, insecure_storage=True)
        tried = []
        connect = internet.connect

        def counted(address, port, options):
            tried.append((address, port))
            return connect(address, port, options)

        monkeypatch.setattr("hingfs.http.dialing.begin_connecting", counted)

        for video_id in ("v", "w"):
            world.api.add(video_id, size_bytes=SIZE_BYTES)
            world.plain.add("v", size_bytes=SIZE_BYTES)
            with opened(view, video_id) as handle:
                for offset in range(0, SIZE_BYTES, 100_000):
                    handle.read(offset, 1000)

        assert tried.count((STORAGE, 443)) == 1

    def test_a_host_that_leads_from_https_to_http_has_no_https(
        self, build, world, expected_log, how
    ):
        expected_log("redirects to http.*--insecure-storage")
        world.serve(p443=world.tls, p80=world.plain)
        world.lead("cdn.example", how)
        location = world.location
        world.tls.inject(faults.redirect_to(location), 1000)

        assert errno_of(lambda: view_of(build).open("v")) == "EIO"

        view = view_of(build, insecure_storage=True)
        check_reads(view, world.api.videos["v"], sequential(SIZE_BYTES))

    @pytest.mark.parametrize("code", [403, 404])
    def test_where_https_is_another_server_http_is_asked_too(
        self, build, world, expected_log, *, how, code
    ):
        """With the option; without it the message names what was refused, and it."""
        expected_log(f"HTTP {code}.*http://cdn.example, .*--insecure-storage")
        world.serve(p443=world.tls, p80=world.plain)
        world.lead("cdn.example", how)
        world.tls.inject(faults.status(code), 1000)

        assert errno_of(lambda: view_of(build).open("v")) == "EIO"
        assert [r for r in world.plain.log if r.status] == []

        view = view_of(build, insecure_storage=True)
        check_reads(view, world.api.videos["v"], sequential(SIZE_BYTES))

    def test_a_storage_host_that_redirects_to_http_is_taken_the_same_way(
        self, build, world, how
    ):
        """At any hop."""
        world.serve(p443=world.tls, p80=world.plain)
        world.lead("first.example", how)
        world.internet.put("first.example", "8.8.8.8", p80=port(world.plain))
        target = world.location.replace("first.", "cdn.")
        world.plain.inject(
            faults.redirect_to(target), 1000, lambda r: r.server == "api"
        )

        view = view_of(build, insecure_storage=True)
        check_reads(view, world.api.videos["v"], sequential(SIZE_BYTES))

        assert world.tls.requests_of("content")

    @pytest.mark.parametrize("place", ["api.example", "api.example:80", "api.example."])
    @pytest.mark.parametrize("away", [False, True])
    def test_the_api_itself_is_never_asked_by_http(
        self, build, world, expected_log, *, how, place, away
    ):
        """Nor with the token, nor without; gateways behind TLS name themselves so."""
        expected_log.allow(".")
        world.api.personality = Leading(f"http://{place}/v1/videos/v/content", how)
        view = view_of(build, insecure_storage=True)

        if away:
            world.internet.put("api.example", PUBLIC, p443=0)

        # JSON that names itself is no video yet.
        assert errno_of(lambda: view.open("v")) in {"EIO", "EAGAIN"}

        assert world.plain.log == []


def test_https_that_is_named_is_never_left(build, world, expected_log):
    expected_log("EIO")
    world.serve(p80=world.plain)
    world.lead()
    location = world.location.replace("http:", "https:")
    world.api.personality = Leading(location)

    view = view_of(build, insecure_storage=True)
    assert errno_of(lambda: view.open("v")) == "EIO"

    assert world.plain.log == []


def test_a_host_that_gets_https_later_is_asked_by_it():
    where = destinations(insecure_storage=True)
    where.set_plain("http://cdn.example/v", served=True)
    assert where.by_tls("http://cdn.example:80/w") is None

    where.set_plain("http://cdn.example/v", served=False)
    assert where.by_tls("http://cdn.example/w") == "https://cdn.example/w"

    where = destinations(insecure_storage=True, plain_seconds=0.0)
    where.set_plain("http://cdn.example/v", served=True)
    assert where.by_tls("http://cdn.example/w") == "https://cdn.example/w"


def test_hosts_that_are_remembered_are_bounded():
    where = destinations(insecure_storage=True)

    for number in range(1000):
        where.set_plain(f"http://host{number}.example/v", served=True)

    assert len(where._plain_until) <= _MOST_PLAIN_HOSTS
    assert where.by_tls("http://host999.example/v") is None


@pytest.mark.parametrize(
    ("url", "asked"),
    [
        ("http://h/a?b=c", "https://h/a?b=c"),
        ("http://h:80/a", "https://h/a"),
        ("http://h:8080/a", "https://h:8080/a"),
        ("http://[2606:4700::1]:80/a", "https://[2606:4700::1]/a"),
        ("http://[2606:4700::1]/a", "https://[2606:4700::1]/a"),
        ("https://h/a", None),
    ],
)
def test_the_url_that_is_asked_first(url, asked):
    assert destinations().by_tls(url) == asked
    assert destinations("http://api.example").by_tls(url) is None


def test_nothing_is_refused_in_silence():
    with pytest.raises(TransportError, match=r"http://h:9000.*no TLS.*--insecure-st"):
        destinations().allow_plain("http://u:p@h:9000/a", "no TLS")
