"""Addresses by what they tell: is it one of the public internet, one of a private network, the host itself, or ours?"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fastrelay.errors import MisuseError
from fastrelay.trail.hop import Address

Network = IPv4Network | IPv6Network
_SHARED = ip_network("100.64.0.0/10")  # RFC 6598: between a provider and its customers
_WIDE = {4: 16, 6: 32}  # prefix lengths within which two servers are taken for one operator's
_NEAR = {4: 24, 6: 48}


@lru_cache(1024)  # a field names the same few several times: 60 us for one that is none
def address(text: str) -> Address | None:
    """The address in `text`: bare, with "IPv6:" or a zone, with a port; None for anything else."""
    text = text.strip().strip("[]")
    if not text or len(text) > 64 or (not text[0].isalnum() and text[0] != ":"):
        return None
    if text[:5].lower() == "ipv6:":
        text = text[5:]
    text = text.partition("%")[0]
    if text.count(":") == 1:
        text = text.partition(":")[0]
    if not ("." in text or ":" in text):
        return None
    try:
        found = ip_address(text)
    except ValueError:
        return None
    if isinstance(found, IPv6Address) and found.ipv4_mapped is not None:
        return found.ipv4_mapped
    return found


def network(text: str) -> Network:
    """A network as an operator types it; MisuseError names what was typed."""
    try:
        return ip_network(text.strip("[]"), strict=False)
    except ValueError:
        raise MisuseError(f"{text!r} is not a network: write 192.0.2.0/24 or 2001:db8::/32, or one address") from None


@lru_cache(1024)
def is_internal(one: Address) -> bool:
    """Not of the public internet: loopback, link-local, RFC 1918, RFC 4193, RFC 6598. Documentation addresses (RFC
    5737, RFC 3849) count as public, which is what they stand for."""
    if is_documentation(one):
        return False
    return one.is_private or one.is_loopback or one.is_link_local or (one.version == 4 and one in _SHARED)


def is_documentation(one: Address) -> bool:
    """Of a range for examples."""
    return any(one.version == net.version and one in net for net in _DOCUMENTATION)


def is_nowhere(one: Address) -> bool:
    """No host can have it: unspecified, multicast, class E, 0/8."""
    return one.is_unspecified or one.is_multicast or (one.version == 4 and one.packed[0] in (0, *range(224, 256)))


def near(one: Address, other: Address) -> bool:
    """Of one small network."""
    return _share(one, other, _NEAR)


def akin(one: Address, other: Address) -> bool:
    """Of one large network: perhaps the same operator."""
    return _share(one, other, _WIDE)


def within(one: Address, networks: Iterable[Network]) -> bool:
    """In one of them."""
    return any(one.version == net.version and one in net for net in networks)


def _share(one: Address, other: Address, prefixes: dict[int, int]) -> bool:
    if one.version != other.version:
        return False
    drop = one.max_prefixlen - prefixes[one.version]
    return int(one) >> drop == int(other) >> drop


_DOCUMENTATION: Sequence[Network] = tuple(
    ip_network(text) for text in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
)
