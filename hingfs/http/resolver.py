"""Host names, looked up for callers that do not wait for ever.

`requests` bounds its waits for a socket; nothing bounds the look-up of a name. Decides
which callers share a look-up, and when a second look-up starts beside one that hangs.

Threads: look-ups run on `hingfs-dns-N`, since nothing can wake one that hangs. These
threads are daemons; they start when there is work, and end at `Resolver.close`.
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

# Look-ups at once, hanging ones included: of the API's name, and of the storage hosts
# that it names. glibc gives each up after some 10 to 30 s.
_MOST_LOOKUPS = 32


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A look-up under way, or one that ended too late for its callers."""

    addresses: Future[list[str]]
    started_at: float  # monotonic


class Resolver:
    """The addresses of names, as the system tells them.

    Callers for one name join its look-up until that is *join_seconds* old; the next
    caller starts another beside it. A result that comes too late for its callers is
    kept for the next one. At most *most_lookups* run at once.

    Thread safety: all methods.
    """

    def __init__(self, join_seconds: float, most_lookups: int = _MOST_LOOKUPS) -> None:
        self._join_seconds = join_seconds
        self._pool = DaemonPool("hingfs-dns", most_lookups)
        # Guards the table below. A look-up is submitted, and its thread started, with
        # the lock held: so two callers never start two.
        self._lock = threading.Lock()
        # (host, port) -> the look-up to join
        self._lookups: dict[tuple[str, int], _Lookup] = {}

    def look_up(self, host: str, port: int, seconds: float) -> list[str]:
        """The addresses of *host*, in the order in which to try them.

        Raises TimeoutError after *seconds*, OSError if there is no such name.
        """
        if _is_address(host):
            return _ask_system(host, port)
        name = (host, port)
        now = time.monotonic()
        with self._lock:
            lookup = self._lookups.get(name)
            if lookup is None or now - lookup.started_at >= self._join_seconds:
                self._forget_old_locked(now)
                addresses = self._pool.submit(_ask_system, host, port)
                lookup = _Lookup(addresses, now)
                self._lookups[name] = lookup
        try:
            error = lookup.addresses.exception(seconds)
        except TimeoutError:
            raise TimeoutError("the name lookup took too long") from None
        with self._lock:
            if self._lookups.get(name) is lookup:
                del self._lookups[name]
        if isinstance(error, HingError):
            raise error.again() from error
        if error is not None:  # a copy: several callers may raise it
            raise socket.gaierror(*error.args) from error
        return lookup.addresses.result()

    def _forget_old_locked(self, now: float) -> None:
        """Drop late results that no caller fetched."""
        self._lookups = {
            name: lookup
            for name, lookup in self._lookups.items()
            if not lookup.addresses.done()
            or now - lookup.started_at < self._join_seconds
        }

    def close(self, error: HingError) -> None:
        """Wake every caller with *error*; leave hanging look-ups behind."""
        self._pool.close(error)

    def join(self, seconds: float) -> bool:
        """Whether every thread has ended within *seconds*; after `close`."""
        return self._pool.join(seconds)


def _ask_system(host: str, port: int) -> list[str]:
    """The addresses that the system names; it may take as long as it likes."""
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
    for *_, peer in found:
        scope = f"%{peer[3]}" if len(peer) == 4 and peer[3] else ""
        addresses.append(f"{peer[0]}{scope}")
    return list(dict.fromkeys(addresses))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
