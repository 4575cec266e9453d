"""What hingfs was given: options by their names, and the variables beside them.

An option comes before its variable, and both before the default. This module decides
which of them gives a value, so that the refusal of a bad value names its source, and what
a misspelt name may mean. Leaves to `cli` how a command line is parsed, and to `fsspec`
how keywords are.

Threads: none of its own; a `Given` is only read.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from .declaring import Misfit, Setting, settings_of
from .errors import TokenError, UsageError, printable
from .settings import (
    SETTINGS,
    CacheConfig,
    Config,
    EndpointConfig,
    LogConfig,
    MountConfig,
    StartConfig,
)
from .shared_url import PASSWORD_VARIABLE
from .token import Token

Part = TypeVar("Part")

# A variable without an option, as is that of the password for a shared cache.
_TOKEN_VARIABLE = "HINGFS_TOKEN"  # noqa: S105 - the name, not the token


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of *known* that *word* is most like, or those that it begins; else "".

    The common beginnings, "--" and "HINGFS_", do not count.
    """
    by_core = {one.removeprefix("--").removeprefix("HINGFS_"): one for one in known}
    core = word.removeprefix("--").removeprefix("HINGFS_")
    begun = [
        one
        for short, one in by_core.items()
        if re.match(rf"{re.escape(core)}[-_]", short)
    ]
    if begun:
        return " or ".join(begun)
    found = difflib.get_close_matches(core, by_core, n=1, cutoff=0.7)
    return by_core[found[0]] if found else ""


def _by_flag(declared: Setting[Any]) -> str:
    return declared.flag


class Given:
    """The *options* by name, and the variables of *environ*.

    A value is a text as people write it, True for a switch, or None if it is not given.
    Refusals name an option as *called* does.
    """

    def __init__(
        self,
        options: Mapping[str, object],
        environ: Mapping[str, str],
        *,
        called: Callable[[Setting[Any]], str] = _by_flag,
    ) -> None:
        self._options = options
        self._environ = environ
        self._called = called

    def config(self, directory: Path) -> Config:
        """All settings of a mount on *directory*. Raises SetupError for a bad one.

        There may be no token: see `demand_token`. With --offline there need be none.
        """
        start = self.part(StartConfig)
        mount = self.part(MountConfig, directory=directory)
        endpoint = self.endpoint_to_show(start)
        cache, log = self.part(CacheConfig), self.part(LogConfig)
        return Config(mount, endpoint, cache, log, start)

    def endpoint(self, **known: object) -> EndpointConfig:
        """The API and the token for it, as `part`.

        Raises SetupError for a bad one, or none.
        """
        endpoint = self._endpoint(**known)
        _demand_source(endpoint.token)
        return endpoint

    def endpoint_to_show(self, start: StartConfig) -> EndpointConfig:
        """The API whose videos are shown as files, as `config` has it."""
        endpoint = self._endpoint()
        if not start.offline:
            return endpoint
        token = replace(endpoint.token, optional=True)
        return replace(endpoint, token=token, offline=True)

    def part(self, kind: type[Part], **known: object) -> Part:
        """The part *kind* of the configuration; *known* fields are so unless given.

        Raises UsageError for a bad value.
        """
        values, names = dict(known), {}
        for field, declared in settings_of(kind).items():
            name, text = self._found(declared)
            names[field] = name
            if text is not None:
                values[field] = _parsed(declared, name, text)
        try:
            return kind(**values)
        except Misfit as misfit:
            raise UsageError(f"{names[misfit.field]}: {misfit.reason}") from None

    def misspelt(self) -> list[str]:
        """A sentence for each variable that looks like a setting and is none."""
        known = {declared.variable for declared in SETTINGS}
        known |= {_TOKEN_VARIABLE, PASSWORD_VARIABLE}
        told = []
        for name in sorted(self._environ):
            if name.upper().startswith("HINGFS_") and name not in known:
                like = nearest(name.upper(), known)
                meant = f"; did you mean {like}?" if like else ""
                told.append(f"the variable {printable(name, 80)} is no setting{meant}")
        return told

    def _endpoint(self, **known: object) -> EndpointConfig:
        token = Token(self._environ.get(_TOKEN_VARIABLE) or None)
        return self.part(EndpointConfig, token=token, **known)

    def _found(self, declared: Setting[Any]) -> tuple[str, str | None]:
        """The name that holds the text of a setting, and the text; None by default."""
        given, called = self._options.get(declared.option), self._called(declared)
        if given is True:
            return called, "yes"
        # An empty option is a mistake, except where the default is no fixed value.
        if isinstance(given, str) and (given or declared.default is not None):
            return called, given
        text = self._environ.get(declared.variable)
        return (declared.variable, text) if text else (called, None)


def demand_token(token: Token) -> None:
    """Raise TokenError unless *token* is given, and can be read."""
    _demand_source(token)
    token.read()


def _demand_source(token: Token) -> None:
    if token == Token():
        raise TokenError(
            "no token is given; put it into HINGFS_TOKEN (export HINGFS_TOKEN=oh-…), "
            "or into a file of mode 0600 that --token-file or HINGFS_TOKEN_FILE names"
        )


def _parsed(declared: Setting[Any], name: str, text: str) -> object:
    try:
        return declared.unit.parse(text)
    except UsageError as error:
        raise UsageError(f"{name}: {error}") from None
