"""urllib3's connections, made in bounded time, with answers that `exchange` reads.

Decides how the look-up, the attempts and the proxy share the time for a connection, and
whether a kept connection may carry another request. Leaves the look-up to `resolver`,
the attempts to `dialing`, and to its owner which peers may be used and how many
connections there are.

Threads: none of its own; one thread at a time uses a connection.
"""

import contextlib
import errno
import http.client
import queue
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests.adapters
import socks
import urllib3
import urllib3.connection
import urllib3.contrib.socks
import urllib3.exceptions

from ..errors import ServerBroken, Stale
from .dialing import LIVELY, Dialer, SocketOption
from .exchange import Exchange, read_head
from .open_connections import OpenConnections
from .resolver import Resolver
from .socket_input import HEAD_SECONDS, SocketInput
from .tls import TlsContext, TlsSocket

_MOST_DEAD = 256
# The process, or the machine, may open no more. Idle connections give theirs up.
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE}

# Called with a host and a socket just connected to it, before anything is sent. Raises
# OSError where the socket must not be used.
Admit = Callable[[str, socket.socket], None]


@dataclass(frozen=True, slots=True)
class Keeping:
    """How connections are kept, and how soon a dead or a slow one is noticed."""

    # A connection that was idle for longer is not used again: many NATs and firewalls
    # forget it by then, and say nothing. A new connection costs two or three round
    # trips, a dead one `SILENCE_SECONDS`.
    most_idle_seconds: float = 30.0
    head_seconds: float = HEAD_SECONDS
    options: Sequence[SocketOption] = LIVELY


class Adapter(requests.adapters.HTTPAdapter):
    """Makes connections: *resolver* looks up their names, *open_* lists them all.

    *admit* judges each peer, but no proxy: that looks up the name itself, and is the
    user's own choice. *tls* gives the one context of all connections.
    *sent* is called when a request has left, by its thread.
    """

    def __init__(
        self,
        resolver: Resolver,
        open_: OpenConnections,
        admit: Admit,
        keeping: Keeping,
        connections: int,
        *,
        tls: Callable[[], TlsContext],
        sent: Callable[[], None],
    ) -> None:
        dead = _DeadConnections()
        shared = _Shared(resolver, Dialer(), open_, dead, admit, tls, sent, keeping)
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


class _DeadConnections:
    """When a kept connection to each (host, port) was last found dead.

    Thread safety: all methods; each is one step on the table. If two threads race,
    either time will do.
    """

    def __init__(self) -> None:
        # (host, port) -> monotonic time
        self._found_at: dict[tuple[str, int | None], float] = {}

    def add(self, peer: tuple[str, int | None]) -> None:
        """Retire every connection to *peer* that was kept before now: one was dead."""
        if len(self._found_at) >= _MOST_DEAD:
            self._found_at.clear()
        self._found_at[peer] = time.monotonic()

    def last_found_at(self, peer: tuple[str, int | None]) -> float:
        """When a dead connection to *peer* was found last (monotonic); 0 for never."""
        return self._found_at.get(peer, 0.0)


@dataclass(frozen=True, slots=True)
class _Shared:
    """The parts that all connections of one adapter share."""

    resolver: Resolver
    dialer: Dialer
    open_: OpenConnections
    dead: _DeadConnections
    admit: Admit
    tls: Callable[[], TlsContext]
    sent: Callable[[], None]
    keeping: Keeping


class _Strict(urllib3.connection.HTTPConnection):
    """A connection that leaves reading to `Exchange`. Made by `_pool_classes`."""

    _shared: _Shared
    kept_at = 0.0  # when the last answer on it ended (monotonic); 0 before

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*args, **kwargs)
        # http.client only calls it, but types it as a class.
        shared = self._shared
        made: Any = partial(
            Exchange,
            connection=self,
            within=shared.open_,
            head_seconds=shared.keeping.head_seconds,
        )
        self.response_class = made

    def connect(self) -> None:
        """As overridden; closes at once if the transport was closed meanwhile."""
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
        """Whether the pool may send a request, which it does next.

        Bytes that wait on the socket now answer no request, or are the end of the
        connection; the next answer would be taken for another's.
        """
        if not self._shared.open_.take(self):
            return False
        if self.kept_at and (
            time.monotonic() - self.kept_at > self._shared.keeping.most_idle_seconds
            or self._shared.dead.last_found_at((self.host, self.port)) > self.kept_at
        ):
            return False
        if isinstance(self.sock, TlsSocket):
            return self.sock.is_silent()
        return super().is_connected

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        """As overridden. Raises as `getresponse` where the connection ended."""
        with self._stale_errors():
            super().request(*args, **kwargs)
        self._shared.sent()

    def getresponse(self) -> Exchange:  # type: ignore[override] # stands in its place
        """Return the answer, its head read, without urllib3's wrapper.

        Raises Stale where a kept connection ended without an answer: the connection was
        dead, and so may be others kept as long. The server need not be.
        """
        with self._stale_errors():
            answer: Any = http.client.HTTPConnection.getresponse(self)
        assert isinstance(answer, Exchange)
        return answer

    def close(self) -> None:
        """As overridden; the next `connect` makes a new connection."""
        self.kept_at = 0.0
        self._shared.open_.take(self)
        super().close()

    @contextlib.contextmanager
    def _stale_errors(self) -> Iterator[None]:
        """Turn an OSError of a connection that was kept into Stale."""
        kept_at = self.kept_at
        try:
            yield
        except OSError as error:
            if not kept_at:
                raise
            self._shared.dead.add((self.host, self.port))
            raise Stale(f"a kept connection had died: {error}") from error

    def _tunnel(self) -> None:
        """Make the proxy connect to the host, within the time-out."""
        host = (self._tunnel_host or "").strip("[]")
        authority = f"{f'[{host}]' if ':' in host else host}:{self._tunnel_port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
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
    """A connection by TLS, whose bytes `TlsSocket` reads."""

    _shared: _Shared

    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - handed on
        super().__init__(*args, **{"ssl_context": self._shared.tls(), **kwargs})


class _StrictTls(_ByTls, _Strict, urllib3.connection.HTTPSConnection):
    """A `_Strict` connection by TLS."""


class _Socks(_Strict, urllib3.contrib.socks.SOCKSConnection):
    """A `_Strict` connection through a SOCKS proxy; by socks5h, it looks names up."""

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
                socket_options=[
                    *(self.socket_options or ()),
                    *self._shared.keeping.options,
                ],
            )
        except OSError as error:
            reason = OSError(f"the SOCKS proxy: {error}")
            raise urllib3.exceptions.NewConnectionError(self, str(reason)) from reason


class _SocksTls(_ByTls, _Socks, urllib3.contrib.socks.SOCKSHTTPSConnection):
    """A `_Socks` connection by TLS, inside the tunnel."""


def _pool_classes(
    plain: type[_Strict], by_tls: type[_Strict], shared: _Shared
) -> dict[str, type[urllib3.HTTPConnectionPool]]:
    """Pools by scheme whose connections have *shared*, and tell it when idle."""
    # `Any`: urllib3 types these with a `getresponse` of its own.
    bound: Any = {"_shared": shared}
    connection: Any = type(plain.__name__, (plain,), bound)
    tls_connection: Any = type(by_tls.__name__, (by_tls,), bound)

    class Keeping:
        QueueCls = _OpenFirst

        def _put_conn(self, conn: Any) -> None:  # noqa: ANN401 - handed on
            if conn is not None and not conn.is_closed:
                shared.open_.keep(conn)
            super()._put_conn(conn)  # type: ignore[misc] # a pool's

    class Pool(Keeping, urllib3.HTTPConnectionPool):
        ConnectionCls = connection

    class TlsPool(Keeping, urllib3.HTTPSConnectionPool):
        ConnectionCls = tls_connection

    return {"http": Pool, "https": TlsPool}


class _OpenFirst(queue.LifoQueue[Any]):
    """A pool's connections: the open one that was used last comes first.

    urllib3 puts None in the place of a connection that failed. On top, it would have the
    next request connect while open connections lie below.
    """

    def _put(self, item: Any) -> None:  # noqa: ANN401 - as overridden
        if item is None or item.is_closed:
            self.queue.insert(0, item)
        else:
            self.queue.append(item)


def _seconds_of(connection: urllib3.connection.HTTPConnection) -> float:
    """The time-out of *connection*: first for connecting, then for the answer."""
    seconds = connection.timeout
    assert isinstance(seconds, (int, float)), "transport sets it for each request"
    return seconds


def _connected(
    connection: urllib3.connection.HTTPConnection, host: str, shared: _Shared
) -> socket.socket:
    """A socket to the first address of *host* that accepts."""
    seconds = _seconds_of(connection)
    until = time.monotonic() + seconds
    try:
        addresses = shared.resolver.look_up(host, connection.port, seconds)
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    dial = partial(
        shared.dialer.dial,
        host,
        connection.port,
        addresses,
        options=[*(connection.socket_options or ()), *shared.keeping.options],
    )
    try:
        try:
            return dial(seconds=max(0.001, until - time.monotonic()))
        except OSError as error:
            if error.errno not in _NO_DESCRIPTORS or not shared.open_.close_idle():
                raise
        return dial(seconds=max(0.001, until - time.monotonic()))
    except TimeoutError as error:
        raise urllib3.exceptions.ConnectTimeoutError(
            connection, f"no connection within {seconds} s"
        ) from error
    except OSError as error:
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error


def _admitted(
    connection: urllib3.connection.HTTPConnection, sock: socket.socket, admit: Admit
) -> socket.socket:
    """*sock*, once *admit* has let its peer pass; no proxy is judged."""
    if connection.proxy is not None:
        return sock
    try:
        admit(connection.host, sock)
    except OSError as error:
        sock.close()
        raise urllib3.exceptions.NewConnectionError(connection, str(error)) from error
    return sock
