"""The base URL of an API: how people write it, and whether its host is this machine."""

import ipaddress
import re
from urllib.parse import urlsplit

from .errors import UsageError, printable


def normalized_base_url(text: str) -> str:
    """*text* without trailing slashes and without one trailing "/v1" or "/v1/videos".

    Some services publish their base URL with /v1, some without, and some people paste
    the address of the list, or of a clip; every request of ours adds /v1 itself.
    Any other prefix ("/openai") is kept.
    Raises UsageError for what is no http(s) URL, or holds credentials or a query.
    """
    url = re.sub(
        r"/v1(/+videos(/[^/?#]+(/content)?)?)?$", "", text.strip().rstrip("/")
    ).rstrip("/")
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        raise UsageError(
            f"{_shown(text)} is no URL; is its port one of 1 to 65535?"
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(
            f"{_shown(text)} is no base URL, which looks like https://api.example.com"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise UsageError(
            "it holds no user name, password, query or fragment; "
            "the token goes into HINGFS_TOKEN or a token file"
        )
    return url


def _shown(text: str) -> str:
    """*text* as a message may show it: nothing of it if it may hold a password."""
    return "what is given" if "@" in text else repr(printable(text, 80))


def is_loopback(host: str) -> bool:
    """True if *host*, a name or an address in a URL, is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
