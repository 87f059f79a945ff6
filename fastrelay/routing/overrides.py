"""Static next hops: `[[route]]` rows and the smart host "*". What stands here is not looked up as MX.

A domain is matched by its own row, then by the longest ".suffix" row that covers it (itself included), then by "*".
next_hop forms: "host", "host:port", "[host]:port", "192.0.2.1:2526", "[2001:db8::1]:25"; without a port the site's
`delivery.port` counts. "lmtp:" before one of them speaks LMTP (RFC 2033), at port 24 by default. "unix:/path" is a
local socket and speaks LMTP too, for mail stores stand behind such; "smtp:unix:/path" does not. A name is resolved to
its addresses and never by MX. Several hops are equals: mail is spread over those that answer. Hops are exempt from the
guard against private addresses.

The site of a row is its hops joined by commas, so one window and one set of limits hold for a smart host whatever
domains pass it; a `[[site]]` of that name sets them. A domain that a `[[site]]` row names keeps that site and its
limits: what was said of its mail (`tls = "verify"`) holds on every way. ConfigError names the row.
"""

from collections.abc import Sequence

import msgspec

from fastrelay.config import StaticRoute
from fastrelay.errors import ConfigError
from fastrelay.routing.answers import folded, is_host_name, pattern
from fastrelay.routing.mx import literal_address

LMTP_PORT = 24  # RFC 2033 names none; "any private mail system", and where Postfix and Dovecot have it
LOCALHOST = ("127.0.0.1", "::1")  # RFC 6761 6.3: "localhost" is never asked of a name server


class Hop(msgspec.Struct, frozen=True):
    """One next hop. addresses: () where `name` has to be resolved. port 0: the site's. lmtp: spoken there."""

    name: str
    port: int = 0
    addresses: tuple[str, ...] = ()
    lmtp: bool = False


class Override(msgspec.Struct, frozen=True):
    """One row: the pattern as written, its hops, the site they are for domains no row names, who we are there."""

    pattern: str
    hops: tuple[Hop, ...]
    site: str
    credentials: str = ""


def parse_hop(text: str, key: str) -> Hop:
    """One entry of next_hop."""
    protocol, colon, way = text.partition(":")
    if not colon or protocol not in ("lmtp", "smtp") or way.isdigit():  # the last: a host of that name, and its port
        protocol, way = "", text
    if way.startswith("unix:/"):
        return Hop(way, 0, (way,), protocol != "smtp")
    host, port = way, ""
    if way.startswith("["):
        host, bracket, rest = way[1:].partition("]")
        port = rest.removeprefix(":") if rest.startswith(":") else "bad" if rest or not bracket else ""
        port = port or ("bad" if rest else "")
    elif way.count(":") == 1:
        host, _, port = way.partition(":")
        port = port or "bad"
    if not (port == "" or (port.isascii() and port.isdigit() and 0 < int(port) < 65536)):
        raise ConfigError(f'{key}: {text!r} is no next hop: write "host:25", "192.0.2.1:25", "[2001:db8::1]:25"')
    lmtp = protocol == "lmtp"
    number = int(port) if port else LMTP_PORT if lmtp else 0
    if lmtp and number == 25:
        raise ConfigError(f"{key}: {text!r}: LMTP must not be spoken at port 25 (RFC 2033 5)")
    address = literal_address(folded(host))
    if address:
        return Hop(address, number, (address,), lmtp)
    name = pattern(host)
    if not is_host_name(name):
        raise ConfigError(f"{key}: {text!r} is no next hop: {host!r} is neither an address nor a host name")
    return Hop(name, number, LOCALHOST if name == "localhost" else (), lmtp)


class Overrides:
    """All rows, found by domain in a few dictionary looks."""

    __slots__ = ("_any", "_exact", "_suffix")

    def __init__(self, rows: Sequence[StaticRoute]) -> None:
        self._exact: dict[str, Override] = {}
        self._suffix: dict[str, Override] = {}
        self._any: Override | None = None
        for n, row in enumerate(rows):
            hops = tuple(parse_hop(text, f"route[{n}].next_hop") for text in row.next_hop)
            one = Override(row.domain, hops, ",".join(row.next_hop), row.credentials)
            domain = pattern(row.domain)
            if domain == "*":
                self._any = self._any or one
            elif domain.startswith("."):
                self._suffix.setdefault(domain[1:], one)
            else:
                self._exact.setdefault(domain, one)

    def find(self, domain: str) -> Override | None:
        """The row that decides for `domain` (case-folded), None where DNS does."""
        one = self._exact.get(domain)
        if one is not None:
            return one
        if self._suffix:
            rest = domain
            while rest:
                one = self._suffix.get(rest)
                if one is not None:
                    return one
                rest = rest.partition(".")[2]
        return self._any
