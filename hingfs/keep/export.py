"""Writes what is kept out, as a file of its own.

Decides that nothing but the very bytes that were kept gets the name: each block is
checked, and then all of it. Leaves to `cache.kept` what is kept.

Threads: none.
"""

import contextlib
import errno
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from ..blocks import MIB, block_count, bounds_of, runs_of
from ..cache.files import found_pair
from ..cache.kept_files import Kept, NotWhole
from ..cache.layout import GRID_BYTES
from ..cache.pair import Descriptor, Pair
from ..errors import HingError, plain

_PART_BYTES = 4 * MIB  # is read at once: whole blocks. A guess.
_MOST_NAMED = 20  # runs of lost blocks, in one message


class Exists(HingError):
    """There is something of that name."""


def export(kept: Kept, path: Path, *, replaces: bool) -> None:
    """Write *kept* to *path*, which has all of it or does not appear.

    Raises Exists unless it *replaces* what is there, NotWhole if blocks are lost or the
    whole has another SHA-256, and OSError.
    """
    if path.is_dir():
        raise Exists(f"{plain(str(path))} is a directory; name a file in it")
    if not replaces and (path.is_symlink() or path.exists()):
        raise Exists(f"{plain(str(path))} exists; give --overwrite to replace it")
    number, name = tempfile.mkstemp(
        prefix=f".{path.name[:100]}.", suffix=".tmp", dir=path.parent
    )
    file, temporary = Descriptor(number), Path(name)  # mode 0600 until it is whole
    try:
        copy(kept, partial(_write_all, file))
        os.fchmod(file.number, 0o666 & ~_umask())
        os.fsync(file.number)
        _name(temporary, path, replaces=replaces)
    finally:
        temporary.unlink(missing_ok=True)


def copy(kept: Kept, write: Callable[[memoryview], None]) -> None:
    """Have *write* take the bytes of *kept*, in order; raises as `export`.

    It may have taken the first of them then.
    """
    digest = hashlib.sha256()
    for part in _parts(kept):
        digest.update(part)
        write(part)
    if digest.digest() != kept.mark.sha256:
        raise NotWhole("its SHA-256 is not the one that was written down")


def check(kept: Kept) -> None:
    """Raise as `copy` would."""
    copy(kept, lambda _: None)


def _parts(kept: Kept) -> Iterator[memoryview]:
    """The good bytes of *kept*; raises NotWhole in the end if there are others."""
    pair = found_pair(kept.stem)
    size = kept.version.size_bytes
    buffer = memoryview(bytearray(min(size, _PART_BYTES)))
    lost: list[int] = []
    for start in range(0, size, _PART_BYTES):
        part = buffer[: min(_PART_BYTES, size - start)]
        lost += _lost(pair, part, start)
        if not lost:
            yield part
    if lost:
        raise NotWhole(
            f"{len(lost):,} of {block_count(size, GRID_BYTES):,} blocks of "
            f"{GRID_BYTES // 1024} KiB are lost, at bytes {_places(lost, size)}"
        )


def _lost(pair: Pair, part: memoryview, start: int) -> list[int]:
    """Fill *part* from *start*; returns the blocks that are absent or bad."""
    first = start // GRID_BYTES
    blocks = range(first, first + block_count(len(part), GRID_BYTES))
    absent = [index for index in blocks if not pair.has(index)]
    try:
        return sorted({*absent, *pair.read_into(part, start)})
    except OSError as error:
        if error.errno != errno.EIO or len(blocks) == 1:
            raise
    # The disk cannot read some of it.
    lost = []
    for index in blocks:
        at = (index - first) * GRID_BYTES
        with contextlib.suppress(OSError):
            one = part[at : at + GRID_BYTES]
            if pair.has(index) and not pair.read_into(one, index * GRID_BYTES):
                continue
        lost.append(index)
    return lost


def _places(lost: list[int], size: int) -> str:
    """Where the blocks *lost* lie, as first and last bytes."""
    runs = list(runs_of(lost))
    named = [
        f"{run.start * GRID_BYTES}-{bounds_of(run[-1], GRID_BYTES, size).stop - 1}"
        for run in runs[:_MOST_NAMED]
    ]
    more = ["…"] if len(runs) > _MOST_NAMED else []
    return ", ".join([*named, *more])


def _name(temporary: Path, path: Path, *, replaces: bool) -> None:
    """Give *temporary* the name *path*."""
    if not replaces:
        try:
            path.hardlink_to(temporary)  # which alone never replaces a file
        except FileExistsError:
            raise Exists(f"{plain(str(path))} exists by now") from None
        except OSError:  # a file system without links
            pass
        else:
            return
    temporary.replace(path)


def _write_all(file: Descriptor, part: memoryview) -> None:
    while part:
        part = part[os.write(file.number, part) :]


def _umask() -> int:
    """This process's; it has one thread that makes files."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
