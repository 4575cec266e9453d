"""Looks at videos, ready or not, for people and programs that want to know what they are.

Decides what is asked for a look, and what of earlier answers is shown beside it. Leaves to
`look` which of them tells a fact, and to `versions` which version the server has.

Threads: requests run on the threads of `lookups`; any thread may call any method.
"""

from dataclasses import replace
from functools import partial

from ..api.judgement.video_status import UNSAID, State, Status
from ..api.metadata import VideoMetadata
from ..errors import HingError
from .copies import Copies
from .described import Described, told_by
from .details import Details, details_of
from .known import KnownVideos, VideoFile
from .look import Look, joined
from .lookups import Lookups
from .versions import Versions, has_time_of


class Looks:
    """Looks at the videos of one endpoint. Thread safety: all methods.

    What the server confirmed less than *confirmed_seconds* ago is not asked for again.
    """

    def __init__(
        self,
        metadata: VideoMetadata,
        lookups: Lookups,
        versions: Versions,
        *,
        known: KnownVideos,
        copies: Copies,
        described: Described,
        confirmed_seconds: float,
    ) -> None:
        self._metadata = metadata
        self._lookups = lookups
        self._known = known
        self._copies = copies
        self._described = described
        self._versions = versions
        self._confirmed_seconds = confirmed_seconds

    def look_at(self, video_id: str, deadline: float) -> Look:
        """What *video_id* is now, and how far it has come, by *deadline* (monotonic).

        The status route is asked, and the content of a finished video, unless the server
        confirmed that a moment ago, or sends all of it to tell its size: then no file
        may be known of it. No copy stands for the video. Raises nothing.
        """
        file, recalled = self._recalled(video_id)
        status, now = UNSAID, None
        try:
            told = self._lookups.result(
                f"{video_id}\0status",  # which is no id
                deadline,
                partial(self._metadata.told, video_id),
            )
            status = told or UNSAID
            now = self._served(video_id, told, deadline)
        except HingError as error:
            return Look(video_id, status, file, joined(status, recalled), error)
        if now is not None and now is not file:
            file, recalled = now, details_of(now.content)
        details = None if now is None else told_by(now.content, status)
        if now is not None and details is not None:
            self._described.settle(now, details)
        return Look(video_id, status, file, joined(status, recalled))

    def _recalled(self, video_id: str) -> tuple[VideoFile | None, Details]:
        """The file of *video_id* that is known, or kept, and what was told of it."""
        known = self._known.unchanged(video_id)
        file = known.file if known is not None else self._copies.file(video_id)
        if file is None:
            return None, Details()
        details = self._described.recall(file) or details_of(file.content)
        expires_at = details.expires_at or self._known.expires_at(video_id)
        return file, replace(details, expires_at=expires_at)

    def _served(
        self, video_id: str, told: Status | None, deadline: float
    ) -> VideoFile | None:
        """The file of *video_id*, whose status is *told*; a known one is confirmed.

        None if it is completed, and only all of its bytes would tell more. Raises as
        `Versions.confirm` does.
        """
        known = self._known.unchanged(video_id)
        if told is not None and told.state is State.READY:
            costly = self._metadata.sizes_cost_all
            sure = known is not None and (
                costly or known.confirmed_within(self._confirmed_seconds)
            )
            if known is not None and sure and has_time_of(known.file, told):
                return known.file
            if costly:
                return None
        job = partial(self._versions.confirm, video_id, told)
        return self._lookups.result(video_id, deadline, job)
