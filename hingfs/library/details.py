"""What is told of one version of a video, as values that can be written down.

Decides what is told as extended attributes, how long a prompt may be, and the text that
the files of facts hold. The attributes are few enough for any file system that a file may
be copied to: ext4 has one block for all of a file. Leaves to `described` when they are
settled, and to `mount` who is told the prompt.

Threads: none; the values are frozen.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from typing import Any

from ..api.judgement.description import Description
from ..api.judgement.video_status import UNSAID, Status
from ..content import Content
from ..errors import plain

PREFIX = "user.hingfs."
PROMPT = f"{PREFIX}prompt"
# All attributes of a file on ext4, where they share one block of 4 KiB: it has a header of
# 32 bytes and an end of 4, and for each attribute 16 bytes, its name without "user.", and
# its value, both padded to 4 (ext4's xattr.h).
MOST_BYTES = 4096 - 32 - 4
_ENTRY_BYTES = 16
_NAMESPACE = "user."
# What is left for attributes that a person, or the system, gives a copy. A guess.
_OTHERS_BYTES = 256
_LATEST_SECONDS = 1e11  # no time is later: see `api.judgement.times`
_MOST_ETAG = 512  # characters, as `api.judgement.verdict` takes them


@dataclass(frozen=True, slots=True)
class Details:
    """What the server told of a version; None where it told nothing.

    Times are in Unix seconds. *prompt* is cut, and says so, if it is too long to be an
    attribute; *etag* is the text that the server sent.
    """

    model: str | None = None
    prompt: str | None = field(default=None, repr=False)
    seconds: float | None = None
    resolution: str | None = None
    created_at: float | None = None
    completed_at: float | None = None
    expires_at: float | None = None
    etag: str | None = None


_TEXTS = frozenset({"model", "prompt", "resolution", "etag"})
NAMES = tuple(one.name for one in fields(Details))


def details_of(content: Content, status: Status = UNSAID) -> Details:
    """The details of *content*, whose object at the status route is *status*."""
    told = status.description or Description()
    etag = content.validator.etag
    details = Details(
        model=told.model,
        seconds=told.seconds,
        resolution=told.resolution,
        created_at=status.created_at_seconds,
        completed_at=status.completed_at_seconds or content.completed_at,
        expires_at=status.expires_at_seconds,
        etag=etag and (plain(etag[:_MOST_ETAG]).strip() or None),
    )
    if told.prompt is None:
        return details
    others = attributes_of(content.video_id, replace(details, prompt=""))
    room = MOST_BYTES - _OTHERS_BYTES - _bytes_on_ext4(others)
    return replace(details, prompt=cut(told.prompt, room) or None)


def cut(text: str, most_bytes: int) -> str:
    """*text* in at most *most_bytes* of UTF-8; if it is cut, its end says so.

    "" if there is no room even for that.
    """
    data = text.encode()
    if len(data) <= most_bytes:
        return text
    end = f" […cut: {len(data):,} bytes in all]"
    left = most_bytes - len(end.encode())
    return data[:left].decode(errors="ignore") + end if left > 0 else ""


def attributes_of(video_id: str, details: Details) -> dict[str, bytes]:
    """The extended attributes of a file, by full name; those that are told."""
    texts = {"id": video_id}
    for name in NAMES:
        value = getattr(details, name)
        if value is not None:
            texts[name] = value if isinstance(value, str) else _text_of(name, value)
    return {
        f"{PREFIX}{name}": text.encode("utf-8", "replace")
        for name, text in texts.items()
    }


def _text_of(name: str, number: float) -> str:
    """The *number* of a detail: "8", or for a time "2026-11-28T05:45:23Z"."""
    if name == "seconds":
        return f"{number:.6f}".rstrip("0").rstrip(".")
    when = datetime.fromtimestamp(number, UTC)
    return when.isoformat().replace("+00:00", "Z")


def _bytes_on_ext4(attributes: Mapping[str, bytes]) -> int:
    return sum(
        _ENTRY_BYTES + _padded(len(name) - len(_NAMESPACE)) + _padded(len(value))
        for name, value in attributes.items()
    )


def _padded(size: int) -> int:
    return (size + 3) & ~3


def packed(details: Details) -> str:
    """*details* as a text for a file."""
    told = {name: value for name, value in asdict(details).items() if value is not None}
    return json.dumps(told, ensure_ascii=False)


def unpacked(text: str) -> Details | None:
    """The details in *text*; None if it is no text of `packed`."""
    try:
        told = json.loads(text)
    except ValueError:
        return None
    if not isinstance(told, dict):
        return None
    good: dict[str, Any] = {
        name: value
        for name, value in told.items()
        if name in NAMES and _may_be(name, value)
    }
    return Details(**good)


def _may_be(name: str, value: object) -> bool:
    """Whether *value* may be the detail *name*: a person may have edited the file."""
    if name in _TEXTS:
        return isinstance(value, str)
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value < _LATEST_SECONDS
    )
