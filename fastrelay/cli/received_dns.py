"""What `fastrelay received --dns` asks, of the resolver that the relay itself uses. A module of its own: it brings in
the event loop, which the command without DNS does not need."""

from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address

import msgspec

from fastrelay.config import Config
from fastrelay.routing.resolver import Resolver, configured
from fastrelay.routing.reverse import verified_name
from fastrelay.runtime.stream import ticking
from fastrelay.trail.hop import Address


class Asking:
    """A trail.lookup.Lookup."""

    def __init__(self, resolver: Resolver) -> None:
        self._resolver = resolver

    def addresses(self, name: str, /) -> tuple[Address, ...]:
        """A and AAAA; none for what is no name that DNS could know. May wait."""
        if "." not in name or name.startswith("["):
            return ()
        answers = self._resolver.query_all(((name, "A"), (name, "AAAA")))
        return tuple(ip_address(record) for answer in answers for record in answer.records)

    def name(self, address: Address, /) -> str:
        """The name that leads back to the address. May wait."""
        return verified_name(self._resolver, str(address))


@contextmanager
def asking(config: Config, servers: tuple[str, ...]) -> Iterator[Asking]:
    """As long as the block runs. servers: instead of those of the configuration."""
    dns = msgspec.structs.replace(config.dns, nameservers=servers) if servers else config.dns
    ticker = ticking()
    try:
        yield Asking(configured(dns))
    finally:
        ticker.close()
