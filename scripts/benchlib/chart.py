"""The table as one picture: a small chart per row, hingfs in colour."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .mounts import CONTENDERS
from .report import number
from .rows import Result
from .system import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = 4
# Dark enough for white paper, told apart without colour sight.
HINGFS_COLOURS = {"hingfs-fuse3": "#0b5fa5", "hingfs-fuse2": "#5b9bd5"}
PEER_COLOUR = "#b8b8b8"
TARGET_COLOUR = "#c0392b"
TEXT_COLOUR = "#222222"


def require_matplotlib() -> None:
    """Raises BenchError with what to install if matplotlib is missing."""
    try:
        import matplotlib as mpl  # noqa: F401, PLC0415  only the picture needs it
    except ImportError as exc:
        message = "the picture needs matplotlib: pip install -e '.[bench]'"
        raise BenchError(message) from exc


def write_png(path: Path, results: Sequence[Result], subtitle: str) -> None:
    """Draw *results* to *path*; *subtitle* says how they were taken."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # noqa: PLC0415
    from matplotlib.figure import Figure  # noqa: PLC0415

    lines = math.ceil(len(results) / COLUMNS)
    figure = Figure(figsize=(4.6 * COLUMNS, 2.3 * lines + 1), layout="constrained")
    FigureCanvasAgg(figure)
    figure.suptitle(
        f"hingfs and its peers, medians; the red line is the target\n{subtitle}",
        color=TEXT_COLOUR,
    )
    grid = figure.subplots(lines, COLUMNS, squeeze=False)
    for index, axes in enumerate(grid.flat):
        if index < len(results):
            _draw(axes, results[index])
        else:
            axes.set_axis_off()
    figure.savefig(path, dpi=100)


def _draw(axes: "Axes", result: Result) -> None:
    medians = result.medians
    shown = [one for one in CONTENDERS if one.key in medians]
    values = [medians[one.key] for one in shown]
    colours = [HINGFS_COLOURS.get(one.key, PEER_COLOUR) for one in shown]
    limit = result.limit
    # A local file is ten times faster than all others: its bar leaves the picture.
    scale = [medians[one.key] for one in shown if one.key != "local"]
    # Room for the labels; never an empty axis when all is zero.
    right = 1.25 * max([*scale, limit or 0, 0.01])
    axes.barh([one.label for one in shown], values, color=colours)
    axes.set_xlim(0, right)
    axes.invert_yaxis()  # first contender on top
    if limit is not None:
        axes.axvline(limit, color=TARGET_COLOUR, linewidth=1.5, linestyle="--")
    for index, value in enumerate(values):
        _label(axes, index, value, right)
    better = "more" if result.row.higher else "less"
    axes.set_title(
        f"{result.row.title} [{result.row.unit}], {better} is better",
        fontsize=9,
        color=TEXT_COLOUR,
        loc="left",
    )
    axes.tick_params(labelsize=8, labelcolor=TEXT_COLOUR)
    for tick, one in zip(axes.get_yticklabels(), shown, strict=True):
        if one.family == "hingfs":
            tick.set_fontweight("bold")
            tick.set_color(HINGFS_COLOURS["hingfs-fuse3"])
    axes.spines[["top", "right"]].set_visible(False)


def _label(axes: "Axes", index: int, value: float, right: float) -> None:
    """The number at the end of bar *index*, or at the edge if the bar goes past it."""
    leaves = value > right
    axes.annotate(
        f"{number(value)} >" if leaves else number(value),
        (right if leaves else value, index),
        xytext=(-3 if leaves else 3, 0),
        textcoords="offset points",
        ha="right" if leaves else "left",
        va="center",
        fontsize=8,
        color=TEXT_COLOUR,
        # The line of the target must not cross the figures.
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 0.8},
    )
