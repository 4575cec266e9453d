"""A video copied to a file on disk, or into an open one.

Decides what is left of a copy that fails. Leaves to `files` how it is read.

Threads: none of its own; any thread may call.
"""

from pathlib import Path
from typing import Any, BinaryIO

from ..blocks import MIB
from .files import Handle

_COPY_BYTES = 4 * MIB  # of one read; a guess


def copy_to(handle: Handle, local: Path, callback: Any) -> None:  # noqa: ANN401 - untyped
    """Make the file *local* of all of *handle*, with its folder, and tell *callback*.

    Raises OSError; then no file is left that lacks bytes.
    """
    local.parent.mkdir(parents=True, exist_ok=True)
    with local.open("wb") as made:  # what cannot be opened is left as it is
        try:
            copy_into(handle, made, callback)
        except BaseException:
            if local.is_file() and not local.is_symlink():
                local.unlink()
            raise


def copy_into(handle: Handle, target: BinaryIO, callback: Any) -> None:  # noqa: ANN401
    """Write all of *handle* to *target*, and tell *callback*; raises OSError."""
    callback.set_size(handle.size_bytes)
    offset = 0
    with memoryview(bytearray(min(_COPY_BYTES, handle.size_bytes) or 1)) as buffer:
        while got := handle.read_into(buffer, offset):
            target.write(buffer[:got])
            offset += got
            callback.relative_update(got)
