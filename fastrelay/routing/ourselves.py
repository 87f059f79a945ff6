"""What this machine is to the routing: its names, the addresses it listens at, the families it can send by.

Mail whose best host is ourselves loops (RFC 5321 5.1): the names are server.hostname and those given beside it, the
ends are the listeners' address and port; a listener on every address has the addresses of all interfaces, read from
/proc/net. An end counts with its port, so a second relay on the same machine is a peer like any other.

`has_route` asks the kernel without sending anything: connecting a UDP socket looks up the route alone.
"""

import socket
from collections.abc import Iterable
from ipaddress import IPv6Address
from pathlib import Path

import msgspec

from fastrelay.config import Config, parse_address
from fastrelay.routing.answers import folded

_EVERY = ("0.0.0.0", "::", "")


class Ourselves(msgspec.Struct, frozen=True):
    """names: case-folded. ends: (address, port) pairs. everywhere: ports at which every address of `addresses` (and all
    of loopback) is ours."""

    names: frozenset[str] = frozenset()
    ends: frozenset[tuple[str, int]] = frozenset()
    everywhere: frozenset[int] = frozenset()
    addresses: frozenset[str] = frozenset()

    def is_name(self, name: str) -> bool:
        """Is the host called `name` (case-folded) this relay?"""
        return name in self.names

    def is_end(self, address: str, port: int) -> bool:
        """Would a connection to `address` and `port` come in at our own door?"""
        if (address, port) in self.ends:
            return True
        local = address in self.addresses or address.startswith("127.") or address == "::1"
        return port in self.everywhere and local


def of(config: Config, names: Iterable[str] = ()) -> Ourselves:
    """Ourselves by the configuration. Reads /proc/net where a listener stands on every address."""
    ends, everywhere = set(), set()
    for listener in config.listeners:
        host, port = parse_address(listener.address, "listener.address")
        if host in _EVERY:
            everywhere.add(port)
        elif port:
            ends.add((host, port))
    own = frozenset(folded(name) for name in (config.server.hostname, config.delivery.hello, *names) if name)
    addresses = local_addresses() if everywhere else frozenset()
    return Ourselves(own, frozenset(ends), frozenset(everywhere), addresses)


def local_addresses(net: Path = Path("/proc/net")) -> frozenset[str]:
    """The addresses of all interfaces as text; what cannot be read is left out."""
    found: set[str] = set()
    try:
        lines = (net / "fib_trie").read_text(encoding="ascii").splitlines()
        last = ""
        for line in lines:
            words = line.split()
            if words and words[0] == "|--":
                last = words[1]
            elif words[:1] == ["/32"] and words[1:3] == ["host", "LOCAL"]:
                found.add(last)
    except (OSError, UnicodeDecodeError):
        found.add("127.0.0.1")
    try:
        for line in (net / "if_inet6").read_text(encoding="ascii").splitlines():
            found.add(str(IPv6Address(int(line.split()[0], 16))))
    except (OSError, ValueError, IndexError):
        found.add("::1")  # no IPv6 here, or another form: loopback is ours in any case
    return frozenset(found)


def has_route(address: str) -> bool:
    """Could a packet to `address` leave this machine? False also for a family the kernel lacks."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((address, 9))
    except OSError:
        return False
    return True
