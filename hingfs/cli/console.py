"""What the command line says to a person on standard error.

In a pipe each message is one line, so that a search shows all of it. On a terminal it is
laid out for reading: what happened on the first line, what to do on the lines below, and
no word cut in two.
"""

import os
import re
import shutil
import sys
import textwrap

_STANDARD_ERROR = 2
_INDENT = "  "
# Some terminals are wider than anybody reads.
_MOST_COLUMNS = 100


def complain(sentence: str) -> None:
    """Say *sentence*, with the program's name before it."""
    said = f"hingfs: {sentence}"
    if is_terminal():
        said = laid_out(said, shutil.get_terminal_size().columns)
    print(said, file=sys.stderr, flush=True)


def is_terminal() -> bool:
    """True if standard error is a terminal."""
    return os.isatty(_STANDARD_ERROR)  # `sys.stderr` is None where it was closed


def laid_out(said: str, columns: int) -> str:
    """*said* in lines of *columns* characters, its clauses on lines of their own if long.

    A command to be copied, after "run: " or between backticks, stays whole.
    """
    width = max(20, min(columns, _MOST_COLUMNS))
    if len(said) <= width:
        return said
    first, *rest = re.split(r"(?<=;) ", said)
    lines = [_filled(first, width, first_indent="")]
    for clause in rest:
        whole = clause.startswith("run: ")
        lines.append(_INDENT + clause if whole else _filled(clause, width))
    return "\n".join(lines)


def _filled(clause: str, width: int, first_indent: str = _INDENT) -> str:
    """*clause* in lines; what backticks hold is one word."""
    words = re.sub(r"`[^`]*`", lambda command: command[0].replace(" ", "\0"), clause)
    filled = textwrap.fill(
        words,
        width,
        initial_indent=first_indent,
        subsequent_indent=_INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return filled.replace("\0", " ")
