"""When the API counts as away, who may ask it then, and how long reads try it."""

import time

import pytest

from hingfs.errors import Dropped, NoAnswer, NotAsked, Unreachable
from hingfs.http import patience
from hingfs.http.breaker import AWAY_TRIES, FAILURES, PROBE_SECONDS, Breaker
from hingfs.http.patience import AWAY_TOO_LONG_SECONDS, READ_TRIES, Terms
from hingfs.http.transport import HttpTransport
from hingfs.settings import EndpointConfig
from hingfs.token import Token

REFUSED = Unreachable("Connection refused", server="api.example")


@pytest.fixture
def now(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def fail(breaker: Breaker, now, error=REFUSED, seconds: float = 0.1) -> None:
    """A try that begins now and takes *seconds*; the next one begins a moment later."""
    started = now[0]
    now[0] += seconds
    breaker.failed(error, "v", started)
    now[0] += 0.2


def asked(breaker: Breaker) -> bool:
    """Whether a call may ask; it is not answered."""
    try:
        breaker.tries(3)
    except NotAsked:
        return False
    return True


class TestAway:
    def test_two_tries_without_a_connection_are_enough(self, now):
        breaker = Breaker()
        for _ in range(AWAY_TRIES - 1):
            fail(breaker, now)
        assert (breaker.is_away, breaker.away_seconds) == (False, 0.0)
        assert breaker.tries(3) == 3

        fail(breaker, now)

        assert breaker.is_away
        assert breaker.away_seconds == pytest.approx(0.6), "since the first try began"
        with pytest.raises(NotAsked, match="the server is away"):
            breaker.tries(3)

    def test_tries_at_the_same_time_count_once(self, now):
        """A server under load refuses ten connections at one moment."""
        breaker = Breaker()
        started, now[0] = now[0], now[0] + 0.1
        for _ in range(2 * FAILURES):
            breaker.failed(REFUSED, "v", started)

        assert not breaker.seems_dead

    def test_an_answer_between_two_tries_counts_anew(self, now):
        breaker = Breaker()
        for _ in range(3 * FAILURES):
            fail(breaker, now)
            breaker.answered()

        assert not breaker.seems_dead

    def test_a_try_that_began_before_an_answer_says_nothing(self, now):
        breaker = Breaker()
        fail(breaker, now)
        started = now[0]
        now[0] += 1.0
        breaker.answered()
        for _ in range(FAILURES):
            breaker.failed(REFUSED, "v", started)

        assert breaker.tries(3) == 3

    @pytest.mark.parametrize("error", [NoAnswer("silent"), Dropped("reset")])
    def test_silence_and_dropped_connections_are_not_away(self, now, error):
        breaker = Breaker()
        for number in range(FAILURES):
            assert breaker.tries(3) == 3
            started, now[0] = now[0], now[0] + 0.1
            breaker.failed(error, f"v{number}", started)

        assert breaker.seems_dead
        assert not breaker.is_away

    def test_one_call_in_five_seconds_asks(self, now):
        breaker = Breaker()
        for _ in range(AWAY_TRIES):
            fail(breaker, now)
        began, probes = now[0], 0
        while now[0] < began + 60.0:
            if asked(breaker):
                probes += 1
                fail(breaker, now)
            now[0] += 0.1

        assert 60 / (PROBE_SECONDS + 1) <= probes <= 60 / PROBE_SECONDS
        assert breaker.away_seconds > 60.0

    def test_the_first_answer_ends_it(self, now):
        breaker = Breaker()
        for _ in range(AWAY_TRIES):
            fail(breaker, now)
        now[0] += PROBE_SECONDS
        assert breaker.tries(3) == 1
        assert not asked(breaker)

        breaker.answered()

        assert breaker.tries(3) == 3
        assert (breaker.is_away, breaker.away_seconds) == (False, 0.0)

    def test_one_that_is_shut_lets_nobody_ask(self, now):
        breaker = Breaker.shut()
        for _ in range(3):
            with pytest.raises(NotAsked, match="--offline was given"):
                breaker.tries(3)
            now[0] += 1e9

        assert breaker.is_away
        assert breaker.away_seconds > AWAY_TOO_LONG_SECONDS


class TestReads:
    """A read tries as long as a server may take to restart, unless others have."""

    @pytest.fixture
    def transport(self, monkeypatch):
        config = EndpointConfig("https://api.example", token=Token("oh-secret"))
        transport = HttpTransport(config)
        monkeypatch.setattr(transport, "wait", lambda _seconds: None)
        yield transport
        transport.close()

    @pytest.fixture
    def terms(self, transport) -> Terms:
        return Terms(transport, EndpointConfig(token=Token("oh-secret")))

    def away(self, transport, now, seconds: float) -> None:
        """The API has been away for *seconds*, and was asked just now."""
        breaker = transport.breaker
        fail(breaker, now)
        now[0] += seconds
        fail(breaker, now, seconds=0.0)

    def tries_of(self, call: patience.Patience) -> int:
        for number in range(1, 100):
            try:
                call.failed(REFUSED)
            except Unreachable:
                return number
        raise AssertionError

    def test_the_figure_is_the_least_that_a_read_waits(self):
        first, longest = patience._FIRST_DELAY_SECONDS, patience._LONGEST_DELAY_SECONDS
        waits = [min(first * 2**n, longest) for n in range(READ_TRIES - 1)]

        least = (1 - patience._JITTER) * sum(waits)
        assert least == pytest.approx(AWAY_TOO_LONG_SECONDS)

    def test_a_read_has_its_tries_while_the_server_may_restart(
        self, transport, terms, now
    ):
        self.away(transport, now, AWAY_TOO_LONG_SECONDS - 1.0)

        assert self.tries_of(terms.of_read("v")) == READ_TRIES

    def test_a_read_fails_at_once_when_others_have_tried_as_long(
        self, transport, terms, now
    ):
        before = terms.of_read("v")
        self.away(transport, now, AWAY_TOO_LONG_SECONDS)

        with pytest.raises(NotAsked):
            terms.of_read("v")
        assert self.tries_of(before) == READ_TRIES, "of a read that began before"

    def test_one_read_in_five_seconds_asks_and_has_its_tries_once_it_is_answered(
        self, transport, terms, now
    ):
        self.away(transport, now, AWAY_TOO_LONG_SECONDS)
        now[0] += PROBE_SECONDS
        assert self.tries_of(terms.of_read("v")) == 1
        with pytest.raises(NotAsked):
            terms.of_read("v")
        now[0] += PROBE_SECONDS
        answered = terms.of_read("v")

        answered.answered()

        assert self.tries_of(answered) == READ_TRIES
