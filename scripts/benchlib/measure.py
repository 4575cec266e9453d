"""One cold measurement of a contender at a work, and of the traffic at the origin."""

import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from . import mounts
from .mounts import KEPT, Contender, Mount, bring_program_into_memory
from .origin import Origin
from .scenarios import MET, Scenario
from .system import (
    ContenderError,
    drop_page_cache,
    find_program,
    missing_bytes,
    read_away,
    run,
)
from .traffic import Traffic
from .works import Metrics, Place

MB = 1e6

# What `--connections` is unless set: so many HEADs go at once.
HINGFS_CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Bench:
    """Measures contenders at works against one running *origin*."""

    origin: Origin
    command_seconds: float
    # (work, family of contenders) -> the home of the mount before the measured ones
    _homes: dict[tuple[str, str], Path] = field(default_factory=dict)

    def measure(self, scenario: Scenario, contender: Contender) -> Metrics:
        """The metrics of one cold run; raises ContenderError if it fails."""
        if contender.is_mount and not scenario.first:
            self._meet(scenario, contender)
        originals = [self.origin.original(scenario.key, one) for one in scenario.videos]
        expected = self.make_cold(scenario, contender, originals)
        with self.place(scenario, originals) as place:
            if contender.key == "local":
                return with_rate(scenario.work(place), originals)
            if not contender.is_mount:
                return self._download(scenario, contender, place)
            done = self._mount(scenario, contender, place)
        if done["crc"] != expected["crc"]:
            message = "wrong bytes, or wrong names"
            raise ContenderError(message)
        return done

    @contextmanager
    def place(self, scenario: Scenario, originals: list[Path]) -> Iterator[Place]:
        """Where the work is done on the *originals*."""
        with tempfile.TemporaryDirectory(dir=self.origin.run_directory) as scratch:
            yield Place(
                originals,
                originals,
                scenario.processes,
                Path(scratch),
                self.command_seconds,
            )

    def make_cold(
        self, scenario: Scenario, contender: Contender, originals: list[Path]
    ) -> Metrics:
        """Take what is the contender's out of memory, and bring all else into it.

        The work is done on the originals: the programs and the origin's own files are
        then in the page cache, and no disk is measured. Returns what it found, which
        tells the right bytes.
        """
        drop_page_cache()
        with self.place(scenario, originals) as place:
            expected = scenario.work(place)
        # Several originals may be links to one file.
        for original in {one.stat().st_ino: one for one in originals}.values():
            read_away(original)
        bring_program_into_memory(contender)
        return expected

    def _mount(self, scenario: Scenario, contender: Contender, place: Place) -> Metrics:
        """The work on a fresh mount; its requests are all in the log afterwards."""
        with tempfile.TemporaryDirectory(
            prefix=f"{contender.key}-",
            dir=self.origin.run_directory,
            ignore_cleanup_errors=True,
        ) as folder:
            home = Path(folder)
            if met := self._homes.get((scenario.key, contender.family)):
                _bring_kept(met, home)
            mark = self.origin.mark()
            with self.mounted(scenario, contender, home) as mount:
                files = [mount.mountpoint / one.name for one in place.originals]
                seen = replace(place, files=files)
                done = with_cpu(scenario, seen, mount)
                if scenario.again:
                    done |= self._again(scenario, seen)
                if scenario.later_seconds:
                    done |= self._later(scenario, seen)
                done["mount_seconds"] = mount.up_after_seconds
                done["peak_rss_mb"] = mount.peak_rss_bytes() / MB
            # The unmount cut off the last answers, so nginx has logged them.
            self.origin.settle(closed=True)
            done |= self._cost(mark, scenario, place, done)
            if scenario.remount:
                done |= self._remounted(scenario, contender, seen, home)
        return done

    def _meet(self, scenario: Scenario, contender: Contender) -> None:
        """Have a mount of the family read one other clip once, as a user's had before."""
        key = (scenario.key, contender.family)
        if key in self._homes:
            return
        home = self.origin.run_directory / f"met-{scenario.key}-{contender.family}"
        home.mkdir(exist_ok=True)
        with self.mounted(scenario, contender, home) as mount:
            self._run(["cp", mount.mountpoint / f"{MET}.mp4", os.devnull])
        self.origin.settle(closed=True)
        self._homes[key] = home

    def mounted(
        self, scenario: Scenario, contender: Contender, home: Path
    ) -> AbstractContextManager[Mount]:
        """A mount that shows what *scenario* is done on; see `mounts.mounted`."""
        return mounts.mounted(contender, self.origin, scenario.key, scenario.way, home)

    def _again(self, scenario: Scenario, place: Place) -> Metrics:
        """Do the work again on the same mount; the kernel may still hold pages of it."""
        self.origin.settle(closed=False)
        mark = self.origin.mark()
        gone = sum(missing_bytes(file) for file in place.files)
        done = with_rate(scenario.work(place), place.originals)
        self.origin.settle(closed=False)
        asked = len(self.origin.traffic_since(mark).content)
        return {
            "again_mb_s": done["mb_s"],
            "again_content_requests": asked,
            "again_gone_mb": gone / MB,
        }

    def _later(self, scenario: Scenario, place: Place) -> Metrics:
        """Do the work again on the same mount, once its list is no longer fresh."""
        self.origin.settle(closed=False)
        time.sleep(scenario.later_seconds)
        mark = self.origin.mark()
        done = scenario.work(place)
        self.origin.settle(closed=False)
        asked = len(self.origin.traffic_since(mark).requests)
        return {"later_seconds": done["seconds"], "later_requests": asked}

    def _remounted(
        self, scenario: Scenario, contender: Contender, place: Place, home: Path
    ) -> Metrics:
        """Do the work on a new mount that has the folders of the one before."""
        mark = self.origin.mark()
        with self.mounted(scenario, contender, home):
            done = scenario.work(place)
        self.origin.settle(closed=True)
        asked = len(self.origin.traffic_since(mark).requests)
        return {
            "remount_seconds": done["seconds"],
            "remount_requests_each": asked / len(place.files),
        }

    def _download(
        self, scenario: Scenario, contender: Contender, place: Place
    ) -> Metrics:
        """Have a tool without a mount download all videos."""
        header = f"Authorization: Bearer {self.origin.token}"
        urls = [
            self.origin.content_url(scenario.key, video_id, scenario.way)
            for video_id in scenario.videos
        ]
        count = scenario.processes
        if contender.key == "curl":
            shares = [urls[index::count] for index in range(count)]
            commands = [_curl(header, one, self.origin.certificate) for one in shares]
        else:
            targets = [place.scratch / one.name for one in place.originals]
            commands = [
                _aria2c(contender, header, url, target)
                for url, target in zip(urls, targets, strict=True)
            ]
        mark = self.origin.mark()
        with ThreadPoolExecutor(count) as pool:
            start = time.perf_counter()
            list(pool.map(self._run, commands))
            done = {"seconds": time.perf_counter() - start}
        self.origin.settle(closed=True)
        return done | self._cost(mark, scenario, place, done)

    def _run(self, argv: Sequence[str | Path]) -> str:
        return run(argv, deadline_seconds=self.command_seconds)

    def _cost(
        self, mark: int, scenario: Scenario, place: Place, done: Metrics
    ) -> Metrics:
        """The metrics of all traffic since *mark*, in which the work was *done*."""
        traffic = self.origin.traffic_since(mark)
        count = len(place.originals)
        cost = _of_traffic(traffic, place.originals)
        cost |= with_rate(done, place.originals)
        latency = self.origin.latency_ms_of(scenario.way) / 1000
        if latency:
            heads = count * latency / HINGFS_CONNECTIONS
            cost["heads_ratio"] = done["seconds"] / heads
        return cost


def _curl(header: str, urls: Sequence[str], certificate: Path) -> list[str | Path]:
    """All *urls*, one after the other, over one connection."""
    curl: list[str | Path] = [find_program("curl"), "-sSf"]
    targets = [word for url in urls for word in ("-o", "/dev/null", url)]
    return [*curl, "--cacert", certificate, "-H", header, *targets]


def _aria2c(
    contender: Contender, header: str, url: str, target: Path
) -> list[str | Path]:
    (connections,) = contender.options
    return [
        *(find_program("aria2c"), "--no-conf", "--quiet", "--file-allocation=none"),
        *("-x", connections, "-s", connections, "--min-split-size=1M"),
        *("--header", header, "-d", target.parent, "-o", target.name, url),
    ]


def with_cpu(scenario: Scenario, place: Place, mount: Mount) -> Metrics:
    """Do the work, and tell what it cost the *mount*."""
    before = mount.cpu_seconds()
    done = scenario.work(place)
    gigabytes = sum(original.stat().st_size for original in place.originals) / 1e9
    done["cpu_s_per_gb"] = (mount.cpu_seconds() - before) / gigabytes
    return done


def with_rate(done: Metrics, originals: Sequence[Path]) -> Metrics:
    """*done* with its rate in MB/s, since it is of all *originals*."""
    size = sum(original.stat().st_size for original in originals)
    return done | {"mb_s": size / done["seconds"] / MB}


def _of_traffic(traffic: Traffic, originals: Sequence[Path]) -> Metrics:
    size = sum(original.stat().st_size for original in originals)
    content = traffic.content
    return {
        "fetched_mb": traffic.content_bytes / MB,
        "fetched_ratio": traffic.content_bytes / size,
        "twice_mb": traffic.twice_bytes / MB,
        "content_requests": len(content),
        "requests_per_video": len(content) / len(originals),
        "all_requests_each": len(traffic.requests) / len(originals),
        "peak_transfers": traffic.peak_transfers,
    }


def _bring_kept(met: Path, home: Path) -> None:
    """Begin *home* with what the mount before kept: facts, and rclone's cached file."""
    for name in KEPT:
        if (met / name).exists():
            shutil.copytree(met / name, home / name)
