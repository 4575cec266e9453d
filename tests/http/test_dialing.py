"""Whichever address of a host answers first is used; the dead ones cost little."""

import contextlib
import socket
from collections.abc import Iterator

import pytest

from hingfs.http import dialing
from hingfs.http.dialing import LIVELY, Dialer

PATIENT = 5.0


class Net:
    """Addresses that answer, refuse, or swallow what is sent to them."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, port: int) -> None:
        self.tried: list[str] = []
        self.refusing: set[str] = set()
        self.silent: set[str] = set()
        self.made: list[socket.socket] = []
        self._port = port
        self._begin = dialing.begin_connecting
        monkeypatch.setattr(dialing, "begin_connecting", self.begin)

    def begin(
        self, address: str, _port: int, options: list[dialing.SocketOption]
    ) -> socket.socket:
        self.tried.append(address)
        if address in self.refusing:
            raise ConnectionRefusedError(111, "Connection refused")
        if address in self.silent:
            left, right = socket.socketpair()
            left.settimeout(0)
            with contextlib.suppress(BlockingIOError):
                while True:  # until it is not writable, as one that is connecting
                    left.send(bytes(65536))
            self.made += [left, right]
            return left
        return self._begin("127.0.0.1", self._port, options)


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.fixture
def net(monkeypatch: pytest.MonkeyPatch, listening: int) -> Iterator[Net]:
    net = Net(monkeypatch, listening)
    yield net
    for sock in net.made:
        sock.close()


def quick() -> Dialer:
    """A dialer whose attempts follow each other soon."""
    return Dialer(attempt_seconds=0.02)


def dial(dialer: Dialer, addresses: list[str], seconds: float = PATIENT) -> None:
    dialer.dial("h", 80, addresses, seconds=seconds, options=[]).close()


def test_the_first_address_is_taken_where_it_answers(net):
    dial(quick(), ["192.0.2.1", "192.0.2.2"])

    assert net.tried == ["192.0.2.1"]


def test_a_silent_address_holds_the_next_one_up_for_a_moment_only(net):
    net.silent = {"192.0.2.1"}

    dial(quick(), ["192.0.2.1", "192.0.2.2"])

    assert net.tried == ["192.0.2.1", "192.0.2.2"]


def test_the_last_of_sixteen_is_reached(net):
    """With a share of the time for each, a slow one at the end never was."""
    addresses = [f"192.0.2.{number}" for number in range(16)]
    net.silent = set(addresses[:-1])

    dial(quick(), addresses)

    assert net.tried == addresses


def test_the_families_take_turns(net):
    """A network whose IPv6 leads nowhere is not tried address by address."""
    addresses = ["2001:db8::1", "2001:db8::2", "2001:db8::3", "192.0.2.1", "192.0.2.2"]
    net.silent = {a for a in addresses if ":" in a}

    dial(quick(), addresses)

    assert net.tried == ["2001:db8::1", "192.0.2.1"]


def test_what_answered_comes_first_the_next_time(net):
    dialer = quick()
    net.refusing = {"192.0.2.1"}
    dial(dialer, ["192.0.2.1", "192.0.2.2"])
    net.tried.clear()

    dial(dialer, ["192.0.2.1", "192.0.2.2"])

    assert net.tried == ["192.0.2.2"]


def test_when_all_addresses_refuse_the_last_one_tells_it(net):
    net.refusing = {"192.0.2.1", "192.0.2.2"}

    with pytest.raises(ConnectionRefusedError):
        dial(quick(), ["192.0.2.1", "192.0.2.2"])


def test_when_no_address_answers_it_is_told_in_time_and_nothing_is_left_open(net):
    net.silent = {"192.0.2.1", "192.0.2.2"}

    with pytest.raises(TimeoutError):
        dial(quick(), ["192.0.2.1", "192.0.2.2"], seconds=0.2)
    assert [sock.fileno() for sock in net.made[::2]] == [-1, -1]


def test_a_port_that_is_closed_refuses_at_once(listening):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

    with pytest.raises(ConnectionRefusedError):
        quick().dial("h", port, ["127.0.0.1"], seconds=PATIENT, options=[])


def test_a_name_without_an_address_is_an_error():
    with pytest.raises(OSError, match="no address"):
        quick().dial("h", 80, [], seconds=PATIENT, options=[])


def test_a_connection_notices_that_its_peer_has_gone(listening):
    with quick().dial(
        "h", listening, ["127.0.0.1"], seconds=PATIENT, options=LIVELY
    ) as sock:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 4000
