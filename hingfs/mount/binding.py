"""The FUSE library: mfusepy with libfuse 3, or fusepy with libfuse 2.

Nothing else imports either. This module knows where they differ: in loading, in mount
options, in `init`, in the flags of an open file. Both serve `filesystem.Filesystem`.

Every callback passes `_wrapper`, which replaces the library's own: fusepy 3.0.1 turns
an OSError without errno (every `requests` exception is one) into uninitialised memory,
which a program reads as garbage or as end of file. `_wrapper` turns a `Refusal` into
its errno, and every other exception into EIO.

Threads: callbacks run on threads of libfuse. Python gives each callback a new thread
state, so no thread-local value survives it.
"""

import ctypes
import errno
import importlib
import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from ..errors import FuseUnavailable, printable
from . import fusermount
from .attributes import AttributeCallbacks
from .entries import EntryCallbacks, OpenDirectories, decoded
from .filesystem import Filesystem, Refusal
from .overheard import Overheard

log = logging.getLogger(__name__)

_LIBRARY_PATH = "FUSE_LIBRARY_PATH"  # read by both
MFUSEPY = "mfusepy"
FUSEPY = "fusepy"

# How far the kernel reads ahead. A film on loopback, and CPU a GB, through libfuse 3
# at 128, 256, 512, 1024 KiB: 418, 613, 629, 714 MB/s; 2.2, 1.5, 1.4, 1.5 s; ffprobe of a
# 200 MB clip fetched 1.3, 1.3, 1.5, 6.7 MB (scripts/bench, 2 cores, 2026-11-22). Through
# libfuse 2, which stays at 128 KiB a request, at 128, 256, 512: 495, 543, 550 MB/s; 2.0,
# 1.9, 1.9 s; 4096 reads a tenth slower (medians of four, 2026-11-24).
READAHEAD_KIB = 512
# Buffered reads that the kernel may have under way for the whole mount, read-ahead
# included. Further reads wait in the kernel, even for a video that is in memory.
# A program that reads 1 MiB has one read under way, or four through libfuse 2.
MAX_BACKGROUND = 512
# With this many reads under way, the kernel reads nothing ahead.
CONGESTED = 48
# A call that waits for a server keeps a thread, which takes 30 KB (300 readers, Linux 6.18,
# 2026-11-27). libfuse 2, and 3 before 3.12, start a thread for each call; later versions
# stop at 10, or at this number. Of MAX_BACKGROUND threads, stalled reads took all.
MAX_THREADS = 1024
# This many calls may wait for a server. The other threads end calls at once, from memory
# or with an error.
MAX_WAITING = MAX_THREADS - 64
# Starting a thread for a burst of reads costs more than keeping it. Without this option,
# libfuse 3.14 complains about its own default.
IDLE_THREADS = 16
# libfuse 3 knows the option max_threads from this minor version on.
MAX_THREADS_SINCE = 12

# Seconds for which the kernel believes that a name exists. It asks for attributes each
# time, and gets them from memory: when it believed them for a second, programs read a
# changed video at its old length; with an hour, they read new bytes after old ones.
NAME_SECONDS = 1.0
# libfuse 3, fuse_common.h: ask for attributes before each read of a cached page. It would
# cost every read a callback, and an open drops old pages without it.
CAP_AUTO_INVAL_DATA = 1 << 12
# Look up names of one directory side by side. Without it, a name that hangs holds up all
# others, and `ls`. libfuse before 3.17 has the capability and does not tell the kernel.
# Four names of 0.2 s took 0.4 s with 3.17.2, and 1.0 s without (Linux 6.18, 2026-11-25).
CAP_PARALLEL_DIROPS = 1 << 18
PARALLEL_DIROPS_SINCE = (3, 17)
# Names that the dynamic linker knows, the newest first. Without a path the libraries look
# for libfuse by `ldconfig -p`, a process of 15 ms (2 cores, 2026-11-27).
_LIBFUSE_3 = ("libfuse3.so.4", "libfuse3.so.3")
_LIBFUSE_2 = ("libfuse.so.2",)
# Makes libfuse leave its loop, and has no other meaning: see `leave`.
LEAVE_SIGNAL = signal.SIGRTMAX


class _Callbacks(EntryCallbacks, AttributeCallbacks):
    """The callbacks, in the form both libraries share; mixed in before their FUSE.

    The libraries' own methods look up the operations object for each call. These call
    the filesystem directly, and a read fills the kernel's buffer in place. `read_buf`,
    by which libfuse 3 splices from a file, was slower: a file in the page cache came at
    0.41 GB/s for 1.05 CPU seconds a GB, by `preadv` at 0.76 for 0.61 (medians of three,
    Linux 6.18, 2026-11-27).
    """

    _overheard: Overheard
    _interrupted: Any  # fuse_interrupted(3), which knows the call by its thread
    started = False  # on the class, since the constructor of FUSE is the whole mount

    def _wrapper(self, callback: Any, *args: Any) -> int:
        try:
            return callback(*args) or 0
        except Refusal as refusal:
            return -refusal.errno
        except BaseException:
            log.exception("unforeseen error in %s", callback.__name__)
            return -errno.EIO

    def open(self, path: bytes, fip: Any) -> int:
        info = fip.contents
        opened = self._filesystem.open(
            str(decoded(path)), info.flags, self._is_interrupted
        )
        info.fh = opened.handle
        info.keep_cache = opened.keep_cache
        info.direct_io = opened.direct_io
        return 0

    def _is_interrupted(self) -> bool:
        """Whether a signal came for the program whose call this thread serves."""
        return bool(self._interrupted())

    def read(
        self, _path: bytes | None, buf: Any, size: int, offset: int, fip: Any
    ) -> int:
        address = ctypes.addressof(buf.contents)
        target = memoryview((ctypes.c_char * size).from_address(address)).cast("B")
        return self._filesystem.read_into(fip.contents.fh, target, offset)

    def release(self, _path: bytes | None, fip: Any) -> int:
        self._filesystem.release(fip.contents.fh)
        return 0

    def statfs(self, _path: bytes, buf: Any) -> int:
        for field, value in self._filesystem.statfs().items():
            setattr(buf.contents, field, value)
        return 0

    def destroy(self, _private_data: Any) -> None:
        self._filesystem.stop()

    def init_2(self, _conn: Any) -> None:
        self._begin()

    def init_3(self, conn: Any, config: Any) -> None:
        conn.contents.max_background = MAX_BACKGROUND
        conn.contents.congestion_threshold = CONGESTED
        conn.contents.want &= ~CAP_AUTO_INVAL_DATA
        conn.contents.want |= conn.contents.capable & CAP_PARALLEL_DIROPS
        config.contents.nullpath_ok = 1
        config.contents.use_ino = 1
        self._begin()

    def _begin(self) -> None:
        type(self).started = True
        for line in self._overheard.end().splitlines():
            log.warning("libfuse: %s", printable(line))
        _copy_handler(signal.SIGTERM, LEAVE_SIGNAL)
        self._filesystem.start()


class _Registration:
    """Which operations are registered with libfuse; it refuses all others with ENOSYS.

    The kernel asks once for an operation that is missing, and never again.
    Only presence counts: `_Callbacks` takes the calls.
    """

    use_ns = True
    flag_nullpath_ok = 1  # read, release and fgetattr come with a handle, no path
    flag_nopath = 1

    def _present(self) -> None:
        """Never called."""

    getattr = opendir = readdir = releasedir = _present
    open = read = release = statfs = init = init_with_config = destroy = _present
    getxattr = listxattr = _present


class Binding:
    """One loaded FUSE library. Make it with `load`."""

    def __init__(self, name: str, module: ModuleType, major: int, minor: int) -> None:
        self.name = name
        self.libfuse_version = (major, minor)
        self._module: Any = module

    def __str__(self) -> str:
        return f"{self.name}, libfuse {'.'.join(map(str, self.libfuse_version))}"

    @property
    def looks_up_in_parallel(self) -> bool:
        """True if a name that hangs holds up no other; Linux can since 4.7."""
        return self.libfuse_version >= PARALLEL_DIROPS_SINCE

    def run(
        self,
        filesystem: Filesystem,
        mountpoint: str,
        options: Mapping[str, str | bool],
        most_threads: int = MAX_THREADS,
    ) -> None:
        """Mount and serve until unmounted or ended by a signal.

        *mountpoint* is absolute: libfuse 3 changes directory to "/". *options* are
        mount options common to both libraries. The library starts at most
        *most_threads*, where it can bound them. Call it in the main thread.
        Raises MountpointError or FuseUnavailable if the mount did not come up.
        """
        overheard = Overheard()
        bridge = self._bridge(filesystem, overheard)
        # libfuse handles SIGTERM only where it finds the default disposition.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {LEAVE_SIGNAL})
        try:
            bridge(
                _Registration(),
                mountpoint,
                raw_fi=True,
                foreground=True,
                **self._options(options, most_threads),
            )
        except RuntimeError as error:
            if not bridge.started:
                raise fusermount.refused_mount(mountpoint, overheard.end()) from error
            # A signal gives 8 on libfuse 3, `umount -l` of a mount in use 1 on
            # libfuse 2. Somebody asked for either end.
            log.debug("libfuse ended with code %s", error)
        finally:
            overheard.end()

    def _options(
        self, options: Mapping[str, str | bool], most_threads: int
    ) -> dict[str, str | bool]:
        merged: dict[str, str | bool] = {
            **options,
            "attr_timeout": "0",
            "entry_timeout": str(NAME_SECONDS),
            "negative_timeout": "0",
            "use_ino": True,
        }
        if self.libfuse_version[0] == 2:
            merged["max_background"] = str(MAX_BACKGROUND)
            merged["congestion_threshold"] = str(CONGESTED)
        else:
            merged["max_idle_threads"] = str(IDLE_THREADS)
            if self.libfuse_version >= (3, MAX_THREADS_SINCE):
                merged["max_threads"] = str(most_threads)
        return merged

    def _bridge(self, filesystem: Filesystem, overheard: Overheard) -> Any:
        """The library's FUSE with our callbacks. Call it once: the call is the mount."""
        module = self._module

        class Bridge(_Callbacks, module.FUSE):  # type: ignore[name-defined,misc]
            _filesystem = filesystem
            _overheard = overheard
            _interrupted = module._libfuse.fuse_interrupted
            _directories = OpenDirectories(filesystem)
            _caller = staticmethod(module.fuse_get_context)
            _stat_type = module.c_stat

        # libfuse 3 passes two callbacks more arguments, and mfusepy names both kinds.
        old = self.libfuse_version[0] == 2
        suffix = "" if self.name == FUSEPY else "_fuse_2" if old else "_fuse_3"
        setattr(Bridge, f"init{suffix}", Bridge.init_2 if old else Bridge.init_3)
        setattr(
            Bridge, f"readdir{suffix}", Bridge.readdir_2 if old else Bridge.readdir_3
        )
        return Bridge


def leave() -> None:
    """Make libfuse end its loop, so that `Binding.run` returns; from any thread.

    libfuse ends its loop for SIGINT, SIGTERM and SIGHUP, in the main thread. There they
    stay blocked, since `serving` has more to do when they come. LEAVE_SIGNAL has the
    same handler, and goes to that thread alone.
    """
    main = threading.main_thread().ident
    assert main is not None, "the main thread was started"
    signal.pthread_kill(main, LEAVE_SIGNAL)


def _copy_handler(source: int, target: int) -> None:
    """Give signal *target* the handler of *source*, which Python may not know."""
    libc = ctypes.CDLL(None)
    action = ctypes.create_string_buffer(1024)  # a struct sigaction has 152 bytes
    libc.sigaction(source, None, action)
    libc.sigaction(target, action, None)


def load(choice: str = "auto") -> Binding:
    """The FUSE library to use: *choice*, or the best one that this machine has.

    Raises FuseUnavailable with the package to install where no library loads.
    """
    loaders = {MFUSEPY: _load_mfusepy, FUSEPY: _load_fusepy}
    wanted = [choice] if choice in loaders else [MFUSEPY, FUSEPY]
    reasons = []
    for name in wanted:
        try:
            return loaders[name]()
        except (ImportError, OSError, AttributeError) as error:
            reasons.append(f"{name}: {error}")
    raise FuseUnavailable(
        f"no FUSE library loads ({'; '.join(reasons)}). On Debian and Ubuntu: "
        "apt-get install fuse3 (for fusepy: libfuse2, or libfuse2t64)"
    )


def _load_mfusepy() -> Binding:
    with _environment("FUSE_LIBRARY_NAME", "fuse3"):
        module = _imported("mfusepy", _LIBFUSE_3)
    major, minor = module.fuse_version_major, module.fuse_version_minor
    return Binding(MFUSEPY, module, major, minor)


def _load_fusepy() -> Binding:
    if "libfuse3" in os.environ.get(_LIBRARY_PATH, ""):
        # fusepy would mount it, and every call would reach the wrong operation.
        raise OSError("FUSE_LIBRARY_PATH names libfuse 3, which fusepy cannot drive")
    module = _imported("fuse", _LIBFUSE_2)
    if not (hasattr(module, "FUSE") and hasattr(module, "set_st_attrs")):
        raise ImportError(
            "the module 'fuse' found is not fusepy's (python3-fuse has the same name)"
        )
    version: int = module._libfuse.fuse_version()
    return Binding(FUSEPY, module, version // 10, version % 10)


def _imported(name: str, sonames: Sequence[str]) -> ModuleType:
    """The module *name* with the first of *sonames* that loads, unless the user chose."""
    soname = next(filter(_loads, sonames), None)
    if soname is None or _LIBRARY_PATH in os.environ:
        return importlib.import_module(name)
    with _environment(_LIBRARY_PATH, soname):
        return importlib.import_module(name)


def _loads(soname: str) -> bool:
    try:
        ctypes.CDLL(soname)
    except OSError:
        return False
    return True


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """Set a variable during the import of a library that reads it."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
