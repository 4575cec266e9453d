"""How far a rendering has come, by the status object of its video. Pure.

OpenAI's `progress` is a whole percentage; gateways write it as text, as a share of one,
under other names, or into an object of its own. Decides which of them counts. Leaves to
`video_object` which object is the video.
"""

import re

from .wording import Fields, fields_of

# In order of trust.
_NAMES = (
    *("progress", "progress_percent", "progress_percentage", "progress_pct"),
    *("percent", "percentage", "percent_complete", "percentage_complete"),
    *("completion_percentage", "task_progress"),
)
# Names of objects beside the status that hold it.
_ASIDE = ("metadata", "meta", "output", "task")
_NUMBER = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*(%?)\s*")


def progress_of(found: object) -> float | None:
    """How much of the video object *found* is rendered, 0.0 to 1.0; None if untold."""
    fields = fields_of(found)
    for named in (fields, *(fields_of(fields.get(name)) for name in _ASIDE)):
        progress = _progress_in(named)
        if progress is not None:
            return progress
    return None


def _progress_in(fields: Fields) -> float | None:
    for name in _NAMES:
        value = fields.get(name)
        if isinstance(value, dict):
            inner = fields_of(value)
            value = next((inner[one] for one in _NAMES if one in inner), None)
        progress = _share(value)
        if progress is not None:
            return progress
    return None


def _share(value: object) -> float | None:
    """*value* as a share of one: percent, unless it is a fraction below one."""
    percent = False
    if isinstance(value, str):
        text = _NUMBER.fullmatch(value[:32])
        if text is None:
            return None
        value, percent = float(text[1]), bool(text[2])
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if not 0 <= value <= 100:  # nor is NaN
        return None
    if isinstance(value, float) and value < 1 and not percent:
        return float(value)
    return value / 100
