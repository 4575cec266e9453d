"""Extended attributes: what a program may ask of a file, and how it reaches libfuse.

Decides which names are ours, what they hold, and who is told the prompt: the owner of the
mount, and root, who could read it from the process all the same. Leaves what was told of a
video to `library`. Names outside of `user.` answer EOPNOTSUPP without a look at the file:
so `ls -l` asks for security.selinux and system.posix_acl_access once, and not of each file.
Of 10,000 known names it takes 0.50 s through libfuse 3 and 0.73 through libfuse 2, where
the kernel was told ENOSYS once 0.61 and 0.73. From coreutils 9.6 on it lists the names of
each file, which takes 0.7 s more (2 cores, medians of three to five, 2026-11-28).

Threads: callbacks run on libfuse's threads, many at once.
"""

import ctypes
import errno
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..library.catalog import Catalog
from ..library.details import NAMES, PREFIX, PROMPT, attributes_of
from .filesystem import Filesystem, Refusal

_USER = "user."
_OURS = frozenset({f"{PREFIX}id", *(f"{PREFIX}{name}" for name in NAMES)})
_ROOT = 0


class ToldAttributes:
    """The extended attributes of files. Thread safety: all methods.

    *owners* are the users who may see prompts, and root.
    """

    def __init__(self, catalog: Catalog, owners: Collection[int]) -> None:
        self._catalog = catalog
        self._owners = {_ROOT, *owners}

    def all_of(self, name: str, user_id: int) -> Mapping[str, bytes]:
        """Those of the file *name* that *user_id* may see; raises as `Catalog.find`."""
        file, details = self._catalog.find_with_details(name)
        found = attributes_of(file.video_id, details)
        if user_id not in self._owners:
            found.pop(PROMPT, None)
        return found

    def one_of(self, name: str | None, attribute: str, user_id: int) -> bytes:
        """The *attribute* of the file *name*, None for the directory; as `all_of`.

        Makes no request for one that no file has. Raises Refusal for one that is not
        there.
        """
        if not attribute.startswith(_USER):
            raise Refusal(errno.EOPNOTSUPP)
        value = None
        if name is not None and attribute in _OURS:
            value = self.all_of(name, user_id).get(attribute)
        if value is None:
            raise Refusal(errno.ENODATA)
        return value


class AttributeCallbacks:
    """The callbacks for extended attributes, as `binding` mixes them in.

    The kernel refuses to set and to remove them by itself, as on any read-only mount.
    """

    _filesystem: Filesystem
    # (user, group, process) of the program that calls
    _caller: Callable[[], tuple[int, int, int]]

    def getxattr(
        self, path: bytes, name: bytes, value: Any, size: int, *_position: int
    ) -> int:
        """The length of an attribute, which is written to *value* if that has room."""
        user_id = self._caller()[0]
        found = self._filesystem.getxattr(_text(path), _text(name), user_id)
        return _given(found, value, size)

    def listxattr(self, path: bytes, names: Any, size: int) -> int:
        """The length of all names, each with its NUL; as `getxattr`."""
        found = self._filesystem.listxattr(_text(path), self._caller()[0])
        return _given(b"".join(name.encode() + b"\0" for name in found), names, size)


def _given(data: bytes, target: Any, size: int) -> int:
    """The length of *data*, which goes to *target* unless *size* is 0; xattr(7)."""
    if size and len(data) > size:
        return -errno.ERANGE
    if size:
        ctypes.memmove(target, data, len(data))
    return len(data)


def _text(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")
