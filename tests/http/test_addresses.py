"""What an address is to a server that would send us there, in every spelling."""

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hingfs.http.addresses import Reach, literal_address, reach_of, reach_of_name

REACHES = {
    Reach.PUBLIC: ["8.8.8.8", "2606:4700::1", "::ffff:8.8.8.8", "2002:808:808::1"],
    Reach.FAKE: [
        *("198.18.0.1", "198.19.255.254", "::ffff:198.18.0.1", "fc00::7"),
        *("fc00:3fff::1", "fdfe:dcba:9876::7"),
    ],
    Reach.PRIVATE: [
        *("10.1.2.3", "172.31.255.1", "192.168.0.1", "100.64.0.1", "100.127.255.254"),
        "100.96.0.95",  # beside such a service
        *("100.80.80.81", "fd00:100::100:201", "192.0.0.1", "240.0.0.1", "224.0.0.1"),
        *("fd7a:115c:a1e0::1", "fd12:3456::1", "fec0::1", "198.51.100.1"),
        "64:ff9b::a00:1",
    ],
    Reach.LOOPBACK: [
        *("127.0.0.1", "127.255.0.1", "0.0.0.0", "0.0.0.1", "::", "::1"),
        *("::ffff:127.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"),
    ],
    Reach.METADATA: [
        *("169.254.169.254", "169.254.170.2", "169.254.0.23", "100.100.100.200"),
        *("100.96.0.96", "100.80.80.80", "192.80.8.124", "fd00:100::100:200"),
        *("fd00:a9fe:a9fe::1", "fd00:ec2::23"),
        "64:ff9b::6460:60",  # of Volcengine's
        *("100.100.100.100", "192.0.0.192", "168.63.129.16", "fe80::1%eth0"),
        *("fd00:ec2::254", "fd20:ce::254", "fd00:c1::a9fe:a9fe", "fd00:42::42"),
        "::ffff:169.254.169.254",
        "::ffff:0:169.254.169.254",  # SIIT
        "::169.254.169.254",
        "64:ff9b::a9fe:a9fe",  # NAT64
        "64:ff9b::6464:64c8",  # of Alibaba's
        "64:ff9b:1::a9fe:a9fe",  # its local form, with a prefix of 96 bits
        "64:ff9b:1:a9fe:a9:fe00::",  # of 48 bits
        "64:ff9b:1:a9fe:a9:fe00:808:808",  # the same, with what looks public at the end
        "64:ff9b:1:a9:fe:a9fe::",  # of 56 bits
        "64:ff9b:1:0:a9:fea9:fe00:0",  # of 64 bits
        "2002:a9fe:a9fe::1",  # 6to4
    ],
}


NAMES = {
    Reach.METADATA: [
        *("metadata", "METADATA.", "instance-data", "rancher-metadata", "meta-data"),
        *("metadata.google.internal", "Metadata.Google.Internal.", "metadata.goog"),
        *("instance-data.ec2.internal", "instance-data.us-west-2.compute.internal"),
        *("metadata.azure.internal", "metadata.aliyun.internal", "meta-data.internal"),
        *("rancher-metadata.rancher.internal", "metadata.local", "metadata.lan"),
        *("metadata.tencentyun.com", "api.metadata.cloud.ibm.com"),
        *("global.cloudinit.sdns.ksyun.com", "metadata.exoscale.com"),
        *("metadata.platformequinix.com", "metadata.packet.net"),
    ],
    Reach.LOOPBACK: [
        *("localhost", "LOCALHOST.", "cdn.localhost", "a.b.localhost", "loopback"),
        *("localhost.localdomain", "localhost4", "localhost6", "localhost.local"),
        *("localhost4.localdomain4", "localhost6.localdomain6"),
        *("ip6-localhost", "ip6-loopback", "IP6-Localhost.", "ip6-localhost.local"),
    ],
    None: [
        *(
            *("cdn.example", "metadata.example", "metadata.cdn.example.com"),
            "localhost.com",
        ),
        *("tencentyun.com", "my-metadata", "metadata-1.internal", "cdn.internal"),
        *("notlocalhost", "localhost.example", "", "."),
    ],
}


@pytest.mark.parametrize(
    ("name", "reach"), [(name, reach) for reach, all_ in NAMES.items() for name in all_]
)
def test_names_whose_reach_needs_no_look_up(name, reach):
    """A proxy alone may look them up, and nobody would see what they lead to."""
    assert reach_of_name(name) is reach


@pytest.mark.parametrize(
    ("address", "reach"), [(a, reach) for reach, all_ in REACHES.items() for a in all_]
)
def test_each_address_has_its_reach(address, reach):
    assert reach_of(address) is reach


@given(st.ip_addresses())
def test_every_address_has_a_reach(address):
    assert reach_of(str(address)) in Reach


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::ffff:0:{}"]))
def test_an_ipv4_address_in_ipv6_is_itself(address, form):
    assert reach_of(form.format(address)) is reach_of(str(address))


@given(st.ip_addresses(v=4), st.integers(0, 255), st.integers(0, 2**24 - 1))
def test_a_local_nat64_never_makes_an_address_better(address, byte, rest):
    """RFC 6052 §2.2, for a prefix of 48 bits, whatever stands in the bits left over."""
    number = int(address)
    inside = (
        int(ipaddress.IPv6Address("64:ff9b:1::"))
        | (number >> 16) << 64
        | byte << 56
        | (number & 0xFFFF) << 40
        | rest << 16
    )

    assert reach_of(str(ipaddress.IPv6Address(inside))) >= reach_of(str(address))


@pytest.mark.parametrize(
    "host",
    [
        *("169.254.169.254", "169.254.169.254.", "2852039166", "0xA9FEA9FE"),
        *("0xa9.0xfe.0xa9.0xfe", "0251.0376.0251.0376", "169.254.43518"),
        *("169.16689662", "0xa9.254.0251.254"),
    ],
)
def test_every_spelling_of_an_address_is_read(host):
    assert literal_address(host) == "169.254.169.254"


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("[::1]", "::1"),
        ("::FFFF:a9fe:a9fe", "::ffff:169.254.169.254"),
        ("127.1", "127.0.0.1"),
        ("0", "0.0.0.0"),
        ("cdn.example", None),
        ("10.example", None),
        ("", None),
    ],
)
def test_a_name_is_no_address(host, address):
    found = literal_address(host)

    assert (found and ipaddress.ip_address(found)) == (
        address and ipaddress.ip_address(address)
    )
