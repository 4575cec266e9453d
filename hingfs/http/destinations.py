"""Where the API may send us, and by which scheme.

Decides which hosts a redirect or a URL in JSON may name, what their connections may
lead to, and that what is named by http is asked by https first. Leaves to `addresses`
what an address is, and to `transport` the asking.

The user chose the API's own host, so that one is never refused. A server on the
Internet cannot send us to this machine or into its network, since the name of its host
may lead elsewhere each time: what counts is the most public address that the API's
connections had.

Threads: every method may be called from any thread; `_lock` guards the tables.
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

# A host that is served by http alone is asked by https again after this, since it may
# have got a certificate. A guess.
_PLAIN_SECONDS = 600.0
_MOST_PLAIN_HOSTS = 256
# That a host does not answer by https costs a time-out: once, not for each try of a
# read. A guess.
_REFUSED_SECONDS = 10.0

# Gives the addresses of a host; raises OSError.
LookUp = Callable[[str], list[str]]


class Destinations:
    """What the API at the base URL may name. See the module docstring."""

    def __init__(self, config: EndpointConfig, look_up: LookUp) -> None:
        self._config = config
        self._look_up = look_up
        api = urlsplit(config.base_url)
        self._api_host = _bare(api.hostname or "")
        self._api_port = port_of(config.base_url)
        self._api_by_tls = api.scheme == "https"
        self._lock = threading.Lock()
        self._api_peers: set[Reach] = set()  # of its connections; guarded by _lock
        # (host, port) served by http alone -> monotonic time until which that is
        # believed; guarded by _lock
        self._plain_until: dict[tuple[str, int], float] = {}
        # (host, port) that did not answer by https -> what is said of that, and until
        # when (monotonic); guarded by _lock
        self._refused_until: dict[tuple[str, int], tuple[str, float]] = {}

    # -- hosts -----------------------------------------------------------------------

    def check(self, host: str) -> None:
        """Raise ServerBroken where the API may not send us to *host*.

        A name that cannot be looked up passes: the request will say what is wrong.
        """
        if _bare(host) == self._api_host:
            return
        reach = _reach_as_written(host)
        if reach is None:
            reach = max(self._reaches(host), default=Reach.PUBLIC)
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
        """Why we do not go to *host*, which has that reach; None if we do."""
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
        """The most public reach of the API's host; asked late: at boot there is no DNS."""
        written = _reach_as_written(self._api_host)
        if written is not None:
            return written
        with self._lock:
            seen = set(self._api_peers)
        return min(seen or self._reaches(self._api_host), default=Reach.PUBLIC)

    def _reaches(self, host: str) -> set[Reach]:
        try:
            return set(map(reach_of, self._look_up(host)))
        except OSError:
            return set()

    # -- schemes ---------------------------------------------------------------------

    def by_tls(self, url: str) -> str | None:
        """The URL that is asked first for *url*, an http one; None if that is *url*.

        A signature does not cover the scheme. A port that is named stays, but for 80.
        Raises as `allow_plain` did a moment ago.
        """
        parts = urlsplit(url)
        if parts.scheme != "http" or not self._api_by_tls or self._is_plain(url):
            return None
        with self._lock:
            message, until = self._refused_until.get(_place(url), ("", 0.0))
        if time.monotonic() < until:
            raise ServerBroken(message)
        host = parts.netloc
        if parts.port == _DEFAULT_PORTS["http"]:
            host = host.rpartition(":")[0]
        return urlunsplit(parts._replace(scheme="https", netloc=host))

    def allow_plain(self, url: str, reason: str) -> None:
        """Raise ServerBroken unless *url*, an http one, may be asked as it is.

        *reason* says why it is not had by https.
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
            self._refused_until[_place(url)] = message, until
        raise ServerBroken(message)

    def hint_of(self, url: str) -> str:
        """What may help where *url*, an http one, is refused by https."""
        host = printable(urlsplit(url).netloc.rpartition("@")[2], 80)
        return (
            f"the API named http://{host}, and https was asked; if that host has it by http "
            "alone, and you trust the way to it, mount with --insecure-storage"
        )

    def note_plain(self, url: str, *, served: bool) -> None:
        """The host of *url* serves it by http and not by https, or no longer."""
        place = _place(url)
        with self._lock:
            known = self._plain_until.pop(place, None) is not None
            if not served:
                return
            if len(self._plain_until) >= _MOST_PLAIN_HOSTS:
                self._plain_until.pop(next(iter(self._plain_until)))
            self._plain_until[place] = time.monotonic() + _PLAIN_SECONDS
        if not known:
            log.info("%s is read over plain http", printable(place[0], 80))

    def _is_plain(self, url: str) -> bool:
        with self._lock:
            return time.monotonic() < self._plain_until.get(_place(url), 0.0)


_DEFAULT_PORTS = {"http": 80, "https": 443}


def port_of(url: str) -> int:
    """The port that *url* leads to; 0 for a scheme that is not HTTP's."""
    parts = urlsplit(url)
    return parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)


def _place(url: str) -> tuple[str, int]:
    return _bare(urlsplit(url).hostname or ""), port_of(url)


def _bare(host: str) -> str:
    return host.lower().strip("[]").rstrip(".")


def _of_literal(address: str) -> Reach:
    """The reach of an address that is written in a URL.

    A proxy's fake addresses mean something only as the answer to a name.
    """
    reach = reach_of(address)
    return Reach.PRIVATE if reach is Reach.FAKE else reach


def _reach_as_written(host: str) -> Reach | None:
    """The reach of an address, or of a name that needs no look-up; None for others."""
    literal = literal_address(host)
    if literal is not None:
        return _of_literal(literal)
    return reach_of_name(_bare(host))
