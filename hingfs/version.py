"""Which bytes a video is: a value, under which its blocks are kept.

Decides when two versions are the same, and when two validators contradict one another.
Leaves to `content` which version a process has before it.

Threads: none; the values are frozen.
"""

import json
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True, slots=True)
class Validator:
    """The headers that tell two versions of one URL apart, as the server sent them.

    *etag* is a strong entity tag; a weak one promises no equal bytes (RFC 9110 §8.8.1)
    and is dropped. *last_modified* is the header's text. None where absent.
    """

    etag: str | None = None
    last_modified: str | None = None

    def contradicts(self, other: "Validator") -> bool:
        """Whether *other* certainly belongs to different bytes.

        Entity tags decide if both sides have one, else Last-Modified. If there is
        nothing to compare, there is no contradiction.
        """
        if self.etag and other.etag:
            return self.etag != other.etag
        if self.last_modified and other.last_modified:
            return self.last_modified != other.last_modified
        return False

    def compares_with(self, other: "Validator") -> bool:
        """Whether the two share a kind of validator, so that one may contradict."""
        tags = self.etag and other.etag
        return bool(tags or (self.last_modified and other.last_modified))


@dataclass(frozen=True, eq=False)
class VideoVersion:
    """Which bytes a video is. All fields are plain values: it can be written down.

    Two versions with a strong entity tag are equal by endpoint, id, size, tag and
    sighting; Last-Modified does not count, since replicas differ in it. Without a tag,
    Last-Modified counts, and the version has a *sighting*: a random number that one
    `Content` draws. So two sightings are equal only if one process proved it, and new
    bytes of the same size never meet old blocks. A version whose tag proves nothing has
    a sighting as well. `Content.version` says when a tag proves nothing, and whether the
    tag of HEAD or that of GET counts.

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

    @cached_property
    def key(self) -> str:
        """The version as one text: the same for equal versions, another for all others.

        The hash of a text is kept with it, which a block is looked up by several times.
        """
        told = self.validator.etag or [self.validator.last_modified]
        identity = (self.endpoint, self.video_id, self.size_bytes, told, self.sighting)
        return json.dumps(identity)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, VideoVersion):
            return NotImplemented
        return self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


BlockKey = tuple[str, int]  # `VideoVersion.key` with the index of the block
