"""Sends requests by two sessions of `requests`, which serve all threads.

Decides how a request looks on the wire, which connections are opened ahead or given up,
and which variables of the environment count. Leaves to `transport` where a request may
go, and to `connections` how it gets there.
"""

import logging
import os
import time
from collections.abc import Callable, Mapping
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urlsplit

import requests
import requests.adapters
import requests.auth
import urllib3
import urllib3.exceptions

from ..errors import Stale, Unreachable
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

# Makes the adapter of a session; called with the connections to keep to each host.
MakeAdapter = Callable[[int], requests.adapters.HTTPAdapter]

# urllib3 logs each request with its whole URL, which may be a signed one.
logging.getLogger("urllib3").setLevel(logging.ERROR)


class Sessions:
    """Sends requests. See the module docstring.

    Thread safety: all methods. Threads share the sessions' connection pools, which are
    thread-safe. Cookies are refused, and nothing else changes after construction.
    """

    def __init__(
        self, config: EndpointConfig, proxies: Proxies, adapter: MakeAdapter
    ) -> None:
        self._connect_seconds = config.connect_seconds
        self._proxies = proxies
        self._session = _session(adapter(config.connections + _METADATA_CONNECTIONS))
        # For requests that want a new connection; each is used once: see `send`.
        self._fresh_session = _session(adapter(1))

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
        session = self._fresh() if fresh else self._session
        server = urlsplit(url).netloc.rpartition("@")[2]  # without a password
        for _ in range(_MOST_STALE):
            left = max(0.001, deadline - time.monotonic())
            try:
                with send_errors(server):
                    return session.request(
                        method,
                        url,
                        headers=headers,
                        auth=auth,
                        allow_redirects=False,
                        proxies=self._proxies.of(url),
                        stream=True,
                        timeout=(min(self._connect_seconds, left), left),
                    )
            except Stale as error:
                log.debug("%s: %s", server, error)
        raise Unreachable("connections die as soon as they are kept", server=server)

    def _fresh(self) -> requests.Session:
        """The session for fresh requests, its pool emptied; busy connections go on."""
        self._fresh_session.close()
        return self._fresh_session

    def warm(self, url: str, count: int) -> None:
        """Open up to *count* connections to the host of *url*, TLS included; send nothing.

        The first request will report a failure. Does nothing behind a proxy, where a
        connection belongs to one request.
        """
        if self._proxies.serve(url):
            return
        request = requests.Request("GET", url).prepare()
        adapter = self._session.get_adapter(url)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        verify = self._session.verify
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


class _Session(requests.Session):
    """A session for which no answer is a redirect: `transport` follows them.

    Even if told not to follow a redirect, requests reads its whole body.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, even if *resp* is a redirect."""


def _session(adapter: requests.adapters.HTTPAdapter) -> requests.Session:
    session = _Session()
    # With trust_env, requests would read netrc for each request and for each host that a
    # redirect names. We copy the variables that we want, once: see `proxies` too.
    session.trust_env = False
    session.verify = next(
        (
            os.environ[name]
            for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
            if os.environ.get(name)
        ),
        True,
    )
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    session.headers.clear()
    session.headers.update(
        {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "hingfs"}
    )
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    return session
