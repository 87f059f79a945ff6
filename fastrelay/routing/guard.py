"""May mail led by DNS go to this address? Pure; the same judgement after every lookup and again at connect.

A domain owner decides where its MX points, so without this a stranger could aim our connections at loopback services
and inner networks (RFC 5321 leaves that to us; IANA's special-purpose registries, RFC 6890, say what is not the
Internet). Addresses that carry an IPv4 address (::ffff:0:0/96, 64:ff9b::/96, 2002::/16) are judged by it: what Python's
ipaddress says of these ranges themselves changes from release to release. `[[route]]` hops are the operator's own word
and exempt.
"""

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

_CARRIER_GRADE = ip_network("100.64.0.0/10")  # RFC 6598: neither private nor global
_NAT64 = ip_network("64:ff9b::/96")  # RFC 6052
_NAMED = [  # ranges that Python calls private, or knows in some releases only
    (ip_network(network), what)
    for what, networks in {
        "documentation address": (  # RFC 5737, 3849, 9637
            "192.0.2.0/24",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "2001:db8::/32",
            "3fff::/20",
        ),
        "benchmarking address": ("198.18.0.0/15", "2001:2::/48"),  # RFC 2544, 5180
    }.items()
    for network in networks
]
_THIS_NETWORK = ip_network("0.0.0.0/8")  # RFC 1122 3.2.1.3


@lru_cache(maxsize=8192)
def forbidden(address: str, *, allow_private: bool = False) -> str:
    """Why mail must not go to `address` (text), "" when it may. allow_private lifts loopback, private and reserved
    ranges, never what no host can have: unspecified, multicast, broadcast."""
    if address.startswith("unix:"):
        return "a local socket"
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return "not an address"
    inner = _carried(parsed)
    if inner is not None:
        reason = forbidden(str(inner), allow_private=allow_private)
        if reason:
            return reason
    never = _impossible(parsed)
    if never or allow_private:
        return never
    return "" if inner is not None else _not_public(parsed)


def _carried(address: IPv4Address | IPv6Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(address.packed[-4:])
    return address.sixtofour


def _impossible(address: IPv4Address | IPv6Address) -> str:
    if address.is_unspecified or (isinstance(address, IPv4Address) and address in _THIS_NETWORK):
        return "unspecified address"
    if address.is_multicast:
        return "multicast address"
    if isinstance(address, IPv4Address) and int(address) == 0xFFFFFFFF:
        return "broadcast address"
    return ""


def _not_public(address: IPv4Address | IPv6Address) -> str:
    if address.is_loopback:
        return "loopback address"
    if address.is_link_local:
        return "link-local address"
    if isinstance(address, IPv4Address) and address in _CARRIER_GRADE:
        return "private address"
    for network, what in _NAMED:
        if address in network:
            return what
    if address.is_reserved:
        return "reserved address"
    return "private address" if address.is_private else ""
