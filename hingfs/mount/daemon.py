"""A mount in the background: a daemon that serves, and a parent that waits for it.

The process forks before any thread exists. The parent returns when the mount is up, or
with the daemon's reason and exit status. Any failure before that ends the mount; the
parent kills a daemon that reports nothing within `UP_SECONDS`.

Decides how the two processes part. Its caller decides what the daemon serves.
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

# How long a mount in the background may take to come up; it takes 0.2 s. A guess.
UP_SECONDS = 30.0


def serve_in_background(
    config: Config, serve: Callable[[Callable[[], None]], None]
) -> None:
    """Call *serve* in a daemon; returns once *serve* has called its argument.

    Raises the SetupError that the daemon met, with its exit status. After `UP_SECONDS`
    kills the daemon and raises MountpointError. Call it before any thread exists.
    """
    reading, writing = os.pipe()
    daemon = os.fork()
    if daemon == 0:
        os.close(reading)
        _serve_as_daemon(_Report(writing, config.endpoint.token.hide), serve)
    os.close(writing)
    try:
        outcome = json.loads(_read_report(reading, UP_SECONDS))
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


def _read_report(reading: int, seconds: float) -> bytes:
    """All bytes of the pipe *reading*; raises TimeoutError after *seconds*."""
    until = time.monotonic() + seconds
    readable = select.poll()
    readable.register(reading, select.POLLIN)
    report = b""
    while readable.poll(1000 * max(0.0, until - time.monotonic())):
        piece = os.read(reading, 64 * KIB)
        if not piece:
            return report
        report += piece
    raise TimeoutError


class _Report:
    """The one report of a daemon to its parent; later ones are dropped.

    Thread safety: `send`.
    """

    def __init__(self, writing: int, hide: Callable[[str], str]) -> None:
        self._hide = hide
        # Guards _writing: once closed, its number may be that of another file.
        self._lock = threading.Lock()
        self._writing: int | None = writing

    def send(self, status: int, message: str) -> None:
        """Tell the parent its exit *status*, and the *message* to it."""
        report = {"status": status, "message": self._hide(message)}
        with self._lock:
            writing, self._writing = self._writing, None
        if writing is None:
            return
        with contextlib.suppress(OSError):  # the parent is gone
            os.write(writing, json.dumps(report).encode())
        os.close(writing)


def _serve_as_daemon(
    report: _Report, serve: Callable[[Callable[[], None]], None]
) -> NoReturn:
    """The daemon's side of `serve_in_background`."""

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
    """End the process now, with the threads that still wait for a server."""
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
