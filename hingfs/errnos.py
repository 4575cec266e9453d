"""Which errno each error becomes, for the mount and for files in Python alike.

Decides it for calls about a name and for reads: a read never ends with EAGAIN, since
ffmpeg and cp would spin on it or silently truncate. Leaves to `mount` and `fsspec` how it
is raised.

Threads: none; the tables are never written.
"""

import errno
from collections.abc import Mapping

from .errors import (
    AccessDenied,
    ContentChanged,
    DeadlineExceeded,
    HingError,
    RateLimited,
    VideoNotFound,
    VideoNotReady,
)

ErrnoTable = Mapping[type[BaseException], int]

# Looked up along the exception's classes, from its own to HingError.
ERRNO_OF_NAME: ErrnoTable = {
    VideoNotReady: errno.EAGAIN,
    VideoNotFound: errno.ENOENT,
    AccessDenied: errno.EACCES,
    RateLimited: errno.EAGAIN,
    ContentChanged: errno.ESTALE,
    DeadlineExceeded: errno.ETIMEDOUT,
    HingError: errno.EIO,
}
ERRNO_OF_READ: ErrnoTable = {
    VideoNotFound: errno.ENOENT,
    AccessDenied: errno.EACCES,
    ContentChanged: errno.ESTALE,
    DeadlineExceeded: errno.ETIMEDOUT,
    HingError: errno.EIO,
}


def errno_for(error: BaseException, table: ErrnoTable) -> int:
    """The errno of *error*; EIO for an unforeseen one."""
    for kind in type(error).__mro__:
        if kind in table:
            return table[kind]
    return errno.EIO
