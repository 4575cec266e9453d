"""A mount in the background: a daemon that serves, and a parent that waits until it does.

Daemonising happens before any thread exists. The parent returns when the mount
answers, or with the child's reason and exit status: whatever fails before the mount
answers ends the mount, and one that is silent is killed after `UP_SECONDS`.

Decides how the two part. Leaves to its caller what the daemon serves.
"""

import contextlib
import json
import logging
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import NoReturn

from ..blocks import KIB
from ..errors import MountpointError, SetupError, printable
from ..settings import Config
from . import mountpoint

log = logging.getLogger(__name__)

# How long a mount in the background may take until it answers; some 0.2 s do. A guess.
UP_SECONDS = 30.0


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
