"""Tables of what servers said: what they hold, and how much of it."""

import itertools
import sys
import time

from hypothesis import given
from hypothesis import strategies as st

from hingfs.blocks import MIB
from hingfs.remembered import ENTRY_BYTES, Remembered, bytes_of_texts
from tests.support.memory import little_memory

ROOM_FOR_THREE = 3 * (ENTRY_BYTES + sys.getsizeof("a") + 10)
steps = st.lists(
    st.tuples(st.sampled_from(["get", "put", "pop"]), st.sampled_from("abcdef")),
    max_size=40,
)


@given(steps)
def test_a_table_keeps_what_was_used_last_within_its_bound(steps) -> None:
    table: Remembered[int] = Remembered(ROOM_FOR_THREE, lambda _: 10)
    numbers = itertools.count()
    model: dict[str, int] = {}
    for step, key in steps:
        if step == "get":
            assert table.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
        elif step == "pop":
            table.pop(key)
            model.pop(key, None)
        else:
            model.pop(key, None)
            model[key] = next(numbers)
            table.put(key, model[key])
            model = dict(list(model.items())[-3:])
        assert table.values() == list(model.values())
        assert all((name in table) == (name in model) for name in "abcdef")
        assert table.held_bytes == len(model) * ROOM_FOR_THREE // 3


def test_a_value_is_forgotten_after_its_time(monkeypatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    table: Remembered[int] = Remembered(1 * MIB, lambda _: 0, seconds=2.0)
    table.put("a", 1)

    now[0] += 1.9
    assert table.get("a") == 1
    now[0] += 0.2
    assert "a" not in table
    assert table.values() == []
    assert table.get("a") is None
    assert table.held_bytes == 0


def test_what_is_larger_than_all_of_it_is_not_kept() -> None:
    table: Remembered[str] = Remembered(1000, bytes_of_texts)
    table.put("a", "x" * 2000)

    assert table.get("a") is None
    assert table.held_bytes == 0


def test_ids_of_any_kind_take_no_more_than_is_counted() -> None:
    """One character outside the BMP makes a text four times as large."""
    for first in ("", "\u00e9", "\u4e2d", "\U0001f600"):
        table: Remembered[str] = Remembered(1 * MIB, bytes_of_texts)
        with little_memory(1_400_000):
            for number in range(5_000):  # five times as many as fit
                table.put(f"{first}{number:0{number % 900}}", f"{number}")
        assert table.held_bytes <= 1 * MIB
