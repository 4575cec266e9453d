"""urllib3's connections, made in bounded time, with answers that `exchange` reads.

Decides how the time for a connection is shared by the look-up, the attempts and the
proxy, and whether a kept connection may carry another request. Leaves the look-up to
`resolver`, the attempts to `dialing`, and to its owner whether a peer may be spoken to.

Threads: none of its own; one thread at a time uses a connection.
"""

import contextlib
import http.client
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests.adapters
import socks
import urllib3
import urllib3.connection
import urllib3.contrib.socks
import urllib3.exceptions
import urllib3.util.ssl_

from ..errors import ServerBroken, Stale
from .dialing import LIVELY, Dialer
from .exchange import Exchange, read_head
from .open_connections import OpenConnections
from .resolver import Resolver
from .socket_input import SocketInput

# A connection that was idle for longer is not used again: many a NAT and firewall has
# forgotten it by then, and says nothing. A new one costs two or three round trips, a
# dead one `SILENCE_SECONDS`.
_KEPT_SECONDS = 30.0
_MOST_DEAD = 256

# Called with the host and a socket just connected to it, before anything is sent:
# raises OSError where it must not be used.
Admit = Callable[[str, socket.socket], None]


class Adapter(requests.adapters.HTTPAdapter):
    """Connections whose names *resolver* looks up, and which *open_* knows all of.

    *admit* is asked about each peer; not about a proxy, which looks up the name itself
    and is the user's own choice.
    """

    def __init__(
        self, resolver: Resolver, open_: OpenConnections, admit: Admit, connections: int
    ) -> None:
        shared = _Shared(resolver, Dialer(), open_, _Dead(), admit)
        self._pool_classes = _pool_classes(_Strict, _StrictTls, shared)
        self._socks_classes = _pool_classes(_Socks, _SocksTls, shared)
        super().__init__(pool_connections=8, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        """As overridden; for direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pool_classes

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - handed on
        """As overridden; for connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        by_socks = isinstance(manager, urllib3.contrib.socks.SOCKSProxyManager)
        classes = self._socks_classes if by_socks else self._pool_classes
        manager.pool_classes_by_scheme = classes
        return manager


class _Dead:
    """When a kept connection to each place was last found dead.

    Thread safety: all methods; each is one step on the table. Which of two times that
    race stays makes no difference.
    """

    def __init__(self) -> None:
        self._found_at: dict[tuple[str, int | None], float] = {}

    def note(self, place: tuple[str, int | None]) -> None:
        """One was just now: those that were kept before it are not used again."""
        if len(self._found_at) >= _MOST_DEAD:
            self._found_at.clear()
        self._found_at[place] = time.monotonic()

    def since(self, place: tuple[str, int | None]) -> float:
        """When one was found last (monotonic); 0 where none was."""
        return self._found_at.get(place, 0.0)


@dataclass(frozen=True, slots=True)
class _Shared:
    """What all connections of one adapter share."""

    resolver: Resolver
    dialer: Dialer
    open_: OpenConnections
    dead: _Dead
    admit: Admit


class _Strict(urllib3.connection.HTTPConnection):
    """A connection that reads nothing itself. Made by `_pool_classes`."""

    _shared: _Shared
    kept_at = 0.0  # when an answer ended on it (monotonic); 0 while none has

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*args, **kwargs)
        # Called by http.client, and no more; it is typed as a class.
        made: Any = partial(Exchange, connection=self, within=self._shared.open_)
        self.response_class = made

    def connect(self) -> None:
        """As overridden, and closed at once where the transport was meanwhile."""
        self._shared.open_.check_open()
        super().connect()
        try:
            self._shared.open_.check_open()
        except OSError:
            self.close()
            raise

    def _new_conn(self) -> socket.socket:
        sock = _connected(self, self._dns_host, self._shared)
        return _admitted(self, sock, self._shared.admit)

    @property
    def is_connected(self) -> bool:
        """Whether a request may be sent, which the pool asks just before it is.

        What waits on the socket then was sent without having been asked for, or is the
        end of the connection; the next answer would be taken for another's.
        """
        if not self._shared.open_.take(self):
            return False
        if self.kept_at and (
            time.monotonic() - self.kept_at > _KEPT_SECONDS
            or self._shared.dead.since((self.host, self.port)) > self.kept_at
        ):
            return False
        pending = getattr(self.sock, "pending", None)  # deciphered by TLS, not yet read
        return super().is_connected and not (pending is not None and pending())

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        """As overridden. Raises as `getresponse` where it cannot be sent."""
        with self._staleness():
            super().request(*args, **kwargs)

    def getresponse(self) -> Exchange:  # type: ignore[override] # stands in its place
        """The answer, its head read; past urllib3, which would wrap it.

        Raises Stale where a connection that was kept ended without one: that tells of
        the connection, and of others kept as long, and nothing of the server.
        """
        with self._staleness():
            answer: Any = http.client.HTTPConnection.getresponse(self)
        assert isinstance(answer, Exchange)
        return answer

    def close(self) -> None:
        """As overridden; what it is used for next is another connection."""
        self.kept_at = 0.0
        self._shared.open_.take(self)
        super().close()

    @contextlib.contextmanager
    def _staleness(self) -> Iterator[None]:
        kept_at = self.kept_at
        try:
            yield
        except OSError as error:
            if not kept_at:
                raise
            self._shared.dead.note((self.host, self.port))
            raise Stale(f"a kept connection had died: {error}") from error

    def _tunnel(self) -> None:
        """Have the proxy connect to the host, within the time-out."""
        host = (self._tunnel_host or "").strip("[]")
        place = f"{f'[{host}]' if ':' in host else host}:{self._tunnel_port}"
        lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
        lines += [
            f"{name}: {value}"
            for name, value in self._tunnel_headers.items()  # type: ignore[attr-defined]
            if name.lower() != "host"
        ]
        until = time.monotonic() + _seconds_of(self)
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))
        received = SocketInput(self.sock)
        head = read_head(received, "CONNECT", until)
        if not 200 <= head.status < 300:
            raise OSError(f"Tunnel connection failed: HTTP {head.status} {head.reason}")
        if received.holds_more:
            raise ServerBroken("the proxy sent more than it was asked for")


class _ByTls:
    """What a connection by TLS has beside: an end without a goodbye is one.

    Python before 3.11.3, Debian 12's, has OpenSSL 3 take a connection that was cut off
    for one that was closed.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        context = urllib3.util.ssl_.create_urllib3_context()
        # OpenSSL before 3 knows no such option, and never did so.
        context.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
        super().__init__(*args, **{"ssl_context": context, **kwargs})


class _StrictTls(_ByTls, _Strict, urllib3.connection.HTTPSConnection):
    """The same by TLS."""


class _Socks(_Strict, urllib3.contrib.socks.SOCKSConnection):
    """The same through a SOCKS proxy, which looks names up itself by socks5h."""

    def _new_conn(self) -> socks.socksocket:
        seconds = _seconds_of(self)
        options: Any = self._socks_options  # typed more narrowly than they are
        host = self._dns_host
        try:
            if not options["rdns"]:
                host = self._shared.resolver.look_up(host, self.port, seconds)[0]
            return socks.create_connection(
                (host, self.port),
                timeout=seconds,  # type: ignore[arg-type] # a float will do
                proxy_type=options["socks_version"],
                proxy_addr=options["proxy_host"],
                proxy_port=options["proxy_port"],
                proxy_rdns=options["rdns"],
                proxy_username=options["username"],
                proxy_password=options["password"],
                socket_options=[*(self.socket_options or ()), *LIVELY],
            )
        except OSError as error:
            reason = OSError(f"the SOCKS proxy: {error}")
            raise urllib3.exceptions.NewConnectionError(self, str(reason)) from reason


class _SocksTls(_ByTls, _Socks, urllib3.contrib.socks.SOCKSHTTPSConnection):
    """The same by TLS, inside the tunnel."""


def _pool_classes(
    plain: type[_Strict], by_tls: type[_Strict], shared: _Shared
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    # Typed as urllib3's: `getresponse` stands in its place.
    bound: Any = {"_shared": shared}
    connection: Any = type(plain.__name__, (plain,), bound)
    tls_connection: Any = type(by_tls.__name__, (by_tls,), bound)

    class Keeping:
        def _put_conn(self, conn: Any) -> None:  # noqa: ANN401 - handed on
            if conn is not None and not conn.is_closed:
                shared.open_.keep(conn)
            super()._put_conn(conn)  # type: ignore[misc] # a pool's

    class Pool(Keeping, urllib3.HTTPConnectionPool):
        ConnectionCls = connection

    class TlsPool(Keeping, urllib3.HTTPSConnectionPool):
        ConnectionCls = tls_connection

    return {"http": Pool, "https": TlsPool}


def _seconds_of(connection: urllib3.connection.HTTPConnection) -> float:
    """Its time-out: for connecting at first, for the answer once it has asked."""
    seconds = connection.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds


def _connected(
    connection: urllib3.connection.HTTPConnection, host: str, shared: _Shared
) -> socket.socket:
    """A socket to the first address of *host* that answers."""
    seconds = _seconds_of(connection)
    until = time.monotonic() + seconds
    try:
        addresses = shared.resolver.look_up(host, connection.port, seconds)
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    try:
        return shared.dialer.dial(
            host,
            connection.port,
            addresses,
            seconds=max(0.001, until - time.monotonic()),
            options=[*(connection.socket_options or ()), *LIVELY],
        )
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(
            connection, f"no connection within {seconds} s"
        ) from error
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error


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
