"""How messages look: one line in a pipe, laid out on a terminal."""

import os
import pty
import subprocess
import sys

import pytest

from hingfs.cli.console import laid_out
from tests.support.mounting import environment

SAID = (
    "hingfs: the token file /home/me/my token can be used by other users; it holds the "
    "API token alone and `hingfs mount --token-file FILE` reads it; run: chmod 600 "
    "'/home/me/a folder with a name that is far longer than any line of a terminal'"
)


@pytest.mark.parametrize("columns", [10, 20, 40, 80, 300])
def test_clauses_have_lines_of_their_own_and_no_word_is_cut(columns: int) -> None:
    lines = laid_out(SAID, columns).split("\n")

    assert " ".join(line.strip() for line in lines) == SAID
    assert all(line.startswith("  ") for line in lines[1:])
    begun = [line.strip() for line in lines]
    assert any(line.startswith("it holds") for line in begun)
    assert lines[-1].startswith("  run: chmod 600 '/home/me/a folder")
    assert sum("`" in line for line in lines) == 1
    assert max(map(len, lines[:-1])) <= max(min(columns, 100), 50)


def test_a_short_message_is_one_line() -> None:
    assert laid_out("hingfs: nothing is mounted on /x", 80).count("\n") == 0


def on_terminal(*arguments: str) -> str:
    """What the command line prints on a terminal of 80 columns."""
    ours, theirs = pty.openpty()
    try:
        subprocess.run(
            [sys.executable, "-m", "hingfs", *arguments],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment(COLUMNS="80", TERM="xterm"),
            check=False,
            timeout=60,
        )
        return os.read(ours, 100_000).decode().replace("\r\n", "\n")
    finally:
        os.close(ours)
        os.close(theirs)


def test_a_person_at_a_terminal_reads_what_happened_and_then_what_to_do() -> None:
    assert on_terminal("mount", "/tmp") == (
        "hingfs: no token is given;\n"
        "  put it into HINGFS_TOKEN (export HINGFS_TOKEN=oh-…), or into a file of mode\n"
        "  0600 that --token-file or HINGFS_TOKEN_FILE names\n"
    )


def test_so_does_who_mistypes_an_option() -> None:
    said = on_terminal("mount", "--cach-size", "1MiB", "/tmp")

    assert said.startswith(
        "hingfs: `hingfs mount` has no option --cach-size; did you mean --cache-size?\n"
        "  usage: hingfs mount [OPTION]... DIR\n"
    )
