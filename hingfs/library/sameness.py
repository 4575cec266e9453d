"""Whether the server still has the version that is known, or another by the same name.

Decides by its facts, and where no validator tells, by its first bytes or its time. Leaves
to `shifting` what it means that validators contradict one another, and to `versions`
what becomes of a version that was replaced.

Threads: those of `lookups`; it keeps no state of its own.
"""

from ..api.judgement.verdict import Facts
from ..api.metadata import Probe, VideoMetadata
from ..api.shifting import SAMPLE
from ..fetch.spool_store import SpoolStore
from ..version import Content
from .known import VideoFile


class Sameness:
    """Compares files with what the server says of them. Thread safety: all methods."""

    def __init__(self, metadata: VideoMetadata, spools: SpoolStore) -> None:
        self._metadata = metadata
        self._spools = spools

    def is_confirmed(self, file: VideoFile) -> bool:
        """Whether the server still has the version of *file*, as far as reads can tell.

        A version that it has replaced is marked as that.
        """
        content = file.content
        if not self._is_confirmed_by_status(file):
            facts = self._metadata.refresh(content)
            if facts is not None and not self.is_same(file, facts):
                content.replaced()
        return not content.changed  # a read may have seen it meanwhile

    def is_same(self, file: VideoFile, facts: Facts) -> bool:
        """Whether *facts* are those of *file*, or of one whose validators shift."""
        content = file.content
        if not _agrees(content, facts):
            alike = not content.changed and facts.size_bytes == content.size_bytes
            if not (
                alike and self._metadata.validators.shifts(content, [facts.validator])
            ):
                return False
        told = content.validator.compares_with(facts.validator)
        unproved = content.unproved or not told
        return not (unproved and self._is_another(file))

    def _is_confirmed_by_status(self, file: VideoFile) -> bool:
        """Whether the status tells that *file* is the same; only asked where that pays.

        That is where the content's own facts cost the whole of it.
        """
        if self._metadata.sizes_are_cheap:
            return False
        return self._has_time_of(file) is True

    def _is_another(self, file: VideoFile) -> bool:
        """Whether the server has another *file* now, of which its facts do not tell.

        What is held of its bytes decides, else the time that its status tells.
        """
        held = self._spools.first_bytes(file.content, SAMPLE.stop)
        differs = self._metadata.validators.differs(file.content, held)
        return self._has_time_of(file) is False if differs is None else differs

    def _has_time_of(self, file: VideoFile) -> bool | None:
        """Whether the status tells the time of *file*; None if it tells none."""
        seconds = self._metadata.completed_at(file.video_id)
        return None if seconds is None else int(seconds * 1e9) == file.mtime_ns


def is_disproved(file: VideoFile | None, probe: Probe) -> bool:
    """Whether *probe* names the very version of *file* that a read found to be another."""
    if file is None or not file.content.changed:
        return False
    content, facts = file.content, probe.facts
    return content.size_bytes == facts.size_bytes and (
        content.validator == facts.validator
    )


def _agrees(content: Content, facts: Facts) -> bool:
    return (
        not content.changed
        and facts.size_bytes in (None, content.size_bytes)
        and not content.contradicted_by(facts.validator)
    )
