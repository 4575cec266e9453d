"""One race: a mount keeps clips over a slow link, while a film is read beside.

The server gives no clip whose link has expired. What was kept before that is compared
with what any order could have kept: all bytes of a clip must come over the link first.

Threads: `race-film` reads the film until the race is over.
"""

import hashlib
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path

from hingfs.blocks import KIB
from hingfs.cache import kept_files
from hingfs.keep.order import Job, order_of
from tests.support.endpoint import FakeEndpoint, Link, carried_by
from tests.support.mounting import Mounted
from tests.support.personalities import Video

FILM = "film"
# The mount knows the server's clock to the second, as a Date has it, and has the last
# bytes of a clip on their way while the next one begins.
EARLY_SECONDS = 1.3
# Not in the order of expiry: neither names nor the list tell it.
_STRIDE = 7
_LOOK_SECONDS = 0.02
# A clip whose last byte came in time is read again and checked after that.
_SEAL_SECONDS = 1.0
_READ_BYTES = 64 * KIB


@dataclass(frozen=True, slots=True)
class Race:
    """Clips of *sizes* bytes, over a link of *bytes_per_second*.

    The link of the first expires after *first_seconds*, each next one *step_seconds*
    later. The film is read at *film_bytes_per_second*.
    """

    sizes: Sequence[int]
    bytes_per_second: float
    first_seconds: float
    step_seconds: float
    film_bytes_per_second: float

    def name_of(self, place: int) -> str:
        """The id of the clip that expires as the *place*-th, from 0 on."""
        return f"clip{place * _STRIDE % len(self.sizes):02}_{place:02}"

    def jobs(self) -> list[Job]:
        """The clips, with deadlines in seconds from the start, in order of these."""
        return [
            Job(
                self.name_of(place),
                size,
                self.first_seconds + place * self.step_seconds,
            )
            for place, size in enumerate(self.sizes)
        ]


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a race. Seconds count from its start."""

    race: Race
    kept_at: dict[str, float]  # by id: when each was kept, if it was
    film_bytes: int  # that the server sent
    film_slowest_seconds: float  # one read of it
    clip_bytes: int  # of clips, that the server sent
    wrong: list[str]  # kept with other bytes than the server's

    @property
    def in_time(self) -> list[str]:
        """The clips that were kept before they expired, in the order that they came."""
        deadlines = {job.key: job.deadline for job in self.race.jobs()}
        return [name for name, at in self.kept_at.items() if at < deadlines[name]]

    def best(self, share: float = 1.0, early_seconds: float = 0.0) -> int:
        """How many could be kept at *share* of what the film leaves of the link.

        Each must be there *early_seconds* before it expires.
        """
        jobs = self.race.jobs()
        film_rate = self.film_bytes / jobs[-1].deadline
        rate = share * (self.race.bytes_per_second - film_rate)
        return len(order_of(jobs, early_seconds, rate).in_time)

    def plain(self) -> int:
        """How many would be, if each came by its expiry and none stood back."""
        jobs = self.race.jobs()
        rate = self.race.bytes_per_second - self.film_bytes / jobs[-1].deadline
        at, count = 0.0, 0
        for job in jobs:
            if at < job.deadline:  # else the server does not give it any more
                at += job.left_bytes / rate
                count += at < job.deadline
        return count


class _Expiring(FakeEndpoint):
    """A server that gives no video whose link has expired."""

    def find(self, video_id: str) -> Video | None:
        video = super().find(video_id)
        if video is None or (video.expires_at or inf) <= time.time():
            return None
        return video

    def find_all(self) -> list[Video]:
        now = time.time()
        return [one for one in super().find_all() if (one.expires_at or inf) > now]


def run(race: Race, work: Path, binding: str) -> Result:
    """The result of *race*, with its files below the directory *work*."""
    film, clips = work / "film", {size: work / f"{size}" for size in set(race.sizes)}
    digests = {}
    for size, path in clips.items():
        data = os.urandom(size)
        path.write_bytes(data)
        digests[size] = hashlib.sha256(data).digest()
    jobs = race.jobs()
    seconds = jobs[-1].deadline
    film.write_bytes(os.urandom(int(2 * seconds * race.film_bytes_per_second) + 1))
    home = work / "home"
    with _Expiring() as endpoint:
        endpoint.add(FILM, data=film, completed_at=None)
        endpoint.inject(carried_by(Link(race.bytes_per_second)), times=inf)
        with Mounted(
            *(endpoint, binding, "--keep", "all", "--listing-ttl", "50ms"),
            XDG_DATA_HOME=str(home),
        ) as mounted:
            player = _Player(mounted.path(FILM), race.film_bytes_per_second)
            player.start()
            start = time.time()
            for job in jobs:
                endpoint.add(
                    *(str(job.key),),
                    data=clips[job.left_bytes],
                    expires_at=start + job.deadline,
                )
            kept_at = _watch(home / "hingfs", start, seconds + _SEAL_SECONDS)
            player.end()
            sent = sum(endpoint.content_bytes(str(job.key)) for job in jobs)
            film_sent = endpoint.content_bytes(FILM)
    sealed = _sealed(home / "hingfs")
    wrong = [
        name
        for name, (size, digest) in sealed.items()
        if name != FILM and digests[size] != digest
    ]
    return Result(race, kept_at, film_sent, player.slowest, sent, wrong)


def _watch(directory: Path, start: float, seconds: float) -> dict[str, float]:
    """When each clip was seen to be kept, up to *seconds* after *start*."""
    kept_at: dict[str, float] = {}
    while (now := time.time() - start) < seconds:
        for name in _sealed(directory):
            if name != FILM:
                kept_at.setdefault(name, now)
        time.sleep(_LOOK_SECONDS)
    return kept_at


def _sealed(directory: Path) -> dict[str, tuple[int, bytes]]:
    """Size and SHA-256 of each video that is kept whole, by id."""
    found = kept_files.videos(directory) if directory.exists() else []
    return {
        one.version.video_id: (one.version.size_bytes, one.mark.sha256)
        for one in found
        if one.mark.sha256 is not None
    }


class _Player:
    """Reads a film as a player does: at a rate, in small pieces."""

    def __init__(self, path: Path, bytes_per_second: float) -> None:
        self._path = path
        self._bytes_per_second = bytes_per_second
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._play, name="race-film")
        self.read_bytes = 0
        self.slowest = 0.0  # seconds

    def start(self) -> None:
        self._thread.start()

    def end(self) -> None:
        self._ended.set()
        self._thread.join()

    def _play(self) -> None:
        began_at = time.monotonic()
        with self._path.open("rb", buffering=0) as file:
            while not self._ended.is_set():
                asked_at = time.monotonic()
                self.read_bytes += len(file.read(_READ_BYTES))
                now = time.monotonic()
                self.slowest = max(self.slowest, now - asked_at)
                due_at = began_at + self.read_bytes / self._bytes_per_second
                self._ended.wait(max(0.0, due_at - now))
