"""The kept copies of one endpoint's videos, as files.

A copy stands for its video while the server does not serve that: it is gone, the token is
refused, or the server is away. Decides which file that is. Leaves to `cache.kept` which
copies there are, and to `catalog` when one is wanted.

Threads: any thread may call any method. Each may look at the disk, and gives up on one
that hangs.
"""

import contextlib
import threading

from ..cache.kept import KeptStore
from ..cache.kept_files import Kept
from ..content import Content
from .known import VideoFile
from .names import full_name_of, inode_of, name_of


class Copies:
    """The copies in *store* of the videos at *endpoint*. Thread safety: all methods."""

    def __init__(self, store: KeptStore | None, endpoint: str) -> None:
        self._store = store
        self._endpoint = endpoint
        self._lock = threading.Lock()  # guards the table below; no I/O under it
        # By video id: one content for all who read a copy.
        self._files: dict[str, VideoFile] = {}

    def file(self, video_id: str, known: VideoFile | None = None) -> VideoFile | None:
        """The file of the copy of *video_id*, if there is one.

        It is the *known* one, if that has the same version and has not changed.
        """
        if self._store is None:
            return None
        kept = self._store.copy_of(self._endpoint, video_id)
        if kept is None:
            return None
        if known is not None and is_of(known, kept):
            return known
        with self._lock:
            file = self._files.get(video_id)
            if file is None or not is_of(file, kept):
                file = self._files[video_id] = _file_of(kept)
        return file

    def told_of(self, file: VideoFile) -> str | None:
        """The text that lies beside the copy of *file*, if there is one."""
        kept = self._kept(file)
        if kept is None or self._store is None:
            return None
        return self._store.told_of(kept)

    def tell_of(self, file: VideoFile, text: str) -> None:
        """Have *text* lie beside the copy of *file*, if there is one. Does I/O."""
        kept = self._kept(file)
        if kept is not None and self._store is not None:
            with contextlib.suppress(OSError):  # the facts have it, for a while
                self._store.tell_of(kept, text)

    def _kept(self, file: VideoFile) -> Kept | None:
        """The copy of the version of *file*."""
        if self._store is None:
            return None
        kept = self._store.copy_of(self._endpoint, file.video_id)
        return kept if kept is not None and is_of(file, kept) else None

    def ids(self) -> list[str]:
        """The ids of all videos that have a copy."""
        if self._store is None:
            return []
        return [
            kept.version.video_id
            for kept in self._store.videos()
            if kept.is_sealed and kept.version.endpoint == self._endpoint
        ]

    def id_of(self, name: str) -> str | None:
        """The id of a video with a copy, which *name*, full or short, stands for."""
        for video_id in self.ids():
            if name in {name_of(video_id), full_name_of(video_id)}:
                return video_id
        return None

    def served(self, file: VideoFile) -> None:
        """The server has *file*: a copy of another version stands for it no more."""
        with self._lock:
            copy = self._files.get(file.video_id)
            if copy is None or copy.content is file.content:
                return
            del self._files[file.video_id]
        if copy.content.version != file.content.version:
            copy.content.found_changed()  # the name has one size


def is_of(file: VideoFile, kept: Kept) -> bool:
    """Whether *kept* has the version of *file*, by all that the server tells of that."""
    content = file.content
    if content.changed:
        return False
    if content.seeks_sighting and kept.header.tells(content):
        content.take_up(kept.version)
    return not content.seeks_sighting and content.version == kept.version


def _file_of(kept: Kept) -> VideoFile:
    version = kept.version
    content = Content(
        version.endpoint,
        version.video_id,
        version.size_bytes,
        version.validator,
        completed_at=kept.header.completed_at,
    )
    if version.sighting is not None:
        content.take_up(version)
    video_id = version.video_id
    return VideoFile(video_id, content, kept.mark.mtime_ns, inode_of(video_id))
