"""Progress on a terminal: a bar for each video that comes now, with rate and time left.

Decides what stands beside a bar. What is printed meanwhile appears above the bars. Drawn
by who calls `show`: there is no thread.
"""

import os
from collections.abc import Sequence
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from ..errors import printable
from ..units import rounded_size
from ..wanted import Wanted

_STANDARD_ERROR = 2
_NAME_CHARACTERS = 32


class Bars:
    """The bars of *videos*, drawn in a `with` block."""

    def __init__(
        self, videos: Sequence[Wanted], console: Console | None = None
    ) -> None:
        self._videos = videos
        self._left = dict.fromkeys(videos)
        self._tasks: dict[Wanted, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            _Amount(),
            _Rate(),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            redirect_stderr=os.isatty(_STANDARD_ERROR),
        )
        # Counts what is fetched, of the videos that were begun.
        self._all = self._progress.add_task("", total=0, visible=len(videos) > 1)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._progress.stop()

    def ended(self, video: Wanted) -> None:
        """*video* has ended: it has no bar any longer."""
        del self._left[video]
        if video in self._tasks:
            self._progress.remove_task(self._tasks.pop(video))

    def show(self) -> None:
        """Draw how far the videos have come."""
        for video in self._left:
            if video.size_bytes <= 0:
                continue
            if video not in self._tasks:
                self._tasks[video] = self._progress.add_task(
                    printable(video.said, _NAME_CHARACTERS),
                    total=video.size_bytes,
                    # What was here before came at no rate.
                    completed=video.here_bytes - video.fetched_bytes,
                )
            self._progress.update(self._tasks[video], completed=video.here_bytes)
        fetched = sum(video.fetched_bytes for video in self._videos)
        absent = sum(video.size_bytes - video.here_bytes for video in self._tasks)
        done = len(self._videos) - len(self._left)
        self._progress.update(
            self._all,
            description=f"{done:,} of {len(self._videos):,}",
            total=fetched + absent,
            completed=fetched,
        )
        self._progress.refresh()


class _Amount(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(
            f"{rounded_size(int(task.completed))} of {rounded_size(int(task.total or 0))}"
        )


class _Rate(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{rounded_size(int(task.speed))}/s" if task.speed else "")
