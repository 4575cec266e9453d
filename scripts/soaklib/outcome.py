"""The level of a process, and the outcome of the soak of one binding."""

import contextlib
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hingfs.cache.layout import DATA, INDEX

from .limits import (
    DEADLINE_SECONDS,
    DISK_MB,
    DISK_SLACK_MB,
    KEPT_CONNECTIONS,
    MB,
    RSS_GROWTH_MB,
    SPARE_THREADS,
)


@dataclass(slots=True)
class Level:
    """What a process holds: memory in MB, and counts."""

    rss_mb: float
    threads: int
    sockets: int
    files: tuple[str, ...]  # by their names
    spools: int  # whole files of servers without ranges: kept, as --spool-size allows

    @staticmethod
    def of(pid: int) -> "Level":
        """The level of *pid* now."""
        status = Path(f"/proc/{pid}/status").read_text()
        rss_kb = int(status.partition("VmRSS:")[2].split()[0])
        links = []
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                links.append(os.readlink(descriptor))
        sockets = sum(link.startswith("socket:") for link in links)
        # Deleted files of the disk cache are no spools: they must not stay open either.
        spools = [
            link
            for link in links
            if link.endswith(" (deleted)")
            and not link.removesuffix(" (deleted)").endswith((DATA, INDEX))
        ]
        return Level(
            rss_kb * 1024 / MB,
            len(list(Path(f"/proc/{pid}/task").iterdir())),
            sockets,
            tuple(
                link
                for link in links
                if not link.startswith("socket:") and link not in spools
            ),
            len(spools),
        )

    def within(self, idle: "Level", spare_threads: int) -> bool:
        """Whether no count is above that of *idle*, but for *spare_threads*."""
        return (
            self.threads <= idle.threads + spare_threads
            and self.sockets <= max(idle.sockets, KEPT_CONNECTIONS)
            and len(self.files) <= len(idle.files)
        )


@dataclass(slots=True)
class Outcome:
    """What one binding's soak found."""

    binding: str
    found: Counter[str] = field(default_factory=Counter)
    longest: float = 0.0
    longest_request: float = 0.0
    injected: int = 0
    restarts: int = 0
    spoilt: int = 0  # files of the disk cache
    disk_mb: float = 0.0  # at most
    spare_threads: int = SPARE_THREADS  # that may be left beside those at rest
    idle: Level | None = None
    warm_rss_mb: float = 0.0
    peak_rss_mb: float = 0.0
    after: Level | None = None

    def complaints(self) -> list[str]:
        """The reasons why the soak has failed; none if it has not."""
        assert self.idle is not None
        assert self.after is not None
        growth = self.peak_rss_mb - self.warm_rss_mb
        return [
            text
            for text, holds in (
                ("wrong bytes", self.found["wrong bytes"] > 0),
                ("hangs", self.found["hangs"] > 0),
                ("kept videos were refused", self.found["kept videos refused"] > 0),
                ("nothing was read", self.found["reads"] == 0),
                ("no fault was injected", self.injected == 0),
                (f"memory grew by {growth:.0f} MB", growth > RSS_GROWTH_MB),
                ("the disk cache is too large", self.disk_mb > DISK_MB + DISK_SLACK_MB),
                (
                    f"not idle again, with {', '.join(self.after.files)} open",
                    not self.after.within(self.idle, self.spare_threads),
                ),
            )
            if holds
        ]

    def line(self) -> str:
        """All figures in one line."""
        idle, after = self.idle, self.after
        assert idle is not None
        assert after is not None
        errors = ", ".join(
            f"{name} {count}"
            for name, count in sorted(self.found.items())
            if name.isupper()
        )
        bad = "; ".join(self.complaints())
        return (
            f"soak {self.binding}: {self.found['reads']} reads, "
            f"{self.found['bytes'] / MB:.0f} MB checked, "
            f"{self.injected} faults injected, {self.restarts} restarts, "
            f"{self.disk_mb:.0f} MB on disk at most, {self.spoilt} of its files spoilt, "
            f"{self.found['wrong bytes']} wrong bytes, "
            f"{self.found['wrong sizes']} sizes spoilt at first sight, "
            f"errors: {errors or 'none'}, {self.found['hangs']} hangs, "
            f"{self.found['kept videos refused']} kept videos refused, "
            f"longest call {self.longest:.1f} s, of one request "
            f"{self.longest_request:.1f} s (deadline {DEADLINE_SECONDS:.0f} s), "
            f"RSS {idle.rss_mb:.0f} idle, {self.warm_rss_mb:.0f} warm, "
            f"{self.peak_rss_mb:.0f} peak, {after.rss_mb:.0f} after MB, "
            f"threads {idle.threads} -> {after.threads}, "
            f"sockets {idle.sockets} -> {after.sockets}, "
            f"fds {len(idle.files)} -> {len(after.files)} (and {after.spools} spooled files): "
            f"{'FAILED: ' + bad if bad else 'ok'}"
        )
