"""Which bytes a video is, and what a process has learnt about serving them.

Decides when two sightings are of one version, and what an answer may change in what
is known of it. Leaves to `api` what an answer means.

Threads: none; every method may be called from any thread.
"""

import threading
from dataclasses import dataclass


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


class Content:
    """The one object that a process has of a version it sees, and what it learnt of it.

    Two sightings are two objects and compare unequal, so a block of an old version can
    never be found under a new one. Its state changes by the methods that are named for
    what happened; nobody else assigns it. Every property may be read without the lock.

    It is *shifting* where its validators contradict one another: then it is what one
    whole answer brings, whose validator is kept, and no range of another. What was
    handed out by ranges before must be proved equal to that: see `hand_out`. Where its
    own validator comes again among the others, it is *recurring* instead: it goes on by
    the ranges that come under it, and the others are asked for again.
    """

    __slots__ = (
        "__weakref__",
        "_changed",
        "_handed_out",
        "_lock",
        "_odd_coding",
        "_odd_type",
        "_ranges",
        "_recurring",
        "_shifting",
        "_size_bytes",
        "_validator",
        "video_id",
    )

    def __init__(
        self,
        video_id: str,
        size_bytes: int,
        validator: Validator,
        *,
        ranges: bool | None = None,
        odd_type: str | None = None,
        odd_coding: str | None = None,
    ) -> None:
        self.video_id = video_id  # never assigned again
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

    def contradicted_by(self, seen: Validator) -> bool:
        """Whether *seen* certainly belongs to other bytes than these."""
        return not self._shifting and self._validator.contradicts(seen)

    # -- what happened -----------------------------------------------------------------

    def measured(self, size_bytes: int) -> None:
        """All of it has arrived: *size_bytes*, which nobody told before."""
        with self._lock:
            self._size_bytes = size_bytes

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
        answer may have lost it.
        """
        with self._lock:
            if self.contradicted_by(seen):
                return False
            if self._validator.etag is None:
                self._validator = Validator(seen.etag, self._validator.last_modified)
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


BlockKey = tuple[Content, int]  # with the index
