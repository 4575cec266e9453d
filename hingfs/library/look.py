"""What one look at a video has shown, to whom wants to know what it is. Pure.

Decides which of two sources tells a fact: the status of just now, or what was told
earlier. Leaves to `catalog` how a look is made.
"""

from dataclasses import dataclass

from ..api.judgement.description import Description
from ..api.judgement.video_status import Status
from ..errors import HingError
from .details import Details
from .known import VideoFile


@dataclass(frozen=True, slots=True)
class Look:
    """What the server told of a video just now, or else what is known of it.

    *video_id* is None for a name that no video can have. *error* says why its bytes are
    not served, None if they are. *file* is then what was known, or what is kept, if
    anything is; it may also be None if only all of its bytes would tell more. *status* is `UNSAID` if the status route told nothing. *prompt* is whole
    in *details* if the status told it.
    """

    video_id: str | None
    status: Status
    file: VideoFile | None
    details: Details
    error: HingError | None = None

    @property
    def is_recalled(self) -> bool:
        """Whether all that is known of it was told earlier."""
        return self.error is not None and not self.status.word


def joined(status: Status, recalled: Details) -> Details:
    """What *status* tells of a video, and from *recalled* what it does not tell."""
    told = status.description or Description()
    return Details(
        model=told.model or recalled.model,
        prompt=told.prompt or recalled.prompt,
        seconds=told.seconds or recalled.seconds,
        resolution=told.resolution or recalled.resolution,
        created_at=status.created_at_seconds or recalled.created_at,
        completed_at=status.completed_at_seconds or recalled.completed_at,
        expires_at=status.expires_at_seconds or recalled.expires_at,
        etag=recalled.etag,
    )
