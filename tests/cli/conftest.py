"""What tests of the command line share: their settings, their token, and refusals."""

import os
import re
from collections.abc import Callable

import pytest

from hingfs.cli import main as cli

TOKEN = "oh-test-token"

# `refusal(status, *words)`: what `hingfs` says as it ends with *status*.
Refusal = Callable[..., str]


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No HINGFS_ setting of whoever runs the tests counts; there is a token."""
    for name in [name for name in os.environ if name.startswith("HINGFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HINGFS_TOKEN", TOKEN)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def refusal(capsys: pytest.CaptureFixture[str]) -> Refusal:
    """A refusal is one line on standard error, without the token."""

    def refusal(status: int, *words: object) -> str:
        assert cli.main([str(word) for word in words]) == status
        out, err = capsys.readouterr()
        assert out == ""
        assert re.fullmatch(r"hingfs: [^\n]+\n", err), err
        assert TOKEN not in err
        return err.removeprefix("hingfs: ").removesuffix("\n")

    return refusal


def rows(table: str) -> list[tuple[str, ...]]:
    """The lines of *table*, cut at their bars."""
    lines = table.strip("\n").splitlines()
    return [tuple(cell.strip() for cell in line.split("|")) for line in lines]
