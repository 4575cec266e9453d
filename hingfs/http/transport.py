"""Answers to requests: by TLS if possible, through redirects, before a deadline.

Decides which redirects are followed, and when plain http is asked. Leaves to `wire`
how a request is sent, to `authorization` which host sees the token, to `destinations`
where the API may send us, and to its callers the meaning of an answer and further tries.

A public API cannot send us into the private network: each redirect's host is looked up,
and each connection's peer is checked before anything is sent, since a name may lead
elsewhere a moment later.

Threads: those of `resolver`, and none of its own.
"""

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, partial
from urllib.parse import urljoin, urlsplit

from ..blocks import KIB, ByteRange
from ..errors import (
    Closing,
    DeadlineExceeded,
    NotAsked,
    ServerBroken,
    TransportError,
    Unreachable,
    printable,
)
from ..settings import EndpointConfig
from .answer import Answer
from .authorization import Authorization, origin_of
from .breaker import OFFLINE, Breaker
from .clock import ServerClock
from .connections import Adapter, Keeping
from .destinations import Destinations
from .open_connections import OpenConnections
from .proxies import Proxies
from .resolver import Resolver
from .slots import Slots
from .tls import TlsContext
from .turns import RequestLimit
from .wire import Wire, as_sent

log = logging.getLogger(__name__)

MOST_REDIRECTS = 5
# Servers refuse request lines beyond some 8 KiB.
LONGEST_URL = 8 * KIB
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEPING = Keeping()


@dataclass(frozen=True, slots=True)
class _Request:
    """The parts of a request that redirects keep: see `HttpTransport.request`."""

    method: str
    headers: Mapping[str, str]
    deadline: float
    about: str


class HttpTransport:
    """The one way to the endpoint. Thread safety: all methods.

    Its callers use *clock*, *limit*, *slots*, *breaker* and *authorization* themselves;
    each is thread-safe.
    """

    def __init__(self, config: EndpointConfig, keeping: Keeping = _KEEPING) -> None:
        self.clock = ServerClock()
        self.limit = RequestLimit()
        self.slots = Slots(config.connections)
        self.breaker = Breaker.shut() if config.offline else Breaker()
        self.authorization = Authorization(config)
        self._config = config
        self._proxies = Proxies()
        # A caller that timed out and asks again joins the same look-up once more.
        self._resolver = Resolver(2 * config.connect_seconds)
        self._open = OpenConnections()
        self._destinations = Destinations(config, self._look_up)
        parts = (self._resolver, self._open, self._destinations.admit, keeping)
        # Made once TLS is spoken; where two threads make one each, either will do.
        tls = cache(TlsContext.strict)
        adapter = partial(Adapter, *parts, tls=tls, sent=self.breaker.sent)
        self._wire = Wire(config, self._proxies, adapter)
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
        """Return the answer to one request, of any status, its body unread.

        GET follows at most five redirects, where `destinations` allows them; HEAD
        follows none. The head must be here by *deadline* (monotonic). *about* is the
        video that the request is for, "" for none: silence about one video says nothing
        of the others. A *fresh* request goes by a new connection, which may lead to
        another replica than the kept ones. Raises TransportError, or Closing once
        `close` was called.
        """
        sent = dict(headers or {})
        if span is not None:
            sent["Range"] = span.to_header()
        request = _Request(method, sent, deadline, about)
        ask = partial(self._ask_as_is, fresh=True) if fresh else self._ask_by_tls_first
        for _ in range(MOST_REDIRECTS + 1):
            answer = ask(request, url)
            ask = self._ask_by_tls_first  # a redirect may use any connection
            target = answer.headers.get("Location")
            if answer.status not in _REDIRECTS or method != "GET" or not target:
                return answer
            answer.drain_and_close()
            url = self.redirect_target(answer.url, target)
        raise ServerBroken(f"more than {MOST_REDIRECTS} redirects in a row")

    def warm(self, count: int) -> None:
        """Open up to *count* connections to the API, unless it is away; send nothing."""
        if not self.breaker.is_away:
            self._wire.warm(self._config.base_url, count)

    def wait(self, seconds: float) -> None:
        """Sleep; raises Closing as soon as the transport is closed."""
        if self._closed.wait(seconds):
            raise Closing("the mount is ending")

    def close(self) -> None:
        """Refuse new requests, wake the threads that wait for one, close connections.

        A thread that reads is woken, and closes its own connection; a thread that
        connects does so by the end of its connect time-out.
        """
        self._closed.set()
        self.limit.close(Closing("the mount is ending"))
        self.slots.close(Closing("the mount is ending"))
        self._resolver.close(Closing("the mount is ending"))
        self._open.close()

    def join(self, seconds: float) -> bool:
        """Whether its threads have ended within *seconds*; after `close`."""
        return self._resolver.join(seconds)

    def _ask_by_tls_first(self, request: _Request, url: str) -> Answer:
        """The answer of *url*; an http URL is asked by https first."""
        secure = self._destinations.by_tls(url)
        if secure is None:
            try:
                return self._ask_as_is(request, url)
            except Unreachable:
                self._destinations.set_plain(url, served=False)
                raise
        try:
            answer = self._ask_as_is(request, secure)
        except Unreachable as error:
            if self.authorization.covers(secure):
                raise
            reason = str(error)
        else:
            reason = "" if answer.from_api else self._reason_for_plain(answer, url)
            if not reason:
                if answer.status >= 400 and not answer.from_api:
                    answer.hint = self._destinations.hint_of(url)
                return answer
            answer.close()
        self._destinations.allow_plain(url, reason)
        answer = self._ask_as_is(request, url)
        self._destinations.set_plain(url, served=answer.status < 400)
        return answer

    def _reason_for_plain(self, answer: Answer, url: str) -> str:
        """Why *answer*, which came by https, is not that of the http *url*; "" if it is."""
        target = answer.headers.get("Location", "")
        if answer.status in _REDIRECTS and urljoin(answer.url, target) == url:
            return "it redirects to http"
        if answer.status >= 400 and self._config.insecure_storage:
            return f"it answered HTTP {answer.status}"  # another server may be there
        return ""

    def _ask_as_is(self, request: _Request, url: str, *, fresh: bool = False) -> Answer:
        """The answer of *url* by its own scheme, redirects not followed."""
        if self._closed.is_set():
            raise Closing("the mount is ending")
        if self._config.offline:
            raise NotAsked(OFFLINE)
        if request.deadline <= time.monotonic():
            raise DeadlineExceeded("no time is left for another request")
        to_api = self.authorization.covers(url)
        started = time.monotonic()
        try:
            with self.breaker.unanswered(request.about, started):
                auth, token_number = self.authorization.of(url)
                response = self._wire.send(
                    request.method,
                    url,
                    request.headers,
                    auth,
                    deadline=request.deadline,
                    fresh=fresh,
                )
        except TransportError as error:
            if self._closed.is_set():
                raise Closing("the mount is ending") from error
            if to_api:
                self.breaker.failed(error, request.about, started)
            raise
        answer = Answer(
            response,
            from_api=to_api,
            token_number=token_number,
            stall_seconds=self._config.stall_seconds,
            waited_seconds=time.monotonic() - started,
        )
        self._record(request, url, answer)
        return answer

    def _record(self, request: _Request, url: str, answer: Answer) -> None:
        """Tell clock and breaker of *answer*, and log it."""
        if answer.from_api:
            # The Date of a cached answer, which has an Age, is old.
            if "Age" not in answer.headers:
                self.clock.learn(answer.headers.get("Date"))
            self.breaker.answered()
        log.debug(
            "%s %s %s -> %d in %.3f s",
            request.method,
            printable(urlsplit(url).path, 400),
            request.headers.get("Range", ""),
            answer.status,
            answer.waited_seconds,
        )

    def redirect_target(self, url: str, location: str) -> str:
        """The URL that *location*, in an answer of *url*, leads to.

        Raises ServerBroken where the API may not send us there.
        """
        if len(location) > LONGEST_URL:
            raise ServerBroken(f"redirected to a URL of {len(location)} characters")
        try:
            target = as_sent(urljoin(url, location))
            scheme, host, _port = origin_of(target)
        except ValueError as error:
            raise ServerBroken("redirected to something that is no URL") from error
        if scheme not in ("http", "https") or not host:
            raise ServerBroken(
                f"redirected to a {printable(scheme, 20)!r} URL; refused"
            )
        self._destinations.check(host)
        return target

    def _look_up(self, host: str) -> list[str]:
        """The addresses of *host*; none where a proxy, perhaps alone, can look it up."""
        url = f"https://[{host}]/" if ":" in host else f"https://{host}/"
        if self._proxies.serve(url):
            return []
        return self._resolver.look_up(host, 0, self._config.connect_seconds)
