"""The README says what the program does: options, statuses, errnos."""

import re
from pathlib import Path

from hingfs import cli, errors

README = (Path(__file__).parent.parent / "README.md").read_text()


def options_table() -> str:
    """The README's options table, as the parser's own definitions give it."""
    lines = ["| Option | Default | Meaning |", "| --- | --- | --- |"]
    for option in (
        *cli.ENDPOINT_OPTIONS,
        *cli.CACHE_OPTIONS,
        *cli.TIME_OPTIONS,
        *cli.MOUNT_OPTIONS,
    ):
        default = f"`{option.default}`" if option.default else "none"
        lines.append(
            f"| `{option.flag} {option.metavar}` | {default} | {option.help} |"
        )
    lines += [f"| `{flag}` | off | {text} |" for flag, text in cli.SWITCHES]
    return "\n".join(lines)


def section(name: str) -> str:
    """What stands between the README's marks of *name*."""
    found = re.search(
        rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", README, re.DOTALL
    )
    assert found, f"README has no section {name}"
    return found[1]


def test_the_options_table_is_the_parsers():
    assert section("options") == options_table()


def test_every_exit_status_is_documented():
    statuses = {
        kind.exit_status
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.SetupError)
    }

    documented = README.split("Exit status:", 1)[1].split("\n", 1)[0]

    assert statuses | {0} == {
        int(n) for n in re.findall(r"(?:^|,| )(\d) [a-z`]", documented)
    }


def test_every_script_it_names_exists():
    root = Path(__file__).parent.parent

    named = set(re.findall(r"scripts/[a-z0-9-]+", README))

    assert named
    assert [name for name in sorted(named) if not (root / name).exists()] == []


if __name__ == "__main__":  # writes the table after an option has changed
    before = section("options")
    Path(__file__).parent.parent.joinpath("README.md").write_text(
        README.replace(before, options_table())
        if before
        else README.replace(
            "<!-- options: begin -->\n", f"<!-- options: begin -->\n{options_table()}\n"
        )
    )
