"""What a host name and an address tell: whose they are, who else's, and whether the internet knows them."""

from ipaddress import ip_address, ip_network

import pytest

from fastrelay.errors import MisuseError
from fastrelay.trail import names
from fastrelay.trail.networks import address, akin, is_internal, is_nowhere, near, network, within


@pytest.mark.parametrize(
    ("name", "organisation"),
    [
        ("mx1.mail.example.com", "example.com"), ("example.com", "example.com"), ("a.example.co.uk", "example.co.uk"),
        ("delta.cs.example.ac.th", "example.ac.th"), ("www.example.de", "example.de"),
        ("a.b.example.com.au", "example.com.au"),
        ("localhost", ""), ("pc.lan", ""), ("x.localdomain", ""), ("db.internal", ""), ("[192.0.2.1]", ""), ("", ""),
        ("1.2.3.4", ""),
    ],
)  # fmt: skip
def test_organisation(name: str, organisation: str) -> None:
    assert names.organisation(name) == organisation


def test_houses_have_many_domains() -> None:
    assert names.house("mx.google.com") == names.house("mail-wr1.googlemail.com") == "google"
    assert names.house("a.prod.outlook.com") == names.house("b.exchangelabs.com") == "microsoft"
    assert names.house("mx.example.com") == "example.com"


def test_alike_by_a_telling_name() -> None:
    assert names.alike("listman.example.com", "listman.example.org")
    assert names.alike("out.example-shop.de", "mx9.example-shop.com")
    assert names.alike("mail.kolibri.local", "ns.kolibri.com")
    assert not names.alike("mail.example.com", "mail.example.org")
    assert not names.alike("mx1.somewhere.com", "mx1.elsewhere.com")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("192.0.2.1", "192.0.2.1"), ("[192.0.2.1]", "192.0.2.1"), ("IPv6:2001:db8::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"), ("192.0.2.1:25", "192.0.2.1"), ("::ffff:192.0.2.1", "192.0.2.1"),
        ("300.1.2.3", ""), ("host.example", ""), ("12345", ""), ("", ""), ("1.2.3", ""), ("192.0.2.1.", ""),
        ("a" * 90, ""),
    ],
)  # fmt: skip
def test_address(text: str, found: str) -> None:
    assert str(address(text) or "") == found


def test_kinds_of_addresses() -> None:
    for text in ("10.1.2.3", "127.0.0.1", "192.168.0.1", "172.16.9.9", "169.254.1.1", "::1", "fe80::1", "fd00::1"):
        assert is_internal(ip_address(text)), text
    assert is_internal(ip_address("100.64.3.3"))
    for text in ("192.0.2.1", "203.0.113.9", "2001:db8::1", "8.8.8.8"):
        assert not is_internal(ip_address(text)), text
    for text in ("0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.1.1.1", "ff02::1"):
        assert is_nowhere(ip_address(text)), text
    assert not is_nowhere(ip_address("203.0.113.9"))


def test_neighbours() -> None:
    one = ip_address("203.0.113.9")
    assert near(one, ip_address("203.0.113.200")) and not near(one, ip_address("203.0.114.9"))
    assert akin(one, ip_address("203.0.114.9")) and not akin(one, ip_address("203.1.113.9"))
    assert not near(one, ip_address("2001:db8::1"))
    assert near(ip_address("2001:db8:1::1"), ip_address("2001:db8:1:9::1"))


def test_networks_of_an_operator() -> None:
    assert network("192.0.2.9/24") == ip_network("192.0.2.0/24") and network("[2001:db8::1]").prefixlen == 128
    assert within(ip_address("192.0.2.7"), [network("2001:db8::/32"), network("192.0.2.0/24")])
    with pytest.raises(MisuseError, match="is not a network"):
        network("mail.example.com")
