"""The README says what the program does: options, statuses, errnos."""

import re
import tomllib
from pathlib import Path

from hingfs import cli, errors

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


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


# What each layer of the package is for, by one of its modules.
PURPOSES = {
    "cli": "arguments and exit statuses",
    "mount": "composition root; the embedded API",
    "operations": "FUSE protocol adapter: paths, stat fields, handles, errnos",
    "catalog": "bytes of an open video; names and what they are",
    "client": "blocks made present; the API's vocabulary; whole-file streams",
    "download": "one range, whatever becomes of its connections",
    "content": "where the bytes are had; the list, page by page",
    "status_route": "the status route, and what a refusal means by it",
    "sender": "one request, tried several times",
    "begun": "answers kept for the download that follows; how long a call tries; what is the end of a file",
    "transport": "blocks kept and on their way; one HTTP exchange, and to whom",
    "verdict": "what an answer means",
    "statuses": "what a status object says",
    "results": "where JSON names the bytes of a video",
    "bodies": "JSON and words of an answer, in little memory",
    "answer": "bodies read; peers connected; where the API may send us",
    "exchange": "one answer on its connection: bounds, deadlines, the end",
    "framing": "RFC 9112, settings, names, and what is learnt of a server",
    "binding": "the FUSE libraries; where an MP4 keeps its index",
    "errors": "ranges and blocks; what can go wrong; tables bounded by their memory",
}


def layers_list() -> str:
    """The layers of the import contract, from above, and what each is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["type"] == "layers"
    )
    lines = []
    for layer in contract["layers"]:
        modules = layer.split(" | ")
        (purpose,) = (PURPOSES[module] for module in modules if module in PURPOSES)
        lines.append(f"- {', '.join(f'`{module}`' for module in modules)}: {purpose}")
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
    named = set(re.findall(r"scripts/[a-z0-9-]+", README))

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_layers_are_those_of_the_import_contract():
    assert section("layers") == layers_list()


if __name__ == "__main__":  # writes what an option or a module has changed
    for name, text in (("options", options_table()), ("layers", layers_list())):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = README.partition(begin)
        README = f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}"
    (ROOT / "README.md").write_text(README)
