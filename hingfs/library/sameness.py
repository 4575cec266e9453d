"""Whether the server still has the known version of a video, or another one.

Decides by the facts of the content; if no validator tells, by the first bytes, where they
cost no more than that, or by the time of the status. Leaves to `shifting` what
contradicting validators mean, and to `versions` what becomes of a version that was
replaced.

Threads: those of `lookups`; it keeps no state of its own.
"""

from ..api.judgement.verdict import Facts
from ..api.metadata import Probe, VideoMetadata
from ..api.shifting import SAMPLE
from ..content import Content
from ..fetch.spool_store import SpoolStore
from ..version import Validator
from .known import VideoFile


class Sameness:
    """Compares known files with the server's. Thread safety: all methods."""

    def __init__(self, metadata: VideoMetadata, spools: SpoolStore) -> None:
        self._metadata = metadata
        self._spools = spools

    def is_confirmed(self, file: VideoFile) -> bool:
        """Whether the server still has the version of *file*.

        Asks the server; marks a version that it has replaced.
        """
        content = file.content
        if not self._is_confirmed_by_status(file):
            facts = self._metadata.refresh(content)
            if facts is not None and not self.is_same(file, facts):
                content.replaced()
        return not content.changed  # a read may have found that out meanwhile

    def is_same(self, file: VideoFile, facts: Facts) -> bool:
        """Whether *facts* are those of *file*, or of one whose validators shift."""
        content = file.content
        if not _agrees(content, facts):
            alike = not content.changed and facts.size_bytes == content.size_bytes
            if not (
                alike and self._metadata.validators.shifts(content, [facts.validator])
            ):
                return False
        # A content without a validator is `unproved`, unless a sample costs all of it.
        untold = content.validator != Validator() and (
            not content.validator.compares_with(facts.validator)
        )
        if content.unproved or untold:
            return not self._is_another(file)
        if content.validator == Validator():  # a sample would cost all of it
            return self._has_time_of(file) is not False
        return True

    def _is_confirmed_by_status(self, file: VideoFile) -> bool:
        """Whether the status shows that *file* is the same.

        Asks only where the facts of the content would cost all of its bytes.
        """
        if not self._metadata.sizes_cost_all:
            return False
        return self._has_time_of(file) is True

    def _is_another(self, file: VideoFile) -> bool:
        """Whether the server has other bytes now, though no validator tells.

        The bytes that are held of *file* decide, else the time in the status.
        """
        held = self._spools.first_bytes(file.content, SAMPLE.stop)
        differs = self._metadata.validators.differs(file.content, held)
        return self._has_time_of(file) is False if differs is None else differs

    def _has_time_of(self, file: VideoFile) -> bool | None:
        """Whether the status has the time of *file*; None if it has no time."""
        seconds = self._metadata.completed_at(file.video_id)
        return None if seconds is None else int(seconds * 1e9) == file.mtime_ns


def is_disproved(file: VideoFile | None, probe: Probe) -> bool:
    """Whether *probe* shows the version of *file* that a read found to have changed."""
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
