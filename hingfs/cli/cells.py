"""Text in lines of so many cells of a terminal: a Chinese character takes two.

Decides where a line may end: between words, beside a wide character, and in a word that is
longer than a line. No mark is parted from what it stands on, nor punctuation from the
character before it. Pure.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from functools import lru_cache

from rich.cells import cell_len

_JOINER = "\u200d"  # between the parts of one emoji
# A family of four with their skin tones; a server may send one without an end.
_LONGEST_CLUSTER = 12
_SKIN_TONES = range(0x1F3FB, 0x1F400)
_FLAG_LETTERS = range(0x1F1E6, 0x1F200)
# Closing brackets and quotes, and what ends a phrase: no line begins with them.
_CLOSING = frozenset({"Pe", "Pf", "Po"})


def cells(text: str) -> int:
    """How many cells *text* takes at most: terminals differ in emoji of several parts."""
    return sum(map(_cells_of_cluster, _clusters(text)))


def wrapped(text: str, width: int) -> list[str]:
    """The words of *text* in lines of at most *width* cells, which are 24 or more.

    At least one line.
    """
    lines, line, room = [], "", width
    for piece, size, spaced in _pieces(text):
        gap = " " if spaced and line else ""
        if len(gap) + size <= room:
            line, room = line + gap + piece, room - len(gap) - size
            continue
        if line:
            lines.append(line)
        *full, line = _cut(piece, width)
        lines += full
        room = width - cells(line)
    return [*lines, line]


def _cut(piece: str, width: int) -> list[str]:
    """*piece* in parts of at most *width* cells."""
    parts, room = [""], width
    for cluster in _clusters(piece):
        size = _cells_of_cluster(cluster)
        if size > room and parts[-1]:
            parts.append("")
            room = width
        parts[-1] += cluster
        room -= size
    return parts


def _pieces(text: str) -> Iterator[tuple[str, int, bool]]:
    """What may stand on a line of its own, its cells, and whether a space is before it."""
    for word in text.split():
        piece, size, spaced = "", 0, True
        for cluster in _clusters(word):
            more = _cells_of_cluster(cluster)
            if piece and _may_part(piece, cluster):
                yield piece, size, spaced
                piece, size, spaced = "", 0, False
            piece, size = piece + cluster, size + more
        yield piece, size, spaced


def _may_part(piece: str, cluster: str) -> bool:
    """Whether a line may end between *piece* and *cluster*, which follows it."""
    if unicodedata.category(cluster[0]) in _CLOSING:
        return False
    return cell_len(piece[-1]) > 1 or cell_len(cluster[0]) > 1


def _clusters(text: str) -> Iterator[str]:
    """The characters of *text* as people see them, about."""
    if text.isascii():
        yield from text
        return
    cluster = ""
    for character in text:
        if cluster and not _continues(cluster, character):
            yield cluster
            cluster = ""
        cluster += character
    if cluster:
        yield cluster


def _continues(cluster: str, character: str) -> bool:
    code, last = ord(character), cluster[-1]
    if len(cluster) == _LONGEST_CLUSTER:
        return False
    if cell_len(character) == 0 or last == _JOINER or code in _SKIN_TONES:
        return True
    return code in _FLAG_LETTERS and len(cluster) == 1 and ord(last) in _FLAG_LETTERS


@lru_cache(4096)
def _cells_of_cluster(cluster: str) -> int:
    return max(cell_len(cluster), sum(map(cell_len, cluster)))


def labelled(
    rows: Sequence[tuple[str, str]], label_cells: int, width: int
) -> Iterator[str]:
    """*rows* of a label and a text, the texts in lines under each other.

    The longest label has *label_cells*.
    """
    indent = len("  ") + label_cells + len("  ")
    for label, text in rows:
        before = f"  {label}".ljust(indent)
        for paragraph in text.split("\n"):
            for line in wrapped(paragraph, width - indent):
                yield f"{before}{line}".rstrip()
                before = " " * indent
