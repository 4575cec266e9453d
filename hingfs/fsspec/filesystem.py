"""The filesystem hing://, as fsspec wants it.

Decides what paths are: the root is the list, and `<video_id>` and `<video_id>.mp4` name
the same file. Decides which ranges are read side by side. Leaves what a video is to the
engine's catalog, and open files to `files`.

Threads: any thread may call any method; calls wait with the deadlines of the settings.
"""

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from glob import has_magic
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.spec import AbstractFileSystem
from fsspec.utils import isfilelike

from ..errnos import ERRNO_OF_NAME
from ..errors import HingError, SetupError, VideoNotFound, VideoNotReady
from ..library.catalog import Catalog
from ..library.known import VideoFile
from ..library.names import VIDEO_SUFFIX, full_name_of
from . import engines, options
from .copying import copy_into, copy_to
from .engines import Lease
from .files import Handle, HingFile
from .refusals import read_only, refused, refused_setup
from .side_by_side import Asked, raise_first, read_side_by_side
from .spans import NEAR_BYTES, span_of

Result = TypeVar("Result")

_READING_MODES = frozenset({"rb", "br"})


class HingFileSystem(AbstractFileSystem):  # type: ignore[misc]  # fsspec is untyped
    """The videos of an API as files, read-only. Thread safety: all methods.

    Options are keywords by the names of the settings (`base_url`, `token_file`,
    `cache_dir`, `disk_cache_size`, `connections` …), or variables HINGFS_*. There is no
    keyword for the token itself: fsspec keeps keywords, and they travel with each pickle,
    into the object stores, graphs and logs of Ray and Dask. Each process finds the token
    in its HINGFS_TOKEN, or in the file that `token_file` or HINGFS_TOKEN_FILE names.

    The base URL in force travels with a pickle, even where a variable gave it: another
    process must not read another API's videos. All else that variables give is each
    machine's own.

    Raises ValueError for a bad option. Calls raise FileNotFoundError, PermissionError,
    BlockingIOError for a video that is not ready, or an OSError with the errno of the
    mount's table.
    """

    protocol = "hing"
    root_marker = ""

    def __init__(self, **given: object) -> None:
        super().__init__()
        try:
            self._options = options.keywords(given)
            said = options.given(self._options, os.environ)
            self.base_url = options.chosen(said).endpoint.base_url
        except SetupError as error:
            raise refused_setup(error) from None
        self._lease: Lease | None = None

    @property
    def storage_options(self) -> dict[str, object]:
        """What makes this filesystem again, in a pickle or in JSON."""
        return {**self._options, "base_url": self.base_url}

    @storage_options.setter
    def storage_options(self, _given: dict[str, object]) -> None:
        """Fsspec sets what it was given; `__init__` has it."""

    @property
    def fsid(self) -> str:
        """The same for all filesystems of one API."""
        return f"hing_{self.base_url}"

    def __eq__(self, other: object) -> bool:
        # fsspec's own differs by process and thread.
        return isinstance(other, HingFileSystem) and self._told == other._told

    def __hash__(self) -> int:
        return hash(self._told)

    def __dask_tokenize__(self) -> tuple[object, ...]:
        """The same in every process, so that Dask knows a task that it has done."""
        return ("hing", *self._told)

    @property
    def _told(self) -> tuple[tuple[str, str], ...]:
        """What makes it again, in words."""
        return tuple(sorted((k, str(v)) for k, v in self.storage_options.items()))

    def __repr__(self) -> str:
        return f"<HingFileSystem {self.base_url}>"

    def lease(self) -> Lease:
        """The lease of its engine in this process, made at the first use.

        Raises PermissionError if there is no token, and ValueError for a bad variable.
        """
        lease = self._lease
        if lease is None or not lease.is_here:
            try:
                said = options.given(self.storage_options, os.environ)
                lease = self._lease = engines.here().lease(options.chosen(said))
                _ = lease.engine
            except HingError as error:
                raise refused_setup(error) from None
        return lease

    # -- names -------------------------------------------------------------------------

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:  # noqa: ANN401 - fsspec's signature
        """The name of the file that *path* means, "" for the root; of each, for a list."""
        if isinstance(path, list):
            return [cls._strip_protocol(one) for one in path]
        name = str(super()._strip_protocol(path)).lstrip("/")
        if not name or "/" in name or has_magic(name) or name.endswith(VIDEO_SUFFIX):
            return name
        return full_name_of(name)

    def ls(
        self,
        path: str,
        detail: bool = True,  # noqa: FBT001, FBT002 - fsspec's signature
        *,
        refresh: bool = False,
        **_others: object,
    ) -> list[Any]:
        """The files that can be read now, as `info`; their names, without *detail*.

        The size is None where nobody has asked for it yet: `info` asks. *refresh* has the
        list read again.
        """
        name = self._strip_protocol(path)
        if name:
            return [self.info(name) if detail else self._find(name)[0]]
        if refresh:
            self.invalidate_cache()
        listed = self._ask("", lambda catalog: catalog.listing())
        if not detail:
            return [one for one, _ in listed]
        catalog = self.lease().engine.catalog
        return [_info(one, catalog.at_hand(one)) for one, _ in listed]

    def info(self, path: str, **_others: object) -> dict[str, Any]:
        """Name, type, size in bytes, mtime in Unix seconds, and the ETag if there is one."""
        name = self._strip_protocol(path)
        if not name:
            return {"name": "", "size": 0, "type": "directory"}
        return _info(*self._find(name))

    def exists(self, path: str, **_others: object) -> bool:
        """Whether *path* can be read now. Raises where nobody can tell.

        A video that is not ready is no file yet, as in a mount.
        """
        name = self._strip_protocol(path)
        if not name:
            return True
        lease = self.lease()
        try:
            lease.engine.catalog.find(name)
        except (VideoNotFound, VideoNotReady):
            return False
        except HingError as error:
            raise refused(error, ERRNO_OF_NAME, name, lease.hide) from None
        return True

    def isdir(self, path: str) -> bool:
        """Whether *path* is the root."""
        return not self._strip_protocol(path)

    def isfile(self, path: str) -> bool:
        """Whether *path* is a file that can be read now."""
        return not self.isdir(path) and self.exists(path)

    def modified(self, path: str) -> datetime:
        """When the video was completed, as far as the server tells."""
        return datetime.fromtimestamp(self.info(path)["mtime"], UTC)

    def ukey(self, path: str) -> str:
        """Another one for each version of each video."""
        _, file = self._find(self._strip_protocol(path))
        version = file.content.version
        assert version is not None, "a file has a size"
        return sha256(version.key.encode()).hexdigest()

    def invalidate_cache(self, path: str | None = None) -> None:
        """Have the list read again when it is wanted next."""
        super().invalidate_cache(path)
        self.lease().engine.catalog.expire_listing()

    def _find(self, name: str) -> tuple[str, VideoFile]:
        return name, self._ask(name, lambda catalog: catalog.find(name))

    def _ask(self, name: str, question: Callable[[Catalog], Result]) -> Result:
        lease = self.lease()
        try:
            return question(lease.engine.catalog)
        except HingError as error:
            raise refused(error, ERRNO_OF_NAME, name, lease.hide) from None

    # -- bytes -------------------------------------------------------------------------

    def _open(self, path: str, mode: str = "rb", **_others: object) -> HingFile:
        """*path* for reading. fsspec's own caches are not used: ours is behind."""
        if mode not in _READING_MODES:
            read_only()
        file = HingFile(self, path)
        file.open()
        return file

    def cat_file(
        self,
        path: str,
        start: int | None = None,
        end: int | None = None,
        **_others: object,
    ) -> bytes:
        """The bytes [start, end) of *path*, both as in a slice."""
        name = self._strip_protocol(path)
        with Handle(self.lease(), name, whole=start is None and end is None) as handle:
            span = span_of(start, end, handle.size_bytes)
            return handle.read(span.start, span.stop - span.start)

    def cat(
        self,
        path: str | list[str],
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        on_error: str = "raise",
        **_others: object,
    ) -> bytes | dict[str, bytes | Exception]:
        """The bytes of *path*; of several, or of a pattern, by name, read side by side.

        An error is raised, or left out by *on_error* "omit", or returned by "return".
        """
        names = [one for one in self.expand_path(path, recursive=recursive) if one]
        if isinstance(path, str) and names == [self._strip_protocol(path)]:
            return self.cat_file(names[0])
        asked = [Asked(name, None, None) for name in names]
        results = read_side_by_side(self.lease(), asked, NEAR_BYTES)
        if on_error == "raise":
            raise_first(results)
        found = dict(zip(names, results, strict=True))
        if on_error == "return":
            return found
        return {k: v for k, v in found.items() if not isinstance(v, Exception)}

    def cat_ranges(
        self,
        paths: Sequence[str],
        starts: int | Sequence[int | None] | None,
        ends: int | Sequence[int | None] | None,
        max_gap: int | None = None,
        on_error: str = "return",
        **_others: object,
    ) -> list[bytes | Exception]:
        """The bytes [start, end) of each of *paths*, read side by side.

        Ranges of one file that lie within *max_gap* bytes are read as one. An error takes
        the place of its bytes, or is raised if *on_error* is "raise".
        """
        if not isinstance(paths, list):
            raise TypeError("paths is a list")
        asked = [
            Asked(self._strip_protocol(path), start, end)
            for path, start, end in zip(
                paths,
                _for_each(starts, len(paths)),
                _for_each(ends, len(paths)),
                strict=True,
            )
        ]
        near_bytes = NEAR_BYTES if max_gap is None else max_gap
        results = read_side_by_side(self.lease(), asked, near_bytes)
        if on_error == "raise":
            raise_first(results)
        return results

    def get(
        self,
        rpath: str | list[str],
        lpath: str | list[str],
        recursive: bool = False,  # noqa: FBT001, FBT002 - fsspec's signature
        callback: Any = DEFAULT_CALLBACK,  # noqa: ANN401 - untyped
        maxdepth: int | None = None,
        **_others: object,
    ) -> None:
        """Copy *rpath*, which may be a pattern, to *lpath*, a file or a directory.

        It is a directory if it ends with "/", is one, or several may go there.
        """
        # fsspec takes names without a directory for paths that end in *lpath* itself.
        if isinstance(lpath, list):
            super().get(rpath, lpath, callback=callback)
            return
        expanded = self.expand_path(rpath, recursive=recursive, maxdepth=maxdepth)
        names = [name for name in expanded if name]
        one = isinstance(rpath, str) and names == [self._strip_protocol(rpath)]
        local = os.fspath(lpath)
        into = not one or local.endswith("/") or Path(local).is_dir()
        targets = [str(Path(local, name)) if into else local for name in names]
        super().get(names, targets, callback=callback)

    def get_file(
        self,
        rpath: str,
        lpath: Any = None,  # noqa: ANN401 - a path or a file
        callback: Any = DEFAULT_CALLBACK,  # noqa: ANN401 - untyped
        outfile: BinaryIO | None = None,
        **_others: object,
    ) -> None:
        """Copy *rpath* to the file *lpath*, or into *outfile*.

        A copy that fails leaves no file behind that lacks bytes.
        """
        name = self._strip_protocol(rpath)
        if outfile is None and isfilelike(lpath):
            outfile = lpath
        if outfile is None and not name:
            Path(lpath).mkdir(parents=True, exist_ok=True)
            return
        with Handle(self.lease(), name, whole=True) as handle:
            if outfile is not None:
                copy_into(handle, outfile, callback)
            else:
                copy_to(handle, Path(lpath), callback)

    # -- writing -----------------------------------------------------------------------

    mkdir = makedirs = rmdir = rm = rm_file = _rm = read_only
    touch = pipe_file = put_file = cp_file = copy = mv = put = read_only


def _info(name: str, file: VideoFile | None) -> dict[str, Any]:
    if file is None:
        return {"name": name, "size": None, "type": "file"}
    return {
        "name": name,
        "size": file.content.size_bytes,
        "type": "file",
        "mtime": file.mtime_ns / 1e9,
        "ETag": file.content.validator.etag,
    }


def _for_each(
    given: int | Sequence[int | None] | None, count: int
) -> Sequence[int | None]:
    """*given* for each of *count* paths; ValueError if there are others."""
    if given is None or isinstance(given, int):
        return [given] * count
    if len(given) != count:
        raise ValueError("starts and ends are as many as paths")
    return given
