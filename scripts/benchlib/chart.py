"""The table as one picture: how far hingfs is from each goal and from its best peer.

One line per row, the worst on top; a mark right of the 1 is better.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from .result import Result
from .system import BenchError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Told apart without colour sight; above and below the middle of a line, so that no mark
# hides another.
BINDINGS = (
    ("hingfs-fuse3", "libfuse 3", "#0b5fa5", -0.19),
    ("hingfs-fuse2", "libfuse 2", "#e08214", 0.19),
)
MISSED_COLOUR = "#b02318"
TEXT_COLOUR = "#222222"
STRIPE_COLOUR = "#f3f3f3"
LINE_INCHES = 0.27

# A ratio past these, or to a zero, stands at the edge as an arrow.
LEAST, MOST = 0.25, 16.0
TICKS = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 4, 8, 16)


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

    shown = worst_first(results)
    figure = Figure(figsize=(11, LINE_INCHES * len(shown) + 2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    _lay_out(axes, shown)
    for line, result in enumerate(shown):
        for contender, _, colour, shift in BINDINGS:
            to_peer = result.times_better(contender, result.best_peer)
            to_goal = result.times_better(contender, result.limit)
            _mark(axes, to_peer, line + shift, colour, "D", filled=False)
            _mark(axes, to_goal, line + shift, colour, "o", filled=True)
    _legend(axes)
    held = sum(_held(one) for one in shown)
    figure.suptitle(
        f"hingfs holds {held} of {len(shown)} goals on each libfuse measured\n{subtitle}",
        color=TEXT_COLOUR,
        fontsize=11,
    )
    figure.savefig(path, dpi=100)


def worst_first(results: Sequence[Result]) -> list[Result]:
    """The results that hingfs has part in and that have a goal, by its worse binding."""
    by_worst = [(_worst(one), one) for one in results]
    known = [(worst, one) for worst, one in by_worst if worst is not None]
    return [one for _, one in sorted(known, key=lambda pair: pair[0])]


def _worst(result: Result) -> float | None:
    to_goal = [result.times_better(key, result.limit) for key, *_ in BINDINGS]
    return min((one for one in to_goal if one is not None), default=None)


def _held(result: Result) -> bool:
    return all(result.holds(key) is not False for key, *_ in BINDINGS)


def _lay_out(axes: "Axes", shown: Sequence[Result]) -> None:
    axes.set_xscale("log", base=2)
    axes.set_xlim(LEAST / 1.12, MOST * 1.12)
    axes.set_xticks(TICKS, [f"{tick:g} x" for tick in TICKS], minor=False)
    axes.set_ylim(len(shown) - 0.5, -0.5)  # first on top
    for line in range(0, len(shown), 2):
        axes.axhspan(line - 0.5, line + 0.5, color=STRIPE_COLOUR, zorder=0)
    axes.axvspan(LEAST / 1.12, 1, color=MISSED_COLOUR, alpha=0.07, zorder=0.5)
    axes.axvline(1, color=MISSED_COLOUR, linewidth=1.5, zorder=1)
    axes.grid(axis="x", color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)
    titles = [f"{one.row.title} [{one.row.unit}]" for one in shown]
    axes.set_yticks(range(len(shown)), titles, fontsize=9)
    for label, result in zip(axes.get_yticklabels(), shown, strict=True):
        label.set_color(TEXT_COLOUR if _held(result) else MISSED_COLOUR)
    axes.set_xlabel(
        "how many times better than the goal, and than the best peer:"
        " a ratio without unit, on a logarithmic axis",
        color=TEXT_COLOUR,
    )
    axes.tick_params(axis="x", labeltop=True, top=True, labelsize=9)
    axes.tick_params(axis="y", length=0)
    axes.spines[["left", "right"]].set_visible(False)


def _mark(
    axes: "Axes",
    ratio: float | None,
    height: float,
    colour: str,
    shape: str,
    *,
    filled: bool,
) -> None:
    if ratio is None:
        return
    inside = min(max(ratio, LEAST), MOST)
    if ratio != inside:
        shape = "<" if ratio < inside else ">"
    axes.plot(
        inside,
        height,
        shape,
        color=colour,
        markerfacecolor=colour if filled else "white",
        markersize=6 if filled else 5,
        markeredgewidth=1.2,
        zorder=3,
    )


def _legend(axes: "Axes") -> None:
    """Colours are bindings, shapes what they are compared with."""
    from matplotlib.lines import Line2D  # noqa: PLC0415

    def sample(label: str, colour: str, shape: str, fill: str) -> Line2D:
        return Line2D(
            [],
            [],
            linestyle="",
            marker=shape,
            color=colour,
            markerfacecolor=fill,
            label=label,
        )

    bindings = [sample(name, colour, "s", colour) for _, name, colour, _ in BINDINGS]
    grey = "#555555"
    axes.legend(
        handles=[
            *bindings,
            sample("to the goal", grey, "o", grey),
            sample("to the best peer", grey, "D", "white"),
            sample("past the edge", grey, ">", grey),
        ],
        loc="lower center",
        bbox_to_anchor=(0.4, 1.02),
        ncols=5,
        frameon=False,
        fontsize=9,
    )
