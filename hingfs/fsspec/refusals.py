"""Each error as the one that callers in Python expect, with its errno and no token.

FileNotFoundError, PermissionError, BlockingIOError (not ready), TimeoutError and OSError
come from the errno, as `errnos` has it for the mount; ValueError is for bad options.

Threads: none; any thread may call.
"""

import errno
from collections.abc import Callable

from ..errnos import ErrnoTable, errno_for
from ..errors import HingError, TokenError, UsageError

Hide = Callable[[str], str]


def refused(error: HingError, table: ErrnoTable, path: str, hide: Hide) -> OSError:
    """*error* about *path* as an OSError with the errno of *table*.

    *hide* takes tokens out of what the server said.
    """
    return OSError(errno_for(error, table), hide(str(error)), path)


def refused_setup(error: HingError) -> OSError | ValueError:
    """*error* about what a filesystem was given, or needs before it asks a server.

    ValueError for an option, PermissionError for a token, and OSError for the rest.
    """
    if isinstance(error, UsageError):
        return ValueError(str(error))
    if isinstance(error, TokenError):
        return PermissionError(errno.EACCES, str(error))
    return OSError(errno.EIO, str(error))


def read_only(*_args: object, **_options: object) -> None:
    """Refuse to write: OSError, EROFS."""
    raise OSError(
        errno.EROFS, "hing:// is read-only: an API's videos cannot be written"
    )
