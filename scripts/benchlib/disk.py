"""What the disk cache of hingfs costs and brings.

Some works are done twice, without it and with it, each time on a new mount with nothing
of the videos on disk. One is done on mounts that find all of the video on disk.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from .measure import Bench, with_cpu, with_rate
from .mounts import PROJECT, Contender
from .scenarios import Disk, Scenario
from .system import ContenderError, missing_bytes, run
from .works import Metrics, Place

_FILL = Path(__file__).with_name("fill.py")
# A mount drops what its disk is too slow for, and the next one fetches that. So many
# mounts read a film before the measured one.
_MOST_MOUNTS = 3
_SIZE = "10GiB"


class DiskBench(Bench):
    """As `Bench`, and knows the works of the disk cache."""

    def measure(self, scenario: Scenario, contender: Contender) -> Metrics:
        """See `Bench.measure`."""
        if scenario.disk is Disk.COMPARED:
            return self._compared(scenario, contender)
        if scenario.disk is Disk.FOUND:
            return self._found(scenario, contender)
        return super().measure(scenario, contender)

    def _compared(self, scenario: Scenario, contender: Contender) -> Metrics:
        off = super().measure(scenario, _with(contender, "0"))
        with self._filled(scenario.cached) as options:
            on = super().measure(scenario, _with(contender, _SIZE, *options))
        start = on["mount_seconds"] + on["seconds"]
        return on | {
            "disk_x": off["seconds"] / on["seconds"],
            "disk_cpu_s_per_gb": on["cpu_s_per_gb"] - off["cpu_s_per_gb"],
            "disk_start_seconds": start - off["mount_seconds"] - off["seconds"],
        }

    @contextmanager
    def _filled(self, count: int) -> Iterator[tuple[str, ...]]:
        """The options that have a mount find *count* videos on disk; none for none."""
        if not count:
            yield ()
            return
        with tempfile.TemporaryDirectory(
            dir=self.origin.run_directory, ignore_cleanup_errors=True
        ) as folder:
            env = {**os.environ, "PYTHONPATH": str(PROJECT)}
            run([sys.executable, _FILL, folder, str(count)], env=env)
            yield "--cache-dir", folder

    def _found(self, scenario: Scenario, contender: Contender) -> Metrics:
        """Read what lies on disk: first as a new mount does, then once more.

        The second time the kernel holds no page of it, and the mount has verified it.
        """
        originals = [self.origin.original(scenario.key, one) for one in scenario.videos]
        expected = self.make_cold(scenario, contender, originals)
        with (
            tempfile.TemporaryDirectory(
                dir=self.origin.run_directory, ignore_cleanup_errors=True
            ) as folder,
            self.place(scenario, originals) as place,
        ):
            home = Path(folder)
            if contender.family == "hingfs":
                contender = _with(contender, _SIZE)
            files = [home / "mnt" / one.name for one in originals]
            seen = replace(place, files=files)
            self._keep(scenario, contender, seen, home)
            mark = self.origin.mark()
            with self.mounted(scenario, contender, home) as mount:
                first = with_rate(scenario.work(seen), originals)
                for file in files:
                    _drop_pages(file)
                done = with_rate(with_cpu(scenario, seen, mount), originals)
            self.origin.settle(closed=True)
            if {first["crc"], done["crc"]} != {expected["crc"]}:
                message = "wrong bytes"
                raise ContenderError(message)
        asked = len(self.origin.traffic_since(mark).content)
        return done | {"first_mb_s": first["mb_s"], "content_requests": asked}

    def _keep(
        self, scenario: Scenario, contender: Contender, place: Place, home: Path
    ) -> None:
        """Have mounts read the videos, until one finds all of them on disk.

        rclone 1.75.2 never does, though its cache is there: a row tells the requests.
        """
        for _ in range(_MOST_MOUNTS):
            mark = self.origin.mark()
            with self.mounted(scenario, contender, home):
                scenario.work(place)
            self.origin.settle(closed=True)
            if not self.origin.traffic_since(mark).content:
                return


def _with(contender: Contender, size: str, *options: str) -> Contender:
    """*contender* with a disk cache of *size*."""
    disk = ("--disk-cache-size", size, *options)
    return replace(contender, options=(*contender.options, *disk))


def _drop_pages(file: Path) -> None:
    """Have the kernel hold no page of *file*, which is in a mount."""
    descriptor = os.open(file, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    if missing_bytes(file) < file.stat().st_size:
        message = f"the kernel did not drop its pages of {file.name}"
        raise ContenderError(message)
