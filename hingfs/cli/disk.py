"""The cache directory, as the commands about it find it, and its trouble in words."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from ..errors import HingError, plain
from ..facts import directory as facts_directory
from ..settings import CacheConfig


def cache_directory(config: CacheConfig, environ: Mapping[str, str]) -> Path:
    """The directory, made if need be; raises HingError if it may not be used."""
    with in_words():
        return facts_directory.usable(config.directory, environ)


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Turn an OSError of the cache directory into words; its rule is in words already."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise HingError(str(error)) from error
        what = plain(str(error.filename or "the disk cache"))
        raise HingError(f"{what}: {error.strerror}") from error
