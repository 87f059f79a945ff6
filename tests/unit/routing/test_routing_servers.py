"""routing/servers.py: addresses of name servers, their health, and who is asked for how long."""

import pytest

from fastrelay.errors import ConfigError
from fastrelay.routing import servers
from fastrelay.routing.servers import Server


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("192.0.2.1", "192.0.2.1:53"),
        ("127.0.0.1:5353", "127.0.0.1:5353"),
        ("2001:db8::1", "[2001:db8::1]:53"),
        ("[::1]", "[::1]:53"),
        ("[::1]:5353", "[::1]:5353"),
    ],
)
def test_addresses(text: str, shown: str) -> None:
    assert str(servers.parse(text)) == shown


@pytest.mark.parametrize(
    "text", ["", "ns.example", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:99999", "[::1", "[::1]x", "1.2.3"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"dns\.nameservers"):
        servers.parse(text)


def test_resolv_conf() -> None:
    text = (
        "# made\nsearch corp.example\nnameserver 192.0.2.1\nnameserver nonsense\nnameserver fe80::1%eth0\noptions x\n"
    )
    assert [str(one) for one in servers.from_resolv_conf(text)] == ["192.0.2.1:53", "[fe80::1%eth0]:53"]
    assert [str(one) for one in servers.from_resolv_conf("")] == ["127.0.0.1:53"]
    assert len(servers.from_resolv_conf("nameserver 192.0.2.1\n" * 9)) == servers.MAX_SERVERS


def test_a_server_is_down_after_two_misses_and_well_after_one_answer() -> None:
    server = Server("192.0.2.1")
    server.missed(100.0)
    assert server.down_until == 0.0
    server.missed(100.0)
    assert server.down_until == 100.0 + servers.FIRST_DOWN
    for _ in range(20):
        server.missed(100.0)
    assert server.down_until == 100.0 + servers.LONGEST_DOWN
    server.answered()
    assert (server.failures, server.down_until) == (0, 0.0)


def test_plans() -> None:
    a, b, c, d, e = (Server(f"192.0.2.{n}") for n in range(1, 6))
    assert servers.plan((a,), 0.0, 5.0) == [(a, 5.0)]
    assert servers.plan((a, b), 0.0, 4.0) == [(a, 1.0), (b, 1.0), (a, 1.0), (b, 1.0)]
    assert [server for server, _ in servers.plan((a, b, c, d, e), 0.0, 4.0)] == [a, b, c, d]
    a.down_until = 10.0
    assert servers.plan((a, b), 5.0, 3.0) == [(b, 2.0), (a, 1.0)]
    b.down_until = 8.0
    assert [server for server, _ in servers.plan((a, b), 5.0, 4.0)] == [b, a, b, a]
    assert servers.plan((a,), 5.0, 3.0) == [(a, 3.0)]
    assert [server for server, _ in servers.plan((a, b), 20.0, 4.0)] == [a, b, a, b]
