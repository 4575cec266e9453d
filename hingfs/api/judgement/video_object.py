"""Which object in JSON is the video asked for, its id and its status word. Pure.

Servers wrap the object once or twice, call the id `task_id`, and put the word into an
object of its own. The tables below hold their names for these, in order of trust. Leaves
to `video_status` what the word means, and to `times` when the video was made.
"""

from collections.abc import Iterator, Mapping

from ...errors import printable
from . import bodies, wording
from .wording import Fields, fields_of

Object = Mapping[str, object]

# All names are plain: `fields_of` reads any spelling of them.
_ID = ("id", "task_id", "video_id", "generation_id", "job_id")
WORD_NAMES = (
    *("status", "task_status", "video_status", "job_status", "generation_status"),
    *("state", "task_state", "job_state"),
)
# Names of the word in an object of its own: {"status": {"state": …}}.
_WORD_INSIDE = (*WORD_NAMES, "name", "value", "code", "phase", "label", "key", "text")
# Names of objects that may wrap the video. Under any other name, an object must look like
# a video itself.
WRAPPERS = (
    *("data", "video", "task", "result", "response", "output", "job", "generation"),
    *("payload", "body", "record", "content", "item", "info"),
)
# Beside `data` and without an id, one of these is the word of the request, not of a video.
ENVELOPE_WORDS = frozenset({"success", "ok", "error", "fail"})
_MOST_WORD = 80


def describes_video(body: bytes) -> bool:
    """Whether *body* is the status object of a video, whatever its HTTP code."""
    found = video_in(bodies.parsed_json(body), "")
    return bool(word_of(found)) and is_video(found)


def id_of(found: Object) -> str:
    """The id in a video object; "" if it has none.

    Text comes before numbers: beside a text, the number is that of a row in a table.
    """
    fields = fields_of(found)
    numbers = []
    for name in _ID:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            numbers.append(value)
    return str(numbers[0]) if numbers else ""


def word_of(found: Object) -> str:
    """The status word of a video object as the tables have it; "" if it has none.

    It may stand in an object of its own. Beside an id, any other value, such as a number,
    is made into a word, which is unknown then.
    """
    fields = fields_of(found)
    odd = bool(id_of(fields))
    for name in WORD_NAMES:
        word = _word_in(fields.get(name), odd=odd)
        if word:
            return word
    return ""


def _word_in(value: object, *, odd: bool) -> str:
    """The word that *value* is, or has one level deep; with *odd* one made of any value."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    words = [value]
    if isinstance(value, dict):
        inside = fields_of(value)
        words = [inside.get(name) for name in _WORD_INSIDE]
    for word in words:
        if isinstance(word, str) and word.strip():
            return wording.plain_word(word[:_MOST_WORD])
    return _odd_word(value) if odd else ""


def _odd_word(value: object) -> str:
    """A word made of *value*, which is none: words are compared, and logged."""
    if isinstance(value, dict):
        # In braces: {"completed": false} is not the word "completed".
        value = f"{{{' '.join(list(value)[:4])[:36]}}}" if value else ""
    elif isinstance(value, list):
        value = f"{len(value)} states" if value else ""
    elif isinstance(value, bool) or not isinstance(value, int):
        return ""
    return printable(value, 40)


def is_video(found: Object) -> bool:
    """Whether *found* is a video, not an envelope: it has an id, or names its kind."""
    return bool(id_of(found)) or "object" in fields_of(found)


def video_in(outer: object, video_id: str) -> Fields:
    """The object in *outer* that tells of *video_id*; empty if there is none.

    The one with that id comes first, then the outermost with any id: LiteLLM makes an id
    of its own. Without ids the innermost is meant: the status around it is the request's.
    """
    found = [fields for fields in _objects_in(outer, video_id) if word_of(fields)]
    named = [fields for fields in found if id_of(fields)]
    for fields in named:
        if id_of(fields) == video_id:
            return fields
    if named or not found:
        return named[0] if named else Fields()
    inner = found[-1]
    return Fields() if "data" in inner and word_of(inner) in ENVELOPE_WORDS else inner


def _objects_in(value: object, video_id: str, depth: int = 2) -> Iterator[Fields]:
    """*value* and what it wraps, outermost first."""
    if isinstance(value, list):
        # A single row answers a search for one. Of several, only the one with the id is
        # meant.
        rows = [row for row in value[:100] if isinstance(row, dict)]
        value = rows[0] if len(rows) == len(value) == 1 else None
        value = value or next((row for row in rows if id_of(row) == video_id), None)
    if not isinstance(value, dict):
        return
    fields = fields_of(value)
    yield fields
    if depth:
        for name in WRAPPERS:
            yield from _objects_in(fields.get(name), video_id, depth - 1)
        yield from _videos_beside(fields, video_id)


def _videos_beside(fields: Fields, video_id: str) -> Iterator[Fields]:
    """The videos in *fields* under names that are no wrapper's.

    If *fields* has an id, such a video may be another one, as the remixed original is. In
    an array it may be any. So both must have the id asked for.
    """
    alone = not id_of(fields)
    for name, value in fields.items():
        if name in WRAPPERS or name in WORD_NAMES:
            continue
        rows = value[:100] if isinstance(value, list) else [value]
        for inner in map(fields_of, rows):
            own = id_of(inner)
            meant = own == video_id or (alone and len(rows) == 1)
            if own and meant and word_of(inner):
                yield inner
