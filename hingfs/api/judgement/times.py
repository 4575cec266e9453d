"""When a video was made and when it expires, by the times in its status object. Pure.

Servers write times as numbers, as text or in milliseconds, and put them beside the
status or into an object of their own. The names they use are the tables below, in order
of trust.
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
# What a time is in, where it is an object: of protobuf, of Firestore, of MongoDB.
_TIME_INSIDE = ("seconds", "$date", "value", "timestamp")
# Where times stand that are not beside the status.
_ASIDE = ("meta", "metadata", "timestamps", "times", "timing", *WORD_NAMES)
# Earlier is no time of a video, but a number of another kind: seconds of a clip, a year.
_EARLIEST_SECONDS = 1e9


class Times(NamedTuple):
    """The times of a video in Unix seconds, None where they are not told."""

    completed_at: float | None
    created_at: float | None
    expires_at: float | None


def times_of(found: Object, outer: object) -> Times:
    """The times of the video object *found*, which *outer* may be wrapped around."""
    places = _places_of_times(found, outer)
    return Times(
        _time_in(places, _COMPLETED),
        _time_in(places, _CREATED),
        _time_in(places, _EXPIRES),
    )


def _places_of_times(found: Object, outer: object) -> list[Fields]:
    """Where the times of *found* may stand, the nearest first."""
    fields = fields_of(found)
    places = [fields]
    for name in _ASIDE:
        value = fields.get(name)
        if isinstance(value, dict):
            places.append(fields_of(value))
    # Beside an id of its own, the times around it are those of the request.
    if outer is not found and not id_of(fields):
        around = fields_of(outer)
        places += [around] if id_of(around) else []
    return [place for place in places if not _TIMES.isdisjoint(place)]


def _time_in(places: list[Fields], candidates: tuple[str, ...]) -> float | None:
    for place in places:
        for name in candidates:
            value = place.get(name)
            seconds = None if value is None else _unix_seconds(value)
            if seconds is not None:
                return seconds
    return None


def _unix_seconds(value: object) -> float | None:
    """*value* as a time, None if it is none; 0 means unknown to the servers."""
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


# "2026/09/21 14:13:20", "2026-9-21 14:13:20.5 +0000 UTC" as Go writes it, and what of it
# is ISO 8601: day, time, fraction, zone.
_MOMENT = re.compile(
    r"(\d{4})[-/.年](\d{1,2})[-/.月](\d{1,2})日?[T\s]\s*(\d{1,2}:\d\d(?::\d\d)?)"
    r"(?:[.,](\d{1,9}))?\s*(?:Z|UTC|GMT|([+-]\d\d):?(\d\d)(?:\s+[A-Z+-].*)?)?",
    re.IGNORECASE,
)


def _seconds_of_text(text: str) -> float:
    """A time by ISO 8601 and its kin, or by RFC 9110 as in headers; 0 if it is neither.

    Where no zone is named it is taken as UTC.
    """
    for parse in (datetime.fromisoformat, _moment_of, parsedate_to_datetime):
        try:
            when = parse(text.strip())
            return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, TypeError, OverflowError):
            continue
    return 0.0


def _moment_of(text: str) -> datetime:
    """The time that *text* is in one of the ways of `_MOMENT`; ValueError if it is none."""
    found = _MOMENT.fullmatch(text)
    if found is None:
        raise ValueError(text)
    year, month, day, time, fraction, hours, minutes = found.groups()
    time = f"{time:0>5}" if time.count(":") == 1 else f"{time:0>8}.{fraction or 0}"
    zone = f"{hours}:{minutes}" if hours else "+00:00"
    return datetime.fromisoformat(f"{year}-{month:0>2}-{day:0>2}T{time}{zone}")
