"""Where the token goes, and which token.

Decides which requests carry the token, and when a new token replaces the old one. Where
none is to be had, none is sent to the API, and each request looks for one again. The
token goes to the scheme, host and port of the base URL and nowhere else. It is added to
each request as that is sent, and never kept in session headers, so no redirect can
carry it off.
"""

import hashlib
import logging
import threading
from urllib.parse import urlsplit

import requests
import requests.auth

from ..errors import AccessDenied, TokenError
from ..settings import EndpointConfig
from .destinations import port_of

log = logging.getLogger(__name__)

Origin = tuple[str, str, int]


def origin_of(url: str) -> Origin:
    """(scheme, host, port) of *url*, which decide whether the token may be sent."""
    parts = urlsplit(url)
    return parts.scheme, (parts.hostname or "").lower(), port_of(url)


class Authorization:
    """The token of one endpoint. Thread safety: all methods."""

    def __init__(self, config: EndpointConfig) -> None:
        self._source = config.token
        self._api_origin = origin_of(config.base_url)
        self._lock = threading.Lock()  # guards both fields below
        self._token = config.token.read()
        self._number = 0  # of the token: how often it was renewed

    def covers(self, url: str) -> bool:
        """Whether *url* belongs to the API, which alone gets the token."""
        return origin_of(url) == self._api_origin

    def of(self, url: str) -> tuple[requests.auth.AuthBase, int]:
        """The `auth` of a request for *url*, with the token if allowed; its number.

        Raises AccessDenied for the API while there is no token.
        """
        token, number = self._in_use()
        if not self.covers(url):
            return _Nothing(), number
        if not token:
            self.renew()
            token, number = self._in_use()
        if not token:
            raise AccessDenied(f"there is no token yet in {self._source.source}")
        return _Bearer(token, self._api_origin), number

    def digest(self, salt: bytes) -> bytes:
        """A hash of the token in use: it tells two accounts apart, and tells neither."""
        with self._lock:
            token = self._token
        return hashlib.blake2b(token.encode(), key=salt, digest_size=16).digest()

    def renew(self) -> bool:
        """Read the token file again; True if it holds another token than before."""
        try:
            token = self._source.read()
        except TokenError as error:
            log.warning("%s; the old token stays in use", error)
            return False
        with self._lock:
            renewed = token not in {"", self._token}
            if renewed:
                self._token = token
                self._number += 1
        if renewed:
            log.info("the token file holds a new token")
        return renewed

    def _in_use(self) -> tuple[str, int]:
        with self._lock:
            return self._token, self._number

    def renewed_since(self, number: int) -> bool:
        """Whether the token is newer than the one with *number*."""
        with self._lock:
            return number != self._number


class _Bearer(requests.auth.AuthBase):
    """The token as `auth`, since a netrc entry would override a plain header.

    Checks the URL of the request as it is sent: no other origin gets the token.
    """

    def __init__(self, token: str, origin: Origin) -> None:
        self._token = token
        self._origin = origin

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if origin_of(request.url or "") == self._origin:
            request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class _Nothing(requests.auth.AuthBase):
    """No credentials, even if the session or the environment holds some."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers.pop("Authorization", None)
        return request
