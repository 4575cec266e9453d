"""The engines of this process: one for all filesystems and files with the same settings.

An engine lives as long as somebody holds its `Lease`, and ends with the process. A forked
child takes over nothing: threads, locks and sockets of its parent's engines are left
alone for good, and the next use makes an engine of the child's own. Processes share the
disk cache.

Threads: `hingfs-ends` closes what garbage collection has let go of. That may happen
anywhere, under any lock, so that a finalizer must not close it itself.
"""

import ctypes
import logging
import math
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from multiprocessing import util
from pathlib import Path
from queue import SimpleQueue
from weakref import WeakValueDictionary

from ..engine import Engine
from ..errors import Closing, HingError, TransportError, foreseen
from ..facts import directory as facts_directory
from ..given import demand_token
from ..token import Token
from ..workers import DaemonPool, Worker
from .options import Chosen, given, with_directories

log = logging.getLogger(__name__)

# How long the end of a process waits for what the next one needs to be written, as the
# end of a mount does.
_SETTLE_SECONDS = 1.0
# A lease is shown to others before its engine is made; that is local work.
_MAKING_SECONDS = 30.0


class Lease:
    """One engine, and the threads that read ranges of it side by side.

    Hold it as long as the engine is used. Thread safety: all methods.
    """

    def __init__(self, process: "Process") -> None:
        self.process = process
        self._made: Future[Engine] = Future()
        self._end: Callable[[], None] | None = None

    @property
    def engine(self) -> Engine:
        """The engine, once it is made; raises what its making raised."""
        try:
            return self._made.result(_MAKING_SECONDS)
        except HingError as error:
            raise error.again() from None

    @property
    def is_here(self) -> bool:
        """False in a child that was forked since: then it must not be touched."""
        return self.process is _here

    def make(self, chosen: Chosen) -> None:
        """Make the engine of *chosen*; called once."""
        try:
            engine = _engine(chosen)
        except BaseException as error:
            self._made.set_exception(foreseen(error))
            raise
        self.hide = chosen.endpoint.token.hide
        self.pool = DaemonPool("hingfs-span", chosen.endpoint.connections)
        self._end = partial(_close, engine, self.pool)
        self._made.set_result(engine)

    def close(self) -> None:
        """End the engine, with all written that came."""
        if self._end is not None:
            self._end()

    def __del__(self) -> None:
        if self._end is not None:
            self.process.later(self._end)


class Process:
    """The leases of one process. Thread safety: all methods."""

    def __init__(self) -> None:
        self._lock = threading.Lock()  # guards what stands below; no I/O under it
        self._leases: WeakValueDictionary[Chosen, Lease] = WeakValueDictionary()
        self._begun = False
        # What `hingfs-ends` does. Its `put` may be called by a finalizer.
        self._left: SimpleQueue[Callable[[], None]] = SimpleQueue()

    def lease(self, chosen: Chosen) -> Lease:
        """A lease of the engine with the settings *chosen*.

        Raises TokenError if there is no token, TransportError if the system gives no
        thread, and what the making of an engine raises.
        """
        self._begin()
        with self._lock:
            lease = self._leases.get(chosen)
            is_new = lease is None
            if lease is None:
                lease = self._leases[chosen] = Lease(self)
        if is_new:
            try:
                lease.make(chosen)
            except BaseException:
                with self._lock:
                    del self._leases[chosen]
                raise
        return lease

    def later(self, job: Callable[[], None]) -> None:
        """Have *job* done on `hingfs-ends`; in a forked child, never."""
        self._left.put(job)

    def close(self) -> None:
        """The process ends: end all engines."""
        with self._lock:
            leases = list(self._leases.values())
        for lease in leases:
            lease.close()

    def leave_alone(self) -> None:
        """This is the child, and all of this belongs to its parent: keep it for good.

        Not even the end of the interpreter may free it: that would close the parent's
        database, and end its TLS connections.
        """
        kept = (self, list(self._leases.values()))
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(kept))

    def _begin(self) -> None:
        """Have engines end, unless that is so already."""
        with self._lock:
            begun, self._begun = self._begun, True
        if begun:
            return
        try:
            Worker("hingfs-ends", self._end_each).start()
        except TransportError:
            self._begun = False  # the next call tries again
            raise
        # It runs at the end of a child of multiprocessing too, where atexit does not.
        util.Finalize(None, self.close, exitpriority=0)

    def _end_each(self) -> None:
        while True:
            job = self._left.get()
            job()
            del job


_here = Process()


def here() -> Process:
    """The process that runs this."""
    return _here


def _forked() -> None:
    global _here  # noqa: PLW0603 - a process is one
    _here.leave_alone()
    _here = Process()


os.register_at_fork(after_in_child=_forked)


def _engine(chosen: Chosen) -> Engine:
    token = chosen.endpoint.token
    if not chosen.endpoint.offline:
        demand_token(token)
    _hiding.add(token)
    for sentence in given({}, os.environ).misspelt():
        log.warning("%s", sentence)
    cache = with_directories(
        chosen.cache,
        _directory(chosen.cache.directory, facts_directory.CACHE),
        _directory(chosen.cache.keep_directory, facts_directory.DATA),
    )
    # Names are looked up side by side, as nobody waits in a kernel.
    return Engine(chosen.endpoint, cache, silence_seconds=math.inf)


def _directory(directory: Path | None, place: facts_directory.Place) -> Path | None:
    """The directory of *place* that may be used; None, with a warning, if there is none."""
    is_cache = place is facts_directory.CACHE
    find = facts_directory.usable if is_cache else facts_directory.usable_if_there
    try:
        return find(directory, os.environ, place)
    except OSError as error:
        what = "remembered for the next process" if is_cache else "kept that is shown"
        log.warning("nothing is %s: %s", what, error)
        return None


def _close(engine: Engine, pool: DaemonPool) -> None:
    pool.close(Closing("the process is ending"))
    engine.close()
    engine.settle(_SETTLE_SECONDS)


class _Hiding(logging.Filter):
    """Takes the tokens of this process out of hingfs's lines, whoever writes them."""

    def __init__(self) -> None:
        super().__init__()
        self._tokens: tuple[Token, ...] = ()  # only ever replaced

    def add(self, token: Token) -> None:
        """Hide *token* too, in the lines of each logger of hingfs that there is now."""
        self._tokens = (*(one for one in self._tokens if one != token), token)
        for name in list(logging.Logger.manager.loggerDict):
            if name.startswith("hingfs."):
                logging.getLogger(name).addFilter(self)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let *record* pass, without a token."""
        said = record.getMessage()
        told = said
        for token in self._tokens:
            told = token.hide(told)
        if told != said:
            record.msg, record.args = told, None
        return True


_hiding = _Hiding()
