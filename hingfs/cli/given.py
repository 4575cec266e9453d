"""What a command was given: the options it offers, and the variables beside them.

An option comes before its variable, and both before the default. This module decides
which of them gives a value, so that the refusal of a bad value names its source. The
token never comes from an argument, since `ps` shows those to everybody.
"""

import argparse
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from ..declaring import Misfit, Setting, settings_of
from ..errors import TokenError, UsageError, printable
from ..settings import (
    GROUPS,
    SETTINGS,
    CacheConfig,
    Config,
    EndpointConfig,
    LogConfig,
    MountConfig,
    StartConfig,
)
from ..token import Token
from .arguments import nearest
from .console import complain

Part = TypeVar("Part")

# The one variable without an option.
_TOKEN_VARIABLE = "HINGFS_TOKEN"  # noqa: S105 - the name, not the token


def offer(parser: argparse.ArgumentParser, groups: Collection[str] = GROUPS) -> None:
    """Give *parser* an option for each setting of *groups*."""
    for title in groups:
        group = parser.add_argument_group(title)
        for one in GROUPS[title]:
            if one.is_switch:
                group.add_argument(one.flag, action="store_true", help=one.meaning)
                continue
            default = f" (default: {one.default})" if one.default else ""
            group.add_argument(
                one.flag, metavar=one.unit.metavar, help=one.meaning + default
            )


def offer_cache_directory(parser: argparse.ArgumentParser) -> None:
    """Give *parser*, of a command or of one below it, the option --cache-dir."""
    declared = settings_of(CacheConfig)["directory"]
    parser.add_argument(
        declared.flag,
        metavar=declared.unit.metavar,
        default=argparse.SUPPRESS,  # a command below leaves what its upper one was given
        help="that of the mount (default: $XDG_CACHE_HOME/hingfs, else ~/.cache/hingfs)",
    )


class Given:
    """The *options* of a command, by name, and the variables of *environ*."""

    def __init__(
        self, options: Mapping[str, object], environ: Mapping[str, str]
    ) -> None:
        self._options = options
        self._environ = environ

    def config(self, directory: Path) -> Config:
        """All settings of a mount on *directory*. Raises SetupError for a bad one.

        There may be no token: see `demand_token`. With --offline there need be none.
        """
        start = self.part(StartConfig)
        mount = self.part(MountConfig, directory=directory)
        endpoint = self._endpoint()
        if start.offline:
            token = replace(endpoint.token, optional=True)
            endpoint = replace(endpoint, token=token, offline=True)
        cache, log = self.part(CacheConfig), self.part(LogConfig)
        return Config(mount, endpoint, cache, log, start)

    def endpoint(self, **known: object) -> EndpointConfig:
        """The API and the token for it, as `part`.

        Raises SetupError for a bad one, or none.
        """
        endpoint = self._endpoint(**known)
        _demand_source(endpoint.token)
        return endpoint

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

    def tell_misspelt(self) -> None:
        """Warn of variables that are no settings; with --strict, raise UsageError."""
        unknown = self.misspelt()
        if unknown and self.part(StartConfig).strict:
            raise UsageError("; ".join(unknown))
        for sentence in unknown:
            complain(f"warning: {sentence}")

    def misspelt(self) -> list[str]:
        """A sentence for each variable that looks like a setting and is none."""
        known = {declared.variable for declared in SETTINGS} | {_TOKEN_VARIABLE}
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
        given = self._options.get(declared.option)
        if given is True:
            return declared.flag, "yes"
        # An empty option is a mistake, except where the default is no fixed value.
        if isinstance(given, str) and (given or declared.default is not None):
            return declared.flag, given
        text = self._environ.get(declared.variable)
        return (declared.variable, text) if text else (declared.flag, None)


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
