"""Keeps the videos that a person has named, those first whose links expire first.

Decides which of them are kept already, and what one must have before it counts as kept:
all its bytes under the version that was begun, checked, and on the disk. Leaves to
`wanted` how videos come, to `order` which is first, to `cache.kept` how what is kept stays
whole, and to `cli.keep` what is said.

Threads: `hingfs-keep-N` of a `Crew`, each with one video at a time.
"""

import contextlib
import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ..api.judgement.video_status import Status
from ..cache.kept_files import Kept
from ..cache.layout import Mark, NoHeader
from ..content import Content
from ..engine import Engine
from ..errors import ContentChanged, HingError
from ..library.known import VideoFile
from ..library.names import video_id_of
from ..version import VideoVersion
from ..wanted import Crew, Wanted
from .order import Job, order_of

# Most links live for an hour; those of which nothing is told count as begun just now.
_LIFE_SECONDS = 3600.0


@dataclass(slots=True, eq=False)
class ToKeep(Wanted):
    """A video that shall be kept."""

    expires_at: float | None = None  # of its link, in Unix seconds, if that is known
    sha256: bytes | None = None  # once it is kept
    is_confirmed: bool = True  # the server has said that it is this version still


class NamedKeeper:
    """Keeps videos of *engine*, which has a place for them, *at_once* at a time.

    Thread safety: `close`. The other methods are for one thread.
    """

    def __init__(self, engine: Engine, at_once: int) -> None:
        assert engine.kept is not None, "the engine has a place for what is kept"
        self._store = engine.kept
        self._catalog = engine.catalog
        self._tiers = engine.tiers
        self._now = engine.client.metadata.now
        self._crew = Crew(engine, "hingfs-keep", at_once)

    def keep(self, videos: Sequence[ToKeep]) -> Iterator[Wanted | None]:
        """Keep *videos*; yields each that has ended, and None every now and then."""
        return self._crew.work(self._in_order(videos), self._land)

    def close(self) -> None:
        """End all that is under way; what came stays."""
        self._crew.close()

    def _in_order(self, videos: Sequence[ToKeep]) -> list[Wanted]:
        now = self._now()
        jobs = [
            Job(place, 0, self._expiry(video) or now + _LIFE_SECONDS)
            for place, video in enumerate(videos)
        ]
        places = {
            job.key: at for at, job in enumerate(order_of(jobs, now, math.inf).jobs)
        }
        by_place = sorted(enumerate(videos), key=lambda one: places[one[0]])
        return [video for _, video in by_place]

    def _expiry(self, video: ToKeep) -> float | None:
        """When the link of *video* expires, as far as it is known; asks nobody."""
        video_id = video_id_of(video.name)
        if video.expires_at is None and video_id is not None:
            return self._catalog.expires_at(video_id)
        return video.expires_at

    # -- on the threads ----------------------------------------------------------------

    def _land(self, video: Wanted, file: VideoFile) -> None:
        assert isinstance(video, ToKeep), "`keep` takes no other"
        content = file.content
        video.is_confirmed = self._catalog.is_confirmed(file)
        kept = self._kept(content)
        if kept is None:
            version = self._begin(video, file)
            self._crew.bring(video, content, partial(self._demand, version))
            self._demand(version, content)
            kept = self._seal(version)
            self._catalog.note_kept(file)
        video.size_bytes = video.here_bytes = kept.version.size_bytes
        video.sha256 = kept.mark.sha256

    def _kept(self, content: Content) -> Kept | None:
        """The copy of *content* that is kept whole, if there is one; see `_is_same`."""
        for kept in self._store.videos():
            if kept.is_sealed and _is_same(kept, content):
                return kept
        return None

    def _begin(self, video: ToKeep, file: VideoFile) -> VideoVersion:
        expires_at = self._catalog.expires_at(file.video_id) or video.expires_at
        mark = Mark(file.mtime_ns, time.time(), expires_at)
        with _in_words():
            return self._tiers.keep(file.content, mark)

    def _seal(self, version: VideoVersion) -> Kept:
        with _in_words():
            return self._store.seal(version)

    def _demand(self, version: VideoVersion, content: Content) -> None:
        """Raise ContentChanged if the bytes come under another than *version*.

        GET may show another tag than HEAD did. What was begun is let go.
        """
        if content.version == version:
            return
        with _in_words():
            self._store.abandon(version)
        raise ContentChanged("its bytes come as another version than was told")


def not_kept(rows: Mapping[str, Status], kept: Collection[Kept]) -> dict[str, Status]:
    """Those of *rows*, of a list, by id, that no video of *kept* is surely the same as."""
    made_at: dict[str, set[float | None]] = {}
    for one in kept:
        if one.is_sealed:
            made = made_at.setdefault(one.version.video_id, set())
            made.add(one.header.completed_at)
    return {
        video_id: row
        for video_id, row in rows.items()
        if row.completed_at_seconds is None
        or row.completed_at_seconds not in made_at.get(video_id, ())
    }


def _is_same(kept: Kept, content: Content) -> bool:
    """Whether *kept* has the version of *content*, as far as is told before its bytes.

    HEAD may tell no tag where GET does: then equal sizes and times decide. A server that
    tells neither has no version but the size, or its video would be kept anew each time.
    """
    version = kept.version
    if version == content.version:
        return True
    mine = (version.endpoint, version.video_id, version.size_bytes)
    theirs = (content.endpoint, content.video_id, content.size_bytes)
    if mine != theirs or content.validator.etag is not None:
        return False
    if not content.is_dated:
        return version.validator.etag is None
    return kept.header.completed_at == content.completed_at and (
        version.validator.last_modified == content.validator.last_modified
    )


@contextlib.contextmanager
def _in_words() -> Iterator[None]:
    """Turn what the disk raises into words."""
    try:
        yield
    except NoHeader as error:
        raise HingError("its id or its ETag is too long to be kept") from error
    except OSError as error:
        raise HingError(f"it cannot be kept: {error.strerror or error}") from error
