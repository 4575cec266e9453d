"""Which bytes a video is, and what a process has learnt about serving them.

A `VideoVersion` is a value: the blocks of a video are kept under it. A `Content` is
the one object of a sighting, and changes. Decides when two sightings are of one version,
and what an answer may change in what is known of it. Leaves to `api` what an answer
means.

Threads: none; every method may be called from any thread.
"""

import secrets
import threading
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Validator:
    """What tells two versions of the same URL apart, as the server sent it.

    *etag* is a strong entity tag (weak ones promise no equal bytes, RFC 9110
    §8.8.1, and are dropped), *last_modified* the header's text; None where absent.
    """

    etag: str | None = None
    last_modified: str | None = None

    def contradicts(self, other: "Validator") -> bool:
        """Whether *other* certainly belongs to different bytes.

        Entity tags decide where both sides have one; Last-Modified otherwise.
        Nothing to compare is no contradiction.
        """
        if self.etag and other.etag:
            return self.etag != other.etag
        if self.last_modified and other.last_modified:
            return self.last_modified != other.last_modified
        return False

    def compares_with(self, other: "Validator") -> bool:
        """Whether both have what tells their bytes apart, so that one may contradict."""
        tags = self.etag and other.etag
        return bool(tags or (self.last_modified and other.last_modified))


@dataclass(frozen=True, eq=False)
class VideoVersion:
    """Which bytes a video is. All fields are plain values: it can be written down.

    Two versions with a strong entity tag are equal by endpoint, id, size, tag and
    sighting; Last-Modified does not count, for replicas differ in it. Without a tag,
    Last-Modified counts, and there is a *sighting*: a random number that one `Content`
    draws. So two sightings are equal only if one process proved it, and new bytes of the
    same size never meet old blocks. A tag that proves nothing has a sighting beside it
    as well. `Content.version` says when that is, and whose tag counts: that of HEAD or
    that of GET.

    *endpoint* is the base URL, normalised.
    """

    endpoint: str
    video_id: str
    size_bytes: int
    validator: Validator
    sighting: int | None = None

    def __post_init__(self) -> None:
        if self.size_bytes < 0:
            raise ValueError("a video of unknown size has no version")
        if self.validator.etag is None and self.sighting is None:
            raise ValueError("without an ETag only a sighting tells a version")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VideoVersion):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> tuple[type["VideoVersion"], tuple[object, ...]]:
        # Not the hash: that of a text is another one in each process.
        fields = (self.endpoint, self.video_id, self.size_bytes, self.validator)
        return VideoVersion, (*fields, self.sighting)

    @cached_property
    def _hash(self) -> int:  # a block is looked up several times on its way
        return hash(self._identity())

    def _identity(self) -> tuple[object, ...]:
        told = self.validator.etag or (self.validator.last_modified,)
        return self.endpoint, self.video_id, self.size_bytes, told, self.sighting


BlockKey = tuple[VideoVersion, int]  # with the index of the block


class Content:
    """The one object that a process has of a version it sees, and what it learnt of it.

    Two sightings are two objects and compare unequal; their versions may be equal. Its
    state changes by the methods that are named for what happened; nobody else assigns
    it. Every property may be read without the lock.

    It is *shifting* where its validators contradict one another: then it is what one
    whole answer brings, whose validator is kept, and no range of another. What was
    handed out by ranges before must be proved equal to that: see `hand_out`. Where its
    own validator comes again among the others, it is *recurring* instead: it goes on by
    the ranges that come under it, and the others are asked for again.
    """

    __slots__ = (
        "__weakref__",
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
        "_shifting",
        "_sighting",
        "_size_bytes",
        "_validator",
        "_version",
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
    ) -> None:
        # Both are never assigned again.
        self.endpoint = endpoint
        self.video_id = video_id
        # Guards every write below, and what is decided together with one; no I/O.
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
        # Invariant: False for good once it is, or a tag could come to stand for blocks
        # that came without one.
        self._etag_proves = True
        self._former_etag: str | None = None  # of the version before, if it is known
        self._sighting: int | None = None  # drawn once, when it is needed
        # Made when it is needed: most videos that are known are never read.
        self._version: VideoVersion | None = None
        self._earlier: tuple[VideoVersion, ...] = ()

    # -- what is known -----------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """How long the file is; negative until that is known."""
        return self._size_bytes

    @property
    def validator(self) -> Validator:
        """What an answer of these bytes shows."""
        return self._validator

    @property
    def version(self) -> VideoVersion | None:
        """The value under which its blocks are kept; None while its size is unknown.

        The tag that HEAD showed counts until an answer to GET brings bytes: by it the
        blocks of an earlier sighting are found, and none is kept yet. Then that of GET
        counts. It comes with a sighting, for good, where it proves nothing:
        an answer brought bytes without one, the validators are shifting, or the same
        tag stood above other bytes of the video before.
        """
        version = self._version
        if version is None and self._size_bytes >= 0:
            with self._lock:
                version = self._version = self._version or self._made_version_locked()
        return version

    def block_key(self, index: int) -> BlockKey:
        """Where the cache keeps block *index*, of a file whose size is known."""
        version = self._version or self.version
        assert version is not None, "blocks are of a file whose size is known"
        return version, index

    def block_keys(self, index: int) -> list[BlockKey]:
        """Where the cache may have block *index* of what it was so far, latest first."""
        version = self.version
        latest = () if version is None else (version,)
        return [(kept, index) for kept in (*latest, *reversed(self._earlier))]

    @property
    def ranges(self) -> bool | None:
        """True once a Range request was answered with 206, False once one was ignored.

        None before. It never turns None again, and False stays.
        """
        return self._ranges

    @property
    def odd_type(self) -> str | None:
        """The type, no video's, under which the bytes come, as was seen of the first.

        That type is no reason to refuse them.
        """
        return self._odd_type

    @property
    def odd_coding(self) -> str | None:
        """The content coding that the bytes name and do not have, as was seen.

        So ranges are of the file.
        """
        return self._odd_coding

    @property
    def changed(self) -> bool:
        """True, for good, once the server was seen to hold other bytes."""
        return self._changed

    @property
    def shifting(self) -> bool:
        """Whether its validators contradict one another, and one answer alone holds it."""
        return self._shifting

    @property
    def recurring(self) -> bool:
        """Whether its validator comes again among others."""
        return self._recurring

    @property
    def handed_out(self) -> bool:
        """Whether a program has had bytes of it that came by ranges."""
        return self._handed_out

    @property
    def is_explained(self) -> bool:
        """Whether it is known why answers come under other validators."""
        return self._shifting or self._recurring

    @property
    def unproved(self) -> bool:
        """Whether no validator tells an answer of these bytes from one of others."""
        untold = self._validator == Validator() and self._ranges is not False
        return self._shifting or untold

    @property
    def etag_proves(self) -> bool:
        """Whether a strong tag of it tells its bytes from all others of the video."""
        etag = self._validator.etag
        return self._etag_proves and (etag is None or etag != self._former_etag)

    def contradicted_by(self, seen: Validator) -> bool:
        """Whether *seen* certainly belongs to other bytes than these."""
        return not self._shifting and self._validator.contradicts(seen)

    # -- what happened -----------------------------------------------------------------

    def measured(self, size_bytes: int) -> None:
        """All of it has arrived: *size_bytes*, which nobody told before."""
        with self._lock:
            self._size_bytes = size_bytes
            self._version = None

    def comes_after(self, before: "Content") -> None:
        """*before* is the version that was known of the video, and is another one."""
        with self._lock:
            self._former_etag = before.validator.etag
            if not before.etag_proves:
                self._distrust_etag_locked()

    def ranges_served(self) -> bool:
        """A Range request was answered with its range; whether that is news."""
        if self._ranges is None:
            with self._lock:
                if self._ranges is None:
                    self._ranges = True
                    return True
        return False

    def ranges_ignored(self) -> None:
        """A Range request was answered with the whole file."""
        with self._lock:
            self._ranges = False

    def odd_type_seen(self, odd_type: str) -> None:
        """The first bytes, under *odd_type*, are those of a container."""
        with self._lock:
            self._odd_type = odd_type

    def learn(self, seen: Validator) -> bool:
        """Whether *seen*, of an answer to GET, may be of these bytes.

        Then its entity tag is theirs, if they had none: HEAD may tell none, and one
        answer may have lost it. What that one brings is theirs as far as this process
        can tell, and proves nothing to others.
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

    def hand_out(self) -> bool:
        """Whether bytes that came by ranges may be handed out; they count as that."""
        if not self._handed_out or self._shifting:
            with self._lock:
                self._handed_out |= not self._shifting
                return not self._shifting
        return True

    def take_whole(self) -> bool:
        """From here on only one whole answer holds it; whether that is news."""
        with self._lock:
            news, self._shifting = not self._shifting, True
            self._ranges = False
            if news:
                self._etag_proves = False
                self._set_aside_locked()
        return news

    def keep_to_ranges(self) -> bool:
        """Go on by ranges, if some were handed out; whether it does."""
        with self._lock:
            self._recurring = self._handed_out and not self._shifting
            return self._recurring

    def taken_from(self, validator: Validator) -> bool:
        """The whole answer that holds it now has *validator*; False where it cannot."""
        with self._lock:
            if self._shifting:
                self._validator = validator
                self._version = None  # nothing is kept under it
                return True
        return self.learn(validator)

    def found_changed(self) -> None:
        """Somebody met other bytes, or can no longer prove that they are these."""
        with self._lock:
            self._changed = True

    def replaced(self) -> None:
        """The server has settled on other bytes."""
        with self._lock:
            self._changed, self._shifting = True, False

    def _made_version_locked(self) -> VideoVersion:
        told = self.etag_proves and self._validator.etag is not None
        if not told and self._sighting is None:
            self._sighting = secrets.randbits(63)  # as a database's integer holds
        return VideoVersion(
            self.endpoint,
            self.video_id,
            self._size_bytes,
            self._validator,
            None if told else self._sighting,
        )

    def _distrust_etag_locked(self) -> None:
        self._etag_proves = False
        if self._version is not None and self._version.sighting is None:
            self._set_aside_locked()

    def _set_aside_locked(self) -> None:
        """Let another version be made; blocks may be kept under the present one."""
        if self._version is not None:
            self._earlier += (self._version,)
            self._version = None
