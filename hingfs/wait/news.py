"""What one look at a video that is waited for has shown. Pure.

Decides which outcomes end a wait: the video is ready, or never will be. All else may
pass: it is being made, the server is silent, or asks for a pause.
"""

from dataclasses import dataclass

from ..errors import (
    ContentChanged,
    HingError,
    NeverServed,
    RateLimited,
    TransportError,
    VideoNotReady,
)
from ..library.known import VideoFile

_PASSING = (VideoNotReady, TransportError, ContentChanged)


@dataclass(frozen=True, slots=True, eq=False)
class News:
    """The outcome of one look: a *file* that can be read, or the *error* in its place."""

    file: VideoFile | None = None
    error: HingError | None = None

    @property
    def is_final(self) -> bool:
        """Whether waiting for longer is pointless."""
        if isinstance(self.error, NeverServed):
            return True
        return not isinstance(self.error, _PASSING)

    @property
    def word(self) -> str:
        """The status word that the server gave; "" if none is known."""
        return self.error.word if isinstance(self.error, VideoNotReady) else ""

    @property
    def progress(self) -> float | None:
        """How much is rendered, 0.0 to 1.0; None if the server does not tell."""
        if self.file is not None:
            return 1.0
        return self.error.progress if isinstance(self.error, VideoNotReady) else None

    @property
    def pause_seconds(self) -> float | None:
        """When the server wants to be asked again; None if it does not tell."""
        if isinstance(self.error, VideoNotReady):
            return self.error.pause_seconds
        if isinstance(self.error, RateLimited):
            return self.error.retry_after_seconds
        return None
