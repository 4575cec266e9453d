"""What is said of one video: in words for people, in fields for programs.

Decides the word for each state, and which of what is known is told. The fields and the
words of `status` stay as they are: programs rely on them. Pure, but for a look at the files
of a kept video.
"""

from dataclasses import dataclass

from ..api.judgement import wording
from ..api.judgement.video_status import State
from ..cache.kept_files import Kept
from ..cache.stock import Stocked
from ..errors import (
    AccessDenied,
    HingError,
    Unreachable,
    VideoFailed,
    VideoNotFound,
    VideoNotReady,
    VideoNotServed,
    plain,
    printable,
)
from ..library.copies import is_of
from ..library.look import Look
from ..units import rounded_size
from . import batch, kept
from .tables import minute

LABEL_CELLS = len("resolution")  # of the longest label
_MINUTE, _HOUR, _DAY = 60, 3600, 86_400


@dataclass(frozen=True, slots=True)
class Seen:
    """One video of *api*: what a look has shown, and what of it is here."""

    api: str
    said: str
    look: Look
    cached: Stocked | None
    kept: Kept | None
    mounted_as: str | None  # a path, if the API is mounted
    looked_at: float  # Unix seconds

    @property
    def video_id(self) -> str:
        """Its id, or the word of which no id can be made."""
        return self.look.video_id or self.said

    @property
    def is_kept(self) -> bool:
        """Whether all of it is kept."""
        return self.kept is not None and self.kept.is_sealed

    @property
    def has_expired(self) -> bool:
        """Whether its link has."""
        at = self.look.details.expires_at
        return at is not None and at <= self.looked_at

    @property
    def size_bytes(self) -> int | None:
        """Its size, if that is known."""
        if self.look.file is not None and self.look.file.content.size_bytes >= 0:
            return self.look.file.content.size_bytes
        here = self.kept or self.cached
        return here.version.size_bytes if here is not None else None

    @property
    def cached_bytes(self) -> int:
        """How much of this version lies in the disk cache."""
        if self.cached is None:
            return 0
        version, file = self.cached.version, self.look.file
        if file is not None and (
            file.content.size_bytes != version.size_bytes
            or file.content.contradicted_by(version.validator)
        ):
            return 0
        return self.cached.here_bytes

    @property
    def kept_bytes(self) -> int:
        """How much is here of the version that is kept, or on its way to it."""
        return kept.here_bytes(self.kept) if self.kept is not None else 0

    @property
    def path(self) -> str | None:
        """Its path in the mount of the API, unless there is nothing to read, ever."""
        lost = isinstance(self.look.error, VideoNotFound | VideoFailed)
        return None if lost and not self.is_kept else self.mounted_as

    @property
    def failure(self) -> HingError | None:
        """Why it cannot be told what the video is; None if it is told.

        That a video is not ready, or failed, is told, and so is that it is gone and kept.
        """
        error = self.look.error
        if isinstance(error, VideoNotReady | VideoFailed):
            return None
        return None if isinstance(error, VideoNotFound) and self.is_kept else error


# -- for programs ----------------------------------------------------------------------


def as_json(seen: Seen) -> dict[str, object]:
    """The fields of *seen*, null where something is not told."""
    look, details = seen.look, seen.look.details
    return {
        "video": seen.video_id,
        "api": seen.api,
        "status": _status_name(seen),
        "word": look.status.word or None,
        "progress": 1.0 if look.error is None else look.status.progress,
        "error": None if look.error is None else str(look.error),
        "recalled": look.is_recalled,
        "model": details.model,
        "prompt": details.prompt,
        "seconds": details.seconds,
        "resolution": details.resolution,
        "size_bytes": seen.size_bytes,
        "created_at": details.created_at,
        "completed_at": details.completed_at,
        "expires_at": details.expires_at,
        "etag": details.etag,
        "cached_bytes": seen.cached_bytes,
        "kept_bytes": seen.kept_bytes,
        "kept": seen.is_kept,
        "path": seen.path,
    }


def _status_name(seen: Seen) -> str:
    if seen.look.error is None:
        return "ready"
    if isinstance(seen.look.error, VideoNotFound) and seen.has_expired:
        return "expired"
    return batch.outcome_of(seen.look.error)


# -- for people ------------------------------------------------------------------------


def rows(seen: Seen) -> list[tuple[str, str]]:
    """The label and the text of each thing that is known of *seen*.

    No text has control characters, but for the line ends of the prompt.
    """
    details = seen.look.details
    told = (
        ("status", _status(seen)),
        ("known", _source(seen)),
        ("path", plain(seen.path or "")),
        ("model", details.model or ""),
        ("length", f"{details.seconds:g} s" if details.seconds else ""),
        ("resolution", details.resolution or ""),
        ("size", _size(seen.size_bytes)),
        ("created", _time(details.created_at)),
        ("completed", _time(details.completed_at)),
        ("expires", _expiry(details.expires_at, seen.looked_at)),
        ("etag", details.etag or ""),
        ("cached", _cached(seen)),
        ("kept", _kept(seen)),
        ("prompt", details.prompt or ""),
    )
    return [(label, text) for label, text in told if text]


def _status(seen: Seen) -> str:
    error = seen.look.error
    if error is None:
        return "ready"
    if isinstance(error, VideoNotReady):
        return _unready(seen.look, error)
    if isinstance(error, VideoFailed):
        return f"failed: {seen.look.status.reason or printable(error)}"
    known = seen.look.file or seen.kept or seen.cached or seen.look.status.word
    word, reason = "unknown", f": {printable(error)}"
    if isinstance(error, VideoNotFound):
        gone = "gone" if known else "no such video"
        word, reason = "expired" if seen.has_expired else gone, ""
    elif isinstance(error, AccessDenied):
        word = "refused"
    elif isinstance(error, Unreachable):
        word = "unreachable"
    return f"{word} (kept here){reason}" if seen.is_kept else f"{word}{reason}"


def _unready(look: Look, error: VideoNotReady) -> str:
    status = look.status
    if isinstance(error, VideoNotServed):
        return "completed, and not served yet"
    if status.state is not State.NOT_READY:
        return f"not ready: {printable(error)}"
    word = "queued" if status.word in wording.QUEUED_WORDS else "rendering"
    return f"{word} {status.progress * 100:.0f} %" if status.progress else word


def _source(seen: Seen) -> str:
    """Where the rest comes from, if it is not from the server just now."""
    look = seen.look
    if not look.is_recalled or not (look.file or seen.kept or seen.cached):
        return ""
    return "from earlier, since the server tells nothing of it now"


def _size(size_bytes: int | None) -> str:
    if size_bytes is None:
        return ""
    return f"{rounded_size(size_bytes)} ({size_bytes:,} bytes)"


def _time(at: float | None) -> str:
    return "" if at is None else minute(at)


def _expiry(at: float | None, now: float) -> str:
    if at is None:
        return ""
    span = _span(abs(at - now))
    return f"{minute(at)}, {f'in {span}' if at > now else f'{span} ago'}"


def _span(seconds: float) -> str:
    """About *seconds*, for people."""
    for size, unit in ((_DAY, "days"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cached(seen: Seen) -> str:
    if seen.look.file is None and not seen.cached_bytes:
        return ""
    return _how_much(seen.cached_bytes, seen.size_bytes or 0) or "no"


def _kept(seen: Seen) -> str:
    if seen.kept is None:
        return "" if seen.look.file is None else "no"
    if not seen.is_kept:
        size_bytes = seen.kept.version.size_bytes
        return f"{_how_much(seen.kept_bytes, size_bytes) or 'nothing'} so far"
    file, since = seen.look.file, minute(seen.kept.mark.begun_at)
    served = seen.look.error is None and file is not None
    other = served and file is not None and not is_of(file, seen.kept)
    return f"{'another version' if other else 'whole'}, since {since}"


def _how_much(here_bytes: int, size_bytes: int) -> str:
    if not here_bytes:
        return ""
    part = "all" if here_bytes == size_bytes else rounded_size(here_bytes)
    return f"{part} of {rounded_size(size_bytes)}"
