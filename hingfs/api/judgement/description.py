"""What a video was asked for, by its status object: model, prompt, length, resolution. Pure.

Servers put these beside the status, or give back the request in an object of its own. The
tables below hold their names for these, in order of trust. All text is made plain: it has
no control characters but line ends, and can be encoded. Leaves to `video_object` which
object is the video, and to `times` when it was made.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

from ...errors import plain_lines
from . import bodies
from .video_object import WRAPPERS, Object
from .wording import Fields, fields_of

_MODEL = (
    *("model", "model_name", "model_id", "origin_model_name", "model_version"),
    *("engine", "model_key"),
)
# Not what the server made of the prompt, unless it tells nothing else.
_PROMPT = (
    *("prompt", "prompt_text", "text_prompt", "orig_prompt", "original_prompt"),
    *("input_prompt", "user_prompt", "origin_prompt", "input_text", "input"),
    *("actual_prompt", "revised_prompt", "enhanced_prompt", "expanded_prompt"),
)
_SECONDS = (
    *("seconds", "duration_seconds", "duration_sec", "duration_secs", "duration_s"),
    *("video_duration", "video_seconds", "video_length", "clip_duration"),
    *("output_video_duration", "duration"),
)
_RESOLUTION = ("resolution", "size", "video_resolution", "dimensions", "video_size")
# They may hold a resolution as well, and are a shape otherwise.
_ASPECT = ("ratio", "aspect_ratio", "video_ratio", "aspect")
_QUALITY = ("resolution", "video_resolution", "quality", "definition", "sr")
_WIDTHS = (
    *(("width", "height"), ("video_width", "video_height")),
    *(("output_width", "output_height"), ("w", "h")),
)
# Names of objects that hold the request, or tell of the result.
_ASIDE = (
    *("input", "inputs", "request", "params", "param", "parameters", "properties"),
    *("options", "config", "settings", "generation_config", "generation_params"),
    *("metadata", "meta", "usage", "instances", "videos", "outputs", "works"),
    *("task_result", "video_result", "creations", "generated_videos", "task_info"),
)
_ALL_ASIDE = (*_ASIDE, *WRAPPERS)
_MOST_PARTS = 100  # of a prompt in parts
_MOST_OBJECTS = 50  # are looked at; a server sends a handful
_MOST_MODEL = 128  # characters
_LONGEST_SECONDS = 86_400.0
_NUMBER = re.compile(
    r"(\d{1,6}(?:\.\d{1,6})?)\s*(?:s|secs?|seconds?|秒)?", re.IGNORECASE | re.ASCII
)
# "1280x720", "1280*720", "1280:720"; a shape has one or two digits.
_PAIR = re.compile(r"(\d{3,5})\s*[xX*:\u00d7_]\s*(\d{3,5})(?:\s*px)?", re.ASCII)
_SHAPE = re.compile(r"(\d{1,2})\s*[:xX/_]\s*(\d{1,2})", re.ASCII)
_LINES = re.compile(r"(\d{3,4})\s*[pi]?|([1-9])k", re.IGNORECASE | re.ASCII)  # 720p, 4K


@dataclass(frozen=True, slots=True)
class Description:
    """What a video was asked for, None where it is not told.

    *prompt* may be as long as the answer; it is never logged. *resolution* is "1280x720"
    where the server tells both, else "720p", with a shape behind it if one is told:
    "720p 9:16"; or the shape alone.
    """

    model: str | None = None
    prompt: str | None = field(default=None, repr=False)
    seconds: float | None = None
    resolution: str | None = None


def description_of(found: Object, outer: object) -> Description:
    """What the video object *found* was asked for; *outer* may be wrapped around it."""
    objects = [*islice(_objects_in(found), _MOST_OBJECTS)]
    if outer is not found and isinstance(outer, dict):
        around = fields_of(outer)
        # What the wrappers in it hold is the video, or another one.
        objects += [around, *islice(_inside(around, _ASIDE, depth=1), _MOST_OBJECTS)]
    return Description(
        next(_models_in(objects), None),
        next(_prompts_in(objects), None),
        next(_lengths_in(objects), None),
        _resolution_in(objects),
    )


def _objects_in(found: Object) -> Iterator[Fields]:
    fields = fields_of(found)
    yield fields
    yield from _inside(fields, _ALL_ASIDE, depth=3)


def _inside(fields: Fields, names: tuple[str, ...], depth: int) -> Iterator[Fields]:
    """The objects under *names* in *fields*, and in those, *depth* deep."""
    for name in names:
        value = fields.get(name)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if isinstance(value, str) and value[:1] == "{":  # some give JSON as text
            value = bodies.parsed_json(value.encode("utf-8", "replace"))
        if isinstance(value, dict):
            inner = fields_of(value)
            yield inner
            if depth > 1:
                yield from _inside(inner, _ALL_ASIDE, depth - 1)


def _values_in(objects: Iterable[Fields], names: tuple[str, ...]) -> Iterator[object]:
    for fields in objects:
        for name in names:
            value = fields.get(name)
            if value is not None:
                yield value


def _models_in(objects: Iterable[Fields]) -> Iterator[str]:
    for value in _values_in(objects, _MODEL):
        inner = fields_of(value)
        name = inner.get("name") or inner.get("id") or value
        if isinstance(name, str):
            text = _plain_text(name[: 4 * _MOST_MODEL]).replace("\n", " ")
            if text:
                yield text[:_MOST_MODEL]


def _prompts_in(objects: Iterable[Fields]) -> Iterator[str]:
    for value in _values_in(objects, _PROMPT):
        parts = value[:_MOST_PARTS] if isinstance(value, list) else [value]
        text = "\n".join(filter(None, map(_text_of_part, parts)))
        if text:
            yield text


def _text_of_part(part: object) -> str:
    if isinstance(part, dict):
        fields = fields_of(part)
        part = fields.get("text") or fields.get("prompt")
    if not isinstance(part, str) or part[:2] in ('{"', '["'):
        return ""
    return _plain_text(part)


def _plain_text(text: str) -> str:
    """*text* whose lines have no control characters, and which can be encoded."""
    return plain_lines(text).strip().encode("utf-8", "replace").decode()


def _lengths_in(objects: Iterable[Fields]) -> Iterator[float]:
    for value in _values_in(objects, _SECONDS):
        match = _NUMBER.fullmatch(_short_text(value))
        seconds = float(match[1]) if match else 0.0
        if 0 < seconds <= _LONGEST_SECONDS:
            yield seconds


def _resolution_in(objects: list[Fields]) -> str | None:
    told = [*_values_in(objects, _RESOLUTION)]
    shapes = [*_values_in(objects, _ASPECT)]
    exact = [*map(_pair_in, told), *map(_pair_of_object, objects)]
    exact += [*map(_pair_in, shapes)]
    pair = next(filter(None, exact), None)
    if pair is not None:
        return pair
    qualities = _values_in(objects, _QUALITY)  # a bare number as "size" is of bytes
    words = (
        next(filter(None, map(_lines_in, qualities)), None),
        next(filter(None, map(_shape_in, [*shapes, *told])), None),
    )
    return " ".join(filter(None, words)) or None


def _pair_in(value: object) -> str | None:
    if isinstance(value, dict):
        return _pair_of_object(fields_of(value))
    match = _PAIR.fullmatch(_short_text(value))
    return f"{int(match[1])}x{int(match[2])}" if match else None


def _pair_of_object(fields: Fields) -> str | None:
    for names in _WIDTHS:
        width, height = (_short_text(fields.get(name)) for name in names)
        pair = _PAIR.fullmatch(f"{width}x{height}")
        if pair:
            return f"{int(pair[1])}x{int(pair[2])}"
    return None


def _lines_in(value: object) -> str | None:
    match = _LINES.fullmatch(_short_text(value))
    if match is None:
        return None
    return f"{match[1]}p" if match[1] else f"{match[2]}k"


def _shape_in(value: object) -> str | None:
    match = _SHAPE.fullmatch(_short_text(value))
    return f"{int(match[1])}:{int(match[2])}" if match else None


def _short_text(value: object) -> str:
    """*value* as a short text; "" if it is neither text nor a number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    try:
        text = value if isinstance(value, str) else f"{value}"
    except ValueError:  # an integer of thousands of digits
        return ""
    return text.strip() if len(text) <= 40 else ""
