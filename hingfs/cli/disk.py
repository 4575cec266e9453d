"""The directories of the disk cache and of what is kept, and their trouble in words."""

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


def keep_directory(config: CacheConfig, environ: Mapping[str, str]) -> Path:
    """As `cache_directory`, for what is kept."""
    with in_words():
        return facts_directory.usable(
            config.keep_directory, environ, facts_directory.DATA
        )


@contextlib.contextmanager
def in_words() -> Iterator[None]:
    """Turn an OSError of such a directory into words; its rule is in words already."""
    try:
        yield
    except OSError as error:
        if error.strerror is None:
            raise HingError(str(error)) from error
        what = plain(str(error.filename or "the disk cache"))
        raise HingError(f"{what}: {error.strerror}") from error
