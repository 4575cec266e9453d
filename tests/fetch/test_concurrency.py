"""How many requests at once: learnt from bytes and times that a test makes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import MIB
from hingfs.fetch.concurrency import FIRST_LIMIT, Concurrency


class TestConnections:
    """How many requests at once pay off."""

    def run(self, concurrency: Concurrency, rate_of, samples: int = 30) -> list[int]:
        limits = []
        for _ in range(samples):
            concurrency.measured(rate_of(concurrency.limit), 8 * MIB)
            limits.append(concurrency.limit)
        return limits

    def test_the_number_climbs_while_each_connection_is_capped(self):
        assert self.run(Concurrency(16), lambda limit: limit * 25e6)[-1] == 16

    @given(st.integers(9, 64))
    def test_no_step_is_so_small_that_noise_hides_what_it_brings(self, most):
        concurrency = Concurrency(most)
        before = concurrency.limit
        for limit in self.run(concurrency, lambda limit: limit * 25e6):
            assert limit == before or limit >= 1.3 * before
            before = limit

    @pytest.mark.parametrize(("first", "limit"), [(0, 1), (9, 9), (99, 16)])
    def test_the_number_begins_where_an_earlier_mount_ended(self, first, limit):
        assert Concurrency(16, first).limit == limit

    def test_the_number_steps_back_where_more_connections_bring_nothing(self):
        concurrency = Concurrency(16)
        first = concurrency.limit

        limits = self.run(concurrency, lambda _limit: 100e6)

        assert max(limits) > first, "one step is tried"
        assert limits[-1] == first

    def test_one_low_rate_is_noise(self):
        concurrency = Concurrency(10)
        rates = iter([150e6, 120e6, 250e6, 250e6])

        for rate in rates:
            concurrency.measured(rate, 8 * MIB)

        assert concurrency.limit == 10

    def test_the_number_stays_where_the_rate_stops_rising(self):
        limits = self.run(Concurrency(32), lambda limit: min(limit, 10) * 25e6)

        assert 8 <= limits[-1] <= 20

    def test_a_larger_number_is_tried_again_after_a_while(self):
        concurrency = Concurrency(16)
        self.run(concurrency, lambda _limit: 100e6)
        before = concurrency.limit

        limits = self.run(concurrency, lambda limit: limit * 100e6, samples=2000)

        assert max(limits) > before

    def test_trouble_halves_it(self):
        concurrency = Concurrency(16)
        self.run(concurrency, lambda limit: limit * 25e6)

        concurrency.trouble()

        assert concurrency.limit == 8

    @given(
        st.integers(-3, 64),
        st.lists(
            st.none() | st.tuples(st.floats(0, 1e10), st.integers(0, 1 << 30)),
            max_size=50,
        ),
    )
    def test_the_number_is_at_least_one_and_never_more_than_allowed(self, most, events):
        concurrency = Concurrency(most)
        for event in events:
            if event is None:
                concurrency.trouble()
            else:
                concurrency.measured(*event)

            assert 1 <= concurrency.limit <= max(1, most)


class TestBursts:
    """Only bytes that arrive while all connections are in use are measured."""

    def clip(self, concurrency: Concurrency, start: float, per_second: float) -> None:
        """One that is asked for at once: a long wait for its first byte, then 60 ms."""
        count = concurrency.limit
        concurrency.running(count, start)
        for step in range(7):
            concurrency.arrived(int(per_second * count / 100), start + 50 + step / 100)
        concurrency.running(0, start + 50.06)

    def test_the_time_between_bursts_does_not_count(self):
        concurrency = Concurrency(10)

        for number in range(12):
            self.clip(concurrency, 100.0 * number + 1, per_second=25e6)

        assert concurrency.limit == 10

    def test_connections_that_share_one_rate_are_given_up(self):
        concurrency = Concurrency(10)

        for number in range(12):
            self.clip(concurrency, 100.0 * number + 1, 250e6 / concurrency.limit)

        assert concurrency.limit == FIRST_LIMIT

    def test_what_comes_while_connections_are_idle_does_not_count(self):
        concurrency = Concurrency(10)
        concurrency.running(FIRST_LIMIT - 1, 0.0)

        assert not any(
            concurrency.arrived(100 * MIB, float(second)) for second in range(20)
        )
