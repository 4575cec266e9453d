"""What is done to the files of a mount, by programs that people use.

Each work returns its seconds and a checksum of what it saw; the same work on the
originals has the same checksum, or the bytes were wrong.
"""

import json
import sys
import time
import zlib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from . import reader
from .system import find_program, run

RANDOM_SEED = 20_261_122
RANDOM_READS = 40
RANDOM_BYTES = 64 * 1024
READERS = 8
READERS_BYTES = 100 << 20
TIMELINE_FRAMES = 25

Metrics = dict[str, float]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a work happens.

    *files* are what it reads, *originals* the same files on the local disk, *processes*
    how many share them; *scratch* is an empty folder it may fill.  A command that has
    not ended after *deadline_seconds* has failed.
    """

    files: Sequence[Path]
    originals: Sequence[Path]
    processes: int
    scratch: Path
    deadline_seconds: float


def read_through(place: Place) -> Metrics:
    """Read one file from end to end into one small buffer."""
    return _read(place, "sequential", place.files[0])


def read_whole(place: Place) -> Metrics:
    """Read all files whole, several processes at once."""
    most = max(original.stat().st_size for original in place.originals)
    numbers = (str(place.processes), str(most))
    return _read(place, "whole", *numbers, *place.files)


def read_after_ls(place: Place) -> Metrics:
    """As `read_whole`, after one `ls` that does not count."""
    list_names(place)
    return read_whole(place)


def read_at_random(place: Place) -> Metrics:
    """Read small pieces at seeded places."""
    numbers = (str(RANDOM_SEED), str(RANDOM_READS), str(RANDOM_BYTES))
    done = _read(place, "random", *numbers, place.files[0])
    return done | {"ms_each": 1000 * done["seconds"] / RANDOM_READS}


def read_by_many(place: Place) -> Metrics:
    """Read the same first part of one file by several readers at once."""
    return _read(place, "readers", str(READERS), str(READERS_BYTES), place.files[0])


def copy_by_rsync(place: Place) -> Metrics:
    """Copy all files with `rsync -a`."""
    rsync = (find_program("rsync"), "-a")
    done = _timed([(*rsync, *place.files, place.scratch)], place)
    copies = (place.scratch / file.name for file in place.files)
    return done | {"crc": _crc(copy.read_bytes() for copy in copies)}


def probe(place: Place) -> Metrics:
    """Have ffprobe tell format and streams."""
    show = ("-v", "error", "-show_format", "-show_streams")
    return _timed([[find_program("ffprobe"), *show, place.files[0]]], place)


def first_frame(place: Place) -> Metrics:
    """Have ffmpeg decode the first frame."""
    return _timed([_decode_one(place.files[0])], place)


def seek_to_middle(place: Place) -> Metrics:
    """Have ffmpeg decode one frame from the middle."""
    show = ("-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0")
    seconds = float(run([find_program("ffprobe"), *show, place.originals[0]]))
    return _timed([_decode_one(place.files[0], seconds / 2)], place)


def cut_clips(place: Place) -> Metrics:
    """Have one ffmpeg for each clip seek and take 25 frames, each at a place of its own.

    They are not decoded: with that, two cores took 1.6 s for six local files, four
    times what all else took (2026-11-27), and an editor decodes on the graphics card.
    """
    cutters = [
        [*_ffmpeg(file, 1 + index), *_packets(TIMELINE_FRAMES)]
        for index, file in enumerate(place.files)
    ]
    return _timed(cutters, place)


def look(place: Place) -> Metrics:
    """`stat` of one file."""
    return _timed([(find_program("stat"), "-c", "%s", place.files[0])], place)


def list_names(place: Place) -> Metrics:
    """`ls` of the folder."""
    command = (find_program("ls"), place.files[0].parent)
    return _timed([command], place)


def list_attributes(place: Place) -> Metrics:
    """`ls -l` of the folder; names and sizes are what must be right."""
    start = time.perf_counter()
    command = (find_program("ls"), "-l", place.files[0].parent)
    lines = run(command, deadline_seconds=place.deadline_seconds).splitlines()[1:]
    seconds = time.perf_counter() - start
    # mode, links, owner, group, size, three words of time, name
    told = [f"{words[4]} {words[8]}" for words in map(str.split, lines)]
    return {"seconds": seconds, "crc": _crc(one.encode() for one in told)}


def _decode_one(file: Path, at_seconds: float = 0) -> list[str | Path]:
    """Decode a frame to nothing, and print a checksum of what it was decoded from."""
    end = ("-frames:v", "1", "-f", "null", "-")
    return [*_ffmpeg(file, at_seconds), *end, *_packets(1)]


def _ffmpeg(file: Path, at_seconds: float) -> list[str | Path]:
    seek = ("-ss", f"{at_seconds:.3f}") if at_seconds else ()
    return [find_program("ffmpeg"), "-v", "error", *seek, "-i", file]


def _packets(frames: int) -> tuple[str, ...]:
    """The output that prints a checksum of each packet of video."""
    first = ("-map", "0:v", "-c", "copy", "-frames:v", str(frames))
    return (*first, "-f", "framecrc", "-")


def _timed(commands: Sequence[Sequence[str | Path]], place: Place) -> Metrics:
    """Run *commands* at once; what they print tells what they saw."""
    with ThreadPoolExecutor(len(commands)) as pool:
        start = time.perf_counter()
        said = list(
            pool.map(
                lambda one: run(one, deadline_seconds=place.deadline_seconds), commands
            )
        )
        seconds = time.perf_counter() - start
    folder = str(place.files[0].parent)
    crc = _crc(text.replace(folder, "").encode() for text in said)
    return {"seconds": seconds, "crc": crc}


def _read(place: Place, *arguments: str | Path) -> Metrics:
    argv = [sys.executable, reader.__file__, *arguments]
    done: Metrics = json.loads(run(argv, deadline_seconds=place.deadline_seconds))
    return done


def _crc(parts: Iterable[bytes]) -> int:
    crc = 0
    for part in parts:
        crc = zlib.crc32(part, crc)
    return crc
