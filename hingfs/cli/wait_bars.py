"""Videos that are waited for, on a terminal: a line for each, as far as there is room.

Decides what stands in a line, and which videos have one where there are more than lines:
those that move. What is said meanwhile appears above. Drawn by who calls `show`: there
is no thread.
"""

import math
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from rich.cells import cell_len
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..errors import printable
from ..wait.awaited import Awaited

_NAME_CHARACTERS = 28
_BAR_CHARACTERS = 40
_STATE_CHARACTERS = 14
_PERCENT_CHARACTERS = 5
_TIME_CHARACTERS = 14  # "waited 1:00:00"
# The summary, what was said last, and the line of the cursor.
_OTHER_LINES = 4


class WaitBars:
    """The lines of *videos*, drawn in a `with` block on the terminal of standard error.

    With *on_screen*, standard output is a terminal as well, and taken for the same.
    """

    def __init__(
        self,
        videos: Sequence[Awaited],
        *,
        on_screen: bool,
        console: Console | None = None,
    ) -> None:
        self._videos = videos
        self._on_screen = on_screen
        self._began_at = time.monotonic()
        self._console = console or Console(stderr=True)
        self._live = Live(
            console=self._console,
            auto_refresh=False,
            transient=True,
            redirect_stdout=False,
        )

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._live.stop()

    def write(self, line: str) -> None:
        """Write *line* to standard output, above the bars if that is the terminal."""
        if self._on_screen:  # an id is the server's, and may hold anything
            text = Text(printable(line, len(line) + 1))
            self._console.print(text, soft_wrap=True)  # so that it can be copied whole
        else:
            sys.stdout.buffer.write(os.fsencode(f"{line}\n"))
            sys.stdout.buffer.flush()

    def changed(self, video: Awaited) -> None:
        """The next `show` shows it."""

    def show(self) -> None:
        """Draw how far the videos have come."""
        self._live.update(self._frame(time.monotonic()), refresh=True)

    def _frame(self, now: float) -> RenderableType:
        waiting = [video for video in self._videos if not video.has_ended]
        room = max(1, self._console.height - _OTHER_LINES)
        shown = _chosen(waiting, room)
        table = Table.grid(padding=(0, 2, 0, 0))
        name_width = max((cell_len(_name(video)) for video in shown), default=1)
        others = (
            name_width
            + _PERCENT_CHARACTERS
            + _STATE_CHARACTERS
            + _TIME_CHARACTERS
            + 4 * 2
        )
        bar_width = max(1, min(_BAR_CHARACTERS, self._console.width - others))
        table.add_column(width=name_width, no_wrap=True)
        table.add_column(width=bar_width)
        table.add_column(width=_PERCENT_CHARACTERS, justify="right", no_wrap=True)
        table.add_column(width=_STATE_CHARACTERS, no_wrap=True, overflow="ellipsis")
        table.add_column(width=_TIME_CHARACTERS, justify="right", no_wrap=True)
        for video in shown:
            table.add_row(*_row(video, now))
        if len(self._videos) == 1:
            return table
        return Group(table, self._summary(waiting, len(shown), now))

    def _summary(self, waiting: Sequence[Awaited], shown: int, now: float) -> Text:
        """One line for all: how many have ended how, and where the others are."""
        ready = sum(video.file is not None for video in self._videos)
        failed = len(self._videos) - len(waiting) - ready
        parts = [f"{ready:,} of {len(self._videos):,} ready"]
        if failed:
            parts.append(f"{failed:,} failed or missing")
        if shown < len(waiting):
            states = Counter(video.state for video in waiting)
            parts += [f"{count:,} {state}" for state, count in states.most_common(2)]
        parts.append(f"waited {_clock(int(now - self._began_at))}")
        return Text(", ".join(parts), no_wrap=True, overflow="ellipsis")


def _chosen(waiting: Sequence[Awaited], room: int) -> Sequence[Awaited]:
    """As many of *waiting* as there is *room*, in their order; first those that move."""
    if len(waiting) <= room:
        return waiting
    moving = sorted(waiting, key=lambda video: not video.progress)[:room]
    chosen = set(moving)
    return [video for video in waiting if video in chosen]


def _row(video: Awaited, now: float) -> tuple[RenderableType, ...]:
    progress = video.progress
    bar = ProgressBar(
        total=1.0,
        completed=progress or 0.0,
        pulse=not progress,
        animation_time=now,
    )
    left = video.pace.seconds_left(now)
    waited = f"waited {_clock(int(now - video.began_at))}"
    return (
        Text(_name(video)),
        bar,
        Text(f"{progress * 100:.0f} %" if progress else ""),
        Text(video.state),
        Text(waited if left is None else f"{_clock(math.ceil(left))} left"),
    )


def _name(video: Awaited) -> str:
    """What names *video*, cut in the middle: ids differ at their ends."""
    name = printable(video.said, len(video.said) + 1)
    if len(name) <= _NAME_CHARACTERS:
        return name
    half = (_NAME_CHARACTERS - 1) // 2
    return f"{name[: _NAME_CHARACTERS - 1 - half]}…{name[-half:]}"


def _clock(seconds: int) -> str:
    """*seconds* as "1:05" or "1:00:05"."""
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
