"""Authenticated HTTP exchanges, one at a time; every `requests` error becomes ours.

Decides: how a request looks on the wire, which redirects are followed and who sees
the token, how long each step may take.
Leaves to others: what an answer means (`verdict`) and whether to try again (`client`).

The token goes to the scheme, host and port of the base URL and nowhere else: it is
added per hop here, never kept in session headers, so no redirect can carry it off.
A public API cannot send us into the private network: the names it redirects to are
looked up, and each connection's peer is looked at before anything is sent, since a
name may lead elsewhere a moment later.

Threads: those of `connections`, and none of its own. One `Session` serves all threads.
What they share in it is the connection pool, which is thread-safe; cookies are refused,
and nothing else changes after construction. `_lock` guards the token.
"""

import contextlib
import http.client
import ipaddress
import logging
import os
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from http.cookiejar import DefaultCookiePolicy
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import requests
import requests.adapters
import requests.utils
import urllib3
import urllib3.exceptions

from ..base_url import is_loopback
from ..blocks import KIB, ByteRange
from ..errors import (
    Closing,
    DeadlineExceeded,
    NoTls,
    ServerBroken,
    Stale,
    TokenError,
    TransportError,
    Unreachable,
    printable,
)
from ..settings import EndpointConfig
from .answer import Answer
from .breaker import Breaker
from .clock import ServerClock
from .connections import Adapter
from .destinations import Destinations, port_of
from .exchange import Exchanges
from .limits import RequestLimit
from .resolver import Resolver

log = logging.getLogger(__name__)

MOST_REDIRECTS = 5
# Servers refuse request lines beyond some 8 KiB.
LONGEST_URL = 8 * KIB
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
# After the first that had died, no connection kept as long is used: more are new ones,
# which other requests have kept and lost meanwhile. A guess.
_MOST_STALE = 3
Origin = tuple[str, str, int]

# urllib3 logs each request with its whole URL, which may be a signed one.
logging.getLogger("urllib3").setLevel(logging.ERROR)


def origin_of(url: str) -> Origin:
    """(scheme, host, port) of *url*: what decides whether the token may be sent."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), port_of(url)


# What OpenSSL says of bytes that are no record of TLS, as those of plain HTTP.
_NO_TLS_SPOKEN = frozenset(
    {
        "WRONG_VERSION_NUMBER",
        "UNKNOWN_PROTOCOL",
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
    }
)


class HttpTransport:
    """The one way to the endpoint. See the module docstring for its threads."""

    def __init__(self, config: EndpointConfig) -> None:
        self.clock = ServerClock()
        self._config = config
        self._api_origin = origin_of(config.base_url)
        # A caller that waited its time and asks again joins the same look-up once.
        self._resolver = Resolver(2 * config.connect_seconds)
        self._exchanges = Exchanges()
        # Threads that may hold a connection at once: fetch workers and metadata
        # workers. A pool that is too small would throw warm connections away.
        connections = config.connections + 16
        self._destinations = Destinations(config, self._look_up)
        self._session = _session(
            Adapter(
                self._resolver, self._exchanges, self._destinations.admit, connections
            )
        )
        # Its connections are used once: see `request`.
        self._fresh_session = _session(
            Adapter(self._resolver, self._exchanges, self._destinations.admit, 1)
        )
        self._proxies = _Proxies()
        self.limit = RequestLimit()
        self.breaker = Breaker()
        self._lock = threading.Lock()
        self._token = config.token.read()  # guarded by _lock
        self._token_number = 0  # counts the renewals; guarded by _lock
        self._closed = threading.Event()

    def url_of(self, path: str) -> str:
        """The URL of an API *path*, which begins with "/v1/"."""
        return self._config.base_url + path

    def request(
        self,
        method: str,
        url: str,
        *,
        deadline: float,
        about: str = "",
        span: ByteRange | None = None,
        headers: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> Answer:
        """The answer to one request, body unread; of any status.

        GET follows redirects (at most five, and where `destinations` lets them lead);
        HEAD does not. By *deadline* (monotonic seconds) the head of an answer must be
        there. *about* is the video that is asked for, "" for what is none: silence
        about one says nothing of the others. A *fresh* one goes by a connection of its
        own, which may lead to another replica than those that are kept. Raises
        TransportError, or Closing once `close` was called.
        """
        sent = dict(headers or {})
        if span is not None:
            sent["Range"] = span.to_header()
        ask = partial(self._exchange, fresh=True) if fresh else self._ask
        for _ in range(MOST_REDIRECTS + 1):
            answer = ask(method, url, sent, deadline, about)
            ask = self._ask  # where it leads to, any connection will do
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or method != "GET" or not target:
                return answer
            answer.drain_and_close()
            url = self.redirect_target(answer.url, target)
        raise ServerBroken(f"more than {MOST_REDIRECTS} redirects in a row")

    def _fresh(self) -> requests.Session:
        """A session that holds no connection; those in use are not its own any more."""
        self._fresh_session.close()
        return self._fresh_session

    def warm(self, count: int) -> None:
        """Open up to *count* connections to the API, TLS included, and send nothing.

        A failure is left for the first request to report. Does nothing behind a
        proxy, where a connection belongs to one request.
        """
        proxies = self._proxies.of(self._config.base_url)
        if requests.utils.select_proxy(self._config.base_url, proxies):
            return
        request = requests.Request("GET", self._config.base_url).prepare()
        adapter = self._session.get_adapter(self._config.base_url)
        assert isinstance(adapter, requests.adapters.HTTPAdapter)
        verify = self._session.verify
        pool = adapter.get_connection_with_tls_context(request, verify)
        assert isinstance(pool, urllib3.HTTPConnectionPool)
        adapter.cert_verify(  # type: ignore[no-untyped-call]
            pool, self._config.base_url, verify, None
        )
        # urllib3 has no public way to connect without a request.
        connections = [pool._get_conn() for _ in range(count)]  # noqa: SLF001
        for connection in connections:
            try:
                if connection.is_closed:
                    connection.timeout = self._config.connect_seconds
                    connection.connect()
            except (OSError, urllib3.exceptions.HTTPError) as error:
                log.debug("no connection ahead of the first request: %s", error)
            pool._put_conn(connection)  # noqa: SLF001

    def renew_token(self) -> bool:
        """Read the token file again; True if it holds another token than before."""
        try:
            token = self._config.token.read()
        except TokenError as error:
            log.warning("%s; the token before stays in use", error)
            return False
        with self._lock:
            renewed = token != self._token
            if renewed:
                self._token = token
                self._token_number += 1
        if renewed:
            log.info("the token file holds a new token")
        return renewed

    def token_renewed_since(self, answer: Answer) -> bool:
        """Whether the token is another by now than the one sent for *answer*."""
        with self._lock:
            return answer.token_number != self._token_number

    def wait(self, seconds: float) -> None:
        """Sleep; raises Closing as soon as the transport is closed."""
        if self._closed.wait(seconds):
            raise Closing("the mount is ending")

    def close(self) -> None:
        """Refuse new requests, wake every thread that waits for one, close connections.

        A thread that reads a body closes it when it has been woken; one that connects,
        by the end of its connect time-out.
        """
        self._closed.set()
        self.limit.close(Closing("the mount is ending"))
        self._resolver.close(Closing("the mount is ending"))
        self._exchanges.close()

    def join(self, seconds: float) -> bool:
        """Whether its threads have ended within *seconds* each; after `close`."""
        return self._resolver.join(seconds)

    def _ask(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        deadline: float,
        about: str,
    ) -> Answer:
        """The answer at *url*; for one that is named by http, by https if it can be."""
        secure = self._destinations.by_tls(url)
        if secure is None:
            try:
                return self._exchange(method, url, headers, deadline, about)
            except Unreachable:
                self._destinations.note_plain(url, served=False)
                raise
        try:
            answer = self._exchange(method, secure, headers, deadline, about)
        except Unreachable as error:
            if origin_of(secure) == self._api_origin:
                raise
            reason = str(error)
        else:
            reason = "" if answer.from_api else self._why_plain(answer, url)
            if not reason:
                if answer.status >= 400 and not answer.from_api:
                    answer.hint = self._destinations.hint_of(url)
                return answer
            answer.close()
        self._destinations.allow_plain(url, reason)
        answer = self._exchange(method, url, headers, deadline, about)
        self._destinations.note_plain(url, served=answer.status < 400)
        return answer

    def _why_plain(self, answer: Answer, url: str) -> str:
        """Why *answer*, had by https, is none to *url*, an http one; "" if it is."""
        target = answer.headers.get("Location", "")
        if answer.status in _REDIRECTS and urljoin(answer.url, target) == url:
            return "it redirects to http"
        if answer.status >= 400 and self._config.insecure_storage:
            return f"it answered HTTP {answer.status}"  # another server may be there
        return ""

    def _exchange(
        self,
        method: str,
        url: str,
        headers: dict[str, str],
        deadline: float,
        about: str,
        *,
        fresh: bool = False,
    ) -> Answer:
        if self._closed.is_set():
            raise Closing("the mount is ending")
        if deadline <= time.monotonic():
            raise DeadlineExceeded("no time is left for another request")
        to_api = origin_of(url) == self._api_origin
        with self._lock:
            token, token_number = self._token, self._token_number
        started = time.monotonic()
        auth = _Bearer(token, self._api_origin) if to_api else _no_auth
        try:
            session = self._fresh() if fresh else self._session
            ask = partial(session.request, method, url, headers=headers, auth=auth)
            with self.breaker.unanswered(about, started):
                response = self._sent(ask, url, deadline)
        except TransportError as error:
            if self._closed.is_set():
                raise Closing("the mount is ending") from error
            if to_api:
                self.breaker.failed(error, about, started)
            raise
        answer = Answer(
            response,
            from_api=to_api,
            token_number=token_number,
            stall_seconds=self._config.stall_seconds,
            waited_seconds=time.monotonic() - started,
        )
        if to_api:
            self._note_answer(answer)
        log.debug(
            "%s %s %s -> %d in %.3f s",
            method,
            printable(urlsplit(url).path, 400),
            headers.get("Range", ""),
            answer.status,
            time.monotonic() - started,
        )
        return answer

    def _sent(
        self, ask: Callable[..., requests.Response], url: str, deadline: float
    ) -> requests.Response:
        """What *ask* gets of *url*; a kept connection that had died costs no try."""
        for _ in range(_MOST_STALE):
            left = max(0.001, deadline - time.monotonic())
            try:
                with _request_errors():
                    return ask(
                        allow_redirects=False,
                        proxies=self._proxies.of(url),
                        stream=True,
                        timeout=(min(self._config.connect_seconds, left), left),
                    )
            except Stale as error:
                log.debug("%s: %s", urlsplit(url).hostname, error)
        raise Unreachable("connections to the server die as soon as they are kept")

    def _note_answer(self, answer: Answer) -> None:
        """The API answered."""
        # A cache's answer (Age) is as old as it says.
        if "Age" not in answer.headers:
            self.clock.learn(answer.headers.get("Date"))
        self.breaker.answered()

    def redirect_target(self, url: str, location: str) -> str:
        """The URL that *location*, said by the answer to *url*, leads to.

        Raises ServerBroken where that is no place to go.
        """
        if len(location) > LONGEST_URL:
            raise ServerBroken(f"redirected to a URL of {len(location)} characters")
        try:
            target = urljoin(url, location)
            # As it will be sent. urllib3 reads "http://a\\@b/" as host a, urlsplit as
            # host b: what is checked here must be what is connected to.
            target = requests.Request("GET", target).prepare().url or ""
            scheme, host, _port = origin_of(target)
        except (ValueError, requests.exceptions.RequestException) as error:
            raise ServerBroken("redirected to something that is no URL") from error
        if scheme not in ("http", "https") or not host:
            raise ServerBroken(
                f"redirected to a {printable(scheme, 20)!r} URL; refused"
            )
        self._destinations.check(host)
        return target

    def _look_up(self, host: str) -> list[str]:
        """The addresses of *host*; none where a proxy looks it up, and may be alone to."""
        url = f"https://[{host}]/" if ":" in host else f"https://{host}/"
        if requests.utils.select_proxy(url, self._proxies.of(url)):
            return []
        return self._resolver.look_up(host, 0, self._config.connect_seconds)


class _Bearer(requests.auth.AuthBase):
    """The token as `auth`, since a netrc entry would override a plain header.

    It looks at the URL as it is sent, whatever was meant: no other origin gets it.
    """

    def __init__(self, token: str, origin: Origin) -> None:
        self._token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _no_auth(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Send no credentials, whatever the session or the environment holds."""
    request.headers.pop("Authorization", None)
    return request


class _Proxies:
    """The proxies of the environment as it is now, for one host or another.

    This machine is never reached through one: a token that may go to it in clear
    text would go to the proxy.
    """

    def __init__(self) -> None:
        # GNOME writes socks://, and has the proxy look names up (as curl's socks5h).
        self._found = {
            scheme: proxy.replace("socks://", "socks5h://", 1)
            if proxy.startswith("socks://")
            else proxy
            for scheme, proxy in getproxies().items()
        }

    def of(self, url: str) -> dict[str, str]:
        """Scheme -> proxy for *url*; empty where NO_PROXY names its host."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        place = f"{host}:{parts.port}" if parts.port else host
        direct = (
            is_loopback(host)
            or proxy_bypass(place, self._found)
            or _in_networks(host, self._found.get("no", ""))
        )
        return {} if direct else self._found


def _in_networks(host: str, networks: str) -> bool:
    """Whether *host* is an address in one of *networks*, as in "10.0.0.0/8, ::1"."""
    for network in networks.split(","):
        with contextlib.suppress(ValueError):  # most entries are names
            held = ipaddress.ip_network(network.strip(), strict=False)
            if ipaddress.ip_address(host) in held:
                return True
    return False


class _Session(requests.Session):
    """A session for which no answer is a redirect: `request` looks at each of them.

    Told not to follow one, requests reads its whole body all the same.
    """

    def get_redirect_target(self, resp: requests.Response) -> None:
        """None, whatever *resp* says."""


def _session(adapter: Adapter) -> requests.Session:
    session = _Session()
    # With trust_env, requests reads netrc for each request and for each host that a
    # redirect names. What of the environment is wanted is copied, once: see _Proxies.
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


@contextlib.contextmanager
def _request_errors() -> Iterator[None]:
    """Turn what a request can raise before its answer into TransportError."""
    try:
        yield
    except requests.exceptions.SSLError as error:
        raise NoTls(f"TLS: {reason_of(error)}") from error
    except requests.exceptions.Timeout as error:  # an answer's is told by `exchange`
        raise Unreachable("no connection within the connect time-out") from error
    except requests.exceptions.ConnectionError as error:
        raise Unreachable(reason_of(error)) from error
    except (
        requests.exceptions.RequestException,
        urllib3.exceptions.HTTPError,
        http.client.HTTPException,
    ) as error:
        raise ServerBroken(f"the exchange failed: {reason_of(error)}") from error
    except (OSError, ValueError) as error:  # ValueError: what cannot stand in a request
        raise TransportError(f"the exchange failed: {reason_of(error)}") from error


def _causes(error: BaseException) -> Iterator[BaseException]:
    """*error* and what it came of, innermost last; urllib3 wraps it in several coats."""
    for _ in range(8):
        yield error
        around = None if error.__suppress_context__ else error.__context__
        inner = getattr(error, "reason", None) or error.__cause__ or around
        if not isinstance(inner, BaseException):
            return
        error = inner


def reason_of(error: BaseException) -> str:
    """The innermost cause of *error* in one line."""
    *_, error = _causes(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return printable(error.verify_message).rstrip(".")
    if isinstance(error, ssl.SSLError) and error.reason in _NO_TLS_SPOKEN:
        return "this port does not speak it, perhaps http"
    return printable(
        getattr(error, "strerror", None) or str(error) or type(error).__name__
    )
