"""What a terminal shows of videos that are waited for."""

import io
import re
import time
from collections.abc import Sequence

import pytest
from rich.cells import cell_len
from rich.console import Console

from hingfs.cli.wait import _Lines
from hingfs.cli.wait_bars import WaitBars
from hingfs.errors import Unreachable, VideoFailed, VideoNotReady
from hingfs.wait.awaited import Awaited
from hingfs.wait.news import News

LONG = "video_" + "x" * 300 + "_end"


def awaited(said: str, word: str = "queued", *seen: float) -> Awaited:
    """A video whose progress was *seen*, ten seconds between two values."""
    video = Awaited(said, f"{said}.mp4")
    now = time.monotonic()
    for index, progress in enumerate(seen or (0.0,)):
        error = VideoNotReady("not ready", word=word, progress=progress)
        video.told(News(error=error), now - 10.0 * (len(seen) - 1 - index))
    return video


def screen(videos: Sequence[Awaited], width: int = 80, height: int = 24) -> list[str]:
    """The lines of one frame."""
    file = io.StringIO()
    console = Console(
        file=file, force_terminal=True, width=width, height=height, color_system=None
    )
    with WaitBars(videos, on_screen=True, console=console) as bars:
        begun = file.tell()
        bars.show()
        shown = file.getvalue()[begun:]
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return [line for line in plain.replace("\r", "\n").split("\n") if line.strip()]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    videos = [
        awaited("[red]v"),
        awaited(LONG, "in_progress", 0.1, 0.42),
        awaited("视频" * 40, "a_word_that_is_longer_than_others", 0.5),
    ]

    lines = screen(videos, width)

    assert len(lines) == 4
    assert all(cell_len(line) <= width for line in lines)


def test_a_line_tells_how_far_it_is_and_how_long_it_takes_yet() -> None:
    first, second, third, summary = screen(
        [
            awaited("v"),
            awaited(LONG, "in_progress", 0.2, 0.4, 0.6),
            awaited("once", "in_progress", 0.3),
        ]
    )

    assert re.fullmatch(r"v +━+ +queued +waited 0:00 *", first)
    assert re.fullmatch(
        r"video_x+…x+_end +[━╸╺]+ +60 %  in_progress +0:20 left *", second
    )
    assert re.fullmatch(r"once +[━╸╺]+ +30 %  in_progress +waited 0:00 *", third)
    assert summary.rstrip() == "0 of 3 ready, waited 0:00"


def test_one_video_needs_no_summary() -> None:
    assert len(screen([awaited("v")])) == 1


def test_progress_stays_shown_while_the_server_is_away() -> None:
    video = awaited("v", "in_progress", 0.4)
    video.told(News(error=Unreachable("refused")), time.monotonic())

    (line,) = screen([video])

    assert re.search(r"40 %  no answer ", line)


def test_of_more_videos_than_lines_those_that_move_are_shown() -> None:
    videos = [awaited(f"queued-{number}") for number in range(100)]
    videos += [awaited(f"moving-{number}", "in_progress", 0.5) for number in range(3)]
    videos[0].error = VideoFailed("no")

    *lines, summary = screen(videos, height=12)

    assert [line.split()[0] for line in lines] == [
        *(f"queued-{number}" for number in range(1, 6)),
        *(f"moving-{number}" for number in range(3)),
    ]
    assert summary.rstrip() == (
        "0 of 103 ready, 1 failed or missing, 99 queued, 3 in_progress, waited 0:00"
    )


def test_an_id_tears_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Where there are bars, and where standard output alone is a terminal."""
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, color_system=None)
    with WaitBars([awaited("v")], on_screen=True, console=console) as bars:
        bars.write("\x1b[2Jid")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("os.isatty", lambda _number: True)
        _Lines(str).write("\x1b[2Jid")

    assert "\x1b[2J" not in file.getvalue()
    assert "[2Jid" in file.getvalue()
    assert capsys.readouterr().out == "[2Jid\n"
