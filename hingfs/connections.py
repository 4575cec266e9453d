"""Connections that are made, and answered, in bounded time.

`requests` bounds one wait for a socket; nothing bounds the look-up of a name, nor
headers that come byte by byte. Decides where names are looked up, how the time for a
connection is shared by the addresses of a host, and when an exchange without an answer
is ended. Leaves to `transport` what is sent, and whether a peer may be spoken to.

Threads: look-ups run on `hingfs-names-N`, since nothing can wake one that hangs: who
waits for it leaves it behind. `hingfs-watch` ends exchanges that are overdue. All are
daemons, started when there is work.
"""

import contextlib
import ipaddress
import math
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import requests.adapters
import urllib3
import urllib3.connection
import urllib3.exceptions
import urllib3.util.connection

from .errors import HingError, TransportError
from .workers import DaemonPool

# Names looked up at once, those included whose look-up hangs: the API's, and those of
# the storage hosts that it names. glibc gives each up after some 10 to 30 s.
_MOST_LOOKUPS = 32

# Called with the host and a socket just connected to it, before anything is sent:
# raises OSError where it must not be used.
Admit = Callable[[str, socket.socket], None]


@dataclass(frozen=True, slots=True)
class _Lookup:
    """A look-up under way, or one whose answer came too late for who asked."""

    addresses: Future[list[str]]
    started_at: float  # monotonic


class Names:
    """Looks up names for callers who do not wait for ever.

    Who asks for a name that is being looked up waits for the same answer, until that
    look-up is *patience_seconds* old; then another is started beside it. An answer
    that came too late for those who asked is the next one's.

    Thread safety: all methods; `_lock` guards the table.
    """

    def __init__(self, patience_seconds: float) -> None:
        self._patience_seconds = patience_seconds
        self._pool = DaemonPool("hingfs-names", _MOST_LOOKUPS)
        self._lock = threading.Lock()
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
        """Wake who waits with *error*; a look-up that hangs is left behind."""
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


@dataclass(eq=False, slots=True)
class _Watched:
    sock: Any  # a socket, or what TLS makes of one
    until: float  # monotonic
    overdue: bool = False


class Watchdog:
    """Ends exchanges whose headers are not there in time.

    A socket's own time-out begins anew with each byte, so it never ends a trickle.

    Thread safety: all methods; `_changed` guards every field and each _Watched. Sockets
    are shut down with it held, which does not wait, and so never one that was closed
    meanwhile and may be another's.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._watched: set[_Watched] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at = math.inf
        self._closed = False

    @contextlib.contextmanager
    def limit(self, sock: object, seconds: float) -> Iterator[None]:
        """Whatever waits for *sock* meanwhile is woken after *seconds*.

        Raises TimeoutError then, whatever that became: http.client takes headers that
        were cut off for whole ones.
        """
        watched = _Watched(sock, time.monotonic() + seconds)
        self._watch(watched)
        try:
            yield
        finally:
            with self._changed:
                self._watched.discard(watched)
            if watched.overdue:
                raise TimeoutError("the headers did not arrive in time")

    def close(self) -> None:
        """End every exchange that is watched, and the thread."""
        with self._changed:
            self._closed = True
            for watched in self._watched:
                _shut_down(watched)
            self._changed.notify()

    def join(self, seconds: float) -> bool:
        """Whether the thread has ended within *seconds*; after `close`."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)
        return thread is None or not thread.is_alive()

    def _watch(self, watched: _Watched) -> None:
        with self._changed:
            if self._thread is None and not self._closed:
                self._start_locked()
            self._watched.add(watched)
            if self._closed:
                _shut_down(watched)
            elif watched.until < self._wakes_at:
                self._changed.notify()

    def _start_locked(self) -> None:
        thread = threading.Thread(target=self._run, name="hingfs-watch", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            raise TransportError(f"no thread can be started: {error}") from error
        self._thread = thread

    def _run(self) -> None:
        with self._changed:
            while not self._closed:
                now = time.monotonic()
                waiting = [w for w in self._watched if not w.overdue]
                for watched in waiting:
                    if watched.until <= now:
                        _shut_down(watched)
                self._wakes_at = min(
                    (w.until for w in waiting if not w.overdue), default=math.inf
                )
                idle = self._wakes_at == math.inf
                self._changed.wait(None if idle else self._wakes_at - now)


def _shut_down(watched: _Watched) -> None:
    watched.overdue = True
    with contextlib.suppress(OSError, ValueError, AttributeError):
        watched.sock.shutdown(socket.SHUT_RDWR)


class Adapter(requests.adapters.HTTPAdapter):
    """Connections whose names *names* looks up and whose answers *watchdog* awaits.

    *admit* is asked about each peer; not about a proxy, which looks up the name itself
    and is the user's own choice.
    """

    def __init__(
        self, names: Names, watchdog: Watchdog, admit: Admit, connections: int
    ) -> None:
        self._pool_classes = _pool_classes(names, watchdog, admit)
        super().__init__(pool_connections=8, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        """As overridden; for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        """As overridden; for connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        if isinstance(manager, urllib3.ProxyManager):  # SOCKS has classes of its own
            manager.pool_classes_by_scheme = self._pool_classes
        return manager


def _pool_classes(
    names: Names, watchdog: Watchdog, admit: Admit
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    class Connection(urllib3.connection.HTTPConnection):
        def _new_conn(self) -> socket.socket:
            return _admitted(self, _connected(self, self._dns_host, names), admit)

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as there
            with watchdog.limit(self.sock, _seconds_of(self)):
                return super().getresponse()

    class TlsConnection(urllib3.connection.HTTPSConnection):
        def _new_conn(self) -> socket.socket:
            return _admitted(self, _connected(self, self._dns_host, names), admit)

        def getresponse(self) -> urllib3.HTTPResponse:  # type: ignore[override] # as there
            with watchdog.limit(self.sock, _seconds_of(self)):
                return super().getresponse()

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    class TlsPool(urllib3.HTTPSConnectionPool):
        ConnectionCls = TlsConnection

    return {"http": Pool, "https": TlsPool}


def _seconds_of(connection: urllib3.connection.HTTPConnection) -> float:
    """Its time-out: for connecting at first, for the answer once it has asked."""
    seconds = connection.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds


def _connected(
    connection: urllib3.connection.HTTPConnection, host: str, names: Names
) -> socket.socket:
    """A socket to the first address of *host* that answers.

    As urllib3 does it, but for the look-up: there, it takes as long as it likes, and
    each address has all of the time-out.
    """
    seconds = _seconds_of(connection)
    try:
        addresses = names.look_up(host, connection.port, seconds)
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    until = time.monotonic() + seconds
    failed: OSError = OSError("the name has no address")
    for tried, address in enumerate(addresses):
        share = max(0.001, until - time.monotonic()) / (len(addresses) - tried)
        try:
            return urllib3.util.connection.create_connection(
                (address, connection.port),
                share,
                source_address=connection.source_address,
                socket_options=connection.socket_options,
            )
        except OSError as error:
            failed = error
    if isinstance(failed, TimeoutError):
        raise urllib3.exceptions.ConnectTimeoutError(
            connection, f"no connection within {seconds} s"
        ) from failed
    raise urllib3.exceptions.NewConnectionError(connection, str(failed)) from failed


def _admitted(
    connection: urllib3.connection.HTTPConnection, sock: socket.socket, admit: Admit
) -> socket.socket:
    if connection.proxy is not None:
        return sock
    try:
        admit(connection.host, sock)
    except OSError as error:
        sock.close()
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    return sock
