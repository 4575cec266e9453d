"""Decides which proxy of the environment a request uses, if any."""

import contextlib
import ipaddress
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import requests.utils

from ..base_url import is_loopback


class Proxies:
    """The proxies that the environment named at construction.

    No proxy is used for this machine: a token may go there in clear text, and the proxy
    would see it. Thread safety: all methods; nothing changes.
    """

    def __init__(self) -> None:
        # GNOME writes socks://, and means that the proxy looks names up (socks5h).
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
        authority = f"{host}:{parts.port}" if parts.port else host
        direct = (
            is_loopback(host)
            or proxy_bypass(authority, self._found)
            or _in_networks(host, self._found.get("no", ""))
        )
        return {} if direct else self._found

    def serve(self, url: str) -> bool:
        """Whether a request for *url* goes through a proxy."""
        return bool(requests.utils.select_proxy(url, self.of(url)))


def _in_networks(host: str, networks: str) -> bool:
    """Whether *host* is an address in one of *networks*, as in "10.0.0.0/8, ::1"."""
    for network in networks.split(","):
        with contextlib.suppress(ValueError):  # most entries are names
            held = ipaddress.ip_network(network.strip(), strict=False)
            if ipaddress.ip_address(host) in held:
                return True
    return False
