"""Where the API may send us, and by which scheme.

Decides which hosts a redirect or a URL in JSON may name, which peers their connections
may have, and that an http URL is asked by https first. Leaves the reach of an address
to `addresses`, and the requests to `transport`.

The user chose the API's own host, so it is never refused. An API on the Internet cannot
send us to this machine or into its network. The API's name may lead elsewhere each
time, so the most public address that its connections had counts.
"""

import logging
import socket
import threading
import time
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

from ..errors import ServerBroken, printable
from ..settings import EndpointConfig
from .addresses import Reach, literal_address, reach_of, reach_of_name

log = logging.getLogger(__name__)

# A host that serves http alone is asked by https again after this: it may have got a
# certificate. A guess.
_PLAIN_SECONDS = 600.0
_MOST_PLAIN_HOSTS = 256
# A host that does not answer by https may cost a time-out: once in this time, not for
# each try of a read. A guess.
_REFUSED_SECONDS = 10.0

# Gives the addresses of a host; raises OSError.
LookUp = Callable[[str], list[str]]


class Destinations:
    """Judges what the API at the base URL names. See the module docstring.

    Thread safety: all methods.
    """

    def __init__(
        self,
        config: EndpointConfig,
        look_up: LookUp,
        plain_seconds: float = _PLAIN_SECONDS,
    ) -> None:
        self._config = config
        self._look_up = look_up
        api = urlsplit(config.base_url)
        self._api_host = _bare(api.hostname or "")
        self._api_port = port_of(config.base_url)
        self._api_by_tls = api.scheme == "https"
        self._plain_seconds = plain_seconds
        self._lock = threading.Lock()  # guards the three tables below
        self._api_peers: set[Reach] = set()  # reaches that the API's connections had
        # (host, port) that serves http alone -> until when we believe so (monotonic)
        self._plain_until: dict[tuple[str, int], float] = {}
        # (host, port) that did not answer by https -> the message of the refusal, and
        # until when it stands (monotonic)
        self._refused_until: dict[tuple[str, int], tuple[str, float]] = {}

    # -- hosts -----------------------------------------------------------------------

    def check(self, host: str) -> None:
        """Raise ServerBroken where the API may not send us to *host*.

        A name that cannot be looked up passes: the request to it will fail by itself.
        """
        if _bare(host) == self._api_host:
            return
        reach = _reach_as_written(host)
        if reach is None:
            reach = max(self._looked_up(host), default=Reach.PUBLIC)
        refusal = self._refusal(host, reach)
        if refusal is not None:
            raise ServerBroken(refusal)

    def admit(self, host: str, sock: socket.socket) -> None:
        """Raise OSError where *sock*, just connected to *host*, must not be used."""
        peer, port = sock.getpeername()[:2]
        reach = reach_of(peer)
        if _bare(host) == self._api_host:
            if port == self._api_port:
                with self._lock:
                    self._api_peers.add(reach)
            return
        if literal_address(host) is not None:
            reach = _of_literal(peer)
        refusal = self._refusal(host, reach)
        if refusal is not None:
            raise OSError(refusal)

    def _refusal(self, host: str, reach: Reach) -> str | None:
        """Why a *host* of this *reach* is refused; None if it is not."""
        if reach <= Reach.FAKE:
            return None
        shown = printable(host, 80)
        if reach is Reach.METADATA:
            return f"sent to {shown}, a private address that tells secrets; refused"
        api = self._api_reach()
        if reach is Reach.LOOPBACK and api is not Reach.LOOPBACK:
            return f"sent to {shown}, a private address: this machine; refused"
        if self._config.private_storage or api > Reach.FAKE:
            return None
        return (
            f"sent to the private address of {shown}; refused. If that is your own "
            "network, mount with --private-storage"
        )

    def _api_reach(self) -> Reach:
        """The most public reach of the API's host; looked up late, as boot has no DNS."""
        written = _reach_as_written(self._api_host)
        if written is not None:
            return written
        with self._lock:
            seen = set(self._api_peers)
        return min(seen or self._looked_up(self._api_host), default=Reach.PUBLIC)

    def _looked_up(self, host: str) -> set[Reach]:
        """The reaches of all addresses of *host*; empty where the look-up fails."""
        try:
            return set(map(reach_of, self._look_up(host)))
        except OSError:
            return set()

    # -- schemes ---------------------------------------------------------------------

    def by_tls(self, url: str) -> str | None:
        """The https URL to ask before the http *url*; None where there is none.

        A signature does not cover the scheme. A named port stays, but for 80. Raises
        ServerBroken again where `allow_plain` raised it a moment ago.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not self._api_by_tls or self._is_plain(url):
            return None
        with self._lock:
            message, until = self._refused_until.get(_peer_of(url), ("", 0.0))
        if time.monotonic() < until:
            raise ServerBroken(message)
        host = parts.netloc
        if parts.port == _DEFAULT_PORTS["http"]:
            host = host.rpartition(":")[0]
        return urlunsplit(parts._replace(scheme="https", netloc=host))

    def allow_plain(self, url: str, reason: str) -> None:
        """Raise ServerBroken unless the http *url* may be asked without TLS.

        *reason* says why https did not work.
        """
        if self._config.insecure_storage:
            return
        host = printable(urlsplit(url).netloc.rpartition("@")[2], 80)
        message = (
            f"the API keeps the bytes at http://{host}, which does not give them by https "
            f"({reason}); if you trust the way to that host, mount with --insecure-storage"
        )
        with self._lock:
            if len(self._refused_until) >= _MOST_PLAIN_HOSTS:
                self._refused_until.clear()
            until = time.monotonic() + _REFUSED_SECONDS
            self._refused_until[_peer_of(url)] = message, until
        raise ServerBroken(message)

    def hint_of(self, url: str) -> str:
        """Advice for the user, where https refused the http *url*."""
        host = printable(urlsplit(url).netloc.rpartition("@")[2], 80)
        return (
            f"the API named http://{host}, and https was asked; if that host has it by http "
            "alone, and you trust the way to it, mount with --insecure-storage"
        )

    def set_plain(self, url: str, *, served: bool) -> None:
        """Remember that the host of *url* serves http alone, or no longer does."""
        peer = _peer_of(url)
        with self._lock:
            known = self._plain_until.pop(peer, None) is not None
            if not served:
                return
            if len(self._plain_until) >= _MOST_PLAIN_HOSTS:
                self._plain_until.pop(next(iter(self._plain_until)))
            self._plain_until[peer] = time.monotonic() + self._plain_seconds
        if not known:
            log.info("%s is read over plain http", printable(peer[0], 80))

    def _is_plain(self, url: str) -> bool:
        with self._lock:
            return time.monotonic() < self._plain_until.get(_peer_of(url), 0.0)


_DEFAULT_PORTS = {"http": 80, "https": 443}


def port_of(url: str) -> int:
    """The port that *url* leads to; 0 for a scheme that is not HTTP's."""
    parts = urlsplit(url)
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _peer_of(url: str) -> tuple[str, int]:
    """The (host, port) that *url* leads to."""
    return _bare(urlsplit(url).hostname or ""), port_of(url)


def _bare(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _of_literal(address: str) -> Reach:
    """The reach of an address that is written in a URL.

    A proxy's fake addresses mean something only as the result of a look-up.
    """
    reach = reach_of(address)
    return Reach.PRIVATE if reach is Reach.FAKE else reach


def _reach_as_written(host: str) -> Reach | None:
    """The reach of an address or a name that needs no look-up; None for other names."""
    literal = literal_address(host)
    if literal is not None:
        return _of_literal(literal)
    return reach_of_name(_bare(host))
