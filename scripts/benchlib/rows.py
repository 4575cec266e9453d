"""The table's rows: what is asked of hingfs, as the project's design states it."""

from .result import RCLONE, Peers, Row, Target
from .scenarios import CACHED, MANY, SIZES, SWEPT_LATENCIES_MS, SWEPT_SIZES
from .works import READERS_BYTES

# Room for one read-ahead window, 32 MiB, beyond what the readers read.
READERS_MB = round((READERS_BYTES + (32 << 20)) / 1e6, 1)


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
        *_disk(clip_count),
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


def _disk(clip_count: int) -> tuple[Row, ...]:
    """What the disk cache costs, and what it brings."""
    paced = {
        "film-capped": "film, capped",
        "rsync": f"{clip_count} clips by rsync",
        "first-frame": "clip: first frame",
        "seek": "film, seek and decode",
        "random": "film, random 64 KiB",
        "many": f"{MANY} clips at once",
        "loader": "loader",
        "timeline": "timeline",
    }
    start, cached = "disk-start", f"{CACHED:,} on disk"
    return (
        *_found_on_disk("fuse3", "libfuse 3", 1.0),
        *_found_on_disk("fuse2", "libfuse 2", 0.8),
        _down(
            *("disk-cpu", "disk cache, film loopback: more CPU", "disk-film-loopback"),
            *("disk_cpu_s_per_gb", 0.2),
        ),
        *(
            _up(f"disk-{key}", f"disk cache, {title}", f"disk-{key}", "disk_x", 0.97)
            for key, title in paced.items()
        ),
        _down("disk-mount", f"mount, {cached}", start, "mount_seconds", 0.25),
        _down(start, f"first stat, {cached}: later", start, "disk_start_seconds", 0.1),
    )


def _found_on_disk(fuse: str, library: str, verified: float) -> tuple[Row, ...]:
    """*verified* is the goal of a second read; the first one checks all bytes."""
    work, film, peers = (
        f"disk-found-{fuse}",
        f"film on disk, {library}",
        (f"preadv-{fuse}",),
    )
    return (
        _up(
            f"disk-first-{fuse}", f"{film}: first", work, "first_mb_s", 0.8, peers=peers
        ),
        _up(
            f"disk-again-{fuse}", f"{film}: again", work, "mb_s", verified, peers=peers
        ),
        _down(f"disk-asked-{fuse}", f"{film}: asked", work, "content_requests", 0),
        _down(f"disk-cpu-{fuse}", f"{film}: CPU", work, "cpu_s_per_gb", 0.25),
    )


UNITS = {
    "again_mb_s": "MB/s",
    "again_content_requests": "requests",
    "again_gone_mb": "MB",
    "all_requests_each": "requests",
    "content_requests": "requests",
    "cpu_s_per_gb": "s/GB",
    "disk_cpu_s_per_gb": "s/GB",
    "disk_start_seconds": "s",
    "disk_x": "x",
    "fetched_mb": "MB",
    "fetched_ratio": "x",
    "first_mb_s": "MB/s",
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
