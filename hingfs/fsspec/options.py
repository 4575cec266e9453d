"""What a filesystem was given, by keywords and variables, as the settings of an engine.

Decides which keywords there are, and that none is the token. Leaves to `given` which of a
keyword, a variable and a default holds, and to `settings` what each may be.

Threads: none; values alone.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..declaring import Setting, settings_of
from ..errors import UsageError, printable
from ..given import Given, nearest
from ..settings import CacheConfig, EndpointConfig, StartConfig

_OFFLINE = settings_of(StartConfig)["offline"]
# Option -> its setting. Those of a mount, of its log and of its start are no keywords:
# here is no mount, and a log belongs to the program.
KEYWORDS: Mapping[str, Setting[Any]] = {
    declared.option: declared
    for declared in (
        *settings_of(EndpointConfig).values(),
        *settings_of(CacheConfig).values(),
        _OFFLINE,
    )
}
# fsspec gives these to any filesystem; they mean nothing here.
_OF_FSSPEC = frozenset(
    {
        *("asynchronous", "loop", "batch_size", "skip_instance_cache"),
        *("use_listings_cache", "listings_expiry_time", "max_paths"),
    }
)
_TOKENS = frozenset({"token", "api_key", "key", "secret", "password"})


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings of one engine. Equal ones share it."""

    endpoint: EndpointConfig
    cache: CacheConfig


def keywords(options: Mapping[str, object]) -> dict[str, object]:
    """The settings among *options*, as they can be pickled and written as JSON.

    Raises UsageError for an option that there is not, and for a token: keywords travel,
    in pickles, in the graphs of Dask and in logs.
    """
    for name in options:
        if name in _TOKENS:
            raise UsageError(
                f"{name} is no option, since options are pickled and logged; put the "
                "token into HINGFS_TOKEN, or name a file of mode 0600 by token_file, on "
                "each machine that reads"
            )
        if name not in KEYWORDS and name not in _OF_FSSPEC:
            like = nearest(name, KEYWORDS)
            meant = f"; did you mean {like}?" if like else ""
            raise UsageError(f"hing:// has no option {printable(name, 80)}{meant}")
    return {
        name: os.fspath(value) if isinstance(value, os.PathLike) else value
        for name, value in options.items()
        if name in KEYWORDS and value is not None
    }


def given(options: Mapping[str, object], environ: Mapping[str, str]) -> Given:
    """What *options* of `keywords` and *environ* say; refusals name the keywords."""
    texts = {name: _text(value) for name, value in options.items()}
    return Given(texts, environ, called=lambda declared: declared.option)


def chosen(said: Given) -> Chosen:
    """The settings that *said* has. Raises UsageError for a bad one."""
    endpoint = said.endpoint_to_show(said.part(StartConfig))
    return Chosen(endpoint, said.part(CacheConfig))


def with_directories(
    cache: CacheConfig, found: Path | None, kept: Path | None
) -> CacheConfig:
    """*cache* with the directory *found* for blocks, and *kept* for kept videos."""
    return replace(cache, kept_directory=found, kept_videos=kept)


def _text(value: object) -> str:
    """*value* of Python as a person writes it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value)
