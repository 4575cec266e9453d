"""What the server told of the version of a file, asked for once.

Decides when the status route is asked for it. Leaves to `described` what is remembered,
and to `versions` whether an answer is about that version.

Threads: requests run on the threads of `lookups`; any thread may call any method.
"""

import contextlib
from functools import partial

from ..errors import HingError
from .copies import Copies
from .crowd import Crowd
from .described import Described
from .details import Details
from .known import KnownVideos, VideoFile
from .lookups import Lookups
from .versions import Versions


class Telling:
    """What was told of files. Thread safety: all methods."""

    def __init__(
        self,
        described: Described,
        known: KnownVideos,
        copies: Copies,
        *,
        versions: Versions,
        lookups: Lookups,
        crowd: Crowd,
    ) -> None:
        self._described = described
        self._known = known
        self._copies = copies
        self._versions = versions
        self._lookups = lookups
        self._crowd = crowd

    def details_of(self, file: VideoFile, seconds: float) -> Details:
        """As `Catalog.details_of`, within *seconds*."""
        details = self._described.recall(file)
        if details is not None:
            return details
        known = self._known.file(file.video_id)
        if known is not file and self._copies.file(file.video_id, known) is file:
            return self._described.settle_for_now(file)
        self._described.want()
        with self._crowd.call(seconds) as deadline:
            try:
                return self._lookups.result(
                    f"{file.video_id}\0details",  # which is no id
                    deadline,
                    partial(self._versions.describe, file),
                )
            except HingError:
                if self._copies.file(file.video_id, file) is None:
                    raise
        return self._described.settle_for_now(file)

    def note_kept(self, file: VideoFile, seconds: float) -> None:
        """As `Catalog.note_kept`; waits at most *seconds* for the server."""
        with contextlib.suppress(HingError):
            self.details_of(file, seconds)
            self._described.note_copy(file)
