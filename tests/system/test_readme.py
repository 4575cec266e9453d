"""The README says what the program does: options, statuses, errnos."""

import re
import tomllib
from pathlib import Path

from hingfs import blocks, engine, errors, settings
from hingfs.api import content_urls, pages, sender, status_route
from hingfs.api.judgement import listing
from hingfs.cache import behind, layout
from hingfs.fetch import room
from hingfs.http import chunks, exchange, transport
from hingfs.library import described, known, names, versions
from hingfs.library import listing as library_listing
from hingfs.mount import operations

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def options_table() -> str:
    """The README's options table, as the parser's own definitions give it."""
    lines = ["| Option | Default | Meaning |", "| --- | --- | --- |"]
    for one in settings.SETTINGS:
        default = f"`{one.default}`" if one.default else "none"
        form = f"{one.flag} {one.unit.metavar}".rstrip()
        default = "off" if one.is_switch else default
        lines.append(f"| `{form}` | {default} | {one.meaning} |")
    return "\n".join(lines)


# What each layer of the package is for, by one of its rooms.
PURPOSES = {
    "cli": "the command line: arguments, settings, exit statuses",
    "mount": "FUSE in front of an engine, the mount table, the process; a small API to try it with",
    "warm": "videos brought into the disk cache before they are read; videos kept before their links expire; videos that are waited for; "
    "files in Python, on Ray and Dask: hing://",
    "wanted": "videos that a person has named, brought in some at a time",
    "bringing": "all of a video brought onto the disk",
    "engine": "all that reads one endpoint's videos, wired, without FUSE",
    "library": "videos as files: names, what they are, reading and reading ahead",
    "fetch": "bytes made present: blocks by range requests, or whole files",
    "api": "what the video API says, as tables of what an answer means; blocks that are kept, in memory and on disk",
    "http": "what a mount learnt, in a file; bytes over HTTP: framing, deadlines, pauses",
    "given": "which values the options and variables that were given hold",
    "settings": "the table of settings; where an MP4 keeps its index; threads that run jobs, each once for all who want it",
    "declaring": "how a setting is declared, at the field that holds it",
    "token": "base URLs, where a shared cache is, tokens, sizes and times, as people write them",
    "log": "log lines; how hingfs was called, and can be called again; the errno of each error",
    "content": "what a mount has learnt about serving one version of a video",
    "errors": "ranges and blocks; what can go wrong; tables bounded by their memory; "
    "which bytes a video is",
}


def layers_list() -> str:
    """The layers of the import contract, from above, and what each is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (contract,) = (
        contract
        for contract in project["tool"]["importlinter"]["contracts"]
        if contract["name"] == "layers"
    )
    lines = []
    for layer in contract["layers"]:
        modules = layer.split(" | ")
        (purpose,) = (PURPOSES[module] for module in modules if module in PURPOSES)
        lines.append(f"- {', '.join(f'`{module}`' for module in modules)}: {purpose}")
    return "\n".join(lines)


def text_of(size_bytes: int) -> str:
    """*size_bytes* as people write it."""
    for unit in ("bytes", "KiB", "MiB", "GiB"):
        if size_bytes < 1024:
            return f"{size_bytes} {unit}"
        size_bytes //= 1024
    return f"{size_bytes} TiB"


def one_text_of(*sizes_bytes: int) -> str:
    """The one size that all of *sizes_bytes* are, as people write it."""
    (size_bytes,) = set(sizes_bytes)
    return text_of(size_bytes)


# What a server can make a mount hold: of what, how much, and what becomes of more.
BOUNDS: list[tuple[str, str, str]] = [
    (
        "the head of an answer, with its interim answers",
        f"{text_of(exchange.MOST_HEAD_BYTES)} each",
        "the answer is broken",
    ),
    (
        "the size line of a chunk; all trailers",
        (
            f"{text_of(chunks.MOST_CHUNK_LINE_BYTES)}; "
            f"{text_of(chunks.MOST_TRAILER_BYTES)}"
        ),
        "the answer is broken",
    ),
    (
        "a chunk that is held back until its end has proved it",
        f"{text_of(chunks.MOST_PROVED_BYTES)} each",
        "a larger one comes unproved",
    ),
    (
        "the body of an error",
        f"{text_of(sender.MOST_ERROR_BYTES)} each",
        "judged by its beginning",
    ),
    (
        "a status object",
        (
            f"{text_of(status_route._MOST_STATUS_BYTES)} each, one parsed at a time, "
            "in 15 MiB"
        ),
        "it says nothing",
    ),
    (
        "a page of the list",
        f"{text_of(pages._MOST_PAGE_BYTES)}, parsed in 12 MiB",
        "EIO",
    ),
    (
        "the whole list",
        (
            f"{text_of(listing.MOST_LISTED_BYTES)} (19,000 ids of 40 characters; "
            "10,000 with all their times take 3.2 MB), and the one before"
        ),
        "EIO",
    ),
    (
        "videos that were looked up",
        f"{text_of(known.MOST_KNOWN_BYTES)} (16,000 of them)",
        "asked for again",
    ),
    (
        "what was told of a video: model, prompt",
        f"4 KiB each, in {text_of(described.MOST_BYTES)}",
        "the prompt is cut, and says so; read from the facts again",
    ),
    (
        "refusals, short names, what is on its way: each",
        one_text_of(
            known._MOST_REFUSED_BYTES,
            versions._MOST_OTHER_BYTES,
            names._MOST_SHORT_NAME_BYTES,
            library_listing._MOST_LOST_BYTES,
        ),
        "asked for again",
    ),
    (
        "sizes told to the kernel",
        f"{operations._MOST_SIZES:,} names, 6 MB",
        "read past its pages",
    ),
    (
        "URLs of storage",
        text_of(content_urls._MOST_URLS_BYTES),
        "the API is asked for them",
    ),
    ("one URL", text_of(transport.LONGEST_URL), "not followed"),
    ("an entity tag", "512 bytes", "taken as absent"),
    ("a server's words in a log line", "200 characters", "cut"),
    ("the size of a video", text_of(blocks.LARGEST_VIDEO_BYTES), "EIO"),
    (
        "what is noted of an open file",
        (
            "nothing in proportion to its size; with a disk cache "
            f"{layout.RECORD_BYTES + 1} bytes for each {text_of(layout.GRID_BYTES)}"
        ),
        "-",
    ),
    (
        "blocks of content",
        "`--cache-size`, whole files of up to a quarter of it included",
        "those read longest ago go",
    ),
    (
        "what waits to be written to the disk cache",
        (
            f"{engine.WAITING_SHARE:.0%} of `--cache-size`, and "
            f"{text_of(2 * behind.RUN_BYTES)} in any case"
        ),
        "not kept on disk",
    ),
    (
        "whole files on disk",
        f"`--spool-size`, and {room._MOST_FILES} of them",
        "EIO where all are read",
    ),
]


def bounds_table() -> str:
    """`BOUNDS` as a table."""
    rows = [f"| {' | '.join(row)} |" for row in BOUNDS]
    return "\n".join(
        [
            "| What a server sends | Held at most | More of it |",
            "| --- | --- | --- |",
            *rows,
        ]
    )


def section(name: str) -> str:
    """What stands between the README's marks of *name*."""
    found = re.search(
        rf"<!-- {name}: begin -->\n(.*?)\n?<!-- {name}: end -->", README, re.DOTALL
    )
    assert found, f"README has no section {name}"
    return found[1]


def test_the_options_table_is_the_parsers():
    assert section("options") == options_table()


def test_the_table_of_bounds_is_the_code_s():
    assert section("bounds") == bounds_table()


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


def test_every_place_it_leads_to_exists():
    """Anchors as GitHub makes them of headings."""
    headings = re.findall(r"(?m)^#+ (.*)$", README)
    anchors = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in headings
    }

    led_to = re.findall(r"\]\(#([^)]+)\)", README)

    assert {"behaviour", "troubleshooting", "中文说明"} <= set(led_to) <= anchors


def test_every_script_it_names_exists():
    named = set(re.findall(r"scripts/[a-z0-9-]+", README))

    assert named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_the_layers_are_those_of_the_import_contract():
    assert section("layers") == layers_list()


if __name__ == "__main__":  # writes what an option or a module has changed
    for name, text in (
        ("options", options_table()),
        ("bounds", bounds_table()),
        ("layers", layers_list()),
    ):
        begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->"
        before, _, rest = README.partition(begin)
        README = f"{before}{begin}{text}\n{end}{rest.partition(end)[2]}"
    (ROOT / "README.md").write_text(README)
