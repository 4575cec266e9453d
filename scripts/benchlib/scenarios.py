"""The works that are measured: their videos, their way to the origin, their contenders."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

from .mounts import CONTENDERS
from .origin import FAST, PACED, TLS12, TLS13, Way, paced_at
from .works import (
    Metrics,
    Place,
    copy_by_rsync,
    cut_clips,
    first_frame,
    list_attributes,
    list_names,
    look,
    probe,
    read_after_ls,
    read_at_random,
    read_by_many,
    read_through,
    read_whole,
    seek_to_middle,
)

LOADER_SEED = 20_261_127
LOADER_PROCESSES = 4
LOADER_CLIPS = 40
SHOWN_CLIPS = 200
MANY = 8
TIMELINE_CLIPS = 6
LISTED = 10_000
CACHED = 10_000
# Longer than the time-to-live of a listing, 10 s.
LISTING_PAUSE_SECONDS = 11

# Beside the 60 ms of all other rows.
SWEPT_LATENCIES_MS = (20, 150)
# Beside the 13 MB of all other rows; media of `media`.
SWEPT_SIZES = ("3-last", "60-last", "200-last")
# MB and place of the moov; 13-last is the clip of the plain works.
SIZES = ("3-first", "3-last", "13-first", "200-first", "200-last")

FILM = ("video_film",)
# Read by the mount before the measured one, and by no work.
MET = "video_3-last_00000"

HINGFS = frozenset(one.key for one in CONTENDERS if one.family == "hingfs")
RCLONE = frozenset(one.key for one in CONTENDERS if one.family == "rclone")
MOUNTS = HINGFS | RCLONE
LOCAL = MOUNTS | {"local"}
CURL = LOCAL | {"curl"}
ARIA = LOCAL | {"aria2c-x8", "aria2c-x16"}


class Disk(Enum):
    """What the disk cache has to do with a work; see `disk`."""

    COMPARED = "done without it, and then with it"
    FOUND = "done on mounts that find all of it on disk"


@dataclass(frozen=True, slots=True)
class Scenario:
    """One work on *videos*, one *way* to the origin, by the contenders in *who*.

    The origin shows *beside* as well, in a list if it is *listed*. *processes* share the
    videos out. With *again* the work is done a second time at once on the same mount,
    with *later_seconds* after a pause, with *remount* on a new mount with the old folders.

    With *disk* it is about the disk cache; *cached* videos that are not shown lie in it.

    A mount before the measured one has read `MET`, unless this is the *first* ever.
    """

    key: str
    videos: tuple[str, ...]
    work: Callable[[Place], Metrics]
    who: frozenset[str] = LOCAL
    beside: tuple[str, ...] = ()
    listed: bool = True
    way: Way = PACED
    processes: int = 1
    again: bool = False
    later_seconds: float = 0
    remount: bool = False
    first: bool = False
    disk: Disk | None = None
    cached: int = 0

    @property
    def shown(self) -> tuple[str, ...]:
        """Ids of all that the origin shows to this work."""
        met = () if self.first else (MET,)
        return tuple(sorted((*self.videos, *self.beside, *met)))


def clips(count: int, media: str = "13-last") -> tuple[str, ...]:
    """Ids of *count* clips of one media."""
    return tuple(f"video_{media}_{number:05}" for number in range(1, count + 1))


def media_of(video_id: str, film: str) -> str:
    """The name in the media cache of what *video_id* shows, *film* being the film's."""
    name = video_id.split("_")[1]
    return film if name == "film" else name


def scenarios(clip_count: int) -> tuple[Scenario, ...]:
    """All works, with *clip_count* clips for rsync; cheap ones and dear ones mixed."""
    return (
        Scenario("film-loopback", FILM, read_through, CURL, way=FAST, again=True),
        Scenario("film-tls12", FILM, read_through, CURL, way=TLS12),
        Scenario("film-tls13", FILM, read_through, CURL, way=TLS13),
        Scenario("film-capped", FILM, read_whole, CURL | ARIA),
        Scenario("rsync", clips(clip_count), copy_by_rsync, ARIA),
        Scenario("rsync-unlisted", clips(clip_count), copy_by_rsync, listed=False),
        *_probing("", "13-last"),
        *_probing("-first-mount", "13-last", first=True),
        Scenario("seek", FILM, seek_to_middle),
        Scenario("random", FILM, read_at_random),
        Scenario("readers", FILM, read_by_many),
        _many("many", clips(MANY)),
        _loader("loader", read_whole),
        _loader("loader-listed", read_after_ls),
        Scenario("timeline", clips(TIMELINE_CLIPS), cut_clips),
        *(one for size in SIZES for one in _probing(f"-{size}", size)),
        *(_many(f"many-{one}", clips(MANY, one)) for one in SWEPT_SIZES),
        *(one for ms in SWEPT_LATENCIES_MS for one in _swept(ms)),
        *_listing(),
        *_on_disk(clip_count),
    )


def _probing(
    name: str, media: str, *, first: bool = False
) -> tuple[Scenario, Scenario]:
    video = clips(1, media)
    return (
        Scenario(f"first-frame{name}", video, first_frame, first=first),
        Scenario(f"ffprobe{name}", video, probe, first=first),
    )


def _many(key: str, videos: tuple[str, ...], way: Way = PACED) -> Scenario:
    return Scenario(key, videos, read_whole, CURL, way=way, processes=MANY)


def _loader(key: str, work: Callable[[Place], Metrics]) -> Scenario:
    """Clips chosen as a data loader does: at random, without a look at the rest."""
    shown = clips(SHOWN_CLIPS)
    chosen = tuple(random.Random(LOADER_SEED).sample(shown, LOADER_CLIPS))
    beside = tuple(one for one in shown if one not in chosen)
    return Scenario(key, chosen, work, CURL, beside, processes=LOADER_PROCESSES)


def _swept(latency_ms: int) -> tuple[Scenario, Scenario]:
    way = paced_at(latency_ms)
    return (
        Scenario(f"first-frame-{latency_ms}ms", clips(1), first_frame, way=way),
        _many(f"many-{latency_ms}ms", clips(MANY), way),
    )


def _listing() -> tuple[Scenario, Scenario]:
    shown = clips(LISTED, "3-last")
    return (
        Scenario(
            "ls",
            shown,
            list_names,
            HINGFS | {"local"},
            later_seconds=LISTING_PAUSE_SECONDS,
            first=True,
        ),
        Scenario(
            "ls-long",
            shown,
            list_attributes,
            HINGFS | {"rclone-off", "local"},
            remount=True,
            first=True,
        ),
    )


def _on_disk(clip_count: int) -> tuple[Scenario, ...]:
    plain = (
        Scenario("film-loopback", FILM, read_through, way=FAST),
        Scenario("film-capped", FILM, read_whole),
        Scenario("rsync", clips(clip_count), copy_by_rsync),
        Scenario("first-frame", clips(1), first_frame),
        Scenario("seek", FILM, seek_to_middle),
        Scenario("random", FILM, read_at_random),
        _many("many", clips(MANY)),
        _loader("loader", read_whole),
        Scenario("timeline", clips(TIMELINE_CLIPS), cut_clips),
        Scenario("start", clips(1), look, first=True, cached=CACHED),
    )
    compared = (
        replace(one, key=f"disk-{one.key}", who=HINGFS, disk=Disk.COMPARED)
        for one in plain
    )
    found = (
        Scenario(
            f"disk-found-{fuse}",
            FILM,
            read_through,
            frozenset({f"hingfs-{fuse}", f"preadv-{fuse}", "rclone-full"}),
            way=FAST,
            disk=Disk.FOUND,
        )
        for fuse in ("fuse3", "fuse2")
    )
    return (*compared, *found)
