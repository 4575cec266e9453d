"""Names of hosts: whoever waits for a look-up is told in time."""

import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from hingfs.errors import Closing
from hingfs.http.resolver import Resolver
from tests.support.mounting import eventually

LOCAL = "127.0.0.1"
SOON = 0.05
LONG = 10.0


class System:
    """getaddrinfo of a system where some names hang, until the test is over."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked: list[str] = []
        self.hanging: set[str] = set()
        self.unknown: set[str] = set()
        self.over = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", self.find)

    def find(self, host: str, port: int, *_args: object) -> list[tuple[object, ...]]:
        self.asked.append(host)
        if host in self.hanging:
            self.over.wait()
        if host in self.unknown:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        address = host if host[0].isdigit() else LOCAL
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]


@pytest.fixture
def system(monkeypatch) -> Iterator[System]:
    system = System(monkeypatch)
    yield system
    system.over.set()


@pytest.fixture
def make() -> Iterator[Callable[..., Resolver]]:
    made: list[Resolver] = []

    def make(join_seconds: float = LONG, **options: int) -> Resolver:
        made.append(Resolver(join_seconds, **options))
        return made[-1]

    yield make
    for resolver in made:
        resolver.close(Closing("the test is over"))


class TestResolver:
    @pytest.mark.usefixtures("system")
    def test_a_name_has_addresses(self, make):
        assert make().look_up("a.test", 80, LONG) == [LOCAL]

    def test_an_unknown_name_is_an_error(self, system, make):
        system.unknown.add("a.test")

        with pytest.raises(socket.gaierror, match="not known"):
            make().look_up("a.test", 80, LONG)

    @pytest.mark.parametrize("name", ["a" * 64 + ".test", "a..test", "\udcff.test"])
    def test_what_can_be_no_name_is_an_error(self, make, name):
        with pytest.raises(OSError):
            make().look_up(name, 80, LONG)

    @pytest.mark.usefixtures("system")
    def test_an_address_needs_no_thread(self, make):
        before = threading.active_count()

        assert make().look_up("192.0.2.1", 80, LONG) == ["192.0.2.1"]
        assert threading.active_count() == before

    def test_a_link_local_address_keeps_its_interface(self, make, monkeypatch):
        place = ("fe80::1", 80, 0, 7)
        found = [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", place)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)

        assert make().look_up("a.test", 80, LONG) == ["fe80::1%7"]

    def test_a_lookup_that_hangs_is_left_behind(self, system, make):
        system.hanging.add("a.test")

        with pytest.raises(TimeoutError, match="name lookup took too long"):
            make().look_up("a.test", 80, SOON)

    def test_callers_for_one_name_wait_for_one_lookup(self, system, make):
        resolver = make()
        system.hanging.add("a.test")
        with ThreadPoolExecutor(9) as threads:
            waiting = [
                threads.submit(resolver.look_up, "a.test", 80, LONG) for _ in range(9)
            ]
            eventually(lambda: system.asked, "a look-up")
            system.over.set()

            assert [each.result() for each in waiting] == [[LOCAL]] * 9
        assert len(system.asked) <= 2  # the last may come when the first has gone

    def test_an_answer_that_came_late_is_the_next_ones(self, system, make):
        """Else a resolver that needs six seconds would never be heard in five."""
        resolver = make()
        system.hanging.add("a.test")
        with pytest.raises(TimeoutError):
            resolver.look_up("a.test", 80, SOON)
        system.over.set()

        assert resolver.look_up("a.test", 80, LONG) == [LOCAL]
        assert system.asked == ["a.test"]
        resolver.look_up("a.test", 80, LONG)
        assert system.asked == ["a.test"] * 2  # and used once

    def test_beside_a_lookup_that_hangs_for_long_another_is_started(self, system, make):
        resolver = make(join_seconds=0.0)
        system.hanging.add("a.test")
        with pytest.raises(TimeoutError):
            resolver.look_up("a.test", 80, SOON)
        system.hanging.clear()

        assert resolver.look_up("a.test", 80, LONG) == [LOCAL]

    def test_late_answers_that_nobody_comes_for_are_forgotten(self, system, make):
        resolver = make(join_seconds=0.0)
        late = [f"{number}.test" for number in range(9)]
        system.hanging.update(late)
        for name in late:
            with pytest.raises(TimeoutError):
                resolver.look_up(name, 80, 0.001)
        system.over.set()

        def ended() -> bool:
            return all(each.addresses.done() for each in resolver._lookups.values())

        eventually(ended, "the late answers")
        resolver.look_up("a.test", 80, LONG)
        assert resolver._lookups == {}

    def test_names_that_hang_are_not_in_the_way_of_others(self, system, make):
        resolver = make()
        hanging = [f"{number}.hanging.test" for number in range(20)]
        system.hanging.update(hanging)
        for name in hanging:
            with pytest.raises(TimeoutError):
                resolver.look_up(name, 80, 0.001)

        assert resolver.look_up("a.test", 80, LONG) == [LOCAL]

    def test_lookups_that_hang_are_bounded(self, system, make):
        resolver = make(join_seconds=0.0, most_lookups=3)
        system.hanging.add("a.test")
        for _ in range(9):
            with pytest.raises(TimeoutError):
                resolver.look_up("a.test", 80, 0.001)

        eventually(lambda: len(system.asked) == 3, "three look-ups")

    def test_close_wakes_every_caller(self, system, make):
        resolver = make()
        system.hanging.add("a.test")
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(resolver.look_up, "a.test", 80, LONG)
            eventually(lambda: system.asked, "a look-up")
            resolver.close(Closing("the mount is ending"))

            with pytest.raises(Closing):
                waiting.result()
        with pytest.raises(Closing):
            resolver.look_up("b.test", 80, LONG)
        assert not resolver.join(0)
        system.over.set()
        assert resolver.join(LONG)
