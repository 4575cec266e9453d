"""One measurement: a contender at a work, cold, with what it cost the origin."""

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from .mounts import Contender, Mount, mounted
from .origin import Origin, Traffic
from .scenarios import Metrics, Place, Scenario
from .system import drop_page_cache, find_program, find_rclone, missing_bytes, run

MB = 1e6


@dataclass(frozen=True, slots=True)
class Bench:
    """Measures contenders at works against one running *origin*."""

    origin: Origin
    command_seconds: float

    def measure(self, scenario: Scenario, contender: Contender) -> Metrics:
        """The metrics of one cold run; raises ContenderError if it fails."""
        originals = [self.origin.original(one) for one in scenario.videos]
        self._make_cold(scenario, contender, originals)
        with self._place(originals) as place:
            if contender.key == "local":
                done = scenario.work(place)
                scenario.check(place, done)
                return _with_rate(done, originals)
            mark = self.origin.mark()
            if contender.is_mount:
                done = self._mount(scenario, contender, place)
            else:
                done = self._download(scenario, contender, place)
            traffic = self.origin.traffic_since(mark)
            return _with_rate(done, originals) | _cost(traffic, originals)

    @contextmanager
    def _place(self, originals: list[Path]) -> Iterator[Place]:
        with tempfile.TemporaryDirectory(dir=self.origin.run_directory) as scratch:
            yield Place(originals, originals, Path(scratch), self.command_seconds)

    def _make_cold(
        self, scenario: Scenario, contender: Contender, originals: list[Path]
    ) -> None:
        """Nothing of the contender's in memory; everything else warm.

        The same work on the originals brings the programs and the origin's own files
        into the page cache, so that no disk is measured.
        """
        drop_page_cache()
        with self._place(originals) as place:
            scenario.work(place)
        for original in originals:
            _read_away(original)
        if contender.family == "rclone":
            _read_away(find_rclone())

    def _mount(self, scenario: Scenario, contender: Contender, place: Place) -> Metrics:
        """The work on a fresh mount; its requests are all in the log afterwards."""
        with mounted(contender, self.origin, scenario.key, scenario.site) as mount:
            files = [mount.mountpoint / original.name for original in place.originals]
            seen = replace(place, files=files)
            done = _with_cpu(scenario, seen, mount)
            if scenario.again:
                done |= self._again(scenario, seen)
            done["peak_rss_mb"] = mount.peak_rss_bytes() / MB
        # Unmounted: what was still being sent is cut off, and so in the log.
        self.origin.settle(closed=True)
        scenario.check(place, done)
        return done

    def _again(self, scenario: Scenario, place: Place) -> Metrics:
        self.origin.settle(closed=False)
        mark = self.origin.mark()
        gone = sum(missing_bytes(file) for file in place.files)
        done = _with_rate(scenario.work(place), place.originals)
        self.origin.settle(closed=False)
        asked = len(self.origin.traffic_since(mark).content)
        return {
            "again_mb_s": done["mb_s"],
            "again_content_requests": asked,
            "again_gone_mb": gone / MB,
        }

    def _download(
        self, scenario: Scenario, contender: Contender, place: Place
    ) -> Metrics:
        """All videos, one after the other, by a tool that knows no mount."""
        header = f"Authorization: Bearer {self.origin.token}"
        start = time.perf_counter()
        for video_id in scenario.videos:
            url = self.origin.content_url(video_id, scenario.site)
            if contender.key == "curl":
                argv = _curl(header, url, self.origin.certificate)
            else:
                argv = _aria2c(contender, header, url, place.scratch / video_id)
            run(argv, deadline_seconds=self.command_seconds)
        done = {"seconds": time.perf_counter() - start}
        self.origin.settle(closed=True)
        return done


def _curl(header: str, url: str, certificate: Path) -> list[str | Path]:
    curl: list[str | Path] = [find_program("curl"), "-sSf", "-o", "/dev/null"]
    return [*curl, "--cacert", certificate, "-H", header, url]


def _aria2c(
    contender: Contender, header: str, url: str, target: Path
) -> list[str | Path]:
    (connections,) = contender.options
    return [
        *(find_program("aria2c"), "--no-conf", "--quiet", "--file-allocation=none"),
        *("-x", connections, "-s", connections, "--min-split-size=1M"),
        *("--header", header, "-d", target.parent, "-o", target.name, url),
    ]


def _with_cpu(scenario: Scenario, place: Place, mount: Mount) -> Metrics:
    before = mount.cpu_seconds()
    done = scenario.work(place)
    gigabytes = sum(original.stat().st_size for original in place.originals) / 1e9
    done["cpu_s_per_gb"] = (mount.cpu_seconds() - before) / gigabytes
    return done


def _with_rate(done: Metrics, originals: Sequence[Path]) -> Metrics:
    size = sum(original.stat().st_size for original in originals)
    return done | {"mb_s": size / done["seconds"] / MB}


def _cost(traffic: Traffic, originals: list[Path]) -> Metrics:
    size = sum(original.stat().st_size for original in originals)
    content = traffic.content
    return {
        "fetched_mb": traffic.content_bytes / MB,
        "fetched_ratio": traffic.content_bytes / size,
        "twice_mb": traffic.twice_bytes / MB,
        "content_requests": len(content),
        "requests_per_video": len(content) / len(originals),
        "other_requests": len(traffic.requests) - len(content),
        "peak_transfers": traffic.peak_transfers,
    }


def _read_away(path: Path) -> None:
    buffer = bytearray(1 << 20)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass
