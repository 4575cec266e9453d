"""Which addresses are on the Internet, and which are somebody's own."""

import ipaddress

# IPv6 networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215) and
# the "IPv4-compatible" ones of old, with :: and ::1 among them.
_EMBEDDING = tuple(
    map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96"))
)


def is_private_address(address: str) -> bool:
    """Whether *address*, with or without a zone, is none on the Internet."""
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.is_site_local:  # fec0::/10, which Python calls global
            return True
        ip = _embedded(ip) or ip
    return not ip.is_global or ip.is_multicast


def _embedded(ip: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address that *ip* leads to by way of a gateway, if it is such a one.

    Teredo's are not unwrapped: none of them is global.
    """
    if any(ip in network for network in _EMBEDDING):
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip.sixtofour
