"""The works that are measured: what is done, to which videos, by whom."""

import filecmp
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from . import reader
from .origin import Site
from .system import ContenderError, find_program, run

RANDOM_SEED = 20_261_122
RANDOM_READS = 40
RANDOM_BYTES = 64 * 1024
READERS = 8
READERS_BYTES = 100 << 20

FILM = ("video_film",)
CLIP = ("video_clip_01",)

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a work happens.

    *files* are what it reads, *originals* the same files on the local disk, and
    *scratch* is an empty folder it may fill; a command that has not ended after
    *deadline_seconds* has failed.
    """

    files: Sequence[Path]
    originals: Sequence[Path]
    scratch: Path
    deadline_seconds: float

    @property
    def local(self) -> "Place":
        """The same with the originals themselves to read."""
        return replace(self, files=self.originals)


def unchecked(_place: Place, _done: Metrics) -> None:
    """Nothing to check: the work itself fails on a wrong answer."""


@dataclass(frozen=True, slots=True)
class Scenario:
    """One work on *videos* over one of the origin's sites.

    *check* runs after the clock stopped and raises ContenderError on wrong bytes.
    *tools* are the contenders beside the mounts that can do the work; *again* has it
    done a second time on the same mount.
    """

    key: str
    videos: tuple[str, ...]
    work: Callable[[Place], Metrics]
    tools: frozenset[str]
    check: Callable[[Place, Metrics], None] = unchecked
    site: Site = "paced"
    again: bool = False


def read_whole(place: Place) -> Metrics:
    """Read one file from end to end."""
    return _read(place, "sequential", place.files[0])


def check_length(place: Place, done: Metrics) -> None:
    """Every byte was read, no byte more."""
    if done["bytes"] != place.originals[0].stat().st_size:
        message = f"read {done['bytes']:.0f} bytes, a wrong number"
        raise ContenderError(message)


def read_at_random(place: Place) -> Metrics:
    """Read small pieces at seeded places."""
    numbers = (str(RANDOM_SEED), str(RANDOM_READS), str(RANDOM_BYTES))
    done = _read(place, "random", *numbers, place.files[0])
    return done | {"ms_each": 1000 * done["seconds"] / RANDOM_READS}


def check_pieces(place: Place, done: Metrics) -> None:
    """The pieces are those of the original."""
    if read_at_random(place.local)["crc"] != done["crc"]:
        message = "read wrong bytes"
        raise ContenderError(message)


def read_by_many(place: Place) -> Metrics:
    """Read the same first part of one file by several readers at once."""
    return _read(place, "readers", str(READERS), str(READERS_BYTES), place.files[0])


def check_readers(place: Place, done: Metrics) -> None:
    """Every reader got every byte."""
    size = min(READERS_BYTES, place.originals[0].stat().st_size)
    if done["bytes"] != READERS * size:
        message = f"the readers got {done['bytes']:.0f} bytes, a wrong number"
        raise ContenderError(message)


def copy_by_rsync(place: Place) -> Metrics:
    """Copy all files with `rsync -a`."""
    return _timed(
        place, [find_program("rsync"), "-a", *place.files, f"{place.scratch}/"]
    )


def check_copies(place: Place, _done: Metrics) -> None:
    """The copies are equal to the originals."""
    for original in place.originals:
        if not filecmp.cmp(place.scratch / original.name, original, shallow=False):
            message = f"the copy of {original.name} differs"
            raise ContenderError(message)


def probe(place: Place) -> Metrics:
    """Have ffprobe tell format and streams."""
    show = ("-v", "error", "-show_format", "-show_streams")
    return _timed(place, [find_program("ffprobe"), *show, place.files[0]])


def first_frame(place: Place) -> Metrics:
    """Have ffmpeg decode the first frame."""
    return _decode_frame(place)


def seek_to_middle(place: Place) -> Metrics:
    """Have ffmpeg decode one frame from the middle."""
    show = ("-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0")
    seconds = float(run([find_program("ffprobe"), *show, place.originals[0]]))
    return _decode_frame(place, "-ss", f"{seconds / 2:.3f}")


def _decode_frame(place: Place, *options: str) -> Metrics:
    end = ("-frames:v", "1", "-f", "null", "-")
    head: list[str | Path] = [find_program("ffmpeg"), "-v", "error", *options]
    return _timed(place, [*head, "-i", place.files[0], *end])


def _timed(place: Place, argv: Sequence[str | Path]) -> Metrics:
    start = time.perf_counter()
    run(argv, deadline_seconds=place.deadline_seconds)
    return {"seconds": time.perf_counter() - start}


def _read(place: Place, *arguments: str | Path) -> Metrics:
    argv = [sys.executable, reader.__file__, *arguments]
    done: Metrics = json.loads(run(argv, deadline_seconds=place.deadline_seconds))
    return done


def clips(count: int) -> tuple[str, ...]:
    """Ids of *count* clips."""
    return tuple(f"video_clip_{number:02}" for number in range(1, count + 1))


def scenarios(clip_count: int) -> tuple[Scenario, ...]:
    """All works, with *clip_count* clips for rsync; cheap ones and dear ones mixed."""
    local = frozenset({"local"})
    curl = local | {"curl"}
    aria = frozenset({"aria2c-x8", "aria2c-x16"})
    works = [
        Scenario(
            "film-loopback",
            FILM,
            read_whole,
            curl,
            check=check_length,
            site="fast",
            again=True,
        ),
        Scenario("film-tls", FILM, read_whole, curl, check=check_length, site="tls"),
        Scenario("film-capped", FILM, read_whole, curl | aria, check=check_length),
        Scenario(
            "rsync", clips(clip_count), copy_by_rsync, local | aria, check=check_copies
        ),
        Scenario("first-frame", CLIP, first_frame, local),
        Scenario("ffprobe", CLIP, probe, local),
        Scenario("seek", FILM, seek_to_middle, local),
        Scenario("random", FILM, read_at_random, local, check=check_pieces),
        Scenario("readers", FILM, read_by_many, local, check=check_readers),
    ]
    for size in SIZES:
        videos = (f"video_{size}",)
        works.append(Scenario(f"first-frame-{size}", videos, first_frame, local))
        works.append(Scenario(f"ffprobe-{size}", videos, probe, local))
    return tuple(works)


# MB and place of the moov; 13-last is the clip of the plain works.
SIZES = ("3-first", "3-last", "13-first", "200-first", "200-last")


def media_of(video_id: str, film: str) -> str:
    """The name in the media cache of what *video_id* shows, *film* being the film's."""
    if video_id in FILM:
        return film
    if video_id.startswith("video_clip_"):
        return "13-last"
    return video_id.removeprefix("video_")
