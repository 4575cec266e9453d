"""What the directory shows: the list, what was opened, and what is kept.

Decides what stands in for a list that does not come. Leaves to `listing` what the API
lists, and how long that is fresh.

Threads: any thread may call any method; the list is read on those of `lookups`.
"""

from ..api.judgement.video_status import Status
from ..api.metadata import VideoMetadata
from ..cache.tiers import Tiers
from ..errors import AccessDenied, TransportError
from .copies import Copies
from .known import Known, KnownVideos
from .listing import VideoList
from .names import inode_of, name_of


class Shown:
    """The videos that a directory shows. Thread safety: all methods."""

    def __init__(
        self,
        metadata: VideoMetadata,
        video_list: VideoList,
        known: KnownVideos,
        tiers: Tiers,
        copies: Copies,
    ) -> None:
        self._metadata = metadata
        self._list = video_list
        self._known = known
        self._tiers = tiers
        self._copies = copies

    def entries(self, deadline: float) -> list[tuple[str, int]]:
        """As `Catalog.listing`, by *deadline* (monotonic)."""
        copies = self._copies.ids()
        shown: list[str] = []
        try:
            shown = self._list.shown(deadline)
        except AccessDenied:
            if not copies:
                raise
        except TransportError:
            if not self._metadata.is_away:
                raise
            shown = self._shown_while_away()
            if not (shown or copies):
                raise
        return sorted(
            (name_of(video_id), inode_of(video_id))
            for video_id in {*self._known.opened_ids(), *shown, *copies}
        )

    def rows(self, deadline: float) -> dict[str, Status]:
        """As `Catalog.rows_to_keep`, by *deadline* (monotonic)."""
        shown = self._list.shown(deadline)
        latest = self._list.latest
        rows = latest.rows if latest is not None else {}
        return {video_id: rows[video_id] for video_id in shown if video_id in rows}

    def _shown_while_away(self) -> list[str]:
        """The known videos that a listing may show while the API is away.

        Those of the last listing, those that lie whole on disk, and those that no listing
        tells of and whose link has not expired. Does I/O.
        """
        return [
            known.file.video_id
            for known in self._known.all_unchanged()
            if known.opened or self._is_shown_while_away(known)
        ]

    def _is_shown_while_away(self, known: Known) -> bool:
        file = known.file
        showed = self._list.showed(file.video_id, file.mtime_ns)
        if showed or (showed is None and not self._known.has_expired(known)):
            return True
        return self._tiers.lies_whole(file.content)
