"""routing/guard.py: where mail led by DNS may not go."""

import pytest

from fastrelay.routing.guard import forbidden


@pytest.mark.parametrize(
    "address",
    ["198.41.0.4", "8.8.8.8", "2001:503:ba3e::2:30", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"],
)
def test_public(address: str) -> None:
    assert forbidden(address) == ""


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1", "loopback"),
        ("127.8.9.1", "loopback"),
        ("::1", "loopback"),
        ("::ffff:127.0.0.1", "loopback"),
        ("64:ff9b::7f00:1", "loopback"),
        ("2002:7f00:1::", "loopback"),
        ("10.1.2.3", "private"),
        ("172.16.0.1", "private"),
        ("192.168.1.1", "private"),
        ("100.64.0.1", "private"),
        ("192.0.2.1", "documentation"),
        ("198.51.100.1", "documentation"),
        ("203.0.113.1", "documentation"),
        ("fd00::1", "private"),
        ("2001:db8::1", "documentation"),
        ("3fff::1", "documentation"),
        ("198.18.0.1", "benchmarking"),
        ("2001:2::1", "benchmarking"),
        ("::ffff:192.168.1.1", "private"),
        ("169.254.169.254", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("240.0.0.1", "reserved"),
    ],
)
def test_private_in_every_dress(address: str, why: str) -> None:
    assert why in forbidden(address)
    assert forbidden(address, allow_private=True) == ""


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "0.1.2.3",
        "::",
        "::ffff:0.0.0.0",
        "224.0.0.1",
        "ff02::1",
        "255.255.255.255",
        "unix:/x",
        "name",
        "1.2.3",
    ],
)
def test_what_no_host_can_have_is_never_allowed(address: str) -> None:
    assert forbidden(address)
    assert forbidden(address, allow_private=True)
