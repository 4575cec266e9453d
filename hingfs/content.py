"""What a process has learnt about serving one version of a video.

A `Content` is the one object of a sighting, and changes; its `version` is a value.
Decides which version that is, and which of its facts an answer may change. Leaves to
`api` what an answer means, and to `library.sameness` when two sightings are of one
version.

After a change, a new open gets the new version. An open handle reads what is in memory
of its own version, or fails with ContentChanged; blocks of two versions never meet.

Threads: none of its own; any thread may call any method.
"""

import secrets
import threading

from .version import BlockKey, Validator, VideoVersion


class Content:
    """A process's one object of a version that it sees, and what it learnt about it.

    Two sightings are two objects and compare unequal; their versions may be equal. State
    changes only by the methods named for what happened. Every property may be read
    without the lock.

    A content is *shifting* if its validators contradict one another. Then one whole
    answer holds its bytes, and no range of another answer counts. Bytes that were handed
    out by ranges before must be proved to be in that answer: see `hand_out`. A content
    is *recurring* if its own validator comes again among others. Then it goes on by the
    ranges that come under its validator, and other answers are asked for again.
    """

    __slots__ = (
        "__weakref__",
        "_before",
        "_changed",
        "_earlier",
        "_etag_proves",
        "_former_etag",
        "_handed_out",
        "_lock",
        "_odd_coding",
        "_odd_type",
        "_ranges",
        "_recurring",
        "_seeks",
        "_shifting",
        "_sighting",
        "_size_bytes",
        "_used",
        "_validator",
        "_version",
        "completed_at",
        "endpoint",
        "video_id",
    )

    def __init__(
        self,
        endpoint: str,
        video_id: str,
        size_bytes: int,
        validator: Validator,
        *,
        ranges: bool | None = None,
        odd_type: str | None = None,
        odd_coding: str | None = None,
        completed_at: float | None = None,
    ) -> None:
        # The three are never assigned again.
        self.endpoint = endpoint
        self.video_id = video_id
        self.completed_at = completed_at  # Unix seconds, if the server told
        # Guards every write below, and each read that decides about a write; no I/O.
        self._lock = threading.Lock()
        self._size_bytes = size_bytes
        self._validator = validator
        self._ranges = ranges
        self._odd_type = odd_type
        self._odd_coding = odd_coding
        self._changed = False
        self._shifting = False
        self._recurring = False
        self._handed_out = False
        # Invariant: once False, it stays False. Else a tag could come to stand for
        # blocks that came without one.
        self._etag_proves = True
        self._former_etag: str | None = None  # of the version before, if it is known
        # Its size, when it was completed, and its validator.
        self._before: tuple[int, float | None, Validator] | None = None
        self._seeks = True  # a sighting that lies on disk; only ever unset
        # Drawn when it is needed, and again where other answers bring the bytes.
        self._sighting: int | None = None
        # Whether a whole answer, or another process, brought what is kept under it.
        self._used = False
        # Made when it is needed: most known videos are never read.
        self._version: VideoVersion | None = None
        self._earlier: tuple[VideoVersion, ...] = ()  # blocks may be kept under them

    # -- what is known -----------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """How long the file is; negative until that is known."""
        return self._size_bytes

    @property
    def validator(self) -> Validator:
        """The validator that an answer with these bytes shows."""
        return self._validator

    @property
    def version(self) -> VideoVersion | None:
        """The value under which blocks are kept; None while the size is unknown.

        The tag of HEAD counts until an answer to GET brings bytes: no block is kept yet,
        and the tag finds those of an earlier sighting. Then the tag of GET counts. The
        version has a sighting, for good, once its tag proves nothing: an answer brought
        bytes without a tag, the validators are shifting, or the same tag stood above
        other bytes of the video before.
        """
        version = self._version
        if version is None and self._size_bytes >= 0:
            with self._lock:
                version = self._version = self._version or self._make_version_locked()
        return version

    def block_key(self, index: int) -> BlockKey:
        """The key of block *index* in the cache, for a file whose size is known."""
        version = self._version or self.version
        assert version is not None, "only a file of known size has blocks"
        return version.key, index

    @property
    def versions(self) -> list[VideoVersion]:
        """The versions under which its blocks may be kept, latest first."""
        version = self.version
        latest = () if version is None else (version,)
        return [*latest, *reversed(self._earlier)]

    @property
    def ranges(self) -> bool | None:
        """True once a Range request brought 206, False once one was ignored, None before.

        It never turns None again, and False stays.
        """
        return self._ranges

    @property
    def odd_type(self) -> str | None:
        """A content type of no video under which a container's first bytes came, if any.

        Bytes of that type are not refused.
        """
        return self._odd_type

    @property
    def odd_coding(self) -> str | None:
        """A content coding that answers name and their bytes do not have, if any.

        So ranges are ranges of the file.
        """
        return self._odd_coding

    @property
    def changed(self) -> bool:
        """True, for good, once the server has shown other bytes."""
        return self._changed

    @property
    def shifting(self) -> bool:
        """Whether its validators contradict one another, so that one answer holds it."""
        return self._shifting

    @property
    def recurring(self) -> bool:
        """Whether its validator comes again among other ones."""
        return self._recurring

    @property
    def handed_out(self) -> bool:
        """Whether a program has had bytes that came by ranges."""
        return self._handed_out

    @property
    def is_explained(self) -> bool:
        """Whether it is known why answers come under other validators."""
        return self._shifting or self._recurring

    @property
    def unproved(self) -> bool:
        """Whether no validator tells these bytes from others."""
        bare = self._validator == Validator() and self._ranges is not False
        return self._shifting or bare

    @property
    def etag_proves(self) -> bool:
        """Whether its strong tag tells these bytes from all others of the video."""
        etag = self._validator.etag
        return self._etag_proves and (etag is None or etag != self._former_etag)

    @property
    def is_like_before(self) -> bool:
        """Whether nothing that is told of it differs from the version known before it.

        Then a sighting on disk that looks like it may be of that version.
        """
        if self._before is None:
            return False
        size_bytes, completed_at, validator = self._before
        if (size_bytes, completed_at) != (self._size_bytes, self.completed_at):
            return False
        return not self.contradicted_by(validator)

    @property
    def is_dated(self) -> bool:
        """Whether a time tells its version from earlier and later ones of the video."""
        dated = not self._shifting and self._validator.last_modified is not None
        return dated or self.completed_at is not None

    @property
    def seeks_sighting(self) -> bool:
        """Whether it may take up a sighting that lies on disk: it has none of its own."""
        drawn = self._version is not None or self._sighting is not None
        if drawn or self.is_like_before or self._is_proved:
            return False
        return self._seeks and self._size_bytes >= 0

    def contradicted_by(self, seen: Validator) -> bool:
        """Whether *seen* certainly belongs to other bytes."""
        return not self._shifting and self._validator.contradicts(seen)

    # -- what happened -----------------------------------------------------------------

    def measured(self, size_bytes: int) -> None:
        """The whole file has arrived, whose size was not known: *size_bytes*."""
        with self._lock:
            self._size_bytes = size_bytes
            self._version = None

    def take_up(self, version: VideoVersion) -> None:
        """*version*, which some process left whole, is what the server has."""
        with self._lock:
            if self.seeks_sighting:
                self._version, self._sighting = version, version.sighting
                self._used = True

    def take_up_none(self) -> None:
        """*completed_at* may be that of another version: no sighting on disk counts."""
        with self._lock:
            self._seeks = False

    def comes_after(self, before: "Content") -> None:
        """*before*, another version, was known of the video until now."""
        with self._lock:
            self._former_etag = before.validator.etag
            told = before.size_bytes, before.completed_at, before.validator
            self._before = told
            if not before.etag_proves:
                self._distrust_etag_locked()

    def ranges_served(self) -> bool:
        """A Range request brought its range; returns whether that is news."""
        if self._ranges is None:
            with self._lock:
                if self._ranges is None:
                    self._ranges = True
                    return True
        return False

    def ranges_ignored(self) -> None:
        """A Range request brought the whole file: that of one answer, from here on."""
        with self._lock:
            news, self._ranges = self._ranges is not False, False
            if news and not self._is_proved:
                self._draw_again_locked()

    def odd_type_seen(self, odd_type: str) -> None:
        """The first bytes, under *odd_type*, are those of a container."""
        with self._lock:
            self._odd_type = odd_type

    def learn(self, seen: Validator) -> bool:
        """Take up *seen*, of an answer to GET; False if it is of other bytes.

        If the content had no entity tag, it takes the tag of *seen*: HEAD may show none,
        and one answer may have lost it. Bytes of an answer without a tag count as these
        for this process, and prove nothing to others.
        """
        with self._lock:
            if self.contradicted_by(seen):
                return False
            if seen.etag is None:
                self._distrust_etag_locked()
            elif self._validator.etag is None:
                self._validator = Validator(seen.etag, self._validator.last_modified)
                if self._etag_proves:
                    self._version = None  # nothing is kept under it yet
        return True

    def comes_anew(self) -> None:
        """A download of all of it begins, which may bring other bytes than the one before.

        Without a tag that proves them, they shall not meet on disk.
        """
        with self._lock:
            if self._used and not self._is_proved:
                self._version, self._sighting = None, _drawn()
            self._used = True

    def hand_out(self) -> bool:
        """Note that bytes that came by ranges are handed out; False if they may not be."""
        if not self._handed_out or self._shifting:
            with self._lock:
                self._handed_out |= not self._shifting
                return not self._shifting
        return True

    def take_whole(self) -> bool:
        """From here on one whole answer holds it; returns whether that is news."""
        with self._lock:
            news, self._shifting = not self._shifting, True
            self._ranges = False
            if news:
                self._etag_proves = False
                self._draw_again_locked()
        return news

    def keep_to_ranges(self) -> bool:
        """Go on by ranges, if some were handed out; returns whether it does."""
        with self._lock:
            self._recurring = self._handed_out and not self._shifting
            return self._recurring

    def taken_from(self, validator: Validator) -> bool:
        """A whole answer with *validator* holds it; False if that is of other bytes."""
        with self._lock:
            if self._shifting:
                self._validator = validator
                self._version = None  # nothing is kept under it
                return True
        return self.learn(validator)

    def found_changed(self) -> None:
        """The server sent other bytes, or bytes that cannot be proved to be these."""
        with self._lock:
            self._changed = True

    def replaced(self) -> None:
        """The server has settled on other bytes."""
        with self._lock:
            self._changed, self._shifting = True, False

    @property
    def _is_proved(self) -> bool:
        return self.etag_proves and self._validator.etag is not None

    def _make_version_locked(self) -> VideoVersion:
        proved = self._is_proved
        if not proved and self._sighting is None:
            self._sighting = _drawn()
        return VideoVersion(
            self.endpoint,
            self.video_id,
            self._size_bytes,
            self._validator,
            None if proved else self._sighting,
        )

    def _distrust_etag_locked(self) -> None:
        self._etag_proves = False
        if self._version is not None and self._version.sighting is None:
            self._retire_version_locked()

    def _draw_again_locked(self) -> None:
        """Have what comes from here on meet no block that is kept."""
        if self._version is not None or self._sighting is not None:
            self._retire_version_locked()
            self._sighting = _drawn()

    def _retire_version_locked(self) -> None:
        """Have a new version made; blocks may be kept under the present one."""
        if self._version is not None:
            self._earlier += (self._version,)
            self._version = None


def _drawn() -> int:
    return secrets.randbits(63)  # as a database's integer holds
