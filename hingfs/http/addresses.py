"""The reach of an address: how far it is from the Internet. Pure.

Decides whether an address is on the Internet, in a private network, on this machine, or
of a service that hands out the machine's secrets. Decides which names lead to the last
two without a look-up, since a proxy alone may look names up. Leaves to `destinations`
which of them we may be sent to.
"""

import contextlib
import enum
import ipaddress
import socket

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Reach(enum.IntEnum):
    """How far an address is from the Internet; the nearest comes first."""

    PUBLIC = 0
    # A proxy on this machine or its router (Clash, mihomo, sing-box, Surge) gives such
    # an address for every name, and connects it to that name.
    FAKE = 1
    PRIVATE = 2
    LOOPBACK = 3
    # A service of the machine or its cloud at a fixed address; most give credentials.
    METADATA = 4


# The defaults of those proxies. No network has them: RFC 2544 keeps the first for
# benchmarks; sing-box's and xray's fc00::/18 lies in the half of fc00::/7 that RFC 4193
# gives to nobody; mihomo's is no random prefix, as that RFC wants of a network.
_FAKE = ("198.18.0.0/15", "fc00::/18", "fdfe:dcba:9876::/64")
_LOOPBACK = ("0.0.0.0/8", "127.0.0.0/8")  # with :: and ::1, see _EMBEDDING
# Where clouds serve the metadata of a machine, by their own pages (2026-11-26) or by the
# source named beside the line (2026-11-27). Some are in ranges that storage may use.
_METADATA = (
    # Link-local: no storage is here. 169.254.169.254 nearly everywhere: AWS,
    # Google, Azure, Oracle, IBM, OpenStack, Open Telekom and with it Huawei (its pages
    # for ECS, "Obtaining Metadata"); 169.254.0.23 of Tencent, 169.254.170.2 of ECS.
    "169.254.0.0/16",
    "fe80::/10",
    "fd00:ec2::/32",  # AWS
    "fd20:ce::254/128",  # Google
    "168.63.129.16/32",  # Azure's wire server, in a public range
    "192.0.0.192/32",  # Oracle's first: docs.oracle.com, "Predefined Instance Metadata"
    "fd00:c1::a9fe:a9fe/128",  # Oracle
    "fd00:42::42/128",  # Scaleway
    "fd00:a9fe:a9fe::1/128",  # Akamai, Linode: cloud-init's datasource Akamai
    "100.100.100.200/32",  # Alibaba: alibabacloud.com/help/en/ens/instance-metadata
    "fd00:100::100:200/128",  # Alibaba: cloud-init's tests of its datasource AliYun
    "100.96.0.96/32",  # Volcengine: docs.byteplus.com, "Viewing instance metadata"
    "100.80.80.80/32",  # UCloud: docs.ucloud.cn/uhost/guide/metadata/metadata-server
    "192.80.8.124/32",  # Equinix Metal, in a public range: equinix-labs' scripts
    "100.100.100.100/32",  # Tailscale's own service on each machine
    "fd7a:115c:a1e0::53/128",
)
# Names of such services in the public name space.
_METADATA_NAMES = frozenset(
    {
        "metadata.goog",  # Google
        "metadata.tencentyun.com",  # Tencent
        "api.metadata.cloud.ibm.com",  # IBM: cloud.ibm.com/apidocs/vpc-metadata
        "global.cloudinit.sdns.ksyun.com",  # Kingsoft: endocs.ksyun.com/documents/7200
        "metadata.exoscale.com",  # Exoscale's own library, egoscale
        "metadata.platformequinix.com",  # cloud-init's datasource EquinixMetal
        "metadata.packet.net",  # the same, of old
    }
)
# In private name spaces, and without one, names of such services begin with one of
# these: "metadata", "metadata.google.internal", "instance-data.ec2.internal".
_METADATA_LABELS = frozenset(
    {"metadata", "meta-data", "instance-data", "rancher-metadata"}
)
_PRIVATE_SPACES = frozenset({"internal", "local", "localdomain", "lan", "intranet"})
# From the /etc/hosts of Debian and Red Hat. RFC 6761 gives all of .localhost to this
# machine.
_LOOPBACK_LABELS = frozenset(
    {
        *("localhost", "localhost4", "localhost6", "loopback"),
        *("ip6-localhost", "ip6-loopback", "ipv6-localhost", "ipv6-loopback"),
    }
)
_LOCAL_SPACES = frozenset({"", "localdomain", "localdomain4", "localdomain6", "local"})
_TABLE = tuple(
    (reach, ipaddress.ip_network(network))
    for reach, networks in (
        (Reach.METADATA, _METADATA),
        (Reach.LOOPBACK, _LOOPBACK),
        (Reach.FAKE, _FAKE),
    )
    for network in networks
)
# IPv6 networks whose last 32 bits are an IPv4 address: NAT64 (RFC 6052, RFC 8215), the
# "IPv4-compatible" ones of old, with :: and ::1 among them, and SIIT's (RFC 2765).
_EMBEDDING = tuple(
    map(
        ipaddress.IPv6Network,
        ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96"),
    )
)
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")


def reach_of(address: str) -> Reach:
    """The reach of *address*, with or without a zone; of several readings, the worst.

    Raises ValueError unless *address* is one.
    """
    ip = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(ip, ipaddress.IPv4Address):
        return _plain_reach(ip)
    inner = _embedded(ip)
    # An address that leads to a public IPv4 address is public, in any registry.
    return max(map(_plain_reach, inner)) if inner else _plain_reach(ip)


def reach_of_name(host: str) -> Reach | None:
    """The reach of the name *host*; None where only a look-up can tell."""
    name = host.lower().rstrip(".")
    first, _, space = name.partition(".")
    last = name.rpartition(".")[2]
    private = not space or last in _PRIVATE_SPACES
    if name in _METADATA_NAMES or (private and first in _METADATA_LABELS):
        return Reach.METADATA
    if last == "localhost" or (first in _LOOPBACK_LABELS and space in _LOCAL_SPACES):
        return Reach.LOOPBACK
    return None


def literal_address(host: str) -> str | None:
    """The address that *host* spells in a URL; None if *host* is a name.

    Reads every spelling that connects: 2130706433, 0x7f.1 and 0177.0.0.1 are 127.0.0.1.
    """
    host = host.strip("[]").rstrip(".")
    with contextlib.suppress(ValueError):
        return str(ipaddress.ip_address(host))
    with contextlib.suppress(OSError, UnicodeError):
        return socket.inet_ntoa(socket.inet_aton(host))
    return None


def _plain_reach(ip: Address) -> Reach:
    for reach, network in _TABLE:
        if ip in network:
            return reach
    site_local = isinstance(ip, ipaddress.IPv6Address) and ip.is_site_local
    # Python calls fec0::/10 and multicast addresses global.
    own = site_local or not ip.is_global or ip.is_multicast
    return Reach.PRIVATE if own else Reach.PUBLIC


def _embedded(ip: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """The IPv4 addresses that *ip* may lead to through a gateway.

    Teredo addresses are not unwrapped: all of them count as private.
    """
    inner = [address for address in (ip.ipv4_mapped, ip.sixtofour) if address]
    number = int(ip)
    if any(ip in network for network in _EMBEDDING):
        inner.append(ipaddress.IPv4Address(number & 0xFFFFFFFF))
    if ip in _LOCAL_NAT64:  # only the network knows the length of its prefix
        for prefix_bits in (48, 56, 64):
            bits = number & ((1 << (128 - prefix_bits)) - 1)
            # RFC 6052 §2.2: the address follows the prefix, and leaves out bits 64 to 71.
            before = 64 - prefix_bits
            first = bits >> 64
            rest = (bits >> (56 - (32 - before))) & ((1 << (32 - before)) - 1)
            inner.append(ipaddress.IPv4Address(first << (32 - before) | rest))
    return inner
