"""Text in lines by cells: what no line may exceed, lose, or part."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.cli.cells import cells, labelled, wrapped

FAMILY, FLAG, WAVE, ACCENT = "👨‍👩‍👧‍👦", "🇨🇳", "👋🏽", "e\u0301"


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("fox", 3),
        ("视频", 4),
        ("שלום", 4),
        (ACCENT, 1),
        ("🎬", 2),
        ("❤️", 2),  # one as a character, two as an emoji
        (FLAG, 2),
        (FAMILY, 8),  # some terminals show the people one by one
    ],
)
def test_a_text_counts_as_wide_as_any_terminal_shows_it(text: str, size: int) -> None:
    assert cells(text) == size


@pytest.mark.parametrize(
    ("text", "width", "lines"),
    [
        ("", 5, [""]),
        ("a fox runs", 5, ["a fox", "runs"]),
        ("abcdefgh ij", 5, ["abcde", "fgh", "ij"]),
        # A Chinese text goes on where the line is, and no line begins with its full stop.
        ("a 视频视频", 6, ["a 视频", "视频"]),
        ("视频。视频", 5, ["视", "频。", "视频"]),
        ("视频abc", 5, ["视频", "abc"]),
        (f"{FAMILY}{FLAG}{WAVE}", 9, [FAMILY, f"{FLAG}{WAVE}"]),
        (ACCENT * 4, 3, [ACCENT * 3, ACCENT]),
    ],
)
def test_lines_end_where_a_reader_expects_it(
    text: str, width: int, lines: list[str]
) -> None:
    assert wrapped(text, width) == lines


@given(
    st.text(st.sampled_from(f"ab ,。视频é{FAMILY}{FLAG}{WAVE}❤️\u200bש"), max_size=120),
    st.integers(24, 40),
)
def test_no_line_is_too_long_and_nothing_is_lost(text: str, width: int) -> None:
    lines = wrapped(text, width)

    assert "".join(lines).replace(" ", "") == "".join(text.split()).replace(" ", "")
    assert all(cells(line) <= width for line in lines)


def test_an_emoji_without_an_end_is_cut() -> None:
    assert max(map(cells, wrapped("👨\u200d" * 100, 24))) <= 24


def test_labels_stand_beside_the_first_line_of_their_text() -> None:
    rows = [("a", "one two"), ("label", "x\n\ny")]

    assert list(labelled(rows, 5, 13)) == [
        "  a      one",
        "         two",
        "  label  x",
        "",
        "         y",
    ]
