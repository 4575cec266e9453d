"""The table's rows: what is asked of hingfs, as the project's design states it.

A target is a number, or a ratio to what a peer reached in the same run.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median

from .mounts import CONTENDERS
from .scenarios import SIZES, SWEPT_LATENCIES_MS, SWEPT_SIZES
from .works import READERS_BYTES, Metrics

Peers = tuple[str, ...]

RCLONE = tuple(one.key for one in CONTENDERS if one.family == "rclone")

# Room for one read-ahead window, 32 MiB, beyond what the readers read.
READERS_MB = round((READERS_BYTES + (32 << 20)) / 1e6, 1)


@dataclass(frozen=True, slots=True)
class Target:
    """At most (or, for a rate, at least) *factor* times the best of *peers*.

    Without peers *factor* is the limit itself.
    """

    factor: float
    peers: Peers = ()

    def limit(self, medians: Mapping[str, float], *, higher: bool) -> float | None:
        """The number to meet; None while no peer was measured."""
        if not self.peers:
            return self.factor
        reached = [medians[peer] for peer in self.peers if peer in medians]
        if not reached:
            return None
        return self.factor * (max(reached) if higher else min(reached))

    def text(self, *, higher: bool) -> str:
        """As the table prints it."""
        sign = ">=" if higher else "<="
        if not self.peers:
            return f"{sign} {self.factor:g}"
        name = "best rclone" if len(self.peers) > 1 else self.peers[0]
        return f"{sign} {self.factor:g} x {name}"


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: a metric of a scenario."""

    key: str
    title: str
    scenario: str
    metric: str
    unit: str
    target: Target
    higher: bool = False


@dataclass(slots=True)
class Result:
    """A row with the medians of all contenders."""

    row: Row
    values: dict[str, list[float]] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, float]:
        """Contender -> median."""
        return {key: median(values) for key, values in self.values.items() if values}

    @property
    def limit(self) -> float | None:
        """What the target comes to in this run."""
        return self.row.target.limit(self.medians, higher=self.row.higher)

    def holds(self, contender: str) -> bool | None:
        """Whether *contender* meets the target; None if it cannot be said."""
        limit, reached = self.limit, self.medians.get(contender)
        if limit is None or reached is None:
            return None
        return reached >= limit if self.row.higher else reached <= limit

    def lead(self, contender: str) -> float | None:
        """How many times better than the best rclone *contender* is."""
        best = Target(1.0, RCLONE).limit(self.medians, higher=self.row.higher)
        reached = self.medians.get(contender)
        if not best or not reached:
            return None
        return reached / best if self.row.higher else best / reached

    @property
    def best_peer(self) -> float | None:
        """What the best of the target's peers reached; of all rclones without one."""
        best = Target(1.0, self.row.target.peers or RCLONE)
        return best.limit(self.medians, higher=self.row.higher)

    def times_better(self, contender: str, than: float | None) -> float | None:
        """How many times better than *than*: 1 is equal, 0 is worse than nothing."""
        reached = self.medians.get(contender)
        if reached is None or than is None:
            return None
        if reached == than:
            return 1.0
        better, worse = (reached, than) if self.row.higher else (than, reached)
        return better / worse if worse else math.inf

    def add(self, contender: str, metrics: Metrics) -> None:
        """Take the row's metric from one measurement, where it has it."""
        if self.row.metric in metrics:
            self.values.setdefault(contender, []).append(metrics[self.row.metric])


def rows(clip_count: int) -> tuple[Row, ...]:
    """All rows in the order of the table, with *clip_count* clips for rsync."""
    sizes = [_probing(f"-{size}", size) for size in SIZES]
    return (
        *_film(),
        *_clips(clip_count),
        *_costs(),
        *(row for group in sizes for row in group),
        *_swept(),
        *_listing(),
    )


def _film() -> tuple[Row, ...]:
    film, capped = "film-loopback", "film-capped"
    return (
        _up("film-loopback", "film, loopback", film, "mb_s", 1.2, peers=RCLONE),
        _up(
            "film-tls12",
            "film, loopback, TLS 1.2",
            "film-tls12",
            "mb_s",
            1.2,
            peers=RCLONE,
        ),
        _up(
            "film-tls13",
            "film, loopback, TLS 1.3",
            "film-tls13",
            "mb_s",
            1.2,
            peers=RCLONE,
        ),
        _up("film-capped", "film, capped", capped, "mb_s", 0.9, peers=("aria2c-x8",)),
        _down("connections", "film, capped: at once", capped, "peak_transfers", 10),
        _down("seek", "film, seek and decode", "seek", "seconds", 0.7, peers=RCLONE),
        _down("seek-bytes", "film, seek: fetched", "seek", "fetched_mb", 12),
        _down("random", "film, random 64 KiB", "random", "ms_each", 70),
        _down("random-bytes", "film, random: fetched", "random", "fetched_mb", 16),
        _down("readers", "8 readers: fetched", "readers", "fetched_mb", READERS_MB),
        _down("readers-twice", "8 readers: sent twice", "readers", "twice_mb", 0),
        _up("again", "film, second read", film, "again_mb_s", 3, peers=RCLONE),
        _down(
            "again-requests", "second read: asked", film, "again_content_requests", 0
        ),
        _down("again-gone", "second read: dropped", film, "again_gone_mb", 0),
        _down("fetched-film", "film: fetched/size", capped, "fetched_ratio", 1.02),
    )


def _clips(clip_count: int) -> tuple[Row, ...]:
    rsync, unlisted, many = "rsync", "rsync-unlisted", "many"
    by_rsync = f"{clip_count} clips by rsync"
    return (
        _down("rsync", by_rsync, rsync, "seconds", 0.7, peers=RCLONE),
        _down(
            "rsync-unlisted",
            f"{by_rsync}, no list",
            unlisted,
            "seconds",
            0.7,
            peers=RCLONE,
        ),
        _down("fetched-clips", "clips: fetched/size", rsync, "fetched_ratio", 1.02),
        _down("clip-requests", "requests a clip", rsync, "requests_per_video", 12),
        *_probing("", "clip"),
        *_first_mount(),
        _up("many", "8 clips at once", many, "mb_s", 1.1, peers=RCLONE),
        _down("many-fetched", "8 clips: fetched/size", many, "fetched_ratio", 1.02),
        _up("loader", "loader, 4 x 10 of 200", "loader", "mb_s", 1.2, peers=RCLONE),
        _up(
            "loader-listed",
            "loader, after one ls",
            "loader-listed",
            "mb_s",
            1.0,
            peers=("curl",),
        ),
        _down("timeline", "timeline, 6 cuts", "timeline", "seconds", 0.9, peers=RCLONE),
        _down(
            "timeline-bytes",
            "timeline: fetched",
            "timeline",
            "fetched_mb",
            0.6,
            peers=RCLONE,
        ),
        _down("mount", "mount to first answer", "first-frame", "mount_seconds", 0.25),
    )


def _costs() -> tuple[Row, ...]:
    cpu = "cpu_s_per_gb"
    return (
        _down("cpu", "CPU, film loopback", "film-loopback", cpu, 1.0, peers=RCLONE),
        _down("cpu-tls12", "CPU, film TLS 1.2", "film-tls12", cpu, 0.9, peers=RCLONE),
        _down("cpu-tls13", "CPU, film TLS 1.3", "film-tls13", cpu, 0.9, peers=RCLONE),
        _down("cpu-capped", "CPU, film capped", "film-capped", cpu, 1.0, peers=RCLONE),
        _down("rss", "peak RSS, film", "film-loopback", "peak_rss_mb", 200),
        _down("rss-random", "peak RSS, random", "random", "peak_rss_mb", 200),
        _down("rss-readers", "peak RSS, 8 readers", "readers", "peak_rss_mb", 200),
        _down("rss-many", "peak RSS, 8 clips", "many", "peak_rss_mb", 200),
    )


def _swept() -> tuple[Row, ...]:
    """The same at other sizes and latencies, so that nothing is right at one only."""
    megabytes = [(one, one.partition("-")[0]) for one in SWEPT_SIZES]
    sizes = [
        _up(
            f"many-{one}",
            f"8 clips at once, {mb} MB",
            f"many-{one}",
            "mb_s",
            1.1,
            peers=RCLONE,
        )
        for one, mb in megabytes
    ]
    latencies = []
    for ms in SWEPT_LATENCIES_MS:
        frame, many = f"first-frame-{ms}ms", f"many-{ms}ms"
        latencies += [
            _down(
                frame,
                f"clip: first frame, {ms} ms",
                frame,
                "seconds",
                0.55,
                peers=RCLONE,
            ),
            _up(many, f"8 clips at once, {ms} ms", many, "mb_s", 1.1, peers=RCLONE),
        ]
    return (*sizes, *latencies)


def _listing() -> tuple[Row, ...]:
    return (
        _down("ls-later", "ls of 10,000, again", "ls", "later_requests", 3),
        # One round trip, and `ls` itself, which takes 0.05 s to sort them.
        _down("ls-later-time", "ls of 10,000, again", "ls", "later_seconds", 0.25),
        _down(
            "ls-long-requests",
            "ls -l of 10,000, each",
            "ls-long",
            "all_requests_each",
            1.02,
        ),
        _down("ls-long", "ls -l, time / its HEADs'", "ls-long", "heads_ratio", 1.15),
        _down("remount", "ls -l, mounted again", "ls-long", "remount_seconds", 1.5),
        _down(
            "remount-requests",
            "mounted again, each",
            "ls-long",
            "remount_requests_each",
            0.02,
        ),
    )


UNITS = {
    "again_mb_s": "MB/s",
    "again_content_requests": "requests",
    "again_gone_mb": "MB",
    "all_requests_each": "requests",
    "cpu_s_per_gb": "s/GB",
    "fetched_mb": "MB",
    "fetched_ratio": "x",
    "heads_ratio": "x",
    "later_requests": "requests",
    "later_seconds": "s",
    "mb_s": "MB/s",
    "mount_seconds": "s",
    "ms_each": "ms",
    "peak_rss_mb": "MB",
    "peak_transfers": "requests",
    "remount_requests_each": "requests",
    "remount_seconds": "s",
    "requests_per_video": "requests",
    "seconds": "s",
    "twice_mb": "MB",
}


def _probing(name: str, what: str) -> tuple[Row, ...]:
    frame, probe = f"first-frame{name}", f"ffprobe{name}"
    what = what.replace("-", " MB, moov ")
    return (
        _down(frame, f"{what}: first frame", frame, "seconds", 0.55, peers=RCLONE),
        _down(probe, f"{what}: ffprobe", probe, "seconds", 0.5, peers=RCLONE),
        _down(f"{probe}-bytes", f"{what}: ffprobe fetched", probe, "fetched_mb", 2.6),
    )


def _first_mount() -> tuple[Row, ...]:
    """The same where no mount has met the server before."""
    frame, probe = "first-frame-first-mount", "ffprobe-first-mount"
    ever = "first mount ever"
    return (
        _down(frame, f"first frame, {ever}", frame, "seconds", 0.55, peers=RCLONE),
        _down(probe, f"ffprobe, {ever}", probe, "seconds", 0.5, peers=RCLONE),
    )


def _up(
    key: str,
    title: str,
    scenario: str,
    metric: str,
    factor: float,
    *,
    peers: Peers = (),
) -> Row:
    target = Target(factor, peers)
    return Row(key, title, scenario, metric, UNITS[metric], target, higher=True)


def _down(
    key: str,
    title: str,
    scenario: str,
    metric: str,
    factor: float,
    *,
    peers: Peers = (),
) -> Row:
    return Row(key, title, scenario, metric, UNITS[metric], Target(factor, peers))
