"""Bars: what an operator has suspended, as the schedule asks for it: does one stand before this item, and until when?

There is a Bars only while something is suspended, so mail pays one look at an attribute that is None. A site or a
domain is a look into a dict; the envelope is read only where a sender or a client is suspended. Names are compared as
process/suspensions.py writes them. Times are monotonic seconds, inf = until it is resumed.
"""

import ipaddress
from collections.abc import Callable, Iterable
from typing import NamedTuple

from fastrelay.mail.address import domain_of
from fastrelay.mail.envelope import Envelope

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

_BY_DOMAIN = ("domain", "sender-domain")


class Bar(NamedTuple):
    """One suspension. why: the operator's reason."""

    kind: str
    name: str
    until: float
    why: str = ""


class Bars:
    """envelope_of(ident): None when the message is not here."""

    __slots__ = ("_clients", "_domains", "_envelope_of", "_looks_inside", "_networks", "_now", "_sender_domains",
                 "_senders", "_sites", "all")  # fmt: skip

    def __init__(
        self, bars: Iterable[Bar], envelope_of: Callable[[bytes], Envelope | None], now: Callable[[], float]
    ) -> None:
        self._envelope_of = envelope_of
        self._now = now
        self.all = tuple(bars)
        tables: dict[str, dict[str, Bar]] = {
            kind: {} for kind in ("site", "domain", "sender", "sender-domain", "client")
        }
        for bar in self.all:
            tables[bar.kind][domain_of(bar.name) if bar.kind in _BY_DOMAIN else bar.name] = bar
        self._sites, self._domains = tables["site"], tables["domain"]
        self._senders, self._sender_domains = tables["sender"], tables["sender-domain"]
        self._clients = {name: bar for name, bar in tables["client"].items() if "/" not in name}
        self._networks: list[tuple[Network, Bar]] = [
            (ipaddress.ip_network(name), bar) for name, bar in tables["client"].items() if "/" in name
        ]
        self._looks_inside = bool(self._senders or self._sender_domains or tables["client"])

    def find(self, ident: bytes, domain: str, site: str) -> Bar | None:
        """The bar before one message on its way to a domain, a site; the one that stands longest. site "" = unknown."""
        now = self._now()
        found: Bar | None = None
        for bar in self._standing(ident, domain, site):
            if bar is not None and bar.until > now and (found is None or bar.until > found.until):
                found = bar
        return found

    @property
    def over(self) -> bool:
        """Every one has come to its end."""
        now = self._now()
        return all(bar.until <= now for bar in self.all)

    def find_by_name(self, domain: str, site: str) -> list[Bar]:
        """Those before all mail to a domain, a site."""
        now = self._now()
        return [
            bar for bar in (self._sites.get(site), self._domains.get(domain)) if bar is not None and bar.until > now
        ]

    def _standing(self, ident: bytes, domain: str, site: str) -> list[Bar | None]:
        by_name = [self._sites.get(site), self._domains.get(domain)]
        if not self._looks_inside:
            return by_name
        envelope = self._envelope_of(ident)
        if envelope is None:
            return by_name
        sender = envelope.sender.lower()
        by_name.append(self._senders.get(sender))
        if self._sender_domains and sender:
            by_name.append(self._sender_domains.get(domain_of(sender)))
        client = envelope.client
        if client:
            by_name.append(self._clients.get(client))
            if self._networks:
                by_name += self._by_network(client)
        return by_name

    def _by_network(self, client: str) -> list[Bar]:
        try:
            address = ipaddress.ip_address(client)
        except ValueError:
            return []  # a local socket
        return [bar for network, bar in self._networks if address in network]
