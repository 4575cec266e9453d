"""Names of hosts looked up for callers who do not wait for ever.

`requests` bounds one wait for a socket; nothing bounds the look-up of a name. Decides
who shares a look-up, and when one that hangs is left behind for another.

Threads: look-ups run on `hingfs-names-N`, since nothing can wake one that hangs. They
are daemons, started when there is work, and end at `Resolver.close`.
"""

import ipaddress
import socket
import threading
import time
from concurrent.futures import Future
from dataclasses import dataclass

import urllib3.util.connection

from ..errors import HingError
from ..workers import DaemonPool

# Names looked up at once, those included whose look-up hangs: the API's, and those of
# the storage hosts that it names. glibc gives each up after some 10 to 30 s.
_MOST_LOOKUPS = 32


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A look-up under way, or one whose answer came too late for who asked."""

    addresses: Future[list[str]]
    started_at: float  # monotonic


class Resolver:
    """The addresses of names, as the system tells them.

    A second caller joins the look-up in flight, until that is *patience_seconds* old;
    then another is started beside it. An answer that comes too late for its callers is
    kept for the next one.

    Thread safety: all methods.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._pool = DaemonPool("hingfs-names", _MOST_LOOKUPS)
        self._lock = threading.Lock()
        # (host, port) -> the look-up to join; guarded by _lock
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    def look_up(self, host: str, port: int, seconds: float) -> list[str]:
        """The addresses of *host*, in the order in which to try them.

        Raises TimeoutError after *seconds*, OSError if there is no such name.
        """
        if _is_address(host):
            return _find(host, port)
        place = (host, port)
        now = time.monotonic()
        with self._lock:
            lookup = self._lookups.get(place)
            if lookup is None or now - lookup.started_at >= self._patience_seconds:
                self._forget_old_locked(now)
                lookup = _Lookup(self._pool.submit(_find, host, port), now)
                self._lookups[place] = lookup
        try:
            error = lookup.addresses.exception(seconds)
        except TimeoutError:
            raise TimeoutError("the name lookup took too long") from None
        with self._lock:
            if self._lookups.get(place) is lookup:
                del self._lookups[place]
        if isinstance(error, HingError):
            raise error.again() from error
        if error is not None:  # several may raise it: a copy each
            raise socket.gaierror(*error.args) from error
        return lookup.addresses.result()

    def _forget_old_locked(self, now: float) -> None:
        """Drop late answers that nobody came for."""
        self._lookups = {
            place: lookup
            for place, lookup in self._lookups.items()
            if not lookup.addresses.done()
            or now - lookup.started_at < self._patience_seconds
        }

    def close(self, error: HingError) -> None:
        """Wake every caller with *error*; a look-up that hangs is left behind."""
        self._pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)


def _find(host: str, port: int) -> list[str]:
    """What the system says; takes as long as that likes."""
    try:
        found = socket.getaddrinfo(
            host,
            port,
            urllib3.util.connection.allowed_gai_family(),
            socket.SOCK_STREAM,
        )
    except UnicodeError as error:
        raise socket.gaierror(socket.EAI_NONAME, "no name of a host") from error
    addresses = []
    for *_, place in found:
        scope = f"%{place[3]}" if len(place) == 4 and place[3] else ""
        addresses.append(f"{place[0]}{scope}")
    return list(dict.fromkeys(addresses))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
