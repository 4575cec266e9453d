"""One mount: an engine, FUSE in front of it, and the process that serves them.

SIGINT, SIGTERM and SIGHUP are blocked before any thread starts; the thread `hingfs-signals` waits
for them. It closes the engine, so that each read in flight ends with EIO, and then makes
libfuse leave its loop. libfuse alone would wait for those reads, and a handler in Python
would never run, since the main thread is in C. SIGHUP ends a mount whose terminal has
gone. Without a controlling terminal (in the background, under systemd), or where `nohup`
had SIGHUP ignored, it has token, log and list read again.

Other threads: `hingfs-up`, until the mount is up, and `hingfs-trim`, which gives free
memory back and shares nothing but the event that ends it.
"""

import contextlib
import ctypes
import logging
import math
import os
import signal
import sys
import threading
from collections.abc import Callable
from functools import partial

from .. import __version__
from ..api.endpoint_check import Checked, NewestPage
from ..engine import Engine
from ..errors import EndpointError, MountpointError, plain, printable
from ..keep.keeper import LISTING_TTLS, Keeper
from ..library.known import VideoFile
from ..library.lookups import SILENCE_SECONDS
from ..log import reopen as reopen_log
from ..settings import CacheConfig, Config
from ..wait.poller import Poller
from ..workers import Worker
from . import binding, heap, mount_table, mountpoint
from .mount_table import OwnMount
from .operations import HingOperations
from .threads import shares_of, threads_left
from .waiting import WaitingOpens

log = logging.getLogger(__name__)

# Connections opened before they are needed: a first stat sends two requests at once, and
# a first read fetches the head and the tail.
WARM_CONNECTIONS = 2
# How long a thread may keep the interpreter while others want it. All threads here
# give it up at their next read or wait anyway; a shorter time only makes them trade it:
# a film on loopback 850 MB/s at 5 ms, 1,000 at 20 ms (no FUSE, 2026-11-22).
SWITCH_SECONDS = 0.02
# How long the threads of the check may take to end; they are idle by then.
_CHECK_ENDS_SECONDS = 2.0
# How long the end of a mount waits for what the next one needs to be written: a batch of
# 10,000 videos takes 0.1 s (2 cores, 2026-11-27). Below the five seconds that an end may
# take.
_SETTLE_SECONDS = 1.0
_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


class Mount:
    """One mount, wired. Make it in the process that serves it.

    *on_up* is called once the mount is up, on the thread `hingfs-up`. *newest* is the
    newest page of the list, if a check has brought it.
    """

    def __init__(
        self,
        config: Config,
        on_up: Callable[[], None],
        newest: NewestPage | None = None,
    ) -> None:
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
        if newest is not None:
            self.engine.catalog.note_newest(newest)
        self._keeper = _keeper_of(self.engine, config)
        self._poller = Poller(
            self.engine.catalog.find_when_ready, config.endpoint.poll_seconds
        )
        self._own_mount: OwnMount | None = None  # set once, when it is up
        self.operations = HingOperations(
            self.engine.catalog,
            self.engine.readers,
            config.mount,
            on_start=self._started,
            on_stop=self.close,
            on_open=self._opened,
            waits=self._waiting_opens(),
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
        self._library.run(
            self.operations,
            str(self._config.mount.directory),
            self._options(),
            self._shares.most_threads,
        )
        self.close()
        self.engine.settle(_SETTLE_SECONDS)
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        """End every wait and every transfer; may be called twice, from any thread."""
        self._ended.set()
        if self._keeper is not None:
            self._keeper.close()
        self._poller.close()
        self.engine.close()

    def _opened(self, file: VideoFile) -> None:
        if self._keeper is not None:
            self._keeper.opened(file)

    def _waiting_opens(self) -> WaitingOpens | None:
        """None where no request is sent, and so nothing can become ready."""
        if self._config.endpoint.offline:
            return None
        return WaitingOpens(
            self._poller,
            self.engine.crowd,
            most=self._shares.most_opens_waiting,
            seconds=self._config.mount.wait_seconds,
            is_attached=self._is_attached,
        )

    def _is_attached(self) -> bool:
        return self._own_mount is None or self._own_mount.is_there()

    def _options(self) -> dict[str, str | bool]:
        config = self._config.mount
        options: dict[str, str | bool] = {
            "ro": True,
            # Shown by mount and df.
            "fsname": mount_table.source_of(self._config.endpoint.base_url),
            "subtype": mount_table.SUBTYPE,
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
                ("trim", partial(heap.give_back, self._ended)),
            ):
                Worker(f"hingfs-{name}", job).start()
        except BaseException as error:
            self._fail(error)
            raise

    def _finish_start(self) -> None:
        """Do what must wait until the kernel has the reply to its first message."""
        directory, size_kib = self._config.mount.directory, binding.READAHEAD_KIB
        try:
            # Waits for the reply; inside `init` it would wait for ever.
            device = os.stat(directory).st_dev
        except OSError as error:
            self._fail(f"it does not answer: {error.strerror}")
            return
        self._own_mount = OwnMount(f"{os.major(device)}:{os.minor(device)}")
        try:
            if mountpoint.raise_kernel_readahead(directory, size_kib):
                log.info("the kernel reads ahead %d KiB", size_kib)
        finally:
            self._tell_up()  # allowed or not
        self.engine.transport.warm(WARM_CONNECTIONS)
        if self._keeper is not None:
            self._keeper.start()

    def _tell_up(self) -> None:
        try:
            self._on_up()
        except BaseException as error:
            self._fail(error)
            raise

    def _fail(self, why: BaseException | str) -> None:
        """End a mount that does not come up; `run` raises *why*.

        A mount that was told to end meanwhile has not failed.
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
        # Only now: libfuse leaves once its callbacks have returned.
        binding.leave()

    def reload(self) -> None:
        """Go on in the log's new file, and have token file and list read again."""
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


def _keeper_of(engine: Engine, config: Config) -> Keeper | None:
    """What keeps videos of *engine* as *config* says, if anything does."""
    which = config.mount.keep
    if which == "off" or engine.kept is None or config.endpoint.offline:
        return None
    return Keeper(
        engine,
        everything=which == "all",
        listing_seconds=LISTING_TTLS * config.cache.listing_ttl_seconds,
    )


def block_signals() -> None:
    """Block the signals that end a mount, here and in every thread started later.

    SIGPIPE too: libfuse 2 restores its default as it leaves, and a thread that writes to
    a connection just then would end the process.
    """
    signals = _SIGNALS | {binding.LEAVE_SIGNAL, signal.SIGPIPE}
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def _ends_on_hangup() -> bool:
    """True if a SIGHUP will mean that the terminal has gone; seen only beforehand."""
    if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN:
        return False
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True


def check(config: Config) -> Checked:
    """Prove address and token with one request.

    Raises SetupError if they fail.
    """
    heap.tune()
    engine = Engine(config.endpoint, CacheConfig())
    try:
        checked = engine.client.check()
    finally:
        engine.close()
        ended = engine.join(_CHECK_ENDS_SECONDS)
    if not ended:
        raise EndpointError(  # a fork would cut off a thread that is left
            f"{config.endpoint.host} was found, but another lookup of it hangs; try "
            "again, or skip this check with --no-check"
        )
    return checked


def prepare(config: Config) -> None:
    """Prove that *config* can be mounted here; raises SetupError if it cannot."""
    mountpoint.check_fuse(allow_other=config.mount.allow_other)
    binding.load(config.mount.fuse)
    mountpoint.prepare(config.mount.directory)


def serve(
    config: Config, on_up: Callable[[], None], newest: NewestPage | None = None
) -> None:
    """Mount in this process and serve until the mount ends."""
    threading.excepthook = _log_end_of_thread
    heap.tune()
    with contextlib.suppress(OSError):
        # libfuse ends its threads by pthread_cancel, for which glibc loads this library,
        # and aborts where no file descriptor is left for that.
        ctypes.CDLL("libgcc_s.so.1")
    sys.setswitchinterval(SWITCH_SECONDS)
    block_signals()  # before the thread of the facts exists, so that it inherits it
    Mount(config, on_up, newest).run()


def _log_end_of_thread(ended: threading.ExceptHookArgs) -> None:
    """Log the error that ended a thread; in the background nobody sees standard error."""
    name = ended.thread.name if ended.thread is not None else "a thread"
    error = ended.exc_value or ended.exc_type()
    log.error("%s died of an unforeseen error", name, exc_info=error)
