"""What the programs in scripts/examples share: clips, an API that serves them, figures.

An example that is given no ids makes clips of its own, once, and an API of its own on this
machine, with nginx. So it can tell what the API was asked for, and whether a frame differs
from the one that the local file gives.
"""

import argparse
import contextlib
import importlib
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchlib.origin import FAST, Origin
from benchlib.served import Shown
from benchlib.system import BenchError, find_program, run, wait_until

WORK = "examples"  # of the origin
_CLIP_SECONDS = 4
_FRAMES_PER_SECOND = 24
FRAMES_OF_A_CLIP = _CLIP_SECONDS * _FRAMES_PER_SECOND
# Part of the folder's name: raise it when the recipe below changes.
_RECIPE_VERSION = 1

# (name of the clip, number of the frame) -> digest of the picture
Digests = Mapping[tuple[str, int], str]


def need(*modules: str) -> None:
    """End the program if one of *modules* is missing, with what to install."""
    try:
        for module in modules:
            importlib.import_module(module)
    except ModuleNotFoundError as error:
        sys.exit(f"{error.name} is missing: pip install '.[engines]'")


def parser(about: str | None) -> argparse.ArgumentParser:
    """The options that all examples have; *about* is the docstring of one."""
    made = argparse.ArgumentParser(
        description=(about or "").partition("\n")[0],
        epilog="HINGFS_BASE_URL and HINGFS_TOKEN name the API of the IDs.",
    )
    add = made.add_argument
    add("ids", nargs="*", metavar="ID", help="without: clips and an API of its own")
    add("--clips", type=int, default=40, help="so many of its own (40)")
    add("--frames", type=int, default=10, help="so many of each clip, at random (10)")
    add("--originals", type=Path, metavar="DIR", help="compare with DIR/ID.mp4")
    return made


@dataclass(slots=True)
class Job:
    """The clips of one run, by id, and what is known of them."""

    ids: Sequence[str]
    frames_of_each: int
    originals: Path | None = None
    origin: Origin | None = None
    _begun: float = field(default_factory=time.monotonic)

    def chosen(self, seed: str) -> list[int]:
        """Numbers of frames, at random, and the same for the same *seed*."""
        numbers = range(FRAMES_OF_A_CLIP)
        return sorted(random.Random(seed).sample(numbers, self.frames_of_each))

    def ended(
        self, found: Digests, reads: int, local: Callable[[str, list[int]], list[str]]
    ) -> int:
        """Print the line of figures; the program's exit status.

        *reads* is how many frames came, *found* what they were; *local* gives the digests
        of frames of a local file.
        """
        seconds = time.monotonic() - self._begun
        figures = f"{len(self.ids)} clips, {reads} frames, {seconds:.1f} s"
        if self.origin is not None:
            self.origin.settle(closed=False)
            traffic = self.origin.traffic_since(0)
            all_bytes = sum(
                self.origin.original(WORK, one).stat().st_size for one in self.ids
            )
            figures += (
                f"; the API had {len(traffic.requests)} requests and sent "
                f"{traffic.content_bytes / 1e6:.1f} MB, "
                f"{traffic.content_bytes / all_bytes:.3f} x the clips"
            )
        if self.originals is None:
            print(figures)
            return 0
        wrong = _wrong(found, self.originals, local)
        print(f"{figures}; {wrong} wrong frames")
        return 1 if wrong else 0


def _wrong(
    found: Digests, originals: Path, local: Callable[[str, list[int]], list[str]]
) -> int:
    """How many of *found* are not what the local files give."""
    numbers: dict[str, list[int]] = {}
    for name, number in sorted(found):
        numbers.setdefault(name, []).append(number)
    right = {
        (name, number): digest
        for name, those in numbers.items()
        for number, digest in zip(
            those, local(str(originals / f"{name}.mp4"), those), strict=True
        )
    }
    return sum(found[one] != right[one] for one in found)


@contextlib.contextmanager
def job(given: argparse.Namespace) -> Iterator[Job]:
    """What *given* asks for, with an API of its own if it names no ids.

    That one is named by variables, for this process and for those it starts.
    """
    if given.ids:
        yield Job(given.ids, given.frames, given.originals)
        return
    try:
        with own_api(given.clips) as origin:
            os.environ |= variables(origin)
            ids = origin.works[WORK].videos
            yield Job(ids, given.frames, origin.originals(WORK), origin)
    except BenchError as error:
        sys.exit(str(error))


@contextlib.contextmanager
def own_api(count: int) -> Iterator[Origin]:
    """An API with *count* clips on this machine; raises BenchError."""
    work_directory = Path("~/.cache/hingfs-bench").expanduser()
    clips = own_clips(work_directory / "media", count)
    shown = {WORK: Shown(tuple(clips))}
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=work_directory) as folder,
        Origin(Path(folder), clips, shown, [FAST], latency_ms=0) as origin,
    ):
        yield origin


def variables(origin: Origin) -> dict[str, str]:
    """What names *origin* to hingfs, and a cache directory of its own."""
    cache = origin.run_directory / "cache"
    cache.mkdir(exist_ok=True)
    return {
        "HINGFS_BASE_URL": origin.api_url(WORK, FAST),
        "HINGFS_TOKEN": origin.token,
        "HINGFS_CACHE_DIR": str(cache),
    }


@contextlib.contextmanager
def hosts(count: int) -> Iterator[list[dict[str, str]]]:
    """The options of hing:// for *count* hosts, played by directories of this machine.

    Several share a Valkey, which ends with this; one host is as its variables say.
    """
    if count == 1:
        yield [{}]
        return
    with tempfile.TemporaryDirectory() as folder, valkey(Path(folder)) as url:
        directories = [Path(folder, f"host-{number}") for number in range(count)]
        for one in directories:
            one.mkdir()
        yield [{"cache_dir": str(one), "shared_cache": url} for one in directories]


@contextlib.contextmanager
def valkey(folder: Path) -> Iterator[str]:
    """A Valkey or Redis on a socket in *folder*, kept in memory alone: its URL."""
    program = shutil.which("valkey-server") or shutil.which("redis-server")
    if program is None:
        sys.exit("valkey-server is missing: apt-get install redis-server")
    address = folder / "valkey.sock"
    options = ("--port", "0", "--save", "", "--appendonly", "no", "--dir", str(folder))
    process = subprocess.Popen(
        [program, "--unixsocket", address, *options], stdout=subprocess.DEVNULL
    )
    try:
        wait_until(address.exists, 10)
        yield f"unix://{address}"
    finally:
        process.kill()
        process.wait()


def own_clips(directory: Path, count: int) -> dict[str, Path]:
    """*count* clips by id, below *directory*, made at the first call.

    Each is 4 s of H.264, its index (moov) at the end; no two pictures are equal, since a
    clock runs through all clips.
    """
    folder = directory / f"examples-v{_RECIPE_VERSION}-{count}"
    if not folder.exists():
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="unfinished-", dir=directory) as made:
            run([find_program("ffmpeg"), *_recipe(count, Path(made))])
            Path(made, "whole").mkdir()
            for number in range(count):
                name = f"clip_{number:04}.mp4"
                Path(made, name).rename(Path(made, "whole", name))
            Path(made, "whole").rename(folder)
    return {path.stem: path for path in sorted(folder.iterdir())}


def _recipe(count: int, folder: Path) -> Iterable[str | Path]:
    picture = f"testsrc2=size=480x270:rate={_FRAMES_PER_SECOND}"
    keyframes = str(_FRAMES_PER_SECOND)
    return [
        *("-nostdin", "-v", "error", "-f", "lavfi", "-i", picture),
        *("-t", str(count * _CLIP_SECONDS), "-vf", "noise=alls=20:allf=t"),
        *("-pix_fmt", "yuv420p", "-c:v", "libx264", "-preset", "ultrafast"),
        *("-sc_threshold", "0", "-g", keyframes, "-keyint_min", keyframes),
        *("-bf", "0", "-b:v", "4M", "-maxrate", "4M", "-bufsize", "2M"),
        *("-f", "segment", "-segment_time", str(_CLIP_SECONDS)),
        *("-reset_timestamps", "1", folder / "clip_%04d.mp4"),
    ]
