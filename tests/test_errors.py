"""The tree of errors, and server text made fit for a terminal."""

import copyreg
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs import errors
from hingfs.errors import HingError, RateLimited, SetupError, Unreachable, printable


def subclasses(kind: type[HingError]) -> set[type[HingError]]:
    below = [subclasses(sub) for sub in kind.__subclasses__()]
    return {kind}.union(*below)


@given(st.text(), st.integers(1, 300))
def test_printable_text_is_one_short_line_without_controls(text, limit):
    cleaned = printable(text, limit)

    assert len(cleaned) <= limit
    assert not any(unicodedata.category(sign) in {"Cc", "Cs"} for sign in cleaned)
    assert "\N{LINE SEPARATOR}" not in cleaned
    cleaned.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("plain", "plain"),
        ("two\r\nlines", "two lines"),
        ("\x1b[31mred\x1b[0m", "[31mred [0m"),
        ("a\u202egnp.exe", "a gnp.exe"),
        ("\x9b31m", "31m"),
        ("处理中", "处理中"),
        (None, "None"),
        (b"x", "b'x'"),
    ],
)
def test_printable_keeps_words_and_drops_tricks(text, cleaned):
    assert printable(text) == cleaned


def test_printable_says_where_it_cut():
    assert printable("x" * 500) == "x" * 199 + "…"


def test_printable_is_quick_with_endless_text():
    assert len(printable("\x00" * 10_000_000 + "x")) <= 200


@pytest.mark.parametrize("kind", sorted(subclasses(HingError), key=str))
def test_a_copy_for_another_thread_says_the_same(kind):
    try:
        raise kind("the reason")
    except HingError as caught:
        error = caught

    copy = error.again()

    assert type(copy) is kind
    assert copy is not error
    assert str(copy) == "the reason"
    assert copy.__traceback__ is None


def test_a_copy_is_not_made_as_others_have_taught_copy_to(monkeypatch):
    """Dask's scheduler has copies of all exceptions keep their tracebacks."""

    def reduce(_error: object) -> str:
        raise AssertionError("it was asked")

    monkeypatch.setitem(copyreg.dispatch_table, RateLimited, reduce)

    assert str(RateLimited("x").again()) == "x"


def test_a_copy_keeps_what_it_carries():
    assert vars(RateLimited("x", 7.5).again())["retry_after_seconds"] == 7.5
    copy = Unreachable("no route", server="host:8").again()
    assert (str(copy), vars(copy)["server"]) == ("host:8: no route", "host:8")


def test_copies_raised_in_many_threads_do_not_share_a_traceback():
    error = HingError("x")
    depths: list[int] = []

    def raise_it() -> None:
        try:
            raise error.again()
        except HingError as caught:
            traceback, depth = caught.__traceback__, 0
            while traceback is not None:
                traceback, depth = traceback.tb_next, depth + 1
            depths.append(depth)

    threads = [threading.Thread(target=raise_it) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert depths == [1] * 8


def test_every_reason_not_to_mount_has_its_own_exit_status():
    # One that says more of the same has the status of its kind.
    kinds = [kind for kind in subclasses(SetupError) if "exit_status" in vars(kind)]

    assert len({kind.exit_status for kind in kinds}) == len(kinds) >= 9  # type: ignore[attr-defined]
    assert all(0 < kind.exit_status < 128 for kind in kinds)  # type: ignore[attr-defined]


def test_the_tree_in_the_docstring_is_the_tree():
    for kind in subclasses(HingError):
        if kind.__module__ == errors.__name__:
            assert kind.__name__ in (errors.__doc__ or "")
