"""Which video a name of a file stands for.

A long id is cut in its name, and only the list tells which id a short name stands for.
Decides when the list is asked. Leaves to `names` how names are made.

Threads: any thread may call any method; the list is read on those of `lookups`.
"""

from collections.abc import Mapping

from ..api.metadata import VideoMetadata
from ..errors import TransportError, VideoNotFound
from .known import KnownVideos
from .listing import VideoList
from .names import ShortNames, is_short, name_of, video_id_of


class Ids:
    """The ids that names stand for. Thread safety: all methods."""

    def __init__(
        self,
        metadata: VideoMetadata,
        video_list: VideoList,
        short_names: ShortNames,
        known: KnownVideos,
    ) -> None:
        self._metadata = metadata
        self._list = video_list
        self._short_names = short_names
        self._known = known

    def of(self, name: str, deadline: float) -> str:
        """The id that *name* stands for; asks for the list if that alone can tell.

        Raises VideoNotFound if it stands for none; else raises as `listing` does.
        """
        video_id = self.at_hand(name)
        if video_id is None and is_short(name):
            video_id = self._shortened(deadline).get(name) or video_id_of(name)
        if video_id is None:
            raise VideoNotFound("no video can have this name")
        return video_id

    def _shortened(self, deadline: float) -> Mapping[str, str]:
        """The ids of all short names, of those that are known while the API is away."""
        try:
            return self._list.current(deadline).shortened
        except TransportError:
            if not self._metadata.is_away:
                raise
        known = (one.file.video_id for one in self._known.all_unchanged())
        return {name_of(video_id): video_id for video_id in known}

    def at_hand(self, name: str) -> str | None:
        """The id that *name* stands for; None if it stands for none, or the list tells."""
        literal = video_id_of(name)
        if not is_short(name):
            return literal
        video_id = self._short_names.id_of(name)
        if video_id is None and literal is not None and self._known.remembers(literal):
            return literal
        return video_id
