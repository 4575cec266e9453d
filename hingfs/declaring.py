"""How a setting is declared: once, at the field that holds its value.

`setting` and `switch` stand where a dataclass has a default. The parser, the variables,
README's table and the checks read these declarations with `settings_of`. The table
itself is `settings`; `given` reads the values that were given.
"""

import dataclasses
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from .errors import UsageError
from .units import SWITCH, Unit

Value = TypeVar("Value")

_DECLARED = "setting"  # the key in the metadata of a field


class Misfit(UsageError):
    """The value of a *field* is out of bounds, or does not fit another: the *reason*."""

    def __init__(self, reason: str, *, field: str = "") -> None:
        super().__init__(reason)
        self.field = field

    def __str__(self) -> str:
        reason = super().__str__()
        return f"{self.field}: {reason}" if self.field else reason

    @property
    def reason(self) -> str:
        """Why, without the field: a message names the option or variable in its place."""
        return super().__str__()


@dataclasses.dataclass(frozen=True, slots=True)
class Setting(Generic[Value]):
    """One setting: its option, its unit, its default as people write it, its meaning.

    The default is None where the meaning tells it.
    """

    flag: str
    unit: Unit[Value]
    default: str | None
    meaning: str

    @property
    def option(self) -> str:
        """Its name in the namespace of argparse."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def variable(self) -> str:
        """The variable that does the same."""
        return f"HINGFS_{self.option.upper()}"

    @property
    def is_switch(self) -> bool:
        """True if its option takes no value."""
        return self.unit is SWITCH


def setting(
    flag: str, unit: Unit[Value], default: str | Callable[[], Value], meaning: str
) -> Value:
    """A field with a setting.

    *default* is a text as people write it, or a function that makes the value.
    """
    if isinstance(default, str):
        metadata = {_DECLARED: Setting(flag, unit, default, meaning)}
        return dataclasses.field(default=unit.parse(default), metadata=metadata)
    metadata = {_DECLARED: Setting(flag, unit, None, meaning)}
    return dataclasses.field(default_factory=default, metadata=metadata)


def switch(flag: str, meaning: str) -> bool:
    """A field with a setting that is off by default, and on where its option is given."""
    return setting(flag, SWITCH, "off", meaning)


def settings_of(part: type[Any]) -> dict[str, Setting[Any]]:
    """Name of a field -> its setting, in order, for each that has one."""
    return {
        field.name: field.metadata[_DECLARED]
        for field in dataclasses.fields(part)
        if _DECLARED in field.metadata
    }


def check_each(part: object) -> None:
    """Raise Misfit for a field of *part* whose value its unit does not allow."""
    for name, declared in settings_of(type(part)).items():
        try:
            declared.unit.check(getattr(part, name))
        except UsageError as error:
            raise Misfit(str(error), field=name) from None
