"""When a video was made and when it expires, by the times in its status object. Pure.

Servers write times as numbers, as text or in milliseconds, and put them beside the
status or into an object of their own. The tables below hold their names for these, in
order of trust. Leaves to `video_object` which object is the video.
"""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple

from .video_object import WORD_NAMES, Object, id_of
from .wording import Fields, fields_of

# Not `updated_at`: it moves on, and a version's time must be the same after a remount.
_COMPLETED = (
    *("completed_at", "finished_at", "ended_at", "completion_time", "completed_time"),
    *("complete_time", "finish_time", "finished_time", "end_time", "done_at"),
    *("succeeded_at", "completed", "finished"),
    *("finish_at", "end_at", "complete_at", "generated_at", "success_at", "ended_time"),
    *("done_time", "success_time", "generated_time", "completed_on", "finished_on"),
    *("completion_date", "completed_timestamp", "finish_timestamp", "end_timestamp"),
    *("completion_timestamp", "gmt_finish", "gmt_finished", "gmt_end", "gmt_complete"),
    *("gmt_completed",),
)
_CREATED = (
    *("created_at", "created", "create_time", "created_time", "creation_time"),
    *("submitted_at", "submit_time"),
    *("create_at", "submit_at", "created_on", "submitted_on", "submitted_time"),
    *("creation_date", "date_created", "created_timestamp", "create_timestamp"),
    *("gmt_create", "gmt_created", "gmt_submit"),
)
_EXPIRES = (
    *("expires_at", "expire_at", "expired_at", "expire_time", "expires_time"),
    *("expires", "expiration", "expiration_time", "expires_on", "gmt_expire"),
)
_TIMES = frozenset((*_COMPLETED, *_CREATED, *_EXPIRES))
# Fields of a time that is an object: protobuf's, Firestore's, MongoDB's.
_TIME_INSIDE = ("seconds", "$date", "value", "timestamp")
# Names of objects beside the status that hold times.
_ASIDE = ("meta", "metadata", "timestamps", "times", "timing", *WORD_NAMES)
# A smaller number is no time of a video: it may be the seconds of a clip, or a year.
_EARLIEST_SECONDS = 1e9


class Times(NamedTuple):
    """The times of a video in Unix seconds, None where they are not told."""

    completed_at: float | None
    created_at: float | None
    expires_at: float | None


def times_of(found: Object, outer: object) -> Times:
    """The times of the video object *found*, which *outer* may be wrapped around."""
    objects = _objects_with_times(found, outer)
    return Times(
        _time_in(objects, _COMPLETED),
        _time_in(objects, _CREATED),
        _time_in(objects, _EXPIRES),
    )


def _objects_with_times(found: Object, outer: object) -> list[Fields]:
    """The objects that hold times of *found*, the nearest first."""
    fields = fields_of(found)
    objects = [fields]
    for name in _ASIDE:
        value = fields.get(name)
        if isinstance(value, dict):
            objects.append(fields_of(value))
    # Around a video with an id of its own stand the times of the request.
    if outer is not found and not id_of(fields):
        around = fields_of(outer)
        objects += [around] if id_of(around) else []
    return [fields for fields in objects if not _TIMES.isdisjoint(fields)]


def _time_in(objects: list[Fields], candidates: tuple[str, ...]) -> float | None:
    for fields in objects:
        for name in candidates:
            value = fields.get(name)
            seconds = None if value is None else _unix_seconds(value)
            if seconds is not None:
                return seconds
    return None


def _unix_seconds(value: object) -> float | None:
    """*value* as a time, None if it is none; servers write 0 for an unknown time."""
    if isinstance(value, dict):
        fields = fields_of(value)
        value = next((fields[name] for name in _TIME_INSIDE if name in fields), None)
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        seconds = float(value)
    except OverflowError:
        return None
    except ValueError:
        seconds = _seconds_of_text(str(value)[:64])
    for _ in range(3):  # milliseconds, micro, nano
        if seconds > 1e11:
            seconds /= 1000
    return seconds if _EARLIEST_SECONDS < seconds < 1e11 else None


# "2026/09/21 14:13:20", and "2026-9-21 14:13:20.5 +0000 UTC" as Go writes it. The groups
# are the parts of ISO 8601: year, month, day, time, fraction, zone.
_MOMENT = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T\s]\s*(\d{1,2}:\d\d(?::\d\d)?)"
    r"(?:[.,](\d{1,9}))?\s*(?:Z|UTC|GMT|([+-]\d\d):?(\d\d)(?:\s+[A-Z+-].*)?)?",
    re.IGNORECASE,
)


def _seconds_of_text(text: str) -> float:
    """The time in *text*, by ISO 8601 and its kin or by RFC 9110; 0 if it is neither.

    A time without a zone is taken as UTC.
    """
    for parse in (datetime.fromisoformat, _moment_of, parsedate_to_datetime):
        try:
            when = parse(text.strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return 0.0


def _moment_of(text: str) -> datetime:
    """The time in *text* as `_MOMENT` reads it; ValueError if it does not."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, time, fraction, hours, minutes = found.groups()
    time = f"{time:0>5}" if time.count(":") == 1 else f"{time:0>8}.{fraction or 0}"
    zone = f"{hours}:{minutes}" if hours else "+00:00"
    return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{time}{zone}")
