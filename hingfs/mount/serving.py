"""One mount: an engine, FUSE in front of it, and the process that serves them.

Signals. SIGINT, SIGTERM and SIGHUP are blocked before FUSE runs, and a thread waits for
them: it sets everything closing first, so that every read in flight ends with EIO, and
then has libfuse leave its loop. Left to libfuse alone, it would wait for those reads; a
handler in Python would never run, since the main thread is in C.
SIGHUP ends a mount whose terminal has gone. Without a controlling terminal, as in the
background or under systemd, or where `nohup` had it ignored, it asks to read token,
log and list again.

Threads of its own: `hingfs-signals` as above, `hingfs-up` until the mount answers, and
`hingfs-trim`, which gives free memory back and shares nothing but the event that ends it.

Daemonising happens before any thread exists. The parent returns when the mount
answers, or with the child's reason and exit status: whatever fails before the mount
answers ends the mount, and one that is silent is killed after `UP_SECONDS`.
"""

import contextlib
import ctypes
import json
import logging
import math
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from .. import __version__
from ..blocks import KIB, MIB
from ..engine import Engine
from ..errors import EndpointError, MountpointError, SetupError, plain, printable
from ..library.lookups import SILENCE_SECONDS
from ..log import reopen as reopen_log
from ..settings import Config
from . import binding, mountpoint
from .operations import HingOperations
from .threads import shares_of, threads_left

log = logging.getLogger(__name__)

# Connections opened before they are needed: a first stat asks two routes at once, and
# a first read the head and the tail.
WARM_CONNECTIONS = 2
# How often memory that lies free is given back.
_TRIM_SECONDS = 5.0
# How long a thread may keep the interpreter while others want it. All threads here
# give it up at their next read or wait anyway; taking it earlier only makes them trade
# it: a film on loopback 850 MB/s at 5 ms, 1,000 at 20 ms (no FUSE, 2026-11-22).
SWITCH_SECONDS = 0.02
# How long a mount in the background may take until it answers; some 0.2 s do. A guess.
UP_SECONDS = 30.0
# How long the threads of the check may take to end; they are idle by then.
_CHECK_ENDS_SECONDS = 2.0
_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


class Mount:
    """Everything one mount consists of. Make it in the process that serves it.

    *on_up* is called once the mount answers, on a thread of its own.
    """

    def __init__(self, config: Config, on_up: Callable[[], None]) -> None:
        self._config = config
        self._on_up = on_up
        self._ended = threading.Event()
        self._failure: MountpointError | None = None  # set once, before `_ended`
        self._ends_on_hangup = _ends_on_hangup()
        self._library = binding.load(config.mount.fuse)
        self._shares = shares_of(threads_left())
        parallel = self._library.looks_up_in_parallel
        self.engine = Engine(
            config.endpoint,
            config.cache,
            most_waiting=self._shares.most_waiting,
            silence_seconds=math.inf if parallel else SILENCE_SECONDS,
        )
        self.operations = HingOperations(
            self.engine.catalog,
            self.engine.readers,
            config.mount,
            on_start=self._started,
            on_stop=self.close,
        )

    def run(self) -> None:
        """Serve until unmounted or told to end by a signal.

        Raises SetupError if the mount does not come up.
        """
        log.info(
            "hingfs %s mounts %s on %s with %s",
            __version__,
            self._config.endpoint.base_url,
            plain(str(self._config.mount.directory)),
            self._library,
        )
        block_signals()
        self._library.run(
            self.operations,
            str(self._config.mount.directory),
            self._options(),
            self._shares.most_threads,
        )
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End every wait and every transfer; may be called twice, from any thread."""
        self._ended.set()
        self.engine.close()

    def _options(self) -> dict[str, str | bool]:
        config = self._config.mount
        options: dict[str, str | bool] = {
            "ro": True,
            # Shown by mount and df. Commas would end the option.
            "fsname": f"hingfs:{printable(self._config.endpoint.host).replace(',', '')}",
            "subtype": mountpoint.SUBTYPE,
        }
        if config.allow_other:
            options["allow_other"] = True
            options["default_permissions"] = True
        return options

    def _started(self) -> None:
        try:
            for name, job in (
                ("signals", self._await_signal),
                ("up", self._finish_start),
                ("trim", partial(_give_memory_back, self._ended)),
            ):
                threading.Thread(target=job, name=f"hingfs-{name}", daemon=True).start()
        except BaseException as error:
            self._fail(error)
            raise

    def _finish_start(self) -> None:
        """What must wait until the kernel has our answer to its first message."""
        directory, size_kib = self._config.mount.directory, binding.READAHEAD_KIB
        try:
            os.stat(directory)  # waits for that; inside `init` it would wait for ever
        except OSError as error:
            self._fail(f"it does not answer: {error.strerror}")
            return
        try:
            if mountpoint.raise_kernel_readahead(directory, size_kib):
                log.info("the kernel reads ahead %d KiB", size_kib)
        finally:
            self._tell_up()  # with that or without
        self.engine.transport.warm(WARM_CONNECTIONS)

    def _tell_up(self) -> None:
        try:
            self._on_up()
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, why: BaseException | str) -> None:
        """End a mount that does not come up; `run` raises *why*.

        One that was told to end meanwhile has not failed.
        """
        if self._ended.is_set():
            return
        said = why if isinstance(why, str) else f"{type(why).__name__}: {why}"
        directory = plain(str(self._config.mount.directory))
        self._failure = MountpointError(
            f"the mount on {directory} did not come up: {printable(said)}"
        )
        self._end()

    def _end(self) -> None:
        self.close()
        # Not before the waits have ended: libfuse leaves when its callbacks have.
        binding.leave()

    def reload(self) -> None:
        """Read the token file again, go on in the log's new file, list anew when asked."""
        reopen_log()
        self.engine.renew()
        log.info("SIGHUP: token, log and list are read again")

    def _await_signal(self) -> None:
        while (number := signal.sigwait(_SIGNALS)) == signal.SIGHUP:
            if self._ends_on_hangup:
                break
            self.reload()
        log.info("%s: unmounting", signal.Signals(number).name)
        self._end()


def block_signals() -> None:
    """Block the signals that end a mount, here and in every thread started after.

    And SIGPIPE: libfuse 2, as it leaves, gives it its default back, which is death to
    the process of a thread that writes to a connection just then.
    """
    signals = _SIGNALS | {binding.LEAVE_SIGNAL, signal.SIGPIPE}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def _ends_on_hangup() -> bool:
    """Whether SIGHUP will mean that a terminal has gone, which cannot be seen then."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def check(config: Config) -> str:
    """Prove address and token with one request; a warning, or "".

    Raises SetupError where they fail.
    """
    _tune_allocator()
    engine = Engine(config.endpoint, config.cache)
    try:
        warning = engine.client.check()
    finally:
        engine.close()
    if not engine.join(_CHECK_ENDS_SECONDS):
        raise EndpointError(  # a thread that is left would be forked in the middle of it
            f"{config.endpoint.host} was found, but another lookup of it hangs; try "
            "again, or skip this check with --no-check"
        )
    return warning


def prepare(config: Config) -> None:
    """Prove that *config* can be mounted here; raises SetupError where it cannot."""
    mountpoint.check_fuse(allow_other=config.mount.allow_other)
    binding.load(config.mount.fuse)
    mountpoint.prepare(config.mount.directory)


def serve(config: Config, on_up: Callable[[], None]) -> None:
    """Mount in this process and serve until it is over."""
    threading.excepthook = _log_end_of_thread
    _tune_allocator()
    with contextlib.suppress(OSError):
        # libfuse ends its threads by pthread_cancel, for which glibc loads this, and
        # aborts where no file descriptor is left for it.
        ctypes.CDLL("libgcc_s.so.1")
    sys.setswitchinterval(SWITCH_SECONDS)
    Mount(config, on_up).run()


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """No thread dies silently: in the background nobody sees standard error."""
    name = ended.thread.name if ended.thread is not None else "a thread"
    error = ended.exc_value or ended.exc_type()
    log.error("%s died of an unforeseen error", name, exc_info=error)


def _tune_allocator() -> None:
    """Let glibc reuse the memory of blocks instead of giving it back each time.

    By default each thread gets an arena, and a block of 256 KiB is mapped and
    unmapped, which costs 64 page faults. One arena and no early return: peak RSS of
    a film 166 instead of 210 MB, page faults 39,000 instead of 105,000 (2026-11-22).
    It must come before the first thread, which would get an arena that stays: 202 MB.
    Elsewhere than on glibc there is no mallopt, and nothing is done.
    """
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8  # malloc.h
    with contextlib.suppress(AttributeError, OSError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(m_arena_max, 1)
        mallopt(m_mmap_threshold, 16 * MIB)
        mallopt(m_trim_threshold, 512 * MIB)


def _give_memory_back(ended: threading.Event) -> None:
    """Now and then, until *ended*, return what lies free between blocks to the system.

    Blocks and the buffers of libfuse come and go in one heap, whose holes would stay
    ours. Random reads by eight processes for 150 s: peak RSS 96 instead of 106 MB, 89
    instead of 102 MB afterwards; a film is as fast (one run each, every 2 s, 2026-11-22).
    """
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    while malloc_trim is not None and not ended.wait(_TRIM_SECONDS):
        malloc_trim(0)


def serve_in_background(
    config: Config, serve: Callable[[Callable[[], None]], None]
) -> None:
    """Call *serve* in a daemon; returns once it has called its argument.

    Raises the SetupError that the daemon met, with its exit status, or MountpointError
    after `UP_SECONDS`, when it has ended the daemon. No thread may exist when this is
    called.
    """
    reading, writing = os.pipe()
    daemon = os.fork()
    if daemon == 0:
        os.close(reading)
        _serve_as_daemon(_Report(writing, config.endpoint.token.hide), serve)
    os.close(writing)
    try:
        outcome = json.loads(_said(reading, UP_SECONDS))
    except TimeoutError:
        os.kill(daemon, signal.SIGKILL)
        mountpoint.cut_off(config.mount.directory)
        raise MountpointError(
            f"the mount was not up within {UP_SECONDS:g} s; run it with --foreground to "
            "see where it waits"
        ) from None
    except ValueError:
        raise MountpointError(
            "the mount process was killed before its mount was up, as when memory is "
            "short; run it with --foreground to see why"
        ) from None
    finally:
        os.close(reading)
    if outcome["status"] != 0:
        error = SetupError(outcome["message"])
        error.exit_status = outcome["status"]
        raise error


def _said(reading: int, seconds: float) -> bytes:
    """All that comes by the pipe *reading*; raises TimeoutError after *seconds*."""
    until = time.monotonic() + seconds
    readable = select.poll()
    readable.register(reading, select.POLLIN)
    said = b""
    while readable.poll(1000 * max(0.0, until - time.monotonic())):
        piece = os.read(reading, 64 * KIB)
        if not piece:
            return said
        said += piece
    raise TimeoutError


class _Report:
    """The one report of a daemon to its parent; later ones are dropped.

    Thread safety: `send`; `_lock` guards the pipe, whose number is another file's
    once it is closed.
    """

    def __init__(self, writing: int, hide: Callable[[str], str]) -> None:
        self._hide = hide
        self._lock = threading.Lock()
        self._writing: int | None = writing  # guarded by _lock

    def send(self, status: int, message: str) -> None:
        """Tell the parent how it ends: with *status*, and *message* if that is not 0."""
        said = {"status": status, "message": self._hide(message)}
        with self._lock:
            writing, self._writing = self._writing, None
        if writing is None:
            return
        with contextlib.suppress(OSError):  # nobody listens
            os.write(writing, json.dumps(said).encode())
        os.close(writing)


def _serve_as_daemon(
    report: _Report, serve: Callable[[Callable[[], None]], None]
) -> NoReturn:
    """The child's side of `serve_in_background`."""

    def up() -> None:
        _detach_streams()
        report.send(0, "")

    status = 1
    try:
        os.setsid()
        os.chdir("/")
        serve(up)
        status = 0
        report.send(MountpointError.exit_status, "the mount was ended before it was up")
    except SetupError as error:
        status = error.exit_status
        report.send(status, str(error))
    except BaseException as error:
        log.exception("the mount process failed")
        report.send(status, f"{type(error).__name__}: {printable(error)}")
    finally:
        leave(status)


def leave(status: int) -> NoReturn:
    """End the process now. Threads that still wait for a server are left behind."""
    logging.shutdown()
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)


def _detach_streams() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    os.close(null)
