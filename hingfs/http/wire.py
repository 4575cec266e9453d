"""Puts requests on the wire, by two adapters of `requests` that serve all threads.

Decides how a request looks on the wire, which connections are opened ahead or given up,
and which variables of the environment count. Leaves to `transport` where a request may
go, and to `connections` how it gets there.

There is no session of `requests`: it would add cookies, credentials, proxies and
redirects of its own to each request. A request and its answer take 0.3 ms of CPU without
one, 0.5 with one (loopback, the least of five rounds, 2026-11-27).
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.auth
import urllib3
import urllib3.exceptions

from ..errors import Dropped, Stale
from ..settings import EndpointConfig
from .proxies import Proxies
from .send_errors import send_errors

log = logging.getLogger(__name__)

# How many dead connections a request meets before it fails. Once one has died, none kept
# as long is used: another dead one was new, and other requests kept and lost it
# meanwhile. A guess.
_MOST_STALE = 3
# The metadata workers, which hold connections beside the fetch workers. A pool that is
# too small would throw warm connections away.
_METADATA_CONNECTIONS = 16

# What every request says beside its own headers.
_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "hingfs"}
# The authorities that the user trusts in place of the usual ones, the first that is set.
_AUTHORITIES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

# Makes an adapter; called with the connections to keep to each host.
MakeAdapter = Callable[[int], requests.adapters.HTTPAdapter]

# urllib3 logs each request with its whole URL, which may be a signed one.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Wire:
    """Sends requests. See the module docstring.

    Thread safety: all methods. Threads share the adapters' connection pools, which are
    thread-safe. Nothing else changes after construction.
    """

    def __init__(
        self, config: EndpointConfig, proxies: Proxies, adapter: MakeAdapter
    ) -> None:
        self._connect_seconds = config.connect_seconds
        self._proxies = proxies
        self._verify = next(filter(None, map(os.environ.get, _AUTHORITIES)), True)
        self._adapter = adapter(config.connections + _METADATA_CONNECTIONS)
        # For requests that want a new connection; each is used once: see `send`.
        self._fresh_adapter = adapter(1)

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        auth: requests.auth.AuthBase,
        *,
        deadline: float,
        fresh: bool,
    ) -> requests.Response:
        """Return the answer of *url*, its head read, by *deadline* (monotonic).

        A kept connection that was dead costs no try. A *fresh* request goes by a new
        connection. Raises TransportError.
        """
        adapter = self._fresh() if fresh else self._adapter
        server = urlsplit(url).netloc.rpartition("@")[2]  # without a password
        for _ in range(_MOST_STALE):
            left = max(0.001, deadline - time.monotonic())
            try:
                with send_errors(server):
                    return adapter.send(
                        _prepared(method, url, headers, auth),
                        stream=True,
                        timeout=(min(self._connect_seconds, left), left),
                        verify=self._verify,
                        proxies=self._proxies.of(url),
                    )
            except Stale as error:
                log.debug("%s: %s", server, error)
        raise Dropped("connections die as soon as they are kept", server=server)

    def _fresh(self) -> requests.adapters.HTTPAdapter:
        """The adapter for fresh requests, its pool emptied; busy connections go on."""
        self._fresh_adapter.close()
        return self._fresh_adapter

    def warm(self, url: str, count: int) -> None:
        """Open up to *count* connections to the host of *url*, TLS included; send nothing.

        The first request will report a failure. Does nothing behind a proxy, where a
        connection belongs to one request.
        """
        if self._proxies.serve(url):
            return
        request = requests.Request("GET", url).prepare()
        adapter, verify = self._adapter, self._verify
        pool = adapter.get_connection_with_tls_context(request, verify)
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        adapter.cert_verify(pool, url, verify, None)  # type: ignore[no-untyped-call]
        # urllib3 has no public way to connect without a request.
        connections = [pool._get_conn() for _ in range(count)]  # noqa: SLF001
        for connection in connections:
            try:
                if connection.is_closed:
                    connection.timeout = self._connect_seconds
                    connection.connect()
            except (OSError, urllib3.exceptions.HTTPError) as error:
                log.debug("no connection ahead of the first request: %s", error)
            pool._put_conn(connection)  # noqa: SLF001


def as_sent(url: str) -> str:
    r"""*url* as it will be sent; raises ValueError where it is no URL.

    urllib3 reads "http://a\@b/" as host a, urlsplit as host b: the host that is checked
    must be the host that is connected to.
    """
    try:
        return requests.Request("GET", url).prepare().url or ""
    except requests.exceptions.RequestException as error:
        raise ValueError(str(error)) from error


def _prepared(
    method: str, url: str, headers: Mapping[str, str], auth: requests.auth.AuthBase
) -> requests.PreparedRequest:
    """The request as it is sent: all that `PreparedRequest.prepare` does, but cookies."""
    request = requests.PreparedRequest()
    request.prepare_method(method)
    request.prepare_url(url, None)
    request.prepare_headers({**_HEADERS, **headers})
    request.prepare_body(None, None)
    request.prepare_auth(auth, url)
    return request
